"""Maps at another size; what a map holds stays what it was."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


def resized(maps: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Maps with their last axes brought to `shape`: each new cell is the mean, over its extent, of the map between middles.

    maps (..., cell) or (..., row, column). Between the middles of neighbouring cells a map is linear, beyond the outermost
    ones flat. So the mean of a map stays, whatever the sizes, and a uniform map stays uniform. No source.
    """
    for number, length in enumerate(reversed(shape), start=1):
        cells = maps.shape[-number]
        if cells == length:
            continue
        weights = _means_of_cells(cells, length)
        if number == 1:  # by one product over everything before it
            flat = weights @ maps.reshape(-1, cells).T
            maps = np.ascontiguousarray(flat.T).reshape(*maps.shape[:-1], length)
        else:  # by a product for each map
            maps = weights.toarray() @ maps
    return maps


@lru_cache(maxsize=8)
def _means_of_cells(cells: int, length: int) -> Any:
    """Sparse (length, cells): the mean of a map's interpolant over each of `length` equal parts, for each of its values.

    The integral of each cell's hat function (flat outside, for the first and the last) between the edges of the parts.
    """
    edges = np.arange(length + 1)[:, None] * (cells / length)
    # a hat reaches from the middle of the cell before to the middle of the one behind: few lie over a part
    cell = np.floor(edges[:-1] - 1.5).astype(np.int64) + np.arange(math.ceil(cells / length) + 3)

    def until(edge: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        away = edge - (cell + 0.5)
        below, above = np.clip(away, -1, 0), np.clip(away, 0, 1)
        # the first is flat before its middle, the last behind its own
        left = np.where(cell == 0, np.minimum(edge, 0.5), (1 + below) ** 2 / 2)
        right = np.where(cell == cells - 1, np.maximum(away, 0), above - above**2 / 2)
        return left + right

    share = (until(edges[1:]) - until(edges[:-1])) * (length / cells)
    there = (cell >= 0) & (cell < cells) & (share != 0)
    return csr_array((share[there].astype(np.float32), (np.nonzero(there)[0], cell[there])), shape=(length, cells))
