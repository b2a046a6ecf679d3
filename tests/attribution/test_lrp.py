"""LRP: equal to slow loops, conserving but for what biases get; and what DeepLIFT and LRP have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_deeplift import COMPLETE, rise
from torch import Tensor, nn

from ecglens.attribution import explain
from ecglens.errors import EcglensError
from made import created, lively, random_examples
from nets import LENGTH, Ending, Flat, Gap, Linear, classifier, gap, maps, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])


# ------------------------------------------------------------------------------------------------ LRP by hand


class TwoLayers(nn.Module):
    """A strided convolution, ReLU, a linear layer: small enough to be redone in loops."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(2, 3, 8, stride=2), nn.Linear(3 * 9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(F.relu(self.conv(x)), 1))


def _stable(z: float, epsilon: float) -> float:
    return z + (epsilon if z >= 0 else -epsilon)


def _relevance(inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray, relevance: np.ndarray, alpha: float | None, epsilon):
    """One dense layer: relevance of its inputs, and what its biases got. weights (out, in)."""
    out, to_bias = np.zeros(len(inputs)), 0.0
    for j in range(len(relevance)):
        parts = inputs * weights[j]
        if alpha is None:
            share = relevance[j] / _stable(parts.sum() + bias[j], epsilon)
            out += parts * share
            to_bias += bias[j] * share
            continue
        for sign, factor in ((1, alpha), (-1, 1 - alpha)):
            kept = np.where(sign * parts > 0, parts, 0.0)
            kept_bias = bias[j] if sign * bias[j] > 0 else 0.0
            z = kept.sum() + kept_bias
            share = factor * relevance[j] / (_stable(z, epsilon))
            out += kept * share
            to_bias += kept_bias * share
    return out, to_bias


def _dense(conv: nn.Conv1d, length: int) -> tuple[np.ndarray, np.ndarray]:
    """A convolution written out as a matrix (filter x place, lead x time) with a bias for each row."""
    weight = conv.weight.detach().numpy().astype(float)
    places = (length - weight.shape[2]) // conv.stride[0] + 1
    out = np.zeros((weight.shape[0], places, weight.shape[1], length))
    for filter_, place in np.ndindex(weight.shape[0], places):
        first = place * conv.stride[0]
        out[filter_, place, :, first : first + weight.shape[2]] = weight[filter_]
    bias = np.repeat(conv.bias.detach().numpy().astype(float), places)
    return out.reshape(weight.shape[0] * places, -1), bias


def _slow_lrp(
    net: TwoLayers, x: np.ndarray, label: int, alpha: float | None, epsilon: float
) -> tuple[np.ndarray, float, float]:
    weights, bias = _dense(net.conv, LENGTH)
    hidden = np.maximum(weights @ x.ravel().astype(float) + bias, 0)
    head, head_bias = (value.detach().numpy().astype(float) for value in (net.head.weight, net.head.bias))
    score = float(head[label] @ hidden + head_bias[label])
    start = np.zeros(3)
    start[label] = score
    middle, one = _relevance(hidden, head, head_bias, start, alpha, epsilon)
    found, two = _relevance(x.ravel().astype(float), weights, bias, middle, alpha, epsilon)
    return found.reshape(x.shape), one + two, score


