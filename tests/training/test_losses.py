"""The losses against their formulas, example by example."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from ecglens.errors import EcglensError
from ecglens.examples.diagnoses import diagnosis_map
from ecglens.training.challenge import challenge_parts, challenge_weights
from ecglens.training.losses import (
    LOSSES,
    MULTILABEL_LOSSES,
    focal,
    loss_named,
    macro_obs,
    multilabel_loss,
    negatives_per_positive,
    wbce,
)
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


CODES = ("426783006", "164889003", "713427006", "59931005", "270492004")


def _several(n: int, seed: int, n_classes: int = 5, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and multi-hot labels; the first example has no class."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, n_classes, generator=generator, dtype=dtype)
    labels = (torch.rand(n, n_classes, generator=generator) < 0.3).to(dtype)
    labels[0] = 0
    return logits, labels


@FEW
@given(st.integers(1, 12), st.integers(0, 99))
def test_wbce_equals_a_slow_loop_with_the_weight_on_the_positives(n, seed):
    logits, labels = _several(n, seed)
    weight = [0.5, 1.0, 3.0, 40.0, 1.0]
    total = 0.0
    for z, t in zip(logits.tolist(), labels.tolist(), strict=True):
        for k in range(5):
            p = 1 / (1 + math.exp(-z[k]))
            total -= weight[k] * math.log(p) if t[k] else math.log(1 - p)
    assert wbce(torch.tensor(weight))(logits, labels).item() == pytest.approx(total / (5 * n), rel=1e-9)


def test_positives_weigh_as_much_as_negatives_and_an_empty_side_gives_1():
    labels = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 1, 0]])
    assert negatives_per_positive(labels).tolist() == [3.0, 1.0, 1.0, 1.0]
    logits, labels = _several(40, 3)
    loss = multilabel_loss("wbce", labels, CODES)
    torch.testing.assert_close(loss(logits, labels), wbce(negatives_per_positive(labels))(logits, labels))
    alike = multilabel_loss("bce", labels, CODES)(logits, labels)
    p = torch.sigmoid(logits)
    torch.testing.assert_close(alike, -(labels * p.log() + (1 - labels) * (1 - p).log()).mean())


def _macro_obs_slowly(logits: torch.Tensor, labels: torch.Tensor, weights: list[list[float]]) -> torch.Tensor:
    """Minus the mean over examples of sum of W * (t outer p) / N, entry by entry."""
    total = torch.zeros((), dtype=logits.dtype)
    for z, t in zip(logits, labels, strict=True):
        p = [1 / (1 + torch.exp(-one)) for one in z]
        size = sum((1 - t[k]) * p[k] + t[k] for k in range(len(p)))
        size = size if size > 1 else torch.ones((), dtype=logits.dtype)
        for a in range(len(p)):
            for b in range(len(p)):
                total = total - weights[a][b] * t[a] * p[b] / size
    return total / len(logits)


@FEW
@given(st.integers(1, 8), st.integers(0, 99))
def test_macro_obs_and_its_gradient_equal_a_slow_loop(n, seed):
    logits, labels = _several(n, seed)
    weights = challenge_weights(CODES)
    ours, slow = (logits.clone().requires_grad_() for _ in range(2))
    loss, wanted = macro_obs(torch.from_numpy(weights))(ours, labels), _macro_obs_slowly(slow, labels, weights.tolist())
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    wanted.backward()
    torch.testing.assert_close(ours.grad, slow.grad)
    assert ours.grad[0].abs().max() == 0  # an example without a class


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_hard_answers_macro_obs_is_the_official_observed_score(dtype):
    classes = diagnosis_map("challenge2020").classes
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(300, 24, generator=generator) < 0.1
    answers = torch.rand(300, 24, generator=generator) < 0.1
    answers[:20], labels[10:30] = False, False
    logits = torch.where(answers, 800.0, -800.0).to(dtype)  # sigmoids of exactly 1 and 0
    loss = multilabel_loss("macro-obs", labels.to(dtype), classes)(logits, labels.to(dtype))
    weights, observed = challenge_weights(classes), 0.0
    for true, said in zip(labels.tolist(), answers.tolist(), strict=True):
        true, said = ({k for k, yes in enumerate(row) if yes} for row in (true, said))
        observed += sum(weights[a, b] / max(len(true | said), 1) for a in true for b in said)
    rel = 1e-6 if dtype == torch.float32 else 1e-12
    assert -300 * loss.item() == pytest.approx(observed, rel=rel)
    parts = challenge_parts(labels.numpy(), answers.numpy(), classes)
    assert -300 * loss.item() == pytest.approx(parts[0].sum(), rel=rel)


@pytest.mark.parametrize("name", MULTILABEL_LOSSES)
def test_logits_of_autocast_give_a_loss_in_the_precision_of_the_labels(name):
    logits, labels = _several(20, 4, dtype=torch.float32)
    loss, rough = multilabel_loss(name, labels, CODES), logits.bfloat16().requires_grad_()
    found = loss(rough, labels)
    found.backward()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(rough.detach().float(), labels))
    assert torch.isfinite(rough.grad).all()


def test_macro_obs_is_refused_where_classes_have_no_weights():
    labels = torch.ones(2, 5)
    with pytest.raises(EcglensError, match=r"'macro-obs' needs the Challenge's weights, but .* 'NORM', .*choose loss 'wbce'"):
        multilabel_loss("macro-obs", labels, ("NORM", "MI", "STTC", "CD", "HYP"))
    multilabel_loss("wbce", labels, ("NORM", "MI", "STTC", "CD", "HYP"))


def test_an_unknown_multilabel_loss_and_labels_that_do_not_fit_are_refused():
    with pytest.raises(EcglensError, match="unknown loss for several labels a record 'wbbce'; did you mean 'wbce'"):
        multilabel_loss("wbbce", torch.ones(2, 5), CODES)
    for labels in (torch.ones(2, 4), torch.ones(5), torch.ones(0, 5)):
        with pytest.raises(EcglensError, match=r"labels have shape .* expected .1 or more, 5 classes"):
            multilabel_loss("wbce", labels, CODES)
    with pytest.raises(EcglensError, match="unknown loss 'wbce'"):
        loss_named("wbce")
