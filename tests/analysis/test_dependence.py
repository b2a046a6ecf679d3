"""Does a map depend on the class that is asked about, and a decision on the RR intervals?"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ecglens.analysis.dependence import class_dependence, context_share
from ecglens.attribution import registry
from ecglens.errors import EcglensError
from ecglens.examples.context import RR_FEATURES, rr_features
from ecglens.models.classifier import Classifier
from made import FEW, created, make_examples, random_examples, tiny


def _asked(first_maps: np.ndarray, second_maps: np.ndarray):
    """Class dependence of a method that answers with these maps, for two examples' worth of classes 0 and 1."""
    n = len(first_maps)
    examples = random_examples(n, leads=first_maps.shape[1], length=first_maps.shape[2])
    both = torch.from_numpy(np.stack([first_maps, second_maps]))
    registry.register("told", registry.methods()["uniform"].card)(lambda batch: both[batch.target, batch.rows])
    try:
        return class_dependence("told", tiny(examples), examples, np.zeros(n, np.int64), np.ones(n, np.int64))
    finally:
        del registry._REGISTRY["told"]


def test_the_same_map_twice_has_change_0_and_correlation_1():
    maps = np.random.default_rng(0).normal(size=(4, 2, 9)).astype(np.float32)
    table = _asked(maps, maps)
    np.testing.assert_array_equal(table["change"], 0)
    np.testing.assert_allclose(table["correlation"], 1, rtol=1e-5)


def test_maps_with_nothing_in_common_have_change_1():
    one, two = np.zeros((2, 1, 10), np.float32), np.zeros((2, 1, 10), np.float32)
    one[:, :, :4], two[:, :, 4:] = 0.5, -2.0
    table = _asked(one, two)
    np.testing.assert_allclose(table["change"], 1)
    np.testing.assert_allclose(table["correlation"], -1, rtol=1e-5)


def test_the_opposite_map_has_change_1_though_its_size_is_the_same():
    maps = np.random.default_rng(0).normal(size=(3, 2, 9)).astype(np.float32)
    table = _asked(maps, -maps)
    np.testing.assert_allclose(table["change"], 1, rtol=1e-6)
    np.testing.assert_allclose(table["correlation"], 1, rtol=1e-5)


@FEW
@given(st.integers(0, 99))
def test_change_and_correlation_equal_their_definitions_and_lie_in_range(seed):
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(2, 3, 2, 8)).astype(np.float32)
    table = _asked(one, two)
    for k in range(3):
        a, b = one[k].ravel().tolist(), two[k].ravel().tolist()
        change = sum(abs(p - q) for p, q in zip(a, b, strict=True)) / (sum(map(abs, a)) + sum(map(abs, b)))
        assert table["change"][k] == pytest.approx(change, rel=1e-5)
        assert 0 <= table["change"][k] <= 1
        assert table["correlation"][k] == pytest.approx(np.corrcoef(np.abs(a), np.abs(b))[0, 1], rel=1e-4, abs=1e-5)


def test_empty_maps_have_change_0_and_no_correlation():
    table = _asked(np.zeros((2, 1, 5), np.float32), np.zeros((2, 1, 5), np.float32))
    assert table["change"].tolist() == [0, 0]
    assert table["correlation"].isna().all()


def test_the_map_of_jones_2020_does_not_depend_on_the_class_and_the_gradient_of_a_logit_does():
    examples = random_examples(5, length=96)
    model = created("jones-cnn", examples)
    first, second = np.zeros(5, np.int64), np.array([1, 2, 1, 2, 1])
    assert (class_dependence("mean-activation", model, examples, first, second)["change"] == 0).all()
    assert (class_dependence("saliency", model, examples, first, second)["change"] > 0.1).all()


class _Toy(nn.Module):
    """Logits from the sum s of the signal and the first RR number c, by a function of both."""

    def __init__(self, logits) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.9)
        self.logits = logits

    def forward(self, x, context):
        ones = self.drop(torch.ones(len(x)))
        return torch.stack([each * ones for each in self.logits(x.sum(dim=(1, 2)), context[:, 0])], dim=1)


def _toy(logits, examples) -> Classifier:
    return Classifier(_Toy(logits), "toy", examples.classes, examples.leads, examples.fs, examples.length, context="rr")


def _beats(sums, early) -> tuple:
    """Beats with given sums of the signal and given first RR numbers (logarithms)."""
    sums, early = np.asarray(sums, float), np.asarray(early, float)
    signals = np.repeat(sums[:, None, None] / 10, 10, axis=2).astype(np.float32)
    examples = make_examples(signals, classes=("a", "b", "c"), rr_before=0.8 * np.exp(early), rr_local=0.8)
    np.testing.assert_allclose(rr_features(examples)[:, 0], early, atol=1e-5)
    assert RR_FEATURES[0] == "log(rr_before / rr_local)"
    return examples


