"""Methods that follow the gradient to the input."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ecglens.attribution.passes import Pass
from ecglens.attribution.registry import Card, register
from ecglens.errors import EcglensError, choose

_FIRST_ORDER = "what happens beyond a small change of the input; a saturated score has no gradient"


@register(
    "saliency",
    Card(
        equation="df/dx, with its sign",
        source="Simonyan 2013, section 3, without the absolute value",
        passes="1 forward, 1 backward",
        signed=True, leads=True, resolution="sample", blind_to=_FIRST_ORDER,
        graph=True,
    ),
)  # fmt: skip
def saliency(batch: Pass) -> Tensor:
    """(example, lead, time): more of this sample, more (or less) of the class."""
    return batch.gradient


@register(
    "input-x-gradient",
    Card(
        equation="x df/dx",
        source="Shrikumar 2016, arXiv:1605.01713",
        passes="1 forward, 1 backward",
        signed=True, leads=True, resolution="sample",
        blind_to="samples at zero of the model's own input, whatever they mean; " + _FIRST_ORDER,
        graph=True,
    ),
)  # fmt: skip
def input_x_gradient(batch: Pass) -> Tensor:
    """(example, lead, time)."""
    return batch.gradient * batch.x.detach()


@register(
    "guided-backprop",
    Card(
        equation="df/dx with each ReLU passing positive gradients alone",
        source="Springenberg 2015, arXiv:1412.6806",
        passes="1 forward, 1 backward",
        signed=True, leads=True, resolution="sample", needs=("relu",),
        blind_to="the class, nearly: it restores the input's edges (Adebayo 2018)",
        graph=True,
    ),
)  # fmt: skip
def guided_backprop(batch: Pass) -> Tensor:
    """(example, lead, time)."""
    return batch.guided_gradient


@register(
    "smoothgrad",
    Card(
        equation="mean of df/dx at x + noise",
        source="Smilkov 2017, arXiv:1706.03825",
        passes="samples x (1 forward, 1 backward)",
        signed=True, leads=True, resolution="sample", one_pass=False,
        blind_to="the same as saliency; noise leaves the distribution of ECGs",
    ),
)  # fmt: skip
def smoothgrad(batch: Pass, samples: int = 25, noise: float = 0.1) -> Tensor:
    """(example, lead, time); `noise`: standard deviation as a share of each example's range."""
    _at_least(samples, 1, "samples")
    x = batch.x.detach()
    width = noise * (x.flatten(1).amax(1) - x.flatten(1).amin(1))
    draws = batch.draws(1, lambda own: torch.randn(samples, *x.shape[1:], generator=own))
    total = torch.zeros_like(x)
    for sample in range(samples):
        total += gradient_at(batch, x + along(width, x) * draws[:, sample])
    return total / samples


def along(values: Tensor, x: Tensor) -> Tensor:
    """One value an example (example,), shaped so that it meets all of its example in `x`."""
    return values.reshape(-1, *[1] * (x.dim() - 1))


def gradient_at(batch: Pass, x: Tensor) -> Tensor:
    """d score / d input at other inputs (example, lead, time) of the same batch."""
    x = x.detach().requires_grad_(True)
    batch.shared.counter.backward += len(x)
    (gradient,) = torch.autograd.grad(batch.score(x).sum(), x)
    return gradient


def baseline_of(batch: Pass, baseline: str) -> Tensor:
    """The baseline (example, lead, time): "zero" of the model's own input, or the "mean" of the background."""
    choose(baseline, ["zero", "mean"], "baseline")
    if baseline == "zero":
        return torch.zeros_like(batch.x)
    return _background(batch).mean(dim=0, keepdim=True).expand_as(batch.x)


def _background(batch: Pass) -> Tensor:
    if batch.shared.background is None:
        raise EcglensError(
            "this method needs a background: examples whose mean, or which themselves, stand for 'nothing known'"
        )
    return batch.shared.background


