"""Every patient is a person: the same one each time, another one than the next."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from ecglens.simulation.patients import Patient, draw_patient
from ecglens.simulation.settings import Settings


def same(one: Patient, other: Patient, but: tuple[str, ...] = ()) -> bool:
    names = [each.name for each in fields(Patient) if each.name not in but]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_a_patient_depends_on_seed_and_number_alone() -> None:
    one = draw_patient(Settings(seed=4), 7)
    assert same(one, draw_patient(Settings(seed=4, patients=9, minutes=1, leads=("V5",)), 7))
    assert not same(one, draw_patient(Settings(seed=4), 8))
    assert not same(one, draw_patient(Settings(seed=5), 7))


def test_no_two_patients_share_an_axis_a_focus_or_a_gain() -> None:
    people = [draw_patient(Settings(), number) for number in range(60)]
    for name in ("axis", "qrs_axis", "t_axis", "gains", "foci", "atrial_axis", "spike"):
        assert len({getattr(each, name).tobytes() for each in people}) == 60, name
    for name in ("rr", "qrs_width", "pr", "breaths", "wander", "mains", "muscle"):  # extremes are cut, so two may meet there
        assert len({getattr(each, name) for each in people}) > 55, name


def test_the_middle_patient_is_as_the_settings_say() -> None:
    people = [draw_patient(Settings(heart_rate=60, qrs_width=1.2, amplitude=0.5), number) for number in range(200)]
    usual = [draw_patient(Settings(heart_rate=60), number) for number in range(200)]
    assert np.median([60 / each.rr for each in people]) == pytest.approx(60, rel=0.05)
    for wide, each in zip(people, usual, strict=True):
        assert wide.qrs_width == pytest.approx(1.2 * each.qrs_width)
        assert wide.block_width == pytest.approx(1.2 * each.block_width)
        assert wide.paced_width == pytest.approx(1.2 * each.paced_width)
        np.testing.assert_allclose(wide.focus_width, 1.2 * each.focus_width)
        assert wide.qrs_scale == pytest.approx(0.5 * each.qrs_scale)
        assert wide.t_scale == pytest.approx(0.5 * each.t_scale)
        np.testing.assert_allclose(wide.foci, 0.5 * each.foci)


def test_without_spread_all_hearts_are_equally_fast() -> None:
    assert {draw_patient(Settings(heart_rate_spread=0), number).rr for number in range(5)} == {60 / Settings().heart_rate}


def test_axes_are_rotations_and_electrodes_nearly_right() -> None:
    for number in range(30):
        each = draw_patient(Settings(), number)
        for axis in (each.axis, each.qrs_axis, each.t_axis, each.atrial_axis):
            np.testing.assert_allclose(axis @ axis.T, np.eye(3), atol=1e-12)
        assert np.abs(each.gains - 1).max() < 0.11
        assert same(each, replace(each))
