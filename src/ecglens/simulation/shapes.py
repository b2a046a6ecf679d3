"""The beats of each class as Gaussians on the dipole, by their textbook marks.

Marks: Surawicz 2009 (AHA/ACCF/HRS recommendations part III, J. Am. Coll. Cardiol. 53:976) for QRS width and bundle branch
blocks; Surawicz and Knilans, Chou's Electrocardiography in Clinical Practice, 6th ed., 2008, for ectopic and escape beats
and pacing. Times are s after the R mark; moments mV on X (left), Y (feet), Z (back).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.simulation.dipole import PARTS, Gaussians, joined
from ecglens.simulation.patients import Patient

_P, _QRS, _T = range(len(PARTS))

# Sameni 2007, table 1 (a healthy adult of the PTB database, 60 beats a minute): phase in radians, width in radians, mV. The
# curves at 2.8 and 2.9 rad and the one at -0.4 rad stand for the baseline, not for a wave, and are left out.
_NORMAL = {
    0: (
        (-1.09, 0.0906, 0.03, _P), (-0.83, 0.1057, 0.08, _P),
        (-0.19, 0.0453, -0.13, _QRS), (-0.07, 0.0378, 0.85, _QRS), (0.0, 0.0332, 1.11, _QRS), (0.06, 0.0302, 0.75, _QRS),
        (0.22, 0.0378, 0.06, _QRS),
        (1.2, 0.6040, 0.1, _T), (1.42, 0.3020, 0.17, _T), (1.68, 0.1812, 0.39, _T),
    ),
    1: (
        (-1.1, 0.07, 0.035, _P), (-0.9, 0.07, 0.015, _P), (-0.76, 0.04, -0.019, _P),
        (-0.11, 0.055, 0.32, _QRS), (-0.01, 0.037, 0.51, _QRS), (0.065, 0.0604, -0.32, _QRS),
        (0.8, 0.450, 0.04, _T), (1.58, 0.3, 0.08, _T),
    ),
    2: (
        (-1.1, 0.03, -0.03, _P), (-0.93, 0.12, -0.14, _P), (-0.7, 0.04, -0.035, _P),
        (-0.15, 0.045, -0.4, _QRS), (0.095, 0.05, 0.46, _QRS),
        (1.05, 0.8, -0.12, _T), (1.25, 0.4, -0.2, _T), (1.55, 0.2, -0.35, _T),
    ),
}  # fmt: skip
_P_MIDDLE = -0.95 / (2 * np.pi)  # s: where the P wave of the table lies
_T_PEAK = 1.6 / (2 * np.pi)


def _normal_curves() -> Gaussians:
    rows = [(axis, *row) for axis, rows in _NORMAL.items() for row in rows]
    moment = np.zeros((len(rows), 3))
    for number, (axis, _, _, mv, _) in enumerate(rows):
        moment[number, axis] = mv
    at = np.array([row[1] for row in rows]) / (2 * np.pi)
    width = np.array([row[2] for row in rows]) / (2 * np.pi)
    return Gaussians(at, width, moment, np.array([row[4] for row in rows]), np.zeros(len(rows), np.int64))


NORMAL = _normal_curves()


def _curves(part: int, rows: list[tuple[float, float, NDArray[np.float64]]]) -> Gaussians:
    """(time, width, moment) rows of one part."""
    at, width, moment = zip(*rows, strict=True)
    return Gaussians(
        np.array(at), np.array(width), np.stack(moment), np.full(len(rows), part, np.int64), np.zeros(len(rows), np.int64)
    )


def _qt_factor(rr: float) -> float:
    """How far repolarisation is stretched at this RR interval (Fridericia: the cube root of RR)."""
    return float(np.cbrt(np.clip(rr, 0.4, 1.6)))


def _p_wave(patient: Patient) -> Gaussians:
    p = NORMAL.of("P").turned(patient.axis, patient.p_scale)
    at = (p.at - _P_MIDDLE) * patient.p_width - patient.pr
    return Gaussians(at, p.width * patient.p_width, p.moment, p.part, p.owner)


def _narrow_qrs(patient: Patient) -> Gaussians:
    qrs = NORMAL.of("QRS").turned(patient.qrs_axis, patient.qrs_scale)
    return Gaussians(qrs.at * patient.qrs_width, qrs.width * patient.qrs_width, qrs.moment, qrs.part, qrs.owner)


def _t_wave(patient: Patient, rr: float) -> Gaussians:
    t = NORMAL.of("T").turned(patient.t_axis, patient.t_scale)
    stretch = patient.qt * _qt_factor(rr)
    return Gaussians(t.at * stretch, t.width * stretch, t.moment, t.part, t.owner)


def _discordant_t(along: NDArray[np.float64], patient: Patient, rr: float, height: float, late: float = 0.0) -> Gaussians:
    """ST slope and T wave against the direction `along` (mV, XYZ) of a wide QRS."""
    stretch = patient.qt * _qt_factor(rr)
    return _curves(
        _T,
        [
            ((0.16 + late) * stretch, 0.050 * stretch, -0.40 * height * along),
            ((0.27 + late) * stretch, 0.045 * stretch, -height * along),
        ],
    )


def normal(patient: Patient, rr: float) -> Gaussians:
    """N: sinus P, narrow QRS, T."""
    return joined([_p_wave(patient), _narrow_qrs(patient), _t_wave(patient, rr)])


def atrial_premature(patient: Patient, rr: float) -> Gaussians:
    """A: a P wave from elsewhere in the atria, so of another shape and PR; QRS and T as usual."""
    p = NORMAL.of("P").turned(patient.atrial_axis, patient.atrial_scale)
    p = Gaussians((p.at - _P_MIDDLE) * 0.8 - patient.atrial_pr, p.width * 0.8, p.moment, p.part, p.owner)
    return joined([p, _narrow_qrs(patient), _t_wave(patient, rr)])


def junctional_escape(patient: Patient, rr: float) -> Gaussians:
    """j: no P before a narrow QRS; in some patients a retrograde P behind it, which runs up."""
    parts = [_narrow_qrs(patient), _t_wave(patient, rr)]
    if patient.retrograde:
        p = NORMAL.of("P").turned(np.diag([-0.8, -1.3, -0.2]) @ patient.axis, patient.p_scale)
        parts.append(Gaussians((p.at - _P_MIDDLE) * 0.8 + 0.11, p.width * 0.8, p.moment, p.part, p.owner))
    return joined(parts)


def _from_a_focus(focus: NDArray[np.float64], width: float, t_height: float, patient: Patient, rr: float) -> Gaussians:
    """A beat that spreads cell by cell from one place: no P, wide QRS whose direction turns, T against it."""
    start, main, end = focus
    qrs = _curves(
        _QRS,
        [(-1.5 * width, 0.75 * width, start), (0.0, width, main), (1.7 * width, 0.9 * width, end)],
    )
    return joined([qrs, _discordant_t(main + 0.5 * end, patient, rr, t_height, late=1.2 * width)])


def ventricular_premature(patient: Patient, rr: float, focus: int = 0) -> Gaussians:
    """V: no P of its own, QRS of 0.12 s and more, T against it."""
    return _from_a_focus(patient.foci[focus], patient.focus_width[focus], patient.focus_t[focus], patient, rr)


def ventricular_escape(patient: Patient, rr: float) -> Gaussians:
    """E: as V, from a focus of its own, and late."""
    return _from_a_focus(patient.foci[-1], patient.focus_width[-1], patient.focus_t[-1], patient, rr)


def left_bundle_branch_block(patient: Patient, rr: float) -> Gaussians:
    """L: P, then one broad notched deflection to the left and back: QS in V1, R without Q in I and V6; T against it."""
    width, leftward = patient.block_width, patient.qrs_scale * patient.block_moment
    qrs = _curves(
        _QRS,
        [
            (-1.15 * width, 0.85 * width, leftward * np.array([0.75, 0.35, 0.65])),
            (1.15 * width, 0.95 * width, leftward * np.array([0.85, 0.10, 0.85])),
        ],
    ).turned(patient.qrs_axis)
    along = (qrs.moment[0] + qrs.moment[1]) / 2
    return joined([_p_wave(patient), qrs, _discordant_t(along, patient, rr, patient.block_t, late=0.8 * width)])


def right_bundle_branch_block(patient: Patient, rr: float) -> Gaussians:
    """R: P, the usual start of QRS, then a slow turn to the right and front: rSR' in V1, broad S in I and V6; T against it."""
    width = patient.block_width
    late = patient.qrs_scale * patient.block_moment * (patient.qrs_axis @ np.array([-0.50, -0.05, -0.60]))
    qrs = _narrow_qrs(patient)
    terminal = _curves(_QRS, [(0.030 + 1.0 * width, width, late)])
    back = _discordant_t(late, patient, rr, 0.30, late=width)
    return joined([_p_wave(patient), qrs, terminal, _t_wave(patient, rr), back])


