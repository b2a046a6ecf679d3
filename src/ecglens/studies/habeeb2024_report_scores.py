"""The scores of habeeb2024's report: here and there, under both maps of labels, beside the paper's Tables 2 and 3."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ecglens.report.html import Picture, Section, Sheet, sheet, with_intervals
from ecglens.report.windows import dots
from ecglens.studies.habeeb2024_published import TABLE_2, TABLE_3
from ecglens.studies.habeeb2024_recipe import CPSC, LABELS, PTBXL, WORDS
from ecglens.studies.sources import Sources

_METRICS = ("precision", "recall", "f1", "auc", "class_accuracy")
_TRAINED = {"Original": "cpsc", "Ours_1": "cpsc-then-ptbxl", "Ours_2": "both"}  # columns of the paper's Table 3
_COMPARED = ("auc_cpsc", "auc_ptbxl", "difference")
_ENDS = ("", "_low", "_high")
_OF_MAP, _SHARED = "mean of its classes", "mean of the shared classes"


def run_name(source: Sources) -> str:
    """What tells a run from another one."""
    asked = source.asked
    quick = (", as published" if asked["recipe_name"] == "as-published" else "") + (", quick" if asked["quick"] else "")
    model = "" if asked["model"] == "resnet34-1d" else f", {asked['model']}"
    return f"{asked['train']}, {source.recipe['labels']} labels{model}{quick}, seed {asked['seed']}"


def said(source: Sources, hospital: str, key: str) -> str:
    """A score of a hospital with its interval."""
    value, low, high = (source.metrics.get(f"test.{hospital}.{key}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "not known"
    unit = "patients" if hospital == PTBXL else "records"
    return f"{value:.3f}" + ("" if low is None or high is None else f" (95 % over {unit} {low:.3f} to {high:.3f})")


def expect_scores(source: Sources) -> None:
    """Reads all that is shown of a run beside others, so that what is wrong is said of that run; raises what pandas raises."""
    source.table("transfer")[["labels", "class", "n_ptbxl", *(f"{key}{end}" for key in _COMPARED for end in _ENDS)]]
    for name in (
        *(f"per_class-{hospital}" for hospital in (CPSC, PTBXL)),
        *(["whole-ptbxl"] if source.has("whole-ptbxl") else []),
    ):
        source.table(name)[["class", "support", "predicted", *(f"{key}{end}" for key in _METRICS for end in _ENDS)]]
    for labels in LABELS:
        source.metrics[f"transfer.{labels}.classes"]


def transfer_section(source: Sources, sides: dict[str, Sources]) -> Section:
    """What is lost from one hospital to the other, by every map of PTB-XL's labels: a row per training and map."""
    means = pd.concat([each.table("transfer").assign(trained=name) for name, each in sides.items()], ignore_index=True)
    means = means[means["class"].isin([_OF_MAP, _SHARED])]
    means["classes"] = [
        f"{n} shared by the maps" if word == _SHARED else ", ".join(sides[name].metrics[f"transfer.{labels}.classes"])
        for n, word, name, labels in means[["n_ptbxl", "class", "trained", "labels"]].itertuples(index=False)
    ]
    shown = with_intervals(means, list(_COMPARED))[["trained", "labels", "classes", *_COMPARED]]
    shown = shown.rename(columns={"labels": "PTB-XL's labels", **_TITLES})
    text = [
        "The same answers to the same records under both maps of PTB-XL's labels (CPSC2018's own labels are the same in "
        "both): what changes with the map is labels, not hearts. Means are over classes with ten positives or more in both "
        "hospitals; 'shared' are those that have them by both maps, so that the same classes are compared.",
        *_by_labels(source),
    ]
    if source.asked["train"] != "cpsc":
        text.append(
            f"This net has learnt PTB-XL's {source.recipe['labels']} labels: by the other map it is asked what it has not "
            "been taught. The nets of --train cpsc have seen neither."
        )
    pictures = [_picture(each, name, k) for k, (name, each) in enumerate(sides.items())]
    return Section(
        "From one hospital to the other",
        text,
        [sheet(shown, "transfer", "Macro AUC here and there; difference: CPSC2018 less PTB-XL")],
        pictures,
    )


_TITLES = {"auc_cpsc": "AUC, CPSC2018", "auc_ptbxl": "AUC, PTB-XL", "difference": "difference"}


def _by_labels(source: Sources) -> list[str]:
    """The difference between the hospitals under each map, in a sentence, where both maps have the shared classes."""
    table = source.table("transfer")
    rows = table[table["class"] == _SHARED].set_index("labels")
    if not all(labels in rows.index for labels in LABELS):
        return ["No class has ten positives in both hospitals by both maps, so the part of the labels cannot be told here."]
    published, strict = (float(rows.loc[labels, "difference"]) for labels in ("published", "strict"))
    return [
        f"On the {int(rows.loc['strict', 'n_ptbxl'])} shared classes CPSC2018 is {published:+.3f} from PTB-XL by the "
        f"published map and {strict:+.3f} by the strict one: {published - strict:+.3f} of the difference is labels."
    ]


