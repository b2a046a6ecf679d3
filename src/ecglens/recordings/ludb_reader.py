"""LUDB: twelve leads, and the boundaries of P, QRS and T that cardiologists drew in each lead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ecglens.errors import EcglensError
from ecglens.recordings.challenge_header import Clinical, read_age, read_sex
from ecglens.recordings.recording import Recording, Waves
from ecglens.recordings.sixteen import Header, read_header, read_samples
from ecglens.recordings.twelve import STANDARD
from ecglens.recordings.twelve_record import scaled, twelve_recording

_WAVES = {"p": "P", "N": "QRS", "t": "T"}
USUAL_GAIN = 1000.0  # per mV; see `read_ludb`


def read_ludb(path: Path, *, database: str = "ludb") -> Recording:
    """Read one record from its header `path`, such as data/1.hea.

    signal: float32 (lead, time) in mV. The publisher's gains stretch every lead to a height of exactly 1 'mV', by which the
    limb leads do not sum (III = II - I); the samples do, to the unit, and their size fits 1000/mV: that is taken for all, with
    a remark, and the baselines with it are 0. diagnoses: the header's lines. waves: see `ludb_waves`; where their files are
    missing or damaged, a remark instead. Raises EcglensError where the signal's are. Source: Kalyakulina et al., IEEE Access
    8:186181, 2020.
    """
    header = read_header(path)
    what = scaled(header, read_samples(header, path.parent), USUAL_GAIN)
    recording = twelve_recording(what, header.fs, database, path.stem, f"{database}/{path.stem}", _about(header))
    try:
        waves, odd = ludb_waves(path, recording.signal.shape[1])
    except EcglensError as error:
        return replace(recording, remarks=(*recording.remarks, f"without waves: {error}"))
    more = (f"waves as drawn: {odd[0]}{f'; and {len(odd) - 1} more' if len(odd) > 1 else ''}",) if odd else ()
    return replace(recording, waves=waves, remarks=(*recording.remarks, *more))


def ludb_waves(path: Path, n_samples: int) -> tuple[Waves, tuple[str, ...]]:
    """(waves of all leads, remarks), for the header `path` of a signal of `n_samples`.

    Waves are drawn in the middle of the strip only. Raises EcglensError where an annotation file is missing or damaged, or is
    of a longer signal.
    """
    import wfdb

    found: list[_Row] = []
    remarks: list[str] = []
    for lead in STANDARD:
        ending = lead.lower()
        if not path.with_suffix(f".{ending}").is_file():
            raise EcglensError(f"{path.stem}.{ending} is missing in {path.parent}: the waves of lead {lead}; fetch it again")
        try:
            marks = wfdb.rdann(str(path.with_suffix("")), ending)
        except (ValueError, IndexError, KeyError, TypeError, OSError) as error:
            reason = " ".join(str(error).split())[:80]
            raise EcglensError(f"{path.stem}.{ending} cannot be read ({reason}): damaged; fetch it again") from None
        waves, odd = _waves(lead, np.asarray(marks.sample), list(marks.symbol))
        if any(max(places) >= n_samples for _, _, *places in waves):
            raise EcglensError(f"{path.stem}.{ending} has a wave behind the signal's end; the files do not belong together")
        found += waves
        remarks += [f"{path.stem}.{ending}: {each}" for each in odd]
    leads, kinds = (np.array([row[place] for row in found], np.str_) for place in (0, 1))
    starts, peaks, stops = (np.array([row[place] for row in found], np.int64) for place in (2, 3, 4))
    return Waves(leads, kinds, starts, peaks, stops), tuple(remarks)


_Row = tuple[str, str, int, int, int]


def _waves(lead: str, samples: np.ndarray, symbols: list[str]) -> tuple[list[_Row], list[str]]:
    """(lead, kind, start, peak, stop) of each wave, and what is odd.

    Peaks with the '(' just before and the ')' just after, where there are such; else with an empty '()' beside the peak.
    """
    waves, odd = [], []
    for place, symbol in enumerate(symbols):
        if symbol in _WAVES:
            before = place > 0 and symbols[place - 1] == "("
            after = place + 1 < len(symbols) and symbols[place + 1] == ")"
            start, stop = int(samples[place - 1]) if before else -1, int(samples[place + 1]) if after else -1
            if not before and not after:
                for first in (place + 1, place - 2):
                    if first >= 0 and symbols[first : first + 2] == ["(", ")"]:
                        start, stop = int(samples[first]), int(samples[first + 1])
                        odd.append(f"{_WAVES[symbol]} from {start} to {stop} has its peak outside, at sample {samples[place]}")
                        break
            waves.append((lead, _WAVES[symbol], start, int(samples[place]), stop))
            if start < 0 or stop < 0:
                missing = "end" if start >= 0 else "start" if stop >= 0 else "start and end"
                odd.append(f"{_WAVES[symbol]} at sample {samples[place]} has no {missing}")
        elif symbol not in "()":
            odd.append(f"mark {symbol!r} at sample {samples[place]} is no wave and left out")
    return waves, odd


def _about(header: Header) -> Clinical:
    """'<age>: 51', '<sex>: F', then the diagnoses, a line each."""
    lines = list(header.comments)
    said = {name: line for line in lines for name in ("<age>:", "<sex>:", "<diagnoses>:") if line.startswith(name)}
    age, age_remark = read_age(said.get("<age>:", "").removeprefix("<age>:"))
    sex, sex_remark = read_sex(said.get("<sex>:", "").removeprefix("<sex>:"))
    diagnoses = tuple(line.strip().rstrip(".") for line in lines if line not in said.values() and line.strip())
    return Clinical(age, sex, diagnoses, tuple(each for each in (age_remark, sex_remark) if each))
