"""Does a class decision lean on what tells the origin? Take that out of the last layer and see what becomes of the margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis import probing
from ecglens.analysis.probing import Array, Index, Within
from ecglens.errors import EcglensError

MOST = 20  # directions taken out
_DRAWS = 20  # random removals to compare with
_PERMUTATIONS = 9  # to know when nothing is left that tells the origin
COLUMNS = (
    "class", "n", "origins", "directions", "share", "auc_before", "auc_after", "auc_shuffled",
    "margin_before", "margin_after", "margin_random", "margin_random_low", "margin_random_high",
    "accuracy_before", "accuracy_after", "accuracy_random", "accuracy_random_low", "accuracy_random_high",
    "leans", "low", "high", "why_not",
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """The last layer about a centre: logits = z @ weight.T + bias; z (example, feature) in standard deviations."""

    weight: Array
    bias: Array
    label: int

    def margin(self, z: Array) -> Array:
        """The class's own logit less the largest other one, (example,): above 0 where the decision is this class."""
        logits = z @ self.weight.T + self.bias
        others = np.delete(logits, self.label, axis=1)
        return logits[:, self.label] - others.max(1)


def leaning(
    features: NDArray[np.floating[Any]],
    weight: NDArray[np.floating[Any]],
    bias: NDArray[np.floating[Any]],
    labels: Index,
    origins: NDArray[Any],
    *,
    groups: NDArray[Any] | None,
    classes: Sequence[str],
    seed: int = 0,
    directions: int | None = None,
    at_least: int = 20,
    replicates: int = 200,
) -> pd.DataFrame:
    """How far each class decision leans on the directions of the last layer that tell the origin within the class.

    features (example, feature): input of the last layer; weight (class, feature) and bias (class,): that layer; labels,
    origins, groups, classes: as for `origin_probe`. One half of a class (of its groups, or of each origin's examples in order)
    gives the directions, round by round, until a fresh probe, asked about the other half, tells no more than with shuffled
    origins: one round at least, at most 20 directions (or `directions`, if given). In the other half they are set to the
    mean over all classes; then the halves change places (INLP: Ravfogel 2020, arXiv:2004.07667). Features are in standard
    deviations within classes, so that the scale of a unit does not matter. Beside it 20 random removals of as many
    directions that hold the same share of the variance within the class.

    A row per class: directions (mean of the halves); share, the variance within the class that goes with them; auc_before,
    auc_after, auc_shuffled: of the fresh probe in the other half; margin_before, _after, _random: own logit
    less the largest other, mean; accuracy likewise; _low, _high: 95 % of the random removals; leans: (margin_random -
    margin_after) / mean |margin_before|, 0: no more than at random, about 1: all of the margin; low, high: 95 % of a
    bootstrap over groups or examples and over the random removals; why_not: why a class has no numbers.
    Raises EcglensError where arrays do not fit.
    """
    probing.check_origins(features, labels, origins, groups, classes, at_least)
    shape = (len(classes), features.shape[1])
    if weight.shape != shape or bias.shape != shape[:1] or len(classes) < 2:
        raise EcglensError(
            f"weight {weight.shape} and bias {bias.shape} for {shape[1]} features and {len(classes)} classes; "
            f"expected {shape} and {shape[:1]}, two classes or more"
        )
    if directions is not None and directions < 1:
        raise EcglensError(f"directions is {directions}; expected 1 or more, or None")
    x = features.astype(np.float64)
    there = [x[labels == label] for label in np.unique(labels)] or [np.zeros((1, shape[1]))]
    # every class counts the same: what is set to this point can tell no class from another
    centre = np.mean([each.mean(0) for each in there], axis=0)
    # within classes: else what separates classes would look small, and be the likelier to be removed at random
    spread = np.sqrt(np.mean([each.var(0) for each in there], axis=0))
    spread = np.where(spread > 1e-9 * np.abs(x).max(0, initial=0), spread, 1.0)
    z = (x - centre) / spread
    rows: list[dict[str, Any]] = []
    for label, name in enumerate(classes):
        within = probing.within_class(labels, label, origins, groups, at_least=at_least)
        if isinstance(within, str):
            rows.append({"class": name, "why_not": within})
            continue
        head = Head((weight * spread).astype(np.float64), (bias + weight @ centre).astype(np.float64), label)
        rng = np.random.default_rng([seed, 12, label])
        told = _leaning(z[within.rows], head, within, rng, directions, replicates)
        rows.append({"class": name, "n": len(within.rows), "origins": len(within.names), **told})
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n": "Int64", "origins": "Int64"})
    return table.assign(why_not=table["why_not"].fillna(""))


