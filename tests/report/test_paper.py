"""ECG paper: millimetres that are millimetres, and traces that no colour hides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.report.paper import draw_map, draw_paper, draw_trace, millivolt_range, new_figure, paper_size, place
from made import FEW


def _box_mm(axes) -> np.ndarray:
    """Left, bottom, width, height in mm."""
    return np.array(axes.get_position().bounds) * np.tile(axes.figure.get_size_inches() * 25.4, 2)


@FEW
@given(st.floats(0.1, 10), st.floats(0.5, 8), st.sampled_from([1.0, 2.0, 3.5]))
def test_a_second_is_25_mm_and_a_millivolt_10_mm_times_the_zoom(seconds, millivolts, zoom):
    assert paper_size(seconds, millivolts, zoom) == pytest.approx((seconds * 25 * zoom, millivolts * 10 * zoom))


@FEW
@given(st.floats(50, 300), st.floats(50, 300), st.floats(0, 20), st.floats(0, 20), st.floats(1, 100), st.floats(1, 100))
def test_axes_lie_where_they_are_put_in_millimetres(width, height, left, bottom, axes_width, axes_height):
    figure = new_figure(width, height)
    assert figure.get_size_inches() * 25.4 == pytest.approx([width, height])
    assert _box_mm(place(figure, left, bottom, axes_width, axes_height)) == pytest.approx(
        [left, bottom, axes_width, axes_height]
    )


def test_paper_has_fine_lines_each_millimetre_and_bold_ones_each_five():
    axes = place(new_figure(100, 80), 10, 10, 50, 30)
    draw_paper(axes, (-0.4, 0.6), (-1.0, 2.0))
    assert axes.get_xlim() == (-0.4, 0.6)
    assert axes.get_ylim() == (-1.0, 2.0)
    fine_x, fine_y, bold_x, bold_y = axes.collections
    for lines, axis, wanted in (
        (fine_x, 0, np.arange(-10, 16) * 0.04), (fine_y, 1, np.arange(-10, 21) * 0.1),
        (bold_x, 0, np.arange(-2, 4) * 0.2), (bold_y, 1, np.arange(-2, 5) * 0.5),
    ):  # fmt: skip
        ends = np.concatenate([path.vertices for path in lines.get_paths()]).reshape(-1, 3, 2)
        assert np.isnan(ends[:, 2]).any(axis=1).all()  # the pen is lifted
        ends = ends[:, :2]
        np.testing.assert_allclose(ends[:, 0, axis], wanted, atol=1e-9)
        # from one end of the axes to the other
        assert set(ends[:, :, 1 - axis].ravel()) == {0.0, 1.0}
    assert fine_x.get_linewidths()[0] < bold_x.get_linewidths()[0]
    assert fine_x.get_zorder() < bold_x.get_zorder() < 1
    for axis, wanted in ((axes.xaxis, np.arange(-2, 4) * 0.2), (axes.yaxis, np.arange(-2, 5) * 0.5)):
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_majorticklocs() if low - 1e-9 <= tick <= high + 1e-9]
        np.testing.assert_allclose(ticks, wanted, atol=1e-9)


def test_the_lines_of_long_paper_are_paths_short_enough_to_snap_to_pixels():
    axes = place(new_figure(900, 80), 10, 10, 800, 30)
    draw_paper(axes, (0.0, 30.0), (-1.0, 2.0))
    paths = axes.collections[0].get_paths()
    assert sum(len(path.vertices) for path in paths) == 3 * 751
    assert max(len(path.vertices) for path in paths) < 1024


@FEW
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20))
def test_the_millivolt_range_holds_the_trace_ends_at_half_millivolts_and_spans_one(mv):
    low, high = millivolt_range(np.array([*mv, np.nan]))
    assert low < min(mv)
    assert max(mv) < high
    assert high - low >= 1.0
    assert (low * 2, high * 2) == (round(low * 2), round(high * 2))
    assert min(mv) - low <= 0.61
    assert high - max(mv) <= 0.61 or high - low == 1.0


@pytest.mark.parametrize("signed", [True, False])
def test_the_map_lies_under_the_trace_and_again_as_a_strip_with_the_same_limits(signed):
    figure = new_figure(100, 80)
    axes, strip = place(figure, 10, 30, 50, 30), place(figure, 10, 10, 50, 5)
    draw_paper(axes, (-0.5, 0.49), (-1.0, 1.0))
    time = np.arange(-50, 50) / 100
    values = np.sin(time * 9)
    returned = draw_map(axes, strip, time, values, limit=2.0, signed=signed)
    draw_trace(axes, time, np.cos(time))
    (behind,), (below,) = axes.images, strip.images
    assert returned is below
    for image in (behind, below):
        np.testing.assert_array_equal(image.get_array(), values[None])
        assert (image.norm.vmin, image.norm.vmax) == (-2.0 if signed else 0.0, 2.0)
        # every column as wide as a sample, its sample in the middle
        assert image.get_extent()[:2] == pytest.approx([-0.505, 0.495])
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 0.49), (-1.0, 1.0))
    assert strip.get_xlim() == axes.get_xlim()
    (trace,) = axes.lines
    assert trace.get_zorder() > behind.get_zorder()
    assert behind.get_alpha() < 1
    assert below.get_alpha() in (None, 1)


def test_a_trace_takes_another_style_but_stays_on_top_unless_told():
    axes = place(new_figure(100, 80), 10, 10, 50, 30)
    draw_trace(axes, np.arange(3.0), np.arange(3.0), color="red")
    assert axes.lines[0].get_color() == "red"
    assert axes.lines[0].get_zorder() == 5
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[0, 0], [1, 1], [2, 2]])
