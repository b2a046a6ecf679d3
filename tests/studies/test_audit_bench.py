"""The benchmark of the audit: a grid with its twins, resumable; tables that count what the cells say; maps against places."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ecglens.audit.plant import KINDS
from ecglens.audit.signs import find_sign
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.studies import audit_bench, audit_bench_cell
from ecglens.studies.audit_bench import REAL, SHARES, SIMULATED, STRENGTHS, Cell, grid, one, run
from ecglens.studies.audit_bench_cell import METHODS, maps_at_marks, on_evidence, peaks, spans
from ecglens.studies.audit_bench_tables import (
    cell_table,
    evidence_table,
    kind_table,
    mark_map_table,
    read_cells,
    strength_table,
)
from ecglens.studies.planting import CLASSES, Mark, outcome, sides
from made import make_examples


def beats(n: int = 180, patients: int = 9) -> Examples:
    """A, N and V in turn that differ in half of the beats alone, in two leads of a second."""
    rng = np.random.default_rng(0)
    labels, who, time = np.arange(n) % 3, np.arange(n) // 3 % patients, (np.arange(360) - 180) / 360
    told = (rng.random(n) < 0.5)[:, None]
    width = np.where(told & (labels == 2)[:, None], 0.03, 0.015)
    p_wave = np.where(told & (labels == 0)[:, None], 0.0, 0.15)
    lead = np.exp(-0.5 * (time / width) ** 2) + p_wave * np.exp(-0.5 * ((time + 0.16) / 0.02) ** 2)
    lead = lead + 0.25 * np.exp(-0.5 * ((time - 0.25) / 0.05) ** 2)
    signals = np.stack([lead, -0.6 * lead], axis=1) + rng.normal(0, 0.008, (n, 2, 360))
    return make_examples(
        signals.astype(np.float32), labels, classes=CLASSES, patient=[f"p{k}" for k in who], record=[f"p{k}" for k in who]
    )  # fmt: skip


def test_the_grid_has_every_plant_and_the_twin_of_each() -> None:
    cells = grid()
    assert cells == grid()
    assert len({cell.name for cell in cells}) == len(cells)
    assert all(cell.twin in cells for cell in cells)
    assert sum(cell.mark is None for cell in cells) >= 60
    assert sum(cell.mark is not None for cell in cells) >= 100
    real = {cell.mark for cell in cells if cell.data == REAL and cell.scale == "none"}
    for kind in KINDS:
        for name in ("V", "A"):
            for share in SHARES:
                for strength in STRENGTHS[kind]:
                    assert Mark(kind, name, share, strength) in real
    part = cells[:60]  # some of it is a sample of all
    assert {cell.data for cell in part} == {REAL, SIMULATED}
    assert len({cell.mark.kind for cell in part if cell.mark is not None}) >= 6


def test_a_cell_says_what_the_net_does_and_what_the_audit_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_bench, "_PEOPLE", {SIMULATED: 9, REAL: 9})
    cell = Cell(REAL, 2, "none", Mark("edge-mark", "V", 0.8, 1.5))
    found = json.loads(json.dumps(one(cell, beats(), 0)))
    assert found["mark"] == asdict(cell.mark)
    assert found["live"] == (found["moved"] >= 0.2)
    assert found["live"]
    (said,) = [each for each in found["findings"] if (each["sign"], each["class"]) == ("edge-mark", "V")]
    assert said["severity"] == "high"
    assert abs(said["place_ms"] - found["place_ms"]) < 10
    assert abs(abs(found["place_ms"]) - 490) < 15
    rows = {row["method"]: row for row in found["maps"]}
    assert tuple(rows) == METHODS
    assert rows["guided-backprop"]["mass"] > 2 * rows["guided-backprop"]["area"]
    assert rows["random"]["mass"] == pytest.approx(rows["random"]["area"], abs=0.02)
    clean = one(cell.twin, beats(), 0)
    assert (clean["mark"], clean["moved"], clean["place_ms"], clean["live"]) == (None, None, None, False)
    assert "maps" not in clean
    assert not [each for each in clean["findings"] if each["sign"] == "edge-mark"]


def test_maps_at_marks_are_of_beats_that_the_mark_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slope of a signal is highest where the mark is; counted again, beat by beat."""
    monkeypatch.setattr(audit_bench_cell, "_MOST", 1000)
    examples, mark = beats(), Mark("edge-mark", "V", 0.8, 0.45)
    done = outcome(examples, sides(examples, 2), mark, net="quick", scale="none", seed=2, kind="real")
    row = {each["method"]: each for each in maps_at_marks(done, mark)}["slope"]
    near, pointing, n, all_free = 0, 0, 0, 0
    for k in done.asked:
        beat, before = examples.take(np.array([k])), done.subject.classifier
        after = find_sign("edge-mark").put(beat, 0.45, np.random.default_rng([2, 42]))
        free = examples.labels[k] != 2 and before.logits(beat).argmax() != 2
        all_free += free
        if free and before.logits(after).argmax() == 2:
            course = np.abs(np.gradient(after.signals[0].astype(float), axis=1)).sum(axis=0)
            changed = np.flatnonzero((after.signals != beat.signals)[0].any(axis=0))
            n += 1
            near += abs(course.argmax() - changed.mean()) <= 36
            pointing += changed.min() - 4 <= course.argmax() <= changed.max() + 4
    assert 5 < n < all_free
    assert row["n"] == n
    assert row["near"] == pytest.approx(near / n)
    assert row["pointing"] == pytest.approx(pointing / n)