@pytest.mark.parametrize(
    ("method", "options", "alpha", "epsilon"),
    [
        ("lrp-epsilon", {}, None, 1e-6),
        ("lrp-epsilon", {"epsilon": 0.25}, None, 0.25),
        ("lrp-alpha-beta", {}, 2.0, 1e-6),
        ("lrp-alpha-beta", {"alpha": 1.0}, 1.0, 1e-6),
        ("lrp-alpha-beta", {"alpha": 1.5, "epsilon": 0.1}, 1.5, 0.1),
    ],
)
def test_lrp_equals_slow_loops_and_tells_what_biases_got(method, options, alpha, epsilon):
    model, x = classifier(seeded(TwoLayers)), signals(8)
    target = np.arange(8) % 3
    found = explain(model, x, [method], target=target, options={method: options}, quiet=True)
    for k in range(8):
        wanted, to_bias, score = _slow_lrp(model.module, x[k], target[k], alpha, epsilon)
        size = np.abs(wanted).max()
        np.testing.assert_allclose(found[method][k], wanted, rtol=1e-2, atol=1e-3 * size)
        assert found.note(method, "bias-share")[k] == pytest.approx(to_bias / score, rel=1e-2, abs=1e-3)
        error = abs(wanted.sum() + to_bias - score) / abs(score)
        assert found.note(method, "conservation-error")[k] == pytest.approx(error, rel=0.05, abs=5e-3)


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-alpha-beta"])
def test_lrp_of_a_linear_model_without_bias_is_input_times_weight(method):
    model, x = classifier(seeded(Linear)), signals()
    with torch.no_grad():
        model.module.head.bias.zero_()
    weights = model.module.head.weight.detach().numpy()[TARGET].reshape(5, 2, LENGTH)
    found = explain(model, x, [method], target=TARGET, quiet=True)
    parts = weights * x
    if method == "lrp-epsilon":
        wanted = parts
    else:
        helping, hindering = (np.where(sign * parts > 0, parts, 0) for sign in (1, -1))
        score = parts.sum(axis=(1, 2), keepdims=True)
        wanted = score * (
            2 * helping / helping.sum(axis=(1, 2), keepdims=True) - hindering / hindering.sum(axis=(1, 2), keepdims=True)
        )
    np.testing.assert_allclose(found[method][:], wanted, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.note(method, "bias-share"), 0, atol=1e-6)


# ------------------------------------------------------------------------------------------------ LRP conserves


LRP_NETS: dict[str, Callable[[], object]] = {
    **{name: COMPLETE[name] for name in COMPLETE},
    "a sum by +=": lambda: classifier(seeded(lambda: Ending(_plus_in_place))),
    "a sum with a number": lambda: classifier(seeded(lambda: Ending(lambda x: x + 0.5))),
    "a sum from the right": lambda: classifier(seeded(lambda: Ending(lambda x: 0.5 + x))),
    "a sum by torch.add": lambda: classifier(seeded(lambda: Ending(lambda x: torch.add(x, x.relu())))),
    "an adaptive maximum": lambda: classifier(seeded(lambda: Ending(nn.AdaptiveMaxPool1d(3)))),
    "a largest value": lambda: classifier(seeded(lambda: Ending(lambda x: x.amax(dim=2)))),
    "a padded signal": lambda: classifier(seeded(lambda: Ending(lambda x: F.pad(x, (2, 3))))),
    "a transposed signal": lambda: classifier(seeded(lambda: Ending(lambda x: x.transpose(1, 2).reshape(len(x), -1)))),
    "a concatenation": lambda: classifier(seeded(lambda: Ending(lambda x: torch.cat([x, x.relu()], dim=1)))),
    "a slice": lambda: classifier(seeded(lambda: Ending(lambda x: x[:, :, 3:9]))),
}


def _plus_in_place(x: Tensor) -> Tensor:
    out = x.relu()
    out += x
    return out


def _conserved(model, x: np.ndarray, method: str, options: dict | None = None) -> np.ndarray:
    """Relative errors of sum + biases against the score; makes sure that the note tells them."""
    found = explain(model, x, [method], target=TARGET, options={method: options or {}}, quiet=True)
    with torch.no_grad():
        score = model.module(torch.from_numpy(x)).numpy()[np.arange(5), TARGET]
    sums = found[method][:].astype(float).sum(axis=(1, 2)) + found.note(method, "bias-share") * score
    error = np.abs(sums - score) / np.abs(score)
    np.testing.assert_allclose(found.note(method, "conservation-error"), error, atol=2e-3)
    assert np.abs(found[method][:]).max() > 0
    return error


@pytest.mark.parametrize("what", LRP_NETS)
def test_lrp_epsilon_keeps_the_score_but_for_what_biases_get(what):
    assert _conserved(LRP_NETS[what](), signals(), "lrp-epsilon").max() < 0.01


@pytest.mark.parametrize("alpha", [1.0, 2.0])
@pytest.mark.parametrize("what", LRP_NETS)
def test_lrp_alpha_beta_tells_what_it_does_not_keep(what, alpha):
    _conserved(LRP_NETS[what](), signals(), "lrp-alpha-beta", {"alpha": alpha})


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_lrp_alpha_beta_keeps_the_score_where_every_neuron_hears_both_sides(alpha):
    # 16 numbers reach each neuron: none is of one sign alone
    assert _conserved(classifier(seeded(TwoLayers)), signals(), "lrp-alpha-beta", {"alpha": alpha}).max() < 0.01


