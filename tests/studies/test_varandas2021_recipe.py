"""varandas2021: the paper's numbers as it prints them, the two recipes, words that are refused, and counts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from ecglens.studies.options import differences
from ecglens.studies.varandas2021 import ask
from ecglens.studies.varandas2021_published import FOCUS, RANDOM, TABLE_1, WINDOWS, solved
from ecglens.studies.varandas2021_recipe import METHODS, MODEL_NAMES, REASONS, recipe_for
from ecglens.studies.varandas2021_tables import headline
from ecglens.training.options import TrainOptions

# as the paper prints them, line by line: epochs; validation accuracy, F1; test accuracy, F1, precision
_TABLE_1 = """
Model 1	7	94.06	96.82	93.66	96.47	74.12
Model 2	5	96.23	98.00	91.72	95.38	63.57
"""
_TABLE_2 = """
1	30.3 ± 9.2	22.7 ± 11.5	27.4 ± 10.9
2	25.0 ± 18.2	8.7 ± 5.2	15.3 ± 9.9
"""
# first and second group by turns: gradients, Grad-CAM, GB grad-CAM
_TABLE_3 = """
1	30.3 ± 8.9	31.4 ± 12.6	23.6 ± 10.7	10.2 ± 15.2	28.3 ± 9.7	13.3 ± 16.8
2	24.4 ± 18.0	32.4 ± 19.3	8.8 ± 4.3	8.3 ± 10.8	15.5 ± 8.8	12.7 ± 19.4
"""
_TABLE_4 = """
1	34.6 ± 10.3	29.8 ± 8.9	18.4 ± 15.5	23.3 ± 10.8	24.0 ± 17.9	27.8 ± 9.7
2	39.7 ± 19.3	23.2 ± 17.3	10.7 ± 10.2	8.5 ± 4.2	31.9 ± 24.1	13.8 ± 5.2
"""
_TRAINED = {"optimiser", "schedule", "stop", "bf16", "gain_jitter"}  # differ without a word of their own


def _rows(printed: str) -> list[list[float]]:
    """The numbers of each line, without the first, which is the set's."""
    return [[float(word) for word in re.findall(r"[\d.]+", line)][1:] for line in printed.strip().splitlines()]


# ------------------------------------------------------------------------------------------------ the paper's numbers


def test_table_1_is_as_printed() -> None:
    for number, row in enumerate(_rows(_TABLE_1), 1):
        assert list(TABLE_1[number].values()) == pytest.approx([row[0], *(value / 100 for value in row[1:])], abs=1e-9)
    names = ["epochs", "validation_accuracy", "validation_f1", "accuracy", "f1_normal", "precision_abnormal"]
    assert [list(TABLE_1[number]) for number in (1, 2)] == [names, names]


@pytest.mark.parametrize(
    ("printed", "groups"),
    [(_TABLE_2, ("all",)), (_TABLE_3, ("right", "wrong")), (_TABLE_4, ("abnormal", "normal"))],
    ids=["table 2", "table 3", "table 4"],
)
def test_focus_is_as_printed(printed: str, groups: tuple[str, ...]) -> None:
    for number, row in enumerate(_rows(printed), 1):
        found = [value for method in METHODS for group in groups for value in FOCUS[number][group][method]]
        assert found == pytest.approx([value / 100 for value in row], abs=1e-9)
    assert all(set(FOCUS[number]) == {"all", "right", "wrong", "abnormal", "normal"} for number in (1, 2))


def test_counts_and_random_focus_are_as_printed() -> None:
    assert WINDOWS == {"train": 37867, "validation": 11204, "test": 49617}
    assert pytest.approx((0.097, 0.040)) == RANDOM


@pytest.mark.parametrize(
    ("number", "prevalence", "sensitivity", "recall", "balanced"),
    # facts/recipes.md 2.5; recall is TP / prevalence there
    [(1, 0.8909, 0.644, 0.8663 / 0.8909, 0.808), (2, 0.8905, 0.571, 0.8547 / 0.8905, 0.765)],
)
def test_what_table_1_implies(number: int, prevalence: float, sensitivity: float, recall: float, balanced: float) -> None:
    found = solved(*(TABLE_1[number][name] for name in ("accuracy", "f1_normal", "precision_abnormal")))
    assert found["prevalence_normal"] == pytest.approx(prevalence, abs=5e-4)
    assert found["sensitivity_abnormal"] == pytest.approx(sensitivity, abs=5e-4)
    assert found["recall_normal"] == pytest.approx(recall, abs=5e-4)
    assert found["balanced_accuracy"] == pytest.approx(balanced, abs=5e-4)


