"""Twelve leads on ECG paper, each behind its own map and beside what the whole lead adds: one record, lead by lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.report.figures import GREY
from ecglens.report.paper import DIVERGING, draw_paper, draw_trace, new_figure, paper_size, place
from ecglens.report.twelve_leads import note, thin_ticks, trace_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP, _LEFT, _BELOW, _TITLE = 1.2, 14.0, 21.0, 13.0  # mm
_LEAST = 150.0  # mm: width that title and legend need, however short the record is
_SIDE, _BAR = 46.0, 2.4  # mm: width beside the leads, thickness of a bar
_FOR, _AGAINST = 0.88, 0.17  # places in the diverging colours that show on white


def leads_with_maps(
    signal: NDArray[np.floating],
    values: NDArray[np.floating],
    fs: float,
    leads: tuple[str, ...],
    title: str,
    *,
    what: str,
    percentile: float = 100.0,
    bars: dict[str, NDArray[np.floating]] | None = None,
    zoom: float = 0.62,
) -> Figure:
    """All leads under each other on ECG paper, each tinted by its own map; beside each what `bars` say of the whole lead.

    signal in mV, values, both (lead, time): purple speaks for the class, orange against it, NaN and 0 are white; one scale for
    all leads, full colour at the `percentile` of the values' sizes; what: the map's name and unit. bars: words to one value
    for each lead (lead,), in logits, on one scale; at most three, the first in full colour, the next paler. Raises
    EcglensError where shapes do not fit.
    """
    bars = bars or {}
    wrong = [words for words, each in bars.items() if each.shape != (len(leads),)]
    if signal.ndim != 2 or values.shape != signal.shape or len(signal) != len(leads) or wrong or len(bars) > 3:
        shapes = [each.shape for each in bars.values()]
        raise EcglensError(
            f"signal {signal.shape}, values {values.shape}, {len(leads)} leads, bars {shapes}; expected (lead, time) twice, "
            "and at most three bars, a value a lead each"
        )
    seconds = signal.shape[1] / fs
    ranges = [trace_range(row) for row in signal]
    sizes = [paper_size(seconds, high - low, zoom) for low, high in ranges]
    width, height = sizes[0][0], sum(size[1] for size in sizes)
    figure = new_figure(max(_LEFT + width + (_SIDE if bars else 0) + 6, _LEAST), height + _GAP * len(leads) + _BELOW + _TITLE)
    bottom = height + _GAP * len(leads) + _BELOW
    sized = np.abs(values[~np.isnan(values)])
    limit = float(np.percentile(sized, percentile)) if len(sized) else 0.0
    limit = limit or float(sized.max(initial=0.0)) or 1.0
    ends = _ends(list(bars.values()))
    time = (np.arange(signal.shape[1]) + 0.5) / fs
    for number, (lead, row, (low, high), size) in enumerate(zip(leads, signal, ranges, sizes, strict=True)):
        bottom -= size[1] + _GAP
        axes = place(figure, _LEFT, bottom, width, size[1])
        draw_paper(axes, (0.0, seconds), (low, high))
        thin_ticks(axes, seconds)
        drawn = axes.imshow(
            values[number][None], aspect="auto", cmap=DIVERGING, vmin=-limit, vmax=limit, alpha=0.55, zorder=1,
            extent=(0.0, seconds, low, high), interpolation="nearest",
        )  # fmt: skip
        draw_trace(axes, time, np.clip(row, low, high), linewidth=0.6)
        if number < len(leads) - 1:
            axes.set_xticklabels([])
        axes.set_yticks([0])
        axes.set_ylabel(lead, fontsize=7.5, rotation=0, ha="right", va="center")
        if number == 0:
            axes.set_title(title, fontsize=7.5, loc="left", weight="bold")
        if bars:
            beside = place(figure, _LEFT + width + 3, bottom, _SIDE - 3, size[1])
            _draw_bars(beside, [float(each[number]) for each in bars.values()], size[1], ends)
    axes.tick_params(labelsize=6.5)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("s", fontsize=7.5, labelpad=1)
    bar = figure.colorbar(drawn, cax=place(figure, _LEFT + 3, 10, 50, 2.2), orientation="horizontal")
    bar.set_ticks([-limit, 0, limit], labels=[f"{-limit:.2g}", "0", f"{limit:.2g}"])
    bar.ax.tick_params(labelsize=6, length=1.5, pad=1)
    words = f"{what}\npurple: for the class, orange: against"
    bar.ax.text(1.1, 0.5, words, fontsize=6, va="center", transform=bar.ax.transAxes)
    if bars:
        _below(beside, bars)
    figure.text(0.01, 0.004, note(zoom), fontsize=5.5, color=GREY)
    return figure


def _ends(bars: list[NDArray[np.floating]]) -> tuple[float, float]:
    """Of the scale of all bars: 0 is on it, and there is room for the numbers on both sides."""
    low, high = float(np.min(bars, initial=0.0)), float(np.max(bars, initial=0.0))
    room = 0.35 * (high - low) or 1.0
    return low - room, high + room


def _draw_bars(axes: Axes, values: list[float], height: float, ends: tuple[float, float]) -> None:
    """Bars of one lead, one under the other, with their numbers; the y axis is in mm."""
    from matplotlib import colormaps

    colours = colormaps[DIVERGING]
    axes.axvline(0, color=GREY, linewidth=0.6)
    for k, value in enumerate(values):
        y = (len(values) - 1) / 2 - k
        colour = colours(_FOR if value > 0 else _AGAINST)
        axes.barh(y * (_BAR + 0.3), value, height=_BAR, color=colour, alpha=1 - 0.35 * k, linewidth=0)
        axes.text(
            value, y * (_BAR + 0.3), f" {value:+.2f} ", ha="left" if value >= 0 else "right", va="center_baseline", fontsize=5
        )
    axes.set_xlim(*ends)
    axes.set_ylim(-height / 2, height / 2)
    axes.set_yticks([])
    axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _below(axes: Axes, bars: dict[str, NDArray[np.floating]]) -> None:
    """The scale of the bars, and what each of them is, with its sum over leads."""
    from matplotlib.ticker import MaxNLocator

    axes.spines["bottom"].set_visible(True)
    axes.spines["bottom"].set_color(GREY)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(labelsize=6, length=1.5, pad=1)
    place_of = ("",) if len(bars) == 1 else ("upper: ", "lower: ") if len(bars) == 2 else ("1st: ", "2nd: ", "3rd: ")
    lines = [f"{place}{words}, sum {each.sum():+.2f}" for place, (words, each) in zip(place_of, bars.items(), strict=True)]
    axes.set_xlabel("the lead's part of the logit\n" + "\n".join(lines), fontsize=5.5, labelpad=1)
