"""What hiding a stretch of one lead does to a class's logit: which leads speak for the class, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.attribution import explain
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
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

    example: one alone. Stretches lie side by side from the first sample that is signal, padding is left alone; the last one
    may be shorter; the mean is over what is signal. Raises EcglensError for more examples than one, an unknown class, or a
    length below a sample. Source: Zeiler and Fergus 2014, arXiv:1311.2901.
    """
    if len(example) != 1 or not 0 <= target < len(classifier.classes):
        raise EcglensError(
            f"{len(example)} examples, class {target}; expected one example and 0 to {len(classifier.classes) - 1}"
        )
    if not (np.isfinite(seconds) and round(seconds * example.fs) >= 1):
        raise EcglensError(f"seconds is {seconds}; expected {1 / example.fs:g}, one sample, or more")
    first, stop = (int(example.column(name)[0]) for name in ("valid_start", "valid_stop"))
    edges = np.append(np.arange(first, stop, round(seconds * example.fs)), stop)
    # a copy for each stretch, so that all stretches of a lead go through the model at once
    copies = example.take(np.zeros(len(edges) - 1, np.int64))
    shape = (len(copies), len(example.leads))
    starts, stops = (np.broadcast_to(each[:, None], shape) for each in (edges[:-1], edges[1:]))
    cells = Regions(example.leads, example.leads, np.arange(shape[1]), starts, stops)
    flat = example.take(np.array([0]))
    flat.signals[:] = example.signals[:, :, first:stop].mean(axis=2, keepdims=True, dtype=np.float64)
    found = explain(
        classifier, copies, ["occlusion"], target=np.full(len(copies), target), background=flat, keep=cells, quiet=True,
        options={"occlusion": {"regions": cells, "baseline": "mean"}},
    )  # fmt: skip
    return LeadCells(edges, np.asarray(found["occlusion"][:], np.float32).reshape(shape).T)
