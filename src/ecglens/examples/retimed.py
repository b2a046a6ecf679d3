"""Beats moved closer or apart with their shapes unchanged: only the gaps between them are stretched or shortened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.examples.beat_regions import EXTENT, beat_extents
from ecglens.examples.examples import Examples
from ecglens.examples.sliding import beats_at, labelled

LABELLED, ANOTHER, ALL = "beside the labelled beat", "another gap", "all gaps"
WHERE = (LABELLED, ANOTHER, ALL)
REASONS = ("no_gap", "too_short", "too_long")


@dataclass(frozen=True)
class Retimed:
    """Examples with beats moved: examples; rows, which of those given they are; why (example given,): "" where it was done,
    else the first of REASONS that holds: no_gap (the example has no such gap), too_short (the gap holds fewer samples than
    asked for), too_long (the window would not fit into the array).
    """

    examples: Examples
    rows: NDArray[np.int64]
    why: NDArray[np.str_]

    @property
    def left_out(self) -> dict[str, int]:
        """Reason to number of examples."""
        return dict(Counter(self.why[self.why != ""].tolist()))


def gaps_at(examples: Examples, where: str) -> NDArray[np.bool_]:
    """Which gaps are meant, bool (example, gap): gap k lies between beats k and k + 1, counted from 0.

    where: "beside the labelled beat", the gap before it, or behind it if it is the window's first; "another gap", the one
    farthest from the labelled beat, of two the earlier, if that is not the same; or "all gaps".
    """
    choose(where, list(WHERE), "place of the gap")
    r = beats_at(examples)
    count = (r >= 0).sum(1)[:, None]
    gap = np.arange(max(r.shape[1] - 1, 0))
    there = gap < count - 1
    if where == ALL:
        return there
    label = labelled(examples)[:, None]
    beside = np.maximum(label - 1, 0)
    if where == LABELLED:
        return there & (gap == beside)
    # the first and the last gap are as many beats away as any
    other = np.where(label >= count - 1 - label, 0, count - 2)
    return there & (gap == other) & (other != beside)


def retimed(
    examples: Examples, where: str | NDArray[np.bool_], change: float, *, extent: tuple[float, float] = EXTENT
) -> Retimed:
    """Examples with RR intervals changed by the share `change` (-0.2: a fifth shorter), in which every beat keeps its shape.

    where: the gaps that give or take the time, see `gaps_at`, or a mask (example, gap). A gap is what lies between two beats'
    extents (`extent`, see `beat_extents`); it is interpolated linearly to its new length, between the samples beside it, and
    all behind it moves along. The window stays at that end of the array at which it lies; padding holds what it held, or the
    window's median if there was none. beats_at, valid_start, valid_stop, r_index, start, rr_before, rr_after, rr_earlier are
    corrected; rr_local, where all gaps are changed, as if all of the record were; rr_spread stays that of the record; evidence
    is dropped. Raises EcglensError for a change of -1 or less, without the column "labelled", and as `beat_extents`.
    """
    if not -1 < change < np.inf:
        raise EcglensError(f"RR intervals changed by {change:g}; expected a share above -1, such as -0.2")
    r, starts, stops = beat_extents(examples, extent)
    every = gaps_at(examples, ALL)
    asked = gaps_at(examples, where) if isinstance(where, str) else np.asarray(where)
    if asked.shape != every.shape:
        raise EcglensError(f"a mask of gaps {asked.shape}; expected (example, gap), here {every.shape}")
    asked = asked & every
    more = np.where(asked, np.rint(change * np.diff(r, axis=1)), 0).astype(np.int64)
    first, end = (examples.column(name).astype(np.int64) for name in ("valid_start", "valid_stop"))
    label = labelled(examples)
    size = end - first + more.sum(1)
    pad_before, pad_behind = first, examples.length - end
    at_end = (pad_before > pad_behind) | ((pad_before == pad_behind) & (label > 0))
    begin = np.where(at_end, end - size, first)
    why = np.select(
        [~asked.any(1), (starts[:, 1:] - stops[:, :-1] + more < 0).any(1), (begin < 0) | (begin + size > examples.length)],
        REASONS,
        "",
    )
    rows = np.flatnonzero(why == "")
    out = examples.take(rows)
    signals = np.empty_like(out.signals)
    for k, row in enumerate(rows.tolist()):
        old = out.signals[k]
        new = _stretched(old, int(first[row]), int(end[row]), stops[row, :-1], starts[row, 1:], more[row])
        padded = pad_before[row] if at_end[row] else pad_behind[row]
        edge = np.median(new, axis=1) if not padded else old[:, 0 if at_end[row] else -1]
        signals[k] = edge[:, None]
        signals[k, :, begin[row] : begin[row] + size[row]] = new
    moved = (begin - first)[:, None] + np.pad(np.cumsum(more, axis=1), ((0, 0), (1, 0)))
    whole = (asked == every).all(1)
    return Retimed(_corrected(out, signals, rows, r, moved, more, begin, size, label, whole, change), rows, why)


def _stretched(
    signal: NDArray[np.float32], first: int, end: int, start: NDArray[np.int64], stop: NDArray[np.int64],
    more: NDArray[np.int64],
) -> NDArray[np.float32]:  # fmt: skip
    """`signal` (lead, time) from `first` to `end`, the gaps at `start` to `stop` longer by `more` samples."""
    parts, at = [], first
    for a, b, extra in zip(start.tolist(), stop.tolist(), more.tolist(), strict=True):
        if not extra:
            continue
        # from the last sample of one beat to the first of the next, both of which stay; a beat of extent 0 may have none
        steps = np.arange(1, b - a + extra + 1) * ((b - a + 1) / (b - a + extra + 1))
        place = np.maximum(a - 1 + steps, first)
        left = place.astype(np.int64)
        share = (place - left).astype(np.float32)
        parts += [signal[:, at:a], signal[:, left] * (1 - share) + signal[:, left + 1] * share]
        at = b
    return np.concatenate([*parts, signal[:, at:end]], axis=1)


def _corrected(
    examples: Examples, signals: NDArray[np.float32], rows: NDArray[np.int64], r: NDArray[np.int64], moved: NDArray[np.int64],
    more: NDArray[np.int64], begin: NDArray[np.int64], size: NDArray[np.int64], label: NDArray[np.int64],
    whole: NDArray[np.bool_], change: float,
) -> Examples:  # fmt: skip
    """`examples`, which are `rows` of those that the other arrays are about, with new signals and the table put right."""
    beats = np.where(r >= 0, r + moved, -1)[rows]
    r_index = beats[np.arange(len(rows)), label[rows]]
    seconds = np.pad(more, ((0, 0), (2, 1)))[rows] / examples.fs  # by gap + 2, so that no gap is outside
    of_label = label[rows]
    longer = {name: seconds[np.arange(len(rows)), of_label + by] for name, by in (("earlier", 0), ("before", 1), ("after", 2))}
    table = examples.table.assign(
        beats_at=[" ".join(str(at) for at in places if at >= 0) for places in beats.tolist()],
        valid_start=begin[rows],
        valid_stop=(begin + size)[rows],
        r_index=r_index,
        start=examples.column("r_sample") - r_index,
        rr_local=examples.column("rr_local") * np.where(whole[rows], 1 + change, 1),
        **{f"rr_{name}": examples.column(f"rr_{name}") + by for name, by in longer.items()},
    )
    return replace(examples, signals=signals, table=table, evidence=None)
