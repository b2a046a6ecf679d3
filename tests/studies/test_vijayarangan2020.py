"""vijayarangan2020 from files to the report: on small synthetic records, and on a few real ones."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wfdb
from sklearn.metrics import f1_score

from ecglens.attribution.attributions import read_attributions
from ecglens.models import ecgnet, hannun, load, zihlmann
from ecglens.recordings.databases import database
from ecglens.runs import start_run
from ecglens.studies.options import differences
from ecglens.studies.vijayarangan2020 import ask, kept_epochs
from ecglens.studies.vijayarangan2020_material import overlap_share, prepare
from ecglens.studies.vijayarangan2020_recipe import REASONS, recipe_for
from made import make_examples

_SHORT = (
    "epochs=2", "batch=16", "per_class=25", "mask_steps=3", "masked_per_class=2", "explained_per_class=5",
    "course_per_class=2",
)  # fmt: skip
# what only has to go through
_SHORTEST = (
    "epochs=1", "batch=16", "per_class=10", "mask_steps=2", "masked_per_class=1", "explained_per_class=2",
    "course_per_class=1", "mask_starts=1", "starts=1",
)  # fmt: skip


def _metrics(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def _table(run: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(run / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


@pytest.fixture(scope="module", autouse=True)
def narrow() -> Iterator[None]:
    """The three large nets with all their layers but a quarter of the filters: nothing here depends on their number.

    Ten to seventeen million values were most of the time; tests/models has their true sizes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hannun, "_FIRST", hannun._FIRST // 4)
        patch.setattr(zihlmann, "_FIRST", zihlmann._FIRST // 4)
        patch.setattr(ecgnet, "_CHANNELS", tuple(channels // 4 for channels in ecgnet._CHANNELS))
        yield


@pytest.fixture(scope="module")
def short_run(ecglens: Callable[..., Any], tiny_data: Path) -> Callable[..., Any]:
    """Runs the study on the synthetic records in some seconds: short_run(out, "--model", "ecgnet")."""

    def call(out: Path, *words: object, data: Path = tiny_data, settings: tuple[str, ...] = _SHORT) -> Any:
        settings = tuple(word for setting in settings for word in ("--set", setting))
        return ecglens("run", "vijayarangan2020", "--quick", *settings, "--data", data, "--out", out, *words)

    return call


@pytest.fixture(scope="module")
def run(short_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vijayarangan") / "run"
    done = short_run(out, "--split", "shuffled")
    assert done.code == 0, done.err
    return out


def test_a_run_folder_holds_all_that_the_design_names(run: Path) -> None:
    for name in (
        "run.json", "model.safetensors", "model.json", "metrics.json", "examples.csv", "predictions.csv", "report.html",
        "tables/examples.csv", "tables/branches.csv", "tables/deletion.csv", "tables/course.csv", "tables/expected.csv",
        "tables/origin-patient-told.csv", "tables/origin-patient-leaning.csv", "figures/figure-6-course.svg",
        "attributions/one-pass/plan.json", "attributions/mask/plan.json", "attributions/mask-lstm/plan.json",
        "snapshots/epoch-000.safetensors", "snapshots/epoch-002.safetensors", "starts/1/model.safetensors",
    ):  # fmt: skip
        assert (run / name).is_file(), name
    assert not list(run.rglob("*.part"))


def test_the_numbers_of_a_run_follow_from_its_own_predictions(run: Path) -> None:
    metrics, rows = _metrics(run), pd.read_csv(run / "predictions.csv", keep_default_na=False)
    assert metrics["test.n"] == len(rows)
    assert metrics["test.accuracy"] == pytest.approx((rows["label"] == rows["predicted"]).mean())
    each = f1_score(rows["label"], rows["predicted"], labels=metrics["classes"], average=None, zero_division=0)
    assert metrics["test.macro_f1_all"] == pytest.approx(each.mean())


def test_classes_that_the_records_do_not_hold_are_left_out_and_named(run: Path) -> None:
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert _metrics(run)["classes"] == ["N", "PVC", "PAC", "LBBB", "RBBB"]
    assert set(about["missing_classes"]) == {"AFIB", "SVTA", "SBR"}
    assert "(SBR" in about["missing_classes"]["SBR"]
    assert "LTAFDB" in about["missing_classes"]["SBR"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Missing: class SBR" in page


def test_a_shuffled_split_has_a_fifth_of_so_many_of_each_class_to_test(run: Path) -> None:
    rows = pd.read_csv(run / "examples.csv", keep_default_na=False)
    used = rows[rows["split"] != "unused"]
    for _, mine in used.groupby("label"):
        assert len(mine) <= 25
        assert (mine["split"] == "test").sum() == round(0.2 * len(mine))
    assert set(rows.loc[rows["times_drawn"] > 0, "split"]) == {"train"}


def test_the_parts_of_the_logit_add_up_and_the_shares_lie_between_0_and_1(run: Path) -> None:
    table, metrics = _table(run, "branches"), _metrics(run)
    np.testing.assert_allclose(table["of_cnn"] + table["of_lstm"] + table["constant"], table["logit"], atol=1e-4)
    assert table["lstm_share"].between(0, 1).all()
    assert metrics["branches.parts_miss_logits_by"] < 1e-4


def test_the_stored_map_and_what_is_beside_it_give_the_logit(run: Path, tiny_mitdb: Path, tmp_path: Path) -> None:
    model, maps = load(run), read_attributions(run / "attributions" / "one-pass")
    said = json.loads((run / "run.json").read_text(encoding="utf-8"))["asked"]
    question = ask("corrected", None, "shuffled", None, list(_SHORT), quick=True, seed=0)
    assert asdict(question) == {name: said[name] for name in asdict(question)}
    windows = prepare(question, database("mitdb"), tiny_mitdb, start_run(tmp_path / "again", {})).examples.take(maps.rows)
    logits = model.logits(windows)
    assert (logits.argmax(1) == maps.target).all()
    cells = maps.native("cam")[:]
    assert cells.shape[1:] == (1, 48)
    bias = model.module.head.bias.detach().numpy()[maps.target]
    # a class activation map adds up to the logit as the mean of its cells; the LSTM's part is beside it
    found = cells.mean(axis=(1, 2)) + maps.note("cam", "beside-the-map") + bias
    np.testing.assert_allclose(found, logits[np.arange(len(logits)), maps.target], rtol=1e-4, atol=1e-4)


def test_maps_across_training_end_with_the_final_one(run: Path) -> None:
    table = _table(run, "course")
    final = table[(table["beside"] == "final map") & (table["epoch"] == 2)]
    np.testing.assert_allclose(final["median"], 1, atol=1e-9)
    assert set(table["epoch"]) == {0, 1, 2}
    assert set(table["beside"]) <= {"final map", "start 0", "another window"}
    assert {"final map", "start 0"} <= set(table["beside"])


def test_snapshots_of_the_last_epoch_are_the_model(run: Path) -> None:
    from safetensors.torch import load_file

    last, model = load_file(run / "snapshots" / "epoch-002.safetensors"), load_file(run / "model.safetensors")
    assert all((last[name] == value).all() for name, value in model.items())


def test_the_published_mask_goes_where_it_must(run: Path) -> None:
    table = _table(run, "settling")
    small = table[table["rate"] == 0.001]
    np.testing.assert_allclose(small["m, largest"], small["steps"] * 0.001, rtol=0.02)
    assert table["m, mean"].iloc[-1] > small["m, mean"].iloc[-1]


def test_the_report_says_what_a_reader_must_know(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    for words in (
        "research only",
        "REAL ECGs",
        "it LEAKS",
        "A quick run",
        "patients are on both sides",
        "no CNN map can show",
    ):
        assert words.lower() in page.lower(), words
    assert not re.search(r"""(src|href)=["']https?://""", page)


def test_a_run_goes_on_where_it_was_stopped_and_ends_the_same(
    run: Path, short_run: Callable[..., Any], tmp_path: Path
) -> None:
    for stage in ("examples", "training", "attribution", "analysis"):
        done = short_run(tmp_path / "run", "--split", "shuffled", "--stop-after", stage)
        assert done.code == 0, done.err
    assert not (tmp_path / "run" / "report.html").exists()
    done = short_run(tmp_path / "run", "--split", "shuffled")
    assert done.code == 0, done.err
    for name in ("predictions.csv", *(f"tables/{path.name}" for path in (run / "tables").glob("*.csv"))):
        assert (run / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), name


def test_the_report_can_be_drawn_again(run: Path, ecglens: Callable[..., Any], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    before = (copy / "report.html").read_bytes()
    (copy / "report.html").unlink()
    done = ecglens("report", copy)
    assert done.code == 0, done.err
    assert (copy / "report.html").read_bytes() == before
    (copy / "tables" / "course.csv").unlink()
    done = ecglens("report", copy)
    assert done.code == 2
    assert "course.csv is missing" in done.err


def test_ecgnet_goes_as_far_as_its_maps(short_run: Callable[..., Any], tmp_path: Path) -> None:
    # 17 million values: no further than its maps, which differ from the run above; the rest is the same
    words = ("--split", "shuffled", "--model", "ecgnet", "--stop-after", "attribution")
    done = short_run(tmp_path / "run", *words, settings=_SHORTEST)
    assert done.code == 0, done.err
    folder = tmp_path / "run" / "attributions"
    assert read_attributions(folder / "one-pass").methods == ("hires-cam", "saliency", "input-x-gradient")
    assert np.isfinite(read_attributions(folder / "mask-lstm")["deletion-mask"][:]).all()


@pytest.mark.parametrize(("model", "until"), [("hannun", ("--stop-after", "analysis")), ("zihlmann", ())])
def test_a_net_without_an_lstm_goes_the_whole_way(
    short_run: Callable[..., Any], tmp_path: Path, model: str, until: tuple[str, ...]
) -> None:
    done = short_run(tmp_path / "run", "--split", "shuffled", "--model", model, *until, settings=_SHORTEST)
    assert done.code == 0, done.err
    metrics, out = _metrics(tmp_path / "run"), tmp_path / "run"
    assert metrics["model"] == model
    assert not any(name.startswith("branches.") for name in metrics)
    assert metrics["maps.method"] == "cam"
    assert not (out / "tables" / "branches.csv").exists()
    assert not (out / "attributions" / "mask-lstm").exists()
    assert (out / "report.html").exists() is (not until)


def test_four_nets_stand_in_one_table_beside_the_paper(short_run: Callable[..., Any], tmp_path: Path) -> None:
    done = short_run(tmp_path / "run", "--split", "shuffled", "--model", "all", settings=_SHORTEST)
    assert done.code == 0, done.err
    table = _table(tmp_path / "run", "comparison").set_index("model")
    assert list(table.index) == ["ecgnet", "ecgnet-cam", "hannun", "zihlmann"]
    assert table.loc["ecgnet", "paper f1"] == 0.97
    for name in table.index:
        own = _metrics(tmp_path / "run" / "nets" / name)
        assert table.loc[name, "f1"] == pytest.approx(own["test.macro_f1"], abs=1e-6)
        assert own["train.rows"] == _metrics(tmp_path / "run" / "nets" / "ecgnet")["train.rows"]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "One budget for all" in page


def test_a_published_run_takes_the_published_mask(short_run: Callable[..., Any], tmp_path: Path) -> None:
    done = short_run(tmp_path / "run", "--recipe", "as-published", settings=_SHORTEST)
    assert done.code == 0, done.err
    plan = json.loads((tmp_path / "run" / "attributions" / "mask" / "plan.json").read_text(encoding="utf-8"))
    assert plan["methods"]["deletion-mask"]["size"] == "sum"
    assert plan["methods"]["deletion-mask"]["score"] == "probability"


def test_the_recipes_differ_in_options_that_the_report_gives_reasons_for() -> None:
    pair = [recipe_for(name, "ecgnet-cam", "ds1-ds2", quick=False) for name in ("as-published", "corrected")]
    trained = {"optimiser", "rate", "weight_decay", "schedule", "epochs", "batch", "bf16", "gain_jitter"}
    assert set(differences(*pair)) - trained <= set(REASONS)


@pytest.mark.parametrize(("epochs", "wanted"), [(1, (0, 1)), (2, (0, 1, 2)), (4, (0, 1, 2, 4)), (25, (0, 1, 2, 4, 8, 16, 25))])
def test_epochs_kept(epochs: int, wanted: tuple[int, ...]) -> None:
    assert kept_epochs(epochs) == wanted


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--model", "ecgnt"), "did you mean 'ecgnet'"),
        (("--split", "holdout"), "unknown split 'holdout'"),
        (("--classes", "aami"), "unknown set of classes"),
        (("--recipe", "published"), "unknown recipe"),
        (("--set", "mask=best"), "unknown mask"),
        (("--set", "resample=some"), "unknown resampling"),
        (("--set", "starts=0"), "starts is 0"),
        (("--set", "rhythm_windows=all"), "unknown rhythm_windows"),
    ],
)
def test_words_that_are_not_understood_are_refused(
    short_run: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    assert text in short_run(tmp_path / "run", *words).complaint
    assert not (tmp_path / "run").exists()


def test_a_side_of_the_split_without_a_record_is_one_line(
    short_run: Callable[..., Any], own_data: Path, tmp_path: Path
) -> None:
    for path in (own_data / "mitdb").glob("100.*"):
        path.unlink()
    done = short_run(tmp_path / "run", "--split", "ds1-ds2", data=own_data)
    assert "no beat for the test side" in done.complaint


def test_a_comparison_stops_after_training_and_has_no_maps_to_stop_after(
    short_run: Callable[..., Any], tmp_path: Path
) -> None:
    done = short_run(tmp_path / "run", "--model", "all", "--stop-after", "attribution")
    assert done.code == 2
    assert "--model all has no maps" in done.err
    assert not (tmp_path / "run").exists()


def _places(start: list[int], record: list[str], split: list[str]) -> float:
    examples = make_examples(np.zeros((len(start), 1, 100), np.float32), start=start, record=record)
    return overlap_share(examples, np.array(split))


@pytest.mark.parametrize(
    ("start", "record", "split", "wanted"),
    [
        ([0, 99, 300], "aaa", ["train", "test", "test"], 0.5),
        ([0, 100, 300], "aaa", ["train", "test", "test"], 0.0),
        ([50, 0, 149], "aaa", ["validation", "test", "test"], 1.0),
        ([0, 20], "ab", ["train", "test"], 0.0),
        ([0, 20, 30], "aaa", ["unused", "test", "test"], 0.0),
    ],
)
def test_windows_that_share_samples_with_training_are_counted(start, record, split, wanted) -> None:
    assert _places(start, list(record), split) == wanted


def test_the_report_says_how_many_test_windows_overlap_training_ones(run: Path) -> None:
    rows = pd.read_csv(run / "examples.csv", keep_default_na=False)
    test, train = (rows[rows["split"] == side] for side in ("test", "train"))
    near = [
        (train.loc[train["record"] == row.record, "r_sample"] - row.r_sample).abs().min() < 720 for row in test.itertuples()
    ]
    share = _metrics(run)["test.windows_overlapping_training"]
    assert share == pytest.approx(np.mean(near))
    assert f"{share:.0%} of the test windows share samples" in (run / "report.html").read_text(encoding="utf-8")


def test_an_interrupted_comparison_goes_on_and_ends_the_same(short_run: Callable[..., Any], tmp_path: Path) -> None:
    few = ("--split", "shuffled", "--model", "all", "--set", "per_class=10", "--set", "epochs=1")
    done = short_run(tmp_path / "run", *few, "--stop-after", "training")
    assert done.code == 0, done.err
    before = (tmp_path / "run" / "nets" / "hannun" / "metrics.json").read_bytes()
    (tmp_path / "run" / "nets" / "hannun" / "metrics.json").unlink()  # killed between a net's weights and its scores
    done = short_run(tmp_path / "run", *few)
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "nets" / "hannun" / "metrics.json").read_bytes() == before


def test_a_beat_in_a_rhythm_that_cannot_be_learnt_keeps_its_label(
    short_run: Callable[..., Any], own_data: Path, tmp_path: Path
) -> None:
    """Record 100, bradycardia from end to end, only tests: SBR is left out, and its beats are not lost with it."""
    folder = own_data / "mitdb"
    marks = wfdb.rdann(str(folder / "100"), "atr")
    marks.aux_note[marks.symbol.index("+")] = "(SBR"
    wfdb.wrann("100", "atr", marks.sample, marks.symbol, fs=360, aux_note=marks.aux_note, write_dir=str(folder))
    done = short_run(tmp_path / "run", "--split", "ds1-ds2", "--stop-after", "examples", data=own_data)
    assert done.code == 0, done.err
    rows = pd.read_csv(tmp_path / "run" / "examples.csv", keep_default_na=False, dtype=str)
    about = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert "none of them on the training side" in about["missing_classes"]["SBR"]
    assert set(rows.loc[rows["record"] == "100", "label"]) == {"N", "PAC"}
    assert not sum(about["windows"]["in_rhythm"].values())


def test_a_lead_that_no_record_has_is_refused(short_run: Callable[..., Any], tmp_path: Path) -> None:
    done = short_run(tmp_path / "run", "--split", "shuffled", "--set", "lead=mlii")
    assert done.code == 2
    assert "lead=mlii: no record has it" in done.complaint
