"""The fast path for 16-bit records: WFDB's formats 16 and 16+24 (`.dat`, Challenge `.mat`), without the wfdb package.

A header of another form is refused by `read_header`: the twelve-lead databases that we know have no other.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.recordings.matlab import mat_arrays

INVALID = -(2**15)  # 'no sample', signal(5)
_MAT4 = struct.Struct("<5i4s")  # MATLAB 4: kind, rows, columns, imaginary, length of the name, name
_INT16 = 30
_PER_MV = {"mv": 1.0, "uv": 1000.0, "µv": 1000.0, "v": 0.001}


@dataclass(frozen=True)
class Header:
    """One `.hea`: names, gains (samples per mV; None where it has none), baselines, initial and sum by lead; fs in Hz.

    files: (name, byte offset, leads in it), in the order of leads; remarks say what was mended.
    """

    record: str
    fs: float
    n_samples: int | None
    files: tuple[tuple[str, int, int], ...]
    names: tuple[str, ...]
    gains: tuple[float | None, ...]
    baselines: tuple[int, ...]
    sums: tuple[int | None, ...]
    comments: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """Read a header of 16-bit signals; raises EcglensError where it is missing, damaged, or of another format.

    What follows the number of samples on line 1 (a date in a form that wfdb refuses) is ignored, with a remark.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            text = file.read().decode("latin-1")
    except OSError as error:
        raise EcglensError(f"{path.name} cannot be read in {path.parent} ({error.strerror})") from None
    lines = [line for line in text.splitlines() if line and not line.isspace()]
    comments = tuple(line.lstrip("#").strip() for line in lines if line[0] == "#")
    lines = [line for line in lines if line[0] != "#"]
    words = lines[0].split() if lines else []
    try:
        n_leads, fs = int(words[1]), float(words[2].split("/")[0])
        n_samples = int(words[3]) if len(words) > 3 else None
        if not (0 < n_leads == len(lines) - 1 and 0 < fs < float("inf") and (n_samples is None or n_samples > 0)):
            raise ValueError
        signals = [_signal(line.split(None, 8)) for line in lines[1:]]
    except (ValueError, IndexError):
        raise EcglensError(
            f"{path.name} is not a header of 16-bit signals; expected 'name leads rate samples', then a line for each "
            "lead such as 'NAME.mat 16+24 1000/mV 16 0 0 0 0 II'; other formats of WFDB are not read in twelve-lead databases"
        ) from None
    files: list[tuple[str, int, int]] = []
    for name, offset, *_ in signals:
        if files and files[-1][:2] == (name, offset):
            files[-1] = (name, offset, files[-1][2] + 1)
        else:
            files.append((name, offset, 1))
    remarks: tuple[str, ...] = ()
    if len(words) > 4 and not re.fullmatch(r"\d{1,2}:\d\d:\d\d(\.\d+)?( \d{1,2}/\d{1,2}/\d{4})?", " ".join(words[4:])):
        remarks = (f"'{' '.join(words[4:])}' on the header's first line is not a time and date as WFDB has them; ignored",)
    return Header(
        words[0], fs, n_samples, tuple(files), tuple(s[5] for s in signals), tuple(s[2] for s in signals),
        tuple(s[3] for s in signals), tuple(s[4] for s in signals), comments, remarks,
    )  # fmt: skip


def _signal(words: list[str]) -> tuple[str, int, float | None, int, int | None, str]:
    """(file, byte offset, gain, baseline, sum, name) of one line."""
    gain, baseline = _gain(words[2]) if len(words) > 2 else (None, None)
    zero = int(words[4]) if len(words) > 4 else 0
    total = int(words[6]) if len(words) > 6 else None
    return (
        words[0], _offset(words[1]), gain, zero if baseline is None else baseline, total,
        words[8].strip() if len(words) > 8 else "",
    )  # fmt: skip


@lru_cache(maxsize=256)
def _offset(word: str) -> int:
    match = re.fullmatch(r"16(?:x1)?(?::0)?(?:\+(\d+))?", word)
    if not match:
        raise ValueError(word)
    return int(match[1] or 0)


