"""CNN-GAP: twelve convolutions, pooled over time, one linear layer: so class activation maps add up to the logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# (filters, kernel, stride) of each block. The paper gives none; after Goodfellow 2018 few strides, so that maps keep their
# resolution in time: 8 samples a cell, 80 ms at 100 Hz
BLOCKS = (
    (32, 15, 1), (32, 9, 2), (64, 9, 1), (64, 7, 2), (64, 7, 1), (96, 7, 1),
    (96, 7, 2), (96, 7, 1), (128, 5, 1), (128, 5, 1), (128, 5, 1), (128, 5, 1),
)  # fmt: skip
MIN_LENGTH = 16


class _Beside(nn.Sequential):
    """A block whose input goes past it as well."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x)
        return out + x


class CnnGap(nn.Module):
    """(example, lead, time) to logits (example, class): blocks of convolution, batch norm and ReLU; mean over time; linear.

    logit_j = mean over cells of sum_i w_ij a_i + b_j, so the mean of the class activation map and the bias are the logit.
    short_cuts: the input of each block that changes neither size nor resolution is added to its output, which Lin 2020 has
    not. Source: Lin 2020, section 2.3; sizes of the layers are ours.
    """

    def __init__(self, n_classes: int, n_leads: int, *, short_cuts: bool = False) -> None:
        super().__init__()
        blocks, n_in = [], n_leads
        for filters, kernel, stride in BLOCKS:
            layer = nn.Conv1d(n_in, filters, kernel, stride=stride, padding=kernel // 2, bias=False)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # else little of the input is left behind twelve layers
            block = _Beside if short_cuts and n_in == filters and stride == 1 else nn.Sequential
            blocks.append(block(layer, nn.BatchNorm1d(filters), nn.ReLU()))
            n_in = filters
        self.tail = nn.Sequential(*blocks)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(n_in, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        # dropped after the mean: whole channels, as a map that is added up has them
        out: Tensor = self.head(self.drop(torch.mean(self.tail(x), dim=2)))
        return out


def build(n_classes: int, n_leads: int, length: int) -> CnnGap:
    """A fresh network with random weights."""
    return CnnGap(n_classes, n_leads)


def build_with_short_cuts(n_classes: int, n_leads: int, length: int) -> CnnGap:
    """The same with short cuts around the blocks."""
    return CnnGap(n_classes, n_leads, short_cuts=True)
