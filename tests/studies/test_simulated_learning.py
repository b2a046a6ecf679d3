"""A network that learns on simulated people and is asked about unseen ones: it can rest on nothing but the evidence.

The oracle of the simulator: whatever tells the classes apart beside the evidence would show here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.evidence import counterparts, with_evidence_alone, without_evidence
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.splits import TEST, TRAIN, resample_classes
from ecglens.models import create
from ecglens.recordings.databases import read_records
from ecglens.recordings.simulated import simulated_database
from ecglens.simulation.cohort import write_cohort
from ecglens.simulation.settings import Settings
from ecglens.training.fit import TrainOptions, fit

# slow hearts have too few beats for all that half a minute may have to hold
COHORT = Settings(patients=80, minutes=0.5, heart_rate_spread=0.1)


@dataclass
class Answers:
    """What the network says of beats of patients that it has never seen."""

    test: Examples
    plain: np.ndarray
    without: np.ndarray
    alone: np.ndarray

    def called(self, name: str, which: np.ndarray, rows: np.ndarray) -> float:
        return float((which[rows] == self.test.classes.index(name)).mean())


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    home = tmp_path_factory.mktemp("learning")
    folder = write_cohort(COHORT, home / "cohort")
    which = simulated_database(folder)
    recordings = read_records(which, folder, which.records, [], swap_leads=True)
    examples, _ = cut_beats(recordings, label_map("jones"), BeatOptions(), [])
    patients = examples.column("patient")
    unseen = every_fourth_carrier(examples)
    split = np.where(np.isin(patients, unseen), TEST, TRAIN)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        about = {"classes": examples.classes, "leads": examples.leads, "length": examples.length, "fs": examples.fs}
        network = create("resnet", **about, scale="offset")
    rows = resample_classes(split, examples, "at-least-3%", 0).rows
    # nothing is chosen on these, a validation loss has to be of something
    fit(network, examples, rows, rows[:64], TrainOptions(epochs=4, batch=64, bf16=True), 0, Path(home))
    test = examples.take(split == TEST)
    truth = counterparts(test, folder)
    versions = (test, without_evidence(test, truth), with_evidence_alone(test, truth))
    return Answers(test, *(network.logits(version).argmax(1) for version in versions))


def every_fourth_carrier(examples: Examples) -> list[str]:
    """Patients for the test, so that each class has carriers on both sides."""
    patients = examples.column("patient")
    chosen: list[str] = []
    for label in np.argsort([len(np.unique(patients[examples.labels == k])) for k in range(len(examples.classes))]):
        carriers = np.unique(patients[examples.labels == label])
        have = sum(name in chosen for name in carriers)
        chosen += [str(name) for name in carriers if name not in chosen][: max(len(carriers) // 4 - have, 0)]
    return chosen


def test_patients_that_were_never_seen_are_told_apart_by_class(answers: Answers) -> None:
    present = np.unique(answers.test.labels)
    assert len(present) == 8
    macro = f1_score(answers.test.labels, answers.plain, labels=present, average="macro")
    assert macro > 0.80  # 0.93 and more where it was measured; eight classes by chance: 0.1


def test_without_its_evidence_no_class_is_found_more_often_than_among_normal_beats(answers: Answers) -> None:
    test = answers.test
    normal = test.labels == test.classes.index("N")
    quiet = normal & (test.evidence.start == test.evidence.stop).all(axis=1)
    assert quiet.sum() > 100
    for label, name in enumerate(test.classes):
        own = test.labels == label
        if name != "N":
            chance = answers.called(name, answers.plain, quiet)
            assert answers.called(name, answers.without, own) <= chance + 0.05, name
            assert answers.called(name, answers.plain, own) > chance + 0.3, name  # there was something to lose


def test_evidence_alone_is_nearly_as_good_as_the_whole_beat(answers: Answers) -> None:
    right = [(answer == answers.test.labels).mean() for answer in (answers.plain, answers.alone)]
    assert right[0] > 0.85
    assert right[1] >= 0.9 * right[0]