def test_context_share_of_a_linear_model_is_the_share_of_its_rr_term():
    examples, background = _beats([1.0, -2.0, 3.0], [0.5, 0.5, -1.0]), _beats([0.2], [-0.1])
    model = _toy(lambda s, c: (2 * s + 3 * c, -s, 5 * c), examples)
    target = np.array([0, 1, 2])
    weights = {0: (2 + 0.5, 3 - 2.5), 1: (-1 - 1.0, 0 - 4.0), 2: (0 - 0.5, 5 - 1.5)}  # target less mean of the others
    expected = []
    for s, c, label in zip([1.0, -2.0, 3.0], [0.5, 0.5, -1.0], target, strict=True):
        of_signal, of_rr = weights[label][0] * (s - 0.2), weights[label][1] * (c + 0.1)
        expected.append(abs(of_rr) / (abs(of_rr) + abs(of_signal)))
    np.testing.assert_allclose(context_share(model, examples, target, background, 0), expected, rtol=1e-4)


def test_context_share_splits_what_both_do_together_in_the_manner_of_shapley():
    examples, background = _beats([2.0], [0.5]), _beats([0.4], [-0.3])
    model = _toy(lambda s, c: (s * c + c, 0 * s, 0 * s), examples)

    def worth(s, c):
        return s * c + c

    nobody, signal, rr, both = worth(0.4, -0.3), worth(2.0, -0.3), worth(0.4, 0.5), worth(2.0, 0.5)
    of_signal = ((signal - nobody) + (both - rr)) / 2
    of_rr = ((rr - nobody) + (both - signal)) / 2
    assert of_signal + of_rr == pytest.approx(both - nobody)
    found = context_share(model, examples, np.array([0]), background, 0)
    assert found[0] == pytest.approx(abs(of_rr) / (abs(of_rr) + abs(of_signal)), rel=1e-4)


def test_context_share_is_0_where_rr_is_ignored_1_where_the_signal_is_and_0_where_nothing_counts():
    rng = np.random.default_rng(0)
    examples, background = _beats(rng.normal(size=6), rng.normal(size=6) / 2), _beats([5.0, 6.0], [0.9, 1.0])
    target = np.array([0, 1, 2, 0, 1, 2])
    for logits, share in (
        (lambda s, c: (s + 0 * c, 2 * s, -s), 0.0),
        (lambda s, c: (c + 0 * s, 2 * c, -c), 1.0),
        (lambda s, c: (0 * s + 1, 0 * c, 0 * s), 0.0),
    ):
        found = context_share(_toy(logits, examples), examples, target, background, 0)
        np.testing.assert_allclose(found, share, atol=1e-5)


def test_context_share_averages_over_the_background():
    examples, background = _beats([1.0], [0.4]), _beats([0.0, 4.0, 0.5], [0.0, -0.2, 0.3])
    model = _toy(lambda s, c: (s + 2 * c, 0 * s, 0 * s), examples)
    of_signal, of_rr = 1.0 - np.mean([0.0, 4.0, 0.5]), 2 * (0.4 - np.mean([0.0, -0.2, 0.3]))
    found = context_share(model, examples, np.array([0]), background, 0, draws=3000)
    assert found[0] == pytest.approx(abs(of_rr) / (abs(of_rr) + abs(of_signal)), abs=0.03)


def test_context_share_depends_on_the_seed_alone():
    examples = random_examples(6, length=40, rr_before=np.exp(np.linspace(-1, 0.3, 6)))
    model = created("resnet-rr", examples)
    target = examples.labels
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    found = context_share(model, examples, target, examples, 1, draws=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(context_share(model, examples, target, examples, 1, draws=3), found)
    assert not np.allclose(context_share(model, examples, target, examples, 2, draws=3), found)
    assert ((found >= 0) & (found <= 1)).all()
    assert found.dtype == np.float64
    assert 0 < found.mean() < 1


def test_context_share_of_many_examples_equals_that_of_single_ones():
    n = 1030
    rng = np.random.default_rng(0)
    examples, background = _beats(rng.normal(size=n), rng.normal(size=n) / 3), _beats([0.3], [0.1])
    model = _toy(lambda s, c: (s * c, s + c, 0 * s), examples)
    target = rng.integers(3, size=n)
    together = context_share(model, examples, target, background, 0, draws=1)
    for row in (0, 511, 512, 1024, 1029):
        rows = np.array([row])
        alone = context_share(model, examples.take(rows), target[rows], background, 0, draws=1)
        assert together[row] == pytest.approx(alone[0], rel=1e-4)


def test_context_share_leaves_the_mode_of_the_module():
    examples = _beats([1.0], [0.4])
    model = _toy(lambda s, c: (s, c, s), examples)
    model.module.train()
    context_share(model, examples, np.array([0]), examples, 0)
    assert model.module.training


def test_context_share_refuses_a_model_that_takes_no_rr_intervals():
    examples = random_examples(2, leads=1, length=224)
    for name in ("resnet", "small2d"):  # the second takes which samples are signal
        with pytest.raises(EcglensError, match=f"{name} does not take RR intervals"):
            context_share(created(name, examples), examples, examples.labels, examples, 0)


def test_context_share_scales_signals_as_the_model_does():
    examples, background = _beats([1.0, 3.0], [0.4, 0.2]), _beats([0.5], [0.0])
    model = replace(_toy(lambda s, c: (s + c, 0 * s, 0 * s), examples), scale="offset")
    # every signal here is flat: without its mean nothing is left but the RR numbers
    np.testing.assert_allclose(context_share(model, examples, np.array([0, 0]), background, 0), 1.0, atol=1e-5)
    assert math.isclose(float(examples.signals[0].sum()), 1.0, rel_tol=1e-5)
