"""Gradient methods against captum, finite differences and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import nn

from ecglens.attribution import explain
from ecglens.attribution.gradients import baseline_of
from ecglens.errors import EcglensError
from ecglens.models import MODELS
from made import created, fitting, lively, random_examples, tiny
from nets import LENGTH, Linear, classifier, flat, gap, maps, one_pass, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])


# ------------------------------------------------------------------------------------------------ saliency


class _InDouble(nn.Module):
    """The module in double precision; it takes and gives float32."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.inner = module.double()

    def forward(self, x):
        return self.inner(x.double()).float()


# sixteen and more ReLUs and pools in a row: in float32 one of them turns over by rounding alone, and its share of the map with
# it, so that the model with its norms folded and the model itself are both right and not alike
_DEEP = ("ecgnet", "zihlmann")


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("scale", ["none", "lead"])
def test_saliency_equals_captum_on_every_model(name, scale):
    draws = MODELS[name].draws
    if draws and scale != "none":
        pytest.skip("scaled before it is drawn; once is enough")
    examples = random_examples(5, leads=1 if draws else 2, length=fitting(name), rr_before=np.linspace(0.4, 1.2, 5))
    model = lively(name, examples, scale=scale)
    if name in _DEEP:
        model = replace(model, module=_InDouble(model.module), cam_layer=f"inner.{model.cam_layer}")
    found = maps(model, examples, "saliency", TARGET)
    x, *context = model.inputs(examples)
    module = model.module.eval()
    if draws:
        x, context, module = module.picture(x, *context), [], module.net
    expected = Saliency(module).attribute(
        x.requires_grad_(True),
        target=torch.from_numpy(TARGET),
        abs=False,
        additional_forward_args=tuple(context) or None,
    )
    largest = expected.abs().amax(dim=tuple(range(1, expected.dim())), keepdim=True)
    assert (np.abs(found - expected.detach().numpy()) <= 1e-5 * largest.numpy()).all()
    assert largest.min() > 1e-4
    assert found.dtype == np.float32
    assert (found > 0).any()
    assert (found < 0).any()


@pytest.mark.parametrize("scale", ["none", "offset", "joint"])
def test_saliency_equals_finite_differences_by_the_scaled_signal(scale):
    examples = random_examples(3, length=12)
    model = tiny(examples, scale=scale)
    target = np.array([2, 0, 1])
    found = maps(model, examples, "saliency", target)
    scaled = model.inputs(examples)[0].double()
    model.module.double().eval()
    step = 1e-5
    for k, lead, time in np.ndindex(3, 2, 12):
        logits = []
        for sign in (1, -1):
            moved = scaled[k : k + 1].clone()
            moved[0, lead, time] += sign * step
            with torch.no_grad():
                logits.append(model.module(moved)[0, target[k]].item())
        assert found[k, lead, time] == pytest.approx((logits[0] - logits[1]) / (2 * step), rel=1e-4, abs=1e-6)


def test_saliency_of_a_linear_model_is_its_weights():
    model = classifier(seeded(Linear))
    found = maps(model, signals(3), "saliency", [1, 0, 2])
    weights = model.module.head.weight.detach().numpy().reshape(3, 2, LENGTH)
    np.testing.assert_allclose(found, weights[[1, 0, 2]], rtol=1e-6)


def test_saliency_reads_the_rr_numbers():
    plain, early = random_examples(4), random_examples(4, rr_before=0.3)
    model = lively("resnet-rr", plain)
    assert not np.allclose(maps(model, plain, "saliency", [0] * 4), maps(model, early, "saliency", [0] * 4))


def test_saliency_of_a_probability_is_that_of_the_logits_through_the_softmax():
    model, x = gap(), signals()
    by_logit = np.stack([maps(model, x, "saliency", [label] * 5) for label in range(3)], axis=1)
    with torch.no_grad():
        p = model.module(torch.from_numpy(x)).softmax(1).numpy()
    for k, label in enumerate(TARGET):
        chain = p[k, label] * (np.eye(3)[label] - p[k])
        expected = np.einsum("c,clt->lt", chain, by_logit[k])
        found = maps(model, x, "saliency", TARGET, output="probability")[k]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_saliency_of_a_probability_under_sigmoid_asks_about_the_class_alone():
    model, x = gap(activation="sigmoid"), signals()
    with torch.no_grad():
        p = model.module(torch.from_numpy(x)).sigmoid().numpy()[np.arange(5), TARGET]
    expected = (p * (1 - p))[:, None, None] * maps(model, x, "saliency", TARGET)
    np.testing.assert_allclose(maps(model, x, "saliency", TARGET, output="probability"), expected, rtol=1e-4, atol=1e-7)


def test_input_x_gradient_equals_captum_and_the_product_of_both():
    model, x = flat(), signals()
    found = maps(model, x, "input-x-gradient", TARGET)
    told = InputXGradient(model.module).attribute(torch.from_numpy(x).requires_grad_(True), target=torch.from_numpy(TARGET))
    np.testing.assert_allclose(found, told.detach().numpy(), atol=1e-5)
    np.testing.assert_array_equal(found, x * maps(model, x, "saliency", TARGET))


