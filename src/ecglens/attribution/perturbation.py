"""Methods that change the input and look at the answer: they need no gradient and take any model."""

from __future__ import annotations

from math import factorial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecglens.attribution.gradients import along, baseline_of
from ecglens.attribution.passes import Pass
from ecglens.attribution.registry import Card, register
from ecglens.errors import EcglensError
from ecglens.examples.regions import Regions

_OFF_MANIFOLD = "a replaced part is not an ECG any more; what two parts say only together"
_NO_LEADS = "a picture has no leads"
_ROWS = 512  # that go through the model at once


@register(
    "occlusion",
    Card(
        equation="f(x) - f(x with a region replaced by the baseline)",
        source="Zeiler and Fergus 2014, arXiv:1311.2901",
        passes="1 forward for each region",
        signed=True, leads=True, resolution="region", one_pass=False, blind_to=_OFF_MANIFOLD,
    ),
)  # fmt: skip
def occlusion(
    batch: Pass, seconds: float = 0.1, baseline: str = "zero", regions: Regions | None = None, pixels: int = 16
) -> Tensor:
    """(example, lead, time): each sample gets the fall of the score when its region goes; the mean where regions overlap.

    regions: any, one set for each example of the data set; default: windows of `seconds` in each lead, (example, lead,
    window). Of pictures, (example, 1, row, column): squares of `pixels`. Raises EcglensError for no pixels.
    """
    x, start = batch.x.detach(), baseline_of(batch, baseline)
    if x.dim() == 4:
        return _squares(batch, x, start, pixels)
    if regions is None:
        width = max(round(seconds * batch.classifier.fs), 1)
        cells = -(-x.shape[2] // width)
        out = torch.empty(len(x), x.shape[1], cells, device=x.device)
        with torch.no_grad():
            whole = batch.score(x)
            for lead in range(x.shape[1]):
                for cell in range(cells):
                    changed = x.clone()
                    there = slice(cell * width, (cell + 1) * width)
                    changed[:, lead, there] = start[:, lead, there]
                    out[:, lead, cell] = whole - batch.score(changed)
        return out.repeat_interleave(width, dim=2)[:, :, : x.shape[2]]
    return _painted(batch, x, start, regions.take(batch.rows))


def _squares(batch: Pass, x: Tensor, start: Tensor, pixels: int) -> Tensor:
    if pixels < 1:
        raise EcglensError(f"pixels is {pixels}; expected at least 1")
    out = torch.empty_like(x)
    with torch.no_grad():
        whole = batch.score(x)
        for row in range(0, x.shape[2], pixels):
            for column in range(0, x.shape[3], pixels):
                there = (slice(None), slice(None), slice(row, row + pixels), slice(column, column + pixels))
                changed = x.clone()
                changed[there] = start[there]
                out[there] = along(whole - batch.score(changed), x)
    return out


def _painted(batch: Pass, x: Tensor, start: Tensor, regions: Regions) -> Tensor:
    time = torch.arange(x.shape[2], device=x.device)
    total, times = torch.zeros_like(x), torch.zeros_like(x)
    with torch.no_grad():
        whole = batch.score(x)
        for region in range(len(regions.names)):
            edges = (torch.from_numpy(edge[:, region])[:, None].to(x.device) for edge in (regions.start, regions.stop))
            first, stop = edges
            where = torch.zeros_like(x, dtype=torch.bool)
            where[:, int(regions.row[region])] = (time >= first) & (time < stop)
            fall = whole - batch.score(torch.where(where, start, x))
            total += where * fall[:, None, None]
            times += where
    return total / times.clamp(min=1)


@register(
    "lead-shapley",
    Card(
        equation="sum over sets S of other leads of |S|! (L - |S| - 1)! / L! (f(S with lead) - f(S)), absent leads at the "
        "baseline",
        source="Shapley 1953; Lundberg 2017, arXiv:1705.07874, eq. 4",
        passes="2^L forwards (4 for 2 leads, 4,096 for 12)",
        signed=True, leads=True, resolution="whole lead", sums_to="f(x) - f(x')", one_pass=False,
        blind_to="where in the lead; depends on the baseline", not_pictures=_NO_LEADS,
    ),
)  # fmt: skip
def lead_shapley(batch: Pass, baseline: str = "zero") -> Tensor:
    """(example, lead, 1), exact over all coalitions of leads."""
    n_leads = batch.x.shape[1]
    if n_leads > 16:
        raise EcglensError(f"{n_leads} leads have {2**n_leads:,} coalitions; lead-shapley-sampled takes a sample of them")
    values = coalition_scores(batch, baseline)
    return (values.double() @ torch.from_numpy(shapley_weights(n_leads)).to(values.device)).float()[:, :, None]


def coalition_scores(batch: Pass, baseline: str) -> Tensor:
    """f of each coalition of leads, (example, 2^lead); bit k of the column's number says whether lead k is there."""
    x, start = batch.x.detach(), baseline_of(batch, baseline)
    n, n_leads = len(x), x.shape[1]
    low = min(max(_ROWS // n, 1).bit_length() - 1, n_leads)  # 2^low coalitions go through the model at once
    present = ((torch.arange(2**low)[:, None] >> torch.arange(n_leads)) & 1 > 0).to(x.device)
    mixed = torch.where(present[None, :, :, None], x[:, None], start[:, None])
    out = torch.empty(n, 2 ** (n_leads - low), 2**low, device=x.device)
    with torch.no_grad():
        for high in range(out.shape[1]):  # the low leads change alike in each, so they stay as they are
            for lead in range(low, n_leads):
                if (high ^ (high - 1)) >> (lead - low) & 1:  # its bit is not that of the number before
                    mixed[:, :, lead] = (x if high >> (lead - low) & 1 else start)[:, None, lead]
            out[:, high] = batch.score(mixed.flatten(0, 1)).reshape(n, -1)
    return out.flatten(1)


def shapley_weights(n_leads: int) -> NDArray[np.float64]:
    """(2^lead, lead): Shapley values are coalition scores times this."""
    number = np.arange(2**n_leads)
    size = np.array([bin(each).count("1") for each in number])
    weights = np.empty((len(number), n_leads))
    for lead in range(n_leads):
        there = (number >> lead) & 1 > 0
        others = size - there
        share = np.array([factorial(s) * factorial(n_leads - s - 1) / factorial(n_leads) for s in range(n_leads)])[others]
        weights[:, lead] = np.where(there, share, -share)
    return weights


@register(
    "lead-shapley-sampled",
    Card(
        equation="mean over random orders of the rise of f when the lead comes in, each order also run backwards",
        source="Castro 2009, Comput. Oper. Res. 36:1726; antithetic pairs: Mitchell 2022, JMLR 23:43",
        passes="2 orders L forwards",
        signed=True, leads=True, resolution="whole lead", sums_to="f(x) - f(x')", one_pass=False,
        blind_to="where in the lead; depends on the baseline; an estimate (its standard error is kept beside it)",
        not_pictures=_NO_LEADS,
    ),
)  # fmt: skip
def lead_shapley_sampled(batch: Pass, orders: int = 16, baseline: str = "zero") -> Tensor:
    """(example, lead, 1); the standard error (example, lead) is the note "standard-error"."""
    if orders < 2:
        raise EcglensError(f"orders is {orders}; an error bar needs at least 2")
    x, start = batch.x.detach(), baseline_of(batch, baseline)
    n_leads = x.shape[1]
    order = batch.draws(4, lambda own: torch.stack([torch.randperm(n_leads, generator=own) for _ in range(orders)]))
    rises = torch.zeros(orders, len(x), n_leads, device=x.device)
    with torch.no_grad():
        for pair in range(orders):
            for way in (order[:, pair], order[:, pair].flip(1)):
                there = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
                before = batch.score(start)
                for step in range(n_leads):
                    there.scatter_(1, way[:, step : step + 1], True)
                    now = batch.score(torch.where(there[:, :, None], x, start))
                    rises[pair].scatter_add_(1, way[:, step : step + 1], ((now - before) / 2)[:, None])
                    before = now
    batch.notes["standard-error"] = rises.std(dim=0) / orders**0.5
    return rises.mean(dim=0)[:, :, None]
