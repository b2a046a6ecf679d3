"""Layer-wise relevance propagation: the score is handed back layer by layer.

The rules stand below the modules (see `rules`). What no rule is known for is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ecglens.attribution.functions import (
    ELEMENTWISE,
    LINEAR,
    ROUTES,
    SUMS,
    SUMS_IN_PLACE,
    WEIGHTED,
    expect_no_rnn,
    split_input,
)
from ecglens.attribution.passes import Pass, call
from ecglens.attribution.registry import Card, register
from ecglens.attribution.rules import RELU, RELU_IN_PLACE, replace_relu
from ecglens.errors import EcglensError

# (input, layer, relevance behind) to (relevance before, what went to biases)
_Rule = Callable[[Tensor, Any, Tensor], tuple[Tensor, Tensor]]


class _Affine(torch.autograd.Function):
    """A layer that is linear but for its bias; backwards, relevance in proportion to contributions (Bach 2015, eq. 58).

    What goes to biases is added up in `ledger` by example.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Callable[[Tensor], Tensor], rule: Any, ledger: dict[str, Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.layer, ctx.rule, ctx.ledger = layer, rule, ledger
        return layer(x)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        back, to_bias = ctx.rule(x.detach(), ctx.layer, relevance)
        ctx.ledger["bias"] = ctx.ledger.get("bias", 0) + to_bias.flatten(1).sum(1)
        return back, None, None, None


class _Add(torch.autograd.Function):
    """a + b; each gets relevance in proportion to its part of the sum."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.epsilon = epsilon
        return a + b

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b = ctx.saved_tensors
        share = relevance / _stable(a + b, ctx.epsilon)
        return a * share, b * share, None


class _Through(torch.autograd.Function):
    """An element-wise function; relevance passes as it is (Bach 2015, section on activation functions)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        return relevance, None


def _stable(z: Tensor, epsilon: float) -> Tensor:
    return z + epsilon * torch.where(z >= 0, 1.0, -1.0)


def _epsilon_rule(epsilon: float) -> _Rule:
    def rule(x: Tensor, layer: Callable[[Tensor], Tensor], relevance: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            probe = x.requires_grad_(True)
            z = layer(probe)
            share = relevance / _stable(z.detach(), epsilon)
            (back,) = torch.autograd.grad(z, probe, share)
        x = x.detach()
        return x * back, share * layer(torch.zeros_like(x))

    return rule


def _alpha_beta_rule(alpha: float, epsilon: float) -> _Rule:
    """alpha times the helping part less (alpha - 1) times the hindering part (Bach 2015, eq. 60); bias on its side's
    account.
    """

    def rule(x: Tensor, layer: Any, relevance: Tensor) -> tuple[Tensor, Tensor]:
        if not hasattr(layer, "signed"):
            return _epsilon_rule(epsilon)(x, layer, relevance)
        total, to_bias = torch.zeros_like(x), torch.zeros_like(relevance)
        with torch.enable_grad():
            up, down = x.clamp(min=0).requires_grad_(True), x.clamp(max=0).requires_grad_(True)
            sides = {sign: layer.signed(up, sign, bias=True) + layer.signed(down, -sign, bias=False) for sign in (1, -1)}
        helped, hindered = sides[1].detach() > epsilon, sides[-1].detach() < -epsilon
        # a neuron that hears one side alone gives it everything
        shares = {1: torch.where(hindered, alpha, 1.0) * helped, -1: torch.where(helped, 1 - alpha, 1.0) * hindered}
        for sign, share in shares.items():
            with torch.enable_grad():
                z = sides[sign]
                scaled = share * relevance / _stable(z.detach(), epsilon)
                back_up, back_down = torch.autograd.grad(z, (up, down), scaled)
            total += up.detach() * back_up + down.detach() * back_down
            to_bias += scaled * layer.signed(torch.zeros_like(x), sign, bias=True)
        return total, to_bias

    return rule


class _WeightLayer:
    """A convolution or linear call with its weights at hand, so that their signs can be told apart."""

    def __init__(self, function: Any, weight: Tensor, bias: Tensor | None, rest: Any, kwargs: Any) -> None:
        self._function, self._weight, self._bias, self._rest, self._kwargs = function, weight, bias, rest, kwargs

    def __call__(self, x: Tensor) -> Tensor:
        return self._function(x, self._weight, self._bias, *self._rest, **self._kwargs)

    def signed(self, x: Tensor, sign: int, *, bias: bool) -> Tensor:
        """The layer with weights (and bias) of one sign alone."""
        weight = self._weight.clamp(min=0) if sign > 0 else self._weight.clamp(max=0)
        kept = None if self._bias is None or not bias else self._bias.clamp(min=0) if sign > 0 else self._bias.clamp(max=0)
        return self._function(x, weight, kept, *self._rest, **self._kwargs)


class _Relevance(TorchFunctionMode):
    """While active, the model's layers hand relevance back instead of gradients."""

    def __init__(self, name: str, rule: _Rule, epsilon: float, ledger: dict[str, Tensor]) -> None:
        super().__init__()
        self._name, self._rule, self._epsilon, self._ledger = name, rule, epsilon, ledger

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in RELU or function in RELU_IN_PLACE:
            return replace_relu(function, args, kwargs, lambda x: _Through.apply(x, lambda y: y.clamp(min=0)))
        if function in ELEMENTWISE:
            x, rest, named = split_input(args, kwargs)
            return _Through.apply(x, lambda y: function(y, *rest, **named))
        if function in WEIGHTED:
            x, rest, named = split_input(args, kwargs)
            weight = rest.pop(0) if rest else named.pop("weight")
            bias = rest.pop(0) if rest else named.pop("bias", None)
            return _Affine.apply(x, _WeightLayer(function, weight, bias, rest, named), self._rule, self._ledger)
        if function in LINEAR:
            x, rest, named = split_input(args, kwargs)
            return _Affine.apply(x, lambda y: function(y, *rest, **named), _epsilon_rule(self._epsilon), self._ledger)
        if function in SUMS + SUMS_IN_PLACE:
            return self._sum(function, args, kwargs)
        name = getattr(function, "__name__", str(function))
        if name in ROUTES or not any(isinstance(arg, Tensor) and arg.requires_grad for arg in args):
            return function(*args, **kwargs)
        raise EcglensError(f"LRP has no rule for {name}, which {self._name} calls; deeplift or integrated-gradients may serve")

    def _sum(self, function: Any, args: Any, kwargs: Any) -> Tensor:
        a, rest, named = split_input(args, kwargs)
        b = rest[0] if rest else named["other"]
        if kwargs.get("alpha", 1) != 1:
            raise EcglensError(f"LRP has no rule for a sum with alpha, which {self._name} calls")
        if isinstance(b, Tensor) and b.shape == a.shape:
            out = _Add.apply(a.clone() if function in SUMS_IN_PLACE else a, b, self._epsilon)
        elif isinstance(b, Tensor) and b.requires_grad:
            raise EcglensError(
                f"LRP has no rule for a sum of shapes {tuple(a.shape)} and {tuple(b.shape)}, which {self._name} makes; "
                "deeplift or integrated-gradients may serve"
            )
        else:
            out = _Affine.apply(a, lambda y: torch.add(y, b), _epsilon_rule(self._epsilon), self._ledger)
        return a.copy_(out) if function in SUMS_IN_PLACE else out


def _lrp(batch: Pass, rule: _Rule, epsilon: float) -> Tensor:
    if batch.shared.output != "logit":
        raise EcglensError("LRP explains logits; ask for output='logit'")
    expect_no_rnn(batch.classifier)
    ledger: dict[str, Tensor] = {}
    context = None if batch.forward.context is None else batch.forward.context.clone().requires_grad_(True)
    x = batch.x.detach().clone().requires_grad_(True)
    with _Relevance(batch.classifier.name, rule, epsilon, ledger):
        logits = call(batch.shared, x, context)
    score = logits.detach().gather(1, batch.target[:, None])
    start = torch.zeros_like(logits).scatter_(1, batch.target[:, None], score)
    batch.shared.counter.backward += len(x)
    found, *of_context = torch.autograd.grad(logits, [x] if context is None else [x, context], start)
    score = score[:, 0]
    elsewhere = torch.zeros_like(score)
    if of_context:  # RR intervals get relevance too, which no map over the signal can hold
        elsewhere = of_context[0].flatten(1).sum(1)
        batch.notes["context-share"] = elsewhere / torch.where(score == 0, 1.0, score)
    bias = ledger.get("bias", torch.zeros_like(score)) + torch.zeros_like(score)
    batch.notes["bias-share"] = bias / torch.where(score == 0, 1.0, score)
    missed = (found.flatten(1).sum(1) + elsewhere + bias - score).abs()
    batch.notes["conservation-error"] = missed / score.abs().clamp(min=1e-12)
    return found


_LRP_BLIND = "what biases contribute (their share is reported); depends on the rule"


@register(
    "lrp-epsilon",
    Card(
        equation="R_i = sum over j of x_i w_ij / (z_j + e sign z_j) R_j, layer by layer",
        source="Bach 2015, PLoS ONE 10:e0130140, eq. 58",
        passes="1 forward, 1 backward with each layer done twice",
        signed=True, leads=True, resolution="sample", sums_to="f(x) less what goes to biases", needs=("layers with a rule",),
        blind_to=_LRP_BLIND,
    ),
)  # fmt: skip
def lrp_epsilon(batch: Pass, epsilon: float = 1e-6) -> Tensor:
    """(example, lead, time)."""
    return _lrp(batch, _epsilon_rule(epsilon), epsilon)


@register(
    "lrp-alpha-beta",
    Card(
        equation="R_i = sum over j of (a (x_i w_ij)+ / z+_j - (a - 1) (x_i w_ij)- / z-_j) R_j in layers with weights; batch "
        "norms are merged into them where torch.fx can follow the model",
        source="Bach 2015, eq. 60",
        passes="1 forward, 1 backward with each layer done up to four times",
        signed=True, leads=True, resolution="sample", sums_to="f(x) less what goes to biases", needs=("layers with a rule",),
        blind_to=_LRP_BLIND + "; with a = 1 all that speaks against",
    ),
)  # fmt: skip
def lrp_alpha_beta(batch: Pass, alpha: float = 2.0, epsilon: float = 1e-6) -> Tensor:
    """(example, lead, time)."""
    if alpha < 1:
        raise EcglensError(f"alpha is {alpha:g}; expected at least 1 (beta is alpha - 1)")
    return _lrp(batch, _alpha_beta_rule(alpha, epsilon), epsilon)
