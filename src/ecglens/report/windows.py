"""Pictures of windows of one lead: maps under the trace, across training, and numbers by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ecglens.report.figures import BLUE, GREEN, GREY, ORANGE, PURPLE
from ecglens.report.paper import (
    DIVERGING,
    INK,
    MM_PER_MV,
    MM_PER_SECOND,
    SEQUENTIAL,
    draw_map,
    draw_paper,
    draw_trace,
    millivolt_range,
    new_figure,
    paper_size,
    place,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ZOOM = 2.0
_SCALE_NOTE = f"{MM_PER_SECOND:g} mm/s, {MM_PER_MV:g} mm/mV, enlarged {_ZOOM:g} times; small squares 0.04 s and 0.1 mV"
_STRIP = 5.0  # mm


def window_with_maps(window: pd.DataFrame, strips: dict[str, str]) -> Figure:
    """One window on ECG paper with its signed map behind the trace, and strips of maps below it.

    window: columns time_s, mv, r_s, lead, cam, and one for each of `strips` (column to words); the signed map is in `cam`,
    the others lie between 0 and 1.
    """
    time, mv = window["time_s"].to_numpy(), window["mv"].to_numpy()
    low, high = millivolt_range(mv)
    span = (0.0, float(time[-1] + time[1]))
    width, height = paper_size(span[1], high - low, _ZOOM)
    below = _STRIP * (1 + len(strips)) + 1.5 * len(strips)
    figure = new_figure(width + 52, height + below + 24)
    axes = place(figure, 14, 14 + below, width, height)
    draw_paper(axes, span, (low, high))
    strip = place(figure, 14, 13 + below - _STRIP, width, _STRIP)
    limit = float(np.abs(window["cam"]).max()) or 1.0
    drawn = draw_map(axes, strip, time, window["cam"].to_numpy(), limit=limit, signed=True)
    draw_trace(axes, time, mv)
    axes.axvline(float(window["r_s"].iloc[0]), color=INK, linewidth=0.7, linestyle=":", zorder=4)
    axes.set_xticklabels([])
    axes.set_ylabel(f"{window['lead'].iloc[0]} (mV)", fontsize=8)
    _name_strip(strip, "map")
    bottom = 13 + below - _STRIP
    for column, words in strips.items():
        bottom -= _STRIP + 1.5
        strip.set_xticks([])
        strip = place(figure, 14, bottom, width, _STRIP)
        strip.imshow(
            window[column].to_numpy()[None], aspect="auto", cmap=SEQUENTIAL, vmin=0, vmax=1, extent=(*span, 0, 1),
            interpolation="nearest",
        )  # fmt: skip
        strip.set_yticks([])
        strip.tick_params(length=0, labelsize=7)
        strip.set_xlim(*axes.get_xlim())
        _name_strip(strip, words)
    ticks = np.arange(0, span[1] + 0.01, 0.2)
    strip.set_xticks(ticks, [f"{tick:.1f}" for tick in ticks])
    strip.set_xlabel("s of the window; dotted: R of the labelled beat", fontsize=8)
    bar = figure.colorbar(drawn, cax=place(figure, 14 + width + 20, 14 + below, 3, height))  # type: ignore[arg-type]
    bar.ax.tick_params(labelsize=6, length=1)
    bar.set_label("map: against | for the class", fontsize=6.5)
    figure.text(0.01, 0.01, _SCALE_NOTE, fontsize=5.5, color=GREY)
    return figure


def _name_strip(strip: Axes, words: str) -> None:
    strip.text(1.01, 0.5, words, transform=strip.transAxes, va="center", fontsize=7)


def maps_across_training(maps: pd.DataFrame, signals: pd.DataFrame, name: str) -> Figure:
    """One window of a class and its map after each kept epoch, under each other, each on its own scale.

    maps: columns class, epoch, cell, map; signals: class, time_s, mv.
    """
    signal, mine = signals[signals["class"] == name], maps[maps["class"] == name]
    time, mv = signal["time_s"].to_numpy(), signal["mv"].to_numpy()
    low, high = millivolt_range(mv)
    span = (0.0, float(time[-1] + time[1]))
    width, height = paper_size(span[1], high - low, 1.4)
    epochs = sorted(mine["epoch"].unique())
    figure = new_figure(width + 40, height + (_STRIP + 1) * len(epochs) + 22)
    bottom = 12 + (_STRIP + 1) * len(epochs)
    axes = place(figure, 14, bottom + 1, width, height)
    draw_paper(axes, span, (low, high))
    draw_trace(axes, time, mv)
    axes.set_xticklabels([])
    axes.set_ylabel("mV", fontsize=8)
    axes.set_title(f"class {name}", fontsize=8, loc="left")
    for number, epoch in enumerate(epochs):
        strip = place(figure, 14, bottom - (_STRIP + 1) * (number + 1), width, _STRIP)
        values = mine[mine["epoch"] == epoch].sort_values("cell")["map"].to_numpy()
        limit = float(np.abs(values).max()) or 1.0
        strip.imshow(
            values[None], aspect="auto", cmap=DIVERGING, vmin=-limit, vmax=limit, extent=(*span, 0, 1), interpolation="nearest"
        )
        strip.set_yticks([])
        strip.tick_params(length=0, labelsize=7)
        strip.set_xticks([])
        _name_strip(strip, "untrained" if epoch == 0 else f"epoch {epoch}")
    ticks = np.arange(0, span[1] + 0.01, 0.2)
    strip.set_xticks(ticks, [f"{tick:.1f}" for tick in ticks])
    strip.set_xlabel("s of the window; purple: for the class, orange: against it", fontsize=8)
    return figure


def course(table: pd.DataFrame) -> Figure:
    """Rank correlation of each epoch's maps with the final ones, class by class; and between random starts.

    table: as `ecglens.analysis.course.course_of_maps` gives it.
    """
    figure = new_figure(175, 72)
    own = table[(table["beside"] == "final map") & (table["start"] == table["start"].min())]
    other = table[table["beside"].str.startswith("start")]
    epochs = sorted(own["epoch"].unique())
    classes = list(dict.fromkeys(own["class"]))
    for k, (part, title) in enumerate(((own, "with the final map"), (other, "between two random starts, same epoch"))):
        axes = place(figure, 16 + 80 * k, 14, 58, 48)
        for name, colour in zip(classes, _colours(len(classes)), strict=True):
            mine = part[part["class"] == name].sort_values("epoch")
            x = [epochs.index(epoch) for epoch in mine["epoch"]]
            axes.plot(x, mine["median"], marker="o", markersize=3, linewidth=1.1, color=colour, label=name)
            axes.fill_between(x, mine["q25"], mine["q75"], color=colour, alpha=0.12, linewidth=0)
        axes.axhline(0, color=GREY, linewidth=0.7, linestyle=":")
        axes.set_xticks(range(len(epochs)), ["untrained" if epoch == 0 else str(epoch) for epoch in epochs])
        axes.set_ylim(-0.6, 1.05)
        axes.set_title(title, fontsize=8, loc="left")
        axes.set_xlabel("epoch", fontsize=8)
        axes.set_ylabel("rank correlation" if k == 0 else "", fontsize=8)
        plain(axes)
    figure.axes[-1].legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def shares(branches: pd.DataFrame) -> Figure:
    """How much of each class's decision belongs to the LSTM: median and quartiles.

    branches: columns predicted, n, lstm_share, lstm_share_q25, lstm_share_q75.
    """
    figure = new_figure(120, 10 * len(branches) + 26)
    axes = place(figure, 30, 14, 82, 10 * len(branches))
    at = np.arange(len(branches))[::-1]
    axes.barh(at, 1 - branches["lstm_share"], color=BLUE, label="CNN: the map shows it", height=0.62)
    axes.barh(
        at, branches["lstm_share"], left=1 - branches["lstm_share"], color=ORANGE, label="LSTM: the map cannot",
        height=0.62,
    )  # fmt: skip
    axes.hlines(at, 1 - branches["lstm_share_q75"], 1 - branches["lstm_share_q25"], color=INK, linewidth=1.4)
    axes.set_yticks(at, [f"{row.predicted}  n {row.n}" for row in branches.itertuples()])
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the decision (line: quartiles of the windows)", fontsize=8)
    axes.legend(fontsize=7, frameon=False, ncol=2, loc="lower left", bbox_to_anchor=(0, 1))
    plain(axes)
    return figure


def dots(
    table: pd.DataFrame, row: str, colour: str, value: str, low: str, high: str, *, label: str, line: float,
    log: bool = False,
) -> Figure:  # fmt: skip
    """Values with intervals: a line of dots for each `row`, a colour for each `colour`; `line` marks 'nothing found'."""
    rows, kinds = list(dict.fromkeys(table[row])), list(dict.fromkeys(table[colour]))
    height = max(8.0, 3.2 * len(kinds)) * len(rows)
    figure = new_figure(170, height + 30)
    axes = place(figure, 34, 14, 84, height)
    for k, (kind, ink) in enumerate(zip(kinds, _colours(len(kinds)), strict=True)):
        mine = table[table[colour] == kind]
        at = np.array([len(rows) - 1 - rows.index(name) for name in mine[row]]) + 0.32 - 0.64 * (k + 0.5) / len(kinds)
        axes.hlines(at, mine[low], mine[high], color=ink, linewidth=1.2)
        axes.plot(mine[value], at, "o", markersize=3.6, color=ink, label=str(kind))
    axes.axvline(line, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(rows))[::-1], rows)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    if log:
        axes.set_xscale("log")
    axes.set_xlabel(label, fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    plain(axes)
    return figure


def deletion(table: pd.DataFrame) -> Figure:
    """What deleting the mask does to the class's logit, beside deleting as much in random cells.

    table: columns class, fall, random_fall, share.
    """
    figure = new_figure(120, 10 * len(table) + 26)
    axes = place(figure, 22, 14, 90, 10 * len(table))
    at = np.arange(len(table))[::-1]
    axes.barh(at + 0.2, table["fall"], height=0.38, color=PURPLE, label="what the mask deletes")
    axes.barh(at - 0.2, table["random_fall"], height=0.38, color=GREY, label="as much in random cells of 28 ms")
    axes.set_yticks(at, list(table["class"]))
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_xlabel("fall of the class's logit, mean over the windows", fontsize=8)
    axes.legend(fontsize=7, frameon=False, ncol=2, loc="lower left", bbox_to_anchor=(0, 1))
    plain(axes)
    return figure


def _colours(n: int) -> list[str]:
    """Okabe and Ito's, told apart by the colour-blind."""
    palette = [BLUE, ORANGE, GREEN, PURPLE, "#56b4e9", "#e69f00", INK, GREY]
    return [palette[k % len(palette)] for k in range(n)]
