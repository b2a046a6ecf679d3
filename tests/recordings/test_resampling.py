"""Another sampling rate: the same curve, at the same times, with the marks where they were."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.recordings.ludb_reader import read_ludb
from ecglens.recordings.recording import Annotations, Evidence, Recording
from ecglens.recordings.resampling import ratio_of, resampled

RATES = [(128.0, 360.0), (360.0, 128.0), (250.0, 360.0), (257.0, 360.0), (360.0, 1000.0), (500.0, 333.3)]


def a_recording(signal: Any, fs: float, marks: tuple[int, ...] = (), evidence: Evidence | None = None) -> Recording:
    symbol = np.array(["+" if k % 3 == 0 else "N" for k in range(len(marks))], np.str_)
    note = np.array(["(AFIB" if each == "+" else "" for each in symbol], np.str_)
    found = Annotations(np.array(marks, np.int64), symbol, note)
    signal = np.asarray(signal, np.float32)
    leads = tuple(f"lead {k}" for k in range(len(signal)))
    return Recording("made", "1", "1", signal, fs, leads, found, evidence=evidence)


def curve(time: np.ndarray) -> np.ndarray:
    """A sum of sines below 40 Hz around 1 mV."""
    waves = [(0.3, 1.1, 0.2), (0.5, 7.0, 1.3), (0.2, 23.0, 2.0), (0.15, 38.0, 0.7)]
    return 1 + sum(height * np.sin(2 * math.pi * hz * time + phase) for height, hz, phase in waves)


def by_sinc(samples: np.ndarray, fs: float, time: float) -> float:
    """The curve of band-limited samples at one time, by the sum of the sampling theorem, tapered over 60 samples."""
    total = weight = 0.0
    for k, value in enumerate(samples.tolist()):
        x = time * fs - k
        if abs(x) < 60:
            kernel = np.sinc(x) * (0.5 + 0.5 * math.cos(math.pi * x / 60))
            total, weight = total + value * kernel, weight + kernel
    return total / weight


# ------------------------------------------------------------------------------------------------ the signal


@pytest.mark.parametrize(("before", "after"), RATES)
def test_the_curve_is_the_same_at_the_same_times(before: float, after: float) -> None:
    found = resampled(a_recording([curve(np.arange(round(8 * before)) / before)] * 2, before), after)
    assert found.fs == after
    assert found.signal.dtype == np.float32
    assert found.signal.shape == (2, math.ceil(Fraction(round(8 * before)) * Fraction(str(after)) / Fraction(str(before))))
    time = np.arange(found.signal.shape[1]) / after
    inside = (time > 0.4) & (time < 7.6)
    np.testing.assert_allclose(found.signal[1, inside], curve(time[inside]), atol=0.01)
    np.testing.assert_array_equal(found.signal[0], found.signal[1])


@pytest.mark.parametrize(("before", "after"), RATES[:3])
def test_noise_below_both_limits_is_what_a_sum_of_sincs_gives(before: float, after: float) -> None:
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.normal(size=512))
    spectrum[np.fft.rfftfreq(512, 1 / before) > 40] = 0
    samples = np.fft.irfft(spectrum).astype(np.float32)
    found = resampled(a_recording([samples], before), after).signal[0]
    middle = range(int(1.2 * after), int((512 / before - 1.2) * after), 7)
    slowly = [by_sinc(samples, before, k / after) for k in middle]
    np.testing.assert_allclose(found[list(middle)], slowly, atol=0.02 * samples.std())


def test_what_is_above_the_new_limit_is_taken_out_and_not_folded_down() -> None:
    time = np.arange(3600) / 360
    found = resampled(a_recording([np.sin(2 * math.pi * 110 * time)], 360.0), 128.0).signal[0]
    assert np.abs(found[50:-50]).max() < 0.01


def test_a_constant_stays_one_to_both_ends() -> None:
    found = resampled(a_recording(np.full((1, 500), 3.5), 128.0), 360.0)
    np.testing.assert_allclose(found.signal, 3.5, rtol=2e-3)


def test_the_same_rate_is_the_same_recording() -> None:
    before = a_recording(np.zeros((1, 10)), 360.0)
    assert resampled(before, 360) is before


# ------------------------------------------------------------------------------------------------ samples that are lost


@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(1, 40)), min_size=1, max_size=4),
    st.sampled_from(RATES),
)
def test_lost_samples_stay_lost_at_their_places_and_no_others_are(
    gaps: list[tuple[int, int]], rates: tuple[float, float]
) -> None:
    before, after = rates
    whole = curve(np.arange(256) / before).astype(np.float32)
    holes = whole.copy()
    for start, length in gaps:
        holes[start : start + length] = np.nan
    found = resampled(a_recording([holes, whole], before), after).signal
    ratio = Fraction(str(after)) / Fraction(str(before))
    lost = {k for k in range(found.shape[1]) if np.isnan(holes[min(math.floor(k / ratio + Fraction(1, 2)), 255)])}
    for k in np.flatnonzero(np.isnan(holes)).tolist():
        lost.add(min(math.floor(k * ratio + Fraction(1, 2)), found.shape[1] - 1))
    assert set(np.flatnonzero(np.isnan(found[0])).tolist()) == lost
    assert not np.isnan(found[1]).any()


def test_a_gap_does_not_disturb_the_curve_a_moment_away() -> None:
    time = np.arange(2560) / 128
    holes = curve(time)
    holes[1000:1030] = np.nan
    found = resampled(a_recording([holes, curve(time)], 128.0), 360.0).signal
    far = np.abs(np.arange(found.shape[1]) / 360 - 1015 / 128) > 0.3
    np.testing.assert_allclose(found[0, far], found[1, far], atol=0.005)


# ------------------------------------------------------------------------------------------------ marks


@given(st.lists(st.integers(0, 499), max_size=20).map(sorted), st.sampled_from(RATES))
def test_marks_go_to_the_nearest_sample_in_the_same_order(marks: list[int], rates: tuple[float, float]) -> None:
    before, after = rates
    old = a_recording(np.zeros((1, 500)), before, tuple(marks))
    found = resampled(old, after)
    ratio, last = Fraction(str(after)) / Fraction(str(before)), found.signal.shape[1] - 1
    assert found.annotations.sample.tolist() == [min(math.floor(at * ratio + Fraction(1, 2)), last) for at in marks]
    assert found.annotations.symbol.tolist() == old.annotations.symbol.tolist()
    assert [label for *_, label in found.rhythm_spans()] == [label for *_, label in old.rhythm_spans()]
    if marks:
        assert found.rhythm_spans()[-1][1] == last + 1


def test_a_mark_a_day_away_is_as_exact_as_one_at_the_start() -> None:
    at = 11_059_199
    found = resampled(a_recording(np.zeros((1, at + 1)), 128.0, (0, at)), 360.0)
    assert found.annotations.sample.tolist() == [0, round(Fraction(at * 45, 16))]


def test_evidence_moves_with_its_beats_and_no_span_vanishes() -> None:
    spans = Evidence(
        np.array([40, 40, 499]), np.array(["lead 0"] * 3), np.array([30, 100, 499]), np.array([50, 101, 500]),
        np.array(["beat"] * 3),
    )  # fmt: skip
    found = resampled(a_recording(np.zeros((1, 500)), 360.0, (40, 499), spans), 128.0)
    assert found.evidence is not None
    assert (found.evidence.r_sample.tolist(), found.annotations.sample.tolist()) == ([14, 14, 177], [14, 177])
    assert found.evidence.start.tolist() == [11, 36, 177]
    assert found.evidence.stop.tolist() == [18, 37, 178]
    assert found.signal.shape[1] == 178


def test_r_peaks_of_a_real_record_stay_at_the_top_of_the_qrs(real_recordings: dict[str, Recording]) -> None:
    """Record 100 has tall, narrow R waves. Marks that were on the top are within a sample of it at 128 Hz, and back at 360 Hz
    within what a sample at 128 Hz is long."""
    real = real_recordings["100"]
    real = replace(real, signal=real.signal[:1], leads=real.leads[:1])

    def from_the_top(recording: Recording, seconds: float = 0.05) -> np.ndarray:
        around = round(seconds * recording.fs)
        beats = recording.annotations.beats()
        at = beats.sample[2:-2][beats.symbol[2:-2] == "N"]
        return np.array([np.argmax(recording.signal[0, r - around : r + around + 1]) - around for r in at])

    before, small = from_the_top(real), resampled(real, 128.0)
    back = resampled(small, 360.0)
    assert len(before) == 2235
    good = np.abs(before) <= 1
    assert good.mean() > 0.97
    assert (np.abs(from_the_top(small)[good]) <= 1).all()
    assert (np.abs(from_the_top(back)[good]) <= 360 / 128 + 0.5).all()
    assert np.abs(back.annotations.sample - real.annotations.sample).max() <= 2
    assert (back.fs, back.remarks[-2:]) == (360.0, ("resampled from 360 to 128 Hz", "resampled from 128 to 360 Hz"))
    n = real.signal.shape[1]
    assert np.corrcoef(back.signal[0, :n], real.signal[0])[0, 1] > 0.99


@pytest.mark.parametrize("fs", [0, -128, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(fs: float) -> None:
    with pytest.raises(EcglensError, match=r"1: cannot resample from 360 to .*; rates are above 0"):
        resampled(a_recording(np.zeros((1, 10)), 360.0), fs)


# ------------------------------------------------------------------------------------------------ any rate

ODD = [(499.999, 100.0), (977.517, 100.0), (360.005, 100.0), (360.005, 1000.0), (127.98765, 360.0), (500.0, 499.9999)]


@pytest.mark.parametrize(("before", "after"), ODD)
def test_odd_rates_are_resampled_and_the_end_moves_less_than_half_a_sample(before: float, after: float) -> None:
    n = round(65 * before)
    found = resampled(a_recording([curve(np.arange(n) / before)], before, (0, n // 2, n - 1)), after)
    assert found.fs == after
    wanted = n * Fraction(str(after)) / Fraction(str(before))
    assert abs(found.signal.shape[1] - wanted) <= 1.5
    time = np.arange(found.signal.shape[1]) / after
    inside = (time > 0.4) & (time < 64.6)
    # half a sample late, the steepest of the curve is this far off
    steepest = np.abs(np.diff(curve(np.arange(0, 65, 0.1 / after)))).max() * 5
    np.testing.assert_allclose(found.signal[0, inside], curve(time[inside]), atol=0.01 + steepest)
    exact = [at * Fraction(str(after)) / Fraction(str(before)) for at in (0, n // 2, n - 1)]
    assert all(abs(at - on) <= 1 for at, on in zip(found.annotations.sample.tolist(), exact, strict=True))


@given(st.integers(50_000, 2_000_000), st.integers(50_000, 2_000_000), st.integers(1, 5_000_000))
def test_the_ratio_is_exact_where_small_and_else_near_enough_for_the_length(before: int, after: int, n: int) -> None:
    exact = Fraction(after, before)
    found = ratio_of(after / 1000, before / 1000, n, "1")
    if max(exact.numerator, exact.denominator) <= 10_000:
        assert found == exact
    assert abs(found - exact) * n < Fraction(1, 2)
    assert max(found.numerator, found.denominator) <= 100_000


@pytest.mark.parametrize(("before", "after"), RATES)
def test_usual_rates_are_exact_however_long_the_record(before: float, after: float) -> None:
    for n in (1, 10**9):
        assert ratio_of(after, before, n, "1") == Fraction(str(after)) / Fraction(str(before))


@pytest.mark.parametrize("fs", [1e9, 1e-4])
def test_rates_that_no_filter_can_have_are_refused_by_name(fs: float) -> None:
    with pytest.raises(
        EcglensError, match=r"^1: 360\.005 to .* Hz is .*, too long a filter; expected rates in a ratio"
    ) as caught:
        resampled(a_recording(np.zeros((1, 10)), 360.005), fs)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ waves of real records


@pytest.mark.parametrize("after", [100.0, 257.0, 1000.0])
def test_the_waves_of_ludb_move_with_the_signal(data_root: Path, after: float) -> None:
    folder = data_root / "ludb" / "data"
    if not folder.is_dir():
        pytest.skip("ECGLENS_DATA holds no ludb/")
    undrawn = 0
    for record in ("1", "7", "104"):
        old = read_ludb(folder / f"{record}.hea")
        new = resampled(old, after)
        assert old.waves is not None
        assert new.waves is not None
        assert new.waves.lead.tolist() == old.waves.lead.tolist()
        assert new.waves.kind.tolist() == old.waves.kind.tolist()
        for before, moved in ((getattr(old.waves, name), getattr(new.waves, name)) for name in ("start", "peak", "stop")):
            wanted = [-1 if at < 0 else math.floor(at * Fraction(after) / 500 + Fraction(1, 2)) for at in before.tolist()]
            assert moved.tolist() == wanted
            undrawn += wanted.count(-1)
        # the R wave of lead II is where it was
        tall = (new.waves.lead == "II") & (new.waves.kind == "QRS")
        for wave in np.flatnonzero(tall).tolist():
            was, now = int(old.waves.peak[wave]), int(new.waves.peak[wave])
            near = old.signal[1, was - 5 : was + 6]
            assert near.min() - 0.1 < new.signal[1, now] < near.max() + 0.1
    assert undrawn > 0
