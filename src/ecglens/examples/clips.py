"""Clips of a fixed length from whole twelve-lead records, with labels of the record: Lin 2020 and its corrections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.examples.diagnoses import DiagnosisMap, multi_hot
from ecglens.examples.examples import COLUMNS, Examples, LeadPlace, single_labels
from ecglens.recordings.databases import Skipped
from ecglens.recordings.recording import Recording
from ecglens.recordings.resampling import resampled
from ecglens.recordings.twelve import STANDARD

HEAD, MIDDLE, END = "head", "middle", "end"
_MOST_INVALID = 0.1  # share of a clip's samples in a lead that may be bridged


@dataclass(frozen=True)
class ClipOptions:
    """How clips are cut.

    seconds: length; fs: Hz, records at another rate are resampled; clips: of a longer record "head-middle-end" (Lin 2020;
    they overlap in a record of less than three lengths), "tiles" (one behind the other, the last one ends with the record),
    "head" or "end"; pad: where zeros go in a shorter record, "both" sides, "start" or "end"; baseline: "line" takes each
    lead's regression line off, "mean" its mean, "none" nothing; missing: a record that lacks a lead is left out ("leave-out")
    or the lead is zero ("zero"); leads: in this order.
    """

    seconds: float = 10.0
    fs: float = 500.0
    clips: str = "head-middle-end"
    pad: str = "both"
    baseline: str = "line"
    missing: str = "leave-out"
    leads: tuple[str, ...] = STANDARD

    def __post_init__(self) -> None:
        choose(self.clips, ["end", "head", "head-middle-end", "tiles"], "clips")
        choose(self.pad, ["both", "end", "start"], "pad")
        choose(self.baseline, ["line", "mean", "none"], "baseline")
        choose(self.missing, ["leave-out", "zero"], "missing")
        # "not" is true of NaN as well
        if not (0 < self.seconds < np.inf and 0 < self.fs < np.inf) or self.length < 2:
            raise EcglensError(f"clips of {self.seconds} s at {self.fs} Hz; expected numbers above 0 and two samples or more")

    @property
    def length(self) -> int:
        """Samples of a clip."""
        return round(self.seconds * self.fs)


@dataclass
class ClipFacts:
    """What cutting found out: plain numbers for JSON (`dataclasses.asdict`).

    records: that gave clips; clips: by place; padded: records shorter than a clip; bridged: samples without a value (NaN) that
    were bridged by a line, by record; unusable: clips left out of records of which others stay, by record; resampled: recorded
    rate (Hz) to records; missing_leads: lead to records that lack it and were kept; unknown, unscored: code to records, see
    `ecglens.examples.diagnoses.multi_hot`; unlabelled: records without any class;
    unlikely: label to records where it is not likely enough for the map.
    """

    records: int = 0
    clips: dict[str, int] = field(default_factory=dict)
    padded: int = 0
    bridged: dict[str, int] = field(default_factory=dict)
    unusable: dict[str, int] = field(default_factory=dict)
    resampled: dict[str, int] = field(default_factory=dict)
    missing_leads: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    unscored: dict[str, int] = field(default_factory=dict)
    unlabelled: int = 0
    unlikely: dict[str, int] = field(default_factory=dict)


def starts_of(samples: int, length: int, clips: str) -> list[tuple[str, int]]:
    """(place, first sample) of each clip of a record of `samples`; one that is not longer than a clip has one, "head"."""
    last = samples - length
    if last <= 0 or clips == "head":
        return [(HEAD, 0)]
    if clips == "end":
        return [(END, last)]
    if clips == "head-middle-end":
        return [(HEAD, 0), (MIDDLE, last // 2), (END, last)]
    starts = [*range(0, last, length), last]
    return [(f"tile {number + 1}", start) for number, start in enumerate(starts)]


def cut_clips(
    recordings: Iterable[Recording], labels: DiagnosisMap, options: ClipOptions, skipped: list[Skipped]
) -> tuple[Examples, ClipFacts]:
    """Clips of all recordings, in mV: Examples with `multi_hot` labels, all clips of a record with those of the record.

    Five more columns in the table: clip (its place), clips (how many the record has), recorded_fs (Hz), recorded_seconds,
    diagnoses (what the source says of the record, joined by "; ").
    Samples of the table are at `options.fs`; there is no R peak: r_sample and r_index are -1. Records that cannot be used are
    appended to `skipped` with the reason. Raises EcglensError when no clip is left.
    """
    facts = ClipFacts()
    signals: list[NDArray[np.float32]] = []
    rows: list[dict[str, object]] = []
    diagnoses: list[tuple[str, ...]] = []
    likelihoods: list[tuple[float, ...]] = []
    firsts: list[int] = []  # the first clip of each record
    rates, places, missing = Counter[str](), Counter[str](), Counter[str]()
    for recording in recordings:
        try:
            prepared = _prepared(recording, options)
        except EcglensError as error:
            skipped.append(Skipped(recording.record, str(error)))
            continue
        if recording.fs != options.fs:
            rates[f"{recording.fs:g}"] += 1
        missing.update(lead for lead in options.leads if lead not in recording.leads)
        cut: list[tuple[str, int, NDArray[np.float32]]] = []
        reasons: list[str] = []
        bridged = 0
        for place, start in starts_of(prepared.shape[1], options.length, options.clips):
            try:
                clip, lost = _bridged(prepared[:, start : start + options.length], options.leads)
            except EcglensError as error:
                reasons.append(str(error))
                continue
            cut.append((place, start, clip))
            bridged += lost
        if not cut:
            skipped.append(Skipped(recording.record, f"{recording.record}: {reasons[0]}"))
            continue
        if reasons:
            facts.unusable[recording.record] = len(reasons)
        if bridged:
            facts.bridged[recording.record] = bridged
        facts.records += 1
        facts.padded += int(prepared.shape[1] < options.length)
        firsts.append(len(rows))
        for place, start, clip in cut:
            padded, offset = _padded(_levelled(clip, options.baseline), options)
            signals.append(padded)
            places[place.split()[0]] += 1
            rows.append(_row(recording, place, len(cut), start - offset, offset, offset + clip.shape[1]))
            diagnoses.append(recording.diagnoses)
            likelihoods.append(recording.likelihoods)
    if not signals:
        why = "; ".join(f"{item.record}: {item.reason}" for item in skipped[:3])
        raise EcglensError(f"no record gave a clip of {options.seconds:g} s ({why or 'there was no record'})")
    hot = multi_hot(labels, diagnoses, likelihoods)
    told = multi_hot(labels, [diagnoses[number] for number in firsts], [likelihoods[number] for number in firsts])
    facts.unknown, facts.unscored, facts.unlabelled = told.unknown, told.unscored, told.without
    facts.unlikely = told.unlikely
    facts.resampled, facts.clips, facts.missing_leads = dict(rates), dict(places), dict(missing)
    table = pd.DataFrame(rows)
    return Examples(
        signals=_stacked(signals), labels=single_labels(hot.labels), multi_hot=hot.labels, classes=labels.classes,
        fs=options.fs, leads=options.leads,
        places=tuple(LeadPlace(name, row, 0, options.length) for row, name in enumerate(options.leads)), table=table,
    ), facts  # fmt: skip


def _stacked(signals: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """One array of all clips; empties the list on the way, as those of a large database are gigabytes."""
    out = np.empty((len(signals), *signals[0].shape), np.float32)
    while signals:
        out[len(signals) - 1] = signals[-1]
        signals.pop()
    return out


def _prepared(recording: Recording, options: ClipOptions) -> NDArray[np.float32]:
    """The record (lead, time) at the rate and with the leads of the options, NaN where it has no value."""
    absent = [lead for lead in options.leads if lead not in recording.leads]
    if absent and (options.missing == "leave-out" or len(absent) == len(options.leads)):
        raise EcglensError(f"{recording.record} lacks lead {', '.join(absent)}; expected {', '.join(options.leads)}")
    if recording.signal.shape[1] < 2:
        raise EcglensError(f"{recording.record} has {recording.signal.shape[1]} sample; expected a signal")
    signal = resampled(recording, options.fs).signal
    out = np.zeros((len(options.leads), signal.shape[1]), np.float32)
    for row, lead in enumerate(options.leads):
        if lead in recording.leads:
            out[row] = signal[recording.leads.index(lead)]
    return out


def _bridged(clip: NDArray[np.float32], leads: tuple[str, ...]) -> tuple[NDArray[np.float32], int]:
    """The clip with samples that have no value bridged by a line, and how many they were; raises where there are too many."""
    lost = np.isnan(clip)
    worst = lost.mean(axis=1)
    if worst.max() > _MOST_INVALID:
        lead = leads[int(worst.argmax())]
        raise EcglensError(f"{worst.max():.0%} of lead {lead} has no value; at most {_MOST_INVALID:.0%} can be bridged")
    if lost.any():
        clip, at = clip.copy(), np.arange(clip.shape[1])
        for row in range(len(clip)):
            clip[row] = np.interp(at, at[~lost[row]], clip[row, ~lost[row]])
    if not np.ptp(clip, axis=1).any():
        raise EcglensError("flat in all leads: there is no signal")
    return clip, int(lost.sum())


def _levelled(signal: NDArray[np.float32], baseline: str) -> NDArray[np.float32]:
    """Each lead less its mean, or less its regression line over time (least squares)."""
    if baseline == "none":
        return signal
    centred = signal - signal.mean(axis=1, keepdims=True, dtype=np.float64)
    if baseline == "line":
        at = np.arange(signal.shape[1]) - (signal.shape[1] - 1) / 2
        centred -= (centred @ at)[:, None] / (at @ at) * at
    return centred.astype(np.float32)


def _padded(signal: NDArray[np.float32], options: ClipOptions) -> tuple[NDArray[np.float32], int]:
    """The clip at full length, zeros around it, and where the signal begins in it."""
    left = options.length - signal.shape[1]
    offset = {"both": left // 2, "start": left, "end": 0}[options.pad]
    return np.pad(signal, ((0, 0), (offset, left - offset))), offset


def _row(recording: Recording, place: str, n_clips: int, start: int, valid_start: int, valid_stop: int) -> dict[str, object]:
    known: dict[str, object] = {
        "id": f"{recording.database}/{recording.record}/{place.replace(' ', '-')}",
        "database": recording.database, "record": recording.record, "patient": recording.patient,
        "start": start, "r_sample": -1, "r_index": -1, "valid_start": valid_start, "valid_stop": valid_stop,
        "symbol": "", "lead_names": ",".join(recording.leads),
        "clip": place, "clips": n_clips, "recorded_fs": recording.fs,
        "recorded_seconds": recording.signal.shape[1] / recording.fs, "diagnoses": "; ".join(recording.diagnoses),
    }  # fmt: skip
    return known | {name: np.nan for name in COLUMNS if name not in known}


def by_record(
    values: NDArray[np.floating], examples: Examples, rule: str = "mean"
) -> tuple[NDArray[np.float64], pd.DataFrame]:
    """Values (clip, class) of each record's clips put together by "mean" or "max": (record, class), and rows of the table.

    Records come in the order of their first clips, whose rows these are. How Lin 2020 did it is unsaid.
    """
    choose(rule, ["max", "mean"], "rule")
    names = examples.table["database"] + "/" + examples.table["record"].astype(str)
    code, _ = pd.factorize(names)
    grouped = pd.DataFrame(values).groupby(code, sort=False)
    first = ~pd.Series(code).duplicated().to_numpy()
    return grouped.agg(rule).to_numpy(np.float64), examples.table[first].reset_index(drop=True)
