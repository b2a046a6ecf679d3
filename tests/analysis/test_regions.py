"""Segments and means against loops over samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.analysis import regions as regions_module
from ecglens.analysis.regions import Regions, padding_share, region_means, segments_around_r
from ecglens.errors import EcglensError
from ecglens.examples.examples import LeadPlace
from made import FEW

_JOINED = (LeadPlace("lead 1", 0, 0, 430), LeadPlace("lead 2", 0, 430, 430))


def _slow_segments(r: int, length: int, width: int) -> dict[str, tuple[int, int]]:
    """Outward from R, sample by sample: name to first and last sample."""
    out: dict[str, tuple[int, int]] = {}
    for sample in range(length):
        number = (sample - r) // width + 1 if sample >= r else -((r - 1 - sample) // width + 1)
        first, _ = out.get(f"{number:+d}", (sample, sample))
        out[f"{number:+d}"] = (first, sample)
    return out


def _found_segments(regions: Regions, example: int, lead: str, offset: int) -> dict[str, tuple[int, int]]:
    return {
        name: (regions.start[example, k] - offset, regions.stop[example, k] - 1 - offset)
        for k, name in enumerate(regions.names)
        if regions.lead[k] == lead and regions.stop[example, k] > regions.start[example, k]
    }


@FEW
@given(st.lists(st.integers(0, 429), min_size=1, max_size=6))
def test_segments_of_joined_leads_equal_a_loop_over_samples(r_index):
    regions = segments_around_r(np.array(r_index), _JOINED, 360.0)
    for example, r in enumerate(r_index):
        for place in _JOINED:
            assert _found_segments(regions, example, place.name, place.offset) == _slow_segments(r, 430, 36)


@FEW
@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=4),
    st.sampled_from([100.0, 128.0, 250.0, 500.0]),
    st.sampled_from([0.05, 0.1, 0.2]),
)
def test_segments_of_leads_in_rows_of_their_own_equal_a_loop_over_samples(r_index, fs, seconds):
    places = (LeadPlace("II", 0, 0, 100), LeadPlace("V5", 1, 0, 100))
    regions = segments_around_r(np.array(r_index), places, fs, seconds)
    for example, r in enumerate(r_index):
        for row, place in enumerate(places):
            assert _found_segments(regions, example, place.name, 0) == _slow_segments(r, 100, int(seconds * fs))
            assert {regions.row[k] for k, lead in enumerate(regions.lead) if lead == place.name} == {row}


def test_there_are_48_segments_where_r_varies_and_24_where_it_lies_in_the_middle():
    assert len(segments_around_r(np.array([100, 215, 300]), _JOINED, 360.0).names) == 48
    assert len(segments_around_r(np.array([215, 215, 215]), _JOINED, 360.0).names) == 24


def test_there_are_as_many_segments_as_a_fixed_r_out_of_the_middle_needs():
    regions = segments_around_r(np.array([30, 30]), _JOINED[:1], 360.0)
    assert len(regions.names) == 24  # 400 samples after R are 12 segments, and as many before
    assert sum((regions.stop > regions.start)[0]) == 1 + 12


def test_segments_are_named_outward_from_r_in_the_order_of_time():
    regions = segments_around_r(np.array([215]), _JOINED, 360.0)
    names = ["-6", "-5", "-4", "-3", "-2", "-1", "+1", "+2", "+3", "+4", "+5", "+6"]
    assert regions.names == (*names, *names)
    assert regions.lead == ("lead 1",) * 12 + ("lead 2",) * 12
    assert (regions.row == 0).all()
    assert (np.diff(regions.start[0]) > 0).all()


def test_segment_plus_1_starts_at_r_in_every_lead():
    r_index = np.array([0, 7, 215, 429])
    regions = segments_around_r(r_index, _JOINED, 360.0)
    for lead, offset in (("lead 1", 0), ("lead 2", 430)):
        (at,) = [k for k, name in enumerate(regions.names) if name == "+1" and regions.lead[k] == lead]
        (before,) = [k for k, name in enumerate(regions.names) if name == "-1" and regions.lead[k] == lead]
        np.testing.assert_array_equal(regions.start[:, at], r_index + offset)
        np.testing.assert_array_equal(regions.stop[:, before], r_index + offset)


def test_segments_shorter_than_a_sample_are_refused():
    with pytest.raises(EcglensError, match=r"segments of 0\.1 s are shorter than a sample at 5 Hz"):
        segments_around_r(np.array([3]), _JOINED, 5.0)


def test_no_examples_give_regions_without_rows():
    regions = segments_around_r(np.array([], np.int64), _JOINED, 360.0)
    assert regions.start.shape == (0, 48)


def _random_regions(seed: int, n: int, rows: int, length: int, n_regions: int = 6) -> Regions:
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.integers(length + 1, size=(2, n, n_regions)), axis=0)
    edges[1, :, 0] = edges[0, :, 0]  # an empty one
    edges[:, :, 1] = np.array([0, length])[:, None]
    names = tuple(f"region {k}" for k in range(n_regions))
    return Regions(names, ("lead",) * n_regions, rng.integers(rows, size=n_regions), edges[0], edges[1])


@FEW
@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 3), st.integers(1, 40), st.booleans())
def test_region_means_equal_a_slow_loop(seed, n, rows, length, magnitude):
    maps = np.random.default_rng(seed).normal(size=(n, rows, length)).astype(np.float32)
    regions = _random_regions(seed, n, rows, length)
    found = region_means(maps, regions, magnitude=magnitude)
    assert found.dtype == np.float32
    for example in range(n):
        for k in range(6):
            values = [
                float(maps[example, regions.row[k], time])
                for time in range(regions.start[example, k], regions.stop[example, k])
            ]
            if magnitude:
                values = [abs(value) for value in values]
            if values:
                assert found[example, k] == pytest.approx(sum(values) / len(values), rel=1e-4, abs=1e-5)
            else:
                assert np.isnan(found[example, k])


def test_region_means_of_many_chunks_equal_those_of_one_example_at_a_time(monkeypatch):
    monkeypatch.setattr(regions_module, "_CHUNK", 4)
    maps = np.random.default_rng(0).normal(size=(11, 2, 30)).astype(np.float32)
    regions = _random_regions(1, 11, 2, 30)
    together = region_means(maps, regions)
    for row in range(11):
        one = Regions(regions.names, regions.lead, regions.row, regions.start[row : row + 1], regions.stop[row : row + 1])
        np.testing.assert_array_equal(region_means(maps[row : row + 1], one)[0], together[row])


def test_a_region_far_along_a_large_map_keeps_its_digits():
    maps = np.full((1, 1, 200_000), 1000.0, np.float32)
    maps[0, 0, -10:] = 0.001
    regions = Regions(("tail",), ("lead",), np.array([0]), np.array([[199_990]]), np.array([[200_000]]))
    assert region_means(maps, regions)[0, 0] == pytest.approx(0.001, rel=1e-3)


def test_region_means_of_no_maps_are_none():
    regions = segments_around_r(np.array([], np.int64), _JOINED, 360.0)
    assert region_means(np.zeros((0, 1, 860), np.float32), regions).shape == (0, 48)


def _one_region(**changes) -> Regions:
    told = {
        "names": ("a",), "lead": ("lead",), "row": np.array([0]), "start": np.array([[0]]), "stop": np.array([[5]]),
    } | changes  # fmt: skip
    return Regions(**told)


def test_regions_outside_the_maps_are_refused():
    maps = np.zeros((1, 2, 10), np.float32)
    region_means(maps, _one_region(stop=np.array([[10]]), row=np.array([1])))
    with pytest.raises(EcglensError, match="outside 2 leads and 10 samples"):
        region_means(maps, _one_region(stop=np.array([[11]])))
    with pytest.raises(EcglensError, match="outside 2 leads and 10 samples"):
        region_means(maps, _one_region(row=np.array([2])))


def test_a_region_in_a_row_before_the_first_is_refused():
    with pytest.raises(EcglensError):
        region_means(np.zeros((2, 2, 10), np.float32)[:1], _one_region(row=np.array([-1])))


def test_regions_for_another_number_of_maps_are_refused():
    with pytest.raises(EcglensError, match="3 maps and regions for 1 examples"):
        region_means(np.zeros((3, 1, 10), np.float32), _one_region())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"start": np.array([[6]])}, "ends before it starts"),
        ({"start": np.array([[-1]])}, "before sample 0"),
        ({"names": ("a", "b")}, "2 region names"),
        ({"lead": ()}, "0 leads"),
        ({"row": np.array([0, 1])}, "2 rows"),
        ({"stop": np.array([[5], [5]])}, "stops"),
    ],
)
def test_regions_that_do_not_fit_each_other_are_refused(change, text):
    with pytest.raises(EcglensError, match=text):
        _one_region(**change)


@FEW
@given(st.integers(0, 99))
def test_padding_share_of_a_uniform_map_is_its_share_of_the_time(seed):
    rng = np.random.default_rng(seed)
    start, stop = np.sort(rng.integers(51, size=(2, 5)), axis=0)
    places = (LeadPlace("a", 0, 0, 50), LeadPlace("b", 1, 0, 50))
    found = padding_share(np.full((5, 2, 50), -0.3, np.float32), start, stop, places)
    np.testing.assert_allclose(found, 1 - (stop - start) / 50, atol=1e-6)


@pytest.mark.parametrize("joined", [True, False])
def test_padding_share_equals_a_loop_over_the_samples_of_each_lead(joined):
    rng = np.random.default_rng(3)
    by_lead = rng.normal(size=(6, 2, 20)).astype(np.float32)
    start, stop = rng.integers(0, 8, 6), rng.integers(12, 21, 6)
    if joined:
        maps, places = by_lead.reshape(6, 1, 40), (LeadPlace("a", 0, 0, 20), LeadPlace("b", 0, 20, 20))
    else:
        maps, places = by_lead, (LeadPlace("a", 0, 0, 20), LeadPlace("b", 1, 0, 20))
    expected = []
    for example in range(6):
        inside = outside = 0.0
        for lead in range(2):
            for time in range(20):
                size = abs(float(by_lead[example, lead, time]))
                if start[example] <= time < stop[example]:
                    inside += size
                else:
                    outside += size
        expected.append(outside / (inside + outside))
    np.testing.assert_allclose(padding_share(maps, start, stop, places), expected, atol=1e-6)


def test_padding_share_of_many_chunks_equals_that_of_one_example_at_a_time(monkeypatch):
    monkeypatch.setattr(regions_module, "_CHUNK", 4)
    rng = np.random.default_rng(4)
    maps, start, stop = rng.normal(size=(11, 1, 20)).astype(np.float32), rng.integers(0, 8, 11), rng.integers(12, 21, 11)
    places = (LeadPlace("a", 0, 0, 20),)
    together = padding_share(maps, start, stop, places)
    alone = [padding_share(maps[k : k + 1], start[k : k + 1], stop[k : k + 1], places)[0] for k in range(11)]
    np.testing.assert_allclose(together, alone, atol=1e-9)


def test_padding_share_is_0_without_padding_1_without_signal_and_0_for_an_empty_map():
    maps = np.ones((3, 1, 10), np.float32)
    maps[2] = 0
    found = padding_share(maps, np.array([0, 10, 5]), np.array([10, 10, 5]), (LeadPlace("a", 0, 0, 10),))
    assert found.tolist() == [0.0, 1.0, 0.0]
