"""Scores where a record may have several classes or none: the Challenge 2020's, and class by class, by patient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.training.challenge import challenge_parts, has_challenge_score
from ecglens.training.metrics import Array, patient_draws, ranking_scores, ratio, with_interval

BETA = 2
PER_CLASS = ("auc", "average_precision", "f1", "precision", "recall", "class_accuracy")
_AT_ONCE = 100  # replicates: more of them no longer fit the cache


@dataclass(frozen=True)
class MultilabelScores:
    """Everything about one set of answers.

    flat: metric name to number, with `_low` and `_high` for 95 % intervals; per_class: a row per class.
    """

    flat: dict[str, float | int]
    per_class: pd.DataFrame


@dataclass(frozen=True)
class _Answers:
    truth: NDArray[np.bool_]
    probabilities: NDArray[np.floating]
    predicted: NDArray[np.bool_]
    parts: Array | None  # (3, record), see `challenge_parts`


def score_multilabel(
    truth: NDArray[np.bool_],
    probabilities: NDArray[np.floating],
    predicted: NDArray[np.bool_],
    patients: NDArray[np.generic],
    classes: tuple[str, ...],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> MultilabelScores:
    """Score answers in which each class is a yes or no of its own.

    truth, predicted: bool (record, class); probabilities (record, class); patients (record,): the unit of the bootstrap. With
    one patient there is no interval (NaN), nor where all replicates agree. flat: accuracy (all classes of a record right),
    macro_auc, macro_average_precision, macro_f1, macro_f_beta and macro_g_beta as `overall` has them, and challenge_score if
    the classes have one (NaN if there is nothing but sinus rhythm). A class without a positive has NaN in per_class;
    class_accuracy is the share of records in which that class is right. Raises EcglensError where shapes do not fit, a class
    is given twice, a probability is not finite, or there is nothing to score.
    """
    _check(truth, probabilities, predicted, patients, classes)
    parts = np.stack(challenge_parts(truth, predicted, classes)) if has_challenge_score(classes) else None
    answers = _Answers(truth, probabilities, predicted, parts)
    names, who = np.unique(patients, return_inverse=True)
    occurs = truth.sum(0) > 0
    once = _measure(answers, np.ones((1, len(truth))), occurs)
    draws = patient_draws(len(names), replicates, seed)
    again = [_measure(answers, part[:, who], occurs) for part in in_chunks(draws)]
    flat: dict[str, float | int] = {
        "n": len(truth),
        "patients": len(names),
        "classes_without_positives": int((~occurs).sum()),
        "records_without_class": int((~truth.any(1)).sum()),
    }
    rows = [
        {
            "class": name,
            "support": int(truth[:, k].sum()),
            "patients": len(np.unique(patients[truth[:, k]])),
            "predicted": int(predicted[:, k].sum()),
        }
        for k, name in enumerate(classes)
    ]
    for metric, value in once.items():
        replicas = np.concatenate([each[metric] for each in again])
        if metric not in PER_CLASS:
            flat |= with_interval(metric, float(value[0]), replicas)
            continue
        for k, row in enumerate(rows):
            row |= with_interval(metric, float(value[0, k]), replicas[:, k])
    return MultilabelScores(flat, pd.DataFrame(rows))


def overall(
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    weights: Array | None = None,
    occurs: NDArray[np.bool_] | None = None,
) -> dict[str, Array]:
    """accuracy, macro_f1, macro_f_beta, macro_g_beta as the Challenge 2020 defines them, each (replicate,).

    Accuracy is the share of records with every class right. For F-beta and G-beta (beta 2) each record counts with 1 / its
    number of true classes, at least 1. A class that is neither true nor answered anywhere is left out of a macro average; one
    that is answered but never true counts 0. weights (replicate, record): how often each record counts; occurs (class,):
    classes that a replicate must not blame for missing by chance: without a positive in it, it leaves them out.
    Source: evaluate_12ECG_score.py of physionetchallenges/evaluation-2020, last version.
    """
    weights = np.ones((1, len(truth))) if weights is None else weights
    tp, fp, fn = _counts(truth, predicted, weights)
    missed = (tp + fn == 0) & (np.zeros(truth.shape[1], bool) if occurs is None else occurs)
    share = weights / np.maximum(truth.sum(1), 1)
    # one name each, as the two kinds of counts must not be mixed
    tp_n, fp_n, fn_n = _counts(truth, predicted, share)
    return {
        "accuracy": weights @ (truth == predicted).all(1) / weights.sum(1),
        "macro_f1": _macro(2 * tp, 2 * tp + fp + fn, missed),
        "macro_f_beta": _macro((1 + BETA**2) * tp_n, (1 + BETA**2) * tp_n + fp_n + BETA**2 * fn_n, missed),
        "macro_g_beta": _macro(tp_n, tp_n + fp_n + BETA * fn_n, missed),
    }


def rankings(
    truth: NDArray[np.bool_], probabilities: NDArray[np.floating], weights: Array | None = None
) -> tuple[Array, Array]:
    """AUROC and AUPRC of each class, each (replicate, class); NaN without a positive, and the AUROC without a negative.

    As the Challenge 2020 has them: the area under the steps of precision over recall is 1 where all are positive. Their macro
    averages there are the means of what is not NaN.
    """
    weights = np.ones((1, len(truth))) if weights is None else weights
    each = [ranking_scores(truth[:, k], probabilities[:, k], weights) for k in range(truth.shape[1])]
    auc, precision = (np.stack(values, axis=1) for values in zip(*each, strict=True))
    tp = weights @ truth
    precision[(tp > 0) & (tp == weights.sum(1, keepdims=True))] = 1.0
    return auc, precision


def _measure(answers: _Answers, weights: Array, occurs: NDArray[np.bool_]) -> dict[str, Array]:
    """Every metric under each row of `weights` (replicate, record): (replicate,), or (replicate, class) for `PER_CLASS`."""
    truth, predicted = answers.truth, answers.predicted
    auc, precision = rankings(truth, answers.probabilities, weights)
    out = overall(truth, predicted, weights, occurs)
    out |= {"macro_auc": _mean_of_known(auc), "macro_average_precision": _mean_of_known(precision)}
    if answers.parts is not None:
        observed, correct, inactive = answers.parts @ weights.T
        above = correct - inactive
        out["challenge_score"] = np.where(above > 0, ratio(observed - inactive, above), np.nan)
    tp, fp, fn = _counts(truth, predicted, weights)
    some = tp + fn > 0
    out |= {"auc": auc, "average_precision": precision}
    for name, part, whole in (("f1", 2 * tp, 2 * tp + fp + fn), ("precision", tp, tp + fp), ("recall", tp, tp + fn)):
        out[name] = np.where(some, ratio(part, whole), np.nan)
    out["class_accuracy"] = np.where(some, 1 - (fp + fn) / weights.sum(1, keepdims=True), np.nan)
    return out


def _counts(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: Array) -> tuple[Array, Array, Array]:
    """True positives, false positives, false negatives, each (replicate, class)."""
    return weights @ (truth & predicted), weights @ (~truth & predicted), weights @ (truth & ~predicted)


def _macro(part: Array, whole: Array, missed: NDArray[np.bool_]) -> Array:
    return _mean_of_known(np.where((whole > 0) & ~missed, ratio(part, whole), np.nan))


def _mean_of_known(values: Array) -> Array:
    known = ~np.isnan(values)
    count = known.sum(1)
    return np.where(count > 0, ratio(np.where(known, values, 0.0).sum(1), count), np.nan)


def in_chunks(draws: Array) -> Iterator[Array]:
    """So many replicates at a time that they fit the processor's cache."""
    return (draws[start : start + _AT_ONCE] for start in range(0, len(draws), _AT_ONCE))


