"""lin2020 from files to the report, on small records in the Challenge's format."""

from __future__ import annotations

import csv
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
from ecglens.recordings.databases import database
from ecglens.recordings.twelve import STANDARD
from ecglens.report.twelve_leads import lead_above_map
from ecglens.runs import open_run, start_run
from ecglens.studies import lin2020_report_maps
from ecglens.studies.lin2020 import ask, ask_clips, take_over
from ecglens.studies.lin2020_material import plan_clips, prepare
from ecglens.studies.lin2020_recipe import REASONS, recipe_for
from ecglens.studies.lin2020_report_maps import maps_section
from ecglens.studies.lin2020_report_scores import scores_section, sources_sheet
from ecglens.studies.lin2020_words import names_of
from ecglens.studies.options import differences
from ecglens.studies.sources import Sources
from ecglens.training.challenge import challenge_score
from ecglens.training.thresholds import choose_thresholds
from made import make_examples
from recordings.twelve_made import irregular, units, write_challenge

_SINUS, _AF, _LBBB = "426783006", "164889003", "164909002"
_TABLES = {
    "label-map", "per_class", "rates", "recipes", "shown", "sides", "sources", "spike", "splits", "thresholds", "training",
    "weights",
}  # fmt: skip
_FAST = ("epochs=2", "batch=8", "fs=50", "rate=0.003")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty records of three kinds, told by their height; some with two classes, some long, one broken."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(60):
        code, height = ((_SINUS, 0.6), (_AF, 1.2), (f"{_AF},{_LBBB}", 1.8))[number % 3]
        seconds = 25 if number % 10 == 0 else 7 if number % 10 == 1 else 10
        signal = irregular(seconds, height=height, seed=number)
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
    assert 0 < rates["largest"].max() < 0.02
    assert rates["records"].tolist() == [15] * 3
    assert rates["not_given"].tolist() == [0] * 3


def test_thresholds_are_those_of_the_validation_records_alone(run: Path, data: Path, tmp_path: Path) -> None:
    question = ask("corrected", None, None, None, list(_FAST), quick=False, seed=0)
    which = database("cinc2020")
    there = prepare(question, which, data / "cinc2020", start_run(tmp_path / "run", {"study": "lin2020"}))
    classifier = load(run)
    answers = ask_clips(classifier, there.side("validation"), "mean")
    assert len(answers.truth) == 6
    chosen = choose_thresholds(answers.truth, answers.probabilities, classifier.classes, "challenge")
    np.testing.assert_allclose(classifier.thresholds, chosen.values)
    other = choose_thresholds(*_answers(run)[:2], classifier.classes, "challenge")
    assert not np.allclose(classifier.thresholds, other.values)


def test_tables_of_the_paper_have_the_runs_own_numbers_beside_them(run: Path) -> None:
    source, metrics = Sources(open_run(run)), _metrics(run)
    section = scores_section(source, {"mine": source})
    sheets = {each.caption.split(":")[0]: each for each in (*section.sheets, sources_sheet(source))}
    score = f"{metrics['test.challenge_score']:.3f}"
    two = {row[0]: row for row in sheets["Table 2"].rows}
    assert two["macro-obs"] == ["macro-obs", "0.582", "", score]
    assert two["wbce"] == ["wbce", "0.549", "0.544", ""]
    three = {row[0]: row for row in sheets["Table 3"].rows}
    assert three["ours: mine"][-1] == score
    assert three["rank 1 (prna)"] == ["rank 1 (prna)", "0.587", "0.761", "0.558", "0.492", "0.533", ""]
    four = {row[0]: dict(zip(sheets["Table 4"].header, row, strict=True)) for row in sheets["Table 4"].rows}
    per_class = pd.read_csv(run / "tables" / "per_class.csv", dtype={"class": str}).set_index("class")
    name = names_of(source)[_AF]
    assert four[name]["paper, recall"] == "0.657"
    assert four[name]["ours, records"] == str(per_class.loc[_AF, "support"])
    assert four[name]["ours, recall: mine"] == f"{per_class.loc[_AF, 'recall']:.3f}"
    assert four[name]["ours, F1: mine"] == f"{per_class.loc[_AF, 'f1']:.3f}"
    one = {row[0]: row[1:] for row in sheets["Table 1"].rows}
    assert one["CPSC"] == ["500", "9 - 118", "6877", "250", "7 - 25", "60"]
    assert one["Georgia"] == ["500", "10", "10344", "", "", ""]


