"""The maps of habeeb2024: shares of the leads, and bars on twelve leads as published and corrected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ecglens.models.resnet34 import CELL, REACH
from ecglens.report.grad_cam_bars import leads_with_bars
from ecglens.report.html import Picture, Section, Sheet, sheet, with_intervals
from ecglens.report.lead_maps import leads_with_maps
from ecglens.report.matrix import lead_matrix
from ecglens.studies.habeeb2024_published import CLASSES, FIGURES, LEADS
from ecglens.studies.habeeb2024_recipe import CPSC, PTBXL, WORDS
from ecglens.studies.habeeb2024_shown import Shown, read_shown
from ecglens.studies.sources import Sources

_BY = {
    "expected-gradients": "expected gradients, signed, as published",
    "shapley-cpsc": "exact Shapley values, absent leads as CPSC2018's mean",
    "shapley-ptbxl": "exact Shapley values, absent leads as PTB-XL's mean",
}
_SHORT = {
    "expected-gradients": "expected gradients",
    "shapley-cpsc": "absent: CPSC2018's mean",
    "shapley-ptbxl": "absent: PTB-XL's mean",
}
_OCCLUSION = "fall of the logit where half a second of the lead is the lead's mean"
_GUIDED = "guided Grad-CAM (no unit)"
_TINTS = "Tints: by how much the logit falls where half a second of the lead is replaced by the lead's mean."
_FULL = 99.0  # per cent of guided Grad-CAM's sizes lie under full colour: one sample must not pale all others


def leads_section(source: Sources) -> Section:
    """Heat maps of the leads' shares beside the paper's figures 2 to 5, by hospital and background."""
    table = source.table("leads")
    table["signed"] = table["signed"].astype(str) == "True"
    drawn: list[Picture] = []
    trained = source.asked["train"]
    for number, ((of, on), rows) in enumerate(FIGURES.items()):
        if of == trained:
            values = np.array([rows[name] for name in CLASSES])
            title = f"The paper's figure {number + 2}: trained on {of}, explained on {WORDS[on]}"
            figure = lead_matrix(values, list(CLASSES), LEADS, title, signed=True)
            drawn.append(source.picture(figure, f"paper-{number + 2}", "Signed shares, as the paper has them."))
    for by, words in _BY.items():
        for hospital in (CPSC, PTBXL):
            signed = by == "expected-gradients"
            mine = table[(table["by"] == by) & (table["hospital"] == hospital) & (table["signed"] == signed)]
            if not len(mine):
                continue
            drawn.append(_heat(source, mine, f"leads-{by}-{hospital}", f"{WORDS[hospital]}: {words}", signed=signed))
    for one in (one for one in read_shown(source) if one.row["patient"]):
        drawn.append(_patient(source, one, f"patient-{one.row['hospital']}"))
    absolute = with_intervals(table[~table["signed"]], ["share"], digits=2)
    wide = absolute[absolute["n"] > 0].pivot(index=["by", "hospital", "class", "n"], columns="lead", values="share")
    leads = [lead for lead in LEADS if lead in wide]
    n = int(table.groupby(["by", "hospital"])["n"].sum().max() / len(LEADS) / 2)
    errors = [value for key, value in source.metrics.items() if key.startswith("shapley-")]
    text = [
        f"For the class that the first net gives each record (at most {n} records of a hospital; n by class in the table).",
        "As published, signed sums are divided by their total: where leads for and against nearly cancel, a "
        "share is large and means nothing. Below, shares of sizes, with 95 % intervals over patients; a class that "
        "no record was given has no row there, and is white in the pictures.",
        "Last, one record of each hospital (the paper's patient view): which leads speak for what the net says, and when.",
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


def _patient(source: Sources, one: Shown, name: str) -> Picture:
    """The record lead by lead: what each whole lead adds, and when hiding it costs most."""
    values = source.table("leads-values")
    mine = values[(values["hospital"] == one.row["hospital"]) & (values["record"].astype(str) == str(one.row["record"]))]
    by = [each for each in _BY if each.startswith("shapley-") and (mine["by"] == each).any()] or ["expected-gradients"]
    bars = {_SHORT[each]: mine.loc[mine["by"] == each, list(one.leads)].to_numpy(float)[0] for each in by}
    figure = leads_with_maps(one.signal, one.occlusion, one.fs, one.leads, _title(one), what=_OCCLUSION, bars=bars)
    what = "exact Shapley values" if len(by) > 1 else "sums of expected gradients, as published"
    caption = f"{one.row['id']}: bars are each whole lead's part of the logit of {one.row['class']} ({what}). {_TINTS}"
    return source.picture(figure, name, caption)


def _verdict(row: dict[str, Any]) -> str:
    """What the net made of the record's likeliest class."""
    if row["class"] not in str(row["answered"]).split(", "):
        return "not answered"
    return "right" if row["right"] else "wrong"


