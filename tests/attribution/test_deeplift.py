"""DeepLIFT: complete, and equal to captum where captum is complete."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import DeepLift
from torch import Tensor, nn

from ecglens.attribution import explain
from ecglens.errors import EcglensError
from made import lively, random_examples
from nets import LENGTH, Ending, Linear, Residual, classifier, flat, gap, maps, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])


def rise(model, x: np.ndarray, start: np.ndarray | float = 0.0) -> np.ndarray:
    with torch.no_grad():
        after, before = (
            model.module(torch.from_numpy(np.broadcast_to(each, x.shape).astype(np.float32)))
            for each in (x, np.asarray(start))
        )
    return (after - before).numpy()[np.arange(len(x)), TARGET[: len(x)]]


def _captum(model, x: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = DeepLift(model.module).attribute(
            torch.from_numpy(x).requires_grad_(True),
            baselines=None if start is None else torch.from_numpy(start),
            target=torch.from_numpy(TARGET[: len(x)]),
        )
    return found.detach().numpy()


# ------------------------------------------------------------------------------------------------ DeepLIFT


class Smooth(nn.Module):
    """Every sort of element-wise function once, as modules."""

    def __init__(self) -> None:
        super().__init__()
        bends = [nn.Tanh(), nn.Sigmoid(), nn.ELU(), nn.LeakyReLU(0.2), nn.Softplus(), nn.ReLU()]
        self.convs = nn.ModuleList(nn.Conv1d(2 if k == 0 else 3, 3, 3, padding=1) for k in range(len(bends)))
        self.bends = nn.ModuleList(bends)
        self.head = nn.Linear(3 * LENGTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        for conv, bend in zip(self.convs, self.bends, strict=True):
            x = bend(conv(x))
        return self.head(torch.flatten(x, 1))


class Strided(nn.Module):
    """Max pooling of a residual network: a short cut with pooling in ceil mode, joined to a convolution."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.stem, self.active = nn.Conv1d(2, 4, 5, padding=2), nn.ReLU()
        self.pool, self.match = pool, nn.Conv1d(4, 4, 1)
        self.norm, self.last_active = nn.BatchNorm1d(4), nn.ReLU()
        self.head = nn.LazyLinear(3)
        self.forward(torch.zeros(2, 2, LENGTH))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.active(self.stem(x))
        pooled = self.pool(hidden)
        total = self.match(pooled) + F.adaptive_avg_pool1d(hidden, pooled.shape[2])
        return self.head(torch.flatten(self.last_active(self.norm(total)), 1))


COMPLETE: dict[str, Callable[[], object]] = {
    "module ReLUs": flat,
    "batch norm and a mean over time": gap,
    "every element-wise function": lambda: classifier(seeded(Smooth)),
    "functional ReLUs with a held tensor": lambda: classifier(seeded(lambda: Residual(F.relu))),
    "ReLUs in place with a held tensor": lambda: classifier(seeded(lambda: Residual(torch.relu_, in_place=True))),
    "pooling": lambda: flat(nn.MaxPool1d(2)),
    "pooling with a rest": lambda: flat(nn.MaxPool1d(3)),
    "overlapping pooling": lambda: flat(nn.MaxPool1d(3, stride=2)),
    "pooling with padding": lambda: flat(nn.MaxPool1d(3, stride=2, padding=1), 1),
    "pooling with gaps": lambda: flat(nn.MaxPool1d(2, dilation=2)),
    "pooling in ceil mode beside a short cut": lambda: classifier(seeded(lambda: Strided(nn.MaxPool1d(4, ceil_mode=True)))),
    "mean pooling": lambda: flat(nn.AvgPool1d(2)),
    "one linear layer": lambda: classifier(seeded(Linear)),
}


