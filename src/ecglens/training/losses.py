"""What training makes small."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from ecglens.errors import EcglensError, choose
from ecglens.training.challenge import challenge_weights

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


def wbce(pos_weight: Tensor) -> Loss:
    """Binary cross-entropy, mean over batch and classes, in which the positives of a class count `pos_weight` (class,).

    The loss takes logits and labels, float of 0 or 1, both (example, class).
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        # in the precision of the labels: under autocast logits may be bfloat16
        return functional.binary_cross_entropy_with_logits(logits.to(labels), labels, pos_weight=pos_weight.to(labels))

    return loss


def negatives_per_positive(labels: Tensor) -> Tensor:
    """Negatives / positives of each class among `labels` (example, class), float32 (class,); 1 where one side is empty."""
    positive = labels.double().sum(0)
    negative = len(labels) - positive
    some = (positive > 0) & (negative > 0)
    return torch.where(some, negative / positive.clamp(min=1), 1.0).float()


def macro_obs(weights: Tensor) -> Loss:
    """Minus what the answers earn in the Challenge 2020, softly: mean over the batch of -sum(weights * t p^T) / N (Lin 2020).

    weights (true class, answered class). p are the sigmoids and N = sum over classes of (1 - t) p + t, at least 1: the soft
    size of the union of true and answered classes, of each record alone. The paper sums over the batch; the mean only rescales
    it. With p of 0 and 1 this is minus the official observed score over the number of records. An example without a class
    earns nothing and gives no gradient. The loss takes logits and labels, float of 0 or 1, both (example, class).
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        p = logits.to(labels).sigmoid()  # in the precision of the labels: under autocast logits may be bfloat16
        union = ((1 - labels) * p + labels).sum(1).clamp(min=1)
        return -((labels @ weights.to(labels) * p).sum(1) / union).mean()

    return loss


MULTILABEL_LOSSES = ("bce", "macro-obs", "wbce")


def multilabel_loss(name: str, labels: Tensor, classes: tuple[str, ...]) -> Loss:
    """The multi-label loss of that name for these training labels (example, class) and classes; "bce" counts all alike.

    Raises EcglensError for another name, labels that do not fit the classes, and for "macro-obs" where a class has no weight
    in the Challenge 2020, such as PTB-XL's superclasses.
    """
    choose(name, list(MULTILABEL_LOSSES), "loss for several labels a record")
    if labels.ndim != 2 or labels.shape[1] != len(classes) or not len(labels):
        raise EcglensError(f"labels have shape {tuple(labels.shape)}; expected (1 or more, {len(classes)} classes)")
    if name == "bce":
        return wbce(torch.ones(len(classes)))
    if name == "wbce":
        return wbce(negatives_per_positive(labels))
    try:
        weights = challenge_weights(classes)
    except EcglensError as why:
        raise EcglensError(f"loss 'macro-obs' needs the Challenge's weights, but {why}; or choose loss 'wbce'") from why
    return macro_obs(torch.from_numpy(weights))
