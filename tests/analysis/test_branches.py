"""Logits taken apart by branch, against plain sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.analysis.branches import branch_logits, branch_shares
from ecglens.errors import EcglensError
from made import created, random_examples, tiny


class TwoParts(nn.Module):
    """A convolution's mean and a plain mean, joined by a linear layer (or a bent one)."""

    def __init__(self, bent: bool = False) -> None:
        super().__init__()
        self.conv, self.head, self.bent = nn.Conv1d(2, 4, 3), nn.Linear(6, 3), bent

    def branches(self, x):
        return self.conv(x).mean(2), x.mean(2)

    def join(self, cnn, state):
        out = self.head(torch.cat([cnn, state], dim=1))
        return torch.tanh(3 * out) if self.bent else out

    def forward(self, x):
        return self.join(*self.branches(x))


def _model(module: nn.Module, examples):
    model = tiny(examples)
    model.module = module
    return model


@pytest.fixture
def examples():
    return random_examples(9)


def test_parts_are_what_each_branch_adds_and_sum_to_the_logits(examples):
    torch.manual_seed(0)
    module = TwoParts().eval()
    parts = branch_logits(_model(module, examples), examples)
    x = torch.from_numpy(examples.signals)
    weight, bias = module.head.weight.detach().numpy(), module.head.bias.detach().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(parts.cnn, module.conv(x).mean(2).numpy() @ weight[:, :4].T, atol=1e-5)
        np.testing.assert_allclose(parts.whole, module(x).numpy(), atol=1e-5)
    np.testing.assert_allclose(parts.lstm, examples.signals.mean(2) @ weight[:, 4:].T, atol=1e-5)
    np.testing.assert_allclose(parts.constant, bias, atol=1e-6)


@pytest.mark.parametrize("name", ["ecgnet-cam", "ecgnet"])
def test_the_nets_of_the_paper_can_be_taken_apart(name):
    windows = random_examples(3, leads=1, length=720)
    model = created(name, windows)
    parts = branch_logits(model, windows)
    np.testing.assert_allclose(parts.whole, model.logits(windows), atol=1e-4)
    assert np.abs(parts.lstm).max() > 1e-4


def test_shares_equal_shapley_values_of_two_players_by_hand(examples):
    torch.manual_seed(1)
    model = _model(TwoParts().eval(), examples)
    parts, target = branch_logits(model, examples), np.arange(9) % 3
    usual = branch_logits(model, examples.take(np.arange(4, 9)))
    found = branch_shares(parts, target, usual)
    for k in range(9):
        values = {}
        for cnn in (0, 1):
            for lstm in (0, 1):
                logits = parts.constant + (parts.cnn[k] if cnn else usual.cnn.mean(0))
                logits = logits + (parts.lstm[k] if lstm else usual.lstm.mean(0))
                values[cnn, lstm] = logits[target[k]] - logits.mean()
        of_cnn = (values[1, 0] - values[0, 0] + values[1, 1] - values[0, 1]) / 2
        of_lstm = (values[0, 1] - values[0, 0] + values[1, 1] - values[1, 0]) / 2
        assert found["cnn"][k] == pytest.approx(of_cnn, abs=1e-5)
        assert found["lstm"][k] == pytest.approx(of_lstm, abs=1e-5)
        assert found["lstm_share"][k] == pytest.approx(abs(of_lstm) / (abs(of_lstm) + abs(of_cnn)), abs=1e-4)


def test_a_branch_that_always_says_the_same_has_no_share(examples):
    parts = branch_logits(_model(TwoParts().eval(), examples), examples)
    steady = type(parts)(parts.cnn, np.broadcast_to(parts.lstm[:1], parts.lstm.shape), parts.constant)
    assert branch_shares(steady, np.zeros(9, np.int64), steady)["lstm_share"].max() < 1e-6


def test_a_net_without_branches_and_a_head_that_is_bent_are_refused(examples):
    with pytest.raises(EcglensError, match="has no two branches"):
        branch_logits(tiny(examples), examples)
    with pytest.raises(EcglensError, match="not affine"):
        branch_logits(_model(TwoParts(bent=True).eval(), examples), examples)
