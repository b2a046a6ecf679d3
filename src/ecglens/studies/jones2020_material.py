"""The beats of a jones2020 run: read, cut, split; and what the model says of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecglens.examples.beats import BeatFacts, cut_beats
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.splits import Plan, make_split, plan_training, shared_patients
from ecglens.progress import say
from ecglens.recordings.databases import Database, Skipped, read_records
from ecglens.recordings.places import records_present
from ecglens.runs import Run
from ecglens.studies.jones2020_recipe import Question
from ecglens.studies.stages import apart, expect_same_data, note_data, write_examples

# Ten records that together hold the classes on the side where they are needed, for --quick
_QUICK = {
    "holdout": "100 109 118 119 201 207 209 217 222 232",
    "patients": "100 109 118 119 201 207 209 217 222 232",
    "leave-patients-out": "104 107 113 118 119 207 208 209 210 222",
    "ds1-ds2": "118 119 200 207 208 209 213 222 231 232",
}


@dataclass(frozen=True)
class Material:
    """The beats of a run and what each is for."""

    examples: Examples
    plan: Plan
    facts: BeatFacts
    skipped: list[Skipped]


@dataclass(frozen=True)
class Answers:
    """What the model says. rows: the examples asked, sorted; explained: of these, the ones that get a map;
    logits (row, class)."""

    rows: NDArray[np.int64]
    explained: NDArray[np.bool_]
    logits: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Class index of each row."""
        return self.logits.argmax(1).astype(np.int64)


def prepare(question: Question, which: Database, folder: Path, this: Run) -> Material:
    """Read, cut and split; writes examples.csv and tables/examples.csv."""
    recipe = question.recipe
    there, missing = records_present(which, folder)
    if question.quick and len(there) > 10:
        few = which.a_few or tuple(_QUICK[question.split].split())
        chosen = tuple(record for record in few if record in there)
        there, missing = chosen or there[:10], ()
    if missing:
        say(f"{len(missing)} records are not in {folder}: {', '.join(missing)}")
    skipped: list[Skipped] = []
    remarks: list[str] = []
    recordings = read_records(which, folder, there, skipped, swap_leads=recipe.swap_leads, remarks=remarks)
    examples, facts = cut_beats(recordings, label_map(question.classes), recipe.beats, skipped)
    for remark in remarks:
        say(remark)
    for item in skipped:
        say(f"left out: {item.record}: {item.reason}")
    split = make_split(question.split, examples, question.seed)
    if question.split == "ds1-ds2" and recipe.shared == "leave-out":
        split = apart(split, examples)
    plan = plan_training(split, examples, validation=recipe.validation, resample=recipe.resample, seed=question.seed)
    plan = _at_most(plan, recipe.rows_at_most, question.seed)
    data = note_data(which, folder, sorted(set(examples.column("record"))), missing, skipped, remarks)
    expect_same_data(this, data)
    write_examples(examples, plan, this)
    this.note(data=data, beats=asdict(facts) | {"kept": len(examples)}, shared_patients=shared_patients(plan.split, examples))
    return Material(examples, plan, facts, skipped)


def _at_most(plan: Plan, limit: int, seed: int) -> Plan:
    """The plan with at most `limit` random training rows and a quarter as many validation rows; 0 is no limit."""
    if not limit or len(plan.rows) <= limit:
        return plan
    rng = np.random.default_rng([seed, 6])
    rows = rng.choice(plan.rows, limit, replace=False)
    validation = rng.permutation(plan.validation)[: limit // 4]
    return replace(plan, rows=rows, validation=validation, times=np.bincount(rows, minlength=len(plan.times)))
