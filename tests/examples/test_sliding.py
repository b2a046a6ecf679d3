"""Windows of six beats: each column and each sample as a plain loop has them, and every window counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.examples.examples import COLUMNS, Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.rr_intervals import rr_intervals
from ecglens.examples.sliding import REASONS, SlidingFacts, SlidingOptions, beats_at, cut_sliding, labelled, window_bounds
from ecglens.examples.splits import DS1_RECORDS, DS2_RECORDS
from ecglens.recordings.databases import Skipped
from ecglens.recordings.recording import Annotations, Evidence, Recording

LABELS = label_map("varandas")
FS = 100.0
SHORT = {"fs": FS, "longest": 8.0}


def recording(
    beats: Sequence[tuple[int, str]], *, n: int = 3000, leads: tuple[str, ...] = ("MLII",), **told: Any
) -> Recording:
    """Noise with beats of (sample, symbol), a rhythm mark before them."""
    marks = [(0, "+"), *beats]
    annotations = Annotations(
        np.array([at for at, _ in marks], np.int64), np.array([symbol for _, symbol in marks]), np.array([""] * len(marks))
    )
    signal = np.random.default_rng(len(beats)).normal(size=(len(leads), n)).astype(np.float32)
    given_ = {"database": "made", "record": "r1", "patient": "p1", "fs": FS} | told
    return Recording(signal=signal, leads=leads, annotations=annotations, **given_)


def steady(n: int = 20, symbols: str = "N", every: int = 80, first: int = 60) -> list[tuple[int, str]]:
    """`n` beats, `symbols` over and over."""
    return [(first + every * k, symbols[k % len(symbols)]) for k in range(n)]


def cut(*recordings: Recording, **options: Any) -> tuple[Examples, SlidingFacts, list[Skipped]]:
    skipped: list[Skipped] = []
    return *cut_sliding(recordings, LABELS, SlidingOptions(**(SHORT | options)), skipped), skipped


def totals(facts: SlidingFacts) -> dict[str, int]:
    """What is counted of windows, classes added up, without zeros."""
    counted = {name: sum(asdict(facts)[name].values()) for name in (*REASONS, "incomplete", "at_edge")}
    return {name: n for name, n in counted.items() if n}


# ------------------------------------------------------------------------------------------------ a plain loop


def half_way(here: int, neighbour: int) -> int:
    return int(np.floor((here + neighbour) / 2))


def slowly(one: Recording, options: SlidingOptions) -> Iterator[tuple[str, dict[str, Any], np.ndarray]]:
    """(reason, row, signal) of every window of one record, one after the other."""
    signal = one.signal[one.leads.index(options.lead) if options.lead in one.leads else 0]
    every = zip(one.annotations.sample.tolist(), one.annotations.symbol.tolist(), strict=True)
    marks = [(at, symbol) for at, symbol in every if symbol not in '+~|"']
    classes = ["normal" if symbol in "NLRej" else "abnormal" if symbol in "AaJSVEF" else None for _, symbol in marks]
    mine = [k for k in range(len(marks)) if classes[k] is not None]
    if len(mine) < options.beats:
        return
    intervals = rr_intervals(np.array([at for at, _ in marks]), one.fs)
    whole = len(mine) - options.beats + 1
    for number in range(whole + (options.ends == "published")):
        held = mine[number : number + options.beats]
        # the beats that bound the window: of a class, or all where the others must not be seen
        known = mine if options.other_beats == "keep" else list(range(len(marks)))
        at = [marks[k][0] for k in known]
        a, b = known.index(held[0]), known.index(held[-1])
        before = at[a - 1] if a else at[0] - (at[1] - at[0])
        after = at[b + 1] if b + 1 < len(at) else at[-1] + (at[-1] - at[-2])
        start = min(max(max(half_way(at[a], before), before + 1), 0), len(signal))
        stop = min(max(max(half_way(at[b], after), at[b] + 1), 0), len(signal))
        window = signal[start:stop]
        labelled = len(held) - 1 if options.labelled == "last" else 0
        begin = options.length - len(window) if options.labelled == "last" else 0
        near = at[max(a - 1, 0) : b + 2]
        reason = "kept"
        if options.other_beats == "leave-out" and held != list(range(held[0], held[-1] + 1)):
            reason = "other_beat"
        elif len(set(near)) < len(near):
            reason = "one_sample"
        elif len(window) > options.length:
            reason = "too_long"
        elif np.isnan(window).any():
            reason = "invalid"
        elif len(set(window.tolist())) < 2:
            reason = "flat"
        r = [marks[k][0] for k in held]
        row = {
            "id": f"{one.database}/{one.record}/{r[0]}-{r[-1]}",
            "database": one.database,
            "record": one.record,
            "patient": one.patient,
            "start": start - begin,
            "r_sample": r[labelled],
            "r_index": r[labelled] - start + begin,
            "valid_start": begin,
            "valid_stop": begin + len(window),
            "symbol": marks[held[labelled]][1],
            "lead_names": options.lead if options.lead in one.leads else one.leads[0],
            **{name: float(values[held[labelled]]) for name, values in intervals.items()},
            "beats_at": " ".join(str(at - start + begin) for at in r),
            "beat_symbols": "".join(marks[k][1] for k in held),
            "labelled": labelled,
            "class": classes[held[labelled]],
        }
        padded = np.empty(0)
        if reason == "kept":
            padded = np.full(options.length, np.median(window), np.float32)
            for k, value in enumerate(window):
                padded[begin + k] = value
        yield reason, row, padded


def compare(one: Recording, options: SlidingOptions) -> None:
    """The windows of `one` are those of the plain loop."""
    found = list(slowly(one, options))
    wanted = [(row, padded) for reason, row, padded in found if reason == "kept"]
    skipped: list[Skipped] = []
    if not wanted:
        with pytest.raises(EcglensError, match="no window of"):
            cut_sliding([one], LABELS, options, skipped)
        return
    examples, facts = cut_sliding([one], LABELS, options, skipped)
    np.testing.assert_array_equal(examples.signals[:, 0], np.stack([padded for _, padded in wanted]))
    assert [examples.classes[k] for k in examples.labels] == [row.pop("class") for row, _ in wanted]
    assert set(examples.table.columns) == set(wanted[0][0]) >= set(COLUMNS)
    for name in wanted[0][0]:
        np.testing.assert_array_equal(examples.column(name), np.array([row[name] for row, _ in wanted]), err_msg=name)
    # every window has one reason, and is counted under the class of its labelled beat
    counted = Counter((reason, "abnormal" if row["symbol"] in "AaJSVEF" else "normal") for reason, row, _ in found)
    assert counted == Counter({(r, c): n for r in REASONS for c, n in getattr(facts, r).items() if n})
    assert sum(sum(getattr(facts, reason).values()) for reason in REASONS) == len(found)
    # the record is not seen behind its neighbours' marks
    at = beats_at(examples)
    first, stop = examples.column("valid_start")[:, None], examples.column("valid_stop")[:, None]
    assert ((at == -1) | ((at >= first) & (at < stop))).all()


options_of_all_kinds = st.builds(
    SlidingOptions,
    beats=st.integers(2, 7),
    labelled=st.sampled_from(["first", "last"]),
    ends=st.sampled_from(["published", "whole"]),
    other_beats=st.sampled_from(["keep", "leave-out"]),
    lead=st.sampled_from(["MLII", "V1"]),
    fs=st.just(FS),
    longest=st.sampled_from([2.5, 4.0, 8.0]),
)
# steps to the next beat: same sample, next sample, anything
drawn_beats = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 3, 30, 61, 80, 80, 80, 97, 250]), st.sampled_from("NNNNNLVAFQ/")),
    min_size=2,
    max_size=25,
)


@settings(max_examples=120)
@given(
    drawn=drawn_beats, options=options_of_all_kinds, first=st.integers(0, 90), lost=st.lists(st.integers(0, 2999), max_size=3)
)
def test_windows_are_those_of_a_plain_loop(drawn: list, options: SlidingOptions, first: int, lost: list[int]) -> None:
    at = first + np.cumsum([step for step, _ in drawn]) - drawn[0][0]
    n = max(3000, int(at[-1]) + 1)
    one = recording([(int(k), symbol) for k, (_, symbol) in zip(at, drawn, strict=True)], n=n, leads=("MLII", "V1"))
    one.signal[:, lost] = np.nan
    one.signal[:, 900:1400] = 0.25
    compare(one, options)


@pytest.mark.parametrize("ends", ["published", "whole"])
@pytest.mark.parametrize(("labelled", "other_beats"), [("last", "keep"), ("first", "leave-out")])
def test_windows_of_a_real_record_are_those_of_a_plain_loop(
    real_recordings: dict[str, Recording], ends: str, labelled: str, other_beats: str
) -> None:
    options = SlidingOptions(ends=ends, labelled=labelled, other_beats=other_beats)
    one = real_recordings["105"]
    marks = one.annotations
    middle = int(marks.sample[marks.symbol == "Q"][0])
    first, stop = middle - 60_000, middle + 60_000
    near = (marks.sample >= first) & (marks.sample < stop)
    marks = Annotations(marks.sample[near] - first, marks.symbol[near], marks.note[near])
    compare(replace(one, signal=one.signal[:, first:stop], annotations=marks), options)


# ------------------------------------------------------------------------------------------------ the paper's counts


def real_counts(recordings: dict[str, Recording], names: Sequence[str], **options: Any) -> tuple[dict[str, int], int, int]:
    """Totals, and kept normal and abnormal windows; record by record, as all are gigabytes."""
    total: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for name in names:
        facts = cut_sliding([recordings[name]], LABELS, SlidingOptions(**options), [])[1]
        total.update(totals(facts))
        kept.update(facts.kept)
    return dict(total), kept["normal"], kept["abnormal"]


def test_the_test_windows_as_published_are_49617_and_89_percent_normal(real_recordings: dict[str, Recording]) -> None:
    published = {"ends": "published", "other_beats": "keep"}
    found, normal, abnormal = real_counts(real_recordings, DS2_RECORDS, **published, labelled="last")
    assert found["kept"] == 49_617
    assert found["incomplete"] == 22, "one in each record"
    assert set(found) == {"kept", "incomplete", "at_edge"}
    assert 100 * normal / (normal + abnormal) == pytest.approx(89.04, abs=0.005)


def test_whole_windows_are_five_fewer_than_beats_less_those_with_a_beat_of_no_class(
    real_recordings: dict[str, Recording],
) -> None:
    found, *_ = real_counts(real_recordings, DS2_RECORDS, labelled="first")
    with_q, beats = 0, 0
    for name in DS2_RECORDS:
        symbols = real_recordings[name].annotations.beats().symbol.tolist()
        mine = [k for k, s in enumerate(symbols) if s in "NLRejAaJSVEF"]
        beats += len(mine)
        with_q += sum(mine[k + 5] - mine[k] > 5 for k in range(len(mine) - 5))
    assert beats == 49_705
    assert with_q == 29
    assert (found["kept"], found["other_beat"]) == (beats - 5 * 22 - with_q, with_q)


def test_24_training_windows_are_longer_than_14_seconds(real_recordings: dict[str, Recording]) -> None:
    published = {"ends": "published", "other_beats": "keep"}
    found, *_ = real_counts(real_recordings, DS1_RECORDS, **published)
    assert found["too_long"] == 24
    assert found["kept"] + 24 == 50_925


def test_no_real_window_holds_a_beat_of_no_class_anywhere(real_recordings: dict[str, Recording]) -> None:
    """Nor near its ends, where the neighbour may be such a beat: 12 windows of DS1 and DS2 had one."""
    for name in ("105", "214", "101", "203", "208"):
        beats = real_recordings[name].annotations.beats()
        other = beats.sample[LABELS.indices(beats.symbol) < 0]
        assert len(other)
        examples, _ = cut_sliding([real_recordings[name]], LABELS, SlidingOptions(), [])
        start, stop = (examples.column("start") + examples.column(side) for side in ("valid_start", "valid_stop"))
        assert not any(((start <= at) & (at < stop)).any() for at in other)


# ------------------------------------------------------------------------------------------------ what a window is


@pytest.mark.parametrize("ends", ["published", "whole"])
def test_first_and_last_label_the_same_windows(ends: str) -> None:
    one = recording(steady(20, "NNVNANL"))
    last, of_last, _ = cut(one, labelled="last", ends=ends)
    first, of_first, _ = cut(one, labelled="first", ends=ends)
    assert last.column("id").tolist() == first.column("id").tolist()
    assert last.column("beat_symbols").tolist() == first.column("beat_symbols").tolist()
    assert totals(of_last) == totals(of_first)
    for k, table in enumerate(zip(last.table.itertuples(), first.table.itertuples(), strict=True)):
        spans = [each.signals[k, 0, row.valid_start : row.valid_stop] for each, row in zip((last, first), table, strict=True)]
        np.testing.assert_array_equal(*spans)
        assert [row.start + row.valid_start for row in table] == [table[0].start + table[0].valid_start] * 2
        symbols = table[0].beat_symbols
        assert (table[0].symbol, table[1].symbol) == (symbols[-1], symbols[0])
    assert (last.column("valid_stop") == last.length).all()
    assert (first.column("valid_start") == 0).all()


def test_windows_reach_half_way_to_their_neighbours_and_the_outermost_as_far_as_inwards() -> None:
    r = np.array([50, 100, 200, 280, 281])
    bounds = window_bounds(r, np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4]), 290)
    assert bounds.tolist() == [[25, 150], [75, 240], [150, 281], [240, 282]]
    assert window_bounds(r - 40, np.array([0]), np.array([4]), 241).tolist() == [[0, 241]]


def test_a_published_record_ends_with_a_window_that_lacks_its_last_beat() -> None:
    examples, facts, _ = cut(recording(steady(8, "NNNNNNNV")), ends="published", labelled="last")
    assert [len(text) for text in examples.column("beat_symbols")] == [6, 6, 6, 5]
    assert examples.column("r_sample")[-1] == examples.column("r_sample")[-2]
    assert beats_at(examples)[-1].tolist()[-1] == -1
    assert totals(facts) == {"kept": 4, "incomplete": 1}
    assert facts.incomplete == {"normal": 0, "abnormal": 1}
    assert facts.kept == {"normal": 2, "abnormal": 2}


def test_examples_of_several_records_stand_in_their_order() -> None:
    one = recording(steady(8))
    two = recording(steady(9), record="r2", patient="p2")
    both, facts, _ = cut(one, two)
    assert both.column("record").tolist() == ["r1"] * 3 + ["r2"] * 4
    np.testing.assert_array_equal(both.signals, np.concatenate([cut(each)[0].signals for each in (one, two)]))
    assert totals(facts)["kept"] == 7
    assert (both.leads, both.fs, both.length) == (("lead 1",), FS, 800)


def test_evidence_of_the_lead_comes_along_in_samples_of_the_window() -> None:
    beats = steady(8, "NNNNNNVN")
    at_v = beats[6][0]
    spans = Evidence(
        np.array([at_v, at_v]), np.array(["MLII", "V1"]), np.array([at_v - 10, at_v - 30]), np.array([at_v + 20, at_v + 5]),
        np.array(["beat", "beat"]),
    )  # fmt: skip
    examples, *_ = cut(recording(beats, leads=("MLII", "V1"), evidence=spans), labelled="last")
    evidence = examples.evidence
    assert evidence is not None
    assert evidence.names == ("beat 1",)
    r = examples.column("r_index")
    assert [stop - start for start, stop in zip(evidence.start[:, 0], evidence.stop[:, 0], strict=True)] == [0, 30, 0]
    assert (evidence.start[1, 0], evidence.stop[1, 0]) == (r[1] - 10, r[1] + 20)


# ------------------------------------------------------------------------------------------------ bad input


def test_a_record_with_fewer_than_six_beats_is_named_and_the_others_are_cut() -> None:
    short = recording([*steady(5), (700, "Q"), (800, "/")], record="short")
    examples, facts, skipped = cut(short, recording(steady(6)))
    assert examples.column("record").tolist() == ["r1"]
    assert facts.few_beats == ("short",)
    assert facts.other_beats == {"Q": 1, "/": 1}
    assert [(item.record, item.reason) for item in skipped] == [("short", "5 beats of a class, fewer than 6")]


def test_no_window_at_all_is_refused_with_the_reasons() -> None:
    with pytest.raises(EcglensError, match=r"no window of 6 beats was found \(r1: 0 beats of a class, fewer than 6\)"):
        cut(recording([]))
    with pytest.raises(EcglensError, match=r"no window of 6 beats was found \(no record\)"):
        cut()
    lost = recording(steady(10))
    lost.signal[:] = np.nan
    with pytest.raises(EcglensError, match="r1: 5 windows hold invalid"):
        cut(lost)


@pytest.mark.parametrize("other_beats", ["keep", "leave-out"])
def test_two_r_peaks_at_one_sample_are_counted_and_no_r_lies_outside_its_window(other_beats: str) -> None:
    """Also where the second one is the neighbour: the window would end at its own R peak."""
    beats = steady(20)
    beats.insert(10, beats[10])
    examples, facts, _ = cut(recording(beats), other_beats=other_beats)
    # windows from the one that ends with the first of the two to the one that begins with the second
    assert totals(facts)["one_sample"] == 7
    assert totals(facts)["kept"] == len(examples) == 21 - 5 - 7
    r = beats_at(examples)
    assert (r >= examples.column("valid_start")[:, None]).all()
    assert (r < examples.column("valid_stop")[:, None]).all()


def test_a_flat_stretch_is_counted_and_one_step_is_enough_to_keep() -> None:
    one = recording(steady(20))
    one.signal[:] = -3.0
    one.signal[:, 900] = -2.9
    examples, facts, _ = cut(one)
    start, stop = (examples.column("start") + examples.column(side) for side in ("valid_start", "valid_stop"))
    assert ((start <= 900) & (stop > 900)).all()
    assert totals(facts)["kept"] + totals(facts)["flat"] == 15
    assert totals(facts)["flat"] > 3


def test_a_window_with_a_lost_sample_is_counted_and_said_and_its_neighbour_kept() -> None:
    one = recording(steady(20))
    at = 60 + 80 * 10
    one.signal[0, at - 40] = np.nan  # the first sample of the window that begins with beat 10
    examples, facts, skipped = cut(one)
    assert totals(facts)["invalid"] == 6
    assert len(examples) == 9
    assert not np.isnan(examples.signals).any()
    assert [item.reason for item in skipped] == ["6 windows hold invalid (NaN) samples"]


def test_a_window_as_long_as_the_array_is_kept_and_one_sample_more_is_too_long() -> None:
    beats = steady(8, every=80)
    kept, *_ = cut(recording(beats), longest=4.8)
    assert (kept.column("valid_stop") - kept.column("valid_start")).tolist() == [480] * 3
    with pytest.raises(EcglensError, match="no window"):
        cut(recording(beats), longest=4.79)


def test_beats_at_the_edge_of_the_record_are_cut_there_and_counted() -> None:
    examples, facts, _ = cut(recording(steady(8, first=0), n=561))
    start, stop = (examples.column("start") + examples.column(side) for side in ("valid_start", "valid_stop"))
    assert (start[0], stop[-1]) == (0, 561)
    assert totals(facts) == {"kept": 3, "at_edge": 2}
    assert beats_at(examples)[0, 0] == examples.column("valid_start")[0]
    assert beats_at(examples)[-1, -1] == examples.length - 1


def test_a_window_of_one_sample_is_flat() -> None:
    one = recording([*steady(6), (2998, "N"), (2999, "N")], n=3000)
    options = {"beats": 2, "ends": "published", "longest": 30.0}
    compare(one, SlidingOptions(**(SHORT | options)))
    assert totals(cut(one, **options)[1]) == {"kept": 7, "at_edge": 1, "flat": 1}


def test_windows_that_do_not_know_their_beats_are_refused() -> None:
    examples, *_ = cut(recording(steady(8)), labelled="first")
    assert labelled(examples).tolist() == [0, 0, 0]
    for name, read in (("beats_at", beats_at), ("labelled", labelled)):
        without = replace(examples, table=examples.table.drop(columns=name))
        with pytest.raises(EcglensError, match=rf"no column {name}; cut windows that know their beats \(cut_sliding\)"):
            read(without)


def test_a_record_without_a_beat_of_one_class_counts_zero_of_it() -> None:
    _, facts, _ = cut(recording(steady(10)))
    assert facts.kept == {"normal": 5, "abnormal": 0}


def test_a_lead_that_is_not_there_falls_to_the_first_and_is_named() -> None:
    one = recording(steady(8), leads=("V5", "MLII"))
    other = recording(steady(8), leads=("V5", "V2"), record="r2")
    examples, *_ = cut(one, other, lead="MLII", labelled="first")
    assert examples.column("lead_names").tolist() == ["MLII"] * 3 + ["V5"] * 3
    for row, source in ((0, one.signal[1]), (3, other.signal[0])):
        start, stop = (int(examples.column(name)[row]) for name in ("start", "valid_stop"))
        np.testing.assert_array_equal(examples.signals[row, 0, :stop], source[start : start + stop])


def test_records_at_another_rate_are_resampled_and_named() -> None:
    fast = recording(steady(12), fs=128.0)
    examples, facts, _ = cut(fast, recording(steady(8), record="r2"), fs=360.0, longest=14.0)
    assert facts.resampled == {"made/r1": 128.0, "made/r2": 100.0}
    assert examples.fs == 360.0
    mine = examples.column("record") == "r1"
    gaps = np.diff(beats_at(examples)[mine], axis=1)
    assert np.abs(gaps - 80 * 360 / 128).max() <= 1
    assert examples.column("rr_before")[mine][-1] == pytest.approx(80 / 128, abs=1 / 360)
    assert cut(recording(steady(8)))[1].resampled == {}


def test_a_spike_of_50_mv_is_kept_as_it_is() -> None:
    one = recording(steady(8))
    one.signal[0, 300] = 50.0
    examples, facts, _ = cut(one)
    assert totals(facts)["kept"] == 3
    assert (examples.signals.max((1, 2)) == 50.0).all()
    assert abs(examples.signals[:, 0, 0]).max() < 1, "the padding is the median"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"labelled": "lst"}, r"unknown labelled beat 'lst'; did you mean 'last'\? \(choose from: first, last\)"),
        ({"ends": "half"}, r"unknown ends 'half' \(choose from: published, whole\)"),
        ({"other_beats": "drop"}, r"unknown other_beats 'drop' \(choose from: keep, leave-out\)"),
        ({"beats": 1}, "beats is 1; a window needs at least 2"),
        ({"longest": 0.0}, "at most 0.0 s at 360.0 Hz; expected numbers above 0"),
        ({"longest": float("inf")}, "at most inf s"),
        ({"fs": float("nan")}, "at nan Hz"),
        ({"longest": 0.002}, "at most 0.002 s"),
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(EcglensError, match=said):
        SlidingOptions(**wrong)
