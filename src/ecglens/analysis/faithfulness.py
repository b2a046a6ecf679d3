"""Deletion and insertion: does the class go when what a map ranks high goes, sooner than in random order?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecglens.attribution.passes import Shared, call, undisturbed
from ecglens.attribution.registry import find_method
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
from ecglens.models.classifier import Classifier
from ecglens.models.device import moved, pick_device

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LONGEST_S = 0.2  # longer waves are cut into equal parts
WINDOW_S = 0.1
RANDOM_ORDER = "random order"
# their sign says which way to move a sample, not whether it speaks for the class
SLOPES = (
    "saliency", "smoothgrad", "guided-backprop", "guided-grad-cam", "captum:Saliency", "captum:GuidedBackprop",
    "captum:Deconvolution", "captum:GuidedGradCam", "captum:NoiseTunnel",
)  # fmt: skip


def region_numbers(examples: Examples, waves: Regions | None, *, leads_apart: bool = True) -> Ints:
    """The number of the region in which each sample lies, int64 (example, lead, time), from 0 in each example; -1: padding.

    waves: of these examples, by `wave_regions`; in each lead those beyond 0.2 s are cut into equal parts. None: parts of 0.1 s
    at most. Not leads_apart (for maps that have one lead): regions go through all leads, with the median edges of the waves.
    """
    edges = _ends(examples) if waves is None else _wave_edges(examples, waves)
    longest = max(round((WINDOW_S if waves is None else LONGEST_S) * examples.fs), 1)
    if not leads_apart:
        edges = np.broadcast_to(np.sort(edges, axis=2)[:, :, edges.shape[2] // 2, None], edges.shape)
    out = np.full(examples.signals.shape, -1, np.int64)
    for n in range(len(examples)):
        number = 0
        for k, place in enumerate(examples.places):
            number = number if leads_apart else 0
            cuts = np.unique(edges[n, :, k])
            for low, high in pairwise(cuts):
                parts = -(-(high - low) // longest)
                inner = low + (high - low) * np.arange(parts + 1) // parts
                for first, stop in pairwise(inner):
                    out[n, place.row, place.offset + first : place.offset + stop] = number
                    number += 1
    return out


def _ends(examples: Examples) -> Ints:
    """First sample of signal and the one after the last, (example, 2, place)."""
    ends = np.stack([examples.column(name).astype(np.int64) for name in ("valid_start", "valid_stop")], axis=1)
    return np.repeat(ends[:, :, None], len(examples.places), axis=2)


def _wave_edges(examples: Examples, regions: Regions) -> Ints:
    """All edges of waves, in samples of a lead, in order (example, edge, place)."""
    columns = []
    for place in examples.places:
        mine = [k for k, lead in enumerate(regions.lead) if lead == place.name]
        columns.append(np.concatenate([regions.start[:, mine], regions.stop[:, mine[-1:]]], axis=1) - place.offset)
    return np.stack(columns, axis=2).astype(np.int64)


def region_sizes(numbers: Ints) -> Ints:
    """Samples of each region, over all leads, int64 (example, region); 0 for numbers that an example has not."""
    n_regions = int(numbers.max(initial=-1)) + 1
    flat = numbers.reshape(len(numbers), -1)
    return np.stack([np.bincount(each[each >= 0], minlength=n_regions) for each in flat]).astype(np.int64)


def mass_per_sample(maps: NDArray[np.floating[Any]], numbers: Ints) -> Floats:
    """Mean of each map (example, lead or 1, time) in each region, float64 (example, region); 0 for an empty region.

    The mean and not the sum: where each region takes its own amount away, the order by amount per sample has the lowest curve
    over the share of time (Smith 1956), while sums put long regions first.
    """
    sizes = region_sizes(numbers)
    out = np.zeros(sizes.shape)
    for n, number in enumerate(numbers):
        inside = number >= 0
        weights = np.broadcast_to(maps[n], number.shape)[inside].astype(np.float64)
        out[n] = np.bincount(number[inside], weights=weights, minlength=sizes.shape[1])
    return np.divide(out, sizes, out=np.zeros_like(out), where=sizes > 0)


def ranked_by(method: str, maps: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """What a map's regions are ranked by: its values where their sign tells for from against the class, else their size.

    Methods without signs and those of `SLOPES` go by size: a reader takes a dark stretch of a gradient for an important one.
    """
    return maps if find_method(method).card.signed and method not in SLOPES else np.abs(maps)


def orders_by(values: Floats, seed: int) -> Ints:
    """Regions of each example, the highest value first, int64 (example, region); equal ones in random order."""
    dice = np.random.default_rng([seed, 81]).random(values.shape)
    return np.lexsort((dice, -values), axis=1).astype(np.int64)


def random_orders(sizes: Ints, draws: int, seed: int) -> Ints:
    """Random orders of all regions, each also backwards: int64 (draw, example, region).

    What is inserted in an order is what is deleted in it backwards, so both curves need these draws alone. Raises EcglensError
    for an odd number of draws.
    """
    if draws < 2 or draws % 2:
        raise EcglensError(f"{draws} random draws; expected an even number from 2 on, as each order is also taken backwards")
    dice = np.random.default_rng([seed, 82]).random((draws // 2, *sizes.shape))
    forward = dice.argsort(axis=2)
    return np.concatenate([forward, forward[:, :, ::-1]]).astype(np.int64)


def filled_shares(order: Ints, sizes: Ints, share: float) -> Floats:
    """How far each region is replaced, 0 to 1 (example, region), when `share` of the signal is: whole ones in order (example,
    region), and of the next as much as is left."""
    ordered = np.take_along_axis(sizes, order, axis=1).astype(np.float64)
    before = ordered.cumsum(axis=1) - ordered
    left = share * ordered.sum(axis=1, keepdims=True) - before
    filled = np.divide(left, ordered, out=np.zeros_like(left), where=ordered > 0).clip(0, 1)
    out = np.zeros_like(filled)
    np.put_along_axis(out, order, filled, axis=1)
    return out


def deletion_curves(
    classifier: Classifier,
    examples: Examples,
    numbers: Ints,
    orders: Ints,
    target: Ints,
    fill: NDArray[np.float32],
    *,
    steps: int = 10,
) -> tuple[Floats, Floats]:
    """(logit, probability) of the target, (order, example, step + 1), when 0, 1 / steps ... 1 of the signal is replaced.

    numbers: `region_numbers`; orders: (order, example, region), the first is replaced first; target: class index (example,);
    fill: in the model's own input, see `ecg_fill`. At each step whole regions are replaced, and the next one is mixed in part,
    so that shares are equal. Padding stays. Both ends are asked once for all orders. Raises EcglensError for arrays that do
    not fit and a net that draws pictures. Source: Samek 2017, arXiv:1509.06321; Petsiuk 2018, arXiv:1806.07421.
    """
    classifier.expect(examples)
    sizes = region_sizes(numbers)
    _expect(classifier, examples, numbers, orders, target, fill, sizes, steps)
    logit, probability = np.empty((2, len(orders), len(examples), steps + 1))
    shares = np.arange(steps + 1) / steps
    # (order, step): the ends, then what lies between, order by order
    plans = [[(0, 0), (0, steps)], *([(order, step) for step in range(1, steps)] for order in range(len(orders)))]
    at_once = max(classifier.at_once // (steps + 1), 1)
    with moved(classifier.module, pick_device()), undisturbed(classifier.module), torch.no_grad():
        shared = Shared(classifier)
        for first in range(0, len(examples), at_once):
            rows = np.arange(first, min(first + at_once, len(examples)))
            x, *context = classifier.inputs(examples.take(rows))
            away = torch.from_numpy(fill[rows]).to(x.device) - x
            for plan in plans:
                if not plan:
                    continue
                masks = [
                    samples_filled(numbers[rows], filled_shares(orders[o, rows], sizes[rows], shares[s])) for o, s in plan
                ]
                amount = torch.from_numpy(np.stack(masks, axis=1)).to(x.device)
                changed = torch.addcmul(x[:, None], amount, away[:, None])
                logits = call(shared, changed.flatten(0, 1), context[0] if context else None)
                told = _of_target(classifier, logits.reshape(len(rows), len(plan), -1), target[rows])
                for column, (order, step) in enumerate(plan):
                    to = slice(None) if step in (0, steps) else order
                    logit[to, rows, step], probability[to, rows, step] = told[0][:, column], told[1][:, column]
    return logit, probability


def _expect(
    classifier: Classifier, examples: Examples, numbers: Ints, orders: Ints, target: Ints, fill: NDArray[np.float32],
    sizes: Ints, steps: int,
) -> None:  # fmt: skip
    n = len(examples)
    if classifier.draws:
        raise EcglensError(f"{classifier.name} draws pictures, in which regions of a signal have no samples")
    for what, found, wanted in (
        ("region numbers", numbers.shape, examples.signals.shape), ("fill", fill.shape, examples.signals.shape),
        ("orders", orders.shape[1:], sizes.shape), ("targets", target.shape, (n,)),
    ):  # fmt: skip
        if found != wanted:
            raise EcglensError(f"{what} have shape {found}; expected {wanted}")
    if n and (target.min() < 0 or target.max() >= len(classifier.classes)):
        raise EcglensError(f"targets run to {target.max()}; expected 0 to {len(classifier.classes) - 1}")
    if not (np.sort(orders, axis=2) == np.arange(sizes.shape[1])).all():
        raise EcglensError("an order does not hold every region once; make it by orders_by or random_orders")
    if steps < 1:
        raise EcglensError(f"steps is {steps}; expected at least 1")


def samples_filled(numbers: Ints, filled: Floats) -> NDArray[np.float32]:
    """How far each sample is replaced (example, lead, time)."""
    beside = np.concatenate([filled, np.zeros((len(filled), 1))], axis=1).astype(np.float32)  # -1 takes the last
    return np.take_along_axis(beside, numbers.reshape(len(numbers), -1), axis=1).reshape(numbers.shape)


def _of_target(classifier: Classifier, logits: Tensor, target: Ints) -> tuple[Floats, Floats]:
    """(logit, probability) of each example's target, from logits (example, step, class)."""
    chance = logits.softmax(2) if classifier.activation == "softmax" else logits.sigmoid()
    pick = torch.from_numpy(target).to(logits.device)[:, None, None].expand(-1, logits.shape[1], 1)
    one, other = (each.gather(2, pick)[:, :, 0].double().cpu().numpy() for each in (logits, chance))
    return one, other


