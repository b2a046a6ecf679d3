"""The maps of habeeb2024: shares of the leads, and bars on twelve leads as published and corrected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ecglens.errors import EcglensError
from ecglens.models.resnet34 import CELL, REACH
from ecglens.report.grad_cam_bars import leads_with_bars
from ecglens.report.html import Picture, Section, sheet, with_intervals
from ecglens.report.matrix import lead_matrix
from ecglens.studies.habeeb2024_published import CLASSES, FIGURES, LEADS
from ecglens.studies.habeeb2024_recipe import CPSC, PTBXL
from ecglens.studies.sources import Sources

_WORDS = {CPSC: "CPSC2018", PTBXL: "PTB-XL"}
_BY = {
    "expected-gradients": "expected gradients, signed, as published",
    "shapley-cpsc": "exact Shapley values, absent leads as CPSC2018's mean",
    "shapley-ptbxl": "exact Shapley values, absent leads as PTB-XL's mean",
}


def leads_section(source: Sources) -> Section:
    """Heat maps of the leads' shares beside the paper's figures 2 to 5, by hospital and background."""
    table = source.table("leads")
    table["signed"] = table["signed"].astype(str) == "True"
    drawn: list[Picture] = []
    trained = source.asked["train"]
    for number, ((of, on), rows) in enumerate(FIGURES.items()):
        if of == trained:
            values = np.array([rows[name] for name in CLASSES])
            title = f"The paper's figure {number + 2}: trained on {of}, explained on {_WORDS[on]}"
            figure = lead_matrix(values, list(CLASSES), LEADS, title, signed=True)
            drawn.append(source.picture(figure, f"paper-{number + 2}", "Signed shares, as the paper has them."))
    for by, words in _BY.items():
        for hospital in (CPSC, PTBXL):
            signed = by == "expected-gradients"
            mine = table[(table["by"] == by) & (table["hospital"] == hospital) & (table["signed"] == signed)]
            if not len(mine):
                continue
            drawn.append(_heat(source, mine, f"leads-{by}-{hospital}", f"{_WORDS[hospital]}: {words}", signed=signed))
    absolute = with_intervals(table[~table["signed"]], ["share"], digits=2)
    wide = absolute[absolute["n"] > 0].pivot(index=["by", "hospital", "class", "n"], columns="lead", values="share")
    leads = [lead for lead in LEADS if lead in wide]
    n = int(table.groupby(["by", "hospital"])["n"].sum().max() / len(LEADS) / 2)
    errors = [value for key, value in source.metrics.items() if key.startswith("shapley-")]
    text = [
        f"For the class that the first net gives each record (at most {n} records of a hospital; n by class in the table).",
        "As published, signed sums are divided by their total: where leads for and against nearly cancel, a "
        "share is large and "
        "means nothing. Below, shares of sizes, with 95 % intervals over patients.",
    ]
    if errors:
        text.append(f"Exact Shapley values add up to what the logit rises above the background's, to {max(errors):.0e}.")
    return Section(
        "Which leads", text, [sheet(wide[leads].reset_index(), "leads", "Shares of the leads' sizes by class")], drawn
    )


def _heat(source: Sources, mine: pd.DataFrame, name: str, title: str, *, signed: bool) -> Picture:
    grid = mine.pivot(index="class", columns="lead", values="share").reindex(index=CLASSES, columns=LEADS)
    counts = mine.groupby("class")["n"].first().reindex(CLASSES)
    rows = [f"{each} (n {int(counts[each])})" for each in CLASSES]
    figure = lead_matrix(grid.to_numpy(float), rows, LEADS, title, signed=signed)
    return source.picture(figure, name, "Shares by class; white: no record has the class.")


def maps_section(source: Sources) -> Section:
    """Of each class a record with the published and the corrected Grad-CAM, and the map that tells leads apart."""
    path = source.run.tables / "shown.npz"
    if not path.is_file():
        raise EcglensError(f"{path} is missing; run it again to the end")
    drawn: list[Picture] = []
    with np.load(path, allow_pickle=False) as found:
        fs, leads = float(found["fs"]), tuple(map(str, found["leads"]))
        for number, row in enumerate(source.table("shown").to_dict("records")):
            drawn += _bars(source, row, number, found, fs, leads)
    text = [
        "The authors' code averages the gradients over the wrong axis: what it draws as time are the last "
        "layer's 512 channels, "
        "so the published bars carry no time, and they are the same on every lead.",
        f"Corrected, the map has a cell every {CELL} samples, one curve for all leads. A cell sees {REACH:,} samples to each "
        f"side: at {source.recipe['fs']:g} Hz that is {REACH / source.recipe['fs']:.1f} s, so bars are more exact than what "
        "they show.",
        "Guided Grad-CAM below tells leads apart: its size in each lead, as a share of all; nothing where no cell speaks for "
        "the class.",
    ]
    return Section("Grad-CAM, as published and corrected", text, [_guided(source)], drawn)


def _bars(source: Sources, row: dict[str, Any], number: int, found: Any, fs: float, leads: tuple[str, ...]) -> list[Picture]:
    signal = found[f"signal {number}"]
    start, stop = int(row["start"]), int(row["stop"])
    shown = signal[:, max(start, stop - round(10 * fs)) : stop]  # the last ten seconds, without padding
    begin = (max(start, stop - round(10 * fs))) / fs
    title = f"{row['class']}: {row['id']} ({_WORDS[row['hospital']]}; {'right' if row['right'] else 'wrong'})"
    published = leads_with_bars(
        shown, found[f"channel-cam {number}"], fs, leads, title + ", as published", what="as published",
        channels=True,
    )  # fmt: skip
    whole = (-begin, signal.shape[1] / fs - begin)
    corrected = leads_with_bars(shown, found[f"grad-cam {number}"], fs, leads, title + ", corrected", within=whole)
    name = f"figure-6-{number + 1:02d}"
    return [
        source.picture(published, f"{name}-published", f"{row['class']} as published: channels, drawn as if they were time."),
        source.picture(corrected, f"{name}-corrected", f"{row['class']} corrected: time, one map for all leads."),
    ]


def _guided(source: Sources) -> Any:
    """Shares of the leads in guided Grad-CAM of the records that are shown."""
    rows = []
    with np.load(source.run.tables / "shown.npz", allow_pickle=False) as found:
        leads = [str(each) for each in found["leads"]]
        for number, row in enumerate(source.table("shown").to_dict("records")):
            size = np.abs(found[f"guided {number}"]).sum(axis=1, dtype=np.float64)
            share = size / size.sum() if size.sum() else np.full(len(size), np.nan)  # nothing speaks for the class
            rows.append({"class": row["class"], "id": row["id"]} | dict(zip(leads, share.tolist(), strict=True)))
    return sheet(pd.DataFrame(rows), "", "Guided Grad-CAM: shares of the leads in the records below", digits=2)
