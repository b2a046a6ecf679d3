"""Windows of one lead and a fixed length: around beats, and in rhythms, by the annotations of Vijayarangan 2020."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import LabelMap
from ecglens.examples.one_lead import Cut, join_cuts
from ecglens.examples.rr_intervals import rr_intervals
from ecglens.recordings.databases import Skipped
from ecglens.recordings.recording import RHYTHMS, Annotations, Recording
from ecglens.recordings.resampling import resampled


@dataclass(frozen=True)
class WindowOptions:
    """How windows are cut.

    seconds: length; fs: Hz, recordings at another rate are resampled with their annotations; lead: taken where a record
    has it, else the record's first. rhythm_windows: "onset" cuts one window that begins where the rhythm begins, even where
    the rhythm ends before it (as the paper's counts imply), "span" all windows that fit into the rhythm, one behind the
    other. beats_in_rhythms: beat windows that touch a span of a rhythm class are left out ("leave-out": they would have two
    labels) or not ("keep").
    """

    seconds: float = 2.0
    fs: float = 360.0
    lead: str = "MLII"
    rhythm_windows: str = "span"
    beats_in_rhythms: str = "leave-out"

    def __post_init__(self) -> None:
        choose(self.rhythm_windows, ["onset", "span"], "rhythm_windows")
        choose(self.beats_in_rhythms, ["keep", "leave-out"], "beats_in_rhythms")
        # "not" is true of NaN as well
        if not (0 < self.seconds < np.inf and 0 < self.fs < np.inf):
            raise EcglensError(f"windows of {self.seconds} s at {self.fs} Hz; expected numbers above 0")
        if self.length < 2:
            raise EcglensError(f"{self.seconds:g} s at {self.fs:g} Hz are {self.length} samples; expected 2 or more")

    @property
    def length(self) -> int:
        """Samples of a window."""
        return round(self.seconds * self.fs)


@dataclass(frozen=True)
class WindowFacts:
    """What cutting found out, by class: plain numbers for JSON (`dataclasses.asdict`).

    kept + left_record + in_rhythm + invalid are all beats of a beat class; kept + left_record + no_beat + invalid all windows
    of a rhythm class. kept: windows; left_record: windows that reach beyond the record; in_rhythm: beat windows that touch a
    rhythm class; no_beat: rhythm windows without a beat; invalid: windows with NaN. spans: of a rhythm class; spans_open:
    without an end mark, they end with the record; spans_short: shorter than a window. unknown_rhythms: rhythm label to marks;
    other_beats: beat symbol of no class to beats; resampled: record to the rate in Hz that it was recorded at.
    """

    kept: dict[str, int] = field(default_factory=dict)
    left_record: dict[str, int] = field(default_factory=dict)
    in_rhythm: dict[str, int] = field(default_factory=dict)
    no_beat: dict[str, int] = field(default_factory=dict)
    invalid: dict[str, int] = field(default_factory=dict)
    spans: dict[str, int] = field(default_factory=dict)
    spans_open: dict[str, int] = field(default_factory=dict)
    spans_short: dict[str, int] = field(default_factory=dict)
    unknown_rhythms: dict[str, int] = field(default_factory=dict)
    other_beats: dict[str, int] = field(default_factory=dict)
    resampled: dict[str, float] = field(default_factory=dict)


# The reasons that a window can have, the first that holds counts; "kept" where none does
_REASONS = ("left_record", "in_rhythm", "no_beat", "invalid", "kept")
_Tally = dict[str, Counter[str]]


@dataclass(frozen=True)
class _Wanted:
    """Windows of one record before any is left out: (window,) each; beat: number of the beat that it is about."""

    start: NDArray[np.int64]
    label: NDArray[np.int64]
    symbol: NDArray[np.str_]
    beat: NDArray[np.int64]
    of_rhythm: NDArray[np.bool_]


def cut_windows(
    recordings: Iterable[Recording], labels: LabelMap, options: WindowOptions, skipped: list[Skipped]
) -> tuple[Examples, WindowFacts]:
    """Every window of the classes, from every recording, in mV: Examples with one lead, in order of time in each record.

    Samples in the table are at `options.fs`; r_sample is the beat in the centre, for a rhythm the beat nearest to the middle;
    symbol the beat's, or the rhythm's label. Two more columns: beats_at, all beats in the window (samples of the window,
    with spaces between), and recorded_fs (Hz). Windows with invalid (NaN) samples are left out and appended to `skipped`, a
    line per record. Raises EcglensError when no window is left. Source: Vijayarangan 2020, dataset table.
    """
    by_class = (*_REASONS, "spans", "spans_open", "spans_short")
    tally: _Tally = {name: Counter(dict.fromkeys(labels.classes, 0)) for name in by_class}
    tally |= {name: Counter() for name in ("unknown_rhythms", "other_beats")}
    rates: dict[str, float] = {}
    cuts: list[Cut] = []
    for recording in recordings:
        row = recording.leads.index(options.lead) if options.lead in recording.leads else 0
        lead = replace(recording, signal=recording.signal[row : row + 1], leads=(recording.leads[row],))
        one = resampled(lead, options.fs)
        if one is not lead:
            rates[f"{recording.database}/{recording.record}"] = recording.fs
        cut = _cut_one(one, labels, options, tally, skipped)
        if len(cut.labels):
            cuts.append(replace(cut, table=cut.table.assign(recorded_fs=recording.fs)))
    if not cuts:
        reasons = "; ".join(f"{item.record}: {item.reason}" for item in skipped[:3])
        raise EcglensError(f"no window of the classes {', '.join(labels.classes)} was found ({reasons or 'no record'})")
    facts = WindowFacts(**{name: dict(each) for name, each in tally.items()}, resampled=rates)
    return join_cuts(cuts, labels.classes, options.length, options.fs), facts


def _cut_one(recording: Recording, labels: LabelMap, options: WindowOptions, tally: _Tally, skipped: list[Skipped]) -> Cut:
    """The windows of one record that has one lead and the wanted rate; what is left out is counted in `tally`."""
    signal, length, beats = recording.signal[0], options.length, recording.annotations.beats()
    spans = _class_spans(recording, labels, options, tally)
    wanted = _wanted(beats, spans, labels, options)
    start, stop = wanted.start, wanted.start + length
    first, last = np.searchsorted(beats.sample, start), np.searchsorted(beats.sample, stop)
    lost = np.concatenate([[0], np.cumsum(np.isnan(signal))])
    contradictory = ~wanted.of_rhythm & _touch(start, stop, spans) & (options.beats_in_rhythms == "leave-out")
    why = np.select(
        [
            (start < 0) | (stop > len(signal)),
            contradictory,
            wanted.of_rhythm & (first == last),
            lost[np.clip(start, 0, len(signal))] < lost[np.clip(stop, 0, len(signal))],
        ],
        _REASONS[:-1],
        _REASONS[-1],
    )
    for reason in _REASONS:
        _count(tally[reason], wanted.label[why == reason], labels)
    known = RHYTHMS.union(labels.rhythms.values())
    notes = [str(note).rstrip("\x00") for note in recording.annotations.note[recording.annotations.symbol == "+"]]
    tally["unknown_rhythms"].update(note or "no label" for note in notes if note not in known)
    tally["other_beats"].update(beats.symbol[labels.indices(beats.symbol) < 0].tolist())
    n_invalid = int((why == "invalid").sum())
    if n_invalid:
        skipped.append(Skipped(recording.record, f"{n_invalid} windows hold invalid (NaN) samples", n_invalid))
    rows = np.flatnonzero(why == "kept")
    signals = sliding_window_view(signal, length)[start[rows]] if len(rows) else np.empty((0, length), np.float32)
    evidence = None if recording.evidence is None else recording.evidence.of_lead(recording.leads[0])
    table = _table(recording, beats.sample, wanted, labels, rows, first, last, length)
    return Cut(recording.record, signals, wanted.label[rows], table, evidence)


def _table(
    recording: Recording,
    beats: NDArray[np.int64],
    wanted: _Wanted,
    labels: LabelMap,
    rows: NDArray[np.intp],
    first: NDArray[np.intp],
    last: NDArray[np.intp],
    length: int,
) -> pd.DataFrame:
    """The rows of `Examples.table` for the windows `rows`; beats `first` to `last` lie in them."""
    start, beat = wanted.start[rows], wanted.beat[rows]
    r_sample = beats[beat]
    place = f"{recording.database}/{recording.record}/"
    ids = [
        f"{place}{labels.classes[label]}@{at}" if rhythm else f"{place}{r}"
        for label, at, r, rhythm in zip(
            wanted.label[rows].tolist(), start.tolist(), r_sample.tolist(), wanted.of_rhythm[rows].tolist(), strict=True
        )
    ]
    inside = [
        " ".join(map(str, (beats[a:b] - at).tolist()))
        for a, b, at in zip(first[rows].tolist(), last[rows].tolist(), start.tolist(), strict=True)
    ]
    return pd.DataFrame(
        {
            "id": ids,
            "database": recording.database,
            "record": recording.record,
            "patient": recording.patient,
            "start": start,
            "r_sample": r_sample,
            "r_index": r_sample - start,
            "valid_start": 0,
            "valid_stop": length,
            "symbol": wanted.symbol[rows],
            "lead_names": recording.leads[0],
            **{name: values[beat] for name, values in rr_intervals(beats, recording.fs).items()},
            "beats_at": inside,
        }
    )


@dataclass(frozen=True)
class _Spans:
    """Where the rhythm classes are, in order and apart from each other: (span,) each."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    label: NDArray[np.int64]
    rhythm: NDArray[np.str_]


def _class_spans(recording: Recording, labels: LabelMap, options: WindowOptions, tally: _Tally) -> _Spans:
    class_of = {rhythm: labels.classes.index(name) for name, rhythm in labels.rhythms.items()}
    everything = recording.rhythm_spans()
    found = [(*span, class_of[span[2]]) for span in everything if span[2] in class_of]
    start, stop, label = (np.array([span[k] for span in found], np.int64) for k in (0, 1, 3))
    _count(tally["spans"], label, labels)
    _count(tally["spans_short"], label[stop - start < options.length], labels)
    if everything and everything[-1][2] in class_of:
        _count(tally["spans_open"], label[-1:], labels)
    # two marks on one sample leave nothing between them
    real = start < stop
    return _Spans(start[real], stop[real], label[real], np.array([span[2] for span in found], np.str_)[real])


def _wanted(beats: Annotations, spans: _Spans, labels: LabelMap, options: WindowOptions) -> _Wanted:
    """Windows around beats and in rhythms, in order of the beats that they are about."""
    length, label = options.length, labels.indices(beats.symbol)
    number = np.flatnonzero(label >= 0)
    in_span = (spans.stop - spans.start) // length if options.rhythm_windows == "span" else np.ones(len(spans.start), np.int64)
    span = np.repeat(np.arange(len(in_span)), in_span)
    turn = np.arange(len(span)) - np.repeat(np.cumsum(in_span) - in_span, in_span)
    begin = spans.start[span] + turn * length
    start = np.concatenate([beats.sample[number] - length // 2, begin])
    beat = np.concatenate([number, _nearest(beats.sample, begin, length)])
    of_rhythm = np.arange(len(start)) >= len(number)
    order = np.lexsort((start, of_rhythm, beat))
    return _Wanted(
        start[order],
        np.concatenate([label[number], spans.label[span]])[order],
        np.concatenate([beats.symbol[number], spans.rhythm[span]])[order],
        beat[order],
        of_rhythm[order],
    )


def _nearest(beats: NDArray[np.int64], start: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Number of the beat nearest to each window's middle, the earlier of two; 0 where the record has no beat."""
    if not len(beats):
        return np.zeros(len(start), np.int64)
    middle = 2 * start + length
    after = np.clip(np.searchsorted(2 * beats, middle), 1, max(len(beats) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(beats) - 1)
    return np.where(middle - 2 * beats[before] <= 2 * beats[after] - middle, before, after)


def _touch(start: NDArray[np.int64], stop: NDArray[np.int64], spans: _Spans) -> NDArray[np.bool_]:
    """True for each stretch that shares a sample with a span."""
    if not len(spans.start):
        return np.zeros(len(start), bool)
    # of the spans that begin before the stretch ends, the last one also ends last
    number = np.searchsorted(spans.start, stop)
    return (number > 0) & (spans.stop[np.maximum(number - 1, 0)] > start)


def _count(counter: Counter[str], label: NDArray[np.int64], labels: LabelMap) -> None:
    counts = np.bincount(label, minlength=len(labels.classes))
    counter.update(dict(zip(labels.classes, counts.tolist(), strict=True)))
