"""Regions: sound or refused, taken with their examples, and where they lie, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.examples.regions import Regions, inside
from made import FEW


def random_regions(seed: int, n_examples: int, n_regions: int, n_rows: int, length: int) -> Regions:
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.integers(0, length + 1, (n_examples, n_regions, 2)), axis=2)
    names = tuple(f"region {k}" for k in range(n_regions))
    return Regions(names, names, rng.integers(0, n_rows, n_regions), edges[..., 0], edges[..., 1])


SIZES = (st.integers(0, 2**31), st.integers(0, 6), st.integers(0, 5), st.integers(1, 3), st.integers(1, 30))


@FEW
@given(*SIZES)
def test_inside_is_where_any_region_has_the_sample(seed, n_examples, n_regions, n_rows, length):
    regions = random_regions(seed, n_examples, n_regions, n_rows, length)
    expected = np.zeros((n_examples, n_rows, length), bool)
    for example in range(n_examples):
        for region in range(n_regions):
            for sample in range(regions.start[example, region], regions.stop[example, region]):
                expected[example, regions.row[region], sample] = True
    found = inside(regions, n_rows, length)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected)


def test_a_sample_in_many_overlapping_regions_is_inside_and_one_after_them_is_not() -> None:
    n = 256  # as many as a byte counts before it starts again
    regions = Regions(("x",) * n, ("I",) * n, np.zeros(n, int), np.full((1, n), 2), np.full((1, n), 5))
    assert np.flatnonzero(inside(regions, 1, 8)[0, 0]).tolist() == [2, 3, 4]


@FEW
@given(*SIZES, st.lists(st.integers(0, 5), max_size=8))
def test_taken_rows_are_those_examples_with_all_their_regions(seed, n_examples, n_regions, n_rows, length, rows):
    regions = random_regions(seed, n_examples, n_regions, n_rows, length)
    rows = np.array([row for row in rows if row < n_examples], np.intp)
    found = regions.take(rows)
    assert (found.names, found.lead) == (regions.names, regions.lead)
    np.testing.assert_array_equal(inside(found, n_rows, length), inside(regions, n_rows, length)[rows])
    mask = np.arange(n_examples) % 2 == 0
    np.testing.assert_array_equal(regions.take(mask).start, regions.start[mask])
    np.testing.assert_array_equal(regions.take(mask).stop, regions.stop[mask])


def test_regions_that_do_not_fit_each_other_are_refused() -> None:
    one, row = np.zeros((2, 1), int), np.zeros(1, int)
    Regions(("a",), ("I",), row, one, one)
    for words in (
        (("a", "b"), ("I",), row, one, one),
        (("a",), ("I", "II"), row, one, one),
        (("a",), ("I",), np.zeros(2, int), one, one),
        (("a",), ("I",), row, np.zeros((2, 2), int), one),
        (("a",), ("I",), row, one, np.zeros((3, 1), int)),
    ):
        with pytest.raises(EcglensError, match="expected one of each per region"):
            Regions(*words)


@pytest.mark.parametrize(("start", "stop"), [(3, 2), (-1, 2), (-2, -1)])
def test_a_region_that_ends_before_it_starts_or_starts_before_0_is_refused(start: int, stop: int) -> None:
    with pytest.raises(EcglensError, match="ends before it starts, or starts before sample 0"):
        Regions(("a",), ("I",), np.zeros(1, int), np.array([[start]]), np.array([[stop]]))


def test_the_analysis_of_regions_uses_the_same_ones() -> None:
    from ecglens.analysis import regions as analysis

    assert analysis.Regions is Regions
