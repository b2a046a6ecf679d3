"""Models that cannot be explained say why; those that can, by which methods."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ecglens.attribution import explain
from ecglens.attribution.preflight import check_model, preflight
from ecglens.attribution.registry import methods
from ecglens.errors import EcglensError
from made import created, random_examples
from nets import LENGTH, Gap, Linear, classifier, flat, gap, maps, seeded, signals


class Changed(Gap):
    """A Gap whose answer is changed by a function."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(super().forward(x))


class Mates(Gap):
    """Normalises over the batch, in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - x.mean(dim=0)) / (x.std(dim=0) + 1e-3))


class Forgetful(Gap):
    """Dropout that stays on."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.5, training=True))


class Needs48(nn.Module):
    """Made for another length."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2 * 48, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(x, 1))


BROKEN = {
    "a tuple": (lambda: Changed(lambda out: (out, out)), "returns a tuple; expected one tensor of logits: wrap it"),
    "a dictionary": (lambda: Changed(lambda out: {"logits": out}), "returns a dict"),
    "nothing": (lambda: Changed(lambda out: None), "returns a NoneType"),
    "softmax": (lambda: Changed(lambda out: out.softmax(1)), "returns probabilities, not logits"),
    "one class too few": (
        lambda: Changed(lambda out: out[:, :2]),
        r"returns shape \(2, 2\) for 2 examples; expected \(2, 3\)",
    ),
    "one class too many": (lambda: Changed(lambda out: torch.cat([out, out[:, :1]], 1)), r"returns shape \(2, 4\)"),
    "a number for each": (lambda: Changed(lambda out: out[:, 0]), r"returns shape \(2,\)"),
    "a step in time for each": (lambda: Changed(lambda out: out[:, :, None]), r"returns shape \(2, 3, 1\)"),
    "NaN": (lambda: Changed(lambda out: out * torch.nan), "answers NaN or infinity for 2 of 2 examples"),
    "infinity": (lambda: Changed(lambda out: out / 0), "answers NaN or infinity"),
    "another length": (Needs48, r"does not take inputs of shape \(2, 2, 24\) \(example, lead, time\): "),
    "batch mates": (Mates, "changes its answer with the batch"),
    "dropout that stays on": (Forgetful, "changes its answer"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_model_is_refused_by_what_is_wrong_with_it(what):
    build, said = BROKEN[what]
    model = classifier(seeded(build))
    x = torch.from_numpy(signals(2))
    for attempt in (
        lambda: check_model(model, x, None),
        lambda: preflight(model, x),
        lambda: explain(model, signals(), ["uniform"], quiet=True),
    ):
        with pytest.raises(EcglensError, match=said) as caught:
            attempt()
        assert str(caught.value).startswith("net ")
        assert "\n" not in str(caught.value)


def test_probabilities_of_a_sigmoid_are_told_from_logits():
    model = classifier(seeded(lambda: Changed(torch.sigmoid)), activation="sigmoid")
    with pytest.raises(EcglensError, match=r"returns probabilities, not logits .*before the softmax or sigmoid"):
        check_model(model, torch.from_numpy(signals(4)), None)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_sound_models_pass(activation):
    for model in (gap(activation=activation), flat(), classifier(seeded(Linear))):
        check_model(model, torch.from_numpy(signals(4)), None)


def test_small_positive_logits_are_not_taken_for_probabilities():
    """Between 0 and 1 on the data, but not on noise."""

    class Quiet(nn.Module):
        def forward(self, x):
            return 0.5 + 0.1 * x.sum(dim=2) @ torch.ones(2, 3) * torch.tensor([1.0, 2.0, 3.0])

    model = classifier(Quiet(), activation="sigmoid")
    check_model(model, torch.from_numpy(signals(4) * 0.01), None)


def test_a_single_example_can_be_checked():
    check_model(gap(), torch.from_numpy(signals(1)), None)
    with pytest.raises(EcglensError, match="changes its answer with the batch"):
        check_model(classifier(seeded(Mates)), torch.from_numpy(signals(3)), None)


def test_a_model_with_rr_intervals_is_checked_with_them():
    examples = random_examples(3, rr_before=0.5)
    model = created("resnet-rr", examples)
    x, context = model.inputs(examples)
    check_model(model, x, context)
    found = preflight(model, x, context)
    assert "saliency" in found.supported


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_scripted_and_compiled_modules_are_refused():
    scripted = torch.jit.trace(seeded(Linear), torch.zeros(2, 2, LENGTH))
    with pytest.raises(EcglensError, match="net is compiled: hooks and rules do not reach into it"):
        check_model(classifier(scripted), torch.from_numpy(signals(2)), None)
    with pytest.raises(EcglensError, match=r"net is compiled.*_orig_mod"):
        check_model(classifier(torch.compile(seeded(Linear))), torch.from_numpy(signals(2)), None)


class Holds(nn.Module):
    """A compiled part inside a plain model."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.jit.trace(seeded(Linear), torch.zeros(2, 2, LENGTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_compiled_part_inside_a_plain_model_is_refused_too():
    with pytest.raises(EcglensError, match="is compiled"):
        check_model(classifier(Holds()), torch.from_numpy(signals(2)), None)


