"""The windows of a vijayarangan2020 run: read from every database at hand, cut, split; classes that cannot be learnt named."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import LabelMap, label_map
from ecglens.examples.splits import (
    DS1_RECORDS,
    DS2_RECORDS,
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    Plan,
    plan_training,
    shared_patients,
    split_by_patient,
    split_by_records,
    split_per_class,
)
from ecglens.examples.windows import WindowFacts, cut_windows
from ecglens.progress import say
from ecglens.recordings.databases import Database, Skipped, database, read_records
from ecglens.recordings.places import records_present
from ecglens.runs import Run
from ecglens.studies.stages import apart, expect_same_data, note_data, write_examples
from ecglens.studies.vijayarangan2020_recipe import CLASS_SETS, Question

# Sixteen records that hold the five beat classes on both sides of DS1/DS2, for --quick
_QUICK = ("109", "118", "124", "207", "209", "111", "212", "214", "231", "232", "100", "119", "201", "202", "222", "233")
_OTHERS = ("ltafdb", "ltdb")  # taken in where they lie beside mitdb


@dataclass(frozen=True)
class Material:
    """The windows of a run and what each is for."""

    examples: Examples
    plan: Plan


def prepare(question: Question, which: Database, folder: Path, this: Run) -> Material:
    """Read, cut and split; writes examples.csv and its tables, and notes what is missing and why."""
    recipe, labels = question.recipe, label_map(CLASS_SETS[question.classes])
    sources = [(which, folder), *_beside(which, folder)]
    skipped: list[Skipped] = []
    remarks: list[str] = []
    chosen = [_records_of(question, each, where) for each, where in sources]

    def cut(by: LabelMap, skipped: list[Skipped], remarks: list[str]) -> tuple[Examples, WindowFacts]:
        recordings = (
            one
            for (each, where), (there, _) in zip(sources, chosen, strict=True)
            for one in read_records(each, where, there, skipped, swap_leads=False, remarks=remarks)
        )
        return cut_windows(recordings, by, recipe.windows, skipped)

    examples, facts = cut(labels, skipped, remarks)
    _expect_lead(examples, recipe.lead)
    for line in (*remarks, *(f"left out: {item.record}: {item.reason}" for item in skipped)):
        say(line)
    names = [each.name for each, _ in sources]
    examples, split, why = _learnable(examples, _split(question, examples), labels, names)
    unlearnt = set(why) & set(labels.rhythms)
    if unlearnt and sum(facts.in_rhythm.values()):
        # beats inside a rhythm that is no class after all have one label, not two
        kept = {name: mark for name, mark in labels.rhythms.items() if name not in unlearnt}
        examples, facts = cut(replace(labels, rhythms=kept), [], [])
        examples, split, _ = _learnable(examples, _split(question, examples), labels, names)
    split = _at_most_tested(split, examples, recipe.tested_at_most, question.seed)
    plan = plan_training(split, examples, validation=recipe.validation, resample=recipe.resample, seed=question.seed)
    data = _about(sources, examples, skipped, remarks)
    gone = [(each.name, record) for (each, _), (_, lost) in zip(sources, chosen, strict=True) for record in lost]
    data["missing"] = [f"{name} {record}" for name, record in gone]
    expect_same_data(this, data)
    write_examples(examples, plan, this)
    this.note(
        data=data,
        windows=asdict(facts),
        missing_classes=why,
        untested_classes=[
            name for label, name in enumerate(examples.classes) if not ((examples.labels == label) & (split == TEST)).any()
        ],
        overlap=overlap_share(examples, plan.split),
        shared_patients=shared_patients(plan.split, examples),
    )
    return Material(examples, plan)


def _expect_lead(examples: Examples, lead: str) -> None:
    """Raises EcglensError for a lead that no record has; "first", and the usual "MLII", may stand for each record's first."""
    there = sorted(set(examples.column("lead_names")))
    if lead not in ("first", "MLII", *there):
        raise EcglensError(f"lead={lead}: no record has it; their first leads are {', '.join(there)}, 'first' takes those")


def overlap_share(examples: Examples, split: NDArray[np.str_]) -> float:
    """Share of the test windows that share samples with a training window of the same record."""
    start, length = examples.column("start"), examples.length
    names = examples.column("database").astype(str) + "/" + examples.column("record").astype(str)
    shared = np.zeros(len(examples), bool)
    for name in np.unique(names):
        mine = names == name
        train = np.sort(start[mine & ((split == TRAIN) | (split == VALIDATION))])
        test = np.flatnonzero(mine & (split == TEST))
        if len(train):
            after = np.searchsorted(train, start[test])
            near = np.minimum(
                np.abs(start[test] - train[np.clip(after, 0, len(train) - 1)]),
                np.abs(start[test] - train[np.clip(after - 1, 0, len(train) - 1)]),
            )
            shared[test] = near < length
    return float(shared[split == TEST].mean())


