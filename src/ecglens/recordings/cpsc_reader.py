"""CPSC2018 in its own format: a MATLAB struct `ECG` (sex, age, data in mV) for each record, and REFERENCE.csv."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from ecglens.errors import EcglensError
from ecglens.recordings.challenge_header import Clinical, cpsc_table, read_age, read_sex
from ecglens.recordings.matlab import mat_arrays
from ecglens.recordings.recording import Recording
from ecglens.recordings.twelve import STANDARD
from ecglens.recordings.twelve_record import from_millivolts, twelve_recording

FS = 500.0
REFERENCE = "REFERENCE.csv"


def read_cpsc(path: Path, diagnoses: tuple[str, ...] | None, *, database: str = "cpsc2018") -> Recording:
    """Read one record from its file `path`, such as TrainingSet1/A0001.mat.

    signal: float32 (lead, time) in mV at 500 Hz, which the file does not say; its rows are I, II, III, aVR, aVL, aVF, V1-V6.
    diagnoses: see `cpsc_labels`; None where REFERENCE.csv has no row of it. Raises EcglensError where the file is damaged or
    not in the format. Source: Liu et al., J. Med. Imaging Health Inform. 8:1368, 2018.
    """
    values = mat_arrays(path).get("ECG")
    if not isinstance(values, dict) or "data" not in values:
        raise EcglensError(
            f"{path.name} has no struct ECG with the field data; expected CPSC2018's own format; fetch it again"
        )
    data = values["data"]
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[0] != len(STANDARD):
        found = f"of shape {data.shape}" if isinstance(data, np.ndarray) else "no array of numbers"
        raise EcglensError(f"{path.name}: ECG.data is {found}; expected twelve leads by time")
    what = from_millivolts(data, STANDARD, FS, path.stem)
    age, age_remark = read_age(_text(values.get("age")))
    sex, sex_remark = read_sex(_text(values.get("sex")))
    remarks = [each for each in (age_remark, sex_remark) if each]
    if diagnoses is None:
        remarks.append(f"no label: {REFERENCE} has no row of it")
    about = Clinical(age, sex, diagnoses or (), tuple(remarks))
    return twelve_recording(what, FS, database, path.stem, f"{database}/{path.stem}", about)


def cpsc_labels(folder: Path) -> dict[str, tuple[str, ...]]:
    """SNOMED codes of each record, from all REFERENCE.csv in `folder` and its folders: up to three labels of 1 to 9 a record.

    A label that is not 1 to 9 stays as found. Raises EcglensError where there is no such file or it is not in the format.
    """
    paths = sorted([*folder.glob(REFERENCE), *folder.glob(f"*/{REFERENCE}")])
    if not paths:
        raise EcglensError(f"{folder} holds no {REFERENCE}: the labels of CPSC2018 are in it; put it beside the records")
    found: dict[str, tuple[str, ...]] = {}
    for path in paths:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
        if not rows or rows[0][0].strip() != "Recording" or len(rows[0]) < 2:
            raise EcglensError(
                f"{path} does not begin with 'Recording,First_label,...'; expected CPSC2018's table; fetch it again"
            )
        for row in rows[1:]:
            labels = [cell.strip() for cell in row[1:] if cell.strip() and cell.strip().lower() != "nan"]
            found[row[0].strip()] = tuple(_code(label) for label in labels)
    return found


def _code(label: str) -> str:
    number = label.removesuffix(".0")
    return next((row["code"] for row in cpsc_table() if row["number"] == number), label)


def _text(value: Any) -> str:
    """The one number or word of a field."""
    flat = np.asarray("" if value is None else value).reshape(-1)
    return str(flat[0]) if flat.size == 1 else ""
