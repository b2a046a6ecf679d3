"""Class profiles at a stated precision: explain a sample, and stop when the rest could not change the picture.

What is estimated is the median, over all examples of a class, of each region's value. The sample is drawn without
replacement, spread evenly over patients; its order statistics bound the median of all (Woodruff 1952, JASA 47:635). How far
apart they lie follows from how the examples of one patient differ (stratified sampling, Cochran 1977, section 5.3), as each
patient is in the sample as often as in the whole. A class that was explained to the last example has no error at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError

_FIRST, _GROWTH = 64, 1.06  # examples of each class in the first step, and how the sample grows
_RANGE_SHARE = 0.10
_DRAWS = 4000

# rows to values (row, region)
Values = Callable[[NDArray[np.int64]], NDArray[np.floating]]


@dataclass(frozen=True)
class Precise:
    """Class profiles from a sample.

    rows: examples that were explained, in the order in which they were; values (row, region) of them; table: a row per class
    and region number with median, low, high (of what all examples would give), patients_low, patients_high (of what other
    patients might give), n, n_of, patients; tolerance: half-width that was asked for, by class.
    """

    rows: NDArray[np.int64]
    values: NDArray[np.floating]
    table: pd.DataFrame
    tolerance: dict[str, float]


@dataclass
class _Class:
    """One class on its way: its examples and patients in sampling order, how many are taken, and their values."""

    rows: NDArray[np.int64]
    patients: NDArray[np.str_]
    taken: int = 0
    values: NDArray[np.floating] | None = None

    def next_rows(self) -> NDArray[np.int64]:
        """The next examples to explain."""
        size = min(len(self.rows), max(_FIRST, int(np.ceil(self.taken * _GROWTH))))
        new = self.rows[self.taken : size]
        self.taken = size
        return new

    def add(self, values: NDArray[np.floating]) -> None:
        """Values of the examples that `next_rows` named."""
        self.values = values if self.values is None else np.concatenate([self.values, values])

    @property
    def known(self) -> NDArray[np.floating]:
        """Values so far (example, region)."""
        assert self.values is not None
        return self.values


def sampling_order(patients: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order of examples in which every beginning is spread over patients as the whole is."""
    order = rng.permutation(len(patients))
    key = np.empty(len(patients))
    for name in np.unique(patients):
        mine = order[patients[order] == name]
        key[mine] = (np.arange(len(mine)) + rng.random()) / len(mine)
    return np.argsort(key, kind="stable")


def profiles_to_precision(
    values_of: Values,
    labels: NDArray[np.int64],
    patients: NDArray[np.str_],
    classes: tuple[str, ...],
    *,
    precision: float,
    simultaneous: bool = False,
    confidence: float = 0.95,
    seed: int = 0,
) -> Precise:
    """Explain random examples of each class until every region's median is known to `precision`, or to a tenth of the range
    of the class's profile where that is less.

    values_of: explains rows (region means of maps scaled to a maximum of 1); simultaneous: the confidence holds for all
    regions of all classes together, not for each by itself. Raises EcglensError for a precision that is not above 0.
    """
    if not precision > 0:
        raise EcglensError(f"precision is {precision:g}; expected more than 0, such as 0.02")
    rng = np.random.default_rng([seed, 10])
    pools: dict[str, _Class] = {}
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[sampling_order(patients[rows], rng)]
        pools[classes[label]] = _Class(rows, patients[rows])
    explained: list[NDArray[np.int64]] = []
    collected: list[NDArray[np.floating]] = []
    unknown = list(pools)
    while True:
        new = [pools[name].next_rows() for name in unknown]
        explained.append(np.concatenate(new))
        collected.append(values_of(explained[-1]))
        for name, part in zip(unknown, np.split(collected[-1], np.cumsum([len(rows) for rows in new])[:-1]), strict=True):
            pools[name].add(part)
        spread = {name: residuals(pool.known, pool.patients) for name, pool in pools.items()}
        factor = _factor(spread, confidence, simultaneous, rng)
        unknown = [name for name in unknown if not _settled(pools[name].known, spread[name], factor, precision)]
        if not unknown:
            break
    table = pd.concat([_table(name, pools[name], spread[name], factor, confidence, rng) for name in pools], ignore_index=True)
    tolerance = {name: _tolerance(pool.known, precision) for name, pool in pools.items()}
    return Precise(np.concatenate(explained), np.concatenate(collected), table, tolerance)


