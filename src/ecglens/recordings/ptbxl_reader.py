"""PTB-XL in its official folder: `ptbxl_database.csv`, `scp_statements.csv`, `records100/`, `records500/`."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecglens.errors import EcglensError
from ecglens.recordings.challenge_header import Clinical, read_age
from ecglens.recordings.recording import Recording
from ecglens.recordings.sixteen import read_header, read_samples
from ecglens.recordings.twelve_record import scaled, twelve_recording

if TYPE_CHECKING:
    import pandas as pd

TABLE, STATEMENTS = "ptbxl_database.csv", "scp_statements.csv"
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
_SEXES = {"0": "M", "1": "F"}
_NEEDED = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_lr", "filename_hr")


def ptbxl_table(folder: Path) -> pd.DataFrame:
    """One row per ECG, by ecg_id: patient, age, sex, strat_fold, scp_codes, heart_axis, superclasses, record100, record500,
    report. Rows that cannot be read are left out: see `ptbxl_left_out`.

    scp_codes: dict of code to likelihood in %, all that are there; rhythm statements have likelihood 0 by design, so 0 is no
    'no'. superclasses: tuple, in the order of SUPERCLASSES, of the diagnostic codes whatever their likelihood. heart_axis: as
    in the file, '' where it is empty. age: NaN where unknown or hidden (300: above 89; the column remark says which). Raises
    EcglensError where a file is missing, no row can be read, or two are of one ecg_id. Source: Wagner et al., Sci Data 7:154,
    2020.
    """
    return _table(folder)[0].copy()


def ptbxl_left_out(folder: Path) -> dict[str, str]:
    """Record name (at both rates) to the reason, for each row of the table that cannot be read."""
    return dict(_table(folder)[1])


def _table(folder: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read once for as long as the files are the same."""
    return _read(folder, *(_state(folder / name) for name in (TABLE, STATEMENTS)))


