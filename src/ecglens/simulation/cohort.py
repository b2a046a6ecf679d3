"""A whole simulated cohort: who has which class, and the folder that holds records and truth."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens import __version__
from ecglens.errors import EcglensError
from ecglens.files import sha256, write_json, write_table
from ecglens.progress import bar
from ecglens.recordings.evidence import UNITS_PER_MV, write_truth
from ecglens.recordings.simulated import COHORT_FILE
from ecglens.simulation.record import SimulatedRecord, simulate_record
from ecglens.simulation.rhythm import Wanted
from ecglens.simulation.settings import EVENTS, RUNS, Settings

_QUICK_MINUTES = 60  # that a quick look takes from a cohort of short records
_SYMBOLS = {"P": "/"}
# WFDB marks of wave boundaries, as in LUDB: '(' wave ')'
_WAVE_SYMBOLS = {"P": "p", "QRS": "N", "T": "t"}


def assign(settings: Settings) -> list[Wanted]:
    """What each patient is to have: conduction classes to patients of their own, events to patients whose beats allow them.

    A, j and E go to patients in sinus rhythm (their marks are read off a normal QRS or its absence), V to all but paced ones.
    """
    rng = np.random.default_rng([settings.seed, 1_000_000_007])
    order = rng.permutation(settings.patients)
    base: list[tuple[str, int | None]] = [("N", None)] * settings.patients
    events: list[dict[str, int]] = [{} for _ in range(settings.patients)]
    taken = 0
    for name in RUNS:
        numbers = settings.beats_per_carrier(name)
        for k in range(settings.carriers_of(name)):
            base[order[taken]] = (name, None if numbers is None else numbers[k])
            taken += 1
    for name in EVENTS:
        fit = [p for p in range(settings.patients) if base[p][0] == "N" or (name == "V" and base[p][0] != "P")]
        numbers = settings.beats_per_carrier(name) or []
        if len(numbers) > len(fit):
            raise EcglensError(
                f"{len(numbers)} carriers of {name}, but only {len(fit)} of {settings.patients} patients can have it "
                "(A, j and E need sinus rhythm, V an unpaced heart); ask for fewer, or for fewer carriers of L, R and P"
            )
        for patient, number in zip(rng.permutation(fit), numbers, strict=False):
            if number:
                events[patient][name] = number
    return [Wanted(*base[p], events[p]) for p in range(settings.patients)]


def simulate(settings: Settings) -> Iterator[SimulatedRecord]:
    """Every patient of the cohort, one after the other."""
    for number, wanted in enumerate(assign(settings)):
        yield simulate_record(settings, number, wanted)


def write_cohort(settings: Settings, folder: Path, workers: int = 1) -> Path:
    """Simulate the cohort into `folder`, which must not exist or be empty; whole or not at all.

    workers: processes at a time, the same bytes with any number; more than one needs a main module that can be imported.

    Per record: WFDB signal and beats (.hea, .dat, .atr), wave boundaries per lead (.ii, .v1, ... as in LUDB),
    NAME.evidence.csv and NAME.truth.safetensors; for all: beats.csv and cohort.json (settings, counts, SHA-256 of each file).
    """
    folder = folder.resolve()  # '.' has no name to write beside
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EcglensError(f"{folder} is there and not empty; name a new folder, or delete it first")
    beats = []
    with _folder_written_whole(folder) as beside, bar("simulate", settings.patients) as progress:
        for table in _written(settings, beside, workers):
            beats.append(table)
            progress.step()
        table = pd.concat(beats, ignore_index=True)
        write_table(beside / "beats.csv", table)
        counts = table.groupby("class")["record"].agg(["size", "nunique"])
        write_json(
            beside / COHORT_FILE,
            {
                "what": "simulated ECGs with known evidence; not of any person",
                "ecglens": __version__,
                "settings": asdict(settings),
                "beats": {name: int(row["size"]) for name, row in counts.iterrows()},
                "patients": {name: int(row["nunique"]) for name, row in counts.iterrows()},
                "a_few": _a_few(table, max(10, round(_QUICK_MINUTES / settings.minutes))),
                "sha256": {path.name: sha256(path) for path in sorted(beside.iterdir())},
            },
        )
    return folder


def _written(settings: Settings, folder: Path, workers: int) -> Iterator[pd.DataFrame]:
    """Write every patient's files; the beats of each, in order."""
    tasks = [(settings, number, wanted, folder) for number, wanted in enumerate(assign(settings))]
    if workers < 2 or len(tasks) < 2:
        yield from map(_write_one, tasks)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write_one, tasks, chunksize=4)


