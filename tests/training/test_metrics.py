"""Scores against scikit-learn, and the bootstrap over patients against one that copies beats about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from ecglens.errors import EcglensError
from ecglens.training.metrics import (
    PER_CLASS,
    always,
    class_scores,
    confusion_by_patient,
    overall_scores,
    ranking_scores,
    score,
)
from made import FEW


def _answers(seed: int, n: int = 60, n_classes: int = 5, absent: bool = True):
    """Truth and prediction; with `absent`, the last class has no true example, the one before is never predicted."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(n_classes - absent, size=n)
    predicted = np.where(rng.random(n) < 0.6, truth, rng.integers(n_classes, size=n))
    if absent:
        predicted[predicted == n_classes - 2] = 0
    return truth.astype(np.int64), predicted.astype(np.int64)


def _confusion(truth, predicted, n_classes):
    counts = np.zeros((n_classes, n_classes))
    for t, p in zip(truth, predicted, strict=True):
        counts[t, p] += 1
    return counts


def _one_hot(predicted, n_classes):
    return np.eye(n_classes, dtype=np.float32)[predicted]


@FEW
@given(st.integers(0, 99), st.booleans())
def test_scores_of_each_class_equal_scikit_learn(seed, absent):
    truth, predicted = _answers(seed, absent=absent)
    found = class_scores(_confusion(truth, predicted, 5))
    precision, recall, f1, support = oracle.precision_recall_fscore_support(truth, predicted, labels=range(5), zero_division=0)
    np.testing.assert_allclose(found["precision"], precision)
    np.testing.assert_allclose(found["recall"], recall)
    np.testing.assert_allclose(found["f1"], f1)
    np.testing.assert_array_equal(found["support"], support)
    np.testing.assert_array_equal(found["claimed"], np.bincount(predicted, minlength=5))
    for label in range(5):
        others = truth != label
        assert found["specificity"][label] == pytest.approx(np.mean(predicted[others] != label))


@FEW
@given(st.integers(0, 99), st.booleans())
def test_averages_over_all_classes_equal_scikit_learn_and_over_present_ones_a_plain_mean(seed, absent):
    truth, predicted = _answers(seed, absent=absent)
    confusion = _confusion(truth, predicted, 5)
    found, each = overall_scores(confusion), class_scores(confusion)
    precision, recall, f1, _ = oracle.precision_recall_fscore_support(
        truth, predicted, labels=range(5), average="macro", zero_division=0
    )
    assert found["accuracy"] == pytest.approx(oracle.accuracy_score(truth, predicted))
    assert found["macro_precision_all"] == pytest.approx(precision)
    assert found["macro_recall_all"] == pytest.approx(recall)
    assert found["macro_f1_all"] == pytest.approx(f1)
    assert found["macro_specificity_all"] == pytest.approx(np.mean(each["specificity"]))
    present = sorted(set(truth.tolist()))
    for name in PER_CLASS:
        assert found[f"macro_{name}"] == pytest.approx(np.mean([each[name][label] for label in present]))


def test_many_confusion_matrices_at_once_score_as_one_by_one():
    stack = np.stack([_confusion(*_answers(seed), 5) for seed in range(6)]).reshape(2, 3, 5, 5)
    together = overall_scores(stack) | class_scores(stack)
    for i, j in np.ndindex(2, 3):
        alone = overall_scores(stack[i, j]) | class_scores(stack[i, j])
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][i, j], value, err_msg=name)


def test_the_published_f1_of_four_classes_average_to_72_over_the_present_and_36_over_all_eight():
    # a class with `hit` of `support` right and nothing else taken for it has F1 2 hit / (support + hit)
    confusion = np.zeros((8, 8))
    for label, (hit, support) in enumerate([(1, 19), (97, 103), (97, 103), (21, 29)]):
        confusion[label, label] = hit
        confusion[label, label + 4] = support - hit
    np.testing.assert_allclose(class_scores(confusion)["f1"][:4], [0.10, 0.97, 0.97, 0.84])
    found = overall_scores(confusion)
    assert found["macro_f1"] == pytest.approx(0.72)
    assert found["macro_f1_all"] == pytest.approx(0.36)


