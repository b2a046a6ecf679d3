"""Bars on twelve leads: where they are, that they are alike on all leads, what the words say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ecglens.errors import EcglensError
from ecglens.recordings.challenge_reader import read_challenge
from ecglens.recordings.twelve import STANDARD
from ecglens.report.grad_cam_bars import bars_of, leads_with_bars
from made import FEW

_FS = 100.0


def _signal(seconds: float = 10) -> np.ndarray:
    time = np.arange(round(seconds * _FS)) / _FS
    return np.stack([(1 + 0.1 * lead) * np.sin(2 * np.pi * time) for lead in range(12)])


def _bars(axes) -> list[tuple[float, float]]:
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches if patch.get_alpha() == 0.3]


def _words(figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def test_bars_stand_where_the_map_is_largest_and_alike_on_all_leads() -> None:
    cam = np.linspace(0, 1, 100)
    cam[[10, 11, 50, 99]] = [3, 4, 5, 2]
    figure = leads_with_bars(_signal(), cam, _FS, STANDARD, "a title", percentile=97.0)
    leads = [axes for axes in figure.axes if axes.get_ylabel() in STANDARD]
    assert [axes.get_ylabel() for axes in leads] == list(STANDARD)
    for axes, row in zip(leads, _signal(), strict=True):
        np.testing.assert_allclose(_bars(axes), [(1.0, 1.2), (5.0, 5.1)])
        np.testing.assert_allclose(axes.lines[-1].get_ydata(), row)
        assert axes.get_xlim() == (0, 10)
    assert "red: the 3 of 100 cells of 100 ms at or above its own 97th percentile (3, dashed)" in _words(figure)
    assert "the same bars on all leads" in _words(figure)
    below = figure.axes[-1]
    np.testing.assert_allclose(_bars(below), [(1.0, 1.2), (5.0, 5.1)])
    np.testing.assert_allclose(below.lines[-1].get_ydata(), 3.0)
    assert below.get_ylabel() == "Grad-CAM"
    assert below.get_xlabel() == "s"


def test_a_map_that_begins_before_the_signal_has_only_its_later_bars_on_it() -> None:
    cam = np.zeros(300)
    cam[[0, 150, 200, 299]] = 1.0
    figure = leads_with_bars(_signal(), cam, _FS, STANDARD, "a title", percentile=99, within=(-20.0, 10.0))
    seen = [bar for bar in _bars(figure.axes[0]) if bar[1] > 1e-9 and bar[0] < 10 - 1e-9]
    np.testing.assert_allclose(seen, [(0.0, 0.1), (9.9, 10.0)], atol=1e-9)
    assert all(axes.get_xlim() == (0, 10) for axes in figure.axes)
    assert "the 4 of 300 cells of 100 ms" in _words(figure)
    assert "; 2 of them are before or after the signal, not drawn" in _words(figure)


def test_channels_are_called_channels() -> None:
    values = np.random.default_rng(0).uniform(size=512)
    figure = leads_with_bars(_signal(), values, _FS, STANDARD, "a title", what="as published", channels=True)
    assert "red: the 26 of 512 channels at or above its own 95th percentile" in _words(figure)
    assert figure.axes[-1].get_xlabel() == "channels of the layer, drawn as if they were s"
    assert figure.axes[-1].get_ylabel() == "as published"


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_a_map_that_is_alike_everywhere_has_no_bars_and_that_is_said(value: float) -> None:
    figure = leads_with_bars(_signal(), np.full(469, value), _FS, STANDARD, "a title")
    assert not any(_bars(axes) for axes in figure.axes)
    assert f"no bars: all 469 cells of 21 ms have the value {value:.3g}" in _words(figure)


@FEW
@given(arrays.arrays(np.float64, st.integers(2, 60), elements=st.floats(-5, 5, width=16)), st.integers(0, 100))
def test_bars_are_the_values_not_below_the_percentile(values: np.ndarray, percentile: int) -> None:
    shown, threshold = bars_of(values, percentile)
    if values.min() == values.max():
        assert not shown.any()
        return
    ordered = sorted(values)
    place = -(-percentile * (len(values) - 1) // 100)  # rounded up, without the crumbs of a division
    assert threshold == ordered[place]
    assert shown.tolist() == [value >= ordered[place] for value in values]
    # a map whose smaller values were cut off already has the same bars
    again, same = bars_of(np.where(shown, values, values.min()), percentile)
    assert same == threshold
    assert (again == shown).all() or threshold == values.min()


def test_missing_values_have_no_bar_and_do_not_count() -> None:
    values = np.array([np.nan, 1.0, 2.0, 3.0, np.nan])
    shown, threshold = bars_of(values, 100)
    assert (shown.tolist(), threshold) == ([False, False, False, True, False], 3.0)


@pytest.mark.parametrize(
    ("values", "percentile", "said"),
    [
        (np.zeros((2, 3)), 95.0, r"a map of shape \(2, 3\) has no bars; expected \(cell,\)"),
        (np.array([]), 95.0, r"a map of shape \(0,\) has no bars"),
        (np.full(4, np.nan), 95.0, "expected .* one number at least"),
        (np.arange(4.0), 101.0, "percentile is 101; expected 0 to 100"),
    ],
)
def test_what_has_no_bars_is_refused(values: np.ndarray, percentile: float, said: str) -> None:
    with pytest.raises(EcglensError, match=said):
        leads_with_bars(_signal(), values, _FS, STANDARD, "a title", percentile=percentile)


def test_a_real_record_is_drawn_with_the_bars_of_both_maps(data_root, tmp_path) -> None:
    folder = data_root / "cinc2020" / "records"
    if not (folder / "A0001.hea").is_file():
        pytest.skip("ECGLENS_DATA holds no cinc2020/records/A0001")
    recording = read_challenge(folder, "A0001")
    rng = np.random.default_rng(0)
    for n, channels in ((469, False), (512, True)):
        figure = leads_with_bars(
            recording.signal[:, :1500], rng.normal(size=n), recording.fs, recording.leads, "A0001", channels=channels,
            within=(-12.0, 18.0),
        )  # fmt: skip
        figure.savefig(tmp_path / f"{n}.png", dpi=40)
        assert (tmp_path / f"{n}.png").stat().st_size > 10_000
        assert len([axes for axes in figure.axes if axes.get_ylabel() in STANDARD]) == 12
