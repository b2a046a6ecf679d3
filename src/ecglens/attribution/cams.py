"""Class activation maps: from the activations of one layer, so of that layer's resolution in time and without leads."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecglens.attribution.passes import Pass
from ecglens.attribution.registry import Card, register
from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier

_LAYER = "cells of the CAM layer"
_NO_LEADS = "leads apart; anything finer than a cell and its receptive field"


def _weighted(weights: Tensor, activations: Tensor, *, relu: bool) -> Tensor:
    out = (weights * activations).sum(dim=1, keepdim=True)
    return out.clamp(min=0) if relu else out


def _mean(gradient: Tensor) -> Tensor:
    """Mean over all places of a channel, in one or two dimensions."""
    return gradient.flatten(2).mean(dim=2).reshape(*gradient.shape[:2], *([1] * (gradient.dim() - 2)))


@register(
    "grad-cam",
    Card(
        equation="sum over channels of (mean over time of df/dA) A, no ReLU unless asked for (relu=true)",
        source="Selvaraju 2017, arXiv:1610.02391, eq. 1 and 2",
        passes="1 forward, the backward of the head",
        signed=True, leads=False, resolution=_LAYER, needs=("cam layer",), blind_to=_NO_LEADS,
        graph=True,
    ),
)  # fmt: skip
def grad_cam(batch: Pass, relu: bool = False) -> Tensor:
    """(example, 1, cell)."""
    activations = batch.activations.detach()
    return _weighted(_mean(batch.activation_gradient), activations, relu=relu)


@register(
    "hires-cam",
    Card(
        equation="sum over channels of df/dA times A, place by place",
        source="Draelos 2020, arXiv:2011.08891",
        passes="1 forward, the backward of the head",
        signed=True, leads=False, resolution=_LAYER, needs=("cam layer",), blind_to=_NO_LEADS,
        sums_to="f(x) less the bias, where the layers behind are linear",
        graph=True,
    ),
)  # fmt: skip
def hires_cam(batch: Pass, relu: bool = False) -> Tensor:
    """(example, 1, cell)."""
    return _weighted(batch.activation_gradient, batch.activations.detach(), relu=relu)


@register(
    "grad-cam++",
    Card(
        equation="sum over channels of (sum over time of w ReLU(df/dA)) A, w = g^2 / (2 g^2 + sum(A) g^3)",
        source="Chattopadhay 2018, arXiv:1710.11063, eq. 10 and 19",
        passes="1 forward, the backward of the head",
        signed=True, leads=False, resolution=_LAYER, needs=("cam layer",),
        blind_to=_NO_LEADS + "; its weights are never negative, so evidence against shows through A alone",
        graph=True,
    ),
)  # fmt: skip
def grad_cam_plus_plus(batch: Pass, relu: bool = False) -> Tensor:
    """(example, 1, cell)."""
    activations, gradient = batch.activations.detach(), batch.activation_gradient
    places = tuple(range(2, gradient.dim()))
    below = 2 * gradient**2 + activations.sum(dim=places, keepdim=True) * gradient**3
    share = torch.where(below != 0, gradient**2 / torch.where(below != 0, below, 1.0), 0.0)
    weights = (share * gradient.clamp(min=0)).sum(dim=places, keepdim=True)
    return _weighted(weights, activations, relu=relu)


@register(
    "guided-grad-cam",
    Card(
        equation="guided backprop times Grad-CAM with ReLU, spread to the samples",
        source="Selvaraju 2017, section 3.2",
        passes="1 forward, 2 backwards",
        signed=True, leads=True, resolution="sample", needs=("relu", "cam layer"),
        blind_to="the class in its fine detail (guided backprop); leads that the layer has mixed",
        graph=True,
    ),
)  # fmt: skip
def guided_grad_cam(batch: Pass, relu: bool = True) -> Tensor:
    """(example, lead, time), or (example, 1, row, column)."""
    cam = grad_cam(batch, relu=relu)
    return batch.guided_gradient * F.interpolate(cam, size=batch.x.shape[2:], mode="nearest")


@register(
    "channel-cam",
    Card(
        equation="sum over cells of (mean over channels of df/dA) A, for each channel; min-max; 0 below its 95th percentile",
        source="Habeeb 2024, as its code does Grad-CAM: the gradient is averaged over the wrong axis",
        passes="1 forward, the backward of the head",
        signed=False, leads=False, resolution="channels of the CAM layer, drawn as if they were time", needs=("cam layer",),
        blind_to="time: it has a number for each channel and none for a place; leads apart; see grad-cam",
        not_pictures="it was made for signals: its channels are stretched over the time",
        graph=True,
    ),
)  # fmt: skip
def channel_cam(batch: Pass, percentile: float = 95.0) -> Tensor:
    """(example, 1, channel) in [0, 1]; all 0 where all channels are alike.

    The authors average over the batch too; here each example is on its own. Raises EcglensError where percentile is not
    from 0 to 100.
    """
    if not 0 <= percentile <= 100:
        raise EcglensError(f"percentile is {percentile:g}; expected 0 (nothing is cut off) to 100")
    weights = batch.activation_gradient.mean(dim=1, keepdim=True)  # one for each cell, where Grad-CAM has one for each channel
    values = (weights * batch.activations.detach()).sum(dim=2)
    low, high = values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True)
    values = torch.where(high > low, (values - low) / torch.where(high > low, high - low, 1.0), 0.0)
    # the smallest value that is not below the percentile, whose own place is between two values
    rank = math.ceil(percentile / 100 * (values.shape[1] - 1) - 1e-9)
    floor = values.sort(dim=1).values[:, rank : rank + 1]
    return torch.where(values < floor, 0.0, values)[:, None]


@register(
    "cam",
    Card(
        equation="sum over channels of w[class, channel] A: its mean over time plus the bias is the logit",
        source="Zhou 2016, arXiv:1512.04150, eq. 2",
        passes="1 forward for all classes",
        signed=True, leads=False, resolution=_LAYER, needs=("mean and linear head",),
        blind_to=_NO_LEADS + "; what the head takes from elsewhere (kept beside it as 'beside-the-map')",
        sums_to="logit less the bias and what the head takes from elsewhere, as the mean over time",
    ),
)  # fmt: skip
def cam(batch: Pass) -> Tensor:
    """(example, 1, cell).

    Where the head also takes something that is no mean over the layer (an LSTM's state), what that adds to the logit is the
    note "beside-the-map" (example,).
    """
    head, columns = batch.shared.once("linear head", lambda: linear_head(batch.classifier))
    if batch.shared.output != "logit":
        raise EcglensError("cam explains logits; ask for output='logit', or for grad-cam")
    memo = batch.forward.memo
    if "cam" not in memo:
        activations = batch.quick_activations
        with torch.no_grad():  # all classes at once, as a convolution one sample wide
            maps = F.conv1d(activations.flatten(2), head.weight[:, columns, None])
            memo["cam"] = maps.reshape(*maps.shape[:2], *activations.shape[2:])
            if head.in_features > activations.shape[1]:
                bias = 0.0 if head.bias is None else head.bias
                memo["beside the cam"] = batch.quick_logits - bias - maps.mean(2)
    if "beside the cam" in memo:
        batch.notes["beside-the-map"] = memo["beside the cam"].gather(1, batch.target[:, None])[:, 0]
    first = int(batch.target[0])
    if bool((batch.target == first).all()):
        return memo["cam"][:, first : first + 1]  # a view, nothing is copied
    return memo["cam"][torch.arange(len(batch.target), device=batch.x.device), batch.target][:, None]


def linear_head(classifier: Classifier) -> tuple[nn.Linear, slice]:
    """The linear layer that gives the logits from the mean over time of the CAM layer, and which of its inputs that mean is.

    Found by trying: its first or last inputs, or all, must be the mean over time of the CAM layer's output, and its output
    the logits. Raises EcglensError where the model has no such head.
    """
    module, name = classifier.module, classifier.cam_layer
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    if name is None or not linear:
        raise EcglensError(_no_head(classifier))
    head = linear[-1]
    caught: dict[str, Tensor] = {}
    hooks = [
        module.get_submodule(name).register_forward_hook(lambda _m, _i, out: caught.__setitem__("layer", out)),
        head.register_forward_hook(lambda _m, ins, out: caught.update(head_in=ins[0], head_out=out)),
    ]
    probe = torch.linspace(-1, 1, 2 * math.prod(classifier.input_shape), device=classifier.device)
    try:
        from ecglens.attribution.passes import undisturbed

        inputs = [probe.reshape(2, *classifier.input_shape)]
        if classifier.context == "span":  # of half of it: a mean over the span alone must not pass for one over all
            inputs.append(torch.tensor([[0, max(classifier.length // 2, 1)]], device=probe.device).expand(2, 2))
        with undisturbed(module), torch.no_grad():
            logits = module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    fits = "layer" in caught and "head_in" in caught and caught["head_out"].shape == logits.shape
    fits = fits and torch.equal(caught["head_out"], logits) and caught["layer"].dim() >= 3
    columns = _columns_of(caught["layer"].flatten(2).mean(2), caught["head_in"]) if fits else None
    if columns is None:
        raise EcglensError(_no_head(classifier))
    return head, columns


def _columns_of(mean: Tensor, taken: Tensor) -> slice | None:
    """Where in `taken` (example, input) the mean (example, channel) is: at the front or at the back."""
    n = mean.shape[1]
    if taken.dim() != 2 or taken.shape[1] < n:
        return None
    for columns in (slice(0, n), slice(taken.shape[1] - n, taken.shape[1])):
        if torch.allclose(mean, taken[:, columns], rtol=1e-4, atol=1e-6):
            return columns
    return None


def _no_head(classifier: Classifier) -> str:
    return (
        f"cam needs a model whose logits are one linear layer on the mean over time of its CAM layer; {classifier.name} "
        f"(cam_layer: {classifier.cam_layer}) is not so built; grad-cam takes any model with a cam_layer"
    )
