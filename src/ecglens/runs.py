"""A run is a folder: what was asked, what came out, and whether it is whole."""

from __future__ import annotations

import json
import platform
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ecglens import __version__
from ecglens.errors import EcglensError
from ecglens.files import write_json

UNFINISHED, STOPPED, COMPLETE = "unfinished", "stopped as asked", "complete"
_OURS = (
    "metrics.json", "model.json", "model.safetensors", "checkpoint.safetensors", "examples.csv",
    "predictions.csv", "report.html", "tables", "figures", "attributions", "snapshots", "starts", "nets",
    "run.json",
)  # fmt: skip
_LIBRARIES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "wfdb")


@dataclass(frozen=True)
class Run:
    """A run folder. `about` is the content of run.json."""

    path: Path
    about: dict[str, Any]

    @property
    def tables(self) -> Path:
        """Folder of the tables."""
        return self.path / "tables"

    def has(self, *names: str) -> bool:
        """Whether all these files exist."""
        return all((self.path / name).exists() for name in names)

    def expect_complete(self) -> None:
        """Raises EcglensError, with what to do, unless the run came to its end."""
        if self.about["status"] != COMPLETE:
            raise EcglensError(
                f"{self.path} is not complete (it is '{self.about['status']}'); "
                "run the same command again without --stop-after"
            )

    def note(self, **facts: Any) -> None:
        """Add facts to run.json."""
        self.about.update(facts)
        write_json(self.path / "run.json", self.about)

    def stopped(self) -> Run:
        """This run, noted as stopped where the user asked for it."""
        self.note(status=STOPPED)
        return self

    def completed(self, started: float) -> Run:
        """This run, noted as whole; `started` is what `time.monotonic` said when it began."""
        self.note(status=COMPLETE, seconds=time.monotonic() - started)
        return self


def start_run(path: Path, asked: dict[str, Any], *, overwrite: bool = False, redraws: bool = True) -> Run:
    """Begin, or take up again, the run `asked` in folder `path`.

    An unfinished run of the same question goes on where it stopped. Raises EcglensError when the folder holds something
    else; with `overwrite` a run of ecglens is removed first, other folders never.
    """
    asked = json.loads(json.dumps(asked))
    if path.exists() and not path.is_dir():
        raise EcglensError(f"{path} is a file; --out takes a folder")
    there = path / "run.json"
    if path.is_dir() and any(path.iterdir()) and not there.is_file():
        raise EcglensError(f"{path} is not empty and holds no run; choose another folder for --out")
    if there.is_file() and overwrite:
        _remove(path)
    if there.is_file():
        run = open_run(path)
        if run.about.get("asked") != asked:
            raise EcglensError(f"{path} holds another run; choose another --out, or --overwrite to replace it")
        if run.about["status"] == COMPLETE:
            raise EcglensError(
                f"{path} holds this run already, complete; "
                + (f"'ecglens report {path}' draws its report again, " if redraws else "")
                + "--overwrite runs it anew"
            )
        run.note(status=UNFINISHED)
        return run
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EcglensError(f"{path} cannot be made ({error.strerror}); choose another --out") from None
    run = Run(path, {"ecglens": __version__, "status": UNFINISHED, "asked": asked})
    run.note(started=time.strftime("%Y-%m-%dT%H:%M:%S%z"), machine=_machine(), libraries=_libraries())
    return run


def open_run(path: Path) -> Run:
    """The run in a folder; raises EcglensError where there is none."""
    file = path / "run.json"
    if not file.is_file():
        raise EcglensError(f"{path} holds no run.json; expected a run folder, as 'ecglens run' writes it")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        about["status"], about["asked"]["study"]
    except (ValueError, KeyError, TypeError) as error:
        raise EcglensError(f"{file} is damaged ({type(error).__name__})") from None
    return Run(path, about)


def _remove(path: Path) -> None:
    """Everything that a run writes; run.json last, so that a kill half-way leaves something still known as a run."""
    for target in (*path.glob(".*.part"), *(path / name for name in _OURS)):
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


def _machine() -> dict[str, Any]:
    import os

    return {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}


def _libraries() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
