"""The command line: light to start, sure to resume, the same answer to the same question."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest

import ecglens.training.fit as fitting
from ecglens import runs
from ecglens.attribution.registry import methods
from ecglens.cli import cli
from ecglens.errors import EcglensError
from ecglens.runs import COMPLETE, STOPPED
from ecglens.studies import STUDIES

HEAVY = ("torch", "pandas", "matplotlib", "sklearn", "scipy")
MADE_AT = {
    "examples": {"run.json", "examples.csv", "tables"},
    "training": {"model.json", "model.safetensors"},
    "attribution": {"predictions.csv", "metrics.json", "attributions"},
    "analysis": set(),
    "complete": {"report.html", "figures"},
}


def about(path: Path) -> dict:
    return json.loads((path / "run.json").read_text(encoding="utf-8"))


def answer(path: Path) -> dict[str, object]:
    """Everything that a run found: tables by their bytes, metrics without the clock."""
    metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    del metrics["train.seconds"]
    tables = {each.name: each.read_bytes() for each in (path / "tables").glob("*.csv")}
    return {"metrics": metrics, "predictions": (path / "predictions.csv").read_bytes()} | tables


def in_a_new_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


# ------------------------------------------------------------------------------------------------ light to start


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["studies"], ["data", "list"], ["--version"], ["run", "--help"]], ids=" ".join
)
def test_no_heavy_library_is_imported_before_it_is_needed(words: list[str]) -> None:
    call = (
        f"sys.argv = ['ecglens', *{words!r}]; from ecglens.cli import main; main()" if words else "import ecglens, ecglens.cli"
    )
    code = f"""
import sys
try:
    {call}
except SystemExit:
    pass
