"""Scores that do not say what they seem to say, in answers made for it; scikit-learn says what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from audit.subjects import CLASSES, subject
from ecglens.audit import scoring
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.scoring import absent_classes, better_than_lazy, metrics_of_one_class, thresholds_from_test
from ecglens.audit.subject import Subject

_TRUTH = np.array([0] * 30 + [1] * 20)
_SAID = np.array([0] * 24 + [1] * 6 + [1] * 15 + [0] * 3 + [2] * 2)


def _answered(truth: np.ndarray, said: np.ndarray, metrics: dict[str, float]) -> Subject:
    probabilities = np.full((len(said), len(CLASSES)), 0.1)
    probabilities[np.arange(len(said)), said] = 0.8
    patients = [str(k % 10) for k in range(len(truth))]
    return subject(truth.tolist(), patients, asked=np.arange(len(truth)), probabilities=probabilities, metrics=metrics)


def test_absent_classes_in_a_macro_average_are_seen_by_the_number_that_is_reported() -> None:
    over_all = f1_score(_TRUTH, _SAID, average="macro", labels=[0, 1, 2], zero_division=0)
    present = f1_score(_TRUTH, _SAID, average="macro", labels=[0, 1], zero_division=0)
    found = absent_classes(_answered(_TRUTH, _SAID, {"headline.macro_f1": over_all}))
    assert (found.state, found.severity, found.where) == (FOUND, "high", {"classes": "A"})
    assert found.number == pytest.approx(present - over_all)
    assert absent_classes(_answered(_TRUTH, _SAID, {"headline.macro_f1": present})).state == CLEAR
    assert absent_classes(_answered(_TRUTH, _SAID, {})).state == NOT_RUN
    neither = absent_classes(_answered(_TRUTH, _SAID, {"headline.macro_f1": 0.123, "headline.macro_recall": 0.775}))
    assert (neither.state, "macro f1 0.123 is neither" in neither.why_not) == (NOT_RUN, True)
    all_wrong = absent_classes(_answered(_TRUTH, 1 - _TRUTH, {"headline.macro_f1": 0.0}))
    assert (all_wrong.state, all_wrong.number) == (CLEAR, 0)  # a class that is absent takes nothing from 0
    with_a = np.append(_TRUTH[:-1], 2)
    assert absent_classes(_answered(with_a, _SAID, {"headline.macro_f1": 0.5})).what == "Every class has a test example."


def test_precision_and_f1_of_different_classes_are_told_by_their_values() -> None:
    each = {
        "precision": precision_score(_TRUTH, _SAID, average=None, labels=[0, 1], zero_division=0),
        "recall": recall_score(_TRUTH, _SAID, average=None, labels=[0, 1]),
        "f1": f1_score(_TRUTH, _SAID, average=None, labels=[0, 1]),
    }
    mixed = {"headline.f1": each["f1"][0], "headline.precision": each["precision"][1]}
    found = metrics_of_one_class(_answered(_TRUTH, _SAID, mixed))
    assert (found.state, found.where) == (FOUND, {"f1": "N", "precision": "V"})
    one = {f"headline.{name}": values[1] for name, values in each.items()}
    assert metrics_of_one_class(_answered(_TRUTH, _SAID, one)).state == CLEAR
    assert metrics_of_one_class(_answered(_TRUTH, _SAID, {"headline.f1": 0.5})).state == NOT_RUN
    averaged = {"headline.f1": each["f1"].mean(), "headline.precision": each["precision"][1]}
    assert "no class's" in metrics_of_one_class(_answered(_TRUTH, _SAID, averaged)).why_not


def test_a_model_is_beside_the_commonest_answer() -> None:
    gain = np.mean(_SAID == _TRUTH) - np.mean(_TRUTH == 0)
    good = better_than_lazy(_answered(_TRUTH, _SAID, {}))
    assert (good.state, good.number) == (CLEAR, pytest.approx(gain))
    assert good.low < gain < good.high
    lazy = better_than_lazy(_answered(_TRUTH, np.zeros(50, int), {}))
    assert (lazy.state, lazy.severity, lazy.number) == (FOUND, "high", 0)
    worse = better_than_lazy(_answered(_TRUTH, np.ones(50, int), {}))
    assert (worse.severity, worse.number) == ("high", pytest.approx(-0.2))


def test_a_gain_that_is_one_patients_cannot_be_told_from_none() -> None:
    """Nine of ten patients are answered as the commonest answer would be; of the tenth all five are right."""
    of_ten = np.arange(50) % 10 == 4
    truth = np.where(of_ten, 1, _TRUTH * (np.arange(50) % 10 > 6))
    one = better_than_lazy(_answered(truth, np.where(of_ten, 1, 0), {}))
    assert one.number == pytest.approx(0.1)
    assert (one.state, one.severity, one.low) == (FOUND, "medium", 0)
    assert one.what.startswith("The model cannot be told from one that always says N")
    lazy = better_than_lazy(_answered(truth, np.zeros(50, int), {}))
    assert (lazy.severity, "is no better than" in lazy.what) == ("high", True)


def _several(seed: int, chosen_on_test: bool) -> Subject:

    rng = np.random.default_rng(seed)
    truth = rng.random((50, 3)) < 0.4
    probabilities = 1 / (1 + np.exp(-(rng.normal(size=truth.shape) + truth)))
    thresholds = []
    for k in range(3):
        tried = np.sort(probabilities[:, k])
        best = max(tried, key=lambda level, k=k: f1_score(truth[:, k], probabilities[:, k] >= level))
        thresholds.append(float(best) if chosen_on_test else 0.5)
    of = subject(
        [0] * 50, [str(k) for k in range(50)], multi_hot=truth, asked=np.arange(50), probabilities=probabilities,
        answered=probabilities >= np.array(thresholds),
    )  # fmt: skip
    return replace(of, classifier=replace(of.classifier, activation="sigmoid", thresholds=tuple(thresholds)))


@pytest.mark.parametrize("seed", range(2))
def test_thresholds_that_are_the_best_for_the_test_set_were_chosen_on_it(seed: int) -> None:
    assert thresholds_from_test(_several(seed, True)).state == FOUND
    assert thresholds_from_test(_several(seed, False)).state == CLEAR


def test_without_thresholds_or_classes_enough_it_is_not_run() -> None:
    assert thresholds_from_test(_answered(_TRUTH, _SAID, {})).state == NOT_RUN


def test_classes_for_which_any_threshold_is_the_best_do_not_count() -> None:

    of = _several(0, False)
    truth = of.truth
    perfect = np.where(truth, 0.9, 0.1) + 0.05 * np.random.default_rng(1).random(truth.shape)
    assert thresholds_from_test(replace(of, probabilities=perfect, answered=truth)).state == NOT_RUN
    # a label that is wrong and far below, so that no threshold is without error and many are the best
    coarse = np.where(truth, 0.8, 0.2)
    for k in range(3):
        coarse[np.flatnonzero(truth[:, k])[0], k] = 0.01
    said = thresholds_from_test(replace(of, probabilities=coarse, answered=coarse >= 0.5))
    assert (said.state, "few others" in said.why_not) == (NOT_RUN, True)


def test_beside_the_commonest_answer_it_takes_patients_and_classes() -> None:
    of = _answered(_TRUTH, _SAID, {})
    alone = replace(of.examples, table=of.examples.table.assign(patient="a"))
    first = np.arange(30)
    hot = replace(of.examples, multi_hot=of.truth, labels=np.full(50, -1))
    for lacking, text in (
        (replace(of, examples=alone), "one patient"),
        (replace(of, asked=first, probabilities=of.probabilities[:30]), "one class"),
        (replace(of, examples=hot), "several classes"),
        (replace(of, examples=of.examples.take(first[:0]), asked=None, probabilities=None), "no example"),
    ):
        said = better_than_lazy(lacking)
        assert (said.state, text in said.why_not) == (NOT_RUN, True), text


@pytest.mark.parametrize("most", [2000, 30])
def test_where_no_answers_are_known_the_model_is_asked(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "ASKED_ANEW", most)
    of = subject(_TRUTH.tolist(), [str(k % 10) for k in range(50)])
    said = of.classifier.logits(of.examples).argmax(1)
    assert (said != _TRUTH).any()
    for split, rows in ((None, np.arange(50)), (np.where(np.arange(50) % 2, "test", "train"), np.arange(1, 50, 2))):
        found = better_than_lazy(replace(of, split=split))
        n = min(most, len(rows))
        assert f"{n} examples asked now" in found.what
        assert ("may have learnt from" in found.what) == (split is None)
        if n == len(rows):
            accuracy = np.mean(said[rows] == _TRUTH[rows])
            assert f"accuracy {accuracy:.3f}" in found.what
            assert found.number == pytest.approx(accuracy - np.mean(_TRUTH[rows] == 0))
    assert "asked now" not in better_than_lazy(_answered(_TRUTH, _SAID, {})).what
