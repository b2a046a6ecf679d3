"""Maps across training: rank correlation against scipy, and the table against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from ecglens.analysis.course import course_of_maps, rank_correlation


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation_equals_scipy(ties):
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 7, 2, 15))
    if ties:
        one, two = one.round(0), two.round(0)
    found = rank_correlation(one, two)
    for k in range(7):
        assert found[k] == pytest.approx(spearmanr(one[k].ravel(), two[k].ravel())[0], abs=1e-12)


def test_rank_correlation_of_a_map_that_is_the_same_everywhere_is_nothing():
    assert np.isnan(rank_correlation(np.ones((2, 1, 5)), np.random.default_rng(0).normal(size=(2, 1, 5)))).all()


def test_the_course_compares_with_the_last_epoch_and_with_the_first_start():
    rng = np.random.default_rng(1)
    maps = {start: {epoch: rng.normal(size=(6, 1, 12)) for epoch in (0, 1, 4)} for start in (0, 1, 2)}
    labels = np.array([0, 0, 0, 1, 1, 1])
    table = course_of_maps(maps, labels, ("a", "b"))
    assert len(table) == 3 * 3 * 2 + 2 * 3 * 2 + 2
    apart = table[table["beside"] == "another window"].set_index("class")
    for name, mine in (("a", [0, 1, 2]), ("b", [3, 4, 5])):
        pairs = [(mine[0], mine[1]), (mine[1], mine[2]), (mine[2], mine[0])]
        each = [spearmanr(maps[0][4][i].ravel(), maps[0][4][j].ravel())[0] for i, j in pairs]
        assert apart.loc[name, "median"] == pytest.approx(np.median(each))
        assert (apart.loc[name, "start"], apart.loc[name, "epoch"]) == (0, 4)
    table = table[table["beside"] != "another window"]
    for row in table.itertuples():
        other = maps[row.start][4] if row.beside == "final map" else maps[0][row.epoch]
        mine = labels == ("a", "b").index(row[4])
        each = [spearmanr(x.ravel(), y.ravel())[0] for x, y in zip(maps[row.start][row.epoch], other, strict=True)]
        assert (row.q25, row.median, row.q75) == pytest.approx(tuple(np.quantile(np.array(each)[mine], [0.25, 0.5, 0.75])))
        assert row.n == 3
    final = table[(table["beside"] == "final map") & (table["epoch"] == 4)]
    assert (final["median"] > 1 - 1e-12).all()
    assert set(table.loc[table["beside"] != "final map", "start"]) == {1, 2}


def test_a_class_without_windows_has_no_row():
    table = course_of_maps({0: {0: np.random.default_rng(0).normal(size=(2, 1, 9))}}, np.zeros(2, int), ("a", "b"))
    assert set(table["class"]) == {"a"}


def test_a_class_of_one_window_has_no_other_window_to_stand_beside():
    table = course_of_maps({0: {0: np.random.default_rng(0).normal(size=(1, 1, 9))}}, np.zeros(1, int), ("a",))
    assert list(table["beside"]) == ["final map"]
