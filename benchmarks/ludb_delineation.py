"""How far the delineation is from LUDB's experts, beside NeuroKit2's: `python benchmarks/ludb_delineation.py [--even]`.

Without --even on the odd records, on which it was fitted; with it on the even ones, which no fit saw (docs/results/waves.md
says how often they were looked at). NeuroKit2 (`pip install neurokit2`) is left out with a word where it is not installed, and
by --alone.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd

from ecglens.analysis.delineation import Delineation, delineate
from ecglens.recordings.databases import database
from ecglens.recordings.ludb_reader import read_ludb
from ecglens.recordings.places import find_database
from ecglens.recordings.recording import Recording

LIMITS = "QRS onset 9 ms, offset 12 ms, P found 98 %, P claimed without 15 %"
WAVES = ("P", "QRS", "T")
_ONE_BEAT_S, _P_REACH_S, _T_REACH_S = 0.12, 0.4, 0.7


@dataclass(frozen=True)
class Truth:
    """A record as experts marked it: r (beat,), the median of the leads' QRS peaks; marks (beat, lead) by point, NaN without;
    qrs (beat, lead): where a QRS is drawn. In samples."""

    record: str
    signal: np.ndarray
    fs: float
    leads: tuple[str, ...]
    r: np.ndarray
    marks: dict[str, np.ndarray]
    qrs: np.ndarray

    @property
    def has_p(self) -> np.ndarray:
        """1 where most leads of a beat have a P wave, else 0, (beat,); NaN where it may lie before the first mark."""
        there = ~np.isnan(self.marks["P peak"])
        answer = (there.sum(1) > 0.5 * self.qrs.sum(1)).astype(float)
        if there.any() and not answer[0]:
            answer[0] = np.nan
        return answer


def truth_of(recording: Recording) -> Truth:
    """Beats of a record from its waves: QRS complexes of the leads within 0.12 s are one beat."""
    waves, fs = recording.waves, recording.fs
    assert waves is not None
    peaks = np.sort(waves.peak[waves.kind == "QRS"])
    beats = np.split(peaks, np.flatnonzero(np.diff(peaks) > _ONE_BEAT_S * fs) + 1)
    r = np.rint([np.median(each) for each in beats]).astype(np.int64)
    shape = (len(r), len(recording.leads))
    marks = {f"{wave} {what}": np.full(shape, np.nan) for wave in WAVES for what in ("on", "peak", "off")}
    qrs = np.zeros(shape, bool)
    for column, lead in enumerate(recording.leads):
        mine = np.flatnonzero(waves.lead == lead)
        mine = mine[np.argsort(waves.peak[mine], kind="stable")]
        for place, wave in enumerate(mine):
            if waves.kind[wave] != "QRS":
                continue
            beat = int(np.argmin(np.abs(r - waves.peak[wave])))
            qrs[beat, column] = True
            for other, kind, reach in ((place - 1, "P", _P_REACH_S), (place, "QRS", 1.0), (place + 1, "T", _T_REACH_S)):
                if not 0 <= other < len(mine) or waves.kind[mine[other]] != kind:
                    continue
                start, peak, stop = (int(each[mine[other]]) for each in (waves.start, waves.peak, waves.stop))
                # a few marks belong to another beat's wave
                if start >= 0 and stop >= 0 and abs(peak - r[beat]) < reach * fs and stop - start < 0.5 * fs:
                    for what, value in (("on", start), ("peak", peak), ("off", stop)):
                        marks[f"{kind} {what}"][beat, column] = value
    return Truth(recording.record, recording.signal, fs, recording.leads, r, marks, qrs)


def read_truths(*, odd: bool) -> list[Truth]:
    """LUDB's odd or even records, which have their numbers as names."""
    folder = find_database(database("ludb"), None)
    headers: dict[int, Path] = {int(path.stem): path for path in folder.rglob("*.hea") if path.stem.isdigit()}
    return [truth_of(read_ludb(headers[number])) for number in sorted(headers) if number % 2 == odd]


def scored(truth: Truth, ours: Delineation) -> pd.DataFrame:
    """A row per expert QRS: errors in ms by point; p, t (experts' wave), p_found, t_found (ours overlaps), p_claimed.

    Beats that were not found within 0.12 s have none of ours.
    """
    if len(ours.r):
        near = np.abs(truth.r[:, None] - ours.r[None]).argmin(axis=1)
        hit = np.abs(truth.r - ours.r[near]) <= _ONE_BEAT_S * truth.fs
    else:
        near, hit = np.zeros(len(truth.r), np.int64), np.zeros(len(truth.r), bool)
    row: dict[str, np.ndarray] = {"hit": np.broadcast_to(hit[:, None], truth.qrs.shape)}
    # the strip's first P may lie before the first mark
    row["first"] = np.broadcast_to((np.arange(len(truth.r)) == 0)[:, None], truth.qrs.shape)
    no_p = np.isnan(truth.marks["P peak"]).all()
    for wave in WAVES:
        if len(ours.r):
            on, off = ours.onset[wave][near], ours.offset[wave][near]
            there = hit[:, None] & (on >= 0)
        else:
            on = off = np.full(truth.qrs.shape, -1)
            there = np.zeros(truth.qrs.shape, bool)
        first, last = truth.marks[f"{wave} on"], truth.marks[f"{wave} off"]
        row[f"{wave}"] = ~np.isnan(first)
        row[f"{wave} claimed"] = there
        row[f"{wave} found"] = there & (on <= last) & (off >= first)
        for what, mine, theirs in (("on", on, first), ("off", off, last)):
            # NeuroKit may know one edge only
            row[f"{wave} {what}"] = np.where(there & (mine >= 0), (mine - theirs) / truth.fs * 1000, np.nan)
    table = pd.DataFrame({name: np.asarray(each)[truth.qrs] for name, each in row.items()})
    return table.assign(record=truth.record, no_p=no_p)


