"""The maps of lin2020: of each class, of a long record, of a planted spike; the same records at other rates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.recordings.twelve import STANDARD
from ecglens.report.html import Picture, Section, sheet
from ecglens.report.shown import arrays_of
from ecglens.report.spike import spiked_lead
from ecglens.report.twelve_leads import lead_above_map, long_record, twelve_on_paper
from ecglens.studies.lin2020_words import names_of
from ecglens.studies.sources import Sources

_SHOWN_WHOLE = 2  # records drawn with all leads
_RED_FROM = 90  # percentile of the cells of a record


def _shown(source: Sources) -> list[dict[str, Any]]:
    table = source.table("shown")
    with arrays_of(source.run.tables / "shown.npz") as found:
        fs = float(found["fs"])
        return [
            row | {"signal": found[f"signal {k}"], "cam": found[f"cam {k}"], "fs": fs}
            for k, row in enumerate(table.to_dict("records"))
        ]


def only_signal(cam: NDArray[np.floating], length: int, start: int, stop: int) -> NDArray[np.float64]:
    """The map (cell,) with NaN in cells whose middle lies outside samples `start` to `stop` of `length`."""
    middle = (np.arange(len(cam)) + 0.5) / len(cam) * length
    return np.where((middle >= start) & (middle < stop), cam, np.nan)


def maps_section(source: Sources) -> Section:
    """The map of each class on a record that has it, two of them with all leads, and a long record."""
    metrics, names, drawn = source.metrics, names_of(source), []
    for number, one in enumerate(_shown(source)):
        word = names[one["class"]]
        # zeros around a short record are no evidence
        cam = only_signal(one["cam"], one["signal"].shape[1], int(one["start"]), int(one["stop"]))
        threshold = float(np.nanpercentile(cam, _RED_FROM))
        title = f"{word}: {one['id']}, answered {one['probability']:.2f} (yes from {one['threshold']:.2f})"
        drawn.append(
            source.picture(
                lead_above_map(one["signal"][0], cam, one["fs"], "I", title, threshold=threshold),
                f"figure-1-{number + 1:02d}", f"Lead I and the map of {word}; red where the map is above {threshold:.2f}.",
            )
        )  # fmt: skip
        if number < _SHOWN_WHOLE:
            drawn.append(
                source.picture(
                    twelve_on_paper(one["signal"], cam, one["fs"], STANDARD, title), f"figure-2-{number + 1:02d}",
                    f"The same record in all leads; one map of {word} behind them all.",
                )
            )  # fmt: skip
    drawn += _long(source)
    text = [
        f"Of each class the middle one of the test records that have it and were answered so. The map has a cell every "
        f"{metrics['cam.ms_a_cell']:.0f} ms; its mean over time and the bias are the logit (to "
        f"{metrics['cam.identity_error']:.0e} "
        "over all test clips and classes). Red: the tenth of the cells that speak most for the class; the paper says no "
        "threshold.",
        "A cell sees more than its own time, and the map is one for all twelve leads: it can be right about when "
        "and still not "
        "say where.",
    ]
    return Section("Class activation maps", text, [], drawn)


def _long(source: Sources) -> list[Picture]:
    """The longest test record, if one is longer than a clip."""
    path = source.run.tables / "long.npz"
    if not path.is_file():
        return []
    with arrays_of(path) as found:
        name, record, lead = (str(found[key]) for key in ("class", "id", "lead"))
        signal, cam, fs = found["signal"], found["cam"], float(found["fs"])
    word = names_of(source)[name]
    figure = long_record(signal, cam, fs, lead, f"{word}: {record}")
    return [source.picture(figure, "figure-3-long", f"A long record: the maps of its clips put together again, for {word}.")]


def spike_said(source: Sources) -> str:
    """A sentence about the largest spike."""
    table = source.table("spike")
    name = list(dict.fromkeys(table["spike"]))[-1]
    mine = table[table["spike"] == name]
    change = (mine["logit_after"] - mine["logit_before"]).abs().mean()
    columns = ("map_after", "map_before", "chance", "found", "found_before")
    after, before, chance, found, found_before = (mine[key].astype(float).mean() for key in columns)
    return (
        f"A spike ({name}) planted in one lead changes the logit by {change:.2f} on average and draws {after:.1%} of the map "
        f"to within .3 s of it ({before:.1%} without, {chance:.1%} by chance). Hiding lead after lead names the spoilt one in "
        f"{found:.0%} of the clips ({found_before:.0%} without a spike)."
    )


def spike_section(source: Sources) -> Section:
    """What planted spikes do to map, logit and lead-wise occlusion."""
    table, names = source.table("spike"), names_of(source)
    table["class"] = table["class"].map(names)
    table["logit_change"] = (table["logit_after"] - table["logit_before"]).abs()
    columns = ["logit_change", "map_before", "map_after", "chance", "found_before", "found"]
    table[["found_before", "found"]] = table[["found_before", "found"]].astype(float)
    by_spike = table.groupby("spike", sort=False)
    overall = by_spike[columns].mean().reset_index()
    overall.insert(1, "n", by_spike.size().to_numpy())
    largest = table[table["spike"] == overall["spike"].iloc[-1]].groupby("class", sort=False)
    mean = largest[columns].mean().reset_index()
    mean.insert(1, "n", largest.size().to_numpy())
    with arrays_of(source.run.tables / "spiked.npz") as found:
        name, record, lead, spike = (str(found[key]) for key in ("class", "id", "lead", "spike"))
        figure = spiked_lead(
            found["signal"], (found["cam before"], found["cam after"]), (found["fall before"], found["fall after"]),
            float(found["fs"]), (float(found["spiked"][0]), float(found["spiked"][1])), tuple(map(str, found["leads"])), lead,
            f"{names[name]}: {record}, {spike} in {lead}",
        )  # fmt: skip
    text = [
        f"The paper saw that corrupt spikes attract its maps. Here spikes are planted at a random place in {lead} of each "
        "test clip. map_before and map_after: share of the map's size within .3 s of the spike; found: the spoilt lead is the "
        "one whose hiding moves the logit most, which the map alone, one for all leads, can never tell.",
    ]
    shown = source.picture(
        figure, "figure-4-spike",
        "The clip whose map the largest spike draws as much as it does in the middle of all clips: map and lead-wise "
        "occlusion, without and with the spike.",
    )  # fmt: skip
    return Section(
        "A corrupt spike", text,
        [
            sheet(overall, "spike", "All test clips, by spike", digits=3),
            sheet(mean, "", "The largest, by the class that the model gave without it", digits=3),
        ],
        [shown],
    )  # fmt: skip


def rates_section(source: Sources) -> Section:
    """The same records at other sampling rates."""
    text = [
        "The authors' entry scored nothing on the full test, as one sampling rate was new to it. The same test "
        "records, given at "
        "other rates: by how much do probabilities differ from those at the rate at which they were recorded?",
    ]
    return Section(
        "Other sampling rates", text, [sheet(source.table("rates"), "rates", "Differences of probabilities", digits=4)]
    )
