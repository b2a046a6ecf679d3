"""LUDB: twelve leads, and the boundaries of P, QRS and T that cardiologists drew in each lead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecglens.errors import EcglensError
from ecglens.recordings.challenge_header import Clinical, read_age, read_sex
from ecglens.recordings.recording import Recording
from ecglens.recordings.sixteen import Header, read_header, read_samples
from ecglens.recordings.twelve import STANDARD
from ecglens.recordings.twelve_record import scaled, twelve_recording

WAVES = {"p": "P", "N": "QRS", "t": "T"}
USUAL_GAIN = 1000.0  # per mV; see `read_ludb`


@dataclass(frozen=True)
class Wave:
    """One wave of one lead: 'P', 'QRS' or 'T'; start, peak and stop are samples, stop the last one of the wave.

    start or stop is None where the cardiologist drew none. A few peaks lie a sample or three outside.
    """

    lead: str
    wave: str
    start: int | None
    peak: int
    stop: int | None


def read_ludb(path: Path, *, database: str = "ludb") -> Recording:
    """Read one record from its header `path`, such as data/1.hea.

    signal: float32 (lead, time) in mV. The publisher's gains stretch every lead to a height of exactly 1 'mV', by which the
    limb leads do not sum (III = II - I); the samples do, to the unit, and their size fits 1000/mV: that is taken for all, with
    a remark, and the baselines with it are 0. diagnoses: the header's lines. Raises EcglensError where files are missing or
    damaged. Source: Kalyakulina et al., IEEE Access 8:186181, 2020.
    """
    header = read_header(path)
    what = scaled(header, read_samples(header, path.parent), USUAL_GAIN)
    return twelve_recording(what, header.fs, database, path.stem, f"{database}/{path.stem}", _about(header))


def ludb_waves(path: Path) -> tuple[list[Wave], tuple[str, ...]]:
    """(waves of all leads in the order of time within each lead, remarks), for the header `path`.

    Waves are drawn in the middle of the strip only. Raises EcglensError where an annotation file is missing or damaged.
    """
    import wfdb

    header, found, remarks = read_header(path), [], []
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
        if any(wave.peak >= (header.n_samples or wave.peak + 1) for wave in waves):
            raise EcglensError(f"{path.stem}.{ending} has a wave behind the signal's end; the files do not belong together")
        found += waves
        remarks += [f"{path.stem}.{ending}: {each}" for each in odd]
    return found, tuple(remarks)


def _waves(lead: str, samples: np.ndarray, symbols: list[str]) -> tuple[list[Wave], list[str]]:
    """Peaks with the '(' just before and the ')' just after, where there are such; else with an empty '()' beside the peak."""
    waves, odd = [], []
    for place, symbol in enumerate(symbols):
        if symbol in WAVES:
            before = place > 0 and symbols[place - 1] == "("
            after = place + 1 < len(symbols) and symbols[place + 1] == ")"
            start, stop = int(samples[place - 1]) if before else None, int(samples[place + 1]) if after else None
            if not before and not after:
                for first in (place + 1, place - 2):
                    if first >= 0 and symbols[first : first + 2] == ["(", ")"]:
                        start, stop = int(samples[first]), int(samples[first + 1])
                        odd.append(f"{WAVES[symbol]} from {start} to {stop} has its peak outside, at sample {samples[place]}")
                        break
            waves.append(Wave(lead, WAVES[symbol], start, int(samples[place]), stop))
            if start is None or stop is None:
                missing = "end" if start is not None else "start" if stop is not None else "start and end"
                odd.append(f"{WAVES[symbol]} at sample {samples[place]} has no {missing}")
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
