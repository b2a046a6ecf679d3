"""Where P, QRS and T begin and end, beat by beat and lead by lead; safe on any signal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.r_peaks import find_r
from ecglens.analysis.wave_chain import Beats, Floats, Weights, find_points, fitted, presence_measures, presence_score
from ecglens.analysis.wave_measures import RATE
from ecglens.errors import EcglensError
from ecglens.recordings.resampling import ratio_of

IN_LEAD, CONSENSUS, WINDOW = 0, 1, 2
QUALITY = ("delineated in this lead", "consensus of the other leads", "window around R")
WAVES = ("P", "QRS", "T")
# s from R where nothing can be seen: medians of the experts' QRS and T in LUDB's odd records
WINDOWS = {"QRS": (-0.04, 0.054), "T": (0.166, 0.348)}
_APART = {"P": 0.06, "QRS": 0.06, "T": 0.12}  # s from the median of the leads: further is a mistake
_PAD = 80  # samples of RATE around each stretch
_AT_ONCE = 1_500_000  # samples of RATE times leads
_LEAST_MV = 0.02  # mV around R: less is no QRS
_ONE_RHYTHM_S = 20.0  # beats further apart say nothing of each other
_LEAST_T = 30  # samples of RATE from the end of QRS: a T wave needs that much signal


@dataclass(frozen=True)
class Delineation:
    """Boundaries in samples of the array: int64 (beat, lead), -1 where there is no such wave.

    r, row: int64 (beat,), R peak, and the number of the stretch of signal it lies in (0 in a recording); onset, offset: by
    wave ('P', 'QRS', 'T'), first and last sample; quality: int8 (beat, lead), place in QUALITY, of the worst of the waves.
    The waves of a lead are in order and do not overlap, across beats as well.
    """

    fs: float
    leads: tuple[str, ...]
    r: NDArray[np.int64]
    row: NDArray[np.int64]
    onset: dict[str, NDArray[np.int64]]
    offset: dict[str, NDArray[np.int64]]
    quality: NDArray[np.int8]


@dataclass(frozen=True)
class Stretches:
    """Beats of one or many stretches of signal, in samples of the arrays.

    row, r: int64 (beat,), stretch and R peak, by row and in order; first, stop: int64 (stretch,), what is signal; series:
    int64 (beat,), beats of one series are of one heart and `when` (beat,), s, orders them; rr: s to the beat before, NaN where
    unknown.
    """

    row: NDArray[np.int64]
    r: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    series: NDArray[np.int64]
    when: Floats
    rr: Floats


def delineate(
    signal: NDArray[np.floating], fs: float, leads: tuple[str, ...], r: NDArray[np.integer] | None = None
) -> Delineation:
    """Waves of a signal (lead, time) in mV at 100 to 1000 Hz; r: R peaks in samples, in order, else found in all leads.

    Each boundary is where a weighted sum of a few slopes and bends, of this lead and of all leads, says (wave_weights.json,
    fitted on LUDB's odd records; whether there is a P wave on PTB-XL and MIT-BIH too). A beat has a P wave in all leads or in
    none. Not NeuroKit2's delineation, which is further from LUDB's experts, claims P in fibrillation and takes 3 to 25 ms a
    beat (docs/results/waves.md). NaN are bridged by a line. A lead without a QRS, or far from the others, gets their median;
    where no lead shows any, QRS and T get a window around R and there is no P: see `quality`. Of any length; some 150 bytes a
    sample at 250 Hz and lead. Raises EcglensError for another shape or rate, and for R peaks out of order or outside the
    signal; never for what the signal holds.
    """
    signal = np.asarray(signal)
    if signal.ndim != 2 or len(signal) != len(leads) or not leads:
        raise EcglensError(f"a signal of shape {signal.shape} and {len(leads)} leads; expected (lead, time) and a name each")
    _expect_rate(fs)
    n = signal.shape[1]
    if r is None:
        x, _ = at_rate(signal[None], fs)
        r = np.unique(np.rint(find_r(x[0]) * fs / RATE).astype(np.int64).clip(0, max(n - 1, 0)))
    peaks = np.asarray(r).astype(np.int64)
    if peaks.ndim != 1 or (np.diff(peaks) <= 0).any() or (peaks < 0).any() or (peaks >= n).any():
        raise EcglensError(f"R peaks out of order or outside a signal of {n} samples; expected rising samples of it")
    zeros = np.zeros(len(peaks), np.int64)
    rr = np.diff(peaks, prepend=np.nan) / fs
    one = Stretches(zeros, peaks, np.zeros(1, np.int64), np.array([n]), zeros, peaks / fs, rr)
    return delineate_stretches(signal[None], fs, leads, one)


def delineate_stretches(
    signals: NDArray[np.floating], fs: float, leads: tuple[str, ...], beats: Stretches, weights: Weights | None = None
) -> Delineation:
    """`delineate` of many stretches at once: signals (stretch, lead, time) in mV; weights: the fitted ones unless given."""
    weights = fitted() if weights is None else weights
    n_beats, n_leads = len(beats.r), len(leads)
    if not n_beats:
        none = {wave: np.empty((0, n_leads), np.int64) for wave in WAVES}
        return Delineation(float(fs), leads, beats.r, beats.row, none, dict(none), np.empty((0, n_leads), np.int8))
    rows = np.unique(beats.row)
    step = max(int(_AT_ONCE // (n_leads * (signals.shape[2] * RATE / fs + 2 * _PAD))), 1)
    parts = [_chunk(signals, fs, beats, rows[start : start + step], weights) for start in range(0, len(rows), step)]
    found = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    told, usable = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
    order = np.lexsort((beats.when, beats.series))
    zeros, when = np.zeros_like(beats.series), beats.when[order]
    apart = np.append(False, (np.diff(beats.series[order]) != 0) | (np.diff(when) > _ONE_RHYTHM_S))
    ranked = Beats(zeros, zeros, zeros, np.cumsum(apart), beats.rr[order])
    evidence = presence_measures(told[order], {name: each[order] for name, each in found.items()}, usable[order], ranked)
    has_p = np.empty(n_beats, bool)
    has_p[order] = presence_score(evidence, weights, usable[order].sum(axis=1)) > 0
    onset, offset, quality = _settled(found, usable, has_p, beats, fs)
    put_in_order(onset, offset, beats.row)
    return Delineation(float(fs), leads, beats.r, beats.row, onset, offset, quality)


def _expect_rate(fs: float) -> None:
    if not 100 <= fs <= 1000:
        raise EcglensError(f"a signal at {fs} Hz; expected 100 to 1000 Hz, resample it first")


def at_rate(signals: NDArray[np.floating], fs: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(signals (stretch, lead, time) at RATE without NaN, True where there was none); EcglensError for an odd rate."""
    from scipy.signal import resample_poly

    _expect_rate(fs)
    n = signals.shape[2]
    ratio = ratio_of(RATE, fs, max(n, 1), "the signal")
    signals = np.asarray(signals, np.float32)
    lost = ~(np.abs(signals) < 1e6)  # NaN, infinite, and what is no voltage of a heart
    if lost.any():
        signals = signals.copy()
        for k, lead in np.argwhere(lost.any(axis=2)):
            kept = np.flatnonzero(~lost[k, lead])
            signals[k, lead] = np.interp(np.arange(n), kept, signals[k, lead, kept]) if len(kept) else 0
    if ratio == 1 or not n:
        return signals, lost
    out = resample_poly(signals, ratio.numerator, ratio.denominator, axis=2, padtype="line" if n > 1 else "constant")
    nearest = np.minimum((np.arange(out.shape[2]) * fs / RATE).round().astype(np.int64), n - 1)
    return out.astype(np.float32), lost[:, :, nearest]


def _chunk(
    signals: NDArray[np.floating], fs: float, beats: Stretches, rows: NDArray[np.int64], weights: Weights
) -> tuple[dict[str, Floats], NDArray[np.float32], NDArray[np.bool_]]:
    """(points, what tells P, usable leads) of the beats of some stretches; points in samples of RATE from the "
    "stretch's start."""
    x, lost = at_rate(signals[rows], fs)
    n = x.shape[2]
    width = n + 2 * _PAD
    pad = ((0, 0), (0, 0), (_PAD, _PAD))
    x = np.pad(x, pad, mode="edge").transpose(1, 0, 2).reshape(x.shape[1], -1)
    lost = np.pad(lost, pad, mode="edge").transpose(1, 0, 2).reshape(lost.shape[1], -1)
    mine = np.isin(beats.row, rows)
    base = np.searchsorted(rows, beats.row[mine]) * width + _PAD
    scale = RATE / fs
    r = base + np.rint(beats.r[mine] * scale).astype(np.int64).clip(0, n - 1)
    row = beats.row[mine]
    first = base + np.ceil(beats.first[row] * scale).astype(np.int64)
    stop = base + np.minimum(np.floor((beats.stop[row] - 1) * scale).astype(np.int64) + 1, n)
    here = Beats(r, first, stop, beats.series[mine], beats.rr[mine])
    found, told = find_points(x, here, weights)
    around = r[:, None] + np.arange(-25, 26)
    inside = (around >= first[:, None]) & (around < stop[:, None])
    around = np.clip(around, 0, x.shape[1] - 1)
    seen = x[:, around]
    height = np.where(inside, seen, -np.inf).max(axis=2) - np.where(inside, seen, np.inf).min(axis=2)
    gone = lost[:, around].mean(axis=2)
    usable = ((height >= _LEAST_MV) & (gone < 0.5)).T
    found["T peak"] = np.where(stop[:, None] - found["QRS off"] >= _LEAST_T, found["T peak"], np.nan)
    return {name: each - base[:, None] for name, each in found.items() if name != "lead"}, told, usable


def _settled(
    found: dict[str, Floats], usable: NDArray[np.bool_], has_p: NDArray[np.bool_], beats: Stretches, fs: float
) -> tuple[dict[str, NDArray[np.int64]], dict[str, NDArray[np.int64]], NDArray[np.int8]]:
    """Onsets and offsets in samples, not yet in order, and the quality: mistakes and unusable leads get the others' median."""
    onset, offset = {}, {}
    quality = np.full(usable.shape, IN_LEAD, np.int8)
    low, high = (each[beats.row][:, None] for each in (beats.first, beats.stop - 1))
    for wave in WAVES:
        edges = np.stack([found[f"{wave} on"], found[f"{wave} off"]], axis=2)
        if wave != "QRS":
            edges[np.isnan(found[f"{wave} peak"])] = np.nan
        good = usable & ~np.isnan(edges).any(axis=2)
        middle = np.full((len(edges), 1, 2), np.nan)
        some: NDArray[np.bool_] = np.asarray(good.any(axis=1))
        middle[some] = np.nanmedian(np.where(good[some][..., None], edges[some], np.nan), axis=1, keepdims=True)
        far = (np.abs(edges - middle) > _APART[wave] * RATE).any(axis=2) & (good.sum(axis=1, keepdims=True) >= 3)
        taken = (~good | far) & some[:, None]
        edges = np.where(taken[..., None], middle, edges) * fs / RATE
        there = np.repeat(some[:, None], usable.shape[1], axis=1)
        if wave == "P":
            there &= has_p[:, None]
        else:
            windows = beats.r[:, None, None] + np.array(WINDOWS[wave]) * fs
            hidden = ~there
            if wave == "T":  # one that the signal's end cuts off is none
                hidden &= ~usable.any(axis=1, keepdims=True)
            edges = np.where(hidden[..., None], windows, edges)
            there |= hidden
            quality[hidden] = WINDOW
        quality = np.where(taken & there, np.maximum(quality, CONSENSUS), quality).astype(np.int8)
        whole = np.rint(np.where(there[..., None], edges, -1)).astype(np.int64)
        # a wave that lies wholly outside the signal is none
        there &= (whole[..., 1] >= low) & (whole[..., 0] <= high)
        onset[wave], offset[wave] = (np.where(there, np.clip(whole[..., k], low, high), -1) for k in (0, 1))
    return onset, offset, quality


def put_in_order(onset: dict[str, NDArray[np.int64]], offset: dict[str, NDArray[np.int64]], row: NDArray[np.int64]) -> None:
    """Cut waves, in place, so that those of a lead follow each other; QRS goes before P and T, and T ends where P begins."""
    if not len(row):
        return
    joined = (row[1:] == row[:-1])[:, None]
    on, off = onset["QRS"], offset["QRS"]
    clash = joined & (off[:-1] >= 0) & (on[1:] >= 0) & (off[:-1] >= on[1:])
    middle = (on[:-1] + off[1:]) // 2
    off[:-1] = np.where(clash, np.maximum(np.minimum(off[:-1], middle), on[:-1]), off[:-1])
    on[1:] = np.where(clash, np.maximum(on[1:], off[:-1] + 1), on[1:])
    np.maximum(off, on, out=off)
    p_on, p_off, t_on, t_off = onset["P"], offset["P"], onset["T"], offset["T"]
    p_off[:] = np.where(p_on >= 0, np.minimum(p_off, on - 1), p_off)
    t_on[:] = np.where(t_on >= 0, np.maximum(t_on, off + 1), t_on)
    ends = np.where(joined, on[1:] - 1, np.iinfo(np.int64).max)
    t_off[:-1] = np.where(t_on[:-1] >= 0, np.minimum(t_off[:-1], ends), t_off[:-1])
    begins = np.where(joined, off[:-1] + 1, 0)
    p_on[1:] = np.where(p_on[1:] >= 0, np.maximum(p_on[1:], begins), p_on[1:])
    # T on P: each gives way by half, P below
    clash = joined & (p_on[1:] >= 0) & (t_on[:-1] >= 0) & (t_off[:-1] >= p_on[1:])
    middle = np.clip((t_off[:-1] + p_on[1:]) // 2, t_on[:-1], np.maximum(p_off[1:] - 1, t_on[:-1]))
    t_off[:-1] = np.where(clash, middle, t_off[:-1])
    # R peaks that no heart has, samples apart: what is left over goes
    order = [(onset[wave], offset[wave]) for wave in WAVES]
    far = 2 * max(int(each.max(initial=0)) for _, each in order) + 2
    shift = (far * row)[:, None]
    ends = np.stack([np.where(first >= 0, last + shift, -1) for first, last in order], axis=1)
    reached = np.maximum.accumulate(ends.reshape(-1, ends.shape[2]), axis=0)
    before = np.concatenate([np.full((1, ends.shape[2]), -1), reached[:-1]]).reshape(ends.shape)
    for k, (first, last) in enumerate(order):
        first[:] = np.where(first >= 0, np.maximum(first, before[:, k] - shift + 1), first)
        gone = last < first
        first[gone] = last[gone] = -1
