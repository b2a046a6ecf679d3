"""Boxes on maps against loops over cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.examples.boxes import PARTS, Boxes, box_areas, box_sums, boxes_of, common, joined, signed_box_sums
from ecglens.examples.regions import Regions
from made import FEW


def _some(n, n_boxes, seed=0, digits=None):
    """Boxes anywhere; with `digits`, edges that often fall together and on the map's edge."""
    sides = np.random.default_rng(seed).random((4, n, n_boxes))
    sides = sides if digits is None else sides.round(digits)
    top, bottom = np.sort(sides[:2], axis=0)
    left, right = np.sort(sides[2:], axis=0)
    return Boxes(tuple(f"box {k}" for k in range(n_boxes)), top, bottom, left, right)


def _overlap(low, high, cell, n):
    """How much of cell `cell` of `n` lies between the shares `low` and `high`, in cells."""
    return max(0.0, min(high * n, cell + 1) - max(low * n, cell))


def _slowly(maps, boxes, part):
    """The same sums, cell by cell."""
    value_of = {"all": lambda v: v, "positive": lambda v: max(v, 0), "negative": lambda v: max(-v, 0), "magnitude": abs}[part]
    maps = maps.reshape(len(maps), *maps.shape[-2:]).astype(float)
    out = np.zeros(boxes.top.shape)
    for k, one in enumerate(maps):
        for box in range(out.shape[1]):
            for i in range(one.shape[0]):
                high = _overlap(boxes.top[k, box], boxes.bottom[k, box], i, one.shape[0])
                for j in range(one.shape[1]):
                    wide = _overlap(boxes.left[k, box], boxes.right[k, box], j, one.shape[1])
                    out[k, box] += high * wide * value_of(one[i, j])
    return out


@FEW
@given(st.tuples(st.integers(1, 9), st.integers(1, 11)), st.sampled_from([None, 1]), st.sampled_from(PARTS), st.booleans())
def test_sums_are_those_of_the_cells_by_their_covered_share(size, digits, part, channel):
    boxes = _some(4, 5, seed=size[0] * 20 + size[1], digits=digits)
    maps = np.random.default_rng(1).normal(size=(4, *size)).astype(np.float32)
    maps = maps[:, None] if channel else maps
    np.testing.assert_allclose(box_sums(maps, boxes, part=part), _slowly(maps, boxes, part), atol=1e-12)


@pytest.mark.parametrize("sign", [None, 1, -1])
def test_both_signs_in_one_reading_with_the_whole_map_last(sign):
    boxes = _some(5, 3)
    maps = np.random.default_rng(2).normal(size=(5, 6, 7)).astype(np.float32)
    maps = maps if sign is None else sign * np.abs(maps)
    for part, found in zip(("positive", "negative"), signed_box_sums(maps, boxes), strict=True):
        np.testing.assert_allclose(found[:, :-1], _slowly(maps, boxes, part), atol=1e-12)
        whole = [sum(max(v if part == "positive" else -v, 0) for v in one.astype(float).ravel()) for one in maps]
        np.testing.assert_allclose(found[:, -1], whole, rtol=1e-12)


def test_a_map_with_nan_has_no_sum_of_either_sign():
    maps = np.random.default_rng(6).random((3, 4, 5)).astype(np.float32)  # none is below 0, so one half need not be read
    maps[1, 2, 3] = np.nan
    whole = Boxes(("all",), np.zeros((3, 1)), np.ones((3, 1)), np.zeros((3, 1)), np.ones((3, 1)))
    for found in signed_box_sums(maps, whole):
        np.testing.assert_array_equal(np.isnan(found), [[False] * 2, [True] * 2, [False] * 2])


def test_maps_of_more_than_one_reading_and_on_a_picture_s_scale():
    maps = np.random.default_rng(3).normal(size=(9, 1, 224, 224)).astype(np.float32)
    boxes = _some(9, 2)
    together = box_sums(maps, boxes)
    for k in range(9):
        one = boxes.take(np.array([k]))
        np.testing.assert_allclose(together[k], box_sums(maps[k : k + 1], one)[0], rtol=1e-12)
    np.testing.assert_allclose(together[7:], _slowly(maps[7:], boxes.take(np.array([7, 8])), "all"), rtol=1e-9, atol=1e-9)


def test_a_map_of_another_resolution_gives_the_same_share():
    boxes = _some(3, 4)
    coarse = np.random.default_rng(4).random((3, 4, 5))
    fine = coarse.repeat(8, axis=1).repeat(6, axis=2)
    np.testing.assert_allclose(box_sums(fine, boxes) / 48, box_sums(coarse, boxes), rtol=1e-9)


