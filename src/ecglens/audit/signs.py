"""Signs that no heart makes, or that say nothing of it, and that a net may still go by: measured, put on, taken off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ecglens.audit import sign_measures as of
from ecglens.audit.lead_order import lead_swap
from ecglens.audit.sign_measures import Floats, Measure, Seen
from ecglens.errors import choose
from ecglens.examples.examples import Examples

At = NDArray[np.int64] | None
Put = Callable[..., Examples]  # (examples, strength, rng, at=None)


@dataclass(frozen=True)
class Sign:
    """A confounding sign.

    unit: of its strength. measure(examples): how much of it each example has, float64 (example,), NaN where it cannot be
    measured. put(examples, strength, rng, at=None): the examples with it put on all recorded leads within what is signal;
    at: the sample (example,) at which, for signs that have a place, else they choose one (the same from R for all).
    take_off(examples, level): the examples with at most `level` (a number, or one each) of it left, None where that cannot be
    done. place(examples): the sample (example,) at which it is, where it has one. width(examples): the samples that it lasts,
    where `put` takes a width (else it draws one). natural: hearts differ in it, too; signed:
    too little is a sign as well; polar: it may point either way, and `measure` does not tell which; factor: strengths multiply
    (1 is none) and do not add; least: below this it has no name.
    """

    name: str
    unit: str
    measure: Measure
    put: Put
    take_off: Callable[[Examples, float | Floats], Examples] | None = None
    place: Measure | None = None
    width: Measure | None = None
    natural: bool = False
    signed: bool = False
    polar: bool = False
    factor: bool = False
    least: float = 0.0

    @property
    def has_place(self) -> bool:
        """Whether it is somewhere, and not all over the example."""
        return self.place is not None


def find_sign(name: str) -> Sign:
    """The sign of that name; raises EcglensError where there is none."""
    return {sign.name: sign for sign in SIGNS}[choose(name, [sign.name for sign in SIGNS], "sign")]


def _with(examples: Examples, given: Seen, x: Floats) -> Examples:
    """The examples with the recorded leads x (example, lead, time) where they are signal."""
    signals = examples.signals.copy()
    for k, place in enumerate(of.recorded(examples)):
        part = signals[:, place.row, place.offset : place.offset + place.length]
        part[:] = np.where(given.valid[:, 0], x[:, k], part)
    return replace(examples, signals=signals)


def _put_mains(hz: float) -> Put:
    def put(examples: Examples, strength: float, rng: Generator, at: At = None) -> Examples:
        given = of.seen(examples)
        phase = rng.uniform(0, 2 * np.pi, len(examples))[:, None]
        hum = strength * np.cos(2 * np.pi * hz * np.arange(given.x.shape[2]) / given.fs + phase)
        return _with(examples, given, given.x + hum[:, None])

    return put


def _take_off_mains(hz: float) -> Callable[[Examples, float | Floats], Examples]:
    def take_off(examples: Examples, level: float | Floats) -> Examples:
        given = of.seen(examples)
        waves, stretch = of.mains_waves(given, hz)
        waves = np.nan_to_num(waves)
        loud = of.mains(hz)(examples)
        share = np.clip(1 - level / np.maximum(np.nan_to_num(loud), 1e-9), 0, 1)[:, None, None]
        turn = np.exp(2j * np.pi * hz * np.arange(given.x.shape[2]) / given.fs)
        return _with(examples, given, given.x - share * (waves[..., stretch] * turn).real)

    return take_off


def _put_spike(examples: Examples, strength: float, rng: Generator, at: At = None, width: int | None = None) -> Examples:
    """One or two samples, 0.15 s or more from R, where no QRS is."""
    given = of.seen(examples)
    drawn = int(rng.integers(1, 3))
    width = drawn if width is None else width
    free = np.concatenate(
        [
            of.sharp(of.seen(examples.take(rows)))[2]
            for rows in np.array_split(np.arange(len(examples)), len(examples) // 512 + 1)
        ]
    )
    free &= np.arange(free.shape[1]) + width + 1 < given.stop[:, None]
    free &= np.arange(free.shape[1]) >= given.start[:, None] + 2
    middle = np.where(given.r < 0, (given.start + given.stop) // 2, given.r)
    far = rng.choice(np.array([-1, 1])) * rng.uniform(0.15, 0.28) * given.fs
    at = middle + round(far) if at is None else at
    # where the heart is in the way, or nothing is there, the next place that is free
    away = np.where(free, np.abs(np.arange(free.shape[1]) - at[:, None]), free.shape[1])
    start = np.where(free.any(axis=1), away.argmin(axis=1), at.clip(0, free.shape[1] - 1))
    time = np.arange(free.shape[1])
    there = (time >= start[:, None]) & (time < start[:, None] + width)
    return _with(examples, given, given.x + strength * there[:, None])


def _take_off_spike(examples: Examples, level: float | Floats) -> Examples:
    """Every sample outside QRS that stands out by more than `level` goes back to its neighbours' median."""
    given = of.seen(examples)
    rest, taken, free = of.sharp(given)
    out = (np.abs(taken).max(axis=1) > np.broadcast_to(np.asarray(level), len(examples))[:, None]) & free
    return _with(examples, given, np.where(out[:, None], rest, given.x))


