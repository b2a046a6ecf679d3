"""The heart as one moving dipole, seen by the twelve leads.

The dipole is a sum of Gaussians (Sameni 2007, EURASIP J. Adv. Signal Process. 43407, after McSharry 2003, IEEE TBME 50:289);
the leads are the lead field of Dower 1980 (Clin. Cardiol. 3:87). Axes: X to the left, Y to the feet, Z to the back; mV.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError, did_you_mean

PARTS = ("P", "QRS", "T")

# Dower 1980, as in Edenbrandt and Pahlm 1988 (J. Electrocardiol. 21:361): rows are leads, columns X, Y, Z
_LEAD_FIELD = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
}
ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def electrode_field() -> NDArray[np.float64]:
    """(electrode, XYZ): potential of each electrode against Wilson's central terminal, for a dipole of 1 mV."""
    one, two = np.array(_LEAD_FIELD["I"]), np.array(_LEAD_FIELD["II"])
    limbs = [-(one + two) / 3, (2 * one - two) / 3, (2 * two - one) / 3]
    return np.array([*limbs, *(_LEAD_FIELD[name] for name in ELECTRODES[3:])])


def lead_weights(leads: tuple[str, ...]) -> NDArray[np.float64]:
    """(lead, electrode): how each lead is made of electrodes; raises EcglensError for a lead that there is not."""
    unit = dict(zip(ELECTRODES, np.eye(len(ELECTRODES)), strict=True))
    right, left, foot = unit["RA"], unit["LA"], unit["LL"]
    rows = {
        "I": left - right, "II": foot - right, "III": foot - left,
        "aVR": right - (left + foot) / 2, "aVL": left - (right + foot) / 2, "aVF": foot - (right + left) / 2,
    }  # fmt: skip
    rows |= {name: unit[name] - (right + left + foot) / 3 for name in ELECTRODES[3:]}
    for lead in leads:
        if lead not in rows:
            raise EcglensError(f"unknown lead {lead!r}{did_you_mean(lead, list(rows))} (known: {', '.join(rows)})")
    return np.stack([rows[lead] for lead in leads])


@dataclass(frozen=True)
class Gaussians:
    """Bell curves on the dipole, one a row.

    at: s (curve,), the middle; width: s (curve,), standard deviation; moment: mV (curve, XYZ); part: int (curve,), index into
    `PARTS`; owner: int (curve,), the beat that it belongs to.
    """

    at: NDArray[np.float64]
    width: NDArray[np.float64]
    moment: NDArray[np.float64]
    part: NDArray[np.int64]
    owner: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Gaussians:
        """The curves at `rows` (indices or a mask)."""
        return Gaussians(self.at[rows], self.width[rows], self.moment[rows], self.part[rows], self.owner[rows])

    def of(self, part: str) -> Gaussians:
        """The curves of one part of the beat."""
        return self.take(self.part == PARTS.index(part))

    def turned(self, rotation: NDArray[np.float64], scale: float = 1.0) -> Gaussians:
        """The curves with their moments rotated by a matrix (XYZ, XYZ) and scaled."""
        return replace(self, moment=scale * self.moment @ rotation.T)

    def moved(self, by: float | NDArray[np.float64], owner: int | NDArray[np.int64]) -> Gaussians:
        """The curves shifted by `by` seconds, belonging to beat `owner`."""
        return replace(self, at=self.at + by, owner=np.broadcast_to(np.asarray(owner, np.int64), self.at.shape))


def joined(several: list[Gaussians]) -> Gaussians:
    """All curves of several sets, in order."""
    return Gaussians(
        *(np.concatenate([getattr(one, name) for one in several]) for name in ("at", "width", "moment", "part", "owner"))
    )


def render(
    curves: Gaussians, row: NDArray[np.int64], n_rows: int, begin: NDArray[np.float64], n_samples: int, fs: float
) -> NDArray[np.float64]:
    """The dipole (row, XYZ, time) in mV: each curve added to its `row`, whose first sample is at `begin` (curve,) seconds.

    Curves are cut where less than 4 millionths are left, at five standard deviations or more.
    """
    middle, sigma = (curves.at - begin) * fs, curves.width * fs
    half = 2 ** np.ceil(np.log2(np.maximum(5 * sigma, 1))).astype(np.int64)  # few sizes, so that few loops do
    touching = (middle + half >= 0) & (middle - half < n_samples)
    margin = 2 * int(half.max(initial=1)) + 2  # a curve's middle may lie half a width outside, its end another half
    length = n_samples + 2 * margin
    places, heights, which = [], [], []
    for size in np.unique(half[touching]):
        some = np.flatnonzero(touching & (half == size))
        first = np.floor(middle[some])
        time = np.arange(-size, size + 1)
        away = (time - (middle[some] - first)[:, None]) / sigma[some, None]
        heights.append(np.exp(-0.5 * away * away))
        places.append((row[some] * length + margin + first.astype(np.int64))[:, None] + time)
        which.append(some)
    out = np.zeros((3, n_rows * length))
    if which:
        place = np.concatenate([part.reshape(-1) for part in places])
        for axis in range(3):
            weight = [height * curves.moment[some, axis, None] for height, some in zip(heights, which, strict=True)]
            out[axis] = np.bincount(place, np.concatenate([part.reshape(-1) for part in weight]), n_rows * length)
    return out.reshape(3, n_rows, length)[:, :, margin : margin + n_samples].transpose(1, 0, 2)


def rotation(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (XYZ, XYZ) that turns by `degrees` about X, then Y, then Z."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
