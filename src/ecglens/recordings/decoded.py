"""A set of 16-bit records decoded once: one int16 file, mapped into memory, and an index beside it.

    CACHE/samples.npy   int16 (value,): records one after another, each (lead, time)
    CACHE/index.json    for each record: where it lies, leads, gains, baselines, fs, remarks, size and time of its files;
                        and what was left out

The index is written last, so a folder without one is not whole and is made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.files import write_json, written_whole
from ecglens.recordings.databases import Skipped
from ecglens.recordings.sixteen import millivolts, read_header, read_samples
from ecglens.recordings.twelve_record import scaled

SAMPLES, INDEX = "samples.npy", "index.json"
_FORM = 1


@dataclass(frozen=True)
class Row:
    """One record: offset in values, n_samples by lead, gains in samples per mV; files: (name, size, time in ns) as decoded."""

    offset: int
    n_samples: int
    fs: float
    leads: tuple[str, ...]
    gains: tuple[float, ...]
    baselines: tuple[float, ...]
    remarks: tuple[str, ...]
    header: str
    files: tuple[tuple[str, int, int], ...]


class Decoded:
    """An open set: `signal(record)` in mV, `digital(record)` in samples, `rows` by record name."""

    def __init__(self, rows: dict[str, Row], samples: NDArray[np.int16]) -> None:
        self.rows = rows
        self._samples = samples
        self._scales = {
            name: (np.array(row.gains, np.float32), np.array(row.baselines, np.float32)) for name, row in rows.items()
        }

    def digital(self, record: str) -> NDArray[np.int16]:
        """int16 (lead, time), not copied: pages are read when used. Raises EcglensError where the record is not in the set."""
        row = self.rows.get(record)
        if row is None:
            raise EcglensError(f"{record} is not among the {len(self.rows)} decoded records; decode it first")
        n = row.n_samples * len(row.leads)
        return self._samples[row.offset : row.offset + n].reshape(len(row.leads), row.n_samples)

    def signal(self, record: str) -> NDArray[np.float32]:
        """float32 (lead, time) in mV, NaN where a sample is invalid: the same numbers as the reader's."""
        digital = self.digital(record)
        return millivolts(digital, *self._scales[record])


def decoded(
    headers: Mapping[str, Path], root: Path, cache: Path, skipped: list[Skipped], usual_gain: float | None = None
) -> Decoded:
    """The set of `headers` (record name to `.hea` in `root`), from `cache` if it is there and fits, else decoded into it.

    A file that is changed, missing or new, by size or time, has the whole set decoded again. What cannot be used is appended
    to `skipped` and left out, each time. Checks of names, gains and sums are those of `scaled`, done once. Raises EcglensError
    where no record can be used.
    """
    if not _fits(headers, root, cache, usual_gain):
        (cache / INDEX).unlink(missing_ok=True)
        with written_whole(cache / SAMPLES) as beside, beside.open("wb") as file:
            about = _decode(headers, root, file, usual_gain)
        write_json(cache / INDEX, about)
    skipped += [Skipped(name, out["reason"]) for name, out in _index(cache)["left_out"].items()]
    return open_decoded(cache)


def _decode(headers: Mapping[str, Path], root: Path, file: BinaryIO, usual_gain: float | None) -> dict[str, Any]:
    """Write the samples, and return the index."""
    rows: dict[str, dict[str, Any]] = {}
    left_out: dict[str, dict[str, Any]] = {}
    values, begin = 0, _write_head(file, 0)
    for record, path in headers.items():
        try:
            header = read_header(path)
            samples = read_samples(header, path.parent)
            what = scaled(header, samples, usual_gain)
        except EcglensError as error:
            files = _state([path, path.with_suffix(".dat"), path.with_suffix(".mat")], root)
            left_out[record] = {"header": _below(path, root), "reason": str(error), "files": files}
            continue
        part = np.ascontiguousarray(samples[list(what.rows)])
        row = Row(
            values, part.shape[1], header.fs, what.leads, tuple(what.gains.tolist()), tuple(what.baselines.tolist()),
            what.remarks, _below(path, root), _state([path, *(path.parent / name for name, _, _ in header.files)], root),
        )  # fmt: skip
        rows[record] = asdict(row)
        values += part.size
        file.write(part.data)
    if not rows:
        first = f"; the first reason: {next(iter(left_out.values()))['reason']}" if left_out else ""
        raise EcglensError(f"none of the {len(headers)} records in {root} can be decoded{first}")
    file.seek(0)
    if _write_head(file, values) != begin:
        raise EcglensError(f"{SAMPLES} cannot be written: this numpy writes heads of files in another way than expected")
    return {"form": _FORM, "usual_gain": usual_gain, "values": values, "rows": rows, "left_out": left_out}


def _write_head(file: BinaryIO, values: int) -> int:
    """The head of a .npy of that many values, which has room for any number; returns where the values begin."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<i2", "fortran_order": False, "shape": (values,)})
    return file.tell()


def open_decoded(cache: Path) -> Decoded:
    """Open a set as it was written, its source files not looked at; raises EcglensError where it is not whole."""
    try:
        about = _index(cache)
        rows = {name: _row(row) for name, row in about["rows"].items()}
        samples = np.load(cache / SAMPLES, mmap_mode="r", allow_pickle=False)
        if samples.dtype != np.int16 or samples.shape != (about["values"],):
            raise ValueError(f"{SAMPLES} is {samples.dtype} {samples.shape}, the index says int16 ({about['values']},)")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise EcglensError(f"{cache} is not a decoded set ({reason}); delete it, it is made again") from None
    return Decoded(rows, samples)


def _fits(headers: Mapping[str, Path], root: Path, cache: Path, usual_gain: float | None) -> bool:
    try:
        about = _index(cache)
        held = {**about["rows"], **about["left_out"]}
        if about["usual_gain"] != usual_gain or {name: _below(path, root) for name, path in headers.items()} != {
            name: row["header"] for name, row in held.items()
        }:
            return False
        open_decoded(cache)
        return all(_unchanged(row["files"], root) for row in held.values())
    except (EcglensError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _unchanged(files: Iterable[Sequence[Any]], root: Path) -> bool:
    wanted = tuple((name, size, time) for name, size, time in files)
    return _state([root / name for name, _, _ in wanted], root) == wanted


def _index(cache: Path) -> dict[str, Any]:
    about = json.loads((cache / INDEX).read_text(encoding="utf-8"))
    if about["form"] != _FORM:
        raise ValueError(f"its form is {about['form']}, expected {_FORM}")
    return dict(about)


def _row(row: dict[str, Any]) -> Row:
    files = tuple((str(name), int(size), int(time)) for name, size, time in row["files"])
    held: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Row(**(held | {"files": files}))


def _below(path: Path, root: Path) -> str:
    return os.path.relpath(path, root)


def _state(paths: Iterable[Path], root: Path) -> tuple[tuple[str, int, int], ...]:
    """(name, size, time) of each file; size -1 where it is gone."""
    found = []
    for path in paths:
        try:
            about = os.stat(path)
            found.append((_below(path, root), about.st_size, about.st_mtime_ns))
        except OSError:
            found.append((_below(path, root), -1, 0))
    return tuple(found)
