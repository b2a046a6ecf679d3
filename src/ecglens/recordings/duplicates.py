"""The same signal in two databases, found by its signal: name, gain, sampling rate and a small shift in time may differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.recordings.recording import Recording
from ecglens.recordings.resampling import ratio_of

_FS = 50.0  # Hz; below it lies nearly all of an ECG, and every database has more
_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")  # the eight that no sum of others gives
_SECONDS = 10.0
_SAME = 0.95
_DRIFT = 1.0  # s, the moving mean that is taken off


@dataclass(frozen=True)
class SameSignal:
    """A pair: record names; correlation, the median over its seconds; by how much the second starts later, in s."""

    first: str
    second: str
    correlation: float
    shift: float


@dataclass(frozen=True)
class Fingerprints:
    """Signals at 50 Hz without drift, float32 (record, lead, time): mean 0 in each lead, norm 1 in all; zeros behind the end.

    n: samples of each record; what is all flat or shorter than 2 s has norm 0 and is like nothing.
    """

    records: tuple[str, ...]
    signals: NDArray[np.float32]
    n: NDArray[np.int64]


def fingerprints(recordings: Iterable[Recording], seconds: float = _SECONDS) -> Fingerprints:
    """The first `seconds` of each recording; missing leads are zeros, samples that are NaN too."""
    length = round(seconds * _FS)
    names, rows, counts = [], [], []
    for recording in recordings:
        row, n = _fingerprint(recording, length)
        names.append(recording.record)
        rows.append(row)
        counts.append(n)
    if not rows:
        raise EcglensError("no recording to look for; expected at least one in each of the two sets")
    return Fingerprints(tuple(names), np.stack(rows), np.array(counts, np.int64))


def together(parts: Sequence[Fingerprints]) -> Fingerprints:
    """Fingerprints of several sets of one length as those of one set; raises EcglensError where there is none."""
    if not parts:
        raise EcglensError("no recording to look for; expected at least one in each of the two sets")
    names = tuple(name for part in parts for name in part.records)
    return Fingerprints(names, np.concatenate([part.signals for part in parts]), np.concatenate([part.n for part in parts]))


def same_signals(first: Fingerprints, second: Fingerprints, *, shift: float = 0.5, same: float = _SAME) -> list[SameSignal]:
    """The pairs of one record of each set whose signals are the same, best first.

    shift: largest difference of the starts, in s, that is looked for; same: correlation from which on two signals are one (all
    pairs shared by cinc2020 and ptbxl have .99 and more). Cost: one product of matrices for each step of 20 ms.
    """
    if first.signals.shape[1:] != second.signals.shape[1:]:
        raise EcglensError("the two sets of fingerprints are not of one length; make both with the same seconds")
    best = np.full((len(first.records), len(second.records)), -1.0, np.float32)
    where = np.zeros(best.shape, np.int16)
    n = first.signals.shape[2]
    # by the leads that both have: a record without V1 is as long as one with it
    share = np.sqrt((_energy(first) @ _present(second).T) * (_present(first) @ _energy(second).T))
    share[share < 0.1] = np.inf
    for lag in sorted(range(-round(shift * _FS), round(shift * _FS) + 1), key=abs):
        a = first.signals[:, :, max(lag, 0) : n + min(lag, 0)]
        b = second.signals[:, :, max(-lag, 0) : n - max(lag, 0)]
        found = a.reshape(len(a), -1) @ b.reshape(len(b), -1).T / share
        better = found > best
        best[better] = found[better]
        where[better] = lag
    # what a shift pushes out of the frame lowers the sum; the pairs that are near are measured again, over what both have
    near = np.argwhere(best > same - 0.2)
    pairs = []
    for i, j in near.tolist():
        lag = int(where[i, j])
        correlation = _correlation(first, second, i, j, lag)
        if correlation >= same:
            pairs.append(SameSignal(first.records[i], second.records[j], correlation, lag / _FS))
    return sorted(pairs, key=lambda pair: -pair.correlation)


def _energy(prints: Fingerprints) -> NDArray[np.float32]:
    """Squared norm of each lead, (record, lead)."""
    return np.asarray(np.einsum("rlt,rlt->rl", prints.signals, prints.signals))


def _present(prints: Fingerprints) -> NDArray[np.float32]:
    """1 where a record has the lead, (record, lead)."""
    return (_energy(prints) > 0).astype(np.float32)


def _fingerprint(recording: Recording, length: int) -> tuple[NDArray[np.float32], int]:
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import resample_poly

    row = np.zeros((len(_LEADS), length), np.float32)
    take = min(recording.signal.shape[1], math.ceil((length / _FS + 1) * recording.fs))
    places = [(at, recording.leads.index(lead)) for at, lead in enumerate(_LEADS) if lead in recording.leads]
    if not places or take < 2 * recording.fs:
        return row, 0
    signal = np.nan_to_num(recording.signal[[source for _, source in places], :take])
    signal = signal - np.median(signal, axis=1, keepdims=True)
    ratio = ratio_of(_FS, recording.fs, take, recording.record)
    low = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1)[:, :length]
    # drift and spikes are of the recording, not of the heart
    low -= uniform_filter1d(low, round(_DRIFT * _FS), axis=1, mode="nearest")
    limit = 4 * np.quantile(np.abs(low), 0.95, axis=1, keepdims=True)
    low = np.clip(low, -limit, limit)
    low -= low.mean(axis=1, keepdims=True)
    row[[at for at, _ in places], : low.shape[1]] = low
    size = float(np.linalg.norm(row))
    return (row / size if size > 0 else row), low.shape[1]


def _correlation(first: Fingerprints, second: Fingerprints, i: int, j: int, lag: int) -> float:
    """The median over stretches of 1 s that both have, so that a spike, a clip or a filter's end does not count.

    PTB-XL's own 100 Hz files differ from its 500 Hz files in the last second.
    """
    stop = min(int(first.n[i]) - max(lag, 0), int(second.n[j]) - max(-lag, 0))
    whole = round(_FS)
    found = []
    for start in range(0, stop - whole + 1, whole):
        a = first.signals[i, :, max(lag, 0) + start :][:, :whole].astype(np.float64)
        b = second.signals[j, :, max(-lag, 0) + start :][:, :whole].astype(np.float64)
        both = (np.ptp(a, axis=1) > 0) & (np.ptp(b, axis=1) > 0)
        a, b = (each[both] - each[both].mean(axis=1, keepdims=True) for each in (a, b))
        size = float(np.linalg.norm(a) * np.linalg.norm(b))
        found.append(float((a * b).sum() / size) if size > 0 else 0.0)
    return float(np.median(found)) if len(found) > 1 else 0.0
