"""Do maps agree with those of other methods, more than with maps that ask no net?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from ecglens.analysis.course import rank_correlation
from ecglens.analysis.intervals import mean_over_patients
from ecglens.audit.finding import Answer, Measure, clear, found, not_run
from ecglens.audit.sanity import examples_for_maps, maps_of
from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError

LEAST = 8  # examples from which an agreement is told
TRIVIAL = ("magnitude", "slope", "random")
_OTHERS = ("saliency", "input-x-gradient", "integrated-gradients", "occlusion")
_MOST = 18  # examples
_WINDOWS = 60  # that occlusion hides in an example
_STRETCH_S = 0.05
_TOP = 0.1


def why_no_maps(subject: Subject) -> str:
    """Why maps of the subject have no samples to compare, or ""."""
    if subject.method is None:
        return "no method is named whose maps are shown"
    return "the net sees pictures, whose maps have no samples" if subject.classifier.draws else ""


def stretched(maps: NDArray[np.floating], fs: float) -> NDArray[np.float64]:
    """Size of the maps (example, lead, time) in stretches of 50 ms, (example, lead, stretch).

    A map of single samples and one of coarse cells can be compared then: what is asked is where maps lie, not how rough they
    are.
    """
    width = max(round(_STRETCH_S * fs), 1)
    return np.add.reduceat(np.abs(maps).astype(np.float64), np.arange(0, maps.shape[2], width), axis=2)


def likeness(one: NDArray[np.floating], two: NDArray[np.floating], fs: float) -> NDArray[np.float64]:
    """(rank correlation, overlap of the top tenths) of the sizes of two maps of each example, float64 (example, 2).

    one, two: (example, lead or 1, time); leads are added up where one of them does not tell them apart. NaN where a map is the
    same everywhere. overlap: share of the largest tenth of stretches of one map that are among those of the other, ties broken
    at random; chance gives a tenth.
    """
    a, b = (stretched(each, fs) for each in (one, two))
    if a.shape[1] != b.shape[1]:
        a, b = (each.sum(axis=1, keepdims=True) for each in (a, b))
    correlation = rank_correlation(a, b)
    a, b = (_among_top(each.reshape(len(each), -1)) for each in (a, b))
    overlap = np.where(np.isnan(correlation), np.nan, (a * b).sum(1) / a.sum(1))
    return np.stack([correlation, overlap], axis=1)


def _among_top(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance of each value (example, cell) to be in the largest tenth, where those that tie are drawn from."""
    count = max(round(_TOP * values.shape[1]), 1)
    smaller = rankdata(-values, method="min", axis=1) - 1
    tied = rankdata(-values, method="max", axis=1) - smaller
    return np.asarray(np.clip((count - smaller) / tied, 0, 1), np.float64)


def likeness_row(values: NDArray[np.float64], patients: NDArray[Any], seed: int) -> dict[str, Any]:
    """Mean of `likeness` over examples as columns n, patients, correlation, overlap, each with _low and _high (95 %)."""
    known = ~np.isnan(values).any(1)
    row: dict[str, Any] = {"n": int(known.sum()), "patients": len(np.unique(patients[known]))}
    low, high = mean_over_patients(values[known], patients[known], seed=seed)
    for k, name in enumerate(("correlation", "overlap")):
        middle = float(values[known, k].mean()) if known.any() else np.nan
        row |= {name: middle, f"{name}_low": low[k], f"{name}_high": high[k]}
    return row


def with_ends(values: NDArray[np.float64], patients: NDArray[Any], in_words: str, where: dict[str, str], seed: int) -> Measure:
    """Mean of values (example,), without NaN, with its interval over patients where they are two or more."""
    low, high = (float(end[0]) for end in mean_over_patients(values[:, None], patients, seed=seed))
    known = not np.isnan(low)
    return Measure(float(values.mean()), in_words, low if known else None, high if known else None, where)


