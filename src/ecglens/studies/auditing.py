"""`ecglens audit`: from a subject to findings, tables, pictures and a page in a folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.audit.checks import CHECKS, Check
from ecglens.audit.finding import Answer, Finding, not_run, read_findings, write_findings
from ecglens.audit.sanity import maps_of
from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError
from ecglens.files import write_table
from ecglens.progress import bar, say
from ecglens.report.audit_page import write_page
from ecglens.report.audit_pictures import finding_pictures

_PICTURED = 30  # maps that pictures ask for, about
_TRIED = 16  # examples by which speed is measured


def audit(subject: Subject, out: Path) -> list[Finding]:
    """Every check; writes findings.json, tables/, figures/ and report.html into `out`, and says the cost first."""
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    say(cost_first(subject, CHECKS))
    findings: list[Finding] = []
    asks: dict[str, str] = {}
    tables: dict[str, pd.DataFrame] = {}
    seconds: dict[str, float] = {}
    with bar("audit", len(CHECKS) + 1) as progress:
        for check in CHECKS:
            began = time.monotonic()
            answer = _answered(check, subject)
            seconds[check.name] = round(time.monotonic() - began, 3)
            findings += answer.findings
            tables |= answer.tables
            asks |= {each.id: check.asks for each in answer.findings}
            progress.step(1, note=check.name)
        began = time.monotonic()
        pictures = finding_pictures(subject, findings, out / "figures")
        seconds["pictures"] = round(time.monotonic() - began, 3)
        progress.step(1, note="pictures")
    _write_tables(out / "tables", tables)
    facts = {
        "subject": subject.name,
        "kind": subject.kind,
        "examples": len(subject.examples),
        "seconds": time.monotonic() - started,
        "seconds_by_check": seconds,
        "tables": sorted(tables),
        "pictures": pictures,
    }
    write_findings(out / "findings.json", facts | {"asks": asks}, findings)
    write_page(out, *read_findings(out / "findings.json"))
    return findings


def _answered(check: Check, subject: Subject) -> Answer:
    """What the check says; a method, or a model, that refuses what the check asks for leaves it not run."""
    try:
        return check.answer(subject)
    except EcglensError as error:
        return Answer([not_run(f"audit.{check.name}", "model", check.asks, str(error))])


def cost_first(subject: Subject, checks: Sequence[Check]) -> str:
    """What the checks ask for, in numbers, and how long that may take on this machine: a few answers and maps are timed."""
    maps, answers = sum(check.maps for check in checks) + _PICTURED, sum(check.answers for check in checks)
    n = len(subject.examples)
    told = f"{len(checks)} checks of {subject.name}, {n:,} examples: about {answers:,} answers"
    if not n:
        return told
    part = subject.examples.take(np.arange(min(_TRIED, n)))
    logits = subject.classifier.logits(part)  # the first call pays for what is loaded
    began = time.monotonic()
    subject.classifier.logits(part)
    each_answer = (time.monotonic() - began) / len(part)
    total = answers * each_answer
    if subject.method is not None:
        told += f" and {maps:,} maps by {subject.method}"
        try:
            maps_of(subject, part.take(np.arange(1)), logits[:1].argmax(1))
            began = time.monotonic()
            maps_of(subject, part, logits.argmax(1))
            total += maps * (time.monotonic() - began) / len(part)
        except EcglensError as error:
            told += f" (which cannot be made: {error})"
    return f"{told}, about {_duration(total)}, and the counting"


def _duration(seconds: float) -> str:
    return f"{max(round(seconds), 1)} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table)
