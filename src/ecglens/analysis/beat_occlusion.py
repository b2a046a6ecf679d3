"""What hiding a beat, or the gap between two, does to a classifier: the signal is changed, then the model asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.intervals import mean_over_patients
from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
from ecglens.models.classifier import Classifier

FILLS = ("line", "zero", "baseline")
_ROWS_AT_ONCE = 4096  # changed signals that are held


@dataclass(frozen=True)
class Occluded:
    """What hiding each region did.

    names: of the regions; fall (example, region): margin before less margin after, in logits, the margin being the logit of
    the class first predicted less the best other; changed (example, region): 1 where another class is predicted then, else 0;
    both NaN where the example has no such region; seconds (example, region): how long it is; predicted (example,) and
    margin (example,): unchanged.
    """

    names: tuple[str, ...]
    fall: NDArray[np.float64]
    changed: NDArray[np.float64]
    seconds: NDArray[np.float64]
    predicted: NDArray[np.int64]
    margin: NDArray[np.float64]


def occlude_regions(classifier: Classifier, examples: Examples, regions: Regions, *, fill: str = "line") -> Occluded:
    """Hide each region of each example, one at a time, in the signal itself, and ask the model again.

    fill: a straight "line" from the region's first sample to its last, "zero" mV, or the "baseline", the median of the lead's
    samples that are signal. Regions of one name (several leads) are hidden together. A model of pictures draws the changed
    signal. Raises EcglensError for regions of another number of examples or outside the signals, an unknown fill, a model of
    one class.
    """
    choose(fill, list(FILLS), "fill")
    classifier.expect(examples)
    n, n_leads, length = examples.signals.shape
    if len(regions.start) != n:
        raise EcglensError(f"{n} examples and regions of {len(regions.start)}; expected the same number")
    regions.expect_inside(n_leads, length)
    if len(classifier.classes) < 2:
        raise EcglensError("the model has one class; a margin needs two")
    before = classifier.logits(examples)
    predicted = before.argmax(1).astype(np.int64)
    margin = _margin(before, predicted)
    names = tuple(dict.fromkeys(regions.names))
    columns = [[k for k, name in enumerate(regions.names) if name == one] for one in names]
    size = regions.stop - regions.start
    longest = np.stack([size[:, mine].max(1, initial=0) for mine in columns], axis=1)
    fall, changed = np.full((2, n, len(names)), np.nan)
    example, number = np.nonzero(longest)
    for first in range(0, len(example), _ROWS_AT_ONCE):
        rows, which = example[first : first + _ROWS_AT_ONCE], number[first : first + _ROWS_AT_ONCE]
        part = examples.take(rows)
        hidden = part.signals.copy()
        for name in np.unique(which):
            mine = np.flatnonzero(which == name)
            for k in columns[name]:
                _hide(hidden, part, mine, int(regions.row[k]), regions.start[rows[mine], k], regions.stop[rows[mine], k], fill)
        after = classifier.logits(replace(part, signals=hidden))
        fall[rows, which] = margin[rows] - _margin(after, predicted[rows])
        changed[rows, which] = after.argmax(1) != predicted[rows]
    return Occluded(names, fall, changed, longest / examples.fs, predicted, margin)


def _hide(
    signals: NDArray[np.float32], examples: Examples, rows: NDArray[np.intp], lead: int, start: NDArray[np.int64],
    stop: NDArray[np.int64], fill: str,
) -> None:  # fmt: skip
    """Write the fill into `signals` (example, lead, time) from `start` to `stop` (of `rows`)."""
    signal = examples.signals[rows, lead]
    time = np.arange(signal.shape[1])
    within = (time >= start[:, None]) & (time < stop[:, None])
    if fill == "line":
        there = np.minimum(start, signal.shape[1] - 1)[:, None]
        last = np.maximum(stop - 1, 0)[:, None]
        a, b = (np.take_along_axis(signal, at, axis=1) for at in (there, last))
        value = a + (b - a) * ((time - there) / np.maximum(last - there, 1)).astype(np.float32)
    elif fill == "zero":
        value = np.zeros_like(signal)
    else:
        first, end = (examples.column(name)[rows].astype(np.int64)[:, None] for name in ("valid_start", "valid_stop"))
        real = np.where((time >= first) & (time < end), signal, np.nan)
        value = np.broadcast_to(np.nanmedian(real, axis=1, keepdims=True), signal.shape)
    signals[rows, lead] = np.where(within, value, signals[rows, lead])


def _margin(logits: NDArray[np.float32], of: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logit of the class `of` less the best other (example,)."""
    logits = logits.astype(np.float64)
    row = np.arange(len(logits))
    others = logits.copy()
    others[row, of] = -np.inf
    return logits[row, of] - others.max(1)


def occlusion_table(
    found: Occluded,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    patients: NDArray[Any],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """`occlude_regions` added up: a row per true class, and "all" first, and region, over the examples that have the region.

    Columns: class, region, n, patients, seconds (mean length); fall, the mean in logits; changed, the share of examples that
    change class; _low and _high: 95 % over patients. Raises EcglensError where lengths differ.
    """
    if not len(labels) == len(patients) == len(found.fall):
        raise EcglensError(
            f"{len(found.fall)} examples, {len(labels)} labels and {len(patients)} patients; expected the same number"
        )
    rows = []
    groups = {"all": np.ones(len(labels), bool)} | {name: labels == k for k, name in enumerate(classes)}
    for name, mine in groups.items():
        for k, region in enumerate(found.names):
            has = mine & ~np.isnan(found.fall[:, k])
            if not has.any():
                continue
            values = np.stack([found.fall[has, k], found.changed[has, k]], axis=1)
            low, high = mean_over_patients(values, patients[has], replicates=replicates, seed=seed)
            rows.append(
                {
                    "class": name, "region": region, "n": int(has.sum()), "patients": len(np.unique(patients[has])),
                    "seconds": found.seconds[has, k].mean(),
                    "fall": values[:, 0].mean(), "fall_low": low[0], "fall_high": high[0],
                    "changed": values[:, 1].mean(), "changed_low": low[1], "changed_high": high[1],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
