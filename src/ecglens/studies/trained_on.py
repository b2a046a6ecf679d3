"""Which records a net has learnt from, kept by their signals: so that another run does not test it on them.

One record can be in two databases under two names; of cinc2020's `HR` records here eleven are in ptbxl as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.splits import TEST, TRAIN, UNUSED, VALIDATION
from ecglens.files import written_whole
from ecglens.recordings.duplicates import Fingerprints, SameSignal, fingerprints, same_signals
from ecglens.recordings.recording import Annotations, Recording
from ecglens.runs import Run

FILE = "trained-on.npz"
_FULL = 127


@dataclass(frozen=True)
class Known:
    """Records that a net knows: their fingerprints, and whether each trained it (else it chose thresholds, or an epoch)."""

    prints: Fingerprints
    trained: NDArray[np.bool_]


def write_trained_on(examples: Examples, split: NDArray[np.str_], this: Run) -> None:
    """tables/trained-on.npz: fingerprints, in 8 bits, of the records that train or validate, by their first clips."""
    mine = np.isin(split, [TRAIN, VALIDATION])
    found = fingerprints(_first_clips(examples, mine))
    trained = split[_first_rows(examples, mine)] == TRAIN
    most = np.abs(found.signals).max(axis=(1, 2), keepdims=True)
    signals = np.rint(found.signals / np.where(most > 0, most, 1) * _FULL).astype(np.int8)
    with written_whole(this.tables / FILE) as beside, beside.open("wb") as handle:
        np.savez_compressed(handle, records=np.array(found.records), signals=signals, n=found.n, trained=trained)


def read_trained_on(run: Path) -> Known:
    """What a run's net knows; raises EcglensError where the run does not say it."""
    path = run / "tables" / FILE
    try:
        with np.load(path, allow_pickle=False) as found:
            signals = found["signals"].astype(np.float32)
            size = np.linalg.norm(signals.reshape(len(signals), -1), axis=1)
            signals /= np.where(size > 0, size, 1)[:, None, None]
            return Known(Fingerprints(tuple(map(str, found["records"])), signals, found["n"]), found["trained"])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise EcglensError(
            f"{path} cannot be read ({type(error).__name__}): it says which records the net there has learnt from, so that it "
            "is not tested on them; train that run again"
        ) from None


def without_known(examples: Examples, split: NDArray[np.str_], known: Known) -> tuple[NDArray[np.str_], list[SameSignal]]:
    """The split without records that a net knows already ("unused" then), and which they are.

    A record that trained the net neither tests nor validates, one that validated it does not test. Each pair's first is the
    record here, its second the one that the net knows.
    """
    asked = np.isin(split, [TEST, VALIDATION])
    if not asked.any():
        return split, []
    trained = dict(zip(known.prints.records, known.trained.tolist(), strict=True))
    side = dict(zip(examples.column("record").astype(str), split.tolist(), strict=True))
    pairs = [
        pair
        for pair in same_signals(fingerprints(_first_clips(examples, asked)), known.prints)
        if trained[pair.second] or side[pair.first] == TEST
    ]
    shared = np.isin(examples.column("record").astype(str), [pair.first for pair in pairs])
    return np.where(shared, UNUSED, split), pairs


def _first_rows(examples: Examples, mine: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Where the first clips of the records are, among those that are `mine`."""
    return np.flatnonzero(mine & ~examples.table.duplicated(["database", "record"]).to_numpy())


def _first_clips(examples: Examples, mine: NDArray[np.bool_]) -> Iterator[Recording]:
    """The first clip of each record as a recording of its own."""
    table = examples.table
    nothing = Annotations(np.array([], np.int64), np.array([], np.str_), np.array([], np.str_))
    for row in _first_rows(examples, mine):
        start, stop = int(table["valid_start"].iloc[row]), int(table["valid_stop"].iloc[row])
        yield Recording(
            str(table["database"].iloc[row]), str(table["record"].iloc[row]), str(table["patient"].iloc[row]),
            examples.signals[row, :, start:stop], examples.fs, examples.leads, nothing,
        )  # fmt: skip