def figures(parts: list[pd.DataFrame]) -> str:
    """The tables of one way of delineating, in words."""
    table = pd.concat(parts, ignore_index=True)
    lines = [f"  {len(table)} QRS marks, {1 - table['hit'].mean():.2%} of them in beats that were not found"]
    for wave in WAVES:
        for what, name in (("on", "onset"), ("off", "offset")):
            error = table[f"{wave} {what}"].dropna()
            size = error.abs()
            lines.append(
                f"  {wave:3} {name:6}: median absolute error {size.median():4.1f} ms, mean {size.mean():4.1f}, "
                f"90 % within {size.quantile(0.9):4.0f}, median error {error.median():+.0f}"
            )
    for wave in ("P", "T"):
        drawn = table[table[wave]]
        claimed, overlaps = (drawn[f"{wave} {what}"].mean() for what in ("claimed", "found"))
        lines.append(f"  {wave} claimed where drawn {claimed:.1%}, overlapping it {overlaps:.1%}")
    none, other = table[table["no_p"]], table[~table["no_p"] & ~table["P"] & ~table["first"]]
    by_record = none.groupby("record")["P claimed"].mean()
    lines.append(
        f"  P claimed in the {len(by_record)} records without P: {none['P claimed'].mean():.1%} of marks (by record, %: "
        + ", ".join(f"{name} {100 * share:.0f}" for name, share in by_record.items() if share)
        + f"); on other marks without P, first beats aside: {other['P claimed'].mean():.1%}"
    )
    return "\n".join(lines)


def neurokit(truth: Truth, r: np.ndarray | None) -> Delineation:
    """NeuroKit2's cleaning, R peaks of II (unless given) and fastest delineation of each lead by itself, as it comes."""
    import neurokit2 as nk

    peaks = r
    if peaks is None:
        peaks = nk.ecg_peaks(nk.ecg_clean(truth.signal[1], truth.fs), truth.fs)[1]["ECG_R_Peaks"]
    shape = (len(peaks), len(truth.leads))
    onset, offset = ({wave: np.full(shape, -1) for wave in WAVES} for _ in range(2))
    for column in range(len(truth.leads)):
        try:
            clean = nk.ecg_clean(truth.signal[column].astype(float), truth.fs)
            _, found = nk.ecg_delineate(clean, np.asarray(peaks), sampling_rate=int(truth.fs), method="prominence")
        except Exception as error:  # what users report (NeuroKit issues 309, 472, 532, 1006): any error may come
            print(f"  neurokit2: record {truth.record} lead {truth.leads[column]}: {type(error).__name__}")
            continue
        for wave, name in (("P", "P"), ("QRS", "R"), ("T", "T")):
            for out, what in ((onset, "Onsets"), (offset, "Offsets")):
                values = np.asarray(found[f"ECG_{name}_{what}"], float)
                out[wave][: len(values), column] = np.where(np.isnan(values), -1, values)
    return Delineation(
        truth.fs, truth.leads, np.asarray(peaks), np.zeros(shape[0], np.int64), onset, offset, np.zeros(shape, np.int8)
    )


@click.command()
@click.option("--even", is_flag=True, help="The even records, which took no part in any choice.")
@click.option("--alone", is_flag=True, help="Without NeuroKit2.")
def main(even: bool, alone: bool) -> None:
    """Print all tables."""
    warnings.simplefilter("ignore")
    truths = read_truths(odd=not even)
    print(f"LUDB, {len(truths)} {'even' if even else 'odd'} records, 12 leads; goals: {LIMITS}")
    ways = {"ecglens": lambda truth, r: delineate(truth.signal, truth.fs, truth.leads, r), "neurokit2 prominence": neurokit}
    try:
        if alone:
            raise ImportError("asked for alone")
        import neurokit2
    except ImportError as error:
        print(f"neurokit2 left out: {error}")
        del ways["neurokit2 prominence"]
    else:
        print(f"neurokit2 {neurokit2.__version__}")
    for given in (True, False):
        for name, way in ways.items():
            started = time.perf_counter()
            parts = [scored(truth, way(truth, truth.r if given else None)) for truth in truths]
            seconds = time.perf_counter() - started
            beats = sum(len(part) for part in parts)
            print(f"{name}, R peaks {'given' if given else 'found'} ({1000 * seconds / beats:.2f} ms per beat and lead)")
            print(figures(parts))


if __name__ == "__main__":
    main()
