"""From maps and answers to the tables of the report."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.branches import branch_logits, branch_shares
from ecglens.analysis.course import course_of_maps
from ecglens.analysis.deletion import deletion_by_class, deletion_effect
from ecglens.analysis.expected import mass_where_expected
from ecglens.analysis.origin import drawn_evenly, probe_all
from ecglens.analysis.receptive import receptive_field
from ecglens.attribution import explain
from ecglens.attribution.masks import PUBLISHED
from ecglens.attribution.registry import find_method
from ecglens.examples.examples import Examples
from ecglens.examples.splits import TEST, TRAIN
from ecglens.files import write_json, write_table
from ecglens.models import Classifier
from ecglens.runs import Run
from ecglens.studies.options import differing_options
from ecglens.studies.vijayarangan2020_material import Material
from ecglens.studies.vijayarangan2020_recipe import REASONS, Question, recipe_for

if TYPE_CHECKING:
    from ecglens.studies.vijayarangan2020 import Maps

_SETTLING = 2  # windows of a class on which the published mask is followed to its end
_PROBED = 400  # windows of a class that the origin probe takes, evenly from its patients
_LEAST = 10  # windows that a patient must have in a class to be asked for
_STILL = 0.05  # a mask that moves less over 20 steps has settled: deletion-mask's own tolerance


def analyse(
    question: Question, classifier: Classifier, material: Material, logits: NDArray[np.float32], maps: Maps, this: Run
) -> None:
    """Write every table that the report reads, and add what was found to metrics.json."""
    examples = material.examples
    cells = maps.one_pass.native(maps.one_pass.methods[0])[:1].shape[-1]
    found: dict[str, Any] = {"maps.method": maps.one_pass.methods[0], "maps.n": len(maps.rows), "maps.cells": cells}
    found["maps.cell_sees_ms"] = 1000 * (sum(receptive_field(classifier)) + 1) / examples.fs
    found |= _write_branches(question, classifier, material, logits, this)
    found |= _write_masks(question, classifier, examples, maps, this)
    found |= _write_settling(question, classifier, examples, maps, this)
    found |= _write_course(examples, maps, this)
    _write_expected(examples, maps, this, question.seed)
    found |= _write_origin(question, classifier, material, maps, this)
    _write_shown(examples, maps, this)
    _write_recipes(question, this)
    metrics = json.loads((this.path / "metrics.json").read_text(encoding="utf-8")) | found
    write_json(this.path / "metrics.json", metrics)


def _write_branches(
    question: Question, classifier: Classifier, material: Material, logits: NDArray[np.float32], this: Run
) -> dict[str, Any]:
    """tables/branches.csv: the parts of the predicted class's logit that the CNN and the LSTM have, by class."""
    if not hasattr(classifier.module, "branches"):
        return {}
    examples, split = material.examples, material.plan.split
    rng = np.random.default_rng([question.seed, 13])
    test = np.flatnonzero(split == TEST)
    chosen = np.sort(rng.permutation(len(test))[:2_000])
    usual = examples.take(np.sort(rng.permutation(np.flatnonzero(split == TRAIN))[:500]))
    part = examples.take(test[chosen])
    parts = branch_logits(classifier, part)
    target = logits[chosen].argmax(1).astype(np.int64)
    reference = branch_logits(classifier, usual)
    shares = branch_shares(parts, target, reference)
    apart = np.abs(parts.whole - logits[chosen]).max()
    rows = np.arange(len(target))
    frame = shares.assign(
        predicted=np.array(examples.classes)[target],
        logit=parts.whole[rows, target],
        of_cnn=parts.cnn[rows, target],
        of_lstm=parts.lstm[rows, target],
        constant=parts.constant[target],
    )
    # would the CNN, whose map is shown, say the same if the LSTM said what it says on average?
    alone = (parts.cnn + parts.constant + reference.lstm.mean(0)).argmax(1)
    frame["cnn_alone_says_the_same"] = alone == target
    grouped = frame.groupby("predicted")
    table = grouped[["logit", "of_cnn", "of_lstm", "constant", "cnn", "lstm"]].mean()
    table["lstm_share"] = grouped["lstm_share"].median()
    table["lstm_share_q25"] = grouped["lstm_share"].quantile(0.25)
    table["lstm_share_q75"] = grouped["lstm_share"].quantile(0.75)
    table["cnn_alone_says_the_same"] = grouped["cnn_alone_says_the_same"].mean()
    table.insert(0, "n", grouped.size())
    write_table(this.tables / "branches.csv", table.reset_index())
    return {
        "branches.lstm_share": float(frame["lstm_share"].median()),
        "branches.parts_miss_logits_by": float(apart),
        "branches.cnn_alone_says_the_same": float(frame["cnn_alone_says_the_same"].mean()),
    }