def residuals(values: NDArray[np.floating], patients: NDArray[np.str_]) -> NDArray[np.float64]:
    """(example, region): what each example adds to the error of 'half lie below the median'; squares sum to its variance.

    values (example, region) are of the first examples of `patients`, which are of the whole class. Patients who are in the
    sample once count as one stratum together. Each stratum's share below is drawn a little towards a half: three beats on
    one side do not prove that all are.
    """
    n, n_of = len(values), len(patients)
    _, patient, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    median = np.nanmedian(values, axis=0)
    below = np.where(values < median, 1.0, np.where(values > median, 0.0, 0.5))
    seen = np.bincount(patient[:n], minlength=len(sizes))
    stratum = np.where(seen[patient[:n]] > 1, patient[:n], len(sizes))
    size_of = np.append(sizes, sizes[seen == 1].sum())
    out = np.empty_like(below)
    for number in np.unique(stratum):
        mine = stratum == number
        m, whole = int(mine.sum()), int(size_of[number])
        share = below[mine].mean(axis=0)
        away = below[mine] - share
        found = (away**2).mean(axis=0)
        drawn = (share * m + 0.25) / (m + 0.5)
        variance = drawn * (1 - drawn) * m / max(m - 1, 1)
        # where all agree there is no direction to keep: each example tosses a coin of its own
        coin = np.where(np.arange(m) % 2, 1.0, -1.0)[:, None]
        direction = np.where(found > 0, away / np.sqrt(np.where(found > 0, found, 1)), coin)
        out[mine] = direction * np.sqrt(variance) * whole / n_of * np.sqrt(max(1 - m / whole, 0)) / m
    return out


def median_interval(
    values: NDArray[np.floating], spread: NDArray[np.float64], factor: float
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Median of each column, and bounds for that of the whole class, `factor` standard errors of the rank wide."""
    ordered = np.sort(values, axis=0)  # NaN goes last
    n = (~np.isnan(values)).sum(axis=0)
    reach = factor * len(values) * np.sqrt((spread**2).sum(axis=0))
    last = np.maximum(n - 1, 0)
    low = np.clip(np.floor(last / 2 - reach), 0, last).astype(int)
    high = np.clip(np.ceil(last / 2 + reach), 0, last).astype(int)
    column = np.arange(values.shape[1])
    middle = np.nanmedian(values, axis=0)
    exact = reach == 0
    return middle, np.where(exact, middle, ordered[low, column]), np.where(exact, middle, ordered[high, column])


def _tolerance(values: NDArray[np.floating], precision: float) -> float:
    median = np.nanmedian(values, axis=0)
    return float(min(precision, _RANGE_SHARE * np.ptp(median[~np.isnan(median)])))


def _settled(values: NDArray[np.floating], spread: NDArray[np.float64], factor: float, precision: float) -> bool:
    median, low, high = median_interval(values, spread, factor)
    return bool(np.nanmax(np.maximum(high - median, median - low)) <= _tolerance(values, precision))


def _factor(spread: dict[str, NDArray[np.float64]], confidence: float, simultaneous: bool, rng: np.random.Generator) -> float:
    """How many standard errors: of one region, or so that all regions of all classes are right together.

    How the errors of regions hang together is seen in the sample; the largest of so many correlated normal numbers is drawn,
    not bounded.
    """
    largest = np.zeros(_DRAWS)
    for some in spread.values() if simultaneous else ():
        size = np.sqrt((some**2).sum(axis=0))
        if size.any():  # else the class is known to the last example
            scaled = some / np.where(size > 0, size, 1)
            values, vectors = np.linalg.eigh(scaled.T @ scaled)
            root = vectors * np.sqrt(np.maximum(values, 0))
            largest = np.maximum(largest, np.abs(rng.normal(size=(_DRAWS, len(values))) @ root.T).max(axis=1))
    return float(np.quantile(largest, confidence)) if largest.any() else NormalDist().inv_cdf((1 + confidence) / 2)


def _table(
    name: str, pool: _Class, spread: NDArray[np.float64], factor: float, confidence: float, rng: np.random.Generator
) -> pd.DataFrame:
    median, low, high = median_interval(pool.known, spread, factor)
    patients_low, patients_high = _over_patients(pool.known, pool.patients[: pool.taken], confidence, rng)
    return pd.DataFrame(
        {
            "class": name, "region": np.arange(len(median)), "median": median, "low": low, "high": high,
            "patients_low": patients_low, "patients_high": patients_high, "n": pool.taken, "n_of": len(pool.rows),
            "patients": len(np.unique(pool.patients)),
        }
    )  # fmt: skip


def _over_patients(
    values: NDArray[np.floating], patients: NDArray[np.str_], confidence: float, rng: np.random.Generator, times: int = 200
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Bounds of the medians over bootstrap samples of whole patients; NaN where there is one patient."""
    names, which = np.unique(patients, return_inverse=True)
    if len(names) < 2:
        nothing = np.full(values.shape[1], np.nan)
        return nothing, nothing
    rows_of = [np.flatnonzero(which == k) for k in range(len(names))]
    medians = np.empty((times, values.shape[1]))
    for k in range(times):
        rows = np.concatenate([rows_of[pick] for pick in rng.integers(len(names), size=len(names))])
        medians[k] = np.nanmedian(values[rows], axis=0)
    edge = (1 - confidence) / 2
    low, high = np.nanquantile(medians, [edge, 1 - edge], axis=0)
    return low, high
