"""Jones, Deligianni, Dalton 2020: which parts of a beat move a classifier, class by class, on MIT-BIH."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.examples.beats import BeatFacts, cut_beats
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.splits import SPLITS, Plan, make_split, plan_training, shared_patients
from ecglens.files import sha256, write_json, write_table
from ecglens.models import Classifier, create, load
from ecglens.progress import say
from ecglens.recordings.databases import Skipped, database, read_records
from ecglens.recordings.places import find_database, records_present
from ecglens.runs import COMPLETE, STOPPED, Run, start_run
from ecglens.studies.jones2020_recipe import MODEL_NAMES, Recipe, recipe_for, with_settings
from ecglens.training.fit import fit

STAGES = ("examples", "training", "attribution", "analysis")

# Ten records that together hold the classes on the side where they are needed, for --quick
_QUICK = {
    "holdout": "100 109 118 119 201 207 209 217 222 232",
    "patients": "100 109 118 119 201 207 209 217 222 232",
    "leave-patients-out": "104 107 113 118 119 207 208 209 210 222",
    "ds1-ds2": "118 119 200 207 208 209 213 222 231 232",
}


@dataclass(frozen=True)
class Question:
    """What is asked of the study: everything that decides what comes out."""

    recipe_name: str
    recipe: Recipe
    model: str
    split: str
    classes: str
    quick: bool
    seed: int


def ask(
    recipe: str, model: str | None, split: str, classes: str, settings: list[str], *, quick: bool, seed: int
) -> Question:
    """Check the user's words; the model defaults to the paper's CNN, or to resnet in the corrected recipe."""
    model = model or ("cnn" if recipe == "as-published" else "resnet")
    choose(split, list(SPLITS), "split")
    label_map(classes)
    values = with_settings(recipe_for(recipe, model, split, quick=quick), settings)
    return Question(recipe, values, model, split, classes, quick, seed)


@dataclass(frozen=True)
class Material:
    """The beats of a run and what each is for."""

    examples: Examples
    plan: Plan
    facts: BeatFacts
    skipped: list[Skipped]


def run(question: Question, data: Path | None, out: Path, *, stop_after: str | None, overwrite: bool) -> Run:
    """Everything from files to the report, in stages; a stage that is done is not done again."""
    folder = find_database(database("mitdb"), data)
    started = time.monotonic()
    asked = {"study": "jones2020", **asdict(question)}
    this = start_run(out, asked, overwrite=overwrite)
    material = prepare(question, folder, this)
    if stop_after == "examples":
        return _stop(this)
    classifier = train(question, material, this)
    if stop_after == "training":
        return _stop(this)
    this.note(status=COMPLETE, seconds=time.monotonic() - started)
    return this


def _stop(this: Run) -> Run:
    this.note(status=STOPPED)
    return this


def prepare(question: Question, folder: Path, this: Run) -> Material:
    """Read, cut and split; writes examples.csv and tables/examples.csv."""
    recipe, which = question.recipe, database("mitdb")
    there, missing = records_present(which, folder)
    if question.quick and len(there) > 10:
        chosen = tuple(record for record in _QUICK[question.split].split() if record in there)
        there, missing = chosen or there[:10], ()
    for record in missing:
        say(f"record {record} is not in {folder}")
    skipped: list[Skipped] = []
    recordings = read_records(which, folder, there, skipped, swap_leads=recipe.swap_leads)
    examples, facts = cut_beats(recordings, label_map(question.classes), recipe.beats, skipped)
    for item in skipped:
        say(f"left out: {item.record}: {item.reason}")
    split = make_split(question.split, examples, question.seed)
    plan = plan_training(
        split, examples, validation=recipe.validation, resample=recipe.resample, seed=question.seed
    )
    _write_examples(examples, plan, this)
    this.note(
        data={
            "kind": "real",
            "database": which.name,
            "version": which.version,
            "records": sorted(set(examples.column("record"))),
            "missing": list(missing),
            "skipped": [asdict(item) for item in skipped],
            "sha256": {f"{record}.dat": sha256(folder / f"{record}.dat") for record in sorted(set(examples.column("record")))},
        },
        beats=asdict(facts) | {"kept": len(examples)},
        shared_patients=shared_patients(plan.split, examples),
    )
    return Material(examples, plan, facts, skipped)


def _write_examples(examples: Examples, plan: Plan, this: Run) -> None:
    table = examples.table[["id", "record", "patient", "r_sample"]].copy()
    table["label"] = np.array(examples.classes)[examples.labels]
    table["split"], table["times_drawn"] = plan.split, plan.times
    write_table(this.path / "examples.csv", table)
    write_table(this.tables / "examples.csv", examples.counts())


def train(question: Question, material: Material, this: Run) -> Classifier:
    """Fit the model, or load it if this run has trained it already; writes the model and tables/training.csv."""
    if this.has("model.safetensors", "model.json", "tables/training.csv"):
        return load(this.path)
    import torch

    recipe, examples = question.recipe, material.examples
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(question.seed)
        classifier = create(
            MODEL_NAMES[question.model],
            classes=examples.classes,
            leads=examples.leads,
            length=examples.length,
            fs=examples.fs,
            scale=recipe.scale,
        )
    fitted = fit(
        classifier, examples, material.plan.rows, material.plan.validation, recipe.training, question.seed, this.path
    )
    write_table(this.tables / "training.csv", pd.DataFrame(fitted.history))
    this.note(
        training={
            "seconds": fitted.seconds,
            "rows": len(material.plan.rows),
            "epochs": len(fitted.history),
            "stopped_early": fitted.stopped_early,
        }
    )
    classifier.save(this.path)
    return classifier
