"""Beats with and without P waves: PTB-XL's as told by the record's rhythm, MIT-BIH's by rhythm and beat marks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecglens.analysis.delineation import Stretches, at_rate, delineate_stretches
from ecglens.analysis.r_peaks import find_r
from ecglens.analysis.wave_chain import Beats, Weights
from ecglens.analysis.wave_measures import RATE
from ecglens.recordings.databases import database, read_records
from ecglens.recordings.places import find_database
from ecglens.recordings.ptbxl_reader import ptbxl_rows, ptbxl_table, read_ptbxl
from ecglens.recordings.recording import Recording
from ecglens.recordings.twelve_readers import headers_in

WITHOUT_P = {"AFIB", "AFLT"}
SINUS = {"SR", "STACH", "SBRAD", "SARRH"}
# P waves that are lost, paced, several or beside the beats, or beats of both kinds
UNCLEAR = {"PACE", "PRC(S)", "2AVB", "3AVB", "SVTAC", "PSVT", "SVARR", "BIGU", "TRIGU", "WPW", "PVC", "PAC"}
# sinus rhythms whose P waves are hard to see: all are taken, of the others PLAIN
HARD = {"STACH", "SBRAD", "SARRH", "1AVB", "LPR"}
PLAIN = 500
# MIT-BIH: rhythms in which each conducted beat has a P wave, those in which none has, and beats that have none anywhere
P_RHYTHMS = {"(N", "(B", "(T", "(SBR", "(BII", "(PREX"}
OTHER_RHYTHMS = {"(AFIB", "(AFL", "(NOD", "(VT", "(IVR"}
CONDUCTED, OTHER_BEATS = list("NLRAae"), list("VEjJ/")
_LEAST_BEATS = 4


@dataclass(frozen=True)
class Heard:
    """A record: x (lead, time) in mV at RATE; has_p (beat,): 1 or 0, NaN where it is not known."""

    x: np.ndarray
    beats: Beats
    has_p: np.ndarray


def _heard(recording: Recording, has_p: np.ndarray | float, r: np.ndarray | None = None) -> Heard:
    """r: R peaks in samples of the recording, found unless given; has_p: of each beat, or of all."""
    x, _ = at_rate(recording.signal[None], recording.fs)
    at = find_r(x[0]) if r is None else np.rint(r * RATE / recording.fs).astype(np.int64)
    zeros = np.zeros_like(at)
    beats = Beats(at, zeros, np.full_like(at, x.shape[2]), zeros, np.diff(at, prepend=np.nan) / RATE)
    return Heard(x[0], beats, np.broadcast_to(np.asarray(has_p, float), at.shape))


def ptbxl(folds: Collection[int]) -> list[Heard]:
    """The chosen records of these folds, at 100 Hz."""
    folder = find_database(database("ptbxl"), None)
    table = ptbxl_table(folder)
    chosen = _chosen(table[table["strat_fold"].isin(folds)])
    rows, headers = ptbxl_rows(table), headers_in("ptbxl", folder)
    out = []
    for name, answer in chosen.items():
        heard = _heard(read_ptbxl(headers[name], rows[name]), answer)
        if len(heard.has_p) >= _LEAST_BEATS:
            out.append(heard)
    return out


def _chosen(table: pd.DataFrame) -> dict[str, bool]:
    """Record name at 100 Hz to whether it has P waves."""
    out: dict[str, bool] = {}
    plain = 0
    for name, codes in zip(table["record100"], map(set, table["scp_codes"]), strict=True):
        if codes & UNCLEAR or bool(codes & WITHOUT_P) == bool(codes & SINUS):
            continue
        if codes & SINUS and not codes & HARD:
            plain += 1
            if plain > PLAIN:
                continue
        out[name] = not codes & WITHOUT_P
    return out


def mitdb() -> list[Heard]:
    """All records, R as annotated."""
    folder = find_database(database("mitdb"), None)
    out = []
    for path in sorted(folder.glob("*.hea")):
        (recording,) = read_records(database("mitdb"), folder, (path.stem,), [], swap_leads=True)
        marks = recording.annotations.beats()
        sample, first = np.unique(marks.sample, return_index=True)
        symbol = marks.symbol[first]
        rhythm = np.full(len(sample), "", "U8")
        for start, stop, name in recording.rhythm_spans():
            rhythm[(sample >= start) & (sample < stop)] = name
        has_p = np.full(len(sample), np.nan)
        has_p[np.isin(rhythm, list(P_RHYTHMS)) & np.isin(symbol, CONDUCTED)] = 1
        has_p[np.isin(rhythm, list(OTHER_RHYTHMS)) | np.isin(symbol, OTHER_BEATS)] = 0
        out.append(_heard(recording, has_p, sample))
    return out


def said(parts: list[Heard], rows: list[int], weights: Weights) -> str:
    """How many of the beats get a P wave with these leads, by whether they have one."""
    claimed: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for heard in parts:
        beats = heard.beats
        zeros = np.zeros_like(beats.r)
        one = Stretches(zeros, beats.r, zeros[:1], np.array([heard.x.shape[1]]), zeros, beats.r / RATE, beats.rr)
        found = delineate_stretches(heard.x[None, rows], RATE, tuple(f"lead {k}" for k in rows), one, weights)
        there = (found.onset["P"] >= 0).any(axis=1)
        for has_p in (True, False):
            claimed[has_p].append(there[heard.has_p == has_p])
    return ", ".join(
        f"{what}: P claimed in {np.concatenate(claimed[has_p]).mean():.1%} of {sum(map(len, claimed[has_p]))} beats "
        f"({sum(map(bool, map(len, claimed[has_p])))} records)"
        for has_p, what in ((True, "with P"), (False, "without"))
    )
