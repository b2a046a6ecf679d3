"""How well a linear probe tells, within a class, the origin of examples: database, hospital or patient."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.training.metrics import ranking_scores

Array = NDArray[np.float64]
Index = NDArray[np.int64]

FOLDS, COMPONENTS = 5, 50
_STRENGTH = 0.1  # inverse of the L2 penalty, on standardised features


@dataclass(frozen=True)
class Within:
    """The examples of one class whose origin can be asked for.

    rows: where they are; origin: index into names; unit: what is moved as a whole, the group, or (not grouped) the row itself.
    """

    rows: Index
    origin: Index
    names: tuple[str, ...]
    unit: Index
    grouped: bool

    @property
    def units(self) -> tuple[Index, Index, Index]:
        """The distinct units, which of them each example is, and the origin that each mostly has."""
        units, which = np.unique(self.unit, return_inverse=True)
        return units, which, main_origin(which, self.origin)


def main_origin(unit: Index, origin: Index) -> Index:
    """The origin that most examples of each unit have, (unit,)."""
    counts = np.zeros((unit.max(initial=-1) + 1, origin.max(initial=0) + 1), np.int64)
    np.add.at(counts, (unit, origin), 1)
    return counts.argmax(1)


def check_origins(
    features: NDArray[np.floating[Any]],
    labels: Index,
    origins: NDArray[Any],
    groups: NDArray[Any] | None,
    classes: Sequence[str],
    at_least: int,
) -> None:
    """Raises EcglensError where the arrays do not fit each other or hold no numbers."""
    sizes = {"features": len(features), "labels": len(labels), "origins": len(origins)}
    sizes |= {} if groups is None else {"groups": len(groups)}
    if features.ndim != 2 or len(set(sizes.values())) != 1:
        found = ", ".join(f"{size} {name}" for name, size in sizes.items())
        raise EcglensError(f"found {found}; features {features.shape}; expected features (example, number), one of each")
    bad = int((~np.isfinite(features)).any(1).sum())
    if bad:
        raise EcglensError(f"{bad} of {len(features)} examples have NaN or infinite features; leave them out or mend them")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise EcglensError(f"labels run from {labels.min()} to {labels.max()}; expected 0 to {len(classes) - 1}, one a class")
    if at_least < 4:
        raise EcglensError(f"at_least is {at_least}; a probe needs four examples of an origin or more")


def within_class(
    labels: Index, label: int, origins: NDArray[Any], groups: NDArray[Any] | None, *, at_least: int
) -> Within | str:
    """The examples of a class from origins with `at_least` examples and two groups; or why there are none."""
    rows = np.flatnonzero(labels == label)
    if not len(rows):
        return "no examples"
    names, origin, counts = np.unique(origins[rows], return_inverse=True, return_counts=True)
    enough = counts >= at_least
    wanted = f"{at_least} examples"
    if groups is None:
        unit = rows
    else:
        unit = np.unique(groups, return_inverse=True)[1][rows]
        # an origin of one group cannot be told from that group
        some = np.flatnonzero(enough[origin])
        if len(some):
            main = main_origin(np.unique(unit[some], return_inverse=True)[1], origin[some])
            enough &= np.bincount(main, minlength=len(names)) >= 2
        wanted += " and 2 groups"
    if enough.sum() < 2:
        which = f" ({names[enough][0]})" if enough.any() else ""
        return f"{enough.sum()} of {len(names)} origins{which} with {wanted} or more; two are needed"
    keep = enough[origin]
    kept = np.cumsum(enough) - 1
    known = tuple(str(name) for name in names[enough])
    return Within(rows[keep], kept[origin[keep]], known, unit[keep].astype(np.int64), groups is not None)


def folds(within: Within, origin: Index, n: int) -> Index:
    """The fold of each example, (example,): units stay whole, each origin is in every fold that its units reach.

    Grouped: an origin's groups are dealt out from the largest on. Else consecutive blocks in the given order, as
    neighbouring windows of a patient are near-copies.
    """
    if not within.grouped:
        out = np.empty(len(origin), np.int64)
        for name in np.unique(origin):
            mine = np.flatnonzero(origin == name)
            out[mine] = np.arange(len(mine)) * n // len(mine)
        return out
    _, which, _ = within.units
    main, sizes = main_origin(which, origin), np.bincount(which)
    of_unit = np.empty(len(sizes), np.int64)
    for name in np.unique(main):
        mine = np.flatnonzero(main == name)
        of_unit[mine[np.argsort(-sizes[mine], kind="stable")]] = np.arange(len(mine)) % n
    return of_unit[which]


def n_folds(within: Within) -> int:
    """As many folds as the origin with the fewest units allows, at most 5."""
    return int(min(FOLDS, np.bincount(within.units[2], minlength=len(within.names)).min()))


def standardised(features: NDArray[np.floating[Any]]) -> Array:
    """Each column to mean 0 and standard deviation 1, float64; constant columns to 0."""
    x = features.astype(np.float64)
    x -= x.mean(0)
    spread = x.std(0)
    return x / np.where(spread > 1e-12 * np.abs(features).max(0, initial=0), spread, np.inf)


def reduced(x: Array, most: int = COMPONENTS) -> tuple[Array, Array]:
    """Principal components of centred `x` (example, feature): scores (example, component), axes (feature, component).

    By the smaller of the two squares, so that long signals cost no more than short ones.
    """
    wide = x.shape[1] > x.shape[0]
    size, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    there = np.flatnonzero(size > 1e-9 * max(size[-1], 1e-300))[::-1][: min(most, len(x) - 1)]
    axes = x.T @ vectors[:, there] / np.sqrt(size[there]) if wide else vectors[:, there]
    return x @ axes, axes


def fitted(x: Array, origin: Index) -> Any:
    """The probe: an L2 logistic regression in which every origin counts the same."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    two = len(np.unique(origin)) == 2
    model = LogisticRegression(
        C=_STRENGTH, class_weight="balanced", solver="newton-cholesky" if two else "lbfgs", tol=1e-3, max_iter=2000
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # where nothing is left, rounding has no slope to follow
        return model.fit(x, origin)


def log_odds(probe: Any, x: Array, n_origins: int) -> Array:
    """Log odds (two origins) or log probability of each origin, (example, origin)."""
    from scipy.special import log_softmax

    found = probe.decision_function(x)
    out = np.zeros((len(x), n_origins))
    out[:, probe.classes_] = np.column_stack([-found, found]) if found.ndim == 1 else log_softmax(found, axis=1)
    return out


def out_of_fold(x: Array, origin: Index, fold: Index, n_origins: int) -> Array:
    """`log_odds` of each example by a probe fitted on the other folds."""
    out = np.zeros((len(x), n_origins))
    for one in np.unique(fold):
        held = fold == one
        out[held] = log_odds(fitted(x[~held], origin[~held]), x[held], n_origins)
    return out


def macro_auc(scores: Array, origin: Index, fold: Index, weights: Array | None = None) -> Array:
    """Area under the curve of each origin against the rest, mean over origins, for each row of `weights` (replicate, example).

    Only pairs of the same fold are compared: scores of two probes have no common zero, and pooling them pulls the AUC of
    what cannot be told below one half.
    """
    weights = np.ones((1, len(origin))) if weights is None else weights
    areas = []
    for name in range(scores.shape[1]):
        right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for one in np.unique(fold):
            held = fold == one
            w, positive = weights[:, held], origin[held] == name
            n = (w * positive).sum(1) * (w * ~positive).sum(1)
            right += np.nan_to_num(ranking_scores(positive, scores[held, name], w)[0]) * n
            pairs += n
        areas.append(np.divide(right, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))
    found = np.array(areas)
    known = ~np.isnan(found)
    return np.where(known, found, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)


def shuffled_origins(within: Within, keys: Array) -> Index:
    """Origins dealt out anew among the units, (example,); keys: a random number for each unit of the whole data set."""
    units, which, main = within.units
    new = np.empty(len(units), np.int64)
    new[np.argsort(keys[units], kind="stable")] = np.sort(main)
    return new[which]


def probe_auc(x: Array, within: Within, origin: Index, weights: Array | None = None) -> tuple[float, Array]:
    """Cross-validated AUC of the probe, and of each bootstrap replicate (none without `weights`)."""
    fold = folds(within, origin, n_folds(within))
    scores = out_of_fold(x, origin, fold, len(within.names))
    again = np.empty(0) if weights is None else macro_auc(scores, origin, fold, weights)
    return float(macro_auc(scores, origin, fold)[0]), again


def bootstrap(stratum: Index, replicates: int, rng: np.random.Generator) -> Array:
    """How often each unit is drawn in each replicate (replicate, unit), each stratum for itself."""
    out = np.empty((replicates, len(stratum)))
    for name in np.unique(stratum):
        mine = np.flatnonzero(stratum == name)
        out[:, mine] = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=replicates)
    return out


