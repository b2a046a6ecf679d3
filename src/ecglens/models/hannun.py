"""The 34-layer network of Hannun 2019 (awni/ecg): 33 convolutions in residual blocks, 10,467,176 trainable values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ecglens.models.keras_start import keras_dense, keras_variance_scaling

_KERNEL = 16
_FIRST = 32  # filters, doubled at every fourth block
_BLOCKS = 16


class _Conv(nn.Module):
    """A Keras 'same' convolution: an odd zero is put at the end."""

    def __init__(self, n_in: int, n_out: int, stride: int, length: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, _KERNEL, stride)
        self.length = -(-length // stride)
        zeros = max((self.length - 1) * stride + _KERNEL - length, 0)
        self.zeros = (zeros // 2, zeros - zeros // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, self.zeros))


class _Block(nn.Module):
    """Norm-ReLU-convolution-norm-ReLU-dropout-convolution; short cut by max pool, new channels of it zero.

    The first block has no norm and ReLU of its own before its first convolution.
    """

    def __init__(self, number: int, n_in: int, length: int) -> None:
        super().__init__()
        stride = 1 + number % 2
        self.filters = _FIRST * 2 ** (number // 4)
        opening = [_batch_norm(n_in), nn.ReLU()] if number else []
        first = _Conv(n_in, self.filters, stride, length)
        self.body = nn.Sequential(
            *opening,
            first,
            _batch_norm(self.filters),
            nn.ReLU(),
            nn.Dropout(0.2),
            _Conv(self.filters, self.filters, 1, first.length),
        )
        # half a window at the end counts, so that odd lengths stay as long as their convolution
        self.shortcut = nn.MaxPool1d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.grown = self.filters - n_in
        self.length = first.length

    def forward(self, x: Tensor) -> Tensor:
        beside = self.shortcut(x)
        if self.grown:
            beside = pad(beside, (0, 0, 0, self.grown))
        return self.body(x) + beside


class Hannun(nn.Module):
    """(example, lead, time) to logits (example, class), 256 samples a step (three steps at 720 samples).

    The published network has a softmax at each step; for one label a window ours gives the mean over steps of the logits of
    each step. That is one linear layer on the mean over steps of `tail`, so class activation maps add up to the logit.
    """

    def __init__(self, n_classes: int, n_leads: int, length: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_Conv(n_leads, _FIRST, 1, length), _batch_norm(_FIRST), nn.ReLU())
        self.blocks = nn.Sequential()
        n_in = _FIRST
        for number in range(_BLOCKS):
            block = _Block(number, n_in, length)
            self.blocks.append(block)
            n_in, length = block.filters, block.length
        self.tail_norm = _batch_norm(n_in)
        self.tail = nn.ReLU()
        self.head = nn.Linear(n_in, n_classes)
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tail(self.tail_norm(self.blocks(self.stem(x)))).mean(dim=2))


def _batch_norm(filters: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(filters, eps=1e-3)  # Keras: epsilon 1e-3; its slow momentum of .99 lags in short trainings


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d):
        keras_variance_scaling(module)
        with torch.no_grad():
            module.weight.mul_(math.sqrt(2))  # he_normal has twice that variance
    elif isinstance(module, nn.Linear):
        keras_dense(module)


def build(n_classes: int, n_leads: int, length: int) -> Hannun:
    """A fresh network with random weights.

    Source: Hannun 2019, doi:10.1038/s41591-018-0268-3; layers from the public code of its authors.
    """
    return Hannun(n_classes, n_leads, length)