def _state(path: Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except OSError:
        return -1, 0  # the reading says what is wrong
    return about.st_size, about.st_mtime_ns


@lru_cache(maxsize=2)
def _read(folder: Path, *_: tuple[int, int]) -> tuple[pd.DataFrame, dict[str, str]]:
    import pandas as pd

    raw = _csv(folder / TABLE)
    lacking = [name for name in _NEEDED if name not in raw.columns]
    if lacking:
        raise EcglensError(f"{folder / TABLE} has no column {', '.join(lacking)}; expected PTB-XL's table; fetch it again")
    classes = ptbxl_superclasses(folder)
    for name in ("heart_axis", "report"):
        if name not in raw.columns:
            raw[name] = ""
    rows, ids = [], []
    left_out: dict[str, str] = {}
    for row in raw[[*_NEEDED, "heart_axis", "report"]].itertuples(index=False):
        names = [Path(name).name for name in (row.filename_lr, row.filename_hr)]
        try:
            rows.append(_row(row, names, classes, folder))
            ids.append(int(_whole(row.ecg_id, "ecg_id", row.ecg_id, folder)))
        except EcglensError as error:
            left_out |= {name: str(error) for name in names}
            del rows[len(ids) :]
    if not rows:
        reason = f"{folder / TABLE} has no row; expected one for each record; fetch it again"
        raise EcglensError(next(iter(left_out.values()), reason))
    table = pd.DataFrame(rows, index=pd.Index(ids, name="ecg_id"))
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise EcglensError(f"{folder / TABLE} has two rows of ecg_id {twice}; fetch it again")
    return table, left_out


def _row(row: Any, names: list[str], classes: dict[str, str], folder: Path) -> dict[str, object]:
    """One row of the table; raises EcglensError where it cannot be read."""
    codes = _codes(row.scp_codes, row.ecg_id, folder)
    age, remark = read_age(row.age)
    found = {classes[code] for code in codes if code in classes}
    return {
        "patient": _whole(row.patient_id, "patient_id", row.ecg_id, folder),
        "age": float("nan") if age is None else age,
        "sex": _SEXES.get(row.sex.removesuffix(".0")),
        "strat_fold": int(_whole(row.strat_fold, "strat_fold", row.ecg_id, folder)),
        "scp_codes": codes,
        "heart_axis": row.heart_axis.strip(),
        "superclasses": tuple(name for name in SUPERCLASSES if name in found),
        "record100": names[0],
        "record500": names[1],
        "remark": remark,
        "report": row.report,
    }


def ptbxl_superclasses(folder: Path) -> dict[str, str]:
    """Superclass (NORM, MI, STTC, CD, HYP) of each diagnostic SCP code, from `scp_statements.csv`."""
    raw = _csv(folder / STATEMENTS)
    if not {"diagnostic", "diagnostic_class"} <= set(raw.columns):
        raise EcglensError(f"{folder / STATEMENTS} has no column diagnostic or diagnostic_class; fetch it again")
    rows = zip(raw[raw.columns[0]], raw["diagnostic"], raw["diagnostic_class"], strict=True)
    return {code: name for code, diagnostic, name in rows if diagnostic in ("1", "1.0") and name}


@dataclass(frozen=True)
class PtbxlRow:
    """What the table says of one record; heart_axis '' where it does not; `remark` on its age."""

    patient: str
    age: float | None
    sex: str | None
    scp_codes: dict[str, float]
    heart_axis: str = ""
    remark: str | None = None


def ptbxl_rows(table: pd.DataFrame) -> dict[str, PtbxlRow]:
    """The rows of `ptbxl_table` by record name, at both rates."""
    found = {}
    columns = ("patient", "age", "sex", "scp_codes", "heart_axis", "remark", "record100", "record500")
    for patient, age, sex, codes, axis, remark, low, high in zip(*(table[name] for name in columns), strict=True):
        row = PtbxlRow(patient, None if age != age else float(age), sex, codes, axis, remark)
        found[low] = found[high] = row
    return found


def read_ptbxl(path: Path, row: PtbxlRow, *, database: str = "ptbxl") -> Recording:
    """Read one record from its header `path`, such as records100/00000/00001_lr.hea.

    signal: float32 (lead, time) in mV; patient: 'ptbxl/' and the publisher's number; diagnoses: all SCP codes, whatever their
    likelihood, then 'heart_axis=LAD' or what the table says of it; likelihoods: those of the codes, NaN for the axis. Raises
    EcglensError where files are missing or damaged, or amplitudes are not an ECG's.
    """
    header = read_header(path)
    what = scaled(header, read_samples(header, path.parent), None)
    axis = (f"heart_axis={row.heart_axis}",) if row.heart_axis else ()
    about = Clinical(row.age, row.sex, (*row.scp_codes, *axis), (row.remark,) if row.remark else ())
    made = twelve_recording(what, header.fs, database, path.stem, f"{database}/{row.patient}", about)
    return replace(made, likelihoods=(*row.scp_codes.values(), *(math.nan for _ in axis)))


def _codes(text: str, ecg_id: str, folder: Path) -> dict[str, float]:
    try:
        value = ast.literal_eval(text)
        return {str(code): float(likelihood) for code, likelihood in value.items()}
    except (ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError):
        raise EcglensError(
            f"{folder / TABLE}: scp_codes of ecg_id {ecg_id} is {text[:40]!r}; expected {{'NORM': 100.0}} or so"
        ) from None


def _whole(text: str, column: str, ecg_id: str, folder: Path) -> str:
    number = text.strip().removesuffix(".0")
    if not number.isdecimal():
        raise EcglensError(
            f"{folder / TABLE}: {column} of ecg_id {ecg_id} is {text!r}; expected a whole number; fetch it again"
        )
    return number


def _csv(path: Path) -> pd.DataFrame:
    """All cells as text, '' where empty."""
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise EcglensError(f"{path.name} is missing in {path.parent}; it is part of PTB-XL's official folder") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise EcglensError(f"{path} cannot be read ({reason}); fetch it again") from None


def ptbxl_folds(folder: Path) -> dict[str, int]:
    """The publisher's fold, 1 to 10, of each record by the names of both its files; no patient is in two folds."""
    table = ptbxl_table(folder)
    return {
        name: int(fold)
        for column in ("record100", "record500")
        for name, fold in zip(table[column], table["strat_fold"], strict=True)
    }
