"""The twelve standard leads: their names in any order and spelling, and the limb leads' sums."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError

LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")
STANDARD = (*LIMB, "V1", "V2", "V3", "V4", "V5", "V6")

# C1 to C6: chest leads in IEC colour codes; DI to DIII: Einthoven's in Romance languages
_SPELLED = {name.lower(): name for name in STANDARD} | {f"c{n}": f"V{n}" for n in range(1, 7)}
_SPELLED |= {"di": "I", "dii": "II", "diii": "III"}
_BEFORE = ("mdc_ecg_lead_", "lead", "ecg")

# Share of the limb leads' size that may be missing in their sums: all 3,384 shared twelve-lead records have under .025
_LIMIT = 0.1


def standard_name(name: str) -> str | None:
    """The standard name of a lead, such as 'aVR' for 'AVR', 'avr' or 'Lead aVR'; None where it is no standard lead."""
    word = name.strip().lower()
    for before in _BEFORE:
        if word.startswith(before) and len(word) > len(before):
            word = word.removeprefix(before).lstrip(" _-:")
            break
    return _SPELLED.get(word)


def standard_order(names: Sequence[str], record: str) -> tuple[list[int], tuple[str, ...], tuple[str, ...]]:
    """(row of each standard lead that is there, in the standard order; their names; remarks).

    Leads that are missing, and leads that are not among the twelve and so are left out, are remarks. Raises EcglensError where
    two rows have one name or none is a standard lead.
    """
    found: dict[str, int] = {}
    others = []
    for row, name in enumerate(names):
        lead = standard_name(name)
        if lead is None:
            others.append(name or "(no name)")
        elif lead in found:
            raise EcglensError(
                f"{record}: rows {found[lead] + 1} and {row + 1} are both called lead {lead}; which is which cannot be told: "
                "expected twelve names, each once; mend the header"
            )
        else:
            found[lead] = row
    if not found:
        raise EcglensError(f"{record}: no lead is one of {', '.join(STANDARD)}; found {', '.join(others) or 'none'}")
    leads = tuple(lead for lead in STANDARD if lead in found)
    missing = [lead for lead in STANDARD if lead not in found]
    remarks = []
    if missing:
        remarks.append(f"without {'lead' if len(missing) == 1 else 'leads'} {', '.join(missing)}")
    if others:
        remarks.append(f"{', '.join(others)} left out: not of the twelve standard leads")
    return [found[lead] for lead in leads], leads, tuple(remarks)


def limb_error(signal: NDArray[np.float32], leads: Sequence[str]) -> float:
    """How far the limb leads are from Einthoven's and Goldberger's sums: 0 is exact, about 1 is none of it.

    The largest of: rms of (sum - lead) / rms of the limb leads that are there. signal: (lead, time); NaN where neither
    I, II and III, nor two of them and an augmented lead, are there, or all is flat.
    """
    rows = [lead for lead in LIMB if lead in leads]
    return _error(_products(signal, leads), rows, rows)


def check_limb(signal: NDArray[np.float32], leads: Sequence[str], record: str) -> tuple[str, ...]:
    """Remarks on limb leads that do not sum as they must; none where they do.

    Raises EcglensError where two names swapped, or one lead turned over, would make them sum: then the names are wrong and
    every later map would be of another lead. Electrodes swapped on the body keep the sums and cannot be seen here.
    """
    rows = [lead for lead in LIMB if lead in leads]
    products = _products(signal, leads)
    found = _error(products, rows, rows)
    if not found > _LIMIT:
        return ()
    fits = []
    for first, second in combinations(rows, 2):
        named = [second if row == first else first if row == second else row for row in rows]
        fits.append((_error(products, rows, named), f"leads {first} and {second} swapped by name"))
    for row in rows:
        signs = np.where(np.array(rows) == row, -1.0, 1.0)
        fits.append((_error(products * np.outer(signs, signs), rows, rows), f"lead {row} turned over"))
    fits.sort()
    fitting = [what for error, what in fits if error < _LIMIT and error < found / 3]
    if fitting:
        raise EcglensError(
            f"{record}: limb leads do not sum (III = II - I and so on are off by {found:.0%} of their size); "
            f"{' or '.join(fitting)} would fit; mend the header"
        )
    return (f"limb leads do not sum: off by {found:.0%} of their size; filtered or scaled lead by lead, or badly recorded",)


def _products(signal: NDArray[np.float32], leads: Sequence[str]) -> NDArray[np.float64]:
    """Every limb lead times every other, summed over time: all that the errors of any naming need."""
    rows = [list(leads).index(lead) for lead in LIMB if lead in leads]
    limb = signal[rows].astype(np.float64)
    limb = limb[:, ~np.isnan(limb).any(axis=0)]
    if limb.shape[1]:
        limb -= limb.mean(axis=1, keepdims=True)
    return np.asarray(limb @ limb.T)


_SUMS: tuple[dict[str, float], ...] = (
    {"I": 1, "II": -1, "III": 1},
    {"aVR": 1, "I": 0.5, "II": 0.5},
    {"aVL": 1, "I": -0.5, "III": 0.5},
    {"aVF": 1, "II": -0.5, "III": -0.5},
    {"aVR": 1, "aVL": 1, "aVF": 1},
)


def _error(products: NDArray[np.float64], rows: list[str], named: list[str]) -> float:
    """The error where the lead in place i of `rows` is called named[i]."""
    size = np.trace(products) / max(len(rows), 1)
    if not size > 0:
        return float("nan")
    worst = float("nan")
    for weights in _SUMS:
        if set(weights) <= set(rows):
            each = np.array([weights.get(name, 0.0) for name in named])
            error = float(np.sqrt(max(each @ products @ each, 0) / size))
            worst = error if not worst >= error else worst
    return worst
