"""Where the mass of maps lies among the beats of a window, and what hiding or moving beats does: figures from tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ecglens.errors import choose
from ecglens.report.figures import BLUE, GREEN, GREY, ORANGE, PURPLE
from ecglens.report.paper import INK, new_figure, place, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLASS_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, INK)  # Okabe and Ito's, told apart by the colour-blind
_MARKERS, _LINES = "osD^v", ("-", "--", "-.", ":", "-")
_PALE = "#c4c4c4"
_BIN = 2.0  # per cent
_TICKS = {"labelsize": 6.5, "length": 2}
_SHORT = 16  # letters of a set's name that fit beside a method's


def focus_histograms(values: pd.DataFrame, *, empty: str | Mapping[str, str] = "leave-out") -> Figure:
    """How focus is spread over the windows: a row for each set, a column for each method; random focus as an outline.

    values: a row per window and method, columns set, method, focus (share of the map's mass in the labelled beat's region,
    NaN for an empty map) and random (the region's share of the picture). empty: "leave-out" or "zero" (counts as no focus),
    for all or by set. Raises EcglensError for another `empty`. Source: figure 1 of Varandas 2021.
    """
    sets, methods = list(dict.fromkeys(values["set"])), list(dict.fromkeys(values["method"]))
    rules = {name: empty if isinstance(empty, str) else empty[name] for name in sets}
    for rule in rules.values():
        choose(rule, ["leave-out", "zero"], "empty")
    # a long name has a line of its own
    headed = any(len(name) > _SHORT for name in sets)
    row = 51 if headed else 47
    highest = np.nanmax(100 * values[["focus", "random"]].to_numpy(float), initial=10.0)
    edges = np.arange(0, 10 * np.ceil((highest - 1e-9) / 10) + _BIN, _BIN)
    width = (162.0 - 7 * (len(methods) - 1)) / len(methods)
    figure = new_figure(180, row * len(sets) + 14)
    panels, tallest = [], 1.0
    for i, set_name in enumerate(sets):
        for k, method in enumerate(methods):
            mine = values[(values["set"] == set_name) & (values["method"] == method)]
            axes = place(figure, 14 + k * (width + 7), 16 + row * (len(sets) - 1 - i), width, 38)
            axes.set_title(method if headed else f"{set_name}: {method}", fontsize=8, loc="left", pad=3)
            panels.append((axes, *_histogram(axes, mine, edges, rules[set_name])))
            tallest = max(tallest, panels[-1][-1])
            if k == 0:
                axes.set_ylabel("% of the windows", fontsize=7.5)
            else:
                axes.set_yticklabels([])
            if i == len(sets) - 1:
                axes.set_xlabel("focus (% of the map)", fontsize=7.5)
        if headed:
            at = 16 + row * (len(sets) - 1 - i) + 38 + 4.8
            figure.text(14 / 180, at / (row * len(sets) + 14), set_name, fontsize=8)
    for axes, words, means, _ in panels:
        axes.set_ylim(0, 1.5 * tallest)  # the upper third is for words
        axes.set_xlim(0, edges[-1])
        axes.text(0.98, 0.97, words, transform=axes.transAxes, va="top", ha="right", fontsize=6.5, linespacing=1.35)
        for mean, style, colour in means:
            axes.plot([mean, mean], [0, 1.05 * tallest], style, color=colour, linewidth=1.1)
        plain(axes, **_TICKS)
    figure.text(
        14 / 180, 1.5 / (row * len(sets) + 14), "outline: random focus (area of the region); lines: means", fontsize=6.5
    )
    return figure


def _histogram(
    axes: Axes, mine: pd.DataFrame, edges: np.ndarray, empty: str
) -> tuple[str, list[tuple[float, str, str]], float]:
    """Draws one panel; its words, its mean lines and its highest bin. A panel without pictures stays empty and says so."""
    if mine.empty:
        return "no pictures", [], 0.0
    focus, random = 100 * mine["focus"].to_numpy(float), 100 * mine["random"].to_numpy(float)
    n_empty = int(np.isnan(focus).sum())
    used = np.nan_to_num(focus, nan=0.0) if empty == "zero" else focus[~np.isnan(focus)]
    # of all pictures: where empty maps are left out the bars add up to the rest
    heights = [100 * np.histogram(each, edges)[0] / len(mine) for each in (used, random)]
    axes.stairs(heights[0], edges, fill=True, color=BLUE, alpha=0.65)
    axes.stairs(heights[1], edges, color=INK, linewidth=0.8, alpha=0.75)
    words = f"n {len(mine):,}, empty {n_empty:,} ({100 * n_empty / len(mine):.1f} %)"
    words = f"{words}\nrandom {random.mean():.1f} ± {random.std():.1f} %"
    means = [(float(random.mean()), ":", INK)]
    if len(used):
        counted = " (empty as 0)" if empty == "zero" and n_empty else ""
        words = f"focus {used.mean():.1f} ± {used.std():.1f} %{counted}\n{words}"
        means.insert(0, (float(used.mean()), "-", BLUE))
    return words, means, float(max(height.max() for height in heights))


def focus_by_position(table: pd.DataFrame, *, labelled: str) -> Figure:
    """Mean focus on each beat and each gap of the window, with intervals, before random focus (grey); a panel per method.

    table: columns method, class, region ("before", "beat 1", "gap 1-2" ...), focus, focus_low, focus_high, random, all shares
    of the whole map or picture; regions are drawn in the table's order. labelled: the region that gives the label. Raises
    EcglensError where it is none of the table's.
    """
    methods, regions, classes = (list(dict.fromkeys(table[name])) for name in ("method", "region", "class"))
    figure = new_figure(180, 44 * len(methods) + 14)
    top = 105 * float(np.nanmax(table[["focus", "focus_high", "random"]].to_numpy(float), initial=0.1))
    for m, method in enumerate(methods):
        axes = place(figure, 14, 14 + 44 * (len(methods) - 1 - m), 164, 34)
        _positions(axes, regions, labelled, named=m == len(methods) - 1)
        for k, name in enumerate(classes):
            mine = _of(table[table["method"] == method], name, regions)
            at, wide = _beside(k, len(classes), len(regions))
            axes.bar(at, 100 * mine["random"], wide, color=_PALE, zorder=1, label="random focus" if k == 0 else None)
            _dots(axes, at, 100 * mine[["focus", "focus_low", "focus_high"]], name, k)
        axes.set_ylim(0, top)
        axes.set_ylabel("focus (%)", fontsize=7.5)
        axes.set_title(method, fontsize=8, loc="left", pad=3)
    _legend(figure.axes[0])
    return figure


def occlusion_by_position(table: pd.DataFrame, *, labelled: str) -> Figure:
    """What hiding each beat and each gap does: above, fall of the margin; below, share of windows whose class changes.

    table: as `ecglens.analysis.beat_occlusion.occlusion_table` gives it; columns class, region, fall, fall_low, fall_high
    (logits), changed, changed_low, changed_high (shares). labelled: the region that gives the label. Raises EcglensError where
    it is none of the table's.
    """
    regions, classes = (list(dict.fromkeys(table[name])) for name in ("region", "class"))
    figure = new_figure(180, 108)
    above, below = place(figure, 14, 61, 164, 38), place(figure, 14, 14, 164, 38)
    for axes in (above, below):
        _positions(axes, regions, labelled, named=axes is below)
    for k, name in enumerate(classes):
        mine = _of(table, name, regions)
        at, wide = _beside(k, len(classes), len(regions))
        _dots(above, at, mine[["fall", "fall_low", "fall_high"]], name, k)
        below.bar(at, 100 * mine["changed"], wide, color=_CLASS_COLOURS[k % len(_CLASS_COLOURS)], alpha=0.65, zorder=2)
        below.vlines(at, 100 * mine["changed_low"], 100 * mine["changed_high"], color=INK, linewidth=1.0, zorder=3)
    above.axhline(0, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    above.set_ylabel("fall of the margin (logits)", fontsize=7.5)
    below.set_ylim(bottom=0)
    below.set_ylabel("class changes (% of windows)", fontsize=7.5)
    _legend(above)
    return figure


def retiming_curves(table: pd.DataFrame) -> Figure:
    """Share called abnormal as a gap between beats is made shorter or longer, every beat's shape unchanged; a panel per class.

    table: as `ecglens.analysis.retiming.retiming_table` gives it; columns class, where (which gap), change (of the RR
    interval, -0.4 is 40 % shorter), called_abnormal (share), called_abnormal_low, called_abnormal_high, n, and
    called_abnormal_before (of the same examples unchanged: not every one can be changed, so this moves as well).
    """
    classes, places = list(dict.fromkeys(table["class"])), list(dict.fromkeys(table["where"]))
    width = (162.0 - 6 * (len(classes) - 1)) / len(classes)
    legend = 4.2 * len(places)
    figure = new_figure(180, 77 + legend)
    for c, name in enumerate(classes):
        axes = place(figure, 14 + c * (width + 6), 16, width, 54)
        for k, where in enumerate(places):
            mine = table[(table["class"] == name) & (table["where"] == where)].sort_values("change")
            if mine.empty:
                continue
            colour = _CLASS_COLOURS[k % len(_CLASS_COLOURS)]
            x = 100 * mine["change"].to_numpy(float)
            low, value, high = (
                100 * mine[column].to_numpy(float)
                for column in ("called_abnormal_low", "called_abnormal", "called_abnormal_high")
            )
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            few, many = mine["n"].min(), mine["n"].max()
            n = f"n {many:,}" if few == many else f"n {few:,} to {many:,}"
            axes.plot(
                x, value, _LINES[k % len(_LINES)], color=colour, marker=_MARKERS[k % len(_MARKERS)], markersize=3.4,
                linewidth=1.2, label=f"{where} ({n})",
            )  # fmt: skip
            axes.plot(x, 100 * mine["called_abnormal_before"].to_numpy(float), color=colour, linewidth=0.9, alpha=0.6)
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":", zorder=1)
        axes.set_ylim(-2, 102)
        axes.set_xlabel("RR interval: shorter | longer (%)", fontsize=7.5)
        if c == 0:
            axes.set_ylabel("called abnormal (%)", fontsize=7.5)
        else:
            axes.set_yticklabels([])
        axes.legend(fontsize=6.5, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.07), borderaxespad=0)
        axes.set_title(f"truly {name}", fontsize=8, loc="left", pad=3)
        plain(axes, **_TICKS)
    words = "band: 95 % over patients; thin pale line: the same examples unchanged"
    figure.text(14 / 180, 1.5 / (77 + legend), words, fontsize=6.5)
    return figure


def _positions(axes: Axes, regions: list[str], labelled: str, *, named: bool) -> None:
    """A place for each region on the x axis, the labelled one shaded."""
    at = regions.index(choose(labelled, regions, "region"))
    axes.axvspan(at - 0.5, at + 0.5, color=GREEN, alpha=0.10, linewidth=0, zorder=0)
    axes.set_xlim(-0.5, len(regions) - 0.5)
    words = [f"{name}\n(the label)" if name == labelled else name for name in regions]
    axes.set_xticks(range(len(regions)), words if named else [])
    plain(axes, **_TICKS)


def _of(table: pd.DataFrame, name: str, regions: list[str]) -> pd.DataFrame:
    return table[table["class"] == name].set_index("region").reindex(regions)


def _beside(k: int, n: int, n_regions: int) -> tuple[np.ndarray, float]:
    """Where class k of n stands at each region, and how wide."""
    wide = 0.76 / n
    return np.arange(n_regions) + (k - (n - 1) / 2) * wide, 0.92 * wide


def _dots(axes: Axes, at: np.ndarray, value_low_high: pd.DataFrame, name: str, k: int) -> None:
    value, low, high = value_low_high.to_numpy(float).T
    colour = _CLASS_COLOURS[k % len(_CLASS_COLOURS)]
    axes.vlines(at, low, high, color=colour, linewidth=1.2, zorder=3)
    axes.plot(at, value, _MARKERS[k % len(_MARKERS)], markersize=3.6, color=colour, zorder=4, label=name)


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=7, frameon=False, ncol=6, loc="lower right", bbox_to_anchor=(1, 1.0), borderaxespad=0.2)
