"""A varandas2021 run as something to audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecglens.audit.subject import Subject
from ecglens.examples.splits import TEST
from ecglens.models import load
from ecglens.runs import Run
from ecglens.simulation.stand_in import find_records
from ecglens.studies.subjects import chosen, metrics_of, question_of, scratch
from ecglens.studies.varandas2021 import map_options
from ecglens.studies.varandas2021_material import prepare
from ecglens.studies.varandas2021_recipe import Question, Recipe
from ecglens.studies.varandas2021_tables import headline as headline_of


def subject(run: Run, data: Path | None) -> Subject:
    """The run's own windows, read and cut again; raises EcglensError where the files are others than the run's."""
    question = question_of(run, Question, Recipe)
    which, folder = find_records("mitdb", data, or_simulated=run.about["data"]["kind"] == "simulated")
    with scratch(run) as place:
        material = prepare(question, which, folder, place)
    classifier, examples, plan = load(run.path), material.examples, material.plan
    tests = np.flatnonzero(plan.split == TEST)
    metrics = metrics_of(run)
    headline = {f"headline.macro_{name}": metrics[f"test.headline_macro_{name}"] for name in ("precision", "recall", "f1")}
    headline |= {key.replace("_", "."): value for key, value in headline_of(question.recipe, metrics).items()}
    probabilities = classifier.probabilities(classifier.logits(examples.take(tests)))
    return Subject(
        run.path.name, classifier, examples, plan.split, plan.rows, plan.validation, tests, probabilities, None,
        metrics | headline, "grad-cam", map_options()["grad-cam"], chose=chosen(question.recipe),
        seed=question.seed,
    )  # fmt: skip
