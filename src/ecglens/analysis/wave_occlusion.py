"""What hiding a wave does to a class's logit: in one lead, or in all leads at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
from ecglens.models.classifier import Classifier

_ROWS_AT_ONCE = 2048  # changed signals that are held


@dataclass(frozen=True)
class WaveFalls:
    """names: of what was hidden; fall (example, name): the class's logit before less after, NaN where the example lacks it."""

    names: tuple[str, ...]
    fall: NDArray[np.float64]


def occlude_waves(classifier: Classifier, examples: Examples, regions: Regions, target: NDArray[np.int64]) -> WaveFalls:
    """Hide the regions of each name together, name by name, and ask for class `target` (example,) again.

    A hidden stretch becomes a straight line, in mV, from the last sample before it to the first one behind it; where it
    reaches the lead's edge, the level of its other end. Regions of a name lie in leads of `examples.places`. Raises
    EcglensError for regions of another number of examples, outside the signals, or in unknown leads. Source: Zeiler and
    Fergus 2014, arXiv:1311.2901, with a wave in the place of a square.
    """
    classifier.expect(examples)
    n, n_leads, length = examples.signals.shape
    if len(regions.start) != n or len(target) != n:
        raise EcglensError(f"{n} examples, regions of {len(regions.start)}, {len(target)} targets; expected the same number")
    regions.expect_inside(n_leads, length)
    unknown = sorted(set(regions.lead) - {place.name for place in examples.places})
    if unknown:
        raise EcglensError(f"regions lie in {', '.join(unknown)}; the leads are {', '.join(p.name for p in examples.places)}")
    names = tuple(dict.fromkeys(regions.names))
    before = classifier.logits(examples)[np.arange(n), target].astype(np.float64)
    there = (regions.stop > regions.start) @ np.array([[name == one for one in names] for name in regions.names])
    fall = np.full((n, len(names)), np.nan)
    example, number = np.nonzero(there)
    for first in range(0, len(example), _ROWS_AT_ONCE):
        rows, which = example[first : first + _ROWS_AT_ONCE], number[first : first + _ROWS_AT_ONCE]
        part = examples.take(rows)
        hidden = part.signals.copy()
        for k, (row, name) in enumerate(zip(rows, which, strict=True)):
            _flatten(hidden[k], examples, regions, int(row), names[name])
        after = classifier.logits(replace(part, signals=hidden))
        fall[rows, which] = before[rows] - after[np.arange(len(rows)), target[rows]]
    return WaveFalls(names, fall)


def _flatten(signals: NDArray[np.float32], examples: Examples, regions: Regions, example: int, name: str) -> None:
    """Draw the lines into one example's signals (lead, time)."""
    columns = [k for k, each in enumerate(regions.names) if each == name]
    for place in examples.places:
        mine = [k for k in columns if regions.lead[k] == place.name and regions.stop[example, k] > regions.start[example, k]]
        if not mine:
            continue
        lead = signals[place.row, place.offset : place.offset + place.length]
        gone = np.zeros(len(lead), bool)
        for k in mine:
            gone[regions.start[example, k] - place.offset : regions.stop[example, k] - place.offset] = True
        time = np.arange(len(lead))
        level = np.interp(time[gone], time[~gone], lead[~gone]) if not gone.all() else np.full(len(lead), lead.mean())
        lead[gone] = level
