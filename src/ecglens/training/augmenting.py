"""Signals changed at random while a network learns, so that it does not learn them by heart."""

from __future__ import annotations

import torch
from torch import Tensor


def with_offsets(signals: Tensor, most: float) -> Tensor:
    """Each lead of each example moved up or down by up to `most` mV."""
    if most == 0:
        return signals
    return signals + most * (2 * torch.rand(*signals.shape[:2], 1) - 1)


def of_some(changed: Tensor, signals: Tensor, share: float) -> Tensor:
    """The changed signals for `share` of the examples, each by a coin of its own; the others stay."""
    if share == 1 or changed is signals:
        return changed
    return torch.where(torch.rand(len(signals), 1, 1) < share, changed, signals)


def with_gains(signals: Tensor, jitter: float, lowest: float, highest: float) -> Tensor:
    """Each lead times a gain of its own, exp(`jitter` times a normal number), and all times one from `lowest` to `highest`.

    signals (example, lead, time). A jitter of 0, or gains of 1 to 1, change nothing and draw nothing.
    """
    if jitter:
        signals = signals * torch.exp(jitter * torch.randn(*signals.shape[:2], 1))
    if (lowest, highest) != (1.0, 1.0):
        signals = signals * (lowest + (highest - lowest) * torch.rand(len(signals), 1, 1))
    return signals


def shifted(signals: Tensor, most: int) -> Tensor:
    """Each example moved in time by up to `most` samples either way; what leaves at one end comes in at the other."""
    if most == 0:
        return signals
    length = signals.shape[2]
    by = torch.randint(-most, most + 1, (len(signals), 1))
    source = (torch.arange(length) + by) % length
    return torch.gather(signals, 2, source[:, None].expand_as(signals))


def hidden(signals: Tensor, width: int) -> Tensor:
    """A stretch of `width` samples of each example, anywhere, zero in all leads; raises ValueError where none is left."""
    if width == 0:
        return signals
    length = signals.shape[2]
    if width >= length:
        raise ValueError(f"{width} samples of {length} are to be hidden; expected fewer")
    start = torch.randint(0, length - width + 1, (len(signals), 1))
    time = torch.arange(length)
    return signals * ((time < start) | (time >= start + width))[:, None]


def stretched(signals: Tensor, most: float) -> Tensor:
    """Each example as much slower or faster as e to the power of up to `most`, about its middle; zero beyond its ends.

    Values between samples are on the line between them.
    """
    if most == 0:
        return signals
    n, leads, length = signals.shape
    place = torch.zeros(n, 2, 3)
    place[:, 0, 0] = torch.exp(most * (2 * torch.rand(n) - 1))
    place[:, 1, 1] = 1
    grid = torch.nn.functional.affine_grid(place, [n, leads, 1, length], align_corners=False)
    return torch.nn.functional.grid_sample(signals[:, :, None], grid, align_corners=False)[:, :, 0]
