"""Maps at other sizes: what they hold stays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.attribution.resizing import resized
from made import FEW


def _slowly(values: np.ndarray, length: int, fine: int = 500) -> np.ndarray:
    """Means of np.interp between middles over each of `length` parts, by a fine midpoint rule."""
    at = (np.arange(length * fine) + 0.5) / (length * fine)
    middles = (np.arange(len(values)) + 0.5) / len(values)
    return np.interp(at, middles, values).reshape(length, fine).mean(axis=1)


@FEW
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 99))
def test_each_new_cell_is_the_mean_of_the_line_between_middles_over_its_extent(cells, length, seed):
    maps = np.random.default_rng(seed).normal(size=(3, 2, cells)).astype(np.float32)
    found = resized(maps, (length,))
    assert found.shape == (3, 2, length)
    assert found.dtype == np.float32
    for k, lead in np.ndindex(3, 2):
        wanted = maps[k, lead] if cells == length else _slowly(maps[k, lead], length)
        np.testing.assert_allclose(found[k, lead], wanted, atol=2e-4)


@pytest.mark.parametrize(("cells", "length"), [(1250, 5000), (125, 1000), (5000, 1000), (999, 1000)])
def test_maps_of_whole_records_are_resized_alike(cells, length):
    maps = np.random.default_rng(0).normal(size=(2, cells)).astype(np.float32)
    wanted = [_slowly(each, length) for each in maps]
    np.testing.assert_allclose(resized(maps, (length,)), wanted, atol=2e-4)


@FEW
@given(st.integers(1, 20), st.integers(1, 40), st.integers(0, 99))
def test_a_point_of_the_line_serves_where_no_kink_lies_in_a_new_cell(cells, length, seed):
    """It is what maps were resized by before: equal but for the new cells that hold a middle of an old one."""
    values = np.random.default_rng(seed).normal(size=cells)
    middles = (np.arange(cells) + 0.5) / cells
    points = np.interp((np.arange(length) + 0.5) / length, middles, values)
    edges = np.arange(length + 1) / length
    kinked = np.array([((middles > a + 1e-9) & (middles < b - 1e-9)).any() for a, b in pairwise(edges)])
    found = resized(values[None].astype(np.float32), (length,))[0]
    if cells != length:
        np.testing.assert_allclose(found[~kinked], points[~kinked], rtol=1e-4, atol=1e-5)


@FEW
@given(st.tuples(*[st.integers(1, 40)] * 4), st.integers(0, 99))
def test_mass_stays_up_and_down_in_both_directions(sizes, seed):
    rows, columns, new_rows, new_columns = sizes
    maps = np.random.default_rng(seed).exponential(size=(2, 3, 1, rows, columns)).astype(np.float32)
    found = resized(maps, (new_rows, new_columns))
    assert found.shape == (2, 3, 1, new_rows, new_columns)
    np.testing.assert_allclose(found.mean(axis=(3, 4)), maps.mean(axis=(3, 4)), rtol=2e-6)
    assert (found >= 0).all()
    assert (found.max(axis=(3, 4)) <= maps.max(axis=(3, 4)) * (1 + 1e-5)).all()
    even = resized(np.full((1, 1, rows, columns), 3.0, np.float32), (new_rows, new_columns))
    np.testing.assert_allclose(even, 3.0, rtol=2e-6)


def test_rows_and_columns_are_resized_one_after_the_other():
    maps = np.random.default_rng(0).normal(size=(2, 1, 5, 7)).astype(np.float32)
    found = resized(maps, (12, 16))
    wide = np.stack([[[_slowly(row, 16) for row in one[0]]] for one in maps])
    wanted = np.stack([[np.stack([_slowly(column, 12) for column in one[0].T], axis=1)] for one in wide])
    np.testing.assert_allclose(found, wanted, atol=3e-4)


def test_a_map_of_the_size_asked_for_is_handed_back_as_it_is():
    maps = np.zeros((2, 1, 5, 7), np.float32)
    assert resized(maps, (5, 7)) is maps
    assert resized(maps[..., 0, :], (7,)).base is maps
