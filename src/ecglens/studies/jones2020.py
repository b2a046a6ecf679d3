"""Jones, Deligianni, Dalton 2020: which parts of a beat move a classifier, class by class, on MIT-BIH."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.regions import segments_around_r
from ecglens.attribution import explain as explain_by
from ecglens.attribution.attributions import Explained
from ecglens.errors import choose
from ecglens.examples.examples import Examples
from ecglens.examples.splits import SPLITS, TEST, TRAIN, UNUSED
from ecglens.models import Classifier
from ecglens.runs import Run, start_run
from ecglens.simulation.stand_in import find_records
from ecglens.studies import stages
from ecglens.studies.jones2020_material import Answers, Material, prepare
from ecglens.studies.jones2020_recipe import MODEL_NAMES, Question, Recipe, recipe_for
from ecglens.studies.jones2020_report import write_report
from ecglens.studies.jones2020_tables import analyse
from ecglens.studies.options import with_settings
from ecglens.studies.sampled import explain_to_precision

STAGES = ("examples", "training", "attribution", "analysis")


def ask(
    recipe: str, model: str | None, split: str | None, classes: str | None, settings: list[str], *, quick: bool, seed: int
) -> Question:
    """Check the user's words; the model defaults to the paper's CNN, or to resnet in the corrected recipe."""
    split, classes = split or "holdout", classes or "jones"
    model = model or ("cnn" if recipe == "as-published" else "resnet")
    choose(split, list(SPLITS), "split")
    choose(classes, ["aami", "jones"], "set of classes")
    values = with_settings(recipe_for(recipe, model, split, quick=quick), settings)
    return Question(recipe, values, model, split, classes, quick, seed)


def run(
    question: Question, data: Path | None, out: Path, *, stop_after: str | None, overwrite: bool, or_simulated: bool = False
) -> Run:
    """Everything from files to the report, in stages; a stage that is done is not done again. See `find_records` for data."""
    which, folder = find_records("mitdb", data, or_simulated=or_simulated)
    started = time.monotonic()
    asked = {"study": "jones2020", **asdict(question)}
    this = start_run(out, asked, overwrite=overwrite)
    material = prepare(question, which, folder, this)
    if stop_after == "examples":
        return this.stopped()
    classifier = train(question, material, this)
    if stop_after == "training":
        return this.stopped()
    answers = predict(question, classifier, material, this)
    maps = explain(question, classifier, material, answers, this)
    if stop_after == "attribution":
        return this.stopped()
    analyse(question, classifier, material, answers, maps, this, folder, which)
    if stop_after == "analysis":
        return this.stopped()
    write_report(this)
    return this.completed(started)


def train(question: Question, material: Material, this: Run) -> Classifier:
    """Fit the model, or load it if this run has trained it already."""
    recipe = question.recipe
    return stages.train(
        MODEL_NAMES[question.model], material.examples, material.plan, recipe.training, this,
        scale=recipe.scale, seed=question.seed,
    )  # fmt: skip


def predict(question: Question, classifier: Classifier, material: Material, this: Run) -> Answers:
    """Ask the model about every test beat and every beat that gets a map; writes predictions.csv and the scores."""
    examples, split = material.examples, material.plan.split
    test = np.flatnonzero(split == TEST)
    chosen = _to_explain(examples, split, question.recipe.explain_at_most, question.seed)
    rows = np.union1d(test, chosen)
    answers = Answers(rows, np.isin(rows, chosen), classifier.logits(examples.take(rows)))
    tested = split[rows] == TEST
    probabilities, part = classifier.probabilities(answers.logits[tested]), examples.take(rows[tested])
    stages.write_predictions(part, probabilities, this)
    about = {"study": "jones2020", "recipe": question.recipe_name, "model": question.model, "split": question.split}
    stages.write_scores(about, part, probabilities, this, average_over=question.recipe.average_over, seed=question.seed)
    return answers


def _to_explain(examples: Examples, split: NDArray[np.str_], at_most: int, seed: int) -> NDArray[np.int64]:
    """Up to `at_most` random beats of each class, training and test beats alike."""
    rng = np.random.default_rng([seed, 4])
    parts = []
    for label in range(len(examples.classes)):
        members = np.flatnonzero((examples.labels == label) & (split != UNUSED))
        parts.append(rng.permutation(members)[:at_most])
    return np.sort(np.concatenate(parts))


def explain(question: Question, classifier: Classifier, material: Material, answers: Answers, this: Run) -> Explained:
    """A map of every chosen beat, for the class that the model gave it; written to attributions/."""
    method = map_method(question.recipe, classifier)
    rows, target = answers.rows[answers.explained], answers.predicted[answers.explained]
    if question.recipe.precision:
        part = material.examples.take(rows)
        segments = segments_around_r(part.column("r_index"), part.places, part.fs)
        return explain_to_precision(
            classifier, material.examples, method, segments, part.labels, part.column("patient").astype(str), rows, target,
            precision=question.recipe.precision, simultaneous=question.recipe.simultaneous,
            background=_background(material, question.seed), out=this.path / "attributions",
            table=this.tables / "precision.csv", seed=question.seed,
        ).only(method)  # fmt: skip
    found = explain_by(
        classifier, material.examples, [method], target=target, rows=rows, out=this.path / "attributions", seed=question.seed,
        background=_background(material, question.seed),
    )  # fmt: skip
    return found.only(method)


def _background(material: Material, seed: int, n: int = 64) -> Examples:
    """Random training examples, for methods that compare with 'nothing known'."""
    train = np.flatnonzero(material.plan.split == TRAIN)
    return material.examples.take(np.sort(np.random.default_rng([seed, 9]).permutation(train)[:n]))


def map_method(recipe: Recipe, classifier: Classifier) -> str:
    """The recipe's map; the paper gives none for the LSTM, which gets saliency."""
    return recipe.map_of if recipe.map_of != "mean-activation" or classifier.cam_layer is not None else "saliency"
