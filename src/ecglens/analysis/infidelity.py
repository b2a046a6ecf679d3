"""Does a map tell by how much the score falls, and does it stay the same under noise that changes nothing?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ecglens.analysis.intervals import mean_over_patients
from ecglens.attribution.passes import Shared, call, undisturbed
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier
from ecglens.models.device import moved, pick_device

Floats = NDArray[np.float64]


def score_falls(
    classifier: Classifier,
    examples: Examples,
    masks: NDArray[np.float32],
    target: NDArray[np.int64],
    fill: NDArray[np.float32],
) -> Floats:
    """Fall of the target's logit when samples go to the fill as far as a mask says, float64 (example, draw).

    masks: 0 to 1 (example, draw, lead, time); target: class index (example,); fill: in the model's own input (example, lead,
    time). Raises EcglensError for shapes that do not fit.
    """
    classifier.expect(examples)
    n, *shape = examples.signals.shape
    if masks.ndim != 4 or masks.shape[0] != n or list(masks.shape[2:]) != shape or fill.shape != (n, *shape):
        raise EcglensError(
            f"masks have shape {masks.shape}, the fill {fill.shape}; expected (example, draw, lead, time) and {(n, *shape)}"
        )
    out = np.empty(masks.shape[:2])
    at_once = max(classifier.at_once // (masks.shape[1] + 1), 1)
    with moved(classifier.module, pick_device()), undisturbed(classifier.module), torch.no_grad():
        shared = Shared(classifier)
        for first in range(0, n, at_once):
            rows = np.arange(first, min(first + at_once, n))
            x, *context = classifier.inputs(examples.take(rows))
            whole = np.concatenate([np.zeros_like(masks[rows][:, :1]), masks[rows]], axis=1)
            away = torch.from_numpy(fill[rows]).to(x.device) - x
            changed = torch.addcmul(x[:, None], torch.from_numpy(whole).to(x.device), away[:, None])
            logits = call(shared, changed.flatten(0, 1), context[0] if context else None).double().cpu().numpy()
            score = logits.reshape(len(rows), -1, logits.shape[1])[np.arange(len(rows)), :, target[rows]]
            out[rows] = score[:, :1] - score[:, 1:]
    return out


def foretold_falls(
    maps: NDArray[np.floating[Any]],
    masks: NDArray[np.float32],
    away: NDArray[np.floating[Any]] | None = None,
) -> Floats:
    """What maps (example, lead or 1, time) say that deletion by masks (example, draw, lead, time) costs: (example, draw).

    The sum of mask x map, for maps that give each sample its part of the score; with away (example, lead, time), which is x -
    fill, the sum of mask x (x - fill) x map, for maps of slopes (`ecglens.analysis.faithfulness.SLOPES`).
    """
    weights = np.broadcast_to(maps, (len(masks), *masks.shape[2:])).astype(np.float64)
    if away is not None:
        weights = weights * away
    return np.einsum("ndlt,nlt->nd", masks, weights)


def infidelity(foretold: Floats, falls: Floats) -> pd.DataFrame:
    """How wrong a map is about what deletion costs: a row per example, from what it foretells and what falls (example, draw).

    infidelity: mean squared difference, in logits squared; scale: by which the map foretells best, sum(foretold x fall) /
    sum(foretold^2), 0 for an empty map; scaled: infidelity at that scale; unexplained: scaled / mean squared fall, 0 to 1,
    where 1 is no better than an empty map, NaN where nothing falls. Source: Yeh 2019, arXiv:1901.09392, definition 2.1 and the
    scaling of its section 3. Raises EcglensError for shapes that differ.
    """
    if foretold.shape != falls.shape:
        raise EcglensError(f"foretold falls have shape {foretold.shape}, falls {falls.shape}; expected the same")
    square = (foretold**2).sum(axis=1)
    scale = np.divide((foretold * falls).sum(axis=1), square, out=np.zeros(len(square)), where=square > 0)
    plain, scaled = (((factor * foretold - falls) ** 2).mean(axis=1) for factor in (1.0, scale[:, None]))
    size = (falls**2).mean(axis=1)
    unexplained = np.divide(scaled, size, out=np.full(len(size), np.nan), where=size > 0)
    return pd.DataFrame({"infidelity": plain, "scale": scale, "scaled": scaled, "unexplained": unexplained})


def infidelity_table(foretold: Mapping[str, Floats], falls: Floats, patients: NDArray[Any], *, seed: int = 0) -> pd.DataFrame:
    """`infidelity` of several maps, from what each foretells (example, draw): a row each of method, n, and unexplained, its
    mean, with low and high (95 % over patients)."""
    rows = []
    for method, each in foretold.items():
        left = infidelity(each, falls)["unexplained"].to_numpy()
        low, high = mean_over_patients(left[:, None], patients, seed=seed)
        n = int((~np.isnan(left)).sum())
        mean = float(np.nanmean(left)) if n else np.nan
        rows.append({"method": method, "n": n, "unexplained": mean, "low": low[0], "high": high[0]})
    return pd.DataFrame(rows)


def max_sensitivity(
    map_of: Callable[[Examples], NDArray[np.floating[Any]]], examples: Examples, noisy: Sequence[Examples]
) -> Floats:
    """Largest change of a map under noise, |map(noisy) - map| / |map| (Euclidean), float64 (example,); NaN for an empty map.

    map_of: from examples to their maps (example, ...); noisy: the same examples with noise, drawn several times. Two maps that
    have nothing to do with each other have 1.4. Source: Yeh 2019, arXiv:1901.09392, definition 3.2, divided by the map's size
    as in captum; its ball is replaced by given noise. Raises EcglensError without noisy examples.
    """
    if not noisy:
        raise EcglensError("no noisy examples; expected one draw or more")
    still = np.asarray(map_of(examples), np.float64).reshape(len(examples), -1)
    size = np.sqrt((still**2).sum(axis=1))
    out = np.zeros(len(examples))
    for each in noisy:
        change = np.asarray(map_of(each), np.float64).reshape(len(examples), -1) - still
        out = np.maximum(out, np.sqrt((change**2).sum(axis=1)))
    return np.divide(out, size, out=np.full(len(out), np.nan), where=size > 0)
