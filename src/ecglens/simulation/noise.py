"""What an electrode picks up beside the heart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.simulation.dipole import ELECTRODES
from ecglens.simulation.patients import Patient


def electrode_noise(patient: Patient, n_samples: int, fs: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Baseline wander, mains and muscle noise of each electrode, mV (electrode, time).

    Wander: breathing and a drift below 0.5 Hz; mains: 60 Hz with its third harmonic, of one phase; muscle: 20 to 150 Hz, with
    bursts.
    """
    time = np.arange(n_samples) / fs
    out = np.empty((len(ELECTRODES), n_samples))
    mains_phase = rng.random() * 2 * np.pi
    burst = 1 + 1.5 * np.maximum(_shaped(n_samples, fs, 0.02, 0.3, rng), 0)
    for row in range(len(ELECTRODES)):
        breath = np.sin(2 * np.pi * (patient.breaths * time + rng.random()))
        drift = _shaped(n_samples, fs, 0.02, 0.5, rng)
        hum = np.sin(2 * np.pi * 60 * time + mains_phase) + 0.2 * np.sin(6 * np.pi * 60 * time + mains_phase)
        out[row] = patient.wander * (0.5 * breath + 0.8 * drift)
        out[row] += patient.mains * rng.uniform(0.5, 1.5) * hum
        out[row] += patient.muscle * burst * _shaped(n_samples, fs, 20, min(150, 0.45 * fs), rng)
    return out


def _shaped(n_samples: int, fs: float, low: float, high: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Gaussian noise between two frequencies (Hz), standard deviation 1, falling as 1/f below 1 Hz."""
    from scipy.fft import irfft, next_fast_len, rfftfreq

    length = next_fast_len(n_samples, real=True)
    frequency = rfftfreq(length, 1 / fs)
    band = np.flatnonzero((frequency >= low) & (frequency <= high))
    spectrum = np.zeros(len(frequency), complex)
    if len(band):
        fall = 1 / np.maximum(frequency[band], low) if high < 1 else 1.0
        spectrum[band] = (rng.normal(size=len(band)) + 1j * rng.normal(size=len(band))) * fall
    noise = irfft(spectrum, length)[:n_samples]
    return noise / max(noise.std(), 1e-12)
