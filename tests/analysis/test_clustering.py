"""Kinds of maps, with kinds that we planted and with clouds that have none."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.analysis.clustering import equal_windows, kinds_of, map_profiles
from ecglens.errors import EcglensError
from ecglens.examples.regions import Regions


def _planted(sizes: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Profiles over six regions, each kind with most of its mass in a region of its own, shuffled; and the true kinds."""
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return np.stack([rng.dirichlet(2 + 30 * (np.arange(6) == k)) for k in kind]), kind


@pytest.mark.parametrize("sizes", [(30, 20), (24, 18, 12), (60, 15)])
def test_planted_kinds_are_found_the_largest_first(sizes: tuple[int, ...]) -> None:
    profiles, kind = _planted(sizes)
    found = kinds_of(profiles)
    assert found.n == found.n_gap == len(sizes)
    assert found.apart > 4
    np.testing.assert_array_equal(found.member, kind)


def _round(rng: np.random.Generator) -> np.ndarray:
    return rng.dirichlet(np.full(8, 6.0), size=50)


def _skewed(rng: np.random.Generator) -> np.ndarray:
    raw = rng.lognormal(0, 1, size=(50, 8))
    return raw / raw.sum(1, keepdims=True)


def _long(rng: np.random.Generator) -> np.ndarray:
    """A cloud along a line: its eigenvalues have a gap, and it has no kinds."""
    at = np.clip(0.5 + 0.12 * rng.normal(size=(50, 1)), 0.05, 0.95)
    raw = at * np.array([4, 2, 1, 0.5, 0.2]) + (1 - at) * np.array([0.2, 0.5, 1, 2, 4]) + 0.03 * rng.random((50, 5))
    return raw / raw.sum(1, keepdims=True)


@pytest.mark.parametrize("cloud", [_round, _skewed, _long])
def test_a_cloud_without_gaps_is_of_one_kind(cloud) -> None:
    found = [kinds_of(cloud(np.random.default_rng(seed))) for seed in range(12)]
    assert sum(each.n > 1 for each in found) <= 1
    if cloud is _long:  # here the eigengap alone would be wrong
        assert all(each.n_gap > 1 for each in found)


def test_the_spectrum_is_that_of_a_graph_made_slowly() -> None:
    profiles, _ = _planted((16, 12), seed=3)
    n, near = len(profiles), 6  # the root of 28, up
    weight = np.zeros((n, n))
    for i in range(n):
        away = [(float(np.sum((np.sqrt(profiles[i]) - np.sqrt(profiles[j])) ** 2)), j) for j in range(n) if j != i]
        for _, j in sorted(away)[:near]:
            weight[i, j] = weight[j, i] = 1
    degree = weight.sum(1)
    laplacian = np.array([[(i == j) - weight[i, j] / np.sqrt(degree[i] * degree[j]) for j in range(n)] for i in range(n)])
    values = np.sort(np.linalg.eigvalsh(laplacian))[:6]
    found = kinds_of(profiles)
    np.testing.assert_allclose(found.values, np.clip(values, 0, None), atol=1e-8)
    gaps = [values[k + 1] - values[k] for k in range(5)]
    assert found.n_gap == 1 + int(np.argmax(gaps)) == 2


def test_the_nearest_are_those_with_the_smallest_distance_to_their_middle() -> None:
    profiles, _ = _planted((30, 20))
    found = kinds_of(profiles)
    for kind in range(2):
        rows = [k for k in range(len(profiles)) if found.member[k] == kind]
        middle = np.mean([np.sqrt(profiles[k]) for k in rows], axis=0)
        rows.sort(key=lambda k: float(np.linalg.norm(np.sqrt(profiles[k]) - middle)))
        assert found.nearest(profiles, kind, 4).tolist() == rows[:4]


def test_shares_are_those_of_a_slow_sum_by_lead_or_over_leads() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 2, 12)).astype(np.float32)
    names, lead, row = ("P", "P", "T", "P"), ("I", "II", "I", "I"), np.array([0, 1, 0, 0])
    start = np.tile([0, 0, 3, 8], (3, 1))
    regions = Regions(names, lead, row, start, start + np.array([3, 4, 4, 2]))
    for by_lead, expected in ((True, ("P of I", "P of II", "T of I", "padding")), (False, ("P", "T", "padding"))):
        shares, found = map_profiles(maps, regions, by_lead=by_lead)
        assert found == expected
        for n in range(3):
            slow = dict.fromkeys(expected, 0.0)
            size = np.abs(maps[n])
            for k, name in enumerate(names):
                key = f"{name} of {lead[k]}" if by_lead else name
                slow[key] += float(size[row[k], regions.start[n, k] : regions.stop[n, k]].sum() / size.sum())
            slow["padding"] = 1 - sum(slow.values())
            np.testing.assert_allclose(shares[n], list(slow.values()), atol=1e-6)
    empty, _ = map_profiles(np.zeros((3, 2, 12), np.float32), regions, by_lead=True)
    assert np.isnan(empty).all()


def test_windows_tile_the_signal_of_each_lead() -> None:
    first, stop = np.array([0, 3]), np.array([20, 17])
    windows = equal_windows(first, stop, [("I", 0, 0), ("II", 0, 20)], 5)
    for n in range(2):
        for lead, offset in (("I", 0), ("II", 20)):
            mine = [k for k, name in enumerate(windows.lead) if name == lead]
            assert [windows.names[k] for k in mine] == [f"window {k}" for k in range(1, 6)]
            covered = np.concatenate([np.arange(windows.start[n, k], windows.stop[n, k]) for k in mine])
            np.testing.assert_array_equal(covered, np.arange(first[n], stop[n]) + offset)
            assert np.ptp([windows.stop[n, k] - windows.start[n, k] for k in mine]) <= 1


def test_too_few_and_empty_maps_are_refused() -> None:
    profiles, _ = _planted((14, 10))
    with pytest.raises(EcglensError, match="expected 25"):
        kinds_of(profiles)
    profiles, _ = _planted((20, 10))
    profiles[3] = np.nan
    with pytest.raises(EcglensError, match="NaN"):
        kinds_of(profiles)