@pytest.mark.parametrize("what", COMPLETE)
def test_deeplift_sums_to_the_rise_of_the_logit(what):
    model, x, background = COMPLETE[what](), signals(), signals(3, seed=1)
    for baseline in ("zero", "mean"):
        found = explain(
            model,
            x,
            ["deeplift"],
            target=TARGET,
            background=background,
            options={"deeplift": {"baseline": baseline}},
            quiet=True,
        )
        expected = rise(model, x, background.mean(0) if baseline == "mean" else 0.0)
        np.testing.assert_allclose(found["deeplift"][:].sum(axis=(1, 2)), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            found.note("deeplift", "completeness-error"),
            np.abs(found["deeplift"][:].sum(axis=(1, 2)) - expected) / np.abs(expected),
            atol=1e-3,
        )


@pytest.mark.parametrize("name", ["resnet", "resnet-rr", "jones-cnn"])
def test_deeplift_is_complete_on_the_models_of_the_registry_where_captum_is_not(name):
    examples = random_examples(4, length=96, rr_before=0.5)
    model = lively(name, examples)
    found = explain(model, examples, ["deeplift"], target=TARGET[:4], quiet=True)
    assert found.note("deeplift", "completeness-error").max() < 1e-3
    x, *context = model.inputs(examples)
    with torch.no_grad():
        model.module.eval()
        rise = (model.module(x, *context) - model.module(torch.zeros_like(x), *context)).numpy()[np.arange(4), TARGET[:4]]
    np.testing.assert_allclose(found["deeplift"][:].sum(axis=(1, 2)), rise, rtol=1e-4, atol=1e-4 * np.abs(rise).max())


SAME = [
    "module ReLUs", "batch norm and a mean over time", "every element-wise function", "mean pooling", "one linear layer",
]  # fmt: skip


@pytest.mark.parametrize("what", SAME)
def test_deeplift_equals_captum_where_there_is_no_pooling(what):
    model, x, start = COMPLETE[what](), signals(), np.repeat(signals(3, seed=1).mean(0)[None], 5, axis=0)
    np.testing.assert_allclose(maps(model, x, "deeplift", TARGET), _captum(model, x), atol=1e-5)
    found = maps(model, x, "deeplift", TARGET, background=start[:1], options={"baseline": "mean"})
    np.testing.assert_allclose(found, _captum(model, x, start), atol=1e-5)


