"""Where records come from: a real database where one is at hand, or the built-in simulated cohort where it is asked for."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from ecglens.errors import EcglensError
from ecglens.progress import say
from ecglens.recordings.databases import Database, database
from ecglens.recordings.places import cache_folder, find_database
from ecglens.recordings.simulated import COHORT_FILE, simulated_database
from ecglens.simulation.cohort import write_cohort
from ecglens.simulation.settings import Settings

SIMULATED = "simulated"
# as many beats as 40 patients of 5 minutes, but of more people: a model that meets 30 people learns those 30
BUILT_IN = Settings(patients=200, minutes=1.0)


def find_records(name: str, data: Path | None, *, or_simulated: bool = False) -> tuple[Database, Path]:
    """The database to use and its folder.

    `data` is a folder that holds NAME/, a folder that `ecglens simulate` wrote, the word "simulated" (the built-in cohort,
    made once and kept in the cache), or None ($ECGLENS_DATA, the cache, PhysioNet). or_simulated: where no real database can
    be had, take the built-in cohort and say so.
    """
    if data is not None and str(data) == SIMULATED:
        return _built_in()
    if data is not None and (data / COHORT_FILE).is_file():
        return simulated_database(data), data
    try:
        return database(name), find_database(database(name), data)
    except EcglensError as error:
        if not or_simulated or data is not None:
            raise
        say(f"{error}")
        say("SIMULATED ECGs are used instead")
        return _built_in()


def _built_in() -> tuple[Database, Path]:
    settings = BUILT_IN
    folder = cache_folder() / f"simulated-{_fingerprint(settings)}"
    if not (folder / COHORT_FILE).is_file():
        say(f"making the simulated cohort ({settings.patients} patients, {settings.minutes:g} minutes) in {folder}")
        write_cohort(settings, folder)
    return simulated_database(folder), folder


def _fingerprint(settings: Settings) -> str:
    """Changes with the settings and with the code that simulates."""
    digest = hashlib.sha256(repr(sorted(asdict(settings).items())).encode())
    for file in sorted(files("ecglens.simulation").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
