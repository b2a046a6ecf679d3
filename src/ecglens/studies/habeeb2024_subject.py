"""The first net of a habeeb2024 run as something to audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecglens.audit.subject import Subject
from ecglens.examples.splits import TEST, TRAIN, UNUSED, VALIDATION
from ecglens.models import load
from ecglens.recordings.databases import database
from ecglens.recordings.places import find_database
from ecglens.runs import Run
from ecglens.studies.elsewhere import other_databases
from ecglens.studies.habeeb2024_material import prepare
from ecglens.studies.habeeb2024_recipe import CPSC, PTBXL, Question, Recipe
from ecglens.studies.subjects import metrics_of, question_of, scratch
from ecglens.training.thresholds import decide


def subject(run: Run, data: Path | None) -> Subject:
    """The records of both hospitals, read and cut again; raises EcglensError where the files are others than the run's."""
    question = question_of(run, Question, Recipe)
    folder = find_database(database("ptbxl"), data)
    with scratch(run) as place:
        material = prepare(question, data, place)
    net, examples = material.nets[0], material.examples
    classifier = load(run.path / "nets" / net.name)
    tests = np.concatenate([net.tests[CPSC], net.tests[PTBXL]])
    split = np.full(len(examples), UNUSED, "<U10")
    split[np.concatenate([net.train, net.first])], split[net.validation], split[tests] = TRAIN, VALIDATION, TEST
    probabilities = classifier.probabilities(classifier.logits(examples.take(tests)))
    assert classifier.thresholds is not None
    return Subject(
        f"{run.path.name}, net {net.name}", classifier, examples, split, np.concatenate([net.train, net.first]),
        net.validation, tests, probabilities, decide(probabilities, classifier.thresholds), metrics_of(run),
        "channel-cam" if question.recipe_name == "as-published" else "grad-cam", origin=material.hospital,
        elsewhere=lambda: other_databases(folder, {"cinc2020", "cpsc2018", "ptbxl"}), seed=question.seed,
    )  # fmt: skip
