"""The records that habeeb2024's report draws, with their maps: which they are, and the tables that keep them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.lead_occlusion import LeadCells, occlude_lead_cells
from ecglens.attribution import explain
from ecglens.files import write_table, written_whole
from ecglens.models import Classifier
from ecglens.report.shown import arrays_of
from ecglens.runs import Run
from ecglens.studies.habeeb2024_material import Material
from ecglens.studies.habeeb2024_recipe import CPSC, PTBXL
from ecglens.studies.sources import Sources
from ecglens.training.thresholds import decide

_NORMAL = "SNR"
_SECONDS = 10.0  # of a record that are drawn: its last ones


@dataclass(frozen=True)
class Shown:
    """One record to draw: its row of tables/shown.csv, and of its last ten seconds signal (mV) and maps, (lead, time) each.

    occlusion: fall of the class's logit where half a second of a lead is its mean; grad_cam (cell,), channel_cam (channel,)
    over the whole clip, which begins and ends `within` s of the drawn seconds' clock.
    """

    row: dict[str, Any]
    fs: float
    leads: tuple[str, ...]
    signal: NDArray[np.float32]
    occlusion: NDArray[np.float64]
    guided: NDArray[np.float32]
    grad_cam: NDArray[np.float32]
    channel_cam: NDArray[np.float32]
    within: tuple[float, float]


@dataclass(frozen=True)
class Chosen:
    """Positions among the explained records: one for each class that was given, one of each hospital, the wrong one if any."""

    of_class: list[int]
    patient: list[int]
    wrong: list[int]

    @property
    def all(self) -> list[int]:
        """Each once, in the order in which they are drawn."""
        return list(dict.fromkeys([*self.of_class, *self.patient, *self.wrong]))


def choose_records(
    labels: NDArray[np.bool_], probabilities: NDArray[np.floating], answered: NDArray[np.bool_], hospital: NDArray[np.str_],
    classes: tuple[str, ...],
) -> Chosen:  # fmt: skip
    """Which of the explained records to draw; labels, probabilities and answered are (record, class), hospital (record,).

    The class given to a record is the likeliest. Of each class the middle record that is given it rightly, else wrongly; of
    each hospital the middle one that is given a class other than normal rightly, else any class rightly, else any; and of
    those with a likeliest class that is answered and not among the labels the one with the largest probability.
    """
    row, given = np.arange(len(labels)), probabilities.argmax(1)
    right = labels[row, given]
    ill = given != (classes.index(_NORMAL) if _NORMAL in classes else -1)
    of_class = [_middle(given == k, (right,)) for k in range(len(classes))]
    patient = [_middle(hospital == whose, (right & ill, right)) for whose in (CPSC, PTBXL)]
    mistaken = np.flatnonzero(~right & answered[row, given])
    wrong = [int(mistaken[probabilities[mistaken, given[mistaken]].argmax()])] if len(mistaken) else []
    return Chosen([k for k in of_class if k is not None], [k for k in patient if k is not None], wrong)


def _middle(mine: NDArray[np.bool_], better: tuple[NDArray[np.bool_], ...]) -> int | None:
    """The middle one of `mine` that is also in the first of `better` that has one, else of `mine`."""
    for each in (*better, np.ones(len(mine), bool)):
        rows = np.flatnonzero(mine & each)
        if len(rows):
            return int(rows[len(rows) // 2])
    return None


def write_shown(classifier: Classifier, material: Material, rows: NDArray[np.int64], this: Run) -> None:
    """tables/shown.csv, a row for each record that is drawn, and shown.npz, its signal and maps for the likeliest class."""
    part = material.examples.take(rows)
    assert part.multi_hot is not None
    assert classifier.thresholds is not None
    probabilities = classifier.probabilities(classifier.logits(part))
    answered = decide(probabilities, classifier.thresholds)
    chosen = choose_records(part.multi_hot, probabilities, answered, material.hospital[rows], part.classes)
    told: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {"fs": np.array(part.fs), "leads": np.array(part.leads)}
    drawn = np.array(chosen.all)
    given = probabilities.argmax(1)
    maps = explain(
        classifier, part, ["grad-cam", "channel-cam", "guided-grad-cam"], target=given[drawn], rows=drawn, quiet=True
    )
    for number, row in enumerate(chosen.all):
        k, one = int(given[row]), part.take(np.array([row]))
        hidden = occlude_lead_cells(classifier, one, k)
        arrays |= {
            f"signal {number}": one.signals[0],
            f"guided {number}": np.asarray(maps["guided-grad-cam"][number], np.float32),
            f"grad-cam {number}": np.asarray(maps.native("grad-cam")[number], np.float32).ravel(),
            f"channel-cam {number}": np.asarray(maps.native("channel-cam")[number], np.float32).ravel(),
            f"edges {number}": hidden.edges, f"occlusion {number}": hidden.fall,
        }  # fmt: skip
        table = one.table.iloc[0]
        told.append(
            {"of_class": row in chosen.of_class, "patient": row in chosen.patient, "wrong": row in chosen.wrong,
             "class": part.classes[k], "right": bool(part.multi_hot[row, k]), "hospital": material.hospital[rows[row]],
             "id": table["id"], "record": table["record"], "labels": _names(part.classes, part.multi_hot[row]),
             "answered": _names(part.classes, answered[row]), "probability": float(probabilities[row, k]),
             "threshold": float(classifier.thresholds[k]),
             "start": int(table["valid_start"]), "stop": int(table["valid_stop"])}
        )  # fmt: skip
    write_table(this.tables / "shown.csv", pd.DataFrame(told))
    with written_whole(this.tables / "shown.npz") as beside, beside.open("wb") as handle:
        np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]


def _names(classes: tuple[str, ...], mine: NDArray[np.bool_]) -> str:
    return ", ".join(name for name, there in zip(classes, mine, strict=True) if there) or "none"


def read_shown(source: Sources) -> list[Shown]:
    """The records that `write_shown` wrote, cut to what is drawn; raises EcglensError where one is missing or damaged."""
    table, out = source.table("shown"), []
    with arrays_of(source.run.tables / "shown.npz") as found:
        fs, leads = float(found["fs"]), tuple(map(str, found["leads"]))
        for number, row in enumerate(table.to_dict("records")):
            signal = found[f"signal {number}"]
            length, stop = signal.shape[1], int(row["stop"])
            first = max(int(row["start"]), stop - round(_SECONDS * fs))
            cells = LeadCells(found[f"edges {number}"], found[f"occlusion {number}"])
            out.append(
                Shown(
                    row, fs, leads, signal[:, first:stop], cells.spread(length)[:, first:stop],
                    found[f"guided {number}"][:, first:stop], found[f"grad-cam {number}"], found[f"channel-cam {number}"],
                    (-first / fs, (length - first) / fs),
                )
            )  # fmt: skip
    return out