@register(
    "integrated-gradients",
    Card(
        equation="(x - x') integral of df/dx along the line from x' to x",
        source="Sundararajan 2017, arXiv:1703.01365",
        passes="16, doubled up to 512 until |sum - (f(x) - f(x'))| < 1 %, each 1 forward and 1 backward",
        signed=True, leads=True, resolution="sample", sums_to="f(x) - f(x')", one_pass=False,
        blind_to="samples that equal the baseline; depends on the baseline",
    ),
)  # fmt: skip
def integrated_gradients(
    batch: Pass, baseline: str = "zero", steps: int = 16, most_steps: int = 512, tolerance: float = 0.01
) -> Tensor:
    """(example, lead, time). Gauss-Legendre steps, doubled for the examples whose completeness error is above `tolerance`."""
    _at_least(steps, 1, "steps")
    x, start = batch.x.detach(), baseline_of(batch, baseline)
    with torch.no_grad():
        wanted = batch.score(x) - batch.score(start)
    out, error_of = torch.zeros_like(x), torch.zeros(len(x), device=x.device)
    open_rows = np.arange(len(x))
    while len(open_rows):
        some = open_rows if len(open_rows) > 1 or len(x) < 2 else np.array([open_rows[0], (open_rows[0] + 1) % len(x)])
        part = take(batch, some)  # no batch is of one
        out[open_rows] = _along_the_line(part, x[some], start[some], steps)[: len(open_rows)]
        error_of[open_rows] = completeness_error(out[open_rows], wanted[open_rows])
        steps *= 2
        if steps > most_steps:
            break
        open_rows = open_rows[(error_of[open_rows] > tolerance).cpu().numpy()]
    batch.notes["completeness-error"] = error_of
    return out


def completeness_error(maps: Tensor, rise: Tensor) -> Tensor:
    """|sum of the map - rise| / |rise| of each example: how far a map is from adding up to the rise of its score."""
    return (maps.flatten(1).sum(1) - rise).abs() / rise.abs().clamp(min=1e-12)


def _along_the_line(batch: Pass, x: Tensor, start: Tensor, steps: int) -> Tensor:
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(x)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total += float(weight) * gradient_at(batch, start + float(node) * (x - start))
    return (x - start) * total


def take(batch: Pass, rows: np.ndarray) -> Pass:
    """Some examples of the batch as a batch of their own."""
    context = batch.forward.context
    return Pass.of(
        batch.shared, batch.x.detach()[rows], None if context is None else context[rows], batch.target[rows].cpu().numpy(),
        batch.rows[rows], None if batch.examples is None else batch.examples.take(rows),
    )  # fmt: skip


@register(
    "expected-gradients",
    Card(
        equation="mean over background x' and a in [0, 1] of (x - x') df/dx at x' + a (x - x')",
        source="Erion 2021, arXiv:1906.10670; GradientSHAP in captum and shap",
        passes="samples x (1 forward, 1 backward)",
        signed=True, leads=True, resolution="sample", sums_to="f(x) - mean of f(x'), as samples grow", needs=("background",),
        one_pass=False, blind_to="what the background shares with x; depends on the background",
    ),
)  # fmt: skip
def expected_gradients(batch: Pass, samples: int = 50) -> Tensor:
    """(example, lead, time); draws are stratified in a, so that few samples go far."""
    _at_least(samples, 1, "samples")
    x, background = batch.x.detach(), _background(batch)
    pick = batch.draws(2, lambda own: torch.randint(len(background), (samples,), generator=own))
    where = batch.draws(3, lambda own: (torch.arange(samples) + torch.rand(samples, generator=own)) / samples)
    total = torch.zeros_like(x)
    for sample in range(samples):
        away = x - background[pick[:, sample]]
        total += away * gradient_at(batch, x - (1 - along(where[:, sample], x)) * away)
    return total / samples


def _at_least(value: int, least: int, name: str) -> None:
    if value < least:
        raise EcglensError(f"{name} is {value}; expected at least {least}")
