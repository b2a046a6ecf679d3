"""Bad input ends in one line and nothing that looks whole, or in a skip that is named and counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb

import ecglens.training.fit as fitting
from ecglens.recordings.databases import DATABASES
from ecglens.runs import COMPLETE


def about(path: Path) -> dict:
    return json.loads((path / "run.json").read_text(encoding="utf-8"))


def expect_not_whole(path: Path) -> None:
    """Nothing that could be taken for a complete run, and no half-written file."""
    if (path / "run.json").is_file():
        assert about(path)["status"] != COMPLETE
    assert not (path / "report.html").exists()
    assert not list(path.rglob("*.part"))


# ------------------------------------------------------------------------------------------------ records to be skipped


def first_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flat_lead(digital: np.ndarray) -> None:
    digital[:, 1] = 1100


def wrong_checksum(path: Path) -> None:
    words = path.read_text().splitlines()
    lead = words[1].split()
    lead[6] = str(int(lead[6]) % 30_000 + 1)
    path.write_text("\n".join([words[0], " ".join(lead), *words[2:]]) + "\n")


# name of a record to what is done to it and what is said then; the folder, record and `write_record` are handed in
SPOILED: dict[str, tuple[Callable[[Path, str, Callable[..., Path]], object], str]] = {
    "101": (lambda folder, name, _: first_half(folder / f"{name}.dat"), "truncated or damaged"),
    "103": (lambda folder, name, _: (folder / f"{name}.atr").unlink(), "103.atr is missing"),
    "105": (lambda folder, name, _: (folder / f"{name}.dat").unlink(), "105.dat is missing"),
    "106": (lambda folder, name, _: wrong_checksum(folder / f"{name}.hea"), "checksum of lead MLII"),
    "108": (lambda folder, name, write: write(folder, name, edit=flat_lead), "lead V1 of 108 is flat"),
    "111": (lambda folder, name, write: write(folder, name, fs=250), "sampled at 250 Hz; mitdb has 360 Hz"),
    "112": (lambda folder, name, write: write(folder, name, leads=("MLII",)), "has 1 lead (MLII); 2 are needed"),
    "113": (lambda folder, name, _: (folder / f"{name}.hea").write_text(""), "113.hea is not a WFDB header"),
    "115": (lambda folder, name, _: (folder / f"{name}.atr").write_bytes(b""), "115.atr has no beat marks"),
    "116": (lambda folder, name, write: write(folder, name, units="mmHg"), "signal unit is 'mmHg'"),
    "117": (lambda folder, name, _: shutil.copy(folder / "207.atr", folder / f"{name}.atr"), "do not belong together"),
}


@pytest.fixture
def spoil(own_data: Path, write_record: Callable[..., Path]) -> Callable[[str], str]:
    """Puts the spoiled record of that name into `own_data` and returns what should be said of it."""

    def put(name: str) -> str:
        damage, said = SPOILED[name]
        write_record(own_data / "mitdb", name, seconds=20)
        damage(own_data / "mitdb", name, write_record)
        return said

    return put


def skipped_lines(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("left out: ")]


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_record_is_left_out_by_name_and_the_rest_goes_on(
    tiny_run: Callable, own_data: Path, tmp_path: Path, spoil: Callable[[str], str], name: str
) -> None:
    said = spoil(name)
    done = tiny_run(tmp_path / "run", "--stop-after", "examples", data=own_data)
    assert done.code == 0, done.err
    (line,) = skipped_lines(done.err)
    assert line.startswith(f"left out: {name}: ")
    assert said in line
    data = about(tmp_path / "run")["data"]
    assert data["records"] == ["100", "109", "118", "207"]
    assert [(item["record"], item["beats"]) for item in data["skipped"]] == [(name, 0)]
    assert said in data["skipped"][0]["reason"]
    assert name not in data["missing"]


def test_a_run_with_every_kind_of_spoiled_record_completes_and_reports_each(
    tiny_run: Callable, own_data: Path, tmp_path: Path, spoil: Callable[[str], str]
) -> None:
    for name in SPOILED:
        spoil(name)
    few = ("--set", "epochs=1", "--set", "explain_at_most=4")
    # fifteen records are more than --quick takes, so it is told by --set
    done = tiny_run(tmp_path / "run", *few, data=own_data, quick=False)
    assert done.code == 0, done.err
    assert len(skipped_lines(done.err)) == len(SPOILED)
    assert about(tmp_path / "run")["status"] == COMPLETE
    assert {item["record"] for item in about(tmp_path / "run")["data"]["skipped"]} == set(SPOILED)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert [name for name in SPOILED if f"Left out: {name}: " not in page] == []


def test_a_header_date_that_wfdb_rejects_costs_no_record(tiny_run: Callable, own_data: Path, tmp_path: Path) -> None:
    header = own_data / "mitdb" / "100.hea"
    header.write_text(header.read_text().replace("\n", " 25:61:00 99/99/9999\n", 1))
    with pytest.raises(ValueError):
        wfdb.rdheader(str(header.with_suffix("")))
    done = tiny_run(tmp_path / "run", "--stop-after", "examples", data=own_data)
    assert done.code == 0, done.err
    assert about(tmp_path / "run")["data"]["records"] == ["100", "109", "118", "207"]
    assert skipped_lines(done.err) == []


def test_a_mark_that_outlives_the_signal_costs_the_mark_and_is_said_in_run_and_report_and_not_the_record(
    tiny_run: Callable, own_data: Path, tmp_path: Path
) -> None:
    folder = own_data / "mitdb"
    marks = wfdb.rdann(str(folder / "109"), "atr")
    samples, symbols = [*marks.sample, 60 * 360 + 90], [*marks.symbol, "L"]
    wfdb.wrann("109", "atr", np.array(samples), np.array(symbols), aux_note=[*marks.aux_note, ""], write_dir=str(folder))
    done = tiny_run(tmp_path / "run", data=own_data)
    assert done.code == 0, done.err
    said = f"1 of the {len(samples)} marks in 109.atr lie behind the signal's end at 60.00 s and are left out: at 60.25 s"
    assert said in done.err
    assert about(tmp_path / "run")["data"]["remarks"] == [f"109: {said}"]
    assert said.replace("'", "&#39;") in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "109" in about(tmp_path / "run")["data"]["records"]


def test_beats_on_invalid_samples_are_counted_and_left_out_and_the_record_stays(
    tiny_run: Callable, own_data: Path, tmp_path: Path, write_record: Callable[..., Path]
) -> None:
    def gap(digital: np.ndarray) -> None:
        digital[5000:5600, 0] = -2048

    write_record(own_data / "mitdb", "100", seconds=60, beats="NNNNNA", edit=gap)
    marks = wfdb.rdann(str(own_data / "mitdb" / "100"), "atr")
    beats = [sample for sample, symbol in zip(marks.sample, marks.symbol, strict=True) if symbol in "NA"]
    hit = sum(any(5000 <= at < 5600 for at in range(sample - 215, sample + 215)) for sample in beats)
    assert hit > 1
    done = tiny_run(tmp_path / "run", "--stop-after", "examples", data=own_data)
    assert done.code == 0, done.err
    assert skipped_lines(done.err) == [f"left out: 100: {hit} beats hold invalid (NaN) samples"]
    said = about(tmp_path / "run")
    assert [(item["record"], item["beats"]) for item in said["data"]["skipped"]] == [("100", hit)]
    assert "100" in said["data"]["records"]
    assert said["beats"]["of_classes"] - said["beats"]["kept"] == hit
    rows = (tmp_path / "run" / "examples.csv").read_text().splitlines()
    assert sum(row.startswith("mitdb/100/") for row in rows) == len(beats) - hit


def test_a_run_in_which_every_record_is_spoiled_is_one_line(tiny_run: Callable, own_data: Path, tmp_path: Path) -> None:
    for path in (own_data / "mitdb").glob("*.dat"):
        first_half(path)
    said = tiny_run(tmp_path / "run", data=own_data).complaint
    assert "no beat of the classes" in said
    assert "100" in said
    expect_not_whole(tmp_path / "run")


def test_records_without_a_beat_of_the_classes_are_one_line(
    tiny_run: Callable, tmp_path: Path, write_record: Callable[..., Path]
) -> None:
    write_record(tmp_path / "data" / "mitdb", "100", beats="/")
    assert (
        "no beat of the classes N, S, V, F"
        in tiny_run(tmp_path / "run", "--classes", "aami", data=tmp_path / "data").complaint
    )
    expect_not_whole(tmp_path / "run")


# ------------------------------------------------------------------------------------------------ folders


def test_an_empty_database_folder_is_one_line_with_what_to_do(tiny_run: Callable, tmp_path: Path) -> None:
    (tmp_path / "data" / "mitdb").mkdir(parents=True)
    said = tiny_run(tmp_path / "run", data=tmp_path / "data").complaint
    assert "holds no record of mitdb; expected files such as 100.hea" in said
    assert "ecglens data fetch mitdb" in said
    expect_not_whole(tmp_path / "run")


def test_a_data_folder_that_is_not_there_or_holds_no_database_is_one_line(tiny_run: Callable, tmp_path: Path) -> None:
    assert "there is no folder" in tiny_run(tmp_path / "run", data=tmp_path / "nowhere").complaint
    assert "holds no folder mitdb/" in tiny_run(tmp_path / "run", data=tmp_path).complaint
    assert not (tmp_path / "run").exists()


def test_a_data_folder_of_the_environment_that_is_not_there_is_one_line(
    ecglens: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECGLENS_DATA", str(tmp_path / "nowhere"))
    said = ecglens("run", "jones2020", "--quick", "--out", tmp_path / "run").complaint
    assert said.startswith("ecglens: $ECGLENS_DATA: there is no folder")


def test_an_out_that_is_a_file_is_one_line_and_the_file_stays(tiny_run: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "is a file" in tiny_run(tmp_path / "file").complaint
    assert "--out" in tiny_run(tmp_path / "file" / "run").complaint
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)], ids=["", "overwrite"])
def test_an_out_with_files_of_somebody_else_is_one_line_and_they_stay(
    tiny_run: Callable, tmp_path: Path, overwrite: tuple[str, ...]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    assert "is not empty and holds no run" in tiny_run(tmp_path / "thesis", *overwrite).complaint
    assert [each.name for each in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]


def test_data_that_are_not_enough_for_a_split_are_one_line(
    tiny_run: Callable, tmp_path: Path, write_record: Callable[..., Path]
) -> None:
    said = tiny_run(tmp_path / "run", "--split", "leave-patients-out").complaint
    assert "no beat for the test side: it takes records 104, 113, 119, 208, 210, here are 100, 109, 118, 207" in said
    expect_not_whole(tmp_path / "run")
    for record in ("201", "202"):
        write_record(tmp_path / "data" / "mitdb", record)
    said = tiny_run(tmp_path / "other", "--split", "patients", data=tmp_path / "data").complaint
    assert "there is one patient (201)" in said
    expect_not_whole(tmp_path / "other")


# ------------------------------------------------------------------------------------------------ words


WORDS = [
    (["--recipe", "corected"], "unknown recipe 'corected'; did you mean 'corrected'"),
    (["--model", "cmn"], "unknown model 'cmn'; did you mean 'cnn'"),
    (["--split", "holdut"], "unknown split 'holdut'; did you mean 'holdout'"),
    (["--classes", "five"], "unknown set of classes 'five' (choose from: aami, jones)"),
    (["--stop-after", "trainig"], "unknown stage 'trainig'; did you mean 'training'"),
    (["--set", "epochz=3"], "there is no such option; did you mean 'epochs'"),
    (["--set", "epochs"], "expected NAME=VALUE"),
    (["--set", "epochs=many"], "--set epochs=many: expected a number (int)"),
    (["--set", "epochs=2.5"], "--set epochs=2.5: expected a number (int)"),
    (["--set", "rate=fast"], "--set rate=fast: expected a number (float)"),
    (["--set", "bf16=yes"], "--set bf16=yes: expected true or false"),
    (["--set", "extent=whole"], "unknown extent 'whole'"),
    (["--set", "neighbours=all"], "unknown neighbours 'all'"),
    (["--set", "padding=left"], "unknown padding 'left'"),
    (["--set", "loss=hinge"], "'hinge'"),
    (["--set", "optimiser=lion"], "unknown optimiser 'lion'"),
    (["--set", "schedule=cosine"], "unknown schedule 'cosine'"),
    (["--set", "keep=first"], "unknown keep 'first'"),
    (["--set", "scale=big"], "'big'"),
    (["--set", "resample=smote"], "'smote'"),
    (["--set", "validation=random"], "'random'"),
    (["--set", "average_over=none"], "'none'"),
    (["--set", "map_of=lime"], "'lime'"),
    (["--set", "epochs=0"], "epochs is 0"),
    (["--set", "batch=1"], "batch 1"),
    (["--set", "length=1"], "length is 1"),
    (["--set", "rate=-1"], "rate"),
    (["--set", "rate=nan"], "rate"),
    (["--set", "weight_decay=-1"], "weight_decay"),
    (["--set", "patience=-1"], "patience"),
    (["--set", "gain_jitter=-1"], "gain_jitter"),
    (["--set", "rr_drop=2"], "rr_drop"),
    (["--set", "explain_at_most=0"], "explain_at_most"),
    (["--set", "explain_at_most=-5"], "explain_at_most"),
    (["--set", "rows_at_most=-5"], "rows_at_most"),
    (["--seed", "-1"], "--seed"),
    (["--seed", "one"], "--seed"),
]


@pytest.mark.parametrize(("words", "said"), WORDS, ids=[" ".join(words) for words, _ in WORDS])
def test_a_word_that_is_not_understood_is_one_line_before_any_work(
    tiny_run: Callable, tmp_path: Path, words: list[str], said: str
) -> None:
    assert said in tiny_run(tmp_path / "run", *words).complaint
    assert not (tmp_path / "run").exists()


def test_an_unknown_study_is_one_line(ecglens: Callable, tmp_path: Path) -> None:
    done = ecglens("run", "jones2021", "--out", tmp_path / "run")
    known = "did you mean 'jones2020'? (choose from: habeeb2024, jones2020, lin2020, varandas2021, vijayarangan2020)"
    assert done.complaint == f"ecglens: unknown study 'jones2021'; {known}"
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------------------ a disk that is full


# stage that is done to the largest file that still fits; what comes next does not
@pytest.mark.parametrize(
    ("done_before", "n_bytes", "stage"),
    [
        (None, 100, "examples"),
        (None, 5_000, "examples"),
        ("examples", 100_000, "training"),
        ("training", 4_000, "attribution"),
        ("training", 500_000, "attribution"),
        ("attribution", 50_000, "analysis"),
        ("analysis", 600_000, None),
    ],
)
def test_a_disk_that_runs_full_is_one_line_and_the_same_command_goes_on_later(
    tiny_run: Callable,
    own_stage: Callable[[str], Path],
    full_disk: Callable,
    tmp_path: Path,
    done_before: str | None,
    n_bytes: int,
    stage: str | None,
) -> None:
    path = own_stage(done_before) if done_before else tmp_path / "run"
    until = ("--stop-after", stage) if stage else ()
    with full_disk(n_bytes):
        done = tiny_run(path, *until)
    assert "File too large" in done.complaint
    expect_not_whole(path)
    done = tiny_run(path, *until)
    assert done.code == 0, done.err
    if stage is None:
        assert about(path)["status"] == COMPLETE


# ------------------------------------------------------------------------------------------------ damaged run folders


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


def with_changes(**changes: object) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def other_weights(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"stem.weight": np.zeros(3, np.float32)}, path)


def other_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((2, 2)))


MODEL, WEIGHTS, PLAN, SHARD = "model.json", "model.safetensors", "attributions/plan.json", "attributions/shard-00000"
DAMAGED_MODEL = {
    "no JSON": (MODEL, text("{")),
    "empty JSON": (MODEL, text("{}")),
    "a list": (MODEL, text("[]")),
    "no length": (MODEL, with_changes(length=None)),
    "no length at all": (MODEL, with_changes(length=0)),
    "unknown model": (MODEL, with_changes(name="transformer")),
    "unknown scale": (MODEL, with_changes(scale="big")),
    "unknown activation": (MODEL, with_changes(activation="relu")),
    "thresholds of other classes": (MODEL, with_changes(activation="sigmoid", thresholds=[0.5])),
    "thresholds in words": (MODEL, with_changes(thresholds=["low"] * 8)),
    "other classes": (MODEL, with_changes(classes=list("ABCDEFGH"))),
    "fewer classes": (MODEL, with_changes(classes=["N", "V"])),
    "a class twice": (MODEL, with_changes(classes=["N"] * 8)),
    "other rate": (MODEL, with_changes(fs=250)),
    "cut weights": (WEIGHTS, truncated),
    "empty weights": (WEIGHTS, text("")),
    "weights of another model": (WEIGHTS, other_weights),
}


@pytest.mark.parametrize("what", DAMAGED_MODEL)
def test_a_damaged_model_is_one_line_and_the_run_does_not_go_on(
    tiny_run: Callable, own_stage: Callable[[str], Path], what: str
) -> None:
    name, damage = DAMAGED_MODEL[what]
    path = own_stage("training")
    damage(path / name)
    _ = tiny_run(path, "--stop-after", "attribution").complaint
    expect_not_whole(path)
    assert not (path / "metrics.json").exists()


def with_rows(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        rows = np.load(path)
        with path.open("wb") as file:
            np.save(file, change(rows))

    return damage


DAMAGED_MAPS = {
    "cut maps": (f"{SHARD}/saliency.npy", truncated),
    "no maps": (f"{SHARD}/saliency.npy", text("")),
    "maps of another shape": (f"{SHARD}/saliency.npy", other_array),
    "maps are gone": (f"{SHARD}/saliency.npy", Path.unlink),
    "no JSON": (PLAN, text("{")),
    "empty JSON": (PLAN, text("{}")),
    "a list": (PLAN, text("[]")),
    "maps of another model": (PLAN, with_changes(model="0123456789abcdef")),
    "maps of other rows": (PLAN, with_changes(asked="0123456789abcdef")),
    "fewer rows": (f"{SHARD}/rows.npy", with_rows(lambda rows: rows[:1])),
    "cut rows": (f"{SHARD}/rows.npy", truncated),
    "rows that are not there": (f"{SHARD}/rows.npy", with_rows(lambda rows: rows + 10**9)),
}


@pytest.mark.parametrize(
    "what",
    DAMAGED_MAPS,
)
def test_damaged_maps_are_one_line_and_the_run_does_not_go_on(
    tiny_run: Callable, own_stage: Callable[[str], Path], what: str
) -> None:
    name, damage = DAMAGED_MAPS[what]
    path = own_stage("attribution")
    damage(path / name)
    assert "attributions" in tiny_run(path, "--stop-after", "analysis").complaint
    expect_not_whole(path)


def checkpoint_of_something_else(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3, np.float32)}, path, metadata={"state": "7"})


@pytest.fixture(scope="module")
def interrupted(tiny_run: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped by hand in the middle of training."""

    def then_stop(folder: Path, state: dict) -> None:
        save(folder, state)
        raise KeyboardInterrupt

    save, path = fitting.save_checkpoint, tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "save_checkpoint", then_stop)
        assert tiny_run(path).code == 130
    return path


