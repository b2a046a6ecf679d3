"""The map of Jones 2020, faults and all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.models import MODELS
from ecglens.models.classifier import Classifier
from made import FEW, created, fitting, lively, random_examples, tiny
from nets import by_hand, maps, one_pass

_WITH_LAYER = sorted(name for name, card in MODELS.items() if card.cam_layer and not card.draws)


def _slow_mean_activation(model: Classifier, examples) -> np.ndarray:
    layer = model.module.get_submodule(model.cam_layer)
    model.module.eval()
    out = []
    for signal in examples.signals:
        x = torch.tensor(np.round(signal * 1000))[None].requires_grad_(True)
        caught = []
        hook = layer.register_forward_hook(lambda _m, _i, o, caught=caught: caught.append(o))
        model.module(x)
        hook.remove()
        (gradient,) = torch.autograd.grad(caught[0].mean(), x)
        size = gradient[0].abs().numpy()
        out.append((size - size.min()) / (size.max() - size.min() + 1e-7))
    return np.stack(out)


@pytest.mark.parametrize("name", _WITH_LAYER)
def test_mean_activation_equals_one_example_at_a_time(name):
    examples = random_examples(5, length=fitting(name), rr_before=0.8, rr_local=0.8)  # a regular rhythm: RR numbers of zero
    model = lively(name, examples, scale="joint")
    found = maps(model, examples, "mean-activation")
    np.testing.assert_allclose(found, _slow_mean_activation(model, examples), rtol=1e-3, atol=1e-4)
    assert found.shape == examples.signals.shape


def test_mean_activation_of_one_convolution_is_its_kernels_laid_over_each_other():
    examples = random_examples(2, length=24)
    model = tiny(examples)
    weights = model.module.conv.weight.detach().numpy().astype(float)  # (filter, lead, 5)
    gradient = np.zeros((2, 24))
    for place in range(20):
        gradient[:, place : place + 5] += weights.sum(0) / (4 * 20)
    size = np.abs(gradient)
    expected = (size - size.min()) / (size.max() - size.min() + 1e-7)
    for found in maps(model, examples, "mean-activation"):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_mean_activation_of_a_layer_that_hardly_reacts_is_held_down():
    examples = random_examples(2, length=24)
    model = tiny(examples)
    with torch.no_grad():
        model.module.conv.weight.mul_(1e-6)
    found = maps(model, examples, "mean-activation")
    np.testing.assert_allclose(found, _slow_mean_activation(model, examples), rtol=1e-3, atol=1e-4)
    assert 0 < found.max() < 0.9
    with torch.no_grad():
        model.module.conv.weight.zero_()
    assert (maps(model, examples, "mean-activation") == 0).all()


@pytest.mark.parametrize("scale", ["none", "joint", "lead"])
def test_mean_activation_shows_the_network_the_raw_integers(scale):
    examples = random_examples(3, length=60)
    model = tiny(examples, scale=scale)
    seen = []
    model.module.register_forward_pre_hook(lambda _m, args: seen.append(args[0].detach().clone()))
    maps(model, examples, "mean-activation")
    raw = [each.numpy() for each in seen if np.array_equal(each.numpy(), np.round(examples.signals * 1000))]
    assert len(raw) == 1


@FEW
@given(st.integers(0, 99), st.integers(1, 3), st.integers(46, 90))
def test_mean_activation_lies_between_0_and_1_and_reaches_0(seed, n_leads, length):
    examples = random_examples(3, leads=n_leads, length=length, seed=seed)
    found = maps(created("jones-cnn", examples, seed=seed), examples, "mean-activation")
    assert (found.min(axis=(1, 2)) == 0).all()
    assert (found.max(axis=(1, 2)) <= 1).all()
    assert (found.max(axis=(1, 2)) > 0.9).all()


def test_mean_activation_is_the_same_for_any_class_and_saliency_is_not():
    examples = random_examples(4)
    model = lively("resnet", examples)
    first, second = [0] * 4, [1, 2, 1, 2]
    np.testing.assert_array_equal(
        maps(model, examples, "mean-activation", first), maps(model, examples, "mean-activation", second)
    )
    one, two = maps(model, examples, "saliency", first), maps(model, examples, "saliency", second)
    assert all(not np.allclose(a, b) for a, b in zip(one, two, strict=True))


def test_mean_activation_refuses_a_model_without_a_layer_to_read():
    examples = random_examples(2)
    with pytest.raises(EcglensError, match="mean-activation reads the activations of a layer; jones-lstm names none"):
        maps(created("jones-lstm", examples), examples, "mean-activation")


def test_mean_activation_refuses_an_array_which_is_not_in_millivolts():
    examples = random_examples(2, length=24)
    model = tiny(examples)
    with pytest.raises(EcglensError, match="give it examples, not an array"):
        maps(model, examples.signals, "mean-activation")
    with pytest.raises(EcglensError, match="give it examples, not an array"):
        by_hand(one_pass(model, examples.signals, [0, 0]), "mean-activation")
