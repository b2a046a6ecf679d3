"""Whether amplitudes and steps are those of an ECG: how a wrong gain is told.

The rule. Size: the difference of highest and lowest sample in each whole stretch of 2 s, its median over stretches, its
median over the leads that are not flat. Over 2,980 PTB-XL and 204 Challenge records the size in mV is lognormal, median 1.07
and spread e^0.30, from 0.34 to 3.8. Step: the number of which samples are multiples more often than chance has;
no recorder of ECGs has steps above 10 uV.
A gain is possible where it puts the size between 0.25 and 6 mV and the step at or under 10 uV. Of the possible gains the
header's or the format's is taken if it is twenty times likelier than the other; else neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError

_MEDIAN, _SPREAD = 1.07, 0.30  # mV, and of its logarithm
_LOWEST, _HIGHEST = 0.25, 6.0  # mV
_LIKELIER = 20.0
_LARGEST_STEP = 10.0  # uV
_STRETCH = 2.0  # s, so that a heart of 40 a minute beats in most of them
KNOWN_GAINS = (200.0, 400.0, 500.0, 1000.0, 2000.0, 4880.0, 10_000.0, 1e6, 2e6)  # per mV, as headers have them


def size_of(signal: NDArray[np.floating] | NDArray[np.integer], fs: float) -> float:
    """Typical height of the signal, in its own unit: see the rule above. signal: (lead, time); NaN where all is flat."""
    n_leads, n = signal.shape
    stretch = max(int(_STRETCH * fs), 1)
    if n < stretch:
        stretch = n
    whole = signal[:, : n // stretch * stretch].reshape(n_leads, -1, stretch)
    heights = np.fmax.reduce(whole, axis=2).astype(np.float64) - np.fmin.reduce(whole, axis=2)
    heights = heights[~np.isnan(heights).all(axis=1)]
    typical = np.nanmedian(heights, axis=1) if np.isnan(heights).any() else np.median(heights, axis=1)
    beating = typical[typical > 0]
    return float(np.median(beating)) if beating.size else float("nan")


def step_of(digital: NDArray[np.int16]) -> int:
    """The step in which the samples were taken, in units: 5 where 5 uV were given out as 1 uV. digital: (lead, time).

    1, 5 or 10, the steps met in public data: 5 where multiples of 5 are twice as many as chance has, for leads derived from
    others by halves, and samples resampled, are none; 10 where most of them are multiples of 10.
    """
    few = digital[:, :5000]
    fives, tens = (float(np.median((few % k == 0).mean(axis=1))) for k in (5, 10))
    if fives < 0.4 or not np.median(np.ptp(few.astype(np.int32), axis=1)) > 50:
        return 1
    return 10 if tens > 0.75 * fives else 5


@dataclass(frozen=True)
class Gain:
    """A gain that was decided upon, in samples per mV, and the remark if it is not the header's or another was possible."""

    per_mv: float
    remark: str | None = None


def believable_gain(size: float, step: int, said: float | None, usual: float | None, record: str) -> Gain:
    """The gain of samples of that size and step: what the header `said`, else the `usual` one of the format.

    size in units of a sample; said, usual: units per mV, None where there is none. Raises EcglensError where neither is
    possible (with the known gains that would be), or both are and neither is much likelier.
    """
    if not size > 0:
        raise EcglensError(f"{record}: all leads are flat; expected an ECG")
    candidates = [gain for gain in dict.fromkeys((said, usual)) if gain and _possible(size, step, gain)]
    held = f"the header says {said:g}/mV, by which beats are {size / said:.3g} mV high" if said else "the header has no gain"
    if said and step * 1000 / said > _LARGEST_STEP:
        held += f" in steps of {step * 1000 / said:.3g} uV"
    if not candidates:
        fitting = [f"{gain:g}" for gain in KNOWN_GAINS if _possible(size, step, gain)]
        raise EcglensError(
            f"{record}: {held}; expected {_LOWEST:g} to {_HIGHEST:g} mV; "
            + (f"{' or '.join(fitting)}/mV would fit: " if fitting else "no known gain fits: ")
            + "mend the header"
        )
    if len(candidates) == 2:
        odds = _log_likelihood(size / candidates[0]) - _log_likelihood(size / candidates[1])
        if abs(odds) < math.log(_LIKELIER):
            raise EcglensError(
                f"{record}: {held}; {usual:g}/mV, usual in this format, gives {size / (usual or 1):.3g} mV and fits about as "
                "well: which is right cannot be told; mend the header"
            )
        if odds > 0:
            return Gain(candidates[0], f"{held}: believed, though {usual:g}/mV is usual in this format and possible")
        candidates = candidates[1:]
    (gain,) = candidates
    if gain == said:
        return Gain(gain)
    return Gain(gain, f"{held}: read as {gain:g}/mV, which gives {size / gain:.3g} mV")


def check_size(signal: NDArray[np.float32], fs: float, record: str) -> None:
    """Raises EcglensError where the signal (lead, time; mV) is too small or large for an ECG in mV, or flat."""
    size = size_of(signal, fs)
    if not size > 0:
        raise EcglensError(f"{record}: all leads are flat; expected an ECG")
    if not _LOWEST <= size <= _HIGHEST:
        raise EcglensError(
            f"{record}: beats are {size:.3g} mV high; expected {_LOWEST:g} to {_HIGHEST:g} mV; its gain or unit is wrong"
        )


def _possible(size: float, step: int, gain: float) -> bool:
    return _LOWEST <= size / gain <= _HIGHEST and step * 1000 / gain <= _LARGEST_STEP


def _log_likelihood(height: float) -> float:
    return -((math.log(height / _MEDIAN) / _SPREAD) ** 2) / 2