CHECKPOINTS = {
    "cut": truncated,
    "empty": text(""),
    "no checkpoint": text("no checkpoint"),
    "of something else": other_weights,
    "without a state": checkpoint_of_something_else,
}


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_a_damaged_checkpoint_is_one_line_that_says_what_to_do(
    tiny_run: Callable, interrupted: Path, tmp_path: Path, what: str
) -> None:
    path = Path(shutil.copytree(interrupted, tmp_path / "run"))
    CHECKPOINTS[what](path / "checkpoint.safetensors")
    assert "checkpoint.safetensors is damaged" in tiny_run(path, "--stop-after", "training").complaint
    expect_not_whole(path)


def test_training_starts_anew_where_a_damaged_checkpoint_was_deleted(
    tiny_run: Callable, interrupted: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(interrupted, tmp_path / "run"))
    (path / "checkpoint.safetensors").unlink()
    done = tiny_run(path, "--stop-after", "training")
    assert done.code == 0, done.err
    assert "epoch 1/3" in done.err


def test_data_that_changed_since_are_not_mixed_with_maps_made_before(
    tiny_run: Callable, own_stage: Callable[[str], Path], own_data: Path, write_record: Callable[..., Path]
) -> None:
    """Rows of the maps are counted over all examples: with one more record they would point at other beats."""
    path = own_stage("attribution")
    write_record(own_data / "mitdb", "101", seconds=30)
    assert "another" in tiny_run(path, "--stop-after", "analysis", data=own_data).complaint
    assert "101" not in about(path)["data"]["records"]