print("loaded:", *sorted(name for name in {HEAVY!r} if name in sys.modules))
"""
    assert in_a_new_python(code).splitlines()[-1].strip() == "loaded:"


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


@pytest.mark.parametrize("path", [path for path, _ in commands(cli)], ids=" ".join)
def test_every_command_explains_itself(ecglens: Callable, path: tuple[str, ...]) -> None:
    done = ecglens(*path, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: ecglens {' '.join(path)}".rstrip())
    assert dict(commands(cli))[path].help
    assert ecglens(*path, "-h").out == done.out


@pytest.mark.parametrize("path", [path for path, _ in commands(cli)], ids=" ".join)
def test_every_option_says_what_it_is_for(path: tuple[str, ...]) -> None:
    options = [each for each in dict(commands(cli))[path].params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help] == []


def test_the_version_is_that_of_the_package(ecglens: Callable) -> None:
    assert ecglens("--version").out == f"ecglens, version {version('ecglens')}\n"


def test_studies_are_listed_with_title_authors_and_data(ecglens: Callable) -> None:
    done = ecglens("studies")
    assert (done.code, done.err) == (0, "")
    for name, card in STUDIES.items():
        assert all(fact in done.out for fact in (name, card.title, card.authors, *card.databases))


def test_methods_are_listed_with_what_they_compute_cost_and_cannot_show(ecglens: Callable) -> None:
    done = ecglens("methods")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    for name, method in methods().items():
        part = "\n".join(lines[lines.index(name) + 1 : lines.index(name) + 5])
        card = method.card
        for words in (card.equation, f"cost: {card.passes}", f"cannot show: {card.blind_to}", card.source):
            assert words in part
        assert ("tells leads apart" if card.leads else "one map for all leads") in part
        assert ("signed" if card.signed else "size alone") in part
    assert "captum:NAME" in lines


@pytest.mark.parametrize(
    "words", [["trian"], ["data", "ftech"], ["run"], ["run", "jones2020"], ["studies", "--all"]], ids=" ".join
)
def test_a_word_that_is_no_command_or_option_ends_with_two(ecglens: Callable, words: list[str]) -> None:
    assert ecglens(*words).complaint.startswith("Error: ")


@pytest.mark.parametrize(
    ("option", "value", "study"),
    [
        ("--set-number", "1", "varandas2021"),
        ("--loss", "wbce", "lin2020"),
        ("--database", "ptbxl", "lin2020"),
        ("--train", "both", "habeeb2024"),
    ],
)
def test_an_option_of_one_study_is_refused_by_all_others(
    ecglens: Callable, tiny_data: Path, tmp_path: Path, option: str, value: str, study: str
) -> None:
    for name in set(STUDIES) - {study}:
        done = ecglens("run", name, option, value, "--data", tiny_data, "--out", tmp_path / "run")
        assert f"{option} is for {study}; leave it out for {name}" in done.complaint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_given_the_options_of_its_card(
    ecglens: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: str
) -> None:
    def asked(*_: object, quick: bool, seed: int, **more: object) -> None:
        given.append(more)
        raise EcglensError("enough")

    given: list[dict[str, object]] = []
    monkeypatch.setattr(f"{STUDIES[study].module}.ask", asked)
    values = {"set_number": 2, "loss": "wbce", "database": "ptbxl", "train": "cpsc"}
    own = {word: values[word] for word in STUDIES[study].words}
    words = [each for word, value in own.items() for each in (f"--{word.replace('_', '-')}", value)]
    assert "enough" in ecglens("run", study, *words, "--out", tmp_path / "run").complaint
    assert "enough" in ecglens("run", study, "--out", tmp_path / "run").complaint
    assert given == [own, dict.fromkeys(own)]


def test_the_help_of_run_names_each_study_and_its_models(ecglens: Callable) -> None:
    words = " ".join(ecglens("run", "--help").out.split())
    for name in STUDIES:
        assert f"{name}:" in words
    for model in ("resnet50", "small2d", "ecgnet-cam", "zihlmann", "resnet-rr"):
        assert model in words


def test_a_study_that_is_not_known_is_refused_with_the_names(ecglens: Callable, tmp_path: Path) -> None:
    complaint = ecglens("run", "varandas2022", "--out", tmp_path / "run").complaint
    assert "did you mean 'varandas2021'" in complaint
    assert not (tmp_path / "run").exists()


def test_nothing_to_do_shows_the_help(ecglens: Callable) -> None:
    done = ecglens()
    assert "Usage: ecglens" in done.out + done.err
    assert "Traceback" not in done.err


# ------------------------------------------------------------------------------------------------ how it ends


def test_a_mistake_of_ours_is_one_line_with_exit_code_one(
    ecglens: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> None:
        raise ZeroDivisionError("of\nall things")

    monkeypatch.setattr(runs, "open_run", fails)
    done = ecglens("report", tmp_path)
    assert done.code == 1
    assert done.err == "ecglens: internal error, please report it: ZeroDivisionError: of all things (--debug shows where)\n"
    with pytest.raises(ZeroDivisionError):
        ecglens("--debug", "report", tmp_path)


def test_debug_shows_where_a_mistake_of_the_user_was_found(ecglens: Callable, tmp_path: Path) -> None:
    with pytest.raises(EcglensError, match=r"holds no run\.json"):
        ecglens("--debug", "report", tmp_path)


def test_control_c_ends_with_130_and_says_how_to_go_on(
    ecglens: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "open_run", interrupted)
    done = ecglens("report", tmp_path)
    assert (done.code, done.err.strip()) == (130, "ecglens: stopped; run the same command again to go on")


# ------------------------------------------------------------------------------------------------ stages


@pytest.mark.parametrize("stage", ["examples", "training", "attribution", "analysis"])
def test_a_run_stopped_after_a_stage_has_that_stage_and_nothing_that_looks_whole(stages: dict[str, Path], stage: str) -> None:
    made: set[str] = set()
    for name, new in MADE_AT.items():
        made |= new
        if name == stage:
            break
    assert {each.name for each in stages[stage].iterdir()} == made
    assert about(stages[stage])["status"] == STOPPED


def test_a_complete_run_holds_everything_and_says_so(stages: dict[str, Path]) -> None:
    path = stages["complete"]
    assert {each.name for each in path.iterdir()} == set().union(*MADE_AT.values())
    assert about(path)["status"] == COMPLETE
    assert not list(path.rglob("*.part"))
    assert about(path)["data"]["records"] == ["100", "109", "118", "207"]


def test_a_stage_that_is_done_is_not_done_again(stages: dict[str, Path]) -> None:
    def content(stage: str, name: str) -> bytes:
        return (stages[stage] / name).read_bytes()

    assert content("training", "model.safetensors") == content("complete", "model.safetensors")
    assert about(stages["training"])["training"] == about(stages["complete"])["training"]
    maps = "attributions/shard-00000/saliency.npy"
    assert content("attribution", maps) == content("complete", maps)


def test_a_run_in_one_go_gives_the_same_bytes_as_one_stopped_at_every_stage(
    stages: dict[str, Path], tiny_run: Callable, tmp_path: Path
) -> None:
    done = tiny_run(tmp_path / "again", "--stop-after", "analysis")
    assert (done.code, done.out) == (0, f"{tmp_path / 'again'}\n")
    found, wanted = answer(tmp_path / "again"), answer(stages["complete"])
    assert set(found) == set(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []


def test_another_seed_gives_another_answer(stages: dict[str, Path], tiny_run: Callable, tmp_path: Path) -> None:
    assert tiny_run(tmp_path / "other", "--stop-after", "attribution", "--seed", "1").code == 0
    assert (tmp_path / "other" / "predictions.csv").read_bytes() != (stages["complete"] / "predictions.csv").read_bytes()
    assert (tmp_path / "other" / "examples.csv").read_bytes() != (stages["complete"] / "examples.csv").read_bytes()


def test_training_interrupted_after_an_epoch_goes_on_to_the_same_bytes(
    stages: dict[str, Path], tiny_run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def once_and_no_more(folder: Path, state: dict) -> None:
        save(folder, state)
        raise KeyboardInterrupt

    save = fitting.save_checkpoint
    monkeypatch.setattr(fitting, "save_checkpoint", once_and_no_more)
    done = tiny_run(tmp_path / "run")
    assert done.code == 130
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert about(tmp_path / "run")["status"] != COMPLETE
    monkeypatch.setattr(fitting, "save_checkpoint", save)
    done = tiny_run(tmp_path / "run", "--stop-after", "training")
    assert done.code == 0
    assert "training goes on after epoch 1 of 3" in done.err
    for name in ("model.safetensors", "tables/training.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (stages["complete"] / name).read_bytes()
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


# ------------------------------------------------------------------------------------------------ the run folder


def test_a_complete_run_is_not_run_again(stages: dict[str, Path], tiny_run: Callable) -> None:
    before = {each: each.stat().st_mtime_ns for each in stages["complete"].rglob("*")}
    assert "complete; 'ecglens report" in tiny_run(stages["complete"]).complaint
    assert {each: each.stat().st_mtime_ns for each in stages["complete"].rglob("*")} == before


def test_a_run_of_another_question_is_not_mixed_in(stages: dict[str, Path], tiny_run: Callable) -> None:
    assert "another run" in tiny_run(stages["training"], "--seed", "5").complaint
    assert "another run" in tiny_run(stages["training"], "--set", "epochs=9").complaint


def test_overwrite_leaves_nothing_of_the_old_run(own_stage: Callable[[str], Path], tiny_run: Callable) -> None:
    path = own_stage("complete")
    done = tiny_run(path, "--overwrite", "--seed", "5", "--stop-after", "examples")
    assert (done.code, done.out) == (0, f"{path}\n")
    assert {each.name for each in path.iterdir()} == MADE_AT["examples"]
    assert {each.name for each in (path / "tables").iterdir()} == {"examples.csv", "splits.csv"}
    assert about(path)["asked"]["seed"] == 5


def test_wrong_data_does_not_cost_the_old_run(own_stage: Callable[[str], Path], tiny_run: Callable, tmp_path: Path) -> None:
    path = own_stage("complete")
    assert "holds no folder mitdb/" in tiny_run(path, "--overwrite", data=tmp_path).complaint
    assert about(path)["status"] == COMPLETE
    assert (path / "report.html").is_file()


def test_report_draws_the_same_page_again_from_the_tables(ecglens: Callable, own_stage: Callable[[str], Path]) -> None:
    path = own_stage("complete")
    before = (path / "report.html").read_bytes()
    (path / "report.html").unlink()
    done = ecglens("report", path)
    assert (done.code, done.out, done.err) == (0, f"{path / 'report.html'}\n", "")
    assert (path / "report.html").read_bytes() == before


def test_nothing_but_plain_lines_goes_to_a_log(tiny_run: Callable, tmp_path: Path) -> None:
    done = tiny_run(tmp_path / "run", "--stop-after", "training")
    assert "\x1b" not in done.err + done.out
    assert "\r" not in done.err + done.out
    assert [line for line in done.err.splitlines() if "epoch 3/3" in line]


def test_missing_records_are_said_in_one_line(tiny_run: Callable, tmp_path: Path) -> None:
    done = tiny_run(tmp_path / "run", "--stop-after", "examples")
    assert len([line for line in done.err.splitlines() if "101" in line and "234" in line]) == 1
    assert len(about(tmp_path / "run")["data"]["missing"]) == 44


def test_the_installed_command_trains_the_published_network_and_says_nothing_strange(tiny_data: Path, tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("ecglens")
    words = ["run", "jones2020", "--recipe", "as-published", "--quick", "--stop-after", "training"]
    done = subprocess.run(
        [script, *words, "--set", "rows_at_most=64", "--data", tiny_data, "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'run'}\n"), done.stderr
    assert "Warning" not in done.stderr
    assert "epoch 1/1" in done.stderr


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "ecglens", "studies"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "varandas2021" in done.stdout
