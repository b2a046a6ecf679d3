"""A recording at another sampling rate, its annotations moved along."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.recordings.recording import Recording

# The filter of resample_poly has 20 times as many taps as the larger number of the ratio: up to which it is taken as it is,
# and up to which at all
_EXACT, _LARGEST = 10_000, 100_000


def resampled(recording: Recording, fs: float) -> Recording:
    """The recording at `fs` (Hz): sample k of it lies at k / fs seconds, as before.

    signal: scipy's resample_poly with the ratio of `ratio_of`, the first and last value going on beyond the ends. Samples
    that are NaN are bridged by a line for the filter and NaN again afterwards, none more. Marks, rhythm spans, waves and
    evidence go to the nearest sample by the same ratio, in the same order. Raises EcglensError where fs is no rate, or
    thousands of times the old or less than a thousandth of it.
    """
    if fs == recording.fs:
        return recording
    n_before = recording.signal.shape[1]
    ratio = ratio_of(fs, recording.fs, n_before, recording.record)
    n_after = -(-n_before * ratio.numerator // ratio.denominator)
    signal = np.stack([_lead(row, ratio, n_after) for row in recording.signal])
    marks, evidence, waves = recording.annotations, recording.evidence, recording.waves
    if evidence is not None:
        start, stop = (_moved(each, ratio, n_after + 1) for each in (evidence.start, evidence.stop))
        evidence = replace(
            evidence,
            r_sample=_moved(evidence.r_sample, ratio, n_after),
            start=np.minimum(start, n_after - 1),
            stop=np.minimum(np.maximum(stop, start + 1), n_after),
        )
    if waves is not None:
        start, stop = (np.where(each < 0, -1, _moved(each, ratio, n_after)) for each in (waves.start, waves.stop))
        waves = replace(waves, start=start, peak=_moved(waves.peak, ratio, n_after), stop=stop)
    return replace(
        recording,
        signal=signal,
        fs=float(fs),
        annotations=replace(marks, sample=_moved(marks.sample, ratio, n_after)),
        evidence=evidence,
        waves=waves,
        remarks=(*recording.remarks, f"resampled from {recording.fs:g} to {fs:g} Hz"),
    )


def ratio_of(fs: float, before: float, n_samples: int, record: str) -> Fraction:
    """New to old rate (Hz) in numbers that a filter can have.

    Exact, as the decimals say (333.33 has no small exact fraction in binary), where no number is over 10,000; else the first
    near enough that the end of `n_samples` moves by less than half a new sample. Raises EcglensError where a rate is not above
    0, or nothing up to 100,000 is near enough.
    """
    if not (math.isfinite(fs) and fs > 0 and math.isfinite(before) and before > 0):
        raise EcglensError(f"{record}: cannot resample from {before:g} to {fs:g} Hz; rates are above 0")
    exact = Fraction(str(fs)) / Fraction(str(before))
    ratio, limit = exact, 125
    if max(exact.numerator, exact.denominator) > _EXACT:
        ratio = exact.limit_denominator(limit)
        while 2 * n_samples * abs(ratio - exact) >= 1:
            limit *= 2
            ratio = exact.limit_denominator(limit)
    if not ratio or max(ratio.numerator, ratio.denominator) > _LARGEST:
        raise EcglensError(
            f"{record}: {before} to {fs} Hz is {exact.numerator}:{exact.denominator}, too long a filter; "
            f"expected rates in a ratio near one of numbers up to {_LARGEST}"
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
