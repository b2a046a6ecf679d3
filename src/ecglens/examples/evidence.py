"""Evidence of simulated records as regions of the examples cut from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples, LeadPlace
from ecglens.examples.regions import Regions, inside
from ecglens.recordings.evidence import read_truth
from ecglens.recordings.recording import Evidence


def evidence_regions(
    table: pd.DataFrame, places: tuple[LeadPlace, ...], evidence: dict[str, Evidence | None]
) -> Regions | None:
    """Evidence by record to regions (example, region) in samples of the windows; None where no record has any to give.

    Regions are named "SOURCE K", the K-th span of that source in the lead; an example with fewer spans has empty ones.
    """
    known = {record: spans for record, spans in evidence.items() if spans is not None}
    if not known:
        return None
    spans = _spans_in_windows(table, places, known)
    spans["k"] = spans.groupby(["example", "place", "source"], sort=False).cumcount()
    names, leads, rows, starts, stops = [], [], [], [], []
    for (place, source, k), some in spans.groupby(["place", "source", "k"], sort=True):
        start = np.full(len(table), places[place].offset, np.int64)
        stop = start.copy()
        start[some["example"]], stop[some["example"]] = some["start"], some["stop"]
        names.append(f"{source} {k + 1}")
        leads.append(places[place].name)
        rows.append(places[place].row)
        starts.append(start)
        stops.append(stop)
    empty = np.zeros((len(table), 0), np.int64)
    return Regions(
        tuple(names),
        tuple(leads),
        np.array(rows, np.int64),
        np.stack(starts, axis=1) if starts else empty,
        np.stack(stops, axis=1) if stops else empty,
    )


def _spans_in_windows(table: pd.DataFrame, places: tuple[LeadPlace, ...], known: dict[str, Evidence]) -> pd.DataFrame:
    """A row per span that reaches into its example's window: example, place, source, start, stop."""
    parts = []
    for record, rows in table.groupby("record", sort=False):
        spans = known.get(str(record))
        if spans is None or not len(rows):
            continue
        order = {name: number for number, name in enumerate(str(rows["lead_names"].iloc[0]).split(", "))}
        r_sample, example = rows["r_sample"].to_numpy(), rows.index.to_numpy()
        at = np.clip(np.searchsorted(r_sample, spans.r_sample), 0, len(r_sample) - 1)
        begin = rows["start"].to_numpy()[at]
        place = np.array([order[name] for name in spans.lead], np.int64)
        offset = np.array([item.offset for item in places])[place]
        # padding is no evidence
        first, last = rows["valid_start"].to_numpy()[at], rows["valid_stop"].to_numpy()[at]
        start, stop = np.clip(spans.start - begin, first, last), np.clip(spans.stop - begin, first, last)
        keep = (r_sample[at] == spans.r_sample) & (start < stop)
        parts.append(
            pd.DataFrame(
                {
                    "example": example[at],
                    "place": place,
                    "source": spans.source,
                    "start": start + offset,
                    "stop": stop + offset,
                }
            )[keep]
        )
    columns = ["example", "place", "source", "start", "stop"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({name: [] for name in columns})


@dataclass(frozen=True)
class Counterparts:
    """Each example without noise, and the same patient's normal beat in its place; both float32 mV, shaped as the signals."""

    clean: NDArray[np.float32]
    normal: NDArray[np.float32]


def counterparts(examples: Examples, folder: Path) -> Counterparts:
    """Read the truth of simulated examples from the cohort's folder.

    Where a beat does not differ from normal both are the same. Padding stays zero, and rows that hold no lead of the record
    (the usual beat) stay as they are. Raises EcglensError when the folder does not hold the records.
    """
    clean, normal = examples.signals.copy(), examples.signals.copy()
    first, last = examples.column("valid_start"), examples.column("valid_stop")
    begin, r_sample, record = (examples.column(name) for name in ("start", "r_sample", "record"))
    for name in np.unique(record):
        truth = read_truth(folder, str(name))
        rows = np.flatnonzero(record == name)
        if truth.clean.shape[0] > len(examples.places) or (begin[rows] + last[rows]).max() > truth.clean.shape[1]:
            raise EcglensError(f"{name}.truth.safetensors in {folder} is not of the record that the examples were cut from")
        half = truth.normal.shape[2] // 2
        at_r = {int(start) + half: number for number, start in enumerate(truth.start)}
        for row in rows:
            number = at_r.get(int(r_sample[row]))
            for lead, place in enumerate(examples.places[: len(truth.clean)]):
                time = np.arange(first[row], last[row])
                into = place.offset + time
                without_noise = truth.clean[lead, begin[row] + time]
                clean[row, place.row, into] = normal[row, place.row, into] = without_noise
                if number is not None:
                    there = begin[row] + time - truth.start[number]
                    known = (there >= 0) & (there < 2 * half)
                    normal[row, place.row, into[known]] = truth.normal[number, lead, there[known]]
    return Counterparts(clean, normal)


def without_evidence(examples: Examples, truth: Counterparts) -> Examples:
    """The examples with every evidence span replaced by the patient's normal beat; the noise stays."""
    where = _where(examples)
    changed = examples.signals - np.where(where, truth.clean - truth.normal, np.float32(0))
    return replace(examples, signals=changed.astype(np.float32))


def with_evidence_alone(examples: Examples, truth: Counterparts) -> Examples:
    """The patient's normal beat, noise-free, with the evidence spans of the examples in it."""
    return replace(examples, signals=np.where(_where(examples), examples.signals, truth.normal))


def _where(examples: Examples) -> NDArray[np.bool_]:
    if examples.evidence is None:
        raise EcglensError("these examples carry no evidence: only simulated ones do")
    return inside(examples.evidence, *examples.signals.shape[1:])
