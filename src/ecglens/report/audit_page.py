"""The first page of an audit: what was found, worst first, what was not run and why, what is clear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN, Finding
from ecglens.report.html import Section, sheet, write_html


def write_page(out: Path, about: dict[str, Any], findings: list[Finding]) -> Path:
    """report.html in `out`, from findings.json alone."""
    found, open_, clear = ([each for each in findings if each.state == state] for state in (FOUND, NOT_RUN, CLEAR))
    asks = about.get("asks", {})
    sections = [_summary(found, open_, clear), *(_section(each, asks.get(each.id, each.id)) for each in found)]
    if open_:
        rows = [{"asked": asks.get(each.id, each.what), "not run, because": each.why_not, "id": each.id} for each in open_]
        sections.append(Section("Not run", ["A check that lacks something is neither passed nor failed."],
                                [sheet(pd.DataFrame(rows), "", "What was not checked, and why")]))  # fmt: skip
    if clear:
        rows = [
            {"asked": asks.get(each.id, each.id), "answer": each.what, "number": _number(each), "id": each.id}
            for each in clear
        ]
        sections.append(Section("Clear", ["Nothing was found here; the number says by how far."],
                                [sheet(pd.DataFrame(rows), "", "Checks without a finding")]))  # fmt: skip
    if "waves" in about.get("tables", []):
        sections.append(_waves(pd.read_csv(out / "tables" / "waves.csv", keep_default_na=False, na_values=[""])))
    facts = [("audited", about["subject"]), ("examples", f"{about['examples']:,}")]
    kind = str(about.get("kind", "real")).upper()
    banner = f"{kind} ECGs. For research only: nothing here may be used to diagnose or treat a person."
    path = out / "report.html"
    write_html(path, f"Audit of {about['subject']}", banner, facts, sections)
    return path


def _summary(found: list[Finding], open_: list[Finding], clear: list[Finding]) -> Section:
    table = pd.DataFrame(
        [{"": each.severity, "finding": each.what, "flaw of": each.of, "number": _number(each)} for each in found]
    )
    text = [f"{len(found)} findings, {len(open_)} checks not run, {len(clear)} clear."]
    return Section("What was found", text, [sheet(table, "", "Worst first")] if len(found) else [])


def _section(each: Finding, asks: str) -> Section:
    text = [
        each.what,
        f"Measured: {_number(each)}, {each.in_words}." if each.number is not None else "",
        "; ".join(f"{name}: {value}" for name, value in each.where.items()) + "." if each.where else "",
        f"Look at {', '.join(each.examples)}." if each.examples else "",
        f"What to do: {each.do}",
        f"A flaw of the {each.of}; {each.id} in findings.json.",
    ]
    return Section(f"{asks} ({each.severity})", [line for line in text if line])


def _waves(table: pd.DataFrame) -> Section:
    """Share of the maps in each wave, by class and method."""
    shown = table[["method", "class", "n", "wave"]].copy()
    shown["share / time"] = [
        f"{row.enrichment:.2f}" + (f" [{row.low:.2f}, {row.high:.2f}]" if row.low == row.low else "")
        if row.time > 0 else ""
        for row in table.itertuples()
    ]  # fmt: skip
    wide = shown.pivot(index=["method", "class", "n"], columns="wave", values="share / time")
    order = [name for name in dict.fromkeys(table["wave"]) if name in wide]
    wide = wide.loc[list(dict.fromkeys(zip(table["method"], table["class"], table["n"], strict=True)))]
    text = [
        "Mass of the maps in each wave, all leads together, as a multiple of the wave's share of time: 1 is no more than "
        "anywhere. 95 % over patients. 'magnitude' and 'slope' are trivial maps: the signal's own size and steepness.",
        "A stretch behind T is TP where the next beat has a P wave, else RR gap. Waves are found by delineation, which misses "
        "one P wave in twenty, and more in irregular rhythms.",
    ]
    return Section(
        "Where in the heart beat", text, [sheet(wide[order].reset_index(), "waves", "Share of map / share of time")]
    )


def _number(each: Finding) -> str:
    if each.number is None:
        return ""
    interval = f" [{each.low:.3g}, {each.high:.3g}]" if each.low is not None and each.high is not None else ""
    return f"{each.number:.3g}{interval}"
