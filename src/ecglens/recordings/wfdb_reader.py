"""WFDB records (.hea, .dat, .atr), read with the wfdb package, made to say what is wrong."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.recordings.recording import Annotations, Recording

# WFDB's signal(5): the sample value that means 'no sample', by format
_INVALID = {"16": -(2**15), "61": -(2**15), "160": -(2**15), "80": -(2**7), "212": -(2**11), "310": -(2**9), "311": -(2**9)}
_INVALID |= {"24": -(2**23), "32": -(2**31)}

# What wfdb raises on files that are damaged; everything else is a fault of ours and may surface
_DAMAGE = (ValueError, IndexError, KeyError, TypeError, OSError, AttributeError, AssertionError, MemoryError)


def read_wfdb(folder: Path, record: str, *, database: str = "", patient: str | None = None) -> Recording:
    """Read one WFDB record with its `.atr` annotations.

    Signals come as float32 (lead, time) in mV, checked against the checksums in the header. A date that wfdb
    rejects is dropped with a remark, and so is up to a hundredth of the marks (one at least) behind the signal's end. Raises
    EcglensError when a file is missing, truncated or does not match.
    """
    for ending in ("hea", "atr"):
        if not (folder / f"{record}.{ending}").is_file():
            raise EcglensError(f"{record}.{ending} is missing in {folder}")
    header, remarks = _read_signals(folder, record)
    digital = np.ascontiguousarray(header.d_signal.T)
    _check_checksums(header, digital, record)
    signal = _millivolts(header, digital, record)
    age, sex, diagnoses = _clinical_comments(header.comments)
    annotations, left_out = _read_annotations(folder, record, signal.shape[1], float(header.fs))
    return Recording(
        database=database,
        record=record,
        patient=patient or record,
        signal=signal,
        fs=float(header.fs),
        leads=tuple(header.sig_name),
        annotations=annotations,
        age=age,
        sex=sex,
        diagnoses=diagnoses,
        remarks=(*remarks, *left_out),
    )


def _read_signals(folder: Path, record: str) -> tuple[Any, tuple[str, ...]]:
    """The record with digital samples, and what had to be mended for it."""
    import wfdb

    try:
        return _read_digital(folder, record), ()
    except EcglensError:
        try:
            wfdb.rdheader(str(folder / record))
        except _DAMAGE as error:
            with tempfile.TemporaryDirectory() as scratch:
                _write_plain_header(folder, record, Path(scratch), error)
                return _read_digital(Path(scratch), record), (
                    "date or time on the header's first line was not valid and is ignored",
                )
        raise


def _read_digital(folder: Path, record: str) -> Any:
    import wfdb

    try:
        # 16 bits hold every sample of these formats, and are four times quicker than wfdb's 64
        header = wfdb.rdrecord(str(folder / record), physical=False, return_res=_resolution(folder, record))
    except FileNotFoundError as error:
        raise EcglensError(f"{Path(str(error.filename)).name} is missing: the header of record {record} names it") from None
    except _DAMAGE as error:
        raise EcglensError(f"{record}.dat cannot be read ({_one_line(error)}): truncated or damaged; fetch it again") from None
    if header.n_sig == 0 or header.d_signal is None:
        raise EcglensError(f"record {record} has no signals; expected at least one lead")
    return header


def _resolution(folder: Path, record: str) -> int:
    """Bits that hold each sample, by the formats that the header names."""
    lines = (folder / f"{record}.hea").read_text(encoding="latin-1").splitlines()
    words = [line.split() for line in lines if line.strip() and not line.startswith("#")][1:]
    formats = {re.split(r"[x:+]", line[1])[0] for line in words if len(line) > 1}
    return 16 if formats <= {"8", "16", "61", "80", "160", "212", "310", "311"} else 64


def _write_plain_header(folder: Path, record: str, scratch: Path, error: Exception) -> None:
    """The header again without what follows the four numbers of line 1, beside links to the signals."""
    lines = (folder / f"{record}.hea").read_text(encoding="latin-1").splitlines()
    at = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    fields = lines[at].split() if at is not None else []
    if at is None or len(fields) < 4 or not re.fullmatch(r"\d+(\.\d+)?(/\S+)?", fields[2]):
        raise EcglensError(
            f"{record}.hea is not a WFDB header ({_one_line(error)}); its first line should read 'name leads rate samples'"
        ) from None
    lines[at] = " ".join(fields[:4])
    (scratch / f"{record}.hea").write_text("\n".join(lines) + "\n", encoding="latin-1")
    for name in {line.split()[0] for line in lines[at + 1 :] if line.strip() and not line.startswith("#")}:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, scratch / name)


def _millivolts(header: Any, digital: NDArray[np.integer[Any]], record: str) -> NDArray[np.float32]:
    """float32 (lead, time) in mV, NaN where the recorder marked a sample invalid."""
    signal = digital.astype(np.float32)
    for row, (kind, zero, gain, unit) in enumerate(
        zip(header.fmt, header.baseline, header.adc_gain, header.units, strict=True)
    ):
        if not gain > 0:
            raise EcglensError(f"{record}: gain of lead {header.sig_name[row]} is {gain}; expected a positive number")
        invalid = digital[row] == _INVALID[kind] if kind in _INVALID else None
        signal[row] -= zero
        signal[row] *= _to_millivolt(unit, record) / gain
        if invalid is not None and invalid.any():
            signal[row, invalid] = np.nan
    return signal


def _check_checksums(header: Any, digital: NDArray[np.integer[Any]], record: str) -> None:
    """Each lead's 16-bit sum must be the one in the header; a header with sums for some leads only was cut short."""
    with_sum = [wanted is not None for wanted in header.checksum]
    if any(with_sum) and not all(with_sum):
        lead = header.sig_name[with_sum.index(False)]
        raise EcglensError(f"{record}.hea has no checksum for lead {lead}, but for others: it was cut short; fetch it again")
    for lead, wanted, found in zip(header.sig_name, header.checksum, digital.sum(axis=1, dtype=np.int64), strict=True):
        if wanted is not None and (int(wanted) - int(found)) % 65536:
            raise EcglensError(
                f"{record}: checksum of lead {lead} is {int(found) % 65536}, the header says "
                f"{int(wanted) % 65536}; the file is damaged, fetch it again"
            )


