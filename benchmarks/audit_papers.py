"""The blind test: `python benchmarks/audit_papers.py RUN...` reads RUN/audit/findings.json (`ecglens audit RUN`) of runs of
the five studies and says which of thirteen flaws of the papers the audits found by themselves.

A flaw counts as found where an as-published run has the finding, with the words that name it. Of corrected runs all findings
about the recipe are listed: there should be none. The audit itself knows none of this.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pandas as pd

from ecglens.audit.finding import FOUND, Finding, read_findings


@dataclass(frozen=True)
class Flaw:
    """What is known to be wrong, the study that shows it, the id that a finding of it begins with, and words that it says."""

    what: str
    study: str
    id: str
    says: tuple[str, ...] = ()


FLAWS = (
    Flaw("class-free maps", "jones2020", "explanation.class-free"),
    Flaw("maps of an input that the net never saw", "jones2020", "explanation.foreign-input"),
    Flaw("padding that carries length", "jones2020", "confounders.padding-tells", ("class ",)),
    Flaw("one-class validation", "jones2020", "leakage.classes-not-validated", ("holds V (",)),
    Flaw("macro over absent classes", "jones2020", "scoring.absent-classes"),
    Flaw("a class that lives in one patient", "jones2020", "data.class-in-one-patient"),
    Flaw("201 and 202", "varandas2021", "leakage.shared-patients", ("201 and 202",)),
    Flaw("a hospital told by its padding", "habeeb2024", "confounders.padding-tells", ("origin ",)),
    Flaw("records shared by cinc2020 and ptbxl", "lin2020", "leakage.signals-elsewhere", ("11 in ptbxl",)),
    Flaw("Grad-CAM with channels for time", "habeeb2024", "explanation.no-time"),
    Flaw("a mask that cannot settle", "vijayarangan2020", "explanation.unsettled", ("deletion-mask",)),
    Flaw("F1 and precision of different classes", "varandas2021", "scoring.metrics-of-different-classes"),
    Flaw("pacing labelled as atrial beats", "habeeb2024", "labels.meaning.PAC", ("PACE",)),
)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(runs: tuple[Path, ...]) -> None:
    """Print which flaws were found on as-published runs, and every finding about the recipe of corrected ones."""
    audits = [_audit(run) for run in runs]
    published = [(run.name, asked["study"], found) for run, asked, found in audits if asked["recipe_name"] == "as-published"]
    rows = []
    for flaw in FLAWS:
        seen = [
            (name, each) for name, study, found in published if study == flaw.study
            for each in found if each.id.startswith(flaw.id) and all(word in each.what for word in flaw.says)
        ]  # fmt: skip
        run, first = seen[0] if seen else ("", None)
        rows.append({"flaw": flaw.what, "found on": run, "id": first.id if first else "NOT FOUND",
                     "severity": first.severity if first else "", "number": first.number if first else None})  # fmt: skip
    with pd.option_context("display.width", 200, "display.max_colwidth", 60):
        print(pd.DataFrame(rows).to_string(index=False, na_rep=""))
    print(f"\n{sum(row['id'] != 'NOT FOUND' for row in rows)} of {len(FLAWS)} found\n")
    for run, asked, found in audits:
        if asked["recipe_name"] == "corrected":
            flaws = [f"{each.id} ({each.severity}): {each.what}" for each in found if each.of == "recipe"]
            print(f"{run.name}, {asked['study']} corrected: {len(flaws)} findings about the recipe", *flaws, sep="\n  ")


def _audit(run: Path) -> tuple[Path, dict[str, Any], list[Finding]]:
    asked = json.loads((run / "run.json").read_text(encoding="utf-8"))["asked"]
    _, findings = read_findings(run / "audit" / "findings.json")
    return run, asked, [each for each in findings if each.state == FOUND]


if __name__ == "__main__":
    main()
