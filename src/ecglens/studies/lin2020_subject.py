"""A lin2020 run as something to audit: its clips, each with the labels of its record."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecglens.audit.subject import Subject
from ecglens.examples.splits import TEST
from ecglens.models import load
from ecglens.recordings.databases import database
from ecglens.recordings.places import find_database
from ecglens.runs import Run
from ecglens.studies.elsewhere import other_databases
from ecglens.studies.lin2020_material import prepare
from ecglens.studies.lin2020_recipe import Question, Recipe
from ecglens.studies.subjects import metrics_of, question_of, scratch
from ecglens.training.thresholds import decide


def subject(run: Run, data: Path | None) -> Subject:
    """The run's own clips, read and cut again; raises EcglensError where the files are others than the run's.

    Origin is where the Challenge had a record from, which its name tells by its letters.
    """
    question = question_of(run, Question, Recipe)
    which = database(question.database)
    folder = find_database(which, data)
    with scratch(run) as place:
        material = prepare(question, which, folder, place, lambda *_: None)
    classifier, examples, plan = load(run.path), material.examples, material.plan
    tests = np.flatnonzero(plan.split == TEST)
    probabilities = classifier.probabilities(classifier.logits(examples.take(tests)))
    assert classifier.thresholds is not None
    letters = examples.table["record"].astype(str).str.extract(r"^([A-Za-z]*)")[0]
    origin = (examples.table["database"].astype(str) + "/" + letters).str.rstrip("/").to_numpy().astype(str)
    return Subject(
        run.path.name, classifier, examples, plan.split, plan.rows, plan.validation, tests, probabilities,
        decide(probabilities, classifier.thresholds), metrics_of(run), "cam", origin=origin,
        elsewhere=lambda: other_databases(folder, {which.name}), seed=question.seed,
    )  # fmt: skip