def test_solved_undoes_the_scores_of_any_confusion_matrix() -> None:
    rng = np.random.default_rng(0)
    for normal_found, normal_missed, abnormal_missed, abnormal_found in rng.integers(1, 500, (50, 4)).tolist():
        n = normal_found + normal_missed + abnormal_missed + abnormal_found
        accuracy = (normal_found + abnormal_found) / n
        f1 = 2 * normal_found / (2 * normal_found + normal_missed + abnormal_missed)
        found = solved(accuracy, f1, abnormal_found / (abnormal_found + normal_missed))
        recall = normal_found / (normal_found + normal_missed)
        sensitivity = abnormal_found / (abnormal_found + abnormal_missed)
        wanted = {
            "prevalence_normal": (normal_found + normal_missed) / n, "sensitivity_abnormal": sensitivity,
            "recall_normal": recall, "balanced_accuracy": (recall + sensitivity) / 2,
        }  # fmt: skip
        assert found == pytest.approx(wanted)


# ------------------------------------------------------------------------------------------------ recipes


def test_the_recipes_differ_where_a_reason_is_given_or_in_training() -> None:
    seen: set[str] = set()
    for model in MODEL_NAMES:
        for number in (1, 2):
            pair = [recipe_for(name, model, number, quick=False) for name in ("as-published", "corrected")]
            names = set(differences(*pair))
            trained = {field.name for field in fields(TrainOptions)}
            assert names - trained <= set(REASONS), model
            seen |= names
    assert seen == set(REASONS) | _TRAINED


def test_the_paper_puts_f1_of_one_class_beside_precision_of_the_other() -> None:
    metrics = {
        f"test.per_class.{word}.{name}": f"{name} of {word}" for word in ("normal", "abnormal") for name in ("f1", "precision")
    }
    said = [headline(recipe_for(name, "small2d", 1, quick=True), metrics) for name in ("as-published", "corrected")]
    assert said[0] == {"headline_f1": "f1 of normal", "headline_precision": "precision of abnormal"}
    assert said[1] == {"headline_f1": "f1 of abnormal", "headline_precision": "precision of abnormal"}


def test_each_set_has_its_rate_as_published_and_one_rate_corrected() -> None:
    for model in MODEL_NAMES:
        assert [recipe_for("as-published", model, number, quick=False).rate for number in (1, 2)] == [1e-5, 1e-4]
        one, two = (recipe_for("corrected", model, number, quick=False) for number in (1, 2))
        assert one == two
        assert list(differences(*(recipe_for("as-published", model, number, quick=False) for number in (1, 2)))) == ["rate"]


def test_the_published_training_is_the_papers() -> None:
    recipe = recipe_for("as-published", "resnet50", 1, quick=False)
    said = (recipe.optimiser, recipe.schedule, recipe.stop, recipe.class_weights, recipe.beats, recipe.ends)
    assert said == ("adam", "step", "f1-falls", "inverse", 6, "published")
    assert (recipe.tested_at_most, recipe.explained_at_most, recipe.resample) == (0, 0, "none")


def test_quick_trains_on_few_pictures_and_tests_all_but_with_resnet50() -> None:
    assert recipe_for("corrected", "small2d", 1, quick=True).resample == "4000-by-root"
    for model in ("small2d", "resnet"):
        for name in ("as-published", "corrected"):
            changed = differences(*(recipe_for(name, model, 1, quick=quick) for quick in (False, True)))
            assert {"resample", "probed_per_class"} <= set(changed)
            assert set(changed) <= {"resample", "probed_per_class", "validation", "stop", "epochs"}
    assert recipe_for("corrected", "resnet50", 1, quick=True).tested_at_most == 300


