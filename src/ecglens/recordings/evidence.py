"""The evidence of a simulated record, as it lies on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecglens.errors import EcglensError
from ecglens.recordings.recording import Evidence, Recording

_COLUMNS = ("r_sample", "lead", "start", "stop", "source")


def read_evidence(folder: Path, recording: Recording) -> Evidence:
    """RECORD.evidence.csv of a simulated record; raises EcglensError when it is missing or does not fit the record."""
    import pandas as pd

    path = folder / f"{recording.record}.evidence.csv"
    if not path.is_file():
        raise EcglensError(f"{path.name} is missing in {folder}: a simulated record needs it")
    try:
        table = pd.read_csv(path)
        found = Evidence(*(table[name].to_numpy(np.str_ if name in ("lead", "source") else np.int64) for name in _COLUMNS))
    except (ValueError, KeyError, TypeError, OverflowError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())[:80]
        raise EcglensError(f"{path.name} is not a table of {', '.join(_COLUMNS)} ({reason}); simulate again") from None
    beats = recording.annotations.beats().sample
    fits = np.isin(found.r_sample, beats) & np.isin(found.lead, recording.leads) & (found.start < found.stop)
    fits &= (found.start >= 0) & (found.stop <= recording.signal.shape[1])
    if not fits.all():
        row = int(np.flatnonzero(~fits)[0])
        raise EcglensError(f"row {row + 2} of {path.name} names a beat, lead or span that {recording.record} does not have")
    return found
