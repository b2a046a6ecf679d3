"""Does a map depend on what is asked? And what decides that no map over the signal can show?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ecglens.attribution import explain
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier, evaluating
from ecglens.models.device import moved, pick_device


def class_dependence(
    method: str, classifier: Classifier, examples: Examples, first: NDArray[np.int64], second: NDArray[np.int64]
) -> pd.DataFrame:
    """Ask a method about two classes of the same examples: a row per example with change and correlation.

    change: |map1 - map2| / (|map1| + |map2|), sums over samples: 0 the same map, 1 nothing in common; correlation: of the
    absolute maps.
    """
    one, two = (
        np.asarray(explain(classifier, examples, [method], target=target, quiet=True)[method]).reshape(len(examples), -1)
        for target in (first, second)
    )
    size = np.abs(one).sum(1) + np.abs(two).sum(1)
    change = np.divide(np.abs(one - two).sum(1), size, out=np.zeros(len(one)), where=size > 0)
    a, b = (np.abs(each) - np.abs(each).mean(1, keepdims=True) for each in (one, two))
    norm = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    correlation = np.divide((a * b).sum(1), norm, out=np.full(len(one), np.nan), where=norm > 0)
    return pd.DataFrame({"change": change, "correlation": correlation})


def context_share(
    classifier: Classifier,
    examples: Examples,
    target: NDArray[np.int64],
    background: Examples,
    seed: int,
    draws: int = 16,
) -> NDArray[np.float64]:
    """Share of the RR intervals in a decision, in [0, 1], float64 (example,).

    Exact Shapley values of two players, the signal and the RR numbers, for the target's logit against the mean of the other
    logits; the player that is absent takes the value of a random background beat, `draws` times. The share is
    |RR| / (|RR| + |signal|). Raises EcglensError for a model that does not take RR intervals.
    """
    if classifier.context != "rr":
        raise EcglensError(f"{classifier.name} does not take RR intervals; there is no share to report")
    rng = np.random.default_rng([seed, 5])
    of_rr = np.zeros(len(examples))
    of_signal = np.zeros(len(examples))
    with moved(classifier.module, pick_device()):
        signals, context = classifier.inputs(examples)
        others = classifier.inputs(background)
        for _ in range(draws):
            pick = torch.from_numpy(rng.integers(len(background), size=len(examples))).to(signals.device)
            no_signal, no_context = (each[pick] for each in others)
            both = _margin(classifier, signals, context, target)
            neither = _margin(classifier, no_signal, no_context, target)
            signal_only = _margin(classifier, signals, no_context, target)
            rr_only = _margin(classifier, no_signal, context, target)
            of_rr += (rr_only - neither + both - signal_only) / 2
            of_signal += (signal_only - neither + both - rr_only) / 2
    size = np.abs(of_rr) + np.abs(of_signal)
    return np.divide(np.abs(of_rr), size, out=np.zeros(len(size)), where=size > 0)


def _margin(
    classifier: Classifier, signals: torch.Tensor, context: torch.Tensor, target: NDArray[np.int64]
) -> NDArray[np.float64]:
    with evaluating(classifier.module), torch.inference_mode():
        parts = zip(signals.split(512), context.split(512), strict=True)
        logits = torch.cat([classifier.module(*part) for part in parts]).double().cpu().numpy()
    chosen = logits[np.arange(len(target)), target]
    return chosen - (logits.sum(1) - chosen) / max(logits.shape[1] - 1, 1)
