"""Scores of several labels a record against the Challenge's definitions, class by class, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from ecglens.errors import EcglensError
from ecglens.training.challenge import challenge_score
from ecglens.training.multilabel import PER_CLASS, overall, rankings, score_multilabel
from made import FEW

SNOMED = ("426783006", "164889003", "59118001", "270492004", "59931005")
NAMES = ("NORM", "MI", "STTC", "CD", "HYP")


def _answers(seed: int, n: int = 40, n_classes: int = 5, levels: int = 8):
    """Truth, probabilities with ties and answers; sometimes a class is never true, never false, or never said."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, n_classes)) < rng.choice([0.1, 0.4])
    truth[:, -1] &= bool(seed % 2)
    truth[:, -2] |= seed % 5 == 0
    probabilities = (rng.integers(levels, size=truth.shape) / levels * 0.7 + 0.3 * truth).astype(np.float32)
    predicted = probabilities >= rng.choice([0.3, 0.6])
    if seed % 3 == 0:
        predicted[:, -1] = False
    return truth, probabilities, predicted


def _mean_of_numbers(values):
    values = [value for value in values if not math.isnan(value)]
    return sum(values) / len(values)


def _slowly(truth, predicted, beta=2.0):
    """Accuracy, F, F-beta and G-beta record by record, as the Challenge defines them."""
    n, n_classes = truth.shape
    right = sum(all(truth[i, k] == predicted[i, k] for k in range(n_classes)) for i in range(n)) / n
    f1, f_beta, g_beta = [], [], []
    for k in range(n_classes):
        counts = {True: [0.0, 0.0, 0.0], False: [0.0, 0.0, 0.0]}  # normalised or not: tp, fp, fn
        for i in range(n):
            if truth[i, k] or predicted[i, k]:
                which = 0 if truth[i, k] and predicted[i, k] else 1 if predicted[i, k] else 2
                counts[False][which] += 1
                counts[True][which] += 1 / max(sum(truth[i]), 1)
        tp, fp, fn = counts[False]
        f1.append(2 * tp / (2 * tp + fp + fn) if tp + fp + fn else math.nan)
        tp, fp, fn = counts[True]
        f_beta.append((1 + beta**2) * tp / ((1 + beta**2) * tp + fp + beta**2 * fn) if tp + fp + fn else math.nan)
        g_beta.append(tp / (tp + fp + beta * fn) if tp + fp + fn else math.nan)
    means = [_mean_of_numbers(values) for values in (f1, f_beta, g_beta)]
    return dict(zip(("accuracy", "macro_f1", "macro_f_beta", "macro_g_beta"), [right, *means], strict=True))


def _areas_slowly(positive, score):
    """AUROC by pairs, ties one half; AUPRC by steps over the distinct scores."""
    hits, misses = score[positive], score[~positive]
    auc = np.mean([(a > b) + (a == b) / 2 for a in hits for b in misses]) if len(hits) and len(misses) else math.nan
    if not len(hits):
        return auc, math.nan
    area, before = 0.0, 0.0
    for level in sorted(set(score.tolist()), reverse=True):
        recall = np.mean(hits >= level)
        area += (recall - before) * np.mean(positive[score >= level])
        before = recall
    return auc, area


@FEW
@given(st.integers(0, 99))
def test_overall_scores_equal_the_definition_record_by_record(seed):
    truth, _, predicted = _answers(seed)
    wanted = _slowly(truth, predicted)
    for name, (value,) in overall(truth, predicted).items():
        assert value == pytest.approx(wanted[name], abs=1e-12), name


@FEW
@given(st.integers(0, 99))
def test_accuracy_and_macro_f1_equal_scikit_learn(seed):
    truth, _, predicted = _answers(seed)
    found = overall(truth, predicted)
    assert found["accuracy"][0] == pytest.approx(oracle.accuracy_score(truth, predicted))
    each = oracle.f1_score(truth, predicted, average=None, zero_division=np.nan)
    assert found["macro_f1"][0] == pytest.approx(np.nanmean(each))


