"""Where a database lies on this machine, how it gets there, and whether its files are right."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ecglens.errors import EcglensError
from ecglens.files import sha256
from ecglens.progress import bar, say
from ecglens.recordings.databases import Database, records_of
from ecglens.recordings.twelve_readers import PATTERNS, headers_in

# PhysioNet's list of SHA-256, in every project
LIST = "SHA256SUMS.txt"
# What ecglens reads of a WFDB database; nothing in folders, so that no list can name a file outside its own
_READ = re.compile(r"[\w-][\w.-]*\.(hea|dat|atr)")
# and of one in folders: no part of a path may begin with a dot or a slash
_READ_BELOW = {
    "challenge": re.compile(r"([\w-][\w.-]*/)+[\w-][\w.-]*\.(hea|mat)"),
    "ptbxl": re.compile(r"ptbxl_database\.csv|scp_statements\.csv|records100/\d+/\d+_lr\.(hea|dat)"),
    "ludb": re.compile(r"ludb\.csv|data/\d+\.(hea|dat|i|ii|iii|avr|avl|avf|v[1-6])"),
    "ptb": re.compile(r"patient\d+/\w+\.(hea|dat|xyz)"),
    "cpsc": re.compile(r"([\w-]+/)?(\w+\.mat|REFERENCE\.csv)"),
}


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
    wanted = checksums_in(which, cached)
    if not wanted or not all((cached / name).is_file() for name in wanted):
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


def checksums_in(which: Database, folder: Path) -> dict[str, str]:
    """SHA-256 by file name: the package's list, else the publisher's list in `folder`, else none.

    Raises EcglensError where the list in the folder is damaged.
    """
    if which.checksums or not (folder / LIST).is_file():
        return which.checksums
    found = {}
    for number, line in enumerate((folder / LIST).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *]?(\S.*)", line.strip())
        if line.strip() and not match:
            raise EcglensError(f"line {number} of {folder / LIST} is not a SHA-256 and a file name; delete it and fetch again")
        if match and _READ_BELOW.get(which.layout, _READ).fullmatch(match[2]):
            found[match[2]] = match[1].lower()
    if not records_of(found):
        raise EcglensError(f"{folder / LIST} lists no record of {which.name}; delete it and fetch again")
    return found


def records_present(which: Database, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(records that are there, records that are missing); raises EcglensError where there are none.

    Where there is no list, not in the folder either, the headers that are there are the records, and none is missing.
    """
    listed = records_of(checksums_in(which, folder))
    if which.layout != "wfdb":
        found = tuple(headers_in(which.layout, folder))
        if found:
            return found, tuple(name for name in (record.rpartition("/")[2] for record in listed) if name not in set(found))
    records = listed or tuple(sorted(path.stem for path in folder.glob("*.hea")))
    there = tuple(record for record in records if (folder / f"{record}.hea").is_file())
    if not there:
        if which.layout != "wfdb":
            raise EcglensError(
                f"{folder} holds no record of {which.name}; expected files such as {' or '.join(PATTERNS[which.layout][:2])}, "
                f"as {which.address} gives them out"
            )
        such = f"{listed[0]}.hea" if listed else "NAME.hea"
        raise EcglensError(
            f"{folder} holds no record of {which.name}; expected files such as {such}; run "
            f"'ecglens data fetch {which.name} --data {folder.parent}'"
        )
    return there, tuple(record for record in records if record not in there)


def records_at(which: Database, folder: Path, fs: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(records to read for a model of `fs` Hz, records that are missing): see `records_present`.

    PTB-XL has each record at two rates: those at 500 Hz are taken above 100 Hz, where all are there.
    """
    there, missing = records_present(which, folder)
    if which.layout == "ptbxl" and fs > 100:
        high = tuple(name.removesuffix("_lr") + "_hr" for name in there if name.endswith("_lr"))
        at_500 = {path.stem for path in folder.glob("records500/*/*_hr.hea")}
        if not high or at_500.issuperset(high):
            return high or there, missing
        say(f"not all records are there at 500 Hz: those at 100 Hz are resampled to {fs:g} Hz")
    return there, missing


@dataclass(frozen=True)
class FileCheck:
    """The state of one file: 'ok', 'missing' or 'wrong checksum'."""

    name: str
    state: str


def verify(which: Database, folder: Path) -> list[FileCheck]:
    """Compare every file with the publisher's SHA-256 list; raises EcglensError where there is no list."""
    wanted = checksums_in(which, folder)
    if not wanted:
        there = folder.glob("*.hea") if which.layout == "wfdb" else headers_in(which.layout, folder)
        n_there = len(list(there))
        raise EcglensError(
            f"{folder} holds {n_there} records of {which.name} and no {LIST}: there is nothing to compare them with; "
            f"'ecglens data fetch {which.name} --data {folder.parent}' gets the list"
        )
    checks = []
    with bar(f"verify {which.name}", len(wanted)) as progress:
        for name, digest in wanted.items():
            path = folder / name
            state = "missing"
            if path.is_file():
                state = "ok" if sha256(path) == digest else "wrong checksum"
            checks.append(FileCheck(name, state))
            progress.step(note=name)
    return checks


def fetch(which: Database, data: Path, address: str | None = None) -> list[str]:
    """Download a database into `data`/NAME, file by file; files already right are left alone.

    `address` names a mirror. Each file is checked against the publisher's SHA-256 before it takes its name; a database whose
    list is not in the package has it fetched first, and kept in the folder. Returns the files that were downloaded, the list
    not among them. Raises EcglensError when the address cannot be reached or a file is wrong.
    """
    folder = data / which.name
    if which.layout == "cpsc" and not address:
        raise EcglensError(
            f"{which.title} is given out as archives, with no list of files: unpack those of {which.address} in {folder}"
        )
    base = (address or which.address).rstrip("/") + "/"
    if not checksums_in(which, folder):
        _download(base + LIST, folder / LIST, None)
        try:
            checksums_in(which, folder)
        except EcglensError:
            # such as the page of a hotel's network: kept, it would be believed next time
            (folder / LIST).unlink()
            raise EcglensError(f"{base + LIST} is not a list of SHA-256; try again, or another mirror") from None
    wanted = checksums_in(which, folder)
    fetched = []
    with bar(f"fetch {which.name}", len(wanted)) as progress:
        for name, digest in wanted.items():
            path = folder / name
            if not (path.is_file() and sha256(path) == digest):
                _download(base + name, path, digest)
                fetched.append(name)
            progress.step(note=name)
    return fetched


def _download(url: str, path: Path, digest: str | None) -> None:
    """One file by pooch: to a temporary name, checked where there is a digest, then renamed."""
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{digest}" if digest else None,
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