DAMAGED_REPORTS = {
    "metrics cut": ("metrics.json", truncated),
    "metrics empty": ("metrics.json", text("")),
    "metrics without content": ("metrics.json", text("{}")),
    "metrics a list": ("metrics.json", text("[]")),
    "metrics gone": ("metrics.json", Path.unlink),
    "a table gone": ("tables/examples.csv", Path.unlink),
    "a table empty": ("tables/confusion.csv", text("")),
    "a table of something else": ("tables/paper_per_class.csv", text("a,b\n1,2\n")),
    "run.json cut": ("run.json", truncated),
    "run.json a list": ("run.json", text("[]")),
    "run.json of something else": ("run.json", text('{"status": "complete", "asked": {}}')),
    "run.json of another study": ("run.json", with_changes(asked={"study": "smith1999"})),
}


@pytest.mark.parametrize("what", DAMAGED_REPORTS)
def test_a_report_on_a_damaged_run_is_one_line_and_the_old_page_stays(
    ecglens: Callable, own_stage: Callable[[str], Path], what: str
) -> None:
    name, damage = DAMAGED_REPORTS[what]
    path = own_stage("complete")
    before = (path / "report.html").read_bytes()
    damage(path / name)
    assert path.name in ecglens("report", path).complaint
    assert (path / "report.html").read_bytes() == before


