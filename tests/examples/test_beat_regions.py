"""Where beats and gaps lie, against one beat after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beating import beating, extents_slowly
from ecglens.errors import EcglensError
from ecglens.examples.beat_regions import beat_extents, beat_regions
from ecglens.examples.label_maps import LABEL_MAPS
from ecglens.examples.sliding import SlidingOptions, cut_sliding
from ecglens.recordings.databases import database, read_records
from made import make_examples

_FROM_LEFT = (
    "before", "beat 1", "gap 1-2", "beat 2", "gap 2-3", "beat 3", "gap 3-4", "beat 4", "gap 4-5", "beat 5", "gap 5-6",
    "beat 6", "after",
)  # fmt: skip


def _slowly(examples, row, n_beats=6):
    """Name to (start, stop), counted from the left; beats that are lacking are not in it."""
    found = extents_slowly(examples, row)
    out = {"before": (int(examples.table["valid_start"].iloc[row]), found[0][0])}
    for k, (start, stop) in enumerate(found):
        out[f"beat {k + 1}"] = (start, stop)
        if k + 1 < len(found):
            out[f"gap {k + 1}-{k + 2}"] = (stop, found[k + 1][0])
    return out | {"after": (found[-1][1], int(examples.table["valid_stop"].iloc[row]))}


def _tiles(regions, examples):
    """Each sample of the signal lies in one region of its lead, each of the padding in none."""
    for row in range(len(examples)):
        times = np.zeros(examples.signals.shape[1:], int)
        for k in range(len(regions.names)):
            times[regions.row[k], regions.start[row, k] : regions.stop[row, k]] += 1
        first, stop = (int(examples.table[name].iloc[row]) for name in ("valid_start", "valid_stop"))
        assert (times[:, first:stop] == 1).all()
        assert times.sum() == (stop - first) * len(times)


@pytest.mark.parametrize("labelled", ["last", "first"])
@pytest.mark.parametrize("rr", [(0.3, 0.6), (0.5, 1.2)])
def test_regions_are_the_beats_one_after_the_other_and_tile_the_signal(labelled, rr):
    examples = beating(12, labelled=labelled, rr=rr, lacking=(3, 7))
    regions = beat_regions(examples)
    assert regions.names == _FROM_LEFT
    _tiles(regions, examples)
    for row in range(12):
        slowly = _slowly(examples, row)
        for k, name in enumerate(regions.names):
            start, stop = int(regions.start[row, k]), int(regions.stop[row, k])
            if name in slowly:
                assert (start, stop) == slowly[name], (row, name)
            else:
                assert start == stop, (row, name)
                assert row in (3, 7)
    lengths = dict(zip(regions.names, (regions.stop - regions.start).T, strict=True))
    if rr == (0.3, 0.6):
        assert any((lengths[name] == 0).any() for name in _FROM_LEFT if name.startswith("gap"))  # some beats meet
    else:
        assert (lengths["gap 1-2"] > 0).any()


def test_every_lead_has_the_regions_under_the_same_names():
    examples = beating(3, leads=2)
    regions = beat_regions(examples)
    assert regions.names == tuple(name for name in _FROM_LEFT for _ in range(2))
    assert regions.lead == ("lead 1", "lead 2") * len(_FROM_LEFT)
    _tiles(regions, examples)
    np.testing.assert_array_equal(regions.start[:, ::2], regions.start[:, 1::2])


def test_what_is_refused():
    examples = beating(4)
    with pytest.raises(EcglensError, match="no column beats_at"):
        beat_regions(make_examples(examples.signals))
    with pytest.raises(EcglensError, match="expected numbers from 0 on"):
        beat_regions(examples, extent=(-0.1, 0.4))
    for beats in ("300 200", "5 650", "", "300 700"):
        table = examples.table.assign(beats_at=[beats, *examples.table["beats_at"][1:]])
        with pytest.raises(EcglensError, match=r"1 of 4 examples have no beat, or .*made/0"):
            beat_extents(replace(examples, table=table))


def test_real_windows_are_tiled(real_mitdb: Path):
    records = list(read_records(database("mitdb"), real_mitdb, ("208", "232"), [], swap_leads=True))
    for labelled in ("last", "first"):
        options = SlidingOptions(labelled=labelled, ends="published")
        examples, _ = cut_sliding(records, LABEL_MAPS["varandas"], options, [])
        regions = beat_regions(examples)
        assert regions.names == _FROM_LEFT
        size = examples.column("valid_stop") - examples.column("valid_start")
        np.testing.assert_array_equal((regions.stop - regions.start).sum(1), size)
        np.testing.assert_array_equal(regions.stop[:, :-1], regions.start[:, 1:])
        few = np.array([len(text.split()) < 6 for text in examples.column("beats_at")])
        assert few.sum() == 2
        last = regions.names.index("beat 6")
        np.testing.assert_array_equal(regions.start[:, last] == regions.stop[:, last], few)
        each, r = np.arange(len(examples)), examples.column("r_index")
        beat = 1 + 2 * examples.column("labelled")  # "before", "beat 1", "gap 1-2" ...
        assert ((regions.start[each, beat] <= r) & (r < regions.stop[each, beat])).all()
