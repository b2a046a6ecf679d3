"""Windows are cut as a slow, plain loop cuts them; on real records the counts are those of the annotations."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import chain, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly

from ecglens.errors import EcglensError
from ecglens.examples.examples import COLUMNS, Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.windows import WindowFacts, WindowOptions, cut_windows
from ecglens.recordings.databases import Skipped, database, read_records
from ecglens.recordings.recording import BEAT_SYMBOLS, Annotations, Evidence, Recording

EIGHT, FIVE = label_map("vijayarangan"), label_map("vijayarangan-beats")
CLASS_OF = {symbol: k for k, symbols in enumerate(EIGHT.symbols.values()) for symbol in symbols}
RHYTHM_OF = {rhythm: EIGHT.classes.index(name) for name, rhythm in EIGHT.rhythms.items()}
KNOWN = ["(AB", "(AFIB", "(AFL", "(B", "(BII", "(IVR", "(N", "(NOD", "(P", "(PREX", "(SBR", "(SVTA", "(T", "(VFL", "(VT"]
ONSET_KEEP = WindowOptions(rhythm_windows="onset", beats_in_rhythms="keep")
Marks = list[tuple[int, str, str]]


def a_recording(
    marks: Marks, signal: Any, *, record: str = "1", fs: float = 10.0, leads: tuple[str, ...] = ("V5", "MLII")
) -> Recording:
    annotations = Annotations(
        np.array([sample for sample, _, _ in marks], np.int64),
        np.array([symbol for _, symbol, _ in marks], np.str_),
        np.array([note for _, _, note in marks], np.str_),
    )
    return Recording("made", record, f"patient {record}", np.asarray(signal, np.float32), fs, leads, annotations)


def some_options(length: int, **told: str) -> WindowOptions:
    """Windows of so many samples, 10 a second."""
    return WindowOptions(seconds=length / 10, fs=10.0, **told)


def one_by_one(recording: Recording, options: WindowOptions) -> tuple[list[dict[str, Any]], dict[str, Counter]]:
    """The rule in words, window by window and sample by sample; recordings at the wanted rate with lead MLII alone in mind."""
    marks = recording.annotations
    everything = list(zip(marks.sample.tolist(), marks.symbol.tolist(), marks.note.tolist(), strict=True))
    beats = [(sample, symbol) for sample, symbol, _ in everything if symbol in BEAT_SYMBOLS]
    signal = recording.signal[recording.leads.index("MLII")].tolist()
    length, n_samples = options.length, len(signal)
    onsets = [(sample, note) for sample, symbol, note in everything if symbol == "+" and note.startswith("(")]
    spans = []
    facts: dict[str, Counter] = {name: Counter() for name in asdict(WindowFacts())}
    for k, (sample, note) in enumerate(onsets):
        end = onsets[k + 1][0] if k + 1 < len(onsets) else n_samples
        if note in RHYTHM_OF:
            name = EIGHT.classes[RHYTHM_OF[note]]
            facts["spans"][name] += 1
            facts["spans_short"][name] += end - sample < length
            facts["spans_open"][name] += k + 1 == len(onsets)
            if end > sample:
                spans.append((sample, end, note))
    for _, symbol, note in everything:
        if symbol == "+" and note not in KNOWN:
            facts["unknown_rhythms"][note or "no label"] += 1
    rr = [(b[0] - a[0]) / recording.fs for a, b in pairwise(beats)]
    rows = []

    def add(start: int, label: int, symbol: str, beat: int, rhythm: bool) -> None:
        name = EIGHT.classes[label]
        inside = [sample - start for sample, _ in beats if start <= sample < start + length]
        if start < 0 or start + length > n_samples:
            reason = "left_record"
        elif (
            not rhythm
            and options.beats_in_rhythms == "leave-out"
            and any(a <= time < b for a, b, _ in spans for time in range(start, start + length))
        ):
            reason = "in_rhythm"
        elif rhythm and not inside:
            reason = "no_beat"
        elif any(np.isnan(signal[start : start + length])):
            reason = "invalid"
        else:
            reason = "kept"
            at = f"{name}@{start}" if rhythm else str(beats[beat][0])
            near = rr[max(beat - 10, 0) : beat + 10]
            rows.append(
                {
                    "order": (beat, rhythm, start),
                    "id": f"made/{recording.record}/{at}",
                    "window": signal[start : start + length],
                    "label": label,
                    "start": start,
                    "r_sample": beats[beat][0],
                    "r_index": beats[beat][0] - start,
                    "symbol": symbol,
                    "beats_at": " ".join(str(each) for each in inside),
                    "rr_before": rr[beat - 1] if beat else np.nan,
                    "rr_local": median(near) if near else np.nan,
                }
            )
        facts[reason][name] += 1

    for number, (sample, symbol) in enumerate(beats):
        if symbol in CLASS_OF:
            add(sample - length // 2, CLASS_OF[symbol], symbol, number, False)
        else:
            facts["other_beats"][symbol] += 1
    for start, end, note in spans:
        begins = [start] if options.rhythm_windows == "onset" else range(start, end - length + 1, length)
        for begin in begins:
            # doubled, so that the middle of an even window is a whole number; the first of two that are as near
            away = [abs(2 * sample - 2 * begin - length) for sample, _ in beats]
            add(begin, RHYTHM_OF[note], note, away.index(min(away)) if away else 0, True)
    return sorted(rows, key=lambda row: row["order"]), facts


def expect_same(found: Examples, facts: WindowFacts, rows: list[dict[str, Any]], counted: dict[str, Counter]) -> None:
    np.testing.assert_array_equal(found.signals[:, 0], np.array([row["window"] for row in rows], np.float32))
    assert found.labels.tolist() == [row["label"] for row in rows]
    for name in ("id", "start", "r_sample", "r_index", "symbol", "beats_at"):
        assert found.column(name).tolist() == [row[name] for row in rows], name
    for name in ("rr_before", "rr_local"):
        np.testing.assert_allclose(found.column(name), [row[name] for row in rows], rtol=1e-12, err_msg=name)
    assert {*COLUMNS, "beats_at", "recorded_fs"} == set(found.table.columns)
    assert set(found.column("valid_start")) == {0}
    assert set(found.column("valid_stop")) == {found.length}
    assert set(found.column("recorded_fs")) == {10.0}
    assert set(found.column("lead_names")) == {"MLII"}
    expect_facts(facts, counted)


def expect_facts(facts: WindowFacts, counted: dict[str, Counter]) -> None:
    for name, counts in asdict(facts).items():
        assert {key: n for key, n in counts.items() if n} == {key: n for key, n in counted[name].items() if n}, name
    for name in ("kept", "left_record", "in_rhythm", "no_beat", "invalid", "spans", "spans_open", "spans_short"):
        assert tuple(getattr(facts, name)) == EIGHT.classes


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    """Short recordings with beats and rhythms anywhere, some samples lost."""
    n_samples = draw(st.integers(5, 120))
    at = draw(st.lists(st.integers(0, n_samples - 1), min_size=1, max_size=14, unique=True).map(sorted))
    # two rhythm marks may share a sample, two beats may not
    kinds = st.sampled_from([*"NNVALRajQ/", "+(AFIB", "+(AFIB", "+(SVTA", "+(SBR", "+(N", "+(XYZ", "+", "~"])
    marks: Marks = []
    for sample in at:
        for kind in draw(st.lists(kinds, min_size=1, max_size=2)):
            if kind[0] == "+" or not any(mark[0] == sample and mark[1] != "+" for mark in marks):
                marks.append((sample, kind[0], kind[1:]))
    signal = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(2, n_samples))
    for hole in draw(st.lists(st.integers(0, n_samples - 1), max_size=2)):
        signal[1, hole] = np.nan
    return a_recording(marks, signal)


@given(recordings(), st.integers(2, 30), st.sampled_from(["onset", "span"]), st.sampled_from(["keep", "leave-out"]))
def test_windows_are_those_of_a_plain_loop(recording: Recording, length: int, rhythms: str, beats: str) -> None:
    options = some_options(length, rhythm_windows=rhythms, beats_in_rhythms=beats)
    rows, counted = one_by_one(recording, options)
    skipped: list[Skipped] = []
    if not rows:
        with pytest.raises(EcglensError, match="no window of the classes N, PVC, PAC"):
            cut_windows([recording], EIGHT, options, skipped)
    else:
        found, facts = cut_windows([recording], EIGHT, options, skipped)
        expect_same(found, facts, rows, counted)
    n_invalid = sum(counted["invalid"].values())
    assert [item.beats for item in skipped] == ([n_invalid] if n_invalid else [])


def test_several_recordings_come_one_after_the_other_and_facts_add_up() -> None:
    rng = np.random.default_rng(1)
    marks: Marks = [(12, "+", "(AFIB"), (20, "N", ""), (40, "V", ""), (60, "+", "(N"), (80, "A", "")]
    each = [a_recording(marks, rng.normal(size=(2, 100 + 20 * k)), record=str(k)) for k in range(3)]
    options = some_options(10, beats_in_rhythms="keep")
    found, facts = cut_windows(each, EIGHT, options, [])
    rows, counted = [], {name: Counter() for name in asdict(facts)}
    for recording in each:
        its_rows, its_counts = one_by_one(recording, options)
        rows += its_rows
        for name in counted:
            counted[name] += its_counts[name]
    expect_same(found, facts, rows, counted)
    assert found.column("record").tolist() == [name for name in "012" for _ in range(len(rows) // 3)]
    assert found.column("patient").tolist() == [f"patient {name}" for name in found.column("record")]
    assert json.loads(json.dumps(asdict(facts))) == asdict(facts)


def test_the_lead_is_the_one_asked_for_or_else_the_first() -> None:
    signal = np.arange(200).reshape(2, 100)
    marks: Marks = [(50, "N", "")]
    with_it, without = a_recording(marks, signal), a_recording(marks, signal, record="2", leads=("V5", "V2"))
    found, _ = cut_windows([with_it, without], FIVE, some_options(10), [])
    assert found.leads == ("lead 1",)
    assert found.column("lead_names").tolist() == ["MLII", "V5"]
    assert found.signals[:, 0, 0].tolist() == [145, 45]
    found, _ = cut_windows([with_it, without], FIVE, replace(some_options(10), lead="V2"), [])
    assert found.column("lead_names").tolist() == ["V5", "V2"]


def test_a_rhythm_window_at_an_onset_may_run_past_the_end_of_the_rhythm() -> None:
    recording = a_recording([(20, "+", "(AFIB"), (22, "N", ""), (25, "+", "(N")], np.zeros((2, 100)))
    found, facts = cut_windows([recording], EIGHT, some_options(10, rhythm_windows="onset"), [])
    assert found.column("id").tolist() == ["made/1/AFIB@20"]
    assert (facts.spans_short["AFIB"], facts.in_rhythm["N"]) == (1, 1)
    with pytest.raises(EcglensError, match="no window of the classes"):
        cut_windows([recording], EIGHT, some_options(10, rhythm_windows="span"), [])


def test_evidence_of_the_chosen_lead_comes_along_with_the_beat_it_belongs_to() -> None:
    marks: Marks = [(20, "N", ""), (50, "V", ""), (56, "N", "")]
    evidence = Evidence(
        np.array([50, 50, 56]), np.array(["MLII", "V5", "MLII"]), np.array([48, 40, 55]), np.array([53, 60, 90]),
        np.array(["beat", "beat", "after"]),
    )  # fmt: skip
    recording = replace(a_recording(marks, np.zeros((2, 100))), evidence=evidence)
    found, _ = cut_windows([recording], FIVE, some_options(10), [])
    assert found.evidence is not None
    assert found.evidence.names == ("after 1", "beat 1")
    assert (found.evidence.stop - found.evidence.start).tolist() == [[0, 0], [0, 5], [6, 0]]
    assert found.evidence.start[1, 1] == 3


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"rhythm_windows": "spans"}, "unknown rhythm_windows 'spans'; did you mean 'span'"),
        ({"beats_in_rhythms": "drop"}, "unknown beats_in_rhythms 'drop'"),
        ({"seconds": 0.0}, "expected numbers above 0"),
        ({"fs": float("nan")}, "expected numbers above 0"),
        ({"seconds": 0.001}, "0.001 s at 360 Hz are 0 samples; expected 2 or more"),
    ],
)
def test_options_that_cannot_be_are_refused(told: dict[str, Any], said: str) -> None:
    with pytest.raises(EcglensError, match=said):
        WindowOptions(**told)


# ------------------------------------------------------------------------------------------------ real records


@pytest.fixture(scope="module")
def as_the_paper(real_recordings: dict[str, Recording]) -> tuple[Examples, WindowFacts]:
    return cut_windows(real_recordings.values(), EIGHT, ONSET_KEEP, [])


@pytest.fixture(scope="module")
def whole_spans(real_recordings: dict[str, Recording]) -> tuple[Examples, WindowFacts]:
    return cut_windows(real_recordings.values(), EIGHT, WindowOptions(), [])


def counts(found: Examples) -> dict[str, int]:
    return dict(zip(found.classes, np.bincount(found.labels, minlength=len(found.classes)).tolist(), strict=True))


def test_real_windows_are_all_beats_less_those_that_leave_the_record(
    as_the_paper: tuple[Examples, WindowFacts], real_mitdb: Path
) -> None:
    everywhere, at_the_ends, onsets = Counter(), Counter(), Counter()
    for record in database("mitdb").records:
        marks = wfdb.rdann(str(real_mitdb / record), "atr")
        for sample, symbol, note in zip(marks.sample, marks.symbol, marks.aux_note, strict=True):
            everywhere[symbol] += 1
            at_the_ends[symbol] += sample < 360 or sample + 360 > 650_000
            onsets[note.rstrip("\x00")] += symbol == "+"
    found, facts = as_the_paper
    assert {name: everywhere[symbol] for name, symbol in EIGHT.symbols.items() if symbol} == {
        "N": 75052, "PVC": 7130, "PAC": 2546, "LBBB": 8075, "RBBB": 7259,
    }  # fmt: skip
    for name, symbol in EIGHT.symbols.items():
        if symbol:
            assert facts.kept[name] == everywhere[symbol] - at_the_ends[symbol]
            assert facts.left_record[name] == at_the_ends[symbol]
    for name, rhythm in EIGHT.rhythms.items():
        assert facts.kept[name] == facts.spans[name] == onsets[rhythm]
    assert facts.kept == counts(found) == {
        "N": 74965, "PVC": 7126, "PAC": 2545, "AFIB": 107, "SVTA": 26, "SBR": 1, "LBBB": 8066, "RBBB": 7251,
    }  # fmt: skip
    assert facts.other_beats == {symbol: n for symbol, n in everywhere.items() if symbol in set("/fFjaJEQSe")}
    assert found.column("id").tolist() == list(dict.fromkeys(found.column("id")))
    assert facts.unknown_rhythms == facts.resampled == {}


def test_real_rhythms_that_the_record_ends_explain_two_of_the_papers_counts(
    as_the_paper: tuple[Examples, WindowFacts],
) -> None:
    """The paper has 102 AFIB and no SBR: the onsets whose rhythm has an end. (Its 22 SVTA are three fewer than so.)"""
    _, facts = as_the_paper
    closed = {name: facts.spans[name] - facts.spans_open[name] for name in EIGHT.rhythms}
    assert closed == {"AFIB": 102, "SVTA": 25, "SBR": 0}


def test_real_windows_of_whole_spans_have_one_label_each(
    whole_spans: tuple[Examples, WindowFacts], real_recordings: dict[str, Recording]
) -> None:
    found, facts = whole_spans
    assert facts.kept == counts(found) == {
        "N": 64373, "PVC": 6098, "PAC": 735, "AFIB": 3923, "SVTA": 91, "SBR": 844, "LBBB": 8065, "RBBB": 6854,
    }  # fmt: skip
    inside = Counter()
    for recording in real_recordings.values():
        for start, stop, rhythm in recording.rhythm_spans():
            if rhythm in RHYTHM_OF:
                inside[EIGHT.classes[RHYTHM_OF[rhythm]]] += (stop - start) // 720
    assert {name: facts.kept[name] + facts.no_beat[name] for name in EIGHT.rhythms} == inside
    rhythm = np.isin(found.labels, list(RHYTHM_OF.values()))
    for record, recording in real_recordings.items():
        covered = np.zeros(650_000, bool)
        for start, stop, label in recording.rhythm_spans():
            covered[start:stop] |= label in RHYTHM_OF
        rows = np.flatnonzero(found.column("record") == record)
        total = np.concatenate([[0], np.cumsum(covered)])
        share = total[found.column("start")[rows] + 720] - total[found.column("start")[rows]]
        assert share.tolist() == np.where(rhythm[rows], 720, 0).tolist()


def test_real_windows_are_the_signal_around_the_beat_and_name_their_lead(
    as_the_paper: tuple[Examples, WindowFacts], real_recordings: dict[str, Recording]
) -> None:
    found, _ = as_the_paper
    for row in range(0, len(found), 997):
        record, start = found.column("record")[row], found.column("start")[row]
        recording = real_recordings[record]
        lead = recording.leads.index("MLII") if "MLII" in recording.leads else 0
        np.testing.assert_array_equal(found.signals[row, 0], recording.signal[lead, start : start + 720])
        beats = recording.annotations.beats().sample
        inside = [str(at - start) for at in beats.tolist() if start <= at < start + 720]
        assert found.column("beats_at")[row] == " ".join(inside)
        assert str(found.column("r_index")[row]) in inside
    leads = dict(zip(found.column("record"), found.column("lead_names"), strict=True))
    assert {record: lead for record, lead in leads.items() if lead != "MLII"} == {"102": "V5", "104": "V5"}


# ------------------------------------------------------------------------------------------------ real records at 128 Hz

# a record of mitdb to the long-term database and record that it is given out as; together they hold all eight classes
GIVEN_AS = {"109": ("ltdb", "14046"), "207": ("ltdb", "15814"), "203": ("ltafdb", "00"), "222": ("ltafdb", "01"),
            "232": ("ltafdb", "100")}  # fmt: skip


def write_at_128_hz(real: Recording, folder: Path, record: str, leads: tuple[str, ...]) -> None:
    """The record as the long-term databases have theirs: 128 Hz, leads without places, WFDB format 212."""
    folder.mkdir(parents=True, exist_ok=True)
    middle = real.signal.mean(axis=1, keepdims=True)
    signal = (resample_poly(real.signal - middle, 16, 45, axis=1) + middle)[np.arange(len(leads)) % 2]
    digital = np.clip(np.rint(signal.T * 200), -2047, 2047).astype(np.int64)
    names = [f"{lead}{k}" for k, lead in enumerate(leads)]
    wfdb.wrsamp(
        record, fs=128, units=["mV"] * len(leads), sig_name=names, d_signal=digital, fmt=["212"] * len(leads),
        adc_gain=[200] * len(leads), baseline=[0] * len(leads), write_dir=str(folder),
    )  # fmt: skip
    # wfdb writes no two leads of one name, but the publisher did
    header = folder / f"{record}.hea"
    header.write_text(re.sub(r" ECG\d$", " ECG", header.read_text(), flags=re.MULTILINE))
    marks = real.annotations
    sample = np.minimum(np.rint(marks.sample * 128 / 360).astype(np.int64), len(digital) - 1)
    wfdb.wrann(record, "atr", sample, marks.symbol, aux_note=marks.note.tolist(), write_dir=str(folder))


@pytest.fixture(scope="module")
def slow_copies(real_recordings: dict[str, Recording], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    """Record of mitdb to the copy of it at 128 Hz, as read from disk."""
    root, copies = tmp_path_factory.mktemp("slow"), {}
    for name, (which, record) in GIVEN_AS.items():
        leads = ("ECG", "ECG", "ECG") if record == "15814" else ("ECG", "ECG")
        write_at_128_hz(real_recordings[name], root / which, record, leads)
        skipped: list[Skipped] = []
        (copies[name],) = read_records(database(which), root / which, (record,), skipped, swap_leads=True)
        assert skipped == []
    return copies


@pytest.mark.parametrize("options", [ONSET_KEEP, WindowOptions()], ids=["onset", "span"])
def test_records_at_128_hz_give_the_windows_of_360_hz(
    slow_copies: dict[str, Recording], real_recordings: dict[str, Recording], options: WindowOptions
) -> None:
    real = [real_recordings[name] for name in slow_copies]
    wanted, at_360 = cut_windows(real, EIGHT, options, [])
    found, at_128 = cut_windows(slow_copies.values(), EIGHT, options, [])
    assert (found.fs, found.length) == (360.0, 720)
    assert set(found.column("recorded_fs")) == {128.0}
    assert set(found.column("lead_names")) == {"ECG"}
    assert at_128.resampled == {f"{which}/{record}": 128.0 for which, record in GIVEN_AS.values()}
    assert at_128.other_beats == at_360.other_beats
    assert at_128.spans == at_360.spans
    for name in EIGHT.classes:
        # windows may come or go at the ends of records and of spans
        ends = 2 * len(real) if options is ONSET_KEEP else sum(at_360.spans.values())
        assert abs(at_128.kept[name] - at_360.kept[name]) <= ends
        assert at_128.kept[name] >= 0.97 * at_360.kept[name] > 0
    alike: dict[int, list[float]] = {label: [] for label in range(8)}
    for name, (which, record) in GIVEN_AS.items():
        ours = np.flatnonzero((found.column("database") == which) & (found.column("record") == record))
        start, label = found.column("start")[ours], found.labels[ours]
        for row in np.flatnonzero(wanted.column("record") == name):
            begin = wanted.column("start")[row]
            same = ours[(label == wanted.labels[row]) & (np.abs(start - begin) <= 2)]
            if not len(same):
                continue  # at an edge, or of another label
            # the mark was rounded to 1/128 s: the two windows begin up to two samples apart
            shift = int(found.column("start")[same[0]] - begin)
            a, b = wanted.signals[row, 0, 2 + shift : 718 + shift], found.signals[same[0], 0, 2:718]
            alike[wanted.labels[row]].append(float(np.corrcoef(a, b)[0, 1]))
    for label, values in alike.items():
        name = EIGHT.classes[label]
        assert len(values) >= 0.95 * counts(wanted)[name] > 0, name
        assert np.percentile(values, 5) > 0.98, name


def test_records_of_several_databases_and_rates_are_cut_together(
    slow_copies: dict[str, Recording], real_recordings: dict[str, Recording]
) -> None:
    found, facts = cut_windows(
        chain([real_recordings["100"]], (slow_copies[name] for name in ("109", "232"))), EIGHT, WindowOptions(), []
    )
    rates = dict(zip(found.column("database"), found.column("recorded_fs"), strict=True))
    assert rates == {"mitdb": 360.0, "ltdb": 128.0, "ltafdb": 128.0}
    assert facts.resampled == {"ltdb/14046": 128.0, "ltafdb/100": 128.0}
    # mitdb and ltafdb both have a record 100; they are two people
    people = dict(zip(found.column("database"), found.column("patient"), strict=True))
    assert people == {"mitdb": "100", "ltdb": "14046", "ltafdb": "ltafdb/100"}
    assert found.table["id"].is_unique


# ------------------------------------------------------------------------------------------------ bad input


def cut_from_disk(folder: Path, *records: str) -> tuple[Examples, WindowFacts, list[Skipped], list[str]]:
    """Records of a mitdb folder cut into windows: what a study does."""
    skipped: list[Skipped] = []
    remarks: list[str] = []
    read = read_records(database("mitdb"), folder, records, skipped, swap_leads=True, remarks=remarks)
    found, facts = cut_windows(read, EIGHT, WindowOptions(), skipped)
    return found, facts, skipped, remarks


def rewrite_marks(folder: Path, record: str, *more: tuple[int, str, str]) -> Marks:
    """Marks added to those of a record on disk."""
    old = wfdb.rdann(str(folder / record), "atr")
    marks = sorted([*zip(old.sample.tolist(), old.symbol, [note.rstrip("\x00") for note in old.aux_note], strict=True), *more])
    sample, symbol, note = zip(*marks, strict=True)
    wfdb.wrann(record, "atr", np.array(sample), np.array(symbol), aux_note=list(note), write_dir=str(folder))
    return marks


def test_marks_that_outlive_the_signal_cost_themselves_or_too_many_of_them_the_record(
    tmp_path: Path, write_record: Callable[..., Path]
) -> None:
    write_record(tmp_path, "100", seconds=40)
    write_record(tmp_path, "101", seconds=40)
    _, before, _, _ = cut_from_disk(tmp_path, "100")
    rewrite_marks(tmp_path, "100", (40 * 360 + 100, "V", ""))
    rewrite_marks(tmp_path, "101", *[(40 * 360 + 100 * k, "N", "") for k in range(1, 9)])
    found, facts, skipped, remarks = cut_from_disk(tmp_path, "100", "101")
    assert facts == before
    assert set(found.column("record")) == {"100"}
    assert [(item.record, "do not belong together" in item.reason) for item in skipped] == [("101", True)]
    assert len(remarks) == 1
    assert remarks[0].startswith("100: 1 of the ")
    assert remarks[0].endswith("are left out: at 40.28 s")


def test_windows_that_leave_the_record_are_counted_by_class(tmp_path: Path, write_record: Callable[..., Path]) -> None:
    write_record(tmp_path, "100", seconds=40)
    marks = rewrite_marks(tmp_path, "100", (30, "V", ""), (40 * 360 - 20, "A", ""), (40 * 360 - 300, "+", "(AFIB"))
    out = Counter(symbol for sample, symbol, _ in marks if sample < 360 or sample + 360 > 40 * 360)
    assert out["V"] >= 1 == out["A"]
    found, facts, _, _ = cut_from_disk(tmp_path, "100")
    assert (facts.left_record["N"], facts.left_record["PVC"], facts.left_record["PAC"]) == (out["N"], out["V"], out["A"])
    assert facts.left_record["AFIB"] == 0
    assert (found.column("start") >= 0).all()
    assert (found.column("start") + 720 <= 40 * 360).all()
    recording = next(read_records(database("mitdb"), tmp_path, ("100",), [], swap_leads=True))
    _, at_onsets = cut_windows([recording], EIGHT, ONSET_KEEP, [])
    assert (at_onsets.left_record["AFIB"], at_onsets.kept["AFIB"]) == (1, 0)


def test_a_rhythm_with_no_end_goes_on_to_the_records_end_and_is_counted(
    tmp_path: Path, write_record: Callable[..., Path]
) -> None:
    write_record(tmp_path, "100", seconds=40)
    rewrite_marks(tmp_path, "100", (5 * 360, "+", "(SVTA"), (15 * 360, "+", "(N"), (20 * 360, "+", "(AFIB"))
    found, facts, skipped, remarks = cut_from_disk(tmp_path, "100")
    assert (facts.kept["AFIB"], facts.kept["SVTA"]) == (10, 5)
    assert (facts.spans_open["AFIB"], facts.spans_open["SVTA"]) == (1, 0)
    assert found.column("id")[-1] == f"mitdb/100/AFIB@{38 * 360}"
    assert (skipped, remarks) == ([], [])


def test_128_hz_data_given_as_360_hz_are_left_out_by_name_and_the_rest_is_cut(
    tmp_path: Path, write_record: Callable[..., Path]
) -> None:
    write_record(tmp_path, "100", seconds=40)
    write_record(tmp_path, "101", seconds=200, fs=128)
    header = tmp_path / "101.hea"
    header.write_text(header.read_text().replace(" 128 ", " 360 ", 1))
    found, _, skipped, _ = cut_from_disk(tmp_path, "100", "101")
    assert set(found.column("record")) == {"100"}
    assert [item.record for item in skipped] == ["101"]
    assert "128" in skipped[0].reason
    assert skipped[0].reason.endswith("Hz data given as 360 Hz")


def test_an_unknown_rhythm_is_named_and_counted_and_ends_the_rhythm_before(
    tmp_path: Path, write_record: Callable[..., Path]
) -> None:
    write_record(tmp_path, "100", seconds=40)
    more = [(5 * 360, "+", "(AFIB"), (15 * 360, "+", "(AFIBB"), (20 * 360, "+", "AFIB"), (25 * 360, "+", "(AFIBB")]
    rewrite_marks(tmp_path, "100", *more)
    _, facts, _, _ = cut_from_disk(tmp_path, "100")
    assert facts.unknown_rhythms == {"(AFIBB": 2, "AFIB": 1}
    assert (facts.kept["AFIB"], facts.spans["AFIB"], facts.spans_open["AFIB"]) == (5, 1, 0)


def test_lost_samples_cost_the_windows_that_hold_them_and_say_so(tmp_path: Path, write_record: Callable[..., Path]) -> None:
    def gap(digital: np.ndarray) -> None:
        digital[5000:5040, 0] = -2048
        digital[9000:9040, 1] = -2048  # in the other lead

    write_record(tmp_path, "100", seconds=40, edit=gap)
    marks = wfdb.rdann(str(tmp_path / "100"), "atr")
    hit = sum(
        any(5000 <= time < 5040 for time in range(at - 360, at + 360))
        for at, symbol in zip(marks.sample, marks.symbol, strict=True)
        if symbol in "NV"
    )
    _, facts, skipped, _ = cut_from_disk(tmp_path, "100")
    assert hit > 0
    assert facts.invalid["N"] + facts.invalid["PVC"] == hit
    assert skipped == [Skipped("100", f"{hit} windows hold invalid (NaN) samples", hit)]


def test_without_any_window_the_reasons_are_in_the_error(tmp_path: Path, write_record: Callable[..., Path]) -> None:
    write_record(tmp_path, "100", seconds=1.2)
    with pytest.raises(EcglensError, match=r"no window of the classes N, .* was found \(101: 101\.hea is missing"):
        cut_from_disk(tmp_path, "100", "101")
    with pytest.raises(EcglensError, match=r"was found \(no record\)"):
        cut_windows([], EIGHT, WindowOptions(), [])
