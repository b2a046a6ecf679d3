"""How much each lead has of what a map, or Shapley values, give to the leads: by class, with intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.intervals import ratio_over_patients
from ecglens.errors import EcglensError


def lead_shares(
    values: NDArray[np.floating],
    labels: NDArray[np.integer],
    patients: NDArray[np.str_],
    classes: tuple[str, ...],
    leads: tuple[str, ...],
    *,
    signed: bool,
    seed: int = 0,
) -> pd.DataFrame:
    """A row per class and lead: columns class, n, lead, share, share_low, share_high.

    values (example, lead): what each lead has, signed; labels (example,): class of each. The share is the lead's sum over the
    class's examples, over that of all leads: of the values (signed; shares may be negative, and mean nothing where the total
    is near 0) or of their sizes. Intervals are 95 % over patients. A class without an example has n 0 and no shares. Raises
    EcglensError where shapes do not fit. Source of the signed shares: Habeeb 2024, figures 2 to 5.
    """
    if values.ndim != 2 or values.shape != (len(labels), len(leads)) or len(patients) != len(labels):
        raise EcglensError(
            f"values have shape {values.shape} for {len(labels)} labels and {len(patients)} patients; expected "
            f"({len(labels)}, {len(leads)} leads)"
        )
    parts = np.asarray(values if signed else np.abs(values), np.float64)
    rows = []
    for k, name in enumerate(classes):
        mine = labels == k
        share = low = high = np.full(len(leads), np.nan)
        if mine.any():
            above = parts[mine]
            below = np.broadcast_to(above.sum(axis=1, keepdims=True), above.shape)
            total = above.sum()
            share = above.sum(axis=0) / total if total else share
            low, high = ratio_over_patients(above, below, patients[mine], seed=seed)
        rows += [
            {"class": name, "n": int(mine.sum()), "lead": lead, "share": share[j], "share_low": low[j], "share_high": high[j]}
            for j, lead in enumerate(leads)
        ]
    return pd.DataFrame(rows)
