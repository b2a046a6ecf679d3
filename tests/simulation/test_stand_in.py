"""Where records come from when there are none: the built-in cohort, made once, only where it was asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ecglens.errors import EcglensError
from ecglens.simulation import stand_in
from ecglens.simulation.cohort import write_cohort
from ecglens.simulation.settings import Settings
from ecglens.simulation.stand_in import BUILT_IN, find_records

TINY = Settings(patients=2, minutes=0.3, carriers={"E": 0, "j": 0}, beats={"A": 1, "V": 1})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, a tiny built-in cohort, and nowhere a real database."""
    monkeypatch.setattr(stand_in, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(stand_in, "BUILT_IN", TINY)
    monkeypatch.setenv("ECGLENS_DATA", str(tmp_path / "nowhere"))
    return tmp_path / "cache"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that cohorts were written to."""
    folders: list[Path] = []

    def counted(settings: Settings, folder: Path) -> Path:
        folders.append(folder)
        return write_cohort(settings, folder)

    monkeypatch.setattr(stand_in, "write_cohort", counted)
    return folders


def test_the_word_simulated_gives_the_built_in_cohort_made_once(
    cache: Path, made: list[Path], capsys: pytest.CaptureFixture
) -> None:
    which, folder = find_records("mitdb", Path("simulated"))
    assert (which.kind, which.name) == ("simulated", "simulated")
    assert folder.parent == cache
    assert made == [folder]
    assert "making the simulated cohort (2 patients, 0.3 minutes)" in capsys.readouterr().err
    again = find_records("mitdb", Path("simulated"))
    assert again == (which, folder)
    assert made == [folder]
    assert capsys.readouterr().err == ""


def test_other_settings_are_made_beside_not_over(cache: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    find_records("mitdb", Path("simulated"))
    monkeypatch.setattr(stand_in, "BUILT_IN", Settings(patients=3, minutes=0.3))
    find_records("mitdb", Path("simulated"))
    assert len(set(made)) == 2


def test_an_interrupted_built_in_cohort_is_made_again(cache: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(settings: Settings, folder: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stand_in, "write_cohort", stopped)
        with pytest.raises(KeyboardInterrupt):
            find_records("mitdb", Path("simulated"))
    assert find_records("mitdb", Path("simulated"))[1] == made[0]


def test_a_folder_that_simulate_wrote_is_a_database(tmp_path: Path) -> None:
    folder = write_cohort(TINY, tmp_path / "made")
    which, found = find_records("mitdb", folder)
    assert (which.kind, found, which.records) == ("simulated", folder, ("s001", "s002"))


def test_a_real_database_comes_first(tiny_data: Path, cache: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    which, folder = find_records("mitdb", tiny_data, or_simulated=True)
    assert (which.kind, folder) == ("real", tiny_data / "mitdb")
    monkeypatch.setenv("ECGLENS_DATA", str(tiny_data))
    which, folder = find_records("mitdb", None, or_simulated=True)
    assert (which.kind, folder) == ("real", tiny_data / "mitdb")
    assert not made


def test_without_a_real_database_nothing_is_simulated_unless_asked_for(cache: Path, made: list[Path]) -> None:
    with pytest.raises(EcglensError, match=r"there is no folder .*nowhere"):
        find_records("mitdb", None)
    assert not made


def test_or_simulated_takes_the_built_in_cohort_and_says_so(
    cache: Path, made: list[Path], capsys: pytest.CaptureFixture
) -> None:
    which, folder = find_records("mitdb", None, or_simulated=True)
    assert (which.kind, made) == ("simulated", [folder])
    lines = capsys.readouterr().err.splitlines()
    assert "there is no folder" in lines[0]
    assert lines[1] == "SIMULATED ECGs are used instead"


def test_a_folder_that_was_named_and_is_wrong_is_never_replaced(tmp_path: Path, cache: Path, made: list[Path]) -> None:
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(EcglensError, match="--data"):
            find_records("mitdb", wrong, or_simulated=True)
    with pytest.raises(EcglensError, match="unknown database 'mitbd'"):
        find_records("mitbd", tmp_path / "empty", or_simulated=True)
    assert not made


def test_the_built_in_cohort_has_every_class_in_many_patients(tmp_path: Path) -> None:
    assert all(BUILT_IN.carriers_of(name) >= 10 for name in "AEjLRPV")


def test_the_folder_in_the_cache_changes_with_the_code_that_simulates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(shutil.copytree(Path(stand_in.__file__).parent, tmp_path / "simulation"))
    monkeypatch.setattr(stand_in, "files", lambda name: package)
    before = stand_in._fingerprint(TINY)
    assert stand_in._fingerprint(TINY) == before
    assert stand_in._fingerprint(Settings(patients=3)) != before
    with (package / "shapes.py").open("a") as code:
        code.write("\n")
    assert stand_in._fingerprint(TINY) != before
