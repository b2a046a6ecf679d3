"""Where the points of P, QRS and T lie, from the sum of a few weighted measures; and whether there is a P wave at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.wave_measures import RATE, Banks, Look, banks, measure_names, measures, middle_of

Floats = NDArray[np.float64]
# each is looked for from the R peak, the QRS onset ("P peak") or its wave's peak; in this order
LOOKS = {
    "QRS on": Look(-40, 11, 1, (0, 1, 2)),
    "QRS off": Look(-8, 56, 1, (0, 1, 2)),
    "T peak": Look(20, 150, 2, (1, 2, 3)),
    "T on": Look(-60, 1, 2, (1, 2, 3)),
    "T off": Look(0, 60, 1, (1, 2, 3)),
    "P peak": Look(-84, -3, 1, (1, 2, 3)),
    "P on": Look(-32, 1, 1, (0, 1, 2)),
    "P off": Look(0, 33, 1, (0, 1, 2)),
}
_OF_BEAT = (
    "slope over that of QRS",
    "bend over the largest in TP",
    "likeness to neighbours",
    "spread of PR among neighbours",
    "irregular RR",
    "RR",
)
# whether atria beat is seldom a matter of one beat alone
PRESENCE = (*_OF_BEAT, *(f"{name}, mean of the rhythm" for name in _OF_BEAT))
_TOLD = 2  # of these a lead tells by itself
_P_WINDOW = np.arange(-60, -5)  # samples of RATE from the QRS onset
_NEAR = 4  # beats on each side that are neighbours
_RHYTHM = 8  # beats on each side that are of one rhythm
NEIGHBOURS = _NEAR + _RHYTHM  # beats on each side that have a say in whether there is a P wave
_AT_ONCE = 3000  # beats times leads
_FAR = 10**9


@dataclass(frozen=True)
class Beats:
    """Beats of one or more stretches that lie behind each other in time, in samples of RATE.

    r: int64 (beat,), in order; first, stop: int64 (beat,), the stretch of signal that the beat lies in; series: int64
    (beat,), beats of one series, in order, are neighbours of each other; rr: s to the beat before, NaN where unknown.
    """

    r: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    series: NDArray[np.int64]
    rr: Floats

    def of_next(self, values: NDArray[np.generic], fill: float) -> Floats:
        """Values (beat, ...) of the next beat in the stretch."""
        out = np.full(values.shape, fill, np.float64)
        joined = self.first[1:] == self.first[:-1]
        out[:-1][joined] = values[1:][joined]
        return out

    def of_last(self, values: NDArray[np.generic], fill: float) -> Floats:
        """Values (beat, ...) of the beat before in the stretch."""
        out = np.full(values.shape, fill, np.float64)
        joined = self.first[1:] == self.first[:-1]
        out[1:][joined] = values[:-1][joined]
        return out


@dataclass(frozen=True)
class Weights:
    """points: weight of each measure by point; presence: (mean, scale, weight) of each of PRESENCE; level: what is added to
    their sum with one, two, and more leads."""

    points: dict[str, NDArray[np.float32]]
    presence: Floats
    level: Floats


@cache
def fitted() -> Weights:
    """The weights in wave_weights.json (benchmarks/ludb_fit.py): LUDB's odd records, for P or none PTB-XL and MIT-BIH too."""
    table = json.loads((files("ecglens.analysis") / "wave_weights.json").read_text(encoding="utf-8"))
    points = {}
    for name, look in LOOKS.items():
        points[name] = np.array([table["points"][name][each] for each in measure_names(look)], np.float32)
    return Weights(points, np.array([table["presence"][name] for name in PRESENCE]), np.array(table["level"]))


