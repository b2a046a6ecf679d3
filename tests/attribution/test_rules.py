"""Guided backpropagation however a model calls its ReLU, and refusal by name where it calls something else."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ecglens.attribution.rules import GuidedReLU, Switch, watch
from ecglens.errors import EcglensError
from made import FEW, created, random_examples
from nets import LENGTH, Flat, Gap, Residual, classifier, flat, gap, maps, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])
_ONE = nn.ReLU()
CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "F.relu by keyword": lambda x: F.relu(input=x),
    "torch.relu": torch.relu,
    "x.relu()": lambda x: x.relu(),
    "one nn.ReLU used again and again": _ONE,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "F.relu in place by position": lambda x: F.relu(x, True),
    "F.relu_": F.relu_,
    "torch.relu_": torch.relu_,
    "x.relu_()": lambda x: x.relu_(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
}


class Called(nn.Module):
    """A Flat whose ReLUs are called in some other way; the weights are the same."""

    def __init__(self, twin: Flat, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.middle, self.head = twin.first, twin.second, twin.middle, twin.head
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.flatten(self.relu(self.second(self.relu(self.first(x)))), 1)
        return self.head(self.relu(self.middle(hidden)))


def _convolved(x: np.ndarray, layer: nn.Conv1d) -> np.ndarray:
    weight, bias = layer.weight.detach().numpy().astype(float), layer.bias.detach().numpy().astype(float)
    n_out, _, width = weight.shape
    out = np.zeros((n_out, x.shape[1] - width + 1))
    for filter_ in range(n_out):
        for time in range(out.shape[1]):
            out[filter_, time] = (weight[filter_] * x[:, time : time + width]).sum() + bias[filter_]
    return out


def _convolved_back(gradient: np.ndarray, layer: nn.Conv1d, shape: tuple[int, ...]) -> np.ndarray:
    weight = layer.weight.detach().numpy().astype(float)
    out = np.zeros(shape)
    for filter_ in range(weight.shape[0]):
        for time in range(gradient.shape[1]):
            out[:, time : time + weight.shape[2]] += gradient[filter_, time] * weight[filter_]
    return out


def _guided(gradient: np.ndarray, before: np.ndarray) -> np.ndarray:
    return np.where((before > 0) & (gradient > 0), gradient, 0.0)


def _slow_guided_backprop(net: Flat, x: np.ndarray, label: int) -> np.ndarray:
    first = _convolved(x.astype(float), net.first)
    second = _convolved(np.maximum(first, 0), net.second)
    middle_w, head_w = (each.weight.detach().numpy().astype(float) for each in (net.middle, net.head))
    middle = middle_w @ np.maximum(second, 0).ravel() + net.middle.bias.detach().numpy()
    gradient = middle_w.T @ _guided(head_w[label], middle)
    gradient = _convolved_back(_guided(gradient.reshape(second.shape), second), net.second, first.shape)
    return _convolved_back(_guided(gradient, first), net.first, x.shape)


def _captum_guided(module: nn.Module, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = GuidedBackprop(module).attribute(torch.from_numpy(x).requires_grad_(True), target=torch.from_numpy(target))
    return found.detach().numpy()


# ------------------------------------------------------------------------------------------------ right


def test_guided_backprop_equals_slow_loops_and_captum():
    model, x = flat(), signals()
    found = maps(model, x, "guided-backprop", TARGET)
    slow = np.stack([_slow_guided_backprop(model.module, each, label) for each, label in zip(x, TARGET, strict=True)])
    np.testing.assert_allclose(found, slow, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found, _captum_guided(model.module, x, TARGET), rtol=1e-4, atol=1e-6)
    assert not np.allclose(found, maps(model, x, "saliency", TARGET))


@pytest.mark.parametrize("how", CALLS)
def test_guided_backprop_is_the_same_however_the_model_calls_its_relu(how):
    twin, x = seeded(Flat), signals()
    expected = maps(classifier(twin), x, "guided-backprop", TARGET)
    model = classifier(Called(twin, CALLS[how]).eval())
    np.testing.assert_allclose(maps(model, x, "guided-backprop", TARGET), expected, rtol=1e-5, atol=1e-7)
    # and the rule is gone where it was not asked for
    np.testing.assert_allclose(
        maps(model, x, "saliency", TARGET), maps(classifier(twin), x, "saliency", TARGET), rtol=1e-5, atol=1e-7
    )


class Doubled(nn.Module):
    """The Residual with modules for captum, none used twice."""

    def __init__(self, twin: Residual) -> None:
        super().__init__()
        self.first, self.second, self.head = twin.first, twin.second, twin.head
        self.one, self.two = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        after = self.one(self.first(x))
        total = self.two(after + self.second(after))
        return self.head(torch.cat([torch.flatten(total, 1), torch.flatten(after[:, 1:3], 1)], dim=1))


@pytest.mark.parametrize("how", CALLS)
def test_guided_backprop_is_right_where_another_branch_holds_what_a_relu_writes_into(how):
    model, x = (
        classifier(seeded(lambda: Residual(CALLS[how], in_place="in place" in how or how.endswith(("_", "_()"))))),
        signals(),
    )
    twin = Doubled(model.module).eval()
    with torch.no_grad():
        torch.testing.assert_close(model.module(torch.from_numpy(x)), twin(torch.from_numpy(x)))
    found = maps(model, x, "guided-backprop", TARGET)
    np.testing.assert_allclose(found, _captum_guided(twin, x, TARGET), rtol=1e-4, atol=1e-6)
    plain = maps(model, x, "saliency", TARGET)
    np.testing.assert_allclose(plain, maps(classifier(twin), x, "saliency", TARGET), rtol=1e-5, atol=1e-7)
    assert not np.allclose(found, plain)


@pytest.mark.parametrize("name", ["resnet", "resnet-rr"])
def test_guided_backprop_of_the_residual_network_equals_captum(name):
    examples = random_examples(4, rr_before=0.8, rr_local=0.8)
    model = created(name, examples)
    found = maps(model, examples, "guided-backprop", TARGET[:4])
    expected = _captum_guided(model.module.eval(), examples.signals, TARGET[:4])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_guided_backprop_lets_no_negative_gradient_through_a_last_relu():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2 * LENGTH, 3)

        def forward(self, x):
            return self.head(torch.flatten(x.relu(), 1))

    model, x = classifier(seeded(Last)), signals()
    weights = model.module.head.weight.detach().numpy()[TARGET].reshape(5, 2, LENGTH)
    np.testing.assert_allclose(maps(model, x, "guided-backprop", TARGET), np.maximum(weights, 0) * (x > 0), rtol=1e-6)


@FEW
@given(st.integers(0, 999), st.booleans())
def test_the_switched_relu_is_relu_forwards_and_by_the_switch_backwards(seed, guided):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 7, generator=generator).round(decimals=1).requires_grad_(True)  # with some zeros
    gradient = torch.randn(3, 7, generator=generator)
    with GuidedReLU(Switch(guided)):
        out = torch.relu(x)
    assert torch.equal(out, x.detach().clamp(min=0))
    (found,) = torch.autograd.grad(out, x, gradient)
    wanted = torch.where((x > 0) & ((gradient > 0) if guided else True), gradient, 0.0)
    assert torch.equal(found, wanted)


# ------------------------------------------------------------------------------------------------ refused


class Bent(nn.Module):
    """A ReLU and, in `body.bend`, another function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()

        class Bend(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return function(x)

        self.body = nn.Sequential()
        self.body.add_module("conv", nn.Conv1d(2, 3, 5, padding=2))
        self.body.add_module("active", nn.ReLU())
        self.body.add_module("mix", nn.Conv1d(3, 3, 1))
        self.body.add_module("bend", function if isinstance(function, nn.Module) else Bend())
        self.head = nn.Linear(3 * LENGTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.body(x), 1))


