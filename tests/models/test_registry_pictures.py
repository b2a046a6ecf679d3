"""The models of the registry that draw their input."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.errors import EcglensError
from ecglens.models import MODELS, create, load
from ecglens.models.pictured import Pictured
from ecglens.models.rasteriser import Rasteriser
from ecglens.training.fit import TrainOptions, fit
from made import created, lively, make_examples, random_examples

_DRAWING = sorted(name for name in MODELS if MODELS[name].draws)


def _beats(n: int = 6, length: int = 300):
    """Two classes of one lead: the bump is early or late. The last fifth of every second example is padding."""
    labels = np.arange(n) % 2
    at = np.where(labels == 0, 0.25, 0.6) * length
    noise = np.random.default_rng(0).normal(0, 0.05, (n, length))
    signals = np.exp(-0.5 * ((np.arange(length) - at[:, None]) / 6) ** 2) + noise
    stop = np.where(np.arange(n) % 2, length * 4 // 5, length)
    return make_examples(signals[:, None].astype(np.float32), labels, valid_stop=stop)


def test_both_picture_models_are_in_the_registry_with_what_they_need():
    assert _DRAWING == ["resnet50", "small2d"]
    assert not create("resnet", classes=2, leads=1, length=300).draws
    for name in _DRAWING:
        model = create(name, classes=2, leads=1, length=300)
        assert (model.draws, model.context) == (True, "span")
        assert isinstance(model.module, Pictured)
        assert isinstance(model.module.picture, Rasteriser)
        with pytest.raises(EcglensError, match=r"at least 224 samples per lead; length is 223"):
            create(name, classes=2, leads=1, length=223)
        with pytest.raises(EcglensError, match=rf"{name} draws one lead; leads are I, II: choose"):
            create(name, classes=2, leads=("I", "II"), length=300)
    assert create("resnet50", classes=2, leads=1, length=224).n_trainable == 23_512_130


@pytest.mark.parametrize("name", _DRAWING)
def test_the_layer_for_cams_is_the_last_with_rows_and_columns(name):
    model = created(name, _beats())
    layer, order, seen = model.module.get_submodule(MODELS[name].cam_layer), [], []
    layer.register_forward_hook(lambda _m, _i, out: seen.append(out))
    for part in model.module.modules():
        if isinstance(part, nn.Conv2d) or part is layer:
            part.register_forward_hook(lambda this, _i, _o: order.append(this))
    model.logits(_beats())
    (cells,) = seen
    assert order[-1] is layer
    assert cells.shape[2:] == (7, 7)
    assert cells.min() == 0 < cells.max(), "behind its ReLU"


@pytest.mark.parametrize("name", _DRAWING)
def test_logits_follow_the_span_and_equal_the_net_on_the_picture(name):
    examples = _beats()
    model = lively(name, examples)
    found = model.logits(examples)
    spans = torch.from_numpy(np.array(examples.table[["valid_start", "valid_stop"]], np.int64))
    with torch.no_grad():
        module = model.module.eval()
        ink = module.picture(torch.from_numpy(examples.signals), spans)
        wanted = torch.cat([module.net(one[None]) for one in ink])
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-3, atol=1e-4)
    table = examples.table.assign(valid_stop=examples.length)
    assert np.abs(model.logits(replace(examples, table=table)) - found)[1::2].max() > 1e-3


def test_few_pictures_and_many_signals_are_asked_at_once():
    seen = []
    for name in ("small2d", "resnet"):
        examples = make_examples(np.zeros((150, 1, 224), np.float32))
        model = created(name, examples)
        model.module.register_forward_pre_hook(lambda _m, args: seen.append(len(args[0])))
        model.logits(examples)
    assert seen == [64, 64, 22, 150]


def test_a_saved_picture_model_comes_back_with_the_same_logits(tmp_path):
    examples = _beats()
    model = lively("small2d", examples)
    model.save(tmp_path)
    again = load(tmp_path)
    assert (again.draws, again.context, again.cam_layer) == (True, "span", "net.tail")
    assert np.array_equal(again.logits(examples), model.logits(examples))


def test_the_net_behind_a_picture_is_not_saved_as_it_could_not_be_loaded(tmp_path):
    with pytest.raises(EcglensError, match="small2d is the network behind a picture alone; save the classifier that draws"):
        created("small2d", _beats()).behind_picture().save(tmp_path / "net")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("name", ["resnet", "small2d"])
def test_an_older_file_that_does_not_say_whether_its_model_draws_is_read(name, tmp_path):
    """And one that says what cannot be is refused."""
    create(name, classes=2, leads=1, length=224).save(tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    draws = card.pop("draws")
    assert draws == (name == "small2d")
    (tmp_path / "model.json").write_text(json.dumps(card))
    assert load(tmp_path).draws == draws
    (tmp_path / "model.json").write_text(json.dumps(card | {"draws": not draws}))
    with pytest.raises(EcglensError, match=r"model\.json is damaged .*draws is"):
        load(tmp_path)


def test_a_small_picture_model_learns(tmp_path):
    examples = _beats(48)
    options = TrainOptions(
        optimiser="adam", rate=3e-3, weight_decay=1e-4, schedule="step", epochs=5, batch=4, class_weights="inverse",
        stop="f1-falls", gain_jitter=0.0, rr_drop=0.5,
    )  # fmt: skip
    model = created("small2d", examples)
    done = fit(model, examples, np.arange(36), np.arange(36, 48), options, 0, tmp_path)
    assert done.history[-1]["train_loss"] < 0.3 * done.history[0]["train_loss"]
    assert done.history[-1]["validation_f1"] == 1.0


def test_other_spans_are_another_training():
    """A checkpoint of pictures drawn from other spans is not taken up."""
    from ecglens.training import fit as fit_module

    examples = _beats(8)
    other = replace(examples, table=examples.table.assign(valid_stop=examples.length))
    names = [
        fit_module._fingerprint(created("small2d", one), one, *[np.arange(8)] * 2, TrainOptions(), 0)
        for one in (examples, other)
    ]
    assert names[0] != names[1]
    plain = random_examples(8, length=40)
    again = [
        fit_module._fingerprint(created("resnet", plain), plain, *[np.arange(8)] * 2, TrainOptions(), 0) for _ in range(2)
    ]
    assert again[0] == again[1]
