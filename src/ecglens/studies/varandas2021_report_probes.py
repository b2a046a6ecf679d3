"""The part of varandas2021's report about changed signals: hidden beats and gaps, and beats that are moved."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecglens.examples.retimed import ANOTHER, LABELLED
from ecglens.report.focus import occlusion_by_position, retiming_curves
from ecglens.report.html import Section, sheet, with_intervals
from ecglens.studies.sources import Sources
from ecglens.studies.varandas2021_words import five_beats, labelled_beat, side_of_gap, trained_on_cut_windows


def needs_others(source: Sources) -> list[str]:
    """For the page's opening: what the answers owe to the labelled beat, to the others, and to their distance."""
    if not source.recipe["probed_per_class"]:
        return []
    said = [text for text in (_hidden(source), _moved(source)) if text]
    if said and source.recipe["crop"] > 0:
        said[-1] += (
            " The net was trained on windows with their far end cut off at random, which teaches it to do without far beats."
        )
    return said


def _hidden(source: Sources) -> str:
    table, labelled = source.table("occlusion"), labelled_beat(source)
    said = []
    for name, mine in table[table["class"] != "all"].groupby("class", sort=False):
        own, others = mine[mine["region"] == labelled], mine[mine["region"] != labelled]
        if len(own) and len(others):
            most = others.loc[others["changed"].idxmax()]
            said.append(
                f"in {own['changed'].iloc[0]:.1%} of {name} windows (any other beat or gap: at most {most['changed']:.1%}, "
                f"{most['region']})"
            )
    return f"Hiding the labelled beat changes the answer {' and '.join(said)}." if said else ""


def _moved(source: Sources) -> str:
    metrics, table = source.metrics, source.table("retiming")
    change, rise, other = (metrics.get(f"retiming.{key}") for key in ("beside.change", "beside.rise", "other.rise"))
    if change is None or rise is None:
        return ""
    # behind an early beat it is a longer interval that tells
    longer = table[(table["class"] == "normal") & np.isclose(table["change"], -change)].set_index("where")
    more = (100 * (longer["called_abnormal"] - longer["called_abnormal_before"])).dropna()
    return (
        f"Where the RR interval {side_of_gap(source)} the labelled beat is made {-change:.0%} shorter, shapes unchanged, the "
        f"share of normal windows that are called abnormal changes by {100 * rise:+.1f} points"
        + (f" (as much longer: {more[LABELLED]:+.1f})" if LABELLED in more else "")
        + (f"; where it is another interval, by {100 * other:+.1f}" if other is not None else "")
        + (f" ({more[ANOTHER]:+.1f})." if other is not None and ANOTHER in more else ".")
    )


def probes(sides: dict[str, Sources]) -> Section:
    """What hiding and moving beats does, in the first run."""
    name, source = next(iter(sides.items()))
    occlusion, retiming = source.table("occlusion"), source.table("retiming")
    text = [
        f"A map is a claim; here the signal itself is changed, on {source.metrics['probed.n']} test windows"
        + (f" of {name}" if len(sides) > 1 else "")
        + ". Each beat and each gap is hidden in turn (a straight line from its first to its last sample): how far does the "
        "margin of the given class fall, and how often does the class change?",
        "Then beats are moved and their shape is not: only the stretch between two beats is made shorter or longer. "
        + _what_moves(source)
        + " Compare with the unchanged windows of the same row, as not every window has room for every change.",
        *five_beats(source),
        *trained_on_cut_windows(source),
    ]
    few = occlusion[occlusion["class"] != "all"]
    said = retiming.assign(where=_where(retiming["where"], source))
    moved = with_intervals(said, ["called_abnormal", "margin_change"])
    return Section(
        "What the model needs",
        text,
        [
            sheet(with_intervals(few, ["fall", "changed"]), "occlusion", "Hidden beats and gaps"),
            sheet(moved, "retiming", "Moved beats; change of the RR interval as a share of it"),
        ],
        [
            source.picture(
                occlusion_by_position(few, labelled=labelled_beat(source)), "figure-5-occlusion",
                f"Figure 5: what hiding each beat and each gap does ({name}).",
            ),
            source.picture(retiming_curves(said), "figure-6-retiming", f"Figure 6: what moving beats does ({name})."),
        ],
    )  # fmt: skip


def _what_moves(source: Sources) -> str:
    """Which RR interval stands beside the labelled beat in this set, and what its change can show."""
    if source.asked["set_number"] == 1:
        return (
            "Beside the labelled beat, the last, lies the RR interval before it. If the model reads RR intervals, an early "
            "labelled beat turns normal windows abnormal, and the same change elsewhere does not."
        )
    return (
        "Beside the labelled beat, the first, lies the RR interval behind it. The one before it, by which an early beat is "
        "told, lies outside of the window, which begins half-way to the beat before: half of it can be seen, and it cannot be "
        "changed here. Behind an early beat there is often a pause, so that a model that reads RR intervals may take a longer "
        "one there for a sign of an abnormal beat."
    )


def _where(places: pd.Series, source: Sources) -> list[str]:
    """The moved gaps, with the side of the labelled beat on which the one beside it lies."""
    words = {LABELLED: f"{side_of_gap(source)} the labelled beat"}
    return [words.get(place, place) for place in places]
