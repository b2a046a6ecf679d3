"""Class profiles: for each class and region the median, quartiles and number of beats; all, right, wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.regions import Regions

FEWEST = 5  # beats under which no quartile band is given


def quartiles(values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """25 %, 50 %, 75 % of each column of `values` (beat, region), NaN passed over, as (3, region); and counts (region,).

    Linear between neighbours, as numpy's nanpercentile, but by one sort.
    """
    ordered = np.sort(values, axis=0)  # NaN goes last
    count = (~np.isnan(values)).sum(0)
    out = np.full((3, values.shape[1]), np.nan, np.float32)
    some = np.flatnonzero(count)
    for k, quantile in enumerate((0.25, 0.5, 0.75)):
        at = quantile * (count[some] - 1)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, count[some] - 1)
        lower, upper = ordered[low, some], ordered[high, some]
        out[k, some] = lower + (upper - lower) * (at - low)
    return out, count


def class_profiles(
    values: NDArray[np.floating[Any]],
    regions: Regions,
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    tested: NDArray[np.bool_],
    classes: tuple[str, ...],
) -> pd.DataFrame:
    """A row per class, group and region: class, group, lead, region, n, q25, median, q75.

    values (beat, region); group is "all" (training and test beats whose true class it is), and among tested ones "right",
    "wrong", or "wrong as X" (taken for class X). q25 and q75 are NaN where n < 5.
    """
    frames = []
    for label, name in enumerate(classes):
        mine = truth == label
        groups = {
            "all": mine,
            "right": mine & tested & (predicted == label),
            "wrong": mine & tested & (predicted != label),
        }
        for other, other_name in enumerate(classes):
            if other != label:
                groups[f"wrong as {other_name}"] = mine & tested & (predicted == other)
        for group, members in groups.items():
            if members.any():
                frames.append(_profile(values[members], regions, name, group))
    return pd.concat(frames, ignore_index=True)


def _profile(values: NDArray[np.floating[Any]], regions: Regions, name: str, group: str) -> pd.DataFrame:
    (low, middle, high), count = quartiles(values)
    enough = count >= FEWEST
    return pd.DataFrame(
        {
            "class": name,
            "group": group,
            "lead": regions.lead,
            "region": regions.names,
            "n": count,
            "q25": np.where(enough, low, np.nan),
            "median": middle,
            "q75": np.where(enough, high, np.nan),
        }
    )


def distance_from_profile(
    values: NDArray[np.floating[Any]], claimed: NDArray[np.int64], reference: NDArray[np.bool_], n_classes: int
) -> NDArray[np.float64]:
    """How far each beat's map lies from the usual map of the class the model claims, float64 (beat,).

    Mean over regions of |value - median| / (quartile distance), median and quartiles from `reference` beats (right ones of
    the training side) of that class. NaN where the class has fewer than five of them. The true class is not used, so
    that this can be asked of a beat nobody has labelled.
    """
    out = np.full(len(values), np.nan)
    for label in range(n_classes):
        usual = values[reference & (claimed == label)]
        asked = claimed == label
        if len(usual) < FEWEST or not asked.any():
            continue
        (low, middle, high), count = quartiles(usual)
        # a region that fewer than five usual beats reach says nothing of what is usual there
        width = np.where(count >= FEWEST, high - low, np.nan)
        floor = np.nanmedian(width) * 0.1 + 1e-12  # a region where all agree must not rule the mean
        far = np.abs(values[asked] - middle) / np.maximum(width, floor)  # NaN stays NaN
        known = ~np.isnan(far)
        mean = np.where(known, far, 0).sum(1) / np.maximum(known.sum(1), 1)
        out[asked] = np.where(known.any(1), mean, np.nan)
    return out
