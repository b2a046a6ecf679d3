"""Can the origin be told within a class? On made-up data for which the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from ecglens.analysis.probing import (
    Within,
    bootstrap,
    folds,
    macro_auc,
    origin_probe,
    reduced,
    shuffled_origins,
    standardised,
    within_class,
)
from ecglens.errors import EcglensError

CLASSES = ("A", "B")


def _two_origins(n: int, distance: float, seed: int, width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Normal numbers, one of which is `distance` higher in origin x."""
    rng = np.random.default_rng(seed)
    origins = rng.permutation(np.arange(n) % 2)
    features = rng.normal(size=(n, width))
    features[:, 1] += distance * origins
    return features, np.array(["y", "x"])[origins]


def _probe(features: np.ndarray, origins: np.ndarray, groups: Any = None, labels: Any = None, **told: Any) -> pd.DataFrame:
    labels = np.zeros(len(features), np.int64) if labels is None else labels
    return origin_probe(features, labels, origins, groups=groups, classes=CLASSES, **told).set_index("class")


def _within(origin: np.ndarray, unit: np.ndarray | None = None) -> Within:
    names = tuple(f"o{k}" for k in np.unique(origin))
    rows = np.arange(len(origin))
    return Within(rows, origin, names, rows if unit is None else unit, unit is not None)


@pytest.mark.parametrize("n_origins", [2, 4])
def test_auc_is_that_of_scikit_learn_fold_by_fold(n_origins: int):
    rng = np.random.default_rng(0)
    origin, fold = rng.integers(n_origins, size=200), rng.integers(3, size=200)
    scores = np.round(rng.normal(size=(200, n_origins)) + np.eye(n_origins)[origin], 1)  # with ties
    weights = rng.integers(0, 4, size=(5, 200)).astype(float)
    for got, w in zip(macro_auc(scores, origin, fold, weights), weights, strict=True):
        areas = []
        for name in range(n_origins):
            right = pairs = 0.0
            for one in range(3):
                mine = fold == one
                positive = origin[mine] == name
                n = w[mine][positive].sum() * w[mine][~positive].sum()
                right += n * roc_auc_score(positive, scores[mine, name], sample_weight=w[mine])
                pairs += n
            areas.append(right / pairs)
        assert got == pytest.approx(np.mean(areas), rel=1e-9)


def test_two_normal_distributions_are_told_as_well_as_they_can_be():
    for distance in (0.5, 1.0, 2.0):
        features, origins = _two_origins(3000, distance, 1)
        row = _probe(features, origins, permutations=3).loc["A"]
        exact = norm.cdf(distance / np.sqrt(2))
        assert row["low"] < exact < row["high"]
        assert row["auc"] == pytest.approx(exact, abs=0.02)
        assert row["high"] - row["low"] < 0.05
        assert abs(row["shuffled"] - 0.5) < 0.04


@pytest.mark.parametrize("grouped", [False, True])
def test_an_origin_that_is_not_there_is_seldom_found(grouped: bool):
    above, inside, found = 0, 0, []
    for seed in range(16):
        features, origins = _two_origins(160, 0.0, seed)
        groups = np.char.add(origins, (np.arange(160) % 20).astype(str)) if grouped else None
        shuffled = {} if seed < 8 else {"permutations": 0}  # they take nineteen parts in twenty of the time
        row = _probe(features, origins, groups, seed=seed, replicates=60, **shuffled).loc["A"]
        above += row["auc"] > row["shuffled_high"]
        inside += row["low"] < 0.5 < row["high"]
        found.append(row["auc"])
    assert above <= 1  # 0.4 expected of 8
    assert inside >= 9  # 13 expected: the interval takes the probe as it is
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def _fingerprints(seed: int, per_group: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Twelve patients in each of two databases: numbers tell the patient, and nothing of the database."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(24), per_group))
    features = 3 * rng.normal(size=(24, 30))[who] + rng.normal(size=(len(who), 30))
    return features, np.array(["x", "y"])[who % 2], np.char.add("p", who.astype(str))


def test_a_patients_fingerprint_is_not_taken_for_the_database():
    with_groups, without, spread = [], [], []
    for seed in range(6):
        features, origins, groups = _fingerprints(seed)
        row = _probe(features, origins, groups, seed=seed).loc["A"]
        with_groups.append(row["auc"])
        spread.append(row["shuffled_high"])
        without.append(_probe(features, origins, None, seed=seed, permutations=1).loc["A", "auc"])
    assert np.mean(with_groups) == pytest.approx(0.5, abs=0.1)
    assert min(without) > 0.95
    # dealing out origins among examples would give a narrow null, and call every second one of these real
    assert np.mean(spread) > 0.65
    assert sum(np.array(with_groups) > spread) <= 1


def test_the_interval_by_groups_is_wider_where_groups_differ():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(24), 15)
    origins, groups = np.array(["x", "y"])[who % 2], np.char.add("p", who.astype(str))
    # one number, much the same within a patient: it cannot tell the patients apart, so both ways give the same AUC
    features = (1.5 * (who % 2) + rng.normal(size=24)[who] + 0.2 * rng.normal(size=len(who)))[:, None]
    by_group = _probe(features, origins, groups, permutations=0).loc["A"]
    many = np.char.add(groups, np.char.add("/", np.arange(len(groups)).astype(str)))
    by_example = _probe(features, origins, many, permutations=0).loc["A"]
    assert by_group["auc"] == pytest.approx(by_example["auc"], abs=0.05)
    assert by_group["high"] - by_group["low"] > 2 * (by_example["high"] - by_example["low"])
    assert np.isnan(by_group["shuffled"])