@pytest.mark.parametrize("kind", ["spike", "clip", "padding", "edge-mark"])
def test_spans_are_what_was_changed_and_ten_ms_either_side(kind: str) -> None:
    before = beats(12)
    strength = {"spike": 1.0, "clip": 40.0, "padding": 100.0, "edge-mark": 0.5}[kind]
    after = find_sign(kind).put(before, strength, np.random.default_rng(1))
    where, place = spans(before, after)
    for k in range(len(before)):
        change = np.abs(after.signals[k].astype(float) - before.signals[k]).max(axis=0)
        core = np.flatnonzero((change > 0) & (change >= change.max() / 2))
        stop, start = after.column("valid_stop")[k], after.column("valid_start")[k]
        if kind == "padding":
            core = np.r_[np.arange(start), np.arange(stop, 360)]
        expected = {at + by for at in core for by in range(-4, 5) if 0 <= at + by < 360}
        assert set(np.flatnonzero(where[k])) == expected
        edge = stop if stop < 360 else start
        assert place[k] == pytest.approx(edge if kind == "padding" else core.mean())


def test_a_peak_is_the_middle_of_its_plateau() -> None:
    course = np.array([[0, 1, 3, 3, 3, 0, 3], [5, 5, 5, 5, 5, 5, 5], [0, 2, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 4, 4.0]])
    assert peaks(course).tolist() == [3, 3, 1, 5]


def test_numbers_on_evidence_are_those_of_a_plain_count() -> None:
    rng = np.random.default_rng(5)
    where = rng.random((7, 2, 30)) < 0.3
    for leads in (1, 2):
        size = rng.random((7, leads, 30)).astype(np.float32)
        wide = np.broadcast_to(size, where.shape)
        got = on_evidence(size, where)
        assert got["mass"] == pytest.approx(np.mean([wide[k][where[k]].sum() / wide[k].sum() for k in range(7)]))
        assert got["area"] == pytest.approx(where.mean())
        assert got["auc"] == pytest.approx(np.mean([roc_auc_score(where[k].ravel(), wide[k].ravel()) for k in range(7)]))
        hits = [where[k].ravel()[wide[k].ravel().argmax()] for k in range(7)]
        assert got["pointing"] == pytest.approx(np.mean(hits))


def said(sign: str, name: str, severity: str, place: float | None = None) -> dict[str, Any]:
    return {"sign": sign, "class": name, "severity": severity, "number": 0.5, "place_ms": place}


def made_cell(
    draw: int, mark: Mark | None, live: bool, findings: list[dict[str, Any]], place: float | None = None
) -> dict[str, Any]:
    return {
        "data": REAL, "draw": draw, "scale": "none", "mark": None if mark is None else asdict(mark), "accuracy": 0.9,
        "live": live, "moved": None if mark is None else 0.5 * live, "place_ms": place, "findings": findings,
    }  # fmt: skip


SPIKE, MAINS = Mark("spike", "V", 0.8, 1.0), Mark("mains", "A", 0.8, 0.1)
CELLS = [
    made_cell(0, SPIKE, True, [said("spike", "V", "high", 150.0)], 147.0),
    made_cell(1, SPIKE, True, [said("spike", "V", "high", -150.0), said("gain", "A", "high")], 147.0),
    made_cell(2, SPIKE, True, [said("spike", "V", "low", 150.0)], 147.0),
    made_cell(3, SPIKE, True, [said("spike", "A", "high", 147.0), said("mains", "V", "high")], 147.0),
    made_cell(4, SPIKE, False, [said("spike", "V", "high", 147.0)], 147.0),
    made_cell(0, MAINS, False, [said("mains", "A", "low")]),
    made_cell(1, MAINS, False, []),
    made_cell(0, None, False, [said("spike", "V", "low", 20.0), said("wander", "V", "high")]),
    made_cell(1, None, False, [said("mains", "N", "high")]),
    made_cell(2, None, False, [said("gain", "A", "high")]),
]  # fmt: skip


