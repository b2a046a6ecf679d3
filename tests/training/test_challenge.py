"""The Challenge's score against its definition, pair by pair with sets and a dictionary."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np
import pytest

from ecglens.errors import EcglensError
from ecglens.training.challenge import challenge_parts, challenge_weights, fold_equivalent, has_challenge_score
from ecglens.training.metrics import challenge_score

NSR, AF, TINV = "426783006", "164889003", "59931005"
SAME = {"59118001": "713427006", "63593006": "284470004", "17338001": "427172004"}
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")


def _table(path) -> dict[tuple[str, str], float]:
    with path.open(encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    return {(row[0], code): float(value) for row in rows for code, value in zip(head[1:], row[1:], strict=True)}


WEIGHT = _table(files("ecglens.examples").joinpath("tables/challenge2020_weights.csv"))
ALL_27 = tuple(dict.fromkeys(code for code, _ in WEIGHT))
ALL_24 = tuple(code for code in ALL_27 if code not in SAME)


def _earned(true: set[str], answered: set[str]) -> float:
    size = max(len(true | answered), 1)
    return sum(WEIGHT[a, b] / size for a in true for b in answered)


def _slowly(truth, predicted, classes) -> float | None:
    """The official definition with sets of codes; None where there is nothing to score."""
    observed = correct = inactive = 0.0
    for row in range(len(truth)):
        true = {SAME.get(code, code) for code, yes in zip(classes, truth[row], strict=True) if yes}
        answered = {SAME.get(code, code) for code, yes in zip(classes, predicted[row], strict=True) if yes}
        observed += _earned(true, answered)
        correct += _earned(true, true)
        inactive += _earned(true, {NSR})
    return (observed - inactive) / (correct - inactive) if correct != inactive else None


def _case(rng: np.random.Generator):
    """A few records and classes: one class, a handful, all 24, all 27; records without a label, without an answer."""
    kind = rng.integers(5)
    if kind < 2:
        classes = ALL_27 if kind else ALL_24
        classes = tuple(rng.permutation(classes).tolist())
    else:
        others = [code for code in ALL_27 if code != NSR]
        classes = (NSR, *rng.choice(others, rng.integers(5), replace=False).tolist())
        classes = tuple(rng.permutation(classes).tolist())
    shape = (int(rng.integers(1, 7)), len(classes))
    many = rng.choice([0.05, 0.2, 0.6])
    truth, predicted = rng.random(shape) < many, rng.random(shape) < rng.choice([0.0, 0.1, 0.5, 1.0])
    truth[rng.random(shape[0]) < 0.15] = False
    return truth, predicted, classes


def test_ten_thousand_cases_equal_the_definition():
    rng = np.random.default_rng(0)
    worst, scored, refused, unlabelled = 0.0, 0, 0, 0
    while scored < 10_000:
        truth, predicted, classes = _case(rng)
        wanted = _slowly(truth, predicted, classes)
        if wanted is None:
            refused += 1
            with pytest.raises(EcglensError, match="other than sinus rhythm"):
                challenge_score(truth, predicted, classes)
            continue
        scored += 1
        unlabelled += not truth.any(1).all()
        worst = max(worst, abs(challenge_score(truth, predicted, classes) - wanted))
    assert worst < 1e-9
    assert min(refused, unlabelled) > 1000


@pytest.mark.parametrize("classes", [ALL_24, ALL_27])
def test_the_truth_scores_1_and_always_sinus_rhythm_0(classes):
    truth = np.random.default_rng(1).random((200, len(classes))) < 0.15
    always = np.zeros_like(truth)
    always[:, classes.index(NSR)] = True
    assert challenge_score(truth, truth, classes) == pytest.approx(1, abs=1e-12)
    assert challenge_score(truth, always, classes) == pytest.approx(0, abs=1e-12)
    assert challenge_score(truth, np.zeros_like(truth), classes) < 0


def test_an_example_by_hand():
    # AF taken for flutter: .5, for both .75; all sinus .25 (the weight of AF and sinus rhythm)
    classes, truth = (NSR, AF, "164890007"), np.array([[False, True, False]])
    flutter, both = np.array([[False, False, True]]), np.array([[False, True, True]])
    assert challenge_score(truth, both, classes) == pytest.approx((1.5 / 2 - 0.25 / 2) / (1 - 0.25 / 2))
    assert challenge_score(truth, flutter, classes) == pytest.approx((0.5 / 2 - 0.25 / 2) / (1 - 0.25 / 2))


def test_equivalent_codes_are_one_class_whichever_is_said():
    classes = (NSR, "713427006", "59118001")
    said_one, said_other = np.array([[0, 1, 0], [1, 0, 0]]), np.array([[0, 0, 1], [1, 0, 0]])
    assert challenge_score(said_one, said_other, classes) == 1
    assert challenge_score(said_one, said_one | said_other, classes) == 1
    assert challenge_score(said_one[:, :2], said_other[:, [0, 2]], (NSR, "59118001")) == 1
    folded, left = fold_equivalent(said_one.astype(bool), classes)
    assert left == (NSR, "713427006")
    np.testing.assert_array_equal(folded, [[False, True], [True, False]])


def test_parts_of_records_add_up_to_the_score_of_any_choice_of_them():
    rng = np.random.default_rng(2)
    truth, predicted = rng.random((50, 24)) < 0.1, rng.random((50, 24)) < 0.1
    observed, correct, inactive = challenge_parts(truth, predicted, ALL_24)
    rows = rng.integers(50, size=50)
    found = (observed[rows].sum() - inactive[rows].sum()) / (correct[rows].sum() - inactive[rows].sum())
    assert found == pytest.approx(challenge_score(truth[rows], predicted[rows], ALL_24))


def test_weights_are_symmetric_with_1_on_the_diagonal_and_never_off_it():
    weights = challenge_weights(ALL_24)
    np.testing.assert_array_equal(weights, weights.T)
    np.testing.assert_array_equal(np.diagonal(weights), 1)
    assert weights[~np.eye(24, dtype=bool)].max() < 1
    assert challenge_weights((TINV, NSR))[0, 1] == 0.25


def test_tables_are_the_challenges_own(data_root):
    assert _table(data_root / "challenge2020" / "weights.csv") == WEIGHT


@pytest.mark.parametrize(
    ("truth", "predicted", "classes", "says"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2)), (NSR, AF), r"truth has shape \(2, 3\)"),
        (np.zeros((2, 2)), np.zeros(2), (NSR, AF), r"predicted has shape \(2,\)"),
        (np.zeros((2, 2)), np.zeros((3, 2)), (NSR, AF), "truth has 2 records and predicted 3"),
        (np.zeros((0, 2)), np.zeros((0, 2)), (NSR, AF), "no records"),
        (np.ones((1, 2)), np.full((1, 2), 0.3), (NSR, AF), "predicted holds other values than 0 and 1"),
        (np.ones((1, 2)), np.ones((1, 2)), (NSR, "164884008"), "no weight for '164884008'"),
        (np.ones((1, 5)), np.ones((1, 5)), SUPERCLASSES, "no weight for 'NORM', 'MI'"),
        (np.ones((1, 2)), np.ones((1, 2)), (426783006, 164889003), "no weight for 426783006, 164889003.*as text"),
        (np.ones((1, 2)), np.ones((1, 2)), (AF, AF), f"class {AF} is given more than once"),
        (np.ones((1, 2)), np.ones((1, 2)), (AF, TINV), "sinus rhythm .426783006. is not among"),
        (np.array([[1, 0], [0, 0]]), np.ones((2, 2)), (NSR, AF), "none of the 2 records has a scored diagnosis other than"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(truth, predicted, classes, says):
    with pytest.raises(EcglensError, match=says) as why:
        challenge_score(truth, predicted, classes)
    assert "\n" not in str(why.value)


def test_equivalent_codes_side_by_side_have_no_weights():
    with pytest.raises(EcglensError, match="713427006, 59118001 are one class given twice"):
        challenge_weights((NSR, "713427006", "59118001"))


def test_only_scored_codes_with_sinus_rhythm_have_a_score():
    assert has_challenge_score(ALL_24)
    assert not has_challenge_score((AF, TINV))
    assert not has_challenge_score(SUPERCLASSES)
    with pytest.raises(EcglensError, match="one class given twice"):
        has_challenge_score(ALL_27)
