"""The command line: thin. torch and pandas are imported where a command needs them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from ecglens import __version__
from ecglens.cli_audit import audit, bench_audit, plant
from ecglens.errors import EcglensError

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ecglens")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """See what an ECG classifier really looks at, and whether the explanation can be believed.

    Research use only.
    """
    context.obj = {"debug": debug}


@cli.command()
def studies() -> None:
    """List the published systems that can be run."""
    from ecglens.studies import STUDIES

    for name, card in STUDIES.items():
        click.echo(f"{name:18} {card.title}\n{'':18} {card.authors}; data: {', '.join(card.databases)}")


@cli.group()
def data() -> None:
    """Public ECG databases: list, fetch, verify."""


@data.command("list")
def data_list() -> None:
    """List the databases, their size, licence and address."""
    from ecglens.recordings.databases import DATABASES

    for which in DATABASES.values():
        n_records = which.n_records or len(which.records)
        click.echo(
            f"{which.name:8} {which.title} {which.version}: {n_records} records, {which.n_leads} leads, "
            f"{which.fs:g} Hz, {which.megabytes:g} MB\n{'':8} {which.licence}; {which.address}\n{'':8} {which.citation}"
        )
        for fact in which.lead_facts:
            click.echo(f"{'':8} - {fact}")


@data.command("fetch")
@click.argument("name")
@click.option("--data", "folder", type=_FOLDER, help="Put it into DIR/NAME.  [default: the user's cache]")
@click.option("--from", "address", help="Address of a mirror.  [default: PhysioNet]")
def data_fetch(name: str, folder: Path | None, address: str | None) -> None:
    """Download a database, file by file; files already right are skipped, each is checked by SHA-256.

    The list of SHA-256 comes with ecglens, or from the publisher.
    """
    from ecglens.recordings.databases import database
    from ecglens.recordings.places import cache_folder, checksums_in, fetch

    which = database(name)
    target = folder or cache_folder()
    fetched = fetch(which, target, address)
    n_right = len(checksums_in(which, target / name)) - len(fetched)
    click.echo(f"{target / name}: {len(fetched)} files fetched, {n_right} were right already")


@data.command("verify")
@click.argument("name")
@click.option("--data", "folder", type=_FOLDER, help="Folder that holds NAME/.  [default: $ECGLENS_DATA, then the cache]")
def data_verify(name: str, folder: Path | None) -> None:
    """Compare every file with the publisher's SHA-256 list; exit code 2 if one is bad."""
    from ecglens.recordings.databases import database
    from ecglens.recordings.places import cache_folder, verify

    which = database(name)
    root = folder or (Path(os.environ["ECGLENS_DATA"]) if os.environ.get("ECGLENS_DATA") else cache_folder())
    if not (root / name).is_dir():
        raise EcglensError(f"{root} holds no folder {name}/; name the folder that holds it by --data DIR")
    checks = verify(which, root / name)
    bad = [check for check in checks if check.state != "ok"]
    for check in bad:
        click.echo(f"{check.name}: {check.state}")
    click.echo(f"{root / name}: {len(checks) - len(bad)} of {len(checks)} files are right")
    if bad:
        raise EcglensError(f"{len(bad)} files are bad; 'ecglens data fetch {name} --data {root}' puts them right")


