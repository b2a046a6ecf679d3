"""What a deleted stretch of an ECG is replaced with, so that what is left still looks like one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecglens.attribution.masks import blurred
from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier

FILLS = ("neighbour", "mean-beat", "blur")
BLUR_S = 0.1  # standard deviation


def ecg_fill(
    classifier: Classifier, examples: Examples, fill: str, *, target: NDArray[np.int64], pool: Examples | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A whole fill for each example, in the model's own input (example, lead, time), and which examples have one (example,).

    fill: the nearest beat of the same patient that is not of the class `target` (example,), in the same record where it has
    one ("neighbour"): what the patient's ECG would be without what is explained; the mean of the pool's beats that are not of
    that class, each other class with the same weight ("mean-beat"); or the example itself under a Gaussian of 0.1 s ("blur").
    Beats of the pool are laid R on R, and moved to the example's level (median of a lead), as a step is no ECG; beyond their
    signal the first or last value goes on. Raises EcglensError for another word, a fill of beats without a pool, or where
    examples are not around one known R each: they cannot be laid on each other.
    """
    choose(fill, list(FILLS), "fill")
    x = _inputs(classifier, examples)
    time = np.arange(examples.length)[None]
    start, stop = (examples.column(name).astype(np.int64) for name in ("valid_start", "valid_stop"))
    if fill == "blur":
        held = _moved(x, examples, time - np.zeros((len(x), 1), np.int64), start, stop)
        for place in examples.places:
            part = slice(place.offset, place.offset + place.length)
            smooth = blurred(torch.from_numpy(held[:, place.row, part])[:, None], BLUR_S * examples.fs)
            held[:, place.row, part] = smooth[:, 0].numpy()
        return held, np.ones(len(x), bool)
    if pool is None:
        raise EcglensError(f"fill {fill!r} is made of other examples; give a pool of them")
    for each in (examples, pool):
        if "beats_at" in each.table or not (each.column("r_index") >= 0).all():
            raise EcglensError(f"fill {fill!r} lays beats R on R; expected examples around one known R each, use 'blur'")
    choice = _neighbours(examples, pool, target) if fill == "neighbour" else None
    rows = np.arange(len(pool)) if choice is None else np.maximum(choice, 0)
    used, where = np.unique(rows, return_inverse=True)
    beats = pool.take(used)
    theirs = _inputs(classifier, beats)
    low, high = (beats.column(name).astype(np.int64) for name in ("valid_start", "valid_stop"))
    r, r_of = (each.column("r_index").astype(np.int64) for each in (examples, beats))
    out, known = np.zeros_like(x), np.ones(len(x), bool)
    truth = _truth(beats)
    for n in range(len(x)):
        if choice is None:
            weight = _weights(truth, int(target[n]))
            mine = np.flatnonzero(weight)
        else:
            weight, mine = np.ones(len(used)), where[n : n + 1][choice[n : n + 1] >= 0]
        known[n] = len(mine) > 0
        if known[n]:
            at = time - r[n] + r_of[mine, None]
            laid = _moved(theirs[mine], beats, at, low[mine], high[mine])
            out[n] = np.average(laid, axis=0, weights=weight[mine])
    return _at_level(out, x, examples, start, stop), known


def _inputs(classifier: Classifier, examples: Examples) -> NDArray[np.float32]:
    return np.asarray(classifier.inputs(examples)[0].cpu().numpy(), np.float32)


def _moved(
    x: NDArray[np.float32], examples: Examples, at: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Each lead's values at samples `at` (example, time) of that lead, of the nearest sample of signal beyond its ends."""
    out = x.copy()
    at = np.clip(at, start[:, None], np.maximum(stop - 1, start)[:, None])
    for place in examples.places:
        part = slice(place.offset, place.offset + place.length)
        out[:, place.row, part] = np.take_along_axis(x[:, place.row, part], at[:, : place.length], axis=1)
    return out


def _truth(examples: Examples) -> NDArray[np.bool_]:
    if examples.multi_hot is not None:
        return examples.multi_hot
    return np.asarray(examples.labels[:, None] == np.arange(len(examples.classes)))


def _weights(truth: NDArray[np.bool_], target: int) -> NDArray[np.float64]:
    """Of each beat that is not of the target: as much for each class, however many beats it has."""
    others = truth & ~truth[:, target : target + 1]
    count = np.maximum(others.sum(axis=0), 1)
    return np.asarray((others / count).sum(axis=1))


def _neighbours(examples: Examples, pool: Examples, target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row of the pool that is each example's neighbour, -1 where the patient has no beat of another class."""
    truth, out = _truth(pool), np.full(len(examples), -1, np.int64)

    def column(of: Examples, name: str) -> NDArray[Any]:
        return of.column(name).astype(str)

    patients, records, ids = (column(pool, name) for name in ("patient", "record", "id"))
    when = pool.column("r_sample").astype(np.int64)
    asked = zip(*(column(examples, name) for name in ("patient", "record", "id")), strict=True)
    for n, (patient, record, name) in enumerate(asked):
        rows = np.flatnonzero((patients == patient) & ~truth[:, target[n]] & (ids != name))
        if len(rows):
            away = np.abs(when[rows] - int(examples.column("r_sample")[n]))
            out[n] = rows[np.lexsort((away, records[rows] != record))[0]]
    return out


def _at_level(
    fill: NDArray[np.float32], x: NDArray[np.float32], examples: Examples, start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The fill with the median of each lead of the example, over what is its signal."""
    out = fill.copy()
    for place in examples.places:
        for n in range(len(x)):
            part = slice(place.offset + start[n], place.offset + min(stop[n], place.length))
            if part.stop > part.start:
                off = np.median(x[n, place.row, part]) - np.median(fill[n, place.row, part])
                out[n, place.row, place.offset : place.offset + place.length] += off
    return out


__all__ = ["BLUR_S", "FILLS", "ecg_fill"]