@pytest.mark.parametrize(
    ("recipe", "quick", "model"),
    [
        ("as-published", False, "resnet50"), ("as-published", True, "small2d"),
        ("corrected", False, "small2d"), ("corrected", True, "small2d"),
    ],
)  # fmt: skip
def test_what_is_asked_without_words(recipe: str, quick: bool, model: str) -> None:
    question = ask(recipe, None, None, None, [], quick=quick, seed=0)
    assert (question.model, question.set_number, question.split) == (model, 1, "ds1-ds2")


# ------------------------------------------------------------------------------------------------ words that are refused


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--model", "smal2d"), "did you mean 'small2d'"),
        (("--model", "cnn"), "unknown model 'cnn'"),
        (("--recipe", "published"), "unknown recipe"),
        (("--split", "holdout"), "unknown split 'holdout'"),
        (("--classes", "aami"), "two classes, normal and abnormal"),
        (("--set-number", "0"), "--set-number is 0; expected 1"),
        (("--set-number", "3"), "--set-number is 3; expected 1"),
        (("--set-number", "one"), "Invalid value for '--set-number'"),
        (("--set", "rat=1"), "did you mean 'rate'"),
        (("--set", "rate=fast"), "expected a number"),
        (("--set", "region=square"), "unknown region"),
        (("--set", "empty=drop"), "unknown empty"),
        (("--set", "target=all"), "unknown target"),
        (("--set", "ends=all"), "unknown ends"),
        (("--set", "beats=1"), "beats is 1"),
        (("--set", "height_mv=0"), "expected a height above 0"),
        (("--set", "height_mv=nan"), "expected a height above 0"),
        (("--set", "validation_share=1"), "a share between 0 and 1"),
        (("--set", "tested_at_most=-1"), "tested_at_most is -1"),
        (("--set", "resample=4000"), "unknown resampling"),
        (("--set", "weights=w.safetensors"), "public weights are for --model resnet50"),
        (("--set", "longest=1"), "no window of 6 beats"),
        (("--set", "beats=500"), "fewer than 500"),
        (("--set", "lead=V9"), "lead=V9: no record has it"),
    ],
)
def test_words_that_are_not_understood_are_refused(
    ecglens: Callable[..., Any], tiny_data: Path, tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    made = ("--model", "small2d") if "--model" not in words else ()
    done = ecglens("run", "varandas2021", "--quick", *made, *words, "--data", tiny_data, "--out", tmp_path / "run")
    assert text in done.complaint


@pytest.mark.parametrize(("name", "text"), [("w.pth", "may run code"), ("none.safetensors", "does not exist"),
                                            ("w.safetensors", "lacks")])  # fmt: skip
def test_weights_that_cannot_be_taken_end_in_one_line(
    ecglens: Callable[..., Any], tiny_data: Path, tmp_path: Path, name: str, text: str
) -> None:
    torch.save({"fc.bias": torch.zeros(2)}, tmp_path / "w.pth")
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    words = ("--quick", "--model", "resnet50", "--set", f"weights={tmp_path / name}", "--set", "tested_at_most=0")
    done = ecglens("run", "varandas2021", *words, "--data", tiny_data, "--out", tmp_path / "run")
    assert text in done.complaint
    assert not (tmp_path / "run" / "model.safetensors").exists()


# ------------------------------------------------------------------------------------------------ the real records


def test_real_windows_are_as_many_as_the_paper_tests(ecglens: Callable[..., Any], real_mitdb: Path, tmp_path: Path) -> None:
    words = ("--recipe", "as-published", "--model", "small2d", "--stop-after", "examples")
    done = ecglens("run", "varandas2021", *words, "--data", real_mitdb.parent, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    counts = pd.read_csv(tmp_path / "run" / "tables" / "splits.csv").groupby(["split", "class"])["n"].sum()
    assert counts["test"].sum() == 49617
    assert counts["test", "normal"] / counts["test"].sum() == pytest.approx(0.8904, abs=5e-5)
    about = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert len(about["data"]["records"]) == 44
    assert about["shared_patients"] == ["201"]
    # 50,925 as in the facts, less windows too long for the array
    too_long = sum(about["windows"]["too_long"].values())
    assert counts["train"].sum() + counts["validation"].sum() + too_long == 50925
