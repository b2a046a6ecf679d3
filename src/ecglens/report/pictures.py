"""ECGs drawn as pictures, with the maps of a model that sees pictures: over the picture, and under the trace in s and mV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.report.figures import GREEN, GREY
from ecglens.report.paper import (
    DIVERGING,
    INK,
    MM_PER_MV,
    MM_PER_SECOND,
    draw_paper,
    draw_trace,
    millivolt_range,
    new_figure,
    paper_size,
    place,
)
from ecglens.report.shown import ShownPicture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

_SIZE = "Blues"  # of a map without signs: white is nothing, as paper is
_WIDTH, _LEFT, _GAP = 180.0, 12.0, 4.0  # mm
_TRACE_WIDTH, _LARGEST_ZOOM, _MOST_MV = 134.0, 1.2, 5.0
_STRIP = 4.0  # mm, one under the other
_FULL = 99  # per cent of a map's values lie under full colour: one pixel must not pale all others


def picture_maps(shown: Sequence[ShownPicture], *, behind: str | None = None) -> Figure:
    """For each example: its picture under each method's map, then its trace in s and mV with the maps summed into time.

    All examples have the same methods; `behind` (the first, unless told) also lies behind the trace. A method's maps, and its
    maps in time, are drawn signed (purple for the class, orange against it) where one has values below 0, else in one hue;
    each has its own scale. All traces share one scale in mm. Raises EcglensError without examples or where methods differ.
    Source: figure 2 of Varandas 2021.
    """
    methods = _methods(shown)
    if behind is not None and behind not in methods:
        raise EcglensError(f"no maps of {behind!r} to lie behind the trace; expected one of: {', '.join(methods)}")
    behind = methods[0] if behind is None else behind
    signed, summed = (
        {name for name in methods if any(getattr(one, kind)[name].min() < 0 for one in shown)}
        for kind in ("maps", "time_maps")
    )
    side = min((_WIDTH - _LEFT - 2 - _GAP * (len(methods) - 1)) / len(methods), 52.0)
    longest = max(one.seconds[1] - one.seconds[0] for one in shown)
    zoom = min(_TRACE_WIDTH / (longest * MM_PER_SECOND), _LARGEST_ZOOM)
    ranges = [_trace_range(one) for one in shown]
    below = (_STRIP + 0.8) * len(methods) + 9
    heights = [12 + side + 4 + paper_size(1, high - low, zoom)[1] + below + 5 for low, high in ranges]
    figure = new_figure(_WIDTH, sum(heights) + 20)
    top = sum(heights) + 20
    for one, millivolts, height in zip(shown, ranges, heights, strict=True):
        _title(figure, one, top - 4)
        for m, name in enumerate(methods):
            axes = place(figure, _LEFT + m * (side + _GAP), top - 12 - side, side, side)
            _draw_picture(axes, one, one.maps[name], signed=name in signed)
            axes.set_title(f"{name}: {_focus(one.focus[name])}", fontsize=7, loc="left", pad=2.5)
        _trace_and_strips(figure, one, millivolts, (top - 12 - side - 4, zoom), behind, summed)
        top -= height
    _scales(figure, bool(signed | summed), len(methods) > len(signed & summed))
    figure.text(_LEFT / _WIDTH, 1.5 / (sum(heights) + 20), _note(zoom), fontsize=5.5, color=GREY)
    return figure


def labelled_region(one: ShownPicture) -> Figure:
    """One picture with the region of the labelled beat; axes in pixels (left, below) and in s and mV (right, above).

    Source: figure 3 of Varandas 2021.
    """
    rows, columns = one.ink.shape
    figure = new_figure(122, 128)
    axes = place(figure, 16, 16, 90, 90)
    _draw_picture(axes, one, None, signed=False)
    axes.set_xticks(np.linspace(0, columns, 5))
    axes.set_yticks(np.linspace(0, rows, 5))
    axes.set_xlabel("column (pixels)", fontsize=8)
    axes.set_ylabel("row (pixels)", fontsize=8)
    first, last = one.seconds
    bottom, top = one.millivolts
    seconds = axes.secondary_xaxis(
        "top",
        functions=(
            lambda x: first + np.asarray(x, float) / columns * (last - first),
            lambda s: (np.asarray(s, float) - first) / (last - first) * columns,
        ),
    )
    millivolts = axes.secondary_yaxis(
        "right",
        functions=(
            lambda y: top - np.asarray(y, float) / rows * (top - bottom),
            lambda mv: (top - np.asarray(mv, float)) / (top - bottom) * rows,
        ),
    )
    seconds.set_xlabel("s", fontsize=8)
    millivolts.set_ylabel(f"{one.lead} (mV)", fontsize=8)
    for each in (axes, seconds, millivolts):
        each.tick_params(labelsize=7, length=2)
    words = f"{_class(one)}; {one.id}\nframe: region of the labelled beat, {100 * one.area:.1f} % of the picture"
    figure.text(16 / 122, 126 / 128, words, fontsize=7.5, va="top", linespacing=1.3)
    return figure


def _methods(shown: Sequence[ShownPicture]) -> list[str]:
    if not shown:
        raise EcglensError("no examples to show; expected one or more")
    methods = list(shown[0].maps)
    for one in shown:
        if list(one.maps) != methods:
            raise EcglensError(
                f"{one.id} has maps of {', '.join(one.maps)}, {shown[0].id} of {', '.join(methods)}; expected the same"
            )
    return methods


def _class(one: ShownPicture) -> str:
    return f"{one.group + ': ' if one.group else ''}truly {one.label}, called {one.predicted}"


def _focus(share: float) -> str:
    return "empty map" if np.isnan(share) else f"focus {100 * share:.1f} %"


def _title(figure: Figure, one: ShownPicture, at_mm: float) -> None:
    width, height = figure.get_size_inches() * 25.4
    figure.text(_LEFT / width, at_mm / height, _class(one), fontsize=8.5, weight="bold", va="center")
    words = f"{one.id}; random focus {100 * one.area:.1f} %"
    figure.text((_WIDTH - 2) / width, at_mm / height, words, fontsize=7, color=INK, va="center", ha="right")


def _draw_picture(axes: Axes, one: ShownPicture, map_: NDArray[np.floating] | None, *, signed: bool) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    rows, columns = one.ink.shape
    extent = (0.0, float(columns), float(rows), 0.0)
    if map_ is not None:
        limit = full_colour(map_)
        # "none": each pixel of the map goes into the SVG as it is
        axes.imshow(
            map_, cmap=DIVERGING if signed else _SIZE, vmin=-limit if signed else 0, vmax=limit, extent=extent,
            interpolation="none", aspect="auto",
        )  # fmt: skip
    grey = int(INK[1:3], 16) / 255
    glass = ListedColormap([(grey, grey, grey, share) for share in np.linspace(0, 0.9, 256)])
    axes.imshow(one.ink, cmap=glass, vmin=0, vmax=1, extent=extent, interpolation="none", aspect="auto")
    top, bottom, left, right = one.box
    axes.add_patch(
        Rectangle(
            (left * columns, top * rows), (right - left) * columns, (bottom - top) * rows,
            fill=False, edgecolor=GREEN, linewidth=1.1, zorder=6,
        )
    )  # fmt: skip
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=GREY, linewidth=0.5)


def full_colour(values: NDArray[np.floating]) -> float:
    """The magnitude that gets a map's full colour: 99 % of its values that are not 0 lie under it; 1 for an empty map."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(np.percentile(sizes, _FULL)) if len(sizes) else 1.0


