"""When the simulated heart beats, and of which class each beat is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.simulation.patients import Patient

_FIRST = 3  # beats before the first event and after the last one
_SHORTEST = 0.33  # s: no beat follows sooner
_ESCAPE = {"j": (1.0, 1.35, 1.60), "E": (1.5, 1.75, 2.40)}  # least s, and share of the sinus interval from-to


@dataclass(frozen=True)
class Wanted:
    """What a patient is to have: `base` ("N", "L", "R" or "P"), for `base_beats` beats (None: all), and events by class."""

    base: str
    base_beats: int | None
    events: dict[str, int]


@dataclass(frozen=True)
class Rhythm:
    """The beats of a record.

    at: s (beat,), R marks; kind: str (beat,), class; sinus: s (beat,), the interval that undisturbed sinus rhythm would have
    kept before the beat; before: s (beat,), the interval that it had; focus: int (beat,), where a V beat began.
    """

    at: NDArray[np.float64]
    kind: NDArray[np.str_]
    sinus: NDArray[np.float64]
    before: NDArray[np.float64]
    focus: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at)


def make_rhythm(patient: Patient, wanted: Wanted, seconds: float, rng: np.random.Generator, who: str) -> Rhythm:
    """Beats that fill `seconds`; raises EcglensError when the wanted ones do not fit."""
    n = int(2 * seconds / (0.5 * patient.rr)) + 8
    sinus = _sinus_intervals(patient, n, rng, steady=wanted.base == "P" and not patient.paced_after_p)
    focus = rng.integers(0, 2, n)
    room = int(seconds / patient.rr)
    state = rng.bit_generator.state
    while True:
        rng.bit_generator.state = state
        kind = _kinds(wanted, n, room, rng)
        if kind is None:
            parts = [f"{count} {name}" for name, count in wanted.events.items() if count]
            parts += [f"{wanted.base_beats} {wanted.base}"] if wanted.base_beats else []
            raise EcglensError(
                f"{who}: {', '.join(parts)} do not fit into {seconds / 60:g} minutes at {60 / patient.rr:.0f} beats a "
                "minute; ask for fewer beats, more carriers or more minutes"
            )
        before = _intervals(kind, sinus, patient, rng)
        at = 0.35 + np.cumsum(before) - before[0]
        inside = int(np.searchsorted(at, seconds - 0.3))
        missing = sum(wanted.events.values()) - np.isin(kind[:inside], list(wanted.events)).sum()
        if wanted.base_beats is not None:
            missing += wanted.base_beats - (kind[:inside] == wanted.base).sum()
        if missing <= 0:
            break
        room -= 1  # pauses took more time than there was
    return Rhythm(at[:inside], kind[:inside], sinus[:inside], before[:inside], focus[:inside])


def _kinds(wanted: Wanted, n: int, room: int, rng: np.random.Generator) -> NDArray[np.str_] | None:
    """The class of each beat, all wanted ones among the first `room`; None where they do not fit."""
    n_events, run = sum(wanted.events.values()), wanted.base_beats
    if n_events > room or (run or 0) + n_events > room:
        return None
    places = _apart(n_events, room - 2 * _FIRST, rng)
    if places is None:
        return None
    kind = np.full(n, wanted.base if run is None else "N", "<U1")
    is_event = np.zeros(n, bool)
    if n_events:
        is_event[places + _FIRST] = True
    if run:
        free = np.flatnonzero(~is_event[:room])
        first = int(rng.integers(0, len(free) - run + 1))
        kind[free[first : first + run]] = wanted.base
    kind[is_event] = rng.permutation([name for name, count in sorted(wanted.events.items()) for _ in range(count)])
    return kind


def _apart(n: int, room: int, rng: np.random.Generator) -> NDArray[np.int64] | None:
    """`n` places below `room`, in order, three apart where there is room and two apart at the least."""
    if n == 0:
        return np.array([], np.int64)
    for gap in (3, 2):
        free = room - (n - 1) * (gap - 1)
        if free >= n:
            return np.sort(rng.permutation(free)[:n]) + np.arange(n) * (gap - 1)
    return None


def _sinus_intervals(patient: Patient, n: int, rng: np.random.Generator, *, steady: bool) -> NDArray[np.float64]:
    """Sinus intervals with breathing and slow waves (McSharry 2003: peaks at 0.25 and 0.1 Hz) and a drift."""
    time = np.arange(n) * patient.rr
    slow = np.cumsum(rng.normal(size=n)) * 0.05
    slow -= np.linspace(slow[0], slow[-1], n)
    wave = (
        np.sin(2 * np.pi * (patient.breaths * time + rng.random()))
        + 0.7 * np.sin(2 * np.pi * (0.1 * time + rng.random()))
        + 0.4 * rng.normal(size=n)
        + np.clip(slow, -1.5, 1.5)
    )
    wave *= (0.1 if steady else 1.0) * patient.rr_spread / wave.std()
    return patient.rr * np.exp(np.clip(wave, -0.3, 0.3))


def _intervals(
    kind: NDArray[np.str_], sinus: NDArray[np.float64], patient: Patient, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The interval before each beat: early, late, after a compensatory pause, or as the sinus node says."""
    before = sinus.copy()
    vary = np.exp(0.04 * np.clip(rng.normal(size=len(kind)), -2, 2))
    for beat in np.flatnonzero(np.isin(kind, ["A", "V", "j", "E"])):
        name = kind[beat]
        if name == "A":  # resets the sinus node
            before[beat] = max(patient.early * vary[beat] * sinus[beat], _SHORTEST)
            before[beat + 1] = sinus[beat + 1] * min(1.05 * vary[beat + 1], 1.1)
        elif name == "V":  # leaves it alone: the pause makes two sinus intervals of both
            before[beat] = max(patient.coupling * vary[beat] * sinus[beat], _SHORTEST)
            before[beat + 1] = sinus[beat] + sinus[beat + 1] - before[beat]
        else:
            least, low, high = _ESCAPE[name]
            before[beat] = max(least, rng.uniform(low, high) * sinus[beat])
    return before
