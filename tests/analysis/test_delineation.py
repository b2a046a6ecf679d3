"""Delineation: against LUDB's experts, against slow and simple copies of its parts, and on signals that nobody should send."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import resample_poly

from ecglens.analysis import delineation
from ecglens.analysis.delineation import (
    CONSENSUS,
    IN_LEAD,
    WAVES,
    WINDOW,
    Delineation,
    Stretches,
    delineate,
    delineate_stretches,
    put_in_order,
)
from ecglens.analysis.r_peaks import find_r
from ecglens.analysis.wave_chain import LOOKS, PRESENCE, Beats, find_points, fitted, presence_measures, presence_score
from ecglens.analysis.wave_measures import RATE, SCALES, Look, banks, measure_names, measures, middle_of
from ecglens.errors import EcglensError
from ecglens.recordings.databases import database, read_records
from ecglens.recordings.ludb_reader import read_ludb
from ecglens.recordings.recording import Recording

# (s from R, width in s, mV): P, Q, R, S, T
_BEAT = ((-0.16, 0.02, 0.15), (-0.025, 0.008, -0.1), (0.0, 0.011, 1.0), (0.028, 0.009, -0.2), (0.27, 0.045, 0.3))


def _made(
    fs: float = 250.0, seconds: float = 10.0, n_leads: int = 3, *, with_p: bool = True, rr: float = 0.8, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A regular rhythm with little noise, and its R peaks."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * fs)) / fs
    at = np.arange(0.4, seconds - 0.5, rr)
    if not with_p:
        at = at + rng.uniform(-0.15, 0.15, len(at))
    one = np.zeros(len(time))
    for r in at:
        for where, width, height in _BEAT[0 if with_p else 1 :]:
            one += height * np.exp(-(((time - r - where) / width) ** 2) / 2)
    sizes = np.array([1.0, 0.6, -0.8, 0.5, 0.9, 0.7, -0.4, 1.2, 1.1, 1.0, 0.9, 0.8])[:n_leads, None]
    signal = sizes * one + rng.normal(0, 0.004, (n_leads, len(time)))
    return signal.astype(np.float32), np.round(at * fs).astype(np.int64)


def _names(signal: NDArray[Any]) -> tuple[str, ...]:
    return tuple(f"lead {k}" for k in range(len(signal)))


def _expect_sound(found: Delineation, n: int) -> None:
    """Every wave inside the signal, whole or absent, and waves of a lead one after another."""
    shape = (len(found.r), len(found.leads))
    assert found.quality.shape == shape
    for column in range(shape[1]):
        reached = -1
        for beat in range(shape[0]):
            for wave in WAVES:
                on, off = int(found.onset[wave][beat, column]), int(found.offset[wave][beat, column])
                assert (on == -1) == (off == -1)
                if on >= 0:
                    assert reached < on <= off < n
                    reached = off


@pytest.mark.parametrize("fs", [100.0, 128.0, 250.0, 360.0, 500.0, 1000.0, 333.33])
def test_made_beats_are_found_where_they_were_put_at_any_rate(fs: float) -> None:
    signal, r = _made(fs)
    for given_r in (r, None):
        found = delineate(signal, fs, _names(signal), given_r)
        assert len(found.r) == len(r)
        assert np.abs(found.r - r).max() <= 0.02 * fs + 1
        inner = slice(1, -1)
        from_r = {
            wave: ((found.onset[wave] - r[:, None])[inner] / fs, (found.offset[wave] - r[:, None])[inner] / fs)
            for wave in WAVES
        }
        # two to three widths from the middle of each
        for wave, (first, last) in {"P": (-0.21, -0.11), "QRS": (-0.045, 0.05), "T": (0.16, 0.37)}.items():
            assert np.median(from_r[wave][0]) == pytest.approx(first, abs=0.03), wave
            assert np.median(from_r[wave][1]) == pytest.approx(last, abs=0.03), wave
        assert (found.quality == IN_LEAD).mean() > 0.9


def test_p_is_claimed_where_there_is_one_and_not_in_an_irregular_rhythm_without() -> None:
    signal, r = _made(n_leads=12, seconds=20)
    assert (delineate(signal, RATE, _names(signal), r).onset["P"] >= 0).mean() > 0.95
    signal, r = _made(n_leads=12, seconds=20, with_p=False)
    assert (delineate(signal, RATE, _names(signal), r).onset["P"] >= 0).mean() < 0.05


def test_a_flat_and_an_empty_lead_get_the_others_median_and_say_so() -> None:
    signal, r = _made(n_leads=5)
    signal[1] = 0.3
    signal[4] = np.nan
    found = delineate(signal, RATE, _names(signal), r)
    _expect_sound(found, signal.shape[1])
    assert (found.quality[:, [1, 4]] == CONSENSUS).all()
    good = [0, 2, 3]
    assert (found.quality[:, good] == IN_LEAD).mean() > 0.9
    for wave in WAVES:
        there = (found.onset[wave][1:-1, good] >= 0).all(axis=1)
        wanted = np.median(found.onset[wave][1:-1, good], axis=1)
        assert np.abs(found.onset[wave][1:-1, 1] - wanted)[there].max() <= 5


def test_where_no_lead_shows_anything_there_are_windows_around_r() -> None:
    found = delineate(np.zeros((2, 1000), np.float32), 250.0, ("a", "b"), np.array([300, 500]))
    assert (found.quality == WINDOW).all()
    assert (found.onset["P"] == -1).all()
    assert found.onset["QRS"][0].tolist() == [290, 290]
    assert found.offset["QRS"][0].tolist() == [314, 314]
    assert (found.onset["T"] > found.offset["QRS"]).all()


def test_a_lost_stretch_is_no_beat_of_its_own() -> None:
    signal, r = _made(seconds=12)
    whole = delineate(signal, RATE, _names(signal), r)
    lost = (r[5] - 60, r[5] + 60)
    signal[:, slice(*lost)] = np.nan
    found = delineate(signal, RATE, _names(signal), r)
    assert (found.quality[5] == WINDOW).all()
    far = [k for k in range(len(r)) if abs(k - 5) > 1]
    assert np.array_equal(found.onset["QRS"][far], whole.onset["QRS"][far])


_HOPELESS: dict[str, NDArray[np.float32]] = {
    "flat": np.zeros((3, 2500), np.float32),
    "all NaN": np.full((3, 2500), np.nan, np.float32),
    "infinite": np.full((2, 900), np.inf, np.float32),
    "huge": np.full((2, 900), 3e38, np.float32) * np.array([[1], [-1]], np.float32),
    "no samples": np.zeros((2, 0), np.float32),
    "one sample": np.ones((2, 1), np.float32),
    "50 samples": np.random.default_rng(0).normal(size=(12, 50)).astype(np.float32),
    "clipped": np.clip(np.random.default_rng(1).normal(size=(2, 3000)) * 9, -1, 1).astype(np.float32),
    "a step": np.repeat(np.array([[0, 5.0]], np.float32), 700, axis=1),
    "one value among NaN": np.where(np.arange(800) == 400, 1, np.nan).astype(np.float32)[None],
    "counts": np.random.default_rng(2).normal(0, 1e4, (2, 2000)).astype(np.float32),
}


@pytest.mark.parametrize("name", _HOPELESS)
def test_nothing_is_raised_on_what_is_no_ecg(name: str) -> None:
    signal = _HOPELESS[name]
    n = signal.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for r in (None, np.arange(n)[n // 3 :: 170], np.arange(0, n, 7), np.array([], int)):
            for fs in (100, 360.0, 500):
                _expect_sound(delineate(signal, fs, _names(signal), r), n)


@given(st.data())
def test_waves_are_in_order_for_any_signal_and_any_r(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 900))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    signal = rng.normal(0, 1, (data.draw(st.integers(1, 4)), n)).astype(np.float32)
    if data.draw(st.booleans()):
        signal = np.cumsum(signal, axis=1) / 10
    signal[rng.random(signal.shape) < data.draw(st.sampled_from([0.0, 0.1, 0.9]))] = np.nan
    r = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=12))), int)
    _expect_sound(delineate(signal, data.draw(st.sampled_from([100, 250, 977.3])), _names(signal), r), n)


def test_a_p_on_a_t_shares_their_overlap() -> None:
    onset = {"P": np.array([[-1], [150]]), "QRS": np.array([[20], [200]]), "T": np.array([[100], [280]])}
    offset = {"P": np.array([[-1], [190]]), "QRS": np.array([[40], [230]]), "T": np.array([[160], [300]])}
    put_in_order(onset, offset, np.zeros(2, np.int64))
    assert (offset["T"][0, 0], onset["P"][1, 0]) == (155, 156)


def test_what_does_not_fit_is_refused() -> None:
    signal, r = _made()
    for bad in (r[::-1], np.array([-1, 5]), np.array([5, 5]), np.array([2500]), r[None]):
        with pytest.raises(EcglensError, match="R peaks out of order or outside"):
            delineate(signal, 250.0, _names(signal), bad)
    for fs in (99, 1001, float("nan")):
        with pytest.raises(EcglensError, match="expected 100 to 1000 Hz"):
            delineate(signal, fs, _names(signal), r)
    for part, leads in ((signal[0], ("a",)), (signal, ("a",)), (signal[:0], ())):
        with pytest.raises(EcglensError, match=r"expected \(lead, time\)"):
            delineate(part, 250.0, leads, None)


def test_r_peaks_of_several_leads_are_found_when_one_is_noise() -> None:
    signal, r = _made(seconds=20)
    signal[1] += np.random.default_rng(3).normal(0, 0.2, signal.shape[1]).astype(np.float32)
    found = find_r(signal)
    assert len(found) == len(r)
    assert np.abs(found - r).max() <= 4


def test_measures_are_those_of_a_slow_copy() -> None:
    rng = np.random.default_rng(4)
    x = np.cumsum(rng.normal(0, 0.05, (2, 400)), axis=1).astype(np.float32)
    look = Look(-10, 11, 2, (0, 1, 2))
    anchor = np.array([[150, 160], [250, 251]])
    allowed = rng.random((2, 2, len(look.offsets))) < 0.8
    got = measures(banks(x), anchor, look, allowed)
    names = measure_names(look)

    def slope(lead: int, at: int, s: int) -> float:
        return float(x[lead, at : at + s].mean(dtype=float) - x[lead, at - s : at].mean(dtype=float))

    def bend(lead: int, at: int, s: int) -> float:
        left = at - s // 2
        sides = x[lead, left - s : left].mean(dtype=float) + x[lead, left + s : left + 2 * s].mean(dtype=float)
        return float(x[lead, left : left + s].mean(dtype=float) - sides / 2)

    def told(what: Any, whose: str, lead: int, at: int, s: int) -> float:
        if whose == "all":
            return float(np.log(np.sqrt(np.mean([what(k, at, s) ** 2 for k in range(2)])) + 1e-4))
        return float(np.log(abs(what(lead, at, s)) + 1e-4))

    for beat in range(2):
        for lead in range(2):
            at = anchor[beat, lead] + look.offsets
            row = {}
            for whose in ("lead", "all"):
                middle = np.array([told(slope, whose, lead, k, SCALES[1]) for k in at])
                top = middle[allowed[beat, lead]].max()
                low = np.where(allowed[beat, lead], np.maximum(middle - top, -5), -5)
                for scale in look.scales:
                    s, ms = SCALES[scale], SCALES[scale] * 4
                    row[f"{whose} slope {ms} ms before"] = [told(slope, whose, lead, k - s, s) - top for k in at]
                    row[f"{whose} slope {ms} ms behind"] = [told(slope, whose, lead, k + s, s) - top for k in at]
                    row[f"{whose} bend {ms} ms"] = [told(bend, whose, lead, k, s) - top for k in at]
                for side, part in (
                    ("since", [low[: k + 1].max() for k in range(len(at))]),
                    ("until", [low[k:].max() for k in range(len(at))]),
                ):
                    row[f"{whose} largest slope {side}"] = part
                    row[f"{whose} largest slope {side}, squared"] = list(np.square(part) / 5)
            row["time"], row["time squared"] = list(look.offsets / 25), list((look.offsets / 25) ** 2)
            for column, name in enumerate(names):
                wanted = np.array(row[name])
                if ("slope" in name and "largest" not in name) or "bend" in name:
                    wanted = np.clip(wanted, -5, 2)
                np.testing.assert_allclose(got[beat, lead, :, column], wanted, atol=2e-3, err_msg=name)


def test_the_median_place_halves_the_weight() -> None:
    look = Look(-4, 5, 2, (0, 1, 2))
    score = np.log(np.array([[[1.0, 2, 4, 2, 1], [1, 1, 1, 1, 4], [5, 5, 5, 5, 5]]])).astype(np.float32)
    allowed = np.ones(score.shape, bool)
    allowed[0, 2] = False
    place = middle_of(score, allowed, look)
    # each place is two samples wide: 4 of 8 lie before 4 - 1 + 2 * 0 of the last
    np.testing.assert_allclose(place[0, :2], [0.0, 3.0], atol=1e-5)
    assert np.isnan(place[0, 2])


def test_what_a_rhythm_says_of_p_is_the_mean_over_eight_beats_of_its_series_on_either_side() -> None:
    signal, r = _made(n_leads=2, seconds=30)
    n = len(r)
    zeros = np.zeros_like(r)
    series = np.repeat([3, 4, 7], [4, n - 5, 1])
    rr = np.diff(r, prepend=np.nan) / RATE
    found, told = find_points(signal.astype(np.float32), Beats(r, zeros, zeros + signal.shape[1], series, rr), fitted())
    usable = np.ones(told.shape[:2], bool)
    usable[10] = False
    values = presence_measures(told, found, usable, Beats(r, zeros, zeros, series, rr))
    assert values.shape == (n, len(PRESENCE))
    half = len(PRESENCE) // 2
    for beat in range(n):
        near = [k for k in range(beat - 8, beat + 9) if 0 <= k < n and series[k] == series[beat]]
        for column in range(half):
            known = [values[k, column] for k in near if not np.isnan(values[k, column])]
            wanted = sum(known) / len(known) if known else np.nan
            assert values[beat, half + column] == pytest.approx(wanted, nan_ok=True)
    assert np.isnan(values[10, 0])
    assert not np.isnan(values[10, half])


def test_an_rr_that_is_not_known_says_nothing() -> None:
    signal, r = _made()
    zeros = np.zeros(3, np.int64)
    for unknown in (np.nan, np.inf, 0.0):
        beats = Beats(r[2:5], zeros, zeros + signal.shape[1], np.array([0, 1, 1]), np.array([unknown, 0.8, 0.8]))
        found, told = find_points(signal, beats, fitted())
        values = presence_measures(told, found, np.ones(told.shape[:2], bool), beats)
        by = dict(zip(PRESENCE, values.T, strict=True))
        for name in ("RR", "RR, mean of the rhythm", "irregular RR"):
            assert np.isnan(by[name][0]), name
            assert not np.isnan(by[name][1:]).any() or name == "irregular RR"
        score = presence_score(values, fitted(), np.full(3, 3))
        assert np.isfinite(score).all()
        assert presence_score(np.full_like(values, np.nan), fitted(), np.full(3, 3)).tolist() == [-np.inf] * 3


def test_the_level_goes_by_the_leads_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(5, len(PRESENCE)))
    values[4, 3] = np.nan
    weights = fitted()
    counts = np.array([1, 2, 3, 12, 0])
    for row, count in enumerate(counts):
        odds = weights.level[{0: 0, 1: 0, 2: 1}.get(int(count), 2)]
        for value, (mean, scale, weight) in zip(values[row], weights.presence, strict=True):
            odds += 0 if np.isnan(value) else weight * (value - mean) / scale
        assert presence_score(values, weights, counts)[row] == pytest.approx(odds)
    seen: list[NDArray[np.int64]] = []

    def kept(found: Any, weights: Any, n_leads: NDArray[np.int64]) -> NDArray[np.float64]:
        seen.append(n_leads)
        return presence_score(found, weights, n_leads)

    monkeypatch.setattr(delineation, "presence_score", kept)
    signal, r = _made(n_leads=12)
    signal[1:] = 0
    delineate(signal, RATE, _names(signal), r)
    assert (seen[0] == 1).all()


def test_beats_far_apart_in_time_are_not_of_one_rhythm() -> None:
    signal, r = _made(n_leads=12, with_p=False, seconds=20)
    n = len(r)
    zeros, stop = np.zeros(n, np.int64), np.array([signal.shape[1]])
    rr = np.diff(r, prepend=np.nan) / RATE
    near, far = (
        delineate_stretches(signal[None], RATE, _names(signal), Stretches(zeros, r, zeros[:1], stop, zeros, when, rr))
        for when in (r / RATE, np.arange(n) * 21.0)
    )
    alone = delineate_stretches(
        signal[None], RATE, _names(signal), Stretches(zeros, r, zeros[:1], stop, np.arange(n), r / RATE, rr)
    )
    np.testing.assert_array_equal(far.onset["P"], alone.onset["P"])
    assert (near.onset["P"] != alone.onset["P"]).any()


def test_the_table_has_a_weight_for_every_measure() -> None:
    weights = fitted()
    assert list(weights.points) == list(LOOKS)
    assert all(np.isfinite(weights.points[name]).all() and weights.points[name].any() for name in LOOKS)
    assert weights.presence.shape == (len(PRESENCE), 3)
    # what cardiology expects: P is alike from beat to beat, and fibrillation is irregular
    sign = dict(zip(PRESENCE, weights.presence[:, 2], strict=True))
    assert sign["likeness to neighbours, mean of the rhythm"] > 0 > sign["irregular RR, mean of the rhythm"]


@pytest.fixture(scope="module")
def ludb_odd(data_root: Path) -> dict[str, Recording]:
    """Some odd records of LUDB: 51 and 83 fibrillate."""
    if not (data_root / "ludb").is_dir():
        pytest.skip("ECGLENS_DATA holds no ludb/")
    headers = {path.stem: path for path in (data_root / "ludb").rglob("*.hea")}
    return {name: read_ludb(headers[name]) for name in ("1", "7", "25", "51", "77", "83", "133", "199")}


def test_ludb_is_near_the_experts_at_500_and_at_100_hz(ludb_odd: dict[str, Recording]) -> None:
    for step, limits in ((1, (9, 12)), (5, (12, 15))):
        errors: dict[str, list[float]] = {"on": [], "off": []}
        claimed: dict[bool, list[float]] = {True: [], False: []}
        for name, recording in ludb_odd.items():
            waves = recording.waves
            assert waves is not None
            signal = resample_poly(recording.signal, 1, step, axis=1, padtype="line")
            fs = recording.fs / step
            found = delineate(signal, fs, recording.leads)
            _expect_sound(found, signal.shape[1])
            for column, lead in enumerate(recording.leads):
                for k in np.flatnonzero((waves.lead == lead) & (waves.kind == "QRS")):
                    beat = int(np.argmin(np.abs(found.r - waves.peak[k] / step)))
                    if abs(found.r[beat] - waves.peak[k] / step) > 0.12 * fs:
                        continue
                    errors["on"].append(1000 * abs(found.onset["QRS"][beat, column] / fs - waves.start[k] / recording.fs))
                    errors["off"].append(1000 * abs(found.offset["QRS"][beat, column] / fs - waves.stop[k] / recording.fs))
                    claimed[name not in ("51", "83")].append(found.onset["P"][beat, column] >= 0)
        assert len(errors["on"]) > 700
        assert np.median(errors["on"]) <= limits[0]
        assert np.median(errors["off"]) <= limits[1]
        assert np.mean(claimed[True]) > 0.9
        assert np.mean(claimed[False]) < 0.15


def test_mitdb_record_100(real_mitdb: Path) -> None:
    which = database("mitdb")
    (recording,) = read_records(which, real_mitdb, ("100",), [], swap_leads=True)
    n = 120 * 360
    beats = recording.annotations.beats().sample
    beats = beats[beats < n]
    found = delineate(recording.signal[:, :n], recording.fs, recording.leads)
    _expect_sound(found, n)
    assert abs(len(found.r) - len(beats)) <= 1
    width = (found.offset["QRS"] - found.onset["QRS"])[:, 0] / recording.fs
    assert 0.06 < np.median(width) < 0.12
    assert (found.onset["P"] >= 0).mean() > 0.9
