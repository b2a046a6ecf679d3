"""Examples on ECG paper with their maps, small enough for many on a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecglens.report.figures import BLUE, GREY
from ecglens.report.paper import MM_PER_MV, MM_PER_SECOND, draw_map, draw_paper, draw_trace, new_figure, paper_size, place
from ecglens.report.twelve_leads import note, trace_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHORT = 3.0  # s, up to which examples stand side by side
_LEFT, _GAP, _STRIP, _TITLE, _BELOW = 11.0, 3.0, 3.2, 8.0, 13.0  # mm
_WIDE, _NARROW = 172.0, 100.0  # mm of paper at most, of a picture at least: the note needs room
_FAINT = 0.03  # of full colour, below which nothing is drawn
_TALL = 95.0  # mm of paper of examples side by side, at most


@dataclass(frozen=True)
class Shown:
    """An example to draw: title; leads by name; time_s (time,); mv and values (lead, time), values None without a map; valid,
    bool (time,); mark_s: where the sign is, or None.
    """

    title: str
    leads: tuple[str, ...]
    time_s: NDArray[np.floating[Any]]
    mv: NDArray[np.floating[Any]]
    values: NDArray[np.floating[Any]] | None
    valid: NDArray[np.bool_]
    mark_s: float | None = None


def on_paper(shown: Sequence[Shown]) -> Figure:
    """Examples on ECG paper with their maps behind the trace and, in full colour, below: short ones side by side, long ones
    under each other; all on one scale of the map.
    """
    spans = [len(one.time_s) * _step(one) for one in shown]
    beside = max(spans) <= _SHORT
    n = len(shown)
    ranges = [_ranges(shown, k) if beside else None for k in range(max(len(one.leads) for one in shown))]
    if beside:
        high = sum(each[1] - each[0] for each in ranges if each)
        zoom = min(1.5, (_WIDE - _GAP * (n - 1)) / (MM_PER_SECOND * sum(spans)), _TALL / (MM_PER_MV * high))
    else:
        zoom = min(0.68, _WIDE / (MM_PER_SECOND * max(spans)))
    limit = max([float(np.percentile(np.abs(one.values), 99.5)) for one in shown if one.values is not None], default=0.0)
    limit = limit or max([float(np.abs(one.values).max()) for one in shown if one.values is not None], default=0.0) or 1.0
    signed = any(one.values is not None and bool((one.values < 0).any()) for one in shown)
    blocks = []  # (width, height of each lead, its range) of each example
    for one, seconds in zip(shown, spans, strict=True):
        own = [ranges[k] or _range(one, k) for k in range(len(one.leads))]
        sizes = [paper_size(seconds, high - low, zoom) for low, high in own]
        blocks.append((sizes[0][0], [height for _, height in sizes], own))
    strip = _STRIP if any(one.values is not None for one in shown) else 0.0
    heights = [_TITLE + sum(tall) + len(tall) * (strip + 2.0) for _, tall, _ in blocks]
    width = sum(block[0] for block in blocks) + (_GAP + _LEFT) * (n - 1) if beside else max(block[0] for block in blocks)
    total = max(heights) if beside else sum(heights) + 4.0 * (n - 1)
    figure = new_figure(max(_LEFT + width + 4, _NARROW), total + _BELOW)
    left, top = _LEFT, total + _BELOW
    for k, (one, (wide, tall, own)) in enumerate(zip(shown, blocks, strict=True)):
        _draw(figure, one, left, top, wide, tall, own, strip, limit, signed, last=beside or k == n - 1)
        left, top = (left + wide + _GAP + _LEFT, top) if beside else (left, top - heights[k] - 4.0)
    figure.text(0.008, 0.008, note(round(zoom, 2)), fontsize=5.2, color=GREY)
    return figure


def _step(one: Shown) -> float:
    return float(one.time_s[1] - one.time_s[0]) if len(one.time_s) > 1 else 1.0


def _range(one: Shown, k: int) -> tuple[float, float]:
    mv = one.mv[k][one.valid] if one.valid.any() else one.mv[k]
    return trace_range(mv)


def _ranges(shown: Sequence[Shown], k: int) -> tuple[float, float]:
    """Of the k-th lead of examples side by side: one for all."""
    every = [_range(one, k) for one in shown if k < len(one.leads)]
    return min(low for low, _ in every), max(high for _, high in every)


def _draw(
    figure: Figure, one: Shown, left: float, top: float, wide: float, tall: list[float], own: list[tuple[float, float]],
    strip: float, limit: float, signed: bool, *, last: bool,
) -> None:  # fmt: skip
    half = _step(one) / 2
    span, bottom = (float(one.time_s[0]) - half, float(one.time_s[-1]) + half), top - _TITLE
    step = 0.2 if span[1] - span[0] <= _SHORT else 1.0
    for k, (lead, height, (low, high)) in enumerate(zip(one.leads, tall, own, strict=True)):
        bottom -= height
        axes = place(figure, left, bottom, wide, height)
        draw_paper(axes, span, (low, high))
        below = axes
        if one.values is not None:
            below = place(figure, left, bottom - strip, wide, strip - 0.8)
            seen = np.where(np.abs(one.values[k]) < _FAINT * limit, np.nan, one.values[k])  # paper stays paper
            draw_map(axes, below, one.time_s, seen, limit=limit, signed=signed)
            for spine in below.spines.values():
                spine.set_visible(False)
        _details(axes, one, (low, high))
        draw_trace(axes, one.time_s, np.where(one.valid, np.clip(one.mv[k], low, high), np.nan), linewidth=0.8)
        axes.set_ylabel(f"{lead} (mV)", fontsize=6.5, labelpad=1)
        if k == 0:
            axes.set_title(one.title, fontsize=6.5, loc="left", pad=3, linespacing=1.3)
        _ticks(axes, below, span, step, words=last and k == len(one.leads) - 1)
        bottom -= strip + 2.0


def _details(axes: Axes, one: Shown, mv: tuple[float, float]) -> None:
    """Padding in grey, the sign's place in blue."""
    if not one.valid.all():
        axes.fill_between(one.time_s, *mv, where=(~one.valid).tolist(), color="#bdbdbd", alpha=0.6, linewidth=0, zorder=2)
    if one.mark_s is not None:
        axes.axvline(one.mark_s, color=BLUE, linewidth=1.1, linestyle=(0, (3, 2)), zorder=6)
        axes.plot([one.mark_s], [mv[1]], marker="v", color=BLUE, markersize=4, zorder=7, clip_on=False)


