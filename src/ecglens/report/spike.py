"""A planted spike: the lead that has it, the map without and with it, and what hiding each lead does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecglens.report.figures import BLUE, GREY, ORANGE
from ecglens.report.paper import INK, draw_paper, draw_trace, new_figure, paper_size, place
from ecglens.report.twelve_leads import note, thin_ticks, trace_range

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_ABOVE: dict[str, Any] = {"fontsize": 6.5, "frameon": False, "loc": "lower right", "bbox_to_anchor": (1, 0.97), "ncols": 2}


def spiked_lead(
    signal: NDArray[np.floating],
    maps: tuple[NDArray[np.floating], NDArray[np.floating]],
    falls: tuple[NDArray[np.floating], NDArray[np.floating]],
    fs: float,
    spiked: tuple[float, float],
    leads: tuple[str, ...],
    lead: str,
    title: str,
    *,
    zoom: float = 0.62,
) -> Figure:
    """The spiked lead on ECG paper, below it the map without and with the spike, and the fall of the logit by hidden lead.

    signal (time,) in mV with the spike; maps: two of (cell,); falls: two of (lead,) in logits; spiked: the spike's first and
    last second.
    """
    seconds = len(signal) / fs
    low, high = trace_range(signal)
    width, height = paper_size(seconds, high - low, zoom)
    bars = 34.0
    figure = new_figure(width + 26, height + bars + 68)
    axes = place(figure, 14, bars + 56, width, height)
    draw_paper(axes, (0.0, seconds), (low, high))
    thin_ticks(axes, seconds)
    draw_trace(axes, (np.arange(len(signal)) + 0.5) / fs, np.clip(signal, low, high), linewidth=0.7)
    axes.axvspan(*spiked, color=ORANGE, alpha=0.35, linewidth=0)
    axes.set_xticklabels([])
    axes.set_ylabel(f"{lead} (mV)", fontsize=8)
    axes.set_title(title, fontsize=8.5, loc="left", weight="bold")
    below = place(figure, 14, bars + 30, width, 20)
    for cam, colour, label in zip(maps, (GREY, INK), ("without the spike", "with it"), strict=True):
        below.plot((np.arange(len(cam)) + 0.5) / len(cam) * seconds, cam, color=colour, linewidth=0.9, label=label)
    below.axvspan(*spiked, color=ORANGE, alpha=0.35, linewidth=0)
    below.axhline(0, color=GREY, linewidth=0.6, linestyle=":")
    below.set_xlim(0, seconds)
    below.set_ylabel("CAM (logits)", fontsize=7.5)
    below.set_xlabel("s", fontsize=8)
    below.legend(**_ABOVE)
    beside = place(figure, 14, 11, width, bars)
    number = np.arange(len(leads))
    for fall, colour, side, label in zip(falls, (GREY, BLUE), (-0.2, 0.2), ("without the spike", "with it"), strict=True):
        beside.bar(number + side, fall, width=0.38, color=colour, label=label)
    beside.axhline(0, color=INK, linewidth=0.5)
    beside.set_xticks(number, leads)
    beside.get_xticklabels()[leads.index(lead)].set_fontweight("bold")
    beside.set_ylabel("logit lost when\nthe lead is hidden", fontsize=7.5)
    beside.legend(**_ABOVE)
    for each in (below, beside):
        each.tick_params(labelsize=6.5, length=2)
        for edge in ("top", "right"):
            each.spines[edge].set_visible(False)
    figure.text(0.01, 0.01, note(zoom) + "; orange: the spike", fontsize=5.5, color=GREY)
    return figure