def difference(
    values: NDArray[np.float64], less: NDArray[np.float64], patients: NDArray[Any], in_words: str, where: dict[str, str],
    seed: int,
) -> Measure | str:  # fmt: skip
    """Mean of values - less over examples, with its interval over patients; or what is lacking for it."""
    each = values - less
    known = ~np.isnan(each)
    if known.sum() < LEAST:
        return f"{int(known.sum())} pairs of maps can be compared (the others are the same everywhere); {LEAST} are needed"
    if len(np.unique(patients[known])) < 2:
        return "the maps are all of one patient; an interval needs two"
    return with_ends(each[known], patients[known], in_words, where, seed)


def between_methods(subject: Subject) -> Answer:
    """Does the audited method agree with another one more than with maps that ask no net? On 18 examples.

    The others are saliency, input x gradient, integrated gradients and occlusion, as far as the net can have them; table
    agreement: a row per method with `likeness_row`. Source of the question: Krishna 2022, arXiv:2202.01602.
    """
    name, what = "explanation.agrees-with-none", "Whether the map agrees with those of other methods"
    why = why_no_maps(subject)
    if why:
        return Answer([not_run(name, "explanation", what, why)])
    rows = examples_for_maps(subject, _MOST)
    if len(rows) < LEAST:
        return Answer([not_run(name, "explanation", what, f"{len(rows)} examples to explain; {LEAST} are needed")])
    part, patients, fs = subject.examples.take(rows), subject.patients[rows], subject.examples.fs
    target = subject.classifier.logits(part).argmax(1)
    mine = maps_of(subject, part, target)
    alike: dict[str, NDArray[np.float64]] = {}
    refused = []
    for method in (*_OTHERS, *TRIVIAL):
        if method == subject.method:
            continue
        try:
            other = maps_of(replace(subject, method=method, map_options=_options(subject, method)), part, target)
        except EcglensError as error:
            refused.append(f"{method} ({error})")
            continue
        alike[method] = likeness(mine, other, fs)
    table = pd.DataFrame(
        {"method": method, "asks the net": method in _OTHERS} | likeness_row(values, patients, subject.seed)
        for method, values in alike.items()
    )
    tables = {"agreement": table}
    means = {row["method"]: row["correlation"] for row in table.to_dict("records") if row["n"] >= LEAST}
    others = {method: value for method, value in means.items() if method in _OTHERS}
    trivial = {method: value for method, value in means.items() if method in TRIVIAL}
    if len(others) < 2 or not trivial:
        lack = f"{len(others)} other methods can be compared on {LEAST} maps or more; two are needed"
        more = f": the net does not take {'; '.join(refused)}" if refused else ""
        return Answer([not_run(name, "explanation", what, lack + more)], tables)
    nearest, idle = (max(some, key=lambda method: some[method]) for some in (others, trivial))
    words = f"rank correlation of the maps' sizes with {nearest} less that with '{idle}'"
    where = {"method": str(subject.method), "nearest method": nearest, "nearest trivial map": idle}
    more_than = difference(alike[nearest][:, 0], alike[idle][:, 0], patients, words, where, subject.seed)
    if isinstance(more_than, str):
        return Answer([not_run(name, "explanation", what, more_than)], tables)
    told = (
        f"{subject.method} agrees most with {nearest} (rank correlation {others[nearest]:.2f}); with '{idle}', which asks no "
        f"net, {trivial[idle]:.2f}"
    )
    if more_than.high is not None and more_than.high < 0:
        return Answer(
            [
                found(
                    name, "explanation", "low",
                    f"{told}: it agrees more with the trivial map '{idle}' than with any other method.", more_than,
                    examples=subject.some_ids(rows),
                    do="Do not rest a claim on this method alone; see which method's regions move the answer when hidden.",
                )
            ],
            tables,
        )  # fmt: skip
    return Answer([clear(name, "explanation", f"{told}.", more_than)], tables)


def _options(subject: Subject, method: str) -> dict[str, Any]:
    """Options that keep a method's cost within bounds."""
    seconds = len(subject.examples.leads) * subject.examples.length / subject.examples.fs
    if method == "occlusion":
        return {"seconds": max(0.1, seconds / _WINDOWS)}
    return {"most_steps": 16} if method == "integrated-gradients" else {}