@pytest.mark.parametrize("alpha", [2.0, 3.0])
def test_lrp_alpha_beta_keeps_the_score_of_a_neuron_that_only_hears_help(alpha):
    model, x = classifier(seeded(Linear)), np.abs(signals())
    with torch.no_grad():
        model.module.head.weight.abs_()
        model.module.head.bias.zero_()
    assert _conserved(model, x, "lrp-alpha-beta", {"alpha": alpha}).max() < 0.01


def test_lrp_alpha_beta_keeps_the_score_but_for_what_biases_get():
    assert max(_conserved(build(), signals(), "lrp-alpha-beta").max() for build in LRP_NETS.values()) < 0.01


@pytest.mark.parametrize("name", ["resnet", "jones-cnn"])
def test_lrp_keeps_the_score_on_the_models_of_the_registry(name):
    examples = random_examples(4, length=96)
    found = explain(lively(name, examples), examples, ["lrp-epsilon"], target=TARGET[:4], quiet=True)
    assert found.note("lrp-epsilon", "conservation-error").max() < 0.01


def test_lrp_of_a_model_with_rr_intervals_does_not_lose_what_they_got():
    examples = random_examples(4, length=96, rr_before=0.4)
    found = explain(lively("resnet-rr", examples), examples, ["lrp-epsilon"], target=TARGET[:4], quiet=True)
    assert found.note("lrp-epsilon", "conservation-error").max() < 0.01


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-alpha-beta"])
def test_a_net_without_any_bias_has_no_share_of_biases(method):
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv1d(2, 4, 5, bias=False), nn.Conv1d(4, 4, 3, bias=False, padding=1)
            self.head = nn.Linear(4, 3, bias=False)

        def forward(self, x):
            hidden = self.one(x).relu()
            return self.head((hidden + self.two(hidden)).relu().mean(dim=2))

    found = explain(classifier(seeded(Bare)), signals(), [method], target=TARGET, quiet=True)
    np.testing.assert_allclose(found.note(method, "bias-share"), 0, atol=1e-5)


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-alpha-beta"])
def test_a_branch_that_is_added_by_broadcasting_is_not_booked_as_a_bias(method):
    model = classifier(seeded(lambda: Ending(lambda x: x + x.mean(dim=2, keepdim=True), bias=False)))
    try:
        found = explain(model, signals(), [method], target=TARGET, quiet=True)
    except EcglensError:
        return
    np.testing.assert_allclose(found.note(method, "bias-share"), 0, atol=1e-4)


def test_the_batch_norm_of_lrp_is_the_layer_written_out():
    """A net with batch norm and its twin with the norm folded into the convolution, under the epsilon rule."""

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv1d(2, 4, 5), nn.BatchNorm1d(4), nn.Linear(4 * 20, 3)

        def forward(self, x):
            return self.head(torch.flatten(self.norm(self.conv(x)).relu(), 1))

    model, x = classifier(seeded(Normed)), signals()
    folded = classifier(seeded(Normed))
    with torch.no_grad():
        norm, conv = folded.module.norm, folded.module.conv
        slope = norm.weight / (norm.running_var + norm.eps).sqrt()
        conv.bias.copy_((conv.bias - norm.running_mean) * slope + norm.bias)
        conv.weight.mul_(slope[:, None, None])
        folded.module.norm = nn.Identity()
        torch.testing.assert_close(model.module(torch.from_numpy(x)), folded.module(torch.from_numpy(x)))
    one, two = (maps(each, x, "lrp-epsilon", TARGET) for each in (model, folded))
    np.testing.assert_allclose(one, two, rtol=1e-2, atol=1e-3 * np.abs(two).max())


# ------------------------------------------------------------------------------------------------ LRP refuses


