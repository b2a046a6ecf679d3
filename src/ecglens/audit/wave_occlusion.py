"""Does hiding the wave on which a map lies move the answer?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.course import rank_correlation
from ecglens.analysis.focus import focus
from ecglens.analysis.intervals import mean_over_patients
from ecglens.analysis.wave_occlusion import occlude_waves
from ecglens.analysis.waves import NAMES, wave_regions
from ecglens.audit.agreement import LEAST, why_no_maps, with_ends
from ecglens.audit.finding import Answer, Finding, Measure, clear, found, not_run
from ecglens.audit.sanity import examples_for_maps, maps_of
from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions

ALL_LEADS, ALL_CLASSES = "all leads", "all classes"
_MOST = 90  # examples
_ANSWERS = 1_500  # that are asked of single leads
_IN_LEADS = ("P", "QRS", "ST", "T")  # what is hidden in single leads, which are many
_WAVES_AT_LEAST = 4  # of which ranks can be told
_NOTHING = 0.05  # of what hiding the strongest wave moves
_STANDS_OUT = 1.25  # enrichment of a wave that a map points to


def wave_occlusion(subject: Subject) -> Answer:
    """Each wave of all leads at once, then of each lead, is drawn as a straight line, and the class's logit asked again.

    Table wave_occlusion: class (the one asked about: that which the net gives; "all classes" too), lead ("all leads" too),
    wave, n (examples that have it), patients, share (of the map's size that lies there), time, enrichment (share / time),
    fall (mean, in logits, what the class loses), fall_low, fall_high, moved (mean size of the change), moved_low, moved_high
    (95 % over patients). In single leads P, QRS, ST and T, on as many examples as
    1,500 answers allow.
    """
    points, ranks = "explanation.top-wave-moves-nothing", "explanation.waves-ranked-otherwise"
    whats = {
        points: "Whether hiding the wave that the map shows moves the answer",
        ranks: "Whether maps rank waves as hiding them does",
    }
    why = why_no_maps(subject)
    rows = np.empty(0, np.int64) if why else examples_for_maps(subject, _MOST)
    if not why and not len(rows):
        why = "there is no example to explain"
    if not why:
        part = subject.examples.take(rows)
        try:
            regions = _waves_alone(wave_regions(subject.examples, rows=rows))
            why = "" if regions.names else "no beat is known or found in the examples"
        except EcglensError as error:
            why = f"waves cannot be found ({error})"
    if why:
        return _not_run(whats, why)
    target = subject.classifier.logits(part).argmax(1)
    maps = maps_of(subject, part, target)
    maps = np.broadcast_to(maps, (len(maps), part.signals.shape[1], maps.shape[2]))
    patients = subject.patients[rows]
    whole = _hidden(subject, part, maps, target, patients, regions)
    tables = [whole.table(subject, ALL_LEADS)]
    if tables[0].empty:
        return _not_run(whats, "the maps are empty" if not maps.any() else "where a map is not empty no wave is known")
    leads = tuple(dict.fromkeys(regions.lead))
    if len(leads) > 1:
        few = _few(subject, rows, _ANSWERS // (len(leads) * len(_IN_LEADS)))
        for lead in leads:
            mine = _in_lead(regions, lead).take(few)
            if not mine.names:
                continue
            hidden = _hidden(subject, part.take(few), maps[few], target[few], patients[few], mine)
            tables.append(hidden.table(subject, lead))
    table = pd.concat([each for each in tables if len(each)], ignore_index=True)
    findings = [_points(subject, table, points, whats[points]), _ranks(subject, whole, ranks, whats[ranks])]
    return Answer(findings, {"wave_occlusion": table})


def _not_run(whats: dict[str, str], why: str) -> Answer:
    return Answer([not_run(name, "explanation", what, why) for name, what in whats.items()])


def _waves_alone(regions: Regions) -> Regions:
    """Without what lies before the first and after the last beat."""
    return _taken(regions, [k for k, name in enumerate(regions.names) if name in NAMES])


def _in_lead(regions: Regions, lead: str) -> Regions:
    places = zip(regions.lead, regions.names, strict=True)
    return _taken(regions, [k for k, (each, name) in enumerate(places) if each == lead and name in _IN_LEADS])


def _taken(regions: Regions, kept: list[int]) -> Regions:
    names, leads = (tuple(values[k] for k in kept) for values in (regions.names, regions.lead))
    return Regions(names, leads, regions.row[kept], regions.start[:, kept], regions.stop[:, kept])


def _few(subject: Subject, rows: NDArray[np.int64], most: int) -> NDArray[np.intp]:
    """Places in `rows` of as many as there is room for, of every class."""
    few = np.intersect1d(examples_for_maps(subject, max(most, 1)), rows)
    return np.flatnonzero(np.isin(rows, few))


@dataclass(frozen=True)
class _Hidden:
    """What hiding each wave did, (example, wave), beside the map's share there and the share of time, of some examples."""

    names: tuple[str, ...]
    fall: NDArray[np.float64]
    share: NDArray[np.float64]
    time: NDArray[np.float64]
    target: NDArray[np.int64]
    patients: NDArray[np.str_]

    def table(self, subject: Subject, lead: str) -> pd.DataFrame:
        """A row per class asked about and wave."""
        rows = []
        classes = subject.examples.classes
        groups = {ALL_CLASSES: np.ones(len(self.target), bool)} | {each: self.target == k for k, each in enumerate(classes)}
        for group, mine in groups.items():
            for k, wave in enumerate(self.names):
                has = mine & ~np.isnan(self.fall[:, k]) & ~np.isnan(self.share[:, k])
                if has.any():
                    rows.append({"class": group, "lead": lead, "wave": wave} | self._row(has, k, subject.seed))
        return pd.DataFrame(rows)

    def _row(self, has: NDArray[np.bool_], k: int, seed: int) -> dict[str, float]:
        fall, who = self.fall[has, k], self.patients[has]
        values = np.stack([fall, np.abs(fall)], axis=1)
        low, high = mean_over_patients(values, who, seed=seed)
        share, time = float(self.share[has, k].mean()), float(self.time[has, k].mean())
        return {
            "n": int(has.sum()), "patients": len(np.unique(who)), "share": share, "time": time, "enrichment": share / time,
            "fall": fall.mean(), "fall_low": low[0], "fall_high": high[0],
            "moved": values[:, 1].mean(), "moved_low": low[1], "moved_high": high[1],
        }  # fmt: skip


def _hidden(
    subject: Subject, part: Examples, maps: NDArray[np.float32], target: NDArray[np.int64], patients: NDArray[np.str_],
    regions: Regions,
) -> _Hidden:  # fmt: skip
    falls = occlude_waves(subject.classifier, part, regions, target)
    within = focus(maps, regions)
    assert within.names == falls.names
    return _Hidden(falls.names, falls.fall, within.share, within.area, target, patients)


def _points(subject: Subject, table: pd.DataFrame, name: str, what: str) -> Finding:
    """Per class: the wave where the map is densest, and what hiding it moves, beside the wave that moves most."""
    whole = table[(table["lead"] == ALL_LEADS) & (table["class"] != ALL_CLASSES)]
    whole = whole[(whole["n"] >= LEAST) & (whole["patients"] > 1) & (whole["time"] > 0)]
    tops, idle = {}, []
    for one, mine in whole.groupby("class", sort=False):
        if len(mine) < 2 or not mine["moved"].max() > 0:
            continue
        top, strongest = (mine.loc[mine[column].idxmax()] for column in ("enrichment", "moved"))
        if top["enrichment"] < _STANDS_OUT:
            continue
        tops[one] = top["moved"] / strongest["moved"]
        if top["moved_high"] < _NOTHING * strongest["moved"]:
            idle.append(f"{one}: the map lies on {top['wave']}, hiding {strongest['wave']} moves most")
    if not tops:
        why = f"no class has {LEAST} examples of two patients, an answer that hiding waves moves, and a map that points to one"
        return not_run(name, "explanation", what, why)
    words = "what hiding the wave where the map is densest moves, of what hiding the strongest wave moves; the least class"
    least = min(tops, key=lambda one: tops[one])
    measure = Measure(float(tops[least]), words, where={"method": str(subject.method), "class": str(least)})
    if idle:
        return found(
            name, "explanation", "medium",
            f"In {len(idle)} of {len(tops)} classes hiding the wave on which {subject.method} lies moves the answer by less "
            f"than {_NOTHING:.0%} of what hiding another wave does ({'; '.join(idle)}).",
            measure, do="Read the table of hidden waves in the place of the map for these classes.",
        )  # fmt: skip
    told = f"Hiding the wave on which the map lies moves the answer, in all of {len(tops)} classes that could be asked."
    return clear(name, "explanation", told, measure)


def _ranks(subject: Subject, hidden: _Hidden, name: str, what: str) -> Finding:
    """Rank correlation, over waves, of the map's density with the size of the fall."""
    density = np.divide(hidden.share, hidden.time, out=np.full(hidden.share.shape, np.nan), where=hidden.time > 0)
    moved = np.abs(hidden.fall)
    known = ~np.isnan(density) & ~np.isnan(moved)
    agree = np.full(len(known), np.nan)
    for count in range(_WAVES_AT_LEAST, len(hidden.names) + 1):  # examples of as many waves at once
        some = known.sum(1) == count
        if some.any():
            pair = (each[some][known[some]].reshape(-1, count) for each in (density, moved))
            agree[some] = rank_correlation(*pair)
    counted = ~np.isnan(agree)
    if counted.sum() < LEAST:
        why = f"{int(counted.sum())} examples have {_WAVES_AT_LEAST} waves and a map that is not flat; {LEAST} are needed"
        return not_run(name, "explanation", what, why)
    words = f"rank correlation, over waves, of the map's density with what hiding moves; mean of {int(counted.sum())} examples"
    measure = with_ends(agree[counted], hidden.patients[counted], words, {"method": str(subject.method)}, subject.seed)
    if measure.high is not None and measure.high < 0:
        return found(
            name, "explanation", "medium",
            "Waves on which the map lies more move the answer less when they are hidden: it does not rank waves as the net "
            "uses them.",
            measure, do="Hide waves to see which are used; do not rank them by this map.",
        )  # fmt: skip
    return clear(name, "explanation", "The map does not rank waves against what hiding them does.", measure)
