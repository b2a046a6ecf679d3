"""Do maps keep still where the answer does, and can they tell leads? The signal is changed a little, or a lead taken away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.course import rank_correlation
from ecglens.analysis.intervals import mean_over_patients
from ecglens.audit.agreement import LEAST, likeness, why_no_maps, with_ends
from ecglens.audit.finding import Answer, Finding, Measure, clear, found, not_run
from ecglens.audit.sanity import examples_for_maps, maps_of
from ecglens.audit.subject import Subject
from ecglens.examples.examples import Examples

GAIN, SHIFT_S = 1.2, 0.02
_MOST = 24  # examples
_SAME_ANSWER = 0.05  # change of the probability
_STILL = 0.5  # rank correlation of a map with what it was
_LEADS_AT_LEAST = 3  # of which ranks can be told


def small_changes(subject: Subject) -> list[Finding]:
    """Do maps move far more than the answer when the signal is 1.2 times as large, or comes 20 ms later?

    Only examples are counted whose answer stays: the same class, at a probability within 0.05. Their maps' sizes are compared
    by rank in stretches of 50 ms, moved back where the signal was moved. A net that scales its input is asked too: its map has
    to stay.
    """
    asked = {
        "gain": ("explanation.gain", f"Whether maps keep still when the signal is {GAIN} times as large"),
        "shift": ("explanation.shift", f"Whether maps keep still when the signal comes {SHIFT_S * 1e3:g} ms later"),
    }
    why = why_no_maps(subject)
    if why:
        return [not_run(name, "explanation", what, why) for name, what in asked.values()]
    rows = examples_for_maps(subject, _MOST)
    part = subject.examples.take(rows)
    target = subject.classifier.logits(part).argmax(1)
    still = maps_of(subject, part, target)
    steps = max(round(SHIFT_S * part.fs), 1)
    findings = []
    for change, (name, what) in asked.items():
        if change == "shift" and subject.classifier.context is not None:
            told = "the net is told where the signal is, so that it cannot be moved alone"
            findings.append(not_run(name, "explanation", what, told))
            continue
        other = replace(part, signals=np.float32(GAIN) * part.signals) if change == "gain" else later(part, steps)
        changed = maps_of(subject, other, target)
        if change == "shift":
            changed, kept = changed[:, :, steps:], still[:, :, : changed.shape[2] - steps]
        else:
            kept = still
        alike = likeness(kept, changed, part.fs)[:, 0]
        findings.append(_keeps_still(subject, rows, part, other, target, alike, name, what))
    return findings


def later(part: Examples, steps: int) -> Examples:
    """The examples with each lead moved by `steps` samples; what comes in is the lead's first sample."""
    signals = part.signals.copy()
    for place in part.places:
        lead = part.signals[:, place.row, place.offset : place.offset + place.length]
        moved = np.concatenate([np.repeat(lead[:, :1], steps, axis=1), lead[:, :-steps]], axis=1)
        signals[:, place.row, place.offset : place.offset + place.length] = moved
    return replace(part, signals=signals)


def _keeps_still(
    subject: Subject, rows: NDArray[np.int64], part: Examples, other: Examples, target: NDArray[np.int64],
    alike: NDArray[np.float64], name: str, what: str,
) -> Finding:  # fmt: skip
    classifier = subject.classifier
    before, after = (classifier.logits(each) for each in (part, other))
    each = np.arange(len(rows))
    moved = np.abs(classifier.probabilities(after)[each, target] - classifier.probabilities(before)[each, target])
    counted = (after.argmax(1) == target) & (moved <= _SAME_ANSWER) & ~np.isnan(alike)
    if counted.sum() < LEAST:
        why = f"{int(counted.sum())} examples keep their answer and have a map that is not flat; {LEAST} are needed"
        return not_run(name, "explanation", what, why)
    words = f"mean rank correlation of the maps' sizes before and after, over {int(counted.sum())} examples whose answer stays"
    where = {"method": str(subject.method)}
    measure = with_ends(alike[counted], subject.patients[rows][counted], words, where, subject.seed)
    told = f"The answer stays (probability within {_SAME_ANSWER:g}), the map keeps a rank correlation of {measure.value:.2f}"
    if (measure.value if measure.high is None else measure.high) < _STILL:
        return found(
            name, "explanation", "medium", f"{told}: it shows more than what the answer rests on.", measure,
            examples=subject.some_ids(rows[counted]), do="Average maps over small changes of the signal (as smoothgrad does).",
        )  # fmt: skip
    return clear(name, "explanation", f"{told}.", measure)


