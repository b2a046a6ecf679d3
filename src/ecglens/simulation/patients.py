"""Who the simulated patients are: each a draw of rate, axes, amplitudes, widths and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.simulation.dipole import ELECTRODES, rotation
from ecglens.simulation.settings import Settings


@dataclass(frozen=True)
class Patient:
    """One person. Angles as matrices (XYZ, XYZ), times in s, moments in mV; see `draw_patient` for how each is spread."""

    rr: float  # mean sinus interval
    rr_spread: float  # standard deviation of the sinus interval, as a share of it
    breaths: float  # a second
    breath_degrees: float  # how far breathing turns the heart's axis
    axis: NDArray[np.float64]  # of the whole heart: habitus
    qrs_axis: NDArray[np.float64]
    t_axis: NDArray[np.float64]
    p_scale: float
    qrs_scale: float
    t_scale: float
    p_width: float
    qrs_width: float
    pr: float  # from the middle of P to the R mark
    qt: float
    atrial_axis: NDArray[np.float64]
    atrial_scale: float
    atrial_pr: float
    early: float  # coupling of atrial premature beats, as a share of the sinus interval
    foci: NDArray[np.float64]  # (focus, start-main-end, XYZ); the last one is the escape focus
    focus_width: NDArray[np.float64]
    focus_t: NDArray[np.float64]
    coupling: float  # of ventricular premature beats
    retrograde: bool
    block_width: float
    block_moment: float
    block_t: float
    paced_width: float
    paced_after_p: bool
    spike: NDArray[np.float64]
    gains: NDArray[np.float64]  # of each electrode
    wander: float  # mV, standard deviation
    mains: float
    muscle: float


def draw_patient(settings: Settings, number: int) -> Patient:
    """Patient `number` of the cohort; depends on the seed and the number alone."""
    rng = np.random.default_rng([settings.seed, number, 0])

    def around(middle: float, log_spread: float) -> float:
        return float(middle * np.exp(np.clip(rng.normal(), -2.5, 2.5) * log_spread))

    def turn(*degrees: float) -> NDArray[np.float64]:
        return rotation(rng.normal(size=3) * degrees)

    # the table's heart points 25 degrees below the horizon; the adult mean is nearer 60 (Surawicz and Knilans)
    axis = turn(12.0, 12.0, 16.0) @ rotation(np.array([0.0, 0.0, 33.0]))
    foci = np.stack([_focus(rng, around(1.7, 0.3) * settings.amplitude) for _ in range(3)])
    return Patient(
        rr=60 / around(settings.heart_rate, settings.heart_rate_spread),
        rr_spread=around(settings.variability, 0.4),
        breaths=around(0.25, 0.15),
        breath_degrees=around(4.0, 0.4),
        axis=axis,
        qrs_axis=turn(8.0, 10.0, 14.0) @ axis,
        t_axis=turn(10.0, 10.0, 12.0) @ axis,
        p_scale=around(1.5, 0.22) * settings.amplitude,
        qrs_scale=around(1.2, 0.32) * settings.amplitude,
        t_scale=around(0.85, 0.4) * settings.amplitude,
        p_width=around(1.0, 0.1),
        qrs_width=around(1.0, 0.1) * settings.qrs_width,
        pr=around(0.15, 0.12),
        qt=around(1.0, 0.06),
        atrial_axis=rotation(np.array([rng.choice([-1, 1]) * rng.uniform(90, 180), rng.normal() * 30, rng.normal() * 30]))
        @ axis,
        atrial_scale=around(1.5, 0.2) * settings.amplitude,
        atrial_pr=around(0.12, 0.12),
        early=float(rng.uniform(0.55, 0.78)),
        foci=foci,
        focus_width=np.array([around(0.0215, 0.06) for _ in range(3)]) * settings.qrs_width,
        focus_t=rng.uniform(0.25, 0.5, 3),
        coupling=float(rng.uniform(0.5, 0.72)),
        retrograde=bool(rng.random() < 0.4),
        block_width=around(0.0220, 0.06) * settings.qrs_width,
        block_moment=around(1.15, 0.15),
        block_t=float(rng.uniform(0.25, 0.45)),
        paced_width=around(0.0225, 0.06) * settings.qrs_width,
        paced_after_p=bool(rng.random() < 0.5),
        spike=_direction(rng, np.array([-0.4, 0.8, 0.0]), 0.3) * around(2.5, 0.35),
        gains=1 + 0.04 * np.clip(rng.normal(size=len(ELECTRODES)), -2.5, 2.5),
        wander=around(settings.wander, 0.6),
        mains=around(settings.mains, 0.8),
        muscle=around(settings.muscle, 0.6),
    )


def _direction(rng: np.random.Generator, towards: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    """A random unit vector about a direction."""
    vector = towards / np.linalg.norm(towards) + spread * rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def _focus(rng: np.random.Generator, strength: float) -> NDArray[np.float64]:
    """Start, main part and end (XYZ, mV) of the way from a random place through the ventricles."""
    main = rng.normal(size=3) * (1.0, 1.0, 0.8)
    main /= np.linalg.norm(main)
    start, end = _direction(rng, main, 0.6), _direction(rng, main, 0.6)
    return strength * np.stack([0.5 * start, 1.5 * main, 0.8 * end])
