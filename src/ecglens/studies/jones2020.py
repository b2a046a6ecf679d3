"""Jones, Deligianni, Dalton 2020: which parts of a beat move a classifier, class by class, on MIT-BIH."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.regions import segments_around_r
from ecglens.attribution import explain as explain_by
from ecglens.attribution.attributions import Explained
from ecglens.errors import choose
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.splits import SPLITS, TEST, TRAIN, UNUSED
from ecglens.files import write_json, write_table
from ecglens.models import Classifier, create, load
from ecglens.runs import COMPLETE, STOPPED, Run, start_run
from ecglens.simulation.stand_in import find_records
from ecglens.studies.jones2020_material import Answers, Material, prepare
from ecglens.studies.jones2020_recipe import MODEL_NAMES, Question, Recipe, recipe_for, with_settings
from ecglens.studies.jones2020_report import write_report
from ecglens.studies.jones2020_tables import analyse
from ecglens.studies.sampled import explain_to_precision
from ecglens.training.fit import fit
from ecglens.training.metrics import always, score

STAGES = ("examples", "training", "attribution", "analysis")


def ask(recipe: str, model: str | None, split: str, classes: str, settings: list[str], *, quick: bool, seed: int) -> Question:
    """Check the user's words; the model defaults to the paper's CNN, or to resnet in the corrected recipe."""
    model = model or ("cnn" if recipe == "as-published" else "resnet")
    choose(split, list(SPLITS), "split")
    label_map(classes)
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
        return _stop(this)
    classifier = train(question, material, this)
    if stop_after == "training":
        return _stop(this)
    answers = predict(question, classifier, material, this)
    maps = explain(question, classifier, material, answers, this)
    if stop_after == "attribution":
        return _stop(this)
    analyse(question, classifier, material, answers, maps, this, folder, which)
    if stop_after == "analysis":
        return _stop(this)
    write_report(this)
    this.note(status=COMPLETE, seconds=time.monotonic() - started)
    return this


def _stop(this: Run) -> Run:
    this.note(status=STOPPED)
    return this


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
    fitted = fit(classifier, examples, material.plan.rows, material.plan.validation, recipe.training, question.seed, this.path)
    write_table(this.tables / "training.csv", pd.DataFrame(fitted.history).drop(columns="seconds"))
    this.note(
        training={
            "seconds": fitted.seconds,
            "rows": len(material.plan.rows),
            "epochs": len(fitted.history),
            "stopped_early": fitted.stopped_early,
            "threads": torch.get_num_threads(),
        }
    )
    classifier.save(this.path)
    return classifier


def predict(question: Question, classifier: Classifier, material: Material, this: Run) -> Answers:
    """Ask the model about every test beat and every beat that gets a map; writes predictions.csv and the scores."""
    examples, split = material.examples, material.plan.split
    test = np.flatnonzero(split == TEST)
    chosen = _to_explain(examples, split, question.recipe.explain_at_most, question.seed)
    rows = np.union1d(test, chosen)
    answers = Answers(rows, np.isin(rows, chosen), classifier.logits(examples.take(rows)))
    tested = split[rows] == TEST
    probabilities = classifier.probabilities(answers.logits[tested])
    classes = np.array(examples.classes)
    table = examples.table.iloc[rows[tested]][["id", "record", "patient"]].reset_index(drop=True)
    table["label"], table["predicted"] = classes[examples.labels[rows[tested]]], classes[probabilities.argmax(1)]
    for index, name in enumerate(classes):
        table[f"p_{name}"] = probabilities[:, index]
    write_table(this.path / "predictions.csv", table)
    write_scores(question, examples.take(rows[tested]), probabilities, this)
    return answers


def _to_explain(examples: Examples, split: NDArray[np.str_], at_most: int, seed: int) -> NDArray[np.int64]:
    """Up to `at_most` random beats of each class, training and test beats alike."""
    rng = np.random.default_rng([seed, 4])
    parts = []
    for label in range(len(examples.classes)):
        members = np.flatnonzero((examples.labels == label) & (split != UNUSED))
        parts.append(rng.permutation(members)[:at_most])
    return np.sort(np.concatenate(parts))


def write_scores(question: Question, test: Examples, probabilities: NDArray[np.float32], this: Run) -> None:
    """metrics.json and the tables of scores, also without the patients that training has seen."""
    scores = score(
        test.labels, probabilities, test.column("patient"), test.classes,
        average_over=question.recipe.average_over, seed=question.seed,
    )  # fmt: skip
    metrics: dict[str, Any] = {"study": "jones2020", "recipe": question.recipe_name, "model": question.model}
    metrics |= {"split": question.split, "classes": list(test.classes), "data.kind": this.about["data"]["kind"]}
    metrics |= {f"train.{key}": this.about["training"][key] for key in ("seconds", "rows", "epochs")}
    metrics |= {f"test.{key}": value for key, value in scores.flat.items()}
    for row in scores.per_class.to_dict("records"):
        name = row.pop("class")
        metrics |= {f"test.per_class.{name}.{key}": value for key, value in row.items()}
    usual = test.classes.index("N")
    metrics |= {f"test.always_normal.{key}": value for key, value in always(test.labels, usual, len(test.classes)).items()}
    shared = this.about["shared_patients"]
    metrics["test.shared_patients"] = shared
    alone = ~np.isin(test.column("patient"), shared)
    if shared and alone.any():
        rest = score(test.labels[alone], probabilities[alone], test.column("patient")[alone], test.classes, seed=question.seed)
        metrics |= {f"test_unseen_patients.{key}": value for key, value in rest.flat.items()}
        write_table(this.tables / "per_class_unseen_patients.csv", rest.per_class)
    write_json(this.path / "metrics.json", metrics)
    write_table(this.tables / "per_class.csv", scores.per_class)
    write_table(this.tables / "per_patient.csv", scores.per_patient)
    confusion = pd.DataFrame(scores.confusion, columns=list(test.classes))
    confusion.insert(0, "true", test.classes)
    write_table(this.tables / "confusion.csv", confusion)


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