def _put_offset(examples: Examples, strength: float, rng: Generator, at: At = None) -> Examples:
    given = of.seen(examples)
    return _with(examples, given, given.x + strength)


def _take_off_offset(examples: Examples, level: float | Floats) -> Examples:
    given = of.seen(examples)
    mean = of.levels(given).mean(axis=1)
    over = np.sign(mean) * np.maximum(np.abs(mean) - np.abs(level), 0)
    return _with(examples, given, given.x - over[:, None, None])


def _put_gain(examples: Examples, strength: float, rng: Generator, at: At = None) -> Examples:
    given = of.seen(examples)
    return _with(examples, given, given.x * strength)


def _take_off_gain(examples: Examples, level: float | Floats) -> Examples:
    given = of.seen(examples)
    factor = np.minimum(level / np.maximum(of.gain(examples), 1e-9), 1.0)
    return _with(examples, given, given.x * factor[:, None, None])


def _put_swap(examples: Examples, strength: float, rng: Generator, at: At = None) -> Examples:
    given = of.seen(examples)
    if given.x.shape[1] < 2:
        return examples
    x = given.x.copy()
    x[:, 0] += strength * (given.x[:, 1] - given.x[:, 0])
    x[:, 1] += strength * (given.x[:, 0] - given.x[:, 1])
    return _with(examples, given, x)


def _put_clip(examples: Examples, strength: float, rng: Generator, at: At = None) -> Examples:
    """Each lead's larger side is cut at the highest level at which it stays above for `strength` ms."""
    given = of.seen(examples)
    width = min(max(round(strength / 1000 * given.fs), 1), given.x.shape[2])
    rest = of.levels(given)[..., None]
    up = of.quantile(given.x, given.valid, 1.0)[..., None] - rest
    down = rest - of.quantile(given.x, given.valid, 0.0)[..., None]
    side = np.where(up >= down, 1.0, -1.0)
    high = np.where(given.valid, side * (given.x - rest), -np.inf)
    # windows in turn, for all of them at once take `width` times the memory
    lowest = high[..., : high.shape[2] - width + 1].copy()
    for step in range(1, width):
        np.minimum(lowest, high[..., step : step + lowest.shape[2]], out=lowest)
    level = lowest.max(axis=2, keepdims=True)
    level = np.where(np.isfinite(level), level, np.inf)  # a signal shorter than the flat top stays
    return _with(examples, given, np.where(given.valid, side * np.minimum(high, level), 0) + rest)


