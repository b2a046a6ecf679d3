"""From answers and class activation maps of lin2020 to the tables of the report."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.planted_spike import Spike, lead_occlusion, spike_effect, with_spike
from ecglens.analysis.whole_records import joined_clips
from ecglens.attribution import explain
from ecglens.attribution.attributions import Attributions
from ecglens.attribution.cams import linear_head
from ecglens.errors import EcglensError
from ecglens.examples.clips import by_record, cut_clips
from ecglens.examples.examples import Examples
from ecglens.files import write_json, write_table, written_whole
from ecglens.models import Classifier
from ecglens.recordings.databases import Database, read_records
from ecglens.recordings.recording import Recording
from ecglens.recordings.resampling import resampled
from ecglens.runs import Run
from ecglens.studies.lin2020 import Answers
from ecglens.studies.lin2020_material import Material
from ecglens.studies.lin2020_recipe import REASONS, Question, recipe_for
from ecglens.studies.options import differing_options
from ecglens.training.challenge import challenge_weights
from ecglens.training.thresholds import decide

RATES = (257.0, 500.0, 1000.0)  # Hz; what hospitals send, and the rate that was new to the authors' entry
_AT_OTHER_RATES = 60  # test records
SPIKED = "V2"
SPIKES = (Spike(1.0, 0.02), Spike(5.0, 0.02), Spike(5.0, 0.2))


def analyse(
    question: Question, classifier: Classifier, material: Material, answers: Answers, maps: Attributions,
    where: tuple[Database, Path], this: Run,
) -> None:  # fmt: skip
    """Write every table that the report reads, and add what was found to metrics.json."""
    part = material.test
    found = _identity(classifier, part, maps)
    found |= _spikes(classifier, part, question.seed, this)
    found |= _rates(question, classifier, material, where, this)
    _write_shown(classifier, part, answers, maps, this)
    _write_long(question, classifier, material, answers, where, this)
    _write_recipes(question, this)
    if question.classes == "challenge":
        weights = pd.DataFrame(challenge_weights(classifier.classes), columns=list(classifier.classes))
        weights.insert(0, "class", classifier.classes)
        write_table(this.tables / "weights.csv", weights)
    metrics = json.loads((this.path / "metrics.json").read_text(encoding="utf-8")) | found
    write_json(this.path / "metrics.json", metrics)


def _identity(classifier: Classifier, part: Examples, maps: Attributions) -> dict[str, float]:
    """How far the mean of a map and the bias are from the logit, at most, over all clips and classes; ms of a cell."""
    cells = maps.native("cam")
    head, _ = linear_head(classifier)
    bias = head.bias.detach().cpu().numpy()
    logits, worst = classifier.logits(part), 0.0
    for start in range(0, len(part), 256):
        rows = np.arange(start, min(start + 256, len(part)))
        mean = np.asarray(cells[rows], np.float64).reshape(len(rows), len(classifier.classes), -1).mean(2)
        worst = max(worst, float(np.abs(mean + bias - logits[rows]).max()))
    n_cells = int(np.prod(cells[:1].shape[2:]))
    return {"cam.identity_error": worst, "cam.cells": n_cells, "cam.ms_a_cell": 1000 * part.length / part.fs / n_cells}


def _spikes(classifier: Classifier, part: Examples, seed: int, this: Run) -> dict[str, float]:
    """tables/spike.csv: spikes in one lead of each test clip, what map and lead-wise occlusion make of them; one shown."""
    table = spike_effect(classifier, part, SPIKED, SPIKES, seed=seed)
    write_table(this.tables / "spike.csv", table)
    found: dict[str, float] = {}
    for spike in SPIKES:
        mine = table[table["spike"] == str(spike)]
        key = f"spike.{spike.millivolts:g}mV_{1000 * spike.seconds:g}ms"
        found |= {
            f"{key}.{name}": float(mine[name].mean())
            for name in ("map_before", "map_after", "chance", "found_before", "found")
        }
        found[f"{key}.logit_change"] = float((mine["logit_after"] - mine["logit_before"]).abs().mean())
    _write_spiked(classifier, part, table[table["spike"] == str(SPIKES[-1])], this)
    return found


def _write_spiked(classifier: Classifier, part: Examples, table: pd.DataFrame, this: Run) -> None:
    """tables/spiked.npz: of the largest spike the clip whose map it draws as much as it does in the middle of all."""
    order = np.argsort((table["map_after"] - table["map_before"]).to_numpy(), kind="stable")
    number = order[len(order) // 2]
    row, at = part.leads.index(SPIKED), round(float(table["at_s"].iloc[number]) * part.fs)
    clean = part.take(np.array([number]))
    spiked = with_spike(clean, np.array([at]), row, SPIKES[-1])
    target = np.array([classifier.classes.index(table["class"].iloc[number])])
    cams = [explain(classifier, each, ["cam"], target=target, quiet=True).native("cam")[:].ravel() for each in (clean, spiked)]
    falls = [lead_occlusion(classifier, each, target)[0] for each in (clean, spiked)]
    arrays = {
        "fs": np.array(part.fs), "lead": np.array(SPIKED), "class": np.array(table["class"].iloc[number]),
        "id": np.array(str(table["id"].iloc[number])), "leads": np.array(part.leads), "signal": spiked.signals[0, row],
        "spiked": np.array([at / part.fs, at / part.fs + SPIKES[-1].seconds]), "spike": np.array(str(SPIKES[-1])),
        "cam before": cams[0], "cam after": cams[1], "fall before": falls[0], "fall after": falls[1],
    }  # fmt: skip
    with written_whole(this.tables / "spiked.npz") as beside, beside.open("wb") as handle:
        np.savez_compressed(handle, **arrays)


def _rates(
    question: Question, classifier: Classifier, material: Material, where: tuple[Database, Path], this: Run
) -> dict[str, float]:
    """tables/rates.csv: the same test records given at other rates; by how much probabilities differ."""
    which, folder = where
    names = material.test.table["record"].drop_duplicates().astype(str).tolist()
    pick = np.sort(np.random.default_rng([question.seed, 24]).permutation(len(names))[:_AT_OTHER_RATES])
    recordings = list(read_records(which, folder, tuple(names[k] for k in pick), [], swap_leads=False))
    rows = []
    for fs in RATES:
        others: dict[str, Recording] = {}
        for each in recordings:
            with suppress(EcglensError):  # a rate of its own that goes into this one by no filter
                others[each.record] = replace(resampled(each, fs), remarks=())
        given, changed = (
            _by_name(question, classifier, material, some)
            for some in ([each for each in recordings if each.record in others], list(others.values()))
        )
        away = np.array([np.abs(given[name] - changed[name]) for name in given if name in changed])
        rows.append(
            {"rate": fs, "records": len(away), "not_given": len(recordings) - len(away), "mean": away.mean(),
             "largest": away.max(initial=0.0), "within_.02": (away <= 0.02).mean()}
        )  # fmt: skip
    write_table(this.tables / "rates.csv", pd.DataFrame(rows))
    return {f"rates.{row['rate']:g}.largest": float(row["largest"]) for row in rows}


def _by_name(
    question: Question, classifier: Classifier, material: Material, recordings: list[Recording]
) -> dict[str, NDArray[np.float64]]:
    """Probabilities (class,) of each recording that gives clips, by its name."""
    examples, _ = cut_clips(recordings, material.labels, question.recipe.cutting, [])
    found, table = by_record(classifier.probabilities(classifier.logits(examples)), examples, question.recipe.join)
    return dict(zip(table["record"].astype(str), found, strict=True))


def _write_shown(classifier: Classifier, part: Examples, answers: Answers, maps: Attributions, this: Run) -> None:
    """tables/shown.npz: for each class the middle one of the records that have it and are answered so, else that have it."""
    assert classifier.thresholds is not None
    said = decide(answers.probabilities, classifier.thresholds)
    first = np.flatnonzero(~part.table["record"].duplicated().to_numpy())
    arrays: dict[str, NDArray[Any]] = {"fs": np.array(part.fs)}
    shown, cells = [], maps.native("cam")
    for k, name in enumerate(classifier.classes):
        right = np.flatnonzero(answers.truth[:, k] & said[:, k])
        mine = right if len(right) else np.flatnonzero(answers.truth[:, k])
        if not len(mine):
            continue
        record = int(mine[len(mine) // 2])
        row = int(first[record])
        shown.append(
            {
                "class": name, "id": part.table["id"].iloc[row], "right": bool(len(right)),
                "probability": float(answers.probabilities[record, k]), "threshold": classifier.thresholds[k],
                "start": int(part.table["valid_start"].iloc[row]), "stop": int(part.table["valid_stop"].iloc[row]),
            }
        )  # fmt: skip
        arrays[f"signal {len(shown) - 1}"] = part.signals[row]
        arrays[f"cam {len(shown) - 1}"] = np.asarray(cells[np.array([row])], np.float32).reshape(len(classifier.classes), -1)[
            k
        ]
    write_table(this.tables / "shown.csv", pd.DataFrame(shown))
    with written_whole(this.tables / "shown.npz") as beside, beside.open("wb") as handle:
        np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]


def _write_long(
    question: Question, classifier: Classifier, material: Material, answers: Answers, where: tuple[Database, Path], this: Run
) -> None:
    """tables/long.npz: lead II of the longest test record that is longer than a clip, and the map of its likeliest class."""
    part = material.test
    longest = int(part.column("start").argmax())
    if part.column("clips")[longest] < 2:
        return
    record = str(part.column("record")[longest])
    which, folder = where
    recordings = list(read_records(which, folder, (record,), [], swap_leads=False))
    tiles, _ = cut_clips(recordings, material.labels, replace(question.recipe.cutting, clips="tiles"), [])
    k = int(answers.probabilities[(answers.table["record"].astype(str) == record).to_numpy()][0].argmax())
    name = classifier.classes[k]
    cells = explain(classifier, tiles, ["cam"], target=name, quiet=True).native("cam")
    starts = tiles.column("start").astype(np.int64)
    samples = int(starts.max()) + tiles.length
    lead = classifier.leads.index("II") if "II" in classifier.leads else 0
    arrays = {
        "fs": np.array(tiles.fs), "class": np.array(name), "id": np.array(f"{which.name}/{record}"),
        "lead": np.array(classifier.leads[lead]),
        "signal": joined_clips(tiles.signals[:, lead], starts, tiles.length, samples),
        "cam": joined_clips(np.asarray(cells[:], np.float64).reshape(len(tiles), -1), starts, tiles.length, samples),
    }  # fmt: skip
    with written_whole(this.tables / "long.npz") as beside, beside.open("wb") as handle:
        np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]


def _write_recipes(question: Question, this: Run) -> None:
    """tables/recipes.csv: the options on which the two recipes differ, the value of this run, and why it matters."""
    loss, classes = question.recipe.loss, question.classes
    published, corrected, own = (
        recipe_for(name, loss, classes, quick=False) for name in ("as-published", "corrected", question.recipe_name)
    )
    rows = differing_options((published, corrected), own, question.recipe, REASONS)
    write_table(this.tables / "recipes.csv", pd.DataFrame(rows))
    write_json(this.tables / "recipe.json", asdict(question.recipe))
