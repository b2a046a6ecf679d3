"""The shape of each class by its textbook marks, measured on its own dipole in twelve leads, in many patients."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from slowly import dipole, electrodes_of, leads_of

from ecglens.simulation.dipole import LEADS, PARTS, Gaussians
from ecglens.simulation.patients import Patient, draw_patient
from ecglens.simulation.settings import Settings
from ecglens.simulation.shapes import SHAPES, atrial_premature, junctional_escape, normal

N_PATIENTS = 80
FS = 1000.0
TIME = np.arange(-0.6, 0.9, 1 / FS)
NARROW, WIDE = ("N", "A", "j"), ("V", "E", "L", "R", "P")


@cache
def people() -> tuple[Patient, ...]:
    return tuple(draw_patient(Settings(seed=12), number) for number in range(N_PATIENTS))


def seen(curves: Gaussians) -> np.ndarray:
    """(lead, time) in twelve leads."""
    return leads_of(electrodes_of(dipole(curves, TIME)), LEADS)


@cache
def waves(kind: str) -> list[dict[str, np.ndarray]]:
    """For each patient each part of a beat of that class alone: (lead, time) in mV."""
    out = []
    for patient in people():
        curves = SHAPES[kind](patient, 0.85)
        out.append({part: seen(curves.of(part)) for part in PARTS})
    return out


def over_all_leads(wave: np.ndarray) -> float:
    """s from the first lead that begins to the last one that ends: 5 % of the lead's peak and 0.01 mV."""
    size = np.abs(wave)
    over = size > np.maximum(0.05 * size.max(1, keepdims=True), 0.01)
    any_lead = np.flatnonzero(over.any(0))
    return float(TIME[any_lead[-1]] - TIME[any_lead[0]])


def lead(wave: np.ndarray, name: str) -> np.ndarray:
    return wave[LEADS.index(name)]


def net(wave: np.ndarray) -> float:
    return float(wave.sum() / np.abs(wave).sum())


def late(wave: np.ndarray) -> float:
    """The largest deflection from 50 ms after R on."""
    rest = wave[TIME > 0.05]
    return float(rest[np.abs(rest).argmax()])


@pytest.mark.parametrize("kind", NARROW)
def test_beats_that_use_the_normal_conduction_are_narrow(kind: str) -> None:
    widths = np.array([over_all_leads(each["QRS"]) for each in waves(kind)])
    assert (widths < 0.11).all()
    assert 0.06 < np.median(widths) < 0.10


@pytest.mark.parametrize("kind", WIDE)
def test_beats_that_do_not_are_wide_in_the_middle_patient_and_wider_than_normal_in_each(kind: str) -> None:
    widths = np.array([over_all_leads(each["QRS"]) for each in waves(kind)])
    usual = np.array([over_all_leads(each["QRS"]) for each in waves("N")])
    assert (widths > usual).all()
    assert 0.12 <= np.median(widths) < 0.18


@pytest.mark.parametrize("kind", WIDE)
def test_beats_that_do_not_last_at_least_0_12_s_in_every_patient(kind: str) -> None:
    widths = np.array([over_all_leads(each["QRS"]) for each in waves(kind)])
    assert (widths >= 0.12).all(), f"{(widths < 0.12).mean():.0%} of patients below, least {widths.min():.3f} s"


@pytest.mark.parametrize("kind", ["N", "A", "L", "R"])
def test_a_p_wave_comes_before_qrs(kind: str) -> None:
    for each in waves(kind):
        p, qrs = np.abs(each["P"]).max(0), np.abs(each["QRS"]).max(0)
        assert p.max() > 0.04
        assert TIME[p.argmax()] < -0.07
        assert TIME[p.argmax()] < TIME[qrs.argmax()] - 0.05


@pytest.mark.parametrize("kind", ["V", "E", "j"])
def test_no_p_wave_comes_before_qrs(kind: str) -> None:
    for each in waves(kind):
        p = np.abs(each["P"])
        assert not p.any() or TIME[p.max(0).argmax()] > 0.08  # retrograde: behind QRS
        assert (p[:, TIME < -0.03] < 1e-3).all()


def test_some_junctional_beats_have_a_retrograde_p() -> None:
    with_p = [bool(np.abs(each["P"]).max() > 0.01) for each in waves("j")]
    assert with_p == [patient.retrograde for patient in people()]
    assert 0.2 < np.mean(with_p) < 0.6


@pytest.mark.parametrize("name", ["II", "III", "aVF"])
def test_retrograde_p_waves_are_upside_down_in_the_lower_leads(name: str) -> None:
    both = [
        (net(lead(each["P"], name)), net(lead(usual["P"], name)))
        for each, usual in zip(waves("j"), waves("N"), strict=True)
        if each["P"].any()
    ]
    assert np.mean([behind < 0 for behind, upright in both if upright > 0.5]) > 0.95


def test_the_p_wave_of_an_atrial_premature_beat_is_of_another_shape() -> None:
    alike = []
    for usual, early in zip(waves("N"), waves("A"), strict=True):
        one, other = usual["P"], early["P"]
        shift = one.shape[1] // 2
        one = np.roll(one, shift - np.abs(one).max(0).argmax(), axis=1)
        other = np.roll(other, shift - np.abs(other).max(0).argmax(), axis=1)
        alike.append((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum()))
    assert max(alike) < 0.9
    assert np.median(alike) < 0.2


