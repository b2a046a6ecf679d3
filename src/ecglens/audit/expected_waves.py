"""Where maps lie beside where cardiology looks: a table to read, and at most a remark."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

import pandas as pd

from ecglens.audit.agreement import LEAST
from ecglens.audit.finding import Answer, Finding, Measure, clear, found, not_run
from ecglens.audit.subject import Subject
from ecglens.audit.wave_focus import ALL, OUTSIDE, wave_findings, wave_table

WAVES = ("P", "PR", "QRS", "ST", "T", "outside")  # "outside": before P and after T, where early and late beats show
_STANDS_OUT = 1.1  # enrichment of a wave that a map points to


@cache
def expectations() -> dict[str, dict[str, str]]:
    """What cardiology looks at for a class, by each of its names, upper and lower case apart.

    Keys of a row: names, title, waves (of WAVES), intervals, leads (where it shows best; "" for all), expected, source. A name
    that several things go by ("P", "PR") has the meaning of a class label: a paced beat. Facts of the sources named in the
    table; which waves they are is our reading.
    """
    with files("ecglens.audit").joinpath("tables/expected_waves.csv").open(encoding="utf-8") as rows:
        return {name: row for row in csv.DictReader(rows) for name in row["names"].split()}


def waves(subject: Subject) -> Answer:
    """All that the subject's `wave_table` says: `wave_findings`, and `compare_with_expected`."""
    table = wave_table(subject)
    beside = compare_with_expected(subject, table)
    tables = {} if isinstance(table, str) else {"waves": table}
    return Answer(wave_findings(subject, table) + beside.findings, tables | beside.tables)


def compare_with_expected(subject: Subject, measured: pd.DataFrame | str) -> Answer:
    """Is the wave where a class's maps are densest one of those that cardiology looks at?

    measured: `wave_table` of the subject, or why there is none. Table expected_waves: a row per class with class, title,
    expected (waves), densest (wave), enrichment, low, high, best_expected (the densest of the expected waves),
    best_enrichment, as_expected ("yes", "no", "not told": too few, or no wave stands out), n, patients, intervals, leads,
    looks (what is expected in words), source. A net may be right for reasons that no textbook has: a remark, never more.
    """
    name, what = "explanation.unexpected-waves", "Whether maps lie on the waves that cardiology looks at"
    if isinstance(measured, str):
        return Answer([not_run(name, "explanation", what, measured)])
    mine = measured[(measured["method"] == subject.method) & (measured["class"] != ALL)]
    mine = mine.assign(wave=mine["wave"].replace(OUTSIDE, "outside"))
    mine = mine[mine["wave"].isin(WAVES) & (mine["time"] > 0) & mine["enrichment"].notna()]
    known = expectations()
    rows = [_row(str(one), part, known[one]) for one, part in mine.groupby("class", sort=False) if one in known]
    if not rows:
        names = ", ".join(subject.examples.classes[:8])
        why = f"no class ({names}) has both a map and a row in the table of what is expected"
        return Answer([not_run(name, "explanation", what, why)])
    table = pd.DataFrame(rows)
    return Answer([_remark(subject, table, name, what)], {"expected_waves": table})


def _row(one: str, part: pd.DataFrame, expected: dict[str, str]) -> dict[str, object]:
    waves = expected["waves"].split()
    top = part.loc[part["enrichment"].idxmax()]
    among = part[part["wave"].isin(waves)]
    best = among.loc[among["enrichment"].idxmax()] if len(among) else None
    best_value = float("nan") if best is None else float(best["enrichment"])
    told = top["n"] >= LEAST and top["patients"] > 1 and top["low"] > _STANDS_OUT
    if top["wave"] in waves:
        verdict = "yes" if told else "not told"
    else:  # above the best that is expected, with all of its interval
        verdict = "no" if told and best is not None and top["low"] > best_value else "not told"
    return {
        "class": one, "title": expected["title"], "expected": expected["waves"], "densest": top["wave"],
        "enrichment": top["enrichment"], "low": top["low"], "high": top["high"],
        "best_expected": "" if best is None else best["wave"], "best_enrichment": best_value, "as_expected": verdict,
        "n": top["n"], "patients": top["patients"], "intervals": expected["intervals"], "leads": expected["leads"],
        "looks": expected["expected"], "source": expected["source"],
    }  # fmt: skip


def _remark(subject: Subject, table: pd.DataFrame, name: str, what: str) -> Finding:
    told = table[table["as_expected"] != "not told"]
    if not len(told):
        return not_run(name, "explanation", what, f"in none of {len(table)} classes does a wave stand out in {LEAST} examples")
    other = told[told["as_expected"] == "no"]
    words = f"of {len(told)} classes whose maps point to a wave, those where it is none that cardiology looks at"
    count = Measure(float(len(other)), words, where={"method": str(subject.method)})
    if len(other):
        which = "; ".join(f"{row['class']}: {row['densest']}, expected {row['expected']}" for row in other.to_dict("records"))
        return found(
            name, "explanation", "low", f"Maps lie on a wave that cardiology does not look at ({which}).", count,
            do="Hide that wave: if the answer moves, ask what it tells of the class; if not, the map misleads.",
        )  # fmt: skip
    return clear(name, "explanation", f"In {len(told)} classes maps lie most on a wave that cardiology looks at.", count)