# ------------------------------------------------------------------------------------------------ smoothgrad


def test_smoothgrad_without_noise_is_saliency():
    model, x = flat(), signals()
    found = maps(model, x, "smoothgrad", TARGET, options={"noise": 0.0, "samples": 3})
    np.testing.assert_allclose(found, maps(model, x, "saliency", TARGET), rtol=1e-5, atol=1e-7)


def test_smoothgrad_of_a_square_is_twice_the_input_with_noise_as_wide_as_was_told():
    class Square(nn.Module):
        def forward(self, x):
            return torch.stack([(x**2).sum(dim=(1, 2)), x.sum(dim=(1, 2))], dim=1)

    model = classifier(Square(), classes=("a", "b"))
    x = signals(4)
    x[:, 0, 0], x[:, 0, 1] = -4, 6  # each example's range is 10
    found = maps(model, x, "smoothgrad", [0] * 4, options={"noise": 0.1, "samples": 400})
    away = found - 2 * x  # twice the mean of 400 draws of standard deviation 1
    assert away.std() == pytest.approx(2 / 400**0.5, rel=0.15)
    assert abs(away.mean()) < 4 * 0.1 / away.size**0.5
    assert (maps(model, x, "smoothgrad", [1] * 4) == 1).all()


# ------------------------------------------------------------------------------------------------ integrated gradients


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_integrated_gradients_equal_captum_with_as_many_steps(steps):
    model, x = flat(), signals()
    found = maps(model, x, "integrated-gradients", TARGET, options={"steps": steps, "most_steps": steps})
    told = IntegratedGradients(model.module).attribute(
        torch.from_numpy(x), target=torch.from_numpy(TARGET), n_steps=steps, method="gausslegendre"
    )
    np.testing.assert_allclose(found, told.numpy(), atol=1e-5)


@pytest.mark.parametrize("baseline", ["zero", "mean"])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_integrated_gradients_sum_to_the_rise_of_the_score_within_one_per_cent(baseline, output):
    model, x, background = gap(), signals(12), signals(6, seed=1) + 0.5
    target = np.arange(12) % 3
    found = explain(
        model, x, ["integrated-gradients"], target=target, output=output, background=background,
        options={"integrated-gradients": {"baseline": baseline}}, quiet=True,
    )  # fmt: skip
    start = np.broadcast_to(background.mean(0) if baseline == "mean" else np.zeros((2, LENGTH)), x.shape).astype(np.float32)
    with torch.no_grad():
        before, after = (model.module(torch.from_numpy(each.copy())).double() for each in (start, x))
    if output == "probability":
        before, after = before.softmax(1), after.softmax(1)
    rise = (after - before).numpy()[np.arange(12), target]
    error = np.abs(found["integrated-gradients"][:].astype(float).sum(axis=(1, 2)) - rise) / np.abs(rise)
    # a rise of nearly nothing is a hard judge: there the note has to tell
    assert error[np.abs(rise) > 0.5 * np.median(np.abs(rise))].max() < 0.01
    note = found.note("integrated-gradients", "completeness-error")
    np.testing.assert_allclose(note, error, rtol=1e-2, atol=1e-5)
    assert note.shape == (12,)


def test_integrated_gradients_take_more_steps_only_where_they_are_needed():
    class Bent(nn.Module):
        def forward(self, x):
            bend = torch.relu(x[:, 0, 0] - 0.9)  # one node of a few steps hardly sees it
            return torch.stack([bend, x.sum(dim=(1, 2))], dim=1)

    model = classifier(Bent(), classes=("a", "b"))
    x = signals(4)
    x[:, 0, 0] = 1.0
    batch = one_pass(model, x, [1, 0, 1, 0])
    from ecglens.attribution.registry import find_method

    found = find_method("integrated-gradients", {"steps": 2, "most_steps": 256, "tolerance": 0.01})(batch)
    error = batch.notes["completeness-error"].numpy()
    assert (error < 0.01).all()
    np.testing.assert_allclose(found[[1, 3], 0, 0], 0.1, rtol=0.011)
    # the two linear ones stop after 2 steps, which a sum takes exactly
    assert batch.shared.counter.backward < 2 * 2 + 2 * (2 + 4 + 8 + 16 + 32 + 64 + 128 + 256)
    assert batch.shared.counter.backward > 2 * 2 + 2 * (2 + 4 + 8)


