"""Twelve leads and their one map, drawn: sizes in mm, what is red, that nothing is lost."""

from __future__ import annotations

import numpy as np

from ecglens.recordings.twelve import STANDARD
from ecglens.report.twelve_leads import lead_above_map, long_record, twelve_on_paper

_FS = 100.0


def _signal(n_leads: int = 12) -> np.ndarray:
    time = np.arange(1000) / _FS
    return np.stack([(1 + 0.1 * lead) * np.sin(2 * np.pi * time) for lead in range(n_leads)])


def test_what_is_red_is_what_the_map_has_above_the_threshold() -> None:
    cam = np.zeros(125)
    cam[[10, 60]] = 1.0
    figure = lead_above_map(_signal(1)[0], cam, _FS, "I", "a title", threshold=0.5)
    red = next(line for line in figure.axes[0].lines if line.get_color() == "#c1121f")
    there = np.flatnonzero(~np.isnan(np.asarray(red.get_ydata(), float)))
    assert there.tolist() == [*range(80, 88), *range(480, 488)]
    np.testing.assert_allclose(red.get_ydata()[there], _signal(1)[0][there])


def test_a_second_is_25_mm_times_the_zoom_and_a_millivolt_10() -> None:
    figure = lead_above_map(_signal(1)[0], np.ones(125), _FS, "I", "a title", threshold=0.5, zoom=0.5)
    box, size = figure.axes[0].get_position(), figure.get_size_inches() * 25.4
    low, high = figure.axes[0].get_ylim()
    np.testing.assert_allclose(box.width * size[0], 10 * 25 * 0.5)
    np.testing.assert_allclose(box.height * size[1], (high - low) * 10 * 0.5)


def test_every_lead_is_drawn_in_order_over_the_same_map() -> None:
    cam = np.linspace(-1, 2, 125)
    figure = twelve_on_paper(_signal(), cam, _FS, STANDARD, "a title")
    leads = [axes for axes in figure.axes if axes.get_ylabel() in STANDARD]
    assert [axes.get_ylabel() for axes in leads] == list(STANDARD)
    tops = [axes.get_position().y0 for axes in leads]
    assert tops == sorted(tops, reverse=True)
    for axes, row in zip(leads, _signal(), strict=True):
        np.testing.assert_allclose(axes.lines[-1].get_ydata(), row)
        np.testing.assert_allclose(axes.images[0].get_array()[0], cam)
        assert axes.images[0].get_clim() == (-2.0, 2.0)


def test_a_spike_does_not_flatten_its_lead_and_an_empty_map_is_drawn() -> None:
    signal = _signal()
    signal[0, 500] = 40
    figure = twelve_on_paper(signal, np.zeros(125), _FS, STANDARD, "a title")
    low, high = figure.axes[0].get_ylim()
    assert high - low <= 6
    assert figure.axes[0].images[0].get_clim() == (-1.0, 1.0)


def test_a_long_record_stands_in_rows_and_nothing_of_it_is_lost() -> None:
    signal = np.sin(np.arange(2500) / 20)
    cam = np.arange(2500.0)
    figure = long_record(signal, cam, _FS, "II", "a title")
    traces = [axes for axes in figure.axes if axes.lines]
    assert len(traces) == 3
    np.testing.assert_allclose(np.concatenate([axes.lines[-1].get_ydata() for axes in traces]), signal)
    maps = [axes for axes in figure.axes if axes.images]
    np.testing.assert_allclose(np.concatenate([axes.images[0].get_array()[0] for axes in maps]), cam)
    assert {axes.images[0].get_clim() for axes in maps} == {(-2499.0, 2499.0)}
    assert [axes.get_xlim() for axes in traces] == [(0, 10), (10, 20), (20, 30)]


def test_of_a_very_long_record_the_first_rows_are_shown_and_that_is_said() -> None:
    figure = long_record(np.zeros(180_000), np.zeros(180_000), _FS, "II", "a title")
    assert len([axes for axes in figure.axes if axes.lines]) == 12
    assert "the first 120 s of 1800" in figure.texts[-1].get_text()
