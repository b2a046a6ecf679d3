"""The scores of lin2020, and the paper's four tables beside ours."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ecglens.report.html import Section, Sheet, sheet, with_intervals
from ecglens.studies.lin2020_published import TABLE_1, TABLE_2, TABLE_3, TABLE_4
from ecglens.studies.lin2020_words import names_of, patients_named, said
from ecglens.studies.sources import Sources

_PER_CLASS = ["auc", "average_precision", "f1", "precision", "recall"]
_OVERALL = {
    "macro_auc": "macro AUC", "macro_average_precision": "macro average precision", "macro_f1": "macro F1",
    "macro_f_beta": "macro F-beta (2)", "macro_g_beta": "macro G-beta (2)", "accuracy": "all classes of a record right",
    "challenge_score": "Challenge score",
}  # fmt: skip


def scores_section(source: Sources, sides: dict[str, Sources]) -> Section:
    """Over all classes and class by class, of one run or two; with the Challenge's classes the paper's tables too."""
    metrics, names = source.metrics, names_of(source)
    rows = []
    for key, words in _OVERALL.items():
        if f"test.{key}" in metrics:
            rows.append({"": words} | {name: said(each, key) for name, each in sides.items()})
    per_class = source.table("per_class").merge(source.table("thresholds"), on="class")
    per_class = with_intervals(per_class, _PER_CLASS, digits=2)
    per_class.insert(0, "name", per_class["class"].map(names))
    per_class["threshold"] = ["never" if value > 1 else f"{value:.3f}" for value in per_class["threshold"]]
    shown = ["name", "support", "patients", "predicted", "threshold", *_PER_CLASS]
    unit = "patients" if patients_named(source) else "records"
    text = [f"Intervals are 95 %, from a bootstrap over {unit}. A class without a test record has no figures."]
    if len(sides) > 1:
        first, other = list(sides)
        text.append(f"Class by class, and in all sections below, the page is of '{first}'; beside it stands '{other}'.")
    sheets = [
        sheet(pd.DataFrame(rows), "", "Over all classes (metrics.json)"),
        sheet(per_class[shown], "per_class", "Class by class"),
    ]
    if len(sides) > 1:
        sheets.append(sheet(_f1_beside(sides, names), "", "F1 by class, of both runs"))
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


def sources_sheet(source: Sources) -> Sheet:
    """Table 1 of the paper, ours beside."""
    ours = source.table("sources").set_index("source")
    rows = []
    for name in dict.fromkeys([*TABLE_1, *ours.index]):
        _, rate, seconds, n = TABLE_1.get(name, ("", None, None, None))
        row: dict[str, Any] = {"source": name, "paper, Hz": rate, "paper, seconds": seconds, "paper, records": n}
        if name in ours.index:
            found = ours.loc[name]
            row["ours, Hz"] = str(found["rates"]).removesuffix(".0")
            low, high = f"{found['shortest']:.4g}", f"{found['longest']:.4g}"
            row["ours, seconds"] = low if low == high else f"{low} - {high}"
            row["ours, records"] = int(found["records"])
        rows.append(row)
    return sheet(pd.DataFrame(rows, dtype=object), "sources", "Table 1: whose records they are")


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
    for name, each in sides.items():
        three.append({"entry": f"ours: {name}", "own test side": each.metrics["test.challenge_score"]})
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
        sheet(pd.DataFrame(two, dtype=object), "", "Table 2: the Challenge's score by loss"),
        sheet(pd.DataFrame(three, dtype=object), "", "Table 3: entries of the Challenge"),
        sheet(pd.DataFrame(four, dtype=object), "", "Table 4: class by class"),
    ]
