"""Who trains, who validates, who tests; and whether they are really different people."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples

TRAIN, VALIDATION, TEST, UNUSED = "train", "validation", "test", "unused"

# Jones 2020, section III.C
JONES_TEST_RECORDS = ("104", "113", "119", "208", "210")
# de Chazal 2004, table III; the four records with a pacemaker are in neither
DS1_RECORDS = (
    "101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122",
    "124", "201", "203", "205", "207", "208", "209", "215", "220", "223", "230",
)  # fmt: skip
DS2_RECORDS = (
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210",
    "212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234",
)  # fmt: skip

VALIDATION_RULES = ("stratified", "patients", "none", "last-tenth")
RESAMPLING_RULES = ("none", "second-largest", "at-least-3%", "N-per-patient", "N-per-class", "N-by-root")

SPLITS = {
    "holdout": "a random quarter of the beats: patients are on both sides, so it LEAKS",
    "patients": "a random quarter of the patients",
    "leave-patients-out": "records 104, 113, 119, 208 and 210 (Jones 2020)",
    "ds1-ds2": "DS1 trains, DS2 tests (de Chazal 2004); patient 201 is in both (records 201 and 202)",
}


def split_by_beat(examples: Examples, seed: int, fraction: float = 0.25) -> NDArray[np.str_]:
    """A random `fraction` of each class to test, by beat: str (example,). Patients end up on both sides."""
    rng = np.random.default_rng(seed)
    out = np.full(len(examples), TRAIN, "<U10")
    for label in np.unique(examples.labels):
        rows = np.flatnonzero(examples.labels == label)
        out[rng.permutation(rows)[: round(fraction * len(rows))]] = TEST
    return out


def split_per_class(examples: Examples, seed: int, per_class: int, fraction: float = 0.2) -> NDArray[np.str_]:
    """`per_class` random examples of each class, `fraction` of them to test, the rest unused: str (example,).

    A class with fewer gives all it has, in the same shares. Patients end up on both sides. ECGNet's public code takes 2,500
    and 500.
    """
    rng = np.random.default_rng(seed)
    out = np.full(len(examples), UNUSED, "<U10")
    for label in np.unique(examples.labels):
        rows = rng.permutation(np.flatnonzero(examples.labels == label))[:per_class]
        n_test = round(fraction * len(rows))
        out[rows[:n_test]], out[rows[n_test:]] = TEST, TRAIN
    return out


def split_by_patient(examples: Examples, seed: int, fraction: float = 0.25) -> NDArray[np.str_]:
    """Random patients to test until they hold at least `fraction` of the beats: str (example,)."""
    patients = examples.column("patient")
    names, counts = np.unique(patients, return_counts=True)
    if len(names) < 2:
        raise EcglensError(f"there is one patient ({names[0]}); a split by patient needs at least two")
    order = np.random.default_rng(seed).permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(counts[order]), fraction * len(examples))) + 1
    chosen = names[order[: min(enough, len(names) - 1)]]
    return np.where(np.isin(patients, chosen), TEST, TRAIN).astype("<U10")


def split_by_records(examples: Examples, test: tuple[str, ...], train: tuple[str, ...] | None = None) -> NDArray[np.str_]:
    """Named records to test, `train` (default: all others) to training, the rest unused: str (example,)."""
    records = examples.column("record")
    in_test = np.isin(records, test)
    in_train = ~in_test if train is None else np.isin(records, train)
    for part, members, wanted in (("test", in_test, test), ("training", in_train, train or ("any other",))):
        if not members.any():
            raise EcglensError(
                f"no beat for the {part} side: it takes records {', '.join(wanted)}, here are "
                f"{', '.join(np.unique(records))}; add those records or choose another --split, such as patients"
            )
    return np.where(in_test, TEST, np.where(in_train, TRAIN, UNUSED)).astype("<U10")


def random_places(groups: NDArray[np.str_], seed: int) -> NDArray[np.float64]:
    """Where each example's group (a patient, a record) stands in a random order of all: over 0 and under 1, (example,)."""
    names, who = np.unique(groups, return_inverse=True)
    place = np.empty(len(names))
    place[np.random.default_rng([seed, 21]).permutation(len(names))] = (np.arange(len(names)) + 0.5) / len(names)
    return place[who]


