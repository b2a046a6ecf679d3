"""Pictures of signals: each pixel as plain loops draw it, and nothing beside the trace has a say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ecglens.examples.label_maps import label_map
from ecglens.examples.sliding import SlidingOptions, cut_sliding
from ecglens.models.rasteriser import Rasteriser, column_ranges
from ecglens.recordings.recording import Recording


def value_at(trace: Sequence[float], at: float) -> float:
    """The polyline through `trace` at `at` samples, flat beyond its ends."""
    at = min(max(at, 0.0), len(trace) - 1.0)
    k = min(int(at), len(trace) - 1)
    after = trace[min(k + 1, len(trace) - 1)]
    return float(trace[k] + (at - k) * (after - trace[k]))


def ranges_slowly(trace: Sequence[float], columns: int) -> tuple[list[float], list[float]]:
    """Highest and lowest value of the polyline in each column."""
    high, low = [], []
    for column in range(columns):
        left, right = (len(trace) * edge / columns - 0.5 for edge in (column, column + 1))
        values = [value_at(trace, left), value_at(trace, right)]
        values += [float(trace[k]) for k in range(len(trace)) if left <= k <= right]
        high.append(max(values))
        low.append(min(values))
    return high, low


def middle_slowly(high: list[float], low: list[float]) -> float:
    sixth = min(6, len(high))
    return (sorted(high)[-sixth] + sorted(low)[sixth - 1]) / 2


def ink_slowly(trace: Sequence[float], rows: int, columns: int, height_mv: float, line: float) -> np.ndarray:
    """The picture of one trace, pixel by pixel."""
    high, low = ranges_slowly(trace, columns)
    middle = middle_slowly(high, low)
    out = np.zeros((rows, columns))
    for column in range(columns):
        top, bottom = ((middle + height_mv / 2 - value) * rows / height_mv for value in (high[column], low[column]))
        # what leaves the picture runs along its edge, as a whole line
        top = min(max(top, line / 2), rows - line / 2) - line / 2
        bottom = min(max(bottom, line / 2), rows - line / 2) + line / 2
        for row in range(rows):
            out[row, column] = max(0.0, min(row + 1, bottom) - max(row, top))
    return np.minimum(out, 1)


def tensors(traces: Sequence[np.ndarray], length: int, starts: Sequence[int], dtype: Any = np.float32) -> tuple[Any, Any]:
    """Traces in arrays of one length, NaN around them, and their spans."""
    x = np.full((len(traces), 1, length), np.nan, dtype)
    span = np.zeros((len(traces), 2), np.int64)
    for k, (trace, start) in enumerate(zip(traces, starts, strict=True)):
        x[k, 0, start : start + len(trace)] = trace
        span[k] = start, start + len(trace)
    return torch.from_numpy(x), torch.from_numpy(span)


def drawn(trace: np.ndarray, **told: Any) -> np.ndarray:
    """The ink of one trace that is all of its array."""
    return Rasteriser(**told)(torch.from_numpy(np.asarray(trace))[None, None], torch.tensor([[0, len(trace)]]))[0, 0].numpy()


def wave(n: int = 2000, seed: int = 0) -> np.ndarray:
    """Something like a trace of n samples, mV."""
    rng = np.random.default_rng(seed)
    time = np.arange(n) / 360
    beats = sum(np.exp(-(((time - at) / 0.02) ** 2)) for at in np.arange(0.4, max(time[-1], 0.5), 0.8))
    return (beats + 0.1 * np.sin(5 * time) + rng.normal(0, 0.01, n)).astype(np.float32)


@pytest.fixture(scope="module")
def windows(real_recordings: dict[str, Recording]) -> tuple[torch.Tensor, torch.Tensor]:
    """Real windows, a few of each of three records."""
    found = []
    for record in ("100", "203", "228"):
        examples, _ = cut_sliding([real_recordings[record]], label_map("varandas"), SlidingOptions(), [])
        found.append(examples.take(np.linspace(0, len(examples) - 1, 8).astype(int)))
    spans = [np.array(each.table[["valid_start", "valid_stop"]], np.int64) for each in found]
    return torch.from_numpy(np.concatenate([each.signals for each in found])), torch.from_numpy(np.concatenate(spans))


# ------------------------------------------------------------------------------------------------ against plain loops


@given(
    sizes=st.lists(st.integers(2, 90), min_size=1, max_size=10),
    rows=st.integers(3, 24),
    columns=st.integers(1, 30),
    height=st.sampled_from([0.7, 2.5, 10.0]),
    line=st.sampled_from([0.5, 1.0, 2.0, 2.7]),
    seed=st.integers(0, 99),
)
def test_ink_is_that_of_plain_loops(sizes: list[int], rows: int, columns: int, height: float, line: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    traces = [rng.normal(0, 1, n).astype(np.float32) for n in sizes]
    x, span = tensors(traces, 120, rng.integers(0, 30, len(sizes)).tolist())
    found = Rasteriser(rows, columns, height, line)(x, span).numpy()
    assert found.shape == (len(sizes), 1, rows, columns)
    for k, trace in enumerate(traces):
        np.testing.assert_allclose(found[k, 0], ink_slowly(trace.astype(float), rows, columns, height, line), atol=1e-4)


@pytest.mark.parametrize("n", [2, 3, 100, 223, 224, 225, 449, 5000])
def test_ink_of_few_and_many_samples_is_that_of_plain_loops(n: int) -> None:
    """At the end of a long array too, where float32 no longer tells tenths of a sample well."""
    trace = wave(n)
    x, span = tensors([trace, trace], 5040, [5040 - n, 0])
    wanted = ink_slowly(trace.astype(float), 224, 224, 2.5, 2.0)
    for found in Rasteriser()(x, span):
        np.testing.assert_allclose(found[0], wanted, atol=1e-4)


def test_ink_of_real_windows_is_that_of_plain_loops(windows: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, span = windows
    found = Rasteriser()(x, span).numpy()
    for k in range(0, len(x), 5):
        trace = x[k, 0, span[k, 0] : span[k, 1]].double().numpy()
        np.testing.assert_allclose(found[k, 0], ink_slowly(trace, 224, 224, 2.5, 2.0), atol=1e-4)


def test_column_ranges_are_those_of_plain_loops_and_hold_all_samples() -> None:
    traces = [wave(n, n) for n in (1, 2, 57, 640, 1023)]
    x, span = tensors(traces, 1200, [5, 0, 77, 560, 1])
    high, low = column_ranges(x[:, 0], span, 64)
    for k, trace in enumerate(traces):
        wanted = ranges_slowly(trace.astype(float), 64)
        np.testing.assert_allclose(high[k], wanted[0], atol=1e-6)
        np.testing.assert_allclose(low[k], wanted[1], atol=1e-6)
        if len(trace) > 2:
            assert (float(high[k].max()), float(low[k].min())) == (trace.max(), trace.min())


# ------------------------------------------------------------------------------------------------ scale and place


@pytest.mark.parametrize(("rows", "height"), [(224, 2.5), (100, 4.0)])
def test_one_mv_is_rows_by_height_rows(rows: int, height: float) -> None:
    """Two levels 1 mV apart are drawn so far apart, and as far from the middle."""
    step = np.repeat(np.float32([0.3, 1.3]), 500)
    ink = drawn(step, rows=rows, columns=100, height_mv=height)
    row = np.arange(rows) + 0.5
    low, high = (float((ink[:, column] * row).sum() / ink[:, column].sum()) for column in (20, 80))
    assert low - high == pytest.approx(rows / height, abs=1e-3)
    assert low + high == pytest.approx(rows, abs=1e-3)
    assert ink[:, 20].sum() == pytest.approx(2, abs=1e-4), "as thick as the line"


@given(shift=st.floats(-40, 40), seed=st.integers(0, 9))
def test_a_constant_changes_nothing(shift: float, seed: int) -> None:
    trace = wave(500, seed).astype(np.float64)
    np.testing.assert_allclose(drawn(trace + shift), drawn(trace), atol=1e-6)


def test_what_lies_above_or_below_the_picture_runs_along_its_edge() -> None:
    trace = np.zeros(2240, np.float32)
    trace[300:600], trace[1500:1800] = 5, -5
    ink = drawn(trace)
    for column in range(32, 58):
        np.testing.assert_array_equal(np.flatnonzero(ink[:, column]), [0, 1])
    for column in range(152, 178):
        np.testing.assert_array_equal(np.flatnonzero(ink[:, column]), [222, 223])
    assert ink[:, 40].tolist()[:2] == [1, 1]
    np.testing.assert_array_equal(np.flatnonzero(ink[:, 100]), [111, 112])


def test_every_column_holds_a_line_of_ink_whatever_the_amplitude() -> None:
    for gain in (0.0, 1e-3, 1.0, 100.0, 1e6):
        ink = drawn(gain * wave())
        assert ink.sum(0).min() >= 2 - 1e-3
        assert ink.min() == 0 <= ink.max() <= 1


# ------------------------------------------------------------------------------------------------ one spike


@pytest.mark.parametrize("height", [50.0, -50.0])
def test_a_spike_touches_its_own_columns_alone_where_beats_are_alike(height: float) -> None:
    """Levels of more than six columns: losing a few of them moves no middle."""
    trace = np.zeros(2240, np.float32)
    trace[::2] = 0.1
    for start in range(200, 2200, 350):
        trace[start : start + 60] = 1
    spiked = trace.copy()
    spiked[1005] += height
    changed = np.flatnonzero((drawn(trace) != drawn(spiked)).any(0))
    assert changed.tolist() == [100]


@pytest.mark.parametrize("height", [50.0, -50.0])
def test_a_spike_in_a_real_window_shifts_the_rest_no_further_than_the_next_ranks(
    windows: tuple[torch.Tensor, torch.Tensor], height: float
) -> None:
    """It takes up to three of the six columns that may be lost; the middle still lies within the others.

    Not far where beats are alike; where one wide beat alone is deep, three ranks can be .76 mV, 68 rows.
    """
    x, span = windows
    spiked = x.clone()
    at = (span[:, 0] + span[:, 1]) // 2
    spiked[torch.arange(len(x)), 0, at] += height
    picture = Rasteriser()
    before, after = (column_ranges(each[:, 0].double(), span, 224) for each in (x, spiked))
    shift = (picture.middle(*after) - picture.middle(*before))[:, 0].numpy()
    for k in range(len(x)):
        touched = np.flatnonzero(((before[0] != after[0]) | (before[1] != after[1]))[k])
        assert 1 <= len(touched) <= 3
        assert np.diff(touched).max(initial=1) == 1
        side = 0 if height > 0 else 1
        ranks = np.sort((1 if height > 0 else -1) * before[side][k].numpy())[::-1]
        assert abs(shift[k]) <= (ranks[5 - len(touched)] - ranks[5]) / 2 + 1e-6
        rest = np.delete(np.stack([before[0][k], before[1][k]]), touched, axis=1)
        assert rest.min() < float(picture.middle(*after)[k]) < rest.max()


def test_the_rest_of_a_spiked_picture_is_the_old_one_moved_by_whole_rows() -> None:
    """Six narrow beats of falling height: the spike pushes the sixth to the seventh's place and nothing is squashed."""
    trace = np.zeros(2240, np.float32)
    for k in range(12):
        trace[100 + 180 * k] = 1.2 - 2 * k * 2.5 / 224
    spiked = trace.copy()
    spiked[2200] = 50
    old, new = drawn(trace), drawn(spiked)
    found = [
        next(rows for rows in range(-40, 40) if np.allclose(np.roll(old[:, c], rows), new[:, c], atol=1e-4))
        for c in range(219)
    ]
    assert len(set(found)) == 1


