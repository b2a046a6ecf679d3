"""What is lost between the hospitals, against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ecglens.studies.habeeb2024_transfer import FREQUENT, HospitalAnswers, frequent_in_both, transfer_rows

_CLASSES = ("a", "b", "c", "d")


def _tested(n: int, seed: int, often: tuple[float, ...]) -> HospitalAnswers:
    rng = np.random.default_rng(seed)
    truth = rng.random((n, len(_CLASSES))) < often
    probabilities = 1 / (1 + np.exp(-(rng.normal(size=truth.shape) + truth)))
    return HospitalAnswers(truth, probabilities, rng.integers(0, n // 2, n).astype(str))


def _other_labels(tested: HospitalAnswers, seed: int) -> HospitalAnswers:
    """The same answers, a fifth of the labels turned round."""
    flip = np.random.default_rng(seed).random(tested.truth.shape) < 0.2
    return HospitalAnswers(tested.truth ^ flip, tested.probabilities, tested.patients)


@pytest.fixture(scope="module")
def cpsc() -> HospitalAnswers:
    return _tested(120, 1, (0.3, 0.4, 0.02, 0.2))


@pytest.fixture(scope="module")
def ptbxl() -> dict[str, HospitalAnswers]:
    strict = _tested(200, 2, (0.3, 0.001, 0.3, 0.2))
    return {"published": _other_labels(strict, 3), "strict": strict}


@pytest.fixture(scope="module")
def table(cpsc: HospitalAnswers, ptbxl: dict[str, HospitalAnswers]) -> pd.DataFrame:
    return transfer_rows(cpsc, ptbxl, _CLASSES, replicates=200)


def test_each_class_has_its_auc_in_each_hospital_and_their_difference(
    table: pd.DataFrame, cpsc: HospitalAnswers, ptbxl: dict[str, HospitalAnswers]
) -> None:
    for labels, there in ptbxl.items():
        for k, name in enumerate(_CLASSES):
            row = table[(table["labels"] == labels) & (table["class"] == name)].iloc[0]
            assert (row["n_cpsc"], row["n_ptbxl"]) == (cpsc.truth[:, k].sum(), there.truth[:, k].sum())
            here = roc_auc_score(cpsc.truth[:, k], cpsc.probabilities[:, k])
            assert row["auc_cpsc"] == pytest.approx(here)
            if there.truth[:, k].any():
                away = roc_auc_score(there.truth[:, k], there.probabilities[:, k])
                assert row["auc_ptbxl"] == pytest.approx(away)
                assert row["difference"] == pytest.approx(here - away)
            else:
                assert np.isnan(row["auc_ptbxl"])
                assert np.isnan(row["difference"])


def test_means_are_over_the_classes_that_are_frequent_in_both(
    table: pd.DataFrame, cpsc: HospitalAnswers, ptbxl: dict[str, HospitalAnswers]
) -> None:
    often = {
        labels: [
            name
            for k, name in enumerate(_CLASSES)
            if cpsc.truth[:, k].sum() >= FREQUENT and there.truth[:, k].sum() >= FREQUENT
        ]
        for labels, there in ptbxl.items()
    }
    assert often == {labels: frequent_in_both(cpsc, there, _CLASSES) for labels, there in ptbxl.items()}
    assert often["strict"] != often["published"]
    shared = sorted(set(often["strict"]) & set(often["published"]))
    for labels in ptbxl:
        mine = table[table["labels"] == labels].set_index("class")
        for word, names in (("mean of its classes", often[labels]), ("mean of the shared classes", shared)):
            assert mine.loc[word, "n_ptbxl"] == len(names)
            for key in ("auc_cpsc", "auc_ptbxl", "difference"):
                assert mine.loc[word, key] == pytest.approx(mine.loc[names, key].mean())


def test_intervals_are_of_patients_drawn_again_in_each_hospital_by_itself(
    table: pd.DataFrame, cpsc: HospitalAnswers, ptbxl: dict[str, HospitalAnswers]
) -> None:
    there = ptbxl["strict"]
    rng = np.random.default_rng(9)
    differences = []
    for _ in range(400):
        values = []
        for tested in (cpsc, there):
            patients = np.unique(tested.patients)
            drawn = rng.choice(patients, len(patients))
            rows = np.concatenate([np.flatnonzero(tested.patients == patient) for patient in drawn])
            values.append(roc_auc_score(tested.truth[rows, 0], tested.probabilities[rows, 0]))
        differences.append(values[0] - values[1])
    row = table[(table["labels"] == "strict") & (table["class"] == "a")].iloc[0]
    slow = np.percentile(differences, [2.5, 97.5])
    assert row["difference_low"] == pytest.approx(slow[0], abs=0.035)
    assert row["difference_high"] == pytest.approx(slow[1], abs=0.035)
    assert row["difference_high"] - row["difference_low"] == pytest.approx(slow[1] - slow[0], rel=0.25)


def test_no_mean_where_no_class_is_frequent_in_both() -> None:
    rare = _tested(40, 4, (0.05, 0.05, 0.05, 0.05))
    table = transfer_rows(rare, {"strict": rare}, _CLASSES, replicates=20)
    assert set(table["class"]) == set(_CLASSES)
