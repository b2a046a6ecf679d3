"""habeeb2024 from files to the report, on small records of two hospitals."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.signal import resample_poly
from sklearn.metrics import roc_auc_score

from ecglens.models import load, resnet34
from ecglens.runs import Run, open_run, start_run
from ecglens.studies.habeeb2024 import Answers, _transfer, ask, predict, prepare, train
from ecglens.studies.habeeb2024_recipe import REASONS, recipe_for
from ecglens.studies.habeeb2024_report_scores import run_name, transfer_section
from ecglens.studies.habeeb2024_transfer import FREQUENT
from ecglens.studies.options import differences
from ecglens.studies.sources import Sources
from ecglens.training.multilabel import rankings, score_multilabel
from ecglens.training.thresholds import choose_thresholds
from recordings.twelve_made import irregular, units, write_challenge, write_ptbxl

_CODES = (("426783006", {"NORM": 100.0, "SR": 0.0}), ("164889003", {"AFIB": 0.0}), ("164884008", {"PVC": 100.0, "SR": 0.0}))
_FAST = ("epochs=1", "batch=16", "fs=10", "least_steps=0", "explained=1", "rate=0.001")


@pytest.fixture(scope="module", autouse=True)
def narrow() -> Iterator[None]:
    """ResNet-34 with as many blocks but an eighth of the filters: what is asked here does not depend on their number.

    At full width its exact Shapley values (8,192 forwards a record) are half of the time; tests/models has its true size.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet34, "_STAGES", tuple((filters // 8, blocks) for filters, blocks in resnet34._STAGES))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty records of CPSC2018 of 10 to 16 s, one of them PTB-XL's as well, and sixty of PTB-XL, three kinds each."""
    folder = tmp_path_factory.mktemp("data")
    signals, about = {}, {}
    for number in range(1, 61):
        signals[number] = resample_poly(irregular(10, height=0.6 + 0.5 * (number % 3), seed=number), 2, 5, axis=1)
        about[number] = {
            "patient_id": float(number // 2),
            "scp_codes": _CODES[number % 3][1],
            "strat_fold": 1 + number // 2 % 10,
        }
    write_ptbxl(folder / "ptbxl", signals, about)
    for number in range(30):
        seconds = 10 if number % 3 else 16
        signal = irregular(seconds, height=0.6 + 0.5 * (number % 3), seed=5 if number == 7 else 100 + number)
        comments = ("Age: 60", "Sex: Female", f"Dx: {_CODES[number % 3][0]}")
        write_challenge(folder / "cinc2020" / "records", f"A{number:04d}", units(signal), fs=250, comments=comments)
    write_challenge(folder / "cinc2020" / "records", "HR0001", units(irregular(10, seed=999)), fs=250)
    return folder


@pytest.fixture(scope="module")
def short_run(ecglens: Callable[..., Any], data: Path) -> Callable[..., Any]:
    def call(out: Path, *words: object) -> Any:
        settings = tuple(word for setting in _FAST for word in ("--set", setting))
        return ecglens("run", "habeeb2024", *settings, "--data", data, "--out", out, *words)

    return call


@pytest.fixture(scope="module")
def run(short_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("habeeb") / "run"
    done = short_run(out, "--train", "ptbxl")
    assert done.code == 0, done.err
    return out


def _metrics(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def _words(run: Path) -> str:
    page = re.sub(r"<(style|script|svg)\b.*?</\1>", "", (run / "report.html").read_text(encoding="utf-8"), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def _answers(run: Path, hospital: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rows = pd.read_csv(run / "predictions.csv", dtype={"patient": str})
    rows = rows[rows["hospital"] == hospital]
    classes = _metrics(run)["classes"]
    truth, p, said = (rows[[f"{before}{name}" for name in classes]].to_numpy() for before in ("", "p_", "answered_"))
    return truth.astype(bool), p, said.astype(bool), rows["patient"].to_numpy().astype(str)


def test_scores_of_each_hospital_follow_from_its_predictions(run: Path) -> None:
    metrics = _metrics(run)
    for hospital, n in (("cpsc", 29), ("ptbxl", 6)):
        truth, p, said, patients = _answers(run, hospital)
        assert len(truth) == n
        wanted = score_multilabel(truth, p, said, patients, tuple(metrics["classes"]))
        assert metrics[f"test.{hospital}.macro_auc"] == pytest.approx(wanted.flat["macro_auc"])
        assert metrics[f"test.{hospital}.macro_f1"] == pytest.approx(wanted.flat["macro_f1"])
        auc, _ = rankings(truth, p)
        many = truth.sum(0) >= FREQUENT
        assert metrics[f"test.{hospital}.frequent"] == [c for c, some in zip(metrics["classes"], many, strict=True) if some]
        if many.any():
            assert metrics[f"test.{hospital}.frequent_macro_auc"] == pytest.approx(auc[0][many].mean())
        else:
            assert metrics[f"test.{hospital}.frequent_macro_auc"] is None


def test_a_class_without_a_record_has_no_figures_and_enters_no_mean(run: Path) -> None:
    per_class = pd.read_csv(run / "tables" / "per_class-ptbxl.csv").set_index("class")
    absent = per_class.index[per_class["support"] == 0]
    assert len(absent) == 6
    assert per_class.loc[absent, ["auc", "f1", "precision", "recall"]].isna().all().all()
    assert per_class["auc"].mean() == pytest.approx(_metrics(run)["test.ptbxl.macro_auc"])


def test_the_record_of_both_hospitals_is_found_by_its_signal_and_not_used(run: Path) -> None:
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert [(pair["first"], pair["second"]) for pair in about["shared_signals"]] == [("A0007", "00005_lr")]
    rows = pd.read_csv(run / "predictions.csv")
    assert "A0007" not in set(rows["record"])
    assert "HR0001" not in set(pd.read_csv(run / "examples.csv")["record"])


def test_thresholds_are_those_of_the_nets_own_validation_records(run: Path, data: Path, tmp_path: Path) -> None:
    from ecglens.runs import start_run

    question = ask("corrected", None, None, None, list(_FAST), quick=False, seed=0, train="ptbxl")
    material = prepare(question, data, start_run(tmp_path / "run", {"study": "habeeb2024"}))
    classifier, part = load(run / "nets" / "0"), material.examples.take(material.nets[0].validation)
    chosen = choose_thresholds(part.multi_hot, classifier.probabilities(classifier.logits(part)), classifier.classes, "f1")
    np.testing.assert_allclose(classifier.thresholds, chosen.values)


def test_length_alone_tells_as_much_as_the_lengths_differ(run: Path) -> None:
    rows = pd.read_csv(run / "examples.csv")
    cpsc = rows[(rows["hospital"] == "cpsc") & (rows["side"] != "unused")]
    ten = (cpsc["recorded_seconds"] == 10).mean()
    assert _metrics(run)["origin.length_bound"] == pytest.approx(1 - ten / 2)
    told = pd.read_csv(run / "tables" / "origin.csv")
    sizes = "sizes, second by second: "
    assert list(dict.fromkeys(told["from"])) == [
        "length of the record", sizes + "the last 30 s, zeros before", sizes + "input of the net", "samples: input of the net",
        "last layer",
    ]  # fmt: skip
    everyone = told[told["class"] == "all records"].set_index("from")["auc"]
    assert everyone[sizes + "the last 30 s, zeros before"] > 0.9 * everyone["length of the record"]


def test_exact_shapley_values_add_up_to_the_rise_above_the_background(run: Path) -> None:
    metrics = _metrics(run)
    errors = [value for key, value in metrics.items() if key.endswith(".worst_error")]
    assert len(errors) == 2
    assert max(errors) < 1e-4
    values = pd.read_csv(run / "tables" / "leads-values.csv")
    assert sorted(values["by"].unique()) == ["expected-gradients", "shapley-cpsc", "shapley-ptbxl"]
    table = pd.read_csv(run / "tables" / "leads.csv")
    some = table[(table["n"] > 0) & (table["by"] == "shapley-cpsc") & ~table["signed"]]
    for (hospital, name), mine in some.groupby(["hospital", "class"]):
        own = values[(values["by"] == "shapley-cpsc") & (values["hospital"] == hospital) & (values["class"] == name)]
        size = own[mine["lead"].tolist()].abs().to_numpy()
        np.testing.assert_allclose(mine["share"], size.sum(0) / size.sum(), rtol=1e-5)


def test_the_report_says_what_a_reader_must_know_and_names_real_files(run: Path) -> None:
    words = _words(run)
    for each in (
        "research only", "carry no time", "Table 1: PTB-XL by class and map", "Table 2: trained on CPSC2018", "Table 3",
        "1 records are in both sets", "they are the same on every lead", "one curve for all leads",
    ):  # fmt: skip
        assert each.lower() in words.lower(), each
    # the package's own tables of labels are named too
    files = [each for each in re.findall(r"\((tables/\S+\.csv)\)", words) if "habeeb2024_" not in each]
    assert len(files) >= 8
    assert all((run / file).is_file() for file in files)
    assert len(set(files)) == len(files)


def test_the_report_can_be_drawn_again_and_only_beside_what_was_tested_alike(run: Path, ecglens: Callable[..., Any]) -> None:
    before = (run / "report.html").read_bytes()
    assert ecglens("report", run).code == 0
    assert (run / "report.html").read_bytes() == before
    assert "expected runs of different names" in ecglens("report", run, "--beside", run).complaint


def test_runs_of_other_trainings_and_labels_stand_beside_each_other(
    run: Path, ecglens: Callable[..., Any], tmp_path: Path
) -> None:
    first, others = tmp_path / "first", []
    shutil.copytree(run, first)
    for training, labels in (("both", "strict"), ("ptbxl", "published")):
        other = tmp_path / f"{training}-{labels}"
        shutil.copytree(run, other)
        about = json.loads((other / "run.json").read_text(encoding="utf-8"))
        about["asked"]["train"] = training
        about["asked"]["recipe"]["labels"] = labels
        (other / "run.json").write_text(json.dumps(about), encoding="utf-8")
        others += ["--beside", other]
    assert "are both called 'both, strict labels, seed 0'" in ecglens("report", first, *others[:2], *others[:2]).complaint
    table = others[1] / "tables" / "transfer.csv"
    whole = table.read_text(encoding="utf-8")
    table.write_text(whole.replace("auc_cpsc", "auc_cspc"), encoding="utf-8")
    assert f"{others[1]} does not hold what its report needs" in ecglens("report", first, *others).complaint
    table.write_text(whole, encoding="utf-8")
    done = ecglens("report", first, *others)
    assert done.code == 0, done.err
    words = _words(first)
    for name in ("ptbxl, strict labels, seed 0", "both, strict labels, seed 0", "ptbxl, published labels, seed 0"):
        assert f"Class by class, CPSC2018: {name}" in words
        assert f"Trained {name}: each class here and there" in words
    assert "none of the runs here trained on CPSC2018 alone" in words


def test_nets_of_cpsc_answer_all_of_ptbxl_by_both_maps(data: Path, tmp_path: Path) -> None:
    question = ask("corrected", None, None, None, list(_FAST), quick=False, seed=0, train="cpsc")
    this = start_run(tmp_path / "run", {"study": "habeeb2024"})
    material = prepare(question, data, this)
    classifiers = [train(question, material, net, this) for net in material.nets]
    assert len(classifiers) == 5
    predict(question, classifiers, material, this)
    rows = np.flatnonzero(material.hospital == "ptbxl")
    examples = material.examples.take(rows)
    p = classifiers[0].probabilities(classifiers[0].logits(examples))
    said = _kind_of(examples.column("record"))
    truth = {
        ("strict", "SNR"): said == 0, ("strict", "AF"): said == 1, ("strict", "PVC"): said == 2,
        # rhythms have no likelihood: as published, AF is nobody's
        ("published", "SNR"): said == 0, ("published", "AF"): np.zeros(len(rows), bool), ("published", "PVC"): said == 2,
    }  # fmt: skip
    table = pd.read_csv(this.tables / "whole-ptbxl.csv").set_index(["labels", "class"])
    for (labels, name), mine in truth.items():
        k = material.examples.classes.index(name)
        assert table.loc[(labels, name), "support"] == mine.sum()
        auc = table.loc[(labels, name), "auc"]
        if mine.any():
            assert auc == pytest.approx(roc_auc_score(mine, p[:, k]))
        else:
            assert np.isnan(auc)
    metrics = _metrics(tmp_path / "run")
    assert metrics["whole.ptbxl.strict.n"] == 60
    assert metrics["transfer.strict.classes"] == []
    assert metrics["transfer.strict.difference"] is None


def test_what_is_lost_is_told_by_both_maps_where_classes_are_frequent(run: Path, tmp_path: Path) -> None:
    here = tmp_path / "run"
    shutil.copytree(run, here)
    rows = []
    for labels, ptbxl in (("published", 0.6), ("strict", 0.75)):
        for name, n in (("SNR", 20), ("mean of its classes", 4), ("mean of the shared classes", 3)):
            row = {"labels": labels, "class": name, "n_cpsc": n, "n_ptbxl": n}
            for key, value in (("auc_cpsc", 0.8), ("auc_ptbxl", ptbxl), ("difference", 0.8 - ptbxl)):
                row |= {key: value, f"{key}_low": value - 0.1, f"{key}_high": value + 0.1}
            rows.append(row)
    pd.DataFrame(rows).to_csv(here / "tables" / "transfer.csv", index=False)
    metrics = _metrics(here) | {"transfer.strict.classes": ["SNR", "AF", "PVC", "STD"]}
    (here / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    source = Sources(open_run(here))
    section = transfer_section(source, {run_name(source): source})
    said = " ".join(section.text)
    assert "3 shared classes CPSC2018 is +0.200 from PTB-XL by the published map and +0.050 by the strict one: +0.150" in said
    (table,) = section.sheets
    assert [cells[1] for cells in table.rows] == ["published", "published", "strict", "strict"]
    assert "SNR, AF, PVC, STD" in table.rows[2]
    assert table.rows[2][-1] == "0.050 [-0.050, 0.150]"


def test_metrics_hold_the_means_of_the_classes_that_are_frequent_in_both(data: Path, tmp_path: Path) -> None:
    question = ask("corrected", None, None, None, list(_FAST), quick=False, seed=0, train="ptbxl")
    material = prepare(question, data, start_run(tmp_path / "run", {"study": "habeeb2024"}))
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(material.side != "unused")
    p = rng.random((len(rows), 9)).astype(np.float32)
    answers = Answers(rows, np.zeros(len(rows), np.int64), p, p > 0.5)
    metrics = _transfer(question, answers, material, Run(tmp_path / "run", {}))
    mine = {name: np.flatnonzero(material.hospital[rows] == name) for name in ("cpsc", "ptbxl")}
    for labels, hot in material.labels.items():
        often = [k for k in range(9) if all((hot[rows[some], k].sum() >= FREQUENT) for some in mine.values())]
        names = [material.examples.classes[k] for k in often]
        assert metrics[f"transfer.{labels}.classes"] == names
        assert names == ["SNR", "PVC"]  # CPSC2018's tenth record with AF is PTB-XL's as well
        auc = {name: np.mean([roc_auc_score(hot[rows[some], k], p[some, k]) for k in often]) for name, some in mine.items()}
        assert metrics[f"transfer.{labels}.auc_cpsc"] == pytest.approx(auc["cpsc"])
        assert metrics[f"transfer.{labels}.difference"] == pytest.approx(auc["cpsc"] - auc["ptbxl"])


def test_labels_by_either_map_stay_with_their_records_when_one_is_left_out(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    for number in (4, 5):  # the first of their kind: what follows would be shifted
        next((folder / "ptbxl").glob(f"records100/*/{number:05d}_lr.dat")).write_bytes(b"short")
    question = ask("corrected", None, None, None, list(_FAST), quick=False, seed=0, train="ptbxl")
    material = prepare(question, folder, start_run(tmp_path / "run", {"study": "habeeb2024"}))
    rows = material.hospital == "ptbxl"
    assert rows.sum() == 58
    kind = _kind_of(material.examples.column("record")[rows])
    classes = material.examples.classes
    for labels, afib in (("strict", kind == 1), ("published", np.zeros(58, bool))):
        for name, mine in (("SNR", kind == 0), ("AF", afib), ("PVC", kind == 2)):
            np.testing.assert_array_equal(material.labels[labels][rows, classes.index(name)], mine)
    np.testing.assert_array_equal(material.labels["strict"], material.examples.multi_hot)


def _kind_of(records: np.ndarray) -> np.ndarray:
    """Which of the three kinds a made record of PTB-XL is."""
    return np.array([int(name.split("_")[0]) % 3 for name in records])


def test_a_net_that_goes_on_begins_with_the_weights_of_the_first_hospital(
    short_run: Callable[..., Any], tmp_path: Path
) -> None:
    done = short_run(tmp_path / "run", "--train", "cpsc-then-ptbxl", "--stop-after", "training")
    assert done.code == 0, done.err
    nets = sorted(path.name for path in (tmp_path / "run" / "nets").iterdir())
    assert nets == sorted(f"{k}{end}" for k in range(5) for end in ("", "-first"))
    losses = [
        pd.read_csv(tmp_path / "run" / "nets" / name / "tables" / "training.csv")["train_loss"][0] for name in ("0-first", "0")
    ]
    assert losses[1] < losses[0]
    assert open_run(tmp_path / "run").about["status"] == "stopped as asked"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--train", "cspc"), "did you mean 'cpsc'"), (("--split", "folds"), "neither --split nor --classes"),
        (("--set", "labels=loose"), "unknown labels"), (("--set", "folds=mine"), "unknown folds"),
        (("--set", "explained=0"), "expected at least 1"), (("--or-simulated",), "no simulated records"),
        (("--set", "clips=tiles"), "unknown clips"), (("--model", "resnet"), "unknown model"),
    ],
)  # fmt: skip
def test_words_that_are_not_understood_are_refused(
    short_run: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    assert text in short_run(tmp_path / "run", *words).complaint


def test_the_recipes_differ_where_a_reason_is_given() -> None:
    pair = [recipe_for(name, quick=False) for name in ("as-published", "corrected")]
    training = {"loss", "optimiser", "rate", "weight_decay", "schedule", "epochs", "batch", "bf16"}
    assert set(differences(*pair)) - training == set(REASONS)
