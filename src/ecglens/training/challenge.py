"""The score of the PhysioNet/CinC Challenge 2020: wrong answers that would be treated alike cost less.

Definition: evaluate_12ECG_score.py of physionetchallenges/evaluation-2020, last version. For each record, every pair of a true
class and an answered class earns its weight, divided by how many classes are true or answered (at least 1). The sum over
records is put on a scale on which the truth has 1 and "always sinus rhythm" 0.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecglens.errors import EcglensError, did_you_mean
from ecglens.examples.diagnoses import SINUS_RHYTHM, table_named

Array = NDArray[np.float64]


def challenge_score(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], classes: tuple[str, ...]) -> float:
    """The Challenge 2020's score of yes-or-no answers: 1 for the truth, 0 for always sinus rhythm, below 0 for worse.

    truth, predicted: bool (record, class); classes: SNOMED codes as text, of the 27 that are scored. Of two equivalent codes
    the first listed stands for both. Classes that are not given count as never true and never answered.
    Raises EcglensError where shapes do not fit, a class is unknown or given twice, sinus rhythm is missing, or no record has
    another scored diagnosis than sinus rhythm, so that there is nothing to tell apart (the official script then says 0).
    """
    observed, correct, inactive = (part.sum() for part in challenge_parts(truth, predicted, classes))
    if correct == inactive:
        raise EcglensError(
            f"none of the {len(truth)} records has a scored diagnosis other than sinus rhythm; the Challenge score needs one"
        )
    return float((observed - inactive) / (correct - inactive))


def challenge_parts(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], classes: tuple[str, ...]
) -> tuple[Array, Array, Array]:
    """What each record earns: as answered, if answered rightly, and if answered "sinus rhythm". Three arrays (record,).

    The score of any choice of records is (sum answered - sum sinus) / (sum right - sum sinus). Raises as `challenge_score`.
    """
    truth, folded = fold_equivalent(_yes_or_no("truth", truth, classes), classes)
    predicted, _ = fold_equivalent(_yes_or_no("predicted", predicted, classes), classes)
    if len(truth) != len(predicted):
        raise EcglensError(f"truth has {len(truth)} records and predicted {len(predicted)}; expected the same")
    if not len(truth):
        raise EcglensError("there are no records to score")
    weights = challenge_weights(folded)
    if SINUS_RHYTHM not in folded:
        raise EcglensError(f"sinus rhythm ({SINUS_RHYTHM}) is not among the classes; the Challenge score is measured from it")
    sinus = np.zeros_like(truth)
    sinus[:, folded.index(SINUS_RHYTHM)] = True
    return earned(truth, predicted, weights), earned(truth, truth, weights), earned(truth, sinus, weights)


def earned(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: Array) -> Array:
    """What each record earns by the answers (record,): weights of (true, answered) over the size of their union, or 1."""
    return ((truth @ weights) * predicted).sum(1) / np.maximum((truth | predicted).sum(1), 1)


def challenge_weights(classes: tuple[str, ...]) -> Array:
    """The Challenge 2020's weights (true class, answered class), symmetric, 1 on the diagonal.

    Raises EcglensError for classes that have none, and for equivalent codes side by side (see `fold_equivalent`).
    """
    codes, values = _weights()
    unknown = [name for name in classes if name not in codes]
    if unknown:
        raise EcglensError(
            f"the Challenge 2020 has no weight for {', '.join(map(repr, unknown[:6]))}{' and others' * (len(unknown) > 6)}"
            f"{did_you_mean(str(unknown[0]), list(codes))}; expected SNOMED codes of its 27 scored diagnoses, as text"
        )
    stand = _stand_for()
    once = {stand[name] for name in classes}
    if len(once) < len(classes):
        twice = [name for name in classes if [stand[other] for other in classes].count(stand[name]) > 1]
        raise EcglensError(f"classes {', '.join(map(str, twice))} are one class given twice; give each once")
    rows = [codes.index(name) for name in classes]
    return values[np.ix_(rows, rows)]


def fold_equivalent(answers: NDArray[np.bool_], classes: tuple[str, ...]) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Equivalent codes folded into the first listed: bool (record, class), true if either is; and the classes left.

    A code without its partner is renamed. Raises EcglensError where a class is given twice.
    """
    if len(set(classes)) < len(classes):
        twice = dict.fromkeys(name for name in classes if classes.count(name) > 1)
        raise EcglensError(f"class {', '.join(map(str, twice))} is given more than once; give each once")
    stand = _stand_for()
    names = [stand.get(name, name) for name in classes]
    left = tuple(dict.fromkeys(names))
    out = np.zeros((len(answers), len(left)), bool)
    for column, name in enumerate(names):
        out[:, left.index(name)] |= answers[:, column]
    return out, left


def has_challenge_score(classes: tuple[str, ...]) -> bool:
    """Whether all these classes have a weight and sinus rhythm is among them; raises EcglensError for equivalent codes."""
    if SINUS_RHYTHM not in classes or not set(classes) <= set(_stand_for()):
        return False
    challenge_weights(classes)
    return True


def _yes_or_no(what: str, answers: ArrayLike, classes: tuple[str, ...]) -> NDArray[np.bool_]:
    array = np.asarray(answers)
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise EcglensError(f"{what} has shape {array.shape}; expected (record, {len(classes)} classes)")
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise EcglensError(f"{what} holds other values than 0 and 1; expected yes or no for each class: apply thresholds")
    return array.astype(bool)


@cache
def _weights() -> tuple[tuple[str, ...], Array]:
    rows = table_named("challenge2020_weights")
    codes = tuple(row["code"] for row in rows)
    values = np.array([[float(row[code]) for code in codes] for row in rows])
    values.flags.writeable = False
    return codes, values


@cache
def _stand_for() -> dict[str, str]:
    return {row["code"]: row["class"] for row in table_named("challenge2020_scored")}
