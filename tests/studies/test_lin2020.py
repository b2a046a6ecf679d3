"""lin2020 from files to the report, on small records in the Challenge's format."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ecglens.errors import EcglensError
from ecglens.examples.clips import ClipOptions
from ecglens.models import create, load
from ecglens.recordings.twelve import STANDARD
from ecglens.studies.lin2020 import ask, take_over
from ecglens.studies.lin2020_material import plan_clips
from ecglens.studies.lin2020_recipe import REASONS, recipe_for
from ecglens.studies.options import differences
from ecglens.training.challenge import challenge_score
from made import make_examples
from recordings.twelve_made import heart, units, write_challenge

_SINUS, _AF, _LBBB = "426783006", "164889003", "164909002"
_TABLES = {"label-map", "per_class", "rates", "recipes", "shown", "spike", "splits", "thresholds", "training"}
_FAST = ("epochs=2", "batch=8", "fs=50", "rate=0.003")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty records of three kinds, told by their height; some with two classes, some long, one broken."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(60):
        code, height = ((_SINUS, 0.6), (_AF, 1.2), (f"{_AF},{_LBBB}", 1.8))[number % 3]
        seconds = 25 if number % 10 == 0 else 7 if number % 10 == 1 else 10
        signal = heart(250, seconds, height=height, seed=number)
        comments = ("Age: 60", "Sex: Female", f"Dx: {code}")
        write_challenge(folder / "cinc2020" / "records", f"A{number:04d}", units(signal), fs=250, comments=comments)
    write_challenge(folder / "cinc2020" / "records", "A9999", np.zeros((12, 2500)), fs=250)
    return folder


@pytest.fixture(scope="module")
def short_run(ecglens: Callable[..., Any], data: Path) -> Callable[..., Any]:
    def call(out: Path, *words: object) -> Any:
        settings = tuple(word for setting in _FAST for word in ("--set", setting))
        return ecglens("run", "lin2020", *settings, "--data", data, "--out", out, *words)

    return call


@pytest.fixture(scope="module")
def run(short_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lin") / "run"
    done = short_run(out)
    assert done.code == 0, done.err
    return out


def _metrics(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def _words(run: Path) -> str:
    page = re.sub(r"<(style|script|svg)\b.*?</\1>", "", (run / "report.html").read_text(encoding="utf-8"), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def _answers(run: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Truth, probabilities, answers (record, class) and the classes."""
    rows = pd.read_csv(run / "predictions.csv")
    classes = tuple(_metrics(run)["classes"])
    columns = ([f"{before}{name}" for name in classes] for before in ("", "p_", "answered_"))
    truth, probabilities, answered = (rows[each].to_numpy() for each in columns)
    return truth.astype(bool), probabilities, answered.astype(bool), classes


def test_a_run_folder_holds_every_table_and_the_report(run: Path) -> None:
    assert {path.stem for path in (run / "tables").glob("*.csv")} == _TABLES
    assert (run / "report.html").is_file()
    assert not list(run.rglob("*.part"))


def test_no_record_is_on_two_sides_and_all_clips_of_one_are_on_the_same(run: Path) -> None:
    rows = pd.read_csv(run / "examples.csv")
    assert (rows.groupby("record")["split"].nunique() == 1).all()
    assert rows["record"].nunique() == 60
    assert rows.groupby("record").size().value_counts().to_dict() == {1: 54, 3: 6}
    sides = rows.drop_duplicates("record")["split"].value_counts()
    assert (sides["test"], sides["validation"]) == (15, 6)


def test_scores_follow_from_the_predictions(run: Path) -> None:
    truth, probabilities, answered, classes = _answers(run)
    metrics = _metrics(run)
    auc = [roc_auc_score(truth[:, k], probabilities[:, k]) for k in range(len(classes)) if 0 < truth[:, k].sum() < len(truth)]
    assert metrics["test.macro_auc"] == pytest.approx(np.mean(auc))
    assert metrics["test.challenge_score"] == pytest.approx(challenge_score(truth, answered, classes))
    assert metrics["test.accuracy"] == pytest.approx((truth == answered).all(1).mean())
    assert metrics["test.n"] == 15


def test_answers_are_what_the_saved_thresholds_say(run: Path) -> None:
    _, probabilities, answered, classes = _answers(run)
    thresholds = load(run).thresholds
    assert thresholds is not None
    table = pd.read_csv(run / "tables" / "thresholds.csv", dtype={"class": str})
    assert table["class"].tolist() == list(classes)
    np.testing.assert_allclose(table["threshold"], thresholds)
    np.testing.assert_array_equal(answered, probabilities >= np.array(thresholds))


