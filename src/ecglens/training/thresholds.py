"""From which probability on a class is answered: one threshold a class, chosen on validation labels alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.training.challenge import challenge_score, challenge_weights
from ecglens.training.metrics import Array, ratio

START, NEVER = 0.5, 2.0
_SWEEPS = 100
_GAIN = 1e-12  # relative; less is rounding


@dataclass(frozen=True)
class Thresholds:
    """What was chosen, on which goal, and what it gave there.

    values (class,): a class is answered where its probability is at least this; 2 is never. kept: classes without a
    positive, whose threshold stays .5. before, after: the goal with .5 everywhere and with `values`, on the same examples, so
    that `after` flatters.
    """

    values: Array
    goal: str
    kept: tuple[str, ...]
    before: float
    after: float


def decide(probabilities: NDArray[np.floating], thresholds: Array | tuple[float, ...]) -> NDArray[np.bool_]:
    """Which classes are answered, bool (record, class): those whose probability is at least their threshold."""
    return probabilities >= np.asarray(thresholds, np.float64)


def choose_thresholds(
    truth: NDArray[np.bool_], probabilities: NDArray[np.floating], classes: tuple[str, ...], goal: str
) -> Thresholds:
    """One threshold a class, for the examples of validation: truth bool, probabilities 0 to 1, both (record, class).

    goal "f1": the highest F1 of each class by itself; of equals, the threshold nearest .5. goal "challenge": the highest
    `challenge_score` by coordinate ascent: from .5 everywhere, class after class in the given order takes the best of all its
    thresholds while the others stand, until a whole round gains nothing. Neither can end below .5 everywhere. Thresholds lie
    midway between two probabilities. Raises EcglensError where shapes do not fit, a probability is not between 0 and 1, or,
    for "challenge", where `challenge_score` does.
    """
    choose(goal, ["challenge", "f1"], "goal of the thresholds")
    if truth.ndim != 2 or truth.shape != probabilities.shape or truth.shape[1] != len(classes) or not len(truth):
        raise EcglensError(
            f"truth has shape {truth.shape} and probabilities {probabilities.shape}; "
            f"expected both (records, {len(classes)} classes), at least one record"
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise EcglensError("a probability is NaN or not between 0 and 1; expected probabilities: logits need their sigmoid")
    truth = truth.astype(bool)
    values = np.full(len(classes), START)
    occurs = truth.sum(0) > 0
    if goal == "f1":
        for k in np.flatnonzero(occurs):
            values[k] = _best_f1(truth[:, k], probabilities[:, k])
    else:
        _ascend(truth, probabilities, challenge_weights(classes), occurs, values)
    before, after = (_reached(goal, truth, probabilities, classes, at) for at in (np.full_like(values, START), values))
    return Thresholds(values, goal, tuple(name for name, some in zip(classes, occurs, strict=True) if not some), before, after)


def _reached(
    goal: str, truth: NDArray[np.bool_], probabilities: NDArray[np.floating], classes: tuple[str, ...], values: Array
) -> float:
    predicted = decide(probabilities, values)
    if goal == "challenge":
        return challenge_score(truth, predicted, classes)
    occurs = truth.any(0)
    f1 = ratio(2.0 * (truth & predicted).sum(0), 1.0 * truth.sum(0) + predicted.sum(0))
    return float(f1[occurs].mean()) if occurs.any() else float("nan")


def _candidates(probability: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Records from the highest probability down; how many of them each threshold answers, from none on; the thresholds."""
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order].astype(np.float64)
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    level = ranked[last]
    below = np.append(level[1:], 0.0)
    midway = (level + below) / 2
    threshold = np.where(midway > below, midway, level)  # between neighbours among floats there is nothing
    return order, np.append(0, last + 1), np.append(NEVER, threshold)


def _best_f1(positive: NDArray[np.bool_], probability: NDArray[np.floating]) -> float:
    order, answered, threshold = _candidates(probability)
    hits = np.append(0, np.cumsum(positive[order]))[answered]
    f1 = 2 * hits / (answered + positive.sum())
    best = np.flatnonzero(f1 >= f1.max() * (1 - _GAIN))
    # .5 itself, where the best answers as it does
    if (answered[best] == (probability >= START).sum()).any():
        return START
    return float(threshold[best[np.abs(threshold[best] - START).argmin()]])


def _ascend(
    truth: NDArray[np.bool_], probabilities: NDArray[np.floating], weights: Array, occurs: NDArray[np.bool_], values: Array
) -> None:
    """Raise the sum of what the records earn, changing `values` in place."""
    earns = truth @ weights  # by each class answered, before the division
    predicted = decide(probabilities, values)
    ranks = {k: _candidates(probabilities[:, k]) for k in np.flatnonzero(occurs)}
    for _ in range(_SWEEPS):
        moved = False
        for k, (order, answered, threshold) in ranks.items():
            others = predicted.copy()
            others[:, k] = False
            gained, union = (earns * others).sum(1), (truth | others).sum(1)
            without = gained / np.maximum(union, 1)
            more = (gained + earns[:, k]) / np.maximum(union + ~truth[:, k], 1) - without
            total = np.append(0.0, np.cumsum(more[order]))[answered]
            best = int(total.argmax())
            if total[best] > more[predicted[:, k]].sum() + _GAIN * len(truth):
                values[k], moved = threshold[best], True
                predicted = decide(probabilities, values)
        if not moved:
            return
