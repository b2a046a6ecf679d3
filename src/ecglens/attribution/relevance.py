"""Methods that hand the score back layer by layer under rules of their own: DeepLIFT and LRP.

The rules stand below the modules (see `rules`), so a functional or re-used ReLU obeys them too. What no rule is known for is
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ecglens.attribution.gradients import baseline_of
from ecglens.attribution.passes import Pass, call
from ecglens.attribution.registry import Card, register
from ecglens.attribution.rules import _OTHER, _RELU, _RELU_IN_PLACE, replace_relu
from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier

_TINY = 1e-10
# (input, layer, relevance behind) to (relevance before, what went to biases)
_Rule = Callable[[Tensor, Any, Tensor], tuple[Tensor, Tensor]]
_POOLS = (F.max_pool1d, torch.max_pool1d)
_ELEMENTWISE = {
    function: name
    for function, name in _OTHER.items()
    if name in ("leaky_relu", "elu", "gelu", "silu", "mish", "selu", "celu", "softplus", "sigmoid", "tanh", "relu6",
    "hardtanh",
                "hardswish", "logsigmoid")
}  # fmt: skip


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
        lifted = torch.zeros_like(x).scatter_add_(2, place, torch.cat(2 * [gradient[:n]]) * rise)
        plain = torch.zeros_like(x).scatter_add_(2, place, gradient)
        run = torch.cat(2 * [x[:n] - x[n:]])
        both = torch.cat(2 * [lifted[:n] + lifted[n:]])
        return torch.where(run.abs() < _TINY, plain, both / torch.where(run.abs() < _TINY, 1.0, run)), None


class _DeepLift(TorchFunctionMode):
    """While active, functions hand back difference quotients in the place of slopes."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in _RELU or function in _RELU_IN_PLACE:
            return replace_relu(function, args, kwargs, lambda x: _Rescale.apply(x, lambda y: y.clamp(min=0)))
        if function in _ELEMENTWISE:
            x, rest, named = _first(args, kwargs)
            return _Rescale.apply(x, lambda y: function(y, *rest, **named))
        if function in _POOLS:
            x, rest, named = _first(args, kwargs)
            return _RescaleMaxPool.apply(x, lambda y: _max_pool(y, *rest, **named))
        _expect_linear(function, args, kwargs, self._name)
        return function(*args, **kwargs)


def _expect_linear(function: Any, args: Any, kwargs: Any, model: str) -> None:
    """Raises EcglensError for a function that is neither linear nor known to DeepLIFT, where it touches the signal."""
    touched = [arg for arg in [*args, *kwargs.values()] if isinstance(arg, Tensor) and arg.requires_grad]
    touched += [each for arg in args if isinstance(arg, (list, tuple)) for each in arg if isinstance(each, Tensor)]
    name = getattr(function, "__name__", str(function))
    fine = function in _WEIGHTED + _LINEAR + _SUMS + _SUMS_IN_PLACE or name in _ROUTES - _MAXIMA | _DIFFERENCES
    if touched and not fine and not (name in _PRODUCTS and len(touched) == 1):
        raise EcglensError(
            f"DeepLIFT has no rule for {name}, which {model} calls; integrated-gradients or expected-gradients may serve"
        )


