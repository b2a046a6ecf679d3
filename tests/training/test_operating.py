"""Sensitivity at a specificity: the ROC curve of scikit-learn read off by a plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from ecglens.errors import EcglensError
from ecglens.training.operating import sensitivity_at

# few scores, so that there are ties
drawn = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.sampled_from("abcde")), min_size=2, max_size=80).filter(
    lambda rows: len({positive for _, positive, _ in rows}) == 2
)
shares = st.sampled_from([0.01, 0.3, 0.5, 0.9, 0.972, 1.0])


def columns(rows: list[tuple[int, bool, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    score, positive, patients = zip(*rows, strict=True)
    return np.array(score, float), np.array(positive), np.array(patients)


def slowly(score: np.ndarray, positive: np.ndarray, specificity: float) -> float:
    """The best sensitivity among thresholds that leave enough negatives in peace."""
    best = 0.0
    for threshold in np.unique(score):
        left = (score[~positive] <= threshold).mean()
        if left >= specificity - 1e-9:
            best = max(best, float((score[positive] > threshold).mean()))
    return best


@given(rows=drawn, specificity=shares)
def test_sensitivity_is_that_of_a_plain_loop_and_of_the_roc_curve(rows: list, specificity: float) -> None:
    score, positive, patients = columns(rows)
    value, low, high = sensitivity_at(score, positive, patients, specificity, replicates=20)
    assert value == pytest.approx(slowly(score, positive, specificity), abs=1e-12)
    false_positives, true_positives, _ = roc_curve(positive, score, drop_intermediate=False)
    assert value == pytest.approx(true_positives[1 - false_positives >= specificity - 1e-9].max(), abs=1e-12)
    assert np.isnan(low) == np.isnan(high)
    assert np.isnan(low) or 0 <= low < high <= 1
    if len(set(patients)) == 1:
        assert np.isnan(low)


def test_perfect_and_inverted_and_tied_scores() -> None:
    positive, who = np.arange(100) >= 80, np.arange(100) % 7
    score = np.arange(100) / 100
    nan = pytest.approx(np.nan, nan_ok=True)  # all replicates agree: no interval
    assert sensitivity_at(score, positive, who, 0.972) == (1.0, nan, nan)
    assert sensitivity_at(-score, positive, who, 0.972) == (0.0, nan, nan)
    assert sensitivity_at(np.full(100, 0.5), positive, who, 0.01) == (0.0, nan, nan), "nobody is above the one threshold"
    # 90 % of the negatives: 8 false alarms, which are above the last 5 positives
    mixed = np.where(positive, np.where(np.arange(100) < 95, 10.0, 0.0), np.where(np.arange(100) < 8, 5.0, 1.0))
    assert sensitivity_at(mixed, positive, who, 0.9)[0] == 0.75


def test_a_share_of_negatives_that_is_met_exactly_is_enough() -> None:
    """In 64 bits 0.7 x 10 and 0.972 x 1,000 are not what they are on paper."""
    for specificity, n in ((0.7, 10), (0.29, 100), (0.972, 1000), (0.57, 100)):
        above = round(n * (1 - specificity))
        score = np.concatenate([np.arange(n), [n - above - 0.5]])
        positive = np.arange(n + 1) == n
        assert sensitivity_at(score, positive, positive, specificity)[0] == 1.0
        assert sensitivity_at(score, positive, positive, specificity + 0.5 / n)[0] == 0.0


def test_the_bootstrap_is_one_over_patients_with_a_threshold_in_each_replicate() -> None:
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(6), 40)
    positive = rng.random(240) < 0.3
    score = np.round(positive + rng.normal(0, 0.7, 240) + 0.5 * rng.normal(size=6)[who], 1)
    found = sensitivity_at(score, positive, who, 0.9, replicates=80, seed=5)
    draws = np.random.default_rng([5, 3]).multinomial(6, np.full(6, 1 / 6), size=80)
    again = []
    for times in draws:
        rows = np.concatenate([np.tile(np.flatnonzero(who == patient), n) for patient, n in enumerate(times)])
        again.append(slowly(score[rows], positive[rows], 0.9))
    np.testing.assert_allclose(found[1:], np.percentile(again, [2.5, 97.5]), atol=1e-12)
    assert found[2] - found[1] > 0.05


def test_a_seed_gives_one_interval_and_another_seed_another_and_the_value_stays() -> None:
    rng = np.random.default_rng(0)
    who, positive = np.arange(300) % 9, np.arange(300) % 3 == 0
    score = positive + rng.normal(size=300)
    first, again, other = (sensitivity_at(score, positive, who, 0.9, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first[0] == other[0]
    assert first[1:] != other[1:]
    shuffled = rng.permutation(300)
    assert sensitivity_at(score[shuffled], positive[shuffled], who[shuffled], 0.9) == first


def test_replicates_that_lack_a_side_do_not_count() -> None:
    """Without negatives every threshold would do, and the best be taken."""
    positive = np.repeat([True, False], 10)
    score = np.concatenate([np.arange(10), np.full(10, 20)]).astype(float)
    value, low, high = sensitivity_at(score, positive, positive, 0.9)
    assert (value, np.isnan(low), np.isnan(high)) == (0.0, True, True)


@pytest.mark.parametrize(
    ("positive", "specificity", "said"),
    [
        ([True, False], 0.0, "specificity is 0.0; expected a share above 0 and at most 1"),
        ([True, False], 1.01, "specificity is 1.01"),
        ([True, False], float("nan"), "specificity is nan"),
        ([True, True], 0.9, "2 of 2 examples are positive; both sides are needed"),
        ([False, False], 0.9, "0 of 2 examples are positive"),
        ([], 0.9, "0 of 0 examples are positive"),
    ],
)
def test_what_cannot_be_answered_is_refused(positive: list[bool], specificity: float, said: str) -> None:
    hit: Any = np.array(positive, bool)
    with pytest.raises(EcglensError, match=said):
        sensitivity_at(np.arange(float(len(hit))), hit, np.arange(len(hit)), specificity)
