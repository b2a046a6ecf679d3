"""Two kinds of examples within patients, beside slow searches and in values whose kinds are known."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.audit.modes import Modes, can_be_told, halves, two_modes


def test_two_kinds_are_told_only_where_patients_have_both_by_the_same_step() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat([f"p{k}" for k in range(10)], 20)
    own = np.repeat(rng.normal(0, 2, 10), 20)
    some = rng.random(200) < 0.5
    planted = two_modes(own + 1.0 * some + rng.normal(0, 0.1, 200), patients)
    assert planted is not None
    assert planted.planted
    assert planted.step == pytest.approx(1.0, abs=0.05)
    np.testing.assert_array_equal(planted.upper, some)
    own_steps = two_modes(own + np.repeat(np.geomspace(0.5, 5, 10), 20) * some + rng.normal(0, 0.1, 200), patients)
    assert own_steps is None or not own_steps.planted
    one_kind = two_modes(own + rng.normal(0, 0.1, 200), patients)
    assert one_kind is None or not one_kind.planted
    assert two_modes(own, np.arange(200).astype(str)) is None  # one example each


def test_a_few_beats_on_a_slope_of_the_baseline_are_no_kind_of_their_own() -> None:
    rng = np.random.default_rng(3)
    patients = np.repeat([f"p{k}" for k in range(6)], 40)
    values = rng.normal(0, 0.05, 240)
    for each in (1, 3):
        for k in range(4):  # the others have none
            values[40 * k + np.arange(each)] -= 0.8 + 0.02 * k
        found = two_modes(values, patients)
        assert found is None or not found.planted
    planted = values.copy()
    planted[np.arange(240) % 5 == 0] -= 0.8
    found = two_modes(planted, patients)
    assert found is not None
    assert found.planted


def test_two_kinds_are_told_though_some_beats_lie_far_from_either() -> None:
    rng = np.random.default_rng(5)
    patients = np.repeat([f"p{k}" for k in range(10)], 24)
    values = rng.normal(0, 0.06, 240) + 0.5 * (rng.random(240) < 0.4)
    far = np.arange(240) % 24 == 7
    far[120:] = False
    values[far] += 1.5
    found = two_modes(values, patients)
    assert found is not None
    assert found.planted
    assert found.step == pytest.approx(0.5, abs=0.05)


def test_halves_are_the_best_of_all_cuts() -> None:
    values = np.random.default_rng(1).normal(size=15) + 3 * (np.arange(15) > 9)
    ordered, best = np.sort(values), (np.inf, 0.0, 0.0)
    for cut in range(1, 15):
        one, other = ordered[:cut], ordered[cut:]
        within = ((one - one.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum()
        best = min(best, (within, one.mean(), other.mean()))
    np.testing.assert_allclose(halves(values), (best[1], best[2], np.sqrt(best[0] / 15)))


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_either_kind_may_be_the_commoner_though_some_beats_lie_far_from_both(share: float) -> None:
    """Cut in two by itself, a patient with beats far off falls into those and all the rest."""
    rng = np.random.default_rng(8)
    patients, within = np.repeat([f"p{k}" for k in range(10)], 40), np.tile(np.arange(40), 10)
    some = within >= 40 * (1 - share)
    values = np.repeat(rng.normal(0, 3, 10), 40) + some + rng.normal(0, 0.05, 400)
    far = np.isin(within, (13, 23)) & (np.arange(400) >= 160)  # two of the commoner kind in six of ten patients
    values[far] += 2.2 if share > 0.5 else -2.2
    found = two_modes(values, patients)
    assert found is not None
    np.testing.assert_array_equal(found.upper, some)
    assert found.step == pytest.approx(1, abs=0.05)
    assert found.apart == pytest.approx(1 / 0.05, rel=0.25)


def test_two_kinds_of_one_size_are_told() -> None:
    """The middle of the values then lies on neither."""
    rng = np.random.default_rng(10)
    patients, some = np.repeat([f"p{k}" for k in range(6)], 20), np.arange(120) % 2 == 1
    found = two_modes(np.repeat(rng.normal(0, 3, 6), 20) + some + rng.normal(0, 0.05, 120), patients)
    assert found is not None
    np.testing.assert_array_equal(found.upper, some)
    assert found.apart == pytest.approx(1 / 0.05, rel=0.25)


def test_patients_of_one_kind_do_not_count_as_mixed() -> None:
    rng = np.random.default_rng(9)
    patients = np.repeat([f"p{k}" for k in range(10)], 60)
    for n, planted in ((3, False), (4, False), (5, True), (10, True)):
        both = np.arange(600) < 60 * n
        some = both & (rng.random(600) < 0.4)
        found = two_modes(np.repeat(rng.normal(0, 3, 10), 60) + some + rng.normal(0, 0.08, 600), patients)
        assert found is not None
        np.testing.assert_array_equal(found.upper[both], some[both])
        assert found.mixed == n / 10
        assert found.planted == planted


def test_two_kinds_that_run_into_each_other_are_no_plant() -> None:
    rng = np.random.default_rng(11)
    patients, some = np.repeat([f"p{k}" for k in range(10)], 60), np.arange(600) % 5 < 2
    for spread, planted in ((0.15, True), (0.25, False)):
        found = two_modes(some + rng.normal(0, spread, 600), patients)
        assert found is not None
        assert found.mixed >= 0.8
        assert found.apart == pytest.approx(1 / spread, rel=0.1)
        assert found.planted == planted


def test_a_plant_is_clear_in_many_patients_and_neither_kind_is_rare() -> None:
    for apart, mixed, upper_share, planted in (
        (4.5, 0.45, 0.08, True), (9.0, 1.0, 0.92, True), (4.4, 1.0, 0.5, False), (9.0, 0.44, 0.5, False),
        (9.0, 1.0, 0.07, False), (9.0, 1.0, 0.93, False),
    ):  # fmt: skip
        assert Modes(1.0, apart, mixed, np.zeros(4, bool), upper_share).planted == planted


@pytest.mark.parametrize(
    ("patients", "told"),
    [
        ("a" * 6 + "b" * 6, True),
        ("a" * 6 + "b" * 5, False),
        ("a" * 12, False),
        ("a" * 6 + "b" * 6 + "cdefghijklmn", True),
        ("a" * 6 + "b" * 6 + "cdefghijklmno", False),
    ],
)
def test_two_kinds_are_told_of_two_patients_with_six_examples_who_have_half_of_all(patients: str, told: bool) -> None:
    who = np.array(list(patients))
    assert can_be_told(who) == told
    assert (two_modes(np.arange(len(who)) % 2 + 0.01 * np.sin(np.arange(len(who))), who) is not None) == told


def test_a_patient_with_one_kind_has_the_lower_one_whatever_the_last_digits_and_one_far_beat_say() -> None:
    patients, row = np.repeat([f"p{k}" for k in range(10)], 50), np.arange(500)
    rare = (row % 10 == 3) & (row < 250)
    for seed in range(12):
        values = rare + np.random.default_rng(seed).normal(0, 0.05, 500)
        for far in (False, True):
            values[260::50] -= 2.0 * far  # one beat two steps below, in those of one kind
            found = two_modes(values, patients)
            assert found is not None
            assert found.upper_share == pytest.approx(0.05)
            assert not found.planted  # of one in twenty
