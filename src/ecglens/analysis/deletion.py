"""Does what a mask deletes matter to the class? Beside the same amount deleted at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecglens.attribution.masks import FILLS, fill_of
from ecglens.attribution.passes import Pass, Shared, undisturbed
from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier
from ecglens.models.device import moved, pick_device

_BATCH = 256
_REPLICATES = 1000


def deletion_effect(
    classifier: Classifier,
    examples: Examples,
    masks: NDArray[np.floating[Any]],
    target: NDArray[np.int64],
    *,
    fill: str = "zero",
    blur: float = 0.1,
    background: Examples | None = None,
    cell_s: float = 0.028,
    draws: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """What deleting a mask costs the class, and what it costs to delete as much at random: a row per example.

    masks: how far each sample is deleted, 0 to 1, (example, lead or 1, time); target: class index (example,). fill: what
    deleted samples go to, "zero" of the model's own input, the "mean" of `background`, or a "blur" of the example itself over
    `blur` s. Columns: amount, mean of the mask; fall, logit of the target at x less that at x - mask (x - fill); random_fall,
    mean of the same over `draws` in which cells of `cell_s` s are deleted whole, in random order, and one in part, so that
    amounts are equal; beats_random, fall > random_fall. Cells of a mask of one lead go through all leads; padding is deleted
    last, as it would cost nothing. Raises EcglensError where arrays, fill or numbers do not fit.
    """
    classifier.expect(examples)
    choose(fill, list(FILLS), "fill")
    masks, target = np.asarray(masks), np.asarray(target, np.int64)
    _expect(classifier, examples, masks, target, fill, background, draws)
    width = max(round(cell_s * classifier.fs), 1)
    parts = []
    with moved(classifier.module, pick_device()), undisturbed(classifier.module), torch.no_grad():
        behind = None if background is None else classifier.inputs(background)[0]
        shared = Shared(classifier, background=behind, seed=seed)
        for first in range(0, len(examples), _BATCH):
            rows = np.arange(first, min(first + _BATCH, len(examples)))
            part = examples.take(rows)
            x, *context = classifier.inputs(part)
            batch = Pass.of(shared, x, context[0] if context else None, target[rows], rows, part)
            mask = torch.from_numpy(masks[rows].astype(np.float32)).to(x.device)
            away = x - fill_of(batch, fill, blur)
            whole = batch.score(x)
            chance = torch.zeros(len(x), device=x.device)
            for drawn in random_masks(batch, mask, _signal(part).to(x.device), width, draws):
                chance += (whole - batch.score(x - drawn * away)) / draws
            fall = whole - batch.score(x - mask * away)
            parts.append(torch.stack([mask.double().mean(dim=(1, 2)), fall.double(), chance.double()]).cpu().numpy())
    amount, fall, chance = np.concatenate(parts, axis=1)
    return pd.DataFrame({"amount": amount, "fall": fall, "random_fall": chance, "beats_random": fall > chance})


def _expect(
    classifier: Classifier, examples: Examples, masks: NDArray[Any], target: NDArray[np.int64], fill: str,
    background: Examples | None, draws: int,
) -> None:  # fmt: skip
    n, n_leads, length = examples.signals.shape
    if masks.shape not in ((n, n_leads, length), (n, 1, length)):
        raise EcglensError(f"masks have shape {masks.shape}; expected ({n}, {n_leads} or 1, {length})")
    if not ((masks >= 0) & (masks <= 1)).all():
        raise EcglensError(
            f"masks run from {np.min(masks):.3g} to {np.max(masks):.3g}; expected 0 (kept) to 1 (deleted); scale them"
        )
    if target.shape != (n,) or target.min(initial=0) < 0 or target.max(initial=0) >= len(classifier.classes):
        raise EcglensError(f"targets have shape {target.shape}; expected a class index for each of {n} examples")
    if fill == "mean" and background is None:
        raise EcglensError("fill 'mean' needs a background: examples whose mean stands for 'nothing known'")
    if background is not None:
        classifier.expect(background)
    if draws < 1:
        raise EcglensError(f"draws is {draws}; expected at least 1")


def _signal(examples: Examples) -> Tensor:
    """True where there is signal, not padding: bool (example, lead, time)."""
    out = np.zeros(examples.signals.shape, bool)
    start, stop = examples.column("valid_start")[:, None], examples.column("valid_stop")[:, None]
    for place in examples.places:
        time = np.arange(place.length)
        out[:, place.row, place.offset : place.offset + place.length] = (time >= start) & (time < stop)
    return torch.from_numpy(out)


def random_masks(batch: Pass, mask: Tensor, signal: Tensor, width: int, draws: int) -> Iterator[Tensor]:
    """As much as `mask` deletes (example, lead or 1, time), in cells of `width` samples in random order, `draws` times.

    signal: bool (example, lead, time); cells without signal in their middle come last. The last cell of a lead is shorter
    where width does not go into it.
    """
    n, n_leads, length = mask.shape
    cells = -(-length // width)
    edges = torch.arange(0, cells + 1, device=mask.device) * width
    size = (edges.clamp(max=length).diff()).double().repeat(n_leads)
    middle = ((edges[:-1] + edges[1:].clamp(max=length)) // 2).clamp(max=length - 1)
    there = signal if n_leads == signal.shape[1] else signal.any(dim=1, keepdim=True)
    late = (~there[:, :, middle]).flatten(1)
    wanted = mask.double().sum(dim=(1, 2))[:, None]
    for order in batch.draws(7, lambda own: torch.rand(draws, n_leads * cells, generator=own)).unbind(dim=1):
        order = (order + late).argsort(dim=1)
        sizes = size[order]
        filled = ((wanted - (sizes.cumsum(dim=1) - sizes)) / sizes).clamp(0, 1)
        values = torch.zeros_like(filled).scatter(1, order, filled).reshape(n, n_leads, cells)
        yield values.repeat_interleave(width, dim=2)[:, :, :length].float()


def deletion_by_class(
    table: pd.DataFrame,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    patients: NDArray[Any] | None = None,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """`deletion_effect` added up: a row per class that occurs: class, n, fall, random_fall, ratio, share, low, high.

    labels: class index (example,); fall and random_fall: means; ratio: of these means, NaN where deletion at random costs the
    class nothing; share: of examples whose fall is the larger. patients (example,): low and high bound 95 % of 1,000 bootstrap
    ratios over whole patients; NaN without patients, or with one. Raises EcglensError where lengths differ.
    """
    n_patients = len(table) if patients is None else len(patients)
    if not len(table) == len(labels) == n_patients:
        raise EcglensError(f"{len(table)} rows, {len(labels)} labels and {n_patients} patients; expected the same number")
    rng = np.random.default_rng([seed, 8])
    rows = []
    for label in np.unique(labels):
        mine = np.asarray(labels) == label
        fall, chance = (table[name].to_numpy()[mine] for name in ("fall", "random_fall"))
        low, high = (np.nan, np.nan) if patients is None else _interval(fall, chance, np.asarray(patients)[mine], rng)
        rows.append(
            {
                "class": classes[label], "n": len(fall), "fall": fall.mean(), "random_fall": chance.mean(),
                "ratio": float(_ratio(fall.sum(), chance.sum())), "share": table["beats_random"].to_numpy()[mine].mean(),
                "low": low, "high": high,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _ratio(fall: Any, chance: Any) -> NDArray[np.float64]:
    """fall / chance; NaN where chance is not above 0, as the ratio then says nothing."""
    fall, chance = np.asarray(fall, np.float64), np.asarray(chance, np.float64)
    return np.divide(fall, chance, out=np.full(fall.shape, np.nan), where=chance > 0)


def _interval(
    fall: NDArray[np.float64], chance: NDArray[np.float64], patients: NDArray[Any], rng: np.random.Generator
) -> tuple[float, float]:
    """95 % of ratios of the sums over patients drawn with replacement."""
    names, which = np.unique(patients, return_inverse=True)
    if len(names) < 2:
        return np.nan, np.nan
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=_REPLICATES)
    sums = [times @ np.bincount(which, weights=each, minlength=len(names)) for each in (fall, chance)]
    # a draw in which chance costs nothing counts as the largest of ratios
    ratios = np.nan_to_num(_ratio(*sums), nan=np.inf)
    low, high = np.quantile(ratios, [0.025, 0.975], method="nearest")
    return float(low), float(high)
