"""Beats are cut as a slow, plain loop cuts them; on real records the counts are the published ones."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.examples import COLUMNS, Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.splits import TEST, make_split
from ecglens.recordings.databases import Skipped
from ecglens.recordings.recording import BEAT_SYMBOLS, Annotations, Recording

AS_PUBLISHED = BeatOptions(extent="halfway", neighbours="annotations", padding="end", merge_case=True, join_leads=True)
FIXED = BeatOptions()


def a_recording(
    marks: list[tuple[int, str]], signal: Any, record: str = "1", fs: float = 360.0, leads: tuple[str, ...] = ("MLII", "V1")
) -> Recording:
    annotations = Annotations(
        np.array([sample for sample, _ in marks], np.int64),
        np.array([symbol for _, symbol in marks], np.str_),
        np.array([""] * len(marks), np.str_),
    )
    return Recording("made", record, f"patient {record}", np.asarray(signal, np.float32), fs, leads, annotations)


def classes_of(name: str, *, merge_case: bool) -> dict[str, int]:
    """Symbol to class index."""
    out = {}
    for index, members in enumerate(label_map(name).symbols.values()):
        out |= dict.fromkeys(members, index)
    if merge_case:
        out |= {lower: out[lower.upper()] for lower in "ae" if lower.upper() in out}
    return out


def one_by_one(recording: Recording, name: str, options: BeatOptions) -> list[dict[str, Any]]:
    """The rule in words, beat by beat and sample by sample. Windows are (lead, time)."""
    class_of = classes_of(name, merge_case=options.merge_case)
    marks = list(zip(recording.annotations.sample.tolist(), recording.annotations.symbol.tolist(), strict=True))
    beats = [mark for mark in marks if mark[1] in BEAT_SYMBOLS]
    neighbours = marks if options.neighbours == "annotations" else beats
    n_leads, n_samples = recording.signal.shape
    signal, length = recording.signal.tolist(), options.length
    out, at = [], -1
    for number, mark in enumerate(neighbours):
        sample, symbol = mark
        if symbol not in BEAT_SYMBOLS:
            continue
        at += 1
        if symbol not in class_of:
            continue
        window = [[0.0] * length for _ in range(n_leads)]
        if options.extent == "fixed":
            begin = sample - length // 2
            inside = [k for k in range(length) if 0 <= begin + k < n_samples]
            for lead in range(n_leads):
                for k in range(length):
                    window[lead][k] = signal[lead][min(max(begin + k, 0), n_samples - 1)]
            valid = (inside[0], inside[-1] + 1)
        else:
            if number == 0 or number == len(neighbours) - 1:
                continue
            start = math.floor((neighbours[number - 1][0] + sample) / 2)
            stop = math.floor((sample + neighbours[number + 1][0]) / 2)
            if stop - start > length:
                continue
            begin = start if options.padding == "end" else sample - length // 2
            inside = [time for time in range(start, stop) if 0 <= time - begin < length]
            for lead in range(n_leads):
                for time in inside:
                    window[lead][time - begin] = signal[lead][time]
            valid = (inside[0] - begin, inside[-1] + 1 - begin) if inside else None
        rr = [(after[0] - before[0]) / recording.fs for before, after in pairwise(beats)]
        near = rr[max(at - 10, 0) : at + 10]
        out.append(
            {
                "label": class_of[symbol],
                "window": window,
                "start": begin,
                "r_sample": sample,
                "r_index": sample - begin,
                "valid": valid,
                "symbol": symbol,
                "rr_before": rr[at - 1] if at >= 1 else math.nan,
                "rr_after": rr[at] if at < len(rr) else math.nan,
                "rr_earlier": rr[at - 2] if at >= 2 else math.nan,
                "rr_local": median(near) if near else math.nan,
                "rr_spread": sum(abs(math.log(each / median(near))) for each in near) / len(near) if near else math.nan,
            }
        )
    return out


def expect_same(found: Examples, wanted: list[dict[str, Any]], recording: Recording, *, joined: bool) -> None:
    n_leads = len(recording.leads)
    assert len(found) == len(wanted)
    windows = np.array([beat["window"] for beat in wanted], np.float32)
    if joined:
        windows = np.stack([np.concatenate(list(window))[None] for window in windows])
    np.testing.assert_array_equal(found.signals, windows)
    assert found.labels.tolist() == [beat["label"] for beat in wanted]
    for name in ("start", "r_sample", "r_index", "symbol"):
        assert found.column(name).tolist() == [beat[name] for beat in wanted], name
    for row, beat in enumerate(wanted):
        if beat["valid"] is not None:
            assert (found.column("valid_start")[row], found.column("valid_stop")[row]) == beat["valid"]
        else:
            assert found.column("valid_start")[row] >= found.column("valid_stop")[row]
    for name in ("rr_before", "rr_after", "rr_earlier", "rr_local", "rr_spread"):
        np.testing.assert_allclose(found.column(name), [beat[name] for beat in wanted], rtol=1e-12, atol=1e-12, err_msg=name)
    assert found.column("id").tolist() == [f"{recording.database}/{recording.record}/{beat['r_sample']}" for beat in wanted]
    assert set(found.column("record")) == {recording.record}
    assert set(found.column("patient")) == {recording.patient}
    assert set(found.column("lead_names")) == {", ".join(recording.leads)}
    assert set(COLUMNS) <= set(found.table.columns)
    assert len(found.places) == n_leads


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    """Short recordings with marks anywhere, also on the first and last sample."""
    n_samples = draw(st.integers(30, 160))
    at = draw(st.lists(st.integers(0, n_samples - 1), min_size=1, max_size=14, unique=True).map(sorted))
    symbols = draw(st.lists(st.sampled_from("NNVAaEejLR/F+~|Q"), min_size=len(at), max_size=len(at)))
    signal = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(2, n_samples))
    return a_recording(list(zip(at, symbols, strict=True)), signal)


options = st.builds(
    BeatOptions,
    extent=st.sampled_from(["fixed", "halfway"]),
    neighbours=st.sampled_from(["annotations", "beats"]),
    padding=st.sampled_from(["centre", "end"]),
    length=st.integers(2, 60),
    merge_case=st.booleans(),
    join_leads=st.booleans(),
)


@pytest.mark.parametrize("name", ["jones", "aami"])
@given(recording=recordings(), how=options)
def test_beats_are_cut_as_the_plain_loop_cuts_them(name: str, recording: Recording, how: BeatOptions) -> None:
    wanted = one_by_one(recording, name, how)
    if not wanted:
        with pytest.raises(EcglensError, match="no beat of the classes"):
            cut_beats([recording], label_map(name), how, [])
        return
    skipped: list[Skipped] = []
    found, facts = cut_beats([recording], label_map(name), how, skipped)
    expect_same(found, wanted, recording, joined=how.join_leads)
    assert skipped == []
    assert facts.of_classes - facts.too_long == len(wanted)


def real_part(recording: Recording, seconds: int) -> Recording:
    stop = int(seconds * recording.fs)
    marks = recording.annotations
    early = marks.sample < stop
    part = list(zip(marks.sample[early].tolist(), marks.symbol[early].tolist(), strict=True))
    return a_recording(part, recording.signal[:, :stop], recording.record, recording.fs, recording.leads)


@pytest.mark.parametrize("how", [AS_PUBLISHED, FIXED], ids=["as published", "fixed"])
@pytest.mark.parametrize("record", ["100", "114", "207", "232"])
def test_real_beats_are_cut_as_the_plain_loop_cuts_them(real_recordings, record: str, how: BeatOptions) -> None:
    recording = real_part(real_recordings[record], 120)
    found, _ = cut_beats([recording], label_map("jones"), how, [])
    expect_same(found, one_by_one(recording, "jones", how), recording, joined=how.join_leads)


def test_the_last_value_goes_on_beyond_both_ends_of_a_record() -> None:
    recording = a_recording([(0, "N"), (9, "N")], [np.arange(10), np.arange(10, 20)])
    found, _ = cut_beats([recording], label_map("jones"), BeatOptions(length=6), [])
    assert found.signals[0].tolist() == [[0, 0, 0, 0, 1, 2], [10, 10, 10, 10, 11, 12]]
    assert found.signals[1].tolist() == [[6, 7, 8, 9, 9, 9], [16, 17, 18, 19, 19, 19]]
    assert found.table[["valid_start", "valid_stop", "r_index"]].to_numpy().tolist() == [[3, 6, 3], [0, 4, 3]]


def test_a_window_longer_than_the_record_is_filled_on_both_sides() -> None:
    found, _ = cut_beats([a_recording([(1, "N")], [[1, 2, 3]] * 2)], label_map("jones"), BeatOptions(length=8), [])
    assert found.signals[0, 0].tolist() == [1, 1, 1, 1, 2, 3, 3, 3]
    assert found.table[["valid_start", "valid_stop"]].to_numpy().tolist() == [[3, 6]]


def test_the_first_and_the_last_mark_have_no_half_way_and_are_left_out() -> None:
    recording = a_recording([(10, "N"), (30, "N"), (50, "N"), (70, "N")], np.ones((2, 80)))
    found, facts = cut_beats([recording], label_map("jones"), BeatOptions(extent="halfway"), [])
    assert found.column("r_sample").tolist() == [30, 50]
    assert (facts.of_classes, facts.too_long, facts.longest) == (2, 0, 20)


def test_a_comment_between_two_beats_cuts_a_published_beat_short() -> None:
    recording = a_recording([(0, "N"), (20, "N"), (24, "~"), (40, "N"), (60, "N")], np.ones((2, 80)))
    published, _ = cut_beats([recording], label_map("jones"), AS_PUBLISHED, [])
    mended, _ = cut_beats([recording], label_map("jones"), BeatOptions(extent="halfway", neighbours="beats"), [])
    assert (published.column("valid_stop") - published.column("valid_start")).tolist() == [12, 18]
    assert (mended.column("valid_stop") - mended.column("valid_start")).tolist() == [20, 20]


def test_beats_over_the_length_are_dropped_and_counted() -> None:
    recording = a_recording([(0, "N"), (20, "N"), (100, "V"), (110, "V"), (120, "N")], np.ones((2, 130)))
    found, facts = cut_beats([recording], label_map("jones"), BeatOptions(extent="halfway", length=45), [])
    assert found.column("r_sample").tolist() == [100, 110]
    assert (facts.longest, facts.too_long, facts.of_classes) == (50, 1, 3)


def test_beats_with_invalid_samples_are_left_out_by_number_and_the_others_stay() -> None:
    signal = np.ones((2, 100))
    signal[1, 38:42] = np.nan
    recording = a_recording([(10, "N"), (30, "N"), (50, "V"), (70, "N")], signal, record="7")
    skipped: list[Skipped] = []
    found, _ = cut_beats([recording], label_map("jones"), BeatOptions(length=20), skipped)
    assert found.column("r_sample").tolist() == [10, 70]
    assert [(item.record, item.beats) for item in skipped] == [("7", 2)]
    assert "2 beats hold invalid (NaN) samples" in skipped[0].reason


def test_an_invalid_sample_outside_a_half_way_beat_does_no_harm() -> None:
    signal = np.ones((2, 100))
    signal[0, 90] = np.nan
    recording = a_recording([(10, "N"), (30, "N"), (50, "N")], signal)
    skipped: list[Skipped] = []
    found, _ = cut_beats([recording], label_map("jones"), BeatOptions(extent="halfway", length=100), skipped)
    assert (len(found), skipped) == (1, [])
    assert not np.isnan(found.signals).any()


def test_a_record_with_nothing_but_invalid_beats_is_named_where_no_beat_is_left() -> None:
    recording = a_recording([(10, "N"), (30, "N")], np.full((2, 50), np.nan), record="7")
    with pytest.raises(EcglensError, match=r"no beat of the classes .*7: 2 beats hold invalid"):
        cut_beats([recording], label_map("jones"), BeatOptions(length=10), [])
    with pytest.raises(EcglensError, match=r"no beat of the classes .*\(no record\)"):
        cut_beats([], label_map("jones"), BeatOptions(), [])


def test_recordings_of_different_rate_or_number_of_leads_are_not_mixed() -> None:
    first = a_recording([(10, "N")], np.ones((2, 50)), "1")
    slower = a_recording([(10, "N")], np.ones((2, 50)), "2", fs=250)
    single = a_recording([(10, "N")], np.ones((1, 50)), "3", leads=("MLII",))
    with pytest.raises(EcglensError, match="2 has 2 leads at 250 Hz, the records before it 2 at 360 Hz"):
        cut_beats([first, slower], label_map("jones"), BeatOptions(length=10), [])
    with pytest.raises(EcglensError, match="3 has 1 leads at 360 Hz"):
        cut_beats([first, single], label_map("jones"), BeatOptions(length=10), [])


def test_several_recordings_come_one_after_the_other() -> None:
    each = [a_recording([(10, "N"), (20, "V")], np.full((2, 50), number), str(number)) for number in (3, 1, 2)]
    found, _ = cut_beats(each, label_map("jones"), BeatOptions(length=4), [])
    assert found.column("record").tolist() == ["3", "3", "1", "1", "2", "2"]
    assert found.signals[:, 0, 0].tolist() == [3, 3, 1, 1, 2, 2]
    assert found.table.index.tolist() == list(range(6))


@pytest.mark.parametrize(
    ("join_leads", "places"),
    [(False, [("lead 1", 0, 0, 6), ("lead 2", 1, 0, 6)]), (True, [("lead 1", 0, 0, 6), ("lead 2", 0, 6, 6)])],
)
def test_places_say_where_each_lead_lies(join_leads: bool, places: list[tuple]) -> None:
    recording = a_recording([(20, "N")], [np.full(50, 1), np.full(50, 2)])
    found, _ = cut_beats([recording], label_map("jones"), BeatOptions(length=6, join_leads=join_leads), [])
    assert [(place.name, place.row, place.offset, place.length) for place in found.places] == places
    for value, place in enumerate(found.places, start=1):
        assert set(found.signals[0, place.row, place.offset : place.offset + place.length]) == {value}


@given(recording=recordings(), length=st.integers(2, 40))
def test_the_usual_beat_is_the_median_of_the_records_windows_under_every_beat(recording: Recording, length: int) -> None:
    wanted = one_by_one(recording, "jones", BeatOptions(length=length))
    if not wanted:
        return
    found, _ = cut_beats([recording], label_map("jones"), BeatOptions(length=length, usual_beat=True), [])
    assert found.leads == ("lead 1", "lead 2", "usual lead 1", "usual lead 2")
    assert found.column("lead_names")[0] == "MLII, V1, usual MLII, usual V1"
    for row, beat in enumerate(wanted):
        for lead in range(2):
            assert found.signals[row, lead].tolist() == np.float32(beat["window"][lead]).tolist()
            slowly = [median(np.float32(each["window"][lead][k]).item() for each in wanted) for k in range(length)]
            np.testing.assert_allclose(found.signals[row, 2 + lead], slowly, rtol=1e-6, atol=1e-7)


def test_the_usual_beat_is_each_records_own() -> None:
    each = [a_recording([(10, "N"), (20, "N")], np.full((2, 50), number), str(number)) for number in (3, 1)]
    found, _ = cut_beats(each, label_map("jones"), BeatOptions(length=4, usual_beat=True), [])
    assert found.signals[:, 2, 0].tolist() == [3, 3, 1, 1]


def test_the_usual_beat_does_not_look_at_labels() -> None:
    signal = np.random.default_rng(0).normal(size=(2, 200))
    usual = []
    for symbols in ("NNNV", "VANN"):
        marks = list(zip((20, 60, 100, 150), symbols, strict=True))
        found, _ = cut_beats([a_recording(marks, signal)], label_map("jones"), BeatOptions(length=20, usual_beat=True), [])
        usual.append(found.signals[:, 2:])
    np.testing.assert_array_equal(*usual)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"extent": "whole"}, "unknown extent 'whole'"),
        ({"neighbours": "all"}, "unknown neighbours 'all'"),
        ({"padding": "center"}, "unknown padding 'center'; did you mean 'centre'"),
        ({"length": 1}, "length is 1; expected at least 2 samples"),
        ({"usual_beat": True, "join_leads": True}, "usual_beat needs"),
        ({"usual_beat": True, "extent": "halfway"}, "usual_beat needs"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(words: dict, said: str) -> None:
    with pytest.raises(EcglensError, match=said):
        BeatOptions(**words)


def test_one_beat_alone_has_no_rr_and_gives_no_warning() -> None:
    found, _ = cut_beats([a_recording([(20, "N")], np.ones((2, 50)))], label_map("jones"), BeatOptions(length=4), [])
    assert found.table[["rr_before", "rr_after", "rr_earlier", "rr_local", "rr_spread"]].isna().all(axis=None)


# ------------------------------------------------------------------------------------------------ all real records


def counted(found: Examples) -> dict[str, int]:
    return dict(Counter(np.array(found.classes)[found.labels].tolist()))


def counted_plainly(real_recordings: dict[str, Recording], *, merge_case: bool) -> tuple[Counter, int, int, int]:
    """Kept beats by class, longest, too long, all; by the rule as published, in a loop over marks."""
    class_of = classes_of("jones", merge_case=merge_case)
    names = label_map("jones").classes
    kept: Counter = Counter()
    longest = too_long = everything = 0
    for recording in real_recordings.values():
        samples, symbols = recording.annotations.sample.tolist(), recording.annotations.symbol.tolist()
        for k in range(1, len(samples) - 1):
            if symbols[k] not in class_of:
                continue
            length = (samples[k] + samples[k + 1]) // 2 - (samples[k - 1] + samples[k]) // 2
            everything += 1
            longest = max(longest, length)
            if length > 430:
                too_long += 1
            else:
                kept[names[class_of[symbols[k]]]] += 1
    return kept, longest, too_long, everything


@pytest.fixture(scope="module")
def published(real_recordings: dict[str, Recording]) -> tuple[Examples, Any]:
    return cut_beats(real_recordings.values(), label_map("jones"), AS_PUBLISHED, [])


def test_all_real_beats_as_published_are_as_many_as_in_the_paper(published, real_recordings) -> None:
    found, facts = published
    assert len(found) == 105_079
    assert counted(found) == {"N": 73_324, "L": 8_071, "V": 7_113, "P": 7_024, "R": 6_769, "A": 2_455, "j": 208, "E": 115}
    assert found.signals.shape == (105_079, 1, 860)
    assert facts.longest == 1_271
    assert round(100 * facts.too_long / facts.of_classes, 2) == 2.29
    kept, longest, too_long, everything = counted_plainly(real_recordings, merge_case=True)
    assert kept == counted(found)
    assert (longest, too_long, everything) == (facts.longest, facts.too_long, facts.of_classes)


def test_all_real_beats_as_published_but_with_case_kept_are_166_less(published, real_recordings) -> None:
    kept, *_ = counted_plainly(real_recordings, merge_case=False)
    assert kept.total() == 104_913
    lower = Counter(published[0].column("symbol").tolist())
    assert (lower["a"], lower["e"]) == (150, 16)
    assert len(published[0]) - lower["a"] - lower["e"] == 104_913


def test_real_records_cut_with_case_kept_hold_no_lower_case_beats(real_recordings) -> None:
    some = [real_recordings[name] for name in ("201", "202", "223")]
    how = BeatOptions(extent="halfway", neighbours="annotations", padding="end", join_leads=True)
    merged, _ = cut_beats(some, label_map("jones"), AS_PUBLISHED, [])
    kept, _ = cut_beats(some, label_map("jones"), how, [])
    lower = np.isin(merged.column("symbol"), ["a", "e"])
    assert lower.sum() > 100
    assert kept.column("id").tolist() == merged.column("id")[~lower].tolist()


def test_the_real_leave_patients_out_test_side_is_as_large_as_in_the_paper(published) -> None:
    found, _ = published
    test = found.take(make_split("leave-patients-out", found, 0) == TEST)
    assert len(test) == 10_528
    assert counted(test) == {"N": 7_488, "V": 1_632, "P": 1_379, "A": 28, "E": 1}


def test_fixed_windows_drop_no_real_beat(real_recordings) -> None:
    skipped: list[Skipped] = []
    found, facts = cut_beats(real_recordings.values(), label_map("jones"), BeatOptions(length=8), skipped)
    assert counted(found) == {
        "N": 75_052, "L": 8_075, "R": 7_259, "V": 7_130, "P": 7_028, "A": 2_546, "j": 229, "E": 106,
    }  # fmt: skip
    assert (facts.too_long, facts.of_classes, skipped) == (0, len(found), [])
    everywhere = Counter(symbol for each in real_recordings.values() for symbol in each.annotations.symbol.tolist())
    assert {name: everywhere[label_map("jones").symbols[name]] for name in found.classes} == counted(found)


def test_the_r_peak_is_in_the_middle_of_every_fixed_window(real_recordings) -> None:
    found, _ = cut_beats([real_recordings["119"]], label_map("jones"), FIXED, [])
    assert set(found.column("r_index")) == {215}
    assert found.signals.shape[1:] == (2, 430)
