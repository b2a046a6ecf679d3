"""How far a mean would move with other patients: intervals by a bootstrap over whole patients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def ratio_over_patients(
    above: NDArray[np.floating[Any]],
    below: NDArray[np.floating[Any]],
    patients: NDArray[Any],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of sum(above) / sum(below) by column: low and high, float64 (column,) each.

    above, below: (example, column), free of NaN; with ones below it is the interval of a mean. patients (example,): drawn with
    replacement, whole. The draws depend on the number of patients and `seed` alone, so columns and tables are drawn alike. NaN
    with fewer than two patients, or fewer than two draws in which `below` is above 0.
    """
    names, who = np.unique(patients, return_inverse=True)
    nothing = np.full(above.shape[1], np.nan)
    if len(names) < 2 or replicates < 2 or not above.shape[1]:
        return nothing, nothing.copy()
    times = np.random.default_rng([seed, 14]).multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    up, down = (
        times @ np.stack([np.bincount(who, weights=one, minlength=len(names)) for one in values.T], axis=1)
        for values in (above, below)
    )
    ratios = np.divide(up, down, out=np.full(up.shape, np.nan), where=down > 0)
    known = (~np.isnan(ratios)).sum(0) > 1
    low, high = nothing, nothing.copy()
    if known.any():
        low[known], high[known] = np.nanpercentile(ratios[:, known], [2.5, 97.5], axis=0)
    return low, high


def mean_over_patients(
    values: NDArray[np.floating[Any]], patients: NDArray[Any], *, replicates: int = 1000, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of the mean of each column of `values` (example, column); NaN are left out. See `ratio_over_patients`."""
    known = ~np.isnan(values)
    return ratio_over_patients(np.where(known, values, 0), known.astype(float), patients, replicates=replicates, seed=seed)