def _write_one(task: tuple[Settings, int, Wanted, Path]) -> pd.DataFrame:
    settings, number, wanted, folder = task
    record = simulate_record(settings, number, wanted)
    write_record(record, folder)
    return beat_table(record)


def _a_few(beats: pd.DataFrame, at_most: int) -> list[str]:
    """Records for a quick look: each class in several patients where that can be, the rarest classes first."""
    per = beats.groupby(["class", "record"]).size().sort_values(ascending=False)
    rarest = beats.groupby("class")["record"].nunique().sort_values(kind="stable").index
    chosen: list[str] = []
    for wanted in range(1, at_most + 1):
        for name in rarest:
            holders = list(per[name].index)
            have = [record for record in chosen if record in holders]
            more = [record for record in holders if record not in chosen][: max(wanted - len(have), 0)]
            chosen += more[: at_most - len(chosen)]
    return sorted(chosen)


@contextmanager
def _folder_written_whole(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write into; takes its name if all went well, is removed if not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    beside.mkdir()
    try:
        yield beside
        if folder.is_dir():
            folder.rmdir()
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_record(record: SimulatedRecord, folder: Path) -> None:
    """The files of one record."""
    import wfdb

    settings = record.settings
    digital = np.round(record.signal * UNITS_PER_MV).clip(-32767, 32767).astype(np.int64)
    wfdb.wrsamp(
        record.name,
        fs=settings.fs,
        units=["mV"] * len(settings.leads),
        sig_name=list(settings.leads),
        d_signal=digital.T,
        fmt=["16"] * len(settings.leads),
        adc_gain=[UNITS_PER_MV] * len(settings.leads),
        baseline=[0] * len(settings.leads),
        comments=[f"simulated by ecglens {__version__}, seed {settings.seed}: not a person"],
        write_dir=str(folder),
    )
    symbols = [_SYMBOLS.get(kind, kind) for kind in record.rhythm.kind]
    wfdb.wrann(record.name, "atr", record.r_sample, symbols, write_dir=str(folder))
    _write_boundaries(record, folder)
    write_table(folder / f"{record.name}.evidence.csv", _evidence_table(record))
    write_truth(folder / f"{record.name}.truth.safetensors", record.clean, record.window_start, record.normal)


def _write_boundaries(record: SimulatedRecord, folder: Path) -> None:
    """One annotation file a lead, such as s001.v1; wfdb wants letters alone, so the name is given afterwards."""
    import wfdb

    for lead, rows in record.waves.groupby("lead", sort=False):
        n = len(rows)
        sample = rows[["onset", "peak", "offset"]].to_numpy().reshape(-1)
        symbol = np.array([["(", _WAVE_SYMBOLS[wave], ")"] for wave in rows["wave"]]).reshape(-1)
        order = np.lexsort((np.tile([1, 2, 0], n), sample))
        wfdb.wrann(record.name, "waves", sample[order], list(symbol[order]), write_dir=str(folder))
        os.replace(folder / f"{record.name}.waves", folder / f"{record.name}.{str(lead).lower()}")


def _evidence_table(record: SimulatedRecord) -> pd.DataFrame:
    table = record.evidence
    out = table.rename(columns={"mv": "most_mv"}).drop(columns="beat")
    out.insert(0, "r_sample", record.r_sample[table["beat"].to_numpy()])
    return out


def beat_table(record: SimulatedRecord) -> pd.DataFrame:
    """A row per beat: when it came and when sinus rhythm would have brought it (s), evidence spans and time in them (s)."""
    rhythm = record.rhythm
    spans = record.evidence.assign(samples=record.evidence["stop"] - record.evidence["start"])
    by_beat = spans.groupby("beat")["samples"].agg(["size", "sum"])
    by_beat = by_beat.reindex(np.arange(len(rhythm)), fill_value=0)
    return pd.DataFrame(
        {
            "record": record.name,
            "r_sample": record.r_sample,
            "class": rhythm.kind,
            "rr_before": np.r_[np.nan, np.diff(rhythm.at)],
            "sinus_before": np.r_[np.nan, rhythm.sinus[1:]],
            "evidence_spans": by_beat["size"].to_numpy(),
            "evidence_s": by_beat["sum"].to_numpy() / record.settings.fs,
        }
    )
