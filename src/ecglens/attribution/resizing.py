"""Maps at another size, and maps of pictures in time; what a map holds stays what it was."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError


def resized(maps: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Maps with their last axes brought to `shape`: each new cell is the mean, over its extent, of the map between middles.

    maps (..., cell) or (..., row, column). Between the middles of neighbouring cells a map is linear, beyond the outermost
    ones flat. So the mean of a map stays, whatever the sizes, and a uniform map stays uniform. No source.
    """
    for number, length in enumerate(reversed(shape), start=1):
        cells = maps.shape[-number]
        if cells == length:
            continue
        weights = means_of_cells(cells, length)
        # the last axis by one product over everything before it, the one before by a product for each map
        maps = maps @ weights.T if number == 1 else weights @ maps
    return maps


@lru_cache(maxsize=64)
def means_of_cells(cells: int, length: int) -> NDArray[np.float32]:
    """(length, cells): the mean of a map's interpolant over each of `length` equal parts, for each of its `cells` values.

    The integral of each cell's hat function (flat outside, for the first and the last) between the edges of the parts.
    """
    edges = np.arange(length + 1) * (cells / length)
    middles = np.arange(cells) + 0.5
    away = edges[:, None] - middles
    below, above = np.clip(away, -1, 0), np.clip(away, 0, 1)
    until = (1 + below) ** 2 / 2 + above - above**2 / 2
    if cells == 1:
        until[:] = edges[:, None]
    else:
        # the first is flat before its middle, the last behind its own
        until[:, 0] = np.minimum(edges, 0.5) + (above - above**2 / 2)[:, 0]
        until[:, -1] = (1 + below[:, -1]) ** 2 / 2 + np.maximum(away[:, -1], 0)
    out = (np.diff(until, axis=0) * (length / cells)).astype(np.float32)
    out.setflags(write=False)
    return out


def into_time(
    maps: NDArray[np.float32], start: NDArray[np.int64], stop: NDArray[np.int64], length: int
) -> NDArray[np.float32]:
    """Maps of pictures, summed down their columns and spread over the samples that were drawn: float32 (example, 1, time).

    maps (example, 1, row, column); start, stop: int (example,), first sample drawn and the one after the last, which share the
    columns evenly; length: samples of an example. A column goes to samples by how much of it each covers, so the sum over
    time is that of the map. Raises EcglensError where shapes do not fit or an example has no sample. No source.
    """
    start, stop = np.asarray(start), np.asarray(stop)
    if maps.ndim != 4 or maps.shape[1] != 1 or not len(maps) == len(start) == len(stop):
        raise EcglensError(
            f"maps have shape {maps.shape} for {len(start)} starts and {len(stop)} stops; expected (example, 1, row, column), "
            "one of each"
        )
    broken = (start < 0) | (stop <= start) | (stop > length)
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        raise EcglensError(f"example {row} is drawn from sample {start[row]} to {stop[row]}; expected some of 0 to {length}")
    columns = maps.shape[3]
    held = maps.sum(axis=(1, 2), dtype=np.float64)
    until = np.concatenate([np.zeros((len(held), 1)), np.cumsum(held, axis=1)], axis=1)
    # where each edge between samples lies, in columns
    at = np.clip((np.arange(length + 1) - start[:, None]) * (columns / (stop - start))[:, None], 0, columns)
    column = np.minimum(at.astype(np.int64), columns - 1)
    before = np.take_along_axis(until, column, axis=1) + (at - column) * np.take_along_axis(held, column, axis=1)
    return np.diff(before, axis=1).astype(np.float32)[:, None]
