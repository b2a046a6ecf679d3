"""Does a decision lean on the origin? Heads that are built to, and heads that are built not to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecglens.analysis.leaning import COLUMNS, leaning, random_bases
from ecglens.errors import EcglensError

CLASSES = ("A", "B")


def _made(seed: int = 0, n: int = 600, width: int = 12, shift: float = 1.5) -> dict[str, Any]:
    """Feature 0 is what tells the origin, by `shift` SD up or down; features 0 and 1 both tell the class, by 3 SD."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    who = rng.integers(24, size=n)
    features = rng.normal(size=(n, width))
    features[:, :2] += np.where(labels == 0, 3.0, -3.0)[:, None]
    features[:, 0] += shift * np.where(who % 2, 1.0, -1.0)
    origins = np.array(["x", "y"])[who % 2]
    return {"features": features, "labels": labels, "origins": origins, "groups": np.char.add("p", who.astype(str))}


def _head(feature: int, width: int = 12) -> dict[str, np.ndarray]:
    weight = np.zeros((2, width))
    weight[:, feature] = [1.0, -1.0]
    return {"weight": weight, "bias": np.array([0.3, 0.1])}


def _table(made: dict[str, Any], head: dict[str, np.ndarray], **told: Any) -> pd.DataFrame:
    return leaning(**made, **head, classes=CLASSES, **told).set_index("class")


def test_a_head_that_reads_the_origin_loses_its_margin():
    table = _table(_made(), _head(0))
    assert (table["auc_before"] > 0.95).all()
    assert (table["auc_after"] < 0.62).all()
    assert (table["margin_before"] > 5).all()
    assert (table["margin_after"].abs() < 0.12 * table["margin_before"]).all()
    assert (table["margin_random"] > 0.8 * table["margin_before"]).all()
    assert (table["margin_after"] < table["margin_random_low"]).all()
    assert (table["accuracy_before"] > 0.95).all()
    assert (table["accuracy_after"] < 0.8).all()
    assert (table["leans"] > 0.7).all()
    assert (table["low"] > 0.3).all()
    assert (table["low"] < table["leans"]).all()
    assert (table["leans"] < table["high"]).all()


def test_a_head_that_does_not_read_the_origin_keeps_its_margin():
    table = _table(_made(), _head(1))
    assert (table["auc_before"] > 0.95).all()
    np.testing.assert_allclose(table["margin_after"], table["margin_before"], rtol=0.06)
    np.testing.assert_allclose(table["accuracy_after"], table["accuracy_before"], atol=0.01)
    assert (table["leans"] < 0.05).all()
    assert (table["low"] < 0).all()


def test_removal_is_by_the_other_half_and_to_the_mean_over_classes():
    made = _made()
    made["features"] = made["features"][:, :1]
    table = _table(made, _head(0, 1))
    x, labels = made["features"][:, 0], made["labels"]
    centre = (x[labels == 0].mean() + x[labels == 1].mean()) / 2
    for label in (0, 1):
        sign = 1 - 2 * label
        expected = sign * (2 * centre + 0.2)
        assert table["margin_after"].iloc[label] == pytest.approx(expected, abs=1e-9)
        assert table["margin_random"].iloc[label] == pytest.approx(expected, abs=1e-9)  # there is no other direction
        assert table["margin_before"].iloc[label] == pytest.approx(np.mean(sign * (2 * x[labels == label] + 0.2)))
        assert table["share"].iloc[label] == pytest.approx(1.0)
        assert table["leans"].iloc[label] == pytest.approx(0.0, abs=1e-9)


def test_the_directions_of_one_half_are_taken_out_of_the_other():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(800, 8)), np.arange(800) % 2
    origins = rng.integers(2, size=800)
    early = np.arange(800) < 400
    # feature 0 tells the origin in the early half, feature 2 in the late one; the head reads feature 0, more of it early
    features[:, 0] += np.where(labels == 0, 1, -1) * np.where(early, 8.0, 2.0) + 4 * (origins - 0.5) * early
    features[:, 2] += 4 * (origins - 0.5) * ~early
    table = leaning(
        features, **_head(0, 8), labels=labels, origins=origins.astype(str), groups=None, classes=CLASSES, directions=1
    )
    np.testing.assert_allclose(table["margin_before"], (2 * 8 + 2 * 2) / 2, rtol=0.1)
    np.testing.assert_allclose(table["margin_after"], 2 * 8 / 2, rtol=0.15)  # the early half keeps it, the late one loses it


def test_the_margin_is_to_the_best_other_class():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(300, 5)), np.arange(300) % 3
    weight, bias = rng.normal(size=(3, 5)), rng.normal(size=3)
    origins = np.where(rng.random(300) < 0.5, "x", "y")
    table = leaning(features, weight, bias, labels, origins, groups=None, classes=("A", "B", "C"), directions=2)
    logits = features @ weight.T + bias
    for label in range(3):
        mine = logits[labels == label]
        margins = [row[label] - max(row[k] for k in range(3) if k != label) for row in mine]
        assert table["margin_before"][label] == pytest.approx(np.mean(margins))
        assert table["accuracy_before"][label] == pytest.approx(np.mean(mine.argmax(1) == label))
    assert (table["directions"] == 2).all()
    assert list(table.columns) == list(COLUMNS)