def test_a_class_that_a_replicate_happens_to_miss_is_left_out_where_it_is_known_to_occur():
    confusion = np.zeros((3, 3))
    confusion[0, 0] = 4
    confusion[1, 0] = 4
    counted = np.array([True, True, True])  # class 2 occurs, but not here
    f1 = class_scores(confusion)["f1"]
    assert overall_scores(confusion, counted)["macro_f1_all"] == pytest.approx(f1[:2].mean())
    never = np.array([True, True, False])
    assert overall_scores(confusion, never)["macro_f1_all"] == pytest.approx(f1.mean())
    assert overall_scores(confusion)["macro_f1_all"] == pytest.approx(f1.mean())


def test_an_empty_confusion_matrix_scores_0_without_a_warning():
    assert all(value == 0 for value in overall_scores(np.zeros((3, 3))).values())


def test_confusion_is_counted_patient_by_patient():
    truth, predicted = _answers(0, n=40, n_classes=3)
    patients = np.random.default_rng(1).choice(["b", "c", "a"], 40)
    found, names = confusion_by_patient(truth, predicted, patients, 3)
    assert names.tolist() == ["a", "b", "c"]
    for name, matrix in zip(names, found, strict=True):
        mine = patients == name
        np.testing.assert_array_equal(matrix, _confusion(truth[mine], predicted[mine], 3))


def _ranked(seed: int, levels: int, n: int = 40):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    positive[:2] = True, False
    values = rng.integers(levels, size=n) / levels + 0.3 * positive if levels else rng.random(n)
    return positive, values


@FEW
@given(st.integers(0, 99), st.sampled_from([0, 1, 2, 5, 20]))
def test_auc_and_average_precision_equal_scikit_learn_with_and_without_ties(seed, levels):
    positive, values = _ranked(seed, levels)
    auc, precision = ranking_scores(positive, values)
    assert auc == pytest.approx([oracle.roc_auc_score(positive, values)])
    assert precision == pytest.approx([oracle.average_precision_score(positive, values)])


@FEW
@given(st.integers(0, 99), st.sampled_from([0, 2, 8]))
def test_weighted_auc_and_average_precision_equal_scikit_learn(seed, levels):
    positive, values = _ranked(seed, levels)
    weights = np.random.default_rng(seed + 1).integers(0, 4, (3, 40)).astype(float)
    weights[:, :2] += 1  # both sides stay
    auc, precision = ranking_scores(positive, values, weights)
    for k in range(3):
        assert auc[k] == pytest.approx(oracle.roc_auc_score(positive, values, sample_weight=weights[k]))
        assert precision[k] == pytest.approx(oracle.average_precision_score(positive, values, sample_weight=weights[k]))


def test_auc_is_the_share_of_pairs_in_the_right_order_and_ties_count_half():
    positive, values = _ranked(3, 4)
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in values[positive] for b in values[~positive]]
    assert ranking_scores(positive, values)[0] == pytest.approx([np.mean(pairs)])


@pytest.mark.parametrize("side", [True, False])
def test_auc_and_average_precision_are_missing_where_one_side_is_empty(side):
    auc, precision = ranking_scores(np.full(5, side), np.arange(5.0))
    assert np.isnan(auc).all()
    assert np.isnan(precision).all()


def _scored(data: int = 0, n_patients: int = 12, n: int = 240, **options):
    rng = np.random.default_rng(data)
    truth, _ = _answers(data, n, 4)
    chances = rng.random((n, 4)) + 0.7 * np.eye(4)[truth]
    patients = np.array([f"p{k}" for k in rng.integers(n_patients, size=n)])
    probabilities = (chances / chances.sum(1, keepdims=True)).astype(np.float32)
    classes = ("N", "V", "S", "F")
    return truth, probabilities, patients, score(truth, probabilities, patients, classes, **options)


def test_score_gives_the_numbers_of_the_parts():
    truth, probabilities, patients, found = _scored()
    predicted = probabilities.argmax(1)
    assert (found.flat["n"], found.flat["patients"]) == (240, len(set(patients)))
    assert found.flat["accuracy"] == pytest.approx(oracle.accuracy_score(truth, predicted))
    np.testing.assert_array_equal(found.confusion, oracle.confusion_matrix(truth, predicted, labels=range(4)))
    assert found.per_class["class"].tolist() == ["N", "V", "S", "F"]
    for label, row in enumerate(found.per_class.itertuples()):
        mine = truth == label
        assert (row.support, row.predicted) == (mine.sum(), (predicted == label).sum())
        assert row.patients == len(set(patients[mine]))
        if mine.any():
            assert row.auc == pytest.approx(oracle.roc_auc_score(mine, probabilities[:, label]))
            assert row.average_precision == pytest.approx(oracle.average_precision_score(mine, probabilities[:, label]))
            assert row.f1 == pytest.approx(oracle.f1_score(mine, predicted == label))


