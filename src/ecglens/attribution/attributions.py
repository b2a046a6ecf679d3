"""Maps of a whole data set, in memory or on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.attribution.resizing import resized
from ecglens.attribution.store import (
    Stacked,
    missing_shards,
    open_arrays,
    read_plan,
    shard_name,
    shard_written_whole,
    write_plan,
)  # fmt: skip
from ecglens.errors import EcglensError, did_you_mean


class Maps:
    """Maps of one method, read and resized when rows are asked for; behaves as an array where rows are taken from it."""

    def __init__(self, stacked: Stacked, places: tuple[int, ...] | None) -> None:
        self._stacked, self._places = stacked, places
        self.shape = stacked.shape if places is None else (*stacked.shape[: -len(places)], *places)
        self.dtype = np.dtype(np.float32)
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        rows = np.arange(len(self))[first]
        found = self._stacked.rows(np.atleast_1d(rows)).astype(np.float32)
        found = found if self._places is None else resized(found, self._places)
        if np.ndim(rows) == 0:
            return found[0][rest] if rest else found[0]
        return found[(slice(None), *rest)] if rest else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype)


@dataclass(frozen=True)
class Explained:
    """Maps of one method (example, lead, time) or (example, 1, row, column), rows and target of each example."""

    method: str
    maps: Any
    rows: NDArray[np.int64]
    target: NDArray[np.int64]


@dataclass(frozen=True)
class Attributions:
    """What `explain` gives back. `attributions["saliency"]` is (example, lead, time), or (example, 1, row, column) for a model
    that draws, with an axis of classes behind example where all were asked about; a map that does not tell leads apart has one
    lead.

    rows: which examples of the data these are; target: class asked about (example,), -1 for all; predicted (example,);
    plan: what was asked, of which model and data; folder: where the store is, None in memory.
    """

    plan: dict[str, Any]
    rows: NDArray[np.int64]
    target: NDArray[np.int64]
    predicted: NDArray[np.int64]
    folder: Path | None = None
    _arrays: dict[str, Stacked] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods."""
        return tuple(self.plan["methods"])

    def __getitem__(self, method: str) -> Maps:
        places = self.plan["shape"]
        return self._maps(method, None if places is None else tuple(places))

    def mass(self, method: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What was kept with keep=Boxes: in each box, and last in the whole map, the sum of its positive part, and of the size
        of its negative part, each (example, box + 1), with an axis of classes behind example where all were asked about.

        Raises EcglensError where whole maps or means over regions were kept.
        """
        stacked = self._stacked(self._known(method))
        if self.plan.get("boxes") is None:
            raise EcglensError("no mass in boxes was kept; explain with keep=Boxes, or take box_sums of the maps")
        found = stacked.rows(np.arange(len(stacked)))
        return found[..., 0, :], found[..., 1, :]

    def only(self, method: str) -> Explained:
        """One method's maps with what belongs to them, for analysis."""
        return Explained(self._known(method), self[method], self.rows, self.target)

    def native(self, method: str) -> Maps:
        """The maps at the method's own resolution (example, lead or 1, cell), or (example, 1, row, column) of cells."""
        return self._maps(method, None)

    def note(self, method: str, name: str) -> NDArray[Any]:
        """What the method noted of each example beside its map, such as "completeness-error"."""
        noted = self.notes(method)
        if name not in noted:
            near = did_you_mean(name, noted)
            raise EcglensError(f"{method} noted no {name!r}{near} (it noted: {', '.join(noted) or 'nothing'})")
        stacked = self._stacked(f"{method}.{name}")
        return stacked.rows(np.arange(len(stacked)))

    def notes(self, method: str) -> list[str]:
        """What the method noted of each example beside its map."""
        start = file_name(self._known(method)) + "."
        if self.folder is None:
            names = list(self._arrays)
        else:
            names = [path.name.removesuffix(".npy") for path in sorted((self.folder / shard_name(0)).glob("*.npy"))]
        return [name.removeprefix(start) for name in names if name.startswith(start)]

    def _maps(self, method: str, places: tuple[int, ...] | None) -> Maps:
        stacked = self._stacked(self._known(method))
        if self.plan.get("boxes") is not None:
            raise EcglensError("of these maps only the mass in boxes was kept; take mass(method), or explain without keep=")
        return Maps(stacked, places)

    def _known(self, method: str) -> str:
        if method not in self.methods:
            near = did_you_mean(method, list(self.methods))
            raise EcglensError(f"there are no maps of {method!r}{near} (there: {', '.join(self.methods)})")
        return method

    def _stacked(self, name: str) -> Stacked:
        file = file_name(name)
        if self.folder is None:
            return self._arrays[file]
        return open_arrays(self.folder, self.plan, file)


def file_name(name: str) -> str:
    """A method's or note's name as a file may bear it."""
    return name.replace(":", "-")


def read_attributions(folder: Path) -> Attributions:
    """The store in `folder`; raises EcglensError where it is missing, not complete or damaged."""
    plan = read_plan(folder)
    rows, target, predicted = (
        (stacked := open_arrays(folder, plan, name)).rows(np.arange(len(stacked))) for name in ("rows", "target", "predicted")
    )
    with_target = hashlib.sha256(rows.tobytes() + target.tobytes()).hexdigest()[:16]
    if "asked" in plan and plan["asked"] not in (with_target, hashlib.sha256(rows.tobytes()).hexdigest()[:16]):
        raise EcglensError(f"{folder}: the rows of its shards are not those of its plan; delete the folder and explain again")
    return Attributions(plan, rows, target, predicted, folder)


def put_together(parts: list[Attributions]) -> Attributions:
    """Attributions in memory, of different examples of one data set, as one, in the order of their rows."""
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")

    def join(arrays: list[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(arrays)[order]

    arrays = {
        name: Stacked([join([part._arrays[name].rows(np.arange(len(part.rows))) for part in parts])])
        for name in parts[0]._arrays
    }
    target, predicted = join([part.target for part in parts]), join([part.predicted for part in parts])
    return Attributions(parts[0].plan | {"n": len(rows)}, rows[order], target, predicted, None, arrays)


def save(attributions: Attributions, folder: Path, known: dict[str, Any]) -> Attributions:
    """Write attributions that are in memory as a store of one shard, and read it back; `known` goes into its plan."""
    n = len(attributions.rows)
    asked = hashlib.sha256(attributions.rows.tobytes() + attributions.target.tobytes()).hexdigest()[:16]
    plan = attributions.plan | known | {"asked": asked, "batches": [[0, n]], "shards": [[0, n]]}
    write_plan(folder, plan)
    if missing_shards(folder, plan):
        with shard_written_whole(folder, 0, n) as writer:
            for name in ("rows", "target", "predicted"):
                writer.add(name, getattr(attributions, name))
            for name, stacked in attributions._arrays.items():
                writer.add(name, stacked.rows(np.arange(n)))
    return read_attributions(folder)
