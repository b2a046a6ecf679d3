"""The first net of a vijayarangan2020 run as something to audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError
from ecglens.examples.splits import TEST
from ecglens.models import load
from ecglens.runs import Run
from ecglens.simulation.stand_in import find_records
from ecglens.studies.subjects import chosen, metrics_of, question_of, scratch
from ecglens.studies.vijayarangan2020 import cam_method
from ecglens.studies.vijayarangan2020_material import prepare
from ecglens.studies.vijayarangan2020_recipe import Question, Recipe


def subject(run: Run, data: Path | None) -> Subject:
    """The run's own windows, read and cut again; raises EcglensError where the files are others, or where it compares nets."""
    question = question_of(run, Question, Recipe)
    if question.model == "all":
        raise EcglensError(f"{run.path} compares nets; audit one of the runs of a single --model")
    which, folder = find_records("mitdb", data, or_simulated=run.about["data"]["kind"] == "simulated")
    with scratch(run) as place:
        material = prepare(question, which, folder, place)
    classifier, examples, plan = load(run.path), material.examples, material.plan
    metrics = metrics_of(run)
    headline = {f"headline.macro_{name}": metrics[f"test.headline_macro_{name}"] for name in ("precision", "recall", "f1")}
    tests = np.flatnonzero(plan.split == TEST)
    probabilities = classifier.probabilities(classifier.logits(examples.take(tests)))
    method = cam_method(classifier) if classifier.cam_layer is not None else "saliency"
    return Subject(
        run.path.name, classifier, examples, plan.split, plan.rows, plan.validation, tests, probabilities, None,
        metrics | headline, method, further={"deletion-mask": question.recipe.mask_options}, chose=chosen(question.recipe),
        seed=question.seed,
    )  # fmt: skip
