"""From nets and answers of habeeb2024 to the tables of the report: what tells the hospital, which leads, which bars."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.lead_shares import lead_shares
from ecglens.analysis.one_number import best_auc
from ecglens.analysis.origin import last_layer
from ecglens.analysis.probing import origin_probe
from ecglens.attribution import explain
from ecglens.attribution.attributions import Attributions
from ecglens.examples.examples import Examples
from ecglens.examples.regions import whole_leads
from ecglens.files import write_json, write_table
from ecglens.models import Classifier
from ecglens.runs import Run
from ecglens.studies.habeeb2024_material import PADDED, Material
from ecglens.studies.habeeb2024_recipe import CPSC, PTBXL, REASONS, Question, recipe_for
from ecglens.studies.habeeb2024_shown import write_shown
from ecglens.studies.options import differing_options

BACKGROUND = 100  # examples, as published: the first of the table, which are all of one hospital


@dataclass(frozen=True)
class Explained:
    """Maps by what made them, and by hospital the mean signals that exact Shapley values start from."""

    maps: dict[str, Attributions]
    means: dict[str, Examples]


def explained_rows(question: Question, material: Material) -> NDArray[np.int64]:
    """Test records of the first net, up to `explained` of each hospital, at random."""
    rng = np.random.default_rng([question.seed, 41])
    tests = material.nets[0].tests
    return np.concatenate([np.sort(rng.permutation(tests[name])[: question.recipe.explained]) for name in (CPSC, PTBXL)])


def explain_all(
    question: Question, classifier: Classifier, material: Material, rows: NDArray[np.int64], this: Run
) -> Explained:
    """Maps of the first net for the class that it gives each record, summed lead by lead; written to attributions/.

    "expected-gradients": as published, from records of one hospital; "shapley-cpsc", "shapley-ptbxl": exact over all
    coalitions of leads, from the mean signal of each hospital's records (corrected recipe: 4,096 forwards a record each).
    """
    part, home = material.examples.take(rows), this.path / "attributions"
    whole = whole_leads(part.leads, len(part), part.length)
    maps = {
        "expected-gradients": explain(
            classifier, part, ["expected-gradients"], background=_first_rows(material), keep=whole, seed=question.seed,
            out=home / "expected-gradients",
        )
    }  # fmt: skip
    means = {}
    if question.recipe_name == "corrected":
        for hospital in (CPSC, PTBXL):
            means[hospital] = mean_signal(material, hospital)
            maps[f"shapley-{hospital}"] = explain(
                classifier, part, ["lead-shapley"], background=means[hospital], seed=question.seed,
                options={"lead-shapley": {"baseline": "mean"}}, out=home / f"shapley-{hospital}",
            )  # fmt: skip
    return Explained(maps, means)


def _first_rows(material: Material) -> Examples:
    """The first training records of CPSC2018, or of PTB-XL where it alone trains."""
    net = material.nets[0]
    trains = np.sort(np.concatenate([net.train, net.first]))
    mine = trains[material.hospital[trains] == CPSC]
    return material.examples.take((mine if len(mine) else trains)[:BACKGROUND])


def mean_signal(material: Material, hospital: str) -> Examples:
    """The mean signal of a hospital's records that the first net does not test, as an example."""
    net = material.nets[0]
    rows = np.flatnonzero((material.hospital == hospital) & ~np.isin(np.arange(len(material.hospital)), net.tests[hospital]))
    if not len(rows):  # all of them are tested: then their mean is asked for all the same
        rows = net.tests[hospital]
    one = material.examples.take(rows[:1])
    total = np.zeros(one.signals.shape[1:], np.float64)
    for row in rows:  # one by one: a copy of all is as large as the hospital
        total += material.examples.signals[row]
    one.signals[:] = total / len(rows)
    return one


def lead_values(found: Attributions, part: Examples) -> NDArray[np.float64]:
    """What each lead has in expected gradients, kept as means over the lead, or in Shapley values: (example, lead)."""
    n, n_leads = len(part), len(part.leads)
    if "lead-shapley" in found.methods:
        return np.asarray(found.native("lead-shapley")[:], np.float64).reshape(n, n_leads)
    return np.asarray(found["expected-gradients"][:], np.float64).reshape(n, n_leads) * part.length


