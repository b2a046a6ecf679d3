"""Would another training of the same net have drawn the same maps; and one that had nothing to learn?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.audit.agreement import difference, likeness, likeness_row, why_no_maps
from ecglens.audit.finding import Answer, Finding, Measure, clear, found, not_run
from ecglens.audit.sanity import examples_for_maps, maps_of
from ecglens.audit.subject import OTHER_START, SHUFFLED_LABELS, Subject
from ecglens.errors import EcglensError

ANOTHER_EXAMPLE, BOTH_OTHERS = "another example of the class", "another example of the class, another random start"
_MOST = 40  # examples
_STABLE = 0.1  # rank correlation below which starts agree in nothing that labels could change
_SAME = 0.05  # rank correlation that is no difference


def siblings(subject: Subject) -> Answer:
    """The findings on other random starts and on shuffled labels, with the table of `sibling_table`."""
    starts, labels = "explanation.random-starts", "explanation.shuffled-labels"
    whats = {
        starts: "Whether another random start draws the same maps",
        labels: "Whether maps of a net that could learn nothing are others",
    }
    why = why_no_maps(subject) or ("" if subject.siblings else "no other training is given; add one by --sibling RUN")
    if not why:
        try:
            alike, rows = sibling_likeness(subject)
        except EcglensError as error:
            why = str(error)
    if why:
        return Answer([not_run(name, "explanation", what, why) for name, what in whats.items()])
    table = sibling_table(subject, alike, rows)
    findings = [_starts(subject, alike, rows, starts, whats[starts]), _labels(subject, alike, rows, labels, whats[labels])]
    return Answer(findings, {"siblings": table})


def sibling_likeness(subject: Subject) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """(what the maps are beside, to `likeness` (example, 2); rows): one method, the same examples, the same classes asked.

    Beside maps of the siblings, the mean over those of one kind; of another example for which the same class is asked about,
    by the net itself and by other starts; and of the trivial maps. NaN where there is no other such example.
    """
    rows = examples_for_maps(subject, _MOST)
    part, fs = subject.examples.take(rows), subject.examples.fs
    target = subject.classifier.logits(part).argmax(1)
    mine = maps_of(subject, part, target)
    partner = another_of(target)
    alone = partner == np.arange(len(rows))

    def apart(maps: NDArray[np.float32]) -> NDArray[np.float64]:
        values = likeness(mine, maps[partner], fs)
        values[alone] = np.nan
        return values

    alike: dict[str, NDArray[np.float64]] = {}
    for kind in (OTHER_START, SHUFFLED_LABELS):
        theirs = [maps_of(subject, part, target, each.classifier) for each in subject.siblings if each.differs == kind]
        if theirs:
            alike[kind] = np.mean([likeness(mine, maps, fs) for maps in theirs], axis=0)
        if theirs and kind == OTHER_START:
            alike[BOTH_OTHERS] = np.mean([apart(maps) for maps in theirs], axis=0)
    alike[ANOTHER_EXAMPLE] = apart(mine)
    for method in ("magnitude", "slope"):
        alike[method] = likeness(mine, maps_of(replace(subject, method=method, map_options={}), part, target), fs)
    return alike, rows


def another_of(target: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each example one of the same target half a group farther on, as neighbours are often of one patient; itself where it
    is alone.
    """
    out = np.arange(len(target))
    for one in np.unique(target):
        mine = np.flatnonzero(target == one)
        out[mine] = np.roll(mine, -(len(mine) // 2))
    return out


def sibling_table(subject: Subject, alike: dict[str, NDArray[np.float64]], rows: NDArray[np.int64]) -> pd.DataFrame:
    """How like the maps others are: columns beside, n, patients, correlation and overlap with intervals over patients."""
    order = [OTHER_START, SHUFFLED_LABELS, ANOTHER_EXAMPLE, BOTH_OTHERS, "magnitude", "slope"]
    patients = subject.patients[rows]
    return pd.DataFrame(
        {"beside": name} | likeness_row(alike[name], patients, subject.seed) for name in order if name in alike
    )


def _starts(subject: Subject, alike: dict[str, NDArray[np.float64]], rows: NDArray[np.int64], name: str, what: str) -> Finding:
    if OTHER_START not in alike:
        return not_run(name, "explanation", what, f"no sibling is {OTHER_START}; add one by --sibling RUN")
    words = "rank correlation of the maps' sizes with another start's, less that with another example of the class"
    more = _more(subject, alike, rows, OTHER_START, ANOTHER_EXAMPLE, words)
    if isinstance(more, str):
        return not_run(name, "explanation", what, more)
    start, example = (float(np.nanmean(alike[each][:, 0])) for each in (OTHER_START, ANOTHER_EXAMPLE))
    told = f"Another random start draws maps of rank correlation {start:.2f}; another example of the class has {example:.2f}"
    if more.high is not None and more.high < 0:
        return found(
            name, "explanation", "medium",
            f"{told}: these maps tell which training it was more than which ECG it is.",
            more, examples=subject.some_ids(rows),
            do="Average maps over several trainings, or claim only what all of them show.",
        )  # fmt: skip
    return clear(name, "explanation", f"{told}.", more)


def _labels(subject: Subject, alike: dict[str, NDArray[np.float64]], rows: NDArray[np.int64], name: str, what: str) -> Finding:
    """Adebayo 2018, arXiv:1810.03292, section 4: data randomisation."""
    for kind in (SHUFFLED_LABELS, OTHER_START):
        if kind not in alike:
            why = f"no sibling is {kind}; both kinds are needed, add them by --sibling RUN"
            return not_run(name, "explanation", what, why)
    words = "rank correlation of the maps' sizes with another start's, less that with a net's that learnt shuffled labels"
    more = _more(subject, alike, rows, OTHER_START, SHUFFLED_LABELS, words)
    if isinstance(more, str):
        return not_run(name, "explanation", what, more)
    start, shuffled = (float(np.nanmean(alike[each][:, 0])) for each in (OTHER_START, SHUFFLED_LABELS))
    if start < _STABLE:
        why = f"maps of other starts agree too little (rank correlation {start:.2f}) for labels to make a difference"
        return not_run(name, "explanation", what, why)
    told = f"A net that learnt shuffled labels draws maps of rank correlation {shuffled:.2f}, another start {start:.2f}"
    if more.value < _SAME and more.high is not None and more.high > 2 * _SAME:
        return not_run(name, "explanation", what, f"{told}, by too few patients to tell the two apart")
    if more.value < _SAME and (more.low is None or more.low <= 0):
        return found(
            name, "explanation", "high", f"{told}: what the net has learnt of the classes is not in its maps.",
            more, examples=subject.some_ids(rows), do="Use a method whose maps change with what was learnt.",
        )  # fmt: skip
    return clear(name, "explanation", f"{told}.", more)


def _more(
    subject: Subject, alike: dict[str, NDArray[np.float64]], rows: NDArray[np.int64], one: str, other: str, words: str
) -> Measure | str:
    names = ", ".join(each.name for each in subject.siblings)
    where = {"method": str(subject.method), "siblings": names}
    return difference(alike[one][:, 0], alike[other][:, 0], subject.patients[rows], words, where, subject.seed)