def _ticks(axes: Axes, below: Axes, span: tuple[float, float], step: float, *, words: bool) -> None:
    ticks = np.arange(np.ceil(span[0] / step - 1e-6), np.floor(span[1] / step + 1e-6) + 1) * step
    shown = [f"{tick:.1f}" if step < 1 else f"{tick:.0f}" for tick in ticks + 0.0]
    for each in dict.fromkeys((axes, below)):
        each.set_xticks(ticks, shown if words and each is below else [""] * len(ticks))
        each.tick_params(length=0, labelsize=5.5, pad=1.5)
    if words:
        below.set_xlabel("s from R" if span[0] < -0.01 else "s", fontsize=6, labelpad=1)


def slim(svg: str) -> str:
    """The same picture in half of the bytes: lines of one style in one path, places in tenths of a point."""
    one = re.compile(r'<path d="([^"]*)"( clip-path="[^"]*" style="fill: none; stroke: [^"]*")/>\s*')
    out: list[str] = []
    lines: list[str] = []
    at, style = 0, ""
    for each in one.finditer(svg):
        if lines and (each.start() != at or each[2] != style):
            out.append(f'<path d="{"".join(lines)}"{style}/>\n')
            lines = []
        out.append(svg[at : each.start()])
        lines.append(_short(each[1]))
        style, at = each[2], each.end()
    if lines:
        out.append(f'<path d="{"".join(lines)}"{style}/>\n')
    return "".join([*out, svg[at:]])


def _short(line: str) -> str:
    """A path of straight lines, "M x y L x y ...", in few letters; another one as it is."""
    words = line.split()
    if not set("".join(words)) <= set("ML0123456789.-"):
        return " ".join(words)
    words = [word if word in "ML" else f"{float(word):.1f}".removesuffix(".0") for word in words]
    if words[::3] == ["M", "L"]:  # a line of the grid
        if words[1] == words[4]:
            return f"M{words[1]} {words[2]}V{words[5]}"
        if words[2] == words[5]:
            return f"M{words[1]} {words[2]}H{words[4]}"
    return " ".join(words).replace("M ", "M").replace(" L ", " ").replace(" M", "M")
