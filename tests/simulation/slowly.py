"""The simulator once more, slowly: one curve, one sample, one lead after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from ecglens.simulation.dipole import LEADS, PARTS, Gaussians
from ecglens.simulation.record import SimulatedRecord, beat_curves
from ecglens.simulation.settings import Settings

# Dower 1980 as printed: what a dipole on X, Y, Z gives in the leads that are measured
DOWER = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
}

# every class, few patients, all leads; four or more in sinus rhythm
EVERY_CLASS = Settings(
    patients=10,
    minutes=0.5,
    leads=LEADS,
    seed=5,
    carriers={"L": 2, "R": 2, "P": 2, "A": 2, "j": 2, "E": 2, "V": 3},
    heart_rate=80,
)


def dipole(curves: Gaussians, time: np.ndarray) -> np.ndarray:
    """(XYZ, time): every bell curve over all time, none cut."""
    out = np.zeros((3, len(time)))
    for k in range(len(curves)):
        bell = np.exp(-((time - curves.at[k]) ** 2) / (2 * curves.width[k] ** 2))
        for axis in range(3):
            out[axis] += curves.moment[k, axis] * bell
    return out


def leads_of(potential: dict[str, np.ndarray], leads: tuple[str, ...]) -> np.ndarray:
    """(lead, ...) from the potential of each electrode, as textbooks define the leads."""
    ra, la, ll = potential["RA"], potential["LA"], potential["LL"]
    wilson = (ra + la + ll) / 3
    rows = {"I": la - ra, "II": ll - ra, "III": ll - la}
    # Goldberger: against the mean of the two other limbs
    rows |= {"aVR": ra - (la + ll) / 2, "aVL": la - (ra + ll) / 2, "aVF": ll - (ra + la) / 2}
    rows |= {name: potential[name] - wilson for name in ("V1", "V2", "V3", "V4", "V5", "V6")}
    return np.array([rows[name] for name in leads])


def electrodes_of(seen: np.ndarray) -> dict[str, np.ndarray]:
    """Potential of each electrode against Wilson's terminal of the dipole (XYZ, time): limbs from I and II."""
    lead = {name: np.array(weights) @ seen for name, weights in DOWER.items()}
    ra = -(lead["I"] + lead["II"]) / 3
    limbs = {"RA": ra, "LA": ra + lead["I"], "LL": ra + lead["II"]}
    return limbs | {name: lead[name] for name in ("V1", "V2", "V3", "V4", "V5", "V6")}


def seen_by_leads(record: SimulatedRecord, number: int, moving: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(lead, time) of a dipole (XYZ, time) at `samples`: turned by breathing, with the gains of the electrodes."""
    patient, settings = record.patient, record.settings
    rng = np.random.default_rng([settings.seed, number, 2])
    phase, pole = rng.random(), rng.normal(size=3)
    pole = pole / np.linalg.norm(pole)
    last = round(60 * settings.minutes * settings.fs) - 1
    breath = np.sin(2 * np.pi * (patient.breaths * np.clip(samples, 0, last) / settings.fs + phase))
    angle = np.deg2rad(patient.breath_degrees) * breath
    turned = Rotation.from_rotvec(angle[:, None] * pole).apply(moving.T).T
    potential = electrodes_of(turned)
    names = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
    return leads_of({name: potential[name] * patient.gains[k] for k, name in enumerate(names)}, settings.leads)


def as_it_is(record: SimulatedRecord, beats: range) -> Gaussians:
    """The curves of some beats where the record has them."""
    placed = [placed_beat(record, beat) for beat in beats]
    names = ("at", "width", "moment", "part", "owner")
    return Gaussians(*(np.concatenate([getattr(one, name) for one in placed]) for name in names))


def placed_beat(record: SimulatedRecord, beat: int) -> Gaussians:
    """The curves of one beat in seconds of the record."""
    curves = beat_curves(record.patient, record.rhythm, beat)
    return replace(curves, at=curves.at + record.rhythm.at[beat], owner=np.full(len(curves), beat))


def alone(record: SimulatedRecord, number: int, beat: int, wave: str, samples: np.ndarray) -> np.ndarray:
    """(lead, time) of one wave of one beat, with nothing else in the record."""
    curves = placed_beat(record, beat)
    keep = np.array([PARTS[part] == wave for part in curves.part], bool)
    return seen_by_leads(record, number, dipole(curves.take(keep), samples / record.settings.fs), samples)