def test_a_layer_that_does_not_exist_is_refused_with_the_last_convolutions():
    with pytest.raises(EcglensError, match="net has no layer 'lst'; its last convolutions: first, last"):
        maps(classifier(seeded(Gap), "lst"), signals(), "saliency")
    with pytest.raises(EcglensError, match="has no layer 'x'; its last convolutions: none"):
        maps(classifier(seeded(Linear), "x"), signals(), "saliency")


def test_a_model_that_is_said_to_draw_and_does_not_is_refused():
    with pytest.raises(EcglensError, match="net draws no picture; expected draws=True and a module with the parts"):
        preflight(classifier(seeded(Linear), draws=True), torch.from_numpy(signals(2)))


# ------------------------------------------------------------------------------------------------ which methods


def test_what_a_model_supports_is_what_can_be_run():
    """Each method that preflight promises gives a map, each that it refuses says why when asked for."""
    examples = random_examples(3, length=96)
    quick = {
        "smoothgrad": {"samples": 1}, "integrated-gradients": {"steps": 1, "most_steps": 1},
        "expected-gradients": {"samples": 1},
        "lead-shapley-sampled": {"orders": 2}, "deletion-mask": {"steps": 1},
    }  # fmt: skip
    for name in ("resnet", "jones-cnn", "jones-lstm"):
        model = created(name, examples)
        found = preflight(model, model.inputs(examples)[0])
        assert set(found.supported) | set(found.refused) == set(methods())
        assert not set(found.supported) & set(found.refused)
        for method in found.supported:
            explain(model, examples, [method], background=examples, options=quick, quiet=True)
        for method, reason in found.refused.items():
            with pytest.raises(EcglensError) as caught:
                explain(model, examples, [method], background=examples, options=quick, quiet=True)
            assert str(caught.value) == reason


def test_refusals_are_those_that_the_methods_need():
    examples = random_examples(3, length=96)
    refused = {
        name: set(preflight(created(name, examples), created(name, examples).inputs(examples)[0]).refused)
        for name in ("resnet", "jones-cnn", "jones-lstm")
    }
    cams = {"grad-cam", "hires-cam", "grad-cam++", "guided-grad-cam", "channel-cam", "cam", "mean-activation"}
    assert refused["resnet"] == {"cam"}
    assert refused["jones-cnn"] == {"cam", "guided-backprop", "guided-grad-cam"}
    assert refused["jones-lstm"] >= cams | {"lrp-epsilon", "lrp-alpha-beta"}
    model = gap()
    assert preflight(model, torch.from_numpy(signals(2))).refused == {}
    assert preflight(model, torch.from_numpy(signals(2))).cam_layer == "last_active"


def test_many_leads_leave_the_sampled_shapley_values():
    leads = tuple(str(k) for k in range(17))
    model = classifier(nn.Sequential(nn.Flatten(), nn.Linear(17 * 6, 3)), leads=leads, length=6)
    found = preflight(model, torch.from_numpy(signals(2, leads=17, length=6)))
    assert "lead-shapley-sampled" in found.refused["lead-shapley"]
    assert "lead-shapley-sampled" in found.supported


@pytest.mark.parametrize(("peak", "remarked"), [(5, False), (49, False), (51, True), (2000, True)])
def test_signals_that_no_heart_makes_are_remarked_on(peak, remarked):
    x = signals(3)
    millivolts = x / np.abs(x).max() * peak
    found = preflight(gap(), torch.from_numpy(x), millivolts=-millivolts)
    assert bool(found.remarks) == remarked
    if remarked:
        assert (
            f"the signals reach {peak}; no ECG has so many millivolts: are these microvolts or raw integers?"
            in found.remarks[0]
        )


def test_missing_samples_do_not_hide_the_remark():
    millivolts = np.full((2, 2, LENGTH), 900.0, np.float32)
    millivolts[0, 0, :5] = np.nan
    assert preflight(gap(), torch.from_numpy(signals(2)), millivolts=millivolts).remarks
