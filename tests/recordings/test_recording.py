"""What a recording knows about itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wfdb.io.annotation import ann_label_table, is_qrs

from ecglens.recordings.recording import BEAT_SYMBOLS, Annotations, Evidence, Recording


def recording(marks: list[tuple[int, str, str]], n_samples: int = 1000, leads: tuple[str, ...] = ("I", "II")) -> Recording:
    annotations = Annotations(
        np.array([sample for sample, _, _ in marks], np.int64),
        np.array([symbol for _, symbol, _ in marks], np.str_),
        np.array([note for _, _, note in marks], np.str_),
    )
    signal = np.arange(len(leads) * n_samples, dtype=np.float32).reshape(len(leads), n_samples)
    return Recording("made", "1", "1", signal, 250.0, leads, annotations)


def test_beats_are_the_symbols_that_wfdb_calls_qrs_without_flutter_waves() -> None:
    known = {row.symbol for row in ann_label_table.itertuples() if is_qrs[row.label_store]}
    assert known - {"!"} == BEAT_SYMBOLS


marks_in_order = st.lists(
    st.tuples(
        st.integers(0, 999), st.sampled_from('NV+~|"A/!'), st.sampled_from(["", "(N", "(AFIB", "(N\x00", "TS", "MISSB"])
    ),
    max_size=12,
).map(sorted)


@given(marks_in_order)
def test_rhythm_spans_are_those_of_a_plain_loop(marks: list[tuple[int, str, str]]) -> None:
    spans: list[list] = []
    for sample, symbol, note in marks:
        if symbol == "+" and note[:1] == "(":
            if spans:
                spans[-1][1] = sample
            spans.append([sample, 1000, note.replace("\x00", "")])
    assert recording(marks).rhythm_spans() == [tuple(span) for span in spans]


@given(marks_in_order)
def test_beats_keep_their_order_and_lose_all_other_marks(marks: list[tuple[int, str, str]]) -> None:
    found = recording(marks).annotations.beats()
    wanted = [(sample, symbol) for sample, symbol, _ in marks if symbol in "NVA/"]
    assert list(zip(found.sample.tolist(), found.symbol.tolist(), strict=True)) == wanted


def test_leads_change_places_with_their_signals_and_say_why() -> None:
    before = recording([], leads=("V5", "MLII"))
    after = before.with_leads(("MLII", "V5"), "swapped back")
    assert after.leads == ("MLII", "V5")
    np.testing.assert_array_equal(after.signal, before.signal[::-1])
    assert after.remarks == ("swapped back",)
    assert before.remarks == ()


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["I", "II", "III"])), max_size=12))
def test_evidence_of_a_lead_is_that_of_a_plain_loop(drawn: list[tuple[int, str]]) -> None:
    rows = [(at, lead, 10 * k, 10 * k + at + 1, f"source {k}") for k, (at, lead) in enumerate(drawn)]
    columns = [[row[k] for row in rows] for k in range(5)]
    kinds = (np.int64, np.str_, np.int64, np.int64, np.str_)
    evidence = Evidence(*(np.array(values, kind) for values, kind in zip(columns, kinds, strict=True)))
    for lead in ("I", "II", "V1"):
        found = evidence.of_lead(lead)
        mine = [row for row in rows if row[1] == lead]
        names = ("r_sample", "lead", "start", "stop", "source")
        assert [getattr(found, name).tolist() for name in names] == [[row[k] for row in mine] for k in range(5)]
        assert [getattr(evidence, name).tolist() for name in names] == columns


def test_seconds_are_samples_by_rate() -> None:
    assert recording([]).seconds == 4.0


def test_real_rhythm_spans_follow_each_other_to_the_end_of_the_record(real_recordings: dict[str, Recording]) -> None:
    names = set()
    for each in real_recordings.values():
        spans = each.rhythm_spans()
        assert spans[-1][1] == 650_000
        assert all(stop == start for (_, stop, _), (start, _, _) in pairwise(spans))
        names |= {name for _, _, name in spans}
    assert names == {
        "(AB", "(AFIB", "(AFL", "(B", "(BII", "(IVR", "(N", "(NOD", "(P", "(PREX", "(SBR", "(SVTA", "(T", "(VFL", "(VT",
    }  # fmt: skip


@pytest.mark.parametrize(("record", "rhythm", "minutes"), [("232", "(SBR", 30.1), ("207", "(VFL", 2.4)])
def test_real_rhythms_last_as_long_as_the_mitdb_directory_says(
    real_recordings: dict[str, Recording], record: str, rhythm: str, minutes: float
) -> None:
    each = real_recordings[record]
    found = sum(stop - start for start, stop, name in each.rhythm_spans() if name == rhythm) / each.fs / 60
    assert found == pytest.approx(minutes, abs=0.1)