def _title(one: Shown) -> str:
    """Whose record, what its labels say, what the net says."""
    row, verdict = one.row, _verdict(one.row)
    answers = [name for name in str(row["answered"]).split(", ") if name not in (row["class"], "none")]
    if verdict == "not answered":
        rest = "; answered: " + (", ".join(answers) or "none")
    else:
        rest = f"; also answered: {', '.join(answers)}" if answers else ""
    return (
        f"{row['id']} ({WORDS[row['hospital']]}). Labels: {row['labels']}\n"
        f"The net: {row['class']}, probability {row['probability']:.2f}, threshold {row['threshold']:.2f}, {verdict}{rest}"
    )


def maps_section(source: Sources) -> Section:
    """Of each class a record with Grad-CAM as published and corrected and the maps that tell leads apart; the wrong record."""
    shown = read_shown(source)
    drawn: list[Picture] = []
    of_class = [one for one in shown if one.row["of_class"]]
    for number, one in enumerate(of_class, start=1):
        name = f"figure-6-{number:02d}"
        drawn += [*_bars(source, one, name), *_by_lead(source, one, name)]
    wrong = [one for one in shown if one.row["wrong"]]
    for one in wrong:
        drawn += [_patient(source, one, "figure-8"), *_bars(source, one, "figure-8")]
    n = len(source.table("leads-values").drop_duplicates(["hospital", "record"]))
    text = [
        "The authors' code averages the gradients over the wrong axis: what it draws as time are the last "
        "layer's 512 channels, so the published bars carry no time, and they are the same on every lead.",
        f"Corrected, the map has a cell every {CELL} samples, one curve for all leads. A cell sees {REACH:,} samples to each "
        f"side: at {source.recipe['fs']:g} Hz that is {REACH / source.recipe['fs']:.1f} s, so bars are more exact than what "
        "they show.",
        "Two maps tell leads apart and stand beside the bars: occlusion (half a second of one lead becomes the lead's mean: "
        "by how much does the logit fall?) and guided Grad-CAM, fine in detail, but that detail hardly depends on the class. "
        "Its size in each lead, as a share of all, is in the table; nothing where no cell speaks for the class.",
        f"Wrongly answered (the paper's figure 8), the surest of {n} explained records: {wrong[0].row['id']}, labels "
        f"{wrong[0].row['labels']}, answered {wrong[0].row['class']}. It is drawn last."
        if wrong
        else f"Of the {n} explained records none was answered wrongly with its likeliest class (the paper's figure 8).",
    ]
    return Section("Grad-CAM, as published and corrected", text, [_guided_shares(of_class)], drawn)


def _bars(source: Sources, one: Shown, name: str) -> list[Picture]:
    """Grad-CAM's bars on twelve leads as published and corrected."""
    signal, fs, leads = one.signal, one.fs, one.leads
    row = one.row
    title = f"{row['class']}: {row['id']} ({WORDS[row['hospital']]}; {_verdict(row)})"
    published = leads_with_bars(
        signal, one.channel_cam, fs, leads, title + ", as published", what="as published", channels=True
    )
    corrected = leads_with_bars(signal, one.grad_cam, fs, leads, title + ", corrected", within=one.within)
    what = f"{one.row['class']}, {one.row['id']}"
    return [
        source.picture(published, f"{name}-published", f"{what}, as published: channels, drawn as if they were time."),
        source.picture(corrected, f"{name}-corrected", f"{what}, corrected: time, one map for all leads."),
    ]


def _by_lead(source: Sources, one: Shown, name: str) -> list[Picture]:
    """The two maps that tell leads apart."""
    what = f"{one.row['class']}, {one.row['id']}"
    hidden = leads_with_maps(one.signal, one.occlusion, one.fs, one.leads, _title(one) + "\nOcclusion", what=_OCCLUSION)
    guided = leads_with_maps(
        one.signal, one.guided, one.fs, one.leads, _title(one) + "\nGuided Grad-CAM", what=_GUIDED, percentile=_FULL
    )
    return [
        source.picture(hidden, f"{name}-occlusion", f"{what}, occlusion. {_TINTS}"),
        source.picture(guided, f"{name}-guided", f"{what}, guided Grad-CAM: full colour from its {_FULL:g}th percentile on."),
    ]


def _guided_shares(shown: list[Shown]) -> Sheet:
    """Shares of the leads in guided Grad-CAM of the records that are shown."""
    rows = []
    for one in shown:
        size = np.abs(one.guided).sum(axis=1, dtype=np.float64)
        share = size / size.sum() if size.sum() else np.full(len(size), np.nan)  # nothing speaks for the class
        rows.append({"class": one.row["class"], "id": one.row["id"]} | dict(zip(one.leads, share.tolist(), strict=True)))
    return sheet(pd.DataFrame(rows), "", "Guided Grad-CAM: shares of the leads in the records below", digits=2)
