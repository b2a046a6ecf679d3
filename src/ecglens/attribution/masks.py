"""The learned mask: the least of a signal that, deleted, takes the class away, or that, kept, keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ecglens.attribution.gradients import baseline_of
from ecglens.attribution.passes import Pass
from ecglens.attribution.registry import Card, register
from ecglens.errors import EcglensError, choose

FILLS = ("zero", "mean", "blur")
LOOK = 20  # steps over which a mask's movement is told

# The paper names no fill, optimiser or bound: zero, Adam as everywhere here, none. Its mask cannot settle: 500 steps of .001
# lead from 0 to about .5 (on real beats to .61 at most: Adam's steps vary with the slope), and at the end of the way, as each
# deleted sample costs 1 and a probability has no more than 1 to lose, no more than one sample's worth is deleted.
PUBLISHED: dict[str, Any] = {
    "steps": 500, "rate": 0.001, "l1": 1.0, "l2": 0.001, "start": 0.0, "size": "sum", "score": "probability",
    "baseline": "zero", "bounded": "none", "goal": "deletion", "starts": 1, "tolerance": 0.0, "cell": 0.0,
}  # fmt: skip


@register(
    "deletion-mask",
    Card(
        equation="1 - m, where m minimises l1 mean(1 - m) + l2 mean |m[t+1] - m[t]| + s(m x + (1 - m) x'), s the class's "
        "log(1 - p) by its value at x; goal 'preservation': m, where it minimises the same with mean(m) and what s has lost",
        source="Vijayarangan 2020, arXiv:2004.05399; van der Westhuizen 2017, arXiv:1705.08153; Fong 2017, arXiv:1704.03296",
        passes="starts x steps (3 x 400, fewer where all masks stand still before) forwards and backwards",
        signed=False, leads=True, resolution="sample", one_pass=False,
        blind_to="evidence that the class has twice; depends on l1, l2, the fill and the start (see its note 'overlap')",
        not_pictures="its mask is smooth in time, and blurs in time",
    ),
)  # fmt: skip
def deletion_mask(
    batch: Pass,
    steps: int = 400,
    rate: float = 0.03,
    l1: float = 1.0,
    l2: float = 2.0,
    start: float = 1.0,
    size: str = "mean",
    score: str = "logit",
    baseline: str = "zero",
    blur: float = 0.1,
    bounded: str = "clamp",
    goal: str = "deletion",
    starts: int = 3,
    tolerance: float = 0.05,
    cell: float = 0.0,
) -> Tensor:
    """How salient each sample is, (example, lead, time) in [0, 1]. All masks of the batch are learned at once, by Adam.

    The mask m keeps (1) or fills (0) a sample. goal: "deletion": the least that takes the class away, 1 - m; "preservation":
    the least that keeps it, m. start: m at the first step, of the first of `starts`; the others start at random, and the map
    is the mean. size: "mean" or "sum" of what l1 and l2 weigh, over samples and leads. baseline: fill with "zero", the "mean"
    of the background, or a "blur" of the example itself, Gaussian, of `blur` s (standard deviation). bounded: "clamp" keeps m
    in [0, 1] at each step, "none" only what is returned. tolerance: a mask is done when it has moved by no more than this
    over 20 steps, the batch when all are; 0: all steps. cell: s that one value of m is for, 0: a sample.

    score: "probability" of the class (of the others, where the class is to be kept), or "logit": -log(1 - p), the softplus of
    the class's log-odds, as a share of its value at x. It is as steep as a logit where the class is sure and a probability has
    no slope, and flat where the class is gone. Tried on DS1: with a bare logit, which has no floor, half of each beat was
    deleted; scaled by what x has above the fill, three times as much as now; a probability deleted nothing of most beats.
    A class that x has not has nothing to lose: the value at x counts as no less than log 2.

    Notes (example,): "moved", the largest change of a mask over its last 20 steps, of all starts; "overlap", mean over pairs
    of starts of sum min / sum max of their maps, 1 for two empty ones, only where there are several; "score-left", logit or
    probability of the class under the map. Raises EcglensError for an unknown word or a number out of range.
    Source: Vijayarangan 2020 (its values: `PUBLISHED`).
    """
    _expect(batch, steps, rate, start, size, score, bounded, goal, starts, tolerance, cell)
    fill = fill_of(batch, baseline, blur)
    away = batch.x.detach() - fill
    width = max(round(cell * batch.classifier.fs), 1)
    loss = _loss(batch, score, goal)

    def spread(cells: Tensor) -> Tensor:
        return cells if width == 1 else cells.repeat_interleave(width, dim=2)[:, :, : away.shape[2]]

    norm = 1.0 if size == "sum" else 1 / away[0].numel()
    norm_steps = 1.0 if size == "sum" else 1 / max(away.shape[1] * (away.shape[2] - 1), 1)

    def cost(mask: Tensor) -> Tensor:
        batch.shared.counter.backward += len(away)
        amount = 1 - mask if goal == "deletion" else mask
        if bounded == "none":
            amount = amount.abs()  # inside [0, 1] it is itself, and at its edge it still has a slope
        of_size = l1 * norm * amount.sum(dim=(1, 2)) + l2 * norm_steps * mask.diff(dim=2).abs().sum(dim=(1, 2))
        return of_size + loss(batch.logits_of(torch.addcmul(fill, mask, away)))

    masks, moved = [], torch.zeros(len(away), device=away.device)
    for first in _starts(batch, start, starts, width):
        mask, by = _descend(cost, first, spread, steps, rate, tolerance, clamp=bounded == "clamp")
        masks.append((1 - mask if goal == "deletion" else mask).clamp(0, 1))
        moved = torch.maximum(moved, by)
    found = torch.stack(masks).mean(dim=0)
    batch.notes["moved"] = moved
    if starts > 1:
        pairs = [_overlap(one, other) for one, other in combinations(masks, 2)]
        batch.notes["overlap"] = torch.stack(pairs).mean(dim=0)
    with torch.no_grad():
        kept = 1 - found if goal == "deletion" else found
        logits = batch.logits_of(torch.addcmul(fill, kept, away))
        left = logits if score == "logit" else _probabilities(batch, logits)
        batch.notes["score-left"] = _of_target(batch, left)
    return found


def _expect(
    batch: Pass, steps: int, rate: float, start: float, size: str, score: str, bounded: str, goal: str, starts: int,
    tolerance: float, cell: float,
) -> None:  # fmt: skip
    choose(size, ["mean", "sum"], "size")
    choose(score, ["logit", "probability"], "score")
    choose(bounded, ["clamp", "none"], "bound")
    choose(goal, ["deletion", "preservation"], "goal")
    seconds = batch.x.shape[2] / batch.classifier.fs
    for name, value, low, high in (
        ("steps", steps, 0, math.inf), ("rate", rate, 0, math.inf), ("start", start, 0, 1), ("starts", starts, 1, math.inf),
        ("tolerance", tolerance, 0, 1), ("cell", cell, 0, seconds),
    ):  # fmt: skip
        if not low <= value <= high:
            wanted = f"at least {low}" if high == math.inf else f"{low} to {high:g}"
            raise EcglensError(f"{name} of the deletion mask is {value:g}; expected {wanted}")


def fill_of(batch: Pass, fill: str, blur: float) -> Tensor:
    """What deleted samples are replaced with (example, lead, time): "zero", the background's "mean", or the example's "blur".

    blur: standard deviation of the Gaussian in s. Raises EcglensError for another word or a width that is not above 0.
    """
    choose(fill, list(FILLS), "fill")
    return blurred(batch.x.detach(), blur * batch.classifier.fs) if fill == "blur" else baseline_of(batch, fill).detach()


def blurred(x: Tensor, width: float) -> Tensor:
    """x (example, lead, time) under a Gaussian of standard deviation `width`, in samples, cut at three of them; the edges'
    values go on beyond the edges. Raises EcglensError for a width that is not above 0."""
    if not width > 0:
        raise EcglensError(f"a blur of {width:g} samples leaves the signal as it is; expected more than 0")
    reach = max(math.ceil(3 * width), 1)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    wide = F.pad(x.flatten(0, 1)[:, None], (reach, reach), mode="replicate")
    return F.conv1d(wide, (weights / weights.sum())[None, None].to(x.device, x.dtype)).reshape(x.shape)


def _probabilities(batch: Pass, logits: Tensor) -> Tensor:
    return logits.softmax(1) if batch.classifier.activation == "softmax" else logits.sigmoid()


def _of_target(batch: Pass, values: Tensor) -> Tensor:
    return values.gather(1, batch.target[:, None])[:, 0]


def log_odds(batch: Pass, logits: Tensor) -> Tensor:
    """log(p / (1 - p)) of the target (example,), from logits (example, class)."""
    chosen = _of_target(batch, logits)
    if batch.classifier.activation == "sigmoid" or logits.shape[1] == 1:
        return chosen
    return chosen - logits.scatter(1, batch.target[:, None], -math.inf).logsumexp(1)


def _loss(batch: Pass, score: str, goal: str) -> Callable[[Tensor], Tensor]:
    """From logits (example, class) to what the mask is to bring down (example,): 1 where nothing is reached."""
    delete = goal == "deletion"
    if score == "probability":

        def by_probability(logits: Tensor) -> Tensor:
            chance = _of_target(batch, _probabilities(batch, logits))
            return chance if delete else 1 - chance

        return by_probability
    whole = log_odds(batch, batch.forward.quick_result[0].detach())
    unit = F.softplus(whole).clamp(min=math.log(2))

    def by_log_odds(logits: Tensor) -> Tensor:
        now = log_odds(batch, logits)
        return F.softplus(now if delete else whole - now) / unit

    return by_log_odds


def _starts(batch: Pass, start: float, starts: int, width: int) -> list[Tensor]:
    """Masks to start from, each (example, lead, cell)."""
    n, n_leads, length = batch.x.shape
    shape = (n_leads, -(-length // width))
    first = torch.full((n, *shape), float(start), device=batch.x.device)
    if starts == 1:
        return [first]
    drawn = batch.draws(6, lambda own: torch.rand(starts - 1, *shape, generator=own))
    return [first, *drawn.unbind(dim=1)]


def _descend(
    cost: Callable[[Tensor], Tensor], first: Tensor, spread: Callable[[Tensor], Tensor], steps: int, rate: float,
    tolerance: float, *, clamp: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The mask learned (example, lead, time), and how far it moved at most over its last 20 steps (example,).

    A mask that is done is kept as it was then, so that when its batch mates are done does not matter to it.
    """
    cells = first.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([cells], lr=rate)
    before, kept = first.clone(), first.clone()
    moved = torch.zeros(len(first), device=first.device)
    done = torch.zeros_like(moved, dtype=torch.bool)
    for step in range(1, steps + 1):
        # the sum over examples: no mask meets another one
        (cells.grad,) = torch.autograd.grad(cost(spread(cells)).sum(), cells)
        optimiser.step()
        with torch.no_grad():
            if clamp:
                cells.clamp_(0, 1)
            if (steps - step) % LOOK:  # so that the last look is at the last step
                continue
            kept = torch.where(done[:, None, None], kept, cells)
            moved = torch.where(done, moved, (cells - before).abs().amax(dim=(1, 2)))
            before = cells.detach().clone()
            if tolerance > 0 and step >= LOOK:
                done |= moved <= tolerance
                if bool(done.all()):
                    break
    return spread(kept).detach(), moved


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """Sum of the smaller by sum of the larger (example,); 1 where both are empty."""
    union = torch.maximum(one, other).sum(dim=(1, 2))
    return torch.where(union > 0, torch.minimum(one, other).sum(dim=(1, 2)) / union.clamp(min=1e-12), 1.0)
