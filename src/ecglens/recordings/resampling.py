"""A recording at another sampling rate, its annotations moved along."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.recordings.recording import Recording

# The filter of resample_poly has 20 times as many taps as the larger number of the ratio
_LARGEST = 100_000


def resampled(recording: Recording, fs: float) -> Recording:
    """The recording at `fs` (Hz): sample k of it lies at k / fs seconds, as before.

    signal: scipy's resample_poly with the exact ratio, the first and last value going on beyond the ends. Samples that are
    NaN are bridged by a line for the filter and NaN again afterwards, none more. Marks, rhythm spans and evidence go to the
    nearest sample, in the same order. Raises EcglensError where fs is no rate, or in no ratio of whole numbers to the old.
    """
    if fs == recording.fs:
        return recording
    ratio = _ratio(fs, recording)
    n_before = recording.signal.shape[1]
    n_after = -(-n_before * ratio.numerator // ratio.denominator)
    signal = np.stack([_lead(row, ratio, n_after) for row in recording.signal])
    marks, evidence = recording.annotations, recording.evidence
    if evidence is not None:
        start, stop = (_moved(each, ratio, n_after + 1) for each in (evidence.start, evidence.stop))
        evidence = replace(
            evidence,
            r_sample=_moved(evidence.r_sample, ratio, n_after),
            start=np.minimum(start, n_after - 1),
            stop=np.minimum(np.maximum(stop, start + 1), n_after),
        )
    return replace(
        recording,
        signal=signal,
        fs=float(fs),
        annotations=replace(marks, sample=_moved(marks.sample, ratio, n_after)),
        evidence=evidence,
        remarks=(*recording.remarks, f"resampled from {recording.fs:g} to {fs:g} Hz"),
    )


def _ratio(fs: float, recording: Recording) -> Fraction:
    """New to old rate; as the decimals say, for 333.33 has no small exact fraction in binary."""
    if not (math.isfinite(fs) and fs > 0 and math.isfinite(recording.fs) and recording.fs > 0):
        raise EcglensError(f"{recording.record}: cannot resample from {recording.fs:g} to {fs:g} Hz; rates are above 0")
    ratio = Fraction(str(fs)) / Fraction(str(recording.fs))
    if max(ratio.numerator, ratio.denominator) > _LARGEST:
        raise EcglensError(
            f"{recording.record}: {recording.fs} to {fs} Hz is {ratio.numerator}:{ratio.denominator}, too long a filter; "
            f"expected rates whose ratio needs no number over {_LARGEST}; round one of them"
        )
    return ratio


def _lead(samples: NDArray[np.float32], ratio: Fraction, n_after: int) -> NDArray[np.float32]:
    from scipy.signal import resample_poly

    lost = np.isnan(samples)
    if lost.all():
        return np.full(n_after, np.nan, np.float32)
    if lost.any():
        kept = np.flatnonzero(~lost)
        samples = np.interp(np.arange(len(samples)), kept, samples[kept]).astype(np.float32)
    out = resample_poly(samples, ratio.numerator, ratio.denominator, padtype="edge").astype(np.float32)
    if lost.any():
        # the sample before that is nearest; and each lost sample is lost in one place at least
        nearest = _moved(np.arange(n_after), 1 / ratio, len(samples))
        out[lost[nearest]] = np.nan
        out[_moved(np.flatnonzero(lost), ratio, n_after)] = np.nan
    return out


def _moved(at: NDArray[np.int64] | NDArray[np.intp], ratio: Fraction, n_after: int) -> NDArray[np.int64]:
    """Samples to the nearest of `n_after` samples (half goes up), in whole numbers, so that no error grows with time."""
    doubled = 2 * at.astype(np.int64) * ratio.numerator + ratio.denominator
    return np.minimum(doubled // (2 * ratio.denominator), n_after - 1)
