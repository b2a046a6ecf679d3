"""How Keras fills fresh layers, where a published system was trained with it."""

from __future__ import annotations

import math

import torch
from torch import nn


def keras_variance_scaling(layer: nn.Conv1d) -> None:
    """VarianceScaling with its defaults: normal cut at two deviations, variance 1 / fan-in; bias zero."""
    fan_in = layer.in_channels * layer.kernel_size[0]
    deviation = math.sqrt(1 / fan_in) / 0.87962566103423978  # of a unit normal cut at two deviations
    nn.init.trunc_normal_(layer.weight, 0.0, deviation, -2 * deviation, 2 * deviation)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def keras_dense(layer: nn.Linear) -> None:
    """Glorot-uniform weights, zero bias."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)


def keras_lstm(layer: nn.LSTM) -> None:
    """Glorot-uniform kernels, orthogonal recurrence, forget bias 1; PyTorch's second bias stays zero, untrained."""
    with torch.no_grad():
        kernel, recurrent, bias, second_bias = (value for _, value in layer.named_parameters())
        nn.init.xavier_uniform_(kernel)
        nn.init.orthogonal_(recurrent)
        bias.zero_()
        bias[layer.hidden_size : 2 * layer.hidden_size] = 1.0
        second_bias.zero_()
    second_bias.requires_grad_(False)
