"""The report of lin2020: from the tables of a run folder to one page."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.errors import EcglensError
from ecglens.examples.diagnoses import diagnosis_map
from ecglens.recordings.databases import database
from ecglens.recordings.twelve import STANDARD
from ecglens.report.html import Picture, Section, Sheet, sheet, with_intervals, write_html
from ecglens.report.twelve_leads import lead_above_map, long_record, twelve_on_paper
from ecglens.runs import Run
from ecglens.studies.lin2020_published import TABLE_2, TABLE_3, TABLE_4
from ecglens.studies.lin2020_recipe import CLASS_SETS, SPLITS
from ecglens.studies.sources import NOT_FOR_PATIENTS, Sources, blamed

PAPER = "Lin and others (NTU-Accesslab): CNN-GAP with class activation maps on the PhysioNet/CinC Challenge 2020 (CinC 2020)"
_PER_CLASS = ["auc", "average_precision", "f1", "precision", "recall"]
_OVERALL = {
    "macro_auc": "macro AUC", "macro_average_precision": "macro average precision", "macro_f1": "macro F1",
    "macro_f_beta": "macro F-beta (2)", "macro_g_beta": "macro G-beta (2)", "accuracy": "all classes of a record right",
    "challenge_score": "Challenge score",
}  # fmt: skip
_SHOWN_WHOLE = 2  # records drawn with all leads


def redraw(run: Run, beside: Run | None = None) -> Path:
    """`write_report` for folders that may have been changed since; raises EcglensError where they do not hold a whole run.

    beside: a run of the same records, classes and split, such as one with the other loss.
    """
    for each in (run, beside):
        if each is not None:
            each.expect_complete()
            if each.about["asked"]["study"] != "lin2020":
                raise EcglensError(f"{each.path} is a run of {each.about['asked']['study']}; expected one of lin2020")
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
        _asked(source), _data(source), _scores(source, sides), _maps(source), _spike(source), _rates(source),
        _recipes(source), _meaning(),
        Section("Label map", _warnings(source), [sheet(source.table("label-map"), "label-map", "Code to class")]),
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
    if source.table("splits").drop(columns="drawn").to_dict() != other.table("splits").drop(columns="drawn").to_dict():
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


def _names(source: Sources) -> dict[str, str]:
    """Class to a word that a reader knows."""
    which = diagnosis_map(CLASS_SETS[source.asked["database"]][source.asked["classes"]])
    return {name: which.short.get(name, name) for name in which.classes}


def _said(source: Sources, key: str) -> str:
    value, low, high = (source.metrics.get(f"test.{key}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "not known"
    unit = "patients" if _patients_named(source) else "records"
    return f"{value:.3f}" + ("" if low is None or high is None else f" (95 % over {unit} {low:.3f} to {high:.3f})")


def _patients_named(source: Sources) -> bool:
    return database(source.asked["database"]).patients_named


def _asked(source: Sources) -> Section:
    metrics, recipe = source.metrics, source.recipe
    of = f" of {metrics['test.patients']} patients" if _patients_named(source) else ""
    text = [
        f"A network reads ten seconds of twelve leads and says which of {len(metrics['classes'])} classes hold; "
        "one record may "
        "have several. Its class activation map says when in these ten seconds the evidence for a class lies; of "
        "which lead it "
        "is the map cannot say.",
        f"On {metrics['test.n']} test records{of} the macro AUC is "
        f"{_said(source, 'macro_auc')}, "
        f"the macro F1 {_said(source, 'macro_f1')}"
        + (f", the Challenge's score {_said(source, 'challenge_score')}" if "test.challenge_score" in metrics else "")
        + f". Thresholds were chosen on validation records alone, for {recipe['goal']}."
        + ("" if of else " This database names no patients: records of one person may be on both sides of the split."),
        f"A spike of 5 mV planted in one lead changes the logit by {metrics['spike.logit_change']:.2f} on average and draws "
        f"{metrics['spike.map_after']:.1%} of the map to within .3 s of it ({metrics['spike.map_before']:.1%} without, "
        f"{metrics['spike.chance']:.1%} by chance). Hiding lead after lead names the spoilt one in "
        f"{metrics['spike.lead_found']:.0%} "
        f"of the records ({metrics['spike.lead_found_before']:.0%} without a spike).",
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
    if clips["bridged"]:
        text.append(
            f"{sum(clips['bridged'].values())} samples without a value were bridged, in {len(clips['bridged'])} records."
        )
    text += [f"Left out: {item['record']}: {item['reason']}." for item in data["skipped"][:12]]
    if len(data["skipped"]) > 12:
        text.append(f"... and {len(data['skipped']) - 12} more, in run.json.")
    counts = source.table("splits").pivot(index="class", columns="split", values="n").reset_index()
    counts.insert(0, "name", counts["class"].map(_names(source)))
    return Section("The records", text, [sheet(counts, "splits", "Records of each class on each side")])


def _warnings(source: Sources) -> list[str]:
    told = source.run.about["label_map"]
    return [f"Classes: {told['name']}; {told['source']}.", *told["warnings"]]


def _scores(source: Sources, sides: dict[str, Sources]) -> Section:
    metrics, names = source.metrics, _names(source)
    rows = []
    for key, words in _OVERALL.items():
        if f"test.{key}" in metrics:
            rows.append({"": words} | {name: _said(each, key) for name, each in sides.items()})
    per_class = source.table("per_class").merge(source.table("thresholds"), on="class")
    per_class = with_intervals(per_class, _PER_CLASS)
    per_class.insert(0, "name", per_class["class"].map(names))
    shown = ["name", "support", "patients", "predicted", "threshold", *_PER_CLASS]
    text = ["Intervals are 95 %, from a bootstrap over patients. A class without a test record has no figures."]
    if len(sides) > 1:
        first, other = list(sides)
        text.append(f"Class by class, and in all sections below, the page is of '{first}'; beside it stands '{other}'.")
    sheets = [
        sheet(pd.DataFrame(rows), "metrics", "Over all classes"),
        sheet(per_class[shown], "per_class", "Class by class"),
    ]
    if len(sides) > 1:
        sheets.append(sheet(_f1_beside(sides, names), "per_class", "F1 by class, of both runs"))
    kept = source.run.about["thresholds"]["kept"]
    if kept:
        text.append(f"No validation record of {', '.join(names[name] for name in kept)}: their thresholds stay .5.")
    if source.asked["classes"] == "challenge":
        sheets += _beside_the_paper(sides, names)
        text.append(
            "The paper's Table 4 calls 'accuracy' what with its F1 can only be recall, and its numbers of records are those "
            "that train. By macro F1 the loss that wins the Challenge's score (.582 for .549) loses (.281 for .288)."
        )
    return Section("How good is it", text, sheets)


def _f1_beside(sides: dict[str, Sources], names: dict[str, str]) -> pd.DataFrame:
    """F1 of each class with its interval, a column for each run."""
    out: dict[str, Any] = {}
    for name, source in sides.items():
        table = with_intervals(source.table("per_class"), ["f1"])
        out["class"] = table["class"].map(names)
        out["support"] = table["support"]
        out[name] = table["f1"]
    return pd.DataFrame(out)


def _beside_the_paper(sides: dict[str, Sources], names: dict[str, str]) -> list[Sheet]:
    """Tables 2 to 4 of the paper, ours beside."""
    two, three, four = [], [], []
    for loss, (own, official) in TABLE_2.items():
        row: dict[str, Any] = {"loss": loss, "paper, own validation": own, "paper, official validation": official}
        ours = {name: each for name, each in sides.items() if each.recipe["loss"] == loss}
        two.append(row | {f"ours, test: {name}": each.metrics["test.challenge_score"] for name, each in ours.items()})
    columns = ["validation", "test 1", "test 2", "test 3", "full test"]
    for entry, scores in TABLE_3.items():
        three.append({"entry": entry, **dict(zip(columns, scores, strict=True))})
    tables = {name: each.table("per_class").set_index("class") for name, each in sides.items()}
    for code, (recall, macro_obs, wbce, n) in TABLE_4.items():
        row = {"class": names.get(code, code), "paper, records": n, "paper, recall": recall}
        row |= {"paper, F1 macro-obs": macro_obs, "paper, F1 wbce": wbce}
        for name, table in tables.items():
            if code in table.index:
                row |= {
                    "ours, records": int(table.loc[code, "support"]),
                    f"ours, recall: {name}": float(table.loc[code, "recall"]),
                }
                row[f"ours, F1: {name}"] = float(table.loc[code, "f1"])
        four.append(row)
    return [
        sheet(pd.DataFrame(two, dtype=object), "metrics", "Table 2: the Challenge's score by loss"),
        sheet(pd.DataFrame(three, dtype=object), "metrics", "Table 3: entries of the Challenge"),
        sheet(pd.DataFrame(four, dtype=object), "per_class", "Table 4: class by class"),
    ]


def _shown(source: Sources) -> list[dict[str, Any]]:
    table, path = source.table("shown"), source.run.tables / "shown.npz"
    with _readable(path), np.load(path, allow_pickle=False) as found:
        fs = float(found["fs"])
        return [
            row | {"signal": found[f"signal {k}"], "cam": found[f"cam {k}"], "fs": fs}
            for k, row in enumerate(table.to_dict("records"))
        ]


def _maps(source: Sources) -> Section:
    metrics, names, drawn = source.metrics, _names(source), []
    for number, one in enumerate(_shown(source)):
        word = names[one["class"]]
        threshold = float(np.percentile(one["cam"], 90))
        title = f"{word}: {one['id']}, p {one['probability']:.2f} (threshold {one['threshold']:.2f})"
        drawn.append(
            source.picture(
                lead_above_map(one["signal"][0], one["cam"], one["fs"], "I", title, threshold=threshold),
                f"figure-1-{number + 1:02d}", f"Lead I and the map of {word}.",
            )
        )  # fmt: skip
        if number < _SHOWN_WHOLE:
            drawn.append(
                source.picture(
                    twelve_on_paper(one["signal"], one["cam"], one["fs"], STANDARD, title), f"figure-2-{number + 1:02d}",
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
    with _readable(path), np.load(path, allow_pickle=False) as found:
        name, record, lead = (str(found[key]) for key in ("class", "id", "lead"))
        signal, cam, fs = found["signal"], found["cam"], float(found["fs"])
    word = _names(source)[name]
    figure = long_record(signal, cam, fs, lead, f"{word}: {record}")
    return [source.picture(figure, "figure-3-long", f"A long record: the maps of its clips put together again, for {word}.")]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What cannot be read inside is said of the file."""
    try:
        yield
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise EcglensError(f"{path} cannot be read ({type(error).__name__}); run it again") from None