class PooledConvolution(nn.Module):
    """Pooling right behind a convolution. Where a ReLU touches the pooling, captum is not complete."""

    def __init__(self, kernel: int, relu: bool = False) -> None:
        super().__init__()
        self.conv, self.pool, self.active = nn.Conv1d(2, 4, 5, padding=2), nn.MaxPool1d(kernel), nn.ReLU()
        self.before = nn.ReLU() if relu else nn.Identity()
        self.middle, self.head = nn.Linear(4 * (LENGTH // kernel), 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.active(self.middle(torch.flatten(self.pool(self.before(self.conv(x))), 1))))


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_deeplift_equals_captum_where_pooling_does_not_overlap_and_captum_is_complete(kernel, baseline):
    model, x = classifier(seeded(lambda: PooledConvolution(kernel))), signals()
    start = np.zeros_like(x) if baseline == "zero" else np.repeat(signals(1, seed=1), 5, axis=0)
    told = _captum(model, x, start)
    np.testing.assert_allclose(told.sum(axis=(1, 2)), rise(model, x, start), atol=1e-4)
    found = maps(model, x, "deeplift", TARGET, background=start[:1], options={"baseline": baseline})
    np.testing.assert_allclose(found, told, atol=1e-5)


def test_deeplift_is_complete_where_a_relu_feeds_a_pooling_and_captum_is_not():
    model, x, start = classifier(seeded(lambda: PooledConvolution(2, relu=True))), signals(), signals(1, seed=1)
    expected = rise(model, x, start[0])
    found = maps(model, x, "deeplift", TARGET, background=start, options={"baseline": "mean"})
    np.testing.assert_allclose(found.sum(axis=(1, 2)), expected, atol=1e-4)
    assert np.abs(_captum(model, x, np.repeat(start, 5, axis=0)).sum(axis=(1, 2)) - expected).max() > 0.01


def test_deeplift_of_pooling_gives_the_rise_of_each_window_to_where_the_larger_maximum_lies():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(24, 3)

        def forward(self, x):
            return self.head(torch.flatten(F.max_pool1d(F.relu(x), 2), 1))

    model, x, start = classifier(seeded(Bare)), signals(8), signals(1, seed=1)
    target = np.arange(8) % 3
    weights = model.module.head.weight.detach().numpy().reshape(3, 2, 12)
    wanted = np.zeros_like(x)
    for k, lead, window in np.ndindex(8, 2, 12):
        there = slice(2 * window, 2 * window + 2)
        one, other = np.maximum(x[k, lead, there], 0), np.maximum(start[0, lead, there], 0)
        place = one.argmax() if one.max() > other.max() else other.argmax()
        wanted[k, lead, 2 * window + place] = weights[target[k], lead, window] * (one.max() - other.max())
    found = maps(model, x, "deeplift", target, background=start, options={"baseline": "mean"})
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_deeplift_of_a_linear_model_is_its_weights_times_the_distance_from_the_baseline():
    model, x, background = classifier(seeded(Linear)), signals(), signals(4, seed=1)
    weights = model.module.head.weight.detach().numpy()[TARGET].reshape(5, 2, LENGTH)
    found = maps(model, x, "deeplift", TARGET, background=background, options={"baseline": "mean"})
    np.testing.assert_allclose(found, weights * (x - background.mean(0)), rtol=1e-4, atol=1e-6)


def test_deeplift_sees_over_the_flat_part_of_a_relu_where_the_gradient_does_not():
    class Saturated(nn.Module):
        def forward(self, x):
            total = x.sum(dim=(1, 2))
            return torch.stack([1 - torch.relu(1 - total), total], dim=1)  # Shrikumar 2017, figure 1

    model = classifier(Saturated(), classes=("a", "b"))
    x = np.full((2, 2, LENGTH), 2 / 48, np.float32)  # the sum is 2, past the bend
    assert (maps(model, x, "saliency", [0, 0]) == 0).all()
    np.testing.assert_allclose(maps(model, x, "deeplift", [0, 0]), np.full((2, 2, LENGTH), 1 / 48), rtol=1e-4)


def test_an_input_at_its_baseline_gets_the_gradient_and_no_division_by_zero():
    model, x = flat(nn.MaxPool1d(2)), signals()
    x[0] = 0
    x[1, :, :12] = 0
    found = maps(model, x, "deeplift", TARGET)
    assert np.isfinite(found).all()
    assert (found[0] == 0).all()
    np.testing.assert_allclose(found.sum(axis=(1, 2)), rise(model, x), atol=1e-4)


def test_deeplift_explains_logits_alone():
    with pytest.raises(EcglensError, match="deeplift explains logits"):
        maps(gap(), signals(), "deeplift", output="probability")


NO_RULE: dict[str, Callable[[Tensor], Tensor]] = {
    "nn.AdaptiveMaxPool1d": nn.AdaptiveMaxPool1d(3),
    "nn.MaxPool2d": lambda x: F.max_pool2d(x[:, None], (1, 4)),
    "x.max(dim)": lambda x: x.max(dim=2).values,
    "x.amax": lambda x: x.amax(dim=2),
    "a gate": lambda x: x * torch.sigmoid(x.mean(dim=2, keepdim=True)),
    "a square": lambda x: x**2,
    "softmax": lambda x: F.softmax(x, dim=1),
    "clamp": lambda x: x.clamp(min=0),
    "layer norm": nn.LayerNorm(LENGTH),
    "softsign": F.softsign,
    "hardsigmoid": F.hardsigmoid,
    "prelu": nn.PReLU(),
}


@pytest.mark.parametrize("what", NO_RULE)
def test_deeplift_is_complete_or_refuses_what_it_has_no_rule_for(what):
    model, x, background = classifier(seeded(lambda: Ending(NO_RULE[what]))), signals(), signals(3, seed=1)
    try:
        found = maps(model, x, "deeplift", TARGET, background=background, options={"baseline": "mean"})
    except EcglensError:
        return
    np.testing.assert_allclose(found.sum(axis=(1, 2)), rise(model, x, background.mean(0)), rtol=1e-3, atol=1e-3)
