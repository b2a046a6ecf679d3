"""The windows of a varandas2021 run: read, cut, split; and where each beat lies in each picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.sliding import cut_sliding
from ecglens.examples.splits import (
    DS1_RECORDS,
    DS2_RECORDS,
    TEST,
    UNUSED,
    Plan,
    make_split,
    plan_training,
    shared_patients,
)
from ecglens.progress import say
from ecglens.recordings.databases import Database, Skipped, read_records
from ecglens.recordings.places import records_present
from ecglens.runs import Run
from ecglens.studies.stages import apart, expect_same_data, note_data, write_examples
from ecglens.studies.varandas2021_recipe import LABELLED, Question


@dataclass(frozen=True)
class Material:
    """The windows of a run and what each is for."""

    examples: Examples
    plan: Plan

    def tested(self) -> Examples:
        """The test side, a copy: of all DS2 a gigabyte."""
        return self.examples.take(np.flatnonzero(self.plan.split == TEST))


def prepare(question: Question, which: Database, folder: Path, this: Run) -> Material:
    """Read, cut and split; writes examples.csv and its tables, and notes what was left out and why."""
    recipe, labels = question.recipe, label_map("varandas")
    there, missing = records_present(which, folder)
    if question.split == "ds1-ds2" and which.kind == "real":  # paced records and others are on neither side
        used = DS1_RECORDS + DS2_RECORDS
        there, missing = tuple(name for name in there if name in used), tuple(name for name in missing if name in used)
    skipped: list[Skipped] = []
    remarks: list[str] = []
    recordings = read_records(which, folder, there, skipped, swap_leads=False, remarks=remarks)
    examples, facts = cut_sliding(recordings, labels, recipe.sliding(LABELLED[question.set_number]), skipped)
    leads = sorted(set(examples.column("lead_names")))
    if recipe.lead not in ("first", "MLII", *leads):
        raise EcglensError(f"lead={recipe.lead}: no record has it; their first leads are {', '.join(leads)}")
    for line in (*remarks, *(f"left out: {item.record}: {item.reason}" for item in skipped)):
        say(line)
    split = make_split(question.split, examples, question.seed)
    if question.split == "ds1-ds2" and recipe.shared == "leave-out":
        split = apart(split, examples)
    split = _at_most_tested(split, recipe.tested_at_most, question.seed)
    plan = plan_training(
        split, examples, validation=recipe.validation, resample=recipe.resample, seed=question.seed,
        fraction=recipe.validation_share,
    )  # fmt: skip
    _expect_both(examples, plan, recipe.tested_at_most)
    records = sorted(set(examples.column("record")))
    data = note_data(which, folder, records, missing, skipped, remarks)
    expect_same_data(this, data)
    write_examples(examples, plan, this)
    this.note(data=data, windows=asdict(facts), shared_patients=shared_patients(plan.split, examples))
    return Material(examples, plan)


def _at_most_tested(split: NDArray[np.str_], limit: int, seed: int) -> NDArray[np.str_]:
    """The split with at most `limit` random test windows, so that classes keep their shares; 0: all."""
    test = np.flatnonzero(split == TEST)
    if not limit or len(test) <= limit:
        return split
    out = split.copy()
    out[np.random.default_rng([seed, 12]).permutation(test)[limit:]] = UNUSED
    return out


def _expect_both(examples: Examples, plan: Plan, tested_at_most: int) -> None:
    for side, labels in (("training", examples.labels[plan.rows]), ("test", examples.labels[plan.split == TEST])):
        for label, name in enumerate(examples.classes):
            if not (labels == label).any():
                cure = f"raise tested_at_most ({tested_at_most}), " if side == "test" and tested_at_most else ""
                raise EcglensError(f"the {side} side holds no {name} beat; {cure}add records or choose another --split")
