"""`ecglens audit`: from a subject to findings, tables and a page in a folder."""

from __future__ import annotations

import time
from pathlib import Path

from ecglens.audit.checks import CHECKS
from ecglens.audit.finding import Finding, read_findings, write_findings
from ecglens.audit.subject import Subject
from ecglens.audit.wave_focus import wave_findings, wave_table
from ecglens.files import write_table
from ecglens.progress import bar, say
from ecglens.report.audit_page import write_page

WAVE_QUESTIONS = ("Do maps lie on the heart beat?", "Do maps lie elsewhere than the signal's own size?")


def audit(subject: Subject, out: Path) -> list[Finding]:
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
    waves = wave_table(subject)
    on_waves = wave_findings(subject, waves)
    findings += on_waves
    asks |= dict(zip([each.id for each in on_waves], WAVE_QUESTIONS, strict=True))
    (out / "tables" / "waves.csv").unlink(missing_ok=True)  # of an audit before, maybe
    if not isinstance(waves, str):
        (out / "tables").mkdir(exist_ok=True)
        write_table(out / "tables" / "waves.csv", waves)
    facts = {
        "subject": subject.name,
        "kind": subject.kind,
        "examples": len(subject.examples),
        "seconds": time.monotonic() - started,
    }
    write_findings(out / "findings.json", facts | {"asks": asks}, findings)
    write_page(out, *read_findings(out / "findings.json"))
    return findings