def allowed_places(name: str, found: dict[str, Floats], beats: Beats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(anchors (beat, lead), places that may be (beat, lead, place)) of a point, from those found before it."""
    r = beats.r[:, None].astype(np.float64)
    low: Floats = np.broadcast_to(beats.first[:, None], found["lead"].shape).astype(np.float64)
    high: Floats = np.broadcast_to(beats.stop[:, None], found["lead"].shape).astype(np.float64)
    anchor: Floats = np.broadcast_to(r, low.shape)
    if name == "QRS on":
        low = np.fmax(low, beats.of_last(r, -_FAR) + 25)
    elif name == "QRS off":
        high = np.fmin(high, beats.of_next(r, _FAR) - 10)
    elif name[0] == "T":
        # half a T wave fits between its peak and an early beat
        high = np.fmin(high, beats.of_next(found["QRS on"], _FAR) - (15 if name == "T peak" else 0))
        low = np.fmax(low, found["QRS off"] + (5 if name == "T peak" else 0))
        anchor = anchor if name == "T peak" else found["T peak"]
    else:
        high = np.fmin(high, found["QRS on"] + 1)
        before = beats.of_last(found["T off"], -_FAR) - 10 if name == "P peak" else beats.of_last(found["T peak"], -_FAR)
        low = np.fmax(low, before)
        middle = np.broadcast_to(_median(found["QRS on"]), low.shape)
        anchor = np.where(np.isnan(middle), r, middle) if name == "P peak" else found["P peak"]
    there = ~np.isnan(anchor)
    whole = np.rint(np.where(there, anchor, 0)).astype(np.int64)
    at = whole[:, :, None] + LOOKS[name].offsets
    return whole, (at >= low[:, :, None]) & (at < high[:, :, None]) & there[:, :, None]


def _median(values: Floats) -> Floats:
    """Median over leads, (beat, 1); NaN where there is none."""
    out = np.full((len(values), 1), np.nan)
    some = ~np.isnan(values).all(axis=1)
    out[some] = np.nanmedian(values[some], axis=1, keepdims=True)
    return out


def find_point(name: str, weights: NDArray[np.float32], bank: Banks, found: dict[str, Floats], beats: Beats) -> Floats:
    """Places in samples of RATE, (beat, lead), NaN where there is none."""
    anchor, allowed = allowed_places(name, found, beats)
    look = LOOKS[name]
    place = np.empty(anchor.shape)
    step = max(_AT_ONCE // max(anchor.shape[1], 1), 1)
    for start in range(0, len(anchor), step):
        part = slice(start, start + step)
        score = measures(bank, anchor[part], look, allowed[part]) @ weights
        place[part] = middle_of(score, allowed[part], look)
    return anchor + place


def find_points(x: NDArray[np.float32], beats: Beats, weights: Weights) -> tuple[dict[str, Floats], NDArray[np.float32]]:
    """(points by name, (beat, lead) each in samples of RATE; what `p_measures` gives) of a signal (lead, time)."""
    bank = banks(x)
    found: dict[str, Floats] = {"lead": np.zeros((len(beats.r), len(x)))}
    for name in LOOKS:
        found[name] = find_point(name, weights.points[name], bank, found, beats)
    return found, p_measures(x, bank, found, beats)


def p_measures(x: NDArray[np.float32], bank: Banks, found: dict[str, Floats], beats: Beats) -> NDArray[np.float32]:
    """Float32 (beat, lead, _TOLD + window): how a P stands out, and the signal before QRS without level and slope."""
    end = x.shape[1] - 1
    there = ~np.isnan(found["P peak"])
    peak = np.rint(np.where(there, found["P peak"], 0)).astype(np.int64).clip(0, end)
    middle = _median(found["QRS on"])
    onset = np.rint(np.where(np.isnan(middle), 0, middle)).astype(np.int64)
    at = np.clip(onset[:, :, None] + _P_WINDOW, 0, end)
    rows = np.arange(len(x))[:, None]
    window = x[rows, at]
    line = np.linspace(-1, 1, len(_P_WINDOW), dtype=np.float32)
    window = window - window.mean(axis=2, keepdims=True)
    window = window - (window @ line / (line @ line))[..., None] * line
    near = np.clip(peak[:, :, None] + np.arange(-4, 5), 0, end)
    around = np.clip(peak[:, :, None] + np.arange(-12, 13), 0, end)
    qrs = np.clip(onset[:, :, None] + np.arange(30), 0, end)
    bend, slope = bank.bend[3], bank.slope[1]
    # fibrillation and flutter go on between T and P
    earlier = peak[:, :, None] + np.arange(-150, -25)
    is_tp = earlier >= beats.of_last(np.nan_to_num(found["T off"]), _FAR)[:, :, None] + 5
    is_tp &= (earlier >= beats.first[:, None, None]) & (is_tp.sum(axis=2, keepdims=True) >= 15)
    highest = np.where(is_tp, bend[rows, np.clip(earlier, 0, end)], -np.inf).max(axis=2)
    told = [
        slope[rows, around].max(2) - slope[rows, qrs].max(2),
        np.where(np.isfinite(highest), bend[rows, near].max(2) - highest, np.nan),
    ]
    out = np.concatenate([np.stack(told, axis=2), window], axis=2).astype(np.float32)
    out[~there] = np.nan
    return out


def presence_measures(told: NDArray[np.float32], found: dict[str, Floats], usable: NDArray[np.bool_], beats: Beats) -> Floats:
    """What speaks for a P wave, (beat, PRESENCE), as means over the usable leads; NaN where it is not known.

    Of the neighbours the more like half counts, lest an extrasystole among them speaks against a P wave. beats: by series.
    """
    n = len(beats.r)
    seen = usable & ~np.isnan(told[..., 0])
    window = np.where(seen[..., None], told[..., _TOLD:], 0)
    size = np.sqrt((window**2).sum(2)) + 1e-6
    pr = np.where(seen, _median(found["QRS on"]) - found["P peak"], np.nan) / RATE
    usual = _median(pr)[:, 0]
    moves = [move for move in range(-_NEAR, _NEAR + 1) if move]
    likeness, other_pr, other_rr = (np.full((n, len(moves)), np.nan) for _ in range(3))
    rr = np.where(np.isfinite(beats.rr) & (beats.rr > 0), beats.rr, np.nan)
    log_rr = np.log(rr)
    for column, move in enumerate(moves):
        here = np.arange(max(-move, 0), n - max(move, 0))
        here = here[beats.series[here] == beats.series[here + move]]
        product = (window[here] * window[here + move]).sum(2) / (size[here] * size[here + move])
        likeness[here, column] = _mean(np.where(seen[here] & seen[here + move], product, np.nan))
        other_pr[here, column] = np.abs(usual[here + move] - usual[here])
        other_rr[here, column] = log_rr[here + move]
    around = np.column_stack([log_rr, other_rr])
    apart = np.abs(around[:, :, None] - around[:, None, :])[:, *np.triu_indices(around.shape[1], 1)]
    columns = [
        *(_mean(np.where(seen, told[..., k], np.nan)) for k in range(_TOLD)),
        np.minimum(-_quantile(-likeness, 0.3), 0.75),  # more than that speaks for no more
        np.log(_quantile(other_pr, 0.3) + 0.01),
        np.log(_quantile(apart, 0.3) + 0.03),  # a pacemaker's regularity speaks for no P
        np.log(np.maximum(rr, 0.2)),  # NaN where it is not known
    ]
    mine = np.stack(columns, axis=1)
    return np.concatenate([mine, _mean_around(mine, beats.series)], axis=1)


def _mean_around(values: Floats, series: NDArray[np.int64]) -> Floats:
    """Mean of values (beat, ...) over a beat and up to _RHYTHM of its series on either side, without NaN; NaN where all is."""
    known = ~np.isnan(values)
    running = [np.cumsum(np.pad(each, ((1, 0), (0, 0))), axis=0) for each in (np.where(known, values, 0), known)]
    n = np.arange(len(values))
    begins = np.append(True, series[1:] != series[:-1])[: len(values)]
    edges = np.append(np.flatnonzero(begins), len(values))
    piece = np.cumsum(begins) - 1
    low, high = np.maximum(n - _RHYTHM, edges[piece]), np.minimum(n + _RHYTHM + 1, edges[piece + 1])
    total, count = (each[high] - each[low] for each in running)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _quantile(values: Floats, q: float) -> Floats:
    """Quantile along the second axis of what is no NaN; NaN where all is."""
    ranked = np.sort(values, axis=1)  # NaN goes last
    known = (~np.isnan(values)).sum(axis=1)
    at = np.floor(q * np.maximum(known - 1, 0)).astype(np.int64)
    return np.take_along_axis(ranked, at[:, None], 1)[:, 0]


def _mean(values: NDArray[np.floating]) -> Floats:
    """Mean along the second axis of what is no NaN; NaN where all is."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def presence_score(found: Floats, weights: Weights, n_leads: NDArray[np.int64]) -> Floats:
    """Log odds of a P wave (beat,) from `presence_measures` of so many leads (beat,); unknown ones say nothing.

    Three to eleven leads count as twelve, on which that level was fitted. -inf where nothing is known.
    """
    mean, scale, weight = weights.presence.T
    odds = np.where(np.isnan(found), 0, (found - mean) / scale) @ weight + weights.level[np.clip(n_leads, 1, 3) - 1]
    return np.where(np.isnan(found).all(axis=1), -np.inf, odds)
