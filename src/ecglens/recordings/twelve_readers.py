"""Which reader a twelve-lead database needs, and where its records lie in the publisher's folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ecglens.errors import EcglensError
from ecglens.recordings.recording import Recording

# What names a record in each layout, the first pattern that is met gives the records, all are looked in for one by name
PATTERNS: dict[str, tuple[str, ...]] = {
    "challenge": ("*.hea", "records/*.hea", "*/*.hea", "*/*/*.hea", "*/*/*/*.hea"),
    "ptbxl": ("records100/*/*_lr.hea", "records500/*/*_hr.hea"),
    "ludb": ("data/*.hea", "*.hea"),
    "ptb": ("patient*/*.hea",),
    "cpsc": ("*.mat", "*/*.mat"),
}


def headers_in(layout: str, folder: Path) -> dict[str, Path]:
    """The header (in CPSC2018's format the signal) of each record in `folder`, by record name, of the first pattern met.

    A Challenge header without its `.mat` beside it is no record.
    """
    for pattern in PATTERNS[layout]:
        found = {path.stem: path for path in sorted(folder.glob(pattern))}
        if layout == "challenge":
            found = {name: path for name, path in found.items() if path.with_suffix(".mat").is_file()}
        if found:
            return found
    return {}


def reader(layout: str, database: str, folder: Path) -> Callable[[str], Recording]:
    """A function from record name to Recording; tables are read and folders searched once, here.

    Raises EcglensError, here where a table is missing or damaged, in the function where a record cannot be used.
    """
    paths = headers_in(layout, folder)
    read = _of_path(layout, database, folder)

    def of_name(record: str) -> Recording:
        path = paths.get(record) or _elsewhere(layout, folder, record)
        if path is None:
            wanted = " or ".join(PATTERNS[layout][:2])
            raise EcglensError(f"{record} is missing in {folder}; expected it in {wanted}")
        return read(path)

    return of_name


def _elsewhere(layout: str, folder: Path, record: str) -> Path | None:
    """A record of another pattern than the first one met: PTB-XL's 500 Hz beside its 100 Hz; a header that has no signal."""
    if Path(record).name != record:
        return None
    for pattern in PATTERNS[layout]:
        parent, _, name = pattern.rpartition("/")
        for path in folder.glob(f"{parent}/{record}{Path(name).suffix}" if parent else record + Path(name).suffix):
            return path
    return None


def _of_path(layout: str, database: str, folder: Path) -> Callable[[Path], Recording]:
    if layout == "ptbxl":
        from ecglens.recordings.ptbxl_reader import TABLE, ptbxl_left_out, ptbxl_rows, ptbxl_table, read_ptbxl

        rows, left_out = ptbxl_rows(ptbxl_table(folder)), ptbxl_left_out(folder)

        def of_ptbxl(path: Path) -> Recording:
            if path.stem in left_out:
                raise EcglensError(left_out[path.stem])
            if path.stem not in rows:
                raise EcglensError(f"{path.stem} has no row in {TABLE}; expected one for each record")
            return read_ptbxl(path, rows[path.stem], database=database)

        return of_ptbxl
    if layout == "ludb":
        from ecglens.recordings.ludb_reader import read_ludb

        return lambda path: read_ludb(path, database=database)
    if layout == "ptb":
        from ecglens.recordings.ptb_reader import read_ptb

        return lambda path: read_ptb(path, database=database)
    if layout == "cpsc":
        from ecglens.recordings.cpsc_reader import cpsc_labels, read_cpsc

        labels = cpsc_labels(folder)
        return lambda path: read_cpsc(path, labels.get(path.stem), database=database)
    from ecglens.recordings.challenge_reader import read_challenge

    return lambda path: read_challenge(path.parent, path.stem, database=database, patient=f"{database}/{path.stem}")