def test_the_map_adds_up_and_other_rates_give_the_same(run: Path) -> None:
    metrics = _metrics(run)
    assert metrics["cam.identity_error"] < 1e-5
    assert metrics["cam.ms_a_cell"] == pytest.approx(160, rel=0.02)
    rates = pd.read_csv(run / "tables" / "rates.csv")
    assert rates["rate"].tolist() == [257, 500, 1000]
    assert rates["largest"].max() < 0.02


def test_the_report_says_what_a_reader_must_know(run: Path) -> None:
    words, metrics = _words(run), _metrics(run)
    for each in (
        "research only", f"the macro AUC is {metrics['test.macro_auc']:.3f}", "names no patients", "A9999",
        "Table 2: the Challenge's score by loss", "Table 4: class by class", "Other sampling rates", "A corrupt spike",
        "chosen on validation records alone", "Code to class",
    ):  # fmt: skip
        assert each in words, each
    assert (run / "figures" / "figure-1-01.svg").is_file()


def test_a_run_stopped_at_every_stage_ends_with_the_same_bytes(
    run: Path, short_run: Callable[..., Any], tmp_path: Path
) -> None:
    for stage in ("examples", "training", "attribution", "analysis"):
        done = short_run(tmp_path / "run", "--stop-after", stage)
        assert done.code == 0, done.err
        assert not (tmp_path / "run" / "report.html").exists()
    done = short_run(tmp_path / "run")
    assert done.code == 0, done.err
    for file in ("predictions.csv", "examples.csv", *(f"tables/{name}.csv" for name in _TABLES), "tables/shown.npz"):
        assert (tmp_path / "run" / file).read_bytes() == (run / file).read_bytes(), file


def test_the_report_can_be_drawn_again(run: Path, ecglens: Callable[..., Any]) -> None:
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    assert ecglens("report", run).code == 0
    assert (run / "report.html").read_bytes() == before


def test_as_published_records_of_one_class_are_split_class_by_class(short_run: Callable[..., Any], tmp_path: Path) -> None:
    done = short_run(tmp_path / "run", "--recipe", "as-published", "--loss", "wbce", "--stop-after", "examples")
    assert done.code == 0, done.err
    rows = pd.read_csv(tmp_path / "run" / "examples.csv").drop_duplicates("record")
    two = (rows[_AF] == 1) & (rows[_LBBB] == 1)
    assert (rows[~two].groupby(_AF)["split"].apply(lambda side: (side == "test").sum()) == 7).all()  # a third of 20
    assert not (rows[two]["split"] == "test").any()


