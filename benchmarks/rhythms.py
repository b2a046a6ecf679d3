"""Beats of PTB-XL with and without P waves, as told by the record's rhythm: none in atrial fibrillation and flutter."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from ecglens.analysis.delineation import Stretches, at_rate, delineate_stretches
from ecglens.analysis.r_peaks import find_r
from ecglens.analysis.wave_chain import Beats, Weights
from ecglens.analysis.wave_measures import RATE
from ecglens.recordings.databases import database
from ecglens.recordings.places import find_database
from ecglens.recordings.ptbxl_reader import ptbxl_rows, ptbxl_table, read_ptbxl
from ecglens.recordings.twelve_readers import headers_in

Rhythms = list[tuple[np.ndarray, Beats, bool]]
WITHOUT_P = {"AFIB", "AFLT"}
SINUS = {"SR", "STACH", "SBRAD", "SARRH"}
# P waves that are lost, paced, several or beside the beats
UNCLEAR = {"PACE", "PRC(S)", "2AVB", "3AVB", "SVTAC", "PSVT", "SVARR", "BIGU", "TRIGU", "WPW"}
# sinus rhythms whose P waves are hard to see: all are taken, of the others PLAIN
HARD = {"STACH", "SBRAD", "SARRH", "1AVB", "LPR", "PVC", "PAC"}
PLAIN = 500
_LEAST_BEATS = 4


def rhythms(folds: Collection[int]) -> Rhythms:
    """(12 leads in mV at RATE, beats as found, whether they have P waves) of each chosen record of these folds."""
    folder = find_database(database("ptbxl"), None)
    table = ptbxl_table(folder)
    chosen = _chosen(table[table["strat_fold"].isin(folds)])
    rows, headers = ptbxl_rows(table), headers_in("ptbxl", folder)
    out = []
    for name, has_p in chosen.items():
        recording = read_ptbxl(headers[name], rows[name])
        x, _ = at_rate(recording.signal[None], recording.fs)
        r = np.unique(np.rint(find_r(x[0])).astype(np.int64).clip(0, x.shape[2] - 1))
        if len(r) >= _LEAST_BEATS:
            zeros = np.zeros_like(r)
            out.append((x[0], Beats(r, zeros, np.full_like(r, x.shape[2]), zeros, np.diff(r, prepend=np.nan) / RATE), has_p))
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


def said(parts: Rhythms, rows: list[int], weights: Weights | None = None) -> str:
    """How many of the beats get a P wave with these leads, by whether they have one."""
    claimed: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for x, beats, has_p in parts:
        zeros = np.zeros_like(beats.r)
        one = Stretches(zeros, beats.r, zeros[:1], np.array([x.shape[1]]), zeros, beats.r / RATE, beats.rr)
        found = delineate_stretches(x[None, rows], RATE, tuple(f"lead {k}" for k in rows), one, weights)
        claimed[has_p].append((found.onset["P"] >= 0).any(axis=1))
    return ", ".join(
        f"{what}: P claimed in {np.concatenate(claimed[has_p]).mean():.1%} of {sum(map(len, claimed[has_p]))} beats "
        f"({len(claimed[has_p])} records)"
        for has_p, what in ((True, "sinus rhythm"), (False, "fibrillation and flutter"))
    )