def test_folds_keep_groups_whole_and_every_origin_in_each():
    rng = np.random.default_rng(0)
    for _ in range(20):
        group = rng.integers(16, size=200)
        within = _within((group % 2).astype(np.int64), group)
        fold = folds(within, within.origin, 4)
        assert all(len(set(fold[group == one])) == 1 for one in np.unique(group))
        assert all(set(within.origin[fold == one]) == {0, 1} for one in range(4))


def test_without_groups_folds_are_blocks_of_each_origin():
    origin = np.random.default_rng(1).integers(3, size=97)
    fold = folds(_within(origin), origin, 5)
    for name in range(3):
        mine = fold[origin == name]
        assert list(mine) == sorted(mine)
        sizes = np.bincount(mine, minlength=5)
        assert sizes.max() - sizes.min() <= 1


def test_blocks_do_not_tell_neighbours_from_each_other():
    rng = np.random.default_rng(0)
    # each stretch of 20 examples is its own cloud, and nothing is common to an origin: a random fold would find all of it
    stretch = np.repeat(np.arange(20), 20)
    features = 4 * rng.normal(size=(20, 40))[stretch] + rng.normal(size=(400, 40))
    origins = np.where(stretch < 10, "x", "y")
    # five folds: 40 examples each of x and of y, so two stretches, never cut
    assert _probe(features, origins, permutations=0).loc["A", "auc"] < 0.8


def test_shuffling_moves_groups_as_a_whole_and_keeps_their_number():
    unit = np.repeat(np.arange(9), np.arange(1, 10))
    origin = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])[unit]
    times = np.zeros((9, 3))
    rng = np.random.default_rng(0)
    for _ in range(600):
        new = shuffled_origins(_within(origin, unit), rng.random(9))
        of_unit = [set(new[unit == one]) for one in range(9)]
        assert all(len(each) == 1 for each in of_unit)
        flat = [each.pop() for each in of_unit]
        assert np.bincount(flat).tolist() == [6, 2, 1]
        times[np.arange(9), flat] += 1
    np.testing.assert_allclose(times / 600, np.tile([6 / 9, 2 / 9, 1 / 9], (9, 1)), atol=0.07)


def test_the_bootstrap_draws_each_stratum_for_itself():
    stratum = np.array([0, 1, 1, 0, 1])
    drawn = bootstrap(stratum, 2000, np.random.default_rng(0))
    assert (drawn[:, stratum == 0].sum(1) == 2).all()
    assert (drawn[:, stratum == 1].sum(1) == 3).all()
    np.testing.assert_allclose(drawn.mean(0), 1.0, atol=0.06)


