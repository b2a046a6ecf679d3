"""Twelve leads on ECG paper with one class activation map for all of them; one lead above its map, as Lin 2020 shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecglens.report.figures import GREY, ORANGE
from ecglens.report.paper import (
    DIVERGING,
    INK,
    MM_PER_MV,
    MM_PER_SECOND,
    draw_paper,
    draw_trace,
    new_figure,
    paper_size,
    place,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STRIP = 5.0  # mm
_RED = "#c1121f"
_MOST_MV = 3.0
_MOST_ROWS = 12


def lead_above_map(
    signal: NDArray[np.floating],
    cam: NDArray[np.floating],
    fs: float,
    lead: str,
    title: str,
    *,
    threshold: float,
    zoom: float = 0.62,
) -> Figure:
    """One lead on ECG paper, red where the map is above `threshold`; below it the map, against time, with the threshold.

    signal (time,) in mV; cam (cell,), cells of equal width over the whole time, NaN where there is no
    signal. Source: Lin 2020, figures 3 and 4.
    """
    seconds = len(signal) / fs
    low, high = trace_range(signal)
    width, height = paper_size(seconds, high - low, zoom)
    figure = new_figure(width + 26, height + 46)
    axes = place(figure, 14, 34, width, height)
    draw_paper(axes, (0.0, seconds), (low, high))
    thin_ticks(axes, seconds)
    time = (np.arange(len(signal)) + 0.5) / fs
    draw_trace(axes, time, signal, linewidth=0.7)
    above = np.repeat(cam > threshold, -(-len(signal) // len(cam)))[: len(signal)]
    draw_trace(axes, time, np.where(above, signal, np.nan), color=_RED, linewidth=1.1, zorder=6)
    axes.set_xticklabels([])
    axes.set_ylabel(f"{lead} (mV)", fontsize=8)
    axes.set_title(title, fontsize=8.5, loc="left", weight="bold")
    below = place(figure, 14, 12, width, 20)
    at = (np.arange(len(cam)) + 0.5) / len(cam) * seconds
    below.plot(at, cam, color=INK, linewidth=0.9)
    below.fill_between(at, threshold, cam, where=(cam > threshold).tolist(), color=_RED, alpha=0.35, linewidth=0, step="mid")
    below.axhline(threshold, color=ORANGE, linewidth=0.8, linestyle="--")
    below.axhline(0, color=GREY, linewidth=0.6, linestyle=":")
    below.set_xlim(0, seconds)
    below.set_ylabel("CAM (logits)", fontsize=7.5)
    below.set_xlabel("s", fontsize=8)
    below.tick_params(labelsize=6.5, length=2)
    for side in ("top", "right"):
        below.spines[side].set_visible(False)
    figure.text(0.01, 0.01, note(zoom) + "; red: CAM above the dashed line", fontsize=5.5, color=GREY)
    return figure


def twelve_on_paper(
    signal: NDArray[np.floating],
    cam: NDArray[np.floating],
    fs: float,
    leads: tuple[str, ...],
    title: str,
    *,
    zoom: float = 0.62,
) -> Figure:
    """All leads under each other on ECG paper, the one map behind each of them and below in full colour.

    signal (lead, time) in mV; cam (cell,), NaN is left white: it does not tell leads apart, so it is the same behind all.
    """
    seconds = signal.shape[1] / fs
    ranges = [trace_range(row) for row in signal]
    sizes = [paper_size(seconds, high - low, zoom) for low, high in ranges]
    width, height = sizes[0][0], sum(size[1] for size in sizes)
    figure = new_figure(width + 26, height + 1.2 * len(leads) + _STRIP + 24)
    bottom = height + 1.2 * len(leads) + _STRIP + 15
    limit = float(np.nanmax(np.abs(cam), initial=0.0)) or 1.0
    time = (np.arange(signal.shape[1]) + 0.5) / fs
    for number, (lead, row, (low, high), size) in enumerate(zip(leads, signal, ranges, sizes, strict=True)):
        bottom -= size[1] + 1.2
        axes = place(figure, 14, bottom, width, size[1])
        draw_paper(axes, (0.0, seconds), (low, high))
        thin_ticks(axes, seconds)
        axes.imshow(
            cam[None], aspect="auto", cmap=DIVERGING, vmin=-limit, vmax=limit, alpha=0.4, zorder=1,
            extent=(0.0, seconds, low, high), interpolation="nearest",
        )  # fmt: skip
        draw_trace(axes, time, np.clip(row, low, high), linewidth=0.6)
        axes.set_xticklabels([])
        axes.set_yticks([0])
        axes.set_ylabel(lead, fontsize=7.5, rotation=0, ha="right", va="center")
        if number == 0:
            axes.set_title(title, fontsize=8.5, loc="left", weight="bold")
    strip = place(figure, 14, bottom - _STRIP - 1.2, width, _STRIP)
    drawn = strip.imshow(
        cam[None], aspect="auto", cmap=DIVERGING, vmin=-limit, vmax=limit, extent=(0.0, seconds, 0, 1), interpolation="nearest"
    )
    strip.set_yticks([])
    strip.tick_params(labelsize=6.5, length=2)
    strip.set_xlabel("s; purple: for the class, orange: against it", fontsize=7.5)
    bar = figure.colorbar(drawn, cax=place(figure, 14 + width + 2, bottom - _STRIP - 1.2, 2, 30))
    bar.ax.tick_params(labelsize=5.5, length=1)
    bar.set_label("CAM (logits)", fontsize=6)
    figure.text(0.01, 0.004, note(zoom), fontsize=5.5, color=GREY)
    return figure


def long_record(
    signal: NDArray[np.floating], cam: NDArray[np.floating], fs: float, lead: str, title: str, *, seconds: float = 10.0,
    zoom: float = 0.62,
) -> Figure:  # fmt: skip
    """A record of any length in rows of `seconds`, at most twelve, each with its stretch of the map below; one scale for all.

    signal, cam (sample,): both against the record's time; NaN is left white.
    """
    per_row = round(seconds * fs)
    rows = [slice(start, min(start + per_row, len(signal))) for start in range(0, len(signal), per_row)][:_MOST_ROWS]
    low, high = trace_range(signal[~np.isnan(signal)])
    width, height = paper_size(seconds, high - low, zoom)
    step = height + _STRIP + 7
    figure = new_figure(width + 26, step * len(rows) + 22)
    limit = float(np.nanmax(np.abs(cam), initial=0.0)) or 1.0
    bottom = step * len(rows) + 11.0
    for number, row in enumerate(rows):
        bottom -= step
        axes = place(figure, 14, bottom + _STRIP + 1, width, height)
        start = row.start / fs
        draw_paper(axes, (start, start + seconds), (low, high))
        axes.set_xticks(start + np.arange(0, seconds + 0.01, 1.0))
        draw_trace(axes, (np.arange(row.start, row.stop) + 0.5) / fs, np.clip(signal[row], low, high), linewidth=0.6)
        axes.set_xticklabels([])
        axes.set_yticks([0])
        axes.set_ylabel(lead, fontsize=7.5, rotation=0, ha="right", va="center")
        if number == 0:
            axes.set_title(title, fontsize=8.5, loc="left", weight="bold")
        strip = place(figure, 14, bottom, width, _STRIP)
        strip.imshow(
            cam[row][None], aspect="auto", cmap=DIVERGING, vmin=-limit, vmax=limit, extent=(start, row.stop / fs, 0, 1),
            interpolation="nearest",
        )  # fmt: skip
        strip.set_xlim(start, start + seconds)
        strip.set_yticks([])
        strip.tick_params(labelsize=6, length=1.5)
    strip.set_xlabel("s; purple: for the class, orange: against it; full colour at " + f"{limit:.2g} logits", fontsize=7.5)
    shown = f"; the first {len(rows) * seconds:g} s of {len(signal) / fs:g}" if len(rows) * per_row < len(signal) else ""
    figure.text(0.01, 0.004, note(zoom) + shown, fontsize=5.5, color=GREY)
    return figure


def trace_range(signal: NDArray[np.floating]) -> tuple[float, float]:
    """Out to the next half millivolt, at most 3 mV away from the median: one spike must not flatten the rest."""
    middle = float(np.median(signal))
    low = max(np.floor(float(signal.min()) * 2 - 0.1) / 2, np.floor((middle - _MOST_MV) * 2) / 2)
    high = min(np.ceil(float(signal.max()) * 2 + 0.1) / 2, np.ceil((middle + _MOST_MV) * 2) / 2)
    return float(low), float(max(high, low + 1.0))


def thin_ticks(axes: Axes, seconds: float) -> None:
    """Words at whole seconds alone: ten seconds have no room for five words each."""
    axes.set_xticks(np.arange(0, seconds + 0.01, 1.0))


def note(zoom: float) -> str:
    """What the paper's squares are."""
    return f"{MM_PER_SECOND:g} mm/s, {MM_PER_MV:g} mm/mV, drawn {zoom:g} times as large; small squares 0.04 s and 0.1 mV"
