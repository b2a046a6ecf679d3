"""Beats moved in time: every beat as it was, every gap as long as asked, the table put right."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beating import PADDING, beating, beats_of, extents_slowly
from ecglens.errors import EcglensError
from ecglens.examples.beat_regions import beat_extents
from ecglens.examples.label_maps import LABEL_MAPS
from ecglens.examples.retimed import ALL, ANOTHER, LABELLED, WHERE, gaps_at, retimed
from ecglens.examples.sliding import SlidingOptions, cut_sliding
from ecglens.recordings.databases import database, read_records
from made import FEW


def _slowly(examples, row, gaps, change, extent=(0.25, 0.45)):
    """(signal (lead, time) of the new window, its R peaks from its start) or the reason why not, piece by piece."""
    r, where = beats_of(examples, row), extents_slowly(examples, row, extent)
    gaps = [k for k in gaps if 0 <= k < len(r) - 1]
    if not gaps:
        return "no_gap"
    first, stop = (int(examples.table[name].iloc[row]) for name in ("valid_start", "valid_stop"))
    signal = examples.signals[row]
    pieces, beats, at = [signal[:, first : where[0][0]]], [r[0] - first], r[0] - first
    for k in range(len(r)):
        pieces.append(signal[:, where[k][0] : where[k][1]])
        if k + 1 == len(r):
            break
        a, b = where[k][1], where[k + 1][0]
        more = int(np.rint(change * (r[k + 1] - r[k]))) if k in gaps else 0
        if b - a + more < 0:
            return "too_short"
        if more:
            places = np.linspace(a - 1, b, b - a + more + 2)[1:-1]
            pieces.append(np.stack([np.interp(places, np.arange(len(lead)), lead) for lead in signal.astype(float)]))
        else:
            pieces.append(signal[:, a:b])
        at += r[k + 1] - r[k] + more
        beats.append(at)
    pieces.append(signal[:, where[-1][1] : stop])
    whole = np.concatenate(pieces, axis=1)
    return "too_long" if whole.shape[1] > examples.length else (whole, beats)


def _gaps(examples, row, where):
    n, label = len(beats_of(examples, row)), int(examples.table["labelled"].iloc[row])
    beside = label - 1 if label else 0
    far = 0 if label >= n - 1 - label else n - 2
    return {LABELLED: [beside], ANOTHER: [far] if far != beside else [], ALL: list(range(n - 1))}[where]


@FEW
@given(
    st.sampled_from(WHERE), st.floats(-0.5, 0.8), st.sampled_from(["last", "first"]), st.integers(0, 999),
    st.sampled_from([(0.25, 0.45), (0.2, 0.3), (0.0, 0.0)]), st.integers(1, 2),
)  # fmt: skip
def test_each_window_is_its_pieces_put_together_again(where, change, labelled, seed, extent, leads):
    examples = beating(8, labelled=labelled, seed=seed, lacking=(1,), leads=leads)
    found = retimed(examples, where, change, extent=extent)
    done = {int(row): k for k, row in enumerate(found.rows)}
    for row in range(8):
        slowly = _slowly(examples, row, _gaps(examples, row, where), change, extent)
        if isinstance(slowly, str):
            assert found.why[row] == slowly
            assert row not in done
            continue
        assert found.why[row] == ""
        whole, beats = slowly
        one, size = found.examples.take(np.array([done[row]])), whole.shape[1]
        start = examples.length - size if labelled == "last" else 0
        assert tuple(one.table[["valid_start", "valid_stop"]].iloc[0]) == (start, start + size)
        assert beats_of(one, 0) == [start + at for at in beats]
        label = int(one.table["labelled"].iloc[0])
        assert one.table["r_index"].iloc[0] == start + beats[label]
        assert one.table["start"].iloc[0] + one.table["r_index"].iloc[0] == one.table["r_sample"].iloc[0]
        np.testing.assert_allclose(one.signals[0, :, start : start + size], whole, atol=1e-5)
        outside = np.ones(examples.length, bool)
        outside[start : start + size] = False
        assert (one.signals[0][:, outside] == PADDING).all()
    assert found.left_out == {reason: int((found.why == reason).sum()) for reason in set(found.why[found.why != ""])}


@pytest.mark.parametrize("where", WHERE)
def test_without_a_change_nothing_changes(where):
    examples = beating(6)
    found = retimed(examples, where, 0.0)
    assert list(found.rows) == list(range(6))
    np.testing.assert_array_equal(found.examples.signals, examples.signals)
    assert found.examples.table.equals(examples.table)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("change", [-0.1, 0.25])
def test_every_beat_keeps_its_samples_and_every_rr_is_as_asked(where, change):
    examples = beating(20, rr=(0.7, 1.1))
    found = retimed(examples, where, change)
    assert len(found.rows) > 3
    _, starts, stops = beat_extents(examples)
    for k, row in enumerate(found.rows):
        old, new = beats_of(examples, row), beats_of(found.examples, k)
        moved = _gaps(examples, row, where)
        for gap, (before, after) in enumerate(zip(np.diff(old), np.diff(new), strict=True)):
            assert after == before + (np.rint(change * before) if gap in moved else 0)
        for beat, (a, b) in enumerate(zip(starts[row], stops[row], strict=True)):
            by = new[beat] - old[beat]
            np.testing.assert_array_equal(found.examples.signals[k, 0, a + by : b + by], examples.signals[row, 0, a:b])


def test_rr_columns_follow_the_labelled_beat():
    for labelled, where, change, moved in (
        ("last", LABELLED, -0.1, {"rr_before": 4}), ("last", ANOTHER, 0.2, {}), ("first", LABELLED, 0.2, {"rr_after": 0}),
        ("last", ALL, 0.1, {"rr_before": 4, "rr_earlier": 3, "rr_local": None}),
        ("last", np.arange(5) == np.full((20, 1), 3), 0.2, {"rr_earlier": 3}),
    ):  # fmt: skip
        examples = beating(20, labelled=labelled, rr=(0.7, 1.0))
        found = retimed(examples, where, change)
        assert len(found.rows) > 3
        for name in ("rr_before", "rr_after", "rr_earlier", "rr_local", "rr_spread"):
            for k, row in enumerate(found.rows):
                by = found.examples.table[name].iloc[k] - examples.table[name].iloc[row]
                if name not in moved:
                    expected = 0.0
                elif moved[name] is None:
                    expected = change * examples.table[name].iloc[row]
                else:
                    expected = np.rint(change * np.diff(beats_of(examples, row))[moved[name]]) / 100
                assert by == pytest.approx(expected), (name, row)


def test_places_of_gaps_and_windows_that_have_none():
    examples = beating(3, lacking=(1,))
    np.testing.assert_array_equal(gaps_at(examples, LABELLED).nonzero()[1], [4, 3, 4])
    np.testing.assert_array_equal(gaps_at(examples, ANOTHER).nonzero()[1], [0, 0, 0])
    np.testing.assert_array_equal(gaps_at(examples, ALL).sum(1), [5, 4, 5])
    for labelled, last in (("first", 4), ("last", 0)):
        assert set(gaps_at(beating(4, labelled=labelled), ANOTHER).nonzero()[1]) == {last}
    two = beating(3, beats=2)
    assert retimed(two, ANOTHER, 0.1).left_out == {"no_gap": 3}
    assert retimed(two, LABELLED, 0.1).left_out == {}
    mask = np.zeros((3, 5), bool)
    mask[2, 1] = True
    found = retimed(examples, mask, 0.2)
    assert list(found.why) == ["no_gap", "no_gap", ""]
    whole, _ = _slowly(examples, 2, [1], 0.2)
    np.testing.assert_allclose(found.examples.signals[0, :, examples.length - whole.shape[1] :], whole, atol=1e-5)


def test_a_gap_at_the_start_of_the_signal_is_not_filled_from_the_padding():
    examples = beating(1, rr=(0.8, 0.9))
    r = beats_of(examples, 0)
    examples = replace(examples, table=examples.table.assign(valid_start=r[0]))
    found = retimed(examples, ALL, 0.1, extent=(0.0, 0.0))
    lead = examples.signals[0, 0].astype(float)
    wanted = []
    for a, b in pairwise(r):
        places = np.linspace(a - 1, b, b - a + int(np.rint(0.1 * (b - a))) + 2)[1:-1]
        wanted.append(np.interp(np.maximum(places, r[0]), np.arange(len(lead)), lead))  # the first beat has no sample
    start = int(found.examples.table["valid_start"].iloc[0])
    size = sum(map(len, wanted))
    np.testing.assert_allclose(found.examples.signals[0, 0, start : start + size], np.concatenate(wanted), atol=1e-5)


def test_a_window_without_padding_is_padded_with_its_median_and_a_longer_one_does_not_fit():
    examples = beating(1, rr=(0.9, 0.95))
    first, stop = (int(examples.table[name].iloc[0]) for name in ("valid_start", "valid_stop"))
    table = examples.table.assign(
        valid_start=0, valid_stop=stop - first, beats_at=" ".join(str(at - first) for at in beats_of(examples, 0))
    )
    full = replace(examples, signals=examples.signals[:, :, first:stop], table=table)
    found = retimed(full, ALL, -0.2)
    assert found.examples.table["valid_stop"].iloc[0] == full.length  # the last beat is labelled: it stays at the end
    start = int(found.examples.table["valid_start"].iloc[0])
    assert start > 0
    new = found.examples.signals[0, 0]
    np.testing.assert_allclose(new[:start], np.median(new[start:]))
    assert retimed(full, ALL, 0.01).left_out == {"too_long": 1}


def test_what_is_refused():
    examples = beating(2)
    for change in (-1.0, np.nan, np.inf):
        with pytest.raises(EcglensError, match="expected a share above -1"):
            retimed(examples, ALL, change)
    with pytest.raises(EcglensError, match="did you mean 'all gaps'"):
        retimed(examples, "all gap", 0.1)
    with pytest.raises(EcglensError, match="no column labelled; cut windows that know their beats"):
        retimed(replace(examples, table=examples.table.drop(columns="labelled")), ALL, 0.1)
    with pytest.raises(EcglensError, match=r"expected \(example, gap\), here \(2, 5\)"):
        retimed(examples, np.ones((2, 6), bool), 0.1)


@pytest.mark.parametrize("labelled", ["last", "first"])
def test_real_windows_stay_what_they_are_around_every_beat(real_mitdb: Path, labelled):
    records = list(read_records(database("mitdb"), real_mitdb, ("208",), [], swap_leads=True))
    examples, _ = cut_sliding(records, LABEL_MAPS["varandas"], SlidingOptions(labelled=labelled), [])
    examples = examples.take(np.arange(0, len(examples), 97))
    _, starts, stops = beat_extents(examples)
    for where, change in ((LABELLED, 0.3), (ALL, 0.1)):
        found = retimed(examples, where, change)
        assert len(found.rows) + sum(found.left_out.values()) == len(examples)
        assert len(found.rows) > 0.9 * len(examples)
        for k, row in enumerate(found.rows):
            for old, new, a, b in zip(
                beats_of(examples, row), beats_of(found.examples, k), starts[row], stops[row], strict=True
            ):
                by = new - old
                np.testing.assert_array_equal(found.examples.signals[k, 0, a + by : b + by], examples.signals[row, 0, a:b])
        # where nothing was moved, padding goes on as it was
        edge = 0 if labelled == "last" else -1
        np.testing.assert_array_equal(found.examples.signals[:, 0, edge], examples.signals[found.rows, 0, edge])