OTHERS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "nn.LeakyReLU": ("leaky_relu", nn.LeakyReLU(0.1)),
    "F.leaky_relu in place": ("leaky_relu", lambda x: F.leaky_relu(x, 0.1, inplace=True)),
    "nn.GELU": ("gelu", nn.GELU()),
    "nn.ELU": ("elu", nn.ELU()),
    "nn.SELU": ("selu", nn.SELU()),
    "nn.CELU": ("celu", nn.CELU()),
    "nn.SiLU": ("silu", nn.SiLU()),
    "nn.Mish": ("mish", nn.Mish()),
    "nn.PReLU": ("prelu", nn.PReLU()),
    "nn.ReLU6": ("", nn.ReLU6()),
    "nn.Hardtanh": ("hardtanh", nn.Hardtanh()),
    "nn.Hardswish": ("hardswish", nn.Hardswish()),
    "nn.Hardsigmoid": ("hardsigmoid", nn.Hardsigmoid()),
    "nn.Softplus": ("softplus", nn.Softplus()),
    "nn.Softsign": ("softsign", nn.Softsign()),
    "nn.LogSigmoid": ("logsigmoid", nn.LogSigmoid()),
    "nn.Tanh": ("tanh", nn.Tanh()),
    "nn.Sigmoid": ("sigmoid", nn.Sigmoid()),
    "nn.Threshold": ("threshold", nn.Threshold(0.1, 0.0)),
    "torch.tanh": ("tanh", torch.tanh),
    "x.sigmoid()": ("sigmoid", lambda x: x.sigmoid()),
    "torch.clamp": ("clamp", lambda x: torch.clamp(x, min=0)),
    "x.clamp()": ("clamp", lambda x: x.clamp(min=0)),
    "x.clamp_()": ("clamp", lambda x: x.clamp_(min=0)),
    "x.clamp_min()": ("clamp_min", lambda x: x.clamp_min(0)),
    "torch.maximum": ("maximum", lambda x: torch.maximum(x, torch.zeros(1))),
}
# what bends a signal just as much
OTHERS_TOO: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "torch.max of two": ("max", lambda x: torch.max(x, torch.zeros(1))),
    "torch.where": ("where", lambda x: torch.where(x > 0, x, 0.0)),
    "nn.Softshrink": ("softshrink", nn.Softshrink()),
    "nn.Hardshrink": ("hardshrink", nn.Hardshrink()),
    "nn.Tanhshrink": ("tanh", nn.Tanhshrink()),
    "F.softmax": ("softmax", lambda x: F.softmax(x, dim=1)),
    "F.glu": ("glu", lambda x: F.glu(torch.cat([x, x], 1), dim=1)),
    "x.clip()": ("cl", lambda x: x.clip(min=0)),
    "x.tanh_()": ("tanh", lambda x: x.tanh_()),
}