def _spike(source: Sources) -> Section:
    table = source.table("spike")
    table["class"] = table["class"].map(_names(source))
    table["logit_change"] = (table["logit_after"] - table["logit_before"]).abs()
    columns = ["logit_change", "map_before", "map_after", "chance", "found_before", "found"]
    table[["found_before", "found"]] = table[["found_before", "found"]].astype(float)
    mean = table.groupby("class", sort=False)[columns].mean().reset_index()
    mean.insert(1, "n", table.groupby("class", sort=False).size().to_numpy())
    text = [
        "The paper saw that corrupt spikes attract its maps. Here one of 5 mV and 20 ms is planted at a random "
        "place in V2 of each "
        "test clip. map_before and map_after: share of the map's size within .3 s of it; found: the spoilt lead "
        "is the one whose "
        "hiding moves the logit most, which the map alone can never tell.",
    ]
    return Section("A corrupt spike", text, [sheet(mean, "spike", "By the class that the model gave without the spike")])


def _rates(source: Sources) -> Section:
    text = [
        "The authors' entry scored nothing on the full test, as one sampling rate was new to it. The same test "
        "records, given at "
        "other rates: by how much do probabilities differ from those at the rate at which they were recorded?",
    ]
    return Section(
        "Other sampling rates", text, [sheet(source.table("rates"), "rates", "Differences of probabilities", digits=4)]
    )


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