def make_split(name: str, examples: Examples, seed: int) -> NDArray[np.str_]:
    """The split of that name (a key of SPLITS): 'train', 'test' or 'unused' for each example."""
    if name == "holdout":
        return split_by_beat(examples, seed)
    if name == "patients":
        return split_by_patient(examples, seed)
    if name == "leave-patients-out":
        return split_by_records(examples, JONES_TEST_RECORDS)
    if name == "ds1-ds2":
        return split_by_records(examples, DS2_RECORDS, DS1_RECORDS)
    raise EcglensError(f"unknown split {name!r} (choose from: {', '.join(SPLITS)})")


def add_validation(
    split: NDArray[np.str_], examples: Examples, rule: str, seed: int, fraction: float = 0.1
) -> NDArray[np.str_]:
    """Turn part of the training examples into validation ones.

    rule: "stratified" takes a random `fraction` of each class; "patients" takes whole patients, tried in random order so
    that every class keeps at least half its training beats, until `fraction` of the beats is reached; "none" takes nothing.
    """
    out = split.copy()
    train = np.flatnonzero(split == TRAIN)
    rng = np.random.default_rng([seed, 1])
    if rule == "stratified":
        for label in np.unique(examples.labels[train]):
            rows = rng.permutation(train[examples.labels[train] == label])
            out[rows[: round(fraction * len(rows))]] = VALIDATION
    elif rule == "patients":
        out[_validation_patients(train, examples, rng, fraction)] = VALIDATION
    elif rule != "none":
        raise EcglensError(f"unknown validation rule {rule!r} (choose from: stratified, patients, none)")
    return out


def _validation_patients(
    train: NDArray[np.intp], examples: Examples, rng: np.random.Generator, fraction: float
) -> NDArray[np.intp]:
    patients, labels = examples.column("patient")[train], examples.labels[train]
    left = np.bincount(labels, minlength=len(examples.classes))
    floor = left / 2
    chosen: list[NDArray[np.intp]] = []
    for patient in rng.permutation(np.unique(patients)):
        rows = train[patients == patient]
        taken = np.bincount(examples.labels[rows], minlength=len(left))
        if np.all(left - taken >= floor):
            chosen.append(rows)
            left = left - taken
        if sum(map(len, chosen)) >= fraction * len(train):
            break
    return np.concatenate(chosen) if chosen else np.array([], np.intp)


def shared_patients(split: NDArray[np.str_], examples: Examples) -> list[str]:
    """Patients with beats both on the test side and on the training side (training or validation), sorted."""
    patients = examples.column("patient")
    test = set(patients[split == TEST])
    learn = set(patients[(split == TRAIN) | (split == VALIDATION)])
    return sorted(test & learn)


def without_shared(split: NDArray[np.str_], examples: Examples) -> NDArray[np.str_]:
    """The split, but what patients of the test side have on the learning side is unused: str (example,).

    In DS1 and DS2 that is patient 201, record 201 of DS1 and 202 of DS2. Raises EcglensError where nothing would be left.
    """
    both = np.isin(examples.column("patient"), shared_patients(split, examples)) & (split != TEST)
    out = np.where(both, UNUSED, split).astype("<U10")
    if (split == TRAIN).any() and not (out == TRAIN).any():
        raise EcglensError("every training patient is tested too; nothing is left to train on: choose another split")
    return out


@dataclass(frozen=True)
class Draw:
    """Which training rows are shown in an epoch: `rows` int64 (shown,), repeats allowed; times (example,)."""

    rows: NDArray[np.int64]
    times: NDArray[np.int64]


def expect_resampling(rule: str) -> None:
    """Raises EcglensError unless `rule` is one of RESAMPLING_RULES, with a number for N."""
    if rule not in RESAMPLING_RULES[:3] and not re.fullmatch(r"[1-9]\d*-(per-class|per-patient|by-root)", rule):
        raise EcglensError(
            f"unknown resampling {rule!r} (choose from: {', '.join(RESAMPLING_RULES)}, such as 300-per-patient)"
        )


