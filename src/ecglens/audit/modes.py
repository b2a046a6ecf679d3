"""Does a class have something in two kinds, with it and without it, in the same patients and by the same amount?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ENOUGH = 6  # examples of a patient that may fall into two kinds
_HALF = 0.5  # of the examples are such patients', or nothing is said
_APART = 3.5  # distance of two parts of a patient's examples, in their spread: 2.7 for one normal kind
_ALIKE = 0.2  # by which a patient's step may differ from the median one
_CLEAR = 4.5  # distance of all examples' two kinds, in their spread
_MIXED = 0.45  # share of the examples whose patients fall into two parts by that step
_LEAST = 0.08  # share of the rarer kind


@dataclass(frozen=True)
class Modes:
    """step: from one kind to the other; apart: that step in standard deviations within a kind; mixed: share of the examples
    whose patients have both kinds, that step apart; upper: bool (example,), which have more of it; upper_share: of those told.
    """

    step: float
    apart: float
    mixed: float
    upper: NDArray[np.bool_]
    upper_share: float

    @property
    def planted(self) -> bool:
        """Whether no patient's own shapes explain it."""
        return self.apart >= _CLEAR and self.mixed >= _MIXED and _LEAST <= self.upper_share <= 1 - _LEAST


def halves(values: Floats) -> tuple[float, float, float]:
    """Means of the two parts into which values (example,) fall best (Otsu 1979), and the spread within them."""
    ordered = np.sort(values)
    ordered, middle = ordered - ordered.mean(), ordered.mean()
    n, total, square = len(ordered), np.cumsum(ordered), np.cumsum(ordered**2)
    first = np.arange(1, n)
    low, high = total[:-1] / first, (total[-1] - total[:-1]) / (n - first)
    within = np.maximum(square[-1] - first * low**2 - (n - first) * high**2, 0)
    best = int(within.argmin())
    return float(low[best] + middle), float(high[best] + middle), float(np.sqrt(within[best] / n))


def _both(values: Floats, low: float, high: float) -> bool:
    """Whether either part has 8 % of the values."""
    upper = int((values > (low + high) / 2).sum())
    return min(upper, len(values) - upper) >= _LEAST * len(values)


def can_be_told(patients: NDArray[np.str_]) -> bool:
    """Whether enough examples (example,) are of patients who have six or more, two patients at least."""
    _, counts = np.unique(patients, return_counts=True)
    many = counts[counts >= _ENOUGH]
    return len(many) >= 2 and many.sum() >= _HALF * len(patients)


def two_modes(values: Floats, patients: NDArray[np.str_]) -> Modes | None:
    """The two kinds of values (example,) within patients (example,); None where there are not two, or it cannot be told.

    The step is the median of the steps of the patients (six examples or more) whose own examples fall into two parts 3.5
    spreads apart, 8 % of them at least in either (one beat on a slope of the baseline is no kind). Then each
    patient's lower kind is laid on 0, whichever of the two it has, and all are counted together.
    It cannot be told with fewer than two such patients, or where they have fewer than half of the examples.
    """
    _, who, counts = np.unique(patients, return_inverse=True, return_counts=True)
    groups = [np.flatnonzero(who == k) for k in np.flatnonzero(counts >= _ENOUGH)]
    n = sum(len(group) for group in groups)
    if len(groups) < 2 or n < _HALF * len(values):
        return None
    split = [halves(values[group]) for group in groups]
    steps = np.array(
        [high - low if high - low > _APART * spread and _both(values[group], low, high) else np.nan
         for group, (low, high, spread) in zip(groups, split, strict=True)]
    )  # fmt: skip
    if np.isnan(steps).all():
        return None
    step = float(np.nanmedian(steps))
    alike = np.abs(steps - step) <= _ALIKE * step
    upper, off = np.zeros(len(values), bool), []
    for group, (low, _, _) in zip(groups, split, strict=True):
        mine, middle = values[group], float(np.median(values[group]))
        starts = np.array([low, middle, middle - step])
        away = np.minimum(np.abs(mine - starts[:, None]), np.abs(mine - starts[:, None] - step))
        # one far beat decides nothing, and of equals the first is taken: that a patient has the lower kind alone
        cost = np.mean(np.minimum(away, step / 2) ** 2, axis=1)
        start = starts[int(np.flatnonzero(cost <= cost.min() + 1e-9 * step**2)[0])]
        upper[group] = mine - start > step / 2
        off.append(mine - start - step * upper[group])
    # of the middle: a few beats on slopes of the baseline are far from either kind
    spread = float(np.median(np.abs(np.concatenate(off)))) / 0.6745
    mixed = sum(len(group) for group, same in zip(groups, alike, strict=True) if same) / n
    return Modes(step, step / max(spread, 1e-9 * abs(step), 1e-12), mixed, upper, float(upper.sum() / n))
