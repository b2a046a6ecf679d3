"""Gradients against captum, finite differences and loops over single examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ecglens.attribution.gradient import METHODS, class_logit_gradient, mean_activation_gradient
from ecglens.errors import EcglensError
from ecglens.models import MODELS
from ecglens.models.classifier import Classifier
from made import FEW, created, random_examples, tiny

_WITH_LAYER = sorted(name for name in MODELS if MODELS[name].cam_layer)


def _lively(name: str, examples, **told) -> Classifier:
    """A model of the registry whose norms and biases are not those of a fresh one."""
    model = created(name, examples, **told)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in model.module.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
                part.running_var.copy_(0.5 + torch.rand(part.num_features, generator=generator))
            elif getattr(part, "bias", None) is not None and isinstance(part.bias, torch.Tensor):
                part.bias.add_(0.3 * torch.randn(part.bias.shape, generator=generator))
    return model


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("scale", ["none", "lead"])
def test_class_logit_gradient_equals_captum(name, scale):
    examples = random_examples(6, rr_before=np.linspace(0.4, 1.2, 6))
    model = _lively(name, examples, scale=scale)
    target = np.array([0, 1, 2, 2, 1, 0])
    found = class_logit_gradient(model, examples, target)
    signals, *context = model.inputs(examples)
    model.module.eval()
    expected = Saliency(model.module).attribute(
        signals.requires_grad_(True),
        target=torch.from_numpy(target),
        abs=False,
        additional_forward_args=tuple(context) or None,
    )
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4, atol=1e-7)
    assert found.dtype == np.float32
    assert (found > 0).any()
    assert (found < 0).any()


@pytest.mark.parametrize("scale", ["none", "offset", "joint"])
def test_class_logit_gradient_equals_finite_differences_by_the_scaled_signal(scale):
    examples = random_examples(3, length=12)
    examples = replace(examples, signals=examples.signals.astype(np.float64))
    model = tiny(examples, scale=scale)
    model.module.double()
    target = np.array([2, 0, 1])
    found = class_logit_gradient(model, examples, target)
    (scaled,) = model.inputs(examples)
    model.module.eval()
    step = 1e-5
    for k, lead, time in np.ndindex(3, 2, 12):
        logits = []
        for sign in (1, -1):
            moved = scaled[k : k + 1].clone()
            moved[0, lead, time] += sign * step
            with torch.no_grad():
                logits.append(model.module(moved)[0, target[k]].item())
        assert found[k, lead, time] == pytest.approx((logits[0] - logits[1]) / (2 * step), rel=1e-6, abs=1e-8)


def test_class_logit_gradient_of_a_linear_model_is_its_weights():
    examples = random_examples(3, length=10)
    model = replace(tiny(examples), module=nn.Sequential(nn.Flatten(), nn.Linear(20, 3)))
    found = class_logit_gradient(model, examples, np.array([1, 0, 2]))
    weights = model.module[1].weight.detach().numpy().reshape(3, 2, 10)
    np.testing.assert_allclose(found, weights[[1, 0, 2]], rtol=1e-6)


def test_class_logit_gradient_reads_the_rr_numbers():
    plain = random_examples(4)
    early = random_examples(4, rr_before=0.3)
    model = _lively("resnet-rr", plain)
    target = np.zeros(4, np.int64)
    assert not np.allclose(class_logit_gradient(model, plain, target), class_logit_gradient(model, early, target))


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
def test_mean_activation_gradient_equals_one_example_at_a_time(name):
    examples = random_examples(5, rr_before=0.5)
    model = _lively(name, examples, scale="joint")
    found = mean_activation_gradient(model, examples, np.zeros(5, np.int64))
    np.testing.assert_allclose(found, _slow_mean_activation(model, examples), rtol=1e-3, atol=1e-4)
    assert found.shape == examples.signals.shape


def test_mean_activation_gradient_of_one_convolution_is_its_kernels_laid_over_each_other():
    examples = random_examples(2, length=24)
    model = tiny(examples)
    weights = model.module.conv.weight.detach().numpy().astype(float)  # (filter, lead, 5)
    gradient = np.zeros((2, 24))
    for place in range(20):
        gradient[:, place : place + 5] += weights.sum(0) / (4 * 20)
    size = np.abs(gradient)
    expected = (size - size.min()) / (size.max() - size.min() + 1e-7)
    for found in mean_activation_gradient(model, examples, np.zeros(2, np.int64)):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_mean_activation_gradient_of_a_layer_that_hardly_reacts_is_held_down():
    examples = random_examples(2, length=24)
    model = tiny(examples)
    with torch.no_grad():
        model.module.conv.weight.mul_(1e-6)
    found = mean_activation_gradient(model, examples, np.zeros(2, np.int64))
    np.testing.assert_allclose(found, _slow_mean_activation(model, examples), rtol=1e-3, atol=1e-4)
    assert 0 < found.max() < 0.9
    with torch.no_grad():
        model.module.conv.weight.zero_()
    assert (mean_activation_gradient(model, examples, np.zeros(2, np.int64)) == 0).all()


@pytest.mark.parametrize("scale", ["none", "joint", "lead"])
def test_mean_activation_gradient_shows_the_network_the_raw_integers(scale):
    examples = random_examples(3, length=60)
    model = created("resnet", examples, scale=scale)
    seen = []
    model.module.register_forward_pre_hook(lambda _m, args: seen.append(args[0].detach().clone()))
    mean_activation_gradient(model, examples, np.zeros(3, np.int64))
    (shown,) = seen
    np.testing.assert_array_equal(shown.numpy(), np.round(examples.signals * 1000))


@FEW
@given(st.integers(0, 99), st.integers(1, 3), st.integers(46, 90))
def test_mean_activation_gradient_lies_between_0_and_1_and_reaches_0(seed, n_leads, length):
    examples = random_examples(3, leads=n_leads, length=length, seed=seed)
    found = mean_activation_gradient(created("jones-cnn", examples, seed=seed), examples, np.zeros(3, np.int64))
    assert (found.min(axis=(1, 2)) == 0).all()
    assert (found.max(axis=(1, 2)) <= 1).all()
    assert (found.max(axis=(1, 2)) > 0.9).all()


def test_mean_activation_gradient_is_the_same_for_any_class_and_class_logit_gradient_is_not():
    examples = random_examples(4)
    model = _lively("resnet", examples)
    first, second = np.zeros(4, np.int64), np.array([1, 2, 1, 2])
    np.testing.assert_array_equal(
        mean_activation_gradient(model, examples, first), mean_activation_gradient(model, examples, second)
    )
    one, two = class_logit_gradient(model, examples, first), class_logit_gradient(model, examples, second)
    assert all(not np.allclose(a, b) for a, b in zip(one, two, strict=True))


def test_mean_activation_gradient_refuses_a_model_without_a_convolution():
    examples = random_examples(2)
    with pytest.raises(EcglensError, match="jones-lstm has no convolution"):
        mean_activation_gradient(created("jones-lstm", examples), examples, np.zeros(2, np.int64))


_PAIRS = [
    (method, name) for method in sorted(METHODS) for name in sorted(MODELS) if method == "class-logit" or name in _WITH_LAYER
]


@pytest.mark.parametrize(("method", "name"), _PAIRS)
def test_a_map_does_not_depend_on_the_other_examples_of_its_batch(method, name):
    examples = random_examples(5, rr_before=np.linspace(0.4, 1.0, 5))
    model, target = _lively(name, examples), np.array([0, 1, 2, 0, 1])
    together = METHODS[method](model, examples, target)
    for row in range(5):
        rows = np.array([row])
        alone = METHODS[method](model, examples.take(rows), target[rows])
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("fails", [False, True], ids=["well", "with an error"])
@pytest.mark.parametrize(("method", "name"), _PAIRS)
def test_a_method_leaves_the_module_as_it_found_it(method, name, fails):
    examples = random_examples(4)
    model = _lively(name, examples)
    parts = list(model.module.modules())
    model.module.train()
    parts[-1].eval()
    frozen = next(iter(model.module.parameters()))
    frozen.requires_grad_(False)
    modes = [part.training for part in parts]
    wanted = [value.requires_grad for value in model.module.parameters()]
    weights = {key: value.clone() for key, value in model.module.state_dict().items()}
    signals = examples.signals.copy()
    hooks = [len(part._forward_hooks) for part in parts]
    asked = replace(examples, signals=examples.signals[:, :1], leads=("lead 1",)) if fails else examples
    if fails:
        with pytest.raises(RuntimeError):
            METHODS[method](model, asked, np.zeros(4, np.int64))
    else:
        METHODS[method](model, asked, np.zeros(4, np.int64))
    assert [part.training for part in parts] == modes
    assert [value.requires_grad for value in model.module.parameters()] == wanted
    assert [len(part._forward_hooks) for part in parts] == hooks
    assert all(value.grad is None for value in model.module.parameters())
    assert all(torch.equal(value, weights[key]) for key, value in model.module.state_dict().items())
    np.testing.assert_array_equal(examples.signals, signals)


def test_a_method_does_not_depend_on_the_mode_it_finds():
    examples = random_examples(4)
    target = np.zeros(4, np.int64)
    for name in ("jones-lstm", "resnet"):
        model = _lively(name, examples)
        found = [
            class_logit_gradient(replace(model, module=model.module.train(mode)), examples, target) for mode in (True, False)
        ]
        np.testing.assert_array_equal(*found)
