"""A small network for pictures of heart beats in a row, for machines without a GPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FILTERS = (16, 24, 32, 48, 64)  # of the convolutions that halve the picture
_TAIL = 64


def _convolution(n_in: int, n_out: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    ]


class Small2d(nn.Module):
    """Ink (example, 1, row, column) to logits (example, class).

    Seven convolutions; then the mean over rows, but columns stay apart: which beat is which can be told from its place alone.
    """

    def __init__(self, n_classes: int, columns: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in, kernel = 1, 5
        for n_out in _FILTERS:
            layers += _convolution(n_in, n_out, kernel, 2)
            n_in, kernel, columns = n_out, 3, -(-columns // 2)
        self.blocks = nn.Sequential(*layers, *_convolution(n_in, _TAIL, 3, 1))
        self.tail = nn.Sequential(*_convolution(_TAIL, _TAIL, 3, 1))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(_TAIL * columns, n_classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # on a CPU twice as fast

    def forward(self, x: Tensor) -> Tensor:
        cells = self.tail(self.blocks(x.contiguous(memory_format=torch.channels_last)))
        return self.head(self.drop(cells.mean(dim=2).flatten(1)))
