"""Curves, lead field and leads against loops, textbook definitions and a published inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slowly import DOWER, electrodes_of, leads_of

from ecglens.errors import EcglensError
from ecglens.simulation.dipole import ELECTRODES, LEADS, Gaussians, electrode_field, joined, lead_weights, render, rotation
from made import FEW


def random_curves(seed: int, n: int, first: float, last: float) -> Gaussians:
    rng = np.random.default_rng(seed)
    return Gaussians(
        at=rng.uniform(first, last, n),
        width=rng.uniform(0.0015, 0.1, n),
        moment=rng.normal(size=(n, 3)),
        part=rng.integers(0, 3, n),
        owner=rng.integers(0, 4, n),
    )


# ------------------------------------------------------------------------------------------------ curves to dipole


def expect_a_loop_of_bell_curves(curves: Gaussians, seed: int, fs: float, n_samples: int) -> None:
    rng = np.random.default_rng(seed)
    n = len(curves)
    row, begin = rng.integers(0, 3, n), rng.uniform(-0.2, 0.2, n)
    found = render(curves.moved(begin, 0), row, 3, begin, n_samples, fs)
    expected = np.zeros((3, 3, n_samples))
    for k in range(n):
        for sample in range(n_samples):
            away = sample / fs - curves.at[k]
            expected[row[k], :, sample] += curves.moment[k] * np.exp(-0.5 * (away / curves.width[k]) ** 2)
    assert found.shape == expected.shape
    # each curve is cut where less than 4 millionths of it are left
    np.testing.assert_allclose(found, expected, atol=4e-6 * np.abs(curves.moment).sum())


_RATES = st.sampled_from([100.0, 250.0, 360.0, 1000.0])


@FEW
@given(st.integers(0, 2**31), st.integers(1, 12), _RATES, st.integers(5, 400))
def test_the_dipole_equals_a_loop_of_bell_curves(seed, n, fs, n_samples):
    expect_a_loop_of_bell_curves(random_curves(seed, n, 0, n_samples / fs), seed, fs, n_samples)


@FEW
@given(st.integers(0, 2**31), st.integers(1, 12), _RATES, st.integers(5, 400))
def test_curves_whose_middle_is_outside_reach_in_as_in_a_loop(seed, n, fs, n_samples):
    expect_a_loop_of_bell_curves(random_curves(seed, n, -0.3, n_samples / fs + 0.3), seed, fs, n_samples)


def test_a_curve_far_outside_adds_nothing_and_no_curve_at_all_is_silence() -> None:
    curves = random_curves(1, 3, 0, 1)
    far = Gaussians(curves.at + 100, curves.width, curves.moment, curves.part, curves.owner)
    zero = np.zeros(3)
    assert not render(far, np.zeros(3, np.int64), 1, zero, 360, 360.0).any()
    assert not render(far.moved(-300.0, 0), np.zeros(3, np.int64), 1, zero, 360, 360.0).any()
    none = curves.take(np.array([], np.intp))
    assert render(none, np.zeros(0, np.int64), 2, np.zeros(0), 10, 360.0).shape == (2, 3, 10)


def test_a_curve_in_one_row_does_not_reach_into_the_next() -> None:
    curves = Gaussians(np.array([0.99]), np.array([0.1]), np.ones((1, 3)), np.zeros(1, int), np.zeros(1, int))
    found = render(curves, np.array([0]), 2, np.zeros(1), 360, 360.0)
    assert found[0].any()
    assert not found[1].any()


def test_curves_can_be_taken_moved_turned_and_joined() -> None:
    curves = random_curves(2, 6, 0, 1)
    moved = curves.moved(0.25, 7)
    np.testing.assert_array_equal(moved.at, curves.at + 0.25)
    assert moved.owner.tolist() == [7] * 6
    turned = curves.turned(rotation(np.array([0.0, 0.0, 90.0])), 2.0)
    x, y, z = curves.moment.T
    np.testing.assert_allclose(turned.moment, 2 * np.stack([-y, x, z], axis=1))
    both = joined([curves, moved])
    assert len(both) == 12
    np.testing.assert_array_equal(both.take(np.arange(6, 12)).at, moved.at)
    np.testing.assert_array_equal(curves.of("QRS").at, curves.at[curves.part == 1])


# ------------------------------------------------------------------------------------------------ dipole to leads


def test_the_lead_field_is_dowers_and_its_inverse_the_published_one() -> None:
    names = ("V1", "V2", "V3", "V4", "V5", "V6", "I", "II")
    forward = lead_weights(names) @ electrode_field()
    np.testing.assert_allclose(forward, [DOWER[name] for name in names], atol=1e-12)
    # Edenbrandt and Pahlm 1988: X, Y, Z from the eight leads
    published = [
        [-0.172, -0.074, 0.122, 0.231, 0.239, 0.194, 0.156, -0.010],
        [0.057, -0.019, -0.106, -0.022, 0.041, 0.048, -0.227, 0.887],
        [-0.229, -0.310, -0.246, -0.063, 0.055, 0.108, 0.022, 0.102],
    ]
    np.testing.assert_allclose(np.linalg.pinv(forward), published, atol=0.0015)


def test_leads_are_made_of_electrodes_as_textbooks_say() -> None:
    potential = dict(zip(ELECTRODES, np.random.default_rng(0).normal(size=(len(ELECTRODES), 50)), strict=True))
    found = lead_weights(LEADS) @ np.array([potential[name] for name in ELECTRODES])
    np.testing.assert_allclose(found, leads_of(potential, LEADS), atol=1e-12)
    lead = dict(zip(LEADS, found, strict=True))
    np.testing.assert_allclose(lead["III"], lead["II"] - lead["I"], atol=1e-12)  # Einthoven
    np.testing.assert_allclose(lead["aVR"] + lead["aVL"] + lead["aVF"], 0, atol=1e-12)  # Goldberger
    np.testing.assert_allclose(lead["aVF"], lead["II"] - lead["I"] / 2, atol=1e-12)


def test_electrode_potentials_follow_from_the_limb_leads_and_wilsons_terminal_is_zero() -> None:
    seen = np.random.default_rng(1).normal(size=(3, 20))
    found = electrode_field() @ seen
    np.testing.assert_allclose(found, list(electrodes_of(seen).values()), atol=1e-12)
    np.testing.assert_allclose(found[:3].sum(0), 0, atol=1e-12)


@FEW
@given(st.lists(st.sampled_from(LEADS), min_size=1, max_size=5, unique=True))
def test_leads_come_in_the_order_that_was_asked_for(leads):
    every = dict(zip(LEADS, lead_weights(LEADS), strict=True))
    np.testing.assert_array_equal(lead_weights(tuple(leads)), [every[name] for name in leads])


def test_an_unknown_lead_is_answered_with_the_known_ones() -> None:
    with pytest.raises(EcglensError, match=r"unknown lead 'aVX'; did you mean 'aVR'\? \(known: I, II, III") as error:
        lead_weights(("II", "aVX"))
    assert "\n" not in str(error.value)


@FEW
@given(st.tuples(*[st.floats(-180, 180)] * 3))
def test_a_rotation_keeps_lengths_and_handedness(degrees):
    matrix = rotation(np.array(degrees))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
