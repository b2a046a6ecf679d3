"""Twelve leads on ECG paper with bars where one map for all of them is largest, as Habeeb 2024 draws Grad-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.report.figures import GREY, ORANGE
from ecglens.report.paper import INK, draw_paper, draw_trace, new_figure, paper_size, place, plain
from ecglens.report.twelve_leads import note, thin_ticks, trace_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RED = "#c1121f"
_BELOW, _GAP, _MARGIN = 18.0, 1.2, 14.0  # mm


def leads_with_bars(
    signal: NDArray[np.floating],
    values: NDArray[np.floating],
    fs: float,
    leads: tuple[str, ...],
    title: str,
    *,
    what: str = "Grad-CAM",
    channels: bool = False,
    percentile: float = 95.0,
    within: tuple[float, float] | None = None,
    zoom: float = 0.62,
) -> Figure:
    """All leads under each other on ECG paper, bars where the map is at or above its own percentile; below them the map.

    signal (lead, time) in mV; values (cell,), cells of equal width, NaN has no bar; what: the map's name; channels: its cells
    are channels, drawn as if they were time; within: seconds of the signal's clock at which the map begins and ends, such as
    (-20, 10) where 20 s of padding before the signal are not drawn; default: the whole signal. A map that does not tell leads
    apart has the same bars on all of them. Raises EcglensError as `bars_of` does. Source: Habeeb 2024, figures 6 to 8.
    """
    seconds = signal.shape[1] / fs
    begin, end = within or (0.0, seconds)
    shown, threshold = bars_of(values, percentile)
    edges = np.linspace(begin, end, len(values) + 1)
    bars = [(edges[first], edges[stop]) for first, stop in _runs(shown)]
    ranges = [trace_range(row) for row in signal]
    sizes = [paper_size(seconds, high - low, zoom) for low, high in ranges]
    width, height = sizes[0][0], sum(size[1] for size in sizes)
    figure = new_figure(width + _MARGIN + 6, height + _GAP * len(leads) + _BELOW + 31)
    bottom = height + _GAP * len(leads) + _BELOW + 22
    time = (np.arange(signal.shape[1]) + 0.5) / fs
    for number, (lead, row, (low, high), size) in enumerate(zip(leads, signal, ranges, sizes, strict=True)):
        bottom -= size[1] + _GAP
        axes = place(figure, _MARGIN, bottom, width, size[1])
        draw_paper(axes, (0.0, seconds), (low, high))
        thin_ticks(axes, seconds)
        _draw_bars(axes, bars)
        draw_trace(axes, time, np.clip(row, low, high), linewidth=0.6)
        axes.set_xticklabels([])
        axes.set_yticks([0])
        axes.set_ylabel(lead, fontsize=7.5, rotation=0, ha="right", va="center")
        if number == 0:
            axes.set_title(title, fontsize=8.5, loc="left", weight="bold")
    below = place(figure, _MARGIN, bottom - _BELOW - 5, width, _BELOW)
    below.stairs(values, edges, baseline=None, color=INK, linewidth=0.8)
    _draw_bars(below, bars)
    if shown.any():
        below.axhline(threshold, color=ORANGE, linewidth=0.8, linestyle="--")
    below.set_xlim(0, seconds)
    thin_ticks(below, seconds)
    plain(below, labelsize=6.5, length=2)
    below.yaxis.get_offset_text().set_fontsize(5.5)
    below.set_ylabel(what, fontsize=7)
    below.set_xlabel("channels of the layer, drawn as if they were s" if channels else "s", fontsize=7.5)
    cells = f"{len(values)} " + ("channels" if channels else f"cells of {1000 * (end - begin) / len(values):.0f} ms")
    middles = (edges[:-1] + edges[1:]) / 2
    hidden = int((shown & ((middles < 0) | (middles >= seconds))).sum())
    told = _told(cells, int(shown.sum()), hidden, f"{percentile:g}", threshold)
    figure.text(0.01, 0.004, told + "\n" + note(zoom), fontsize=5.5, color=GREY)
    return figure


def bars_of(values: NDArray[np.floating], percentile: float = 95.0) -> tuple[NDArray[np.bool_], float]:
    """Which values of a map (cell,) are at or above its own percentile, and the smallest of them; none where all are alike.

    That smallest value is one of the map's: cutting off below the percentile first changes nothing. NaN does not count. Raises
    EcglensError where values has another shape, is empty or all NaN, or percentile is not from 0 to 100.
    """
    if values.ndim != 1 or np.isnan(values).all():
        raise EcglensError(f"a map of shape {values.shape} has no bars; expected (cell,) with one number at least")
    if not 0 <= percentile <= 100:
        raise EcglensError(f"percentile is {percentile:g}; expected 0 to 100")
    if np.nanmin(values) == np.nanmax(values):
        return np.zeros(len(values), bool), float(np.nanmax(values))
    threshold = float(np.nanpercentile(values, percentile, method="higher"))
    return values >= threshold, threshold


def _runs(shown: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, one after the last) of each run of neighbours: one bar each, as borders would show between two."""
    turns = np.flatnonzero(np.diff(np.concatenate([[False], shown, [False]]).astype(np.int8)))
    return [(int(first), int(stop)) for first, stop in zip(turns[::2], turns[1::2], strict=True)]


def _draw_bars(axes: Axes, bars: list[tuple[float, float]]) -> None:
    for first, stop in bars:
        axes.axvspan(first, stop, color=_RED, alpha=0.3, linewidth=0, zorder=1)


def _told(cells: str, n_shown: int, n_hidden: int, percentile: str, threshold: float) -> str:
    """What the bars are, in two lines."""
    if not n_shown:
        return f"no bars: all {cells} have the value {threshold:.3g}"
    hidden = f"; {n_hidden} of them are before or after the signal, not drawn" if n_hidden else ""
    return (
        f"red: the {n_shown} of {cells} at or above its own {percentile}th percentile ({threshold:.3g}, dashed){hidden}\n"
        "the same bars on all leads, as the map does not tell leads apart"
    )
