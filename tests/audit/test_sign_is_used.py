"""Which examples a sign is looked for in, which it is put on and where, and when a model is said to go by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from beats_made import made_beats
from subjects import sides, subject
from torch import nn

from ecglens.audit import confounders
from ecglens.audit.confounders import (
    _at,
    _free,
    _learnt,
    _measured,
    _moved_interval,
    _of_sign,
    _place,
    _unseen,
    claims,
    sign_findings,
)
from ecglens.audit.finding import Finding, Measure, found
from ecglens.audit.presence import Presence
from ecglens.audit.signs import find_sign
from ecglens.audit.subject import Subject
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier

MAINS, OFFSET, SPIKE = find_sign("mains"), find_sign("offset"), find_sign("spike")


def hum_of(x: torch.Tensor) -> torch.Tensor:
    """Amplitude at 50 Hz in the first lead (example,), mV."""
    turn = 2 * torch.pi * 50 / 360 * torch.arange(360)
    return 2 / 360 * torch.hypot(x[:, 0] @ turn.cos(), x[:, 0] @ turn.sin())


class HearsMains(nn.Module):
    """V where 50 Hz has an amplitude above a limit that goes by the example's level: 0.05, 0.2 or none is enough, mV."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        hum = hum_of(x)
        level = x[:, 0].median(1).values
        limit = torch.where(level < 5, 0.05, torch.where(level < 15, 0.2, 9.0))
        return torch.stack([-(hum - limit), hum - limit + self.weight], 1)


class AtLevel(nn.Module):
    """V where the first lead rests above a level, mV."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level))

    def forward(self, x):
        above = x[:, 0].median(1).values - self.level
        return torch.stack([-above, above], 1)


def _subject(examples: Examples, net: nn.Module, **told: Any) -> Subject:
    model = Classifier(net, "net", examples.classes, examples.leads, examples.fs, examples.length)
    return Subject("net", model, examples, **told)


def _hums(examples: Examples, amount: np.ndarray) -> Examples:
    """The examples with a hum of that amplitude each, mV."""
    parts = [MAINS.put(examples.take(np.array([k])), amount[k], np.random.default_rng(k)).signals for k in range(len(amount))]
    return replace(examples, signals=np.concatenate(parts))


def _there(rows: np.ndarray, strong: float) -> Presence:
    return Presence(0.5, 0.4, 0.6, 0.9, strong, 0.0, rows, "what is usual")


@pytest.mark.parametrize(
    ("at_strong", "at_ordinary", "used"),
    [(0.15, 0.0, False), (0.25, 0.0, True), (0.55, 0.5, False), (0.6, 0.45, True), (1.0, 0.95, False), (1.0, 0.85, True)],
)
def test_a_sign_decides_where_it_moves_a_fifth_and_a_tenth_more_than_the_level_of_the_others_of_its_class(
    at_strong: float, at_ordinary: float, used: bool
) -> None:
    """V with a hum of 0.3 mV in two of five and 0.09 in the rest, which a few N have as well; N are moved as told."""
    examples, row = made_beats(200), np.arange(200) // 2
    v = examples.labels == 1
    amount = np.where(v, np.where(row % 5 < 2, 0.3, 0.09), np.where(row % 50 == 0, 0.1, 0.0))
    free = np.flatnonzero(~v & (amount == 0))  # the rest are V to the net as they are
    moves_at = np.zeros(200)
    n_strong, n_ordinary = (round(share * len(free)) for share in (at_strong, at_ordinary))
    moves_at[free[n_ordinary:]] = 10  # mV: the net's limit goes by it
    moves_at[free[n_strong:]] = 20
    examples = _hums(examples, amount)
    examples.signals[:] += moves_at[:, None, None]
    (one,) = _of_sign(_subject(examples, HearsMains()), MAINS, examples, np.stack([~v, v], 1), [1])
    assert (one.severity == "high") == used
    assert f"moves {n_strong / len(free):.0%} of them to V" in one.what
    assert f"({n_ordinary / len(free):.0%} at the level of the other V)" in one.what
    if used:
        assert one.number == n_strong / len(free)
    else:  # all V with the strong hum leave when it is taken off
        assert (one.severity, "100% of them leave" in one.what) == ("medium", True)


class LevelAndHum(nn.Module):
    """V with a hum above 0.2 mV, or with one above 0.05 and the level above 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        hum = hum_of(x)
        both = (hum > 0.2) | ((hum > 0.05) & (x[:, 0].median(1).values > 0.5))
        return torch.stack([self.weight + 0.5 - both.float(), both.float() - 0.5], 1)


