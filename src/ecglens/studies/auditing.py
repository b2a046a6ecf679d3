"""`ecglens audit`: from a subject to findings, tables and a page in a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ecglens.audit.checks import CHECKS
from ecglens.audit.finding import Finding, read_findings, write_findings
from ecglens.audit.subject import Subject
from ecglens.progress import bar, say
from ecglens.report.audit_page import write_page


def audit(subject: Subject, about: dict[str, Any], out: Path) -> list[Finding]:
    """Every check; writes findings.json and report.html into `out`, and says the cost first."""
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    said = {check.cost for check in CHECKS}
    say(f"{len(CHECKS)} checks of {subject.name}, {len(subject.examples):,} examples: {', '.join(sorted(said))}")
    findings: list[Finding] = []
    asks: dict[str, str] = {}
    with bar("audit", len(CHECKS)) as progress:
        for check in CHECKS:
            answer = check.run(subject)
            answers = answer if isinstance(answer, list) else [answer]
            findings += answers
            asks |= {each.id: check.asks for each in answers}
            progress.step(1, note=check.name)
    facts = {"subject": subject.name, "examples": len(subject.examples), "seconds": time.monotonic() - started}
    write_findings(out / "findings.json", about | facts | {"asks": asks}, findings)
    write_page(out, *read_findings(out / "findings.json"))
    return findings