def resample_classes(split: NDArray[np.str_], examples: Examples, rule: str, seed: int) -> Draw:
    """Even out the classes of the training rows; test and validation rows are never touched.

    rule: "none"; "second-largest" (Jones 2020): the largest class is cut to the size of the second largest without
    replacement, every other is drawn up to that size with replacement; "at-least-3%": classes below 3 % of the largest
    are repeated up to it, nothing is thrown away; "300-per-patient" (any number): at most 300 random beats of each class and
    patient, as the beats of one patient repeat each other; "2000-per-class": at most 2,000 of each class, as evenly from its
    patients as they have them; "4000-by-root": 4,000 in all, classes in proportion to the square roots of their sizes, evenly
    from their patients.
    """
    expect_resampling(rule)
    rng = np.random.default_rng([seed, 2])
    train = np.flatnonzero(split == TRAIN)
    by_class = [train[examples.labels[train] == label] for label in np.unique(examples.labels[train])]
    if not by_class:
        raise EcglensError("no training examples are left")
    sizes = sorted((len(rows) for rows in by_class), reverse=True)
    if rule == "none" or (rule == "second-largest" and len(by_class) == 1):
        rows = train
    elif rule == "second-largest":
        size = sizes[1]
        parts = []
        for members in by_class:
            larger = len(members) > size
            parts.append(rng.choice(members, size, replace=not larger) if len(members) != size else members)
        rows = np.concatenate(parts)
    elif rule == "at-least-3%":
        size = round(0.03 * sizes[0])
        parts = [np.concatenate([members, rng.choice(members, max(size - len(members), 0))]) for members in by_class]
        rows = np.concatenate(parts)
    elif rule.endswith("-by-root"):
        total, root = int(rule.partition("-")[0]), np.sqrt([len(members) for members in by_class])
        limits = np.maximum(np.rint(total * root / root.sum()), 1).astype(int)
        rows = np.concatenate(
            [_evenly_from_patients(members, examples, rng, int(n)) for members, n in zip(by_class, limits, strict=True)]
        )
    else:
        limit, _, of = rule.partition("-per-")
        at_most = _at_most_per_patient if of == "patient" else _evenly_from_patients
        rows = np.concatenate([at_most(members, examples, rng, int(limit)) for members in by_class])
    return Draw(rows.astype(np.int64), np.bincount(rows, minlength=len(examples)).astype(np.int64))


def _at_most_per_patient(
    members: NDArray[np.intp], examples: Examples, rng: np.random.Generator, limit: int
) -> NDArray[np.intp]:
    patients = examples.column("patient")[members]
    return np.concatenate([rng.permutation(members[patients == name])[:limit] for name in np.unique(patients)])


def _evenly_from_patients(
    members: NDArray[np.intp], examples: Examples, rng: np.random.Generator, limit: int
) -> NDArray[np.intp]:
    """`limit` of the members: one of each patient in turn, in random order, until there are enough."""
    drawn = rng.permutation(members)
    patients = examples.column("patient")[drawn]
    turn = np.empty(len(drawn), np.int64)
    for name in np.unique(patients):
        mine = np.flatnonzero(patients == name)
        turn[mine] = np.arange(len(mine))
    return drawn[np.argsort(turn, kind="stable")[:limit]]


@dataclass(frozen=True)
class Plan:
    """What each example is for: split (example,), rows to train on and to validate on, and times drawn in an epoch."""

    split: NDArray[np.str_]
    rows: NDArray[np.int64]
    validation: NDArray[np.int64]
    times: NDArray[np.int64]


def plan_training(
    split: NDArray[np.str_], examples: Examples, *, validation: str, resample: str, seed: int, fraction: float = 0.1
) -> Plan:
    """Validation (`fraction` of the training examples) and class resampling on top of a split.

    validation: a rule of `add_validation`, or "last-tenth": the last tenth of the resampled rows, which are in order of
    class, so that it holds the last class alone and repeats of training beats (Jones 2020, kept as a warning).
    """
    if validation == "last-tenth":
        drawn = resample_classes(split, examples, resample, seed).rows
        held = len(drawn) // 10
        rows, validation_rows = drawn[: len(drawn) - held], drawn[len(drawn) - held :]
    else:
        split = add_validation(split, examples, validation, seed, fraction)
        rows = resample_classes(split, examples, resample, seed).rows
        validation_rows = np.flatnonzero(split == VALIDATION)
    return Plan(split, rows, validation_rows, np.bincount(rows, minlength=len(examples)))
