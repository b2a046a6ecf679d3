"""Class profiles by hand, and the distance from them."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.analysis.profiles import FEWEST, class_profiles, distance_from_profile, quartiles
from ecglens.analysis.regions import Regions
from made import FEW


def _regions(n_examples: int, names=("-1", "+1", "+2")) -> Regions:
    start = np.tile(np.arange(len(names)), (n_examples, 1))
    return Regions(names, ("II",) * len(names), np.zeros(len(names), np.int64), start, start + 1)


@FEW
@given(st.integers(0, 999), st.integers(1, 30), st.integers(1, 5), st.floats(0, 0.9))
def test_quartiles_equal_nanpercentile(seed, n, n_regions, missing):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, n_regions)).astype(np.float32)
    values[rng.random(values.shape) < missing] = np.nan
    found, count = quartiles(values)
    for k in range(n_regions):
        known = values[~np.isnan(values[:, k]), k]
        assert count[k] == len(known)
        if len(known):
            np.testing.assert_allclose(found[:, k], np.nanpercentile(values[:, k], [25, 50, 75]), rtol=1e-5, atol=1e-6)
        else:
            assert np.isnan(found[:, k]).all()


def test_quartiles_leave_the_values_as_they_were():
    values = np.array([[3.0, np.nan], [1.0, 2.0]], np.float32)
    before = values.copy()
    quartiles(values)
    np.testing.assert_array_equal(values, before)


def _answers():
    rng = np.random.default_rng(0)
    n = 120
    truth = rng.integers(3, size=n)
    predicted = np.where(rng.random(n) < 0.6, truth, rng.integers(3, size=n))
    tested = rng.random(n) < 0.7
    values = rng.normal(size=(n, 3)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    return values, truth, predicted, tested


def test_every_row_of_the_profiles_is_the_median_of_its_beats():
    values, truth, predicted, tested = _answers()
    classes = ("N", "V", "S")
    table = class_profiles(values, _regions(120), truth, predicted, tested, classes)
    assert list(table.columns) == ["class", "group", "lead", "region", "n", "q25", "median", "q75"]
    seen = set()
    for row in table.itertuples():
        own = row[1]  # the column is called class
        mine = []
        for beat in range(120):
            if classes[truth[beat]] != own:
                continue
            taken_for = classes[predicted[beat]]
            if row.group != "all":
                if not tested[beat]:
                    continue
                if row.group == "right" and taken_for != own:
                    continue
                if row.group == "wrong" and taken_for == own:
                    continue
                if row.group.startswith("wrong as ") and taken_for != row.group.removeprefix("wrong as "):
                    continue
            value = values[beat, ("-1", "+1", "+2").index(row.region)]
            if not np.isnan(value):
                mine.append(value)
        assert row.n == len(mine)
        assert row.median == pytest.approx(np.median(mine), abs=1e-6)
        if len(mine) >= 5:
            np.testing.assert_allclose([row.q25, row.q75], np.percentile(mine, [25, 75]), rtol=1e-4, atol=1e-5)
        else:
            assert np.isnan(row.q25)
            assert np.isnan(row.q75)
        seen.add((own, row.group))
    groups = ("all", "right", "wrong")
    assert seen == {
        (own, group) for own in classes for group in (*groups, *(f"wrong as {other}" for other in classes if other != own))
    }
    assert len(table) == 3 * len(seen)


@pytest.mark.parametrize(("n", "band"), [(4, False), (5, True)])
def test_a_group_of_fewer_than_five_beats_has_a_median_but_no_band(n, band):
    values = np.arange(3.0 * n).reshape(n, 3)
    nothing = np.zeros(n, np.int64)
    table = class_profiles(values, _regions(n), nothing, nothing, np.ones(n, bool), ("N", "V"))
    assert FEWEST == 5
    assert (table["n"] == n).all()
    assert table["median"].notna().all()
    assert table["q25"].notna().all() == table["q75"].notna().all() == band
    assert table["q25"].isna().all() == (not band)


def test_a_region_that_fewer_than_five_beats_reach_has_no_band_though_others_have():
    values = np.random.default_rng(0).normal(size=(8, 3))
    values[:4, 2] = np.nan
    nothing = np.zeros(8, np.int64)
    table = class_profiles(values, _regions(8), nothing, nothing, np.ones(8, bool), ("N", "V"))
    assert table.groupby("region")["n"].max().to_dict() == {"-1": 8, "+1": 8, "+2": 4}
    assert table.groupby("region")["q25"].count().to_dict() == {"-1": 2, "+1": 2, "+2": 0}


def test_beats_that_were_not_tested_are_in_all_alone_and_empty_groups_are_left_out():
    values = np.ones((6, 3), np.float32)
    truth = np.array([0, 0, 0, 1, 1, 1])
    predicted = np.array([0, 0, 1, 1, 1, 1])
    tested = np.array([True, True, False, False, False, False])
    table = class_profiles(values, _regions(6), truth, predicted, tested, ("N", "V", "S"))
    assert set(zip(table["class"], table["group"], strict=True)) == {("N", "all"), ("N", "right"), ("V", "all")}
    assert table[table["class"] == "N"].groupby("group")["n"].max().to_dict() == {"all": 3, "right": 2}


def _slow_distance(values, claimed, reference, n_classes):
    out = []
    for value, label in zip(values, claimed, strict=True):
        usual = [other for other, of, known in zip(values, claimed, reference, strict=True) if known and of == label]
        if len(usual) < 5:
            out.append(np.nan)
            continue
        q25, median, q75 = np.nanpercentile(usual, [25, 50, 75], axis=0)
        floor = 0.1 * np.nanmedian(q75 - q25)
        far = [abs(value[k] - median[k]) / max(q75[k] - q25[k], floor) for k in range(len(value))]
        out.append(np.mean([each for each in far if not np.isnan(each)]))
    return np.array(out)


def test_distance_equals_a_loop_over_beats_and_regions():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(60, 6))
    values[rng.random(values.shape) < 0.1] = np.nan
    claimed = rng.integers(3, size=60)
    reference = (rng.random(60) < 0.6) & (claimed != 2)
    reference[np.flatnonzero(claimed == 2)[:4]] = True  # one beat short of five
    values[reference, 2] = 0.5 + 1e-6 * values[reference, 2]  # where all usual beats agree
    found = distance_from_profile(values, claimed, reference, 3)
    expected = _slow_distance(values, claimed, reference, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert np.isnan(found[claimed == 2]).all()
    assert np.isfinite(found[claimed != 2]).all()


def test_distance_is_large_for_a_map_unlike_the_usual_ones_and_small_for_the_usual_one():
    rng = np.random.default_rng(2)
    usual = rng.normal(size=(40, 5))
    values = np.concatenate([usual, np.median(usual, axis=0)[None], np.full((1, 5), 8.0)])
    reference = np.arange(42) < 40
    found = distance_from_profile(values, np.zeros(42, np.int64), reference, 1)
    assert found[40] == pytest.approx(0, abs=1e-6)
    assert found[41] > found[:40].max()


def test_distance_asks_for_no_truth_and_for_no_beat_but_the_reference_and_itself():
    assert list(inspect.signature(distance_from_profile).parameters) == ["values", "claimed", "reference", "n_classes"]
    rng = np.random.default_rng(3)
    values, claimed = rng.normal(size=(50, 4)), rng.integers(2, size=50)
    reference = np.arange(50) < 30
    before = distance_from_profile(values, claimed, reference, 2)
    changed = values.copy()
    changed[40:] = 100.0
    after = distance_from_profile(changed, claimed, reference, 2)
    np.testing.assert_array_equal(after[:40], before[:40])
    assert (after[40:] > before[40:]).all()


def test_a_beat_that_claims_another_class_is_held_against_that_class():
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(0, 1, (20, 3)), rng.normal(50, 1, (20, 3)), np.full((2, 3), 50.0)])
    claimed = np.array([0] * 20 + [1] * 20 + [0, 1])
    found = distance_from_profile(values, claimed, np.arange(42) < 40, 2)
    assert found[40] > 20
    assert found[41] < 2


def test_a_beat_none_of_whose_regions_is_known_has_no_distance():
    values = np.random.default_rng(5).normal(size=(20, 3))
    values[19] = np.nan
    found = distance_from_profile(values, np.zeros(20, np.int64), np.arange(20) < 10, 1)
    assert np.isnan(found[19])
    assert np.isfinite(found[:19]).all()
