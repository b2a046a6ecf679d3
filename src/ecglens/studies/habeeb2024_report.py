"""The report of habeeb2024: from the tables of a run folder to one page."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pandas as pd

from ecglens.errors import EcglensError
from ecglens.examples.clips import ClipOptions
from ecglens.report.html import Section, sheet, with_intervals, write_html
from ecglens.runs import Run
from ecglens.studies.habeeb2024_published import TABLE_1
from ecglens.studies.habeeb2024_recipe import CPSC, FOLDS, PTBXL, TRAININGS, WORDS
from ecglens.studies.habeeb2024_report_maps import leads_section, maps_section
from ecglens.studies.habeeb2024_report_scores import expect_scores, run_name, said, scores_section, transfer_section
from ecglens.studies.sources import NOT_FOR_PATIENTS, Sources, blamed, expect_runs

PAPER = "Habeeb, Goyal 2024: ResNet34-1d of Zhang, Yuan, Zhang 2020 on CPSC2018 and PTB-XL, SHAP and Grad-CAM"


def redraw(run: Run, *beside: Run) -> Path:
    """`write_report` for folders that may have been changed since; raises EcglensError where they do not hold a whole run.

    beside: runs of other trainings, or of the other map of labels.
    """
    expect_runs("habeeb2024", run, *beside)
    with blamed(run):
        return write_report(run, *beside)


def write_report(run: Run, *beside: Run) -> Path:
    """Draw all figures from the tables and write report.html."""
    source = Sources(run)
    sides = {run_name(source): source}
    for each in beside:
        with blamed(each):
            other = Sources(each)
            _expect_apart(source, other, sides)
            expect_scores(other)
            sides[run_name(other)] = other
    sections = [
        _asked(source), _records(source), _origin(source), transfer_section(source, sides), scores_section(sides),
        leads_section(source), maps_section(source), _recipes(source), _meaning(),
        *(_label_map(source, hospital) for hospital in (CPSC, PTBXL)),
    ]  # fmt: skip
    banner = f"REAL ECGs: CPSC2018 and PTB-XL. {NOT_FOR_PATIENTS}" + (" A quick run." if source.asked["quick"] else "")
    path = run.path / "report.html"
    write_html(path, f"habeeb2024, {source.asked['recipe_name']}: {run_name(source)}", banner, _facts(source), sections)
    return path


def _expect_apart(source: Sources, other: Sources, sides: dict[str, Sources]) -> None:
    """Only nets that are tested on the same records can stand beside each other."""
    if run_name(other) in sides:
        before = sides[run_name(other)].run.path
        raise EcglensError(
            f"{other.run.path} and {before} are both called '{run_name(other)}': expected runs of different names"
        )
    for key in ("folds", *(each.name for each in fields(ClipOptions) if each.name in source.recipe)):
        if source.recipe[key] != other.recipe[key]:
            raise EcglensError(
                f"{other.run.path} has {key} {other.recipe[key]}, {source.run.path} {source.recipe[key]}: they are not tested "
                "on the same records alike; expected the same"
            )
    if source.asked["seed"] != other.asked["seed"]:
        raise EcglensError(f"{other.run.path} has another seed than {source.run.path}, and so other folds of CPSC2018")
    if source.run.about["data"]["sha256"] != other.run.about["data"]["sha256"]:
        raise EcglensError(f"{other.run.path} was made from other files than {source.run.path}; expected the same records")


def _facts(source: Sources) -> list[tuple[str, str]]:
    about, data = source.run.about, source.run.about["data"]
    return [
        ("paper", PAPER),
        ("data", f"{data['database']}, {len(data['records'])} records; {data['licence']}"),
        ("training", TRAININGS[source.asked["train"]]),
        ("test", f"CPSC2018: every record by a net that has not seen it; PTB-XL: {FOLDS[source.recipe['folds']]}"),
        ("seed", str(source.asked["seed"])),
        ("made by", f"ecglens {about['ecglens']}, torch {about['libraries']['torch']}, {about['started'][:10]}"),
    ]


def _asked(source: Sources) -> Section:
    metrics = source.metrics
    text = [
        "One network reads twelve leads of two hospitals, CPSC2018 in China and PTB-XL in Germany, and says "
        "which of nine classes "
        f"hold. Trained {TRAININGS[source.asked['train']]}.",
        *(
            f"On {metrics[f'test.{hospital}.n']} records of {WORDS[hospital]} the macro AUC is "
            f"{said(source, hospital, 'macro_auc')} over the "
            f"{9 - metrics[f'test.{hospital}.classes_without_positives']} classes "
            f"that occur, {_known(metrics[f'test.{hospital}.frequent_macro_auc'])} over the "
            f"{len(metrics[f'test.{hospital}.frequent'])} with ten or more records "
            f"({', '.join(metrics[f'test.{hospital}.frequent'])})."
            for hospital in (CPSC, PTBXL)
        ),
        f"From a record's length alone the hospital can be told with an AUC of {metrics['origin.length_bound']:.3f}: "
        f"{metrics['origin.cpsc_exactly_10_s']:.0%} of CPSC2018's records last exactly the 10 s of PTB-XL's.",
    ]
    return Section("What came out", text)


def _known(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"


def _records(source: Sources) -> Section:
    counts = source.table("label-counts")
    shared = source.run.about["shared_signals"]
    text = [
        "Each record has its classes by a table in the package. As published, a statement of PTB-XL counts where "
        "its likelihood is "
        "above 0, which drops rhythms (their likelihood is 0 by design), and paced rhythms count as premature atrial beats.",
        f"{len(shared)} records are in both sets, found by their signals; they are not used."
        if shared
        else "No record is in both sets, by their signals.",
    ]
    paper = pd.DataFrame([{"class": name, "paper, records": row[0], "paper, %": row[1]} for name, row in TABLE_1.items()])
    paper = paper.astype({"paper, records": "Int64"})  # stays whole where a row has none
    cpsc, ptbxl = (
        counts[counts["hospital"] == hospital].drop(columns="hospital").dropna(axis=1, how="all").convert_dtypes()
        for hospital in (CPSC, PTBXL)
    )
    sides = source.table("sides").convert_dtypes()
    sides["side"] = [f"{WORDS[whose]}, {side}" for whose, side in zip(sides["hospital"], sides["side"], strict=True)]
    of_class = sides.pivot(index="class", columns="side", values="n").reindex(list(TABLE_1)).reset_index()
    sheets = [
        sheet(cpsc, "", "CPSC2018 by class"),
        sheet(ptbxl.merge(paper, on="class", how="left"), "label-counts",
              "Table 1: PTB-XL by class and map, ours beside the paper's 21,541 records"),
        sheet(of_class, "sides", "Records of each class on each side"),
    ]  # fmt: skip
    left_out = [f"Left out: {item['record']}: {item['reason']}." for item in source.run.about["data"]["skipped"][:8]]
    return Section("The records and their labels", text + left_out, sheets)


def _origin(source: Sources) -> Section:
    table = source.table("origin")
    table = with_intervals(table.rename(columns={"low": "auc_low", "high": "auc_high"}), ["auc"])
    shown = [name for name in ("from", "class", "n", "auc", "shuffled", "shuffled_high", "why_not") if name in table]
    text = [
        "A probe, cross-validated over patients, guesses the hospital from a record. Where it can, a net may use the hospital "
        "as a sign of a class that is common there.",
        f"By length alone no rule can do better than {source.metrics['origin.length_bound']:.3f} on these records (exact). In "
        "the last 30 s with zeros before, a probe of sizes sees the zeros and so the length; a probe of the "
        "samples would not, "
        "as it is linear.",
        _seen(source),
    ]
    return Section("What tells the hospital", text, [sheet(table[shown], "origin", "How well the hospital can be told")])


def _seen(source: Sources) -> str:
    """Whether the net can see a length."""
    recipe, clips = source.recipe, source.run.about["clips"]
    which = "first" if recipe["clips"] == "head" else "last"
    cut = f"The net sees the {which} {recipe['seconds']:g} s of each record. "
    shorter = ", ".join(f"{clips[whose]['padded']} of {clips[whose]['records']} of {WORDS[whose]}" for whose in (CPSC, PTBXL))
    if any(clips[whose]["padded"] for whose in (CPSC, PTBXL)):
        return f"{cut}Shorter ones have zeros around them, which tell their length: {shorter}."
    return (
        f"{cut}None is shorter, so it cannot see a length. What still tells the hospital is in the signal: its sizes, its "
        "noise, and the classes that each hospital has."
    )


def _recipes(source: Sources) -> Section:
    table = source.table("recipes").map(lambda value: f"{value:g}" if isinstance(value, float) and value == value else value)
    return Section(
        "As published and corrected",
        ["The two recipes differ in these options. 'This run' may differ from both by --set or --quick."],
        [sheet(table, "recipes", "What the paper did, what we would do, and why")],
    )


def _meaning() -> Section:
    text = [
        "A lead's Shapley value says what the lead adds to the class's logit, averaged over all orders in which "
        "leads can come in, "
        "where an absent lead is the mean signal of a hospital. It says nothing about where in the lead, and it changes with "
        "whose mean it is: the two backgrounds stand beside each other.",
        "Grad-CAM has one curve for all leads: bars drawn on twelve leads are one statement, not twelve.",
        f"Every figure is in figures/ as SVG, every table in tables/ as CSV. {NOT_FOR_PATIENTS}",
    ]
    return Section("What this means, and what it does not", text)


def _label_map(source: Sources, hospital: str) -> Section:
    told = source.run.about["clips"][hospital]
    table = source.table(f"label-map-{hospital}")
    text = [f"{told['map']}; {told['source']}.", *told["warnings"]]
    return Section(f"Label map of {WORDS[hospital]}", text, [sheet(table, f"label-map-{hospital}", "Diagnosis to class")])
