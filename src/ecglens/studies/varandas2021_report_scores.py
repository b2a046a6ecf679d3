"""The part of varandas2021's report that says how good the model is: the paper's Table 1, and what it leaves out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecglens.files import write_table
from ecglens.report import figures
from ecglens.report.html import Section, sheet, with_intervals
from ecglens.studies.sources import Sources, blamed
from ecglens.studies.varandas2021_published import TABLE_1, solved

_CLASS_METRICS = ["f1", "precision", "recall", "specificity", "auc", "average_precision"]
_TABLE_1_ROWS = {
    "epochs": "epochs",
    "validation_accuracy": "validation accuracy",
    "validation_f1": "validation F1 (normal)",
    "accuracy": "accuracy",
    "f1_normal": "F1 (normal)",
    "precision_abnormal": "precision (abnormal)",
    "sensitivity_abnormal": "sensitivity (abnormal)*",
    "recall_normal": "recall (normal)*",
    "balanced_accuracy": "balanced accuracy*",
    "prevalence_normal": "share of normal windows*",
}  # *: left out by the paper, solved from what it prints
# What the validation windows are, by the recipe's rule for them
_HELD = {
    "stratified": "validation windows, taken at random: training has seen the same patients",
    "patients": "validation patients, whom training has not seen",
}


def scores(sides: dict[str, Sources]) -> Section:
    """Table 1 with all runs; the rest is of the first one."""
    source = next(iter(sides.values()))
    text = [
        "The paper's F1 is of the normal class and its precision of the abnormal one; its sensitivity, normal recall and "
        "balanced accuracy are solved from the three numbers that it prints, which fit no other reading. 'always normal' is a "
        "model that gives that answer to every window.",
        "Intervals are 95 %, from a bootstrap over patients.",
    ]
    if len(sides) > 1:
        text.append(f"Table 1 has both runs; all else here is of {next(iter(sides))}.")
    operating, how = _operating(source)
    table_1 = _table_1(sides)
    write_table(source.run.tables / "table-1.csv", table_1)
    columns = ["class", "support", "patients", "predicted", *_CLASS_METRICS]
    per_class = with_intervals(source.table("per_class"), _CLASS_METRICS)[columns]
    sheets = [
        sheet(table_1, "table-1", "Table 1 of the paper, ours beside it; * is left out by the paper and solved"),
        sheet(operating, "operating", "Abnormal beats found where so many normal ones are left in peace"),
        sheet(per_class, "per_class", "Class by class"),
    ]
    if source.has("per_class_unseen_patients"):
        unseen = with_intervals(source.table("per_class_unseen_patients"), _CLASS_METRICS)[columns]
        sheets.append(sheet(unseen, "per_class_unseen_patients", "The same without patients that training has seen"))
    sheets.append(sheet(source.table("per_patient"), "per_patient", "By patient: windows, accuracy, and F1 of each class"))
    matrix = source.picture(
        figures.confusion_matrix(source.table("confusion"), f"set {source.asked['set_number']}"), "figure-b-confusion",
        "Confusion matrix; rows add up to 1, small numbers are windows.",
    )  # fmt: skip
    return Section("How good is it", [*text, how], sheets, [matrix])


def _operating(source: Sources) -> tuple[pd.DataFrame, str]:
    """The operating points, each by where its threshold comes from, and what a reader has to know of that."""
    table = with_intervals(source.table("operating"), ["sensitivity"])
    held = _HELD.get(source.recipe["validation"], "validation windows")
    words = {"test ROC": "read off the test windows' ROC curve", "validation": f"chosen on {held}"}
    rows = table["threshold"]
    table["threshold"] = [words[each] for each in rows]
    how = (
        "Operating points have the normal recall of the paper's two models (solved). Their thresholds are read off the test "
        "windows' own ROC curve: no threshold chosen before could promise as much."
    )
    if (rows == "validation").any():
        how += f" The last row has a threshold chosen on {held}; its normal recall is what the test windows made of it."
    return table.rename(columns={"normal_recall": "normal recall"}), how


def _table_1(sides: dict[str, Sources]) -> pd.DataFrame:
    """A row per number; a column per run, one for the paper's model of its set, and one for what needs no model."""
    columns: dict[str, dict[str, float]] = {}
    usual: dict[str, float] = {}
    for name, source in sides.items():
        number = source.asked["set_number"]
        with blamed(source.run):
            columns[f"ours: {name}"] = _ours(source)
            usual[name] = source.metrics["test.prevalence_normal"]
        paper = TABLE_1[number]
        columns[f"paper: ResNet-50, set {number}"] = paper | solved(
            paper["accuracy"], paper["f1_normal"], paper["precision_abnormal"]
        )
    alike = len({f"{share:.3f}" for share in usual.values()}) == 1
    for name, share in usual.items():
        columns["always normal" if alike else f"always normal: {name}"] = {
            "accuracy": share, "f1_normal": 2 * share / (1 + share), "sensitivity_abnormal": 0.0, "recall_normal": 1.0,
            "balanced_accuracy": 0.5, "prevalence_normal": share,
        }  # fmt: skip
    return pd.DataFrame(
        [
            {"": words} | {name: _number(key, column.get(key)) for name, column in columns.items()}
            for key, words in _TABLE_1_ROWS.items()
        ]
    )


def _ours(source: Sources) -> dict[str, float]:
    """Our numbers under the names of the paper's Table 1 and of what is solved from it."""
    metrics, training = source.metrics, source.table("training")
    kept = training.iloc[-1]
    if source.recipe["keep"] == "best" and training["validation_loss"].notna().any():
        kept = training.loc[training["validation_loss"].idxmin()]
    return {
        "epochs": float(training["epoch"].iloc[-1]),
        "validation_accuracy": float(kept.get("validation_accuracy", np.nan)),
        "validation_f1": float(kept.get("validation_f1", np.nan)),
        "accuracy": metrics["test.accuracy"], "f1_normal": metrics["test.per_class.normal.f1"],
        "precision_abnormal": metrics["test.per_class.abnormal.precision"],
        "sensitivity_abnormal": metrics["test.per_class.abnormal.recall"],
        "recall_normal": metrics["test.per_class.normal.recall"], "balanced_accuracy": metrics["test.balanced_accuracy"],
        "prevalence_normal": metrics["test.prevalence_normal"],
    }  # fmt: skip


def _number(key: str, value: float | None) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if key == "epochs" else f"{value:.3f}"