# ------------------------------------------------------------------------------------------------ padding and batches


def test_padding_is_never_seen() -> None:
    trace = wave(700)
    alone = drawn(trace)
    for start, padding in ((0, np.nan), (300, 9.0), (41, -1e6), (300, np.inf)):
        x = np.full((1, 1, 1000), padding, np.float32)
        x[0, 0, start : start + 700] = trace
        found = Rasteriser()(torch.from_numpy(x), torch.tensor([[start, start + 700]]))[0, 0].numpy()
        np.testing.assert_array_equal(found, alone)


def test_pictures_do_not_depend_on_the_batch_they_are_drawn_in() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 600, 300)
    x, span = tensors([wave(int(n), k) for k, n in enumerate(sizes)], 640, rng.integers(0, 40, 300).tolist())
    picture = Rasteriser(60, 70)
    every = picture(x, span)
    assert every.shape == (300, 1, 60, 70)
    for k in (0, 7, 8, 150, 299):
        torch.testing.assert_close(picture(x[k : k + 1], span[k : k + 1])[0], every[k], rtol=0, atol=0)
    assert picture(x[:0], span[:0]).shape == (0, 1, 60, 70)


def test_numbers_of_64_bits_are_drawn_alike() -> None:
    x, span = tensors([wave(900)], 1000, [50])
    narrow, wide = Rasteriser()(x, span), Rasteriser()(x.double(), span)
    torch.testing.assert_close(wide.float(), narrow, rtol=0, atol=1e-4)


def test_height_and_line_are_saved_and_loaded_with_the_weights(tmp_path: Any) -> None:
    trace = wave(900)
    save_file(Rasteriser(height_mv=5.0, line=3.0).state_dict(), tmp_path / "picture.safetensors")
    other = Rasteriser()
    other.load_state_dict(load_file(tmp_path / "picture.safetensors"))
    assert (float(other.height_mv), float(other.line)) == (5.0, 3.0)
    x = torch.from_numpy(trace)[None, None]
    np.testing.assert_array_equal(other(x, torch.tensor([[0, 900]]))[0, 0], drawn(trace, height_mv=5.0, line=3.0))
    assert (other(x, torch.tensor([[0, 900]]))[0, 0].numpy() != drawn(trace)).any()
    assert not list(other.parameters())
