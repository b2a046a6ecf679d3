"""Where each beat of a window lies, and each gap between beats: regions of time that tile what is signal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
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
    if "beats_at" not in examples.table:
        raise EcglensError("the table of examples has no column beats_at; cut windows that know their beats (cut_sliding)")
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


def beat_regions(examples: Examples, *, count: str = "left", extent: tuple[float, float] = EXTENT) -> Regions:
    """Each beat, each gap, and what lies before and after them, as regions that tile the signal without overlap.

    count: from the "left", names are "before", "beat 1", "gap 1-2", "beat 2" ... "after"; from the "labelled" beat, "beat -1",
    "gap -1 to label", "label", "gap label to +1" ... A gap is empty where beats meet half-way; a beat that an example lacks is
    empty, too. Of several leads each has these regions, under the same names. extent and errors: `beat_extents`.
    """
    choose(count, ["labelled", "left"], "count")
    r, starts, stops = beat_extents(examples, extent)
    first, end = (examples.column(name).astype(np.int64) for name in ("valid_start", "valid_stop"))
    # counted from the label, the beats of examples are shifted against each other
    label = examples.column("labelled").astype(np.int64) if count == "labelled" else np.full(len(examples), -1)
    zero = int(label.max(initial=-1))
    shift = (zero - label)[:, None]
    at = np.arange(starts.shape[1] + int(shift.max(initial=0))) - shift
    row, pick = np.arange(len(at))[:, None], np.clip(at, 0, starts.shape[1] - 1)
    # a beat that is lacking lies at the edge of those that are there
    start = np.where(at < starts.shape[1], starts[row, pick], stops[:, -1:])
    stop = np.where(at < 0, starts[:, :1], stops[row, pick])
    known = ((at >= 0) & (at < starts.shape[1]) & (r[row, pick] >= 0)).any(0)
    words = [_word(int(k) - zero, count) for k in np.flatnonzero(known)]
    return _tiled(examples, start[:, known], stop[:, known], first, end, words)


def _word(number: int, count: str) -> str:
    if count == "left":
        return str(number)
    return f"{number:+d}" if number else "label"


def _tiled(
    examples: Examples, start: NDArray[np.int64], stop: NDArray[np.int64], first: NDArray[np.int64], end: NDArray[np.int64],
    words: list[str],
) -> Regions:  # fmt: skip
    """Regions of beats `words` at `start` to `stop` (example, beat), with what lies between, before and after."""
    names, starts, stops = ["before"], [first], [start[:, 0]]
    for k, word in enumerate(words):
        names.append(word if word == "label" else f"beat {word}")
        starts.append(start[:, k])
        stops.append(stop[:, k])
        last = k == len(words) - 1
        joint = " to " if "label" in words else "-"
        names.append("after" if last else f"gap {word}{joint}{words[k + 1]}")
        starts.append(stop[:, k])
        stops.append(end if last else start[:, k + 1])
    n_leads = len(examples.leads)
    return Regions(
        tuple(name for name in names for _ in range(n_leads)),
        examples.leads * len(names),
        np.tile(np.arange(n_leads), len(names)),
        np.repeat(np.stack(starts, axis=1), n_leads, axis=1),
        np.repeat(np.stack(stops, axis=1), n_leads, axis=1),
    )
