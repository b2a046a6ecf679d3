"""Pictures, each a function from tables to a matplotlib Figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

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
    from matplotlib.figure import Figure

# Okabe and Ito: told apart by the colour-blind
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f"
_ZOOM = 2.0
_SCALE_NOTE = f"{MM_PER_SECOND:g} mm/s, {MM_PER_MV:g} mm/mV, enlarged {_ZOOM:g} times; small squares 0.04 s and 0.1 mV"


def class_counts(splits: pd.DataFrame, what: str = "beats") -> Figure:
    """Examples (`what`) per class in training, validation and test, and how many rows training draws; logarithmic.

    splits: columns class, split, n, drawn.
    """
    figure = new_figure(170, 75)
    axes = place(figure, 18, 16, 145, 50)
    classes = list(dict.fromkeys(splits["class"]))
    bars = {name: splits[splits["split"] == name].set_index("class")["n"] for name in ("train", "validation", "test")}
    bars["drawn in an epoch"] = splits[splits["split"] == "train"].set_index("class")["drawn"]
    x = np.arange(len(classes))
    width = 0.8 / len(bars)
    for k, (name, counts) in enumerate(bars.items()):
        heights = counts.reindex(classes).fillna(0).to_numpy(float)
        axes.bar(x + (k - 1.5) * width, heights, width * 0.92, label=name, color=(BLUE, GREEN, ORANGE, GREY)[k])
        for at, height in zip(x, heights, strict=True):
            if height:
                axes.text(at + (k - 1.5) * width, height, f"{height:.0f}", ha="center", va="bottom", fontsize=5, rotation=90)
    axes.set_yscale("log")
    axes.set_ylim(0.7, axes.get_ylim()[1] * 8)
    axes.set_xticks(x, classes)
    axes.set_ylabel(what, fontsize=8)
    axes.legend(fontsize=7, ncol=4, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)
    plain(axes)
    return figure


def extraction(signal: pd.DataFrame, marks: pd.DataFrame) -> Figure:
    """How a beat is cut from a record: traces with all marks and the window.

    signal: columns lead, time_s, mv; marks: time_s, symbol, kind ("beat", "other mark", "window start", "window stop").
    """
    leads = list(dict.fromkeys(signal["lead"]))
    span = (float(signal["time_s"].min()), float(signal["time_s"].max()))
    ranges = [millivolt_range(signal.loc[signal["lead"] == lead, "mv"].to_numpy()) for lead in leads]
    zoom = 2.0
    sizes = [paper_size(span[1] - span[0], high - low, zoom) for low, high in ranges]
    figure = new_figure(sizes[0][0] + 22, sum(height for _, height in sizes) + 12 * len(leads) + 10)
    bottom = 10.0
    window = marks[marks["kind"].str.startswith("window")]["time_s"].to_numpy()
    for lead, (low, high), (width, height) in list(zip(leads, ranges, sizes, strict=True))[::-1]:
        axes = place(figure, 16, bottom, width, height)
        draw_paper(axes, span, (low, high))
        axes.axvspan(*window, color=BLUE, alpha=0.14, zorder=0.5)
        mine = signal[signal["lead"] == lead]
        draw_trace(axes, mine["time_s"].to_numpy(), mine["mv"].to_numpy())
        for mark in marks[~marks["kind"].str.startswith("window")].itertuples():
            colour = INK if mark.kind == "beat" else ORANGE
            axes.axvline(mark.time_s, color=colour, linewidth=0.6, linestyle=":", zorder=2)
            axes.text(mark.time_s, high, f" {mark.symbol}", fontsize=8, color=colour, va="bottom", ha="center")
        axes.set_ylabel(f"{lead} (mV)", fontsize=8)
        bottom += height + 12
    figure.axes[0].set_xlabel("s from the R peak of the shaded beat", fontsize=8)
    return figure


def beat_on_paper(beat: pd.DataFrame, *, signed: bool | None) -> Figure:
    """One beat, lead beside lead, on ECG paper; with its map behind the trace and as a strip below unless signed is None.

    beat: columns lead, time_s, mv, map, valid; grey is padding. All leads share one scale of the map.
    """
    leads = list(dict.fromkeys(beat["lead"]))
    mv = millivolt_range(beat["mv"].to_numpy())
    span = (float(beat["time_s"].min()), float(beat["time_s"].max()))
    width, height = paper_size(span[1] - span[0], mv[1] - mv[0], _ZOOM)
    with_map = signed is not None
    strip_height = 6.0 if with_map else 0.0
    n_rows = -(-len(leads) // 2)  # the leads side by side; the usual beat's, where there are any, below
    cell = height + strip_height + 20
    figure = new_figure(14 + (width + 12) * min(len(leads), 2) + (14 if with_map else 0), cell * n_rows + 5)
    limit = float(beat["map"].abs().max()) or 1.0
    drawn = None
    for k, lead in enumerate(leads):
        mine = beat[beat["lead"] == lead]
        left, bottom = 13 + (k % 2) * (width + 12), 14 + cell * (n_rows - 1 - k // 2)
        axes = place(figure, left, bottom + strip_height, width, height)
        draw_paper(axes, span, mv)
        time, valid = mine["time_s"].to_numpy(), mine["valid"].to_numpy(bool)
        below = axes
        if with_map:
            below = place(figure, left, bottom - 3, width, strip_height - 1.5)
            drawn = draw_map(axes, below, time, mine["map"].to_numpy(), limit=limit, signed=bool(signed))
            axes.set_xticklabels([])
            _same_ticks(below, axes)
        below.set_xlabel("s from R", fontsize=8)
        _grey_out(axes, time, ~valid)
        draw_trace(axes, time, mine["mv"].to_numpy())
        axes.set_title(lead, fontsize=9, loc="left", pad=3)
        axes.set_ylabel("mV" if k % 2 == 0 else "", fontsize=8)
    if drawn is not None:
        bar_axes = place(figure, 13 + min(len(leads), 2) * (width + 12) - 8, 14 + strip_height, 3, cell * n_rows - 22)
        bar = figure.colorbar(drawn, cax=bar_axes)  # type: ignore[arg-type]
        bar.ax.tick_params(labelsize=6, length=1)
        bar.set_label("gradient: against | for the class" if signed else "map (min-max of this beat)", fontsize=7)
    figure.text(0.01, 0.01, _SCALE_NOTE, fontsize=5.5, color=GREY)
    return figure


def confusion_matrix(confusion: pd.DataFrame, title: str) -> Figure:
    """Rows add up to 1; the number of beats under each share; a class without test beats stays empty.

    confusion: column true, then a column of counts per predicted class.
    """
    classes = list(confusion["true"])
    counts = confusion.drop(columns="true").to_numpy(float)
    support = counts.sum(1, keepdims=True)
    shares = np.divide(counts, support, out=np.full_like(counts, np.nan), where=support > 0)
    longest = max(len(str(name)) for name in classes)
    size = max(11.0, 1.8 * longest) * len(classes)
    figure = new_figure(size + 40, size + 26)
    axes = place(figure, 22, 14, size, size)
    drawn = axes.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1)
    for i, j in np.ndindex(*shares.shape):
        if counts[i, j]:
            colour = "white" if shares[i, j] > 0.55 else INK
            axes.text(j, i - 0.12, f"{shares[i, j]:.2f}", ha="center", va="center", fontsize=6.5, color=colour)
            axes.text(j, i + 0.26, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=4.8, color=colour)
        elif np.isnan(shares[i, j]) and i == j:
            axes.text(j, i, "none", ha="center", va="center", fontsize=6, color=GREY)
    axes.set_xticks(range(len(classes)), classes, fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    axes.set_title(title, fontsize=8, loc="left")
    axes.tick_params(length=0)
    figure.colorbar(drawn, cax=place(figure, 22 + size + 3, 14, 3, size)).ax.tick_params(labelsize=6, length=1)
    return figure


def class_maps(profiles: pd.DataFrame, *, unit: str, signed: bool = False) -> Figure:
    """Median of every segment in every class, lead beside lead, on one scale; n beside each class.

    profiles: as `ecglens.analysis.profiles.class_profiles` gives them; grey where no beat reaches a segment.
    """
    table = profiles[profiles["group"] == "all"]
    classes, leads = list(dict.fromkeys(table["class"])), list(dict.fromkeys(table["lead"]))
    regions = {lead: list(dict.fromkeys(table.loc[table["lead"] == lead, "region"])) for lead in leads}
    width, height = 150.0 / len(leads), 8.0 * len(classes)
    cell = width / max(len(names) for names in regions.values())
    figure = new_figure(24 + (width + 4) * len(leads) + 20, height + 27)
    top = float(table["median"].abs().max()) or 1.0
    drawn = None
    for k, lead in enumerate(leads):
        axes = place(figure, 18 + k * (width + 4), 14, width, height)
        mine = table[table["lead"] == lead]
        grid = mine.pivot(index="class", columns="region", values="median").reindex(index=classes, columns=regions[lead])
        axes.set_facecolor("#e6e6e6")
        drawn = axes.imshow(
            grid.to_numpy(float), aspect="auto", cmap=DIVERGING if signed else SEQUENTIAL, vmin=-top if signed else 0, vmax=top
        )
        n = len(regions[lead])
        axes.axvline(n / 2 - 0.5, color=INK, linewidth=0.8)
        axes.text(n / 2 - 0.5, -0.62, "R", ha="center", va="bottom", fontsize=7)
        axes.set_xticks(range(n), regions[lead], fontsize=5.5 if cell > 4 else 4.2, rotation=90)
        most = table[table["lead"] == leads[0]].groupby("class")["n"].max()
        axes.set_yticks(range(len(classes)), [f"{name}  n {most[name]}" for name in classes] if k == 0 else [], fontsize=6.5)
        axes.set_title(lead, fontsize=8, loc="left")
        axes.set_xlabel("segment of 0.1 s, counted from R", fontsize=7)
        axes.tick_params(length=0)
    bar = figure.colorbar(drawn, cax=place(figure, 18 + (width + 4) * len(leads), 14, 3, height))  # type: ignore[arg-type]
    bar.ax.tick_params(labelsize=6, length=1)
    bar.set_label(unit, fontsize=6.5)
    return figure


def right_and_wrong(profiles: pd.DataFrame, name: str, *, unit: str) -> Figure | None:
    """One class: above, all, right and wrong beats; below, the wrong ones beside the class they were most taken for.

    Median lines, quartile bands; no band where n < 5. None where the class has no wrong beats.
    """
    mine = profiles[profiles["class"] == name]
    taken = mine[mine["group"].str.startswith("wrong as ")].groupby("group")["n"].max()
    if taken.empty:
        return None
    most = str(taken.idxmax())
    other = most.removeprefix("wrong as ")
    upper = [("all", "all", GREY), ("right", "right", BLUE), ("wrong", "wrong", ORANGE)]
    lower_tables = [
        (mine[mine["group"] == most], f"{name} taken for {other}", ORANGE),
        (profiles[(profiles["class"] == other) & (profiles["group"] == "all")], f"all {other}", GREEN),
    ]
    upper_tables = [(mine[mine["group"] == group], label, colour) for group, label, colour in upper]
    leads = list(dict.fromkeys(mine["lead"]))
    width = 150.0 / len(leads)
    figure = new_figure(18 + (width + 4) * len(leads), 88)
    top = max(float(part[["median", "q75"]].max().max()) for part, _, _ in (*upper_tables, *lower_tables) if len(part))
    top = top if top > 0 else 1.0
    for row, tables in enumerate((upper_tables, lower_tables)):
        for k, lead in enumerate(leads):
            axes = place(figure, 14 + (width + 4) * k, 48 - 38 * row, width, 30)
            for table, label, colour in tables:
                _band(axes, table[table["lead"] == lead], label, colour)
            regions = list(dict.fromkeys(mine.loc[mine["lead"] == lead, "region"]))
            axes.axvline(len(regions) / 2 - 0.5, color=INK, linewidth=0.7, linestyle=":")
            axes.set_xticks(range(len(regions)), regions if row else [""] * len(regions), fontsize=5, rotation=90)
            axes.set_ylim(0, top * 1.05)
            axes.set_title(f"{lead}" if row == 0 else "", fontsize=8, loc="left")
            if k == 0:
                axes.legend(fontsize=6, frameon=False, loc="upper left")
            else:
                axes.set_yticklabels([])
            plain(axes)
    figure.text(0.005, 0.5, unit, fontsize=6, rotation=90, va="center")
    figure.text(0.99, 0.005, "segment of 0.1 s, counted from R (dotted)", fontsize=6, ha="right")
    return figure


def _band(axes: object, table: pd.DataFrame, label: str, colour: str) -> None:
    if table.empty:
        return
    x = np.arange(len(table))
    axes.fill_between(  # type: ignore[attr-defined]
        x, table["q25"].to_numpy(float), table["q75"].to_numpy(float), color=colour, alpha=0.18, linewidth=0
    )
    axes.plot(  # type: ignore[attr-defined]
        x, table["median"].to_numpy(float), color=colour, linewidth=1.2, marker=".", markersize=3,
        label=f"{label} (n {table['n'].max()})",
    )  # fmt: skip


def _same_ticks(strip: object, axes: object) -> None:
    ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]  # type: ignore[attr-defined]
    strip.set_xticks(ticks, [f"{tick:.1f}" for tick in ticks])  # type: ignore[attr-defined]


def _grey_out(axes: object, time: np.ndarray, where: np.ndarray) -> None:
    if where.any():
        low, high = axes.get_ylim()  # type: ignore[attr-defined]
        axes.fill_between(time, low, high, where=where, color="#bdbdbd", alpha=0.6, linewidth=0, zorder=2)  # type: ignore[attr-defined]
