"""A run folder is begun, taken up, refused or replaced, and never mistaken for a whole one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecglens.errors import EcglensError
from ecglens.runs import COMPLETE, STOPPED, UNFINISHED, open_run, start_run

ASKED = {"study": "jones2020", "seed": 0, "pair": (1, 2)}


def about(path: Path) -> dict:
    return json.loads((path / "run.json").read_text(encoding="utf-8"))


def test_a_new_run_says_what_was_asked_and_that_it_is_unfinished(tmp_path: Path) -> None:
    run = start_run(tmp_path / "deep" / "run", ASKED)
    said = about(run.path)
    assert said["status"] == UNFINISHED
    assert said["asked"] == {"study": "jones2020", "seed": 0, "pair": [1, 2]}
    assert {"ecglens", "started", "machine", "libraries"} <= set(said)
    assert "torch" in said["libraries"]


def test_an_empty_folder_takes_a_run(tmp_path: Path) -> None:
    assert start_run(tmp_path, ASKED).about["status"] == UNFINISHED


def test_notes_are_on_disk_at_once(tmp_path: Path) -> None:
    run = start_run(tmp_path / "run", ASKED)
    run.note(beats={"kept": 7})
    assert about(run.path)["beats"] == {"kept": 7}
    assert open_run(run.path).about == run.about


@pytest.mark.parametrize("status", [UNFINISHED, STOPPED])
def test_the_same_question_goes_on_with_all_that_was_noted(tmp_path: Path, status: str) -> None:
    start_run(tmp_path / "run", ASKED).note(status=status, beats=5)
    run = start_run(tmp_path / "run", ASKED)
    assert run.about["beats"] == 5
    assert about(run.path)["status"] == UNFINISHED


def test_another_question_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = start_run(tmp_path / "run", ASKED).path
    before = (path / "run.json").read_bytes()
    with pytest.raises(EcglensError, match=r"another run.*--overwrite"):
        start_run(path, ASKED | {"seed": 1})
    assert (path / "run.json").read_bytes() == before


def test_a_complete_run_is_refused_with_what_to_do(tmp_path: Path) -> None:
    start_run(tmp_path / "run", ASKED).note(status=COMPLETE)
    with pytest.raises(EcglensError, match=r"complete; 'ecglens report .*--overwrite"):
        start_run(tmp_path / "run", ASKED)
    assert about(tmp_path / "run")["status"] == COMPLETE


def test_overwrite_replaces_the_run_and_spares_what_is_not_of_it(tmp_path: Path) -> None:
    path = start_run(tmp_path / "run", ASKED).path
    (path / "tables").mkdir()
    (path / "tables" / "per_class.csv").write_text("x")
    (path / "report.html").write_text("x")
    (path / "my notes.txt").write_text("mine")
    run = start_run(path, ASKED | {"seed": 1}, overwrite=True)
    assert sorted(each.name for each in path.iterdir()) == ["my notes.txt", "run.json"]
    assert run.about["asked"]["seed"] == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_else_is_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(EcglensError, match="not empty and holds no run"):
        start_run(tmp_path, ASKED, overwrite=overwrite)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(EcglensError, match="--out"):
            start_run(path, ASKED)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"7", b'"complete"', b'{"status": "complete"}', b'{"asked": {}}', b"\xff\xfe\x00"]
)
def test_a_damaged_run_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    for attempt in (lambda: open_run(tmp_path), lambda: start_run(tmp_path, ASKED)):
        with pytest.raises(EcglensError, match=r"run\.json is damaged"):
            attempt()


def test_overwrite_replaces_a_damaged_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    assert start_run(tmp_path, ASKED, overwrite=True).about["status"] == UNFINISHED


def test_a_folder_without_run_json_is_no_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(EcglensError, match=r"holds no run\.json"):
            open_run(path)


def test_has_asks_for_all_names(tmp_path: Path) -> None:
    run = start_run(tmp_path, ASKED)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.csv").write_text("x")
    assert run.tables == tmp_path / "tables"
    assert run.has("run.json", "tables/a.csv")
    assert not run.has("run.json", "tables/b.csv")