def paced(patient: Patient, rr: float) -> Gaussians:
    """P: a spike of 2 ms, then a wide QRS from the apex of the right ventricle (left, up, back); P only if the atria lead."""
    width = patient.paced_width
    spike_at = -2.2 * width - 0.02
    spike = _curves(_QRS, [(spike_at, 0.0016, patient.spike), (spike_at + 0.005, 0.0016, -0.35 * patient.spike)])
    height = patient.qrs_scale * patient.block_moment
    qrs = _curves(
        _QRS,
        [
            (-1.1 * width, 0.9 * width, height * np.array([0.45, -0.75, 0.35])),
            (1.1 * width, 1.0 * width, height * np.array([0.60, -0.75, 0.75])),
        ],
    ).turned(patient.axis)
    along = (qrs.moment[0] + qrs.moment[1]) / 2
    parts = [spike, qrs, _discordant_t(along, patient, rr, patient.block_t, late=0.8 * width)]
    return joined([_p_wave(patient), *parts] if patient.paced_after_p else parts)


SHAPES = {
    "N": normal,
    "A": atrial_premature,
    "j": junctional_escape,
    "V": ventricular_premature,
    "E": ventricular_escape,
    "L": left_bundle_branch_block,
    "R": right_bundle_branch_block,
    "P": paced,
}
