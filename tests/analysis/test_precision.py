"""Class profiles from a sample: what it promises is held against the medians of everything."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.analysis.precision import median_interval, profiles_to_precision, residuals, sampling_order
from ecglens.errors import EcglensError

CLASSES = ("N", "V")


def cohort(seed: int, n: int = 6000, regions: int = 8, between: float = 0.08) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values that differ between patients and within them; most examples are N."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.2).astype(np.int64)
    patients = rng.choice(20, size=n, p=np.arange(1, 21) / 210)
    profile = np.linspace(0.1, 0.5, regions)
    common = 0.05 * rng.normal(size=(n, 1))  # regions hang together
    values = profile + between * rng.normal(size=(20, regions))[patients] + common + 0.05 * rng.normal(size=(n, regions))
    return values + 0.1 * labels[:, None], labels, patients.astype(str)


def truth_of(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([np.median(values[labels == label], axis=0) for label in range(len(CLASSES))])


@pytest.mark.parametrize(("simultaneous", "least"), [(False, 0.93), (True, 0.93)])
def test_the_interval_holds_the_median_of_everything_as_often_as_it_says(simultaneous: bool, least: float) -> None:
    values, labels, patients = cohort(1, n=3000)
    whole = truth_of(values, labels)
    right = []
    for seed in range(40):
        found = profiles_to_precision(
            values.__getitem__, labels, patients, CLASSES, precision=0.02, simultaneous=simultaneous, seed=seed
        ).table
        truth = whole[[CLASSES.index(name) for name in found["class"]], found["region"]]
        inside = (truth >= found["low"]) & (truth <= found["high"])
        right.append(inside.all() if simultaneous else inside.mean())
    assert np.mean(right) >= least


def test_far_fewer_examples_are_asked_than_there_are_and_none_twice() -> None:
    values, labels, patients = cohort(2, n=30_000)
    asked: list[np.ndarray] = []

    def ask(rows: np.ndarray) -> np.ndarray:
        asked.append(rows)
        return values[rows]

    found = profiles_to_precision(ask, labels, patients, CLASSES, precision=0.02, seed=0)
    rows = np.concatenate(asked)
    assert len(rows) == len(set(rows)) < 0.1 * len(values)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.values, values[rows])
    assert (found.table.groupby("class")["n"].first().sum()) == len(rows)


def test_the_width_that_was_asked_for_is_reached_and_all_together_takes_more() -> None:
    values, labels, patients = cohort(3)
    alone, together = (
        profiles_to_precision(values.__getitem__, labels, patients, CLASSES, precision=0.015, simultaneous=both, seed=4)
        for both in (False, True)
    )
    for found in (alone, together):
        half = np.maximum(found.table["high"] - found.table["median"], found.table["median"] - found.table["low"])
        assert (half <= found.table["class"].map(found.tolerance) + 1e-12).all()
        assert all(width <= 0.015 for width in found.tolerance.values())
    assert len(together.rows) > len(alone.rows)


def test_a_narrow_profile_asks_for_a_tenth_of_its_range() -> None:
    values, labels, patients = cohort(5, between=0.0)
    found = profiles_to_precision(lambda rows: values[rows] / 10, labels, patients, CLASSES, precision=0.5, seed=0)
    for name in CLASSES:
        medians = found.table.loc[found.table["class"] == name, "median"]
        assert found.tolerance[name] == pytest.approx(0.1 * np.ptp(medians))


def test_a_class_that_is_explained_to_the_last_example_has_no_error() -> None:
    values, labels, patients = cohort(6, n=300)
    found = profiles_to_precision(values.__getitem__, labels, patients, CLASSES, precision=1e-6, seed=0).table
    whole = truth_of(values, labels)
    for label, name in enumerate(CLASSES):
        mine = found[found["class"] == name]
        assert (mine["n"] == mine["n_of"]).all()
        for column in ("low", "median", "high"):
            np.testing.assert_allclose(mine[column], whole[label])


def test_every_beginning_of_the_order_is_spread_over_patients_as_the_whole() -> None:
    rng = np.random.default_rng(0)
    patients = rng.permutation(np.repeat(["a", "b", "c"], [600, 300, 100]))
    order = sampling_order(patients, rng)
    assert sorted(order) == list(range(1000))
    for n in (50, 100, 400):
        for name, share in (("a", 0.6), ("b", 0.3), ("c", 0.1)):
            assert abs((patients[order[:n]] == name).sum() - share * n) <= 2
    assert not np.array_equal(order, sampling_order(patients, rng))


def test_the_spread_is_the_variance_of_a_stratified_share_by_a_plain_loop() -> None:
    values, labels, patients = cohort(7, n=900)
    rows = np.flatnonzero(labels == 0)
    rows = rows[sampling_order(patients[rows], np.random.default_rng(0))]
    some = values[rows[:120]]
    found = (residuals(some, patients[rows]) ** 2).sum(axis=0)
    median = np.median(some, axis=0)
    strata: dict[str, list[int]] = {}
    for k, name in enumerate(patients[rows[:120]]):
        strata.setdefault(name, []).append(k)
    lone = [members[0] for members in strata.values() if len(members) == 1]
    groups = [(members, (patients[rows] == name).sum()) for name, members in strata.items() if len(members) > 1]
    if lone:
        groups.append((lone, sum((patients[rows] == patients[rows[k]]).sum() for k in lone)))
    for region in range(values.shape[1]):
        total = 0.0
        for members, size in groups:
            m = len(members)
            below = [
                1.0 if some[k, region] < median[region] else 0.0 if some[k, region] > median[region] else 0.5 for k in members
            ]
            share = (sum(below) + 0.25) / (m + 0.5)
            total += (size / len(rows)) ** 2 * (1 - m / size) * share * (1 - share) * m / max(m - 1, 1) / m
        assert found[region] == pytest.approx(total, rel=1e-9)


def test_bounds_are_order_statistics_around_the_median() -> None:
    values = np.arange(101.0)[:, None]
    spread = np.full((101, 1), np.sqrt(0.0025 / 101))  # a standard error of 0.05 of the rank
    middle, low, high = median_interval(values, spread, 2.0)
    assert (middle, low, high) == (50, 50 - 11, 50 + 11)  # 0.05 x 2 x 101 ranks, outward


def test_other_patients_are_a_second_interval_which_more_examples_do_not_narrow() -> None:
    values, labels, patients = cohort(8, n=20_000, between=0.2)
    coarse, fine = (
        profiles_to_precision(values.__getitem__, labels, patients, CLASSES, precision=precision, seed=0).table
        for precision in (0.03, 0.01)
    )
    for table in (coarse, fine):
        assert (table["patients_high"] - table["patients_low"]).median() > 3 * (table["high"] - table["low"]).median()
    assert (fine["patients_high"] - fine["patients_low"]).median() > 0.7 * (
        coarse["patients_high"] - coarse["patients_low"]
    ).median()
    lonely = profiles_to_precision(values.__getitem__, labels, np.full(len(labels), "one"), CLASSES, precision=0.03, seed=0)
    assert lonely.table["patients_low"].isna().all()


@pytest.mark.parametrize("precision", [0, -1, float("nan")])
def test_a_precision_that_is_none_is_refused(precision: float) -> None:
    values, labels, patients = cohort(9, n=100)
    with pytest.raises(EcglensError, match=r"precision is .*expected more than 0"):
        profiles_to_precision(values.__getitem__, labels, patients, CLASSES, precision=precision)


def test_the_same_seed_asks_for_the_same_examples() -> None:
    values, labels, patients = cohort(10)
    one, two, other = (
        profiles_to_precision(values.__getitem__, labels, patients, CLASSES, precision=0.02, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.rows, two.rows)
    assert not np.array_equal(one.rows[:50], other.rows[:50])