def test_a_uniform_map_holds_the_area_and_what_lies_beside_a_box_does_not_reach_it():
    boxes = _some(6, 4, digits=1)
    np.testing.assert_allclose(box_sums(np.full((6, 7, 9), 1 / 63), boxes), box_areas(boxes), atol=1e-12)
    # 29 hundredths of 100 samples are 28.999999999999996, and meant to be 29
    maps = np.zeros((1, 1, 100))
    maps[0, 0, 29:58], maps[0, 0, [28, 58]] = 1 / 29, 1e7
    box = Boxes(("box",), *(np.array([[share]]) for share in (0.0, 1.0, 0.29, 0.58)))
    assert box_sums(maps, box)[0, 0] == pytest.approx(1, abs=1e-8)


def test_boxes_of_regions_hold_what_the_samples_hold():
    rng = np.random.default_rng(5)
    start, stop = np.sort(rng.integers(0, 31, size=(2, 8, 4)), axis=0)
    regions = Regions(("P", "P", "QRS", "QRS"), ("I", "II", "I", "II"), np.array([0, 1, 0, 1]), start, stop)
    maps = rng.normal(size=(8, 2, 30)).astype(np.float32)
    sums = box_sums(maps, boxes_of(regions, 2, 30))
    for k in range(8):
        for box in range(4):
            assert sums[k, box] == pytest.approx(maps[k, regions.row[box], start[k, box] : stop[k, box]].sum(), abs=1e-5)
    with pytest.raises(EcglensError, match="outside 1 leads"):
        boxes_of(regions, 1, 30)
    with pytest.raises(EcglensError, match="outside 2 leads and 20 samples"):
        boxes_of(regions, 2, 20)


def test_common_boxes_hold_the_cells_of_both_and_joined_ones_stand_side_by_side():
    one, other = _some(5, 3), _some(5, 2, seed=1)
    both = common(one, other)
    assert both.names == ("box 0", "box 0", "box 1", "box 1", "box 2", "box 2")
    for k in range(5):
        for a in range(3):
            for b in range(2):
                high = min(one.bottom[k, a], other.bottom[k, b]) - max(one.top[k, a], other.top[k, b])
                wide = min(one.right[k, a], other.right[k, b]) - max(one.left[k, a], other.left[k, b])
                assert box_areas(both)[k, 2 * a + b] == pytest.approx(max(high, 0) * max(wide, 0))
    beside = joined(one, other)
    assert beside.names == one.names + other.names
    np.testing.assert_array_equal(box_areas(beside), np.concatenate([box_areas(one), box_areas(other)], axis=1))
    for build in (common, joined):
        with pytest.raises(EcglensError, match="same number"):
            build(one, _some(4, 2))


def test_what_is_taken_is_the_boxes_of_these_examples():
    boxes = _some(6, 2)
    for rows in (np.array([4, 0, 4]), np.arange(6) % 2 == 0):
        np.testing.assert_array_equal(boxes.take(rows).left, boxes.left[rows])
        np.testing.assert_array_equal(box_areas(boxes.take(rows)), box_areas(boxes)[rows])


@pytest.mark.parametrize(
    ("sides", "told"),
    [
        ({"left": np.full((2, 1), 0.9)}, "left of box 'a' lies behind right in 2 examples"),
        ({"top": np.array([[0.0], [0.7]])}, "top of box 'a' lies behind bottom in 1 examples"),
        ({"right": np.full((2, 1), 1.1)}, "right of a box lies outside the map"),
        ({"top": np.full((2, 1), -0.1)}, "top of a box lies outside"),
        ({"left": np.full((2, 1), np.nan)}, "left of a box lies outside"),
        ({"bottom": np.full((2, 2), 0.5)}, r"bottom of the boxes has shape \(2, 2\)"),
        ({"left": np.full((3, 1), 0.1)}, r"left of the boxes has shape \(3, 1\)"),
    ],
)
def test_boxes_that_cannot_be(sides, told):
    good = {side: np.full((2, 1), edge) for side, edge in (("top", 0.1), ("bottom", 0.5), ("left", 0.2), ("right", 0.4))}
    with pytest.raises(EcglensError, match=told):
        Boxes(("a",), **(good | sides))


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4, 5), (2, 4, 5), (3, 0, 5)])
def test_maps_that_do_not_fit(shape):
    with pytest.raises(EcglensError, match=r"expected|no cell"):
        box_sums(np.zeros(shape), _some(3, 2))
    with pytest.raises(EcglensError, match="did you mean 'positive'"):
        box_sums(np.zeros((3, 4, 5)), _some(3, 2), part="positiv")