def test_no_origin_no_leaning():
    outside = 0
    for seed in range(10):
        table = _table(_made(seed, shift=0.0), _head(0), seed=seed, replicates=100)
        outside += int(((table["low"] > 0) | (table["high"] < 0)).sum())
        assert (table["auc_before"] < 0.7).all()
    assert outside <= 4  # of 20, 1 expected


def test_as_many_directions_as_tell_the_origin():
    made = _made(n=2400)
    rng = np.random.default_rng(5)
    origins = rng.integers(4, size=2400)  # corners of a tetrahedron: three directions, taken in one round
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    made["features"][:, 4:7] += 2 * corners[origins]
    made |= {"origins": np.char.add("o", origins.astype(str)), "groups": None}
    table = _table(made, _head(1))
    assert (table["directions"] >= 3).all()
    assert (table["directions"] <= 5).all()
    assert (table["auc_before"] > 0.95).all()
    assert (table["auc_after"] < 0.6).all()
    np.testing.assert_allclose(table["margin_after"], table["margin_before"], rtol=0.06)
    assert (_table(made, _head(1), directions=1)["auc_after"] > 0.7).all()


def test_rounds_go_on_until_nothing_is_told():
    made = _made(n=1600, shift=0.0)
    second = np.where(made["origins"] == "y", 1.0, -1.0)
    # the same noise in both, the origin in one: a probe takes the difference, and what the sum tells is left
    noise = np.random.default_rng(3).normal(size=1600)
    made["features"][:, 4], made["features"][:, 5] = noise + 1.5 * second, noise
    once, on = _table(made, _head(1), directions=1), _table(made, _head(1))
    assert (once["auc_after"] > once["auc_shuffled"] + 0.05).all()
    assert (on["directions"] >= 2).all()
    assert (on["directions"] <= 5).all()
    assert (on["auc_after"] <= on["auc_shuffled"]).all()


def test_the_scale_of_a_unit_does_not_matter():
    made, head = _made(), _head(0)
    head["weight"] += 0.1 * np.random.default_rng(0).normal(size=head["weight"].shape)
    factor = np.logspace(-3, 3, 12)
    other = made | {"features": made["features"] * factor + 5}
    same = {"weight": head["weight"] / factor, "bias": head["bias"] - (head["weight"] / factor).sum(1) * 5}
    pd.testing.assert_frame_equal(_table(made, head), _table(other, same), check_exact=False, rtol=1e-4, atol=1e-4)


def test_same_seed_same_numbers():
    made, head = _made(), _head(0)
    pd.testing.assert_frame_equal(_table(made, head), _table(made, head), check_exact=True)
    assert (_table(made, head)["margin_random"] != _table(made, head, seed=1)["margin_random"]).all()


@pytest.mark.parametrize(("n", "share"), [(1, 0.02), (3, 0.2), (5, 0.75), (10, 1.0)])
def test_random_directions_hold_the_asked_share_of_variance(n: int, share: float):
    variance = np.sort(np.random.default_rng(0).exponential(size=10))[::-1]
    bases = random_bases(variance, n, share * variance.sum(), np.random.default_rng(1), draws=50)
    assert bases.shape == (50, 10, n)
    for basis in bases:
        np.testing.assert_allclose(basis.T @ basis, np.eye(n), atol=1e-9)
        assert np.trace(basis.T @ np.diag(variance) @ basis) / variance.sum() == pytest.approx(share, abs=0.02)
    if n < 10:
        assert np.std(bases[:, 0, 0]) > 0.01


def test_a_class_of_one_origin_says_so_and_still_sets_the_centre():
    made = _made()
    made["origins"] = np.where(made["labels"] == 1, "x", made["origins"])
    table = _table(made, _head(0))
    assert table.loc["B", "why_not"].startswith("1 of 1 origins (x)")
    assert table.loc["B", ["n", "directions", "margin_before", "leans"]].isna().all()
    assert abs(table.loc["A", "margin_after"]) < 0.15 * table.loc["A", "margin_before"]
    assert table.loc["A", "leans"] > 0.6


def test_features_without_variance_lean_on_nothing():
    made = _made() | {"features": np.ones((600, 12))}
    table = _table(made, _head(0))
    assert (table["directions"] == 0).all()
    np.testing.assert_allclose(table[["leans", "low", "high"]].astype(float), 0.0, atol=1e-9)
    np.testing.assert_allclose(table["margin_after"], table["margin_before"])


def test_heads_that_do_not_fit_are_refused():
    made = _made()
    with pytest.raises(EcglensError, match=r"weight \(2, 11\) and bias \(2,\) for 12 features and 2 classes"):
        _table(made, _head(0, 11))
    with pytest.raises(EcglensError, match="directions is 0"):
        _table(made, _head(0), directions=0)
    with pytest.raises(EcglensError, match="3 groups"):
        _table(made | {"groups": np.array(["p"] * 3)}, _head(0))
