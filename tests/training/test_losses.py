"""The losses against their formulas, example by example."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from ecglens.errors import EcglensError
from ecglens.training.losses import LOSSES, focal, loss_named
from made import FEW


def _batch(n: int, n_classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, n_classes, generator=generator), torch.randint(n_classes, (n,), generator=generator)


def _chances(logits: torch.Tensor) -> list[list[float]]:
    return [[math.exp(a) / sum(math.exp(b) for b in row) for a in row] for row in logits.double().tolist()]


@FEW
@given(st.integers(1, 9), st.integers(2, 6), st.integers(0, 99), st.floats(0, 5), st.floats(0.1, 2))
def test_focal_equals_a_slow_loop(n, n_classes, seed, gamma, alpha):
    logits, labels = _batch(n, n_classes, seed)
    total = 0.0
    for chances, label in zip(_chances(logits), labels.tolist(), strict=True):
        p = chances[label]
        total += -alpha * (1 - p) ** gamma * math.log(p)
    assert focal(logits, labels, gamma, alpha).item() == pytest.approx(total / n, rel=1e-3, abs=1e-6)


def test_focal_takes_gamma_2_and_alpha_1_unless_told():
    logits, labels = _batch(8, 4, 0)
    assert torch.equal(focal(logits, labels), focal(logits, labels, 2.0, 1.0))
    assert torch.equal(LOSSES["focal"](logits, labels), focal(logits, labels, 2.0, 1.0))


@FEW
@given(st.integers(1, 9), st.integers(2, 6), st.integers(0, 99))
def test_focal_with_gamma_0_is_cross_entropy(n, n_classes, seed):
    logits, labels = _batch(n, n_classes, seed)
    torch.testing.assert_close(focal(logits, labels, 0.0), functional.cross_entropy(logits, labels))


def test_focal_has_a_finite_gradient_where_the_answer_is_certain():
    logits = torch.tensor([[80.0, 0.0], [0.0, 80.0]], requires_grad=True)
    focal(logits, torch.tensor([0, 0])).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1, 0] < 0 < logits.grad[1, 1]


def test_smoothed_spreads_a_twentieth_over_all_classes():
    logits, labels = _batch(7, 4, 1)
    total = 0.0
    for chances, label in zip(_chances(logits), labels.tolist(), strict=True):
        for k, p in enumerate(chances):
            wanted = 0.05 / 4 + (0.95 if k == label else 0.0)
            total -= wanted * math.log(p)
    assert loss_named("smoothed")(logits, labels).item() == pytest.approx(total / 7, rel=1e-5)


def test_cross_entropy_is_the_log_of_the_chance_of_the_truth():
    logits, labels = _batch(7, 4, 2)
    total = -sum(math.log(chances[label]) for chances, label in zip(_chances(logits), labels.tolist(), strict=True))
    assert loss_named("cross-entropy")(logits, labels).item() == pytest.approx(total / 7, rel=1e-5)


def test_an_unknown_loss_is_refused():
    with pytest.raises(EcglensError, match="unknown loss 'focall'; did you mean 'focal'"):
        loss_named("focall")