def test_rare_classes_are_drawn_again_until_they_have_their_share() -> None:
    hot = np.zeros((20, 2), bool)
    hot[:16, 0] = hot[15:18, 1] = True
    examples = make_examples(np.zeros((20, 1, 8), np.float32), classes=("a", "b"))
    examples.__dict__["multi_hot"] = hot
    split = np.array(["train"] * 18 + ["validation", "test"])
    plan = plan_clips(split, examples, 0.5, 0)
    assert hot[plan.rows][:, 1].sum() == 8
    assert plan.times[:18].min() >= 1
    assert plan.times[18:].tolist() == [0, 0]
    assert plan_clips(split, examples, 0.0, 0).rows.tolist() == list(range(18))


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--database", "ptbx"), "did you mean 'ptbxl'"), (("--loss", "bce"), "unknown loss"),
        (("--loss", "macro-obs", "--database", "ptbxl"), "needs the Challenge's weights"),
        (("--classes", "superclasses"), "unknown set of classes of cinc2020"), (("--split", "holdout"), "unknown split"),
        (("--split", "folds"), "no folds; choose --split patients"), (("--model", "resnet"), "unknown model"),
        (("--set", "loss=focal"), "unknown loss"), (("--set", "oversample=2"), "a share from 0 to 1"),
        (("--set", "join=median"), "unknown join"), (("--set", "gain_from=0"), "numbers above 0"),
        (("--database", "ptbxl"), "holds no folder ptbxl"), (("--or-simulated",), "no simulated records"),
        (("--set-number", "1"), "lin2020 has one set"),
    ],
)  # fmt: skip
def test_words_that_are_not_understood_are_refused(
    short_run: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    assert text in short_run(tmp_path / "run", *words).complaint


def test_loss_and_database_are_for_this_study_alone(ecglens: Callable[..., Any], tmp_path: Path) -> None:
    for word in ("--loss", "--database"):
        assert f"{word} is for lin2020" in ecglens("run", "jones2020", word, "wbce", "--out", tmp_path / "run").complaint


def test_the_recipes_differ_where_a_reason_is_given() -> None:
    pair = [recipe_for(name, "wbce", "challenge", quick=False) for name in ("as-published", "corrected")]
    assert set(differences(*pair)) == set(REASONS)
    assert pair[0].cutting == ClipOptions(fs=500)
    assert (pair[0].gain_from, pair[0].gain_to) == (0.5, 2.5)


def test_what_is_asked_without_words() -> None:
    question = ask("corrected", None, None, None, [], quick=False, seed=0)
    assert (question.database, question.classes, question.recipe.loss, question.split) == (
        "cinc2020", "challenge", "macro-obs", "patients"
    )  # fmt: skip
    question = ask("corrected", None, None, None, [], quick=False, seed=0, database="ptbxl")
    assert (question.classes, question.recipe.loss, question.split) == ("superclasses", "wbce", "folds")
    assert ask("as-published", None, None, None, [], quick=False, seed=0).split == "single-label"


# ------------------------------------------------------------------------------------------------ two losses


def test_the_other_loss_stands_beside(
    run: Path, short_run: Callable[..., Any], ecglens: Callable[..., Any], tmp_path: Path
) -> None:
    other = tmp_path / "wbce"
    assert short_run(other, "--loss", "wbce").code == 0
    mine = Path(shutil.copytree(run, tmp_path / "mine"))
    done = ecglens("report", mine, "--beside", other)
    assert done.code == 0, done.err
    words = _words(mine)
    assert "wbce, corrected, seed 0" in words
    assert "F1 by class, of both runs" in words
    for one in (run, other):
        assert f"{_metrics(one)['test.challenge_score']:.3f}" in words
        assert f"{_metrics(one)['test.macro_f1']:.3f}" in words
    assert "nothing tells them apart" in ecglens("report", run, "--beside", mine).complaint
    elsewhere = tmp_path / "elsewhere"
    assert short_run(elsewhere, "--seed", "1").code == 0
    assert "use the same --seed" in ecglens("report", mine, "--beside", elsewhere).complaint


# ------------------------------------------------------------------------------------------------ fifths, and nets taken over


def test_five_fifths_test_every_record_once_and_never_share_a_patient(short_run: Callable[..., Any], tmp_path: Path) -> None:
    tested: list[str] = []
    for fold in range(5):
        out = tmp_path / str(fold)
        done = short_run(out, "--split", "fifths", "--set", f"fold={fold}", "--stop-after", "examples")
        assert done.code == 0, done.err
        rows = pd.read_csv(out / "examples.csv").drop_duplicates("record")
        tested += rows.loc[rows["split"] == "test", "record"].tolist()
        assert rows["split"].value_counts().to_dict() == {"train": 36, "test": 12, "validation": 12}
    assert sorted(tested) == sorted(set(tested))
    assert len(tested) == 60


def test_records_are_chosen_by_how_their_names_begin(short_run: Callable[..., Any], tmp_path: Path) -> None:
    done = short_run(tmp_path / "run", "--set", "only=A004", "--stop-after", "examples")
    assert done.code == 0, done.err
    rows = pd.read_csv(tmp_path / "run" / "examples.csv")
    assert set(rows["record"]) == {f"A{number:04d}" for number in range(40, 50)}
    assert "no record of cinc2020 begins so" in short_run(tmp_path / "none", "--set", "only=Z").complaint


def test_all_layers_are_taken_over_the_last_one_where_it_has_the_same_classes(
    run: Path, short_run: Callable[..., Any], tmp_path: Path
) -> None:
    trained, fresh = load(run), create("cnn-gap", classes=["a"], leads=STANDARD, length=500, fs=50, activation="sigmoid")
    head = fresh.module.head.weight.detach().clone()
    take_over(fresh, trained)
    for name, value in trained.module.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(fresh.module.state_dict()[name], value), name
    assert torch.equal(fresh.module.head.weight, head)
    alike = create("cnn-gap", classes=trained.classes, leads=STANDARD, length=500, fs=50, activation="sigmoid")
    take_over(alike, trained)
    assert all(torch.equal(value, trained.module.state_dict()[name]) for name, value in alike.module.state_dict().items())
    other = create("cnn-gap", classes=["a"], leads=STANDARD, length=500, fs=100, activation="sigmoid")
    with pytest.raises(EcglensError, match=r"the net there has fs 50\.0, this one 100\.0"):
        take_over(other, trained)
    done = short_run(tmp_path / "run", "--set", f"start_from={run}", "--stop-after", "training")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["start_from"]
    first = [pd.read_csv(each / "tables" / "training.csv")["train_loss"][0] for each in (tmp_path / "run", run)]
    assert first[0] < first[1]
    assert "holds no model.json" in short_run(tmp_path / "no", "--set", f"start_from={tmp_path}").complaint
