"""Has a class more of a sign than the others, by more than its patients and its nature explain?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.intervals import ratio_over_patients
from ecglens.audit.modes import can_be_told, two_modes
from ecglens.audit.sign_measures import Floats
from ecglens.audit.signs import Sign
from ecglens.training.metrics import ranking_scores

Rows = NDArray[np.int64]
FEW = 20  # examples of a class, or of the others, below which nothing is said of it
_OWN = 5  # examples of other classes that say what is usual in a patient
SHARE = 0.08  # of a class's examples that have a sign


@dataclass(frozen=True)
class Presence:
    """A sign in one class.

    share: of its examples that have it, low and high over patients; auc: of telling the class by its amount; strong, ordinary:
    how much more than usual those with it, and the rest, have, in the unit of the sign; rows: those with it; beside: what is
    usual, in words.
    """

    share: float
    low: float
    high: float
    auc: float
    strong: float
    ordinary: float
    rows: Rows
    beside: str


def present(sign: Sign, amount: Floats, positive: NDArray[np.bool_], patients: NDArray[np.str_], seed: int) -> list[Presence]:
    """How much more of the sign one class has, amount (example,), positive (example,): the class.

    Signs that hearts make, too, by two kinds of the class's examples (of a signed sign either kind may be the odd one); others
    by comparison: of the two views (as it is, or beyond the patient's usual) the one with the larger share. Empty where fewer
    than 20 examples of either kind can be measured.
    """
    level = _level(sign, amount)
    others = level[~positive & ~np.isnan(level)]
    if min(len(others), (positive & ~np.isnan(level)).sum()) < FEW:
        return []
    if sign.natural and np.quantile(others, 0.99) != np.median(others):  # windows without padding have none by nature
        return _in_two_kinds(sign, level, positive, patients, seed)
    seen = [_beyond(sign, level, positive, patients, own, side, seed)
            for own in (False, True) for side in ((1, -1) if sign.signed else (1,))]  # fmt: skip
    some = [each for each in seen if each is not None]
    return [max(some, key=lambda each: each.share)] if some else []


def _beyond(
    sign: Sign, level: Floats, positive: NDArray[np.bool_], patients: NDArray[np.str_], own: bool, side: int, seed: int
) -> Presence | None:
    """What lies beyond 99 % of the others."""
    more = side * (level - _usual(level, positive, patients, own))
    known = ~np.isnan(more)
    mine = known & positive
    if min(mine.sum(), (known & ~positive).sum()) < FEW:
        return None
    limit = max(float(np.quantile(more[known & ~positive], 0.99)), _least(sign))
    beyond = mine & (np.nan_to_num(more) > limit)
    beside = "the patients' usual amount" if own else "what is usual"
    return _presence(sign, side * more, mine, beyond, known, patients, side, beside, seed)


def _in_two_kinds(
    sign: Sign, level: Floats, positive: NDArray[np.bool_], patients: NDArray[np.str_], seed: int
) -> list[Presence]:
    """What one of two kinds has more than the other, as long as the other classes are not of two such kinds themselves."""
    known = ~np.isnan(level)
    mine, rest = known & positive, known & ~positive
    if not can_be_told(patients[mine]):
        return []
    modes, theirs = two_modes(level[mine], patients[mine]), two_modes(level[rest], patients[rest])
    least, none = _least(sign), _strength(sign, 0.0)
    nothing = Presence(0.0, 0.0, 0.0, 0.5, none, none, np.empty(0, np.int64), "")
    if modes is None or not modes.planted or modes.step < least:
        return [nothing]
    if theirs is not None and theirs.planted and abs(theirs.step - modes.step) < modes.step / 2:
        return [nothing]
    upper = np.zeros(len(level), bool)
    upper[np.flatnonzero(mine)[modes.upper]] = True
    usual = level.copy()
    for patient in np.unique(patients[mine]):
        own = mine & (patients == patient)
        usual[own] -= np.median(level[own & ~upper]) if (own & ~upper).any() else np.median(level[own]) - modes.step
    usual[rest] = 0.0
    out = [_presence(sign, usual, mine, upper, known, patients, 1, "the rest of the class", seed)]
    if sign.signed:
        out.append(
            _presence(sign, usual - modes.step, mine, mine & ~upper, known, patients, -1, "the rest of the class", seed)
        )
    return out


def _presence(
    sign: Sign, more: Floats, mine: NDArray[np.bool_], beyond: NDArray[np.bool_], known: NDArray[np.bool_],
    patients: NDArray[np.str_], side: int, beside: str, seed: int,
) -> Presence:  # fmt: skip
    low, high = ratio_over_patients(beyond[mine, None].astype(float), np.ones((int(mine.sum()), 1)), patients[mine], seed=seed)
    auc, _ = ranking_scores(mine[known], side * more[known])
    strong, ordinary = (
        _strength(sign, float(np.median(more[which])) if which.any() else 0.0) for which in (beyond, mine & ~beyond)
    )
    return Presence(
        float(beyond.sum() / mine.sum()), float(low[0]), float(high[0]), float(auc[0]), strong, ordinary,
        np.flatnonzero(beyond), beside,
    )  # fmt: skip


def _level(sign: Sign, amount: Floats) -> Floats:
    """Amounts that add."""
    return np.log2(np.maximum(amount, 1e-6)) if sign.factor else amount


def _least(sign: Sign) -> float:
    return float(np.log2(sign.least)) if sign.factor else sign.least


def _strength(sign: Sign, level: float) -> float:
    return 2.0**level if sign.factor else level


def _usual(level: Floats, positive: NDArray[np.bool_], patients: NDArray[np.str_], own: bool) -> Floats:
    """What is usual without the class: in the patient where `own` (NaN with fewer than five such examples), or in all."""
    known = ~np.isnan(level) & ~positive
    out = np.full(len(level), np.nan if own else np.median(level[known]))
    for patient in np.unique(patients) if own else ():
        mine = patients == patient
        if (mine & known).sum() >= _OWN:
            out[mine] = np.median(level[mine & known])
    return out


def is_there(here: Presence) -> bool:
    """Whether the class has the sign: in 8 % of its examples, and in 2 % by the interval over patients (if any)."""
    return here.share >= SHARE and (np.isnan(here.low) or here.low > SHARE / 4)
