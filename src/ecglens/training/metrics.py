"""Scores of a classifier, from one confusion matrix per patient, with intervals by a bootstrap over patients.

All functions on confusion matrices take arrays (..., true class, predicted class), so that a thousand bootstrap
replicates are scored at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.training.challenge import challenge_score as challenge_score

Array = NDArray[np.float64]

PER_CLASS = ("precision", "recall", "f1", "specificity")


def confusion_by_patient(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], patients: NDArray[np.generic], n_classes: int
) -> tuple[Array, NDArray[np.generic]]:
    """Confusion matrices (patient, true class, predicted class) and the patients' names, sorted."""
    names, who = np.unique(patients, return_inverse=True)
    flat = (who * n_classes + truth) * n_classes + predicted
    counts = np.bincount(flat, minlength=len(names) * n_classes**2)
    return counts.reshape(len(names), n_classes, n_classes).astype(np.float64), names


def class_scores(confusion: Array) -> dict[str, Array]:
    """precision, recall, f1, specificity, support and predicted count, each (..., class); 0 / 0 counts as 0."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, claimed = confusion.sum(-1), confusion.sum(-2)
    total = confusion.sum((-2, -1))[..., None]
    return {
        "precision": ratio(hit, claimed),
        "recall": ratio(hit, support),
        "f1": ratio(2 * hit, support + claimed),
        "specificity": ratio(total - support - claimed + hit, total - support),
        "support": support,
        "claimed": claimed,
    }


def overall_scores(confusion: Array, counted: NDArray[np.bool_] | None = None) -> dict[str, Array]:
    """accuracy, and macro averages over the classes that occur (`macro_*`) and over all (`macro_*_all`), each (...).

    A class occurs if it has a true example. In `macro_*_all` a class without one counts with what the formula gives,
    0 for F1, precision and recall: scikit-learn's macro average over all labels. `counted` (class,): classes that occur
    in the full test set; in a bootstrap replicate that happens to miss one, that one is left out of `macro_*_all`.
    """
    scores = class_scores(confusion)
    present = scores["support"] > 0
    in_all = present | ~(np.zeros(present.shape[-1], bool) if counted is None else counted)
    out = {"accuracy": ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))}
    for name in PER_CLASS:
        out[f"macro_{name}"] = ratio((scores[name] * present).sum(-1), present.sum(-1))
        out[f"macro_{name}_all"] = ratio((scores[name] * in_all).sum(-1), in_all.sum(-1))
    return out


def ranking_scores(
    positive: NDArray[np.bool_], score: NDArray[np.floating], weights: Array | None = None
) -> tuple[Array, Array]:
    """AUC and average precision of `score` for `positive` (example,), under each row of `weights` (replicate, example).

    Ties count half in the AUC, as in scikit-learn. NaN where one side is empty. Without weights: two arrays (1,).
    """
    if weights is None:
        weights = np.ones((1, len(score)))
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    ranked = weights[:, order]
    hits = np.cumsum(ranked * positive[order], axis=1)[:, ends]
    misses = np.cumsum(ranked * ~positive[order], axis=1)[:, ends]
    n_hits, n_misses = hits[:, -1:], misses[:, -1:]
    hits_before = np.pad(hits, ((0, 0), (1, 0)))[:, :-1]
    new_misses = np.diff(misses, axis=1, prepend=0.0)
    new_hits = hits - hits_before
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = (new_misses * (hits_before + hits) / 2).sum(1) / (n_hits * n_misses)[:, 0]
        precision = np.where(hits + misses > 0, hits / (hits + misses), 0.0)
        average_precision = (new_hits * precision).sum(1) / n_hits[:, 0]
    average_precision[n_misses[:, 0] == 0] = np.nan
    return auc, average_precision


@dataclass(frozen=True)
class Scores:
    """Everything about one set of predictions.

    flat: metric name to number, with `_low` and `_high` for 95 % intervals; per_class and per_patient: tables; confusion:
    counts (true class, predicted class).
    """

    flat: dict[str, float | int]
    per_class: pd.DataFrame
    per_patient: pd.DataFrame
    confusion: NDArray[np.int64]


def score(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    patients: NDArray[np.generic],
    classes: tuple[str, ...],
    *,
    average_over: str = "present",
    replicates: int = 1000,
    seed: int = 0,
) -> Scores:
    """Score single-label predictions (the class of highest probability).

    truth: int64 (example,); probabilities (example, class); patients (example,): the unit of the bootstrap. With one
    patient there is no interval (NaN), nor where all replicates agree. `average_over` names the macro average that is
    headline, "present" or "all"; both are given.
    Raises EcglensError when there is nothing to score.
    """
    choose(average_over, ["present", "all"], "average_over")
    if not len(truth):
        raise EcglensError("there are no test examples to score")
    predicted = probabilities.argmax(1).astype(np.int64)
    by_patient, names = confusion_by_patient(truth, predicted, patients, len(classes))
    draws = patient_draws(len(names), replicates, seed)
    resampled = np.einsum("rp,pij->rij", draws, by_patient)
    confusion = by_patient.sum(0)
    flat: dict[str, float | int] = {"n": len(truth), "patients": len(names)}
    again = overall_scores(resampled, confusion.sum(1) > 0)
    for name, value in overall_scores(confusion).items():
        flat |= with_interval(name, float(value), again[name])
    suffix = "" if average_over == "present" else "_all"
    flat |= {f"headline_macro_{name}": flat[f"macro_{name}{suffix}"] for name in PER_CLASS}
    per_class = _per_class_table(truth, probabilities, patients, classes, confusion, resampled, draws)
    return Scores(flat, per_class, _per_patient_table(by_patient, names, classes), confusion.astype(np.int64))


def always(truth: NDArray[np.int64], answer: int, n_classes: int) -> dict[str, float]:
    """The scores of a model that always gives the same answer."""
    confusion = np.zeros((n_classes, n_classes))
    confusion[:, answer] = np.bincount(truth, minlength=n_classes)
    return {name: float(value) for name, value in overall_scores(confusion).items()}


def _per_class_table(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    patients: NDArray[np.generic],
    classes: tuple[str, ...],
    confusion: Array,
    resampled: Array,
    draws: Array,
) -> pd.DataFrame:
    once, again = class_scores(confusion), class_scores(resampled)
    names = np.unique(patients)
    who = np.searchsorted(names, patients)
    weights = draws[:200, who]
    n_patients = [len(np.unique(patients[truth == label])) for label in range(len(classes))]
    rows = []
    for label, name in enumerate(classes):
        row: dict[str, float | int | str] = {
            "class": name,
            "support": int(once["support"][label]),
            "patients": n_patients[label],
            "predicted": int(once["claimed"][label]),
        }
        occurs = again["support"][:, label] > 0
        for metric in PER_CLASS:
            value = float(once[metric][label]) if once["support"][label] else np.nan
            row |= with_interval(metric, value, np.where(occurs, again[metric][:, label], np.nan))
        for metric, values, replicas in zip(
            ("auc", "average_precision"),
            ranking_scores(truth == label, probabilities[:, label]),
            ranking_scores(truth == label, probabilities[:, label], weights),
            strict=True,
        ):
            row |= with_interval(metric, float(values[0]), replicas)
        rows.append(row)
    return pd.DataFrame(rows)


def _per_patient_table(by_patient: Array, names: NDArray[np.generic], classes: tuple[str, ...]) -> pd.DataFrame:
    scores = class_scores(by_patient)
    total, hit = by_patient.sum((1, 2)), np.trace(by_patient, axis1=1, axis2=2)
    table = pd.DataFrame({"patient": names, "n": total.astype(int), "accuracy": hit / total})
    for label, name in enumerate(classes):
        table[f"n_{name}"] = scores["support"][:, label].astype(int)
        some = (scores["support"] + scores["claimed"])[:, label] > 0
        table[f"f1_{name}"] = np.where(some, scores["f1"][:, label], np.nan)
    return table


def patient_draws(n_patients: int, replicates: int, seed: int) -> Array:
    """How often each patient is drawn in each replicate (replicate, patient)."""
    rng = np.random.default_rng([seed, 3])
    return rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=replicates).astype(np.float64)


def with_interval(name: str, value: float, replicas: Array) -> dict[str, float]:
    """A metric's value with `_low` and `_high`: 2.5 and 97.5 % of its replicas (replicate,), NaN where they all agree."""
    known = replicas[~np.isnan(replicas)]
    low, high = (np.nan, np.nan)
    if known.size and known.min() < known.max() and not np.isnan(value):
        low, high = (float(edge) for edge in np.percentile(known, [2.5, 97.5]))
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def ratio(part: Array, whole: Array) -> Array:
    """part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)
