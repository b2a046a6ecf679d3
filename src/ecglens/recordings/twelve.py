"""The twelve standard leads: their names in any order and spelling, and whether the signals can have them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, product
from statistics import median

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
# In half of the parts hardly a lead that was filtered or scaled has more; names mixed up have .7 and more in all records
_GROSS = 0.65
_PARTS = 10
_FLAT = 0.02  # of the largest limb lead
# What a swap of two chest leads may add to the sum of their neighbours' correlations: 18 of the 3,384 have more
_UNLIKE = 0.5
_CHEST = STANDARD[6:]


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
    rows = tuple(lead for lead in LIMB if lead in leads)
    return _error(_products(signal[[list(leads).index(lead) for lead in rows]])[None], rows)


def check_limb(signal: NDArray[np.float32], leads: Sequence[str], record: str) -> tuple[str, ...]:
    """Remarks on limb leads that do not sum as they must; none where they do.

    Raises EcglensError where two names swapped (limb or chest), three limb names exchanged, or one limb lead turned over would
    make them sum, or where they are so far from it that names must be wrong: then every later map would be of another lead.
    Electrodes swapped on the body keep the sums and cannot be seen here; nor can a swap with a limb lead that is nearly flat.
    """
    found = limb_error(signal, leads)
    if not found > _LIMIT:
        return ()
    # by the median of parts, so that a spike or a lost contact does not look like a wrong name
    parts = np.stack([_products(part) for part in np.array_split(signal, min(_PARTS, signal.shape[1]), axis=1)])
    size = np.sqrt(np.einsum("pii->i", parts))
    largest = max(size[row] for row, lead in enumerate(leads) if lead in LIMB)
    kept = [row for row, lead in enumerate(leads) if lead not in LIMB or size[row] > _FLAT * largest]
    parts, named = parts[:, kept][:, :, kept], tuple(leads[row] for row in kept)
    usual = _error(parts, named)
    if usual > _LIMIT:
        fits = sorted((_error(signs * parts, names), what) for what, names, signs in _mistakes(named))
        fitting = [what for error, what in fits if error < _LIMIT and error < usual / 3]
        complaint = f"{record}: limb leads do not sum (III = II - I and so on are off by {usual:.0%} of their size); "
        if fitting:
            raise EcglensError(f"{complaint}{' or '.join(fitting[:3])} would fit; mend the header")
        if usual > _GROSS:
            raise EcglensError(
                f"{complaint}no swap of two names mends it; expected the standard leads by their names and in mV: the names "
                "are mixed up, or leads were scaled one by one, or are of other records; mend the header"
            )
    return (f"limb leads do not sum: off by {found:.0%} of their size; filtered or scaled lead by lead, or badly recorded",)


def check_chest(signal: NDArray[np.float32], leads: Sequence[str], fs: float) -> tuple[str, ...]:
    """A remark where two chest leads would be much more like their neighbours if their names were swapped.

    No sum binds V1 to V6, so this is a suspicion. On 3,384 shared records it says so of 18 (perhaps swapped on the
    body); of swaps by name it finds 66 % (V1 with V5: 98 %, V5 with V6: 2 %). Nothing is said unless all six are there.
    """
    if any(lead not in leads for lead in _CHEST):
        return ()
    rows = [list(leads).index(lead) for lead in _CHEST]
    # changes over 10 ms: drift does not count
    some = signal[rows, :: max(round(fs / 100), 1)]
    steps = some[:, 1:] - some[:, :-1]
    like = steps @ steps.T
    if np.isnan(like).any():
        steps = steps[:, ~np.isnan(steps).any(axis=0)]
        like = steps @ steps.T
    size = np.sqrt(like.diagonal())
    if not size.all():
        return ()
    like /= size[:, None] * size
    sums = like[_ORDERS[:, :-1], _ORDERS[:, 1:]].sum(axis=1)
    best = int(sums.argmax())
    if not sums[best] > sums[-1] + _UNLIKE:
        return ()
    first, second = _PAIRS[best]
    return (f"leads V{first + 1} and V{second + 1} may be swapped: each is more like the other's neighbours",)


_PAIRS = (*combinations(range(len(_CHEST)), 2), (0, 0))
# rows of V1 to V6 with each pair swapped; last as they are
_ORDERS = np.array([[b if k == a else a if k == b else k for k in range(len(_CHEST))] for a, b in _PAIRS])


def _mistakes(named: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...], NDArray[np.float64]]]:
    """(what is wrong, the names as they would be right, signs of the products) for each mistake that can be told."""
    same = np.ones((len(named), len(named)))
    limb = [lead for lead in LIMB if lead in named]
    chest = [lead for lead in _CHEST if lead in named]
    for first, second in (*combinations(limb, 2), *product(limb, chest)):
        yield f"leads {first} and {second} swapped by name", _renamed(named, {first: second, second: first}), same
    for a, b, c in combinations(limb, 3):
        for second, third in ((b, c), (c, b)):
            yield (
                f"lead {a} called {second}, {second} called {third} and {third} called {a}",
                _renamed(named, {second: a, third: second, a: third}),
                same,
            )
    for lead in limb:
        signs = np.where(np.array(named) == lead, -1.0, 1.0)
        yield f"lead {lead} turned over", named, np.outer(signs, signs)


def _renamed(named: tuple[str, ...], to: dict[str, str]) -> tuple[str, ...]:
    return tuple(to.get(lead, lead) for lead in named)


def _products(signal: NDArray[np.float32]) -> NDArray[np.float64]:
    """Every lead times every other, summed over time: all that the errors of any naming need."""
    rows = signal.astype(np.float64)
    rows = rows[:, ~np.isnan(rows).any(axis=0)]
    if rows.shape[1]:
        rows -= rows.mean(axis=1, keepdims=True)
    return np.asarray(rows @ rows.T)


_SUMS: tuple[dict[str, float], ...] = (
    {"I": 1, "II": -1, "III": 1},
    {"aVR": 1, "I": 0.5, "II": 0.5},
    {"aVL": 1, "I": -0.5, "III": 0.5},
    {"aVF": 1, "II": -0.5, "III": -0.5},
    {"aVR": 1, "aVL": 1, "aVF": 1},
)


@cache
def _weights(named: tuple[str, ...]) -> NDArray[np.float64]:
    """A row for each sum whose leads are there."""
    sums = [weights for weights in _SUMS if set(weights) <= set(named)]
    return np.array([[weights.get(name, 0.0) for name in named] for weights in sums]).reshape(len(sums), len(named))


def _error(products: NDArray[np.float64], named: tuple[str, ...]) -> float:
    """The error where the lead in place i is called named[i]; products: (part, lead, lead), the median over parts."""
    weights = _weights(named)
    limb = [row for row, name in enumerate(named) if name in LIMB]
    if not len(weights):
        return float("nan")
    size = products[:, limb, limb].sum(axis=1) / len(limb)
    off = ((weights @ products) * weights).sum(axis=2).max(axis=1)
    errors = [math.sqrt(max(each, 0) / by) for each, by in zip(off.tolist(), size.tolist(), strict=True) if by > 0]
    return median(errors) if errors else float("nan")
