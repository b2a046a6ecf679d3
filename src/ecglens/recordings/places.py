"""Where a database lies on this machine, how it gets there, and whether its files are right."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ecglens.errors import EcglensError
from ecglens.files import sha256
from ecglens.progress import bar
from ecglens.recordings.databases import Database


def cache_folder() -> Path:
    """The user's cache for databases."""
    import pooch

    return Path(pooch.os_cache("ecglens"))


def find_database(which: Database, data: Path | None) -> Path:
    """The folder of a database: `data`/NAME, $ECGLENS_DATA/NAME, the cache, else fetched from PhysioNet.

    Raises EcglensError with what to do when none serves.
    """
    if data is not None:
        return _inside(which, data, "--data")
    if os.environ.get("ECGLENS_DATA"):
        return _inside(which, Path(os.environ["ECGLENS_DATA"]), "$ECGLENS_DATA")
    cached = cache_folder() / which.name
    if not all((cached / name).is_file() for name in which.checksums):
        try:
            fetch(which, cache_folder())
        except EcglensError as error:
            raise EcglensError(
                f"no {which.title} here: {error}; with a connection run 'ecglens data fetch {which.name}', or "
                f"name a folder that holds {which.name}/ by --data DIR or ECGLENS_DATA"
            ) from None
    return cached


def _inside(which: Database, data: Path, said_by: str) -> Path:
    folder = data / which.name
    if not data.is_dir():
        raise EcglensError(f"{said_by}: there is no folder {data}; name the folder that holds {which.name}/")
    if not folder.is_dir():
        raise EcglensError(
            f"{said_by}: {data} holds no folder {which.name}/; name the folder that holds it, or run "
            f"'ecglens data fetch {which.name} --data {data}'"
        )
    return folder


def records_present(which: Database, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(records that are there, records that are missing); raises EcglensError where there are none."""
    there = tuple(record for record in which.records if (folder / f"{record}.hea").is_file())
    if not there:
        raise EcglensError(
            f"{folder} holds no record of {which.name}; expected files such as {which.records[0]}.hea; run "
            f"'ecglens data fetch {which.name} --data {folder.parent}'"
        )
    return there, tuple(record for record in which.records if record not in there)


@dataclass(frozen=True)
class FileCheck:
    """The state of one file: 'ok', 'missing' or 'wrong checksum'."""

    name: str
    state: str


def verify(which: Database, folder: Path) -> list[FileCheck]:
    """Compare every file with the publisher's SHA-256 list."""
    checks = []
    with bar(f"verify {which.name}", len(which.checksums)) as progress:
        for name, digest in which.checksums.items():
            path = folder / name
            state = "missing"
            if path.is_file():
                state = "ok" if sha256(path) == digest else "wrong checksum"
            checks.append(FileCheck(name, state))
            progress.step(note=name)
    return checks


def fetch(which: Database, data: Path, address: str | None = None) -> list[str]:
    """Download a database into `data`/NAME, file by file; files already right are left alone.

    `address` names a mirror. Each file is checked against the publisher's SHA-256 before it takes its name. Returns
    the files that were downloaded. Raises EcglensError when the address cannot be reached or a file is wrong.
    """
    folder = data / which.name
    base = (address or which.address).rstrip("/") + "/"
    fetched = []
    with bar(f"fetch {which.name}", len(which.checksums)) as progress:
        for name, digest in which.checksums.items():
            path = folder / name
            if not (path.is_file() and sha256(path) == digest):
                _download(base + name, path, digest)
                fetched.append(name)
            progress.step(note=name)
    return fetched


def _download(url: str, path: Path, digest: str) -> None:
    """One file by pooch: to a temporary name, checked, then renamed."""
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{digest}",
            fname=path.name,
            path=path.parent,
            downloader=pooch.HTTPDownloader(timeout=30),
        )
    except requests.RequestException as error:
        raise EcglensError(f"{url} cannot be reached ({type(error).__name__})") from None
    except ValueError:
        raise EcglensError(
            f"{url} is not the file that its publisher lists (SHA-256 differs); try again, or another mirror"
        ) from None
    except OSError as error:
        raise EcglensError(f"{path} cannot be written ({error.strerror or error})") from None
