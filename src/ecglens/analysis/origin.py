"""Where examples come from: can it be told from what a model sees, a map shows, the last layer holds; what for?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecglens.analysis.leaning import COLUMNS, leaning
from ecglens.analysis.probing import Array, origin_probe
from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier, evaluating
from ecglens.models.device import moved, pick_device
from ecglens.progress import bar

_CHUNK = 256  # examples whose spectra are held at once
_MAINS = ((49.0, 51.0), (59.0, 61.0))  # Hz
_WANDER = 0.5  # Hz
_DESCRIBED = ("mean", "SD", "peak-to-peak", "noise", "mains", "wander", "kurtosis", "clipped")


def trivial_description(
    signals: NDArray[np.floating[Any]],
    valid_start: NDArray[np.integer[Any]],
    valid_stop: NDArray[np.integer[Any]],
    fs: float,
    leads: Sequence[str] | None = None,
) -> tuple[Array, tuple[str, ...]]:
    """What can be said of an example without looking at the heart: numbers (example, 1 + 8 x lead) and their names.

    signals (example, lead, time) in mV, of which samples valid_start to valid_stop (example,) are no padding; fs in Hz.
    length (s); then of each lead: mean, SD, peak-to-peak (mV); noise, the SD of the second differences (mV); mains, the share
    of the power within 1 Hz of 50 and 60 Hz; wander, that below .5 Hz; kurtosis (0 for a normal distribution); clipped, the
    share of samples that are the largest, or smallest, and have a neighbour that is so too. A flat lead is all clipped, and
    0 in all else but its mean.
    Raises EcglensError for NaN and for examples without three valid samples.
    """
    n, n_leads, length = signals.shape
    bad = (valid_start < 0) | (valid_stop > length) | (valid_stop - valid_start < 3)
    if bad.any():
        raise EcglensError(
            f"{bad.sum()} of {n} examples have under three valid samples, or some outside the window; drop them"
        )
    if not np.isfinite(signals).all():
        raise EcglensError(
            f"{int((~np.isfinite(signals)).any((1, 2)).sum())} of {n} examples hold NaN or infinite samples; drop them"
        )
    names = leads if leads is not None else [f"lead {k + 1}" for k in range(n_leads)]
    out = np.empty((n, 1 + len(_DESCRIBED) * n_leads))
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        out[part] = _described(signals[part].astype(np.float64), valid_start[part], valid_stop[part], fs)
    return out, ("length", *(f"{lead} {what}" for lead in names for what in _DESCRIBED))


def _described(x: Array, start: NDArray[np.integer[Any]], stop: NDArray[np.integer[Any]], fs: float) -> Array:
    time = np.arange(x.shape[2])
    valid = ((time >= start[:, None]) & (time < stop[:, None]))[:, None]
    n = (stop - start).astype(np.float64)[:, None]
    mean = (x * valid).sum(2) / n
    centred = (x - mean[..., None]) * valid
    variance = (centred**2).sum(2) / n
    low, high = np.where(valid, x, np.inf).min(2), np.where(valid, x, -np.inf).max(2)
    # rounding of the mean must not count as a signal
    flat = high == low
    variance = np.where(flat, 0.0, variance)
    inner = valid[..., 2:] & valid[..., :-2]
    second = np.diff(x, 2, axis=2)
    second = (second - (second * inner).sum(2, keepdims=True) / (n - 2)[..., None]) * inner
    noise = np.sqrt((second**2).sum(2) / (n - 2))
    # padded to 16 s at least, or a short beat has no sample of the spectrum below .5 Hz
    size = max(x.shape[2], round(16 * fs))
    power, frequency = np.abs(np.fft.rfft(centred, size, axis=2)) ** 2, np.fft.rfftfreq(size, 1 / fs)
    mains = np.logical_or.reduce([(frequency >= a) & (frequency <= b) for a, b in _MAINS])
    total = np.where(flat, np.inf, power.sum(2))
    kurtosis = np.divide((centred**4).sum(2) / n, variance**2, out=np.full(mean.shape, 3.0), where=~flat) - 3
    again = np.zeros(x.shape, bool)
    for end in (low, high):
        here = (x == end[..., None]) & valid
        pair = here[..., 1:] & here[..., :-1]
        again[..., 1:] |= pair
        again[..., :-1] |= pair
    columns = [
        mean, np.sqrt(variance), high - low, noise, power[..., mains].sum(2) / total,
        power[..., frequency < _WANDER].sum(2) / total, kurtosis, again.sum(2) / n,
    ]  # fmt: skip
    return np.column_stack([n / fs, np.stack(columns, axis=2).reshape(len(x), -1)])


def last_linear(classifier: Classifier, examples: Examples) -> nn.Linear:
    """The linear layer whose output is the logits, found by trying; raises EcglensError where the model has none."""
    seen: list[tuple[nn.Linear, Tensor, Tensor]] = []
    linear = [part for part in classifier.module.modules() if isinstance(part, nn.Linear)]
    hooks = [part.register_forward_hook(lambda layer, ins, out: seen.append((layer, ins[0], out))) for part in linear]
    try:
        with moved(classifier.module, pick_device()), evaluating(classifier.module), torch.inference_mode():
            logits = classifier.module(*classifier.inputs(examples.take(np.arange(min(2, len(examples))))))
    finally:
        for hook in hooks:
            hook.remove()
    for layer, given, out in reversed(seen):
        if given.dim() == 2 and out.shape == logits.shape and torch.equal(out, logits):
            return layer
    raise EcglensError(
        f"{classifier.name} does not give its logits by a last nn.Linear, so there is no last layer to look into; "
        "end the model with one, or probe the input and the maps alone"
    )


def last_layer(classifier: Classifier, examples: Examples) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the last linear layer is given, (example, feature), and the logits (example, class) that it makes of it.

    Raises EcglensError where the model has no such layer, or the examples do not fit it.
    """
    classifier.expect(examples)
    if not len(examples):
        raise EcglensError("there are no examples to show to the model")
    layer = last_linear(classifier, examples)
    caught: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _layer, ins, _out: caught.append(ins[0]))
    features = np.empty((len(examples), layer.in_features), np.float32)
    logits = np.empty((len(examples), layer.out_features), np.float32)
    try:
        with (
            moved(classifier.module, pick_device()),
            evaluating(classifier.module),
            torch.inference_mode(),
            bar("last layer", len(examples)) as progress,
        ):
            for start in range(0, len(examples), _CHUNK):
                rows = np.arange(start, min(start + _CHUNK, len(examples)))
                caught.clear()
                logits[rows] = classifier.module(*classifier.inputs(examples.take(rows))).float().cpu().numpy()
                features[rows] = caught[-1].float().cpu().numpy()
                progress.step(len(rows))
    finally:
        hook.remove()
    return features, logits


