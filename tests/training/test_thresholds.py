"""Thresholds against trying them all."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from ecglens.errors import EcglensError
from ecglens.training.challenge import challenge_score
from ecglens.training.thresholds import choose_thresholds, decide
from made import FEW

CLASSES = ("164889003", "426783006", "59931005", "164917005")


def _case(seed: int, n: int = 60, n_classes: int = 4, levels: int = 0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    truth = rng.random((n, n_classes)) < rng.uniform(0.05, 0.4, n_classes)
    truth[0], truth[1:3, 0] = False, True
    probabilities = 0.8 * rng.random(truth.shape) + 0.2 * truth
    if levels:  # true and false ones at the same probability
        probabilities = np.round(probabilities * levels) / levels
    return truth, probabilities.astype(dtype)


def _all_thresholds(probability):
    known = np.unique(probability.astype(np.float64))
    return [0.0, *((known[1:] + known[:-1]) / 2), 2.0]


@FEW
@given(st.integers(0, 99), st.sampled_from([0, 2, 5]))
def test_f1_thresholds_are_the_best_of_all(seed, levels):
    truth, probabilities = _case(seed, n=30, levels=levels)
    found = choose_thresholds(truth, probabilities, CLASSES, "f1")
    predicted = decide(probabilities, found.values)
    for k in range(4):
        if not truth[:, k].any():
            continue
        best = max(f1_score(truth[:, k], probabilities[:, k] >= at) for at in [0.5, *_all_thresholds(probabilities[:, k])])
        assert f1_score(truth[:, k], predicted[:, k]) == pytest.approx(best)
    some = truth.any(0)
    assert found.after == pytest.approx(f1_score(truth[:, some], predicted[:, some], average="macro"))
    assert found.before == pytest.approx(f1_score(truth[:, some], probabilities[:, some] >= 0.5, average="macro"))


@FEW
@given(st.integers(0, 99), st.sampled_from([0, 3]), st.sampled_from([np.float32, np.float64]))
def test_thresholds_are_never_worse_than_half_everywhere_and_the_score_is_what_was_said(seed, levels, dtype):
    truth, probabilities = _case(seed, levels=levels, dtype=dtype)
    for goal in ("challenge", "f1"):
        found = choose_thresholds(truth, probabilities, CLASSES, goal)
        assert found.after >= found.before
    found = choose_thresholds(truth, probabilities, CLASSES, "challenge")
    assert found.before == challenge_score(truth, probabilities >= 0.5, CLASSES)
    assert found.after == challenge_score(truth, decide(probabilities, found.values), CLASSES)


@FEW
@given(st.integers(0, 99))
def test_no_single_threshold_could_be_moved_to_a_better_challenge_score(seed):
    truth, probabilities = _case(seed, n=25)
    found = choose_thresholds(truth, probabilities, CLASSES, "challenge")
    for k in range(4):
        if CLASSES[k] in found.kept:
            continue
        for at in _all_thresholds(probabilities[:, k]):
            moved = found.values.copy()
            moved[k] = at
            assert challenge_score(truth, decide(probabilities, moved), CLASSES) <= found.after + 1e-9


def test_the_ascent_goes_class_by_class_to_the_best_of_all_thresholds():
    truth, probabilities = _case(5, n=20)
    values = np.full(4, 0.5)
    for _ in range(20):
        before = values.copy()
        for k in range(4):
            tried = [np.where(np.arange(4) == k, at, values) for at in _all_thresholds(probabilities[:, k])]
            scores = [challenge_score(truth, decide(probabilities, one), CLASSES) for one in tried]
            if max(scores) > challenge_score(truth, decide(probabilities, values), CLASSES) + 1e-12:
                values = tried[int(np.argmax(scores))]
        if (before == values).all():
            break
    wanted = challenge_score(truth, decide(probabilities, values), CLASSES)
    assert choose_thresholds(truth, probabilities, CLASSES, "challenge").after == pytest.approx(wanted, abs=1e-9)


def test_with_two_classes_the_ascent_finds_nearly_what_trying_every_pair_does():
    gaps = []
    for seed in range(10):
        truth, probabilities = _case(seed, n=15, n_classes=2)
        pairs = product(*(_all_thresholds(probabilities[:, k]) for k in range(2)))
        best = max(challenge_score(truth, decide(probabilities, np.array(pair)), CLASSES[:2]) for pair in pairs)
        gaps.append(best - choose_thresholds(truth, probabilities, CLASSES[:2], "challenge").after)
    assert min(gaps) > -1e-9
    assert np.mean(np.array(gaps) < 1e-9) >= 0.5


@pytest.mark.parametrize("goal", ["challenge", "f1"])
def test_a_class_without_positives_keeps_half_and_is_named(goal):
    truth, probabilities = _case(0)
    truth[:, 2] = False
    found = choose_thresholds(truth, probabilities, CLASSES, goal)
    assert found.kept == ("59931005",)
    assert found.values[2] == 0.5
    assert (found.values != 0.5).any()
    again = choose_thresholds(truth, probabilities, CLASSES, goal)
    np.testing.assert_array_equal(found.values, again.values)


def test_half_stays_where_it_is_as_good_as_any():
    truth = np.array([[1, 0], [0, 1], [0, 1]], bool)
    probabilities = np.array([[0.9, 0.1], [0.2, 0.7], [0.3, 0.6]])
    for goal in ("challenge", "f1"):
        assert choose_thresholds(truth, probabilities, CLASSES[:2], goal).values.tolist() == [0.5, 0.5]


def test_neighbours_among_floats_are_told_apart():
    low = np.float64(0.7)
    truth, probabilities = np.array([[False], [True]]), np.array([[low], [np.nextafter(low, 1)]])
    found = choose_thresholds(truth, probabilities, ("x",), "f1")
    assert decide(probabilities, found.values).tolist() == [[False], [True]]


@pytest.mark.parametrize(
    ("truth", "probabilities", "classes", "goal", "says"),
    [
        (np.ones((2, 1), bool), np.ones((2, 1)), ("x",), "f2", "unknown goal of the thresholds 'f2'"),
        (np.ones((2, 1), bool), np.ones((3, 1)), ("x",), "f1", r"probabilities \(3, 1\)"),
        (np.ones((0, 1), bool), np.ones((0, 1)), ("x",), "f1", "at least one record"),
        (np.ones((2, 1), bool), np.full((2, 1), 3.0), ("x",), "f1", "logits need their sigmoid"),
        (np.ones((2, 1), bool), np.full((2, 1), np.nan), ("x",), "f1", "a probability is NaN"),
        (np.ones((2, 2), bool), np.ones((2, 2)), ("NORM", "MI"), "challenge", "no weight for 'NORM', 'MI'"),
        (np.eye(2, dtype=bool)[[1, 1]], np.ones((2, 2)), CLASSES[:2], "challenge", "other than sinus rhythm"),
    ],
)
def test_what_cannot_be_chosen_is_refused(truth, probabilities, classes, goal, says):
    with pytest.raises(EcglensError, match=says):
        choose_thresholds(truth, probabilities, classes, goal)
