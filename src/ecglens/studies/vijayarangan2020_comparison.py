"""Four nets on the same windows under one budget: the paper's comparison table with ours beside it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.errors import EcglensError
from ecglens.examples.splits import TEST
from ecglens.files import write_json, write_table
from ecglens.report import figures
from ecglens.report.html import Section, sheet, with_intervals, write_html
from ecglens.runs import Run, open_run, start_run
from ecglens.simulation.stand_in import find_records
from ecglens.studies import stages
from ecglens.studies.sources import NOT_FOR_PATIENTS, Sources
from ecglens.studies.vijayarangan2020_material import prepare
from ecglens.studies.vijayarangan2020_published import COMPARISON, METRICS
from ecglens.studies.vijayarangan2020_recipe import MODEL_NAMES, SPLITS, Question
from ecglens.studies.vijayarangan2020_report import data_section

_FOLDER = "nets"


def compare(
    question: Question, data: Path | None, out: Path, *, stop_after: str | None, overwrite: bool, or_simulated: bool
) -> Run:
    """Train and score every net on the same windows, epochs and optimiser; a net that is done is not done again.

    Raises EcglensError for a stage after "training": the comparison has no maps.
    """
    if stop_after not in (None, "examples", "training"):
        raise EcglensError(f"--stop-after {stop_after}: --model all has no maps; stop after examples or training")
    which, folder = find_records("mitdb", data, or_simulated=or_simulated)
    started = time.monotonic()
    this = start_run(out, {"study": "vijayarangan2020", **asdict(question)}, overwrite=overwrite)
    material = prepare(question, which, folder, this)
    if stop_after == "examples":
        return this.stopped()
    test = material.examples.take(np.flatnonzero(material.plan.split == TEST))
    recipe = question.recipe
    for name in MODEL_NAMES:
        own = replace(question, model=name)
        path = out / _FOLDER / name
        if (path / "metrics.json").is_file():
            continue
        asked = {"study": "vijayarangan2020", **asdict(own)}
        home = open_run(path) if (path / "run.json").is_file() else Run(path, {"status": "one net of a table", "asked": asked})
        home.tables.mkdir(parents=True, exist_ok=True)
        home.note(data=this.about["data"], shared_patients=this.about["shared_patients"])
        classifier = stages.train(
            name, material.examples, material.plan, recipe.training, home, scale=recipe.scale, seed=question.seed
        )
        probabilities = classifier.probabilities(classifier.logits(test))
        stages.write_predictions(test, probabilities, home)
        about = {"study": "vijayarangan2020", "recipe": question.recipe_name, "model": name, "split": question.split}
        about["n_trainable"] = str(classifier.n_trainable)
        stages.write_scores(about, test, probabilities, home, average_over=recipe.average_over, seed=question.seed)
    if stop_after == "training":
        return this.stopped()
    _write_table(this)
    write_comparison(this)
    return this.completed(started)


def _write_table(this: Run) -> None:
    """tables/comparison.csv and metrics.json: all nets beside the paper's numbers."""
    rows: list[dict[str, Any]] = []
    metrics: dict[str, Any] = {}
    for name in MODEL_NAMES:
        found = json.loads((this.path / _FOLDER / name / "metrics.json").read_text(encoding="utf-8"))
        row: dict[str, Any] = {"model": name, "values": int(found["n_trainable"]), "seconds": found["train.seconds"]}
        for metric in METRICS:
            key = "test.accuracy" if metric == "accuracy" else f"test.macro_{metric}"
            for end in ("", "_low", "_high"):
                row[f"{metric}{end}"] = metrics[f"{name}.{key}{end}"] = found[f"{key}{end}"]
        paper = COMPARISON.get(name, (None, (None,) * 4))[1]
        rows.append(row | {f"paper {metric}": number for metric, number in zip(METRICS, paper, strict=True)})
    write_table(this.tables / "comparison.csv", pd.DataFrame(rows))
    about = {"study": "vijayarangan2020", "model": "all", "data.kind": this.about["data"]["kind"]}
    write_json(this.path / "metrics.json", about | metrics)


def write_comparison(this: Run) -> Path:
    """report.html of a comparison: the table, and each net's confusion matrix."""
    source = Sources(this)
    asked, recipe, data = source.asked, source.recipe, this.about["data"]
    found = source.table("comparison")
    table = with_intervals(found, list(METRICS)).drop(columns=[f"paper {metric}" for metric in METRICS])
    beside = found[["model"]].copy()
    for metric in METRICS:
        beside[f"{metric}, paper"], beside[f"{metric}, ours"] = found[f"paper {metric}"], found[metric]
    budget = (
        f"One budget for all: the same windows, {recipe['epochs']} epochs, {recipe['optimiser']} with a rate of "
        f"{recipe['rate']:g} ({recipe['schedule']}), batches of {recipe['batch']}, seed {asked['seed']}. Nothing was tuned "
        "for one of them here; ecgnet-cam's design was found on shuffled windows of MIT-BIH. Seconds are of a shared machine."
    )
    text = [
        budget,
        f"Test: {SPLITS[asked['split']]}.",
        *(f"Missing: class {name}, {reason}." for name, reason in this.about["missing_classes"].items()),
        "The paper's numbers are of eight classes from three databases; it says neither split nor budget.",
    ]
    pictures = []
    for name in MODEL_NAMES:
        net = Sources(Run(this.path / _FOLDER / name, {"asked": asked, "data": data}))
        figure = figures.confusion_matrix(net.table("confusion"), f"{name}, {asked['split']}")
        pictures.append(source.picture(figure, f"confusion-{name}", f"{name}: rows add up to 1; small numbers are windows."))
    sheets = [
        sheet(beside, "", "The paper's comparison table beside ours (means over the classes that occur)"),
        sheet(table, "comparison", "Ours with 95 % intervals over patients, numbers of values and seconds of training"),
    ]
    section = Section("Four nets, one budget", text, sheets, pictures)
    banner = f"{data['kind'].upper()} ECGs: {data['title']}. {NOT_FOR_PATIENTS}"
    if asked["quick"]:
        banner += " A quick run: its scores show that the machinery works, nothing more."
    facts = [("data", f"{data['database']}, {len(data['records'])} records"), ("test", asked["split"])]
    ribbon = "SIMULATED ECGs: no person's heart" if source.simulated else None
    path = this.path / "report.html"
    write_html(path, "vijayarangan2020: the comparison table", banner, facts, [section, data_section(source)], ribbon=ribbon)
    return path
