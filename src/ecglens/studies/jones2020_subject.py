"""A jones2020 run as something to audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.audit.subject import Subject
from ecglens.examples.splits import TEST
from ecglens.models import load
from ecglens.runs import Run
from ecglens.simulation.stand_in import find_records
from ecglens.studies.jones2020 import map_method
from ecglens.studies.jones2020_material import prepare
from ecglens.studies.jones2020_recipe import Question, Recipe
from ecglens.studies.subjects import chosen, metrics_of, question_of, scratch


def subject(run: Run, data: Path | None) -> Subject:
    """The run's own beats, read and cut again; raises EcglensError where the files are others than the run's."""
    question = question_of(run, Question, Recipe)
    which, folder = find_records("mitdb", data, or_simulated=run.about["data"]["kind"] == "simulated")
    with scratch(run) as place:
        material = prepare(question, which, folder, place)
    classifier, examples, plan = load(run.path), material.examples, material.plan
    metrics = metrics_of(run)
    headline = {f"headline.macro_{name}": metrics[f"test.headline_macro_{name}"] for name in ("precision", "recall", "f1")}
    table = pd.read_csv(run.path / "predictions.csv", keep_default_na=False)
    return Subject(
        run.path.name, classifier, examples, plan.split, plan.rows, plan.validation, np.flatnonzero(plan.split == TEST),
        table[[f"p_{name}" for name in examples.classes]].to_numpy(np.float64), None, metrics | headline,
        map_method(question.recipe, classifier), chose=chosen(question.recipe),
        seed=question.seed,
    )  # fmt: skip
