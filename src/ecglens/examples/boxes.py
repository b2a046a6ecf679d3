"""Boxes: regions as shares of a map's height and width, so that they fit signals and pictures at any resolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.examples.regions import Regions

PARTS = ("all", "positive", "negative", "magnitude")
_CHUNK_VALUES = 1 << 18  # numbers of a map that are held as float64 at once: 2 MB stay in the processor's cache
_SNAP = 1e-9  # cells; an edge so near to a cell's edge is meant to lie on it


@dataclass(frozen=True)
class Boxes:
    """Named boxes on a map, for every example its own.

    names: one per box; boxes that share a name are one region (the leads of a wave) and must not overlap, which who adds
    them up checks. top, bottom, left, right: float64 (example, box), shares of the map's height and width: 0 is the top
    and the left edge, 1 the bottom and the right edge; top == bottom or left == right: the example has no such box. The
    rows of a signal's map are its leads. Raises EcglensError for shapes that differ, an edge outside 0 to 1, or sides
    in the wrong order.
    """

    names: tuple[str, ...]
    top: NDArray[np.float64]
    bottom: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = (len(self.top), len(self.names))
        for side in ("top", "bottom", "left", "right"):
            edge = getattr(self, side)
            if edge.shape != shape:
                raise EcglensError(
                    f"{side} of the boxes has shape {edge.shape}; expected (example, box), here {shape} for "
                    f"{len(self.names)} names"
                )
            # "not" is true of NaN as well
            if not np.all((edge >= 0) & (edge <= 1)):
                raise EcglensError(f"{side} of a box lies outside the map; expected shares of its size, 0 to 1")
        for first, last in (("top", "bottom"), ("left", "right")):
            wrong = getattr(self, first) > getattr(self, last)
            if wrong.any():
                name = self.names[int(np.flatnonzero(wrong.any(0))[0])]
                raise EcglensError(f"{first} of box {name!r} lies behind {last} in {wrong.any(1).sum()} examples; swap them")

    def __len__(self) -> int:
        return len(self.top)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Boxes:
        """The boxes of the examples at `rows` (indices, repeats allowed, or a mask)."""
        return Boxes(self.names, self.top[rows], self.bottom[rows], self.left[rows], self.right[rows])


def boxes_of(regions: Regions, n_rows: int, length: int) -> Boxes:
    """Regions of signals of `n_rows` leads and `length` samples as boxes: a lead is a band, samples are shares of the width.

    Regions of one name in several leads become one region of several boxes. Raises EcglensError for a region outside.
    """
    regions.expect_inside(n_rows, length)
    shape = regions.start.shape
    top, bottom = (np.broadcast_to((regions.row + one) / n_rows, shape) for one in (0, 1))
    return Boxes(regions.names, top, bottom, regions.start / length, regions.stop / length)


def common(boxes: Boxes, within: Boxes) -> Boxes:
    """What each box shares with each box of `within`, under the first one's name: (example, box x box of within)."""
    if len(boxes) != len(within):
        raise EcglensError(f"boxes of {len(boxes)} examples, to be cut to boxes of {len(within)}; expected the same number")

    def pairs(what: Any, one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
        both: NDArray[np.float64] = what(one[:, :, None], other[:, None, :])
        return both.reshape(len(one), -1)

    top, left = pairs(np.maximum, boxes.top, within.top), pairs(np.maximum, boxes.left, within.left)
    bottom, right = pairs(np.minimum, boxes.bottom, within.bottom), pairs(np.minimum, boxes.right, within.right)
    names = tuple(name for name in boxes.names for _ in within.names)
    return Boxes(names, top, np.maximum(top, bottom), left, np.maximum(left, right))


def joined(first: Boxes, second: Boxes) -> Boxes:
    """The boxes of both, side by side."""
    if len(first) != len(second):
        raise EcglensError(f"boxes of {len(first)} and of {len(second)} examples; expected the same number")
    pairs = [(getattr(first, side), getattr(second, side)) for side in ("top", "bottom", "left", "right")]
    top, bottom, left, right = (np.concatenate(pair, axis=1) for pair in pairs)
    return Boxes(first.names + second.names, top, bottom, left, right)


def box_areas(boxes: Boxes) -> NDArray[np.float64]:
    """Share of the map's area that each box covers, float64 (example, box)."""
    return (boxes.bottom - boxes.top) * (boxes.right - boxes.left)


def box_sums(maps: Any, boxes: Boxes, *, part: str = "all") -> NDArray[np.float64]:
    """Sum of each map's values in each box, float64 (example, box); a cell that is partly covered counts by that share.

    maps: (example, row, column), (example, 1, row, column), or of signals (example, lead, time), at any resolution; read a
    few at a time. part: "all" values as they are, the "positive" ones, the size of the "negative" ones, or the "magnitude" of
    all. Exact to some 1e-16 of what the map holds in the box's rows; NaN and infinite values make sums NaN. Raises
    EcglensError for other shapes, another number of examples, an unknown part.
    """
    choose(part, list(PARTS), "part")
    out = np.empty(boxes.top.shape)
    for rows, block, cut in _blocks(maps, boxes):
        out[rows] = cut.sums(_part(block, part, cut.buffer(len(block))), rows)
    return out


def signed_box_sums(maps: Any, boxes: Boxes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`box_sums` of the positive values, and of the size of the negative ones: float64 (example, box + 1) each.

    The last column is the whole map. Each map is read once.
    """
    n, n_boxes = boxes.top.shape
    positive, negative = np.zeros((2, n, n_boxes + 1))
    for rows, block, cut in _blocks(maps, boxes):
        signed = not bool(block.min(initial=0) >= 0)  # NaN is not left out unseen
        for part, out in (("positive", positive), ("negative", negative)):
            if part == "positive" or signed:
                values = _part(block, part, cut.buffer(len(block)))
                out[rows, :-1] = cut.sums(values, rows)
                out[rows, -1] = values.sum((1, 2))
    return positive, negative


def _part(block: NDArray[Any], part: str, out: NDArray[np.float64]) -> NDArray[np.float64]:
    """The wanted part of `block`, written to `out` as float64."""
    if part == "magnitude":
        np.abs(block, out=out)
    elif part == "positive":
        np.maximum(block, 0, out=out)
    elif part == "negative":
        np.minimum(block, 0, out=out)
        np.negative(out, out=out)
    else:
        np.copyto(out, block)
    return out


class _Cut:
    """Where the boxes cut maps of rows x columns: bands of rows that occur, and the columns of each box."""

    def __init__(self, boxes: Boxes, n_rows: int, n_columns: int, chunk: int) -> None:
        # many boxes are as high as the map, or a lead: what they share is added up once
        sides = np.concatenate([boxes.top, boxes.bottom])
        bands, self._band = np.unique(sides, axis=1, return_inverse=True)
        self._band = self._band.reshape(-1)
        self._top, self._bottom = (_cells(edge, n_rows) for edge in np.split(bands, 2))
        self._left, self._right = (_cells(edge, n_columns) for edge in (boxes.left, boxes.right))
        self._row = np.arange(n_rows)
        self._buffer = np.empty((chunk, n_rows, n_columns))

    def buffer(self, n: int) -> NDArray[np.float64]:
        """Room for `n` maps, the same at each call."""
        return self._buffer[:n]

    def sums(self, values: NDArray[np.float64], rows: slice) -> NDArray[np.float64]:
        """Sums of `values` (example, row, column) in the boxes of the examples `rows`, (example, box)."""
        top, bottom = self._top[rows, :, None] - self._row, self._bottom[rows, :, None] - self._row
        covered = np.clip(bottom, 0, 1) - np.clip(top, 0, 1)
        running = np.zeros((len(values), covered.shape[1], values.shape[2] + 1))
        with np.errstate(invalid="ignore"):  # NaN and infinite values are the caller's to refuse
            np.cumsum(covered @ values, axis=2, out=running[:, :, 1:])
            return self._until(running, self._right[rows]) - self._until(running, self._left[rows])

    def _until(self, running: NDArray[np.float64], edge: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums from the left up to `edge` (example, box), in columns, of the box's band."""
        column = np.minimum(edge.astype(np.int64), running.shape[2] - 2)
        example = np.arange(len(running))[:, None]
        before, after = running[example, self._band, column], running[example, self._band, column + 1]
        return before + (edge - column) * (after - before)


def _cells(share: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Shares of a side of `n` cells in cells."""
    at = share * n
    near = np.rint(at)
    return np.where(np.abs(at - near) < _SNAP, near, at)


def _blocks(maps: Any, boxes: Boxes) -> Iterator[tuple[slice, NDArray[Any], _Cut]]:
    """Some examples' rows, their maps (example, row, column), and where the boxes cut them."""
    if maps.ndim not in (3, 4) or (maps.ndim == 4 and maps.shape[1] != 1):
        raise EcglensError(
            f"maps have shape {tuple(maps.shape)}; expected (example, row, column), (example, 1, row, column) or "
            "(example, lead, time)"
        )
    if len(maps) != len(boxes):
        raise EcglensError(f"{len(maps)} maps and boxes of {len(boxes)} examples; expected the same number")
    n_rows, n_columns = maps.shape[-2:]
    if not n_rows * n_columns:
        raise EcglensError(f"maps have shape {tuple(maps.shape)}: there is no cell to add up")
    chunk = max(1, min(len(maps), _CHUNK_VALUES // (n_rows * n_columns)))
    cut = _Cut(boxes, n_rows, n_columns, chunk)
    for first in range(0, len(maps), chunk):
        rows = slice(first, min(first + chunk, len(maps)))
        yield rows, np.asarray(maps[rows]).reshape(-1, n_rows, n_columns), cut