def insertion_curves(
    classifier: Classifier,
    examples: Examples,
    numbers: Ints,
    orders: Ints,
    target: Ints,
    fill: NDArray[np.float32],
    *,
    steps: int = 10,
) -> tuple[Floats, Floats]:
    """As `deletion_curves`, but the first regions are put back first into the fill: deletion backwards, read backwards."""
    found = deletion_curves(classifier, examples, numbers, orders[:, :, ::-1], target, fill, steps=steps)
    return found[0][:, :, ::-1], found[1][:, :, ::-1]


def area_between(upper: Floats, lower: Floats) -> Floats:
    """Area between two curves (..., step + 1) over the share of the signal, in units of the curves (trapezia)."""
    return np.asarray(np.trapezoid(upper - lower, dx=1 / (upper.shape[-1] - 1), axis=-1))


@dataclass(frozen=True)
class Compared:
    """Curves of several maps beside random order.

    curves: (logit, probability) of the target, (example, step + 1) each, by (method, "deletion" or "insertion"); the mean over
    random orders is of the method "random order"; areas: by the same keys, in logits (example,), above 0 where the map takes
    the class away, or brings it back, sooner than random order.
    """

    curves: dict[tuple[str, str], tuple[Floats, Floats]]
    areas: dict[tuple[str, str], Floats]


