"""Where the beats are: R peaks from all leads together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.wave_measures import RATE

_REFRACTORY = round(0.25 * RATE)
_LEAST_MV = 0.03  # mV within 20 ms: less is no QRS
_SHARE = 0.35  # of the usual peak


def find_r(x: NDArray[np.float32]) -> NDArray[np.int64]:
    """R peaks, int64 (beat,) in samples of RATE, of a signal (lead, time) in mV at RATE, without NaN; of any length.

    A beat is where the slope over 20 ms, all leads together, is largest within 0.25 s and exceeds 35 % of the median of such
    places within 5 s, R where the leads together are furthest from their level. After Pan and Tompkins 1985, for several
    leads at once.
    """
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    n = x.shape[1]
    if n < 10 or not len(x):
        return np.empty(0, np.int64)
    smooth = uniform_filter1d(x, 5, axis=1, mode="nearest").astype(np.float64)
    slope = np.zeros_like(smooth)
    slope[:, 3:-3] = smooth[:, 6:] - smooth[:, :-6]
    # a lead far louder than the others (loose electrode) counts as the middle one does
    loud = np.quantile(np.abs(slope), 0.98, axis=1)
    usual = np.median(loud[loud > 0]) if (loud > 0).any() else 0.0
    gain = np.where(loud > 3 * usual, 3 * usual / np.maximum(loud, 1e-9), 1.0)[:, None]
    size = uniform_filter1d(np.sqrt(np.mean((gain * slope) ** 2, axis=0)), 15, mode="nearest")
    peaks = np.flatnonzero((size == maximum_filter1d(size, 2 * _REFRACTORY + 1)) & (size > _LEAST_MV / 4))
    if not len(peaks):
        return peaks.astype(np.int64)
    kept: list[int] = []
    for at in peaks:
        near = size[peaks[np.abs(peaks - at) <= 5 * RATE]]
        # noise between beats has peaks, too: the usual peak is that of the larger half
        if size[at] > _SHARE * np.median(near[near >= np.median(near)]):
            kept.append(int(at))
    level = uniform_filter1d(x, round(0.4 * RATE), axis=1, mode="nearest")
    far = np.sqrt(np.mean((gain * (smooth - level)) ** 2, axis=0))
    out: list[int] = []
    for beat in kept:
        low = max(beat - 15, 0)
        out.append(low + int(np.argmax(far[low : beat + 16])))
    return np.unique(np.array(out, np.int64))
