"""The two recipes, their differences, and `--set`."""

from __future__ import annotations

from dataclasses import fields

import pytest

from ecglens.errors import EcglensError
from ecglens.examples.splits import SPLITS
from ecglens.studies.jones2020 import ask
from ecglens.studies.jones2020_published import FIGURE_6, TABLE_1
from ecglens.studies.jones2020_recipe import MODEL_NAMES, REASONS, Recipe, recipe_for
from ecglens.studies.options import differences, with_settings


def test_every_flaw_that_has_a_reason_is_an_option_on_which_the_recipes_differ() -> None:
    found = differences(*(recipe_for(name, "cnn", "holdout", quick=False) for name in ("as-published", "corrected")))
    assert set(REASONS) <= set(found)


@pytest.mark.parametrize("model", list(MODEL_NAMES))
@pytest.mark.parametrize("split", list(SPLITS))
@pytest.mark.parametrize("name", ["as-published", "corrected"])
def test_every_recipe_passes_its_own_checks(name: str, split: str, model: str) -> None:
    for quick in (False, True):
        recipe = recipe_for(name, model, split, quick=quick)
        assert recipe.beats.length == 430
        assert recipe.training.epochs >= 1


def test_the_published_trainings_are_those_of_the_authors_code() -> None:
    cnn, lstm = (recipe_for("as-published", model, "holdout", quick=False) for model in ("cnn", "lstm"))
    assert (cnn.loss, cnn.optimiser, cnn.rate, cnn.schedule, cnn.epochs) == ("cross-entropy", "adam", 1e-3, "plateau", 30)
    assert (lstm.loss, lstm.optimiser, lstm.rate, lstm.schedule, lstm.epochs) == ("focal", "nadam", 1e-3, "none", 40)
    assert [recipe_for("as-published", m, "leave-patients-out", quick=False).epochs for m in ("cnn", "lstm")] == [15, 20]


def test_settings_change_one_option_each_and_keep_its_type() -> None:
    before = Recipe()
    after = with_settings(before, ["merge_case=true", "epochs=7", "rate=0.5", "scale=lead"])
    assert {name: pair[1] for name, pair in differences(before, after).items()} == {
        "merge_case": True, "epochs": 7, "rate": 0.5, "scale": "lead",
    }  # fmt: skip
    assert all(type(getattr(before, f.name)) is type(getattr(after, f.name)) for f in fields(Recipe))


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("merge_case", "NAME=VALUE"),
        ("merge_cas=true", "did you mean 'merge_case'"),
        ("merge_case=maybe", "true or false"),
        ("epochs=many", "expected a number"),
        ("epochs=0", "expected at least 1"),
        ("padding=middle", "choose from: centre, end"),
        ("extent=whole", "choose from"),
        ("usual_beat=true", "usual_beat needs"),
    ],
)
def test_a_setting_that_is_not_understood_is_named(setting: str, word: str) -> None:
    recipe = recipe_for("as-published", "cnn", "holdout", quick=False)
    with pytest.raises(EcglensError, match=word):
        with_settings(recipe, [setting])


def test_the_model_defaults_to_the_papers_or_to_resnet() -> None:
    assert ask("as-published", None, "holdout", "jones", [], quick=True, seed=0).model == "cnn"
    assert ask("corrected", None, "holdout", "jones", [], quick=True, seed=0).model == "resnet"


@pytest.mark.parametrize("model", ["cnn", "lstm"])
def test_the_published_macro_averages_are_those_of_the_published_classes_over_eight(model: str) -> None:
    """Leave-patients-out: four classes are summed and divided by eight; over the four that exist it is .72 and .77."""
    rows = FIGURE_6["leave-patients-out", model].values()
    f1 = sum(row[0] for row in rows)
    assert f1 / 8 == pytest.approx(TABLE_1["leave-patients-out", model][1], abs=0.001)
    assert f1 / 4 == pytest.approx({"cnn": 0.720, "lstm": 0.7725}[model], abs=0.001)
