"""RR intervals beside each beat: the columns of `Examples` that tell early from late."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


def rr_intervals(beats: NDArray[np.int64], fs: float, around: int = 10) -> dict[str, NDArray[np.float64]]:
    """Columns rr_before, rr_after, rr_earlier, rr_local, rr_spread of beats at `beats` (samples, in order): float64 (beat,).

    In seconds, NaN where there is no such beat; median and spread are of the intervals within `around` beats.
    """
    nothing = np.full(around, np.nan)
    rr = np.concatenate([nothing, np.diff(beats) / fs, nothing])  # rr[around + i - 1] ends at beat i
    if not len(beats):
        return dict.fromkeys(("rr_before", "rr_after", "rr_earlier", "rr_local", "rr_spread"), np.array([]))
    near = sliding_window_view(rr, 2 * around)[: len(beats)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # a record of one beat has no RR at all
        local = np.nanmedian(near, axis=1)
        spread = np.nanmean(np.abs(np.log(near / local[:, None])), axis=1)
    return {
        "rr_before": near[:, around - 1],
        "rr_after": near[:, around],
        "rr_earlier": near[:, around - 2],
        "rr_local": local,
        "rr_spread": spread,
    }