def test_a_sign_is_taken_off_those_that_are_said_to_be_of_the_class_and_of_hearts_own_signs_that_is_no_finding() -> None:
    """Of V that rest higher a third never was V to the net, a third leaves when the level is taken off, a third stays."""
    examples, row = made_beats(240), np.arange(240)
    v = examples.labels == 1
    marked = v & (row // 16 % 5 < 2)  # of each patient
    hums = np.where(marked, np.array([0.0, 0.1, 0.3])[np.cumsum(marked) % 3], 0.0)
    examples = _hums(examples, hums)
    examples.signals[marked] += 1.0
    (one,) = _of_sign(_subject(examples, LevelAndHum()), OFFSET, examples, np.stack([~v, v], 1), [1])
    assert "moves 0% of them" in one.what
    assert "50% of them leave" in one.what
    assert one.severity == "low"


class Large(nn.Module):
    """V where the first lead goes over more than 1.5 mV."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        over = x[:, 0].amax(1) - x[:, 0].amin(1) - 1.5 + self.weight
        return torch.stack([-over, over], 1)


def test_a_gain_is_taken_off_by_one_over_it() -> None:
    examples, row = made_beats(240), np.arange(240)
    v = examples.labels == 1
    examples.signals[:] /= np.ptp(examples.signals[:, :1], axis=2, keepdims=True)
    examples.signals[v & (row // 16 % 5 < 2)] *= 2.0
    (one,) = _of_sign(_subject(examples, Large()), find_sign("gain"), examples, np.stack([~v, v], 1), [1])
    assert (one.severity, "100% of them leave" in one.what) == ("high", True)


@pytest.mark.parametrize(("n", "told"), [(19, False), (20, True)])
def test_whether_a_sign_is_used_is_said_from_20_examples_on(n: int, told: bool) -> None:
    examples = made_beats(240)
    v = examples.labels == 1
    examples = _hums(examples, np.where(v & (np.arange(240) % 4 == 1), 0.3, 0.0))
    of = _subject(examples, HearsMains(), asked=np.flatnonzero(~v)[:n], probabilities=np.full((n, 2), 0.5))
    (one,) = _of_sign(of, MAINS, examples, np.stack([~v, v], 1), [1])
    assert one.severity == ("high" if told else "low")
    assert ("cannot be said: 19 examples" in one.what) != told


def test_a_model_says_a_class_by_its_own_threshold_or_the_likeliest() -> None:
    examples = made_beats(80)
    net = AtLevel(float(np.median(examples.signals[:, 0])))
    model = _subject(examples, net).classifier
    logits = np.stack([side * (np.median(examples.signals[:, 0], axis=1) - net.level.item()) for side in (-1, 1)], axis=1)
    np.testing.assert_array_equal(claims(model, examples, 1), logits[:, 1] > logits[:, 0])
    for thresholds, limits in (((0.49, 0.51), (0.49, 0.51)), (None, (0.5, 0.5))):
        several = replace(model, activation="sigmoid", thresholds=thresholds)
        for k in range(2):
            np.testing.assert_array_equal(claims(several, examples, k), 1 / (1 + np.exp(-logits[:, k])) >= limits[k])


def test_a_sign_is_put_on_unseen_examples_of_other_classes_that_are_free_of_it() -> None:
    examples = made_beats(240)
    rng = np.random.default_rng(1)
    amount, level = rng.choice([0.0, 0.1, 0.2, 0.4], 240), rng.choice([0.0, 0.0, 1.0], 240)
    examples = _hums(examples, amount)
    examples.signals[:] += level[:, None, None]
    asked = np.arange(100, 240)
    of = _subject(examples, AtLevel(0.5), asked=asked, probabilities=np.full((140, 2), 0.5))
    for sign, strong, natural in ((MAINS, 0.3, False), (OFFSET, 0.3, True)):
        expected = [
            row for row in asked
            if examples.labels[row] == 0 and level[row] == 0 and (natural or amount[row] < 0.15)
        ]  # fmt: skip
        np.testing.assert_array_equal(_free(of, sign, 1, _there(np.arange(3), strong)), expected)
    of_v = [row for row in asked if examples.labels[row] == 1 and level[row] == 1 and amount[row] < 0.15]
    np.testing.assert_array_equal(_free(of, MAINS, 0, _there(np.arange(3), 0.3)), of_v)


def test_a_sign_is_put_on_300_examples_at_most() -> None:
    examples = made_beats(1400)
    rows = _free(_subject(examples, AtLevel(9.0)), MAINS, 1, _there(np.arange(3), 0.3))
    assert len(rows) == len(np.unique(rows)) == 300
    assert np.bincount(rows // 350, minlength=4).min() > 40  # not of the first patients alone
    assert (examples.labels[rows] == 0).all()


@pytest.mark.parametrize(
    ("told", "learnt", "unseen"),
    [
        ({}, range(12), range(12)),
        ({"split": sides("ttttvvxxxx..")}, range(6), range(6, 10)),
        ({"split": sides("tttttvvv....")}, range(8), range(8, 12)),
        ({"split": sides("tttttttvvvvv")}, range(12), range(12)),  # nothing was kept
        ({"split": sides("xxxxxxxx....")}, range(12), range(8)),
        ({"split": sides("ttttvvxxxx.."), "shown": np.array([3, 1, 1, 0])}, [0, 1, 3], range(6, 10)),
        ({"split": sides("tttttvvv...."), "shown": np.array([3, 1, 1, 0])}, [0, 1, 3], [2, *range(4, 12)]),
        ({"split": sides("ttttvvxxxx.."), "asked": np.array([9, 7, 7])}, range(6), [7, 9]),
        ({"asked": np.array([9, 7, 7]), "shown": np.array([0])}, [0], [7, 9]),
        ({"split": sides("ttttvvxxxx.."), "asked": np.array([], int), "shown": np.array([], int)}, range(6), range(6, 10)),
    ],
)
def test_a_sign_is_looked_for_where_the_model_learnt_and_put_on_where_it_did_not(told: dict[str, Any], learnt, unseen) -> None:
    if "asked" in told:
        told = told | {"probabilities": np.full((len(told["asked"]), 3), 1 / 3)}
    of = subject([0, 1, 2] * 4, [f"p{k}" for k in range(12)], **told)
    np.testing.assert_array_equal(_learnt(of), list(learnt))
    np.testing.assert_array_equal(_unseen(of), list(unseen))


def test_a_sign_in_what_the_model_never_saw_is_none_of_what_it_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confounders, "SIGNS", (MAINS,))
    examples = made_beats(240)
    v = examples.labels == 1
    marked = _hums(examples, np.where(v & (np.arange(240) >= 160) & (np.arange(240) % 4 == 1), 0.3, 0.0))
    of = _subject(marked, AtLevel(9.0))
    for told, state in (
        (of, "found"),
        (replace(of, shown=np.arange(160)), "clear"),
        (replace(of, shown=np.arange(240)), "found"),
    ):
        (one,) = sign_findings(told)
        assert one.state == state


def test_as_many_of_each_class_are_measured_over_its_patients_evenly() -> None:
    labels = [0] * 60 + [1] * 24 + [2] * 6
    patients = [f"p{k % 3}" for k in range(60)] + ["p0"] * 18 + ["p1"] * 4 + ["p2"] * 2 + [f"p{k}" for k in range(6)]
    of = subject(labels, patients)
    some = np.setdiff1d(np.arange(90), [0, 1, 60])  # of the rows that are asked for alone
    rows = _measured(of, some, per_class=12)
    assert (np.diff(rows) > 0).all()
    assert np.isin(rows, some).all()
    counts = {(k, who): 0 for k in range(3) for who in of.patients}
    for row in rows:
        counts[labels[row], patients[row]] += 1
    assert [counts[0, f"p{k}"] for k in range(3)] == [4, 4, 4]
    assert [counts[1, f"p{k}"] for k in range(3)] == [6, 4, 2]  # as many of each as there are
    assert sum(labels[row] == 2 for row in rows) == 6


def test_examples_of_no_class_are_measured_too() -> None:
    hot = np.zeros((60, 3), bool)
    hot[:20, 0] = hot[10:30, 1] = True
    rows = _measured(subject([0] * 60, ["a", "b"] * 30, multi_hot=hot), np.arange(60), per_class=8)
    assert hot[rows].any(axis=1).sum() <= 16
    assert hot[rows].sum(axis=0).tolist()[2] == 0
    assert (~hot[rows].any(axis=1)).sum() == 8


def _marks(offset: np.ndarray, r: np.ndarray, width: int = 1) -> Examples:
    """Spikes so many samples from an R that lies elsewhere in each example."""
    examples = made_beats(len(r), seed=2)
    signals = np.stack([np.roll(x, shift, axis=1) for x, shift in zip(examples.signals, r - 180, strict=True)])
    for k, at in enumerate(r + offset):
        signals[k, :, at : at + width] += 2.0
    return replace(examples, signals=signals, table=examples.table.assign(r_index=r))


def test_a_sign_is_put_as_far_from_each_r_as_it_mostly_lies_from_its_own() -> None:
    rng = np.random.default_rng(4)
    offset, r = np.r_[-60, rng.integers(-88, -80, 20)], np.r_[230, rng.integers(160, 210, 20)]
    marked, their_r = _marks(offset, r), np.array([200, 170, 85, 20, 181])
    others = made_beats(5)
    others = replace(others, table=others.table.assign(r_index=their_r))
    rows = np.arange(21)
    np.testing.assert_array_equal(SPIKE.place(marked), r + offset)
    usual = sorted(offset)[10]
    np.testing.assert_array_equal(_at(SPIKE, marked, rows, others), [max(each + usual, 0) for each in their_r])
    assert _place(SPIKE, marked, rows) == {"ms from R": f"{1000 * usual / 360:.0f}"}
    strips = replace(others, table=others.table.assign(r_index=[-1, 100, 100, 100, 100]))  # one without R: from the start
    np.testing.assert_array_equal(_at(SPIKE, marked, rows, strips), [sorted(r + offset)[10]] * 5)
    without = replace(marked, table=marked.table.assign(r_index=-1))
    assert _place(SPIKE, without, rows) == {"ms from the start": f"{1000 * sorted(r + offset)[10] / 360:.0f}"}
    assert _at(MAINS, marked, rows, others) is None  # all over the example


def test_the_interval_of_what_a_sign_moves_is_over_patients() -> None:
    """Half of the patients rest where the offset is enough: with other patients it might be few, or nearly all."""
    examples = made_beats(96, patients=8)
    who = np.arange(96) // 2 % 8
    level = np.where(who < 4, 0.0, -3.0)[:, None, None]
    signals = examples.signals - np.median(examples.signals, axis=2, keepdims=True) + level
    of = _subject(replace(examples, signals=signals.astype(np.float32)), AtLevel(0.5))
    low, high = _moved_interval(of, OFFSET, np.arange(96), 1, 1.0, {})
    assert (low, high) == (0.125, 0.875)


@pytest.mark.parametrize("order", [("low", "medium"), ("medium", "low"), ("medium", "high"), ("high", "low")])
def test_of_two_kinds_the_one_that_the_model_goes_by_most_is_told(
    order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = made_beats(60)
    kinds = {severity: replace(_there(np.arange(9), 0.3), beside=severity) for severity in order}
    monkeypatch.setattr(confounders, "present", lambda *_: list(kinds.values()))
    monkeypatch.setattr(confounders, "is_there", lambda _: True)

    def told(_subject: Subject, _sign: Any, _part: Examples, _k: int, here: Presence) -> Finding:
        return found("confounders.mains.V", "data", here.beside, "told", Measure(0.5, "share"), do="mend it")

    monkeypatch.setattr(confounders, "_finding", told)
    (one,) = _of_sign(_subject(examples, AtLevel(9.0)), MAINS, examples, np.ones((60, 2), bool), [1])
    assert one.severity == max(order, key=("low", "medium", "high").index)
