"""When a training is over before its last epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

_EPOCHS = 4  # Varandas 2021, methods


def patience_is_over(losses: Sequence[float], patience: int) -> bool:
    """Whether the best of these validation losses (epoch,) is `patience` epochs old; never with 0, nor with NaN."""
    if not patience or not min(losses) <= losses[-1]:
        return False
    return len(losses) - 1 - int(np.argmin(losses)) >= patience


def f1_falls(f1: Sequence[float]) -> bool:
    """Whether the last of these F1 (epoch,) is no better than the mean of the four epochs before it; never with NaN.

    Varandas 2021: training stops "if the F1 score of a certain epoch is less or equal than the mean of the same parameter at
    the last 4 epochs". Read as four whole epochs before this one, so never before epoch 5: their two models stopped after
    epochs 7 and 5.
    """
    before = f1[-1 - _EPOCHS : -1]
    return len(before) == _EPOCHS and bool(f1[-1] <= np.mean(before))


def f1_of(answers: Tensor, labels: Tensor, label: int = 0) -> float:
    """F1 of class `label` against all others, from predicted and true classes, int64 (example,); 0 / 0 counts as 0."""
    said, true = answers == label, labels == label
    either = int(said.sum() + true.sum())
    return 2 * int((said & true).sum()) / either if either else 0.0
