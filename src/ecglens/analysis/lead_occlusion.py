"""What hiding a stretch of one lead does to a class's logit: which leads speak for the class, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier


@dataclass(frozen=True)
class LeadCells:
    """A value for each lead and stretch of time.

    edges: int (cell + 1,), in samples of the example, rising; fall (lead, cell): the class's logit before less after.
    """

    edges: NDArray[np.int64]
    fall: NDArray[np.floating]

    def spread(self, length: int) -> NDArray[np.float64]:
        """(lead, time) with `length` samples: each has its cell's value, NaN before the first edge and from the last one on.

        Raises EcglensError where the edges fit neither the values nor the length.
        """
        steps = np.diff(self.edges)
        if len(steps) != self.fall.shape[1] or (steps < 1).any() or self.edges[0] < 0 or self.edges[-1] > length:
            raise EcglensError(
                f"{len(self.edges)} edges for {self.fall.shape[1]} cells and {length} samples; expected one edge "
                "more than cells, rising, inside the samples"
            )
        out = np.full((len(self.fall), length), np.nan)
        out[:, self.edges[0] : self.edges[-1]] = np.repeat(self.fall, steps, axis=1)
        return out


def occlude_lead_cells(classifier: Classifier, example: Examples, target: int, *, seconds: float = 0.5) -> LeadCells:
    """Set each stretch of `seconds` of each lead to the lead's own mean, one at a time, and ask for class `target` again.

    example: one alone. It is the signal in mV that is changed: a model that scales it scales what is left. Stretches lie side
    by side from the first sample that is signal, padding is left alone; the last one may be shorter; the mean is over what is
    signal. Raises EcglensError for more examples than one, an unknown class, or a length below a sample. Source: Zeiler and
    Fergus 2014, arXiv:1311.2901.
    """
    if len(example) != 1 or not 0 <= target < len(classifier.classes):
        raise EcglensError(
            f"{len(example)} examples, class {target}; expected one example and 0 to {len(classifier.classes) - 1}"
        )
    if not (np.isfinite(seconds) and round(seconds * example.fs) >= 1):
        raise EcglensError(f"seconds is {seconds}; expected {1 / example.fs:g}, one sample, or more")
    first, stop = (int(example.column(name)[0]) for name in ("valid_start", "valid_stop"))
    edges = np.append(np.arange(first, stop, round(seconds * example.fs)), stop)
    time = np.arange(example.length)
    within = (time >= edges[:-1, None]) & (time < edges[1:, None])
    means = example.signals[0, :, first:stop].mean(axis=1, dtype=np.float64)
    # a copy for each stretch, so that all stretches of a lead go through the model at once
    copies = example.take(np.zeros(len(within), np.int64))
    before = classifier.logits(example)[0, target]
    fall = np.empty((len(example.leads), len(within)), np.float32)
    for lead, mean in enumerate(means):
        hidden = copies.signals.copy()
        hidden[:, lead] = np.where(within, np.float32(mean), hidden[:, lead])
        fall[lead] = before - classifier.logits(replace(copies, signals=hidden))[:, target]
    return LeadCells(edges, fall)
