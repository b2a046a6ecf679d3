"""The clips of a lin2020 run: read, cut, labelled and split, by fold, by patient, or as published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.clips import cut_clips
from ecglens.examples.diagnoses import DiagnosisMap, diagnosis_map
from ecglens.examples.examples import Examples
from ecglens.examples.splits import TEST, TRAIN, VALIDATION, Plan, random_places
from ecglens.files import write_table
from ecglens.progress import say
from ecglens.recordings.databases import Database, Skipped, read_records
from ecglens.recordings.duplicates import SameSignal
from ecglens.recordings.places import records_at
from ecglens.recordings.ptbxl_reader import ptbxl_folds
from ecglens.runs import Run
from ecglens.studies.lin2020_published import TABLE_1
from ecglens.studies.lin2020_recipe import CLASS_SETS, Question
from ecglens.studies.stages import expect_same_data, note_data
from ecglens.studies.trained_on import read_trained_on, without_known, write_trained_on

_TRAINED = 2 / 3  # of each class's single-label records, as the counts of the paper's Table 4 imply
_VALIDATED, _TESTED = 0.1, 0.25
_SAID = 10  # lines of each kind, at most


@dataclass(frozen=True)
class Material:
    """The clips of a run, what each is for, and the map that gave them their classes."""

    examples: Examples
    plan: Plan
    labels: DiagnosisMap

    def side(self, name: str) -> Examples:
        """The clips of one side."""
        return self.examples.take(np.flatnonzero(self.plan.split == name))

    @cached_property
    def test(self) -> Examples:
        """The clips of the test side, copied once."""
        return self.side(TEST)


def prepare(
    question: Question, which: Database, folder: Path, this: Run, announce: Callable[[Question, int], None] = lambda _, n: None
) -> Material:
    """Read, cut and split; writes examples.csv and its tables, and notes what was left out and why.

    announce: called with the number of records before the first is read.
    """
    labels = diagnosis_map(CLASS_SETS[question.database][question.classes])
    there, missing = records_at(which, folder, question.recipe.fs)
    there = _only(there, question.recipe.only, which)
    missing = tuple(name for name in missing if name.startswith(question.recipe.only))
    if not this.has("model.safetensors"):
        announce(question, len(there))
    skipped: list[Skipped] = []
    remarks: list[str] = []
    recordings = read_records(which, folder, there, skipped, swap_leads=False, remarks=remarks)
    examples, facts = cut_clips(recordings, labels, question.recipe.cutting, skipped)
    _say_what_was_found(remarks, skipped, len(there))
    split = make_split(question.split, examples, fold_of(which, folder), question.seed, question.recipe.fold)
    known: list[SameSignal] = []
    if question.recipe.start_from:
        split, known = without_known(examples, split, read_trained_on(Path(question.recipe.start_from)))
        _expect_sides(split)
        if known:
            say(f"{len({pair.first for pair in known})} records that the net of start_from knows do not test or validate here")
    plan = plan_clips(split, examples, question.recipe.oversample, question.seed)
    records = sorted(set(examples.column("record")))
    data = note_data(which, folder, records, missing, skipped, remarks)
    expect_same_data(this, data)
    _write_clips(examples, plan, this)
    write_trained_on(examples, split, this)
    write_table(this.tables / "label-map.csv", labels.table())
    write_table(this.tables / "sources.csv", sources_table(examples))
    shared = _shared(examples, plan.split)
    this.note(known_to_start_from=[asdict(pair) for pair in known])
    this.note(data=data, clips=asdict(facts), shared_patients=shared, label_map={"name": labels.name, "source": labels.source,
              "warnings": list(labels.warnings)})  # fmt: skip
    return Material(examples, plan, labels)


def _only(there: tuple[str, ...], begin: str, which: Database) -> tuple[str, ...]:
    found = tuple(name for name in there if name.startswith(begin))
    if not found:
        raise EcglensError(f"only={begin}: no record of {which.name} begins so; here are {', '.join(there[:3])}, ...")
    return found


def fold_of(which: Database, folder: Path) -> dict[str, int]:
    """Fold of each record, where the publisher has folds; else nothing."""
    return ptbxl_folds(folder) if which.layout == "ptbxl" else {}


def make_split(name: str, examples: Examples, folds: dict[str, int], seed: int, fifth: int = 0) -> NDArray[np.str_]:
    """'train', 'validation' or 'test' for each clip, all clips of a record alike. See `lin2020_recipe.SPLITS`.

    Raises EcglensError where a side would be empty, or the database has no folds.
    """
    if name == "folds":
        if not folds:
            raise EcglensError("the database has no folds; choose --split patients")
        fold = np.array([folds[record] for record in examples.column("record")])
        split = np.where(fold == 10, TEST, np.where(fold == 9, VALIDATION, TRAIN))
    elif name == "patients":
        split = _by_group(examples.column("patient").astype(str), seed)
    elif name == "fifths":
        place = random_places(examples.column("patient").astype(str), seed)
        part = (5 * place).astype(int)
        split = np.where(part == fifth, TEST, np.where(part == (fifth + 1) % 5, VALIDATION, TRAIN))
    else:
        split = _single_label(examples, seed)
    _expect_sides(split)
    return split.astype("<U10")


def _expect_sides(split: NDArray[np.str_]) -> None:
    for side in (TRAIN, VALIDATION, TEST):
        if not (split == side).any():
            raise EcglensError(f"no clip for the {side} side; add records or choose another --split")


def _say_what_was_found(remarks: list[str], skipped: list[Skipped], n_records: int) -> None:
    """The first remarks and the first records left out, with the numbers of all."""
    for lines, words in ((remarks, "remarks"), ([f"{item.record}: {item.reason}" for item in skipped], "records left out")):
        for line in lines[:_SAID]:
            say(line)
        if lines:
            more = f", {len(lines) - _SAID} more in run.json" if len(lines) > _SAID else ""
            say(f"{len(lines):,} {words} of {n_records:,} records{more}")


def _by_group(groups: NDArray[np.str_], seed: int) -> NDArray[np.str_]:
    place = random_places(groups, seed)
    return np.where(place < _TESTED, TEST, np.where(place < _TESTED + _VALIDATED, VALIDATION, TRAIN))


def _single_label(examples: Examples, seed: int) -> NDArray[np.str_]:
    """As published: class by class among records with one class, whoever they are of."""
    rng = np.random.default_rng([seed, 22])
    record = pd.factorize(examples.column("record"))[0]
    first = np.unique(record, return_index=True)[1]
    label = examples.labels[first]
    side = np.full(len(first), TRAIN, "<U10")
    for one in np.unique(label[label >= 0]):
        mine = rng.permutation(np.flatnonzero(label == one))
        side[mine[: round((1 - _TRAINED) * len(mine))]] = TEST
    rest = rng.permutation(np.flatnonzero(side == TRAIN))
    side[rest[: round(_VALIDATED * len(rest))]] = VALIDATION
    return side[record]


def plan_clips(split: NDArray[np.str_], examples: Examples, oversample: float, seed: int) -> Plan:
    """Rows to train on, those of rare classes again until each class has `oversample` of the largest one's clips.

    A class with one clip is drawn as often as any other; a clip of several classes counts in each.
    """
    hot = examples.multi_hot
    if hot is None:
        raise EcglensError("clips have one class each here; expected multi_hot labels")
    rows = np.flatnonzero(split == TRAIN)
    rng, drawn = np.random.default_rng([seed, 23]), [rows]
    wanted = round(oversample * hot[rows].sum(0).max(initial=0))
    for label in np.argsort(hot[rows].sum(0), kind="stable"):
        every = np.concatenate(drawn)
        mine, lacking = rows[hot[rows, label]], wanted - int(hot[every, label].sum())
        if len(mine) and lacking > 0:
            drawn.append(rng.choice(mine, lacking))
    every = np.concatenate(drawn)
    return Plan(split, every, np.flatnonzero(split == VALIDATION), np.bincount(every, minlength=len(split)))


def sources_table(examples: Examples) -> pd.DataFrame:
    """A row per publisher of records, as the paper's Table 1 names them: rates (Hz), shortest and longest (s), records."""
    first = examples.table[~examples.table["record"].duplicated()]
    letters = first["record"].astype(str).str.extract(r"^([A-Za-z]*)", expand=False)
    of_letters = {row[0]: name for name, row in TABLE_1.items()}
    of_database = {"ptbxl": "PTB-XL", "cpsc2018": "CPSC", "ptbdb": "PTB"}
    source = [
        of_letters.get(start, start or "other") if database == "cinc2020" else of_database.get(database, database)
        for database, start in zip(first["database"], letters, strict=True)
    ]
    rows = []
    for name, part in first.groupby(pd.Series(source, index=first.index), sort=False):
        rates = " ".join(f"{rate:g}" for rate in sorted(set(part["recorded_fs"])))
        seconds = part["recorded_seconds"]
        rows.append(
            {"source": name, "rates": rates, "shortest": seconds.min(), "longest": seconds.max(), "records": len(part)}
        )
    return pd.DataFrame(rows)


