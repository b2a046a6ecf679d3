"""jones2020 from files to the report: on small synthetic records, and quick runs on real ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from ecglens.models import load


def _metrics(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def published_run(tiny_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As published, the CNN, on the synthetic records."""
    out = tmp_path_factory.mktemp("published") / "run"
    settings = ("--set", "rows_at_most=64", "--set", "epochs=1", "--set", "explain_at_most=6")
    done = tiny_run(out, "--recipe", "as-published", "--model", "cnn", *settings)
    assert done.code == 0, done.err
    return out


def test_a_run_folder_holds_all_that_the_design_names(stages: dict[str, Path]) -> None:
    run = stages["complete"]
    for name in (
        "run.json", "model.safetensors", "model.json", "metrics.json", "examples.csv", "predictions.csv", "report.html",
        "tables/examples.csv", "tables/profiles.csv", "figures/figure-7-class-maps.svg", "attributions/plan.json",
        "attributions/shard-00000/saliency.npy",
    ):  # fmt: skip
        assert (run / name).is_file(), name
    assert not list(run.rglob("*.part"))


def test_the_numbers_of_a_run_follow_from_its_own_predictions(stages: dict[str, Path]) -> None:
    run = stages["complete"]
    metrics = _metrics(run)
    rows = pd.read_csv(run / "predictions.csv", keep_default_na=False)
    assert metrics["test.n"] == len(rows)
    assert metrics["test.accuracy"] == pytest.approx((rows["label"] == rows["predicted"]).mean())
    present = sorted(rows["label"].unique())
    each = f1_score(rows["label"], rows["predicted"], labels=metrics["classes"], average=None, zero_division=0)
    assert metrics["test.macro_f1_all"] == pytest.approx(each.mean())
    by_name = dict(zip(metrics["classes"], each, strict=True))
    assert metrics["test.macro_f1"] == pytest.approx(np.mean([by_name[name] for name in present]))
    assert metrics["test.per_class.V.f1"] == pytest.approx(by_name["V"])
    assert metrics["data.kind"] == "real"


def test_examples_csv_counts_what_training_really_draws(stages: dict[str, Path]) -> None:
    run = stages["complete"]
    rows = pd.read_csv(run / "examples.csv", keep_default_na=False)
    assert set(rows.loc[rows["times_drawn"] > 0, "split"]) == {"train"}
    assert rows["times_drawn"].sum() == _metrics(run)["train.rows"]
    counted = pd.read_csv(run / "tables/examples.csv", dtype={"patient": str}, keep_default_na=False)
    assert counted["n"].sum() == len(rows)
    assert list(counted.columns) == ["class", "patient", "n"]
    assert not counted.duplicated(["class", "patient"]).any()


def test_the_published_map_does_not_depend_on_the_class_and_the_corrected_one_does(published_run: Path) -> None:
    metrics = _metrics(published_run)
    assert metrics["maps.method"] == "mean-activation"
    assert metrics["maps.class_change.mean-activation"] == 0
    assert metrics["maps.class_change.saliency"] > 0.01


def test_the_published_run_has_48_segments_and_joined_leads(published_run: Path) -> None:
    profiles = pd.read_csv(published_run / "tables/profiles.csv", keep_default_na=False)
    assert len(profiles[["lead", "region"]].drop_duplicates()) == 48
    model = load(published_run)
    assert (model.leads, model.length, model.n_values) == (("lead 1 + lead 2",), 860, 637_672)
    maps = np.load(published_run / "attributions/shard-00000/mean-activation.npy", mmap_mode="r")
    assert maps.min() == 0
    assert maps.max() == pytest.approx(1, abs=1e-3)


def test_the_corrected_run_has_24_segments(stages: dict[str, Path]) -> None:
    profiles = pd.read_csv(stages["complete"] / "tables/profiles.csv", keep_default_na=False, na_values=[""])
    assert len(profiles[["lead", "region"]].drop_duplicates()) == 24
    assert profiles.loc[profiles["n"] < 5, ["q25", "q75"]].isna().all().all()


