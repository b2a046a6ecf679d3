"""Windows of many beats, shortened at random while a network learns: the labelled beat must be enough, whatever is around."""

from __future__ import annotations

import torch
from torch import Tensor


def cropped(signals: Tensor, span: Tensor, r_index: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Cut up to `share` of each window's signal off, at the end that is farther from its R peak: (signals, span) anew.

    signals (example, lead, time); span int64 (example, 2), first sample that is signal and the one after the last; r_index
    int64 (example,). How much is drawn evenly from 0 to `share`. What is cut off holds the mean of what is left, lead by lead.
    """
    start, stop = span[:, 0], span[:, 1]
    cut = (torch.rand(len(span)) * share * (stop - start)).long()
    at_start = r_index - start > stop - 1 - r_index
    span = torch.stack([torch.where(at_start, start + cut, start), torch.where(at_start, stop, stop - cut)], dim=1)
    time = torch.arange(signals.shape[2])
    inside = ((time >= span[:, :1]) & (time < span[:, 1:]))[:, None]
    mean = (signals * inside).sum(2, keepdim=True) / inside.sum(2, keepdim=True).clamp(min=1)
    return torch.where(inside, signals, mean), span
