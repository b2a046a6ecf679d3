"""What to know of a model before the first map: does it fit, and which methods can it have?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from torch import Tensor, nn

from ecglens.attribution.cams import linear_head
from ecglens.attribution.passes import Pass, Shared, undisturbed
from ecglens.attribution.registry import Method, methods
from ecglens.attribution.rules import Seen, expect_guided, watch
from ecglens.attribution.source import drawn
from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier

_MICROVOLTS = 50.0  # no surface ECG has 50 mV


@dataclass(frozen=True)
class Preflight:
    """What was found: layer that CAM reads, methods the model supports, and why not the others; remarks on the data."""

    cam_layer: str | None
    supported: tuple[str, ...]
    refused: dict[str, str]
    remarks: tuple[str, ...]


def check_model(classifier: Classifier, x: Tensor, context: Tensor | None) -> None:
    """Raises EcglensError, saying what is wrong, for a model whose answers cannot be explained.

    x: a few model inputs (example, lead, time), or ink for a network behind a picture. Found: wrong shapes, several outputs,
    NaN, probabilities in the place of logits, answers that change with the batch, compiled modules.
    """
    name, module = classifier.name, classifier.module
    if any(isinstance(part, torch.jit.ScriptModule) or hasattr(part, "_orig_mod") for part in module.modules()):
        raise EcglensError(
            f"{name} is compiled: hooks and rules do not reach into it; wrap the module that was compiled (model._orig_mod)"
        )
    if len(x) < 2:
        x, context = _twice(x), _twice(context)
    out = _answer(classifier, x, context)
    if not isinstance(out, Tensor):
        raise EcglensError(
            f"{name} returns a {type(out).__name__}; expected one tensor of logits: wrap it in a module that picks it"
        )
    if out.shape != (len(x), len(classifier.classes)):
        raise EcglensError(
            f"{name} returns shape {tuple(out.shape)} for {len(x)} examples; expected ({len(x)}, {len(classifier.classes)}), "
            f"a logit for each of {', '.join(classifier.classes)}"
        )
    if not torch.isfinite(out).all():
        raise EcglensError(
            f"{name} answers NaN or infinity for {int((~torch.isfinite(out)).any(1).sum())} of {len(x)} examples"
        )
    sums = out.sum(1)
    noise = 3 * torch.randn(len(x), *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x.device)
    noise = _answer(classifier, noise, context)
    if all(_in_unit(each) for each in (out, noise)) and (
        classifier.activation == "sigmoid" or bool((sums - 1).abs().max() < 1e-4)
    ):
        raise EcglensError(
            f"{name} returns probabilities, not logits (all between 0 and 1): a probability that is 1 has no gradient; "
            "return the "
            "numbers before the softmax or sigmoid"
        )
    half = _answer(classifier, _twice(x[:1]), None if context is None else _twice(context[:1]))[:1]
    apart = float((half - out[:1]).abs().max())
    if apart > 1e-3 * max(1.0, float(out.abs().max())):
        raise EcglensError(
            f"{name} changes its answer with the batch (by {apart:.3g} for one example among {len(x)} or among two copies of "
            "itself): something normalises over the batch even in evaluation mode"
        )


@overload
def _twice(x: Tensor) -> Tensor: ...
@overload
def _twice(x: None) -> None: ...
def _twice(x: Tensor | None) -> Tensor | None:
    return None if x is None else torch.cat([x, x])


def _in_unit(out: Tensor) -> bool:
    return bool((out >= 0).all() and (out <= 1).all())


def _answer(classifier: Classifier, x: Tensor, context: Tensor | None) -> Tensor:
    inputs = (x,) if context is None else (x, context)
    try:
        with undisturbed(classifier.module), torch.no_grad():
            return classifier.module(*inputs)
    except EcglensError:
        raise
    except Exception as error:  # whatever a stranger's module raises
        reason = " ".join(str(error).split())[:200]
        axes = "example, lead, time" if x.dim() == 3 else "example, 1, row, column"
        raise EcglensError(f"{classifier.name} does not take inputs of shape {tuple(x.shape)} ({axes}): {reason}") from None


def check_layer(classifier: Classifier) -> None:
    """Raises EcglensError with the candidates where the CAM layer does not exist."""
    layers = {name: part for name, part in classifier.module.named_modules() if name}
    if classifier.cam_layer is not None and classifier.cam_layer not in layers:
        candidates = [name for name, part in layers.items() if isinstance(part, (nn.Conv1d, nn.Conv2d))][-8:]
        raise EcglensError(
            f"{classifier.name} has no layer {classifier.cam_layer!r}; its last convolutions: "
            f"{', '.join(candidates) or 'none'}"
        )


def preflight(
    classifier: Classifier, x: Tensor, context: Tensor | None = None, millivolts: np.ndarray | None = None
) -> Preflight:
    """Try the model, and each method on two examples; raises EcglensError where the model itself does not fit.

    x, context: model inputs, signals also where the model draws; millivolts: some of the signals before scaling, to tell mV
    from uV.
    """
    check_layer(classifier)
    layer = classifier.cam_layer
    if classifier.draws:
        net = classifier.behind_picture()  # refuses what does not draw
        x, context, classifier = drawn(classifier, x, context), None, net
    check_model(classifier, x, context)
    two, context_two = x[:2], None if context is None else context[:2]
    if len(two) < 2:
        two, context_two = _twice(two), None if context_two is None else _twice(context_two)
    refused: dict[str, str] = {}
    supported = []
    with undisturbed(classifier.module):
        seen = watch(classifier.module, *([two] if context_two is None else [two, context_two]))
        for method in methods().values():
            reason = why_not(method, classifier, seen, two, context_two)
            if reason:
                refused[method.name] = reason
            else:
                supported.append(method.name)
    remarks = []
    if millivolts is not None and np.nanmax(np.abs(millivolts)) > _MICROVOLTS:
        remarks.append(
            f"the signals reach {np.nanmax(np.abs(millivolts)):.0f}; no ECG has so many millivolts: are these microvolts or "
            "raw "
            "integers?"
        )
    return Preflight(layer, tuple(supported), refused, tuple(remarks))


def _expect_for_pictures(method: Method, name: str) -> None:
    if method.card.not_pictures:
        raise EcglensError(f"{method.name} is not for pictures, which {name} sees: {method.card.not_pictures}")
    for option in ("seconds", "regions"):
        if option in method.options:
            raise EcglensError(f"{name} sees pictures; {method.name} takes no {option} there, give it pixels")


def why_not(method: Method, classifier: Classifier, seen: Seen, x: Tensor, context: Tensor | None) -> str | None:
    """Why the model cannot have this method, in words; None if it can. Tried where the method is cheap, else read off the
    card.
    """
    card = method.card
    try:
        if x.dim() == 4:
            _expect_for_pictures(method, classifier.name)
        elif "pixels" in method.options:
            raise EcglensError(f"{classifier.name} takes signals; {method.name} takes no pixels there, give it seconds")
        if "relu" in card.needs:
            expect_guided(classifier.name, seen)
        if "cam layer" in card.needs and classifier.cam_layer is None:
            raise EcglensError(f"{method.name} reads the activations of a layer; {classifier.name} names none (cam_layer)")
        if "mean and linear head" in card.needs:
            linear_head(classifier)
        if "layers with a rule" in card.needs:
            batch = Pass.of(Shared(classifier, background=x), x, context, np.zeros(len(x), np.int64), np.arange(len(x)))
            method(batch)
        if method.name == "lead-shapley" and x.shape[1] > 16:
            raise EcglensError(f"{x.shape[1]} leads have too many coalitions; take lead-shapley-sampled")
    except EcglensError as error:
        return str(error)
    except RuntimeError as error:
        return f"{method.name} does not run on {classifier.name}: {' '.join(str(error).split())[:160]}"
    return None
