"""DeepLIFT: difference quotients between input and baseline in the place of slopes.

The rules stand below the modules (see `rules`), so a functional or re-used ReLU obeys them too. What no rule is known for is
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ecglens.attribution.functions import (
    DIFFERENCES,
    ELEMENTWISE,
    LINEAR,
    MAXIMA,
    POOLS,
    PRODUCTS,
    ROUTES,
    SUMS,
    SUMS_IN_PLACE,
    WEIGHTED,
    expect_no_rnn,
    split_input,
)
from ecglens.attribution.gradients import baseline_of, completeness_error
from ecglens.attribution.passes import Pass, call
from ecglens.attribution.registry import Card, register
from ecglens.attribution.rules import RELU, RELU_IN_PLACE, replace_relu
from ecglens.errors import EcglensError

_TINY = 1e-10


class _Rescale(torch.autograd.Function):
    """An element-wise function whose slope is its difference quotient between input and baseline (Shrikumar 2017, eq. 15).

    The batch holds the examples, then their baselines.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        out = function(x)
        ctx.save_for_backward(x, out)
        ctx.function = function
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, out = ctx.saved_tensors
        run, rise = (torch.cat(2 * [part[: len(part) // 2] - part[len(part) // 2 :]]) for part in (x, out))
        with torch.enable_grad():
            probe = x.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(ctx.function(probe), probe, gradient)
        return torch.where(run.abs() < _TINY, slope, gradient * rise / torch.where(run.abs() < _TINY, 1.0, run)), None


class _RescaleMaxPool(torch.autograd.Function):
    """Max pooling under the same rule: the rise goes through the larger of both outputs, to where each maximum was found."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        out, place = pool(x)
        ctx.save_for_backward(x, out, place)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, out, place = ctx.saved_tensors
        n = len(x) // 2
        larger = torch.maximum(out[:n], out[n:])
        rise = torch.cat([larger - out[n:], out[:n] - larger])
        # both halves carry the gradient of the examples: baselines are asked nothing
        lifted, plain = (_put_back(x, place, each) for each in (torch.cat(2 * [gradient[:n]]) * rise, gradient))
        run = torch.cat(2 * [x[:n] - x[n:]])
        both = torch.cat(2 * [lifted[:n] + lifted[n:]])
        return torch.where(run.abs() < _TINY, plain, both / torch.where(run.abs() < _TINY, 1.0, run)), None


def _put_back(x: Tensor, place: Tensor, values: Tensor) -> Tensor:
    """Values at the places where their maxima were found in x; places of pictures count along all rows."""
    return torch.zeros_like(x).flatten(2).scatter_add_(2, place.flatten(2), values.flatten(2)).reshape(x.shape)


class _DeepLift(TorchFunctionMode):
    """While active, functions hand back difference quotients in the place of slopes."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in RELU or function in RELU_IN_PLACE:
            return replace_relu(function, args, kwargs, lambda x: _Rescale.apply(x, lambda y: y.clamp(min=0)))
        if function in ELEMENTWISE:
            x, rest, named = split_input(args, kwargs)
            return _Rescale.apply(x, lambda y: function(y, *rest, **named))
        if function in POOLS:
            x, rest, named = split_input(args, kwargs)
            return _RescaleMaxPool.apply(x, lambda y: _max_pool(y, *rest, **named))
        _expect_linear(function, args, kwargs, self._name)
        return function(*args, **kwargs)


def _expect_linear(function: Any, args: Any, kwargs: Any, model: str) -> None:
    """Raises EcglensError for a function that is neither linear nor known to DeepLIFT, where it touches the signal."""
    touched = [arg for arg in [*args, *kwargs.values()] if isinstance(arg, Tensor) and arg.requires_grad]
    touched += [each for arg in args if isinstance(arg, (list, tuple)) for each in arg if isinstance(each, Tensor)]
    name = getattr(function, "__name__", str(function))
    fine = function in WEIGHTED + LINEAR + SUMS + SUMS_IN_PLACE or name in (ROUTES - MAXIMA) | DIFFERENCES
    if touched and not fine and not (name in PRODUCTS and len(touched) == 1):
        raise EcglensError(
            f"DeepLIFT has no rule for {name}, which {model} calls; integrated-gradients or expected-gradients may serve"
        )


def _max_pool(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    del return_indices
    pool = F.max_pool1d_with_indices if x.dim() == 3 else F.max_pool2d_with_indices
    return pool(x, kernel_size, stride, padding, dilation, ceil_mode)


@register(
    "deeplift",
    Card(
        equation="(x - x') times the product of difference quotients between x and x' (rescale rule)",
        source="Shrikumar 2017, arXiv:1704.02685, section 3.5.1",
        passes="2 forwards, 2 backwards (input and baseline in one batch)",
        signed=True, leads=True, resolution="sample", sums_to="f(x) - f(x')", needs=("layers with a rule",),
        blind_to="samples that equal the baseline; depends on the baseline",
    ),
)  # fmt: skip
def deeplift(batch: Pass, baseline: str = "zero") -> Tensor:
    """(example, lead, time)."""
    x, start = batch.x.detach(), baseline_of(batch, baseline)
    both = torch.cat([x, start]).requires_grad_(True)
    context = batch.forward.context
    expect_no_rnn(batch.classifier)
    with _DeepLift(batch.classifier.name):
        logits = call(batch.shared, both, None if context is None else torch.cat([context, context]))
    score = logits[: len(x)].gather(1, batch.target[:, None])[:, 0]
    if batch.shared.output != "logit":
        raise EcglensError("deeplift explains logits: the last softmax mixes the classes; ask for output='logit'")
    base = logits[len(x) :].gather(1, batch.target[:, None])[:, 0]
    batch.shared.counter.backward += len(both)
    (slope,) = torch.autograd.grad(score.sum(), both)
    out = (x - start) * slope[: len(x)]
    rise = (score - base).detach()
    batch.notes["completeness-error"] = completeness_error(out, rise)
    return out