def write_leads(
    question: Question, classifier: Classifier, material: Material, rows: NDArray[np.int64], found: Explained, this: Run
) -> dict[str, float]:
    """tables/leads.csv (by what, hospital, class, lead) and leads-values.csv, a row per record; the Shapley values' error."""
    part = material.examples.take(rows)
    hospital, patients = material.hospital[rows], part.column("patient").astype(str)
    tables, values, errors = [], [], {}
    for what, maps in found.maps.items():
        of_lead = lead_values(maps, part)
        for whose in (CPSC, PTBXL):
            mine = hospital == whose
            for signed in (True, False):
                table = lead_shares(
                    of_lead[mine], maps.predicted[mine], patients[mine], part.classes, part.leads, signed=signed,
                    seed=question.seed,
                )  # fmt: skip
                table.insert(0, "by", what)
                table.insert(1, "hospital", whose)
                table.insert(2, "signed", signed)
                tables.append(table)
        frame = pd.DataFrame(of_lead, columns=list(part.leads))
        frame.insert(0, "by", what)
        frame.insert(1, "hospital", hospital)
        frame.insert(2, "record", part.column("record"))
        frame.insert(3, "class", np.array(part.classes)[maps.predicted])
        values.append(frame)
        if "lead-shapley" in maps.methods:
            start = found.means[what.removeprefix("shapley-")]
            k = np.arange(len(rows)), maps.predicted
            rise = classifier.logits(part)[k] - classifier.logits(start)[0][maps.predicted]
            errors[f"{what}.worst_error"] = float(np.abs(of_lead.sum(axis=1) - rise).max())
    write_table(this.tables / "leads.csv", pd.concat(tables, ignore_index=True))
    write_table(this.tables / "leads-values.csv", pd.concat(values, ignore_index=True))
    return errors


def sizes_by_second(signals: NDArray[np.floating], fs: float) -> NDArray[np.float64]:
    """Mean absolute value of each second of each lead, (example, lead x second); a last second may be shorter.

    signals (example, lead, time), fs in Hz.
    """
    starts = np.arange(0, signals.shape[2], max(round(fs), 1))
    total = np.add.reduceat(np.abs(signals, dtype=np.float64), starts, axis=2)
    return (total / np.diff(np.append(starts, signals.shape[2]))).reshape(len(signals), -1)


def write_origin(question: Question, classifier: Classifier, material: Material, this: Run) -> dict[str, float]:
    """tables/origin.csv: how well the hospital can be told, from the length, the net's input and its last layer."""
    cpsc, ptbxl = (np.flatnonzero((material.hospital == name) & (material.side != "unused")) for name in (CPSC, PTBXL))
    rows = material.probed
    part, origin = material.examples.take(rows), material.hospital[rows]
    seconds, patients = part.column("recorded_seconds").astype(float), part.column("patient").astype(str)
    seen = classifier.inputs(part)[0].numpy()
    # a linear probe of samples sees no zeros, as what is around them has any sign; one of sizes does
    sources = {
        "length of the record": seconds[:, None],
        "sizes, second by second: the last 30 s, zeros before": sizes_by_second(material.padded, PADDED.fs),
        "sizes, second by second: input of the net": sizes_by_second(seen, part.fs),
        "samples: input of the net": seen.reshape(len(rows), -1),
        "last layer": last_layer(classifier, part)[0],
    }
    single = part.labels >= 0  # within a class: records with that one alone
    tables = []
    for name, features in sources.items():
        for mine, labels, classes in (
            (np.ones(len(rows), bool), np.zeros(len(rows), np.int64), ("all records",)),
            (single, part.labels, part.classes),
        ):
            table = origin_probe(
                features[mine], labels[mine], origin[mine], groups=patients[mine], classes=classes, seed=question.seed
            )
            table.insert(0, "from", name)
            known = table["why_not"].isna() | (table["why_not"] == "")
            tables.append(table[(table["class"] != "all classes") & (known | (table["class"] == "all records"))])
    write_table(this.tables / "origin.csv", pd.concat(tables, ignore_index=True))
    lasts = material.examples.column("recorded_seconds").astype(float)
    bound = best_auc(lasts[cpsc], lasts[ptbxl])
    at_ten = float(np.mean(lasts[cpsc] == 10))
    return {"origin.length_bound": bound, "origin.cpsc_exactly_10_s": at_ten}


def analyse(
    question: Question, classifier: Classifier, material: Material, rows: NDArray[np.int64], found: Explained, this: Run
) -> None:
    """Write every table that the report reads, and add what was found to metrics.json."""
    more: dict[str, Any] = write_leads(question, classifier, material, rows, found, this)
    more |= write_origin(question, classifier, material, this)
    write_shown(classifier, material, rows, this)
    pair = [recipe_for(name, quick=False) for name in ("as-published", "corrected")]
    own = recipe_for(question.recipe_name, quick=False)
    differing = differing_options((pair[0], pair[1]), own, question.recipe, REASONS)
    write_table(this.tables / "recipes.csv", pd.DataFrame(differing))
    write_json(this.tables / "recipe.json", asdict(question.recipe))
    metrics = json.loads((this.path / "metrics.json").read_text(encoding="utf-8")) | more
    write_json(this.path / "metrics.json", metrics)
