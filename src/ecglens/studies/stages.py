"""What every study does between examples and maps: train, ask the model, score its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.splits import Plan, shared_patients, without_shared
from ecglens.files import sha256, write_json, write_table
from ecglens.models import Classifier, create, load
from ecglens.progress import say
from ecglens.recordings.databases import Database, Skipped
from ecglens.recordings.twelve_readers import PATTERNS
from ecglens.runs import Run
from ecglens.training.fit import TrainOptions, fit
from ecglens.training.metrics import always, score


def train(
    name: str,
    examples: Examples,
    plan: Plan,
    options: TrainOptions,
    this: Run,
    *,
    scale: str,
    seed: int,
    activation: str = "softmax",
    keep_epochs: tuple[int, ...] = (),
    begin: Callable[[Classifier], None] = lambda _: None,
) -> Classifier:
    """Fit the model `name`, or load it if this run has trained it already; writes the model and tables/training.csv.

    keep_epochs: epochs after which the weights are kept in snapshots/, 0 for those before the first step. begin: what is done
    to the fresh model before it is trained.
    """
    if this.has("model.safetensors", "model.json", "tables/training.csv"):
        return load(this.path)
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = create(
            name, classes=examples.classes, leads=examples.leads, length=examples.length, fs=examples.fs, scale=scale,
            activation=activation,
        )  # fmt: skip
    begin(classifier)
    fitted = fit(classifier, examples, plan.rows, plan.validation, options, seed, this.path, keep_epochs=keep_epochs)
    write_table(this.tables / "training.csv", pd.DataFrame(fitted.history).drop(columns="seconds"))
    this.note(
        training={
            "seconds": fitted.seconds,
            "rows": len(plan.rows),
            "epochs": len(fitted.history),
            "stopped_early": fitted.stopped_early,
            "threads": torch.get_num_threads(),
        }
    )
    classifier.save(this.path)
    return classifier


def apart(split: NDArray[np.str_], examples: Examples) -> NDArray[np.str_]:
    """The split without the training examples of patients who are tested, and says who they are."""
    both = shared_patients(split, examples)
    if both:
        say(f"tested, so not trained on: patient {', '.join(both)}")
    return without_shared(split, examples)


def write_predictions(examples: Examples, probabilities: NDArray[np.float32], this: Run) -> None:
    """predictions.csv: a row per test example, with the probability of each class."""
    classes = np.array(examples.classes)
    table = examples.table[["id", "record", "patient"]].copy()
    table["label"], table["predicted"] = classes[examples.labels], classes[probabilities.argmax(1)]
    for index, name in enumerate(classes):
        table[f"p_{name}"] = probabilities[:, index]
    write_table(this.path / "predictions.csv", table)


def write_scores(
    about: dict[str, Any], test: Examples, probabilities: NDArray[np.float32], this: Run, *, average_over: str, seed: int
) -> None:
    """metrics.json, headed by `about`, and the tables of scores, also without the patients that training has seen."""
    patients = test.column("patient")
    scores = score(test.labels, probabilities, patients, test.classes, average_over=average_over, seed=seed)
    metrics: dict[str, Any] = about | {"classes": list(test.classes), "data.kind": this.about["data"]["kind"]}
    metrics |= {f"train.{key}": this.about["training"][key] for key in ("seconds", "rows", "epochs")}
    metrics |= {f"test.{key}": value for key, value in scores.flat.items()}
    for row in scores.per_class.to_dict("records"):
        name = row.pop("class")
        metrics |= {f"test.per_class.{name}.{key}": value for key, value in row.items()}
    usual = next((test.classes.index(name) for name in ("N", "normal") if name in test.classes), None)
    if usual is not None:
        metrics |= {f"test.always_normal.{key}": value for key, value in always(test.labels, usual, len(test.classes)).items()}
    shared = this.about["shared_patients"]
    metrics["test.shared_patients"] = shared
    alone = ~np.isin(patients, shared)
    if shared and alone.any():
        rest = score(test.labels[alone], probabilities[alone], patients[alone], test.classes, seed=seed)
        metrics |= {f"test_unseen_patients.{key}": value for key, value in rest.flat.items()}
        write_table(this.tables / "per_class_unseen_patients.csv", rest.per_class)
    write_json(this.path / "metrics.json", metrics)
    write_table(this.tables / "per_class.csv", scores.per_class)
    write_table(this.tables / "per_patient.csv", scores.per_patient)
    confusion = pd.DataFrame(scores.confusion, columns=list(test.classes))
    confusion.insert(0, "true", test.classes)
    write_table(this.tables / "confusion.csv", confusion)


def note_data(
    which: Database, folder: Path, records: list[str], missing: tuple[str, ...], skipped: list[Skipped], remarks: list[str]
) -> dict[str, Any]:
    """What run.json says of the data: which, whose, what is missing or was mended, and a checksum of each file."""
    return {
        "kind": which.kind,
        "database": which.name,
        "title": which.title,
        "version": which.version,
        "licence": which.licence,
        "facts": list(which.lead_facts),
        "records": records,
        "missing": list(missing),
        "skipped": [asdict(item) for item in skipped],
        "remarks": remarks,
        "sha256": {str(file.relative_to(folder)): sha256(file) for file in _files_of(which, folder, records)},
    }


def _files_of(which: Database, folder: Path, records: list[str]) -> list[Path]:
    """What the records were read from, tables of all records included, as far as it is there."""
    if which.layout == "wfdb":
        stems, tables = [folder / record for record in records], []
    else:
        wanted = set(records)
        found = {path.stem: path for pattern in PATTERNS[which.layout] for path in folder.glob(pattern) if path.stem in wanted}
        stems = [found[record].with_suffix("") for record in records if record in found]
        tables = sorted(folder.glob("*.csv"))
    endings = (".hea", ".dat", ".mat", ".atr", ".evidence.csv")
    files = [stem.parent / f"{stem.name}{ending}" for stem in stems for ending in endings]
    return [file for file in (*tables, *files) if file.is_file()]


def expect_same_data(this: Run, data: dict[str, Any]) -> None:
    """Raises EcglensError where the run was begun with other records, or other bytes of them."""
    before = this.about.get("data")
    if before is not None and any(before.get(key) != data[key] for key in ("sha256", "records")):
        raise EcglensError(
            f"{this.path} was begun with other data ({len(before['records'])} records, now {len(data['records'])}, or changed "
            "files); choose another --out, or --overwrite"
        )


def write_examples(examples: Examples, plan: Plan, this: Run) -> None:
    """examples.csv: a row per example; tables/examples.csv and splits.csv: how many of which class and patient are where."""
    table = examples.table[["id", "record", "patient", "r_sample"]].copy()
    table["label"] = np.array(examples.classes)[examples.labels]
    table["split"], table["times_drawn"] = plan.split, plan.times
    write_table(this.path / "examples.csv", table)
    write_table(this.tables / "examples.csv", examples.counts())
    table["n"] = 1
    counted = table.groupby(["label", "split"])[["n", "times_drawn"]].sum().reset_index()
    write_table(this.tables / "splits.csv", counted.set_axis(["class", "split", "n", "drawn"], axis=1))
