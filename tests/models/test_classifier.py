"""The Classifier: what it predicts, what it keeps on disk, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.errors import EcglensError
from ecglens.models import MODELS, Classifier, load
from ecglens.models.scaling import scale
from made import TinyNet, created, fitting, make_examples, random_examples, tiny

_SCALES = {"jones-cnn": "joint", "jones-lstm": "lead", "resnet": "usual", "resnet-rr": "offset", "hannun": "lead"}


def _n_leads(name: str) -> int:
    return 1 if MODELS[name].draws else 2


def _modes(module: nn.Module) -> list[bool]:
    return [part.training for part in module.modules()]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_logits_equal_the_module_called_by_hand(name):
    rr = np.exp(np.linspace(-1, 0.5, 6))
    examples = random_examples(
        6, leads=_n_leads(name), length=fitting(name), rr_before=rr, rr_after=rr[::-1].copy(), rr_spread=rr / 10
    )
    how = _SCALES.get(name, "offset")
    model = created(name, examples, scale=how)
    found = model.logits(examples)
    x = scale(torch.from_numpy(examples.signals), how)
    model.module.eval()
    with torch.no_grad():
        if name == "resnet-rr":
            from ecglens.examples.context import rr_features

            context = torch.from_numpy(rr_features(examples))
            expected, deaf = model.module(x, context), model.module(x)
            assert not np.allclose(found, deaf.numpy(), atol=1e-4)
        else:
            expected = model.module(x)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32


def test_logits_of_many_examples_equal_those_of_one_at_a_time():
    examples = random_examples(1030, length=24)
    model = tiny(examples, scale="lead")
    together = model.logits(examples)
    for row in (0, 511, 512, 513, 1023, 1024, 1029):
        alone = model.logits(examples.take(np.array([row])))
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-4, atol=1e-5)


def test_logits_do_not_depend_on_dropout_or_on_the_batch():
    examples = random_examples(8, length=24)
    model = tiny(examples)
    model.module.train()
    np.testing.assert_array_equal(model.logits(examples), model.logits(examples))


@pytest.mark.parametrize("training", [True, False])
def test_logits_leave_the_mode_of_the_module(training):
    examples = random_examples(3, length=24)
    model = tiny(examples)
    model.module.train(training)
    before = _modes(model.module)
    statistics = model.module.norm.running_mean.clone()
    model.logits(examples)
    assert _modes(model.module) == before
    assert torch.equal(model.module.norm.running_mean, statistics)


def test_logits_leave_a_part_that_was_frozen_in_evaluation_mode():
    examples = random_examples(3, length=24)
    model = tiny(examples)
    model.module.train()
    model.module.norm.eval()
    before = _modes(model.module)
    model.logits(examples)
    assert _modes(model.module) == before


def test_logits_put_the_mode_back_after_an_error():
    examples = random_examples(3, length=24)
    model = tiny(examples)
    model.module.head = nn.Linear(3, 3)
    model.module.train()
    with pytest.raises(RuntimeError):
        model.logits(examples)
    assert all(_modes(model.module))


def test_softmax_probabilities_add_up_to_one_and_sigmoid_ones_stand_alone():
    examples = random_examples(2, length=24)
    logits = np.array([[0.0, 1.0, -2.0], [100.0, 0.0, -100.0]], np.float32)
    softmax = tiny(examples).probabilities(logits)
    np.testing.assert_allclose(softmax[0], np.exp(logits[0]) / np.exp(logits[0]).sum(), rtol=1e-6)
    np.testing.assert_allclose(softmax[1], [1, 0, 0], atol=1e-6)
    sigmoid = replace(tiny(examples), activation="sigmoid").probabilities(logits)
    np.testing.assert_allclose(sigmoid[0], 1 / (1 + np.exp(-logits[0])), rtol=1e-6)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_saved_model_comes_back_with_the_same_logits(name, tmp_path):
    examples = random_examples(5, leads=_n_leads(name), length=fitting(name), rr_before=np.array([0.4, 0.5, 0.8, 1.0, 1.2]))
    model = created(name, examples, seed=3, scale=_SCALES.get(name, "offset"))
    model.module.train()
    model.module(*model.inputs(examples))  # moves the statistics of the norms
    model.save(tmp_path)
    again = load(tmp_path)
    np.testing.assert_array_equal(again.logits(examples), model.logits(examples))
    for field in ("name", "classes", "leads", "fs", "length", "scale", "activation", "cam_layer", "context"):
        assert getattr(again, field) == getattr(model, field), field


def test_a_saved_model_comes_back_with_its_activation_and_thresholds(tmp_path):
    examples = random_examples(2)
    model = replace(created("resnet", examples), activation="sigmoid", thresholds=(0.2, 0.5, 0.7))
    model.save(tmp_path)
    again = load(tmp_path)
    assert again.activation == "sigmoid"
    assert again.thresholds == (0.2, 0.5, 0.7)


def test_a_saved_model_names_no_code_and_leaves_no_scraps(tmp_path):
    created("jones-lstm", random_examples(2)).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def _saved(folder):
    created("jones-lstm", random_examples(2)).save(folder)
    return folder / "model.json", folder / "model.safetensors"


@pytest.mark.parametrize("missing", ["model.json", "model.safetensors"])
def test_load_names_the_file_that_is_missing(missing, tmp_path):
    _saved(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(EcglensError, match=f"holds no {missing}"):
        load(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"name": "jones-lstm"}', b"\xff\xfe"],
)
def test_load_refuses_a_damaged_card(text, tmp_path):
    card, _ = _saved(tmp_path)
    card.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(EcglensError, match=r"model\.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"), [("name", "TinyNet"), ("scale", "loud"), ("length", "long"), ("length", 0), ("classes", None)]
)
def test_load_refuses_a_card_with_a_wrong_entry(field, value, tmp_path):
    card, _ = _saved(tmp_path)
    card.write_text(json.dumps(json.loads(card.read_text()) | {field: value}))
    with pytest.raises(EcglensError):
        load(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 100, -10])
def test_load_refuses_cut_off_weights(keep, tmp_path):
    _, weights = _saved(tmp_path)
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(EcglensError, match=r"model\.safetensors"):
        load(tmp_path)


@pytest.mark.parametrize(
    "change", [{"classes": ["a", "b"]}, {"leads": ["one"]}, {"name": "resnet"}], ids=["classes", "leads", "name"]
)
def test_load_refuses_weights_of_another_model_in_one_line(change, tmp_path):
    card, _ = _saved(tmp_path)
    card.write_text(json.dumps(json.loads(card.read_text()) | change))
    with pytest.raises(EcglensError, match="does not hold the weights") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def _wrap(module: nn.Module, **changes) -> Classifier:
    told = {"classes": ["a", "b"], "leads": ["I", "II"], "fs": 250, "length": 24} | changes
    return Classifier.wrap(module, **told)


def test_wrap_takes_a_module_that_fits():
    model = _wrap(TinyNet(), cam_layer="conv", scale="lead", activation="sigmoid")
    assert (model.name, model.classes, model.leads) == ("TinyNet", ("a", "b"), ("I", "II"))
    assert (model.fs, model.length, model.scale, model.activation) == (250.0, 24, "lead", "sigmoid")
    examples = make_examples(np.ones((3, 2, 24), np.float32), classes=["a", "b"], leads=["I", "II"], fs=250.0)
    assert model.logits(examples).shape == (3, 2)


@pytest.mark.parametrize("module", [TinyNet(n_leads=3), TinyNet(length=30), nn.LSTM(7, 3, batch_first=True)])
def test_wrap_says_that_the_input_does_not_fit(module):
    with pytest.raises(EcglensError, match=r"does not take signals \(example, 2 leads, 24 samples\)") as caught:
        _wrap(module)
    assert "\n" not in str(caught.value)


class _Raises(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize("error", [AssertionError("12 leads"), KeyError("mask"), AttributeError("no such part")])
def test_wrap_says_so_too_where_the_module_checks_its_input_itself(error):
    with pytest.raises(EcglensError, match="does not take signals"):
        _wrap(_Raises(error))


def test_wrap_says_how_many_outputs_it_found():
    with pytest.raises(EcglensError, match=r"returns \(2, 5\) for two examples; expected logits of shape \(2, 2\)"):
        _wrap(TinyNet(n_classes=5))
    with pytest.raises(EcglensError, match="returns tuple"):
        _wrap(nn.LSTM(24, 2, batch_first=True))


def test_wrap_names_the_layer_that_is_not_there():
    with pytest.raises(EcglensError, match="no layer 'conv9'"):
        _wrap(TinyNet(), cam_layer="conv9")


@pytest.mark.parametrize(
    ("change", "text"), [({"scale": "loud"}, "unknown scale 'loud'"), ({"activation": "relu"}, "unknown activation 'relu'")]
)
def test_wrap_refuses_unknown_words(change, text):
    with pytest.raises(EcglensError, match=text):
        _wrap(TinyNet(), **change)


def test_as_many_thresholds_as_classes_are_asked_for():
    with pytest.raises(EcglensError, match="1 thresholds for 2 classes"):
        Classifier(TinyNet(), "tiny", ("a", "b"), ("I", "II"), 250.0, 24, thresholds=(0.5,))


@pytest.mark.parametrize("module", [TinyNet(), TinyNet(n_leads=3)], ids=["fits", "does not fit"])
@pytest.mark.parametrize("training", [True, False])
def test_wrap_leaves_mode_and_statistics_of_the_module(module, training):
    module.train(training)
    before, statistics = _modes(module), module.norm.running_mean.clone()
    try:
        _wrap(module)
    except EcglensError:
        assert module.conv.in_channels == 3
    assert _modes(module) == before
    assert torch.equal(module.norm.running_mean, statistics)


def test_wrap_leaves_a_part_that_was_frozen_in_evaluation_mode():
    module = TinyNet().train()
    module.norm.eval()
    before = _modes(module)
    _wrap(module)
    assert _modes(module) == before


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"fs": 250.0}, "sampling rate: model tiny expects 360 Hz, the examples have 250 Hz"),
        ({"leads": ("II", "V5")}, "leads: model tiny expects lead 1, lead 2, the examples have II, V5"),
        ({"leads": ("lead 2", "lead 1")}, "leads"),
        ({"classes": ("class 1", "class 3")}, "classes: model tiny expects class 1, class 2"),
        ({"classes": ("class 2", "class 1")}, "classes"),
        ({"signals": np.zeros((2, 2, 25), np.float32)}, "length: model tiny expects 24 samples, the examples have 25"),
    ],
)
def test_expect_names_what_does_not_fit(change, text):
    examples = make_examples(np.zeros((2, 2, 24), np.float32))
    model = tiny(examples)
    model.expect(examples)
    with pytest.raises(EcglensError, match=text):
        model.expect(replace(examples, **change))
    with pytest.raises(EcglensError, match=text):
        model.logits(replace(examples, **change))
