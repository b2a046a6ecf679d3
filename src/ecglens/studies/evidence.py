"""What only simulated ECGs can tell: whether a model rests on the evidence, and whether its maps find it. For any study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.regions import mass_inside
from ecglens.attribution.attributions import Explained
from ecglens.errors import EcglensError
from ecglens.examples.evidence import counterparts, with_evidence_alone, without_evidence
from ecglens.examples.examples import Examples
from ecglens.examples.regions import inside
from ecglens.files import write_table
from ecglens.models import Classifier
from ecglens.report.html import Section, sheet
from ecglens.runs import Run

_TITLE = "The evidence: known here, because the ECGs are simulated"


def write_evidence(
    classifier: Classifier,
    examples: Examples,
    maps: Explained,
    tested: NDArray[np.bool_],
    folder: Path,
    this: Run,
    seed: int,
) -> dict[str, Any]:
    """tables/evidence_maps.csv and tables/evidence_test.csv, and their sums for metrics.json; maps are of `examples`."""
    found = _write_maps(examples, maps, this, seed)
    if tested.any():
        found |= _write_test(classifier, examples.take(tested), folder, this)
    return found


def _write_maps(examples: Examples, maps: Explained, this: Run, seed: int) -> dict[str, Any]:
    """How much of each map lies where its beat is known to differ, beside the map of another beat."""
    if examples.evidence is None:
        raise EcglensError("these examples carry no evidence: only simulated ones do")
    where = inside(examples.evidence, *examples.signals.shape[1:])
    other = np.random.default_rng([seed, 8]).permutation(len(examples))
    share, area = mass_inside(maps.maps, where), where.mean(axis=(1, 2))
    known = area > 0
    frame = pd.DataFrame(
        {
            "class": np.array(examples.classes)[examples.labels[known]],
            "share of window": area[known],
            "share of map": share[known],
            "enrichment": share[known] / area[known],
            "of another beat's map": (mass_inside(maps.maps[:][other], where)[known]) / area[known],
        }
    )
    table = frame.groupby("class").mean().reset_index()
    table.insert(1, "n", table["class"].map(frame["class"].value_counts()))
    write_table(this.tables / "evidence_maps.csv", table)
    return {
        "maps.evidence_n": len(frame),
        "maps.evidence_enrichment": float(frame["enrichment"].mean()),
        "maps.evidence_enrichment_shuffled": float(frame["of another beat's map"].mean()),
    }


def _write_test(classifier: Classifier, test: Examples, folder: Path, this: Run) -> dict[str, Any]:
    """Recall of each class as it is, with its evidence replaced by the patient's normal beat, and with evidence alone."""
    truth = counterparts(test, folder)
    versions = {
        "recall": test,
        "without evidence": without_evidence(test, truth),
        "evidence alone": with_evidence_alone(test, truth),
    }
    given = {name: classifier.logits(version).argmax(1) for name, version in versions.items()}
    assert test.evidence is not None
    usual = test.classes.index("N") if "N" in test.classes else 0
    quiet = (test.labels == usual) & (test.evidence.start == test.evidence.stop).all(axis=1)
    rows = []
    for label, name in enumerate(test.classes):
        own = test.labels == label
        if own.any():
            chance = float((given["recall"][quiet] == label).mean()) if quiet.any() else None
            recalls = {version: float((answer[own] == label).mean()) for version, answer in given.items()}
            rows.append({"class": name, "n": int(own.sum()), **recalls, "undisturbed normal beats called so": chance})
    write_table(this.tables / "evidence_test.csv", pd.DataFrame(rows))
    return {f"evidence.accuracy.{name}": float((answer == test.labels).mean()) for name, answer in given.items()}


def evidence_section(
    metrics: dict[str, Any], evidence_maps: pd.DataFrame, evidence_test: pd.DataFrame | None, fact: str
) -> Section:
    """The section of a report on simulated ECGs; `fact` says what counts as evidence."""
    text = [
        "These beats are simulated, so it is known why each belongs to its class. " + fact[:1].upper() + fact[1:] + ", "
        "measured without noise: in its own waves, or in its neighbours', where the evidence is that it came early or late.",
    ]
    sheets = []
    if evidence_test is not None:
        text.append(
            "Does the network rest on it? Each span of evidence is replaced by the same patient's normal beat; a network that "
            "rests on the evidence should then call the beat what it calls undisturbed normal beats, and no more often. The "
            f"other way round, only the evidence is left and all else becomes the patient's normal beat: accuracy "
            f"{metrics['evidence.accuracy.recall']:.3f} as it is, {metrics['evidence.accuracy.without evidence']:.3f} without "
            f"evidence, {metrics['evidence.accuracy.evidence alone']:.3f} with nothing else."
        )
        sheets.append(sheet(evidence_test, "evidence_test", "Share of each class's test beats that are called by their class"))
    if metrics["maps.evidence_enrichment"] is None:
        text.append("No beat that was explained differs from its patient's normal beat, so there is no evidence to find.")
        return Section(_TITLE, text, sheets)
    text.append(
        "Do the maps find it? Enrichment is the share of the map on the evidence over the share of the window that the "
        "evidence takes; 1 is what a map gets that knows nothing. Mean over the beats that have evidence: "
        f"{metrics['maps.evidence_enrichment']:.2f}; with each beat's map exchanged for another beat's: "
        f"{metrics['maps.evidence_enrichment_shuffled']:.2f}. A network may rest on part of the evidence alone, or on what is "
        "missing: a low number is a question, not a verdict."
    )
    sheets.append(sheet(evidence_maps, "evidence_maps", "Maps and evidence, by class: beats that differ from normal"))
    return Section(_TITLE, text, sheets)
