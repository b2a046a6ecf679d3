"""The tables of the benchmark, from the cells that are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.audit.plant import KINDS
from ecglens.errors import EcglensError
from ecglens.files import write_table, write_text

_CLASSES = ("V", "A")  # that are marked
_NEAR_MS = 100.0
_ALL = "all"
_TRUE = ("live", "named", "used", "twin", "twin_named", "twin_used")
_CELL = [
    "data", "draw", "scale", "kind", "class", "share", "strength", "moved", "live", "named", "used", "off_ms", "twin",
    "twin_named", "twin_used", "others_used", "accuracy",
]  # fmt: skip


def write_tables(out: Path) -> Path:
    """tables/cells.csv, kinds.csv, strengths.csv, maps.csv, evidence.csv, and table.md; gives the path of the last."""
    found = read_cells(out)
    cells = cell_table(found)
    tables = {
        "cells": cells, "kinds": kind_table(cells, found), "strengths": strength_table(cells),
        "maps": mark_map_table(found), "evidence": evidence_table(found),
    }  # fmt: skip
    for name, table in tables.items():
        write_table(out / "tables" / f"{name}.csv", table)
    path = out / "table.md"
    write_text(path, _page(found, tables))
    return path


def read_cells(out: Path) -> list[dict[str, Any]]:
    """What each net left, in order of name; raises EcglensError where there is none, or one is damaged."""
    files = sorted((out / "cells").glob("*.json"))
    if not files:
        raise EcglensError(f"{out} holds no cells; run the benchmark first")
    found = []
    for file in files:
        try:
            found.append(json.loads(file.read_text(encoding="utf-8")))
        except ValueError:
            raise EcglensError(f"{file} is damaged; delete it and run the benchmark again") from None
    return found


def _reported(cell: dict[str, Any], kind: str, class_name: str) -> list[dict[str, Any]]:
    return [each for each in cell["findings"] if (each["sign"], each["class"]) == (kind, class_name)]


def _same_net(cell: dict[str, Any]) -> tuple[str, int, str]:
    return cell["data"], cell["draw"], cell["scale"]


def cell_table(found: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each planted net.

    live: whether the net goes by the mark; named: the audit reports the kind in the class; used: as used ("high"); off_ms:
    how far from the mark the finding places it; twin: its clean twin is there; twin_named, twin_used: the same is reported
    of the twin; others_used: other kinds or classes that are called used, as words.
    """
    twins = {_same_net(cell): cell for cell in found if cell["mark"] is None}
    rows = []
    for cell in found:
        mark = cell["mark"]
        if mark is None:
            continue
        said = _reported(cell, mark["kind"], mark["class_name"])
        twin = twins.get(_same_net(cell))
        same = [] if twin is None else _reported(twin, mark["kind"], mark["class_name"])
        places = [each["place_ms"] for each in said if each["place_ms"] is not None]
        known = cell["place_ms"] is not None and len(places) > 0
        others = [f"{each['sign']}.{each['class']}" for each in cell["findings"]
                  if each["severity"] == "high" and each not in said]  # fmt: skip
        rows.append(
            {
                "data": cell["data"], "draw": cell["draw"], "scale": cell["scale"], "kind": mark["kind"],
                "class": mark["class_name"], "share": mark["share"], "strength": mark["strength"], "moved": cell["moved"],
                "live": cell["live"], "named": bool(said), "used": any(each["severity"] == "high" for each in said),
                "off_ms": abs(places[0] - cell["place_ms"]) if known else np.nan, "twin": twin is not None,
                "twin_named": bool(same), "twin_used": any(each["severity"] == "high" for each in same),
                "others_used": " ".join(others), "accuracy": cell["accuracy"],
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=_CELL).astype(dict.fromkeys(_TRUE, bool))


def kind_table(cells: pd.DataFrame, found: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each kind, and one for all: see `cell_table`; the last four columns count clean twins, one by one.

    twins_named, twins_used: clean twins in which the kind is reported of V or A; in the last row, any kind.
    """
    twins = [cell for cell in found if cell["mark"] is None]
    rows = []
    for kind in (*(kind for kind in KINDS if (cells["kind"] == kind).any()), _ALL):
        part = cells if kind == _ALL else cells[cells["kind"] == kind]
        kinds = KINDS if kind == _ALL else (kind,)
        live, inert = part[part["live"]], part[~part["live"]]
        off = live["off_ms"].dropna()
        reports = [[each for k in kinds for name in _CLASSES for each in _reported(twin, k, name)] for twin in twins]
        rows.append(
            {
                "kind": kind, "plants": len(part), "live": len(live), "live_used": int(live["used"].sum()),
                "live_named": int(live["named"].sum()), "inert": len(inert),
                "inert_not_used": int((~inert["used"]).sum()), "inert_present": int((inert["named"] & ~inert["used"]).sum()),
                "placed": len(off), "within_100_ms": int((off <= _NEAR_MS).sum()),
                "median_off_ms": float(off.median()) if len(off) else np.nan,
                "with_twin": int(part["twin"].sum()), "twin_named": int(part["twin_named"].sum()),
                "twin_used": int(part["twin_used"].sum()), "twins": len(twins),
                "twins_named": sum(bool(each) for each in reports),
                "twins_used": sum(any(one["severity"] == "high" for one in each) for each in reports),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def strength_table(cells: pd.DataFrame) -> pd.DataFrame:
    """A row for each source, scaling, kind and strength: how many plants, how many of them live and called used."""
    grouped = cells.groupby(["data", "scale", "kind", "strength"], sort=True)
    return grouped.agg(
        plants=("live", "size"), live=("live", "sum"), used=("used", "sum"), median_moved=("moved", "median")
    ).reset_index()


def mark_map_table(found: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each method: means over nets of what `maps_at_marks` counts; "near KIND": of the plants of that kind."""
    rows = [{"kind": cell["mark"]["kind"], **row} for cell in found for row in cell.get("maps", [])]
    if not rows:
        return pd.DataFrame(columns=["method", "nets", "examples"])
    frame = pd.DataFrame(rows)
    table = _means(frame, ["method"], ["near", "pointing", "mass", "area"])
    near = frame.pivot_table(index="method", columns="kind", values="near")
    return table.join(near.add_prefix("near "), on="method")


def evidence_table(found: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each class and method: means over clean simulated nets of what `maps_at_evidence` counts."""
    rows = [row for cell in found for row in cell.get("evidence", [])]
    if not rows:
        return pd.DataFrame(columns=["class", "method", "nets", "examples"])
    return _means(pd.DataFrame(rows), ["class", "method"], ["mass", "area", "pointing", "auc"])


def _means(frame: pd.DataFrame, by: list[str], numbers: list[str]) -> pd.DataFrame:
    grouped = frame.groupby(by, sort=False)
    table = grouped[numbers].mean()
    table.insert(0, "nets", grouped.size())
    table.insert(1, "examples", grouped["n"].sum())
    table["enrichment"] = table["mass"] / table["area"]
    return table.reset_index()


def _page(found: list[dict[str, Any]], tables: dict[str, pd.DataFrame]) -> str:
    twins = sum(cell["mark"] is None for cell in found)
    lines = [f"{len(found) - twins} planted nets, {twins} clean twins.", ""]
    for name in ("kinds", "strengths", "maps", "evidence"):
        lines += [f"## {name}", "", _markdown(tables[name]), ""]
    return "\n".join(lines)


def _markdown(table: pd.DataFrame) -> str:
    def text(value: Any) -> str:
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:.3g}"
        return str(value)

    head = [" | ".join(table.columns), " | ".join("---" for _ in table.columns)]
    rows = [" | ".join(text(value) for value in row) for row in table.itertuples(index=False)]
    return "\n".join(f"| {row} |" for row in head + rows)
