"""From maps and answers to the tables of the report."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.dependence import class_dependence, context_share
from ecglens.analysis.profiles import class_profiles, distance_from_profile
from ecglens.analysis.regions import padding_share, region_means, segments_around_r
from ecglens.attribution.attributions import Explained
from ecglens.attribution.registry import find_method
from ecglens.examples.examples import Examples
from ecglens.examples.splits import TEST, TRAIN
from ecglens.files import write_json, write_table
from ecglens.models import Classifier
from ecglens.recordings.databases import Database
from ecglens.recordings.wfdb_reader import read_wfdb
from ecglens.runs import Run
from ecglens.studies.evidence import write_evidence
from ecglens.studies.jones2020_material import Answers, Material
from ecglens.studies.jones2020_published import FIGURE_6, METRICS, PEERS, TABLE_1
from ecglens.studies.jones2020_recipe import FURTHER_REASONS, REASONS, Question, recipe_for
from ecglens.studies.options import differing_options
from ecglens.training.metrics import ranking_scores

_PER_CLASS = 48  # beats per class, at most, on which class dependence is measured
_SHOWN = 2  # beats per class that the report draws: one right, one wrong where there is one


def analyse(
    question: Question,
    classifier: Classifier,
    material: Material,
    answers: Answers,
    maps: Explained,
    this: Run,
    folder: Path,
    which: Database,
) -> None:
    """Write every table that the report reads, and add what was found to metrics.json."""
    examples = material.examples.take(maps.rows)
    tested = material.plan.split[maps.rows] == TEST
    values = _write_profiles(examples, maps, tested, this)
    card = find_method(maps.method).card
    found: dict[str, Any] = {"maps.method": maps.method, "maps.n": len(maps.rows), "maps.signed": card.signed}
    found |= _write_padding(examples, maps, this)
    if examples.evidence is not None:
        found |= write_evidence(classifier, examples, maps, tested, folder, this, question.seed)
    found |= _write_dependence(question, classifier, examples, maps, this)
    found |= _write_outliers(material, answers, examples, maps, values, this)
    if classifier.context is not None:
        found |= _write_context_share(question, classifier, material, answers, this)
    _write_shown_beats(examples, maps, tested, this)
    _write_extraction(question, examples, this, folder, which)
    _write_recipes(question, this)
    _write_paper(question, this)
    metrics = json.loads((this.path / "metrics.json").read_text(encoding="utf-8")) | found
    write_json(this.path / "metrics.json", metrics)
    _write_effects(material, metrics, this)


def _write_profiles(examples: Examples, maps: Explained, tested: NDArray[np.bool_], this: Run) -> NDArray[np.floating[Any]]:
    """tables/profiles.csv (size) and profiles_signed.csv; returns the beats' values (beat, segment).

    A gradient has no natural unit and its size differs from beat to beat: each beat's value is relative to the mean over
    its own segments, so that 1 is 'as much as the average of this beat'. The published map has its range [0, 1] already.
    """
    segments = segments_around_r(examples.column("r_index"), examples.places, examples.fs)
    size: NDArray[np.floating[Any]] = region_means(maps.maps, segments, magnitude=True)
    signed = find_method(maps.method).card.signed
    if signed:
        mean = np.nanmean(size, axis=1, keepdims=True)
        mean = np.where(mean > 0, mean, 1)
        size = size / mean
        direction = region_means(maps.maps, segments) / mean
        table = class_profiles(direction, segments, examples.labels, maps.target, tested, examples.classes)
        write_table(this.tables / "profiles_signed.csv", table)
    table = class_profiles(size, segments, examples.labels, maps.target, tested, examples.classes)
    write_table(this.tables / "profiles.csv", table)
    return size


def _write_padding(examples: Examples, maps: Explained, this: Run) -> dict[str, Any]:
    start, stop = examples.column("valid_start"), examples.column("valid_stop")
    share = padding_share(maps.maps, start, stop, examples.places)
    length = examples.places[0].length
    frame = pd.DataFrame(
        {
            "class": np.array(examples.classes)[examples.labels],
            "share of map": share,
            "share of time": 1 - (stop - start) / length,
        }
    )
    table = frame.groupby("class", sort=False).mean().reset_index().sort_values("class")
    table.insert(1, "n", table["class"].map(frame["class"].value_counts()))
    write_table(this.tables / "padding.csv", table)
    return {"maps.padding_share": float(share.mean()), "maps.padding_time": float(frame["share of time"].mean())}


def _compared(method: str, classifier: Classifier) -> list[str]:
    """Methods whose dependence on the class is measured: the run's own, the plain gradient, the paper's where it can be."""
    names = dict.fromkeys([method, "saliency", "mean-activation"])
    return [name for name in names if name != "mean-activation" or classifier.cam_layer is not None]


def _write_dependence(
    question: Question, classifier: Classifier, examples: Examples, maps: Explained, this: Run
) -> dict[str, Any]:
    """Does the map change when the second likeliest class is asked for, not the likeliest? Both methods, same beats."""
    rng = np.random.default_rng([question.seed, 7])
    per_class = min(_PER_CLASS, max(question.recipe.explain_at_most // 4, 1))
    labels = examples.labels
    parts = [rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in range(len(examples.classes))]
    rows = np.sort(np.concatenate(parts))
    sample = examples.take(rows)
    first = maps.target[rows]
    logits = classifier.logits(sample).copy()
    logits[np.arange(len(rows)), first] = -np.inf
    second = logits.argmax(1).astype(np.int64)
    tables = []
    out: dict[str, Any] = {}
    for name in _compared(maps.method, classifier):
        table = class_dependence(name, classifier, sample, first, second)
        table.insert(0, "method", name)
        table.insert(1, "id", sample.column("id"))
        tables.append(table)
        out[f"maps.class_change.{name}"] = float(table["change"].median())
    write_table(this.tables / "dependence.csv", pd.concat(tables, ignore_index=True))
    return out


def _write_outliers(
    material: Material,
    answers: Answers,
    examples: Examples,
    maps: Explained,
    values: NDArray[np.floating[Any]],
    this: Run,
) -> dict[str, Any]:
    """Test beats by distance from the usual map of the class they were given, and how well that finds the errors."""
    split = material.plan.split[maps.rows]
    right = maps.target == examples.labels
    n_classes = len(examples.classes)
    distance = distance_from_profile(values, maps.target, (split == TRAIN) & right, n_classes)
    doubt = 1 - _softmax(answers.logits[np.searchsorted(answers.rows, maps.rows)]).max(1)
    asked = (split == TEST) & ~np.isnan(distance)
    names = np.array(examples.classes)
    table = pd.DataFrame(
        {
            "id": examples.column("id")[asked],
            "label": names[examples.labels[asked]],
            "predicted": names[maps.target[asked]],
            "distance": distance[asked],
            "doubt": doubt[asked],
            "wrong": ~right[asked],
        }
    ).sort_values(["distance", "id"], ascending=[False, True])
    write_table(this.tables / "outliers.csv", table)
    wrong = ~right[asked]
    found: dict[str, Any] = {"outliers.n": int(asked.sum()), "outliers.errors": int(wrong.sum())}
    if wrong.any() and not wrong.all():
        found["outliers.auc"] = float(ranking_scores(wrong, distance[asked])[0][0])
        found["outliers.auc_of_doubt"] = float(ranking_scores(wrong, doubt[asked])[0][0])
    return found


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def _write_context_share(
    question: Question, classifier: Classifier, material: Material, answers: Answers, this: Run
) -> dict[str, Any]:
    """tables/rr_share.csv: how much of a decision rests on the RR intervals, by predicted class, test beats."""
    split = material.plan.split
    tested = np.flatnonzero(split[answers.rows] == TEST)
    rng = np.random.default_rng([question.seed, 8])
    predicted = answers.predicted
    classes = material.examples.classes
    chosen = np.sort(
        np.concatenate([rng.permutation(tested[predicted[tested] == label])[:200] for label in range(len(classes))])
    )
    asked = material.examples.take(answers.rows[chosen])
    background = material.examples.take(rng.permutation(np.flatnonzero(split == TRAIN))[:500])
    share = context_share(classifier, asked, predicted[chosen], background, question.seed)
    frame = pd.DataFrame({"predicted": np.array(classes)[predicted[chosen]], "share": share})
    table = frame.groupby("predicted")["share"].describe(percentiles=[0.25, 0.5, 0.75]).reset_index()
    table = table[["predicted", "count", "25%", "50%", "75%"]]
    table.columns = pd.Index(["predicted", "n", "q25", "median", "q75"])
    write_table(this.tables / "rr_share.csv", table.astype({"n": int}))
    return {"rr.share_median": float(np.median(share))} | {
        f"rr.share.{row.predicted}": float(row.median) for row in table.itertuples()
    }


def _write_shown_beats(examples: Examples, maps: Explained, tested: NDArray[np.bool_], this: Run) -> None:
    """tables/shown_beats.csv: signal and map, sample by sample, of one right and one wrong test beat per class."""
    right = maps.target == examples.labels
    frames = []
    for label in range(len(examples.classes)):
        for group in (right, ~right):
            members = np.flatnonzero(tested & group & (examples.labels == label))
            if len(members):
                frames.append(_beat_frame(examples, maps, int(members[len(members) // 2])))
    columns = ["id", "lead", "label", "predicted", "time_s", "mv", "map", "valid"]
    write_table(this.tables / "shown_beats.csv", pd.concat(frames) if frames else pd.DataFrame(columns=columns))


def _beat_frame(examples: Examples, maps: Explained, row: int) -> pd.DataFrame:
    about = examples.table.iloc[row]
    names = about["lead_names"].split(", ")
    frames = []
    for place, name in zip(examples.places, names, strict=True):
        span = slice(place.offset, place.offset + place.length)
        time = np.arange(place.length)
        frames.append(
            pd.DataFrame(
                {
                    "id": about["id"],
                    "lead": name,
                    "label": examples.classes[examples.labels[row]],
                    "predicted": examples.classes[maps.target[row]],
                    "time_s": (time - about["r_index"]) / examples.fs,
                    "mv": examples.signals[row, place.row, span],
                    "map": maps.maps[row, place.row, span],
                    "valid": (time >= about["valid_start"]) & (time < about["valid_stop"]),
                }
            )
        )
    return pd.concat(frames)


def _write_extraction(question: Question, examples: Examples, this: Run, folder: Path, which: Database) -> None:
    """tables/extraction.csv and extraction_marks.csv: a stretch of a record, its marks, and the window cut from it."""
    row = len(examples) // 2
    about = examples.table.iloc[row]
    recording = read_wfdb(folder, about["record"], database=which.name, patient=about["patient"])
    middle, half = int(about["r_sample"]), int(1.6 * recording.fs)
    first, last = max(middle - half, 0), min(middle + half, recording.signal.shape[1])
    time = (np.arange(first, last) - middle) / recording.fs
    frames = [
        pd.DataFrame({"lead": name, "time_s": time, "mv": recording.signal[k, first:last]})
        for k, name in enumerate(recording.leads)
    ]
    write_table(this.tables / "extraction.csv", pd.concat(frames))
    marks = recording.annotations
    inside = (marks.sample >= first) & (marks.sample < last)
    table = pd.DataFrame({"time_s": (marks.sample[inside] - middle) / recording.fs, "symbol": marks.symbol[inside]})
    table["kind"] = np.where(marks.is_beat[inside], "beat", "other mark")
    edges = (about["start"] + about[["valid_start", "valid_stop"]].to_numpy(int) - middle) / recording.fs
    window = pd.DataFrame({"time_s": edges, "symbol": about["id"], "kind": ["window start", "window stop"]})
    write_table(this.tables / "extraction_marks.csv", pd.concat([table, window]))


def _write_recipes(question: Question, this: Run) -> None:
    """tables/recipes.csv: the options on which the two recipes differ, the value of this run, and why it matters."""
    published, corrected, own = (
        recipe_for(name, question.model, question.split, quick=False)
        for name in ("as-published", "corrected", question.recipe_name)
    )
    rows = differing_options((published, corrected), own, question.recipe, REASONS | FURTHER_REASONS)
    write_table(this.tables / "recipes.csv", pd.DataFrame(rows))
    write_json(this.path / "tables" / "recipe.json", asdict(question.recipe))


def _write_effects(material: Material, metrics: dict[str, Any], this: Run) -> None:
    """tables/effects.csv: what single options do to the numbers, as far as one run can show it."""
    facts, table = material.facts, material.examples.table
    rows: list[tuple[str, str, float]] = [
        ("average_over", "macro F1 over the classes that occur", metrics["test.macro_f1"]),
        ("average_over", "macro F1 over all classes", metrics["test.macro_f1_all"]),
        ("extent", "share of beats dropped for their length", facts.too_long / max(facts.of_classes, 1)),
        ("padding", "share of the windows that is padding", metrics["maps.padding_time"]),
        ("padding", "share of the maps that lies on padding", metrics["maps.padding_share"]),
        ("merge_case", "beats 'a' and 'e' among the kept", float(table["symbol"].isin(["a", "e"]).sum())),
    ]
    for key in (key for key in metrics if key.startswith("maps.class_change.")):
        method = key.removeprefix("maps.class_change.")
        rows.append(("map_of", f"{method}: change of the map when another class is asked for", metrics[key]))
    for part, name in (("test", "all test patients"), ("test_unseen_patients", "test patients never trained on")):
        if f"{part}.accuracy" in metrics:
            rows.append(("split", f"accuracy, {name}", metrics[f"{part}.accuracy"]))
    write_table(this.tables / "effects.csv", pd.DataFrame(rows, columns=["option", "measured", "value"]))


def _write_paper(question: Question, this: Run) -> None:
    """tables/paper.csv (tables 1 to 3) and paper_per_class.csv (figure 6): the paper's numbers beside ours."""
    metrics = json.loads((this.path / "metrics.json").read_text(encoding="utf-8"))
    same_classes = question.classes == "jones"
    beside: dict[str, tuple[float | None, ...]] = {}
    for model in ("cnn", "lstm") if same_classes else ():
        if (question.split, model) in TABLE_1:
            beside[f"paper {model.upper()}"] = TABLE_1[question.split, model]
        if question.split == "holdout":
            beside[PEERS[model][0]] = PEERS[model][1]
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(METRICS):
        key = "accuracy" if name == "accuracy" else f"macro_{name}"
        for suffix, over in (("_all", "all classes"), ("", "classes in the test set")):
            if name == "accuracy" and suffix:
                continue
            row: dict[str, Any] = {"metric": name, "averaged over": "" if name == "accuracy" else over}
            row |= {
                part: metrics[f"test.{key}{suffix}{end}"] for part, end in (("ours", ""), ("low", "_low"), ("high", "_high"))
            }
            # the paper averages over all eight
            row |= {who: numbers[k] if suffix or name == "accuracy" else None for who, numbers in beside.items()}
            rows.append(row)
    write_table(this.tables / "paper.csv", pd.DataFrame(rows))
    ours = pd.read_csv(this.tables / "per_class.csv")
    for model in ("cnn", "lstm") if same_classes else ():
        figure = FIGURE_6.get((question.split, model), {})
        for k, name in enumerate(("f1", "precision", "recall")):
            ours[f"paper {model.upper()} {name}"] = [figure.get(label, (None,) * 3)[k] for label in ours["class"]]
    write_table(this.tables / "paper_per_class.csv", ours)
