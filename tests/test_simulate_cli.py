"""`ecglens simulate`, and jones2020 on what it made: from words to the report, which says that nobody's heart was seen."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import wfdb

from ecglens.simulation import cohort, stand_in
from ecglens.simulation.settings import Settings

TINY = ("--patients", 5, "--minutes", 0.4, "--carriers", "L=0", "--carriers", "R=1", "--carriers", "P=1",
        "--beats", "V=8", "--beats", "A=6", "--beats", "j=2", "--beats", "E=2")  # fmt: skip


@pytest.fixture(scope="module")
def folder(ecglens: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "cohort"
    done = ecglens("simulate", *TINY, "--seed", 2, "--out", out)
    assert (done.code, done.out, done.err) == (0, f"{out}\n", "")
    return out


@pytest.fixture(scope="module")
def run(tiny_run: Callable, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corrected quick run to the report."""
    out = tmp_path_factory.mktemp("simulated-run") / "run"
    done = tiny_run(out, data=folder)
    assert done.code == 0, done.err
    return out


def metrics_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------------ simulate


def test_words_become_settings(folder: Path) -> None:
    settings = json.loads((folder / "cohort.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["patients"], settings["minutes"], settings["seed"]) == (5, 0.4, 2)
    assert settings["leads"] == ["II", "V1"]
    assert settings["beats"] == {"V": 8, "A": 6, "j": 2, "E": 2}
    assert settings["carriers"] == {"L": 0, "R": 1, "P": 1}
    kinds = Counter(symbol for k in range(1, 6) for symbol in wfdb.rdann(str(folder / f"s{k:03d}"), "atr").symbol)
    assert {name: kinds[name] for name in "VAjEL"} == {"V": 8, "A": 6, "j": 2, "E": 2, "L": 0}
    assert kinds["R"] > 20
    assert kinds["/"] > 20


def test_leads_and_settings_can_be_named(ecglens: Callable, tmp_path: Path) -> None:
    few = ("simulate", "--patients", 1, "--minutes", 0.3, "--beats", "E=0")
    done = ecglens(*few, "--leads", "V5,aVF", "--set", "fs=250", "--set", "muscle=0", "--out", tmp_path / "a")
    assert done.code == 0, done.err
    header = wfdb.rdheader(str(tmp_path / "a" / "s001"))
    assert (header.sig_name, header.fs, header.sig_len) == (["V5", "aVF"], 250, 4500)
    done = ecglens(*few, "--leads", "12", "--out", tmp_path / "b")
    assert done.code == 0, done.err
    assert wfdb.rdheader(str(tmp_path / "b" / "s001")).n_sig == 12


def test_the_same_words_give_the_same_bytes(ecglens: Callable, folder: Path, tmp_path: Path) -> None:
    assert ecglens("simulate", *TINY, "--seed", 2, "--out", tmp_path / "again").code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--minutes", "0"], "minutes is 0; expected 0.2 to 1440"),
        (["--minutes", "nan"], "minutes is nan; expected"),
        (["--minutes", "long"], "'long' is not a valid float"),
        (["--patients", "0"], "patients is 0; expected 1 to"),
        (["--patients", "2.5"], "'2.5' is not a valid integer"),
        (["--seed", "-1"], "seed is -1; expected 0 to"),
        (["--leads", "II,V1x"], "unknown lead 'V1x'; did you mean 'V1'?"),
        (["--leads", ""], "unknown lead ''"),
        (["--set", "heart_rate=0"], "heart_rate is 0; expected 30 to 150"),
        (["--set", "qrs_width=-1"], "qrs_width is -1; expected 0.5 to 1.6"),
        (["--set", "heart_rate=quick"], "expected a number (float)"),
        (["--set", "heart_rate=nan"], "heart_rate is nan; expected"),
        (["--set", "hart_rate=60"], "there is no such setting; did you mean 'heart_rate'?"),
        (["--set", "heart_rate"], "expected NAME=VALUE"),
        (["--beats", "Q=3"], "beats of class 'Q': expected one of L, R, P, A, j, V, E"),
        (["--beats", "V"], "expected CLASS=NUMBER, such as V=800"),
        (["--beats", "V=many"], "expected CLASS=NUMBER"),
        (["--beats", "V=-1"], "beats of V is -1; expected at least 0"),
        (["--carriers", "V=6"], "6 carriers of V among 5 patients; expected at most as many"),
        (["--beats", "V=4000"], "do not fit into 2 records of 0.4 minutes"),
        (["--carriers", "A=4"], "4 carriers of A, but only 3 of 5 patients can have it"),
        (["--leads", "II,II"], "lead II is asked for more than once"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_bad_words_are_answered_in_one_line_and_nothing_is_written(
    ecglens: Callable, tmp_path: Path, words: list[str], answer: str
) -> None:
    done = ecglens("simulate", *TINY, *words, "--out", tmp_path / "out")
    assert answer in done.complaint
    assert not list(tmp_path.iterdir())


def test_an_unknown_lead_names_all_known_ones(ecglens: Callable, tmp_path: Path) -> None:
    said = ecglens("simulate", "--leads", "II,V7", "--out", tmp_path / "out").complaint
    assert "known: I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6" in said


def test_a_folder_in_use_is_refused_and_an_empty_one_taken(ecglens: Callable, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    assert "is there and not empty" in ecglens("simulate", *TINY, "--out", tmp_path / "full").complaint
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert ecglens("simulate", *TINY, "--out", tmp_path / "empty").code == 0


def test_a_file_is_no_folder(ecglens: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "file" in ecglens("simulate", *TINY, "--out", tmp_path / "file").complaint
    assert "file" in ecglens("simulate", *TINY, "--out", tmp_path / "file" / "below").complaint
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("n_bytes", [1000, 20_000])
def test_a_full_disk_is_said_in_one_line(ecglens: Callable, tmp_path: Path, full_disk: Callable, n_bytes: int) -> None:
    with full_disk(n_bytes):
        done = ecglens("simulate", *TINY, "--out", tmp_path / "out")
    assert done.complaint
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_at_the_truth_is_said_in_one_line(ecglens: Callable, tmp_path: Path, full_disk: Callable) -> None:
    with full_disk(50_000):
        done = ecglens("simulate", *TINY, "--out", tmp_path / "out")
    assert done.complaint


def test_stopping_leaves_nothing_and_says_so(ecglens: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cohort, "write_record", stopped)
    done = ecglens("simulate", *TINY, "--out", tmp_path / "out")
    assert (done.code, done.err.splitlines()[-1][:16]) == (130, "ecglens: stopped")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------ a run on it


def test_a_run_knows_that_its_data_are_simulated(run: Path, folder: Path) -> None:
    metrics = metrics_of(run)
    assert metrics["data.kind"] == "simulated"
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert about["data"]["kind"] == "simulated"
    assert len(about["data"]["records"]) == 5
    assert metrics["maps.evidence_n"] > 10
    for name in ("recall", "without evidence", "evidence alone"):
        assert 0 <= metrics[f"evidence.accuracy.{name}"] <= 1
    assert metrics["evidence.accuracy.recall"] == pytest.approx(metrics["test.accuracy"])
    for name in ("evidence_maps", "evidence_test"):
        with (run / "tables" / f"{name}.csv").open(encoding="utf-8") as table:
            assert {"N", "R", "P"} & {row["class"] for row in csv.DictReader(table)}


def test_the_report_says_simulated_wherever_one_looks(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count('<div class="ribbon">SIMULATED ECGs: no person') == 1
    style = re.search(r"\.ribbon \{([^}]*)\}", page)
    assert style is not None
    assert "position: fixed" in style[1]  # in sight wherever one reads
    text = re.sub(r"<[^>]+>", " ", page)
    assert "SIMULATED ECGs: Simulated cohort of ecglens. For research only" in text
    assert "The evidence: known here, because the ECGs are simulated" in text


def test_each_figure_says_simulated_for_it_may_travel_alone(run: Path, stages: dict[str, Path]) -> None:
    figures = list((run / "figures").glob("*.svg"))
    assert len(figures) > 5
    assert [path.name for path in figures if "SIMULATED ECGs" not in path.read_text(encoding="utf-8")] == []
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count("SIMULATED ECGs") >= len(figures) + 2
    for path in (stages["complete"] / "figures").glob("*.svg"):
        assert "SIMULATED" not in path.read_text(encoding="utf-8")


def test_the_report_of_real_records_has_no_ribbon_and_no_evidence(stages: dict[str, Path]) -> None:
    page = (stages["complete"] / "report.html").read_text(encoding="utf-8")
    assert 'class="ribbon"' not in page
    assert "SIMULATED" not in page
    assert not [key for key in metrics_of(stages["complete"]) if "evidence" in key]
    assert not list((stages["complete"] / "tables").glob("evidence*"))


def test_the_report_can_be_drawn_again_with_its_ribbon(ecglens: Callable, run: Path) -> None:
    before = (run / "report.html").read_bytes()
    assert ecglens("report", run).code == 0
    assert (run / "report.html").read_bytes() == before


def test_the_published_recipe_runs_on_it(tiny_run: Callable, folder: Path, tmp_path: Path) -> None:
    settings = ("--set", "rows_at_most=64", "--set", "epochs=1", "--set", "explain_at_most=6")
    words = ("--recipe", "as-published", "--model", "cnn", *settings, "--stop-after", "analysis")
    done = tiny_run(tmp_path / "run", *words, data=folder)
    assert done.code == 0, done.err
    assert metrics_of(tmp_path / "run")["maps.method"] == "mean-activation"
    assert "evidence.accuracy.recall" in metrics_of(tmp_path / "run")


def test_a_split_by_patient_runs_on_it(tiny_run: Callable, folder: Path, tmp_path: Path) -> None:
    done = tiny_run(tmp_path / "run", "--split", "patients", "--stop-after", "examples", data=folder)
    assert done.code == 0, done.err


# ------------------------------------------------------------------------------------------------ damaged cohorts


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "own"))


def test_a_damaged_cohort_json_ends_in_one_line(tiny_run: Callable, own: Path, tmp_path: Path) -> None:
    (own / "cohort.json").write_text("{", encoding="utf-8")
    done = tiny_run(tmp_path / "run", "--stop-after", "examples", data=own)
    assert "cohort.json is not the description of a simulated cohort" in done.complaint


def test_a_record_with_damaged_evidence_is_left_out_by_name(tiny_run: Callable, own: Path, tmp_path: Path) -> None:
    (own / "s002.evidence.csv").write_text("x\n", encoding="utf-8")
    done = tiny_run(tmp_path / "run", "--stop-after", "examples", data=own)
    assert done.code == 0
    assert "left out: s002: s002.evidence.csv is not a table" in done.err


def test_no_evidence_at_all_ends_in_one_line(tiny_run: Callable, own: Path, tmp_path: Path) -> None:
    for path in own.glob("*.evidence.csv"):
        path.unlink()
    done = tiny_run(tmp_path / "run", "--stop-after", "examples", data=own)
    assert "s001.evidence.csv is missing" in done.complaint


def test_damaged_truth_ends_in_one_line(tiny_run: Callable, own: Path, tmp_path: Path) -> None:
    for path in own.glob("*.truth.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])
    done = tiny_run(tmp_path / "run", data=own)
    assert "truth.safetensors cannot be read (SafetensorError): damaged; simulate again" in done.complaint


# ------------------------------------------------------------------------------------------------ the built-in cohort


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, a tiny built-in cohort, and no real database."""
    monkeypatch.setattr(stand_in, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(stand_in, "BUILT_IN", Settings(patients=3, minutes=0.3, beats={"V": 3, "A": 3, "E": 0, "j": 0}))
    monkeypatch.setenv("ECGLENS_DATA", str(tmp_path / "nowhere"))
    return tmp_path / "cache"


def asked(ecglens: Callable, out: Path, *words: object) -> object:
    return ecglens("run", "jones2020", "--quick", "--stop-after", "examples", "--out", out, *words)


def test_the_word_simulated_makes_the_cohort_once(ecglens: Callable, cache: Path, tmp_path: Path) -> None:
    first = asked(ecglens, tmp_path / "one", "--data", "simulated")
    assert first.code == 0, first.err
    assert "making the simulated cohort (3 patients, 0.3 minutes)" in first.err
    (made,) = cache.iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in made.iterdir()}
    second = asked(ecglens, tmp_path / "two", "--data", "simulated")
    assert second.code == 0
    assert "making" not in second.err
    assert {path.name: path.stat().st_mtime_ns for path in made.iterdir()} == before
    assert (tmp_path / "one" / "examples.csv").read_bytes() == (tmp_path / "two" / "examples.csv").read_bytes()


def test_or_simulated_is_said_loudly(ecglens: Callable, cache: Path, tmp_path: Path) -> None:
    without = asked(ecglens, tmp_path / "run")
    assert "there is no folder" in without.complaint
    assert not cache.exists()
    done = asked(ecglens, tmp_path / "run", "--or-simulated")
    assert done.code == 0, done.err
    assert "SIMULATED ECGs are used instead" in done.err.splitlines()
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["data"]["kind"] == "simulated"


def test_or_simulated_does_not_replace_a_folder_that_was_named(ecglens: Callable, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wrong in ("empty", "missing"):
        done = asked(ecglens, tmp_path / "run", "--or-simulated", "--data", tmp_path / wrong)
        assert "--data" in done.complaint
    assert not cache.exists()
    assert not (tmp_path / "run").exists()


def test_or_simulated_does_not_replace_a_database_that_is_there(
    ecglens: Callable, cache: Path, tiny_data: Path, tmp_path: Path
) -> None:
    done = asked(ecglens, tmp_path / "run", "--or-simulated", "--data", tiny_data)
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["data"]["kind"] == "real"
    assert not cache.exists()
