"""What a beat's signal window cannot show: how early or late the beat came, and how regular the rhythm is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.examples.examples import Examples

RR_FEATURES = (
    "log(rr_before / rr_local)",
    "log(rr_after / rr_local)",
    "log(rr_before / rr_after)",
    "log(rr_earlier / rr_local)",
    "log(rr_local / 0.8 s)",
    "rr_spread",
)


def rr_features(examples: Examples) -> NDArray[np.float32]:
    """The numbers named in `RR_FEATURES`, float32 (example, 6); 0 (a regular rhythm) where a neighbour is missing."""
    before, after, earlier, local, spread = (
        examples.table[name].to_numpy(np.float64) for name in ("rr_before", "rr_after", "rr_earlier", "rr_local", "rr_spread")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.stack([before / local, after / local, before / after, earlier / local, local / 0.8], axis=1)
        logs = np.log(ratios)
    # two marks on one sample are 0 s apart: infinite ratios are clipped as well
    return np.clip(np.nan_to_num(np.column_stack([logs, spread]), nan=0.0), -2, 2).astype(np.float32)
