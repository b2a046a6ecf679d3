"""Where each beat of a window lies, and each gap between beats: regions of time that tile what is signal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
from ecglens.examples.sliding import beats_at

EXTENT = (0.25, 0.45)  # s before and behind R: P wave to the end of T


def beat_extents(
    examples: Examples, extent: tuple[float, float] = EXTENT
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """R peaks, and where each beat starts and stops, int64 (example, beat) each, in samples of the array.

    extent: s before and behind R; a beat reaches at most half-way to its neighbours' R and not beyond what is signal. Beats
    that an example lacks have R at -1 and lie, empty, at the end of its last beat. Raises EcglensError without the column
    "beats_at", for an example without a beat, and for beats out of order or outside the signal.
    """
    if not (0 <= extent[0] < np.inf and 0 <= extent[1] < np.inf):
        raise EcglensError(f"a beat from {extent[0]} s before R to {extent[1]} s behind; expected numbers from 0 on")
    r = beats_at(examples)
    first, stop = (examples.column(name).astype(np.int64)[:, None] for name in ("valid_start", "valid_stop"))
    there = r >= 0
    count = there.sum(1)
    bad = (count == 0) | (there & ((r < first) | (r >= stop))).any(1) | (there[:, 1:] & (np.diff(r, axis=1) < 0)).any(1)
    if bad.any():
        raise EcglensError(
            f"{bad.sum()} of {len(r)} examples have no beat, or beats out of order or outside the signal (the first: "
            f"{examples.table['id'].iloc[int(np.argmax(bad))]})"
        )
    before, behind = (round(seconds * examples.fs) for seconds in extent)
    between = (r[:, :-1] + r[:, 1:]) // 2
    last = np.arange(r.shape[1]) == count[:, None] - 1
    starts = np.maximum(r - before, np.concatenate([first, np.maximum(between, first)], axis=1))
    stops = np.minimum(r + behind, np.where(last, stop, np.concatenate([between, stop], axis=1)))
    end = stops[last][:, None]
    return r, np.where(there, starts, end), np.where(there, stops, end)


def beat_regions(examples: Examples, *, extent: tuple[float, float] = EXTENT) -> Regions:
    """Each beat, each gap, and what lies before and after them, as regions that tile the signal without overlap.

    Names are "before", "beat 1", "gap 1-2", "beat 2" ... "after". A gap is empty where beats meet half-way; a beat that an
    example lacks is empty, too. Of several leads each has these regions, under the same names. extent and errors:
    `beat_extents`.
    """
    _, starts, stops = beat_extents(examples, extent)
    first, end = (examples.column(name).astype(np.int64) for name in ("valid_start", "valid_stop"))
    # each region begins where the one before ends
    edges = np.column_stack([first, np.stack([starts, stops], axis=2).reshape(len(first), -1), end])
    names = ["before", *(name for k in range(1, starts.shape[1] + 1) for name in (f"beat {k}", f"gap {k}-{k + 1}"))]
    names[-1] = "after"
    n_leads = len(examples.leads)
    return Regions(
        tuple(name for name in names for _ in range(n_leads)),
        examples.leads * len(names),
        np.tile(np.arange(n_leads), len(names)),
        np.repeat(edges[:, :-1], n_leads, axis=1),
        np.repeat(edges[:, 1:], n_leads, axis=1),
    )
