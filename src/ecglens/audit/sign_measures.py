"""How much of each confounding sign an example has, measured beside the heart as far as that can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ecglens.examples.examples import Examples, LeadPlace

Floats = NDArray[np.float64]
Measure = Callable[[Examples], Floats]
_CHUNK = 512  # examples measured at once
EDGE = 0.02  # s, that a mark at an edge lasts
QRS = 0.12  # s before and after R in which a sharp wave is the heart's own
_WINDOW = 0.1  # s, whole periods of 50 and of 60 Hz


@dataclass(frozen=True)
class Seen:
    """Recorded leads (example, lead, time) in mV, first valid sample and the one after the last, R (-1: unknown), fs in Hz."""

    x: Floats
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    r: NDArray[np.int64]
    fs: float

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which samples are signal (example, 1, time)."""
        time = np.arange(self.x.shape[2])
        valid: NDArray[np.bool_] = ((time >= self.start[:, None]) & (time < self.stop[:, None]))[:, None]
        return valid


def recorded(examples: Examples) -> list[LeadPlace]:
    """Where the leads lie that were recorded: not the patient's usual beat under them."""
    return [place for place in examples.places if not place.name.startswith("usual ")]


def seen(examples: Examples) -> Seen:
    """The recorded leads side by side, also where they lie one behind the other."""
    parts = [examples.signals[:, place.row, place.offset : place.offset + place.length] for place in recorded(examples)]
    r = examples.column("r_index").astype(np.float64)
    length = parts[0].shape[1]
    known = (r >= 0) & (r < length)
    start, stop = (examples.column(name).astype(np.int64).clip(0, length) for name in ("valid_start", "valid_stop"))
    at = np.where(known, r, -1).astype(np.int64)
    return Seen(np.stack(parts, axis=1).astype(np.float64), start, stop, at, examples.fs)


def in_chunks(one: Callable[[Seen], Floats]) -> Measure:
    """A measure of any number of examples, from one of a few."""

    def measure(examples: Examples) -> Floats:
        rows = np.arange(len(examples))
        parts = [one(seen(examples.take(rows[at : at + _CHUNK]))) for at in range(0, len(rows), _CHUNK)]
        return np.concatenate(parts) if parts else np.empty(0)

    return measure


def quantile(x: Floats, known: NDArray[np.bool_], q: float | Floats) -> Floats:
    """Of the known values along the last axis; NaN where there is none."""
    n = np.broadcast_to(known, x.shape).sum(-1)
    ordered = np.sort(np.where(known, x, np.inf), axis=-1)
    at = q * np.maximum(n - 1, 0)
    low, high = (np.take_along_axis(ordered, f(at).astype(np.int64)[..., None], -1)[..., 0] for f in (np.floor, np.ceil))
    there = n > 0
    low, high = np.where(there, low, 0.0), np.where(there, high, 0.0)
    return np.where(there, low + (high - low) * (at - np.floor(at)), np.nan)


def _over_leads(x: Floats) -> Floats:
    """Root mean square (example,) of (example, lead): one loud lead of twelve still shows."""
    return np.sqrt(np.mean(x**2, axis=1))


