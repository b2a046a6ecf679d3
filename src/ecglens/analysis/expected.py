"""What cardiology expects to matter for a class, as windows around the R peak, and how much of a map falls there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.regions import mass_inside
from ecglens.examples.examples import Examples


@dataclass(frozen=True)
class Expected:
    """Where the sign of a class lies: windows in s from the R peak, why, and who says so.

    every_beat: around every R of the window, else around the labelled beat alone.
    """

    windows: tuple[tuple[float, float], ...]
    why: str
    source: str
    every_beat: bool = False


_P, _QRS, _WIDE_QRS, _ST_T = (-0.25, -0.06), (-0.06, 0.06), (-0.08, 0.12), (0.12, 0.45)
_SURAWICZ = "Surawicz 2009, AHA/ACCF/HRS part III, Circulation 119:e235"
_AF = "Hindricks 2020, ESC atrial fibrillation, Eur Heart J 42:373"
_SVT = "Page 2016, ACC/AHA/HRS supraventricular tachycardia, Circulation 133:e506"
_BRADY = "Kusumoto 2019, ACC/AHA/HRS bradycardia, Circulation 140:e382"
_BOOK = "Goldberger, Clinical Electrocardiography, 9th ed. 2017"

# A window around R is not a wave: delineated waves come with the audit
EXPECTED = {
    "N": Expected((_P, _QRS), "a P wave before a narrow QRS", _BOOK),
    "PVC": Expected((_P, _WIDE_QRS, _ST_T), "no P wave, a wide QRS, ST and T against it", _BOOK),
    "V": Expected((_P, _WIDE_QRS, _ST_T), "no P wave, a wide QRS, ST and T against it", _BOOK),
    "PAC": Expected(((-0.45, -0.06),), "an early P wave of another shape, often on the T wave before", _BOOK),
    "A": Expected(((-0.45, -0.06),), "an early P wave of another shape, often on the T wave before", _BOOK),
    "LBBB": Expected((_WIDE_QRS, _ST_T), "QRS of 120 ms or more, broad and notched; ST and T against it", _SURAWICZ),
    "L": Expected((_WIDE_QRS, _ST_T), "QRS of 120 ms or more, broad and notched; ST and T against it", _SURAWICZ),
    "RBBB": Expected((_WIDE_QRS,), "QRS of 120 ms or more: rsR' in V1, wide S in I and V6", _SURAWICZ),
    "R": Expected((_WIDE_QRS,), "QRS of 120 ms or more: rsR' in V1, wide S in I and V6", _SURAWICZ),
    "AFIB": Expected((_P,), "no P wave but fibrillation; the irregular RR lies in no one place", _AF, every_beat=True),
    "SVTA": Expected((_P, _QRS), "narrow QRS, P hidden or close; the rate lies in no one place", _SVT, every_beat=True),
    "SBR": Expected((_P, _QRS), "a normal P and QRS; the slow rate lies in no one place", _BRADY, every_beat=True),
}


def expected_spans(examples: Examples) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(True where the sign of the example's class lies, True where it is signal), bool (example, lead, time) each.

    Beats are those of the column "beats_at" where there is one, else the labelled one at "r_index".
    """
    n, n_leads, length = examples.signals.shape
    where = np.zeros((n, 1, length), bool)
    r_index = examples.column("r_index")
    others = examples.column("beats_at") if "beats_at" in examples.table else None
    for row, label in enumerate(examples.labels):
        expected = EXPECTED.get(examples.classes[label])
        if expected is None:
            continue
        beats = [int(r_index[row])]
        if expected.every_beat and others is not None:
            beats = [int(at) for at in str(others[row]).split()]
        for at in beats:
            for first, stop in expected.windows:
                edges = np.clip(np.round([at + first * examples.fs, at + stop * examples.fs]).astype(int), 0, length)
                where[row, 0, edges[0] : edges[1]] = True
    time = np.arange(length)
    valid = (time >= examples.column("valid_start")[:, None]) & (time < examples.column("valid_stop")[:, None])
    shape = (n, n_leads, length)
    return np.broadcast_to(where & valid[:, None], shape), np.broadcast_to(valid[:, None], shape)


def mass_where_expected(
    examples: Examples,
    maps: dict[str, NDArray[np.float32]],
    patients: NDArray[np.str_],
    *,
    seed: int = 0,
    replicates: int = 500,
) -> pd.DataFrame:
    """How much of each map's size lies where the class's sign is expected, by class and method, beside the share of time.

    maps: by method (example, lead or 1, time). Columns class, method, n, patients, share_of_map, share_of_time, enrichment
    (map / time; 1: no more than anywhere), low, high (95 % bootstrap over patients), why, source.
    """
    where, valid = expected_spans(examples)
    time = where[:, 0].sum(1) / np.maximum(valid[:, 0].sum(1), 1)
    rng = np.random.default_rng([seed, 11])
    rows = []
    for method, values in maps.items():
        part = where[:, : values.shape[1]] if values.shape[1] == 1 else where
        mass = mass_inside(values, part)
        for label, name in enumerate(examples.classes):
            mine = np.flatnonzero((examples.labels == label) & ~np.isnan(mass))
            if name not in EXPECTED or not len(mine):
                continue
            who, index = np.unique(patients[mine], return_inverse=True)
            sums = np.stack([np.bincount(index, each[mine], len(who)) for each in (mass, time)])
            drawn = sums[:, rng.integers(len(who), size=(replicates, len(who)))].sum(2)
            low, high = np.quantile(drawn[0] / drawn[1], [0.025, 0.975]) if len(who) > 1 else (np.nan, np.nan)
            expected = EXPECTED[name]
            rows.append(
                {
                    "class": name,
                    "method": method,
                    "n": len(mine),
                    "patients": len(who),
                    "share_of_map": mass[mine].mean(),
                    "share_of_time": time[mine].mean(),
                    "enrichment": mass[mine].mean() / time[mine].mean(),
                    "low": low,
                    "high": high,
                    "why": expected.why,
                    "source": expected.source,
                }
            )
    return pd.DataFrame(rows)
