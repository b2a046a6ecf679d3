"""Operating points of a two-class model: how many are found where so many of the others are left in peace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.training.metrics import patient_draws, with_interval

_AT_ONCE = 25


def sensitivity_at(
    score: NDArray[np.floating], positive: NDArray[np.bool_], patients: NDArray[np.generic], specificity: float, *,
    replicates: int = 500, seed: int = 0,
) -> tuple[float, float, float]:  # fmt: skip
    """Share of positives above the lowest threshold that leaves at least `specificity` of the negatives at or below it.

    score, positive, patients: (example,). Gives (sensitivity, low, high): 95 % by a bootstrap over patients in which each
    replicate has its own threshold, NaN with one patient or where all replicates agree; replicates that lack a side do not
    count. The threshold is read off these very examples: a point of the ROC curve, not what a threshold chosen before would
    give. Raises EcglensError where one side is empty.
    """
    if not 0 < specificity <= 1:
        raise EcglensError(f"specificity is {specificity}; expected a share above 0 and at most 1")
    if positive.all() or not positive.any():
        raise EcglensError(f"{positive.sum()} of {len(positive)} examples are positive; both sides are needed")
    order = np.argsort(score, kind="stable")
    # examples of one score stand together
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    names, who = np.unique(patients, return_inverse=True)
    who, hit = who[order], positive[order]

    def found(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        each = weights[:, who]
        below = np.cumsum(each * ~hit, axis=1)[:, ends]
        missed = np.cumsum(each * hit, axis=1)[:, ends]
        enough = below >= specificity * below[:, -1:] * (1 - 1e-12)
        at = enough.argmax(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(below[:, -1] > 0, 1 - missed[np.arange(len(at)), at] / missed[:, -1], np.nan)

    draws = patient_draws(len(names), replicates, seed)
    again = np.concatenate([found(part) for part in np.split(draws, range(_AT_ONCE, replicates, _AT_ONCE))])
    value, low, high = with_interval("sensitivity", float(found(np.ones((1, len(names))))[0]), again).values()
    return value, low, high