def _trace_range(one: ShownPicture) -> tuple[float, float]:
    """The trace's range, at most 5 mV around its median: one spike must not flatten a figure."""
    low, high = millivolt_range(one.mv)
    if high - low > _MOST_MV:
        low = np.round(2 * float(np.nanmedian(one.mv)) - _MOST_MV) / 2
        high = low + _MOST_MV
    return float(low), float(high)


def _trace_and_strips(
    figure: Figure,
    one: ShownPicture,
    millivolts: tuple[float, float],
    where: tuple[float, float],
    behind: str,
    signed: set[str],
) -> None:
    """The trace on ECG paper from `where` (mm from the bottom, zoom) downwards, and a strip for each method below it."""
    top, zoom = where
    width, height = paper_size(one.seconds[1] - one.seconds[0], millivolts[1] - millivolts[0], zoom)
    axes = place(figure, _LEFT, top - height, width, height)
    draw_paper(axes, one.seconds, millivolts)
    _columns(axes, one, behind, signed, (*millivolts, 0.45))
    draw_trace(axes, one.time_s, one.mv, linewidth=0.8)
    for r in one.r_s:
        axes.axvline(r, color=INK, linewidth=0.5, linestyle=":", zorder=4)
    for edge in one.millivolts:
        if millivolts[0] < edge < millivolts[1]:
            axes.axhline(edge, color=INK, linewidth=0.7, linestyle="--", zorder=4)
    axes.set_ylabel(f"{one.lead} (mV)", fontsize=7.5)
    axes.tick_params(labelsize=6.5)
    words = f"behind the trace:\n{behind}"
    axes.text(width + 2, height, words, fontsize=6.5, va="top", transform=_millimetres(axes, width, height))
    strip, bottom = axes, top - height
    for name in one.time_maps:
        strip.set_xticklabels([])
        bottom -= _STRIP + 0.8
        strip = place(figure, _LEFT, bottom, width, _STRIP)
        _columns(strip, one, name, signed, (0.0, 1.0, 1.0))
        strip.set_xlim(*one.seconds)
        strip.set_yticks([])
        strip.set_xticks([])
        for spine in strip.spines.values():
            spine.set(color=GREY, linewidth=0.5)
        strip.text(width + 2, _STRIP / 2, name, transform=_millimetres(strip, width, _STRIP), va="center", fontsize=6.5)
    for each in figure.axes[-len(one.time_maps) - 1 :]:
        for edge in one.box_seconds:
            each.axvline(edge, color=GREEN, linewidth=1.1, zorder=6)
    ticks = np.arange(np.ceil(one.seconds[0] * 2), np.floor(one.seconds[1] * 2) + 1) / 2 + 0.0  # no "-0.0"
    strip.set_xticks(ticks, [f"{tick:.1f}" for tick in ticks])
    strip.tick_params(length=1.5, labelsize=6.5)
    strip.set_xlabel("s", fontsize=7)


