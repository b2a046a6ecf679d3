"""Are two leads exchanged in some of a patient's examples?"""

from __future__ import annotations

import numpy as np

from ecglens.audit.sign_measures import Floats, seen
from ecglens.examples.examples import Examples

_REACH = 0.15  # s around R in which leads are compared


def lead_swap(examples: Examples) -> Floats:
    """0: the first two leads are as in most of the patient's examples of the class, 1: the other way round.

    Exchanged leads have the difference turned round and the sum as it was; a beat from another focus has another sum. So
    (1 - cosine) / 2 of the difference around R with the direction in which it mostly lies (patient and class; with fewer than
    four examples, the class) counts as far as the sum lies in its own: wholly from a cosine of .9 on, not at all at .5.
    Which of two ways is the right one cannot be known: the commoner one counts as right. NaN for one lead, or without R.
    """
    given = seen(examples)
    reach = round(_REACH * given.fs)
    out = np.full(len(examples), np.nan)
    if given.x.shape[1] < 2 or (given.r < 0).any() or given.x.shape[2] < 2 * reach + 1:
        return out
    at = given.r.clip(reach, given.x.shape[2] - reach - 1)[:, None] + np.arange(-reach, reach + 1)
    part = np.take_along_axis(given.x[:, :2], at[:, None], axis=2)
    difference, total = _unit(part[:, 0] - part[:, 1]), _unit(part[:, 0] + part[:, 1])
    patients = examples.column("patient").astype(str)
    for label in np.unique(examples.labels):
        mine = np.flatnonzero(examples.labels == label)
        groups = [mine] + [mine[patients[mine] == patient] for patient in np.unique(patients[mine])]
        for rows in groups[:1] + [group for group in groups[1:] if len(group) >= 4]:
            same = np.clip((_along(total[rows]) - 0.5) / 0.4, 0, 1)
            out[rows] = (1 - _along(difference[rows])) / 2 * same
    return out


def _unit(x: Floats) -> Floats:
    """Rows of x (example, time) without their median, of length 1; flat ones are 0."""
    x = x - np.median(x, axis=1, keepdims=True)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)


def _along(unit: Floats) -> Floats:
    """Cosine (example,) with the direction in which most lie."""
    cosine: Floats = unit @ np.linalg.eigh(unit.T @ unit)[1][:, -1]
    return cosine if np.median(cosine) >= 0 else -cosine
