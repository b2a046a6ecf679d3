"""Maps on disk: a plan, then shards that are whole or not there; read back without loading them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.files import write_json

_PLAN = "plan.json"


def write_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Write the plan of a new store, or make sure that the one there is the same; raises EcglensError, naming what differs."""
    path = folder / _PLAN
    if path.is_file():
        expect_same(folder, plan)
        return
    if folder.is_dir() and any(folder.glob("shard-*")):
        raise EcglensError(f"{folder} holds shards, but not the plan that they belong to; choose another folder, or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, plan)


def expect_same(folder: Path, wanted: dict[str, Any]) -> None:
    """Raises EcglensError, naming what differs, where the store was made otherwise than `wanted`, part of a plan, says."""
    there = read_plan(folder)
    differing = [key for key in wanted if json.loads(json.dumps(wanted[key])) != there.get(key)]
    if differing:
        raise EcglensError(
            f"{folder} holds maps made otherwise ({', '.join(differing)} differ: of another model, other data or other "
            "settings); choose another folder, or delete it"
        )


def read_plan(folder: Path) -> dict[str, Any]:
    """The plan of a store; raises EcglensError where there is none."""
    try:
        plan = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
        whole = isinstance(plan["methods"], dict) and isinstance(plan["n"], int) and plan["n"] >= 0
        edges = [edge for first, stop in plan["shards"] for edge in (first, stop)]
        if not whole or edges != sorted(edges) or [*edges[:1], *edges[-1:]] != ([0, plan["n"]] if edges else []):
            raise ValueError("its shards are not those of its examples")
        if "shape" not in plan and "length" in plan:  # of a store from before there were pictures
            plan["shape"] = None if plan["length"] is None else [int(plan["length"])]
        return plan
    except FileNotFoundError:
        raise EcglensError(f"{folder} holds no maps ({_PLAN} is missing)") from None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise EcglensError(
            f"{folder / _PLAN} is damaged ({type(error).__name__}); delete the folder and explain again"
        ) from None


def shard_name(number: int) -> str:
    """shard-00000, shard-00001, ..."""
    return f"shard-{number:05d}"


class ShardWriter:
    """Arrays of one shard, written row by row; their shapes are known with the first batch."""

    def __init__(self, folder: Path, n_rows: int) -> None:
        self._folder, self._n_rows = folder, n_rows
        self._files: dict[str, Any] = {}

    def add(self, name: str, rows: NDArray[Any]) -> None:
        """Append rows to the array of that name."""
        rows = np.ascontiguousarray(rows)
        if name not in self._files:
            file = (self._folder / f"{name}.npy").open("wb")
            header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False}
            np.lib.format.write_array_header_2_0(file, header | {"shape": (self._n_rows, *rows.shape[1:])})
            self._files[name] = file
        self._files[name].write(rows.data)

    def close(self) -> None:
        """Flush everything to disk."""
        for file in self._files.values():
            file.close()


@contextmanager
def shard_written_whole(folder: Path, number: int, n_rows: int) -> Iterator[ShardWriter]:
    """A writer for shard `number`; the shard takes its name when all went well, and nothing is left when not."""
    path, beside = folder / shard_name(number), folder / f".{shard_name(number)}.{os.getpid()}.part"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    writer = ShardWriter(beside, n_rows)
    try:
        yield writer
        writer.close()
        os.replace(beside, path)
    finally:
        writer.close()
        shutil.rmtree(beside, ignore_errors=True)


def missing_shards(folder: Path, plan: dict[str, Any]) -> list[int]:
    """Numbers of the shards that are not there yet."""
    return [number for number in range(len(plan["shards"])) if not (folder / shard_name(number)).is_dir()]


def merge(folders: list[Path], out: Path) -> Path:
    """Put the shards of several stores of one plan together in `out`; raises EcglensError where plans differ or shards
    lack.
    """
    if not folders:
        raise EcglensError("no store to merge")
    plan = read_plan(folders[0])
    for folder in folders:
        if read_plan(folder) != plan:
            raise EcglensError(f"{folder} and {folders[0]} are of different plans; shards of one plan can be merged")
    write_plan(out, plan)
    for number in missing_shards(out, plan):
        source = next((folder / shard_name(number) for folder in folders if (folder / shard_name(number)).is_dir()), None)
        if source is None:
            raise EcglensError(f"{shard_name(number)} is in none of the {len(folders)} stores; explain the missing part first")
        beside = out / f".{shard_name(number)}.{os.getpid()}.part"
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(source, beside)
        os.replace(beside, out / shard_name(number))
    return out


class Stacked:
    """Arrays of one name from all shards, one behind the other along the first axis; rows are read when asked for."""

    def __init__(self, parts: list[NDArray[Any]]) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Rows by number, in the order asked for."""
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        part_of = np.searchsorted(self._ends, rows, "right")
        for number in np.unique(part_of):
            there = part_of == number
            first = self._ends[number] - len(self._parts[number])
            out[there] = self._parts[number][rows[there] - first]
        return out


def open_arrays(folder: Path, plan: dict[str, Any], name: str) -> Stacked:
    """An array of the store; raises EcglensError where shards are missing or damaged."""
    missing = missing_shards(folder, plan)
    if missing:
        raise EcglensError(
            f"{folder} is not complete: {len(missing)} of {len(plan['shards'])} shards are missing; give the same command "
            "again"
        )
    parts = []
    for number, (first, stop) in enumerate(plan["shards"]):
        path = folder / shard_name(number) / f"{name}.npy"
        try:
            parts.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except FileNotFoundError:
            raise EcglensError(f"{path} is missing") from None
        except (ValueError, OSError, EOFError) as error:
            raise EcglensError(
                f"{path} is damaged ({' '.join(str(error).split())[:80]}); delete its shard and go on"
            ) from None
        if len(parts[-1]) != stop - first:
            raise EcglensError(f"{path} holds {len(parts[-1])} rows, the plan says {stop - first}; delete its shard and go on")
    return Stacked(parts)
