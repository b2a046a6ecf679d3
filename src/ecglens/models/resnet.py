"""A strided residual network in the manner of Ribeiro 2020, small enough for two cores; and the same with RR intervals."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_KERNEL = 17
_UNITS = ((24, 4), (40, 2), (56, 2), (72, 2))  # (filters, stride) of each residual unit
_STEM = 16
N_CONTEXT = 6  # see ecglens.examples.context


class _Unit(nn.Module):
    """Ribeiro's unit: conv-norm-ReLU-drop-conv beside pooling and a 1 x 1 convolution, added, then norm-ReLU-drop.

    Passes two tensors on: the activated sum and, for the next unit's short cut, the sum before its batch norm.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(n_in, n_out, _KERNEL, padding=_KERNEL // 2, bias=False)
        self.first_norm = nn.BatchNorm1d(n_out)
        self.first_active = nn.ReLU()
        self.second = nn.Conv1d(n_out, n_out, _KERNEL, stride=stride, padding=_KERNEL // 2, bias=False)
        self.pool = nn.MaxPool1d(stride, ceil_mode=True)
        self.match = nn.Conv1d(n_in, n_out, 1, bias=False)
        self.sum_norm = nn.BatchNorm1d(n_out)
        self.sum_active = nn.ReLU()
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor, shortcut: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.drop(self.first_active(self.first_norm(self.first(x))))
        total = self.second(hidden) + self.match(self.pool(shortcut))
        return self.drop(self.sum_active(self.sum_norm(total))), total


class ResNet(nn.Module):
    """(example, lead, time) to logits (example, class); with `context`, also takes RR numbers (example, 6).

    Left out, the RR numbers count as 'regular rhythm' (all zero).
    """

    def __init__(self, n_classes: int, n_leads: int, length: int, n_context: int = 0) -> None:
        super().__init__()
        self.stem = nn.Conv1d(n_leads, _STEM, _KERNEL, stride=2, padding=_KERNEL // 2, bias=False)
        self.stem_norm = nn.BatchNorm1d(_STEM)
        self.stem_active = nn.ReLU()
        self.units = nn.ModuleList()
        n_in, left = _STEM, -(-length // 2)
        for filters, stride in _UNITS:
            self.units.append(_Unit(n_in, filters, stride))
            n_in, left = filters, -(-left // stride)
        self.n_context = n_context
        n_flat = n_in * left
        if n_context:
            self.context = nn.Sequential(nn.Linear(n_context, 32), nn.ReLU())
            self.squeeze = nn.Sequential(nn.Linear(n_flat, 64), nn.ReLU())
            self.mix = nn.Sequential(nn.Linear(96, 64), nn.ReLU())
            n_flat = 64
        self.head = nn.Linear(n_flat, n_classes)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        hidden = shortcut = self.stem_active(self.stem_norm(self.stem(x)))
        for unit in self.units:
            hidden, shortcut = unit(hidden, shortcut)
        flat = torch.flatten(hidden, 1)
        if self.n_context:
            if context is None:
                context = x.new_zeros(len(x), self.n_context)
            flat = self.mix(torch.cat([self.squeeze(flat), self.context(context)], dim=1))
        return self.head(flat)


def build(n_classes: int, n_leads: int, length: int) -> ResNet:
    """A fresh network with random weights that sees the signal alone."""
    return ResNet(n_classes, n_leads, length)


def build_with_rr(n_classes: int, n_leads: int, length: int) -> ResNet:
    """A fresh network with random weights that also sees the RR intervals around the beat."""
    return ResNet(n_classes, n_leads, length, N_CONTEXT)