def _millimetres(axes: Axes, width: float, height: float) -> Transform:
    """Places in mm from the lower left corner of axes of that size."""
    from matplotlib.transforms import Affine2D

    return Affine2D().scale(1 / width, 1 / height) + axes.transAxes


def _columns(axes: Axes, one: ShownPicture, name: str, signed: set[str], low_high_alpha: tuple[float, float, float]) -> None:
    low, high, alpha = low_high_alpha
    limit = full_colour(one.time_maps[name])
    with_signs = name in signed
    axes.imshow(
        one.time_maps[name][None], aspect="auto", cmap=DIVERGING if with_signs else _SIZE, vmin=-limit if with_signs else 0,
        vmax=limit, alpha=alpha, zorder=0.5, extent=(*one.seconds, low, high), interpolation="none",
    )  # fmt: skip


def _scales(figure: Figure, signed: bool, unsigned: bool) -> None:
    """One colour bar for maps with signs, one for maps without."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bars = ([(DIVERGING, "against the class | for it", -1)] if signed else []) + (
        [(_SIZE, "none | most", 0)] if unsigned else []
    )
    for k, (cmap, words, low) in enumerate(bars):
        axes = place(figure, _LEFT + 60 * k, 12, 50, 2.2)
        bar = figure.colorbar(ScalarMappable(Normalize(low, 1), cmap), cax=axes, orientation="horizontal")
        bar.set_ticks([])
        bar.outline.set_linewidth(0.4)
        bar.ax.set_title(words, fontsize=6.5, pad=2)


def _note(zoom: float) -> str:
    return (
        f"Each map on its own scale, full colour at the {_FULL:g}th percentile of its values that are not 0. "
        "Green: region of the labelled beat.\n"
        "Traces: R dotted, upper and lower edge of the picture dashed where the trace comes near; "
        f"{MM_PER_SECOND:g} mm/s, {MM_PER_MV:g} mm/mV,\n"
        f"drawn {zoom:.2g} times as large; small squares 0.04 s and 0.1 mV."
    )
