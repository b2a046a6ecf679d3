"""A corrupt spike in one lead: what a class activation map, blind to leads, makes of it, and what lead-wise occlusion does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.focus import focus
from ecglens.attribution import explain
from ecglens.errors import EcglensError
from ecglens.examples.boxes import Boxes
from ecglens.examples.examples import Examples
from ecglens.examples.regions import whole_leads
from ecglens.models.classifier import Classifier


@dataclass(frozen=True)
class Spike:
    """A rectangle added to a lead: `millivolts` high, `seconds` long."""

    millivolts: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.millivolts:g} mV, {1000 * self.seconds:g} ms"


def with_spike(examples: Examples, at: NDArray[np.int64], row: int, spike: Spike) -> Examples:
    """The examples with a spike in the lead of `row`, from sample `at` (example,) on."""
    width = max(round(spike.seconds * examples.fs), 1)
    signals = examples.signals.copy()
    for number, start in enumerate(at):
        signals[number, row, start : start + width] += np.float32(spike.millivolts)
    return replace(examples, signals=signals)


def spike_places(examples: Examples, around: float, seed: int) -> NDArray[np.int64]:
    """A random sample of each example (example,), `around` s or more from the ends of its signal where it is so long."""
    start, stop = (examples.column(name).astype(np.int64) for name in ("valid_start", "valid_stop"))
    reach = round(around * examples.fs)
    free = np.random.default_rng([seed, 31]).random(len(examples))
    at: NDArray[np.int64] = (start + reach + free * (stop - start - 2 * reach).clip(1)).astype(np.int64)
    return at


def spike_effect(
    classifier: Classifier, examples: Examples, lead: str, spikes: tuple[Spike, ...], *, around: float = 0.3, seed: int = 0
) -> pd.DataFrame:
    """A row per spike and example: how it changes the answer for the likeliest class and its map, planted in `lead`.

    Columns: spike, id, class (the likeliest of the clean example), at_s, logit_before, logit_after; map_before, map_after:
    share of the map's size within `around` s of the spike, chance: the share of the time; found: whether the logit moves most
    where the spiked lead is hidden (see `lead_occlusion`), found_before: the same without a spike. Raises EcglensError for a
    lead that the examples have not. Source: Lin 2020, figure 3 (a corrupt spike attracts the map).
    """
    if lead not in examples.leads:
        raise EcglensError(f"no lead {lead!r} to plant a spike in; expected one of {', '.join(examples.leads)}")
    row, rows = examples.leads.index(lead), np.arange(len(examples))
    at = spike_places(examples, around, seed)
    near = _near(examples, at, around)
    logits = classifier.logits(examples)
    target = logits.argmax(1).astype(np.int64)
    clean = {
        "id": examples.column("id"), "class": np.array(classifier.classes)[target], "at_s": at / examples.fs,
        "logit_before": logits[rows, target], "found_before": most_moving_lead(classifier, examples, target) == row,
    }  # fmt: skip
    mass = focus(explain(classifier, examples, ["cam"], target=target, quiet=True)["cam"][:], near)
    clean |= {"map_before": mass.share[:, 0], "chance": mass.area[:, 0]}
    tables = []
    for spike in spikes:
        spiked = with_spike(examples, at, row, spike)
        after = focus(explain(classifier, spiked, ["cam"], target=target, quiet=True)["cam"][:], near)
        tables.append(
            pd.DataFrame(
                {
                    "spike": str(spike), **clean, "logit_after": classifier.logits(spiked)[rows, target],
                    "map_after": after.share[:, 0], "found": most_moving_lead(classifier, spiked, target) == row,
                }
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _near(examples: Examples, at: NDArray[np.int64], around: float) -> Boxes:
    """The time within `around` s of each example's spike, as far as it is signal."""
    start, stop = (examples.column(name).astype(np.int64) for name in ("valid_start", "valid_stop"))
    reach = round(around * examples.fs)
    left, right = (np.clip(at + side, start, stop)[:, None] / examples.length for side in (-reach, reach + 1))
    return Boxes(("near",), np.zeros_like(left), np.ones_like(left), left, right)


def lead_occlusion(classifier: Classifier, examples: Examples, target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Fall of the logit of `target` (example,) when a whole lead is set to zero: (example, lead). Method "occlusion"."""
    n, n_leads, length = examples.signals.shape
    whole = whole_leads(examples.leads, n, length)
    options = {"occlusion": {"regions": whole}}
    maps = explain(classifier, examples, ["occlusion"], target=target, options=options, keep=whole, quiet=True)
    return np.asarray(maps["occlusion"][:], np.float64).reshape(n, n_leads)


def most_moving_lead(classifier: Classifier, examples: Examples, target: NDArray[np.int64]) -> NDArray[np.intp]:
    """Number of the lead whose hiding moves the logit of `target` most, (example,)."""
    return np.abs(lead_occlusion(classifier, examples, target)).argmax(axis=1)
