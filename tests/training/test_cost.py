"""The cost of a training is that of a step times the steps, and nothing is changed by asking."""

from __future__ import annotations

import pytest
import torch

from ecglens.training import cost
from ecglens.training.cost import training_seconds
from ecglens.training.fit import TrainOptions
from made import tiny, toy_problem


def test_seconds_are_those_of_the_second_step_times_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = toy_problem(40)
    clock = iter([0.0, 100.0, 200.0, 202.0])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    options = TrainOptions(epochs=3, batch=8, bf16=False)
    assert training_seconds(tiny(examples), 80, options) == pytest.approx(2.0 / 8 * 80 * 3)


def test_the_net_its_mode_and_chance_stay_as_they_are() -> None:
    examples = toy_problem(20)
    model = tiny(examples)
    model.module.eval()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    assert 0 < training_seconds(model, 20, TrainOptions(epochs=1, batch=5)) < 60
    assert torch.equal(torch.rand(3), wanted)
    assert not model.module.training
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert all(value.grad is None for value in model.module.parameters())
