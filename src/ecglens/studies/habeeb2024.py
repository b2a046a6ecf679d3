"""Habeeb and Goyal 2024: one network, two hospitals; which leads it goes by, and what tells the hospitals apart."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.examples.splits import TRAIN, UNUSED, VALIDATION, Plan
from ecglens.files import write_json, write_table
from ecglens.models import Classifier, load
from ecglens.progress import say
from ecglens.runs import Run, start_run
from ecglens.studies import stages
from ecglens.studies.habeeb2024_material import Material, Net, prepare
from ecglens.studies.habeeb2024_recipe import CPSC, LABELS, MODEL_NAMES, PTBXL, TRAININGS, Question, recipe_for
from ecglens.studies.habeeb2024_transfer import FREQUENT, HospitalAnswers, frequent_in_both, transfer_rows
from ecglens.studies.options import with_settings
from ecglens.training.multilabel import score_multilabel
from ecglens.training.thresholds import choose_thresholds, decide

_AT_ONCE = 2048  # records


@dataclass(frozen=True)
class Answers:
    """What the nets say of the records that they test: rows of the examples, the net of each, probabilities and answers."""

    rows: NDArray[np.int64]
    net: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    answered: NDArray[np.bool_]


def ask(
    recipe: str, model: str | None, split: str | None, classes: str | None, settings: list[str], *, quick: bool, seed: int,
    train: str | None = None,
) -> Question:  # fmt: skip
    """Check the user's words; by default both hospitals train."""
    if split is not None or classes is not None:
        raise EcglensError("habeeb2024 has neither --split nor --classes; folds and maps of labels are --set folds=, labels=")
    train = choose(train or "both", list(TRAININGS), "training")
    model = choose(model or "resnet34-1d", list(MODEL_NAMES), "model")
    return Question(recipe, with_settings(recipe_for(recipe, quick=quick), settings), model, train, quick, seed)


def run(
    question: Question, data: Path | None, out: Path, *, stop_after: str | None, overwrite: bool, or_simulated: bool = False
) -> Run:
    """Everything from files to the report, in stages; nets and maps that are there are not made again."""
    if or_simulated or (data is not None and str(data) == "simulated"):
        raise EcglensError("habeeb2024 has no simulated records: they have beats, not diagnoses; name a folder by --data")
    started = time.monotonic()
    this = start_run(out, {"study": "habeeb2024", **asdict(question)}, overwrite=overwrite)
    material = prepare(question, data, this)
    if stop_after == "examples":
        return this.stopped()
    classifiers = [train(question, material, net, this) for net in material.nets]
    if stop_after == "training":
        return this.stopped()
    predict(question, classifiers, material, this)
    from ecglens.studies.habeeb2024_tables import analyse, explain_all, explained_rows

    rows = explained_rows(question, material)
    found = explain_all(question, classifiers[0], material, rows, this)
    if stop_after == "attribution":
        return this.stopped()
    analyse(question, classifiers[0], material, rows, found, this)
    if stop_after == "analysis":
        return this.stopped()
    from ecglens.studies.habeeb2024_report import write_report

    write_report(this)
    return this.completed(started)


def home_of(this: Run, net: str) -> Run:
    """Where a net of the run lies."""
    home = Run(this.path / "nets" / net, {"status": "one net of several", "asked": this.about["asked"]})
    home.tables.mkdir(parents=True, exist_ok=True)
    return home


def train(question: Question, material: Material, net: Net, this: Run) -> Classifier:
    """The net, trained, with its thresholds: chosen on its own validation records alone and saved with it."""
    first = None
    if len(net.first):
        say(f"net {net.name}, first hospital: {len(net.first):,} records")
        # validated by the second hospital's records, as all that the net is for; as published its best epoch is kept by them
        first = _trained(question, material, f"{net.name}-first", net.first, net.validation, None, this)
    say(f"net {net.name}: {len(net.train):,} records, {question.recipe.training(len(net.train)).epochs} epochs")
    classifier = _trained(question, material, net.name, net.train, net.validation, first, this)
    if classifier.thresholds is None:
        part = material.examples.take(net.validation)
        assert part.multi_hot is not None
        probabilities = classifier.probabilities(classifier.logits(part))
        chosen = choose_thresholds(part.multi_hot, probabilities, classifier.classes, "f1")
        classifier = replace(classifier, thresholds=tuple(float(value) for value in chosen.values))
        home = home_of(this, net.name)
        table = pd.DataFrame({"class": classifier.classes, "threshold": chosen.values})
        table["kept"] = table["class"].isin(chosen.kept)
        write_table(home.tables / "thresholds.csv", table)
        classifier.save(home.path)
        classifier = load(home.path)
    return classifier


def _trained(
    question: Question, material: Material, name: str, rows: NDArray[np.int64], validation: NDArray[np.int64],
    first: Classifier | None, this: Run,
) -> Classifier:  # fmt: skip
    split = np.full(len(material.examples), UNUSED, "<U10")
    split[rows], split[validation] = TRAIN, VALIDATION
    plan = Plan(split, rows, validation, np.bincount(rows, minlength=len(split)))

    def begin(classifier: Classifier) -> None:
        if first is not None:
            classifier.module.load_state_dict(first.module.state_dict())

    return stages.train(
        question.model, material.examples, plan, question.recipe.training(len(rows)), home_of(this, name), scale="none",
        seed=question.seed, activation="sigmoid", begin=begin,
    )  # fmt: skip


