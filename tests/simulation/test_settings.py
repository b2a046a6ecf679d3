"""What may be asked of a cohort, and how what may not is answered."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.simulation.cohort import assign
from ecglens.simulation.dipole import LEADS
from ecglens.simulation.settings import EVENTS, RUNS, Settings, by_class, lead_names, with_settings
from made import FEW

NUMBERS = (
    "patients", "minutes", "seed", "fs", "heart_rate", "heart_rate_spread", "variability", "qrs_width", "amplitude",
    "wander", "mains", "muscle", "evidence_mv",
)  # fmt: skip


def refused(**changes: object) -> str:
    with pytest.raises(EcglensError) as error:
        assign(Settings(**changes))  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e12])
def test_no_number_outside_its_bounds_is_taken(name: str, value: float) -> None:
    assert refused(**{name: value}).startswith(f"{name} is {value:g}; expected ")


@pytest.mark.parametrize(
    ("name", "value"), [("patients", 0), ("minutes", 0), ("heart_rate", 0), ("qrs_width", 0), ("evidence_mv", 0), ("fs", 0)]
)
def test_what_cannot_be_zero_is_refused(name: str, value: float) -> None:
    assert refused(**{name: value}).startswith(f"{name} is 0; expected ")


def test_no_noise_at_all_may_be_asked_for() -> None:
    assert Settings(wander=0, mains=0, muscle=0).muscle == 0


def test_an_unknown_lead_or_class_is_refused_with_the_known_ones() -> None:
    assert "unknown lead 'V11'; did you mean 'V1'?" in refused(leads=("II", "V11"))
    assert "beats of class 'Q': expected one of L, R, P, A, j, V, E" in refused(beats={"Q": 3})
    assert "carriers of class 'N'" in refused(carriers={"N": 3})
    assert "all other beats are N" in refused(beats={"N": 3})


def test_no_lead_is_refused() -> None:
    assert "no lead" in refused(leads=())


def test_a_lead_that_is_asked_for_twice_is_refused() -> None:
    assert "II" in refused(leads=("II", "II"))


@pytest.mark.parametrize("what", ["beats", "carriers"])
def test_numbers_of_a_class_below_zero_are_refused(what: str) -> None:
    assert refused(**{what: {"V": -1}}).startswith(f"{what} of V is -1; expected at least 0")


def test_more_carriers_than_patients_are_refused() -> None:
    assert refused(patients=3, carriers={"V": 4}).startswith("4 carriers of V among 3 patients")
    assert "L, R and P need 6 patients of their own, the cohort has 5" in refused(
        patients=5, carriers={"L": 2, "R": 2, "P": 2, "A": 0, "j": 0, "E": 0}
    )


def test_more_carriers_than_patients_who_can_have_a_class_are_refused() -> None:
    # three of five have L, R or P
    asked = {"L": 1, "R": 1, "P": 1, "A": 3, "j": 1, "E": 1}
    assert refused(patients=5, carriers=asked).startswith("3 carriers of A, but only 2 of 5 patients can have it")
    # a paced heart has no V of its own
    asked = {"L": 0, "R": 0, "P": 2, "A": 0, "j": 0, "E": 0, "V": 2}
    assert refused(patients=3, carriers=asked).startswith("2 carriers of V, but only 1 of 3")


@pytest.mark.parametrize(
    "patients",
    range(1, 14),
)
def test_a_cohort_of_any_small_size_can_be_had_without_further_words(patients: int) -> None:
    assert len(assign(Settings(patients=patients))) == patients


@pytest.mark.parametrize("name", RUNS)
def test_beats_of_a_class_in_a_very_small_cohort_are_given_or_refused_but_not_forgotten(name: str) -> None:
    try:
        wanted = assign(Settings(patients=2, beats={name: 10}))
    except EcglensError:
        return
    assert sum(each.base_beats or 0 for each in wanted if each.base == name) == 10


@pytest.mark.parametrize("name", RUNS + EVENTS)
def test_beats_of_a_class_that_nobody_carries_are_refused(name: str) -> None:
    assert name in refused(patients=8, beats={name: 10}, carriers={name: 0})


def test_more_carriers_than_beats_are_refused() -> None:
    assert "V" in refused(patients=8, beats={"V": 1}, carriers={"V": 3})


@FEW
@given(
    st.integers(5, 60),
    st.integers(0, 2**31),
    st.dictionaries(st.sampled_from(RUNS), st.integers(0, 2)),
    st.dictionaries(st.sampled_from(EVENTS), st.integers(1, 3)),
    st.dictionaries(st.sampled_from(EVENTS + RUNS), st.integers(3, 300)),
)
def test_wanted_beats_and_carriers_are_dealt_out_to_the_last_one(patients, seed, runs, events, beats):
    carriers = runs | events
    beats = {name: number for name, number in beats.items() if carriers.get(name) != 0}
    beats = {name: max(number, patients) for name, number in beats.items()}  # at least one for each carrier
    settings = Settings(patients=patients, seed=seed, carriers=carriers, beats=beats)
    try:
        wanted = assign(settings)
    except EcglensError as error:
        if "patients can have it" not in str(error):
            raise
        return
    assert len(wanted) == patients
    for name in RUNS:
        who = [each for each in wanted if each.base == name]
        assert len(who) == carriers.get(name, settings.carriers_of(name))
        if name in beats and who:
            numbers = [each.base_beats for each in who]
            assert sum(numbers) == beats[name]
            assert max(numbers) - min(numbers) <= 1
        assert all((each.base_beats is None) == (name not in beats) for each in who)
    for name in EVENTS:
        numbers = [each.events[name] for each in wanted if name in each.events]
        assert len(numbers) == carriers.get(name, settings.carriers_of(name))
        if name in beats:
            assert sum(numbers) == beats[name]
            assert max(numbers) - min(numbers) <= 1
    for each in wanted:
        assert not (each.base != "N" and set(each.events) & {"A", "j", "E"})
        assert not (each.base == "P" and each.events)


# ------------------------------------------------------------------------------------------------ as words


def test_leads_by_number_or_by_name() -> None:
    assert lead_names("2") == ("II", "V1")
    assert lead_names(" 12 ") == LEADS
    assert len(LEADS) == 12
    assert lead_names("II, V5") == ("II", "V5")


def test_numbers_by_class() -> None:
    assert by_class(["V=800", "A=3"], "--beats") == {"V": 800, "A": 3}
    for wrong in ("V", "V=", "V=x", "V=1.5", "V=nan"):
        with pytest.raises(EcglensError, match="expected CLASS=NUMBER, such as V=800"):
            by_class([wrong], "--beats")


def test_settings_by_name() -> None:
    changed = with_settings(Settings(), ["heart_rate=60", "patients=7", "muscle=0"])
    assert (changed.heart_rate, changed.patients, changed.muscle) == (60.0, 7, 0.0)
    assert changed.minutes == Settings().minutes


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ("heart_rate", "expected NAME=VALUE"),
        ("hart_rate=60", r"there is no such setting; did you mean 'heart_rate'\?"),
        ("leads=II", "there is no such setting"),
        ("heart_rate=fast", r"expected a number \(float\)"),
        ("patients=1.5", r"expected a number \(int\)"),
        ("heart_rate=nan", "heart_rate is nan; expected 30 to 150"),
    ],
)
def test_a_setting_that_is_not_understood_is_named(change: str, answer: str) -> None:
    with pytest.raises(EcglensError, match=answer):
        with_settings(Settings(), [change])