def test_a_class_without_test_examples_has_no_scores_of_its_own():
    _, _, _, found = _scored()
    absent = found.per_class.set_index("class").loc["F"]
    assert absent["support"] == 0
    assert absent["predicted"] > 0
    for name in (*PER_CLASS, "auc", "average_precision"):
        assert np.isnan(absent[name]), name
        assert np.isnan(absent[f"{name}_low"]), name


def test_a_patient_has_no_f1_for_a_class_neither_his_nor_claimed():
    truth = np.array([0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 0, 1])
    patients = np.array(["a", "a", "b", "b", "b"])
    table = score(truth, _one_hot(predicted, 3), patients, ("N", "V", "S")).per_patient.set_index("patient")
    assert table.loc["a", ["n", "accuracy", "n_N", "f1_N"]].tolist() == [2, 1.0, 2, 1.0]
    assert np.isnan(table.loc["a", "f1_V"])
    assert table.loc["b", "accuracy"] == pytest.approx(1 / 3)
    assert table.loc["b", ["n_N", "f1_N", "n_V", "f1_V", "f1_S"]].tolist() == [0, 0.0, 2, 0.5, 0.0]


@pytest.mark.parametrize(("over", "suffix"), [("present", ""), ("all", "_all")])
def test_the_headline_average_is_the_one_asked_for(over, suffix):
    _, _, _, found = _scored(average_over=over)
    for name in PER_CLASS:
        assert found.flat[f"headline_macro_{name}"] == found.flat[f"macro_{name}{suffix}"]
    assert found.flat["macro_f1"] > found.flat["macro_f1_all"]


