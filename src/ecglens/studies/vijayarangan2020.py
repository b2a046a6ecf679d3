"""Vijayarangan 2020: a CNN beside an LSTM on two seconds of one lead; class activation map, learned mask, across training."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecglens.attribution import explain
from ecglens.attribution.attributions import Attributions
from ecglens.errors import choose
from ecglens.examples.examples import Examples
from ecglens.examples.splits import TEST, TRAIN
from ecglens.models import Classifier
from ecglens.models.ecgnet import LstmPart
from ecglens.progress import say
from ecglens.runs import Run, start_run
from ecglens.simulation.stand_in import find_records
from ecglens.studies import stages
from ecglens.studies.options import with_settings
from ecglens.studies.vijayarangan2020_material import Material, prepare
from ecglens.studies.vijayarangan2020_recipe import CLASS_SETS, MODEL_NAMES, SPLITS, Question, recipe_for
from ecglens.training.checkpoint import load_snapshot, snapshot_path

STAGES = ("examples", "training", "attribution", "analysis")


@dataclass(frozen=True)
class Maps:
    """What was explained. rows: test windows with one-pass maps; masked: those with a mask too; target: class asked about.

    one_pass, masks and lstm_masks are stores over rows and masked; course: start, epoch to maps of `followed`.
    """

    rows: NDArray[np.int64]
    masked: NDArray[np.int64]
    followed: NDArray[np.int64]
    one_pass: Attributions
    masks: Attributions
    lstm_masks: Attributions | None
    course: dict[int, dict[int, NDArray[np.float32]]]


def ask(
    recipe: str, model: str | None, split: str | None, classes: str | None, settings: list[str], *, quick: bool, seed: int
) -> Question:
    """Check the user's words; by default ecgnet-cam on all classes, shuffled as published and DS1/DS2 corrected."""
    model = model or "ecgnet-cam"
    choose(model, [*MODEL_NAMES, "all"], "model")
    split = split or ("shuffled" if recipe == "as-published" else "ds1-ds2")
    choose(split, list(SPLITS), "split")
    classes = classes or "all"
    choose(classes, list(CLASS_SETS), "set of classes")
    values = with_settings(recipe_for(recipe, model, split, quick=quick), settings)
    return Question(recipe, values, model, split, classes, quick, seed)


def run(
    question: Question, data: Path | None, out: Path, *, stop_after: str | None, overwrite: bool, or_simulated: bool = False
) -> Run:
    """Everything from files to the report, in stages; nets and maps that are there are not made again. "all": `compare`."""
    if question.model == "all":
        from ecglens.studies.vijayarangan2020_comparison import compare

        return compare(question, data, out, stop_after=stop_after, overwrite=overwrite, or_simulated=or_simulated)
    which, folder = find_records("mitdb", data, or_simulated=or_simulated)
    started = time.monotonic()
    this = start_run(out, {"study": "vijayarangan2020", **asdict(question)}, overwrite=overwrite)
    material = prepare(question, which, folder, this)
    if stop_after == "examples":
        return this.stopped()
    classifiers = train(question, material, this)
    if stop_after == "training":
        return this.stopped()
    logits = predict(question, classifiers[0], material, this)
    maps = explain_all(question, classifiers, material, logits, this)
    if stop_after == "attribution":
        return this.stopped()
    from ecglens.studies.vijayarangan2020_report import write_report
    from ecglens.studies.vijayarangan2020_tables import analyse

    analyse(question, classifiers[0], material, logits, maps, this)
    if stop_after == "analysis":
        return this.stopped()
    write_report(this)
    return this.completed(started)


def kept_epochs(epochs: int) -> tuple[int, ...]:
    """Epochs whose weights are kept: before the first step, then 1, 2, 4, 8, ... and the last."""
    doubled = [2**k for k in range(epochs.bit_length()) if 2**k < epochs]
    return (0, *doubled, epochs)


def start_folder(this: Run, start: int) -> Path:
    """Where the net of a random start lies: the first is the run itself."""
    return this.path if start == 0 else this.path / "starts" / str(start)


def train(question: Question, material: Material, this: Run) -> list[Classifier]:
    """One net from each random start, the first in the run's folder, the others in starts/1, ...; all alike but the seed."""
    recipe, out = question.recipe, []
    for start in range(recipe.starts):
        home = this if start == 0 else Run(start_folder(this, start), {"status": "one start of the run above"})
        home.tables.mkdir(parents=True, exist_ok=True)
        if not home.has("model.safetensors"):
            say(f"start {start}: {len(material.plan.rows)} windows x {recipe.epochs} epochs")
        out.append(
            stages.train(
                question.model, material.examples, material.plan, recipe.training, home, scale=recipe.scale,
                seed=question.seed + 1000 * start, keep_epochs=kept_epochs(recipe.epochs),
            )
        )  # fmt: skip
    return out


