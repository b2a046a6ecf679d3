"""Signals changed at random: what changes, by how much, and what stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecglens.errors import EcglensError
from ecglens.training.augmenting import hidden, of_some, shifted, stretched, with_gains, with_offsets
from ecglens.training.fit import TrainOptions, fit
from made import tiny, toy_problem

_PLAIN = TrainOptions(
    optimiser="adam", rate=1e-2, weight_decay=0.0, schedule="none", epochs=1, batch=16, bf16=False, gain_jitter=0.0
)


def _ramps(n: int = 400, leads: int = 2, length: int = 50) -> torch.Tensor:
    """Every sample tells its example, lead and time."""
    return torch.arange(1, n * leads * length + 1, dtype=torch.float32).reshape(n, leads, length)


def test_a_shift_turns_each_example_round_by_its_own_number_of_samples() -> None:
    torch.manual_seed(0)
    signals = _ramps()
    found = shifted(signals, 7)
    by = []
    for before, after in zip(signals.numpy(), found.numpy(), strict=True):
        mine = [k for k in range(-7, 8) if np.array_equal(np.roll(before, -k, axis=1), after)]
        assert len(mine) == 1
        by += mine
    assert set(by) == set(range(-7, 8))


def test_one_stretch_is_hidden_in_all_leads_anywhere_and_the_rest_stays() -> None:
    torch.manual_seed(0)
    signals = _ramps()
    found = hidden(signals, 12)
    starts = []
    for before, after in zip(signals.numpy(), found.numpy(), strict=True):
        gone = np.flatnonzero(after[0] == 0)
        assert gone.tolist() == list(range(gone[0], gone[0] + 12))
        wanted = before.copy()
        wanted[:, gone] = 0
        np.testing.assert_array_equal(after, wanted)
        starts.append(int(gone[0]))
    assert (min(starts), max(starts)) == (0, 38)


def test_an_example_is_stretched_about_its_middle_by_its_own_factor() -> None:
    torch.manual_seed(0)
    time = np.arange(501) - 250.0
    signals = torch.from_numpy(np.tile(time.astype(np.float32) + 1000, (300, 2, 1)))
    found = stretched(signals, 0.2).numpy()
    factors = []
    for one in found:
        np.testing.assert_array_equal(one[0], one[1])
        factor = (one[0, 300] - one[0, 200]) / 100  # of a ramp: how much faster time goes
        inside = np.abs(time * factor) < 249
        np.testing.assert_allclose(one[0][inside], 1000 + time[inside] * factor, rtol=1e-5)
        assert not one[0][np.abs(time * factor) > 252].any()
        factors.append(float(factor))
    assert np.log(min(factors)) == pytest.approx(-0.2, abs=0.01)
    assert np.log(max(factors)) == pytest.approx(0.2, abs=0.01)
    assert np.mean(np.log(factors)) == pytest.approx(0, abs=0.03)


def test_gains_are_each_leads_own_and_one_for_all() -> None:
    torch.manual_seed(0)
    ones = torch.ones(4000, 2, 5)
    own = torch.log(with_gains(ones, 0.3, 1.0, 1.0))
    assert torch.equal(own[:, :, 0], own[:, :, 4])
    assert float(own[:, 0, 0].std()) == pytest.approx(0.3, rel=0.05)
    assert abs(float(torch.corrcoef(own[:, :, 0].T)[0, 1])) < 0.05
    both = with_gains(ones, 0.0, 0.5, 2.5)
    assert torch.equal(both[:, 0], both[:, 1])
    assert float(both.min()) == pytest.approx(0.5, abs=0.01)
    assert float(both.max()) == pytest.approx(2.5, abs=0.01)
    assert float(both.mean()) == pytest.approx(1.5, abs=0.03)


def test_offsets_are_each_leads_own_and_both_ways() -> None:
    torch.manual_seed(0)
    found = with_offsets(torch.zeros(3000, 2, 4), 0.5)
    assert torch.equal(found[:, :, 0], found[:, :, 3])
    assert (float(found.min()), float(found.max())) == (pytest.approx(-0.5, abs=0.01), pytest.approx(0.5, abs=0.01))
    assert abs(float(torch.corrcoef(found[:, :, 0].T)[0, 1])) < 0.06


def test_some_examples_are_changed_whole_and_the_others_stay() -> None:
    torch.manual_seed(0)
    signals = _ramps(2000)
    found = of_some(-signals, signals, 0.31)
    changed = (found == -signals).all(dim=2).all(dim=1)
    assert torch.equal(found[~changed], signals[~changed])
    assert float(changed.float().mean()) == pytest.approx(0.31, abs=0.03)
    assert of_some(signals, signals, 0.5) is signals


def test_nothing_asked_changes_nothing_and_draws_nothing() -> None:
    signals = _ramps(3)
    torch.manual_seed(5)
    wanted = torch.rand(2)
    torch.manual_seed(5)
    assert stretched(hidden(shifted(with_gains(signals, 0.0, 1.0, 1.0), 0), 0), 0) is signals
    assert torch.equal(torch.rand(2), wanted)


@pytest.mark.parametrize("change", [{"shift_s": 0.05}, {"hide_s": 0.05}, {"stretch": 0.2}, {"offset_mv": 0.1}])
def test_training_sees_changed_signals_and_validation_does_not(change: dict[str, float], tmp_path: Path) -> None:
    examples = toy_problem(64)
    seen: list[torch.Tensor] = []
    model = tiny(examples)
    model.module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()) if module.training else None)
    rows = np.arange(64)
    fit(model, examples, rows[:48], rows[48:], replace(_PLAIN, **change), 0, tmp_path)
    original = {row.tobytes() for row in examples.signals}
    trained = torch.cat(seen).numpy()
    assert len(trained) == 48
    assert np.mean([row.tobytes() in original for row in trained]) < 0.4
    asked: list[torch.Tensor] = []
    model.module.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0].clone()))
    model.logits(examples)
    assert {row.tobytes() for row in torch.cat(asked).numpy()} == original


def test_what_leaves_nothing_or_contradicts_is_refused(tmp_path: Path) -> None:
    for name in ("shift_s", "stretch"):
        with pytest.raises(EcglensError, match=f"{name} is 1.0 and crop 0.5: crop needs R where it was"):
            TrainOptions(crop=0.5, **{name: 1.0})
    for name in ("shift_s", "hide_s", "stretch", "offset_mv"):
        with pytest.raises(EcglensError, match=f"{name} is -1"):
            TrainOptions(**{name: -1})
    for share in (0.0, 1.5):
        with pytest.raises(EcglensError, match="jitter_share is"):
            TrainOptions(jitter_share=share)
    examples = toy_problem(20)
    with pytest.raises(EcglensError, match=r"hide_s is 100; examples last .* s: expected less"):
        fit(tiny(examples), examples, np.arange(20), np.arange(0), replace(_PLAIN, hide_s=100.0), 0, tmp_path)
