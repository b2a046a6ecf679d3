"""Any method of captum by its name."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

from ecglens.attribution import explain
from ecglens.attribution.registry import find_method
from ecglens.errors import EcglensError
from made import lively, random_examples
from nets import Gap, classifier, flat, gap, maps, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])


def _maps(model, x, name, **told) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum warns of hooks and of gradients that it sets itself
        return maps(model, x, f"captum:{name}", TARGET, **told)


def _told(name: str, model, x: np.ndarray, *places, **words) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = getattr(attr, name)(model.module, *places)
        found = method.attribute(torch.from_numpy(x).requires_grad_(True), target=torch.from_numpy(TARGET), **words)
    return found.detach().numpy()


@pytest.mark.parametrize("name", ["Saliency", "InputXGradient", "IntegratedGradients", "DeepLift", "FeatureAblation"])
def test_a_method_by_name_is_what_captum_gives(name):
    model, x = flat(), signals()
    words = {"abs": False} if name == "Saliency" else {}
    np.testing.assert_allclose(_maps(model, x, name), _told(name, model, x, **words), rtol=1e-5, atol=1e-7)


def test_saliency_keeps_its_sign_unless_captum_is_asked_otherwise():
    model, x = flat(), signals()
    signed = _maps(model, x, "Saliency")
    np.testing.assert_allclose(signed, maps(model, x, "saliency", TARGET), atol=1e-6)
    np.testing.assert_allclose(_maps(model, x, "Saliency", options={"abs": True}), np.abs(signed), atol=1e-6)


def test_a_layer_method_reads_the_models_own_layer():
    model, x = flat(), signals()
    found = _maps(model, x, "LayerGradCam")
    np.testing.assert_allclose(found, _told("LayerGradCam", model, x, model.module.second), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found, maps(model, x, "grad-cam", TARGET), atol=1e-5)
    with pytest.raises(EcglensError, match=r"captum's LayerGradCam needs a layer; net names none \(cam_layer\)"):
        _maps(classifier(seeded(Gap)), x, "LayerGradCam")


def test_a_method_that_compares_with_a_distribution_gets_the_background():
    model, x, background = flat(), signals(), signals(6, seed=2)
    found = _maps(model, x, "DeepLiftShap", background=background)
    wanted = _told("DeepLiftShap", model, x, baselines=torch.from_numpy(background))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        after, before = (model.module(torch.from_numpy(each)).numpy() for each in (x, background))
    np.testing.assert_allclose(found.sum(axis=(1, 2)), (after - before.mean(0))[np.arange(5), TARGET], atol=1e-3)


def test_a_method_that_draws_is_the_same_again_and_leaves_the_worlds_generators_alone():
    model, x, background = flat(), signals(), signals(6, seed=2)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before, legacy = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002
    one = _maps(model, x, "GradientShap", background=background)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert str(np.random.get_state()) == str(legacy)  # noqa: NPY002
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(_maps(model, x, "GradientShap", background=background), one)
    assert not np.array_equal(_maps(model, x, "GradientShap", background=background, seed=1), one)


def test_the_generators_are_put_back_even_where_captum_fails():
    np.random.seed(1)  # noqa: NPY002
    legacy = np.random.get_state()  # noqa: NPY002
    with pytest.raises(EcglensError):
        _maps(flat(), signals(), "GradientShap", options={"n_samples": -1})
    assert str(np.random.get_state()) == str(legacy)  # noqa: NPY002


def test_occlusion_of_captum_slides_a_tenth_of_a_second_like_ours():
    model, x = flat(), signals()
    np.testing.assert_allclose(_maps(model, x, "Occlusion"), maps(model, x, "occlusion", TARGET), rtol=1e-3, atol=1e-5)


def test_options_go_to_captum():
    model, x = flat(), signals()
    found = _maps(model, x, "IntegratedGradients", options={"n_steps": 4})
    np.testing.assert_allclose(found, _told("IntegratedGradients", model, x, n_steps=4), atol=1e-6)
    with pytest.raises(EcglensError, match="captum:IntegratedGradients has no option 'steps'; did you mean 'n_steps'"):
        _maps(model, x, "IntegratedGradients", options={"steps": 4})


@pytest.mark.parametrize(
    ("name", "near"), [("DeepLiftSharp", "DeepLiftShap"), ("saliency", "Saliency"), ("Occlusoin", "Occlusion")]
)
def test_an_unknown_method_of_captum_is_refused_with_the_nearest(name, near):
    with pytest.raises(EcglensError, match=f"captum has no method '{name}'; did you mean '{near}'"):
        find_method(f"captum:{name}")


@pytest.mark.parametrize("name", ["", "visualization", "os", "Attribution", "captum:Saliency"])
def test_what_is_no_method_of_captum_is_refused(name):
    with pytest.raises(EcglensError):
        maps(gap(), signals(), f"captum:{name}", TARGET)


def test_captums_own_failure_is_one_line():
    class Shared(nn.Module):
        """One ReLU used twice, which captum's DeepLift cannot have."""

        def __init__(self):
            super().__init__()
            self.conv, self.head, self.active = nn.Conv1d(2, 2, 3), nn.Linear(44, 3), nn.ReLU()

        def forward(self, x):
            return self.head(torch.flatten(self.active(self.conv(self.active(x))), 1))

    with pytest.raises(EcglensError, match="captum's DeepLift cannot explain net: ") as caught:
        _maps(classifier(seeded(Shared)), signals(), "DeepLift")
    assert "\n" not in str(caught.value)


def test_a_model_that_takes_rr_intervals_gets_them():
    examples = random_examples(4, rr_before=0.4)
    model = lively("resnet-rr", examples)
    found = explain(model, examples, ["captum:InputXGradient", "input-x-gradient"], target=TARGET[:4], quiet=True)
    np.testing.assert_allclose(found["captum:InputXGradient"][:], found["input-x-gradient"][:], rtol=1e-4, atol=1e-6)


def test_captum_explains_what_was_asked_for_or_refuses():
    """A probability was asked for: the logit's map is not the answer."""
    model, x = flat(), signals()
    try:
        found = _maps(model, x, "Saliency", output="probability")
    except EcglensError:
        return
    np.testing.assert_allclose(found, maps(model, x, "saliency", TARGET, output="probability"), atol=1e-6)


@pytest.mark.parametrize("name", ["DeepLift", "GuidedBackprop", "FeatureAblation", "LayerGradCam"])
def test_captums_hooks_are_gone_afterwards(name):
    model = flat()
    _maps(model, signals(), name)
    for part in model.module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert not part._backward_hooks
    assert not any(value.grad is not None for value in model.module.parameters())