def test_figure_1_is_lead_i_red_where_the_map_is_among_its_highest(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Any, ...]] = []

    def draw(signal: np.ndarray, cam: np.ndarray, fs: float, lead: str, title: str, *, threshold: float) -> Any:
        drawn.append((signal, cam, lead, threshold))
        return lead_above_map(signal, cam, fs, lead, title, threshold=threshold)

    monkeypatch.setattr(lin2020_report_maps, "lead_above_map", draw)
    maps_section(Sources(open_run(run)))
    shown = pd.read_csv(run / "tables" / "shown.csv", dtype={"class": str})
    arrays = np.load(run / "tables" / "shown.npz")
    assert len(drawn) == len(shown)
    for number, (signal, cam, lead, threshold) in enumerate(drawn):
        assert lead == "I"
        np.testing.assert_array_equal(signal, arrays[f"signal {number}"][0])
        cells, (start, stop) = arrays[f"cam {number}"], shown.loc[number, ["start", "stop"]]
        inside = [k for k in range(len(cells)) if start <= (k + 0.5) * 500 / len(cells) < stop]
        np.testing.assert_array_equal(cam[inside], cells[inside])
        assert np.isnan(np.delete(cam, inside)).all()
        assert threshold == pytest.approx(np.percentile(cells[inside], 90))


def test_a_long_record_has_the_map_of_its_likeliest_class(run: Path) -> None:
    rows = pd.read_csv(run / "predictions.csv").set_index("record")
    found = np.load(run / "tables" / "long.npz")
    record = str(found["id"]).split("/")[1]
    _, _, _, classes = _answers(run)
    assert rows.loc[record, "clips"] == 3
    assert str(found["class"]) == max(classes, key=lambda name: rows.loc[record, f"p_{name}"])
    assert found["signal"].shape == found["cam"].shape == (25 * 50,)


def test_the_spike_that_is_shown_is_the_largest_in_v2(run: Path) -> None:
    table, found = pd.read_csv(run / "tables" / "spike.csv"), np.load(run / "tables" / "spiked.npz")
    assert table["spike"].unique().tolist() == ["1 mV, 20 ms", "5 mV, 20 ms", "5 mV, 200 ms"]
    mine = table[table["spike"] == str(found["spike"])].set_index("id").loc[str(found["id"])]
    assert (str(found["lead"]), str(found["spike"])) == ("V2", "5 mV, 200 ms")
    assert found["spiked"][0] == pytest.approx(mine["at_s"])
    largest = int(np.abs(found["fall after"]).argmax())
    assert (found["leads"][largest] == "V2") == mine["found"]
    # the map's mean moves as the logit does
    change = found["cam after"].mean() - found["cam before"].mean()
    assert change == pytest.approx(mine["logit_after"] - mine["logit_before"], abs=1e-4)
    metrics = _metrics(run)
    assert metrics["spike.5mV_200ms.map_after"] == pytest.approx(table[table["spike"] == "5 mV, 200 ms"]["map_after"].mean())


def test_the_cost_is_said_before_a_record_is_read(short_run: Callable[..., Any], tmp_path: Path) -> None:
    said = short_run(tmp_path / "run", "--stop-after", "training").err
    words = ("61 records: 0.0 GB", "1 records left out of 61", "records train: 2 epochs in a minute", "epoch 1/2")
    places = [said.index(each) for each in words]
    assert places == sorted(places)


def test_the_report_says_what_a_reader_must_know(run: Path) -> None:
    words, metrics = _words(run), _metrics(run)
    for each in (
        "research only", f"the macro AUC is {metrics['test.macro_auc']:.3f}", "names no patients", "A9999",
        "Table 2: the Challenge's score by loss", "Table 4: class by class", "Other sampling rates", "A corrupt spike",
        "chosen on validation records alone", "Code to class",
    ):  # fmt: skip
        assert each in words, each
    assert (run / "figures" / "figure-1-01.svg").is_file()
    files = re.findall(r"\((tables/\S+\.csv)\)", words)
    assert len(files) == 8
    assert all((run / file).is_file() for file in files)
    assert len(set(files)) == len(files)  # each is an anchor of the page


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
    assert rows["split"].value_counts().to_dict() == {"train": 41, "test": 14, "validation": 5}  # a tenth of 46 validates


