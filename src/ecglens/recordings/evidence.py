"""The evidence of a simulated record, as it lies on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.files import write_arrays
from ecglens.recordings.recording import Evidence, Recording

UNITS_PER_MV = 1000
SOURCES = ("beat", "before", "after")
_COLUMNS = ("r_sample", "lead", "start", "stop", "source")


def read_evidence(folder: Path, recording: Recording) -> Evidence:
    """RECORD.evidence.csv of a simulated record; raises EcglensError when it is missing or does not fit the record."""
    import pandas as pd

    path = folder / f"{recording.record}.evidence.csv"
    if not path.is_file():
        raise EcglensError(f"{path.name} is missing in {folder}: a simulated record needs it")
    try:
        table = pd.read_csv(path)
        if table[list(_COLUMNS)].isna().any(axis=None):
            raise ValueError("an empty cell")
        found = Evidence(*(table[name].to_numpy(np.str_ if name in ("lead", "source") else np.int64) for name in _COLUMNS))
    except (ValueError, KeyError, TypeError, OverflowError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())[:80]
        raise EcglensError(f"{path.name} is not a table of {', '.join(_COLUMNS)} ({reason}); simulate again") from None
    unknown = sorted(set(found.source) - set(SOURCES))
    if unknown:
        raise EcglensError(f"{path.name} names source {unknown[0]!r}; expected {', '.join(SOURCES)}")
    beats = recording.annotations.beats().sample
    fits = np.isin(found.r_sample, beats) & np.isin(found.lead, recording.leads) & (found.start < found.stop)
    fits &= (found.start >= 0) & (found.stop <= recording.signal.shape[1])
    if not fits.all():
        row = int(np.flatnonzero(~fits)[0])
        raise EcglensError(f"row {row + 2} of {path.name} names a beat, lead or span that {recording.record} does not have")
    return found


@dataclass(frozen=True)
class Truth:
    """What a simulated record would be without noise, and without what sets its beats apart.

    clean: float32 mV (lead, time), the record without noise; start: int64 (beat,), first sample of each window; normal:
    float32 mV (beat, lead, time), the patient's normal beat in the place of each beat that differs from it, without noise.
    """

    clean: NDArray[np.float32]
    start: NDArray[np.int64]
    normal: NDArray[np.float32]


def write_truth(path: Path, clean: NDArray[np.float64], start: NDArray[np.int64], normal: NDArray[np.float64]) -> None:
    """Write a Truth (mV) as int16 micro-volts in safetensors, whole or not at all."""
    small = {
        name: np.round(mv * UNITS_PER_MV).clip(-32767, 32767).astype(np.int16)
        for name, mv in (("clean", clean), ("normal", normal))
    }
    write_arrays(path, small | {"start": start.astype(np.int64)})


def read_truth(folder: Path, record: str) -> Truth:
    """RECORD.truth.safetensors of a simulated record; raises EcglensError when it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / f"{record}.truth.safetensors"
    if not path.is_file():
        raise EcglensError(f"{path.name} is missing in {folder}: simulate again")
    try:
        found = load_file(path)
        clean, start, normal = found["clean"], found["start"], found["normal"]
        fits = clean.ndim == 2 and normal.ndim == 3 and len(start) == len(normal) and normal.shape[1] == clean.shape[0]
    except (SafetensorError, KeyError, OSError) as error:
        raise EcglensError(f"{path.name} cannot be read ({type(error).__name__}): damaged; simulate again") from None
    if not fits:
        raise EcglensError(
            f"{path.name} holds arrays that do not fit each other: {clean.shape}, {start.shape}, {normal.shape}"
        )
    return Truth(_millivolts(clean), start, _millivolts(normal))


def _millivolts(digital: NDArray[np.int16]) -> NDArray[np.float32]:
    return digital.astype(np.float32) / np.float32(UNITS_PER_MV)
