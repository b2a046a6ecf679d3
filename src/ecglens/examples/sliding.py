"""Windows of six beats that slide over a record beat by beat, after Varandas 2021: one of the beats gives the label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import LabelMap
from ecglens.examples.one_lead import Cut, join_cuts
from ecglens.examples.rr_intervals import rr_intervals
from ecglens.recordings.databases import Skipped
from ecglens.recordings.recording import Recording
from ecglens.recordings.resampling import resampled


@dataclass(frozen=True)
class SlidingOptions:
    """How windows are cut.

    beats: in a window; labelled: which of them gives the label, the "last" or the "first"; ends: "whole" windows alone, or as
    "published", where a record's last window lacks its last beat (windows begin at all but the last four beats, as the paper's
    49,617 test pictures show); other_beats: windows that hold a beat of no class are left out ("leave-out") or that beat is
    drawn and not counted ("keep"). A window reaches from half-way to the beat before to half-way to the beat after; with
    "keep", of those that count. lead:
    taken where a record has it, else the record's first; fs: Hz, recordings at another rate are resampled; longest: s, longer
    windows are left out. The window lies at the start of the array if its first beat is labelled, else at the end.
    """

    beats: int = 6
    labelled: str = "last"
    ends: str = "whole"
    other_beats: str = "leave-out"
    lead: str = "MLII"
    fs: float = 360.0
    longest: float = 14.0

    def __post_init__(self) -> None:
        choose(self.labelled, ["first", "last"], "labelled beat")
        choose(self.ends, ["published", "whole"], "ends")
        choose(self.other_beats, ["keep", "leave-out"], "other_beats")
        if self.beats < 2:
            raise EcglensError(f"beats is {self.beats}; a window needs at least 2")
        if not (0 < self.longest < np.inf and 0 < self.fs < np.inf) or self.length < 2:
            raise EcglensError(f"windows of at most {self.longest} s at {self.fs} Hz; expected numbers above 0")

    @property
    def length(self) -> int:
        """Samples of the array that holds a window."""
        return round(self.longest * self.fs)


REASONS = ("kept", "other_beat", "one_sample", "too_long", "invalid", "flat")


@dataclass(frozen=True)
class SlidingFacts:
    """What cutting found out, by class of the labelled beat: plain numbers for JSON (`dataclasses.asdict`).

    kept + other_beat (a beat of no class inside) + one_sample (two R peaks at one sample, or one at a neighbour's) +
    too_long + invalid (NaN samples) + flat (no signal) are all windows. Of those kept: incomplete lack a beat, at_edge begin
    or end with the record. few_beats: records with fewer beats than a window. other_beats: marks of no class in all records,
    by symbol. resampled: record to Hz.
    """

    kept: dict[str, int]
    other_beat: dict[str, int]
    one_sample: dict[str, int]
    too_long: dict[str, int]
    invalid: dict[str, int]
    flat: dict[str, int]
    incomplete: dict[str, int]
    at_edge: dict[str, int]
    few_beats: tuple[str, ...]
    other_beats: dict[str, int]
    resampled: dict[str, float] = field(default_factory=dict)


class _Tally:
    def __init__(self, labels: LabelMap) -> None:
        self.by_class: dict[str, Counter[str]] = {
            name: Counter(dict.fromkeys(labels.classes, 0)) for name in (*REASONS, "incomplete", "at_edge")
        }
        self.few_beats: list[str] = []
        self.other_beats: Counter[str] = Counter()
        self.resampled: dict[str, float] = {}

    def count(self, name: str, label: NDArray[np.int64], labels: LabelMap) -> None:
        self.by_class[name].update(np.array(labels.classes)[label].tolist())


def cut_sliding(
    recordings: Iterable[Recording], labels: LabelMap, options: SlidingOptions, skipped: list[Skipped]
) -> tuple[Examples, SlidingFacts]:
    """Windows of `options.beats` beats, from one beat of a class after the other on, as Examples of one lead in mV.

    Of six beats: a record's first five label no window, and with ends "published" its last labels two; labelled "first", its
    last five label none, with ends "published" four.
    Around the window (valid_start to valid_stop) the array holds its median, so that nothing jumps there. Further columns of
    the table: beats_at (R peaks in samples of the array, blanks between), beat_symbols, labelled (number of the beat that
    gives the label). Records with too few beats, and windows with NaN, are appended to `skipped`. Raises EcglensError when no
    window is left.
    """
    tally, cuts = _Tally(labels), []
    for recording in recordings:
        row = recording.leads.index(options.lead) if options.lead in recording.leads else 0
        lead = replace(recording, signal=recording.signal[row : row + 1], leads=(recording.leads[row],))
        one = resampled(lead, options.fs)
        if one is not lead:
            tally.resampled[f"{recording.database}/{recording.record}"] = recording.fs
        cut = _cut_one(one, labels, options, tally, skipped)
        if cut is not None and len(cut.labels):
            cuts.append(cut)
    if not cuts:
        reasons = "; ".join(f"{item.record}: {item.reason}" for item in skipped[:3])
        raise EcglensError(f"no window of {options.beats} beats was found ({reasons or 'no record'})")
    facts = SlidingFacts(
        **{name: dict(each) for name, each in tally.by_class.items()},
        few_beats=tuple(tally.few_beats), other_beats=dict(tally.other_beats), resampled=tally.resampled,
    )  # fmt: skip
    return join_cuts(cuts, labels.classes, options.length, options.fs), facts


def window_bounds(r: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Samples (window, 2): from half-way to the beat before to half-way to the beat after, within a record of `n` samples.

    A record's outermost beats reach as far outwards as inwards.
    """
    outer = np.concatenate([[2 * r[0] - r[1]], r, [2 * r[-1] - r[-2]]])
    # its own R lie inside and the neighbours' outside, even where marks are one sample apart
    start = np.maximum((outer[first] + r[first]) // 2, outer[first] + 1)
    stop = np.maximum((r[last] + outer[last + 2]) // 2, r[last] + 1)
    return np.clip(np.stack([start, stop], axis=1), 0, n)


def _cut_one(
    recording: Recording, labels: LabelMap, options: SlidingOptions, tally: _Tally, skipped: list[Skipped]
) -> Cut | None:
    signal, every = recording.signal[0], recording.annotations.beats()
    classes = labels.indices(every.symbol)
    mine = np.flatnonzero(classes >= 0)
    tally.other_beats.update(every.symbol[classes < 0].tolist())
    lacks = 1 if options.ends == "published" else 0
    if len(mine) < options.beats:
        tally.few_beats.append(recording.record)
        skipped.append(Skipped(recording.record, f"{len(mine)} beats of a class, fewer than {options.beats}", len(mine)))
        return None
    r = every.sample[mine]
    first = np.arange(len(mine) - options.beats + 1 + lacks)
    last = np.minimum(first + options.beats - 1, len(mine) - 1)
    named = last if options.labelled == "last" else first
    label = classes[mine][named]
    foreign = mine[last] - mine[first] > last - first
    if options.other_beats == "keep":
        foreign[:] = False
        bounds, twice = window_bounds(r, first, last, len(signal)), _twice(r, first, last)
    else:
        # the neighbour may be of no class, and must not lie inside
        bounds = window_bounds(every.sample, mine[first], mine[last], len(signal))
        twice = _twice(every.sample, mine[first], mine[last])
    why = _why(signal, foreign, twice, bounds, options.length)
    for reason in REASONS:
        tally.count(reason, label[why == reason], labels)
    n_invalid = int((why == "invalid").sum())
    if n_invalid:
        skipped.append(Skipped(recording.record, f"{n_invalid} windows hold invalid (NaN) samples", n_invalid))
    kept = np.flatnonzero(why == "kept")
    first, last, bounds, label = first[kept], last[kept], bounds[kept], label[kept]
    tally.count("incomplete", label[last - first + 1 < options.beats], labels)
    tally.count("at_edge", label[(bounds[:, 0] == 0) | (bounds[:, 1] == len(signal))], labels)
    signals, offset = _placed(signal, bounds, options)
    table = _table(recording, every.sample, every.symbol, mine, first, last, named[kept], bounds, offset)
    evidence = None if recording.evidence is None else recording.evidence.of_lead(recording.leads[0])
    return Cut(recording.record, signals, label, table, evidence)


def _twice(r: NDArray[np.int64], first: NDArray[np.intp], last: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether two of the beats from the one before `first` to the one after `last` are at one sample, (window,)."""
    same = np.concatenate([[0, 0], np.cumsum(np.diff(r) == 0)])
    after: NDArray[np.bool_] = same[np.minimum(last + 2, len(r))] > same[first]
    return after


def _why(
    signal: NDArray[np.float32], foreign: NDArray[np.bool_], twice: NDArray[np.bool_], bounds: NDArray[np.int64], length: int
) -> NDArray[np.str_]:
    """For each window one of REASONS, the first that holds."""
    lost = np.concatenate([[0], np.cumsum(np.isnan(signal))])
    moves = np.concatenate([[0, 0], np.cumsum(np.diff(signal) != 0)])
    start, stop = bounds.T
    return np.select(
        [
            foreign,
            twice,
            stop - start > length,
            lost[stop] > lost[start],
            # one sample alone cannot move
            moves[stop] == moves[np.minimum(start + 1, len(signal))],
        ],
        [*REASONS[1:]],
        REASONS[0],
    )


def _placed(
    signal: NDArray[np.float32], bounds: NDArray[np.int64], options: SlidingOptions
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Windows in arrays of one length (window, time), and the array's place of the record's sample 0 (window,)."""
    size = bounds[:, 1] - bounds[:, 0]
    begin = options.length - size if options.labelled == "last" else np.zeros_like(size)
    out = np.empty((len(bounds), options.length), np.float32)
    for row, ((start, stop), at) in enumerate(zip(bounds.tolist(), begin.tolist(), strict=True)):
        window = signal[start:stop]
        out[row] = np.median(window)
        out[row, at : at + stop - start] = window
    return out, begin - bounds[:, 0]


def _table(
    recording: Recording, every: NDArray[np.int64], symbol: NDArray[np.str_], mine: NDArray[np.intp],
    first: NDArray[np.int64], last: NDArray[np.int64], named: NDArray[np.int64], bounds: NDArray[np.int64],
    offset: NDArray[np.int64],
) -> pd.DataFrame:  # fmt: skip
    r, letters = every[mine], symbol[mine]
    pairs = list(zip(first.tolist(), last.tolist(), strict=True))
    place = f"{recording.database}/{recording.record}/"
    return pd.DataFrame(
        {
            "id": [f"{place}{r[a]}-{r[b]}" for a, b in pairs],
            "database": recording.database,
            "record": recording.record,
            "patient": recording.patient,
            "start": -offset,
            "r_sample": r[named],
            "r_index": r[named] + offset,
            "valid_start": bounds[:, 0] + offset,
            "valid_stop": bounds[:, 1] + offset,
            "symbol": letters[named],
            "lead_names": recording.leads[0],
            **{name: values[mine[named]] for name, values in rr_intervals(every, recording.fs).items()},
            "beats_at": [
                " ".join(map(str, (r[a : b + 1] + by).tolist())) for (a, b), by in zip(pairs, offset.tolist(), strict=True)
            ],
            "beat_symbols": ["".join(letters[a : b + 1]) for a, b in pairs],
            "labelled": named - first,
        }
    )


def beats_at(examples: Examples) -> NDArray[np.int64]:
    """R peaks in samples of the array, int64 (example, beat); -1 where an example has fewer beats than the most.

    Raises EcglensError without the column "beats_at".
    """
    found = [list(map(int, text.split())) for text in _of_windows(examples, "beats_at")]
    out = np.full((len(found), max(map(len, found), default=0)), -1, np.int64)
    for row, places in enumerate(found):
        out[row, : len(places)] = places
    return out


def labelled(examples: Examples) -> NDArray[np.int64]:
    """Number of the beat that gives each window its label, from 0, int64 (example,); EcglensError without that column."""
    return _of_windows(examples, "labelled").astype(np.int64)


def _of_windows(examples: Examples, name: str) -> NDArray[Any]:
    if name not in examples.table:
        raise EcglensError(f"the table of examples has no column {name}; cut windows that know their beats (cut_sliding)")
    return examples.column(name)