def test_steps_that_do_not_suffice_are_told_by_the_note():
    model, x = flat(), signals()
    options = {"integrated-gradients": {"steps": 1, "most_steps": 1}}
    found = explain(model, x, ["integrated-gradients"], target=TARGET, options=options, quiet=True)
    with torch.no_grad():
        rise = model.module(torch.from_numpy(x)) - model.module(torch.zeros(5, 2, LENGTH))
    rise = rise.numpy()[np.arange(5), TARGET]
    error = np.abs(found["integrated-gradients"][:].sum(axis=(1, 2)) - rise) / np.abs(rise)
    np.testing.assert_allclose(found.note("integrated-gradients", "completeness-error"), error, rtol=1e-3)
    assert error.max() > 0.01


# ------------------------------------------------------------------------------------------------ expected gradients


def test_expected_gradients_of_a_linear_model_are_its_weights_times_what_is_unusual_as_shap_says():
    shap = pytest.importorskip("shap")
    model, x, background = classifier(seeded(Linear)), signals(4), signals(8, seed=1) + 0.3
    target = np.array([0, 1, 2, 0])
    samples = 200
    found = maps(model, x, "expected-gradients", target, background=background, options={"samples": samples})
    weights = model.module.head.weight.detach().numpy()[target].reshape(4, 2, LENGTH)
    wanted = weights * (x - background.mean(0))
    standard_error = np.abs(weights) * background.std(0) / samples**0.5
    assert (np.abs(found - wanted) < 5 * standard_error).all()
    told = shap.LinearExplainer(
        (model.module.head.weight.detach().numpy()[0], model.module.head.bias[0].item()), background.reshape(8, -1)
    ).shap_values(x[:1].reshape(1, -1))
    np.testing.assert_allclose(wanted[:1].reshape(1, -1), told, atol=1e-5)


def test_expected_gradients_agree_with_shap_on_a_network_within_what_sampling_leaves():
    shap = pytest.importorskip("shap")
    model, x, background = flat(), signals(2), signals(5, seed=1)
    target = np.array([0, 0])
    found = maps(model, x, "expected-gradients", target, background=background, options={"samples": 400})
    explainer = shap.GradientExplainer(model.module, torch.from_numpy(background))
    told = np.mean([explainer.shap_values(torch.from_numpy(x), nsamples=400, rseed=seed)[..., 0] for seed in range(3)], axis=0)
    size = np.abs(told).max()
    assert np.abs(found - told).max() < 0.1 * size
    assert np.corrcoef(found.ravel(), told.ravel())[0, 1] > 0.99


def test_expected_gradients_sum_to_the_rise_above_the_mean_of_the_background():
    model, x, background = flat(), signals(4), signals(6, seed=1)
    found = maps(model, x, "expected-gradients", [1] * 4, background=background, options={"samples": 600})
    with torch.no_grad():
        rise = (model.module(torch.from_numpy(x))[:, 1] - model.module(torch.from_numpy(background))[:, 1].mean()).numpy()
        spread = model.module(torch.from_numpy(background))[:, 1].std().item()
    # which background is drawn is left to chance
    assert (np.abs(found.sum(axis=(1, 2)) - rise) < 5 * spread / 600**0.5).all()


# ------------------------------------------------------------------------------------------------ words


def test_a_method_that_compares_needs_a_background():
    with pytest.raises(EcglensError, match="expected-gradients needs a background"):
        maps(gap(), signals(), "expected-gradients")
    with pytest.raises(EcglensError, match="needs a background"):
        maps(gap(), signals(), "integrated-gradients", options={"baseline": "mean"})


def test_an_unknown_baseline_is_refused_with_the_known_ones():
    with pytest.raises(EcglensError, match="unknown baseline 'zeros'; did you mean 'zero'"):
        maps(gap(), signals(), "integrated-gradients", options={"baseline": "zeros"})


@pytest.mark.parametrize(
    ("method", "option"), [("smoothgrad", "samples"), ("integrated-gradients", "steps"), ("expected-gradients", "samples")]
)
def test_no_sample_or_step_at_all_is_refused(method, option):
    with pytest.raises(EcglensError, match=f"{option} is 0; expected at least 1"):
        maps(gap(), signals(), method, background=signals(), options={option: 0})


def test_the_mean_baseline_is_the_mean_of_the_background():
    background = signals(7, seed=3)
    batch = one_pass(gap(), signals(), TARGET, background)
    np.testing.assert_allclose(baseline_of(batch, "mean"), np.broadcast_to(background.mean(0), (5, 2, LENGTH)), atol=1e-6)
    assert (baseline_of(batch, "zero") == 0).all()


def test_a_method_does_not_depend_on_the_mode_it_finds():
    examples = random_examples(4)
    for name in ("jones-lstm", "resnet"):
        model = lively(name, examples)
        found = [
            maps(replace(model, module=model.module.train(mode)), examples, "saliency", [0] * 4) for mode in (True, False)
        ]
        np.testing.assert_array_equal(*found)


def test_a_gradient_method_works_on_a_recurrent_network_in_evaluation_mode():
    examples = random_examples(3, length=40)
    found = maps(created("jones-lstm", examples), examples, "integrated-gradients", [0, 1, 2])
    assert found.shape == (3, 2, 40)
    assert np.abs(found).max() > 0
