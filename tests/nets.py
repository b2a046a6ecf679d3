"""Small networks for the tests of attribution, each with a habit that methods have to cope with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecglens.attribution import explain
from ecglens.attribution.passes import Pass, Shared, undisturbed
from ecglens.attribution.registry import find_method
from ecglens.models.classifier import Classifier

CLASSES, LEADS, LENGTH = ("a", "b", "c"), ("I", "II"), 24


def classifier(module: nn.Module, cam_layer: str | None = None, **told: Any) -> Classifier:
    """The module as a Classifier of three classes, two leads and 24 samples at 100 Hz, unless told otherwise."""
    given = {"name": "net", "classes": CLASSES, "leads": LEADS, "fs": 100.0, "length": LENGTH} | told
    return Classifier(module, cam_layer=cam_layer, **given)


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """What `build` gives from that seed, with batch norms that are not the identity, and louder than fresh."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d):
                nn.init.normal_(part.running_mean, 0.0, 0.3)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, 0.0, 0.3)
            elif isinstance(part, (nn.Conv1d, nn.Linear)) and part.bias is not None:
                nn.init.normal_(part.bias, 0.0, 0.2)
                with torch.no_grad():
                    part.weight.mul_(2)  # fresh weights hardly let anything through
    return module.eval()


def signals(n: int = 5, seed: int = 0, leads: int = 2, length: int = LENGTH) -> np.ndarray:
    """Noise as a model's own input, float32 (example, lead, time)."""
    return np.random.default_rng(seed).normal(size=(n, leads, length)).astype(np.float32)


def maps(model: Classifier, data: Any, method: str, target: Any = "predicted", **told: Any) -> np.ndarray:
    """Maps by one method, at the method's own resolution; `options` are those of the method."""
    options = {method: told.pop("options", {})}
    target = np.asarray(target) if not isinstance(target, str) else target
    return explain(model, data, [method], target=target, options=options, quiet=True, **told).native(method)[:]


def one_pass(model: Classifier, x: np.ndarray, target: Any, background: np.ndarray | None = None, **shared: Any) -> Pass:
    """A fresh batch, for methods that are called by hand."""
    behind = None if background is None else torch.from_numpy(background)
    return Pass.of(
        Shared(model, background=behind, **shared), torch.from_numpy(x), None, np.asarray(target), np.arange(len(x))
    )


def by_hand(batch: Pass, method: str, **options: Any) -> np.ndarray:
    """The map of one batch, without the engine around it."""
    with undisturbed(batch.classifier.module):
        return find_method(method, options)(batch).detach().numpy()


class Gap(nn.Module):
    """Two convolutions with batch norm, mean over time, one linear layer: what CAM was made for."""

    def __init__(self, n_classes: int = 3, n_leads: int = 2, filters: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv1d(n_leads, filters, 5, padding=2)
        self.norm = nn.BatchNorm1d(filters)
        self.active = nn.ReLU()
        self.drop = nn.Dropout(0.4)
        self.last = nn.Conv1d(filters, filters, 3, stride=2)
        self.last_active = nn.ReLU()
        self.head = nn.Linear(filters, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(self.active(self.norm(self.first(x))))
        return self.head(self.last_active(self.last(hidden)).mean(dim=2))


class Plain(Gap):
    """A Gap without batch norm: nothing in it can be folded, so passes go through this very module."""

    def __init__(self, **told: Any) -> None:
        super().__init__(**told)
        self.norm = nn.Identity()


def gap(seed: int = 0, **told: Any) -> Classifier:
    """A Gap as a Classifier; CAM reads what is averaged."""
    return classifier(seeded(Gap, seed), "last_active", **told)


class Flat(nn.Module):
    """Convolution, ReLU, maybe pooling, convolution, ReLU, two linear layers with a ReLU between; all modules."""

    def __init__(self, pool: nn.Module | None = None, length: int = LENGTH) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 4, 5)
        self.active = nn.ReLU()
        self.pool = pool or nn.Identity()
        self.second = nn.Conv1d(4, 3, 3)
        self.second_active = nn.ReLU()
        with torch.no_grad():
            n_flat = self._body(torch.zeros(1, 2, length)).shape[1]
        self.middle = nn.Linear(n_flat, 6)
        self.middle_active = nn.ReLU()
        self.head = nn.Linear(6, 3)

    def _body(self, x: Tensor) -> Tensor:
        hidden = self.pool(self.active(self.first(x)))
        return torch.flatten(self.second_active(self.second(hidden)), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle_active(self.middle(self._body(x))))


def flat(pool: nn.Module | None = None, seed: int = 0) -> Classifier:
    """A Flat as a Classifier; CAM reads the second convolution."""
    return classifier(seeded(lambda: Flat(pool), seed), "second")


class Linear(nn.Module):
    """Logits linear in the signal."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(len(LEADS) * LENGTH, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(x, 1))


class Residual(nn.Module):
    """A ReLU beside another branch that holds the same tensor, whole and a slice; `active` is how it calls a ReLU.

    in_place: the branch was taken before the ReLU, and has to see what that writes; else it is taken behind it.
    """

    def __init__(self, active: Callable[[Tensor], Tensor], in_place: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 4, 5, padding=2)
        self.second = nn.Conv1d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * LENGTH + 2 * LENGTH, 3)
        self.active, self.in_place = active, in_place

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        held, part = hidden, hidden[:, 1:3]
        after = self.active(hidden)
        if not self.in_place:
            held, part = after, after[:, 1:3]
        total = self.active(held + self.second(after))
        return self.head(torch.cat([torch.flatten(total, 1), torch.flatten(part, 1)], dim=1))


class Ending(nn.Module):
    """A convolution, a function, then a linear layer."""

    def __init__(self, function: Callable[[Tensor], Tensor], bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 5, padding=2, bias=bias)
        self.function = function
        with torch.no_grad():
            n = torch.flatten(function(torch.zeros(2, 4, LENGTH)), 1).shape[1]
        self.head = nn.Linear(n, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.function(self.conv(x)), 1))