def _read_annotations(folder: Path, record: str, n_samples: int, fs: float) -> tuple[Annotations, tuple[str, ...]]:
    """The marks, and a remark where some lie behind the signal's end and are left out."""
    import wfdb

    try:
        marks = wfdb.rdann(str(folder / record), "atr")
    except _DAMAGE as error:
        raise EcglensError(f"{record}.atr cannot be read ({_one_line(error)}): damaged; fetch it again") from None
    sample, symbol, note = np.asarray(marks.sample, np.int64), np.asarray(marks.symbol), np.asarray(marks.aux_note)
    behind = sample >= n_samples
    n_behind = int(behind.sum())
    if sample.size and sample.min() < 0:
        raise EcglensError(
            f"{record}.atr has a mark at sample {sample.min()}, before the signal begins: damaged; fetch it again"
        )
    # a recorder that stops a moment before its analysis does is common; marks of another record are many
    if n_behind > max(1, sample.size // 100):
        raise EcglensError(
            f"{record}.atr has a mark at sample {sample.max()}, the signal ends at {n_samples}; {n_behind} of {sample.size} "
            "marks lie behind it: the two files do not belong together"
        )
    remarks: tuple[str, ...] = ()
    if n_behind:
        times = ", ".join(f"{at / fs:.2f}" for at in sample[behind][:5]) + (", ..." if n_behind > 5 else "")
        remarks = (
            f"{n_behind} of the {sample.size} marks in {record}.atr lie behind the signal's end at {n_samples / fs:.2f} s and "
            f"are left out: at {times} s",
        )
    kept = Annotations(sample[~behind], symbol[~behind].astype(np.str_), note[~behind].astype(np.str_))
    return kept, remarks


def _to_millivolt(unit: str, record: str) -> float:
    factors = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "v": 1e3}
    if unit.lower() not in factors:
        raise EcglensError(f"{record}: signal unit is {unit!r}; expected mV, uV or V")
    return factors[unit.lower()]


def _clinical_comments(comments: list[str]) -> tuple[float | None, str | None, tuple[str, ...]]:
    """Age and sex from a first comment such as '69 M 1085 1629 x1'; the other comments as they are."""
    match = re.match(r"\s*(-?\d+)\s+([MF])\b", comments[0]) if comments else None
    if match is None:
        return None, None, tuple(comments)
    age = float(match[1])
    return (age if age >= 0 else None), match[2], tuple(comments[1:])


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:120]
