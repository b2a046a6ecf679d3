"""Segments of beats as regions, and what a map holds in regions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.examples import LeadPlace
from ecglens.examples.regions import Regions, region_means

_CHUNK = 1024  # examples whose running sums stay in the processor's cache


def segments_around_r(r_index: NDArray[np.int64], places: tuple[LeadPlace, ...], fs: float, seconds: float = 0.1) -> Regions:
    """Segments of `seconds`, counted outward from R in each lead (Jones 2020, section III.E).

    r_index (example,): R in samples of a lead. Segment -1 ends at R, +1 begins there; the outermost is cut at the lead's
    edge. In a lead of 430 samples at 360 Hz: 12 per side where R varies, 6 where it always lies in the middle.
    """
    width = int(seconds * fs)
    if width < 1:
        raise EcglensError(f"segments of {seconds} s are shorter than a sample at {fs:g} Hz")
    names, leads, rows, starts, stops = [], [], [], [], []
    for place in places:
        same_place = r_index.min(initial=place.length) == r_index.max(initial=0)
        far = max(int(r_index[0]), place.length - int(r_index[0])) if same_place and len(r_index) else place.length
        per_side = -(-far // width)
        edges = np.clip(r_index[:, None] + np.arange(-per_side, per_side + 1) * width, 0, place.length) + place.offset
        starts.append(edges[:, :-1])
        stops.append(edges[:, 1:])
        numbers = (*range(-per_side, 0), *range(1, per_side + 1))
        names += [f"{number:+d}" for number in numbers]
        leads += [place.name] * len(numbers)
        rows += [place.row] * len(numbers)
    return Regions(
        tuple(names), tuple(leads), np.array(rows, np.int64), np.concatenate(starts, axis=1), np.concatenate(stops, axis=1)
    )


def padding_share(
    maps: NDArray[np.float32],
    valid_start: NDArray[np.int64],
    valid_stop: NDArray[np.int64],
    places: tuple[LeadPlace, ...],
) -> NDArray[np.float64]:
    """Share of each map's absolute mass that lies on padding, float64 (example,); 0 for an empty map."""
    total = np.zeros(len(maps))
    inside = np.zeros(len(maps))
    for place in places:
        time = np.arange(place.length)
        valid = (time >= valid_start[:, None]) & (time < valid_stop[:, None])
        for first in range(0, len(maps), _CHUNK):
            rows = slice(first, first + _CHUNK)
            size = np.abs(maps[rows, place.row, place.offset : place.offset + place.length])
            total[rows] += size.sum(1, dtype=np.float64)
            inside[rows] += (size * valid[rows]).sum(1, dtype=np.float64)
    return np.divide(total - inside, total, out=np.zeros(len(maps)), where=total > 0)


def mass_inside(maps: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of each map's absolute mass that lies where `where` (example, lead, time) is True; NaN for an empty map."""
    total, within = np.zeros(len(maps)), np.zeros(len(maps))
    for first in range(0, len(maps), _CHUNK):
        rows = slice(first, first + _CHUNK)
        size = np.abs(maps[rows])
        total[rows] = size.sum((1, 2), dtype=np.float64)
        within[rows] = (size * where[rows]).sum((1, 2), dtype=np.float64)
    return np.divide(within, total, out=np.full(len(maps), np.nan), where=total > 0)


__all__ = ["mass_inside", "padding_share", "region_means", "segments_around_r"]