def _put_padding(examples: Examples, strength: float, rng: Generator, at: At = None) -> Examples:
    """Zeros over the last (or, one draw for all, the first) `strength` ms of what is signal; two samples stay."""
    given = of.seen(examples)
    start, stop = of.signal_span(given)
    n = round(strength / 1000 * given.fs)
    first = np.full(len(examples), rng.random() < 0.5) if at is None else at < given.x.shape[2] // 2
    new_start = np.where(first, np.minimum(start + n, stop - 2), start)
    new_stop = np.where(first, stop, np.maximum(stop - n, start + 2))
    time = np.arange(given.x.shape[2])
    stays = (time >= new_start[:, None]) & (time < new_stop[:, None])
    return replace(
        _with(examples, given, given.x * stays[:, None]),
        table=examples.table.assign(valid_start=new_start, valid_stop=new_stop),
    )


def _put_edge_mark(examples: Examples, strength: float, rng: Generator, at: At = None) -> Examples:
    """A step over the first (or, one draw for all, the last) 20 ms of what is signal."""
    given = of.seen(examples)
    width = max(round(of.EDGE * given.fs), 2)
    last = np.full(len(examples), rng.random() < 0.5) if at is None else at >= given.x.shape[2] // 2
    time, begin = np.arange(given.x.shape[2]), np.where(last, given.stop - width, given.start)
    there = (time >= begin[:, None]) & (time < begin[:, None] + width)
    return _with(examples, given, given.x + strength * there[:, None])


def _take_off_edge_mark(examples: Examples, level: float | Floats) -> Examples:
    given = of.seen(examples)
    width = max(round(of.EDGE * given.fs), 2)
    steps = of.edge_steps(given)
    mean = np.abs(steps.mean(axis=1, keepdims=True))
    over = np.maximum(1 - np.asarray(level).reshape(-1, 1, 1) / np.maximum(mean, 1e-9), 0) * steps
    time = np.arange(given.x.shape[2])
    first = (time >= given.start[:, None]) & (time < given.start[:, None] + width)
    last = (time >= given.stop[:, None] - width) & (time < given.stop[:, None])
    return _with(examples, given, given.x - over[..., :1] * first[:, None] - over[..., 1:] * last[:, None])


def _put_wander(examples: Examples, strength: float, rng: Generator, at: At = None) -> Examples:
    given = of.seen(examples)
    phase = rng.uniform(0, 2 * np.pi, len(examples))[:, None]
    turn = 2 * np.pi * of.wander_hz(given)[:, None] * np.arange(given.x.shape[2]) / given.fs
    return _with(examples, given, given.x + strength * np.cos(turn + phase)[:, None])


def _put_muscle(examples: Examples, strength: float, rng: Generator, at: At = None) -> Examples:
    """Noise above 20 Hz or so, its own in each lead."""
    from scipy.ndimage import uniform_filter1d

    given = of.seen(examples)
    noise = rng.normal(0, strength, given.x.shape)
    return _with(examples, given, given.x + noise - uniform_filter1d(noise, max(round(0.05 * given.fs), 3), axis=2))


SIGNS = (
    Sign("mains", "mV at 50 Hz", of.mains(50.0), _put_mains(50.0), _take_off_mains(50.0), least=0.02),
    Sign("mains-60", "mV at 60 Hz", of.mains(60.0), _put_mains(60.0), _take_off_mains(60.0), least=0.02),
    Sign("spike", "mV", of.spike, _put_spike, _take_off_spike, of.spike_place, of.spike_width, polar=True, least=0.15),
    Sign("offset", "mV", of.offset, _put_offset, _take_off_offset, natural=True, signed=True, least=0.1),
    Sign("gain", "times", of.gain, _put_gain, _take_off_gain, natural=True, signed=True, factor=True, least=1.15),
    Sign("lead-swap", "of the way", lead_swap, _put_swap, natural=True, least=0.5),
    Sign("clip", "ms", of.clip, _put_clip, None, of.clip_place, least=15.0),
    Sign("padding", "ms", of.padding, _put_padding, None, of.padding_place, natural=True, least=20.0),
    Sign("edge-mark", "mV", of.edge_mark, _put_edge_mark, _take_off_edge_mark, of.edge_place, polar=True, least=0.1),
    Sign("wander", "mV", of.wander, _put_wander, natural=True, least=0.15),
    Sign("muscle", "mV", of.muscle, _put_muscle, natural=True, least=0.02),
)