LRP_REFUSES: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "a product": ("mul", lambda x: x * x),
    "a gate": ("mul", lambda x: x * torch.sigmoid(x.mean(dim=2, keepdim=True))),
    "a power": ("pow", lambda x: x**2),
    "softmax": ("softmax", lambda x: F.softmax(x, dim=1)),
    "a matrix product": ("matmul", lambda x: x @ x.transpose(1, 2)),
    "layer norm": ("layer_norm", nn.LayerNorm(LENGTH)),
    "a clamp": ("clamp", lambda x: x.clamp(min=0)),
    "a sum with alpha": ("a sum with alpha", lambda x: torch.add(x, x.relu(), alpha=2)),
    "a recurrent layer": ("lstm", lambda x: _LSTM(x.transpose(1, 2))[0]),
    "a transposed convolution": ("conv_transpose1d", lambda x: F.conv_transpose1d(x, torch.ones(4, 2, 3))),
}
_LSTM = nn.LSTM(4, 3, batch_first=True)


@pytest.mark.parametrize("what", LRP_REFUSES)
@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-alpha-beta"])
def test_lrp_refuses_by_name_a_function_without_a_rule(what, method):
    name, function = LRP_REFUSES[what]
    with pytest.raises(EcglensError, match=rf"LRP has no rule for {name}, which net calls"):
        maps(classifier(seeded(lambda: Ending(function))), signals(), method)


def test_lrp_refuses_the_published_lstm_by_name():
    examples = random_examples(3, length=40)
    with pytest.raises(EcglensError, match=r"there is no rule for LSTM \(lstm\) of jones-lstm"):
        maps(created("jones-lstm", examples), examples, "lrp-epsilon")


BY_KEYWORD: dict[str, Callable[[Tensor], Tensor]] = {
    "conv1d": lambda x: F.conv1d(input=x, weight=torch.ones(4, 4, 3)),
    "linear": lambda x: F.linear(input=x, weight=torch.ones(4, LENGTH)),
    "weight by name": lambda x: F.conv1d(x, weight=torch.ones(4, 4, 3), bias=None),
    "mean": lambda x: torch.mean(input=x, dim=2),
    "leaky_relu": lambda x: F.leaky_relu(input=x),
    "max_pool1d": lambda x: F.max_pool1d(input=x, kernel_size=2),
    "add": lambda x: torch.add(input=x, other=x.relu()),
}


@pytest.mark.parametrize(
    ("method", "what"),
    [
        *(("deeplift", what) for what in BY_KEYWORD),
        *(("lrp-epsilon", what) for what in BY_KEYWORD),
    ],
)
def test_arguments_given_by_name_are_understood_or_refused(method, what):
    model, x = classifier(seeded(lambda: Ending(BY_KEYWORD[what]))), signals()
    try:
        found = explain(model, x, [method], target=TARGET, quiet=True)
    except EcglensError:
        return
    note = "completeness-error" if method == "deeplift" else "conservation-error"
    assert found.note(method, note).max() < 0.01


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-alpha-beta"])
def test_lrp_explains_logits_alone(method):
    with pytest.raises(EcglensError, match="LRP explains logits"):
        maps(gap(), signals(), method, output="probability")


def test_alpha_below_one_is_refused():
    with pytest.raises(EcglensError, match=r"alpha is 0\.5; expected at least 1"):
        maps(gap(), signals(), "lrp-alpha-beta", options={"alpha": 0.5})


def test_one_function_used_twice_is_two_layers_to_each_method():
    class Again(Flat):
        """One ReLU and one convolution, both used twice."""

        def __init__(self):
            super().__init__()
            self.again = nn.Conv1d(3, 3, 3, padding=1)
            self.second_active = self.middle_active = self.active

        def _body(self, x):
            hidden = self.second_active(self.second(self.active(self.first(x))))
            again = getattr(self, "again", nn.Identity())
            return torch.flatten(self.active(again(self.active(again(hidden)))), 1)

    model, x = classifier(seeded(Again)), signals()
    np.testing.assert_allclose(maps(model, x, "deeplift", TARGET).sum(axis=(1, 2)), rise(model, x), rtol=1e-4, atol=1e-4)
    found = explain(model, x, ["lrp-epsilon"], target=TARGET, quiet=True)
    assert found.note("lrp-epsilon", "conservation-error").max() < 0.01


def test_the_rules_are_gone_afterwards():
    model, x = gap(), signals()
    before = maps(model, x, "saliency", TARGET)
    explain(model, x, ["deeplift", "lrp-epsilon", "lrp-alpha-beta", "saliency"], target=TARGET, quiet=True)
    np.testing.assert_array_equal(maps(model, x, "saliency", TARGET), before)
    assert isinstance(model.module, Gap)
