"""The report of varandas2021: from the tables of a run folder, or of two (set 1 and set 2), to one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ecglens.errors import EcglensError
from ecglens.examples.label_maps import label_map
from ecglens.report import figures
from ecglens.report.html import Section, sheet, write_html
from ecglens.runs import Run
from ecglens.studies.sources import NOT_FOR_PATIENTS, Sources, blamed, expect_runs
from ecglens.studies.varandas2021 import SPLITS
from ecglens.studies.varandas2021_published import METHODS, WINDOWS
from ecglens.studies.varandas2021_recipe import LABELLED
from ecglens.studies.varandas2021_report_focus import BESIDE, focus_section, pictures_section, positions
from ecglens.studies.varandas2021_report_probes import needs_others, probes
from ecglens.studies.varandas2021_report_scores import scores
from ecglens.studies.varandas2021_words import NO_MASS, counted, explained, named, pictured, region, tested, title

PAPER = (
    "Varandas, Goncalves, Gamboa, Vieira: Quantified explainability: convolutional neural network focus assessment in "
    "arrhythmia detection (BioMedInformatics 2022)"
)

_LONG = ("per_patient", "focus", "positions", "occlusion", "retiming")  # tables of dozens of rows


def redraw(run: Run, beside: Run | None = None) -> Path:
    """`write_report` for folders that may have been changed since: raises EcglensError where they do not hold a whole run.

    beside: a run of the other set (or another model, recipe, seed), whose rows stand beside this one's in the paper's tables.
    Raises EcglensError too where it is the same folder, or where one run saw real ECGs and the other simulated ones.
    """
    expect_runs("varandas2021", run, beside)
    if beside is not None and beside.path.resolve() == run.path.resolve():
        raise EcglensError(f"{beside.path} is given twice; --beside expects another run than the first one")
    with blamed(run):
        return write_report(run, beside)


def write_report(run: Run, beside: Run | None = None) -> Path:
    """Draw all figures from the tables and write report.html."""
    sources = [_opened(run)] + ([_opened(beside)] if beside is not None else [])
    _expect_one_kind(sources)
    source, sides = sources[0], named(sources)
    sections = [
        opening(sides),
        windows(source),
        scores(sides),
        focus_section(sides),
        pictures_section(sides),
        positions(sides),
        *([probes(sides)] if source.recipe["probed_per_class"] else []),
        _recipes(sides),
        _meaning(source),
    ]
    sections = _with_long_tables_last(sections)
    data = run.about["data"]
    banner = f"{data['kind'].upper()} ECGs: {data['title']}. {NOT_FOR_PATIENTS}"
    if source.asked["quick"]:
        banner += f" A quick run: {run.about['training']['rows']} training windows."
    path = run.path / "report.html"
    heading = f"varandas2021, {source.asked['recipe_name']}: {title(source)}"
    ribbon = "SIMULATED ECGs: no person's heart" if source.simulated else None
    write_html(path, heading, banner, _facts(source), sections, ribbon=ribbon)
    if beside is None:
        # of an earlier report with --beside
        (run.path / "figures" / f"{BESIDE}.svg").unlink(missing_ok=True)
    return path


def _with_long_tables_last(sections: list[Section]) -> list[Section]:
    """So that figures stand beside the words about them, not behind pages of numbers."""
    long = [each for section in sections for each in section.sheets if each.name in _LONG]
    for section in sections:
        section.sheets = [each for each in section.sheets if each.name not in _LONG]
    return [*sections, Section("Long tables", ["The numbers of the figures, and more."], long)]


def _opened(run: Run) -> Sources:
    """The run, with what two runs are compared by."""
    with blamed(run):
        source = Sources(run)
        _ = source.simulated, named([source]), source.metrics["test.n"]
    return source


def _expect_one_kind(sources: list[Sources]) -> None:
    """Simulated ECGs beside real ones would stand unnamed in figures and tables."""
    if len({source.simulated for source in sources}) > 1:
        said = [f"{each.run.path} of {'simulated' if each.simulated else 'real'} ECGs" for each in sources]
        raise EcglensError(f"{' and '.join(said)} cannot stand beside each other; --beside expects two runs of one kind")


def _facts(source: Sources) -> list[tuple[str, str]]:
    about, asked = source.run.about, source.asked
    training, data = about["training"], about["data"]
    return [
        ("paper", PAPER),
        ("data", f"{data['database']} {data['version']}, {len(data['records'])} records; {data['licence']}"),
        ("test", SPLITS[asked["split"]]),
        ("training", f"{training['rows']} windows x {training['epochs']} epochs in {training['seconds']:.0f} s, "
                     f"{training['threads']} threads" + (", stopped by its rule" if training["stopped_early"] else "")),
        ("seed", str(asked["seed"])),
        ("made by", f"ecglens {about['ecglens']}, torch {about['libraries']['torch']}, {about['started'][:10]}"),
    ]  # fmt: skip


def opening(sides: dict[str, Sources]) -> Section:
    """The page in a minute: the question, how good, where it looks, what it needs, and what limits all that."""
    first, source = next(iter(sides.items()))
    beat, beats = LABELLED[source.asked["set_number"]], counted(source.recipe["beats"])
    shown = f"{beats.capitalize()} heartbeats in a row are shown" + (", drawn as one picture," if pictured(source) else "")
    text = [
        f"{shown} and the {beat} one says whether the window is normal. Does the model look at that beat, and does it need "
        "the others?" + (_beside(first, sides) if len(sides) > 1 else ""),
        _how_good(source),
        _how_focused(source),
        *needs_others(source),
    ]
    return Section("What came out", text)


def _how_good(source: Sources) -> str:
    metrics, (here, every) = source.metrics, tested(source)
    which = f"{here} of {every} test windows, drawn at random," if here < every else f"{here} test windows"
    text = (
        f"On {which} of {metrics['test.patients']} patients ({metrics['test.prevalence_normal']:.1%} normal) its balanced "
        f"accuracy is {metrics['test.balanced_accuracy']:.3f}{_interval(metrics, 'test.balanced_accuracy')}, its accuracy "
        f"{metrics['test.accuracy']:.3f}; it finds {metrics['test.per_class.abnormal.recall']:.3f} of the abnormal beats"
        f"{_interval(metrics, 'test.per_class.abnormal.recall', '')}. A model that always says normal has accuracy "
        f"{metrics['test.always_normal.accuracy']:.3f} and finds none."
    )
    low = metrics.get("test.balanced_accuracy_low")
    if (metrics["test.balanced_accuracy"] if low is None else low) <= 0.5:
        text += " That is no better than chance: what follows shows how a net looks that has not learnt the task, no more."
    shared = metrics["test.shared_patients"]
    if shared:
        text += f" Patient {', '.join(shared)} is on both sides of the split."
        if "test_unseen_patients.macro_recall" in metrics:
            text += f" Without their windows, balanced accuracy is {metrics['test_unseen_patients.macro_recall']:.3f}."
    return text


def _interval(metrics: dict[str, float | None], key: str, what: str = "95 % interval over patients ") -> str:
    low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
    return "" if low is None or high is None else f" ({what}{low:.3f} to {high:.3f})"


def _how_focused(source: Sources) -> str:
    metrics, here = source.metrics, explained(source)
    said, without = [], []
    for method, words in METHODS.items():
        mean, enrichment, empty = (metrics.get(f"focus.{method}.{key}") for key in ("mean", "enrichment", "empty_rate"))
        if mean is None or empty == 1:
            without.append(words)
            continue
        times = f"{enrichment:.1f} x chance" if enrichment is not None else "of no chance"
        if empty is not None and empty >= 0.01:
            times += f", {empty:.0%} of its maps are empty"
        said.append(f"{mean:.1%} ({times}) by {words}")
    found = [f"it is {', '.join(said)}"] if said else []
    found += [f"{NO_MASS} by {', '.join(without)}"] if without else []
    whole = "the picture" if pictured(source) else "the signal"
    return (
        "Focus is the share of a map's mass that lies in the region of the labelled beat. By chance it would be "
        f"{metrics['focus.random.mean']:.1%}, the region's share of {whole}; {'; '.join(found)}."
        + (f" Maps were made of {here} of the {metrics['test.n']} tested windows." if here < metrics["test.n"] else "")
        + f" The region: {region(source)}."
    )


def _beside(first: str, sides: dict[str, Sources]) -> str:
    """What stands beside the first run, and whether both saw the same."""
    other = list(sides)[1]
    digests = [source.run.about["data"].get("sha256") for source in sides.values()]
    text = f" This page is of {first}; beside it, in Tables 1 to 4 and in figures 1 and 2, stands {other}."
    text += "" if digests[0] == digests[1] else " The two did not see the same records."
    here, there = (source.metrics["test.n"] for source in sides.values())
    return text if here == there else f"{text} They were tested on {here} and {there} windows."


def windows(source: Sources) -> Section:
    """What the windows are, and which were left out."""
    about, recipe = source.run.about, source.recipe
    found, data, names = about["windows"], about["data"], label_map("varandas")
    lead = "each record's first" if recipe["lead"] == "first" else f"{recipe['lead']} where a record has it, else its first"
    text = [
        f"Windows of {counted(recipe['beats'])} beats that slide on beat by beat, one lead ({lead}), from half-way to the "
        "beat before to half-way to the beat after. " + "; ".join(f"{key}: {names.names[key]}" for key in names.classes)
        + f". {names.source}.",
    ]  # fmt: skip
    rates = sorted(set(found["resampled"].values()))
    if rates:
        text.append(
            f"Resampled to {recipe['fs']:g} Hz from {', '.join(f'{rate:g}' for rate in rates)} Hz: "
            f"{len(found['resampled'])} records."
        )
    if pictured(source):
        text.append(
            "The model's first layer draws each window as one trace, 224 x 224 pixels: the window's time over the whole "
            f"width, {recipe['height_mv']:g} mV over the height. The scale is fixed, so a spike cannot squash the trace; what "
            "leaves the picture runs along its edge. In the middle of the height lies the middle between the sixth highest "
            "and the sixth lowest column."
        )
    else:
        text.append("The 1-D twin sees the same windows as signals; around a window the array holds the window's median.")
    here, every = tested(source)
    if here < every:
        text.append(f"Of {every} test windows {here} were drawn at random (tested_at_most); the others are unused.")
    text += _left_out(found, recipe)
    if data["missing"]:
        text.append(f"Not at hand: records {', '.join(data['missing'])}.")
    text += [f"Mended: {remark}." for remark in data["remarks"]]
    skipped = [item for item in data["skipped"] if item["record"] not in found["few_beats"]]
    text += [f"Left out: {item['record']}: {item['reason']}." for item in skipped]
    splits = source.table("splits")
    counts = splits.groupby("split")["n"].sum()
    sides = ("train", "validation", "test", "unused")
    frame = pd.DataFrame(
        [{"side": side, "windows here": int(counts.get(side, 0)), "paper": WINDOWS.get(side)} for side in sides], dtype=object
    )
    return Section(
        "The windows",
        text,
        [sheet(frame, "splits", "Windows on each side, the paper's beside ours")],
        [source.picture(figures.class_counts(splits, "windows"), "figure-a-classes", "Windows per class and side.")],
    )


def _left_out(found: dict[str, Any], recipe: dict[str, Any]) -> list[str]:
    """What cutting found out: which windows are cut short, and which are left out and why."""
    said = {
        "incomplete": "Windows that lack their last beat (the paper's count implies them)",
        "at_edge": "Windows that begin or end with the record",
        "other_beat": "Left out, as a beat of no class lies inside",
        "one_sample": "Left out, as two R peaks are at one sample",
        "too_long": f"Left out, as they are longer than {recipe['longest']:g} s",
        "invalid": "Left out, as samples are invalid",
        "flat": "Left out, as they hold no signal",
    }
    text = [f"{words}: {sum(found[key].values())}." for key, words in said.items() if sum(found[key].values())]
    if found["few_beats"]:
        text.append(f"Fewer than {counted(recipe['beats'])} beats: records {', '.join(found['few_beats'])}.")
    if found["other_beats"]:
        marks = ", ".join(f"{name} {n}" for name, n in sorted(found["other_beats"].items()))
        text.append(f"Beats of no class, by symbol: {marks}.")
    return text


def _recipes(sides: dict[str, Sources]) -> Section:
    first, source = next(iter(sides.items()))
    text = ["The two recipes differ in these options. 'This run' may differ from both by --set or --quick."]
    if len(sides) > 1:
        text.append(f"'This run' is {first}.")
    return Section(
        "As published and corrected",
        text,
        [sheet(source.table("recipes"), "recipes", "What the paper did, what we would do, and why")],
    )


def _meaning(source: Sources) -> Section:
    text = [
        "High focus says that a map lies on the labelled beat, not that the model needs it: guided maps lie where the trace "
        "has edges, for any model. Low focus is no fault either: an early beat can only be told by the gap before it.",
        "Grad-CAM is as coarse as the last layer's cells, and each cell sees far beyond itself.",
        "Hiding a beat by a straight line, or moving it, makes ECGs that no heart makes; models may answer oddly for that "
        "alone.",
        f"Every figure is in figures/ as SVG, every table in tables/ as CSV. {NOT_FOR_PATIENTS}",
    ]
    return Section("What a map means, and what it does not", text)