def mains_waves(given: Seen, hz: float) -> tuple[NDArray[np.complex128], NDArray[np.int64]]:
    """What hums at `hz`: complex amplitude (example, lead, stretch) in mV, and the stretch of each sample (time,).

    A sine with a parabola is fitted to windows of 0.1 s; the heart comes and goes, the hum keeps its phase, so the median over
    the windows of a second is the hum. NaN where no window is signal throughout, and everywhere unless fs / 2 is above `hz`.
    """
    n, leads, length = given.x.shape
    width = round(_WINDOW * given.fs)
    if given.fs / 2 <= hz or length < width:
        return np.full((n, leads, 1), np.nan, np.complex128), np.zeros(length, np.int64)
    hop = max(width // 2, 1)
    time = np.arange(width) / given.fs
    basis = np.stack([np.ones(width), time, time**2, np.cos(2 * np.pi * hz * time), np.sin(2 * np.pi * hz * time)], axis=1)
    fitted = sliding_window_view(given.x, width, axis=2)[:, :, ::hop] @ np.linalg.pinv(basis)[3:].T
    begin = np.arange(fitted.shape[2]) * hop
    turned = (fitted[..., 0] - 1j * fitted[..., 1]) * np.exp(-2j * np.pi * hz * begin / given.fs)
    known = ((begin >= given.start[:, None]) & (begin + width <= given.stop[:, None]))[:, None]
    n_stretches = max(round(length / given.fs), 1)
    of_window = np.minimum((begin + width // 2) * n_stretches // length, n_stretches - 1)
    out = np.empty((n, leads, n_stretches), np.complex128)
    for k in range(n_stretches):
        here = of_window == k
        out[..., k] = quantile(turned.real[..., here], known[..., here], 0.5)
        out[..., k] += 1j * quantile(turned.imag[..., here], known[..., here], 0.5)
    return out, np.arange(length) * n_stretches // length


def mains(hz: float) -> Measure:
    """Amplitude of the hum, mV: median over seconds, over leads the root mean square."""

    def one(given: Seen) -> Floats:
        size = np.abs(mains_waves(given, hz)[0])
        return _over_leads(quantile(size, ~np.isnan(size), 0.5))

    return in_chunks(one)


def sharp(given: Seen) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """The signal without what lasts one or two samples, what was taken, and where a spike may be told from the heart.

    That is outside QRS: 0.12 s around R, and wherever the rest moves by 30 % of its range within 80 ms (beats next door).
    """
    from scipy.ndimage import maximum_filter1d, median_filter, minimum_filter1d

    rest = median_filter(given.x, size=(1, 1, 5), mode="nearest")
    size = 2 * round(0.04 * given.fs) + 1
    moves = maximum_filter1d(rest, size, axis=2, mode="nearest") - minimum_filter1d(rest, size, axis=2, mode="nearest")
    span = quantile(rest, given.valid, 1.0) - quantile(rest, given.valid, 0.0)
    free = (moves <= 0.3 * span[..., None]).all(axis=1) & given.valid[:, 0]
    near = np.abs(np.arange(given.x.shape[2]) - given.r[:, None]) <= QRS * given.fs
    free &= ~(near & (given.r >= 0)[:, None])
    return rest, given.x - rest, free


def spike_sizes(given: Seen) -> Floats:
    """Largest size of what lasts one or two samples outside QRS, at each sample (example, time), mV."""
    _, taken, free = sharp(given)
    return np.where(free, np.abs(taken).max(axis=1), 0.0)


spike = in_chunks(lambda given: spike_sizes(given).max(axis=1))
spike_place = in_chunks(lambda given: spike_sizes(given).argmax(axis=1).astype(np.float64))


@in_chunks
def spike_width(given: Seen) -> Floats:
    """Samples that the largest spike lasts: 1, or 2 where a neighbour stands out by more than half as much."""
    sizes = np.pad(spike_sizes(given), ((0, 0), (1, 1)))
    at, row = sizes[:, 1:-1].argmax(axis=1) + 1, np.arange(len(sizes))
    beside = np.maximum(sizes[row, at - 1], sizes[row, at + 1])
    return 1.0 + (beside > sizes[row, at] / 2)


def levels(given: Seen) -> Floats:
    """Where each lead rests (example, lead), mV: the median of its signal."""
    return quantile(given.x, given.valid, 0.5)


offset = in_chunks(lambda given: levels(given).mean(axis=1))


@in_chunks
def gain(given: Seen) -> Floats:
    """How large the signal is, mV: from lowest to highest within 0.12 s of R, mean over leads.

    Without R the 2nd to the 98th percentile, so that a spike or a mark at an edge is no gain.
    """
    near = np.abs(np.arange(given.x.shape[2]) - given.r[:, None]) <= QRS * given.fs
    own = (given.valid[:, 0] & near).any(axis=1) & (given.r >= 0)
    where = np.where(own[:, None], near, True)[:, None] & given.valid
    tail = np.where(own, 0.0, 0.02)[:, None]
    return (quantile(given.x, where, 1 - tail) - quantile(given.x, where, tail)).mean(axis=1)


def flat_runs(given: Seen) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Longest run of samples at a lead's largest or smallest value (example,), and where it ends; 0 for flat leads."""
    time = np.arange(given.x.shape[2])
    top, bottom = quantile(given.x, given.valid, 1.0), quantile(given.x, given.valid, 0.0)
    near = 1e-4 * (top - bottom)
    longest, at = np.zeros(len(given.x), np.int64), np.zeros(len(given.x), np.int64)
    for extreme in (top, bottom):
        hit = (np.abs(given.x - extreme[..., None]) <= near[..., None]) & given.valid & (near > 0)[..., None]
        run = np.where(hit, time - np.maximum.accumulate(np.where(hit, -1, time), axis=2), 0).max(axis=1)
        end = run.argmax(axis=1)
        more = run.max(axis=1) > longest
        longest, at = np.where(more, run.max(axis=1), longest), np.where(more, end, at)
    return longest, at


clip = in_chunks(lambda given: 1000.0 * flat_runs(given)[0].astype(np.float64) / given.fs)


@in_chunks
def clip_place(given: Seen) -> Floats:
    """The middle of the flat top, in samples."""
    run, end = flat_runs(given)
    return end - (run - 1) / 2


def signal_span(given: Seen) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First sample of signal, and the one after the last: what the table says, less zeros at the ends of all leads."""
    lives = (given.x != 0).any(axis=1) & given.valid[:, 0]
    some, length = lives.any(axis=1), given.x.shape[2]
    start = np.where(some, lives.argmax(axis=1), given.start)
    stop = np.where(some, length - lives[:, ::-1].argmax(axis=1), given.stop)
    return start, stop


@in_chunks
def padding(given: Seen) -> Floats:
    """What is not signal at either end, ms."""
    start, stop = signal_span(given)
    return 1000.0 * (given.x.shape[2] - (stop - start)) / given.fs


@in_chunks
def padding_place(given: Seen) -> Floats:
    """The sample at which the longer padding begins, or ends where it is at the start."""
    start, stop = signal_span(given)
    return np.where(start > given.x.shape[2] - stop, start, stop).astype(np.float64)


def edge_steps(given: Seen) -> Floats:
    """The step over the first, and over the last, 20 ms of each lead (example, lead, 2), mV; 0 where the signal is short.

    Two views have to agree, and the smaller counts: the jump between two samples beyond that of their neighbours (a P wave
    has none), and the mean of 20 ms against a line through the means of the two next 20 ms (the hum has none).
    """
    width = max(round(EDGE * given.fs), 2)
    out = np.zeros((*given.x.shape[:2], 2))
    long = (given.stop - given.start >= 6 * width)[:, None]
    for end in range(2):
        steps = np.arange(3 * width)
        at = (given.start[:, None] + steps) if end == 0 else (given.stop[:, None] - 1 - steps)
        part = np.take_along_axis(given.x, at.clip(0, given.x.shape[2] - 1)[:, None], axis=2)
        means = part.reshape(*part.shape[:2], 3, width).mean(axis=3)
        bend = means[..., 0] - 2 * means[..., 1] + means[..., 2]
        falls = part[..., :-1] - part[..., 1:]
        jump = falls[..., width - 1] - (falls[..., width - 2] + falls[..., width]) / 2
        agreed = np.sign(bend) * np.minimum(np.abs(bend), np.abs(jump)) * (np.sign(bend) == np.sign(jump))
        out[..., end] = np.where(long, agreed, 0.0)
    return out


edge_mark = in_chunks(lambda given: np.abs(edge_steps(given).mean(axis=1)).max(axis=1))


@in_chunks
def edge_place(given: Seen) -> Floats:
    """The middle of the 20 ms that are marked, in samples."""
    last = np.abs(edge_steps(given).mean(axis=1)).argmax(axis=1) == 1
    half = max(round(EDGE * given.fs), 2) / 2
    return np.where(last, given.stop - half, given.start + half)


def wander_hz(given: Seen) -> Floats:
    """Of the slow wave that is looked for (example,): 0.33 Hz, or one period in what is shorter."""
    return np.maximum(0.33, given.fs / np.maximum(given.stop - given.start, 1))


@in_chunks
def wander(given: Seen) -> Floats:
    """Amplitude of a slow sine, mV, fitted to medians of 0.2 s, which QRS hardly moves; NaN for signals below 0.4 s."""
    width, length = round(0.2 * given.fs), given.x.shape[2]
    if length < 2 * width:
        return np.full(len(given.x), np.nan)
    begin = np.arange(0, length - width + 1, max(width // 2, 1))
    middle = np.median(sliding_window_view(given.x, width, axis=2)[:, :, begin], axis=3)
    known = ((begin >= given.start[:, None]) & (begin + width <= given.stop[:, None])).astype(np.float64)
    phase = 2 * np.pi * wander_hz(given)[:, None] * (begin + (width - 1) / 2) / given.fs
    basis = np.stack([np.ones_like(phase), np.cos(phase), np.sin(phase)], axis=1) * known[:, None]
    square = basis @ basis.swapaxes(1, 2) + 1e-9 * np.eye(3)
    fitted = np.linalg.solve(square, basis @ middle.swapaxes(1, 2))
    size = _over_leads(np.hypot(fitted[:, 1], fitted[:, 2]))
    return np.where(known.sum(axis=1) >= 3, size, np.nan)


@in_chunks
def muscle(given: Seen) -> Floats:
    """Standard deviation of noise from sample to sample, mV, less the hum: from the median of second differences, which
    waves hardly move.
    """
    x = given.x
    for hz in (50.0, 60.0):
        waves, stretch = mains_waves(given, hz)
        x = x - (np.nan_to_num(waves)[..., stretch] * np.exp(2j * np.pi * hz * np.arange(x.shape[2]) / given.fs)).real
    inner = given.valid[..., 2:] & given.valid[..., :-2]
    return _over_leads(quantile(np.abs(np.diff(x, 2, axis=2)), inner, 0.5) / (0.6745 * np.sqrt(6)))