@FEW
@given(st.integers(0, 99), st.sampled_from([2, 8, 1000]))
def test_areas_equal_the_definition_and_scikit_learn(seed, levels):
    truth, probabilities, _ = _answers(seed, levels=levels)
    auc, precision = rankings(truth, probabilities)
    for k in range(5):
        wanted = _areas_slowly(truth[:, k], probabilities[:, k])
        np.testing.assert_allclose([auc[0, k], precision[0, k]], wanted, atol=1e-12)
        if 0 < truth[:, k].sum() < len(truth):
            assert auc[0, k] == pytest.approx(oracle.roc_auc_score(truth[:, k], probabilities[:, k]))
        if truth[:, k].any():
            assert precision[0, k] == pytest.approx(oracle.average_precision_score(truth[:, k], probabilities[:, k]))


@FEW
@given(st.integers(0, 99))
def test_weights_count_records_as_often_as_copies_would(seed):
    truth, probabilities, predicted = _answers(seed)
    times = np.random.default_rng(seed).integers(0, 4, len(truth))
    times[0] = 1
    rows = np.repeat(np.arange(len(truth)), times)
    found = overall(truth, predicted, times[None].astype(float))
    for name, value in overall(truth[rows], predicted[rows]).items():
        np.testing.assert_allclose(found[name], value, err_msg=name)
    for weighed, copied in zip(
        rankings(truth, probabilities, times[None].astype(float)), rankings(truth[rows], probabilities[rows]), strict=True
    ):
        np.testing.assert_allclose(weighed, copied)


def test_a_class_said_but_never_true_counts_0_and_one_neither_said_nor_true_not_at_all():
    truth = np.array([[1, 0, 0], [0, 0, 0]], bool)
    said = np.array([[1, 0, 1], [0, 0, 0]], bool)
    found = overall(truth, said)
    assert found["macro_f1"][0] == 0.5
    missed_by_chance = np.array([True, False, True])
    assert overall(truth, said, None, missed_by_chance)["macro_f1"][0] == 1


def _scored(data: int = 1, classes=SNOMED, **options):
    """240 records of 60 patients; all records of a patient are alike, so that it matters who they belong to."""
    rng = np.random.default_rng(data)
    each = rng.permutation(np.arange(240) % 60)
    truth = (rng.random((60, 5)) < 0.3)[each]
    truth[:, 4] &= bool(data % 2)
    probabilities = 0.7 * rng.random((60, 5)).astype(np.float32)[each] + 0.3 * truth
    predicted = probabilities >= 0.5
    patients = np.array([f"p{k}" for k in each])
    found = score_multilabel(truth, probabilities, predicted, patients, classes, **options)
    return truth, probabilities, predicted, patients, found


@pytest.mark.parametrize("seed", [1, 2])
def test_score_gives_the_numbers_of_the_parts(seed):
    truth, probabilities, predicted, patients, found = _scored(seed, replicates=20)
    assert found.flat["n"] == 240
    assert found.flat["patients"] == len(set(patients))
    assert found.flat["records_without_class"] == sum(not row.any() for row in truth)
    assert found.flat["classes_without_positives"] == (0 if seed % 2 else 1)
    for name, value in _slowly(truth, predicted).items():
        assert found.flat[name] == pytest.approx(value), name
    assert found.flat["challenge_score"] == pytest.approx(challenge_score(truth, predicted, SNOMED))
    areas = np.array([_areas_slowly(truth[:, k], probabilities[:, k]) for k in range(5)])
    assert [found.flat["macro_auc"], found.flat["macro_average_precision"]] == pytest.approx(np.nanmean(areas, axis=0))
    for k, row in enumerate(found.per_class.to_dict("records")):
        mine = truth[:, k]
        assert (row["class"], row["support"], row["predicted"]) == (SNOMED[k], mine.sum(), predicted[:, k].sum())
        assert row["patients"] == len(set(patients[mine]))
        np.testing.assert_allclose([row["auc"], row["average_precision"]], areas[k])
        if mine.any():
            assert row["f1"] == pytest.approx(oracle.f1_score(mine, predicted[:, k]))
            assert row["precision"] == pytest.approx(oracle.precision_score(mine, predicted[:, k], zero_division=0))
            assert row["recall"] == pytest.approx(oracle.recall_score(mine, predicted[:, k]))
            assert row["class_accuracy"] == pytest.approx(oracle.accuracy_score(mine, predicted[:, k]))
        else:
            assert all(np.isnan(row[name]) and np.isnan(row[f"{name}_low"]) for name in PER_CLASS)