def drawn_evenly(
    labels: NDArray[np.int64], origins: NDArray[Any], patients: NDArray[Any], *, per_class: int, at_least: int, seed: int
) -> NDArray[np.int64]:
    """At most `per_class` rows of each class, as many of each origin and, within it, of each patient as can be; sorted.

    Where there are more origins than can have `at_least` rows each, a random choice of them.
    """
    rng = np.random.default_rng([seed, 13])
    chosen = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        names, counts = np.unique(origins[rows], return_counts=True)
        some = names[counts >= at_least] if (counts >= at_least).any() else names
        if len(some) > max(per_class // at_least, 2):
            some = rng.permutation(some)[: max(per_class // at_least, 2)]
        for name in some:
            mine = rows[origins[rows] == name]
            turn = pd.Series(patients[mine]).groupby(patients[mine]).cumcount().to_numpy()
            chosen.append(mine[np.argsort(turn, kind="stable")[: max(per_class // len(some), 1)]])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


def probe_all(
    classifier: Classifier,
    examples: Examples,
    maps: NDArray[np.floating[Any]] | None,
    origin: str = "database",
    *,
    per_class: int = 400,
    at_least: int = 20,
    replicates: int = 200,
    permutations: int | None = None,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Can the origin be told within a class, from what, and does the decision lean on it? Tables "told" and "leaning".

    maps (example, lead, cell): of the same examples, or None; origin: "patient", or a column of the examples' table such as
    "database", and then patients stay whole; per_class: examples of a class that are looked at, drawn evenly over origins.
    "told": the columns of `origin_probe` behind "from": input (as the model sees it, scaled), trivial description, map, last
    layer. "leaning": see there. A model without a last linear layer has the reason in why_not of both.
    permutations: 19, or for patients, whose chance hardly spreads, 5.
    Raises EcglensError where the pieces do not fit.
    """
    choose(origin, ["patient", *(name for name in examples.table.columns if name != "patient")], "origin")
    if maps is not None and len(maps) != len(examples):
        raise EcglensError(f"{len(maps)} maps for {len(examples)} examples; expected one each")
    classifier.expect(examples)
    permutations = (5 if origin == "patient" else 19) if permutations is None else permutations
    # a patient's examples in order of time, so that blocks of them are stretches of the record
    order = np.lexsort((examples.column("r_sample"), examples.column("record").astype(str)))
    names, patients = examples.column(origin).astype(str)[order], examples.column("patient").astype(str)[order]
    picked = drawn_evenly(examples.labels[order], names, patients, per_class=per_class, at_least=at_least, seed=seed)
    rows = order[picked]
    some, origins = examples.take(rows), names[picked]
    shared: dict[str, Any] = {
        "groups": None if origin == "patient" else patients[picked],
        "classes": examples.classes, "seed": seed, "at_least": at_least, "replicates": replicates,
    }  # fmt: skip
    seen = np.concatenate([each.flatten(1).cpu().numpy() for each in classifier.inputs(some)], axis=1)
    simple, _ = trivial_description(some.signals, some.column("valid_start"), some.column("valid_stop"), some.fs, some.leads)
    sources: dict[str, NDArray[np.floating[Any]]] = {"input": seen, "trivial description": simple}
    if maps is not None:
        sources["map"] = np.asarray(maps[rows]).reshape(len(rows), -1)
    why_not = ""
    try:
        sources["last layer"], _ = last_layer(classifier, some)
    except EcglensError as error:
        why_not = str(error)
    parts = []
    for name, features in sources.items():
        table = origin_probe(features, some.labels, origins, permutations=permutations, **shared)
        table.insert(0, "from", name)
        parts.append(table)
    told = pd.concat(parts, ignore_index=True)
    if why_not:
        line = pd.DataFrame([{"from": "last layer", "class": "all classes", "why_not": why_not}], columns=told.columns)
        told = pd.concat([told, line.astype(told.dtypes)], ignore_index=True)
        return {"told": told, "leaning": pd.DataFrame([{"class": "all classes", "why_not": why_not}], columns=list(COLUMNS))}
    head = last_linear(classifier, some)
    weight = head.weight.detach().cpu().double().numpy()
    bias = np.zeros(len(weight)) if head.bias is None else head.bias.detach().cpu().double().numpy()
    return {
        "told": told,
        "leaning": leaning(sources["last layer"], weight, bias, some.labels, origins, **shared),
    }
