"""What is explained: batches of model inputs, the class asked about, the background; signals become pictures on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecglens.attribution.identity import fingerprint
from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier, evaluating
from ecglens.models.pictured import whole

_DRAWN = 256  # at once; a background may hold more


def drawn(classifier: Classifier, x: Tensor, span: Tensor | None = None) -> Tensor:
    """Ink (example, 1, row, column): what a classifier that draws makes of scaled signals (example, lead, time).

    span: int64 (example, 2), first sample that is signal and the one after the last; None: all of x is signal.
    """
    picture = classifier.module.get_submodule("picture")
    span = whole(x) if span is None else span
    with evaluating(picture), torch.no_grad():
        parts = [picture(x[some : some + _DRAWN], span[some : some + _DRAWN]) for some in range(0, len(x), _DRAWN)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class Source:
    """Where batches come from: Examples in mV, or an array that is the model's own input already (scaled signals, where the
    model draws).
    """

    def __init__(self, classifier: Classifier, data: Examples | NDArray[np.floating[Any]]) -> None:
        self._classifier = classifier
        self.examples = data if isinstance(data, Examples) else None
        self._array = data.signals if isinstance(data, Examples) else data
        if self.examples is not None:
            classifier.expect(self.examples)
        elif self._array.shape[1:] != classifier.input_shape:
            raise EcglensError(f"the array has shape {self._array.shape}; {classifier.name} takes {_shape_of(classifier)}")
        if not len(self._array):
            raise EcglensError("there is no example to explain")

    def __len__(self) -> int:
        return len(self._array)

    def spans(self) -> NDArray[np.int64] | None:
        """Which samples of each example are drawn, int64 (example, 2), where the model is told so; part of its data."""
        if self.examples is None or self._classifier.context != "span":
            return None
        context = self._classifier.context_of(self.examples)
        return None if context is None else context.numpy()

    def inputs(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor | None, Examples | None]:
        """What maps are of, a context where the model takes one beside it, and the examples where there are any."""
        context: Tensor | None = None
        part = None
        if self.examples is not None:
            part = self.examples.take(rows)
            x, *more = self._classifier.inputs(part)
            context = more[0] if more else None
        elif self._classifier.context is not None and not self._classifier.draws:
            what = "RR intervals" if self._classifier.context == "rr" else "the span of the signal"
            raise EcglensError(f"{self._classifier.name} takes {what} beside the signal; give it examples, not an array")
        else:
            x = torch.from_numpy(np.array(self._array[rows], np.float32)).to(self._classifier.device)
        broken = ~torch.isfinite(x).flatten(1).all(1)
        if broken.any():
            raise EcglensError(
                f"example {rows[int(broken.nonzero()[0, 0])]} of the data holds NaN or infinity; leave it out by rows="
            )
        return (drawn(self._classifier, x, context), None, part) if self._classifier.draws else (x, context, part)


def _shape_of(classifier: Classifier) -> str:
    if classifier.rows is not None:
        return f"(example, 1, {classifier.rows} rows, {classifier.length} columns)"
    return f"(example, {len(classifier.leads)} leads, {classifier.length} samples)"


def targets_of(classifier: Classifier, source: Source, target: Any, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Class indices (row,); None for "predicted" and "all". Raises EcglensError where the target does not fit."""
    if not isinstance(target, str):
        asked = np.asarray(target, np.int64)
        if asked.shape != rows.shape or asked.min() < 0 or asked.max() >= len(classifier.classes):
            raise EcglensError(f"targets have shape {asked.shape}; expected a class index for each of {len(rows)} rows")
        return asked
    if target in ("predicted", "all"):
        return None
    if target == "true":
        if source.examples is None:
            raise EcglensError("target 'true' needs examples with labels; an array has none")
        if source.examples.multi_hot is not None:
            raise EcglensError("target 'true' needs one class each, these examples may have several; name a class, or 'all'")
        return source.examples.labels[rows]
    choose(target, ["predicted", "true", "all", *classifier.classes], "target or class")
    return np.full(len(rows), classifier.classes.index(target), np.int64)


def background_of(classifier: Classifier, background: Any) -> tuple[Tensor | None, str | None]:
    """The background, Examples or an array as `Source` takes them, as what maps are of, and its checksum.

    Raises EcglensError where it does not fit the model, or holds no example.
    """
    if background is None:
        return None, None
    span: list[Tensor] = []
    if isinstance(background, Examples):
        classifier.expect(background)
        found, *context = classifier.inputs(background)
        span = context if classifier.draws else []
    else:
        found = torch.from_numpy(np.array(background, np.float32)).to(classifier.device)
        if found.shape[1:] != classifier.input_shape:
            raise EcglensError(f"the background has shape {tuple(found.shape)}; expected {_shape_of(classifier)}")
    if not len(found):
        raise EcglensError("the background holds no example; expected one or more")
    # of what is drawn, not of the ink: its last digits depend on where it is drawn
    told = "-".join(fingerprint(each.cpu().numpy()) for each in (found, *span))
    return drawn(classifier, found, *span) if classifier.draws else found, told