def _leaning(
    z: Array, head: Head, within: Within, rng: np.random.Generator, directions: int | None, replicates: int
) -> dict[str, float]:
    """The numbers of one class; z (example of the class, feature)."""
    half = probing.folds(within, within.origin, 2)
    before = head.margin(z)
    after, random = before.copy(), np.tile(before, (_DRAWS, 1))
    found = []
    for side in (0, 1):
        fit, held = half == side, z[half != side]
        axes, variance, basis, aucs = _telling(z[fit], held, _part(within, fit), _part(within, ~fit), rng, directions)
        total = float(((z[fit] - z[fit].mean(0)) ** 2).sum() / fit.sum())
        share = float((variance[:, None] * basis**2).sum())
        found.append((basis.shape[1], share / total if total > 0 else 0.0, *aucs))
        if not basis.shape[1]:
            continue
        after[half != side] = head.margin(_without(held, axes @ basis))
        for draw, other in enumerate(random_bases(variance, basis.shape[1], share, rng)):
            random[draw, half != side] = head.margin(_without(held, axes @ other))
    _, which, main = within.units
    weights = probing.bootstrap(main, replicates, rng)[:, which]
    # each replicate takes one random removal: that two removals differ by chance belongs into the interval
    drop = random[rng.integers(_DRAWS, size=replicates)] - after
    size = (weights * np.abs(before)).sum(1)
    again = np.divide((weights * drop).sum(1), size, out=np.zeros(replicates), where=size > 0)
    mean = np.mean(found, axis=0)
    out = dict(zip(("directions", "share", "auc_before", "auc_after", "auc_shuffled"), map(float, mean), strict=True))
    for name, what in (("margin", lambda m: m), ("accuracy", lambda m: (m > 0).astype(np.float64))):
        draws = what(random).mean(1)
        low, high = np.percentile(draws, [2.5, 97.5])
        out |= {f"{name}_before": float(what(before).mean()), f"{name}_after": float(what(after).mean())}
        out |= {f"{name}_random": float(draws.mean()), f"{name}_random_low": float(low), f"{name}_random_high": float(high)}
    scale = float(np.abs(before).mean())
    low, high = np.percentile(again, [2.5, 97.5])
    leans = (out["margin_random"] - out["margin_after"]) / scale if scale > 0 else 0.0
    return out | {"leans": leans, "low": float(low), "high": float(high)}


def _part(within: Within, rows: NDArray[np.bool_]) -> Within:
    return replace(within, rows=within.rows[rows], origin=within.origin[rows], unit=within.unit[rows])


def _without(z: Array, basis: Array) -> Array:
    """z with what lies along the columns of `basis` (orthonormal) set to 0."""
    return z - (z @ basis) @ basis.T


def _telling(
    z: Array, held: Array, part: Within, other: Within, rng: np.random.Generator, directions: int | None
) -> tuple[Array, Array, Array, tuple[float, float, float]]:
    """What tells the origin in z: axes (feature, component), their variance, a basis (component, direction); AUCs.

    Axes and basis are orthonormal: the directions are `axes @ basis`. The AUCs are of probes fitted on z and asked about
    `held`: before, after, and the largest with origins shuffled in both, once the first round has been taken out (before
    that, a shuffle of few groups is often nearly the truth).
    """
    mean = z.mean(0)
    left, axes = probing.reduced(z - mean)
    asked = (held - mean) @ axes
    variance = (left**2).mean(0)
    basis = np.empty((len(variance), 0))
    if not len(variance):
        return axes, variance, basis, (0.5, 0.5, 0.5)
    most = min(directions or MOST, len(variance))
    aucs, chance = [], np.inf
    while True:
        probe = probing.fitted(left, part.origin)
        aucs.append(_auc(probe, asked, other.origin, len(part.names)))
        if len(aucs) == 2:
            chance = max(_shuffled_auc(left, asked, part, other, rng) for _ in range(_PERMUTATIONS))
        if basis.shape[1] >= most or (directions is None and len(aucs) > 1 and aucs[-1] <= chance):
            return axes, variance, basis, (aucs[0], aucs[-1], chance)
        # the functionals of all origins sum to zero: one direction fewer than origins
        new = np.linalg.svd(_without(probe.coef_, basis), full_matrices=False)[2]
        new = new[: min(max(len(probe.coef_) - 1, 1), most - basis.shape[1])]
        basis = np.linalg.qr(np.hstack([basis, new.T]))[0]
        left, asked = _without(left, basis), _without(asked, basis)


def _auc(probe: Any, x: Array, origin: Index, n_origins: int) -> float:
    return float(probing.macro_auc(probing.log_odds(probe, x, n_origins), origin, np.zeros_like(origin))[0])


def _shuffled_auc(x: Array, asked: Array, part: Within, other: Within, rng: np.random.Generator) -> float:
    keys = rng.random(int(max(part.unit.max(), other.unit.max())) + 1)
    probe = probing.fitted(x, probing.shuffled_origins(part, keys))
    return _auc(probe, asked, probing.shuffled_origins(other, keys), len(part.names))


def random_bases(variance: Array, n: int, share: float, rng: np.random.Generator, draws: int = _DRAWS) -> Array:
    """Random orthonormal bases (draw, component, direction) of `n` directions that hold the variance `share`, or nearly.

    variance (component,), from the largest down. Normal numbers, weighted by a power of the variance; the power is found
    by halving, for each draw.
    """
    noise = rng.normal(size=(draws, len(variance), n))
    scale = np.maximum(variance / variance[0], 1e-6)[None, :, None]
    low, high = np.full((draws, 1, 1), -3.0), np.full((draws, 1, 1), 4.0)
    for _ in range(24):
        power = (low + high) / 2
        basis = np.linalg.qr(noise * scale**power)[0]
        more = ((basis**2 * variance[:, None]).sum((1, 2)) < share)[:, None, None]
        low, high = np.where(more, power, low), np.where(more, high, power)
    return basis