def _picture(source: Sources, name: str, number: int) -> Picture:
    """AUC of each class at home and away, with intervals; PTB-XL under each map."""
    table = source.table("transfer")
    table = table[~table["class"].isin([_OF_MAP, _SHARED])]
    first = table[table["labels"] == table["labels"].iloc[0]]
    parts = [_of("CPSC2018", first, "cpsc")]
    parts += [_of(f"PTB-XL, {labels} labels", table[table["labels"] == labels], "ptbxl") for labels in LABELS]
    drawn = pd.concat(parts, ignore_index=True)
    order = {word: k for k, word in enumerate(first["class"])}
    drawn = drawn.sort_values("class", key=lambda column: column.map(order), kind="stable")
    figure = dots(
        drawn, "class", "tested on", "auc", "low", "high", label="AUC, 95 % over patients (CPSC2018: records)", line=0.5
    )
    return source.picture(figure, f"transfer-{number}", f"Trained {name}: each class here and there.")


def _of(tested: str, table: pd.DataFrame, hospital: str) -> pd.DataFrame:
    columns = {f"auc_{hospital}": "auc", f"auc_{hospital}_low": "low", f"auc_{hospital}_high": "high"}
    return table[["class", *columns]].rename(columns=columns).assign(**{"tested on": tested})


def scores_section(sides: dict[str, Sources]) -> Section:
    """All scores of each run on both hospitals, and the paper's Tables 2 and 3 with ours."""
    rows: list[dict[str, Any]] = []
    for key, words in (("macro_auc", "macro AUC"), ("frequent_macro_auc", "macro AUC, classes with 10 records"),
                       ("macro_f1", "macro F1"), ("accuracy", "all classes of a record right")):  # fmt: skip
        rows += [
            {"tested on": WORDS[hospital], "": words} | {name: said(each, hospital, key) for name, each in sides.items()}
            for hospital in (CPSC, PTBXL)
        ]
    sheets = [sheet(pd.DataFrame(rows), "", "Tested on each hospital (metrics.json)")]
    for name, source in sides.items():
        of_run = f": {name}" if len(sides) > 1 else ""
        for hospital in (CPSC, PTBXL):
            file = f"per_class-{hospital}" if name == next(iter(sides)) else ""
            sheets.append(_classes(source.table(f"per_class-{hospital}"), file, f"Class by class, {WORDS[hospital]}{of_run}"))
        if source.has("whole-ptbxl"):
            whole, file = source.table("whole-ptbxl"), "whole-ptbxl" if name == next(iter(sides)) else ""
            sheets.append(
                _classes(whole, file, f"All of PTB-XL by the first net, which has seen none of it, by both maps{of_run}")
            )
    sheets += [_table_2(sides), _table_3(sides)]
    text = [
        "Every net is tested on the same records: all of CPSC2018, each by a net that has not seen it, and PTB-XL's test "
        "side. A class without a record there has no figures and enters no mean.",
        "The paper's Table 3 compares nets on different records (the first on CPSC2018's fold, the others on a fold of both), "
        "and its Table 2 blames the net for what is partly the labels: by its own map a paced rhythm is a premature atrial "
        "beat.",
    ]
    return Section("How good is it, here and there", text, sheets)


def _classes(table: pd.DataFrame, file: str, caption: str) -> Sheet:
    told = with_intervals(table, list(_METRICS), digits=2)
    first = ["labels"] if "labels" in told else []
    return sheet(told[[*first, "class", "support", "predicted", *_METRICS]], file, caption)


def _table_2(sides: dict[str, Sources]) -> Sheet:
    """The paper's net of CPSC2018 beside ours; theirs is tested on all of PTB-XL by the published map."""
    ours = next((each for each in sides.values() if each.asked["train"] == "cpsc"), None)
    rows = []
    for k, name in enumerate(_classes_of(sides)):
        row: dict[str, Any] = {"class": name}
        for metric in ("f1", "auc"):
            row |= {f"paper, {metric}, CPSC": TABLE_2[metric][0][k], f"paper, {metric}, PTB-XL": TABLE_2[metric][1][k]}
            if ours is None:
                continue
            whole = ours.table("whole-ptbxl").set_index(["labels", "class"])
            row[f"ours, {metric}, CPSC"] = ours.metrics.get(f"test.{CPSC}.per_class.{name}.{metric}")
            for labels in LABELS:
                row[f"ours, {metric}, PTB-XL, {labels} labels"] = float(whole.loc[(labels, name), metric])
        rows.append(row)
    ending = "" if ours is not None else " (ours: none of the runs here trained on CPSC2018 alone; add one by --beside)"
    return sheet(pd.DataFrame(rows), "", f"Table 2: trained on CPSC2018, tested on both hospitals{ending}")


def _table_3(sides: dict[str, Sources]) -> Sheet:
    """The paper's three trainings beside ours."""
    rows = []
    for k, name in enumerate(_classes_of(sides)):
        row: dict[str, Any] = {"class": name}
        for column, training in enumerate(_TRAINED):
            row[f"paper, auc, {training}"] = TABLE_3["auc"][column][k]
        for side, source in sides.items():
            for hospital in (CPSC, PTBXL):
                row[f"{WORDS[hospital]}: {side}"] = source.metrics.get(f"test.{hospital}.per_class.{name}.auc")
        rows.append(row)
    means = ", ".join(f"{theirs} is {ours}" for theirs, ours in _TRAINED.items())
    return sheet(pd.DataFrame(rows), "", f"Table 3: the trainings, AUC ({means})")


def _classes_of(sides: dict[str, Sources]) -> list[str]:
    names: list[str] = next(iter(sides.values())).metrics["classes"]
    return names