def origin_probe(
    features: NDArray[np.floating[Any]],
    labels: Index,
    origins: NDArray[Any],
    *,
    groups: NDArray[Any] | None,
    classes: Sequence[str],
    seed: int = 0,
    at_least: int = 20,
    replicates: int = 200,
    permutations: int = 19,
) -> pd.DataFrame:
    """How well the origin can be told within each class: a row per class, and "all classes", their mean.

    features (example, number); labels (example,), index into `classes`; origins (example,), names; groups (example,), names:
    what must not be on both sides of a fold (the patient, where the origin is a database), or None (the origin is the patient;
    give examples in order of time). Columns: class; n and origins, examples and origins asked (those with `at_least`
    examples and two groups); auc, each origin against the rest, cross-validated, of a logistic regression on at most 50
    principal components of the standardised features, .5 is chance; low, high: 95 % of a bootstrap over groups, or over
    examples (too narrow, then, as neighbours repeat each other), with the probe as fitted: where there is nothing to tell it
    holds .5 four times in five; shuffled, shuffled_high: mean and 95 % point with origins dealt out anew among groups, or
    examples: of 19 permutations the largest, which chance exceeds once in 20; why_not: why a class has no numbers.
    Raises EcglensError where arrays do not fit.
    """
    check_origins(features, labels, origins, groups, classes, at_least)
    rng = np.random.default_rng([seed, 11])
    drawn = None
    n_units = len(labels)
    if groups is not None and n_units:
        who = np.unique(groups, return_inverse=True)[1]
        n_units = int(who.max()) + 1
        drawn = bootstrap(main_origin(who, np.unique(origins, return_inverse=True)[1]), replicates, rng)
    keys = rng.random((permutations, n_units))  # the same for all classes: so their mean has an honest spread
    rows: list[dict[str, Any]] = []
    spread, null, seen = [], [], set()
    for label, name in enumerate(classes):
        within = within_class(labels, label, origins, groups, at_least=at_least)
        if isinstance(within, str):
            rows.append({"class": name, "why_not": within})
            continue
        x, _ = reduced(standardised(features[within.rows]))
        if not x.shape[1]:
            rows.append({"class": name, "why_not": "the features are the same for all examples"})
            continue
        weights = bootstrap(within.origin, replicates, rng) if drawn is None else drawn[:, within.unit]
        auc, again = probe_auc(x, within, within.origin, weights=weights)
        chance = np.array([probe_auc(x, within, shuffled_origins(within, each))[0] for each in keys])
        rows.append({"class": name, "n": len(within.rows), "origins": len(within.names), **_numbers(auc, again, chance)})
        spread.append(again)
        null.append(chance)
        seen |= set(within.names)
    if spread:
        told = [row for row in rows if "auc" in row]
        mean = _numbers(float(np.mean([row["auc"] for row in told])), np.mean(spread, axis=0), np.mean(null, axis=0))
        rows.append({"class": "all classes", "n": sum(row["n"] for row in told), "origins": len(seen), **mean})
    else:
        rows.append({"class": "all classes", "why_not": "no class could be asked"})
    columns = ["class", "n", "origins", "auc", "low", "high", "shuffled", "shuffled_high", "why_not"]
    table = pd.DataFrame(rows, columns=columns).astype({"n": "Int64", "origins": "Int64"})
    return table.assign(why_not=table["why_not"].fillna(""))


def _numbers(auc: float, again: Array, chance: Array) -> dict[str, float]:
    known = again[~np.isnan(again)]
    low, high = np.percentile(known, [2.5, 97.5]) if known.size else (np.nan, np.nan)
    top = np.percentile(chance, 95, method="higher") if chance.size else np.nan
    mean = chance.mean() if chance.size else np.nan
    return {"auc": auc, "low": float(low), "high": float(high), "shuffled": float(mean), "shuffled_high": float(top)}