def predict(question: Question, classifier: Classifier, material: Material, this: Run) -> NDArray[np.float32]:
    """Logits of all test windows (window, class); writes predictions.csv and the scores."""
    examples = material.examples
    part = examples.take(np.flatnonzero(material.plan.split == TEST))
    logits = classifier.logits(part)
    probabilities = classifier.probabilities(logits)
    stages.write_predictions(part, probabilities, this)
    about = {"study": "vijayarangan2020", "recipe": question.recipe_name, "model": question.model, "split": question.split}
    about |= {"test.windows_overlapping_training": this.about["overlap"]}
    stages.write_scores(about, part, probabilities, this, average_over=question.recipe.average_over, seed=question.seed)
    return logits


def cam_method(classifier: Classifier) -> str:
    """The exact class activation map that the net can have: CAM behind a mean, else place by place (ecgnet's flat head)."""
    return "hires-cam" if classifier.name == "ecgnet" else "cam"


def explain_all(
    question: Question, classifiers: list[Classifier], material: Material, logits: NDArray[np.float32], this: Run
) -> Maps:
    """One-pass maps, masks of the whole net and of its LSTM alone, and maps across training; all of the predicted class."""
    recipe, examples, classifier = question.recipe, material.examples, classifiers[0]
    test = np.flatnonzero(material.plan.split == TEST)
    predicted = logits.argmax(1).astype(np.int64)
    chosen = _some(examples, test, recipe.explained_per_class, question.seed)
    masked = _some(examples, chosen, recipe.masked_per_class, question.seed)
    followed = _some(examples, chosen, recipe.course_per_class, question.seed)
    said = dict(zip(test.tolist(), predicted.tolist(), strict=True))

    def target(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([said[row] for row in rows.tolist()], np.int64)

    background = _background(material, question.seed)
    cam = cam_method(classifier)
    one_pass = explain(
        classifier, examples, [cam, "saliency", "input-x-gradient"], target=target(chosen), rows=chosen,
        out=this.path / "attributions" / "one-pass", seed=question.seed,
    )  # fmt: skip
    options = {"deletion-mask": recipe.mask_options}
    masks = explain(
        classifier, examples, ["deletion-mask"], target=target(masked), rows=masked, background=background, options=options,
        out=this.path / "attributions" / "mask", seed=question.seed,
    )  # fmt: skip
    lstm_masks = None
    if hasattr(classifier.module, "branches"):
        lstm = replace(classifier, module=LstmPart(classifier.module), cam_layer=None)
        lstm_masks = explain(
            lstm, examples, ["deletion-mask"], target=target(masked), rows=masked, background=background, options=options,
            out=this.path / "attributions" / "mask-lstm", seed=question.seed,
        )  # fmt: skip
    course = _course(classifiers, examples, followed, target(followed), cam, this, kept_epochs(recipe.epochs))
    return Maps(chosen, masked, followed, one_pass, masks, lstm_masks, course)


def _some(examples: Examples, rows: NDArray[np.int64], at_most: int, seed: int) -> NDArray[np.int64]:
    """Up to `at_most` random ones of `rows` in each class, in order."""
    rng = np.random.default_rng([seed, 4])
    parts = [rng.permutation(rows[examples.labels[rows] == label])[:at_most] for label in range(len(examples.classes))]
    return np.sort(np.concatenate(parts))


def _background(material: Material, seed: int, n: int = 64) -> Examples:
    """Random training windows, for fills and methods that compare with 'nothing known'."""
    train = np.flatnonzero(material.plan.split == TRAIN)
    return material.examples.take(np.sort(np.random.default_rng([seed, 9]).permutation(train)[:n]))


def _course(
    classifiers: list[Classifier], examples: Examples, rows: NDArray[np.int64], target: NDArray[np.int64], method: str,
    this: Run, epochs: tuple[int, ...],
) -> dict[int, dict[int, NDArray[np.float32]]]:  # fmt: skip
    """Maps of the same windows by the nets of each start after each kept epoch, the last by the net as it is used."""
    out: dict[int, dict[int, NDArray[np.float32]]] = {}
    for start, classifier in enumerate(classifiers):
        folder = start_folder(this, start)
        final = {name: value.clone() for name, value in classifier.module.state_dict().items()}
        out[start] = {}
        for epoch in epochs[:-1]:
            if snapshot_path(folder, epoch).is_file():  # a training may have stopped before
                load_snapshot(classifier.module, folder, epoch)
                found = explain(classifier, examples, [method], target=target, rows=rows, quiet=True)
                out[start][epoch] = found.native(method)[:]
        classifier.module.load_state_dict(final)
        out[start][epochs[-1]] = explain(classifier, examples, [method], target=target, rows=rows, quiet=True).native(method)[
            :
        ]
    return out
