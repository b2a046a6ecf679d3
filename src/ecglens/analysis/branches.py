"""How much of a logit belongs to which branch of a network, so that a map of one branch is not taken for the whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier, evaluating
from ecglens.models.device import moved, pick_device

_BATCH = 256


@dataclass(frozen=True)
class BranchLogits:
    """The logits, taken apart: cnn and lstm (example, class), constant (class,); their sum is the logits."""

    cnn: NDArray[np.float32]
    lstm: NDArray[np.float32]
    constant: NDArray[np.float32]

    @property
    def whole(self) -> NDArray[np.float32]:
        """The logits (example, class)."""
        return self.cnn + self.lstm + self.constant


def branch_logits(classifier: Classifier, examples: Examples) -> BranchLogits:
    """What each branch adds to the logits; exact, since the head behind both is affine.

    Raises EcglensError for a model without `branches` and `join`, and for one whose head is not affine.
    """
    branches, join = getattr(classifier.module, "branches", None), getattr(classifier.module, "join", None)
    if branches is None or join is None:
        raise EcglensError(
            f"{classifier.name} has no two branches (methods branches and join); there is nothing to take apart"
        )
    cnn, lstm = [], []
    with moved(classifier.module, pick_device()), evaluating(classifier.module), torch.no_grad():
        for first in range(0, len(examples), _BATCH):
            (x,) = classifier.inputs(examples.take(np.arange(first, min(first + _BATCH, len(examples)))))
            one, two = branches(x)
            constant = join(torch.zeros_like(one[:1]), torch.zeros_like(two[:1]))
            cnn.append(join(one, torch.zeros_like(two)) - constant)
            lstm.append(join(torch.zeros_like(one), two) - constant)
            _expect_affine(classifier.name, join(one, two), cnn[-1] + lstm[-1] + constant)
    return BranchLogits(torch.cat(cnn).cpu().numpy(), torch.cat(lstm).cpu().numpy(), constant[0].cpu().numpy())


def _expect_affine(name: str, whole: Tensor, parts: Tensor) -> None:
    apart = float((whole - parts).abs().max())
    if apart > 1e-3 * max(1.0, float(whole.abs().max())):
        raise EcglensError(f"the head of {name} is not affine (its parts miss the logits by {apart:.2g}): no exact share")


def branch_shares(parts: BranchLogits, target: NDArray[np.int64], usual: BranchLogits) -> pd.DataFrame:
    """A row per example: what each branch says for class `target` (example,) against the mean of all classes.

    Columns cnn, lstm: exact Shapley values of the two branches, absent ones taking their mean over `usual`, other examples
    of all classes; lstm_share: |lstm| / (|cnn| + |lstm|), 0 to 1; NaN where neither says anything.
    """
    rows = np.arange(len(target))

    def says(values: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float64]:
        margin = values.astype(np.float64) - values.mean(1, keepdims=True, dtype=np.float64)
        mean = reference.astype(np.float64).mean(0)
        return margin[rows, target] - (mean - mean.mean())[target]

    cnn, lstm = says(parts.cnn, usual.cnn), says(parts.lstm, usual.lstm)
    size = np.abs(cnn) + np.abs(lstm)
    share = np.divide(np.abs(lstm), size, out=np.full(len(size), np.nan), where=size > 0)
    return pd.DataFrame({"cnn": cnn, "lstm": lstm, "lstm_share": share})
