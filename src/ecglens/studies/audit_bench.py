"""`ecglens bench-audit`: does the audit name what was planted, and nothing on clean twins? A grid of quick nets, resumable."""

from __future__ import annotations

import json
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from ecglens.audit.plant import KINDS
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.files import write_json
from ecglens.progress import bar, say
from ecglens.recordings.simulated import COHORT_FILE
from ecglens.simulation.cohort import write_cohort
from ecglens.simulation.settings import Settings
from ecglens.studies.audit_bench_tables import write_tables
from ecglens.studies.planting import Mark, drawn, outcome, read_beats

SIMULATED, REAL = "simulated", "mitdb"
SHARES = (0.4, 0.8)
# in the unit of the kind: from hardly used by a quick net to mostly used
STRENGTHS: dict[str, tuple[float, ...]] = {
    "mains": (0.05, 0.15, 0.4), "spike": (0.3, 1.0, 2.5), "offset": (0.15, 0.5, 1.0), "gain": (1.25, 1.8, 2.5),
    "lead-swap": (1.0,), "clip": (20.0, 40.0, 70.0), "padding": (30.0, 120.0, 250.0), "edge-mark": (0.2, 0.6, 1.5),
}  # fmt: skip
# each lead to mean 0 and deviation 1: the net cannot see these, the audit can
_ERASED = ("offset", "gain")
_TWINS = {REAL: 44, SIMULATED: 24}  # clean nets
_PEOPLE, _PER_CLASS = {SIMULATED: 60, REAL: 30}, 400
_PER_RECORD = 80  # beats of a class


@dataclass(frozen=True)
class Cell:
    """One net. data: "simulated" or "mitdb"; draw: number of the draw of patients and of all else that is random; scale: of
    its input; mark: None for a clean twin.
    """

    data: str
    draw: int
    scale: str
    mark: Mark | None = None

    @property
    def name(self) -> str:
        """Of its file."""
        told = "clean" if self.mark is None else "-".join(str(value) for value in asdict(self.mark).values())
        return f"{self.data}-{self.draw:03d}-{self.scale}-{told}"

    @property
    def twin(self) -> Cell:
        """The same without a mark."""
        return replace(self, mark=None)


def grid() -> list[Cell]:
    """All cells in an order that is random, but the same each time, so that a part of them is a fair sample of all.

    Real beats: each kind on each class, by each share and strength. Simulated ones, whose classes a net tells so well that
    it seldom needs a mark: the larger share and the larger strengths. Of both, offset and gain before a net that cannot see
    them, and clean twins.
    """
    cells = []
    for data, twins in _TWINS.items():
        marks = [
            Mark(kind, name, share, strength)
            for kind in KINDS for name in ("V", "A") for share in (SHARES if data == REAL else SHARES[1:])
            for strength in (STRENGTHS[kind] if data == REAL else STRENGTHS[kind][-2:])
        ]  # fmt: skip
        order = np.random.default_rng([81, data == REAL]).permutation(len(marks))
        cells += [Cell(data, k % twins, "none", marks[at]) for k, at in enumerate(order)]
        cells += [Cell(data, draw, "none") for draw in range(twins)]
        for k, (kind, name) in enumerate((kind, name) for kind in _ERASED for name in ("V", "A")):
            unseen = Cell(data, k, "lead", Mark(kind, name, SHARES[1], STRENGTHS[kind][1]))
            cells += [unseen, unseen.twin]
    return [cells[at] for at in np.random.default_rng(82).permutation(len(cells))]


def run(data: Path | None, out: Path, *, cells: int | None, seed: int) -> Path:
    """Every cell that is not there yet, cells/NAME.json each; then tables/*.csv and table.md, from all that are there.

    data: as `find_records` takes it, for the real part; cells: only the first so many of the grid; seed: of all draws. Gone
    on with if it is there. Raises EcglensError for a folder of another seed.
    """
    todo = grid()[:cells]
    if not todo:
        raise EcglensError("no cell is asked for; expected --cells of 1 or more")
    _expect_same(out, seed)
    missing = [cell for cell in todo if not (out / "cells" / f"{cell.name}.json").is_file()]
    sources: dict[str, Examples] = {}
    say(f"{len(todo)} nets, {len(todo) - len(missing)} are there; {out}")
    with bar("bench-audit", len(todo), len(todo) - len(missing)) as progress:
        for cell in missing:
            if cell.data not in sources:
                sources[cell.data] = _source(cell.data, data, out, seed)
            write_json(out / "cells" / f"{cell.name}.json", one(cell, sources[cell.data], seed))
            progress.step(1, note=cell.name)
    return write_tables(out)


def one(cell: Cell, source: Examples, seed: int) -> dict[str, Any]:
    """Train and audit one net; what is kept of it. `source`: all beats of its data."""
    from ecglens.studies.audit_bench_cell import told

    own = 1000 * seed + cell.draw
    part, split = drawn(source, own, people=_PEOPLE[cell.data], per_class=_PER_CLASS)
    kind = "real" if cell.data == REAL else "simulated"
    with redirect_stderr(StringIO()):  # a line for each epoch of each net
        done = outcome(part, split, cell.mark, net="quick", scale=cell.scale, seed=own, kind=kind)
        found = told(done, cell.mark)
    mark = None if cell.mark is None else asdict(cell.mark)
    return {"data": cell.data, "draw": cell.draw, "scale": cell.scale, "mark": mark} | found


def _expect_same(out: Path, seed: int) -> None:
    about = out / "bench.json"
    if about.is_file():
        try:
            there = json.loads(about.read_text(encoding="utf-8"))["seed"]
        except (ValueError, KeyError, TypeError):
            raise EcglensError(f"{about} is damaged; choose another --out") from None
        if there != seed:
            raise EcglensError(f"{out} is a benchmark of seed {there}, not {seed}; choose another --out")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EcglensError(f"{out} is not empty and holds no benchmark; choose another folder for --out")
    else:
        write_json(about, {"seed": seed, "strengths": STRENGTHS, "shares": SHARES})


def _source(name: str, data: Path | None, out: Path, seed: int) -> Examples:
    if name == REAL:
        return read_beats(data, per_record=_PER_RECORD)[0]
    folder = out / "cohort"
    if not (folder / COHORT_FILE).is_file():
        write_cohort(cohort(seed), folder)
    return read_beats(folder, per_record=_PER_RECORD)[0]


def cohort(seed: int) -> Settings:
    """160 people; 96 have V and 96 have A, twelve beats each; other classes are left out."""
    events = {"V": 96, "A": 96}
    none = {"E": 0, "j": 0, "L": 0, "R": 0, "P": 0}
    beats = {name: 12 * carriers for name, carriers in events.items()}
    return Settings(patients=160, minutes=1.5, heart_rate_spread=0.1, seed=1000 + seed, beats=beats | none, carriers=events)
