"""What a beat's signal window cannot show: how early or late the beat came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.examples.examples import Examples

RR_FEATURES = ("rr_before / rr_local", "rr_after / rr_local", "rr_before / rr_after", "rr_local / 0.8 s")


def rr_features(examples: Examples) -> NDArray[np.float32]:
    """Natural logarithms of `RR_FEATURES`, float32 (example, 4); 0 (a regular rhythm) where a neighbour is missing."""
    before, after, local = (examples.table[name].to_numpy(np.float64) for name in ("rr_before", "rr_after", "rr_local"))
    ratios = np.stack([before / local, after / local, before / after, local / 0.8], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(ratios)
    return np.clip(np.nan_to_num(logs, nan=0.0), -2, 2).astype(np.float32)
