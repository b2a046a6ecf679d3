"""The report of lin2020: from the tables of a run folder to one page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ecglens.errors import EcglensError
from ecglens.report.html import Section, sheet, write_html
from ecglens.report.matrix import class_matrix
from ecglens.runs import Run
from ecglens.studies.lin2020_recipe import SPLITS
from ecglens.studies.lin2020_report_maps import maps_section, rates_section, spike_said, spike_section
from ecglens.studies.lin2020_report_scores import scores_section, sources_sheet
from ecglens.studies.lin2020_words import names_of, patients_named, said
from ecglens.studies.sources import NOT_FOR_PATIENTS, Sources, blamed, expect_runs

PAPER = "Lin and others (NTU-Accesslab): CNN-GAP with class activation maps on the PhysioNet/CinC Challenge 2020 (CinC 2020)"


def redraw(run: Run, beside: Run | None = None) -> Path:
    """`write_report` for folders that may have been changed since; raises EcglensError where they do not hold a whole run.

    beside: a run of the same records, classes and split, such as one with the other loss.
    """
    expect_runs("lin2020", run, beside)
    with blamed(run):
        return write_report(run, beside)


def write_report(run: Run, beside: Run | None = None) -> Path:
    """Draw all figures from the tables and write report.html."""
    source = Sources(run)
    sides = {_name(source): source}
    if beside is not None:
        with blamed(beside):
            other = Sources(beside)
            _expect_alike(source, other)
            sides[_name(other)] = other
    sections = [
        _asked(source), _data(source), scores_section(source, sides), maps_section(source), spike_section(source),
        rates_section(source), _recipes(source), _meaning(), _label_map(source),
    ]  # fmt: skip
    data = run.about["data"]
    banner = f"REAL ECGs: {data['title']}. {NOT_FOR_PATIENTS}" + (" A quick run." if source.asked["quick"] else "")
    heading = f"lin2020, {source.asked['recipe_name']}: {source.asked['model']}, {source.recipe['loss']}"
    path = run.path / "report.html"
    write_html(path, heading, banner, _facts(source), sections)
    return path


def _name(source: Sources) -> str:
    """What tells a run from another one of the same records."""
    asked = source.asked
    return f"{source.recipe['loss']}, {asked['recipe_name']}{', quick' if asked['quick'] else ''}, seed {asked['seed']}"


def _expect_alike(source: Sources, other: Sources) -> None:
    """Scores of other records or classes beside each other would compare nothing."""
    for key in ("database", "classes", "split"):
        if source.asked[key] != other.asked[key]:
            raise EcglensError(
                f"{other.run.path} has {key} {other.asked[key]}, {source.run.path} has {source.asked[key]}; "
                "--beside expects a "
                "run of the same records, classes and split"
            )
    if not source.table("sides").equals(other.table("sides")):
        raise EcglensError(f"{other.run.path} has other records on its sides than {source.run.path}; use the same --seed")
    if _name(source) == _name(other):
        raise EcglensError(f"{other.run.path} and {source.run.path} are both '{_name(source)}': nothing tells them apart")


def _facts(source: Sources) -> list[tuple[str, str]]:
    about, training, data = source.run.about, source.run.about["training"], source.run.about["data"]
    return [
        ("paper", PAPER),
        ("data", f"{data['database']} {data['version']}, {len(data['records'])} records; {data['licence']}"),
        ("test", SPLITS[source.asked["split"]]),
        ("training", f"{training['rows']} clips x {training['epochs']} epochs in {training['seconds']:.0f} s, "
                     f"threads: {training['threads']}"),
        ("seed", str(source.asked["seed"])),
        ("made by", f"ecglens {about['ecglens']}, torch {about['libraries']['torch']}, {about['started'][:10]}"),
    ]  # fmt: skip


def _asked(source: Sources) -> Section:
    metrics, recipe = source.metrics, source.recipe
    of = f" of {metrics['test.patients']} patients" if patients_named(source) else ""
    text = [
        f"A network reads ten seconds of twelve leads and says which of {len(metrics['classes'])} classes hold; "
        "one record may "
        "have several. Its class activation map says when in these ten seconds the evidence for a class lies; of "
        "which lead it "
        "is the map cannot say.",
        f"On {metrics['test.n']} test records{of} the macro AUC is "
        f"{said(source, 'macro_auc')}, "
        f"the macro F1 {said(source, 'macro_f1')}"
        + (f", the Challenge's score {said(source, 'challenge_score')}" if "test.challenge_score" in metrics else "")
        + f". Thresholds were chosen on validation records alone, for {recipe['goal']}."
        + ("" if of else " This database names no patients: records of one person may be on both sides of the split."),
        spike_said(source),
    ]
    if metrics["test.shared_patients"]:
        text.append(f"{len(metrics['test.shared_patients'])} patients are on both sides of the split: the figures flatter.")
    return Section("What came out", text)


def _data(source: Sources) -> Section:
    about = source.run.about
    clips, data, recipe = about["clips"], about["data"], source.recipe
    cut = ", ".join(f"{place} {n}" for place, n in clips["clips"].items())
    text = [
        f"{clips['records']} records gave {sum(clips['clips'].values())} clips of {recipe['seconds']:g} s at "
        f"{recipe['fs']:g} Hz "
        f"({cut}); {clips['padded']} shorter ones have zeros around them. Baseline: {recipe['baseline']}.",
        *_warnings(source),
    ]
    if clips["resampled"]:
        text.append("Resampled: " + ", ".join(f"{n} records from {rate} Hz" for rate, n in clips["resampled"].items()) + ".")
    if clips["unlabelled"]:
        text.append(f"{clips['unlabelled']} records have none of the classes; they stay, as examples of none.")
    for key, words in (("unknown", "Codes that nobody knows"), ("unscored", "Codes of no class")):
        if clips[key]:
            most = sorted(clips[key].items(), key=lambda item: -item[1])[:8]
            text.append(
                f"{words}: " + ", ".join(f"{code} ({n})" for code, n in most) + (", ..." if len(clips[key]) > 8 else ".")
            )
    if clips["unusable"]:
        text.append(
            f"{sum(clips['unusable'].values())} clips without a signal were left out, of {len(clips['unusable'])} records of "
            "which others stay."
        )
    if known := list(dict.fromkeys(pair["first"] for pair in source.run.about["known_to_start_from"])):
        text.append(
            f"{len(known)} records are, by their signals, among those that the net of start_from knows "
            f"({', '.join(known[:8])}{', ...' if len(known) > 8 else ''}): they do not test here, nor "
            "validate if they trained it."
        )
    if clips["bridged"]:
        text.append(
            f"{sum(clips['bridged'].values())} samples without a value were bridged, in {len(clips['bridged'])} records."
        )
    text += [f"Left out: {item['record']}: {item['reason']}." for item in data["skipped"][:12]]
    if len(data["skipped"]) > 12:
        text.append(f"... and {len(data['skipped']) - 12} more, in run.json.")
    counts = source.table("splits").pivot(index="class", columns="split", values="n").reset_index()
    counts.insert(0, "name", counts["class"].map(names_of(source)))
    return Section("The records", text, [sources_sheet(source), sheet(counts, "splits", "Records of each class on each side")])


def _warnings(source: Sources) -> list[str]:
    told = source.run.about["label_map"]
    return [f"Classes: {told['name']}; {told['source']}.", *told["warnings"]]


def _label_map(source: Sources) -> Section:
    sheets, drawn = [sheet(source.table("label-map"), "label-map", "Code to class")], []
    if source.asked["classes"] == "challenge":
        table, names = source.table("weights"), names_of(source)
        figure = class_matrix(
            table.drop(columns="class").to_numpy(float), [names[name] for name in table["class"]], "The Challenge's weights",
            "class that holds", "class answered",
        )  # fmt: skip
        drawn.append(
            source.picture(
                figure, "weights", "What an answer earns, by the class that holds (tables/weights.csv); sinus rhythm for all "
                "is worth 0 in the score, all right 1.",
            )
        )  # fmt: skip
    return Section("Label map", _warnings(source), sheets, drawn)


def _recipes(source: Sources) -> Section:
    return Section(
        "As published and corrected",
        ["The two recipes differ in these options. 'This run' may differ from both by --set or --quick."],
        [sheet(_as_written(source.table("recipes")), "recipes", "What the paper did, what we would do, and why")],
    )


def _as_written(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as one would write them: 30 epochs, not 30.000."""
    return table.map(lambda value: f"{value:g}" if isinstance(value, float) and value == value else value)


def _meaning() -> Section:
    text = [
        "A class activation map shows when the last layer's channels speak for a class. It is exact for this "
        "network (it adds up to "
        "the logit) and coarse: what a cell has seen reaches far beyond it, and all leads are one in it.",
        "Where the red lies on a wave that cardiology would name, that is no proof that the network reads that "
        "wave; where it does "
        "not, the network may still be right for a reason nobody checked.",
        f"Every figure is in figures/ as SVG, every table in tables/ as CSV. {NOT_FOR_PATIENTS}",
    ]
    return Section("What a map means, and what it does not", text)