def test_the_tables_count_what_the_cells_say() -> None:
    cells = cell_table(CELLS)
    assert cells["named"].tolist() == [True, True, True, False, True, True, False]
    assert cells["used"].tolist() == [True, True, False, False, True, False, False]
    np.testing.assert_array_equal(cells["off_ms"], [3, 297, 3, np.nan, 0, np.nan, np.nan])
    assert cells["others_used"].tolist() == ["", "gain.A", "", "spike.A mains.V", "", "", ""]
    assert cells["twin"].tolist() == [True, True, True, False, False, True, True]
    assert cells["twin_named"].tolist() == [True, False, False, False, False, False, False]
    table = kind_table(cells, CELLS).set_index("kind")
    assert table.index.tolist() == ["mains", "spike", "all"]
    expected = {
        "plants": (2, 5, 7), "live": (0, 4, 4), "live_used": (0, 2, 2), "live_named": (0, 3, 3), "inert": (2, 1, 3),
        "inert_not_used": (2, 0, 2), "inert_present": (1, 0, 1), "placed": (0, 3, 3), "within_100_ms": (0, 2, 2),
        "with_twin": (2, 3, 5), "twin_named": (0, 1, 1), "twin_used": (0, 0, 0), "twins": (3, 3, 3),
        "twins_named": (0, 1, 2), "twins_used": (0, 0, 1),
    }  # fmt: skip
    for name, values in expected.items():
        assert tuple(table[name]) == values, name
    assert table.loc["spike", "median_off_ms"] == 3


def test_tables_of_clean_twins_alone_count_no_plant() -> None:
    table = kind_table(cell_table(CELLS[7:]), CELLS[7:])
    assert table[["kind", "plants", "twins", "twins_named"]].to_numpy().tolist() == [["all", 0, 3, 2]]
    assert not len(strength_table(cell_table(CELLS[7:])))


def test_map_tables_are_means_over_nets() -> None:
    def row(method: str, near: float, mass: float) -> dict[str, Any]:
        return {"method": method, "n": 10, "near": near, "pointing": near / 2, "mass": mass, "area": 0.1}

    one_, other = dict(CELLS[0]), dict(CELLS[1])
    one_["maps"], other["maps"] = [row("saliency", 1.0, 0.2), row("random", 0.2, 0.1)], [row("saliency", 0.5, 0.4)]
    table = mark_map_table([one_, other, *CELLS[2:]]).set_index("method")
    assert table.loc["saliency", ["nets", "examples", "near", "pointing", "mass"]].tolist() == pytest.approx(
        [2, 20, 0.75, 0.375, 0.3]
    )
    assert table.loc["saliency", "enrichment"] == pytest.approx(3)
    assert table.loc["saliency", "near spike"] == pytest.approx(0.75)
    assert not len(mark_map_table(CELLS))
    clean = dict(CELLS[7])
    clean["evidence"] = [{"method": "slope", "class": "A", "n": 5, "mass": 0.5, "area": 0.25, "pointing": 1.0, "auc": 0.7}]
    (found,) = evidence_table([clean]).to_dict("records")
    assert (found["class"], found["method"], found["enrichment"], found["auc"]) == ("A", "slope", 2.0, 0.7)
    assert not len(evidence_table(CELLS))


def test_cells_that_are_there_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def quick(cell: Cell, source: object, seed: int) -> dict[str, Any]:
        if len(made) == 4:
            raise RuntimeError("killed")
        made.append(cell.name)
        return replaced(cell)

    monkeypatch.setattr(audit_bench, "one", quick)
    monkeypatch.setattr(audit_bench, "_source", lambda *told: None)
    with pytest.raises(RuntimeError, match="killed"):
        run(None, tmp_path / "out", cells=7, seed=1)
    assert len(read_cells(tmp_path / "out")) == 4
    before, made[:] = list(made), []
    page = run(None, tmp_path / "out", cells=7, seed=1)
    assert before + made == [cell.name for cell in grid()[:7]]
    assert page.name == "table.md"
    assert {path.stem for path in (tmp_path / "out" / "tables").iterdir()} == {
        "cells",
        "kinds",
        "strengths",
        "maps",
        "evidence",
    }
    made[:] = []
    run(None, tmp_path / "out", cells=7, seed=1)
    assert not made
    with pytest.raises(EcglensError, match="is a benchmark of seed 1, not 2"):
        run(None, tmp_path / "out", cells=7, seed=2)
    with pytest.raises(EcglensError, match="is not empty and holds no benchmark"):
        run(None, tmp_path, cells=7, seed=1)
    next(iter((tmp_path / "out" / "cells").iterdir())).write_text("{", encoding="utf-8")
    with pytest.raises(EcglensError, match="is damaged; delete it"):
        read_cells(tmp_path / "out")
    with pytest.raises(EcglensError, match="holds no cells"):
        read_cells(tmp_path / "nothing")


def replaced(cell: Cell) -> dict[str, Any]:
    return made_cell(cell.draw, cell.mark, False, []) | {"data": cell.data, "scale": cell.scale}


def test_a_twin_is_the_same_cell_without_its_mark() -> None:
    cell = Cell(REAL, 3, "lead", SPIKE)
    assert cell.twin == replace(cell, mark=None)
    assert cell.name != cell.twin.name
    assert cell.name == "mitdb-003-lead-spike-V-0.8-1.0"
