"""A bump at a known place decides the class: where do the class activation map and the learned mask peak?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.analysis.receptive import receptive_field
from ecglens.attribution import explain
from ecglens.models import Classifier, create
from ecglens.training.fit import TrainOptions, fit
from made import make_examples

_FS, _LENGTH, _NEAR_MS = 360.0, 720, 40.0


def _windows(n: int, seed: int):
    """Noise of 2 s; every second window has a bump of 40 ms at a place of its own."""
    rng = np.random.default_rng(seed)
    labels, place = np.arange(n) % 2, rng.integers(120, 600, n)
    noise = np.convolve(rng.normal(0, 0.15, n * _LENGTH), np.ones(5) / 5, "same").reshape(n, 1, _LENGTH)
    bump = np.exp(-0.5 * ((np.arange(_LENGTH) - place[:, None]) / 6) ** 2)
    signals = noise + (labels[:, None] * bump)[:, None]
    return make_examples(signals.astype(np.float32), labels, fs=_FS, classes=("no", "bump")), place


class ShortSighted(nn.Module):
    """48 positions beside an LSTM, as ecgnet-cam, but each position sees 27 samples (75 ms)."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Sequential(
            nn.Conv1d(1, 24, 15, stride=3, padding=7), nn.ReLU(), nn.MaxPool1d(5), nn.Conv1d(24, 24, 1), nn.ReLU()
        )
        self.lstm, self.head = nn.LSTM(60, 20, batch_first=True), nn.Linear(44, 2)

    def forward(self, x):
        state = self.lstm(x.unflatten(2, (12, -1)).squeeze(1))[0][:, -1]
        return self.head(torch.cat([self.cells(x).mean(2), state], dim=1))


def _trained(name: str, folder) -> Classifier:
    examples, _ = _windows(320, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create("ecgnet-cam", classes=examples.classes, leads=examples.leads, length=_LENGTH, fs=_FS)
        if name == "short-sighted":
            model = Classifier(
                ShortSighted(), name, examples.classes, examples.leads, _FS, _LENGTH, cam_layer="cells"
            )  # fmt: skip
    short = name == "short-sighted"
    options = TrainOptions(epochs=12 if short else 4, batch=32, rate=1e-2 if short else 3e-3, bf16=not short)
    fit(model, examples, np.arange(320), np.array([], np.int64), options, 0, folder)
    return model


def _off_ms(maps: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.abs(maps[:, 0].argmax(1) - place) / _FS * 1000


def _middle_off_ms(maps: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Of the middle of what lies above half of the largest value."""
    middle = np.array([np.flatnonzero(each >= each.max() / 2).mean() for each in maps[:, 0]])
    return np.abs(middle - place) / _FS * 1000


@pytest.mark.parametrize("name", ["short-sighted", "ecgnet-cam"])
def test_map_and_mask_peak_at_the_bump_where_cells_see_little_and_the_mask_always(name, tmp_path):
    """A cell that sees far says 'bump' wherever it sees one: its map is a plateau as wide as its field, its peak by chance."""
    model = _trained(name, tmp_path)
    examples, place = _windows(48, 50)
    assert (model.logits(examples).argmax(1) == examples.labels).mean() > 0.97
    rows = np.flatnonzero(examples.labels == 1)
    found = explain(
        model, examples, ["cam", "deletion-mask"], target=np.ones(len(rows), np.int64), rows=rows, quiet=True,
        options={"deletion-mask": {"steps": 150, "starts": 1}},
    )  # fmt: skip
    cam, mask = found["cam"][:], found["deletion-mask"][:]
    assert (_off_ms(mask, place[rows]) <= _NEAR_MS).mean() > 0.9
    assert (_middle_off_ms(cam, place[rows]) <= _NEAR_MS).mean() > 0.9
    before, after = receptive_field(model)
    if name == "short-sighted":
        assert (_off_ms(cam, place[rows]) <= _NEAR_MS).mean() > 0.9
        # cells of 15 samples: three strides of the pool, and 15 samples of the kernel
        assert before + after + 1 == 27
    else:
        assert 200 < before + after + 1 <= 227
        # nowhere beyond what a cell sees
        assert _off_ms(cam, place[rows]).max() <= (max(before, after) + 15) / _FS * 1000
