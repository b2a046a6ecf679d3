"""The convolutional network of Jones 2020: no down-sampling, 637,672 values at one row of 860 samples."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ecglens.models.keras_start import keras_dense, keras_variance_scaling

_FILTERS = 32
_KERNEL = 16
_SAME = ((_KERNEL - 1) // 2, _KERNEL // 2)  # Keras pads an even kernel's odd zero at the end


class _Unit(nn.Module):
    """Two 'same' convolutions and the input added back; the second has no batch norm, as in the authors' code."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(_FILTERS, filters, _KERNEL)
        self.norm = _batch_norm(filters)
        self.second = nn.Conv1d(filters, _FILTERS, _KERNEL)
        self.first_active = nn.LeakyReLU(0.3)
        self.second_active = nn.LeakyReLU(0.3)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first_active(self.norm(self.first(pad(x, _SAME))))
        return x + self.drop(self.second_active(self.second(pad(hidden, _SAME))))


class JonesCNN(nn.Module):
    """Jones 2020, cnn_classification.py: (example, lead, time) to logits (example, class).

    `last` is the convolution at which the authors point their saliency map.
    """

    def __init__(self, n_classes: int, n_leads: int, length: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv1d(n_leads, _FILTERS, _KERNEL),
                norm1=_batch_norm(_FILTERS),
                active1=nn.LeakyReLU(0.3),
                conv2=nn.Conv1d(_FILTERS, _FILTERS, _KERNEL),
                norm2=_batch_norm(_FILTERS),
                active2=nn.LeakyReLU(0.3),
                drop=nn.Dropout(0.2),
            )
        )
        self.units = nn.Sequential(*(_Unit(filters) for filters in (64, 64, 128, 128)))
        self.last = nn.Conv1d(_FILTERS, _FILTERS, _KERNEL)
        self.last_norm = _batch_norm(_FILTERS)
        self.last_active = nn.LeakyReLU(0.3)
        self.head = nn.Linear(_FILTERS * (length - 3 * (_KERNEL - 1)), n_classes)
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.last_active(self.last_norm(self.last(self.units(self.stem(x)))))
        # Keras flattens (time, filter)
        return self.head(torch.flatten(hidden.transpose(1, 2), 1))


def _batch_norm(filters: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(filters, eps=1e-3, momentum=0.01)  # Keras: epsilon 1e-3, momentum .99


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d):
        keras_variance_scaling(module)
    elif isinstance(module, nn.Linear):
        keras_dense(module)


def build(n_classes: int, n_leads: int, length: int) -> JonesCNN:
    """A fresh network with random weights."""
    return JonesCNN(n_classes, n_leads, length)