def test_folds_of_ptb_xl_train_validate_and_test_as_its_publisher_says(
    data_root: Path, ecglens: Callable[..., Any], tmp_path: Path
) -> None:
    if not (data_root / "ptbxl").is_dir():
        pytest.skip("no ptbxl/ in ECGLENS_DATA")
    words = ("--database", "ptbxl", "--data", data_root, "--out", tmp_path / "run", "--stop-after", "examples")
    done = ecglens("run", "lin2020", *words)
    assert done.code == 0, done.err
    rows = pd.read_csv(tmp_path / "run" / "examples.csv")
    with (data_root / "ptbxl" / "ptbxl_database.csv").open() as file:
        folds = {f"{int(row['ecg_id']):05d}_lr": int(row["strat_fold"]) for row in csv.DictReader(file)}
    wanted = {9: "validation", 10: "test"}
    assert [wanted.get(folds[record], "train") for record in rows["record"]] == rows["split"].tolist()
    assert rows["split"].value_counts().to_dict() == {"train": 2322, "validation": 330, "test": 328}


def test_other_records_or_bytes_in_a_run_that_has_begun_are_noticed(
    data: Path, short_run: Callable[..., Any], tmp_path: Path
) -> None:
    shutil.copytree(data, tmp_path / "data")
    words = ("--stop-after", "training", "--data", tmp_path / "data")
    assert short_run(tmp_path / "run", *words).code == 0
    assert short_run(tmp_path / "run", *words).code == 0
    signal = tmp_path / "data" / "cinc2020" / "records" / "A0007.mat"
    kept = signal.read_bytes()
    signal.unlink()
    assert "begun with other data (60 records, now 59" in short_run(tmp_path / "run", *words).complaint
    signal.write_bytes(kept[:-2] + b"\x01\x00")
    header = signal.with_suffix(".hea")
    header.write_text(re.sub(r"(?m)^(A0007.mat \S+ \S+ \S+ \S+ \S+) \S+ ", r"\1 0 ", header.read_text()))
    assert "begun with other data" in short_run(tmp_path / "run", *words).complaint


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
        (("--set-number", "1"), "is for varandas2021; leave it out for lin2020"),
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
    pair = [recipe_for(name, "wbce", "superclasses", quick=False) for name in ("as-published", "corrected")]
    assert set(differences(*pair)) == set(REASONS)
    rates_count = [recipe_for(name, "wbce", "challenge", quick=False) for name in ("as-published", "corrected")]
    assert set(REASONS) - set(differences(*rates_count)) == {"stretch", "shift_s"}
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
    # a run of another seed has other sides, and nothing behind them is asked for
    elsewhere, sides = Path(shutil.copytree(other, tmp_path / "elsewhere")), tmp_path / "sides"
    assert short_run(sides, "--seed", "1", "--stop-after", "examples").code == 0
    shutil.copy(sides / "tables" / "sides.csv", elsewhere / "tables")
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
    assert (
        "says which records the net there has learnt from"
        in short_run(tmp_path / "no", "--set", f"start_from={tmp_path}").complaint
    )


def test_records_that_a_net_has_learnt_from_do_not_test_it_under_another_name(
    short_run: Callable[..., Any], tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for number in range(40):
        comments = ("Age: 60", "Sex: Female", f"Dx: {(_SINUS, _AF)[number % 2]}")
        for folder, name, seed, late in ((first, "A", number, 0), (second, "B", number + 30, 25)):
            signal = units(irregular(11, seed=seed)[:, late : late + 2500])
            write_challenge(folder / "cinc2020" / "records", f"{name}{number:04d}", signal, fs=250, comments=comments)
    done = short_run(tmp_path / "run", "--data", first, "--stop-after", "training")
    assert done.code == 0, done.err
    start = ("--set", f"start_from={tmp_path / 'run'}", "--stop-after", "examples", "--data")
    assert short_run(tmp_path / "alone", *start[2:], second).code == 0
    done = short_run(tmp_path / "next", *start, second)
    assert done.code == 0, done.err
    known, before, after = (
        pd.read_csv(tmp_path / each / "tables" / "sides.csv").set_index("record")["split"] for each in ("run", "alone", "next")
    )
    wanted = before.copy()
    for number in range(10):  # B0000 is A0030, ...
        was = known[f"A{number + 30:04d}"]
        if (was == "train" and before[f"B{number:04d}"] != "train") or (was, before[f"B{number:04d}"]) == (
            "validation",
            "test",
        ):
            wanted[f"B{number:04d}"] = "unused"
    assert (wanted == "unused").sum() > 1
    assert after.to_dict() == wanted.to_dict()
    about = json.loads((tmp_path / "next" / "run.json").read_text(encoding="utf-8"))
    assert sorted(pair["first"] for pair in about["known_to_start_from"]) == sorted(after[after == "unused"].index)
    assert f"{(wanted == 'unused').sum()} records that the net of start_from knows" in done.err