def test_qrs_and_t_of_atrial_and_junctional_beats_are_the_normal_ones() -> None:
    for patient in people()[:10]:
        for part in ("QRS", "T"):
            usual = normal(patient, 0.8).of(part)
            for shape in (atrial_premature, junctional_escape):
                same = shape(patient, 0.8).of(part)
                np.testing.assert_array_equal(same.at, usual.at)
                np.testing.assert_array_equal(same.moment, usual.moment)


@pytest.mark.parametrize("kind", ["V", "E", "L", "P"])
def test_the_t_wave_of_a_wide_beat_points_against_its_qrs(kind: str) -> None:
    for each in waves(kind):
        qrs = each["QRS"].sum(1)
        t = each["T"].sum(1)
        clear = np.abs(qrs) > 0.6 * np.abs(qrs).max()
        assert (np.sign(t[clear]) == -np.sign(qrs[clear])).all()


def test_the_normal_t_wave_mostly_points_with_its_qrs() -> None:
    same = []
    for each in waves("N"):
        qrs, t = each["QRS"].sum(1), each["T"].sum(1)
        clear = np.abs(qrs) > 0.6 * np.abs(qrs).max()
        same.append((np.sign(t[clear]) == np.sign(qrs[clear])).mean())
    assert np.mean(same) > 0.8


def test_left_bundle_branch_block_is_down_in_v1_and_up_in_v6() -> None:
    v1 = np.array([net(lead(each["QRS"], "V1")) for each in waves("L")])
    v6 = np.array([net(lead(each["QRS"], "V6")) for each in waves("L")])
    assert np.mean(v1 < -0.5) >= 0.95
    assert np.mean(v6 > 0.5) >= 0.95
    # R without Q in V6: what comes first points up too
    for each in waves("L"):
        if net(lead(each["QRS"], "V6")) > 0.95:
            qrs = lead(each["QRS"], "V6")
            assert qrs[np.flatnonzero(np.abs(qrs) > 0.05 * np.abs(qrs).max())[0]] > 0


def test_right_bundle_branch_block_ends_upwards_in_v1_and_downwards_in_v6() -> None:
    ends_v1 = np.array([late(lead(each["QRS"], "V1")) for each in waves("R")])
    ends_v6 = np.array([late(lead(each["QRS"], "V6")) for each in waves("R")])
    assert (ends_v1 > 0).all()
    assert np.mean(ends_v6 < 0) >= 0.9
    normal_v1 = np.array([late(lead(each["QRS"], "V1")) for each in waves("N")])
    assert (normal_v1 < ends_v1 / 2).all()


def test_right_bundle_branch_block_begins_as_the_normal_beat_does() -> None:
    before = TIME < -0.03
    for each, usual in zip(waves("R"), waves("N"), strict=True):
        size = np.abs(usual["QRS"]).max()
        assert np.abs(each["QRS"] - usual["QRS"])[:, before].max() < 0.05 * size


def test_a_paced_beat_has_a_spike_that_no_heart_makes_before_its_wide_qrs() -> None:
    step = int(0.002 * FS)
    slope = {kind: [np.abs(each["QRS"][:, step:] - each["QRS"][:, :-step]).max() for each in waves(kind)] for kind in SHAPES}
    for number, each in enumerate(waves("P")):
        rise = np.abs(each["QRS"][:, step:] - each["QRS"][:, :-step]).max(0)
        assert rise.max() > 2 * max(slope[kind][number] for kind in ("L", "V", "E"))
        spike_at = TIME[rise.argmax()]
        strongest = np.abs(each["QRS"])[:, spike_at + 0.012 < TIME].max(0)
        assert spike_at < TIME[spike_at + 0.012 < TIME][strongest.argmax()] - 0.01
        # up and down within 6 ms: what is left after is the heart's
        over = np.flatnonzero(rise > 0.5 * rise.max())
        assert (over[-1] - over[0]) / FS < 0.009


def test_paced_beats_have_p_where_the_atria_lead_and_none_where_they_do_not() -> None:
    for patient, each in zip(people(), waves("P"), strict=True):
        assert (np.abs(each["P"]).max() > 0.02) == patient.paced_after_p


def test_the_two_foci_and_the_escape_focus_of_a_patient_look_different() -> None:
    for patient in people()[:20]:
        ectopic = [seen(SHAPES["V"](patient, 0.8, focus).of("QRS")) for focus in (0, 1)]  # type: ignore[call-arg]
        escape = seen(SHAPES["E"](patient, 0.8).of("QRS"))
        for one, other in ((ectopic[0], ectopic[1]), (ectopic[0], escape), (ectopic[1], escape)):
            assert np.abs(one - other).max() > 0.3


def test_qt_grows_with_the_cube_root_of_rr() -> None:
    for patient in people()[:5]:
        short, long = normal(patient, 0.5).of("T"), normal(patient, 1.0).of("T")
        np.testing.assert_allclose(long.at / short.at, 2 ** (1 / 3))
        np.testing.assert_allclose(normal(patient, 5.0).of("T").at / long.at, 1.6 ** (1 / 3))  # no further than that
