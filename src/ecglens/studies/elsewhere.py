"""Twelve-lead databases that lie beside those of a run, for an audit that looks for the run's signals in them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ecglens.errors import EcglensError
from ecglens.recordings.databases import DATABASES, Skipped, read_records
from ecglens.recordings.duplicates import Fingerprints, fingerprints
from ecglens.recordings.places import records_present


def other_databases(beside: Path, used: Collection[str]) -> dict[str, Fingerprints]:
    """Fingerprints of all records of each twelve-lead database in the folder of `beside` but the `used` ones, by name.

    beside: the folder of a database. Records of 100 Hz are enough. What cannot be read is left out.
    """
    found = {}
    for name, which in DATABASES.items():
        folder = beside.parent / name
        if name in used or which.layout == "wfdb" or not folder.is_dir():
            continue
        try:
            read = read_records(which, folder, records_present(which, folder)[0], list[Skipped](), swap_leads=False)
            found[name] = fingerprints(read)
        except EcglensError:
            continue
    return found
