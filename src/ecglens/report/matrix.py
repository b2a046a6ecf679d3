"""Tables of numbers, by class and class or by class and lead, as pictures with the numbers in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecglens.report.figures import GREY
from ecglens.report.paper import DIVERGING, INK, SEQUENTIAL, new_figure, place

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 6.2  # mm


def class_matrix(values: NDArray[np.floating], names: list[str], title: str, rows: str, columns: str) -> Figure:
    """values (class, class) from 0 to 1, written to two places; `rows` and `columns` say what the sides are."""
    size, margin = _CELL * len(names), 1.6 * max(map(len, names)) + 8
    figure = new_figure(size + margin + 6, size + margin + 12)
    axes = place(figure, margin, margin, size, size)
    axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value > 0.6 else INK
        said = "1" if value == 1 else f"{value:.2f}".lstrip("0")
        axes.text(column, row, said, ha="center", va="center", fontsize=5, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.tick_params(length=0)
    axes.set_xlabel(columns, fontsize=7)
    axes.set_ylabel(rows, fontsize=7)
    axes.set_title(title, fontsize=8.5, loc="left", weight="bold")
    for spine in axes.spines.values():
        spine.set_color(GREY)
    return figure


def lead_matrix(
    values: NDArray[np.floating], names: list[str], leads: tuple[str, ...], title: str, *, signed: bool, full: float = 0.3
) -> Figure:
    """values (class, lead), written to two places, NaN left white; full colour at `full`, signed: from -`full` on."""
    margin = 1.6 * max(map(len, names)) + 6
    width, height = 9.0 * len(leads), _CELL * len(names)
    figure = new_figure(width + margin + 16, height + 22)
    axes = place(figure, margin, 10, width, height)
    low = -full if signed else 0.0
    drawn = axes.imshow(values, cmap=DIVERGING if signed else SEQUENTIAL, vmin=low, vmax=full, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "white" if abs(value) > 0.65 * full else INK
            axes.text(column, row, f"{value:.2f}".replace("0.", "."), ha="center", va="center", fontsize=6, color=colour)
    axes.set_xticks(range(len(leads)), leads, fontsize=6.5)
    axes.set_yticks(range(len(names)), names, fontsize=6.5)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=8.5, loc="left", weight="bold")
    bar = figure.colorbar(drawn, cax=place(figure, margin + width + 2, 10, 2, height))
    bar.ax.tick_params(labelsize=5.5, length=1)
    bar.set_label("share", fontsize=6)
    for spine in axes.spines.values():
        spine.set_color(GREY)
    return figure
