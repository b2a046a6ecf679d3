"""Shares of the leads: sums over sums, signed or not, and what has no examples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ecglens.analysis.lead_shares import lead_shares
from ecglens.analysis.one_number import best_auc
from ecglens.errors import EcglensError

_LEADS, _CLASSES = ("I", "II", "V1"), ("a", "b", "c")


def _made(n: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(0.5, 1, (n, 3)), rng.integers(0, 2, n), rng.integers(0, 12, n).astype(str)


@pytest.mark.parametrize("signed", [True, False])
def test_shares_are_sums_over_sums_by_class(signed: bool) -> None:
    values, labels, patients = _made()
    table = lead_shares(values, labels, patients, _CLASSES, _LEADS, signed=signed)
    for k, name in enumerate(_CLASSES[:2]):
        mine = table[table["class"] == name]
        assert mine["lead"].tolist() == list(_LEADS)
        assert set(mine["n"]) == {int((labels == k).sum())}
        total, of_lead = 0.0, [0.0, 0.0, 0.0]
        for row, label in zip(values, labels, strict=True):
            if label == k:
                for j, value in enumerate(row):
                    part = value if signed else abs(value)
                    of_lead[j] += part
                    total += part
        np.testing.assert_allclose(mine["share"], [part / total for part in of_lead])
        assert mine["share"].sum() == pytest.approx(1)
        if not signed:
            assert (mine["share_low"] < mine["share"]).all()
            assert (mine["share"] < mine["share_high"]).all()


def test_a_class_without_examples_has_no_shares_and_one_patient_no_interval() -> None:
    values, labels, patients = _made()
    table = lead_shares(values, labels, np.full(len(labels), "p"), _CLASSES, _LEADS, signed=False)
    nobody = table[table["class"] == "c"]
    assert set(nobody["n"]) == {0}
    assert nobody[["share", "share_low", "share_high"]].isna().all().all()
    assert table[table["class"] == "a"]["share_low"].isna().all()
    with pytest.raises(EcglensError, match=r"values have shape \(40, 3\) for 40 labels and 39 patients"):
        lead_shares(values, labels, patients[:-1], _CLASSES, _LEADS, signed=True)


def test_the_best_auc_of_one_number_is_that_of_the_likelihood_ratio() -> None:
    assert best_auc(np.array([10.0] * 52 + [*np.linspace(11, 60, 103)]), np.full(2980, 10.0)) == pytest.approx(
        1 - 52 / 155 / 2
    )
    assert best_auc(np.arange(5.0), np.arange(5.0)) == pytest.approx(0.5)
    assert best_auc(np.array([1.0, 2.0]), np.array([3.0])) == 1
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 6, 200).astype(float), rng.integers(2, 9, 300).astype(float)
    both, origin = np.concatenate([first, second]), np.r_[np.ones(200), np.zeros(300)]
    score = [np.mean(first == v) / (np.mean(first == v) + np.mean(second == v)) for v in both]
    assert best_auc(first, second) == pytest.approx(roc_auc_score(origin, score))
    with pytest.raises(EcglensError, match="groups of 0 and 3"):
        best_auc(np.array([]), np.ones(3))
