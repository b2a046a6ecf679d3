"""Maps that know nothing of the model: what every other map has to be better than."""

from __future__ import annotations

import torch
from torch import Tensor

from ecglens.attribution.passes import Pass
from ecglens.attribution.registry import Card, register


def _card(equation: str, *, signed: bool = False, leads: bool = True, not_pictures: str = "") -> Card:
    return Card(
        equation=equation, source="a baseline", passes="none", signed=signed, leads=leads, resolution="sample",
        blind_to="the model", not_pictures=not_pictures,
    )  # fmt: skip


@register("uniform", _card("1 everywhere"))
def uniform(batch: Pass) -> Tensor:
    """(example, lead, time)."""
    return torch.ones_like(batch.x)


@register("random", _card("standard normal noise", signed=True))
def random(batch: Pass) -> Tensor:
    """(example, lead, time)."""
    return batch.draws(5, lambda own: torch.randn(batch.x.shape[1:], generator=own))


@register("magnitude", _card("|x|"))
def magnitude(batch: Pass) -> Tensor:
    """(example, lead, time)."""
    return batch.x.detach().abs()


@register("slope", _card("|dx/dt|, central differences"))
def slope(batch: Pass) -> Tensor:
    """(example, lead, time), change from sample to sample, of pictures from column to column."""
    return torch.gradient(batch.x.detach(), dim=-1)[0].abs()


@register(
    "r-window",
    _card("1 within 0.06 s of the R peak, else 0", leads=False, not_pictures="R peaks are known in samples, not in columns"),
)
def r_window(batch: Pass, seconds: float = 0.06) -> Tensor:
    """(example, 1, time); where R is not known, around the middle of the window."""
    length = batch.x.shape[2]
    middle = torch.full((len(batch.x),), length // 2)
    if batch.examples is not None:
        middle = torch.from_numpy(batch.examples.column("r_index").astype("int64"))
    away = (torch.arange(length) - middle[:, None]).abs()
    return (away <= round(seconds * batch.classifier.fs)).float()[:, None]
