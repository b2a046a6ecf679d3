"""Plants: the same each time, in the rows and the class that were asked for; live is counted on clean examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from beats_made import made_beats
from torch import nn

from ecglens.audit.plant import KINDS, moved_share, plant
from ecglens.audit.sign_measures import seen
from ecglens.audit.signs import find_sign
from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier

STRENGTHS = {
    "mains": 0.2, "spike": 0.6, "offset": 0.4, "gain": 1.5, "lead-swap": 1.0, "clip": 40.0, "padding": 100.0, "edge-mark": 0.5
}  # fmt: skip
TRAIN = np.repeat(np.arange(100), 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_one_class_is_marked_and_nothing_else(kind: str) -> None:
    examples = made_beats(160)
    planted = plant(examples, kind, "V", 0.6, STRENGTHS[kind], 5, TRAIN)
    changed = (planted.examples.signals != examples.signals).any(axis=(1, 2))
    np.testing.assert_array_equal(np.flatnonzero(changed), planted.rows)
    assert len(planted.rows) == 30
    assert (examples.labels[planted.rows] == 1).all()
    assert planted.rows.max() < 100
    again, other = (plant(examples, kind, "V", 0.6, STRENGTHS[kind], seed, TRAIN) for seed in (5, 6))
    assert again.examples.signals.tobytes() == planted.examples.signals.tobytes()
    assert not np.array_equal(other.rows, planted.rows)
    valid = planted.examples.table[["valid_start", "valid_stop"]].to_numpy()
    short = np.flatnonzero(valid[:, 1] - valid[:, 0] < 360)
    np.testing.assert_array_equal(short, planted.rows if kind == "padding" else [])


@pytest.mark.parametrize("kind", ["spike", "clip", "padding", "edge-mark"])
def test_the_place_of_a_plant_is_where_the_signal_was_changed(kind: str) -> None:
    examples = made_beats(60)
    planted = plant(examples, kind, "V", 1.0, STRENGTHS[kind], 2, np.arange(60))
    assert planted.place is not None
    difference = np.abs(seen(planted.examples).x - seen(examples).x).max(axis=1)[planted.rows]
    at = planted.place
    if kind == "padding":
        first = planted.examples.column("valid_start")[planted.rows] > 0
        assert difference[np.arange(30), np.where(first, at - 1, at)].all()
        assert not difference[np.arange(30), np.where(first, at, at - 1)].any()
    else:
        assert (difference[np.arange(30), at] > 0.3 * difference.max(axis=1)).all()
    assert np.ptp(at) <= 25  # one place from R, but for what is in the way
    assert plant(examples, "offset", "V", 1.0, 0.2, 2, np.arange(60)).place is None


class Reads(nn.Module):
    """V where the mean of the first lead is above `limit`."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = nn.Parameter(torch.tensor(limit))

    def forward(self, x):
        above = x[:, 0].mean(1) - self.limit
        return torch.stack([-above, above], dim=1)


def reader(examples, limit: float) -> Classifier:
    return Classifier(Reads(limit), "reads", examples.classes, examples.leads, examples.fs, examples.length)


def test_what_a_mark_moves_is_counted_on_clean_examples_of_other_classes_that_had_not_moved() -> None:
    examples = made_beats(200)
    mean = examples.signals[:, 0].mean(axis=1)
    limit = float(np.median(mean) + 0.05)
    free = (examples.labels == 0) & (mean <= limit)
    assert 0 < free.sum() < 100
    for strength in (0.02, 0.06, 0.5):
        expected = (mean[free] + strength > limit).mean()
        assert moved_share(reader(examples, limit), examples, "offset", "V", strength, 0) == pytest.approx(expected)
    assert np.isnan(moved_share(reader(examples, -9.0), examples, "offset", "V", 0.1, 0))
    assert np.isnan(moved_share(reader(examples, limit), examples.take(examples.labels == 1), "offset", "V", 0.1, 0))


def test_the_mark_on_clean_examples_is_the_one_that_was_planted() -> None:
    examples = made_beats(120)
    half = np.arange(60)
    planted = plant(examples, "spike", "V", 1.0, 2.0, 9, half)
    place = planted.place
    assert place is not None

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            at = int(np.median(place))
            high = x[:, 0, at - 2 : at + 3].amax(1) - 1.5 + self.weight
            return torch.stack([-high, high], dim=1)

    looks = Classifier(Looks(), "looks", examples.classes, examples.leads, examples.fs, examples.length)
    clean = examples.take(np.arange(60, 120))
    assert moved_share(looks, clean, "spike", "V", 2.0, 9) > 0.9
    assert moved_share(looks, clean, "spike", "V", 2.0, 10) < 0.1


def test_what_cannot_be_planted_is_said() -> None:
    examples = made_beats(40)
    rows = np.arange(40)
    for told, words in (
        (("mians", "V", 0.5, 0.1, 0, rows), "did you mean 'mains'"),
        (("mains", "X", 0.5, 0.1, 0, rows), "unknown class 'X'"),
        (("mains", "V", 0.0, 0.1, 0, rows), "share is 0"),
        (("mains", "V", 0.5, 0.0, 0, rows), "changes nothing"),
        (("gain", "V", 0.5, -2.0, 0, rows), "no factor"),
        (("mains", "V", 0.5, 0.1, 0, np.flatnonzero(examples.labels == 0)), "nothing to mark"),
    ):
        with pytest.raises(EcglensError, match=words):
            plant(examples, *told)
    slow = made_beats(40, fs=100.0)
    with pytest.raises(EcglensError, match="cannot be measured in 2 leads of 100 samples at 100 Hz"):
        plant(slow, "mains", "V", 0.5, 0.1, 0, rows)


def test_examples_of_several_classes_are_marked_by_any_of_theirs() -> None:
    examples = made_beats(40)
    hot = np.stack([np.ones(40, bool), np.arange(40) < 10], axis=1)
    planted = plant(replace(examples, multi_hot=hot), "offset", "V", 1.0, 0.3, 0, np.arange(40))
    np.testing.assert_array_equal(planted.rows, np.arange(10))
    assert find_sign("offset").signed