def _write_masks(question: Question, classifier: Classifier, examples: Examples, maps: Maps, this: Run) -> dict[str, Any]:
    """tables/deletion.csv and masks.csv, by the class that the model gave: what masks delete does, do they settle, do starts
    agree."""
    part = examples.take(maps.masked)
    asked = maps.masks.target
    fill = str(find_method("deletion-mask", question.recipe.mask_options).options.get("baseline", "zero"))
    table = deletion_effect(classifier, part, maps.masks["deletion-mask"][:], asked, fill=fill, seed=question.seed)
    by_class = deletion_by_class(table, asked, examples.classes, part.column("patient").astype(str), seed=question.seed)
    write_table(this.tables / "deletion.csv", by_class)
    frames = []
    for name, store in (("whole net", maps.masks), ("LSTM alone", maps.lstm_masks)):
        if store is None:
            continue
        frame = pd.DataFrame({"class": np.array(examples.classes)[asked], "mask of": name})
        frame["deleted"] = np.asarray(store["deletion-mask"][:]).mean(axis=(1, 2))
        for note in ("moved", "overlap", "score-left"):
            if note in store.notes("deletion-mask"):
                frame[note] = store.note("deletion-mask", note)
        frame["stood still"] = frame["moved"] <= _STILL
        frames.append(frame)
    masks = pd.concat(frames)
    by = masks.groupby(["mask of", "class"], sort=False)
    write_table(this.tables / "masks.csv", by.mean().assign(n=by.size()).reset_index())
    found = {f"mask.ratio.{row['class']}": row["ratio"] for row in by_class.to_dict("records")}
    found |= {f"mask.beats_random.{row['class']}": row["share"] for row in by_class.to_dict("records")}
    if "overlap" in masks:
        found["mask.overlap"] = float(masks.loc[masks["mask of"] == "whole net", "overlap"].mean())
    return found