def _shared(examples: Examples, split: NDArray[np.str_]) -> list[str]:
    """Patients on both sides of the split."""
    patients = examples.column("patient").astype(str)
    return sorted(set(patients[split == TEST]) & set(patients[split != TEST]))


def _write_clips(examples: Examples, plan: Plan, this: Run) -> None:
    """examples.csv: a row per clip; tables/splits.csv: records of each class on each side, and clips that training draws."""
    hot = examples.multi_hot
    assert hot is not None
    columns = [
        "id", "record", "patient", "clip", "start", "valid_start", "valid_stop", "recorded_fs", "recorded_seconds",
    ]  # fmt: skip
    table = examples.table[columns].copy()
    table["split"], table["times_drawn"] = plan.split, plan.times
    for k, name in enumerate(examples.classes):
        table[name] = hot[:, k].astype(int)
    write_table(this.path / "examples.csv", table)
    write_table(this.tables / "sides.csv", table[["record", "split"]].drop_duplicates("record"))
    rows = []
    for k, name in enumerate(examples.classes):
        for side in (TRAIN, VALIDATION, TEST):
            mine = (plan.split == side) & hot[:, k]
            records = len(set(examples.column("record")[mine]))
            rows.append({"class": name, "split": side, "n": records, "drawn": int(plan.times[mine].sum())})
    write_table(this.tables / "splits.csv", pd.DataFrame(rows))
