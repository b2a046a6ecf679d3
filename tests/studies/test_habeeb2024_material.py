"""Which net trains on, validates on and tests which records of the two hospitals."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ecglens.errors import EcglensError
from ecglens.recordings.duplicates import SameSignal
from ecglens.studies.habeeb2024_material import plan_nets, sides
from ecglens.studies.habeeb2024_recipe import CPSC_FOLDS, TRAININGS
from made import make_examples

_CPSC, _PTBXL = 23, 60


def _both() -> tuple[object, np.ndarray, np.ndarray]:
    """Examples, hospital and publisher's fold; PTB-XL's patients have two records each, in one fold."""
    n = _CPSC + _PTBXL
    records = [f"A{k:04d}" for k in range(_CPSC)] + [f"{k:05d}_lr" for k in range(_PTBXL)]
    patients = [f"cinc2020/A{k:04d}" for k in range(_CPSC)] + [f"ptbxl/{k // 2}" for k in range(_PTBXL)]
    examples = make_examples(np.zeros((n, 1, 8), np.float32), record=records, patient=patients)
    hospital = np.array(["cpsc"] * _CPSC + ["ptbxl"] * _PTBXL)
    fold = np.array([0] * _CPSC + [1 + (k // 2) % 10 for k in range(_PTBXL)])
    return examples, hospital, fold


def test_the_publishers_folds_share_no_patient_and_every_part_of_cpsc_is_as_large_as_the_others() -> None:
    examples, hospital, fold = _both()
    side = sides(examples, hospital, "publisher", fold, 0, [])
    assert Counter(side[hospital == "ptbxl"]) == {"train": 48, "validation": 6, "test": 6}
    assert [{9: "validation", 10: "test"}.get(k, "train") for k in fold[_CPSC:]] == side[_CPSC:].tolist()
    parts = Counter(side[hospital == "cpsc"])
    assert set(parts) == {f"part {k}" for k in range(CPSC_FOLDS)}
    assert max(parts.values()) - min(parts.values()) <= 1


def test_records_at_random_are_tenths_whoever_they_are_of() -> None:
    examples, hospital, fold = _both()
    side = sides(examples, hospital, "random", fold, 3, [])[_CPSC:]
    assert Counter(side) == {"train": 48, "validation": 6, "test": 6}
    split_patients = [who for who in range(_PTBXL // 2) if side[2 * who] != side[2 * who + 1]]
    assert split_patients  # as published: one person on two sides
    other = sides(examples, hospital, "random", fold, 4, [])[_CPSC:]
    assert side.tolist() != other.tolist()


def test_a_record_that_both_hospitals_hold_is_not_used_twice() -> None:
    examples, hospital, fold = _both()
    side = sides(examples, hospital, "publisher", fold, 0, [SameSignal("A0003", "00007_lr", 0.99, 0.0)])
    assert side[3] == "unused"
    for train in TRAININGS:
        for net in plan_nets(train, hospital, side):
            assert 3 not in np.concatenate([net.train, net.validation, net.first, *net.tests.values()])


@pytest.mark.parametrize("train", TRAININGS)
def test_every_test_record_is_tested_once_by_a_net_that_has_not_seen_it(train: str) -> None:
    examples, hospital, fold = _both()
    side = sides(examples, hospital, "publisher", fold, 0, [])
    nets = plan_nets(train, hospital, side)
    tested = np.concatenate([rows for net in nets for rows in net.tests.values()])
    assert sorted(tested) == [*range(_CPSC), *np.flatnonzero(side == "test")]
    for net in nets:
        mine = [
            set(each)
            for each in (np.concatenate([net.train, net.first]), net.validation, np.concatenate([*net.tests.values()]))
        ]
        assert not mine[0] & mine[1]
        assert not mine[0] & mine[2]
        assert not mine[1] & mine[2]


def test_each_training_uses_the_hospitals_that_it_names() -> None:
    examples, hospital, fold = _both()
    side = sides(examples, hospital, "publisher", fold, 0, [])
    wanted = {"cpsc": ({"cpsc"}, set()), "ptbxl": ({"ptbxl"}, set()), "both": ({"cpsc", "ptbxl"}, set())}
    wanted["cpsc-then-ptbxl"] = ({"ptbxl"}, {"cpsc"})
    for train, (later, first) in wanted.items():
        nets = plan_nets(train, hospital, side)
        assert len(nets) == (1 if train == "ptbxl" else CPSC_FOLDS)
        for net in nets:
            assert set(hospital[net.train]) == later
            assert set(hospital[net.first]) == first
            assert set(hospital[net.validation]) == later


def test_a_side_without_a_record_is_said() -> None:
    examples, hospital, fold = _both()
    side = sides(examples, hospital, "publisher", np.where(fold == 9, 1, fold), 0, [])
    with pytest.raises(EcglensError, match="no record of PTB-XL is on the validation side"):
        plan_nets("ptbxl", hospital, side)