def test_intervals_equal_a_bootstrap_that_copies_whole_patients():
    truth, probabilities, predicted, patients, found = _scored(1, replicates=3000)
    names, rng = np.unique(patients), np.random.default_rng(99)
    replicas = []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(patients == name) for name in rng.choice(names, len(names))])
        t, p = truth[rows], predicted[rows]
        f1 = oracle.f1_score(t, p, average="macro")
        recall = (t[:, 1] & p[:, 1]).sum() / t[:, 1].sum()
        auc = oracle.roc_auc_score(t[:, 1], probabilities[rows, 1])
        replicas.append((challenge_score(t, p, SNOMED), f1, recall, auc))
    low, high = np.percentile(replicas, [2.5, 97.5], axis=0)
    one = found.per_class.iloc[1]
    pairs = [(found.flat, "challenge_score"), (found.flat, "macro_f1"), (one, "recall"), (one, "auc")]
    for k, (source, name) in enumerate(pairs):
        width = high[k] - low[k]
        assert source[f"{name}_low"] == pytest.approx(low[k], abs=0.15 * width), name
        assert source[f"{name}_high"] == pytest.approx(high[k], abs=0.15 * width), name


def test_every_interval_covers_its_point():
    _, _, _, _, found = _scored(1)
    names = [name for name in found.flat if f"{name}_low" in found.flat]
    assert len(names) == 7
    for name in names:
        assert found.flat[f"{name}_low"] < found.flat[name] < found.flat[f"{name}_high"], name
    for row in found.per_class.to_dict("records"):
        for name in PER_CLASS:
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"], (row["class"], name)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    first, again, other = (_scored(1, replicates=50, seed=seed)[4].flat for seed in (0, 0, 1))
    assert first == again
    assert first["macro_auc_low"] != other["macro_auc_low"]


def test_without_the_challenges_classes_there_is_no_challenge_score():
    assert "challenge_score" not in _scored(1, NAMES, replicates=5)[4].flat


def test_one_patient_has_no_interval_and_nothing_but_sinus_rhythm_no_challenge_score():
    truth = np.zeros((6, 5), bool)
    truth[:4, 0] = True
    chances = np.linspace(0, 1, 30).reshape(6, 5)
    found = score_multilabel(truth, chances, chances > 0.5, np.zeros(6, int), SNOMED, replicates=5)
    assert np.isnan(found.flat["macro_auc_low"])
    assert np.isnan(found.flat["challenge_score"])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"truth": np.zeros((3, 4), bool)}, r"truth has shape \(3, 4\); expected 3 records x 5"),
        ({"predicted": np.zeros((3, 5))}, "predicted is of type float64; expected bool"),
        ({"probabilities": np.zeros((2, 5))}, r"probabilities has shape \(2, 5\)"),
        ({"patients": np.zeros(2)}, r"patients has shape \(2,\); expected one for each of the 3 records"),
        ({"probabilities": np.full((3, 5), np.nan)}, "3 of 3 records have a probability that is NaN"),
        ({"classes": ("A", "B", "C", "D", "D")}, "the 5 classes have only 4 names"),
        ({"classes": (*SNOMED[:4], "713427006")}, "one class given twice"),
    ],
)
def test_what_cannot_be_scored_is_refused(changed, says):
    given_ = {
        "truth": np.zeros((3, 5), bool),
        "probabilities": np.zeros((3, 5)),
        "predicted": np.zeros((3, 5), bool),
        "patients": np.arange(3),
        "classes": SNOMED,
    }
    with pytest.raises(EcglensError, match=says):
        score_multilabel(**(given_ | changed))


def test_no_records_are_refused():
    nothing = np.zeros((0, 5), bool)
    with pytest.raises(EcglensError, match="0 records and 5 classes"):
        score_multilabel(nothing, nothing.astype(float), nothing, np.zeros(0), SNOMED)