def _max_pool(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    del return_indices
    return F.max_pool1d_with_indices(x, kernel_size, stride, padding, dilation, ceil_mode)


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
    _expect_no_rnn(batch.classifier)
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
    batch.notes["completeness-error"] = (out.sum(dim=(1, 2)) - rise).abs() / rise.abs().clamp(min=1e-12)
    return out


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


_WEIGHTED = (F.conv1d, torch.conv1d, F.conv2d, torch.conv2d, F.linear)
_LINEAR = (F.avg_pool1d, torch.avg_pool1d, F.adaptive_avg_pool1d, torch.adaptive_avg_pool1d, torch.mean, torch.Tensor.mean,
torch.sum,
           torch.Tensor.sum, F.batch_norm, torch.batch_norm)  # fmt: skip
_SUMS = (torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__)
_SUMS_IN_PLACE = (torch.Tensor.add_, torch.Tensor.__iadd__)
_DIFFERENCES = {"sub", "__sub__", "__rsub__", "rsub", "neg", "__neg__", "diff"}
_PRODUCTS = {"mul", "__mul__", "__rmul__", "div", "__truediv__", "true_divide", "matmul", "__matmul__", "bmm", "mm"}
_MAXIMA = {"amax", "max_pool2d", "_max_pool2d", "adaptive_max_pool1d", "max_pool2d_with_indices"}
# these hand gradients, and so relevance, on untouched (or to the place of a maximum)
_ROUTES = {
    "flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "cat", "stack", "__getitem__", "dropout",
    "clone",
    "contiguous", "expand", "chunk", "split", "max_pool1d", "max_pool2d", "_max_pool1d", "_max_pool2d", "boolean_dispatch",
    "pad",
    "amax", "identity", "size", "dim", "__get__", "numel", "is_floating_point", "movedim", "swapaxes", "feature_dropout",
    "dropout1d", "alpha_dropout", "detach", "float", "to", "type", "unbind", "max_pool1d_with_indices",
    "max_pool2d_with_indices",
    "adaptive_max_pool1d", "fn", "is_cuda", "__len__", "new_zeros", "zeros_like",
}  # fmt: skip


class _Relevance(TorchFunctionMode):
    """While active, the model's layers hand relevance back instead of gradients."""

    def __init__(self, name: str, rule: _Rule, epsilon: float, ledger: dict[str, Tensor]) -> None:
        super().__init__()
        self._name, self._rule, self._epsilon, self._ledger = name, rule, epsilon, ledger

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in _RELU or function in _RELU_IN_PLACE:
            return replace_relu(function, args, kwargs, lambda x: _Through.apply(x, lambda y: y.clamp(min=0)))
        if function in _ELEMENTWISE:
            x, rest, named = _first(args, kwargs)
            return _Through.apply(x, lambda y: function(y, *rest, **named))
        if function in _WEIGHTED:
            x, rest, named = _first(args, kwargs)
            weight = rest.pop(0) if rest else named.pop("weight")
            bias = rest.pop(0) if rest else named.pop("bias", None)
            return _Affine.apply(x, _WeightLayer(function, weight, bias, rest, named), self._rule, self._ledger)
        if function in _LINEAR:
            x, rest, named = _first(args, kwargs)
            return _Affine.apply(x, lambda y: function(y, *rest, **named), _epsilon_rule(self._epsilon), self._ledger)
        if function in _SUMS + _SUMS_IN_PLACE:
            return self._sum(function, args, kwargs)
        name = getattr(function, "__name__", str(function))
        if name in _ROUTES or not any(isinstance(arg, Tensor) and arg.requires_grad for arg in args):
            return function(*args, **kwargs)
        raise EcglensError(f"LRP has no rule for {name}, which {self._name} calls; deeplift or integrated-gradients may serve")

    def _sum(self, function: Any, args: Any, kwargs: Any) -> Tensor:
        a, rest, named = _first(args, kwargs)
        b = rest[0] if rest else named["other"]
        if kwargs.get("alpha", 1) != 1:
            raise EcglensError(f"LRP has no rule for a sum with alpha, which {self._name} calls")
        if isinstance(b, Tensor) and b.shape == a.shape:
            out = _Add.apply(a.clone() if function in _SUMS_IN_PLACE else a, b, self._epsilon)
        elif isinstance(b, Tensor) and b.requires_grad:
            raise EcglensError(
                f"LRP has no rule for a sum of shapes {tuple(a.shape)} and {tuple(b.shape)}, which {self._name} makes; "
                "deeplift or integrated-gradients may serve"
            )
        else:
            out = _Affine.apply(a, lambda y: torch.add(y, b), _epsilon_rule(self._epsilon), self._ledger)
        return a.copy_(out) if function in _SUMS_IN_PLACE else out


def _first(args: Any, kwargs: Any) -> tuple[Tensor, list[Any], dict[str, Any]]:
    """(input, other arguments in order, arguments by name), wherever the input stands; in-place flags are dropped."""
    named = {name: value for name, value in kwargs.items() if name != "inplace"}
    return (args[0], list(args[1:]), named) if args else (named.pop("input"), [], named)


def _expect_no_rnn(classifier: Classifier) -> None:
    """Raises EcglensError for recurrent layers, whose steps are below what rules can reach."""
    for name, part in classifier.module.named_modules():
        if isinstance(part, nn.RNNBase):
            raise EcglensError(
                f"there is no rule for {type(part).__name__} ({name or 'the model itself'}) of {classifier.name}; "
                "integrated-gradients or expected-gradients may serve"
            )


def _lrp(batch: Pass, rule: _Rule, epsilon: float) -> Tensor:
    if batch.shared.output != "logit":
        raise EcglensError("LRP explains logits; ask for output='logit'")
    _expect_no_rnn(batch.classifier)
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
    batch.notes["conservation-error"] = (found.sum(dim=(1, 2)) + elsewhere + bias - score).abs() / score.abs().clamp(min=1e-12)
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
