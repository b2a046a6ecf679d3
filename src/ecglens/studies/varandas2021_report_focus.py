"""The part of varandas2021's report about maps: focus in the paper's tables and figures, then on each beat and gap."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ecglens.files import write_table
from ecglens.report.focus import focus_by_position, focus_histograms
from ecglens.report.html import Picture, Section, sheet, with_intervals
from ecglens.report.pictures import labelled_region, picture_maps
from ecglens.report.shown import ShownPicture, read_shown
from ecglens.studies.sources import Sources, blamed
from ecglens.studies.varandas2021_published import FOCUS, METHODS, RANDOM
from ecglens.studies.varandas2021_recipe import STRETCHES
from ecglens.studies.varandas2021_words import (
    NO_MASS,
    empty_rule,
    explained,
    five_beats,
    gap_beside,
    labelled_beat,
    pictured,
    region,
    side_of_gap,
    trained_on_cut_windows,
)

BESIDE = "figure-2-maps-beside"  # drawn only where there is a second run
_GROUPS = {"all": "2", "right": "3", "wrong": "3", "abnormal": "4", "normal": "4"}  # the paper's tables


def focus_section(sides: dict[str, Sources]) -> Section:
    """Tables 2 to 4 and figure 1 with all runs; both regions of the first one."""
    rows: list[dict[str, str]] = []
    values, rules, text = [], {}, []
    for name, source in sides.items():
        with blamed(source.run):
            rows += _tables_2_to_4(name, source)
            text += _terms(f"{name}: " if len(sides) > 1 else "", source)
            each = source.table("focus-values")
            each[["focus", "random"]] = each[["focus", "random"]].astype(float)
            values.append(each.assign(set=name, method=each["method"].map(METHODS)))
            rules[name] = source.recipe["empty"]
    first, source = next(iter(sides.items()))
    table = source.table("focus")
    both = table[table["group"].isin(_GROUPS)].assign(method=table["method"].map(METHODS))
    columns = ["method", "group", "region", "n", "patients", "empty", "focus", "focus_sd", "random", "enrichment"]
    both = with_intervals(both, ["focus", "enrichment"])[columns]
    paper = pd.DataFrame(rows)
    if paper["region"].nunique() == 1:  # the text has it
        paper = paper.drop(columns="region")
    write_table(source.run.tables / "tables-2-to-4.csv", paper)
    mean, sd = RANDOM
    text += [
        "Of gradients the size is summed, of Grad-CAM and GB grad-CAM what speaks for the class.",
        "Random focus is what a map without any preference would have: the region's share. The paper's is "
        f"{100 * mean:.1f} ± {100 * sd:.1f} %; it compares focus with it, but not window by window. 'x chance' is mean focus "
        "over mean random focus of the same windows, with its 95 % interval over patients.",
        "The paper's Table 4 weighted by the classes' shares gives its Table 2, except for GB grad-CAM of set 2 (15.8 for "
        "15.3).",
    ]
    if any(each.recipe["region"] != "rectangle" or not pictured(each) for each in sides.values()):
        text.append(
            "The paper's region is a rectangle as high as the beat, so that its focus and its chance are lower than in a "
            "region over all the height: numbers from different regions can be compared as multiples of chance alone. Ours in "
            "that rectangle are among the long tables at the end."
            if pictured(source)
            else "The paper's region is a rectangle on a picture, lower than the picture is: numbers from different regions "
            "can be compared as multiples of chance alone."
        )
    return Section(
        "Focus on the labelled beat",
        text,
        [
            sheet(paper, "tables-2-to-4", "Tables 2, 3 and 4 of the paper, ours beside; in per cent, mean ± standard "
                  "deviation over test windows"),
            sheet(both, "focus", f"Both regions, with intervals over patients ({first}); shares, not per cent"),
        ],
        [
            source.picture(
                focus_histograms(pd.concat(values), empty=rules), "figure-1-histograms",
                "Figure 1: focus of every window; the outline is random focus.",
            )
        ],
    )  # fmt: skip


def _terms(name: str, source: Sources) -> list[str]:
    """On what terms a run's focus was measured."""
    target = "the class that the model gave" if source.recipe["target"] == "predicted" else "the true class"
    here, n = explained(source), source.metrics["test.n"]
    text = [
        f"{name}The region of the labelled beat is {region(source)}; {empty_rule(source)}. Maps are of {target}; the paper "
        "does not say which." + (f" Maps were made of {here:,} of the {n:,} tested windows, at random." if here < n else "")
    ]
    if not pictured(source):
        beyond = {words: source.metrics[f"focus.{method}.on_padding"] for method, words in METHODS.items()}
        said = [f"{NO_MASS} ({words})" if share is None else f"{share:.1%} ({words})" for words, share in beyond.items()]
        text.append(
            f"{name}A window seldom fills its array; around it lies padding. So much of a map's size lies there, outside of "
            f"the signal, mean over windows: {', '.join(said)}. It is left out here: focus and random focus are shares of "
            "what lies on the signal."
        )
    return text


