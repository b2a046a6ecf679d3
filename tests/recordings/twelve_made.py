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


def irregular(seconds: float, *, height: float = 1.0, seed: int) -> np.ndarray:
    """A heart at 250 Hz whose beats come when they like, so that no two records are alike; (lead, time) in mV."""
    sizes = np.random.default_rng(seed).integers(150, 300, round(2 * seconds))
    beats = [heart(250, 2, height=height, seed=seed)[:, 75 : 75 + n] for n in sizes]
    return np.concatenate(beats, axis=1)[:, : round(250 * seconds)]


def write_ptbxl(folder: Path, signals: dict[int, np.ndarray], about: dict[int, dict[str, object]]) -> None:
    """PTB-XL's official folder at 100 Hz: signals (lead, time) in mV by ecg_id, and what its table says of each."""
    import csv
    import json

    import wfdb

    statements = {"NORM": "NORM", "AFIB": "", "PVC": "", "STD_": "", "SR": "", "IMI": "MI", "PACE": "", "1AVB": "CD"}
    columns = ["ecg_id", "patient_id", "age", "sex", "scp_codes", "heart_axis", "strat_fold", "filename_lr", "filename_hr"]
    rows = []
    for number, signal in signals.items():
        name, place = f"{number:05d}", f"{number // 1000 * 1000:05d}"
        where = folder / "records100" / place
        where.mkdir(parents=True, exist_ok=True)
        wfdb.wrsamp(
            f"{name}_lr", fs=100, units=["mV"] * 12, sig_name=[lead.upper() for lead in LEADS], p_signal=signal.T,
            fmt=["16"] * 12, adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(where),
        )  # fmt: skip
        files = {"filename_lr": f"records100/{place}/{name}_lr", "filename_hr": f"records500/{place}/{name}_hr"}
        rows.append({"ecg_id": number, "age": 60.0, "sex": 0, "heart_axis": "MID"} | files | about[number])
    with (folder / "ptbxl_database.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows([row | {"scp_codes": json.dumps(row["scp_codes"]).replace('"', "'")} for row in rows])
    with (folder / "scp_statements.csv").open("w", newline="") as file:
        file.write(",description,diagnostic,form,rhythm,diagnostic_class\n")
        file.writelines(f"{code},x,{'1.0' if known else ''},,,{known}\n" for code, known in statements.items())


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