@cli.command()
@click.argument("study")
@click.option("--recipe", default="corrected", show_default=True, help="as-published or corrected.")
@click.option(
    "--model",
    help="jones2020: cnn, lstm, resnet or resnet-rr.  vijayarangan2020: ecgnet, ecgnet-cam, hannun, zihlmann, or all for the "
    "paper's comparison table.  varandas2021: resnet50, small2d or resnet (1-D).  lin2020: cnn-gap or "
    "cnn-gap-short.  habeeb2024: resnet34-1d or resnet34-1d-masked.  [default: cnn as published, else resnet; ecgnet-cam; "
    "resnet50 as published, else small2d; cnn-gap; resnet34-1d]",
)
@click.option(
    "--split",
    help="jones2020: holdout, patients, leave-patients-out or ds1-ds2.  vijayarangan2020: shuffled, patients or ds1-ds2.  "
    "varandas2021: ds1-ds2 or patients.  lin2020: folds, patients, fifths or single-label.  [default: holdout; shuffled as "
    "published, else ds1-ds2; ds1-ds2; single-label as published, else folds for ptbxl and patients]",
)
@click.option(
    "--set-number", type=int, help="varandas2021: 1, the last of six beats gives the label, or 2, the first.  [default: 1]"
)
@click.option(
    "--database", help="lin2020: cinc2020, ptbxl or cpsc2018, the folder of that name in --data.  [default: cinc2020]"
)
@click.option("--train", help="habeeb2024: cpsc, ptbxl, both or cpsc-then-ptbxl.  [default: both]")
@click.option("--loss", help="lin2020: wbce or macro-obs.  [default: macro-obs, wbce for classes without Challenge weights]")
@click.option(
    "--classes",
    help="jones2020: jones (eight classes) or aami.  vijayarangan2020: all (eight) or beats (five).  lin2020: challenge (24), "
    "superclasses (five, ptbxl) or cpsc (nine, cpsc2018).",
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change one option of the recipe; repeatable.")
@click.option("--quick", is_flag=True, help="Few examples, short training: a look in one to fifteen minutes.")
@click.option("--stop-after", help="examples, training, attribution or analysis; the same command goes on from there.")
@click.option(
    "--data",
    "folder",
    type=_FOLDER,
    help="Folder that holds mitdb/ (lin2020, habeeb2024: ptbxl/ and the like), a folder made by 'ecglens simulate', or "
    "'simulated'.  [default: $ECGLENS_DATA, cache, PhysioNet]",
)
@click.option("--or-simulated", is_flag=True, help="Where no real database can be had, take the built-in simulated cohort.")
@click.option("--out", type=_FOLDER, required=True, help="The run folder to write.")
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the run folder.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Decides every random choice.")
def run(study: str, out: Path, **options: Any) -> None:
    """Run a published system, from files to the report.

    STUDY is a name that 'ecglens studies' lists. A run that was interrupted goes on where it stopped.
    """
    from importlib import import_module

    from ecglens.errors import choose
    from ecglens.studies import STUDIES

    choose(study, sorted(STUDIES), "study")
    if options["stop_after"] is not None:
        choose(options["stop_after"], ["examples", "training", "attribution", "analysis"], "stage")
    own = STUDIES[study].words
    for word in sorted({word for card in STUDIES.values() for word in card.words} - set(own)):
        if options[word] is not None:
            its = ", ".join(name for name, card in STUDIES.items() if word in card.words)
            raise EcglensError(f"--{word.replace('_', '-')} is for {its}; leave it out for {study}")
    module = import_module(STUDIES[study].module)
    question = module.ask(
        options["recipe"], options["model"], options["split"], options["classes"], list(options["settings"]),
        quick=options["quick"], seed=options["seed"], **{word: options[word] for word in own},
    )  # fmt: skip
    done = module.run(
        question, options["folder"], out, stop_after=options["stop_after"], overwrite=options["overwrite"],
        or_simulated=options["or_simulated"],
    )  # fmt: skip
    click.echo(str(done.path / "report.html") if options["stop_after"] is None else str(done.path))


@cli.command()
def methods() -> None:
    """List the attribution methods: what each computes, costs, and cannot show."""
    from ecglens.attribution.registry import methods as registered

    for name, method in sorted(registered().items()):
        card = method.card
        traits = ", ".join(
            [
                "signed" if card.signed else "size alone",
                "tells leads apart" if card.leads else "one map for all leads",
                f"resolution: {card.resolution}",
                *([f"needs {', '.join(card.needs)}"] if card.needs else []),
                *([f"sums to {card.sums_to}"] if card.sums_to else []),
            ]
        )
        lines = [card.equation, f"{traits}; cost: {card.passes}", f"cannot show: {card.blind_to}", card.source]
        click.echo("\n    ".join([name, *lines]))
    click.echo("captum:NAME\n    any method of captum.attr, such as captum:DeepLiftShap")


@cli.command()
@click.option(
    "--model", required=True, metavar="FILE.py:FUNCTION|RUN", help="FUNCTION() returns a Classifier; or a run folder."
)
@click.option("--weights", type=click.Path(path_type=Path), help="Weights as safetensors.")
@click.option(
    "--data",
    metavar="DIR|FILE.npy",
    help="Folder that holds mitdb/, 'simulated', or the model's own input (example, lead, time).",
)
@click.option(
    "--methods",
    "names",
    default="saliency",
    show_default=True,
    help="Names with commas between; 'ecglens methods' lists them.",
)
@click.option("--target", default="predicted", show_default=True, help="predicted, true, all, or a class.")
@click.option("--output", default="logit", show_default=True, help="logit or probability.")
@click.option(
    "--precision", type=float, help="Explain only as many examples as it takes to know class medians so well, such as 0.02."
)
@click.option("--simultaneous", is_flag=True, help="The precision holds for all regions of all classes together.")
@click.option("--kept", default="float32", show_default=True, help="float32 or float16: how maps are stored.")
@click.option("--memory", default=1024.0, show_default=True, help="MB that a batch may use.")
@click.option("--out", type=_FOLDER, required=True, help="The run folder to write; gone on with if it is there.")
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the run folder.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Decides every random draw.")
def explain(model: str, out: Path, names: str, **options: Any) -> None:
    """Explain a model of your own over a whole data set: maps, class maps, one page."""
    from ecglens.studies.own import explain_own

    wanted = [name.strip() for name in names.split(",") if name.strip()]
    done = explain_own(
        model, options["weights"], options["data"], wanted, options["target"], options["output"], out,
        seed=options["seed"], memory_mb=options["memory"], overwrite=options["overwrite"],
        precision=options["precision"], simultaneous=options["simultaneous"], kept=options["kept"],
    )  # fmt: skip
    click.echo(str(done.path / "report.html"))


@cli.command()
@click.option("--patients", default=40, show_default=True, help="How many.")
@click.option("--minutes", default=5.0, show_default=True, help="Length of each record.")
@click.option("--leads", default="2", show_default=True, metavar="2|12|NAMES", help="2 (II, V1), 12, or names such as II,V5.")
@click.option("--beats", multiple=True, metavar="CLASS=N", help="Beats of a class in the whole cohort; repeatable.")
@click.option("--carriers", multiple=True, metavar="CLASS=N", help="Patients who have a class; 1: it lives in one patient.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="heart_rate, qrs_width, muscle, ...; repeatable.")
@click.option("--seed", default=0, show_default=True, help="Decides every random choice.")
@click.option("--out", type=_FOLDER, required=True, help="A new folder.")
def simulate(patients: int, minutes: float, leads: str, out: Path, **options: Any) -> None:
    """Make a cohort of simulated ECGs whose evidence is known, as WFDB.

    Classes: A, E, j, L, P, R, V; all other beats are N. Evidence: where a beat differs from the same patient's normal beat.
    """
    from ecglens.simulation.cohort import write_cohort
    from ecglens.simulation.settings import Settings, by_class, lead_names, with_settings

    settings = Settings(
        patients=patients, minutes=minutes, leads=lead_names(leads), seed=options["seed"],
        beats=by_class(options["beats"], "--beats"), carriers=by_class(options["carriers"], "--carriers"),
    )  # fmt: skip
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores by patients
    workers = min(os.cpu_count() or 1, 8) if patients * minutes > 60 else 1
    click.echo(str(write_cohort(with_settings(settings, list(options["settings"])), out, workers=workers)))


@cli.command()
@click.argument("folder", type=_FOLDER, metavar="RUN")
@click.option("--beside", type=_FOLDER, multiple=True, help="A second run to put beside it; habeeb2024: repeatable.")
def report(folder: Path, beside: tuple[Path, ...]) -> None:
    """Draw the report of a run again, from its tables."""
    from importlib import import_module

    from ecglens.runs import open_run
    from ecglens.studies import STUDIES

    run, others = open_run(folder), [open_run(each) for each in beside]
    for each in (run, *others):
        if each.about["asked"]["study"] not in STUDIES:
            raise EcglensError(f"{each.path} is a run of {each.about['asked']['study']!r}, a study that is not known here")
    study = run.about["asked"]["study"]
    if len(others) > STUDIES[study].beside:
        raise EcglensError(f"{len(others)} runs are given to --beside; {study} takes at most {STUDIES[study].beside}")
    module = import_module(STUDIES[study].module + "_report")
    click.echo(str(module.redraw(run, *others)))


for command in (audit, plant, bench_audit):
    cli.add_command(command)


def main() -> None:
    """Run the command line; mistakes of the user end with one line and exit code 2, ours with exit code 1."""
    debug = "--debug" in sys.argv
    # threads that spin while they wait make a shared machine several times slower; read once, when torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        _end("stopped; run the same command again to go on", 130)
    except EcglensError as error:
        if debug:
            raise
        _end(str(error), 2)
    except OSError as error:
        if debug:
            raise
        _end(f"{error.strerror or error}: {error.filename or 'a file'} (is the disk full, or the folder closed?)", 2)
    except Exception as error:
        if debug:
            raise
        reason = " ".join(str(error).split())[:300]
        _end(f"internal error, please report it: {type(error).__name__}: {reason} (--debug shows where)", 1)


def _end(message: str, code: int) -> None:
    click.echo(f"ecglens: {message}", err=True)
    sys.exit(code)
