"""A corrupt spike in one lead: what a class activation map, blind to leads, makes of it, and what lead-wise occlusion does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.focus import focus
from ecglens.attribution import explain
from ecglens.errors import EcglensError
from ecglens.examples.boxes import Boxes
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier


def with_spike(
    examples: Examples, at: NDArray[np.int64], row: int, *, millivolts: float = 5.0, seconds: float = 0.02
) -> Examples:
    """The examples with a rectangular spike in one lead: `seconds` long from sample `at` (example,) on, `millivolts` added."""
    width = max(round(seconds * examples.fs), 1)
    signals = examples.signals.copy()
    for number, start in enumerate(at):
        signals[number, row, start : start + width] += np.float32(millivolts)
    return replace(examples, signals=signals)


def spike_effect(
    classifier: Classifier, examples: Examples, lead: str, *, millivolts: float = 5.0, around: float = 0.3, seed: int = 0
) -> pd.DataFrame:
    """A row per example: how a spike at a random place in `lead` changes its likeliest class's answer and map.

    Columns: class (the likeliest of the clean example), at_s, logit_before, logit_after; map_before, map_after: share of the
    map's size within `around` s of the spike, chance: the share of the time; found: whether hiding one lead after the other
    (its median instead) moves the logit most at the spiked lead, found_before: the same without a spike. Raises EcglensError
    for a lead that the examples have not. Source: Lin 2020, figure 3 (a corrupt spike attracts the map).
    """
    if lead not in examples.leads:
        raise EcglensError(f"no lead {lead!r} to plant a spike in; expected one of {', '.join(examples.leads)}")
    row = examples.leads.index(lead)
    rng = np.random.default_rng([seed, 31])
    start, stop = (examples.column(name).astype(np.int64) for name in ("valid_start", "valid_stop"))
    reach = round(around * examples.fs)
    at = (start + reach + rng.random(len(examples)) * (stop - start - 2 * reach).clip(1)).astype(np.int64)
    spiked = with_spike(examples, at, row, millivolts=millivolts)
    logits = classifier.logits(examples)
    target = logits.argmax(1).astype(np.int64)
    after = classifier.logits(spiked)
    left, right = (np.clip(at + side, start, stop)[:, None] / examples.length for side in (-reach, reach + 1))
    near = Boxes(("near",), np.zeros_like(left), np.ones_like(left), left, right)
    mass = []
    for each in (examples, spiked):
        maps = explain(classifier, each, ["cam"], target=target, quiet=True)["cam"]
        mass.append(focus(maps[:], near))
    rows = np.arange(len(examples))
    return pd.DataFrame(
        {
            "class": np.array(classifier.classes)[target], "at_s": at / examples.fs,
            "logit_before": logits[rows, target], "logit_after": after[rows, target],
            "map_before": mass[0].share[:, 0], "map_after": mass[1].share[:, 0], "chance": mass[0].area[:, 0],
            "found_before": _blamed(classifier, examples, target) == row, "found": _blamed(classifier, spiked, target) == row,
        }
    )  # fmt: skip


def _blamed(classifier: Classifier, examples: Examples, target: NDArray[np.int64]) -> NDArray[np.intp]:
    """The lead whose hiding, by its own median, moves the logit of `target` most, by example."""
    rows = np.arange(len(examples))
    whole = classifier.logits(examples)[rows, target]
    moved = np.empty((len(examples), len(examples.leads)))
    for lead in range(len(examples.leads)):
        signals = examples.signals.copy()
        signals[:, lead] = np.median(signals[:, lead], axis=1, keepdims=True)
        moved[:, lead] = np.abs(classifier.logits(replace(examples, signals=signals))[rows, target] - whole)
    return moved.argmax(axis=1)
