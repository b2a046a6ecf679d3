"""Regions of examples as plain data: segments, waves, windows, evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError

_CHUNK = 1024  # examples whose running sums stay in the processor's cache


@dataclass(frozen=True)
class Regions:
    """Named stretches of time, for every example its own.

    names: one per region; lead: the lead's name of each; row: int (region,), row of the arrays; start, stop: int (example,
    region) in samples, start == stop where an example has no such region.
    """

    names: tuple[str, ...]
    lead: tuple[str, ...]
    row: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.names)
        if not (len(self.lead) == len(self.row) == n and self.start.shape == self.stop.shape == (len(self.start), n)):
            raise EcglensError(
                f"{n} region names, {len(self.lead)} leads, {len(self.row)} rows, starts {self.start.shape}, stops "
                f"{self.stop.shape}; expected one of each per region"
            )
        if np.any(self.start > self.stop) or np.any(self.start < 0):
            raise EcglensError("a region ends before it starts, or starts before sample 0")

    def expect_inside(self, n_rows: int, length: int) -> None:
        """Raises EcglensError where a region lies outside arrays (example, `n_rows` leads, `length` samples)."""
        if self.stop.max(initial=0) > length or not np.all((self.row >= 0) & (self.row < n_rows)):
            raise EcglensError(f"a region lies outside {n_rows} leads and {length} samples; cut it to them")

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Regions:
        """The regions of the examples at `rows` (indices, repeats allowed, or a mask)."""
        return replace(self, start=self.start[rows], stop=self.stop[rows])


def whole_leads(leads: tuple[str, ...], n: int, length: int) -> Regions:
    """Each lead from end to end, a region each, for `n` examples of `length` samples."""
    edges = np.zeros((n, len(leads)), np.int64)
    return Regions(leads, leads, np.arange(len(leads)), edges, edges + length)


def inside(regions: Regions, n_rows: int, length: int) -> NDArray[np.bool_]:
    """True where any region of the example lies: bool (example, row, time)."""
    n_examples, n_regions = regions.start.shape
    edges = np.zeros((n_examples, n_rows, length + 1), np.int16)
    example = np.arange(n_examples)
    for region in range(n_regions):
        row = regions.row[region]
        # an empty region adds and takes away at one place
        edges[example, row, regions.start[:, region]] += 1
        edges[example, row, regions.stop[:, region]] -= 1
    return np.cumsum(edges[:, :, :-1], axis=2) > 0


def region_means(maps: NDArray[np.float32], regions: Regions, *, magnitude: bool = False) -> NDArray[np.float32]:
    """Mean of each map in each region, float32 (example, region); NaN where the region is empty.

    maps (example, lead, time); magnitude: of absolute values. All examples at once, by running sums.
    """
    n_examples, n_rows, length = maps.shape
    if n_examples != len(regions.start):
        raise EcglensError(f"{n_examples} maps and regions for {len(regions.start)} examples; expected the same number")
    regions.expect_inside(n_rows, length)
    out = np.empty(regions.start.shape, np.float32)
    running = np.zeros((min(_CHUNK, n_examples), n_rows, length + 1), np.float64)
    row_offset = regions.row * (length + 1)
    for first in range(0, n_examples, _CHUNK):
        part = maps[first : first + _CHUNK]
        sums = running[: len(part)]
        np.cumsum(np.abs(part) if magnitude else part, axis=2, dtype=np.float64, out=sums[:, :, 1:])
        flat = sums.reshape(-1)
        base = (np.arange(len(part)) * n_rows * (length + 1))[:, None] + row_offset
        start, stop = regions.start[first : first + _CHUNK], regions.stop[first : first + _CHUNK]
        size = stop - start
        total = flat.take(base + stop) - flat.take(base + start)
        with np.errstate(invalid="ignore", divide="ignore"):
            out[first : first + _CHUNK] = np.where(size > 0, total / size, np.nan)
    return out
