"""What the delineation sees: slopes and bends of each lead, and of all leads together, around places in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 250.0  # Hz at which waves are looked for
SCALES = (2, 5, 10, 20)  # samples of RATE over which a slope is taken; 5 (20 ms) is blind to mains of 50 Hz
_FLOOR = -5.0  # log: what is less than 1/150 of the largest is nothing
_MV = 1e-4  # mV: less is none


@dataclass(frozen=True)
class Look:
    """How the places for one point (a boundary or a peak) are looked at.

    first, stop, step: places tried, in samples of RATE from an anchor; scales: numbers of SCALES, the second is followed from
    either end.
    """

    first: int
    stop: int
    step: int
    scales: tuple[int, int, int]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Samples of RATE from the anchor, int64 (place,)."""
        return np.arange(self.first, self.stop, self.step)


def measure_names(look: Look) -> tuple[str, ...]:
    """Names of what `measures` gives, in order."""
    names = []
    for whose in ("lead", "all"):
        for scale in look.scales:
            ms = round(SCALES[scale] / RATE * 1000)
            names += [f"{whose} slope {ms} ms before", f"{whose} slope {ms} ms behind", f"{whose} bend {ms} ms"]
        for side in ("since", "until"):
            names += [f"{whose} largest slope {side}", f"{whose} largest slope {side}, squared"]
    return (*names, "time", "time squared")


@dataclass(frozen=True)
class Banks:
    """Logarithms (mV) of slopes and bends at each scale: float32 (scale, lead, time), of all leads (scale, 1, time)."""

    slope: NDArray[np.float32]
    bend: NDArray[np.float32]
    all_slope: NDArray[np.float32]
    all_bend: NDArray[np.float32]


def banks(x: NDArray[np.float32]) -> Banks:
    """Slopes and bends of a signal (lead, time) in mV at RATE, without NaN.

    A slope is the mean behind less the mean before (a Haar wavelet), a bend the mean in the middle less that of both sides.
    """
    n_leads, n = x.shape
    slopes = np.empty((len(SCALES), n_leads, n), np.float32)
    bends = np.empty_like(slopes)
    far = 2 * max(SCALES)
    wide = np.pad(x, ((0, 0), (far, far)), mode="edge") if n else x
    total = np.zeros((n_leads, wide.shape[1] + 1))
    np.cumsum(wide - wide[:, :1], axis=1, dtype=np.float64, out=total[:, 1:])
    for number, s in enumerate(SCALES):
        mean = (total[:, s:] - total[:, :-s]) / s  # of s samples from here on
        at = far + np.arange(n)
        slopes[number] = mean[:, at] - mean[:, at - s]
        half = s // 2
        bends[number] = mean[:, at - half] - (mean[:, at - half - s] + mean[:, at - half + s]) / 2
    every = [np.sqrt(np.mean(each**2, axis=1, keepdims=True)) for each in (slopes, bends)]
    return Banks(*(np.log(np.abs(each) + np.float32(_MV)) for each in (slopes, bends, *every)))


def measures(bank: Banks, anchor: NDArray[np.int64], look: Look, allowed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Float32 (beat, lead, place, measure) around each anchor (beat, lead).

    allowed (beat, lead, place): places that may be; sizes are told by the largest slope among them, as logarithms.
    """
    at = anchor[:, :, None] + look.offsets
    end = bank.slope.shape[2] - 1
    out = np.empty((*at.shape, len(measure_names(look))), np.float32)
    column = 0
    rows = np.arange(anchor.shape[1])[:, None]
    for slope, bend, row in ((bank.slope, bank.bend, rows), (bank.all_slope, bank.all_bend, 0 * rows)):
        here = np.clip(at, 0, end)
        middle = slope[look.scales[1]][row, here]
        top = np.where(allowed, middle, -np.inf).max(axis=2, keepdims=True)
        top = np.where(np.isfinite(top), top, 0)
        for scale in look.scales:
            shift = SCALES[scale]
            for values, moved in ((slope, -shift), (slope, shift), (bend, 0)):
                taken = values[scale][row, np.clip(at + moved, 0, end)]
                out[..., column] = np.clip(taken - top, _FLOOR, 2)
                column += 1
        middle = np.where(allowed, np.clip(middle - top, _FLOOR, 0), _FLOOR)
        since = np.maximum.accumulate(middle, axis=2)
        until = np.maximum.accumulate(middle[..., ::-1], axis=2)[..., ::-1]
        for each in (since, until):
            out[..., column], out[..., column + 1] = each, each**2 / 5
            column += 2
    seconds = look.offsets / RATE
    out[..., column], out[..., column + 1] = seconds * 10, (seconds * 10) ** 2
    return out


def middle_of(score: NDArray[np.float32], allowed: NDArray[np.bool_], look: Look) -> NDArray[np.float64]:
    """Median, in samples of RATE from the anchor, of the softmax of scores (beat, lead, place), NaN where no place is allowed.

    The median, as it has the least absolute error.
    """
    masked = np.where(allowed, score, -np.inf)
    top = masked.max(axis=2, keepdims=True)
    weight = np.exp(masked - np.where(np.isfinite(top), top, 0))
    running = np.cumsum(weight, axis=2, dtype=np.float64)
    half = running[..., -1:] / 2
    k = (running < half).sum(axis=2, keepdims=True).clip(max=score.shape[2] - 1)
    here, until = (np.take_along_axis(each, k, 2) for each in (weight, running))
    with np.errstate(invalid="ignore", divide="ignore"):
        place = look.first + (k + (half - until) / here + 0.5) * look.step
    return np.where(half > 0, place, np.nan)[..., 0]