@pytest.mark.parametrize("shape", [(30, 8), (20, 90)])
def test_reduction_is_a_principal_component_analysis(shape: tuple[int, int]):
    x = np.random.default_rng(0).normal(size=shape) @ np.diag(np.linspace(1, 4, shape[1]))
    x[:, 3] = 2.5
    z = standardised(x)
    np.testing.assert_allclose(np.delete(z, 3, 1), np.delete((x - x.mean(0)) / np.maximum(x.std(0), 1e-9), 3, 1))
    assert (z[:, 3] == 0).all()
    scores, axes = reduced(z, 5)
    expected = PCA(5, svd_solver="full").fit_transform(z)
    np.testing.assert_allclose(np.abs(scores), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(axes.T @ axes, np.eye(5), atol=1e-10)
    np.testing.assert_allclose(z @ axes, scores, atol=1e-10)


def test_scale_and_place_of_a_feature_do_not_matter():
    features, origins = _two_origins(200, 1.0, 0)
    other = features * np.array([1e-12, 10, 1e6, 3]) + np.array([0, 5, -2, 1])
    pd.testing.assert_frame_equal(
        _probe(features, origins, permutations=2), _probe(other, origins, permutations=2), check_exact=False, atol=1e-6
    )


def test_classes_are_asked_one_by_one_and_averaged():
    features, origins = _two_origins(400, 1.0, 0)
    labels = np.arange(400) // 200
    features[labels == 1, 1] = 0.0  # nothing in class B
    features[labels == 1, 0] += 100 * (origins[labels == 1] == "x")
    both = _probe(features, origins, labels=labels, permutations=4)
    assert both.loc["A", "auc"] < 0.9
    assert both.loc["B", "auc"] == 1.0
    assert both.loc["all classes", "auc"] == pytest.approx(both.loc[["A", "B"], "auc"].mean())
    assert both.loc["all classes", "shuffled"] == pytest.approx(both.loc[["A", "B"], "shuffled"].mean())
    assert both.loc["all classes", "n"] == 400
    assert (both["why_not"] == "").all()
    assert both.loc["all classes", "low"] < both.loc["all classes", "auc"] < both.loc["all classes", "high"]
    again = _probe(features, origins, labels=labels, permutations=4)
    pd.testing.assert_frame_equal(both, again, check_exact=True)
    other = _probe(features, origins, labels=labels, permutations=4, seed=1)
    assert (other.loc["A", ["low", "shuffled"]] != both.loc["A", ["low", "shuffled"]]).all()


def test_a_class_that_cannot_be_asked_says_why():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), [60, 60, 30, 0, 60, 60])
    origins = np.where(rng.random(270) < 0.5, "x", "y")
    origins[labels == 1] = "x"
    groups = np.char.add(origins, rng.integers(5, size=270).astype(str))
    groups[(labels == 4) & (origins == "y")] = "y0"
    features = rng.normal(size=(270, 3))
    features[labels == 5] = 1.0
    names = ("good", "one origin", "few", "none", "one group", "flat")
    table = origin_probe(features, labels, origins, groups=groups, classes=names, permutations=1).set_index("class")
    assert list(table.index) == [*names, "all classes"]
    assert table["why_not"].tolist() == [
        "",
        "1 of 1 origins (x) with 20 examples and 2 groups or more; two are needed",
        "0 of 2 origins with 20 examples and 2 groups or more; two are needed",
        "no examples",
        "1 of 2 origins (x) with 20 examples and 2 groups or more; two are needed",
        "the features are the same for all examples",
        "",
    ]
    assert table.loc[list(names[1:]), ["n", "auc", "low", "high", "shuffled", "shuffled_high"]].isna().all(axis=None)
    assert table.loc["all classes", "auc"] == table.loc["good", "auc"]
    alone = origin_probe(features[:0], labels[:0], origins[:0], groups=groups[:0], classes=names)
    assert alone["auc"].isna().all()
    assert alone["why_not"].iloc[-1] == "no class could be asked"


def test_origins_with_few_examples_are_left_out():
    features, origins = _two_origins(100, 1.0, 0)
    origins = origins.astype("<U5")
    origins[:19] = "small"
    within = within_class(np.zeros(100, np.int64), 0, origins, None, at_least=20)
    assert isinstance(within, Within)
    assert within.names == ("x", "y")
    assert [within.names[k] for k in within.origin] == list(origins[19:])
    assert _probe(features, origins, permutations=1).loc["A", "n"] == 81


def test_a_patient_who_is_in_two_databases_stays_on_one_side():
    features, origins = _two_origins(240, 0.5, 0)
    turn = (np.arange(240) + 6 * (np.arange(240) % 3 == 0)) % 12
    groups = np.char.add("p", np.where(origins == "x", turn, (turn + 12 - 6 * (turn > 8)) % 12).astype(str))
    assert any(len(set(origins[groups == one])) == 2 for one in np.unique(groups))
    within = within_class(np.zeros(240, np.int64), 0, origins, groups, at_least=20)
    assert isinstance(within, Within)
    fold = folds(within, within.origin, 3)
    assert all(len(set(fold[groups == one])) == 1 for one in np.unique(groups))
    assert 0.4 < _probe(features, origins, groups, permutations=2).loc["A", "auc"] < 0.9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"origins": np.array(["x"] * 3)}, "4 features, 4 labels, 3 origins"),
        ({"features": np.zeros((4, 2, 2))}, r"features \(4, 2, 2\)"),
        ({"features": np.array([[0.0], [np.nan], [1.0], [np.inf]])}, "2 of 4 examples have NaN"),
        ({"labels": np.array([0, 1, 2, 0])}, "labels run from 0 to 2; expected 0 to 1"),
        ({"groups": np.array(["p"] * 5)}, "5 groups"),
        ({"at_least": 3}, "at_least is 3"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, Any], said: str):
    given = {"features": np.zeros((4, 2)), "labels": np.zeros(4, np.int64), "origins": np.array(list("xyxy")), "groups": None}
    with pytest.raises(EcglensError, match=said):
        origin_probe(**(given | change), classes=CLASSES)