@lru_cache(maxsize=4096)
def _gain(word: str) -> tuple[float | None, int | None]:
    """(samples per mV, baseline); no gain where it is 0 or less, as WFDB says."""
    match = re.fullmatch(r"([-+.\deE]+)(?:\((-?\d+)\))?(?:/(\S+))?", word)
    unit = (match[3] or "mV").lower() if match else ""
    if not match or unit not in _PER_MV:
        raise ValueError(word)
    gain = float(match[1]) * _PER_MV[unit]
    return (gain if 0 < gain < float("inf") else None), (int(match[2]) if match[2] else None)


def read_samples(header: Header, folder: Path) -> NDArray[np.int16]:
    """The samples (lead, time) as they lie in the file, compared with the sums that the header gives.

    Raises EcglensError where a file is missing, is no signal file, is cut short, or is another record's.
    """
    parts = []
    for name, offset, n_leads in header.files:
        flat = _flat(folder / name, offset, n_leads, header)
        if flat.size % n_leads or not flat.size:
            raise EcglensError(
                f"{name} holds {flat.size} samples, which are not {n_leads} leads of one length; fetch it again"
            )
        parts.append(flat.reshape(-1, n_leads))
    n = min(len(part) for part in parts)
    if header.n_samples is not None and any(len(part) != header.n_samples for part in parts):
        raise EcglensError(
            f"{header.files[0][0]} holds {n} samples a lead, {header.record}.hea says {header.n_samples}: truncated, or of "
            "another record; fetch it again"
        )
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    by_lead = np.ascontiguousarray(samples.T)
    found = by_lead.sum(axis=1, dtype=np.int16).tolist()  # sums of 16 bits, as the header's
    for lead, (total, said) in enumerate(zip(found, header.sums, strict=True)):
        if said is not None and (total - said) % 65536:
            raise EcglensError(
                f"{header.record}: samples of lead {header.names[lead] or lead + 1} sum to {total % 65536}, the header says "
                f"{said % 65536}: damaged, or header and samples are of two records; fetch them again"
            )
    return by_lead


def _flat(path: Path, offset: int, n_leads: int, header: Header) -> NDArray[np.int16]:
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.read()
    except OSError as error:
        raise EcglensError(f"{path.name} cannot be read: {header.record}.hea names it ({error.strerror})") from None
    if path.suffix != ".mat":
        return np.frombuffer(content, "<i2", max((len(content) - offset) // 2, 0), min(offset, len(content)))
    if len(content) > _MAT4.size:
        kind, rows, columns, imaginary, _, name = _MAT4.unpack_from(content)
        if (kind, rows, imaginary, name) == (_INT16, n_leads, 0, b"val\0"):
            flat = np.frombuffer(content, "<i2", (len(content) - _MAT4.size) // 2, _MAT4.size)
            # a file cut short holds less than MATLAB says
            return flat if flat.size == rows * columns else flat[:0]
    values = mat_arrays(path).get("val")
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[0] != n_leads or not _is_int16(values):
        raise EcglensError(f"{path.name} has no array 'val' of {n_leads} leads in 16-bit whole numbers; fetch it again")
    return values.astype(np.int16).T.reshape(-1)


def _is_int16(values: NDArray[Any]) -> bool:
    if values.dtype.kind not in "iuf" or not values.size:
        return False
    return bool(np.all(np.abs(values) <= 2**15) and np.all(values == np.round(values)) and values.max() < 2**15)


def millivolts(samples: NDArray[np.int16], gains: NDArray[np.float32], baselines: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (lead, time) in mV: (sample - baseline) / gain, NaN where the recorder marked a sample invalid.

    samples: (lead, time); gains, baselines: float32 (lead,). The same numbers as wfdb's, in half the bytes.
    """
    out = np.empty(samples.shape, np.float32)
    if baselines.any():
        np.subtract(samples, baselines[:, None], out=out, casting="unsafe")
        out /= gains[:, None]
    else:
        np.divide(samples, gains[:, None], out=out, casting="unsafe")
    if samples.size and samples.min() == INVALID:
        out[samples == INVALID] = np.nan
    return out