def predict(question: Question, classifiers: list[Classifier], material: Material, this: Run) -> Answers:
    """Answers of the nets to the records that each tests; predictions.csv, metrics.json, tables/per_class-HOSPITAL.csv."""
    parts = []
    for number, (net, classifier) in enumerate(zip(material.nets, classifiers, strict=True)):
        rows = np.concatenate([net.tests[CPSC], net.tests[PTBXL]])
        if not len(rows):
            continue
        assert classifier.thresholds is not None
        probabilities = classifier.probabilities(classifier.logits(material.examples.take(rows)))
        parts.append((rows, np.full(len(rows), number), probabilities, decide(probabilities, classifier.thresholds)))
    answers = Answers(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    _write_predictions(answers, material, this)
    metrics = _metrics(question, answers, material, this) | _transfer(question, answers, material, this)
    if question.train == "cpsc":
        metrics |= _whole(question, classifiers[0], material, this)
    write_json(this.path / "metrics.json", metrics)
    return answers


def _write_predictions(answers: Answers, material: Material, this: Run) -> None:
    examples = material.examples.take(answers.rows)
    assert examples.multi_hot is not None
    table = examples.table[["record", "patient"]].copy()
    table.insert(0, "hospital", material.hospital[answers.rows])
    table["net"] = answers.net
    for k, name in enumerate(examples.classes):
        table[name], table[f"p_{name}"] = examples.multi_hot[:, k].astype(int), answers.probabilities[:, k]
        table[f"answered_{name}"] = answers.answered[:, k].astype(int)
    write_table(this.path / "predictions.csv", table)


def _metrics(question: Question, answers: Answers, material: Material, this: Run) -> dict[str, object]:
    """metrics.json: of each hospital all scores, and the mean AUC of the classes that are frequent there."""
    examples = material.examples
    assert examples.multi_hot is not None
    metrics: dict[str, object] = {
        "study": "habeeb2024", "recipe": question.recipe_name, "model": question.model, "train": question.train,
        "labels": question.recipe.labels, "classes": list(examples.classes), "data.kind": "real", "nets": len(material.nets),
    }  # fmt: skip
    for hospital in (CPSC, PTBXL):
        mine = material.hospital[answers.rows] == hospital
        truth = examples.multi_hot[answers.rows[mine]]
        patients = examples.column("patient")[answers.rows[mine]].astype(str)
        scores = score_multilabel(
            truth, answers.probabilities[mine], answers.answered[mine], patients, examples.classes, seed=question.seed
        )
        write_table(this.tables / f"per_class-{hospital}.csv", scores.per_class)
        metrics |= {f"test.{hospital}.{key}": value for key, value in scores.flat.items()}
        for row in scores.per_class.to_dict("records"):
            name = row.pop("class")
            metrics |= {f"test.{hospital}.per_class.{name}.{key}": value for key, value in row.items()}
        frequent = scores.per_class[scores.per_class["support"] >= FREQUENT]
        metrics[f"test.{hospital}.frequent"] = frequent["class"].tolist()
        metrics[f"test.{hospital}.frequent_macro_auc"] = float(frequent["auc"].mean()) if len(frequent) else None
    return metrics


def _tested(answers: Answers, material: Material, hospital: str, labels: str) -> HospitalAnswers:
    mine = material.hospital[answers.rows] == hospital
    rows = answers.rows[mine]
    patients = material.examples.column("patient")[rows].astype(str)
    return HospitalAnswers(material.labels[labels][rows], answers.probabilities[mine], patients)


def _transfer(question: Question, answers: Answers, material: Material, this: Run) -> dict[str, object]:
    """tables/transfer.csv: the same answers by every map of PTB-XL's labels; CPSC2018's are the same by all."""
    classes = material.examples.classes
    cpsc = _tested(answers, material, CPSC, question.recipe.labels)
    ptbxl = {labels: _tested(answers, material, PTBXL, labels) for labels in LABELS}
    table = transfer_rows(cpsc, ptbxl, classes, seed=question.seed)
    write_table(this.tables / "transfer.csv", table)
    metrics: dict[str, object] = {}
    for labels, tested in ptbxl.items():
        metrics[f"transfer.{labels}.classes"] = frequent_in_both(cpsc, tested, classes)
        row = table[(table["labels"] == labels) & (table["class"] == "mean of its classes")]
        for key in ("auc_cpsc", "auc_ptbxl", "difference"):
            metrics[f"transfer.{labels}.{key}"] = float(row[key].iloc[0]) if len(row) else None
    return metrics


def _whole(question: Question, classifier: Classifier, material: Material, this: Run) -> dict[str, object]:
    """tables/whole-ptbxl.csv: all of PTB-XL, as the paper's Table 2 has it, by the first net, by every map of its labels."""
    rows = np.flatnonzero(material.hospital == PTBXL)
    # some at a time: a copy of all PTB-XL as published is 16 GB
    parts = np.array_split(rows, -(-len(rows) // _AT_ONCE))
    probabilities = np.concatenate(
        [classifier.probabilities(classifier.logits(material.examples.take(each))) for each in parts]
    )
    assert classifier.thresholds is not None
    said = decide(probabilities, classifier.thresholds)
    patients = material.examples.column("patient")[rows].astype(str)
    metrics: dict[str, object] = {}
    tables = []
    for labels, hot in material.labels.items():
        scores = score_multilabel(hot[rows], probabilities, said, patients, material.examples.classes, seed=question.seed)
        scores.per_class.insert(0, "labels", labels)
        tables.append(scores.per_class)
        metrics |= {f"whole.ptbxl.{labels}.{key}": value for key, value in scores.flat.items()}
    write_table(this.tables / "whole-ptbxl.csv", pd.concat(tables, ignore_index=True))
    return metrics
