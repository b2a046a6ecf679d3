"""Lin 2020: CNN-GAP on whole twelve-lead records, trained on the Challenge's own score; its class activation maps."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.attribution import explain
from ecglens.attribution.attributions import Attributions
from ecglens.errors import EcglensError, choose
from ecglens.examples.clips import by_record
from ecglens.examples.diagnoses import diagnosis_map
from ecglens.examples.examples import Examples
from ecglens.examples.splits import VALIDATION
from ecglens.files import sha256, write_json, write_table
from ecglens.models import Classifier, create, load
from ecglens.progress import say
from ecglens.recordings.databases import database
from ecglens.recordings.places import find_database
from ecglens.runs import Run, start_run
from ecglens.studies import stages
from ecglens.studies.lin2020_material import Material, prepare
from ecglens.studies.lin2020_recipe import CLASS_SETS, DATABASES, LOSSES, MODEL_NAMES, SPLITS, Question, recipe_for
from ecglens.studies.options import with_settings
from ecglens.training.cost import training_seconds
from ecglens.training.multilabel import score_multilabel
from ecglens.training.thresholds import Thresholds, choose_thresholds, decide

_CLIPS = 3  # of a long record


@dataclass(frozen=True)
class Answers:
    """What the model says of the records of one side: truth, probabilities (record, class), and a row of the table each."""

    truth: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    table: pd.DataFrame


def ask(
    recipe: str, model: str | None, split: str | None, classes: str | None, settings: list[str], *, quick: bool, seed: int,
    loss: str | None = None, database: str | None = None,
) -> Question:  # fmt: skip
    """Check the user's words; by default the Challenge's database, and the loss that its authors made for it."""
    name = choose(database or "cinc2020", list(DATABASES), "database")
    model = choose(model or "cnn-gap", list(MODEL_NAMES), "model")
    classes = choose(classes or next(iter(CLASS_SETS[name])), list(CLASS_SETS[name]), f"set of classes of {name}")
    loss = loss or ("macro-obs" if classes == "challenge" else "wbce")
    choose(loss, list(LOSSES), "loss")
    if loss == "macro-obs" and classes != "challenge":
        raise EcglensError(f"--loss macro-obs needs the Challenge's weights, which --classes {classes} have not; take wbce")
    if split is None:
        split = "single-label" if recipe == "as-published" else "folds" if name == "ptbxl" else "patients"
    choose(split, list(SPLITS), "split")
    values = with_settings(recipe_for(recipe, loss, classes, quick=quick), settings)
    return Question(recipe, values, model, name, classes, split, quick, seed)


def run(
    question: Question, data: Path | None, out: Path, *, stop_after: str | None, overwrite: bool, or_simulated: bool = False
) -> Run:
    """Everything from files to the report, in stages; a net and maps that are there are not made again."""
    if or_simulated or (data is not None and str(data) == "simulated"):
        raise EcglensError("lin2020 has no simulated records: they have beats, not diagnoses; name a folder by --data")
    which = database(question.database)
    folder = find_database(which, data)
    started = time.monotonic()
    this = start_run(out, {"study": "lin2020", **asdict(question)}, overwrite=overwrite)
    material = prepare(question, which, folder, this, announce)
    if stop_after == "examples":
        return this.stopped()
    classifier = train(question, material, this)
    if stop_after == "training":
        return this.stopped()
    answers = predict(question, classifier, material, this)
    maps = explain_all(question, classifier, material, this)
    if stop_after == "attribution":
        return this.stopped()
    from ecglens.studies.lin2020_report import write_report
    from ecglens.studies.lin2020_tables import analyse

    analyse(question, classifier, material, answers, maps, (which, folder), this)
    if stop_after == "analysis":
        return this.stopped()
    write_report(this)
    return this.completed(started)


def train(question: Question, material: Material, this: Run) -> Classifier:
    """The network, trained, with its thresholds: chosen on the validation side alone and saved with it."""
    recipe = question.recipe

    def begin(classifier: Classifier) -> None:
        if recipe.start_from:
            take_over(classifier, load(Path(recipe.start_from)))
            this.note(start_from=sha256(Path(recipe.start_from) / "model.safetensors"))

    if not this.has("model.safetensors"):
        clips, records = len(material.plan.rows), len(set(material.examples.column("record")[material.plan.rows]))
        say(f"{clips:,} clips of {records:,} records train: {_cost(question, material.labels.classes, clips)}")
    classifier = stages.train(
        question.model, material.examples, material.plan, recipe.training, this, scale=recipe.scale, seed=question.seed,
        activation="sigmoid", begin=begin,
    )  # fmt: skip
    if classifier.thresholds is None:
        answers = ask_clips(classifier, material.side(VALIDATION), recipe.join)
        chosen = choose_thresholds(answers.truth, answers.probabilities, classifier.classes, recipe.goal)
        classifier = replace(classifier, thresholds=tuple(float(value) for value in chosen.values))
        _write_thresholds(chosen, classifier, this)
        classifier.save(this.path)
        classifier = load(this.path)
    return classifier


def announce(question: Question, n_records: int) -> None:
    """Say what the run will cost before a file is read: memory of the clips, and how long the training takes."""
    recipe, classes = question.recipe, diagnosis_map(CLASS_SETS[question.database][question.classes]).classes
    gigabytes = n_records * recipe.cutting.length * len(recipe.cutting.leads) * 4 / 1e9
    say(
        f"{n_records:,} records: {gigabytes:.1f} GB of memory for one clip of each, {_CLIPS * gigabytes:.1f} GB where all are "
        f"longer than {recipe.seconds:g} s; one clip of two thirds of them: "
        + _cost(question, classes, round(n_records * 2 / 3))
    )


def _cost(question: Question, classes: tuple[str, ...], n_clips: int) -> str:
    """How long training on so many clips takes here, in words."""
    recipe = question.recipe
    fresh = create(
        question.model, classes=classes, leads=recipe.cutting.leads, length=recipe.cutting.length, fs=recipe.fs,
        activation="sigmoid",
    )  # fmt: skip
    minutes = training_seconds(fresh, n_clips, recipe.training) / 60
    return f"{recipe.epochs} epochs in about {minutes:.0f} min here" if minutes >= 1 else f"{recipe.epochs} epochs in a minute"


def take_over(classifier: Classifier, trained: Classifier) -> None:
    """Put the layers of a trained net into a fresh one, the last one too where it has the same classes.

    Raises EcglensError where the nets differ in anything else.
    """
    for what in ("name", "leads", "fs", "scale"):
        if getattr(classifier, what) != getattr(trained, what):
            raise EcglensError(
                f"start_from: the net there has {what} {getattr(trained, what)}, this one {getattr(classifier, what)}; "
                "expected the same"
            )
    own = classifier.module.state_dict()
    same = classifier.classes == trained.classes
    given = {name: value for name, value in trained.module.state_dict().items() if same or not name.startswith("head.")}
    classifier.module.load_state_dict(own | given)


def _write_thresholds(chosen: Thresholds, classifier: Classifier, this: Run) -> None:
    table = pd.DataFrame({"class": classifier.classes, "threshold": chosen.values})
    table["kept"] = table["class"].isin(chosen.kept)
    write_table(this.tables / "thresholds.csv", table)
    this.note(thresholds={"goal": chosen.goal, "before": chosen.before, "after": chosen.after, "kept": list(chosen.kept)})


def ask_clips(classifier: Classifier, part: Examples, join: str) -> Answers:
    """What the model says of the records of these clips, those of one record put together."""
    assert part.multi_hot is not None
    probabilities, table = by_record(classifier.probabilities(classifier.logits(part)), part, join)
    first = ~part.table["record"].duplicated().to_numpy()
    return Answers(part.multi_hot[first], probabilities, table)


def predict(question: Question, classifier: Classifier, material: Material, this: Run) -> Answers:
    """Answers to all test records; writes predictions.csv, metrics.json and tables/per_class.csv."""
    answers = ask_clips(classifier, material.test, question.recipe.join)
    assert classifier.thresholds is not None
    predicted = decide(answers.probabilities, classifier.thresholds)
    patients = answers.table["patient"].to_numpy().astype(str)
    scores = score_multilabel(
        answers.truth, answers.probabilities, predicted, patients, classifier.classes, seed=question.seed
    )
    table = answers.table[["record", "patient", "clips"]].copy()
    for k, name in enumerate(classifier.classes):
        table[name], table[f"p_{name}"] = answers.truth[:, k].astype(int), answers.probabilities[:, k].astype(np.float32)
        table[f"answered_{name}"] = predicted[:, k].astype(int)
    write_table(this.path / "predictions.csv", table)
    write_table(this.tables / "per_class.csv", scores.per_class)
    about = {
        "study": "lin2020", "recipe": question.recipe_name, "model": question.model, "split": question.split,
        "database": question.database, "loss": question.recipe.loss, "classes": list(classifier.classes),
        "data.kind": this.about["data"]["kind"], "test.shared_patients": this.about["shared_patients"],
    }  # fmt: skip
    metrics = about | {f"train.{key}": this.about["training"][key] for key in ("seconds", "rows", "epochs")}
    metrics |= {f"test.{key}": value for key, value in scores.flat.items()}
    for row in scores.per_class.to_dict("records"):
        name = row.pop("class")
        metrics |= {f"test.per_class.{name}.{key}": value for key, value in row.items()}
    kept = this.path / "metrics.json"
    if kept.is_file():  # what analysis found stays until it is found again
        metrics = json.loads(kept.read_text(encoding="utf-8")) | metrics
    write_json(kept, metrics)
    return answers


def explain_all(question: Question, classifier: Classifier, material: Material, this: Run) -> Attributions:
    """Class activation maps of all test clips for every class, at the net's own resolution."""
    return explain(
        classifier, material.test, ["cam"], target="all", out=this.path / "attributions" / "cam", seed=question.seed,
    )  # fmt: skip
