"""When beats come: exactly as many as wanted, early or late as their class says, and sinus rhythm that breathes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.simulation.patients import Patient, draw_patient
from ecglens.simulation.rhythm import Rhythm, Wanted, make_rhythm
from ecglens.simulation.settings import Settings
from made import FEW


def rhythm_of(wanted: Wanted, seconds: float = 60, seed: int = 0, **settings: float) -> tuple[Patient, Rhythm]:
    patient = draw_patient(Settings(seed=seed, **settings), 0)
    return patient, make_rhythm(patient, wanted, seconds, np.random.default_rng([seed, 0, 1]), "s001")


def slow_sinus(rhythm: Rhythm, beat: int) -> float:
    return float(rhythm.at[beat] - rhythm.at[beat - 1])


@FEW
@given(
    st.integers(0, 2**31),
    st.floats(20, 90),
    st.fixed_dictionaries({}, optional={name: st.integers(0, 25) for name in "AVjE"}),
)
def test_wanted_events_are_all_there_and_no_others_or_they_are_refused(seed, seconds, events):
    try:
        _, rhythm = rhythm_of(Wanted("N", None, events), seconds, seed)
    except EcglensError as error:
        # nobody is refused for a few
        if "do not fit into" not in str(error) or sum(events.values()) <= seconds / 10:
            raise
        return
    found = Counter(rhythm.kind.tolist())
    del found["N"]
    assert found == Counter(events) - Counter()
    where = np.flatnonzero(rhythm.kind != "N")
    assert (np.diff(where) >= 2).all()  # so that each pause is followed by a normal beat
    assert np.all(where >= 3)


@FEW
@given(st.integers(0, 2**31), st.floats(20, 90), st.sampled_from("LRP"))
def test_a_record_is_filled_from_end_to_end_and_beats_come_in_order(seed, seconds, base):
    _, rhythm = rhythm_of(Wanted(base, None, {}), seconds, seed)
    assert set(rhythm.kind) == {base}
    assert rhythm.at[0] == pytest.approx(0.35)
    assert rhythm.at[-1] < seconds - 0.3
    assert seconds - 0.3 - rhythm.at[-1] < 1.5 * rhythm.before.max()
    np.testing.assert_allclose(np.diff(rhythm.at), rhythm.before[1:])
    np.testing.assert_array_equal(rhythm.before, rhythm.sinus)
    assert rhythm.before.min() >= 0.3


@FEW
@given(st.integers(0, 2**31), st.sampled_from("LRP"), st.integers(0, 25))
def test_a_run_has_as_many_beats_as_wanted_in_one_piece(seed, base, number):
    _, rhythm = rhythm_of(Wanted(base, number, {}), 30, seed)
    where = np.flatnonzero(rhythm.kind == base)
    assert len(where) == number
    assert (np.diff(where) == 1).all()
    assert set(rhythm.kind) <= {base, "N"}


def test_a_run_that_takes_the_whole_record_has_as_many_beats_as_wanted_or_is_refused() -> None:
    settings = {"variability": 0.2}
    given_up = 0
    for seed in range(20):
        patient = draw_patient(Settings(seed=seed, **settings), 0)
        for short in (0, 1, 2):
            number = int(30 / patient.rr) - short
            try:
                _, rhythm = rhythm_of(Wanted("L", number, {}), 30, seed, **settings)
            except EcglensError:
                given_up += 1
                continue
            assert (rhythm.kind == "L").sum() == number
    assert given_up < 60


def test_premature_beats_do_not_take_away_from_a_run() -> None:
    for seed in range(8):
        _, rhythm = rhythm_of(Wanted("L", 20, {"V": 5}), 40, seed)
        found = Counter(rhythm.kind.tolist())
        assert (found["L"], found["V"]) == (20, 5)


def test_what_does_not_fit_is_refused_by_name_at_once() -> None:
    for wanted in (Wanted("N", None, {"V": 100, "A": 3}), Wanted("N", None, {"E": 16}), Wanted("L", 99, {})):
        with pytest.raises(EcglensError, match=r"^s001: .*(100 V, 3 A|16 E|99 L) do not fit into 0\.5 minutes at \d+ beats"):
            rhythm_of(wanted, 30)


# ------------------------------------------------------------------------------------------------ textbook marks


def events(name: str, number: int) -> list[tuple[Rhythm, int]]:
    out = []
    for seed in range(8):
        _, rhythm = rhythm_of(Wanted("N", None, {name: number, "V" if name != "V" else "A": 2}), 60, seed)
        out += [(rhythm, int(beat)) for beat in np.flatnonzero(rhythm.kind == name)]
    assert len(out) == 8 * number
    return out


def sinus_there(rhythm: Rhythm, beat: int) -> float:
    """The interval of undisturbed sinus rhythm nearby, from the marks alone: median of N to N within ten beats."""
    near = range(max(beat - 10, 1), min(beat + 11, len(rhythm)))
    quiet = [slow_sinus(rhythm, k) for k in near if (rhythm.kind[k - 2 : k + 1] == "N").all() and k > 1]
    return float(np.median(quiet))


def test_an_atrial_premature_beat_is_early_and_its_pause_does_not_make_up_for_it() -> None:
    for rhythm, beat in events("A", 5):
        before, after, sinus = slow_sinus(rhythm, beat), slow_sinus(rhythm, beat + 1), sinus_there(rhythm, beat)
        assert before < 0.9 * sinus
        assert before + after < 0.98 * (rhythm.sinus[beat] + rhythm.sinus[beat + 1])
        assert after > 0.85 * sinus  # not a run


def test_a_ventricular_premature_beat_is_early_and_its_pause_makes_up_for_it_fully() -> None:
    for rhythm, beat in events("V", 5):
        before, after, sinus = slow_sinus(rhythm, beat), slow_sinus(rhythm, beat + 1), sinus_there(rhythm, beat)
        assert before < 0.9 * sinus
        assert after > 1.1 * sinus
        assert before + after == pytest.approx(rhythm.sinus[beat] + rhythm.sinus[beat + 1], abs=1e-9)
        assert before + after == pytest.approx(2 * sinus, rel=0.2)


@pytest.mark.parametrize(("name", "least", "share"), [("j", 1.0, 1.2), ("E", 1.5, 1.4)])
def test_an_escape_beat_comes_only_when_the_sinus_node_has_failed(name: str, least: float, share: float) -> None:
    for rhythm, beat in events(name, 4):
        assert slow_sinus(rhythm, beat) >= least - 1e-9
        assert slow_sinus(rhythm, beat) > share * sinus_there(rhythm, beat)


def test_all_other_beats_keep_the_sinus_intervals() -> None:
    for rhythm, beat in events("V", 3):
        odd = (rhythm.kind != "N") | np.r_[False, np.isin(rhythm.kind[:-1], ["A", "V"])]
        np.testing.assert_array_equal(rhythm.before[~odd], rhythm.sinus[~odd])
        assert odd[beat]
        assert odd[beat + 1]


# ------------------------------------------------------------------------------------------------ sinus rhythm


@pytest.mark.parametrize("variability", [0.0, 0.02, 0.04])
def test_sinus_rhythm_varies_as_much_as_the_patient(variability: float) -> None:
    for seed in range(5):
        patient, rhythm = rhythm_of(Wanted("N", None, {}), 300, seed, variability=variability)
        assert rhythm.before.mean() == pytest.approx(patient.rr, rel=0.05)
        assert np.log(rhythm.before).std() == pytest.approx(patient.rr_spread, rel=0.25, abs=1e-12)


def test_sinus_rhythm_breathes() -> None:
    for seed in range(4):
        patient, rhythm = rhythm_of(Wanted("N", None, {}), 300, seed)
        intervals = rhythm.before - rhythm.before.mean()
        time = np.arange(len(intervals)) * patient.rr

        def at(frequency: float, intervals: np.ndarray = intervals, time: np.ndarray = time) -> float:
            return float(np.abs((intervals * np.exp(-2j * np.pi * frequency * time)).sum()))

        beside = np.mean([at(patient.breaths + shift) for shift in (-0.06, -0.04, 0.04, 0.06)])
        assert at(patient.breaths) > 5 * beside


def test_a_pacemaker_that_leads_is_as_steady_as_a_clock() -> None:
    spreads = {False: [], True: []}
    for seed in range(20):
        patient, rhythm = rhythm_of(Wanted("P", None, {}), 60, seed)
        spreads[patient.paced_after_p].append(np.log(rhythm.before).std() / patient.rr_spread)
    assert max(spreads[False]) < 0.2
    assert min(spreads[True]) > 0.5


_HUGE = """
import resource, sys
import numpy as np
from ecglens.errors import EcglensError
from ecglens.simulation.patients import draw_patient
from ecglens.simulation.rhythm import Wanted, make_rhythm
from ecglens.simulation.settings import Settings

resource.setrlimit(resource.RLIMIT_AS, (600_000_000, 600_000_000))
try:
    settings = Settings(patients=1, beats={"V": 10**20})
    make_rhythm(draw_patient(settings, 0), Wanted("N", None, settings.beats), 30, np.random.default_rng(0), "s001")
except EcglensError as error:
    sys.exit(0)
except MemoryError:
    sys.exit(3)
"""


def test_a_number_of_beats_beyond_all_reason_is_refused_before_the_memory_is_full() -> None:
    pytest.importorskip("resource", reason="memory limits need a Unix system")
    done = subprocess.run([sys.executable, "-c", _HUGE], env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0
