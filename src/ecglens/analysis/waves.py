"""P, PR, QRS, ST, T, TP and RR gap of examples as regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.delineation import Delineation, Stretches, at_rate, delineate_stretches, put_in_order
from ecglens.analysis.r_peaks import find_r
from ecglens.analysis.wave_chain import NEIGHBOURS
from ecglens.analysis.wave_measures import RATE
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
from ecglens.examples.sliding import beats_at
from ecglens.recordings.recording import Recording, Waves
from ecglens.recordings.resampling import resampled

NAMES = ("P", "PR", "QRS", "ST", "T", "TP", "RR gap")
EXPERT = 3  # quality of a beat whose boundaries were not found but known
_SAME_BEAT_S = 0.12  # a drawn QRS that peaks so near to R is that of the beat
_P_REACH_S = 0.25  # before an R outside the example: its P wave may begin there


def known_waves(recordings: Iterable[Recording], fs: float) -> dict[str, Waves]:
    """'database/record' to the waves that experts drew, at `fs` Hz, of those recordings that have some."""
    out = {}
    for recording in recordings:
        if recording.waves is not None:
            waves = resampled(recording, fs).waves
            assert waves is not None
            out[f"{recording.database}/{recording.record}"] = waves
    return out


def simulated_waves(folder: Path, recording: Recording) -> Waves:
    """The true waves of a simulated recording, at its own rate, from RECORD.ii and the like beside its signal in `folder`.

    Raises EcglensError where a lead's file is missing or is no row of '(', wave, ')'.
    """
    import wfdb

    parts: list[tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.int64]]] = []
    for lead in recording.leads:
        path = folder / f"{recording.record}.{lead.lower()}"
        try:
            marks = wfdb.rdann(str(path.with_suffix("")), lead.lower())
            sample = np.asarray(marks.sample, np.int64).reshape(-1, 3)
            symbol = np.array(marks.symbol, np.str_).reshape(-1, 3)
            kinds = [{"p": "P", "N": "QRS", "t": "T"}[each] for each in symbol[:, 1]]
        except (OSError, ValueError, KeyError, IndexError) as error:
            reason = " ".join(str(error).split())[:80]
            raise EcglensError(f"{path.name} cannot be read in {folder} ({reason}); simulate again") from None
        parts.append((np.array([lead] * len(kinds), np.str_), np.array(kinds, np.str_), sample))
    lead_of, kind, sample = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return Waves(lead_of, kind, sample[:, 0], sample[:, 1], sample[:, 2])


def wave_regions(
    examples: Examples, source: Mapping[str, Waves] | None = None, rows: NDArray[np.integer] | None = None
) -> Regions:
    """P, PR, QRS, ST, T, TP and RR gap of each beat, by lead, and 'before' and 'after' them: they tile what is signal.

    PR is what lies between P and QRS, ST between QRS and T. TP is the end of T to the next P wave; where the next beat has
    none, this stretch is the RR gap and reaches the next QRS. A beat has one of them, the other is empty, as are waves that it
    lacks (no P: no PR; no T: no ST). Where the next beat is not in the example it counts as having a P if this one does, and
    the stretch ends 0.25 s before its R where that is known. Beats: those of "beats_at", each with regions of these names,
    else the one at "r_index", else (clips: -1) all that are found. source: `known_waves` and `simulated_waves`, in samples of
    "start"; beats that they do not hold are delineated. rows: of these examples alone; whether a beat has a P wave is told by
    those around it in its record, which a sample of the examples would lack. Raises EcglensError where leads have several
    lengths.
    """
    if rows is None:
        found, labelled = delineated(examples, source)
        return _regions(examples, found, labelled)
    wide = _with_neighbours(examples, np.asarray(rows, np.int64))
    return wave_regions(examples.take(wide), source).take(np.searchsorted(wide, rows))


def _with_neighbours(examples: Examples, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """These rows and, where an example is of one beat, those of the beats around it; sorted."""
    if "beats_at" in examples.table or not (examples.column("r_index") >= 0).any():
        return np.unique(rows)
    record, _ = _codes(examples)
    order = np.lexsort((examples.column("r_sample"), record))
    place = np.argsort(order)[rows, None] + np.arange(-NEIGHBOURS, NEIGHBOURS + 1)
    near = order[np.clip(place, 0, len(order) - 1)]
    return np.unique(np.append(near[record[near] == record[rows, None]], rows))


def delineated(examples: Examples, source: Mapping[str, Waves] | None = None) -> tuple[Delineation, NDArray[np.bool_]]:
    """(waves of all beats known to lie in the examples, True where a beat has regions, (beat,)); see `wave_regions`.

    In samples of a lead. Around a single labelled beat the RR intervals of the table tell where the others lie. quality is
    EXPERT where the source knew the beat.
    """
    signals = _leads_apart(examples)
    first, stop = (examples.column(name).astype(np.int64) for name in ("valid_start", "valid_stop"))
    beats, labelled = _beats(examples, signals, first, stop)
    leads = tuple(place.name for place in examples.places)
    found = delineate_stretches(signals, examples.fs, leads, beats)
    if source:
        _take_known(found, examples, source, stop)
    return found, labelled


def _leads_apart(examples: Examples) -> NDArray[np.float32]:
    """(example, place, time): leads that share a row, one behind the other, each for itself."""
    lengths = {place.length for place in examples.places}
    if len(lengths) != 1:
        raise EcglensError(f"leads of {sorted(lengths)} samples; expected all of one length to find waves")
    whole = all(place.row == k and place.offset == 0 for k, place in enumerate(examples.places))
    if whole and lengths == {examples.length} and len(examples.places) == len(examples.leads):
        return examples.signals
    parts = [examples.signals[:, each.row, each.offset : each.offset + each.length] for each in examples.places]
    return np.stack(parts, axis=1)


def _beats(
    examples: Examples, signals: NDArray[np.float32], first: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[Stretches, NDArray[np.bool_]]:
    """All beats known to lie in the examples, and which have regions."""
    n, fs = len(examples), examples.fs
    r_index = examples.column("r_index").astype(np.int64)
    if "beats_at" in examples.table:
        return _many(beats_at(examples), fs, first, stop)
    if (r_index < 0).all():
        return _many(_found(signals, fs, first, stop), fs, first, stop)
    record, _ = _codes(examples)
    rr = {name: examples.column(name).astype(np.float64) for name in ("rr_earlier", "rr_before", "rr_after")}
    rows, places, series, when, intervals, mine = [], [], [], [], [], []
    moves = (-rr["rr_before"], np.zeros(n), rr["rr_after"])
    for number, (move, interval) in enumerate(zip(moves, ("rr_earlier", "rr_before", "rr_after"), strict=True)):
        at = r_index + np.nan_to_num(np.rint(move * fs), nan=-(10.0**9)).astype(np.int64)
        known = np.flatnonzero((at >= first) & (at < stop) & (r_index >= 0) & ((number == 1) | (at != r_index)))
        rows.append(known)
        places.append(at[known])
        # the same beat as another example's neighbour must not speak for itself
        series.append(3 * record[known] + number)
        when.append(examples.column("r_sample").astype(np.float64)[known] / fs)
        intervals.append(rr[interval][known])
        mine.append(np.full(len(known), number == 1))
    row, r = np.concatenate(rows), np.concatenate(places)
    order = np.lexsort((r, row))
    s, w, i, m = (np.concatenate(each)[order] for each in (series, when, intervals, mine))
    return Stretches(row[order], r[order], first, stop, s, w, i), m


def _codes(examples: Examples) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Number of each example's record, and 'database/record' by number."""
    names = (examples.table["database"].astype(str) + "/" + examples.table["record"].astype(str)).to_numpy(np.str_)
    unique, code = np.unique(names, return_inverse=True)
    return code.astype(np.int64), unique