def test_a_report_on_what_is_no_run_is_one_line(ecglens: Callable, stages: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "holds no run.json" in ecglens("report", tmp_path).complaint
    assert "holds no run.json" in ecglens("report", tmp_path / "nowhere").complaint
    assert "is a file" in ecglens("report", tmp_path / "file").complaint
    assert "holds no run.json" in ecglens("report", stages["complete"], "--beside", tmp_path).complaint
    three = [word for _ in range(2) for word in ("--beside", stages["complete"])]
    assert "2 runs are given to --beside; jones2020 takes at most 1" in ecglens("report", stages["complete"], *three).complaint


@pytest.mark.parametrize("stage", ["examples", "training", "attribution", "analysis"])
def test_a_report_on_a_run_that_is_not_complete_is_one_line(ecglens: Callable, stages: dict[str, Path], stage: str) -> None:
    said = ecglens("report", stages[stage]).complaint
    assert "is not complete (it is 'stopped as asked')" in said
    assert said.endswith("without --stop-after")
    expect_not_whole(stages[stage])


@pytest.mark.parametrize("stage", ["examples", "analysis"])
def test_a_run_that_is_not_complete_is_not_put_beside_another(
    ecglens: Callable, own_stage: Callable[[str], Path], stages: dict[str, Path], stage: str
) -> None:
    path = own_stage("complete")
    before = (path / "report.html").read_bytes()
    assert "is not complete" in ecglens("report", path, "--beside", stages[stage]).complaint
    assert (path / "report.html").read_bytes() == before


def test_a_training_that_goes_astray_is_one_line(tiny_run: Callable, tmp_path: Path) -> None:
    assert "training loss became" in tiny_run(tmp_path / "run", "--set", "rate=1e30", "--set", "bf16=false").complaint
    expect_not_whole(tmp_path / "run")


def test_the_database_knows_every_record_that_these_tests_spoil() -> None:
    assert set(SPOILED) <= set(DATABASES["mitdb"].records)
