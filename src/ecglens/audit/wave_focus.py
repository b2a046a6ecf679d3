"""Where in the heart beat the maps lie: their mass in each wave, beside the share of time and beside trivial maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ecglens.analysis.focus import focus, focus_table
from ecglens.analysis.waves import NAMES, wave_regions
from ecglens.audit.finding import Finding, Measure, clear, found, not_run
from ecglens.audit.sanity import examples_for_maps, maps_of
from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError
from ecglens.examples.regions import Regions

TRIVIAL = ("magnitude", "slope")
OUTSIDE, ALL = "outside all waves", "all classes"
_WAVES = ("P", "QRS", "T")
_MOST = 240  # examples
_EVEN = 1 - 1e-6  # of what a uniform map has, but for rounding
_ALIKE = 0.02  # share of a map's mass
_EMPTY = "the maps are empty"


def wave_table(subject: Subject) -> pd.DataFrame | str:
    """Share of the maps in each wave by class, for the method that is audited and for trivial maps; or why it cannot be.

    Columns method, class (the true one; "all classes" too), wave (those of `wave_regions`, and "outside all waves": TP, RR
    gap, and what is before and after), n, patients, share, time (what a uniform map has), enrichment (share / time) with low
    and high (95 % over patients). All leads together. A record of several classes counts for each of them.
    """
    if subject.method is None:
        return "no method is named whose maps are shown"
    if subject.classifier.draws:
        return "the net sees pictures, in which waves have no samples"
    rows = examples_for_maps(subject, _MOST)
    if not len(rows):
        return "there is no example to explain"
    part = subject.examples.take(rows)
    try:
        waves = _with_outside(wave_regions(subject.examples, rows=rows))
    except EcglensError as error:
        return f"waves cannot be found ({error})"
    target = subject.classifier.logits(part).argmax(1)
    truth = subject.truth[rows]
    groups = {ALL: np.ones(len(rows), bool)} | {name: truth[:, k] for k, name in enumerate(part.classes)}
    tables = []
    for method in dict.fromkeys((subject.method, *TRIVIAL)):
        of = subject if method == subject.method else replace(subject, method=method, map_options={})
        maps = maps_of(of, part, target)
        leads = np.broadcast_to(maps, (len(maps), part.signals.shape[1], maps.shape[2]))
        table = focus_table(focus(leads, waves), groups, subject.patients[rows], seed=subject.seed, replicates=500)
        tables.append(table.assign(method=method))
    columns = {
        "group": "class", "region": "wave", "n": "n", "patients": "patients", "focus": "share", "random": "time",
        "enrichment": "enrichment", "enrichment_low": "low", "enrichment_high": "high",
    }  # fmt: skip
    whole = pd.concat(tables, ignore_index=True)
    return whole[["method", *columns]].rename(columns=columns)


def _with_outside(waves: Regions) -> Regions:
    """The waves by name, and all stretches that are none under one more name."""
    names = tuple(name for name in waves.names if name in NAMES)
    kept = np.array([name in NAMES for name in waves.names])
    none = np.array([name not in (*_WAVES, "PR", "ST") for name in waves.names])
    which = np.concatenate([np.flatnonzero(kept), np.flatnonzero(none)])
    return Regions(
        (*names, *(OUTSIDE for _ in range(int(none.sum())))), tuple(waves.lead[k] for k in which), waves.row[which],
        waves.start[:, which], waves.stop[:, which],
    )  # fmt: skip


def wave_findings(subject: Subject, table: pd.DataFrame | str) -> list[Finding]:
    """Do maps lie on the heart beat more than anywhere, and otherwise than the signal's own size does?"""
    outside, alike = "explanation.outside-waves", "explanation.like-the-signal"
    if isinstance(table, str):
        return [
            not_run(outside, "explanation", "Whether maps lie on the heart beat", table),
            not_run(alike, "explanation", "Whether maps lie elsewhere than the signal's size", table),
        ]
    return [_outside(subject, table), _alike(subject, table)]


def _outside(subject: Subject, table: pd.DataFrame) -> Finding:
    name = "explanation.outside-waves"
    row = table[(table["method"] == subject.method) & (table["class"] == ALL) & (table["wave"] == OUTSIDE)].iloc[0]
    if np.isnan(row["time"]):
        return not_run(name, "explanation", "Whether maps lie on the heart beat", _EMPTY)
    if not row["time"] > 0:
        return not_run(name, "explanation", "Whether maps lie on the heart beat", "the examples hold nothing but waves")
    words = f"mass of the maps outside all waves / share of time there, over {row['n']} examples"
    low, high = (None if np.isnan(row[end]) else float(row[end]) for end in ("low", "high"))
    measure = Measure(float(row["enrichment"]), words, low, high, {"method": str(subject.method)})
    told = (
        f"{row['share']:.0%} of the maps' mass lies outside P, QRS, T and what is between them, {row['time']:.0%} of the time"
    )
    if measure.value >= _EVEN and (low is None or low >= _EVEN):
        return found(
            name, "explanation", "medium", f"{told}: no less than if it were strewn evenly. Either the net reads pauses, "
            "noise or edges, or the map does not show what it reads.",
            measure, do="See by class which stretch it is, and hide that stretch: does the answer change?",
        )  # fmt: skip
    return clear(name, "explanation", f"{told}.", measure)


def _alike(subject: Subject, table: pd.DataFrame) -> Finding:
    name = "explanation.like-the-signal"
    shares = table[table["class"] != ALL].pivot(index=["class", "wave"], columns="method", values="share")
    shares = shares.drop(index=OUTSIDE, level="wave")
    away = {method: float(shares[subject.method].sub(shares[method]).abs().mean()) for method in TRIVIAL}
    away = {method: value for method, value in away.items() if not np.isnan(value)}
    if not away:
        why = _EMPTY if shares[subject.method].isna().all() else "the trivial maps are empty where the maps are not"
        return not_run(name, "explanation", "Whether maps lie elsewhere than the signal's size", why)
    nearest = min(away, key=lambda method: away[method])
    words = f"mean difference of a wave's share of the map from that of the trivial map '{nearest}', over classes and waves"
    measure = Measure(away[nearest], words, where={"method": str(subject.method)})
    if measure.value < _ALIKE:
        return found(
            name, "explanation", "medium",
            f"By class and wave the maps lie where '{nearest}' lies, which asks no net at all: their profile says what the "
            "signal looks like, not what the net reads.",
            measure, do="Compare with a method whose maps change with the weights; hide waves and see.",
        )  # fmt: skip
    return clear(name, "explanation", f"The nearest trivial map is '{nearest}', whose profile is another one.", measure)
