"""`ecglens audit`: from a subject to findings, tables and a page in a folder."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from ecglens.audit.checks import CHECKS
from ecglens.audit.finding import Finding, read_findings, write_findings
from ecglens.audit.subject import Subject
from ecglens.files import write_table
from ecglens.progress import bar, say
from ecglens.report.audit_page import write_page


def audit(subject: Subject, out: Path) -> list[Finding]:
    """Every check; writes findings.json and report.html into `out`, and says the cost first."""
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    said = {check.cost for check in CHECKS}
    say(f"{len(CHECKS)} checks of {subject.name}, {len(subject.examples):,} examples: {', '.join(sorted(said))}")
    findings: list[Finding] = []
    asks: dict[str, str] = {}
    tables: dict[str, pd.DataFrame] = {}
    with bar("audit", len(CHECKS)) as progress:
        for check in CHECKS:
            answer = check.answer(subject)
            findings += answer.findings
            tables |= answer.tables
            asks |= {each.id: check.asks for each in answer.findings}
            progress.step(1, note=check.name)
    _write_tables(out / "tables", tables)
    facts = {
        "subject": subject.name,
        "kind": subject.kind,
        "examples": len(subject.examples),
        "seconds": time.monotonic() - started,
        "tables": sorted(tables),
    }
    write_findings(out / "findings.json", facts | {"asks": asks}, findings)
    write_page(out, *read_findings(out / "findings.json"))
    return findings


def _write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table)
