"""How much more of a sign one class has: beside plain counts, and in amounts whose kinds and patients are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from beats_made import made_beats

from ecglens.audit.plant import plant
from ecglens.audit.presence import Presence, is_there, present
from ecglens.audit.signs import find_sign


def test_the_share_is_that_of_a_plain_count() -> None:
    examples = made_beats(240, patients=60)  # too few each to say what is usual in one
    planted = plant(examples, "mains", "V", 0.4, 0.2, 0, np.arange(240))
    sign = replace(find_sign("mains"), least=0.0)
    amount, positive = sign.measure(planted.examples), examples.labels == 1
    (here,) = present(sign, amount, positive, examples.column("patient").astype(str), 0)
    usual = np.median(amount[~positive])
    limit = np.quantile(amount[~positive] - usual, 0.99)
    expected = [row for row in np.flatnonzero(positive) if amount[row] - usual > limit]
    np.testing.assert_array_equal(here.rows, expected)
    assert np.isin(planted.rows, here.rows).all()
    assert here.share == pytest.approx(0.4, abs=0.05)
    pairs = [(a > b) + (a == b) / 2 for a in amount[positive] for b in amount[~positive]]
    assert here.auc == pytest.approx(np.mean(pairs))
    assert here.low < 0.4 < here.high
    assert here.strong == pytest.approx(np.median(amount[expected]) - usual)


def test_what_a_class_has_by_nature_is_no_sign_and_what_half_of_it_has_is_one() -> None:
    """V twice as large as N in all, by another factor in each patient; and half of V by one factor, in all patients."""
    examples = made_beats(480, patients=10)
    patients, rng = examples.column("patient").astype(str), np.random.default_rng(2)
    v, who = examples.labels == 1, np.unique(patients, return_inverse=True)[1]
    factor = np.where(v, rng.uniform(1.4, 2.6, 10)[who] * np.exp(0.08 * rng.normal(size=480)), 1.0)
    natural = replace(examples, signals=(examples.signals * factor[:, None, None]).astype(np.float32))
    gain = find_sign("gain")
    two_shapes = np.where(v & (rng.random(480) < 0.5) & (who < 3), np.array([1.6, 2.2, 3.0] + 7 * [1.0])[who], 1.0)
    in_some = replace(natural, signals=(natural.signals * two_shapes[:, None, None]).astype(np.float32))
    marked = plant(natural, "gain", "V", 0.5, 1.7, 0, np.arange(480)).examples
    for data, planted in ((natural, False), (in_some, False), (marked, True)):
        seen = present(gain, gain.measure(data), v, patients, 0)
        assert (seen[0].share > 0.08) == planted
    assert seen[0].strong == pytest.approx(1.7, rel=0.1)
    assert seen[0].share == pytest.approx(0.5, abs=0.05)


def test_leads_exchanged_in_beats_that_are_not_all_of_one_shape_are_named() -> None:
    """Two in three of the way, as ectopic beats from a second focus leave it."""
    rng = np.random.default_rng(6)
    patients, positive = np.repeat([f"p{k}" for k in range(12)], 40), np.arange(480) % 2 == 1
    swapped = positive & (rng.random(480) < 0.4)
    amount = np.abs(rng.normal(0, 0.03, 480)) + np.where(swapped, rng.normal(0.67, 0.05, 480), 0)
    (here,) = present(find_sign("lead-swap"), amount, positive, patients, 0)
    np.testing.assert_array_equal(here.rows, np.flatnonzero(swapped))


def test_what_a_patient_always_has_is_no_sign_and_what_lies_beyond_it_is_one() -> None:
    """Hum in all of two patients hides a smaller one in some V of the others, unless each is held beside its own patient."""
    rng, row = np.random.default_rng(3), np.arange(360)
    patients, positive = np.repeat([f"p{k}" for k in range(9)], 40), row % 2 == 1
    few = patients == "p8"  # four of its N only: what is usual in it is not known
    positive[few] = row[few] % 10 > 0
    marked = positive & ~few & (row >= 80) & (row % 8 == 1)
    amount = 0.01 * rng.random(360) + 0.3 * (row < 80) + 0.1 * marked + 0.5 * (few & positive & (row % 3 == 0))
    (here,) = present(find_sign("mains"), amount, positive, patients, 0)
    np.testing.assert_array_equal(here.rows, np.flatnonzero(marked))
    assert here.share == marked.sum() / (positive & ~few).sum()
    assert here.beside == "the patients' usual amount"
    beyond = np.array([amount[k] - np.median(amount[(patients == patients[k]) & ~positive]) for k in range(360)])
    assert here.strong == pytest.approx(np.median(beyond[marked]))
    assert here.ordinary == pytest.approx(np.median(beyond[positive & ~marked & ~few]))


@pytest.mark.parametrize(
    ("step", "n_patients", "named"), [(0.0, 0, True), (1.0, 10, False), (1.4, 10, False), (2.0, 10, True), (1.0, 3, True)]
)
def test_two_kinds_that_the_other_classes_have_too_are_no_sign(step: float, n_patients: int, named: bool) -> None:
    rng, row = np.random.default_rng(4), np.arange(400)
    patients, positive = np.repeat([f"p{k}" for k in range(10)], 40), row % 2 == 1
    upper = positive & (row % 6 == 1)
    others = ~positive & (row % 4 == 0) & (row < 40 * n_patients)
    amount = np.repeat(rng.normal(0, 2, 10), 40) + upper + step * others + rng.normal(0, 0.05, 400)
    seen = present(find_sign("offset"), amount, positive, patients, 0)
    assert (seen[0].share > 0) == named
    if named:  # either kind may be the odd one
        for here, rows, side in zip(seen, (upper, positive & ~upper), (1, -1), strict=True):
            np.testing.assert_array_equal(here.rows, np.flatnonzero(rows))
            assert here.strong == pytest.approx(side, abs=0.05)
            assert here.ordinary == pytest.approx(0, abs=0.05)


def test_two_kinds_that_hardly_differ_have_no_name() -> None:
    rng, row = np.random.default_rng(5), np.arange(400)
    patients, positive = np.repeat([f"p{k}" for k in range(10)], 40), row % 2 == 1
    upper = positive & (row % 6 == 1)
    for step, share in ((0.12, upper.sum() / 200), (0.08, 0.0)):  # the least of an offset is 0.1 mV
        seen = present(find_sign("offset"), step * upper + rng.normal(0, 0.005, 400), positive, patients, 0)
        assert seen[0].share == share


def test_a_sign_is_there_in_enough_examples_of_enough_patients() -> None:
    for share, low, there in (
        (0.08, 0.03, True), (0.07, 0.05, False), (0.3, 0.021, True), (0.3, 0.02, False), (0.3, 0.0, False),
        (0.3, float("nan"), True),  # one patient has the class, so that there is no interval
    ):  # fmt: skip
        assert is_there(Presence(share, low, 0.5, 0.9, 1.0, 0.0, np.arange(4), "what is usual")) == there


def test_a_level_that_is_too_low_is_a_sign_as_well() -> None:
    """Of signs that no heart makes, by comparison: those below 1 % of the others."""
    rng, row = np.random.default_rng(6), np.arange(240)
    positive, patients = row % 2 == 1, np.repeat([f"p{k}" for k in range(6)], 40)
    low = positive & (row % 6 == 1)
    amount = rng.normal(0, 0.02, 240) - 0.4 * low
    (here,) = present(replace(find_sign("offset"), natural=False), amount, positive, patients, 0)
    np.testing.assert_array_equal(here.rows, np.flatnonzero(low))
    assert here.strong == pytest.approx(-0.4, abs=0.02)
    assert here.auc == pytest.approx(1 / 3 + 2 / 3 / 2, abs=0.1)  # of those that are not low it is chance


def test_padding_that_the_others_have_not_is_told_from_one_record_each() -> None:
    """Windows without padding have none by nature, so that there are no two kinds to look for in a patient."""
    row = np.arange(120)
    padded = row % 6 == 1
    (here,) = present(find_sign("padding"), 100.0 * padded, row % 2 == 1, row.astype(str), 0)
    np.testing.assert_array_equal(here.rows, np.flatnonzero(padded))
    assert here.strong == 100
