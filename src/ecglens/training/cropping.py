"""Windows of many beats, shortened at random while a network learns: the labelled beat must be enough, whatever is around."""

from __future__ import annotations

import torch
from torch import Tensor


def cropped(signals: Tensor, span: Tensor, r_index: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Cut up to `share` of each window's signal off, at the end that is farther from its R peak: (signals, span) anew.

    signals (example, lead, time); span int64 (example, 2), first sample that is signal and the one after the last; r_index
    int64 (example,). How much is drawn evenly from 0 to `share`, and no cut passes the R peak. The samples that are cut off
    hold the median of what is left (of two middle values the lower), lead by lead; all others stay.
    """
    start, stop = span[:, 0], span[:, 1]
    before, behind = r_index - start, stop - 1 - r_index
    at_start = before > behind
    cut = (torch.rand(len(span)) * share * (stop - start)).long().minimum(torch.maximum(before, behind))
    left = torch.stack([torch.where(at_start, start + cut, start), torch.where(at_start, stop, stop - cut)], dim=1)
    was, stays = (_inside(each, signals.shape[2]) for each in (span, left))
    median = signals.masked_fill(~stays, torch.nan).nanmedian(2, keepdim=True).values
    return torch.where(was & ~stays, median, signals), left


def _inside(span: Tensor, length: int) -> Tensor:
    """Which samples are signal, bool (example, 1, time)."""
    time = torch.arange(length)
    return ((time >= span[:, :1]) & (time < span[:, 1:]))[:, None]
