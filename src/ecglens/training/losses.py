"""What training makes small."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from ecglens.errors import choose

Loss = Callable[..., Tensor]  # (logits, labels) to the mean over the batch


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0, alpha: float = 1.0) -> Tensor:
    """Focal loss, mean over the batch: -alpha (1 - p)^gamma log p of the true class (Lin 2017, eq. 5).

    logits: (example, class); labels: int64 (example,). gamma 0 and alpha 1 give cross-entropy.
    """
    log_p = functional.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)
    return -(alpha * (1 - log_p.exp()).pow(gamma) * log_p).mean()


LOSSES: dict[str, Loss] = {
    "cross-entropy": functional.cross_entropy,
    "focal": focal,
    "smoothed": partial(functional.cross_entropy, label_smoothing=0.05),
}


def loss_named(name: str) -> Loss:
    """The loss of that name; raises EcglensError with the known names otherwise."""
    return LOSSES[choose(name, sorted(LOSSES), "loss")]


def inverse_frequency(labels: Tensor, n_classes: int) -> Tensor:
    """1 / frequency of each class among `labels` (example,), float32 (class,), scaled to mean 1 over the classes that occur.

    A class that does not occur gets 1.
    """
    counts = torch.bincount(labels, minlength=n_classes).double()
    weights = torch.ones_like(counts)
    occurs = counts > 0
    weights[occurs] = 1 / counts[occurs]
    weights[occurs] /= weights[occurs].mean()
    return weights.float()