def _tables_2_to_4(name: str, source: Sources) -> list[dict[str, str]]:
    """A row per group and method: the paper's mean and standard deviation, and ours with chance beside it."""
    number, table, rows = source.asked["set_number"], source.table("focus"), []
    for group, paper_table in _GROUPS.items():
        ours = table[(table["group"] == group) & (table["region"] == source.recipe["region"])].set_index("method")
        chance = with_intervals(ours, ["enrichment"], digits=2)["enrichment"]
        for method, words in METHODS.items():
            mean, sd = FOCUS[number][group][method]
            row = {
                "table": paper_table, "run": name, "windows": group, "map": words,
                "paper": f"{100 * mean:.1f} ± {100 * sd:.1f}", "ours": "no such window", "region": source.recipe["region"],
                "random, ours": "", "x chance": "", "empty maps": "",
            }  # fmt: skip
            if method in ours.index:
                own = ours.loc[method]
                row["ours"] = NO_MASS if own["empty_rate"] == 1 else _percent(own, "focus")
                row["random, ours"] = _percent(own, "random")
                row["x chance"] = chance[method]
                row["empty maps"] = f"{own['empty_rate']:.1%}"
            rows.append(row)
    return rows


def _percent(row: pd.Series, name: str) -> str:
    return "" if row[name] != row[name] else f"{100 * row[name]:.1f} ± {100 * row[f'{name}_sd']:.1f}"


def pictures_section(sides: dict[str, Sources]) -> Section:
    """Figures 2 and 3: single windows of each run, and the region."""
    first = next(iter(sides.values()))
    drawn: list[Picture] = []
    text = []
    for number, (name, source) in enumerate(sides.items()):
        with blamed(source.run):
            shown = [_said(one, source) for one in read_shown(source.run.tables / "shown.npz")]
            figure = picture_maps(shown, behind=METHODS["grad-cam"])
        file = "figure-2-maps" if number == 0 else BESIDE
        text.append((f"{name}: " if len(sides) > 1 else "") + _kinds(shown))
        caption = f"Figure 2: maps of {name}; the box is the region, the strips are what focus counts of the maps, summed."
        drawn.append(first.picture(figure, file, caption))
        if number == 0:
            caption = f"Figure 3: the region of the labelled beat ({name})."
            drawn.append(first.picture(labelled_region(shown[0]), "figure-3-region", caption))
    text.append(
        "Each map has its own scale. Under the pictures stands the trace on ECG paper, and what focus counts of the maps, the "
        "size of gradients and of the others what speaks for the class, summed down their columns into time."
    )
    for name, source in sides.items():
        if not pictured(source):
            text.append(f"{name} sees no picture: one is drawn here for the eye, and its maps are bands of time.")
    return Section("Single windows", text, [], drawn)


def _said(one: ShownPicture, source: Sources) -> ShownPicture:
    """With methods called as everywhere else, and the model named: the figure may travel alone."""
    return replace(
        one,
        group=f"{source.asked['model']}, set {source.asked['set_number']}",
        maps={METHODS[name]: map_ for name, map_ in one.maps.items()},
        time_maps={METHODS[name]: map_ for name, map_ in one.time_maps.items()},
        focus={METHODS[name]: share for name, share in one.focus.items()},
    )


def _kinds(shown: list[ShownPicture]) -> str:
    """Which windows are shown: one of each kind of answer that was given."""
    kinds = [f"{one.label} called {one.predicted}" for one in shown]
    none = [f"{a} called {b}" for a in ("normal", "abnormal") for b in ("normal", "abnormal")]
    none = [kind for kind in none if kind not in kinds]
    return (
        f"One test window each that is {', '.join(kinds)}: the middle one of the list, not chosen for its looks."
        + (f" There is none that is {' or '.join(none)}." if none else "")
    )  # fmt: skip


def positions(sides: dict[str, Sources]) -> Section:
    """Where the mass lies among beats and gaps, of the first run."""
    name, source = next(iter(sides.items()))
    table = source.table("positions")
    table["method"] = table["method"].map(METHODS)
    labelled, gap, side = labelled_beat(source), gap_beside(source), side_of_gap(source)
    text = [
        "The paper asks in closing whether its models use RR intervals and earlier beats. Where does the map's mass lie: on "
        f"which beat ({STRETCHES['extent']}), in which gap? Dots over the grey bars lie there more than chance."
        + (f" All of {name}." if len(sides) > 1 else ""),
    ]
    for method in METHODS.values():
        said = []
        for group, mine in table[table["method"] == method].groupby("class", sort=False):
            rows = mine.set_index("region")
            if rows.loc[labelled, "empty_rate"] == 1:
                said.append(f"in {group} windows {NO_MASS}")
            else:
                on, beside = (_share(rows.loc[each]) for each in (labelled, gap))
                said.append(f"in {group} windows {on} on the labelled beat, {beside} in the gap {side} it")
        text.append(f"{method}: {'; '.join(said)}.")
    if source.asked["set_number"] == 2:
        text.append(
            "'before' is what can be seen of the RR interval before the labelled beat: the window begins half-way to the beat "
            "before it."
        )
    columns = ["method", "class", "region", "n", "focus", "random", "enrichment"]
    return Section(
        "Which beat, which gap",
        [*text, *five_beats(source), *trained_on_cut_windows(source)],
        [sheet(with_intervals(table, ["focus", "enrichment"])[columns], "positions", "Focus on each beat and gap")],
        [
            source.picture(
                focus_by_position(table, labelled=labelled), "figure-4-positions",
                f"Figure 4: mean focus with 95 % intervals over patients ({name}); grey: random focus.",
            )
        ],
    )  # fmt: skip


def _share(row: pd.Series) -> str:
    if row["enrichment"] != row["enrichment"]:  # beats meet half-way everywhere
        return "nothing (no such stretch)"
    return f"{row['focus']:.1%} ({row['enrichment']:.1f} x chance)"
