"""From samples or millivolts in any order of leads to a twelve-lead Recording, or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.recordings.challenge_header import Clinical
from ecglens.recordings.plausible import believable_gain, check_size, size_of, step_of
from ecglens.recordings.recording import Annotations, Recording
from ecglens.recordings.sixteen import INVALID, Header, millivolts
from ecglens.recordings.twelve import check_chest, check_limb, limb_error, standard_order

_SHORTEST = 1.0  # s: less holds no heart beat
_SLOWEST, _FASTEST = 50.0, 20_000.0  # Hz, of recorders of ECGs
_SUMS_HOLD = 0.1


@dataclass(frozen=True)
class Scaled:
    """A signal in mV with the gains (samples per mV, by lead) that were believed; remarks say what was mended."""

    signal: NDArray[np.float32]
    gains: NDArray[np.float32]
    baselines: NDArray[np.float32]
    leads: tuple[str, ...]
    rows: tuple[int, ...]
    remarks: tuple[str, ...]


def scaled(header: Header, samples: NDArray[np.int16], usual: float | None) -> Scaled:
    """The standard leads of a record in mV, in the standard order.

    samples: (lead, time) as in the file; usual: the format's gain per mV, tried where the header's cannot be. Where gains
    differ from lead to lead and only the plain samples keep the limb leads' sums, one gain holds for all. Raises EcglensError
    where no gain is believable, names are double, or limb leads cannot have their names.
    """
    rows, leads, remarks = standard_order(header.names, header.record)
    standard = samples[rows]
    _refuse_empty(standard, leads, header)
    said = [header.gains[row] for row in rows]
    baselines = np.array([header.baselines[row] for row in rows], np.float32)
    if len(set(said)) > 1:
        gains, remark = _by_lead(standard, said, baselines, leads, header, usual)
    else:
        gain = believable_gain(_size(standard, header.fs), step_of(standard), said[0], usual, header.record)
        gains, remark = np.full(len(leads), gain.per_mv, np.float32), gain.remark
    signal = millivolts(standard, gains, baselines)
    more = (*([remark] if remark else []), *_check_names(signal, leads, header.fs, header.record))
    return Scaled(signal, gains, baselines, leads, tuple(rows), (*header.remarks, *remarks, *more))


def _check_names(signal: NDArray[np.float32], leads: Sequence[str], fs: float, record: str) -> tuple[str, ...]:
    return (*check_limb(signal, leads, record), *check_chest(signal, leads, fs))


def _size(samples: NDArray[np.int16], fs: float) -> float:
    """As `size_of`, without the samples marked invalid."""
    if samples.min() > INVALID:
        return size_of(samples, fs)
    return size_of(np.where(samples == INVALID, np.nan, samples), fs)


def _by_lead(
    samples: NDArray[np.int16],
    said: Sequence[float | None],
    baselines: NDArray[np.float32],
    leads: tuple[str, ...],
    header: Header,
    usual: float | None,
) -> tuple[NDArray[np.float32], str | None]:
    """The gains where the header's differ: the header's if the limb leads sum by them, one for all if only so they sum."""
    ones = np.ones(len(leads), np.float32)
    in_samples = limb_error(millivolts(samples, ones, 0 * ones), leads)
    if None not in said:
        gains = np.array(said, np.float32)
        signal = millivolts(samples, gains, baselines)
        if limb_error(signal, leads) < _SUMS_HOLD or not in_samples < _SUMS_HOLD:
            check_size(signal, header.fs, header.record)
            return gains, None
    if not in_samples < _SUMS_HOLD:
        raise EcglensError(f"{header.record}: some leads have no gain in the header; expected one for each; mend the header")
    gain = believable_gain(_size(samples, header.fs), step_of(samples), None, usual, header.record)
    baselines[:] = 0  # they belong to the gains that are not believed
    return gain.per_mv * ones, (
        f"gains in the header differ from lead to lead ({min(g or 0 for g in said):g} to {max(g or 0 for g in said):g}/mV), "
        f"and by them the limb leads do not sum; the samples do: one gain for all, read as {gain.per_mv:g}/mV"
    )


def _refuse_empty(samples: NDArray[np.int16], leads: tuple[str, ...], header: Header) -> None:
    n = samples.shape[1]
    _refuse_short(n, header.fs, header.record)
    empty = [lead for lead, row in zip(leads, samples, strict=True) if row.max() == INVALID]
    if empty:
        raise EcglensError(f"{header.record} has no valid sample in {_named(empty)}; expected an ECG in each lead")


def _refuse_short(n: int, fs: float, record: str) -> None:
    if not _SLOWEST <= fs <= _FASTEST:
        raise EcglensError(f"{record} is sampled at {fs:g} Hz; expected {_SLOWEST:g} to {_FASTEST:g} Hz; mend the header")
    if n < _SHORTEST * fs:
        raise EcglensError(f"{record} has {n} sample{'s' * (n != 1)} at {fs:g} Hz; expected at least {_SHORTEST:g} s")


def twelve_recording(
    what: Scaled, fs: float, database: str, record: str, patient: str, about: Clinical, marks: Annotations | None = None
) -> Recording:
    """The Recording; flat leads and samples marked invalid are remarks."""
    remarks = [*what.remarks, *about.remarks]
    low, high = np.fmin.reduce(what.signal, axis=1), np.fmax.reduce(what.signal, axis=1)
    flat = [lead for lead, same in zip(what.leads, (low == high).tolist(), strict=True) if same]
    if flat:
        remarks.append(f"{_named(flat)} {'is' if len(flat) == 1 else 'are'} flat: the electrode was not connected")
    some = [lead for lead, row in zip(what.leads, what.signal, strict=True) if np.isnan(row).any()]
    if some:
        remarks.append(f"invalid samples in {_named(some)}: {np.isnan(what.signal).mean():.1%} of all")
    return Recording(
        database=database,
        record=record,
        patient=patient,
        signal=what.signal,
        fs=fs,
        leads=what.leads,
        annotations=marks or no_marks(),
        age=about.age,
        sex=about.sex,
        diagnoses=about.diagnoses,
        remarks=tuple(remarks),
    )


def from_millivolts(signal: NDArray[np.floating], names: Sequence[str], fs: float, record: str) -> Scaled:
    """The standard leads of a signal (lead, time) that is in mV already; raises EcglensError as `scaled` does."""
    rows, leads, remarks = standard_order(names, record)
    with np.errstate(over="ignore", invalid="ignore"):
        signal = np.ascontiguousarray(signal[rows], np.float32)
    _refuse_short(signal.shape[1], fs, record)
    if np.isinf(signal).any():
        raise EcglensError(f"{record} has infinite samples; expected mV")
    empty = [lead for lead, row in zip(leads, signal, strict=True) if np.isnan(row).all()]
    if empty:
        raise EcglensError(f"{record} has no valid sample in {_named(empty)}; expected an ECG in each lead")
    check_size(signal, fs, record)
    ones = np.ones(len(leads), np.float32)
    return Scaled(signal, ones, 0 * ones, leads, tuple(rows), (*remarks, *_check_names(signal, leads, fs, record)))


def no_marks() -> Annotations:
    """Annotations of a record that has none."""
    return Annotations(np.zeros(0, np.int64), np.zeros(0, np.str_), np.zeros(0, np.str_))


def _named(leads: Sequence[str]) -> str:
    return f"{'lead' if len(leads) == 1 else 'leads'} {', '.join(leads)}"
