"""Regions of examples as plain data: segments, waves, windows, evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError


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

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Regions:
        """The regions of the examples at `rows` (indices, repeats allowed, or a mask)."""
        return replace(self, start=self.start[rows], stop=self.stop[rows])


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