def test_the_report_says_what_a_reader_must_know(stages: dict[str, Path], published_run: Path) -> None:
    page = (stages["complete"] / "report.html").read_text(encoding="utf-8")
    for words in ("research only", "REAL ECGs", "LEAKAGE", "as-published", "A quick run", "patients are on both sides"):
        assert words in page, words
    assert not re.search(r"""(src|href)=["']https?://""", page)
    assert "the same map to the last digit" in (published_run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", ["lstm", "resnet-rr"])
def test_every_model_goes_the_whole_way(tiny_run: Callable[..., Any], tmp_path: Path, model: str) -> None:
    settings = ("--set", "rows_at_most=64", "--set", "epochs=1", "--set", "explain_at_most=6")
    done = tiny_run(tmp_path / "run", "--model", model, *settings)
    assert done.code == 0, done.err
    assert ("rr.share_median" in _metrics(tmp_path / "run")) is (model == "resnet-rr")


def test_the_usual_beat_comes_as_further_rows(tiny_run: Callable[..., Any], tmp_path: Path) -> None:
    settings = ("--set", "usual_beat=true", "--set", "scale=usual", "--set", "rows_at_most=64", "--set", "explain_at_most=6")
    done = tiny_run(tmp_path / "run", *settings)
    assert done.code == 0, done.err
    assert load(tmp_path / "run").leads == ("lead 1", "lead 2", "usual lead 1", "usual lead 2")


def test_two_runs_can_stand_side_by_side(
    ecglens: Callable[..., Any], own_stage: Callable[[str], Path], published_run: Path
) -> None:
    run = own_stage("complete")
    done = ecglens("report", run, "--beside", published_run)
    assert done.code == 0, done.err
    assert "What the difference did to the numbers" in (run / "report.html").read_text(encoding="utf-8")


def test_a_quick_run_on_real_records_learns(ecglens: Callable[..., Any], data_root: Path, tmp_path: Path) -> None:
    """Ten real records, one short training: well above 'always normal', every table and figure drawn."""
    settings = ("--set", "rows_at_most=6000", "--set", "epochs=1", "--set", "explain_at_most=40")
    done = ecglens("run", "jones2020", "--quick", *settings, "--data", data_root, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    metrics = _metrics(tmp_path / "run")
    assert len(metrics["classes"]) == 8
    assert metrics["test.macro_f1"] > 0.5 > metrics["test.always_normal.macro_f1"]


@pytest.mark.parametrize(("recipe", "shared"), [("as-published", ["201"]), ("corrected", [])])
def test_ds1_ds2_on_real_records_names_the_shared_person_or_leaves_him_out(
    ecglens: Callable[..., Any], data_root: Path, tmp_path: Path, recipe: str, shared: list[str]
) -> None:
    done = ecglens(
        "run", "jones2020", "--recipe", recipe, "--split", "ds1-ds2", "--classes", "aami", "--stop-after", "examples",
        "--data", data_root, "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    about = json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))
    assert about["shared_patients"] == shared
    assert about["status"] == "stopped as asked"
    assert ("tested, so not trained on: patient 201" in done.err) == (not shared)


def test_what_was_mended_in_a_record_is_said(
    tiny_run: Callable[..., Any], write_record: Callable[..., Path], tmp_path: Path
) -> None:
    write_record(tmp_path / "data/mitdb", "114", leads=("V5", "MLII"), beats="NNNNV")
    done = tiny_run(tmp_path / "run", "--stop-after", "examples", data=tmp_path / "data")
    assert done.code == 0, done.err
    about = json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))
    assert about["data"]["remarks"] == ["114: leads put in the order MLII, V5"]
    assert "114: leads put in the order MLII, V5" in done.err


def test_the_report_of_the_published_lstm_says_that_the_paper_has_no_map_of_it(
    tiny_run: Callable[..., Any], tmp_path: Path
) -> None:
    settings = ("--set", "rows_at_most=32", "--set", "epochs=1", "--set", "explain_at_most=4")
    done = tiny_run(tmp_path / "run", "--recipe", "as-published", "--model", "lstm", *settings)
    assert done.code == 0, done.err
    assert "The paper explains only its CNN" in (tmp_path / "run/report.html").read_text(encoding="utf-8")
