"""Beats cut out of recordings, by the rule of Jones 2020 or as a fixed window around the R peak."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.examples.evidence import evidence_regions
from ecglens.examples.examples import Examples, LeadPlace
from ecglens.examples.label_maps import LabelMap
from ecglens.examples.rr_intervals import rr_intervals
from ecglens.recordings.databases import Skipped
from ecglens.recordings.recording import Evidence, Recording


@dataclass(frozen=True)
class BeatOptions:
    """How a beat is cut.

    extent: "halfway" cuts from half-way to the mark before to half-way to the mark after (Jones 2020), "fixed" takes
    `length` samples centred on R. neighbours: what counts as a mark in "halfway", all "annotations" or only "beats".
    padding: zeros at the "end", or on both sides with R in the "centre" ("halfway" only). length: samples; longer
    "halfway" beats are dropped. merge_case: 'a' counts as 'A', 'e' as 'E'. join_leads: leads one behind the other in
    one row. usual_beat: the record's usual beat (the median of its windows, no label used) in further rows under the beat.
    """

    extent: str = "fixed"
    neighbours: str = "beats"
    padding: str = "centre"
    length: int = 430
    merge_case: bool = False
    join_leads: bool = False
    usual_beat: bool = False

    def __post_init__(self) -> None:
        choose(self.extent, ["fixed", "halfway"], "extent")
        choose(self.neighbours, ["annotations", "beats"], "neighbours")
        choose(self.padding, ["centre", "end"], "padding")
        if self.length < 2:
            raise EcglensError(f"length is {self.length}; expected at least 2 samples")
        if self.usual_beat and (self.join_leads or self.extent != "fixed"):
            raise EcglensError("usual_beat needs extent=fixed and join_leads=false: beats must lie in line to have a median")


@dataclass(frozen=True)
class _Cut:
    """The beats of one recording: signals (beat, lead, time) and where each was."""

    signals: NDArray[np.float32]
    columns: dict[str, NDArray[np.generic] | str]
    labels: NDArray[np.int64]
    longest: int
    evidence: Evidence | None


@dataclass(frozen=True)
class BeatFacts:
    """What cutting found out: lengths before any limit, and what was left out.

    longest: samples, over all beats of the classes; too_long: beats over the limit; of_classes: all beats of the classes.
    """

    longest: int
    too_long: int
    of_classes: int


def cut_beats(
    recordings: Iterable[Recording], labels: LabelMap, options: BeatOptions, skipped: list[Skipped]
) -> tuple[Examples, BeatFacts]:
    """Every beat of the classes, from every recording, as Examples in mV.

    Beats with invalid (NaN) samples are left out and appended to `skipped`, a line per record. Raises EcglensError when
    no beat is left or the recordings do not share rate and number of leads.
    """
    cuts: list[_Cut] = []
    facts = BeatFacts(0, 0, 0)
    rate: tuple[float, int] | None = None
    for recording in recordings:
        if rate is None:
            rate = (recording.fs, len(recording.leads))
        elif rate != (recording.fs, len(recording.leads)):
            raise EcglensError(
                f"{recording.record} has {len(recording.leads)} leads at {recording.fs:g} Hz, the records before it "
                f"{rate[1]} at {rate[0]:g} Hz; cut them apart"
            )
        cut, found = _cut_one(recording, labels, options, skipped)
        facts = BeatFacts(
            max(facts.longest, found.longest),
            facts.too_long + found.too_long,
            facts.of_classes + found.of_classes,
        )
        if len(cut.labels):
            cuts.append(cut)
    if not cuts or rate is None:
        reasons = "; ".join(f"{item.record}: {item.reason}" for item in skipped[:3])
        raise EcglensError(f"no beat of the classes {', '.join(labels.classes)} was found ({reasons or 'no record'})")
    return _join(cuts, labels, options, rate), facts


def _join(cuts: list[_Cut], labels: LabelMap, options: BeatOptions, rate: tuple[float, int]) -> Examples:
    fs, n_leads = rate
    lead_names = [f"lead {number + 1}" for number in range(n_leads)]
    if options.usual_beat:
        lead_names += [f"usual {name}" for name in lead_names]
    if options.join_leads:
        leads: tuple[str, ...] = (" + ".join(lead_names),)
        places = [LeadPlace(name, 0, k * options.length, options.length) for k, name in enumerate(lead_names)]
    else:
        leads = tuple(lead_names)
        places = [LeadPlace(name, row, 0, options.length) for row, name in enumerate(lead_names)]
    table = pd.concat([pd.DataFrame(cut.columns) for cut in cuts], ignore_index=True)
    table.insert(0, "id", table["database"] + "/" + table["record"] + "/" + table["r_sample"].astype(str))
    signals = np.empty((sum(len(cut.labels) for cut in cuts), len(lead_names), options.length), np.float32)
    np.concatenate([cut.signals for cut in cuts], out=signals)
    return Examples(
        signals=signals.reshape(len(signals), 1, -1) if options.join_leads else signals,
        labels=np.concatenate([cut.labels for cut in cuts]),
        classes=labels.classes,
        fs=fs,
        leads=leads,
        places=tuple(places),
        table=table,
        evidence=evidence_regions(table, tuple(places), {str(cut.columns["record"]): cut.evidence for cut in cuts}),
    )


def _cut_one(recording: Recording, labels: LabelMap, options: BeatOptions, skipped: list[Skipped]) -> tuple[_Cut, BeatFacts]:
    beats = recording.annotations.beats()
    label = labels.indices(beats.symbol, merge_case=options.merge_case)
    if options.extent == "halfway":
        if options.neighbours == "annotations":
            marks, at = recording.annotations.sample, np.flatnonzero(recording.annotations.is_beat)
        else:
            marks, at = beats.sample, np.arange(len(beats.sample))
        start, stop, has_both = _halfway(marks, at)
        of_classes = (label >= 0) & has_both
        lengths = (stop - start)[of_classes]
        facts = BeatFacts(int(lengths.max(initial=0)), int((lengths > options.length).sum()), int(of_classes.sum()))
        keep = of_classes & (stop - start <= options.length)
    else:
        keep = label >= 0
        start = beats.sample - options.length // 2
        stop = start + options.length
        facts = BeatFacts(options.length, 0, int(keep.sum()))
    start, stop, r_sample = start[keep], stop[keep], beats.sample[keep]
    if options.extent == "fixed":
        signals, valid = _fixed_windows(recording.signal, start, options.length)
        begin = start
    else:
        begin = start if options.padding == "end" else r_sample - options.length // 2
        signals, valid = _padded_windows(recording.signal, start, stop, begin, options.length)
    broken = np.isnan(signals).any(axis=(1, 2))
    if broken.any():
        n_broken = int(broken.sum())
        skipped.append(Skipped(recording.record, f"{n_broken} beats hold invalid (NaN) samples", n_broken))
    fine = ~broken
    signals, names = signals[fine] if broken.any() else signals, recording.leads
    if options.usual_beat and len(signals):
        signals, names = _with_usual_beat(signals), (*names, *(f"usual {name}" for name in names))
    rr = rr_intervals(beats.sample, recording.fs)
    columns: dict[str, NDArray[np.generic] | str] = {
        "database": recording.database,
        "record": recording.record,
        "patient": recording.patient,
        "start": begin[fine],
        "r_sample": r_sample[fine],
        "r_index": (r_sample - begin)[fine],
        "valid_start": valid[fine, 0],
        "valid_stop": valid[fine, 1],
        "symbol": beats.symbol[keep][fine],
        "lead_names": ", ".join(names),
        **{name: values[keep][fine] for name, values in rr.items()},
    }
    return _Cut(signals, columns, label[keep][fine], facts.longest, recording.evidence), facts


def _halfway(marks: NDArray[np.int64], at: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """For each beat, mark number `at`: middle to the mark before, middle to the mark after (floored), both exist."""
    has_both = (at > 0) & (at < len(marks) - 1)
    before = marks[np.maximum(at - 1, 0)]
    after = marks[np.minimum(at + 1, len(marks) - 1)]
    return (before + marks[at]) // 2, (marks[at] + after) // 2, has_both


def _fixed_windows(
    signal: NDArray[np.float32], start: NDArray[np.int64], length: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Windows (beat, lead, length) and valid spans (beat, 2); beyond the record's ends its last value goes on."""
    n_samples = signal.shape[1]
    inside = (start >= 0) & (start + length <= n_samples)
    windows = np.empty((len(start), signal.shape[0], length), np.float32)
    if n_samples >= length:
        windows[inside] = sliding_window_view(signal, length, axis=1)[:, start[inside]].swapaxes(0, 1)
    for row in np.flatnonzero(~inside):
        at = np.clip(np.arange(start[row], start[row] + length), 0, n_samples - 1)
        windows[row] = signal[:, at]
    valid = np.stack([np.maximum(-start, 0), np.minimum(n_samples - start, length)], axis=1)
    return windows, valid


def _padded_windows(
    signal: NDArray[np.float32],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    begin: NDArray[np.int64],
    length: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Signal from start to stop in a window that begins at `begin`, zeros elsewhere; and valid spans (beat, 2)."""
    windows, _ = _fixed_windows(signal, begin, length)
    valid = np.stack([np.maximum(start - begin, 0), np.minimum(stop - begin, length)], axis=1)
    time = np.arange(length)
    outside = (time < valid[:, :1]) | (time >= valid[:, 1:])
    np.copyto(windows, 0, where=outside[:, None, :])
    return windows, valid


def _with_usual_beat(signals: NDArray[np.float32], at_most: int = 501) -> NDArray[np.float32]:
    """The windows (beat, lead, time) with the median of up to `at_most` of them, evenly chosen, as further leads."""
    chosen = np.linspace(0, len(signals) - 1, min(at_most, len(signals))).round().astype(int)
    usual = np.median(signals[chosen], axis=0).astype(np.float32)
    return np.concatenate([signals, np.broadcast_to(usual, signals.shape)], axis=1)
