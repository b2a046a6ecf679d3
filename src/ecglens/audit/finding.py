"""What a check found: data that a page, a person and a build server can read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ecglens.errors import EcglensError, choose
from ecglens.files import write_json

SEVERITIES = ("low", "medium", "high")  # in rising order
FOUND, CLEAR, NOT_RUN = "found", "clear", "not run"
FLAWS = ("data", "recipe", "model", "explanation")


@dataclass(frozen=True)
class Finding:
    """One answer of one check.

    id: stable, such as "leakage.shared-patients"; state: "found", "clear" or "not run"; of: what is flawed, a key of FLAWS;
    severity: "low", "medium" or "high" where something is found, else ""; what: a sentence or two; number: what was measured,
    with low and high (95 %) where they are known, and in_words: what it counts; where: class, lead, wave, record and the like
    by name; examples: ids to look at; do: what to do; why_not: why the check was not run. Raises EcglensError for a word that
    is none of these, a finding without severity, and a check that was not run and does not say why.
    """

    id: str
    state: str
    of: str
    what: str
    severity: str = ""
    number: float | None = None
    low: float | None = None
    high: float | None = None
    in_words: str = ""
    where: dict[str, str] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    do: str = ""
    why_not: str = ""

    def __post_init__(self) -> None:
        choose(self.state, [FOUND, CLEAR, NOT_RUN], "state of a finding")
        choose(self.of, list(FLAWS), "kind of flaw")
        if self.state == FOUND:
            choose(self.severity, list(SEVERITIES), "severity")
        elif self.severity:
            raise EcglensError(f"{self.id} is {self.state!r} and has severity {self.severity!r}; only what is found has one")
        if (self.state == NOT_RUN) != bool(self.why_not):
            raise EcglensError(f"{self.id} is {self.state!r} and why_not is {self.why_not!r}; a check not run says why")


@dataclass(frozen=True)
class Measure:
    """A number, what it counts, its 95 % interval where that is known, and where it was measured, by name."""

    value: float
    in_words: str
    low: float | None = None
    high: float | None = None
    where: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a check says: its findings, and tables (by file name, without ending) that the page shows beside them."""

    findings: list[Finding]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


def found(
    name: str, of: str, severity: str, what: str, measure: Measure, *, do: str, examples: Sequence[str] = (),
    where: dict[str, str] | None = None,
) -> Finding:  # fmt: skip
    """Something to mend."""
    return Finding(
        name, FOUND, of, what, severity, measure.value, measure.low, measure.high, measure.in_words,
        measure.where | (where or {}), tuple(examples), do,
    )  # fmt: skip


def clear(name: str, of: str, what: str, measure: Measure) -> Finding:
    """Nothing found, and by how far."""
    return Finding(name, CLEAR, of, what, "", measure.value, measure.low, measure.high, measure.in_words, measure.where)


def not_run(name: str, of: str, what: str, why: str) -> Finding:
    """A check that lacks something: it is neither passed nor failed."""
    return Finding(name, NOT_RUN, of, what, why_not=why)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Found ones from high to low, then those not run, then the clear ones; within each in the order of the checks."""
    rank = {FOUND: 0, NOT_RUN: 1, CLEAR: 2}
    return sorted(findings, key=lambda each: (rank[each.state], -_rank(each.severity)))


def at_or_above(findings: Sequence[Finding], severity: str) -> list[Finding]:
    """The findings of that severity or a higher one."""
    choose(severity, list(SEVERITIES), "severity")
    return [each for each in findings if each.state == FOUND and _rank(each.severity) >= _rank(severity)]


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity else -1


def write_findings(path: Path, about: dict[str, Any], findings: Sequence[Finding]) -> None:
    """findings.json: what was audited, and every finding, worst first; a number that is not known is null."""
    write_json(path, about | {"findings": [_plain(asdict(each)) for each in worst_first(findings)]})


def read_findings(path: Path) -> tuple[dict[str, Any], list[Finding]]:
    """What was audited, and the findings; raises EcglensError where the file is missing or is not one of these."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        findings = [Finding(**(each | {"examples": tuple(each["examples"])})) for each in found.pop("findings")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise EcglensError(f"{path} cannot be read as findings ({reason}); audit again") from None
    return found, findings


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
