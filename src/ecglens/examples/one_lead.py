"""Examples of one lead, cut record by record and put behind each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.examples.evidence import evidence_regions
from ecglens.examples.examples import Examples, LeadPlace
from ecglens.recordings.recording import Evidence


@dataclass(frozen=True)
class Cut:
    """What is kept of one record: signals (window, time), labels (window,), rows of the table, evidence of its lead."""

    record: str
    signals: NDArray[np.float32]
    labels: NDArray[np.int64]
    table: pd.DataFrame
    evidence: Evidence | None


def join_cuts(cuts: list[Cut], classes: tuple[str, ...], length: int, fs: float) -> Examples:
    """The records behind each other; empties `cuts` on the way, as windows of whole days are gigabytes."""
    places = (LeadPlace("lead 1", 0, 0, length),)
    table = pd.concat([cut.table for cut in cuts], ignore_index=True)
    label = np.concatenate([cut.labels for cut in cuts])
    evidence = evidence_regions(table, places, {cut.record: cut.evidence for cut in cuts})
    signals = np.empty((len(label), 1, length), np.float32)
    stop = len(label)
    while cuts:
        cut = cuts.pop()
        signals[stop - len(cut.labels) : stop, 0] = cut.signals
        stop -= len(cut.labels)
    return Examples(signals, label, classes, float(fs), ("lead 1",), places, table, evidence)
