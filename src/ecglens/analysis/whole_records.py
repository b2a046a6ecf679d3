"""Maps of a long record's clips put together again, in the record's own time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError


def joined_clips(values: NDArray[np.floating], starts: NDArray[np.int64], length: int, samples: int) -> NDArray[np.float64]:
    """One line over the record (sample,) from clips (clip, cell): a cell holds for all its samples, overlaps are averaged.

    starts: first sample of each clip, may be negative where a short record has padding before it; length: samples of a clip;
    samples: of the record. NaN where no clip reaches. Raises EcglensError where numbers do not fit.
    """
    if values.ndim != 2 or len(values) != len(starts) or values.shape[1] > length or samples < 1:
        raise EcglensError(
            f"values are {values.shape}, {len(starts)} starts, clips of {length} samples, a record of {samples}; expected "
            "(clip, cell) with a start each, and no more cells than samples"
        )
    cell = np.arange(length) * values.shape[1] // length
    total, times = np.zeros(samples), np.zeros(samples)
    for row, start in zip(values, starts, strict=True):
        first, stop = max(int(start), 0), min(int(start) + length, samples)
        total[first:stop] += row[cell[first - int(start) : stop - int(start)]]
        times[first:stop] += 1
    return np.divide(total, times, out=np.full(samples, np.nan), where=times > 0)
