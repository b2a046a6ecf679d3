"""Class activation maps against slow formulas and captum."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from captum.attr import GuidedGradCam, LayerGradCam
from torch import nn

from ecglens.attribution import explain
from ecglens.attribution.cams import linear_head
from ecglens.errors import EcglensError
from made import created, lively, random_examples
from nets import LENGTH, Gap, classifier, flat, gap, maps, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])


def _activations_and_gradients(model, x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the CAM layer, one example at a time."""
    caught = []
    layer = model.module.get_submodule(model.cam_layer)
    hook = layer.register_forward_hook(lambda _m, _i, out: caught.append(out))
    gradients = []
    for one, label in zip(x, target, strict=True):
        logits = model.module(torch.from_numpy(one)[None])
        gradients.append(torch.autograd.grad(logits[0, label], caught[-1])[0][0].numpy())
    hook.remove()
    return np.stack([each[0].detach().numpy() for each in caught]).astype(float), np.stack(gradients).astype(float)


def _slow(name: str, activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    out = np.zeros((activations.shape[0], 1, activations.shape[2]))
    for k, channel, time in np.ndindex(activations.shape):
        a, g = activations[k, channel], gradients[k, channel]
        if name == "hires-cam":
            weight = g[time]
        elif name == "grad-cam":
            weight = g.mean()
        else:
            weight = 0.0
            for place in range(len(a)):
                below = 2 * g[place] ** 2 + a.sum() * g[place] ** 3
                weight += (g[place] ** 2 / below if below else 0.0) * max(g[place], 0.0)
        out[k, 0, time] += weight * a[time]
    return out


@pytest.mark.parametrize("name", ["grad-cam", "hires-cam", "grad-cam++"])
@pytest.mark.parametrize("build", [gap, flat])
@pytest.mark.parametrize("relu", [False, True])
def test_activation_maps_equal_their_formulas_done_slowly(name, build, relu):
    model, x = build(), signals()
    wanted = _slow(name, *_activations_and_gradients(model, x, TARGET))
    found = maps(model, x, name, TARGET, options={"relu": relu})
    np.testing.assert_allclose(found, np.maximum(wanted, 0) if relu else wanted, rtol=1e-4, atol=1e-6)
    assert (wanted < 0).any() or build is gap


@pytest.mark.parametrize("build", [gap, flat])
@pytest.mark.parametrize("relu", [False, True])
def test_grad_cam_equals_captum(build, relu):
    model, x = build(), signals()
    told = LayerGradCam(model.module, model.module.get_submodule(model.cam_layer)).attribute(
        torch.from_numpy(x), target=torch.from_numpy(TARGET), relu_attributions=relu
    )
    np.testing.assert_allclose(maps(model, x, "grad-cam", TARGET, options={"relu": relu}), told.detach().numpy(), atol=1e-5)


def test_grad_cam_of_the_residual_network_equals_captum():
    examples = random_examples(4)
    model = lively("resnet", examples)
    model.module.eval()
    told = LayerGradCam(model.module, model.module.get_submodule(model.cam_layer)).attribute(
        torch.from_numpy(examples.signals), target=torch.from_numpy(TARGET[:4])
    )
    np.testing.assert_allclose(maps(model, examples, "grad-cam", TARGET[:4]), told.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_guided_grad_cam_equals_captum():
    model, x = flat(), signals()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = GuidedGradCam(model.module, model.module.second).attribute(
            torch.from_numpy(x).requires_grad_(True), target=torch.from_numpy(TARGET)
        )
    found = maps(model, x, "guided-grad-cam", TARGET)
    np.testing.assert_allclose(found, told.detach().numpy(), rtol=1e-3, atol=1e-9)
    assert np.abs(found).max() > 1e-5


def test_guided_grad_cam_is_the_product_of_its_parts():
    model, x = flat(), signals()
    guided = maps(model, x, "guided-backprop", TARGET)
    for relu in (True, False):
        cam = maps(model, x, "grad-cam", TARGET, options={"relu": relu})
        cells = cam.shape[2]
        nearest = cam[:, :, np.floor(np.arange(LENGTH) * cells / LENGTH).astype(int)]
        found = maps(model, x, "guided-grad-cam", TARGET, options={"relu": relu})
        np.testing.assert_allclose(found, guided * nearest, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_of_a_cam_plus_the_bias_is_the_logit(seed):
    model, x = gap(seed), signals(6, seed)
    found = explain(model, x, ["cam"], target="all", quiet=True).native("cam")[:]
    with torch.no_grad():
        logits = model.module(torch.from_numpy(x)).numpy()
    bias = model.module.head.bias.detach().numpy()
    np.testing.assert_allclose(found.mean(axis=(2, 3)) + bias, logits, atol=1e-5)
    assert found.shape == (6, 3, 1, 11)


def test_a_cam_is_the_weighted_sum_of_channels():
    model, x = gap(), signals()
    activations, _ = _activations_and_gradients(model, x, TARGET)
    weight = model.module.head.weight.detach().numpy()
    wanted = np.array([sum(weight[label, c] * a[c] for c in range(4)) for a, label in zip(activations, TARGET, strict=True)])
    np.testing.assert_allclose(maps(model, x, "cam", TARGET)[:, 0], wanted, rtol=1e-4, atol=1e-6)


def test_grad_cam_and_hires_cam_of_such_a_net_are_the_cam_divided_by_its_cells():
    model, x = gap(), signals()
    cam = maps(model, x, "cam", TARGET)
    for name in ("grad-cam", "hires-cam"):
        np.testing.assert_allclose(maps(model, x, name, TARGET) * cam.shape[2], cam, rtol=1e-4, atol=1e-5)


class Beside(nn.Module):
    """A mean over time and an LSTM's state side by side before the head, in either order."""

    def __init__(self, front: bool = True) -> None:
        super().__init__()
        self.front = front
        self.last, self.state, self.head = nn.Conv1d(2, 4, 3), nn.LSTM(2, 5, batch_first=True), nn.Linear(9, 3)

    def forward(self, x):
        both = [self.last(x).mean(2), self.state(x.transpose(1, 2))[0][:, -1]]
        return self.head(torch.cat(both if self.front else both[::-1], dim=1))


@pytest.mark.parametrize("front", [True, False])
@pytest.mark.parametrize("target", ["all", "a", "given"])
def test_a_cam_says_what_the_head_takes_from_elsewhere(front, target):
    model, x = classifier(seeded(lambda: Beside(front)), "last"), signals()
    asked = np.array([0, 1, 2, 2, 1]) if target == "given" else target
    found = explain(model, x, ["cam", "grad-cam"], target=asked, quiet=True)
    cam, beside = found.native("cam")[:].mean(axis=-1)[..., 0], found.note("cam", "beside-the-map")
    with torch.no_grad():
        logits = model.module(torch.from_numpy(x)).numpy()
        state = model.module.state(torch.from_numpy(x).transpose(1, 2))[0][:, -1].numpy()
    weight, bias = (value.detach().numpy() for value in (model.module.head.weight, model.module.head.bias))
    elsewhere = state @ (weight[:, 4:] if front else weight[:, :5]).T
    label = {"all": slice(None), "a": 0}.get(target, TARGET)
    row = slice(None) if target == "all" else np.arange(5)
    np.testing.assert_allclose(beside, elsewhere[row, label], atol=1e-5)
    np.testing.assert_allclose(cam + beside + bias[label], logits[row, label], atol=1e-5)


def test_a_cam_of_the_whole_head_has_nothing_beside_it():
    found = explain(gap(), signals(), ["cam"], quiet=True)
    with pytest.raises(EcglensError, match="beside-the-map"):
        found.note("cam", "beside-the-map")


class PooledByModule(nn.Module):
    """A global mean by nn.AdaptiveAvgPool1d, dropout, then the head."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.last, self.pool, self.drop, self.head = nn.Conv1d(2, 4, 3), pool, nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.drop(torch.flatten(self.pool(self.last(x)), 1)))


def test_the_head_is_found_whichever_way_the_mean_is_taken():
    model = classifier(seeded(lambda: PooledByModule(nn.AdaptiveAvgPool1d(1))), "last")
    assert linear_head(model) == (model.module.head, slice(0, 4))
    x = signals()
    with torch.no_grad():
        wanted = model.module(torch.from_numpy(x))[:, 1].numpy() - model.module.head.bias[1].item()
    np.testing.assert_allclose(maps(model, x, "cam", [1] * 5).mean(axis=(1, 2)), wanted, atol=1e-5)


class TwoHeads(Gap):
    """A further layer behind the one on the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(3, 3)

    def forward(self, x):
        return self.more(super().forward(x))


REFUSED = {
    "a flat head": lambda: flat(),
    "a maximum over time": lambda: classifier(seeded(lambda: PooledByModule(nn.AdaptiveMaxPool1d(1))), "last"),
    "a layer that is not the averaged one": lambda: classifier(seeded(Gap), "last"),
    "two linear layers": lambda: classifier(seeded(TwoHeads), "last_active"),
    "no layer named": lambda: classifier(seeded(Gap)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_cam_refuses_a_model_without_a_mean_and_one_linear_layer(what):
    with pytest.raises(
        EcglensError, match=r"cam needs a model whose logits are one linear layer on the mean over time.*grad-cam"
    ):
        maps(REFUSED[what](), signals(), "cam")


def test_cam_refuses_the_residual_network_whose_head_is_flat():
    examples = random_examples(3)
    with pytest.raises(EcglensError, match=r"resnet \(cam_layer: units\.3\.second\) is not so built"):
        maps(created("resnet", examples), examples, "cam")


def test_cam_refuses_a_function_behind_the_linear_layer():
    class Scaled(Gap):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(EcglensError, match="cam needs a model"):
        maps(classifier(seeded(Scaled), "last_active"), signals(), "cam")


def test_cam_explains_logits_alone():
    with pytest.raises(EcglensError, match="cam explains logits; ask for output='logit'"):
        maps(gap(), signals(), "cam", output="probability")


@pytest.mark.parametrize("name", ["grad-cam", "hires-cam", "grad-cam++", "guided-grad-cam"])
def test_a_model_that_names_no_layer_is_refused(name):
    with pytest.raises(EcglensError, match=rf"{name.replace('+', '[+]')} reads the activations of a layer; net names none"):
        maps(classifier(seeded(Gap)), signals(), name)


class Twice(nn.Module):
    """A layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(2, 2, 3, padding=1), nn.Linear(2 * LENGTH, 3)

    def forward(self, x):
        return self.head(torch.flatten(self.conv(self.conv(x).relu()), 1))


class Asleep(Gap):
    """A layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Conv1d(2, 2, 3)


@pytest.mark.parametrize(("build", "layer", "times"), [(Twice, "conv", 2), (Asleep, "spare", 0)])
@pytest.mark.parametrize("name", ["grad-cam", "saliency"])
def test_a_layer_that_does_not_run_exactly_once_is_refused(build, layer, times, name):
    with pytest.raises(EcglensError, match=rf"layer '{layer}' of net ran {times} times in one forward pass"):
        maps(classifier(seeded(build), layer), signals(), name)


def test_two_dimensional_layers_give_one_cell_for_each_place():
    class Flatland(nn.Module):
        """Conv2d over (lead, time)."""

        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 3, (1, 5)), nn.Linear(3, 3)

        def forward(self, x):
            return self.head(self.conv(x[:, None]).relu().mean(dim=(2, 3)))

    model = classifier(seeded(Flatland), "conv")
    found = explain(model, signals(), ["grad-cam"], quiet=True)["grad-cam"]
    assert found[:].shape[-1] == LENGTH
