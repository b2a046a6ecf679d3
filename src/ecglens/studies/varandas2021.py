"""Varandas 2021: six beats drawn as a picture, one of them gives the label; do three maps lie on that beat?"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.beat_boxes import beat_boxes
from ecglens.attribution import explain
from ecglens.attribution.attributions import Attributions
from ecglens.errors import EcglensError, choose
from ecglens.examples.boxes import Boxes
from ecglens.examples.examples import Examples
from ecglens.files import sha256
from ecglens.models import Classifier
from ecglens.models.pictured import rasteriser_of
from ecglens.models.public_weights import load_public_weights
from ecglens.models.resnet50 import ResNet50
from ecglens.progress import say
from ecglens.runs import Run, start_run
from ecglens.simulation.stand_in import find_records
from ecglens.studies import stages
from ecglens.studies.options import with_settings
from ecglens.studies.varandas2021_material import Material, prepare
from ecglens.studies.varandas2021_recipe import METHODS, MODEL_NAMES, PICTURED, Question, recipe_for

SPLITS = {
    "ds1-ds2": "DS1 trains, DS2 tests (de Chazal 2004); patient 201 is in both (records 201 and 202)",
    "patients": "a random quarter of the patients",
}


@dataclass(frozen=True)
class Focused:
    """What was explained: rows of the tested examples, where focus is measured, and what was kept of the maps."""

    rows: NDArray[np.int64]
    examples: Examples
    boxes: Boxes
    maps: Attributions


def ask(
    recipe: str, model: str | None, split: str | None, classes: str | None, settings: list[str], *, quick: bool, seed: int,
    set_number: int | None = None,
) -> Question:  # fmt: skip
    """Check the user's words; by default set 1, resnet50 as published, and small2d corrected or quick."""
    choose(recipe, ["as-published", "corrected"], "recipe")
    model = model or ("resnet50" if recipe == "as-published" and not quick else "small2d")
    choose(model, list(MODEL_NAMES), "model")
    split = split or "ds1-ds2"
    choose(split, list(SPLITS), "split")
    if classes is not None:
        raise EcglensError(f"--classes {classes}: varandas2021 has two classes, normal and abnormal; leave --classes out")
    set_number = 1 if set_number is None else set_number
    if set_number not in (1, 2):
        raise EcglensError(f"--set-number is {set_number}; expected 1 (the last beat gives the label) or 2 (the first)")
    values = with_settings(recipe_for(recipe, model, set_number, quick=quick), settings)
    if values.weights and model != "resnet50":
        raise EcglensError(f"weights={values.weights}: public weights are for --model resnet50, this is {model}")
    return Question(recipe, values, model, set_number, split, quick, seed)


def run(
    question: Question, data: Path | None, out: Path, *, stop_after: str | None, overwrite: bool, or_simulated: bool = False
) -> Run:
    """Everything from files to the report, in stages; a net and maps that are there are not made again."""
    which, folder = find_records("mitdb", data, or_simulated=or_simulated)
    if which.kind == "simulated" and question.split == "ds1-ds2":
        say("DS1 and DS2 are records of MIT-BIH: simulated patients are split at random (--split patients)")
        question = replace(question, split="patients")
    trained = (out / "model.safetensors").is_file() and not overwrite
    if question.recipe.weights and not trained:  # what is wrong with them is said before records are read
        load_public_weights(ResNet50(2), Path(question.recipe.weights))
    started = time.monotonic()
    this = start_run(out, {"study": "varandas2021", **asdict(question)}, overwrite=overwrite)
    material = prepare(question, which, folder, this)
    if stop_after == "examples":
        return this.stopped()
    classifier = train(question, material, this)
    if stop_after == "training":
        return this.stopped()
    tested = material.tested()
    logits = predict(question, classifier, tested, this)
    focused = explain_all(question, classifier, tested, this)
    if stop_after == "attribution":
        return this.stopped()
    from ecglens.studies.varandas2021_report import write_report
    from ecglens.studies.varandas2021_tables import analyse

    analyse(question, classifier, material, tested, logits, focused, this)
    if stop_after == "analysis":
        return this.stopped()
    write_report(this)
    return this.completed(started)


def train(question: Question, material: Material, this: Run) -> Classifier:
    """The network of the question, trained, or loaded where this run has trained it already."""
    recipe = question.recipe

    def begin(classifier: Classifier) -> None:
        if question.model in PICTURED:
            rasteriser_of(classifier).height_mv.fill_(recipe.height_mv)
        if recipe.weights:
            file = Path(recipe.weights)
            load_public_weights(classifier.module.net, file)  # type: ignore[arg-type]
            this.note(weights={"file": file.name, "sha256": sha256(file)})

    return stages.train(
        question.model, material.examples, material.plan, recipe.training, this,
        scale="none" if question.model in PICTURED else recipe.scale, seed=question.seed, begin=begin,
    )  # fmt: skip


def predict(question: Question, classifier: Classifier, tested: Examples, this: Run) -> NDArray[np.float32]:
    """Logits of all test windows (window, class); writes predictions.csv and the scores."""
    logits = classifier.logits(tested)
    probabilities = classifier.probabilities(logits)
    stages.write_predictions(tested, probabilities, this)
    about = {
        "study": "varandas2021", "recipe": question.recipe_name, "model": question.model, "split": question.split,
        "set_number": question.set_number,
    }  # fmt: skip
    stages.write_scores(about, tested, probabilities, this, average_over="present", seed=question.seed)
    return logits


def explain_all(question: Question, classifier: Classifier, tested: Examples, this: Run) -> Focused:
    """The paper's three maps of test windows; of each only the mass in the beats, gaps and the labelled beat's region."""
    recipe, rows, part = question.recipe, np.arange(len(tested)), tested
    if 0 < recipe.explained_at_most < len(tested):
        rows = np.sort(np.random.default_rng([question.seed, 4]).permutation(rows)[: recipe.explained_at_most])
        part = tested.take(rows)
    boxes = beat_boxes(classifier, part)
    maps = explain(
        classifier, part, METHODS, target=recipe.target, keep=boxes, options=map_options(),
        out=this.path / "attributions" / "focus", seed=question.seed,
    )  # fmt: skip
    return Focused(rows, part, boxes, maps)


def map_options() -> dict[str, dict[str, bool]]:
    """Grad-CAM keeps what speaks for the class alone, as in the paper."""
    return {"grad-cam": {"relu": True}, "guided-grad-cam": {"relu": True}}
