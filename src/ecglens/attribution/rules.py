"""Backward rules for non-linear functions, put in place below the modules.

A module hook misses `F.relu`, and mixes up a module that is used twice. A rule here replaces the function itself while a model
runs (`torch.overrides.TorchFunctionMode`), so that it does not matter how the model calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ecglens.errors import EcglensError

RELU = (F.relu, torch.relu, torch.Tensor.relu)
RELU_IN_PLACE = (torch.relu_, torch.Tensor.relu_, F.relu_)
# non-linear functions for which guided backpropagation has no meaning
OTHER = {
    getattr(where, name): name
    for where in (F, torch, torch.Tensor)
    for name in (
        "leaky_relu", "leaky_relu_", "elu", "elu_", "gelu", "silu", "mish", "selu", "celu", "prelu", "rrelu", "relu6",
        "hardtanh",
        "hardswish", "softplus", "softsign", "sigmoid", "tanh", "logsigmoid", "hardsigmoid", "threshold", "clamp", "clamp_min",
        "clamp_", "clamp_min_", "maximum", "minimum", "where", "softshrink", "hardshrink", "tanhshrink", "softmax",
        "log_softmax",
        "softmin", "glu", "clip", "clip_", "tanh_", "sigmoid_", "abs", "exp",
    )
    if hasattr(where, name)
}  # fmt: skip


@dataclass
class Switch:
    """Which gradient a ReLU passes on; turned between two backward passes through one forward pass."""

    guided: bool = False


class _SwitchedReLU(torch.autograd.Function):
    """max(x, 0); backwards the gradient, and if guided only where it is positive (Springenberg 2015, eq. 5)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, switch: Switch) -> Tensor:
        out = x.clamp(min=0)
        ctx.save_for_backward(out)
        ctx.switch = switch
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors
        if ctx.switch.guided:
            gradient = gradient.clamp(min=0)
        return torch.ops.aten.threshold_backward(gradient, out, 0), None  # one kernel, as torch's own


class GuidedReLU(TorchFunctionMode):
    """While active, every ReLU of the model obeys `switch`."""

    def __init__(self, switch: Switch) -> None:
        super().__init__()
        self._switch = switch

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in RELU or function in RELU_IN_PLACE:
            return replace_relu(function, args, kwargs, lambda x: _SwitchedReLU.apply(x, self._switch))
        return function(*args, **kwargs)


def replace_relu(function: Any, args: Any, kwargs: Any, rule: Callable[[Tensor], Tensor]) -> Tensor:
    """Call `rule` in the place of a ReLU; one in place writes into its argument, as others may hold it too."""
    x = args[0] if args else kwargs["input"]
    in_place = function in RELU_IN_PLACE or bool(kwargs.get("inplace")) or (function is F.relu and len(args) > 1 and args[1])
    if not in_place:
        return rule(x)
    return x.copy_(rule(x.clone()))


@dataclass
class Seen:
    """What a forward pass was seen to do: names of functions, and in which module each was called first."""

    relus: int = 0
    others: dict[str, str] = field(default_factory=dict)


class Watch(TorchFunctionMode):
    """Notes the non-linear functions that a model calls; `where` is the module that runs, kept up to date by hooks."""

    def __init__(self, seen: Seen, where: list[str]) -> None:
        super().__init__()
        self._seen, self._where = seen, where

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in RELU or function in RELU_IN_PLACE:
            self._seen.relus += 1
        elif function in (torch.max, torch.min, torch.Tensor.max, torch.Tensor.min) and _of_two(args, kwargs):
            self._seen.others.setdefault(function.__name__, self._where[-1] if self._where else "the model itself")
        elif function in OTHER:
            self._seen.others.setdefault(OTHER[function].rstrip("_"), self._where[-1] if self._where else "the model itself")
        return function(*args, **(kwargs or {}))


def _of_two(args: Any, kwargs: Any) -> bool:
    """Whether max or min compares two tensors, place by place."""
    return (len(args) > 1 and isinstance(args[1], Tensor)) or isinstance((kwargs or {}).get("other"), Tensor)


def watch(module: torch.nn.Module, *inputs: Tensor) -> Seen:
    """Run the model once and say which non-linear functions it calls, and where."""
    seen, where, hooks = Seen(), [], []
    for name, part in module.named_modules():
        if isinstance(part, torch.nn.RNNBase):  # its gates are below what can be watched
            seen.others.setdefault(type(part).__name__.lower(), name or "the model itself")

        def enter(_module: Any, _inputs: Any, name: str = name) -> None:
            where.append(name or "the model itself")

        def leave(_module: Any, _inputs: Any, _output: Any) -> None:
            where.pop()

        hooks += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave, always_call=True)]
    try:
        with torch.no_grad(), Watch(seen, where):
            module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def expect_guided(name: str, seen: Seen) -> None:
    """Raises EcglensError, naming the place, where guided backpropagation is not defined for the model."""
    if seen.others:
        places = ", ".join(f"{function} in {place}" for function, place in seen.others.items())
        raise EcglensError(f"guided backpropagation is defined for ReLU; {name} uses {places}")
    if not seen.relus:
        raise EcglensError(f"guided backpropagation is defined for ReLU; {name} calls none")
