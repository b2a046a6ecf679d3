"""ECG paper at 25 mm/s and 10 mm/mV, with traces that no colour hides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MM = 1 / 25.4  # inch
MM_PER_SECOND, MM_PER_MV = 25.0, 10.0
_FINE, _BOLD = "#f4d9d5", "#e3a59c"
_PIECE = 3 * 300  # points of a path of lines; longer ones lose the snapping to pixels
INK = "#1b1b1b"
SEQUENTIAL, DIVERGING = "YlGnBu", "PuOr"  # both safe for the colour-blind


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of that size that belongs to no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_mm * MM, height_mm * MM))


def place(figure: Figure, left_mm: float, bottom_mm: float, width_mm: float, height_mm: float) -> Axes:
    """Axes at a place of the figure given in millimetres."""
    width, height = figure.get_size_inches() / MM
    return figure.add_axes((left_mm / width, bottom_mm / height, width_mm / width, height_mm / height))


def plain(axes: Axes, **ticks: float) -> None:
    """No frame above and at the right, small tick labels; ticks: what else `tick_params` takes."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(**({"labelsize": 7} | ticks))  # type: ignore[arg-type]


def paper_size(seconds: float, millivolts: float, zoom: float) -> tuple[float, float]:
    """Width and height in mm of that much ECG paper, enlarged `zoom` times."""
    return seconds * MM_PER_SECOND * zoom, millivolts * MM_PER_MV * zoom


def draw_paper(axes: Axes, seconds: tuple[float, float], millivolts: tuple[float, float]) -> None:
    """Fine lines each mm (0.04 s, 0.1 mV), bold ones each 5 mm (0.2 s, 0.5 mV), ticks at bold lines."""
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    axes.set_xlim(*seconds)
    axes.set_ylim(*millivolts)
    axes.xaxis.set_major_locator(MultipleLocator(0.2))
    axes.yaxis.set_major_locator(MultipleLocator(0.5))
    # lines, not the grid of minor ticks: a tick is an object of its own, and a page has ten thousand
    for step_s, step_mv, colour, width, order in ((0.04, 0.1, _FINE, 0.4, 0.5), (0.2, 0.5, _BOLD, 0.6, 0.51)):
        style = {"colors": colour, "linewidths": width, "zorder": order}
        across = _combed(_multiples(step_s, *seconds))
        up = _combed(_multiples(step_mv, *millivolts))[:, ::-1]
        for lines, transform in ((across, axes.get_xaxis_transform()), (up, axes.get_yaxis_transform())):
            pieces = [lines[k : k + _PIECE] for k in range(0, len(lines), _PIECE)]
            axes.add_collection(LineCollection(pieces, transform=transform, **style), autolim=False)  # type: ignore[arg-type]
    axes.tick_params(which="both", length=0, labelsize=7)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1f}"))
    for spine in axes.spines.values():
        spine.set_color(_BOLD)


def _combed(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (3 a line, 2) of lines from 0 to 1, NaN between them: one path, where a path for each doubles a page's size."""
    return np.column_stack([np.repeat(at, 3), np.tile([0.0, 1.0, np.nan], len(at))])


def _multiples(step: float, low: float, high: float) -> NDArray[np.float64]:
    """Multiples of `step` from `low` to `high`, ends included."""
    return np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1) * step


def millivolt_range(mv: NDArray[np.floating]) -> tuple[float, float]:
    """The range of a trace, out to the next half millivolt, at least 1 mV."""
    low, high = float(np.nanmin(mv)), float(np.nanmax(mv))
    bottom, top = np.floor(low * 2 - 0.2) / 2, np.ceil(high * 2 + 0.2) / 2
    return float(bottom), float(max(top, bottom + 1.0))


def draw_trace(axes: Axes, time_s: NDArray[np.floating], mv: NDArray[np.floating], **style: object) -> None:
    """A thin dark trace, above everything else."""
    axes.plot(time_s, mv, **({"color": INK, "linewidth": 0.9, "zorder": 5} | style))  # type: ignore[arg-type]


def draw_map(
    axes: Axes,
    strip: Axes,
    time_s: NDArray[np.floating],
    values: NDArray[np.floating],
    *,
    limit: float,
    signed: bool,
) -> object:
    """The map as pale columns behind the trace and, in full colour, as a strip below; returns what a colour bar needs.

    limit: the value of full colour; signed: diverging colours around 0, else sequential from 0.
    """
    norm_low = -limit if signed else 0.0
    cmap = DIVERGING if signed else SEQUENTIAL
    half = (time_s[1] - time_s[0]) / 2 if len(time_s) > 1 else 0.5
    extent = (time_s[0] - half, time_s[-1] + half)
    image = values[None, :]
    axes.imshow(
        image, aspect="auto", cmap=cmap, vmin=norm_low, vmax=limit, alpha=0.45, zorder=1,
        extent=(*extent, *axes.get_ylim()), interpolation="nearest",
    )  # fmt: skip
    drawn = strip.imshow(
        image, aspect="auto", cmap=cmap, vmin=norm_low, vmax=limit, extent=(*extent, 0, 1), interpolation="nearest"
    )
    strip.set_yticks([])
    strip.tick_params(length=0, labelsize=7)
    strip.set_xlim(*axes.get_xlim())
    return drawn
