"""Confounders put into training examples on purpose, to see whether a model goes by them and an audit names them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.audit.confounders import claims
from ecglens.audit.sign_measures import seen
from ecglens.audit.signs import Sign, find_sign
from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier

KINDS = ("mains", "spike", "offset", "gain", "lead-swap", "clip", "padding", "edge-mark")


@dataclass(frozen=True)
class Planted:
    """examples: all, in their order, some of them marked; rows: int64 (marked,), which; place: int64 (marked,), the sample at
    which each mark is, None for a kind that has no place.
    """

    examples: Examples
    rows: NDArray[np.int64]
    place: NDArray[np.int64] | None


def plant(
    examples: Examples, kind: str, class_name: str, share: float, strength: float, seed: int, rows: NDArray[np.int64]
) -> Planted:
    """Mark a share of one class's examples among `rows` (the training ones, repeats count once) with a sign of `KINDS`.

    strength: in the unit of the sign. The same arguments give the same bytes; all marks of a kind with a place lie at one
    place from R. Raises EcglensError for an unknown kind or class, a share that is not above 0 and at most 1, a strength that
    is none, a class without examples among `rows`, and examples on which the sign cannot be measured.
    """
    sign, label = _checked(examples, kind, class_name, strength)
    if not 0 < share <= 1:
        raise EcglensError(f"share is {share:g}; expected more than 0 and at most 1")
    unique = np.unique(rows)
    held = unique[_has(examples, label)[unique]]
    if not len(held):
        raise EcglensError(f"none of the {len(unique)} rows is of class {class_name!r}; there is nothing to mark")
    chosen = np.random.default_rng([seed, 41]).permutation(held)[: max(1, round(share * len(held)))]
    chosen = np.sort(chosen).astype(np.int64)
    before = examples.take(chosen)
    after = sign.put(before, strength, np.random.default_rng([seed, 42]))
    signals, table = examples.signals.copy(), examples.table.copy()
    signals[chosen] = after.signals
    for name in ("valid_start", "valid_stop"):
        values = table[name].to_numpy(np.int64, copy=True)
        values[chosen] = after.table[name].to_numpy(np.int64)
        table[name] = values
    return Planted(replace(examples, signals=signals, table=table), chosen, _place(sign, before, after))


def moved_share(classifier: Classifier, clean: Examples, kind: str, class_name: str, strength: float, seed: int) -> float:
    """Share of the clean examples of other classes, not said to be of the class, that a mark moves to it.

    A plant is live where this is 0.2 or more (`ecglens.audit.confounders.LIVE`). With the seed of `plant` the mark is the
    same: at the same place from R. NaN where no such example is there. Raises EcglensError as `plant` does.
    """
    sign, label = _checked(clean, kind, class_name, strength)
    others = clean.take(np.flatnonzero(~_has(clean, label)))
    if not len(others):
        return float("nan")
    free = ~claims(classifier, others, label)
    if not free.any():
        return float("nan")
    marked = sign.put(others.take(free), strength, np.random.default_rng([seed, 42]))
    return float(claims(classifier, marked, label).mean())


def _checked(examples: Examples, kind: str, class_name: str, strength: float) -> tuple[Sign, int]:
    sign = find_sign(choose(kind, list(KINDS), "kind of plant"))
    choose(class_name, list(examples.classes), "class")
    if not np.isfinite(strength) or strength == (1 if sign.factor else 0) or (strength <= 0 and not sign.signed):
        raise EcglensError(f"strength {strength:g} of {kind} changes nothing or is none; expected some {sign.unit}")
    if sign.factor and strength <= 0:
        raise EcglensError(f"strength {strength:g} of {kind} is no factor; expected more than 0")
    if len(examples) and np.isnan(sign.measure(examples.take(np.arange(min(len(examples), 8))))).all():
        raise EcglensError(
            f"{kind} cannot be measured in {len(examples.leads)} leads of {examples.length} samples at {examples.fs:g} Hz; "
            "plant another kind"
        )
    return sign, examples.classes.index(class_name)


def _has(examples: Examples, label: int) -> NDArray[np.bool_]:
    return examples.labels == label if examples.multi_hot is None else examples.multi_hot[:, label]


def _place(sign: Sign, before: Examples, after: Examples) -> NDArray[np.int64] | None:
    """The middle of the samples that differ by half as much as any; for padding, where the signal now begins or ends."""
    if not sign.has_place:
        return None
    if sign.name == "padding":
        stop, old = after.column("valid_stop"), before.column("valid_stop")
        return np.where(stop < old, stop, after.column("valid_start")).astype(np.int64)
    change = np.abs(seen(after).x - seen(before).x).max(axis=1)
    differs = (change > 0) & (change >= change.max(axis=1, keepdims=True) / 2)
    middle = (differs * np.arange(differs.shape[1])).sum(axis=1) / np.maximum(differs.sum(axis=1), 1)
    return np.round(middle).astype(np.int64)