@pytest.mark.parametrize("what", OTHERS)
def test_guided_backprop_refuses_another_function_by_name_and_place(what):
    function, call = OTHERS[what]
    with pytest.raises(
        EcglensError, match=rf"guided backpropagation is defined for ReLU; net uses {function}.* in body\.bend$"
    ):
        maps(classifier(seeded(lambda: Bent(call))), signals(), "guided-backprop")


@pytest.mark.parametrize("what", OTHERS_TOO)
def test_guided_backprop_refuses_functions_that_bend_without_being_called_activations(what):
    function, call = OTHERS_TOO[what]
    with pytest.raises(
        EcglensError, match=rf"guided backpropagation is defined for ReLU; net uses .*{function}.* in body\.bend$"
    ):
        maps(classifier(seeded(lambda: Bent(call))), signals(), "guided-backprop")


class Recurrent(nn.Module):
    """An LSTM and a ReLU behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 4, batch_first=True)
        self.active = nn.ReLU()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.active(self.lstm(x.transpose(1, 2))[0][:, -1]))


def test_guided_backprop_refuses_a_recurrent_layer_whose_gates_are_no_relu():
    with pytest.raises(EcglensError, match="uses lstm in lstm"):
        maps(classifier(seeded(Recurrent)), signals(), "guided-backprop")


def test_guided_backprop_refuses_a_model_without_any_relu():
    model = classifier(nn.Sequential(nn.Flatten(), nn.Linear(2 * LENGTH, 3)))
    with pytest.raises(EcglensError, match="is defined for ReLU; net calls none"):
        maps(model, signals(), "guided-backprop")


def test_a_function_called_outside_of_any_layer_is_placed_in_the_model_itself():
    class Bare(Gap):
        def forward(self, x):
            return super().forward(torch.tanh(x))

    with pytest.raises(EcglensError, match="uses tanh in the model itself"):
        maps(classifier(seeded(Bare)), signals(), "guided-backprop")


def test_every_function_is_named_with_the_first_place_it_was_called_in():
    net = seeded(lambda: Bent(nn.Tanh()))
    net.body.add_module("more", nn.GELU())
    net.body.add_module("again", nn.Tanh())
    seen = watch(net, torch.zeros(2, 2, LENGTH))
    assert seen.others == {"tanh": "body.bend", "gelu": "body.more"}
    assert seen.relus == 1


def test_watching_leaves_no_hook_even_where_the_model_fails():
    net = seeded(Gap)
    for x in (torch.zeros(2, 2, LENGTH), torch.zeros(2, 3, LENGTH)):
        try:
            watch(net, x)
        except RuntimeError:
            assert x.shape[1] == 3
        for part in net.modules():
            assert not part._forward_hooks
            assert not part._forward_pre_hooks


def test_a_refused_method_does_not_stop_the_others():
    model = classifier(seeded(lambda: Bent(nn.Tanh())))
    assert np.isfinite(maps(model, signals(), "saliency")).all()
    assert np.isfinite(maps(gap(), signals(), "guided-backprop")).all()
