"""How maps change while a network learns, and from one random start to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def rank_correlation(one: NDArray[np.floating], two: NDArray[np.floating]) -> NDArray[np.float64]:
    """Spearman's rank correlation of two maps of each example, float64 (example,); ties share their mean rank.

    one, two: (example, lead, time) of the same shape; NaN where a map is the same everywhere.
    """
    a, b = (_ranks(each.reshape(len(each), -1)) for each in (one, two))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    norm = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.divide((a * b).sum(1), norm, out=np.full(len(a), np.nan), where=norm > 0)


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values, axis=1), np.float64)


def course_of_maps(
    maps: dict[int, dict[int, NDArray[np.floating]]], labels: NDArray[np.int64], classes: Sequence[str]
) -> pd.DataFrame:
    """How like the final map each earlier one is, and how like each other the maps of two starts are.

    maps: start -> epoch -> (example, lead, time), the same examples everywhere; the last epoch of a start is its final one.
    Returns columns start, epoch, beside ("final map", "start K", or "another window": of the same class and net, what any
    two maps share), class, n, q25, median, q75 of the rank correlation.
    """
    rows = []
    first = min(maps)
    for start, by_epoch in maps.items():
        last = max(by_epoch)
        for epoch, values in by_epoch.items():
            rows += _by_class(rank_correlation(values, by_epoch[last]), labels, classes, start, epoch, "final map")
            if start != first and epoch in maps[first]:
                rows += _by_class(
                    rank_correlation(values, maps[first][epoch]), labels, classes, start, epoch, f"start {first}"
                )
    final = maps[first][max(maps[first])]
    other = _next_of_class(labels)
    apart = rank_correlation(final, final[other])
    rows += _by_class(
        np.where(other == np.arange(len(labels)), np.nan, apart), labels, classes, first, max(maps[first]), "another window"
    )
    return pd.DataFrame(rows)


def _next_of_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each example the next one of its class, the first after the last."""
    out = np.arange(len(labels))
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        out[mine] = np.roll(mine, -1)
    return out


def _by_class(
    values: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[str], start: int, epoch: int, beside: str
) -> list[dict[str, object]]:
    rows = []
    for label, name in enumerate(classes):
        mine = values[(labels == label) & ~np.isnan(values)]
        if len(mine):
            q25, median, q75 = np.quantile(mine, [0.25, 0.5, 0.75])
            about = {"start": start, "epoch": epoch, "beside": beside, "class": name, "n": len(mine)}
            rows.append(about | {"q25": q25, "median": median, "q75": q75})
    return rows
