"""Small made-up examples and networks for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from hypothesis import settings
from torch import Tensor, nn

from ecglens.examples.examples import COLUMNS, Examples, LeadPlace
from ecglens.models.classifier import Classifier, evaluating

FEW = settings(max_examples=20, deadline=None, database=None, derandomize=True)

# a regular rhythm, everything valid; what a test cares about it gives itself
_DEFAULTS: dict[str, Any] = {
    "database": "made",
    "record": "r1",
    "patient": "p1",
    "start": 0,
    "valid_start": 0,
    "symbol": "N",
    "lead_names": "made",
    "rr_spread": 0.0,
}


def make_examples(
    signals: np.ndarray,
    labels: Sequence[int] | np.ndarray | None = None,
    *,
    classes: Sequence[str] | None = None,
    fs: float = 360.0,
    leads: Sequence[str] | None = None,
    places: tuple[LeadPlace, ...] | None = None,
    **columns: Any,
) -> Examples:
    """Examples around the given signals (example, lead, time); columns of the table by name."""
    n, n_leads, length = signals.shape
    labels = np.zeros(n, np.int64) if labels is None else np.asarray(labels, np.int64)
    n_classes = max(int(labels.max(initial=0)) + 1, 2)
    classes = tuple(classes) if classes is not None else tuple(f"class {k + 1}" for k in range(n_classes))
    leads = tuple(leads) if leads is not None else tuple(f"lead {k + 1}" for k in range(n_leads))
    places = places or tuple(LeadPlace(name, row, 0, length) for row, name in enumerate(leads))
    given = {
        "id": [f"made/{k}" for k in range(n)],
        "r_sample": np.arange(n) * length + length // 2,
        "r_index": np.full(n, length // 2),
        "valid_stop": np.full(n, length),
    } | columns
    table = pd.DataFrame({name: given.get(name, _DEFAULTS.get(name, 0.8)) for name in COLUMNS}, index=range(n))
    return Examples(signals, labels, classes, fs, leads, places, table)


def random_examples(
    n: int = 12, *, leads: int = 2, length: int = 60, classes: int = 3, seed: int = 0, **columns: Any
) -> Examples:
    """Noise in mV with every class in turn."""
    rng = np.random.default_rng(seed)
    signals = rng.normal(size=(n, leads, length)).astype(np.float32)
    names = tuple(f"class {k + 1}" for k in range(classes))
    return make_examples(signals, np.arange(n) % classes, classes=names, **columns)


def toy_problem(n: int = 64, *, length: int = 24, seed: int = 0) -> Examples:
    """Two classes that differ in the sign of a bump, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    bump = np.exp(-0.5 * ((np.arange(length) - length / 2) / 3) ** 2)
    signals = (2 * labels - 1)[:, None, None] * bump + rng.normal(0, 0.3, (n, 2, length))
    return make_examples(signals.astype(np.float32), labels)


class TinyNet(nn.Module):
    """A convolution with batch norm, dropout and a smooth activation, then a linear head."""

    def __init__(self, n_classes: int = 2, n_leads: int = 2, length: int = 24, filters: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_leads, filters, 5)
        self.norm = nn.BatchNorm1d(filters)
        self.active = nn.Tanh()
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(filters * (length - 4), n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.drop(self.active(self.norm(self.conv(x)))), 1))


def tiny(examples: Examples, *, seed: int = 0, scale: str = "none") -> Classifier:
    """A TinyNet that fits the examples, with norms that are not the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = TinyNet(len(examples.classes), len(examples.leads), examples.length)
        nn.init.normal_(module.norm.running_mean, 0.0, 0.2)
        nn.init.uniform_(module.norm.running_var, 0.5, 1.5)
    return Classifier(module, "tiny", examples.classes, examples.leads, examples.fs, examples.length, scale, cam_layer="conv")


# networks whose blocks divide the time evenly
_MULTIPLES = {"ecgnet": 12, "ecgnet-cam": 60}


def fitting(name: str, length: int = 60) -> int:
    """The shortest length from `length` on that the model of the registry takes."""
    from ecglens.models import MODELS

    length, of = max(length, MODELS[name].min_length), _MULTIPLES.get(name, 1)
    return -(-length // of) * of


def created(name: str, examples: Examples, *, seed: int = 0, scale: str = "none") -> Classifier:
    """A model of the registry that fits the examples, from a seed."""
    from ecglens.models import create

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create(
            name, classes=examples.classes, leads=examples.leads, length=examples.length, fs=examples.fs, scale=scale
        )


def lively(name: str, examples: Examples, **told: Any) -> Classifier:
    """A model of the registry whose norms and biases are not those of a fresh one."""
    model = created(name, examples, **told)
    generator = torch.Generator().manual_seed(1)
    of_pictures = [part for part in model.module.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        for part in model.module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0
                part.weight.copy_(0.5 + torch.rand(part.num_features, generator=generator))
                part.bias.copy_(0.3 * torch.randn(part.num_features, generator=generator))
            elif isinstance(part, nn.BatchNorm1d):
                part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
                part.running_var.copy_(0.5 + torch.rand(part.num_features, generator=generator))
            elif getattr(part, "bias", None) is not None and isinstance(part.bias, torch.Tensor):
                part.bias.add_(0.3 * torch.randn(part.bias.shape, generator=generator))
        if of_pictures:  # two dozen of them in a row let nothing through unless each knows the mean and variance it gets
            with evaluating(model.module):
                for part in of_pictures:
                    part.train()
                model.module(*model.inputs(examples))
    return model
