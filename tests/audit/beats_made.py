"""Made beats of several patients in two leads, whose classes differ little, for signs to be put on; nets and maps of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier
from ecglens.training.fit import TrainOptions, fit
from made import make_examples

FS, LENGTH = 360.0, 360


def made_beats(n: int = 240, *, patients: int = 8, wide: float = 1.4, fs: float = FS, seed: int = 0) -> Examples:
    """N and V in turn; V is `wide` times as wide, in every other V only, so that it cannot be told always."""
    rng = np.random.default_rng(seed)
    labels, who = np.arange(n) % 2, np.arange(n) // 2 % patients
    length = round(LENGTH * fs / FS)
    time = (np.arange(length) - length // 2) / fs
    wider = np.where((labels == 1) & (rng.random(n) < 0.5), wide, 1.0)[:, None]
    tall = rng.uniform(0.8, 1.3, (patients, 2))[who][:, :, None] * (1 + 0.03 * rng.normal(size=(n, 1, 1)))
    qrs = np.exp(-0.5 * (time / (0.016 * wider)) ** 2) - 0.3 * np.exp(-0.5 * ((time - 0.045) / (0.014 * wider)) ** 2)
    t_wave, p_wave = (h * np.exp(-0.5 * ((time - at) / w) ** 2) for h, at, w in ((0.25, 0.25, 0.05), (0.12, -0.16, 0.022)))
    first = qrs + t_wave + p_wave
    second = -0.7 * np.roll(qrs, 4, axis=1) + 0.6 * t_wave + 0.3 * p_wave
    level = 0.03 * rng.normal(size=(n, 2, 1)) + rng.normal(0, 0.05, (patients, 2))[who][:, :, None]
    signals = tall * np.stack([first, second], axis=1) + level + rng.normal(0, 0.008, (n, 2, length))
    return make_examples(
        signals.astype(np.float32), labels, classes=("N", "V"), fs=fs, leads=("II", "V1"),
        patient=[f"p{k}" for k in who], record=[f"p{k}" for k in who],
    )  # fmt: skip


class Small(nn.Module):
    """Two convolutions and the largest value of each feature in eight stretches."""

    def __init__(self, leads: int = 2, classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(leads, 12, 9, padding=4), nn.ReLU(), nn.Conv1d(12, 12, 9, stride=2, padding=4), nn.ReLU(),
            nn.AdaptiveMaxPool1d(8),
        )  # fmt: skip
        self.head = nn.Linear(96, classes)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def learnt(examples: Examples, rows: np.ndarray, scale: str = "none", epochs: int = 12) -> Classifier:
    """A Small trained on the rows, in a second or two."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Classifier(Small(), "small", examples.classes, examples.leads, examples.fs, examples.length, scale)
    options = TrainOptions(epochs=epochs, batch=32, rate=5e-3, bf16=False, gain_jitter=0.0)
    with tempfile.TemporaryDirectory() as folder:
        fit(model, examples, rows, np.array([], np.int64), options, 0, Path(folder))
    return model


def looks_at(first: int, stop: int) -> Callable[[Any], torch.Tensor]:
    """A map that lies on these samples alone, for the fixture `method`."""

    def map_of(batch: Any) -> torch.Tensor:
        out = torch.zeros_like(batch.x)
        out[:, :, first:stop] = 1
        return out

    return map_of