def beside_random(
    classifier: Classifier,
    examples: Examples,
    numbers: Ints,
    values: Mapping[str, Floats],
    target: Ints,
    fill: NDArray[np.float32],
    *,
    steps: int = 10,
    draws: int = 4,
    seed: int = 0,
) -> Compared:
    """Deletion and insertion in the order of `values` (example, region) of each method, and the mean over random orders.

    Costs 2 + (steps - 1) x (2 x methods + draws) answers an example, and 2 more. Others and errors: `deletion_curves`.
    """
    chance = random_orders(region_sizes(numbers), draws, seed)
    by_map = np.stack([orders_by(each, seed) for each in values.values()])
    both = np.concatenate([by_map, chance])
    deleted = deletion_curves(classifier, examples, numbers, both, target, fill, steps=steps)
    put_back = insertion_curves(classifier, examples, numbers, by_map, target, fill, steps=steps)
    at_random, chance_probability = (each[len(values) :].mean(axis=0) for each in deleted)
    # with each order comes its reverse, so what is put back at random is what is deleted at random, read backwards
    curves = {
        (RANDOM_ORDER, "deletion"): (at_random, chance_probability),
        (RANDOM_ORDER, "insertion"): (at_random[:, ::-1], chance_probability[:, ::-1]),
    }
    areas = {}
    for k, method in enumerate(values):
        curves[method, "deletion"] = deleted[0][k], deleted[1][k]
        curves[method, "insertion"] = put_back[0][k], put_back[1][k]
        areas[method, "deletion"] = area_between(at_random, deleted[0][k])
        areas[method, "insertion"] = area_between(put_back[0][k], at_random[:, ::-1])
    return Compared(curves, areas)
