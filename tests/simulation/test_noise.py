"""Each kind of noise alone: as strong as asked for, and of the frequencies that it should have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecglens.simulation.dipole import ELECTRODES
from ecglens.simulation.noise import electrode_noise
from ecglens.simulation.patients import draw_patient
from ecglens.simulation.settings import Settings

FS = 360.0
N = 360 * 120
QUIET = replace(draw_patient(Settings(), 0), wander=0.0, mains=0.0, muscle=0.0)


def share_of_power(noise: np.ndarray, low: float, high: float) -> np.ndarray:
    power = np.abs(np.fft.rfft(noise - noise.mean(-1, keepdims=True))) ** 2
    frequency = np.fft.rfftfreq(noise.shape[-1], 1 / FS)
    return power[..., (frequency >= low) & (frequency <= high)].sum(-1) / power.sum(-1)


def noise(**changes: float) -> np.ndarray:
    return electrode_noise(replace(QUIET, **changes), N, FS, np.random.default_rng(3))


def test_without_any_there_is_none() -> None:
    assert noise().shape == (len(ELECTRODES), N)
    assert not noise().any()


def test_wander_is_slow_and_breathes() -> None:
    found = noise(wander=0.1)
    assert (share_of_power(found, 0, 0.55) > 0.99).all()
    breathing = share_of_power(found, QUIET.breaths - 0.02, QUIET.breaths + 0.02)
    assert (breathing > 0.1).all()
    assert (found.std(1) > 0.04).all()
    assert (found.std(1) < 0.2).all()


def test_mains_is_60_hz_and_of_one_phase_on_all_electrodes() -> None:
    found = noise(mains=0.02)
    assert (share_of_power(found, 59.5, 60.5) > 0.9).all()
    assert (share_of_power(found, 59.5, 60.5) < 1).all()  # it has a harmonic
    assert np.corrcoef(found).min() > 0.999
    assert len(set(np.round(found.std(1), 6))) == len(ELECTRODES)  # but not of one strength


def test_muscle_noise_is_fast_and_different_on_each_electrode() -> None:
    found = noise(muscle=0.02)
    assert (share_of_power(found, 19, 151) > 0.99).all()
    assert np.abs(np.corrcoef(found) - np.eye(len(found))).max() < 0.1
    assert (found.std(1) > 0.02).all()  # bursts only add


def test_muscle_noise_comes_in_bursts() -> None:
    found = noise(muscle=0.02)[0]
    by_second = found.reshape(-1, 360).std(1)
    assert by_second.max() > 1.8 * by_second.min()


@pytest.mark.parametrize("name", ["wander", "mains", "muscle"])
def test_twice_the_noise_is_twice_as_large(name: str) -> None:
    np.testing.assert_allclose(noise(**{name: 0.04}), 2 * noise(**{name: 0.02}), atol=1e-12)


@pytest.mark.parametrize("fs", [100.0, 128.0, 2000.0])
def test_noise_exists_at_every_rate(fs: float) -> None:
    patient = replace(QUIET, wander=0.1, mains=0.01, muscle=0.01)
    found = electrode_noise(patient, 1000, fs, np.random.default_rng(0))
    assert np.isfinite(found).all()
    assert (found.std(1) > 0).all()
