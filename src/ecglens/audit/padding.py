"""Does the padding tell the class, or the hospital?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.one_number import best_auc
from ecglens.audit.finding import Finding, Measure, clear, found, not_run
from ecglens.audit.subject import Subject

_FEW = 20  # examples of a group, below which nothing is said of it
_EACH = 10  # examples of the smaller group for each size that is told apart
_TOLD = 0.75  # AUC from which on a number tells


def coarse(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numbers as ranks of at most a tenth as many sizes as the smaller group has members, equal ones together.

    `best_auc` takes each value for itself: where values hardly repeat, any two groups would be told apart.
    """
    edges = np.unique(np.concatenate([one, other]))
    sizes = max(min(len(one), len(other)) // _EACH, 2)
    if len(edges) > sizes:  # of either group the same number, however many it has
        half = max(sizes // 2, 1)
        edges = np.unique([np.quantile(each, np.arange(1, half + 1) / (half + 1)) for each in (one, other)])
    return np.searchsorted(edges, one).astype(np.float64), np.searchsorted(edges, other).astype(np.float64)


def padding_tells(subject: Subject) -> Finding:
    """Does how long an example's signal is tell, alone, its class or where it comes from?

    The length in steps of 20 ms, in `coarse` sizes, by the best rule there is for these examples (`best_auc`); groups of 20
    or more.
    """
    name, what = "confounders.padding-tells", "Whether the length of the signal tells the class or the origin"
    start, stop = (subject.examples.column(each).astype(np.float64) for each in ("valid_start", "valid_stop"))
    step = np.round((stop - start) / subject.examples.fs / 0.02)
    groups = {f"class {word}": (subject.truth[:, k], ~subject.truth[:, k]) for k, word in enumerate(subject.examples.classes)}
    if subject.origin is not None:
        groups |= {f"origin {each}": (subject.origin == each, subject.origin != each) for each in np.unique(subject.origin)}
    told = {
        word: best_auc(*coarse(step[one], step[other]))
        for word, (one, other) in groups.items()
        if min(one.sum(), other.sum()) >= _FEW
    }
    if not told:
        return not_run(name, "data", what, f"there are no two classes or origins with {_FEW} examples each")
    worst = max(told, key=lambda word: told[word])
    padded = (stop - start < subject.examples.length).mean()
    measure = Measure(told[worst], "AUC of the signal's length alone", where={"told": worst})
    if told[worst] < _TOLD:
        return clear(name, "data", "The length of the signal tells neither class nor origin.", measure)
    listed = ", ".join(f"{word} {auc:.2f}" for word, auc in sorted(told.items(), key=lambda each: -each[1]) if auc >= _TOLD)
    shown = padded > 0 and subject.classifier.context != "span"
    return found(
        name, "data", "high" if shown else "medium",
        f"How long the signal is tells, alone (AUC): {listed}. {padded:.0%} of the examples are padded"
        f"{', and the model is shown the padding' if shown else ''}.",
        measure, examples=subject.ids[groups[worst][0]][:8].tolist(),
        do="Cut windows of one length, or crop at random, and ask again; report what the length alone tells.",
    )  # fmt: skip
