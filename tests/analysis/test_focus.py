"""Focus against loops over cells, and its table against plain means and a slow bootstrap."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.analysis.expected import EXPECTED, expected_spans, mass_where_expected
from ecglens.analysis.focus import Focus, focus, focus_of_sums, focus_table, groups_of
from ecglens.analysis.intervals import mean_over_patients, ratio_over_patients
from ecglens.errors import EcglensError
from ecglens.examples.boxes import Boxes, box_areas, boxes_of, common, joined, signed_box_sums
from ecglens.examples.regions import Regions
from made import FEW, make_examples

_SIDES = ("top", "bottom", "left", "right")


def _boxes(*boxes, n=1, names=None):
    """Boxes (top, bottom, left, right), the same for `n` examples."""
    edges = np.repeat(np.array(boxes, float)[None], n, axis=0)
    return Boxes(names or tuple(f"box {k}" for k in range(len(boxes))), *(edges[:, :, k] for k in range(4)))


def _tiles(rows, columns, n=1):
    """Boxes that tile the map, at edges `rows` and `columns`."""
    found = [(a, b, c, d) for a, b in pairwise(rows) for c, d in pairwise(columns)]
    return _boxes(*found, n=n)


def _maps(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _of_cells(maps, part):
    return {"magnitude": np.abs(maps), "positive": np.maximum(maps, 0), "negative": np.maximum(-maps, 0)}[part].astype(float)


@FEW
@given(st.floats(1e-30, 1e30), st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(0, 99))
def test_a_uniform_map_has_the_area_however_small_its_values_are(value, size, seed):
    sides = np.random.default_rng(seed).random((4, 3, 2))
    boxes = Boxes(("a", "b"), *np.sort(sides[:2], axis=0), *np.sort(sides[2:], axis=0))
    found = focus(np.full((3, *size), value, np.float32), boxes)
    np.testing.assert_allclose(found.share, box_areas(boxes), atol=1e-6)
    np.testing.assert_allclose(found.area, box_areas(boxes), rtol=1e-12)
    np.testing.assert_allclose(found.enrichment, 1, atol=1e-5)
    assert not found.empty.any()


@pytest.mark.parametrize("shape", [(2, 1, 20, 40), (2, 20, 40), (2, 224, 224)])
def test_a_map_of_the_region_alone_has_one_and_of_all_else_none(shape):
    boxes = _boxes((0.25, 0.5, 0.125, 0.75), n=2)
    maps = np.zeros(shape, np.float32)
    rows, columns = shape[-2:]
    inside = (..., slice(rows // 4, rows // 2), slice(columns // 8, 3 * columns // 4))
    maps[inside] = -_maps(maps[inside].shape)
    np.testing.assert_allclose(focus(maps, boxes).share, 1, rtol=1e-12)
    other = np.ones(shape, np.float32)
    other[inside] = 0
    assert (focus(other, boxes).share == 0).all()


@FEW
@given(st.lists(st.floats(0.01, 0.99), max_size=4), st.lists(st.floats(0.01, 0.99), max_size=4), st.integers(1, 30))
def test_regions_that_tile_the_map_add_up_to_one(rows, columns, size):
    tiles = _tiles([0, *sorted(rows), 1], [0, *sorted(columns), 1], n=2)
    for part in ("magnitude", "positive", "negative"):
        maps = np.concatenate([_maps((1, size, 17)), np.full((1, size, 17), 1e-30 if part == "positive" else -1e-30)])
        found = focus(maps, tiles, part=part)
        np.testing.assert_allclose(found.share.sum(1), 1, rtol=1e-6)
        np.testing.assert_allclose(found.area.sum(1), 1, rtol=1e-9)


@pytest.mark.parametrize("part", ["magnitude", "positive", "negative"])
def test_maps_and_kept_sums_give_the_same_focus_as_cells_counted_one_by_one(part):
    maps = _maps((6, 8, 10))
    boxes = _boxes((0.25, 0.75, 0.2, 0.5), (0.0, 0.5, 0.5, 1.0), (0.75, 1.0, 0.2, 0.5), n=6, names=("a", "b", "a"))
    found = focus(maps, boxes, part=part)
    values = _of_cells(maps, part)
    for k in range(6):
        a = values[k, 2:6, 2:5].sum() + values[k, 6:8, 2:5].sum()
        b = values[k, 0:4, 5:10].sum()
        np.testing.assert_allclose(found.share[k], [a / values[k].sum(), b / values[k].sum()], rtol=1e-6)
    assert found.names == ("a", "b")
    np.testing.assert_allclose(found.area, [[0.225, 0.25]] * 6, rtol=1e-9)
    np.testing.assert_allclose(found.enrichment, found.share / [0.225, 0.25], rtol=1e-9)
    assert (found.outside == 0).all()
    kept = [each.astype(np.float32) for each in signed_box_sums(maps, boxes)]  # as the store keeps them
    again = focus_of_sums(*kept, boxes, part=part)
    assert again.names == found.names
    for name in ("share", "area", "empty", "outside"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), rtol=1e-6, err_msg=name)


def test_inside_a_span_mass_and_area_are_counted_there_alone():
    maps = _maps((2, 1, 100))
    spans = Boxes(("signal",), *(np.array(side)[:, None] for side in ([0.0, 0.0], [1.0, 1.0], [0.0, 0.4], [1.0, 0.9])))
    boxes = _boxes((0, 1, 0.3, 0.5), (0, 1, 0.95, 1), n=2)
    found = focus(maps, boxes, within=spans)
    size = np.abs(maps[1, 0].astype(float))
    whole = size[40:90].sum()
    np.testing.assert_allclose(found.share[1], [size[40:50].sum() / whole, 0], rtol=1e-6)
    np.testing.assert_allclose(found.area[1], [0.1 / 0.5, 0], atol=1e-9)
    np.testing.assert_allclose(found.outside, [0, 1 - whole / size.sum()], atol=1e-9)
    np.testing.assert_allclose(found.share[0], focus(maps, boxes).share[0], rtol=1e-9)
    # the same from sums, where all boxes were cut to the span before
    cut = joined(common(boxes, spans), spans)
    again = focus_of_sums(*signed_box_sums(maps, cut), cut, within="signal")
    assert again.names == found.names == boxes.names
    np.testing.assert_allclose(again.share, found.share, rtol=1e-12)
    np.testing.assert_allclose(again.outside, found.outside, atol=1e-12)
    uncut = joined(boxes, spans)
    with pytest.raises(EcglensError, match="box 0, box 1 reach outside 'signal'"):
        focus_of_sums(*signed_box_sums(maps, uncut), uncut, within="signal")


def test_a_span_of_two_boxes_and_a_map_that_lies_outside_it():
    maps = np.zeros((1, 2, 10), np.float32)
    maps[0, 0, 8:], maps[0, 1, 2] = 1, 3
    spans = _boxes((0, 0.5, 0, 0.5), (0.5, 1, 0, 0.3), names=("signal", "signal"))
    found = focus(maps, _boxes((0, 1, 0.2, 0.4)), within=spans)
    assert found.share[0, 0] == pytest.approx(1)
    assert found.area[0, 0] == pytest.approx((2 + 1) / (5 + 3))
    assert found.outside[0] == pytest.approx(2 / 5)
    maps[0, 1, 2] = 0
    away = focus(maps, _boxes((0, 1, 0.2, 0.4)), within=spans)
    assert away.empty[0]
    assert np.isnan(away.share[0, 0])
    assert away.outside[0] == 1


def test_a_map_is_empty_when_it_has_exactly_no_mass_of_that_part():
    maps = np.stack([np.zeros((4, 4)), np.full((4, 4), 1e-30), np.full((4, 4), -1e-30)]).astype(np.float32)
    boxes = _boxes((0, 0.5, 0, 1), n=3)
    for part, empty in (("magnitude", [1, 0, 0]), ("positive", [1, 0, 1]), ("negative", [1, 1, 0])):
        found = focus(maps, boxes, part=part)
        np.testing.assert_array_equal(found.empty, np.array(empty, bool))
        np.testing.assert_array_equal(np.isnan(found.share[:, 0]), found.empty)
        np.testing.assert_array_equal(np.isnan(found.outside), found.empty)
        np.testing.assert_allclose(found.share[~found.empty], 0.5)


def test_regions_of_signals_are_samples_of_the_map_and_leads_of_one_wave_count_together():
    maps = _maps((4, 2, 30))
    start, stop = np.sort(np.random.default_rng(1).integers(0, 31, size=(2, 4, 3)), axis=0)
    regions = Regions(("P", "P", "T"), ("I", "II", "I"), np.array([0, 1, 0]), start, stop)
    found = focus(maps, regions)
    assert found.names == ("P", "T")
    size = np.abs(maps.astype(float))
    for k in range(4):
        p = sum(size[k, row, start[k, row] : stop[k, row]].sum() for row in (0, 1))
        t = size[k, 0, start[k, 2] : stop[k, 2]].sum()
        np.testing.assert_allclose(found.share[k], np.array([p, t]) / size[k].sum(), atol=1e-9)
        np.testing.assert_allclose(found.area[k], np.array([(stop - start)[k, :2].sum(), (stop - start)[k, 2]]) / 60)


def test_what_is_refused():
    maps, boxes = _maps((2, 4, 4)), _boxes((0, 0.5, 0, 1), n=2)
    with pytest.raises(EcglensError, match="did you mean 'positive'"):
        focus(maps, boxes, part="positve")
    with pytest.raises(EcglensError, match="boxes named 'a' overlap in 2 examples"):
        focus(maps, _boxes((0, 0.5, 0, 0.6), (0, 1, 0.5, 1), n=2, names=("a", "a")))
    for bad in (np.nan, np.inf):
        broken = maps.copy()
        broken[1, 3, 3] = bad  # outside the region, but not outside the map
        with pytest.raises(EcglensError, match="1 of 2 maps hold NaN or infinite"):
            focus(broken, boxes)
    regions = Regions(("x",), ("I",), np.array([0]), np.zeros((2, 1), int), np.ones((2, 1), int))
    with pytest.raises(EcglensError, match="pictures need Boxes"):
        focus(maps[:, None], regions)
    with pytest.raises(EcglensError, match=r"expected \(example, box \+ 1\), here \(2, 2\)"):
        focus_of_sums(np.ones((2, 1)), np.ones((2, 1)), boxes)
    with pytest.raises(EcglensError, match="unknown region to count within 'box'"):
        focus_of_sums(np.ones((2, 2)), np.ones((2, 2)), boxes, within="box")


def _some_focus(n=40, seed=0):
    rng = np.random.default_rng(seed)
    share, area = rng.dirichlet([1, 2, 1], n)[:, :2], rng.dirichlet([3, 3, 3], n)[:, :2]
    empty = rng.random(n) < 0.2
    area[rng.random(n) < 0.1, 1] = 0
    share[area == 0] = 0
    share[empty] = np.nan
    return Focus(("beat", "rest"), share, area, empty, np.where(empty, np.nan, 0.0))


@pytest.mark.parametrize("empty", ["leave-out", "zero"])
def test_the_table_is_plain_means_of_each_group(empty):
    found = _some_focus()
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 2, 40), rng.integers(0, 2, 40)
    patients = np.array([f"p{k % 7}" for k in range(40)])
    table = focus_table(found, groups_of(truth, predicted, ("normal", "abnormal")), patients, empty=empty)
    assert list(dict.fromkeys(table["group"])) == ["all", "right", "wrong", "normal", "abnormal"]
    members = {
        "all": range(40),
        "right": [k for k in range(40) if truth[k] == predicted[k]],
        "wrong": [k for k in range(40) if truth[k] != predicted[k]],
        "normal": [k for k in range(40) if truth[k] == 0],
        "abnormal": [k for k in range(40) if truth[k] == 1],
    }
    for row in table.itertuples():
        region, mine = found.names.index(row.region), list(members[row.group])
        used = [k for k in mine if empty == "zero" or not found.empty[k]]
        share = [0.0 if found.empty[k] else found.share[k, region] for k in used]
        area = [found.area[k, region] for k in used]
        assert (row.n, row.patients) == (len(mine), len({patients[k] for k in mine}))
        assert row.empty == sum(found.empty[k] for k in mine)
        assert row.empty_rate == pytest.approx(row.empty / row.n)
        assert row.without == sum(a == 0 for a in area)
        assert row.focus == pytest.approx(sum(share) / len(share))
        assert row.focus_sd == pytest.approx(np.std(share))
        assert row.focus_median == pytest.approx(np.median(share))
        assert row.random == pytest.approx(np.mean(area))
        assert row.random_sd == pytest.approx(np.std(area))
        assert row.enrichment == pytest.approx(sum(share) / sum(area))
        assert row.focus_low < row.focus < row.focus_high
        assert row.enrichment_low < row.enrichment < row.enrichment_high


@pytest.mark.parametrize("empty", ["leave-out", "zero"])
def test_an_example_with_nothing_to_look_within_is_left_out_of_all_means(empty):
    maps, boxes = _maps((4, 1, 100)), _boxes((0, 1, 0.3, 0.5), n=4)
    maps[1] = 0
    right = np.array([[1.0], [0.9], [0.2], [0.8]])
    spans = Boxes(("signal",), np.zeros((4, 1)), np.ones((4, 1)), np.full((4, 1), 0.2), right)
    found = focus(maps, boxes, within=spans)
    assert found.empty.tolist() == [False, True, True, False]
    (row,) = focus_table(found, {"all": np.ones(4, bool)}, np.arange(4), empty=empty).itertuples()
    size = np.abs(maps[:, 0].astype(float))
    used = [0, 1, 3] if empty == "zero" else [0, 3]
    share = [0.0 if k == 1 else size[k, 30:50].sum() / size[k, 20 : round(100 * right[k, 0])].sum() for k in used]
    area = [0.2 / (right[k, 0] - 0.2) for k in used]
    assert (row.n, row.empty) == (4, 2)
    assert row.focus == pytest.approx(np.mean(share), rel=1e-6)
    assert row.random == pytest.approx(np.mean(area))
    assert row.enrichment == pytest.approx(np.mean(share) / np.mean(area), rel=1e-6)


def test_any_labels_are_groups_and_draws_do_not_depend_on_other_groups():
    found, patients = _some_focus(), np.array([f"p{k % 5}" for k in range(40)])
    labels = np.where(np.arange(40) < 15, "V", "N")
    table = focus_table(found, labels, patients, seed=3)
    assert list(table["group"]) == ["V", "V", "N", "N"]
    alone = focus_table(found, {"N": labels == "N"}, patients, seed=3)
    assert alone.equals(table[2:].reset_index(drop=True))
    assert not focus_table(found, {"N": labels == "N"}, patients, seed=4).equals(alone)


def test_one_patient_or_none_or_only_empty_maps():
    found = _some_focus()
    one = focus_table(found, {"all": np.ones(40, bool), "nobody": np.zeros(40, bool)}, np.array(["p"] * 40))
    assert list(one["group"]) == ["all", "all"]
    assert one.filter(like="_low").isna().all().all()
    assert one["focus"].notna().all()
    nothing = focus_table(found, {"empty": found.empty}, np.arange(40))
    assert nothing["focus"].isna().all()
    assert (nothing["empty_rate"] == 1).all()
    zero = focus_table(found, {"empty": found.empty}, np.arange(40), empty="zero")
    assert (zero["focus"] == 0).all()
    with pytest.raises(EcglensError, match="39 patients"):
        focus_table(found, {"all": np.ones(40, bool)}, np.arange(39))
    with pytest.raises(EcglensError, match="did you mean 'zero'"):
        focus_table(found, {"all": np.ones(40, bool)}, np.arange(40), empty="zeros")


def test_intervals_are_those_of_patients_drawn_whole():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(8), rng.integers(1, 9, 8))
    above, below = rng.random((len(who), 2)) + who[:, None], rng.random((len(who), 2)) + 0.5
    low, high = ratio_over_patients(above, below, np.char.add("p", who.astype(str)), replicates=4000)
    drawn = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(who == k) for k in rng.integers(8, size=8)])
        drawn.append(above[rows].sum(0) / below[rows].sum(0))
    np.testing.assert_allclose([low, high], np.percentile(drawn, [2.5, 97.5], axis=0), rtol=0.03)
    values = np.where(rng.random(above.shape) < 0.2, np.nan, above)
    low, high = mean_over_patients(values, who, replicates=50, seed=1)
    known = ~np.isnan(values)
    again = ratio_over_patients(np.where(known, values, 0), known * 1.0, who, replicates=50, seed=1)
    np.testing.assert_array_equal([low, high], again)
    assert np.isnan(ratio_over_patients(above, below, np.zeros(len(who)))).all()
    assert np.isnan(ratio_over_patients(above, 0 * below, who)).all()


def test_enrichment_by_the_windows_of_vijayarangan_is_a_focus():
    """`analysis/expected.py` counts samples under a mask; the runs of that mask as regions give its numbers."""
    rng = np.random.default_rng(5)
    n, length, classes = 16, 200, ("N", "PVC", "AFIB", "x")
    made = make_examples(
        np.zeros((n, 1, length), np.float32), np.arange(n) % 4, classes=classes, fs=100.0, r_index=80 + np.arange(n),
        patient=[f"p{k % 3}" for k in range(n)], valid_start=[0, 75] * (n // 2),
    )  # fmt: skip
    examples = replace(made, table=made.table.assign(beats_at=[f"{20 + k} {80 + k} 190" for k in range(n)]))
    where, valid = expected_spans(examples)
    maps = rng.normal(size=(n, 1, length)).astype(np.float32) * valid  # nothing on the padding
    edges = np.diff(np.pad(where[:, 0], ((0, 0), (1, 1))).astype(int), axis=1)
    most = int((edges == 1).sum(1).max())
    start, stop = np.zeros((2, n, most), int)
    for k in range(n):
        for turn, sign in ((start, 1), (stop, -1)):
            found = np.flatnonzero(edges[k] == sign)
            turn[k, : len(found)] = found
    regions = Regions(("sign",) * most, ("lead 1",) * most, np.zeros(most, int), start, stop)
    span = Regions(
        ("signal",), ("lead 1",), np.zeros(1, int), examples.column("valid_start")[:, None],
        examples.column("valid_stop")[:, None],
    )  # fmt: skip
    mine = focus(maps, regions, within=boxes_of(span, 1, length))
    table = focus_table(mine, np.array(classes)[examples.labels], examples.column("patient")).set_index("group")
    theirs = mass_where_expected(examples, {"m": maps}, examples.column("patient")).set_index("class")
    for name in ("N", "PVC", "AFIB"):
        assert EXPECTED[name].windows
        assert table.loc[name, "focus"] == pytest.approx(theirs.loc[name, "share_of_map"], rel=1e-6)
        assert table.loc[name, "random"] == pytest.approx(theirs.loc[name, "share_of_time"], rel=1e-9)
        assert table.loc[name, "enrichment"] == pytest.approx(theirs.loc[name, "enrichment"], rel=1e-6)


def _overlap_slowly(boxes):
    """Examples in which any two boxes of one name share area, pair by pair."""
    twice = np.zeros(len(boxes), bool)
    for a, b in combinations(range(len(boxes.names)), 2):
        high = np.minimum(boxes.bottom[:, a], boxes.bottom[:, b]) - np.maximum(boxes.top[:, a], boxes.top[:, b])
        wide = np.minimum(boxes.right[:, a], boxes.right[:, b]) - np.maximum(boxes.left[:, a], boxes.left[:, b])
        twice |= (high > 1e-9) & (wide > 1e-9) & (boxes.names[a] == boxes.names[b])
    return twice


@FEW
@given(st.integers(1, 7), st.integers(2, 9), st.integers(0, 10**6))
def test_boxes_that_overlap_are_those_that_a_slow_look_at_all_pairs_finds(n, count, seed):
    rng = np.random.default_rng(seed)
    # few places, so that edges meet, boxes are empty and one lies within another
    sides = np.sort(rng.integers(0, rng.integers(3, 30), (2, 2, n, count)), axis=1) / 30
    boxes = Boxes(tuple(rng.choice(["a", "b"], count).tolist()), *sides[0], *sides[1])
    slow = {name: _overlap_slowly(_named(boxes, name)).sum() for name in dict.fromkeys(boxes.names)}
    slow = {name: found for name, found in slow.items() if found}
    maps = np.ones((n, 4, 30), np.float32)
    if not slow:
        focus(maps, boxes)
        return
    name, found = next(iter(slow.items()))
    with pytest.raises(EcglensError, match=f"boxes named '{name}' overlap in {found} examples"):
        focus(maps, boxes)


def _named(boxes, name):
    mine = [k for k, each in enumerate(boxes.names) if each == name]
    sides = (getattr(boxes, side)[:, mine] for side in ("top", "bottom", "left", "right"))
    return Boxes((name,) * len(mine), *sides)


def test_many_boxes_of_one_name_are_not_compared_pair_by_pair(monkeypatch):
    compared = []
    minimum = np.minimum
    edges = np.linspace(0, 1, 301)
    band = np.repeat(np.arange(12), 300) / 12
    boxes = Boxes(("P",) * 3600, band[None], band[None] + 1 / 12, np.tile(edges[:-1], 12)[None], np.tile(edges[1:], 12)[None])
    monkeypatch.setattr(np, "minimum", lambda a, b: compared.append(a.size) or minimum(a, b))
    focus(np.ones((1, 12, 300), np.float32), boxes)
    assert sum(compared) < 50 * 3600  # all pairs would be 1,800 times as many
