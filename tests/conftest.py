"""What the tests share: real records where they are at hand, small synthetic ones, and the command line in one call."""

from __future__ import annotations

import gc
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import wfdb
from hypothesis import settings

from ecglens.cli import main
from ecglens.examples.examples import COLUMNS, Examples, LeadPlace
from ecglens.recordings.databases import database, read_records
from ecglens.recordings.recording import Recording

torch.set_num_threads(1)
settings.register_profile("quick", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("quick")

# (seconds to the beat before, [(where, width, height) of each wave, s and mV]) of each kind of beat
_SHAPES: dict[str, tuple[float, list[tuple[float, float, float]]]] = {
    "N": (0.80, [(-0.16, 0.020, 0.15), (0.0, 0.012, 1.0), (0.25, 0.045, 0.3)]),
    "L": (0.80, [(-0.18, 0.020, 0.12), (-0.02, 0.025, 0.6), (0.04, 0.025, 0.7), (0.28, 0.050, -0.3)]),
    "R": (0.75, [(-0.16, 0.020, 0.15), (-0.02, 0.012, 0.5), (0.05, 0.020, 0.9), (0.26, 0.045, -0.2)]),
    "V": (0.55, [(0.0, 0.050, -1.6), (0.22, 0.060, 0.6)]),
    "A": (0.55, [(-0.13, 0.015, -0.1), (0.0, 0.012, 0.9), (0.25, 0.045, 0.25)]),
    "a": (0.55, [(-0.13, 0.015, -0.1), (0.0, 0.030, 0.9), (0.25, 0.045, 0.25)]),
    "E": (1.30, [(0.0, 0.055, 1.4), (0.25, 0.060, -0.5)]),
    "j": (1.20, [(0.0, 0.012, 0.8), (0.25, 0.045, 0.3)]),
    "/": (0.85, [(-0.05, 0.004, 2.0), (0.0, 0.055, -1.2), (0.26, 0.060, 0.6)]),
}
_AFTER_EARLY = 1.05  # s, the pause after an early beat
_GAIN, _ZERO = 200, 1024
Edit = Callable[[np.ndarray], None]


def pytest_collection_finish() -> None:
    """Imported modules and tests stay to the end: what looks for garbage need not go through them each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _no_garbage_left() -> Iterator[None]:
    """Behind each file its garbage is gone; what is left (late imports, what the session shares) is not looked at again."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real databases."""
    if not os.environ.get("ECGLENS_DATA"):
        pytest.skip("ECGLENS_DATA is not set: it names the folder with the real databases (mitdb/ and others)")
    return Path(os.environ["ECGLENS_DATA"])


@pytest.fixture(scope="session")
def real_mitdb(data_root: Path) -> Path:
    """The real mitdb/."""
    if not (data_root / "mitdb").is_dir():
        pytest.skip("ECGLENS_DATA holds no mitdb/")
    return data_root / "mitdb"


@pytest.fixture(scope="session")
def real_recordings(real_mitdb: Path) -> dict[str, Recording]:
    """All real recordings by name, leads of record 114 put in order."""
    which = database("mitdb")
    skipped: list[Any] = []
    found = {each.record: each for each in read_records(which, real_mitdb, which.records, skipped, swap_leads=True)}
    assert not skipped
    return found


def _write_record(
    folder: Path,
    name: str,
    *,
    fs: float = 360,
    leads: tuple[str, ...] = ("MLII", "V1"),
    seconds: float = 40,
    beats: str = "NNNNV",
    seed: int = 0,
    fmt: str = "212",
    units: str = "mV",
    doubtful: float = 0.0,
    edit: Edit | None = None,
) -> Path:
    """A small WFDB record NAME.hea, .dat, .atr in `folder`: `beats` over and over, with a rhythm mark before the first.

    `doubtful`: share of beats that look like another class's; `edit` may change the digital samples (time, lead) before
    they are written: -2048 is 'no sample' in format 212.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * fs)) / fs
    signal = rng.normal(0, 0.02, (len(time), len(leads)))
    samples, symbols, at, before = [round(0.05 * fs)], ["+"], 0.1, "N"
    for symbol in cycle(beats):
        distance, waves = _SHAPES[symbol]
        at += (_AFTER_EARLY if before in "VAa" else distance) * (1 + 0.03 * rng.standard_normal())
        if at > seconds - 0.1:
            break
        if rng.random() < doubtful:
            waves = _SHAPES[rng.choice(list(beats))][1]
        for where, width, height in waves:
            bump = height * np.exp(-(((time - at - where) / width) ** 2) / 2)
            for lead in range(len(leads)):
                signal[:, lead] += bump * (1 - 1.4 * lead)
        samples.append(round(at * fs))
        symbols.append(symbol)
        before = symbol
    digital = np.clip(np.rint(signal * _GAIN) + _ZERO, -2047, 2047).astype(np.int64)
    if edit is not None:
        edit(digital)
    wfdb.wrsamp(
        name,
        fs=fs,
        units=[units] * len(leads),
        sig_name=list(leads),
        d_signal=digital,
        fmt=[fmt] * len(leads),
        adc_gain=[_GAIN] * len(leads),
        baseline=[_ZERO] * len(leads),
        comments=["64 F 100 200 x1", "Digoxin"],
        write_dir=str(folder),
    )
    notes = ["(N", *[""] * (len(samples) - 1)]
    wfdb.wrann(name, "atr", np.array(samples), np.array(symbols), aux_note=notes, write_dir=str(folder))
    return folder


@pytest.fixture(scope="session")
def write_record() -> Callable[..., Path]:
    """The function that writes a synthetic record; see `_write_record`."""
    return _write_record


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for --data: its mitdb/ holds four synthetic records of a minute, with classes N, L, R, V and A. Read only."""
    folder = tmp_path_factory.mktemp("tiny")
    for seed, (name, beats) in enumerate({"100": "NNNNNA", "109": "LLLLV", "118": "RRRRRA", "207": "LLRRVN"}.items()):
        _write_record(folder / "mitdb", name, seconds=60, beats=beats, seed=seed, doubtful=0.25)
    return folder


@pytest.fixture(scope="session")
def tiny_mitdb(tiny_data: Path) -> Path:
    """The mitdb/ in `tiny_data`."""
    return tiny_data / "mitdb"


@pytest.fixture
def own_data(tiny_data: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_data` that a test may damage."""
    return Path(shutil.copytree(tiny_data, tmp_path / "data"))


@dataclass(frozen=True)
class Done:
    """What a call of the command line left."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line of a mistake that the user can mend; anything else fails the test."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert "Traceback" not in self.err
        assert "internal error" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith(("ecglens: ", "Error: "))]
        assert len(lines) == 1, self.err
        assert self.err.rstrip().endswith(lines[0]), self.err
        return lines[0]


@pytest.fixture(scope="session")
def ecglens() -> Callable[..., Done]:
    """Calls the command line in this process, as the installed script does: ecglens("data", "list")."""

    def call(*words: object) -> Done:
        out, err, before, code = io.StringIO(), io.StringIO(), sys.argv, 0
        sys.argv = ["ecglens", *map(str, words)]
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.argv = before
        return Done(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def tiny_run(ecglens: Callable[..., Done], tiny_data: Path) -> Callable[..., Done]:
    """Runs jones2020 on `tiny_data`, or on another `data`, in a second or two: tiny_run(out, "--stop-after", "examples")."""

    def call(out: Path, *words: object, data: Path = tiny_data, quick: bool = True) -> Done:
        short = (*(("--quick",) if quick else ()), "--set", "batch=16", "--set", "epochs=3")
        return ecglens("run", "jones2020", *short, "--data", data, "--out", out, *words)

    return call


STAGES = ("examples", "training", "attribution", "analysis")


@pytest.fixture(scope="session")
def stages(tiny_run: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tiny run, stopped after each stage and taken up again: stage to a copy of the folder; 'complete' is the whole."""
    home = tmp_path_factory.mktemp("stages")
    copies = {}
    for stage in STAGES:
        done = tiny_run(home / "run", "--stop-after", stage)
        assert done.code == 0, done.err
        copies[stage] = Path(shutil.copytree(home / "run", home / stage))
    done = tiny_run(home / "run")
    assert done.code == 0, done.err
    return copies | {"complete": home / "run"}


@pytest.fixture
def own_stage(stages: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a folder of `stages` that a test may damage."""
    return lambda stage: Path(shutil.copytree(stages[stage], tmp_path / f"run-{stage}"))


@pytest.fixture(scope="session")
def make_examples() -> Callable[..., Examples]:
    """Examples without much of a signal: make_examples(labels, records, patients=None), for what only asks who is who."""

    def make(labels: Any, records: Any, patients: Any = None, classes: tuple[str, ...] = ("A", "B", "C", "D")) -> Examples:
        n = len(labels)
        table = pd.DataFrame({name: np.zeros(n) for name in COLUMNS})
        table["id"] = [f"made/{record}/{row}" for row, record in enumerate(records)]
        table["record"], table["patient"] = list(records), list(records if patients is None else patients)
        signals = np.arange(n, dtype=np.float32)[:, None, None] * np.ones((1, 1, 2), np.float32)
        places = (LeadPlace("lead 1", 0, 0, 2),)
        return Examples(signals, np.array(labels, np.int64), classes, 360.0, ("lead 1",), places, table)

    return make


@pytest.fixture
def full_disk() -> Callable[[int], Any]:
    """`with full_disk(n):` no file can grow over n bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="file size limits need a Unix system")

    @contextmanager
    def limit(n_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
