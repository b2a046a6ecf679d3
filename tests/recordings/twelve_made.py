"""Twelve-lead records for tests: a heart of Gaussians whose limb leads sum, and files in the publishers' formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def heart(fs: float = 500, seconds: float = 10, *, height: float = 1.0, seed: int = 0) -> np.ndarray:
    """float64 (lead, time) in mV, leads as in LEADS, limb leads by Einthoven and Goldberger, beats a second apart."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(fs * seconds)) / fs
    beat = np.zeros_like(time)
    for at in np.arange(0.5, seconds, 0.9):
        for where, width, size in ((-0.16, 0.02, 0.12), (0, 0.012, 1.0), (0.03, 0.012, -0.3), (0.25, 0.045, 0.3)):
            beat += size * np.exp(-(((time - at - where) / width) ** 2) / 2)
    own = {name: k * beat + rng.normal(0, 0.01, len(time)) for name, k in {"I": 0.8, "II": 1.3}.items()}
    one, two = own["I"], own["II"]
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    chest = [k * beat + rng.normal(0, 0.01, len(time)) for k in (-0.7, -1.1, 0.6, 1.5, 1.2, 0.9)]
    return height * np.stack([*limb, *chest])


def write_challenge(
    folder: Path,
    name: str,
    digital: np.ndarray,
    *,
    fs: float = 500,
    gain: str = "1000/mV",
    leads: tuple[str, ...] = LEADS,
    comments: tuple[str, ...] = ("Age: 74", "Sex: Male", "Dx: 426783006"),
    first_line: str = "",
) -> Path:
    """NAME.mat (MATLAB 4, int16 `val` (lead, time)) and NAME.hea as the Challenge has them; returns the header's path."""
    import scipy.io

    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / f"{name}.mat", {"val": digital.astype(np.int16)}, format="4")
    lines = [f"{name} {len(digital)} {fs:g} {digital.shape[1]}{first_line}"]
    for lead, row in zip(leads, digital, strict=True):
        total = int((int(row.astype(np.int64).sum()) + 2**15) % 2**16 - 2**15)
        lines.append(f"{name}.mat 16+24 {gain} 16 0 {row[0]} {total} 0 {lead}")
    path = folder / f"{name}.hea"
    path.write_text("\n".join([*lines, *(f"#{comment}" for comment in comments)]) + "\n")
    return path


def units(signal: np.ndarray, per_mv: float = 1000) -> np.ndarray:
    """int16 samples of a signal in mV."""
    return np.rint(signal * per_mv).astype(np.int16)