def _records_of(question: Question, which: Database, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(records to read, records that are missing); a few with --quick."""
    there, missing = records_present(which, folder)
    if question.quick and len(there) > len(_QUICK):
        few = which.a_few or _QUICK
        return tuple(record for record in few if record in there) or there[:10], ()
    return there, missing


def _beside(which: Database, folder: Path) -> list[tuple[Database, Path]]:
    """The other databases of the paper that lie beside MIT-BIH."""
    if which.kind != "real":
        return []
    found = [(database(name), folder.parent / name) for name in _OTHERS if (folder.parent / name).is_dir()]
    for name in _OTHERS:
        if name not in [each.name for each, _ in found]:
            say(f"{name} is not in {folder.parent}; the study goes on without it")
    return found


def _split(question: Question, examples: Examples) -> NDArray[np.str_]:
    if question.split == "shuffled":
        return split_per_class(examples, question.seed, question.recipe.per_class)
    if question.split == "patients":
        return split_by_patient(examples, question.seed)
    # records of other databases have the same names, and DS1 and DS2 are of MIT-BIH alone
    ours = examples.column("database") == examples.column("database")[0]
    out = np.full(len(examples), UNUSED, "<U10")
    out[ours] = split_by_records(examples.take(ours), DS2_RECORDS, DS1_RECORDS)
    if not ours.all():
        out[~ours] = split_by_patient(examples.take(~ours), question.seed)
    return out if question.recipe.shared == "keep" else apart(out, examples)


def _learnable(
    examples: Examples, split: NDArray[np.str_], labels: LabelMap, databases: list[str]
) -> tuple[Examples, NDArray[np.str_], dict[str, str]]:
    """Only the classes that have a training window; and for each of the others why it is missing."""
    why, kept = {}, []
    for label, name in enumerate(examples.classes):
        mine = examples.labels == label
        if not mine.any():
            rule = labels.rhythms.get(name) or f"symbol {labels.symbols[name]}"
            why[name] = f"no window: {' and '.join(databases)} as read here hold none ({rule})"
            if name in ("AFIB", "SVTA", "SBR", "PAC") and "ltafdb" not in databases:
                why[name] += "; the paper has them from LTAFDB"
        elif not (mine & (split == TRAIN)).any():
            records = ", ".join(sorted(set(examples.column("record")[mine]))[:6])
            why[name] = f"{int(mine.sum())} windows, all of records {records}, none of them on the training side"
        else:
            kept.append(label)
    if len(kept) < 2:
        raise EcglensError(
            f"{len(kept)} class has training windows ({'; '.join(f'{name}: {reason}' for name, reason in why.items())}); "
            "at least two are needed: add records or choose another --split"
        )
    for name, reason in why.items():
        say(f"class {name} is missing: {reason}")
    rows = np.flatnonzero(np.isin(examples.labels, kept))
    number = np.full(len(examples.classes), -1, np.int64)
    number[kept] = np.arange(len(kept))
    part = examples.take(rows)
    return (
        replace(part, labels=number[part.labels], classes=tuple(examples.classes[label] for label in kept)),
        split[rows],
        why,
    )


def _at_most_tested(split: NDArray[np.str_], examples: Examples, limit: int, seed: int) -> NDArray[np.str_]:
    """The split with at most `limit` random test windows of each class; the others are unused. 0: all."""
    if not limit:
        return split
    rng, out = np.random.default_rng([seed, 12]), split.copy()
    for label in range(len(examples.classes)):
        rows = rng.permutation(np.flatnonzero((split == TEST) & (examples.labels == label)))
        out[rows[limit:]] = UNUSED
    return out


def _about(
    sources: list[tuple[Database, Path]], examples: Examples, skipped: list[Skipped], remarks: list[str]
) -> dict[str, Any]:
    """What run.json says of all databases together; the first one's words stand for the kind."""
    whose = examples.column("database")
    parts = []
    for each, where in sources:
        records = sorted(set(examples.column("record")[whose == each.name]))
        parts.append(note_data(each, where, records, (), [], []))
    out = parts[0] | {"skipped": [asdict(item) for item in skipped], "remarks": remarks}
    for part in parts[1:]:
        for name in ("title", "database", "version", "licence"):
            out[name] = f"{out[name]}; {part[name]}"
        out["facts"] = out["facts"] + part["facts"]
        out["records"] = out["records"] + part["records"]
        out["sha256"] = out["sha256"] | {f"{part['database']}/{file}": digest for file, digest in part["sha256"].items()}
    return out
