"""Training and logits on a GPU, on machines without one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.models import classifier as classifier_module
from ecglens.models.device import device_of, moved, pick_device
from ecglens.training import fit as fit_module
from ecglens.training.fit import TrainOptions, fit
from made import created, make_examples, random_examples, tiny, toy_problem
from pretended_gpu import CPU, GPU, pretended

_PLAIN = TrainOptions(
    optimiser="adam", rate=1e-2, weight_decay=1e-2, schedule="step", epochs=3, batch=16, bf16=False, gain_jitter=0.1,
    class_weights="inverse", stop="f1-falls",
)  # fmt: skip


def _weights(model):
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def _equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_the_pretended_gpu_refuses_what_cuda_would(monkeypatch):
    with pretended(monkeypatch) as gpu:
        here, there = torch.ones(3), torch.ones(3).to(GPU)
        assert (here.device, there.device, (there * 2)[1:].device) == (CPU, GPU, GPU)
        assert torch.zeros(2, device=GPU).device == GPU
        assert (there * torch.tensor(2.0)).device == GPU, "a single number may come from the CPU"
        for mix in (lambda: here + there, lambda: torch.cat([here, there]), lambda: nn.functional.linear(here, there)):
            with pytest.raises(RuntimeError, match="same device"):
                mix()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        assert there.cpu().numpy().tolist() == [1, 1, 1]
        layer = nn.Linear(3, 2).to(GPU)
        layer(there).sum().backward()
        assert layer.weight.grad.device == layer.weight.device == GPU
        with pytest.raises(RuntimeError, match="same device"):
            layer(here)
        assert gpu.sent


def _picture_problem(n: int = 20):
    labels = np.arange(n) % 2
    signals = np.random.default_rng(0).normal(0, 0.1, (n, 1, 230)) + labels[:, None, None] * np.sin(np.arange(230) / 20)
    return make_examples(signals.astype(np.float32), labels)


@pytest.mark.parametrize("name", ["tiny", "resnet-rr", "small2d"])
def test_training_and_logits_go_there_and_back_and_end_as_on_the_cpu(name, tmp_path, monkeypatch):
    if name == "small2d":
        examples = _picture_problem()
    else:
        examples = random_examples(40, length=40, classes=2, rr_before=np.linspace(0.3, 1.2, 40))
    make = tiny if name == "tiny" else lambda one: created(name, one)
    rows, validation = np.arange(len(examples) * 3 // 4), np.arange(len(examples) * 3 // 4, len(examples))
    options = replace(_PLAIN, batch=8, rr_drop=0.3)
    here = make(examples)
    expected = fit(here, examples, rows, validation, options, 0, tmp_path / "here", keep_epochs=(1,))
    logits = here.logits(examples)
    with pretended(monkeypatch) as gpu:
        there = make(examples)
        sides = []
        there.module.register_forward_pre_hook(lambda _m, args: sides.extend(each.device for each in args))
        done = fit(there, examples, rows, validation, options, 0, tmp_path / "there", keep_epochs=(1,))
        assert there.device == CPU
        assert all(not gpu.has(value) for value in there.module.state_dict().values())
        trained = len(sides)
        found = there.logits(examples)
        assert there.device == CPU
        assert gpu.forked[-1] == [GPU]
    assert trained < len(sides)
    assert set(sides) == {GPU}
    assert _equal(_weights(there), _weights(here))
    assert np.array_equal(found, logits)
    assert [row["validation_loss"] for row in done.history] == [row["validation_loss"] for row in expected.history]
    files = [(tmp_path / side / "snapshots" / "epoch-001.safetensors").read_bytes() for side in ("here", "there")]
    assert files[0] == files[1]


@pytest.mark.parametrize("schedule", ["step", "plateau", "one-cycle"])
@pytest.mark.parametrize("first", ["here", "there"])
def test_a_training_killed_on_one_side_goes_on_on_the_other(first, schedule, tmp_path, monkeypatch):
    """And so the fingerprint does not know where."""
    examples = toy_problem()
    rows, validation = np.arange(48), np.arange(48, 64)
    options = replace(_PLAIN, keep="best", epochs=4, schedule=schedule, stop="patience", optimiser="adamw")
    whole = tiny(examples)
    fit(whole, examples, rows, validation, options, 0, tmp_path / "whole")
    saved = fit_module.save_checkpoint

    def dying(folder, state):
        saved(folder, state)
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    def train(model, killed):
        with monkeypatch.context() as patch:
            if killed:
                patch.setattr(fit_module, "save_checkpoint", dying)
            return fit(model, examples, rows, validation, options, 0, tmp_path)

    def go(side, model, killed):
        if side == "here":
            return train(model, killed)
        with pretended(monkeypatch):
            return train(model, killed)

    dead = tiny(examples)
    with pytest.raises(KeyboardInterrupt):
        go(first, dead, True)
    assert device_of(dead.module) == CPU
    epochs = []
    monkeypatch.setattr(fit_module, "save_checkpoint", lambda *args: (epochs.append(1), saved(*args)))
    again = tiny(examples, seed=9)
    go("there" if first == "here" else "here", again, False)
    assert len(epochs) == 2, "two of four epochs were left"
    assert _equal(_weights(again), _weights(whole))


@pytest.mark.parametrize("bf16", [False, True])
def test_autocast_is_that_of_the_device(bf16, tmp_path, monkeypatch):
    examples, asked, autocast = toy_problem(), [], torch.autocast

    def watched(device, dtype, enabled):
        asked.append((device, dtype, enabled))
        return autocast("cpu", dtype, enabled=enabled)

    monkeypatch.setattr(torch, "autocast", watched)
    options = replace(_PLAIN, epochs=1, bf16=bf16)
    fit(tiny(examples), examples, np.arange(48), np.arange(48, 64), options, 0, tmp_path)
    assert set(asked) == {("cpu", torch.bfloat16, bf16)}
    asked.clear()
    with pretended(monkeypatch):
        fit(tiny(examples), examples, np.arange(48), np.arange(48, 64), options, 0, tmp_path)
    assert set(asked) == {("cuda", torch.bfloat16, bf16)}


def test_a_module_comes_back_after_an_error_and_one_put_on_a_gpu_stays_there(monkeypatch):
    examples = toy_problem()
    with pretended(monkeypatch):
        model = tiny(examples)
        with pytest.raises(KeyError), moved(model.module, GPU):
            assert model.device == GPU
            raise KeyError
        assert model.device == CPU
        before = model.logits(examples)
        model.module.to(GPU)
        for device in (GPU, CPU):
            with moved(model.module, device):
                assert model.device == GPU
            assert model.device == GPU
        assert {each.device for each in model.inputs(examples)} == {GPU}
        assert np.array_equal(model.logits(examples), before)
        assert model.device == GPU


def test_a_module_on_another_device_than_the_cpu_is_not_moved_at_all():
    """Such as a second GPU; here "meta", which cannot be moved anywhere."""
    module = nn.Linear(2, 2, device="meta")
    with moved(module, GPU):
        assert device_of(module).type == "meta"


def test_a_model_trained_on_a_gpu_is_saved_as_one_of_the_cpu(tmp_path, monkeypatch):
    examples = toy_problem()
    model = tiny(examples)
    model.save(tmp_path / "here")
    with pretended(monkeypatch):
        model = tiny(examples)
        model.module.to(GPU)
        model.save(tmp_path / "there")
    files = [(tmp_path / side / "model.safetensors").read_bytes() for side in ("here", "there")]
    assert files[0] == files[1]


def test_a_gpu_is_picked_where_there_is_one(monkeypatch):
    for there, wanted in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert pick_device().type == wanted
    assert device_of(nn.ReLU()) == CPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_a_true_gpu_trains_and_answers_as_the_cpu_does(tmp_path, monkeypatch):
    examples = toy_problem()
    rows, validation = np.arange(48), np.arange(48, 64)
    torch.manual_seed(3)
    before = torch.cuda.get_rng_state()
    there = tiny(examples)
    fit(there, examples, rows, validation, _PLAIN, 0, tmp_path)
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert there.device == CPU
    on_gpu = there.logits(examples)
    monkeypatch.setattr(classifier_module, "pick_device", lambda: CPU)
    np.testing.assert_allclose(there.logits(examples), on_gpu, rtol=1e-2, atol=1e-2)