def _check(
    truth: NDArray[np.bool_],
    probabilities: NDArray[np.floating],
    predicted: NDArray[np.bool_],
    patients: NDArray[np.generic],
    classes: tuple[str, ...],
) -> None:
    wanted = (len(truth), len(classes))
    for what, array in (("truth", truth), ("probabilities", probabilities), ("predicted", predicted)):
        if array.shape != wanted:
            raise EcglensError(f"{what} has shape {array.shape}; expected {wanted[0]} records x {wanted[1]} classes")
        if what != "probabilities" and array.dtype != bool:
            raise EcglensError(f"{what} is of type {array.dtype}; expected bool, a yes or no for each class: apply thresholds")
    if patients.shape != wanted[:1]:
        raise EcglensError(f"patients has shape {patients.shape}; expected one for each of the {wanted[0]} records")
    if not all(wanted):
        raise EcglensError(f"there are {wanted[0]} records and {wanted[1]} classes; expected at least one of each")
    if len(set(classes)) < len(classes):
        raise EcglensError(f"the {len(classes)} classes have only {len(set(classes))} names; give each class once")
    if not np.isfinite(probabilities).all():
        where = (~np.isfinite(probabilities)).any(1).sum()
        raise EcglensError(f"{where} of {wanted[0]} records have a probability that is NaN or infinite; expected numbers")
