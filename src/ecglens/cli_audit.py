"""`ecglens audit`, `plant` and `bench-audit`: can a model's explanations be believed, and can the audit?"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ecglens.errors import EcglensError

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", type=_FOLDER, metavar="[RUN]", required=False)
@click.option("--model", metavar="FILE.py:FUNCTION|RUN", help="Audit a model of your own instead of a run.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights as safetensors, with --model.")
@click.option("--method", default="saliency", show_default=True, help="With --model: whose maps are checked.")
@click.option("--data", metavar="DIR", help="Folder that holds the database.  [default: $ECGLENS_DATA, cache, PhysioNet]")
@click.option("--out", type=_FOLDER, help="Folder of findings.json and report.html.  [default: RUN/audit]")
@click.option(
    "--sibling",
    "siblings",
    type=_FOLDER,
    multiple=True,
    help="Another training of RUN: another --seed, or --set targets=shuffled; repeatable.",
)
@click.option("--fail-on", help="low, medium or high: exit code 3 where a finding is as bad.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="With --model: decides every draw.")
def audit(
    folder: Path | None, model: str | None, out: Path | None, siblings: tuple[Path, ...], fail_on: str | None, **options: Any
) -> None:
    """Check a run, or a model of your own: can its scores and its explanations be believed?

    Findings come worst first, each with a number, what to look at and what to do.
    """
    from ecglens.audit.finding import SEVERITIES, at_or_above
    from ecglens.errors import choose
    from ecglens.runs import open_run
    from ecglens.studies.auditing import audit as audit_subject
    from ecglens.studies.siblings import siblings_of
    from ecglens.studies.subjects import subject_of_model, subject_of_run

    if (folder is None) == (model is None):
        raise EcglensError("give a run folder or --model FILE.py:FUNCTION, one of the two")
    if fail_on is not None:
        choose(fail_on, list(SEVERITIES), "severity")
    if folder is not None:
        place = out or folder / "audit"
        for name in ("weights", "method", "seed"):
            if click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise EcglensError(f"--{name} belongs to --model; a run says its own")
        run = open_run(folder)
        others = siblings_of(run, [open_run(each) for each in siblings])
        subject = subject_of_run(run, None if options["data"] is None else Path(options["data"]))
        subject = replace(subject, siblings=others)
    else:
        assert model is not None
        if siblings:
            raise EcglensError("--sibling belongs to a run folder; a model of your own has none that could be compared")
        if out is None:
            raise EcglensError("--model needs --out, the folder to write")
        place = out
        subject = subject_of_model(model, options["weights"], options["data"], options["method"], options["seed"])
    findings = audit_subject(subject, place)
    click.echo(str(place / "report.html"))
    if fail_on is not None and at_or_above(findings, fail_on):
        sys.exit(3)


@click.command()
@click.option("--kind", required=True, help="mains, spike, offset, gain, lead-swap, clip, padding or edge-mark.")
@click.option("--class", "class_name", required=True, help="Whose beats are marked: V or A (or N).")
@click.option("--share", default=0.6, show_default=True, help="Of that class's training beats.")
@click.option("--strength", type=float, required=True, help="mV; gain: times; lead-swap: 1; clip, padding: ms.")
@click.option(
    "--scale", default="none", show_default=True, help="Of the net's input: none, offset, lead or joint; some erase a mark."
)
@click.option("--data", metavar="DIR", help="Folder that holds mitdb/, a simulated cohort, or 'simulated'.")
@click.option("--quick", is_flag=True, help="Beats of a dozen records: half a minute.")
@click.option("--out", type=_FOLDER, required=True, help="The folder to write.")
@click.option("--overwrite", is_flag=True, help="Replace a plant that is in the folder.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Decides every random choice.")
def plant(kind: str, class_name: str, share: float, strength: float, out: Path, **options: Any) -> None:
    """Mark training beats of one class on purpose, train a net on them, and audit it.

    Says whether the net goes by the mark (it is live) and whether the audit names it. Writes plant.json, findings.json, the
    net and report.html.
    """
    from ecglens.studies.planting import Mark, run

    data = None if options["data"] is None else Path(options["data"])
    run(
        Mark(kind, class_name, share, strength), data, out, quick=options["quick"], scale=options["scale"],
        seed=options["seed"], overwrite=options["overwrite"],
    )  # fmt: skip
    click.echo(str(out / "report.html"))


@click.command("bench-audit")
@click.option("--data", metavar="DIR", help="Folder that holds mitdb/.  [default: $ECGLENS_DATA, cache, PhysioNet]")
@click.option("--cells", type=click.IntRange(min=1), help="Only the first so many nets of the grid.  [default: all]")
@click.option("--out", type=_FOLDER, required=True, help="The folder to write; gone on with if it is there.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Decides every random choice.")
def bench_audit(data: str | None, cells: int | None, out: Path, seed: int) -> None:
    """Measure the audit: nets with planted confounders, nets that ignore them, and clean twins.

    Writes cells/NAME.json, tables/*.csv and table.md. Takes twenty minutes to an hour;
    a run that was interrupted goes on where it stopped.
    """
    import torch

    from ecglens.studies.audit_bench import run

    torch.set_num_threads(1)
    click.echo(str(run(None if data is None else Path(data), out, cells=cells, seed=seed)))