def _many(
    at: NDArray[np.int64], fs: float, first: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[Stretches, NDArray[np.bool_]]:
    """Several beats in each example (example, beat), -1 for none: neighbours of each other."""
    row, column = np.nonzero((at >= first[:, None]) & (at < stop[:, None]))
    pairs = np.unique(np.stack([row, at[row, column]], axis=1), axis=0).astype(np.int64).reshape(-1, 2)
    row, r = pairs[:, 0], pairs[:, 1]
    rr = np.diff(r, prepend=0).astype(np.float64) / fs
    rr[np.diff(row, prepend=-1) != 0] = np.nan
    return Stretches(row, r, first, stop, row, r / fs, rr), np.ones(len(r), bool)


def _found(signals: NDArray[np.float32], fs: float, first: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """R peaks of each example (example, beat), -1 for none."""
    found = []
    for k, (low, high) in enumerate(zip(first, stop, strict=True)):
        x, _ = at_rate(signals[k : k + 1, :, low:high], fs)
        found.append(low + np.rint(find_r(x[0]) * fs / RATE).astype(np.int64))
    out = np.full((len(found), max(map(len, found), default=0)), -1, np.int64)
    for k, each in enumerate(found):
        out[k, : len(each)] = each
    return out


def _take_known(found: Delineation, examples: Examples, source: Mapping[str, Waves], stop: NDArray[np.int64]) -> None:
    """Put known waves, in place, where the beat has a known QRS in the lead."""
    code, names = _codes(examples)
    start = examples.column("start").astype(np.int64)
    low = examples.column("valid_start").astype(np.int64)
    near = _SAME_BEAT_S * found.fs
    for column, lead in enumerate(found.leads):
        by_record = {k: _of_lead(source[name], lead) for k, name in enumerate(names) if name in source}
        for beat, (row, r) in enumerate(zip(found.row, found.r, strict=True)):
            kind, edges = by_record.get(code[row], (np.empty(0, np.str_), np.empty((0, 3), np.int64)))
            here = np.flatnonzero((kind == "QRS") & (np.abs(edges[:, 1] - start[row] - r) <= near))
            if not len(here):
                continue
            k = int(here[np.argmin(np.abs(edges[here, 1] - start[row] - r))])
            if edges[k, 0] < 0 or edges[k, 2] < 0:
                continue
            for wave, place in (("P", k - 1), ("QRS", k), ("T", k + 1)):
                there = 0 <= place < len(kind) and kind[place] == wave and edges[place, 0] >= 0 and edges[place, 2] >= 0
                on, off = edges[place, [0, 2]] - start[row] if there else (-1, -1)
                there = there and on < stop[row] and off >= low[row]
                found.onset[wave][beat, column] = max(on, low[row]) if there else -1
                found.offset[wave][beat, column] = min(off, stop[row] - 1) if there else -1
            found.quality[beat, column] = EXPERT
    put_in_order(found.onset, found.offset, found.row)


def _of_lead(waves: Waves, lead: str) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """(kind (wave,), start, peak and stop (wave, 3)) of a lead, in order of time."""
    mine = np.flatnonzero(waves.lead == lead)
    mine = mine[np.argsort(waves.peak[mine], kind="stable")]
    return waves.kind[mine], np.stack([waves.start[mine], waves.peak[mine], waves.stop[mine]], axis=1)


def _regions(examples: Examples, found: Delineation, labelled: NDArray[np.bool_]) -> Regions:
    """Regions from waves; each begins where the one before ends."""
    n, n_leads = len(examples), len(found.leads)
    first, stop = (examples.column(name).astype(np.int64) for name in ("valid_start", "valid_stop"))
    begins = np.where(found.onset["P"] >= 0, found.onset["P"], found.onset["QRS"])
    # what follows each beat, and whether it has a P wave
    joined = np.append(found.row[1:] == found.row[:-1], False)[:, None]
    next_begins = np.where(joined, np.roll(begins, -1, axis=0), stop[found.row][:, None])
    if "beats_at" not in examples.table:
        after = np.nan_to_num(examples.column("rr_after").astype(np.float64), nan=1e6) - _P_REACH_S
        reach = np.minimum(found.r + np.minimum(after[found.row], 1e6) * found.fs, stop[found.row]).astype(np.int64)
        alone = (examples.column("r_index") >= 0)[found.row][:, None]
        next_begins = np.where(joined | ~alone, next_begins, np.minimum(next_begins, reach[:, None]))
    has_p = found.onset["P"] >= 0
    next_p = np.where(joined, np.roll(has_p, -1, axis=0), has_p)
    qrs_on, qrs_off = found.onset["QRS"], found.offset["QRS"] + 1
    has_t = found.onset["T"] >= 0
    t_off = np.where(has_t, found.offset["T"] + 1, qrs_off)
    edges = [
        begins,
        np.where(has_p, found.offset["P"] + 1, qrs_on),
        qrs_on,
        qrs_off,
        np.where(has_t, found.onset["T"], qrs_off),
        t_off,
        np.where(next_p, np.maximum(next_begins, t_off), t_off),
        np.maximum(next_begins, t_off),
    ]
    mine = np.flatnonzero(labelled)
    row = found.row[mine]
    number = np.arange(len(mine)) - np.searchsorted(row, row)
    n_beats = int(number.max(initial=-1)) + 1
    # beats that an example lacks lie, empty, at the end of its last one
    marks = np.full((n, n_beats, len(edges), n_leads), -1, np.int64)
    marks[row, number] = np.stack(edges, axis=1)[mine]
    flat = np.maximum.accumulate(marks.reshape(n, n_beats * len(edges), n_leads), axis=1)
    flat = np.clip(flat, first[:, None, None], stop[:, None, None])
    low, high = (np.broadcast_to(each[:, None, None], (n, 1, n_leads)) for each in (first, stop))
    flat = np.concatenate([low, flat, high], axis=1)
    # between the last region of a beat and the first of the next there is nothing
    names = ["before", *[name for k in range(n_beats) for name in (*NAMES, "")]]
    names[-1] = "after"
    kept = [k for k, name in enumerate(names) if name]
    offset = np.array([place.offset for place in examples.places], np.int64)
    # sizes in full: of no example numpy cannot tell what -1 stands for
    starts = (flat[:, :-1] + offset)[:, kept].reshape(n, len(kept) * n_leads)
    stops = (flat[:, 1:] + offset)[:, kept].reshape(n, len(kept) * n_leads)
    return Regions(
        tuple(names[k] for k in kept for _ in range(n_leads)),
        tuple(place.name for place in examples.places) * len(kept),
        np.tile(np.array([place.row for place in examples.places], np.int64), len(kept)),
        starts,
        stops,
    )


__all__ = ["EXPERT", "NAMES", "delineated", "known_waves", "simulated_waves", "wave_regions"]