def _write_settling(question: Question, classifier: Classifier, examples: Examples, maps: Maps, this: Run) -> dict[str, Any]:
    """tables/settling.csv: the published mask after more and more steps, and with a larger step, on a few windows."""
    labels = examples.labels[maps.masked]
    few = np.concatenate([np.flatnonzero(labels == label)[:_SETTLING] for label in range(len(examples.classes))])
    rows, target = maps.masked[few], maps.masks.target[few]
    last = min(question.recipe.mask_steps, 60) if question.quick else PUBLISHED["steps"]
    steps = sorted({max(last // 5, 1), max(last // 2, 1), last})
    rows_out = []
    for rate, n in [(PUBLISHED["rate"], n) for n in steps] + [(0.05, steps[-1])]:
        found = explain(
            classifier, examples, ["deletion-mask"], target=target, rows=rows, quiet=True,
            options={"deletion-mask": PUBLISHED | {"steps": n, "rate": rate}},
        )  # fmt: skip
        kept = 1 - found["deletion-mask"][:]
        rows_out.append(
            {
                "rate": rate,
                "steps": n,
                "m, mean": kept.mean(),
                "m, largest": kept.max(),
                "moved in the last 20 steps": found.note("deletion-mask", "moved").max(),
            }
        )
    write_table(this.tables / "settling.csv", pd.DataFrame(rows_out))
    return {"settling.m_mean": rows_out[len(steps) - 1]["m, mean"], "settling.m_mean_large_rate": rows_out[-1]["m, mean"]}


def _write_course(examples: Examples, maps: Maps, this: Run) -> dict[str, Any]:
    """tables/course.csv (rank correlations, by the class that the model gave) and course_maps.csv (a window of each)."""
    at = np.searchsorted(maps.rows, maps.followed)
    labels = maps.one_pass.target[at]
    table = course_of_maps(dict(maps.course), labels, examples.classes)
    write_table(this.tables / "course.csv", table)
    frames = []
    for label, name in enumerate(examples.classes):
        mine = np.flatnonzero(labels == label)
        if not len(mine):
            continue
        row = int(mine[0])
        for epoch, values in maps.course[0].items():
            cells = values[row, 0]
            about = {"class": name, "epoch": epoch, "cell": np.arange(len(cells)), "map": cells}
            frames.append(pd.DataFrame(about | {"id": examples.table["id"].iloc[maps.followed[row]]}))
    write_table(this.tables / "course_maps.csv", pd.concat(frames))
    write_table(this.tables / "course_signals.csv", _signals(examples, maps.followed, labels))
    last = table["epoch"].max()
    between = table[table["beside"].str.startswith("start") & (table["epoch"] == last)]["median"]
    others = table[table["beside"] == "another window"]["median"]
    untrained = table[(table["beside"] == "final map") & (table["epoch"] == 0) & (table["start"] == 0)]["median"]
    return {
        "course.between_starts": float(between.mean()) if len(between) else None,
        "course.untrained_with_final": float(untrained.mean()),
        "course.between_windows": float(others.mean()) if len(others) else None,
    }


def _signals(examples: Examples, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> pd.DataFrame:
    frames = []
    for label, name in enumerate(examples.classes):
        mine = np.flatnonzero(labels == label)
        if len(mine):
            row = rows[mine[0]]
            time = np.arange(examples.length) / examples.fs
            frames.append(pd.DataFrame({"class": name, "time_s": time, "mv": examples.signals[row, 0]}))
    return pd.concat(frames)


def _write_expected(examples: Examples, maps: Maps, this: Run, seed: int) -> None:
    """tables/expected.csv: how much of each map lies where cardiology expects the sign of the class that the model gave."""
    part = replace(examples.take(maps.rows), labels=maps.one_pass.target)
    by_method = {name: np.asarray(maps.one_pass[name][:]) for name in maps.one_pass.methods}
    by_method["uniform"] = np.ones((len(part), 1, examples.length), np.float32)
    one = mass_where_expected(part, by_method, part.column("patient").astype(str), seed=seed)
    few = replace(examples.take(maps.masked), labels=maps.masks.target)
    masks = {"deletion-mask": np.asarray(maps.masks["deletion-mask"][:])}
    if maps.lstm_masks is not None:
        masks["deletion-mask, LSTM alone"] = np.asarray(maps.lstm_masks["deletion-mask"][:])
    two = mass_where_expected(few, masks, few.column("patient").astype(str), seed=seed)
    write_table(this.tables / "expected.csv", pd.concat([one, two]))


def _write_origin(question: Question, classifier: Classifier, material: Material, maps: Maps, this: Run) -> dict[str, Any]:
    """tables/origin-*.csv: can patient (and database, where there are two) be told within a class, and does it matter?"""
    examples = material.examples
    test = np.flatnonzero(material.plan.split == TEST)
    who = examples.column("patient")[test].astype(str)
    drawn = drawn_evenly(examples.labels[test], who, who, per_class=_PROBED, at_least=_LEAST, seed=question.seed)
    part = examples.take(test[drawn])
    cam = maps.one_pass.methods[0]
    cells = explain(classifier, part, [cam], quiet=True).native(cam)[:]
    origins = ["patient"] + (["database"] if len(set(part.column("database"))) > 1 else [])
    found: dict[str, Any] = {}
    for origin in origins:
        tables = probe_all(classifier, part, cells, origin, per_class=_PROBED, at_least=_LEAST, seed=question.seed)
        for name, table in tables.items():
            write_table(this.tables / f"origin-{origin}-{name}.csv", table)
        told = tables["told"]
        whole = told[told["class"] == "all classes"]
        found |= {f"origin.{origin}.{row['from']}.auc": row["auc"] for row in whole.to_dict("records")}
    return found


def _write_shown(examples: Examples, maps: Maps, this: Run) -> None:
    """tables/shown.csv: signal, map and masks, sample by sample, of one right and one wrong window per class."""
    labels, target = examples.labels[maps.masked], maps.masks.target
    at = np.searchsorted(maps.rows, maps.masked)
    cam = np.asarray(maps.one_pass[maps.one_pass.methods[0]][:])[at]
    mask = np.asarray(maps.masks["deletion-mask"][:])
    lstm = None if maps.lstm_masks is None else np.asarray(maps.lstm_masks["deletion-mask"][:])
    frames = []
    for label in range(len(examples.classes)):
        for right in (True, False):
            mine = np.flatnonzero((labels == label) & ((target == labels) == right))
            if not len(mine):
                continue
            k = int(mine[len(mine) // 2])
            about = examples.table.iloc[maps.masked[k]]
            frame = {
                "id": about["id"],
                "lead": about["lead_names"],
                "label": examples.classes[label],
                "predicted": examples.classes[target[k]],
                "time_s": np.arange(examples.length) / examples.fs,
                "r_s": about["r_index"] / examples.fs,
                "mv": examples.signals[maps.masked[k], 0],
                "cam": cam[k, 0],
                "mask": mask[k, 0],
            }
            frames.append(pd.DataFrame(frame | ({} if lstm is None else {"mask_lstm": lstm[k, 0]})))
    write_table(this.tables / "shown.csv", pd.concat(frames))


def _write_recipes(question: Question, this: Run) -> None:
    """tables/recipes.csv: the options on which the two recipes differ, the value of this run, and why it matters."""
    published, corrected, own = (
        recipe_for(name, question.model, question.split, quick=False)
        for name in ("as-published", "corrected", question.recipe_name)
    )
    rows = differing_options((published, corrected), own, question.recipe, REASONS)
    write_table(this.tables / "recipes.csv", pd.DataFrame(rows))
    write_json(this.tables / "recipe.json", asdict(question.recipe))