def leads_told(subject: Subject) -> Answer:
    """Can the map tell leads; if so, does it rank them as taking them away does?

    Each lead is set to its own mean, one at a time. Table leads: lead, n, patients, share (of the map's size), moved (mean
    size of the change of the class's logit), moved_low, moved_high (95 % over patients).
    """
    none, ranks = "explanation.no-leads", "explanation.leads-ranked-otherwise"
    whats = {none: "Whether maps tell leads apart", ranks: "Whether maps rank leads as taking them away does"}
    places = subject.examples.places
    why = why_no_maps(subject) or ("" if len(places) > 1 else "the examples have one lead")
    if why:
        return Answer([not_run(name, "explanation", what, why) for name, what in whats.items()])
    rows = examples_for_maps(subject, _MOST)
    part, patients = subject.examples.take(rows), subject.patients[rows]
    before = subject.classifier.logits(part)
    target = before.argmax(1)
    maps = maps_of(subject, part, target)
    several = len(subject.examples.leads) > 1
    if several and (maps == maps[:, :1]).all():
        measure = Measure(float(len(places)), "leads that share one map", where={"method": str(subject.method)})
        finding = found(
            none, "explanation", "low",
            f"{subject.method} draws one map for all {len(places)} leads: nothing about a lead can be read from it.", measure,
            do="Draw it beside the leads, not on them; for leads take a method that tells them apart.",
        )  # fmt: skip
        return Answer([finding, not_run(ranks, "explanation", whats[ranks], "the map does not tell leads apart")])
    share, moved = _by_lead(subject, part, target, before, maps)
    low, high = mean_over_patients(moved, patients, seed=subject.seed)
    table = pd.DataFrame(
        {
            "lead": [place.name for place in places], "n": len(rows), "patients": len(np.unique(patients)),
            "share": np.nanmean(share, axis=0) if not np.isnan(share).all() else np.nan, "moved": moved.mean(0),
            "moved_low": low, "moved_high": high,
        }
    )  # fmt: skip
    measure = Measure(float(len(places)), "leads that the map tells apart", where={"method": str(subject.method)})
    findings = [clear(none, "explanation", f"{subject.method} tells {len(places)} leads apart.", measure)]
    return Answer([*findings, _lead_ranks(subject, share, moved, patients, ranks, whats[ranks])], {"leads": table})


def _by_lead(
    subject: Subject, part: Examples, target: NDArray[np.int64], before: NDArray[np.float32], maps: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(share of the map's size, size of the change of the logit) (example, lead)."""
    size, each = np.abs(maps), np.arange(len(part))
    shares, moved = [], []
    for place in part.places:
        there = (slice(None), place.row, slice(place.offset, place.offset + place.length))
        shares.append(size[there].sum(1, dtype=np.float64))
        signals = part.signals.copy()
        signals[there] = signals[there].mean(1, keepdims=True)
        after = subject.classifier.logits(replace(part, signals=signals))
        moved.append(np.abs(before[each, target].astype(np.float64) - after[each, target]))
    mass = np.stack(shares, axis=1)
    total = mass.sum(1, keepdims=True)
    return np.divide(mass, total, out=np.full(mass.shape, np.nan), where=total > 0), np.stack(moved, axis=1)


def _lead_ranks(
    subject: Subject, share: NDArray[np.float64], moved: NDArray[np.float64], patients: NDArray[np.str_], name: str, what: str
) -> Finding:
    if share.shape[1] < _LEADS_AT_LEAST:
        return not_run(name, "explanation", what, f"{share.shape[1]} leads; ranks need {_LEADS_AT_LEAST}")
    agree = rank_correlation(np.nan_to_num(share), moved)
    known = ~np.isnan(agree)
    if known.sum() < LEAST:
        return not_run(name, "explanation", what, f"{int(known.sum())} examples have leads that differ; {LEAST} are needed")
    words = f"rank correlation, over leads, of the map's share with what taking a lead away moves; {int(known.sum())} examples"
    measure = with_ends(agree[known], patients[known], words, {"method": str(subject.method)}, subject.seed)
    if measure.high is not None and measure.high < 0:
        return found(
            name, "explanation", "low", "Leads with more of the map move the answer less when they are taken away.", measure,
            do="Take leads away to see which are used; do not rank them by this map.",
        )  # fmt: skip
    return clear(name, "explanation", "The map does not rank leads against what taking them away does.", measure)