@pytest.mark.parametrize("seed", range(4))
def test_every_interval_covers_its_point(seed):
    _, _, _, found = _scored(seed)
    for name in ("accuracy", *(f"macro_{name}{suffix}" for name in PER_CLASS for suffix in ("", "_all"))):
        assert found.flat[f"{name}_low"] < found.flat[name] < found.flat[f"{name}_high"], name
    for row in found.per_class[found.per_class["support"] > 0].to_dict("records"):
        for name in (*PER_CLASS, "auc", "average_precision"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"], (row["class"], name)


def test_intervals_equal_a_bootstrap_that_copies_the_beats_of_whole_patients():
    truth, probabilities, patients, found = _scored(2, n_patients=9, replicates=4000)
    predicted, names = probabilities.argmax(1), np.unique(patients)
    rng = np.random.default_rng(99)
    replicas = []
    for _ in range(800):
        rows = np.concatenate([np.flatnonzero(patients == name) for name in rng.choice(names, len(names))])
        t, p, chance = truth[rows], predicted[rows], probabilities[rows, 0]
        f1 = [2 * np.sum((t == k) & (p == k)) / (np.sum(t == k) + np.sum(p == k)) for k in range(3)]
        above = chance[t == 0][:, None] > chance[t != 0]
        replicas.append((np.mean(t == p), np.mean(f1), above.mean()))
    low, high = np.percentile(replicas, [2.5, 97.5], axis=0)
    normal = found.per_class.iloc[0]
    for k, (source, name) in enumerate([(found.flat, "accuracy"), (found.flat, "macro_f1"), (normal, "auc")]):
        width = high[k] - low[k]
        assert source[f"{name}_low"] == pytest.approx(low[k], abs=0.12 * width), name
        assert source[f"{name}_high"] == pytest.approx(high[k], abs=0.12 * width), name


def test_the_interval_leaves_a_fortieth_of_the_replicates_on_each_side():
    truth, probabilities, patients, found = _scored(2, n_patients=30, replicates=4000)
    right = truth == probabilities.argmax(1)
    rows = [np.flatnonzero(patients == name) for name in np.unique(patients)]
    rng = np.random.default_rng(98)
    replicas = []
    for _ in range(4000):
        picked = rng.integers(len(rows), size=len(rows))
        replicas.append(right[np.concatenate([rows[k] for k in picked])].mean())
    low, high = np.percentile(replicas, [2.5, 97.5])
    assert found.flat["accuracy_low"] == pytest.approx(low, abs=0.04 * (high - low))
    assert found.flat["accuracy_high"] == pytest.approx(high, abs=0.04 * (high - low))


def test_replicates_that_happen_to_miss_a_class_do_not_count_it_as_0():
    # V in two of eight patients, with recall 0.5 and 1: one replicate in ten has neither
    rng = np.random.default_rng(0)
    patients = np.repeat([f"p{k}" for k in range(8)], 20)
    truth = np.where(np.isin(patients, ["p0", "p1"]) & (np.arange(160) % 2 == 0), 1, 0)
    predicted = np.where(rng.random(160) < 0.1, 0, truth)
    predicted[(truth == 1) & (patients == "p0")] = [1, 0] * 5
    predicted[(truth == 1) & (patients == "p1")] = 1
    found = score(truth, _one_hot(predicted, 2), patients, ("N", "V"))
    recall = found.per_class.set_index("class").loc["V"]
    assert recall["recall"] == 0.75
    assert (recall["recall_low"], recall["recall_high"]) == (0.5, 1.0)
    # both classes occur in the test set: the two averages are the same, and so are their intervals
    for name in PER_CLASS:
        for end in ("", "_low", "_high"):
            assert found.flat[f"macro_{name}_all{end}"] == found.flat[f"macro_{name}{end}"], name


def test_one_patient_gives_no_interval():
    _, _, _, found = _scored(n_patients=1)
    ends = {name: value for name, value in found.flat.items() if name.endswith(("_low", "_high"))}
    assert ends
    assert np.isnan(list(ends.values())).all()
    in_table = [name for name in found.per_class if name.endswith(("_low", "_high"))]
    assert found.per_class[in_table].isna().all().all()
    assert found.flat["accuracy"] > 0


def test_intervals_depend_on_the_seed_alone():
    truth, probabilities, patients, found = _scored(1, seed=7)
    np.random.seed(5)  # noqa: NPY002
    again = score(truth, probabilities, patients, ("N", "V", "S", "F"), seed=7)
    assert again.flat == found.flat
    assert again.per_class.equals(found.per_class)
    other = score(truth, probabilities, patients, ("N", "V", "S", "F"), seed=8)
    assert other.flat["accuracy"] == found.flat["accuracy"]
    assert other.flat["accuracy_low"] != found.flat["accuracy_low"]


def test_the_order_of_the_beats_does_not_matter():
    truth, probabilities, patients, found = _scored(3)
    order = np.random.default_rng(0).permutation(len(truth))
    again = score(truth[order], probabilities[order], patients[order], ("N", "V", "S", "F"))
    assert again.flat == pytest.approx(found.flat)
    np.testing.assert_allclose(
        again.per_class.drop(columns="class").to_numpy(float), found.per_class.drop(columns="class").to_numpy(float)
    )


def test_more_beats_of_the_same_patients_do_not_narrow_the_interval():
    truth, probabilities, patients, found = _scored(4)
    more = score(np.tile(truth, 5), np.tile(probabilities, (5, 1)), np.tile(patients, 5), ("N", "V", "S", "F"))
    for name in ("accuracy", "accuracy_low", "accuracy_high", "macro_f1_low", "macro_f1_high"):
        assert more.flat[name] == pytest.approx(found.flat[name]), name


def test_nothing_to_score_and_an_unknown_average_are_refused():
    nothing = np.array([], np.int64)
    with pytest.raises(EcglensError, match="no test examples"):
        score(nothing, np.zeros((0, 2), np.float32), nothing.astype(str), ("N", "V"))
    with pytest.raises(EcglensError, match="unknown average_over 'micro'"):
        score(np.array([0]), np.ones((1, 2), np.float32), np.array(["a"]), ("N", "V"), average_over="micro")


@pytest.mark.parametrize("answer", [0, 2, 3])
def test_always_scores_a_model_with_one_answer(answer):
    truth, _ = _answers(5, n_classes=4)
    found = always(truth, answer, 4)
    predicted = np.full(len(truth), answer)
    assert found["accuracy"] == pytest.approx(np.mean(truth == answer))
    f1 = oracle.f1_score(truth, predicted, labels=range(4), average="macro", zero_division=0)
    assert found["macro_f1_all"] == pytest.approx(f1)
    assert found == pytest.approx({k: float(v) for k, v in overall_scores(_confusion(truth, predicted, 4)).items()})
