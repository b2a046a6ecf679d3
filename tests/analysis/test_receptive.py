"""What a cell sees, against changing one sample after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecglens.analysis.receptive import receptive_field
from ecglens.errors import EcglensError
from ecglens.models import create
from nets import LENGTH, gap


def test_a_cell_sees_the_samples_that_change_it():
    model = gap()
    seen: list[torch.Tensor] = []
    model.module.last.register_forward_hook(lambda _module, _inputs, out: seen.append(out))  # before its ReLU
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 2, LENGTH)).astype(np.float32))
    changing = []
    with torch.no_grad():
        for sample in range(LENGTH):
            other = x.clone()
            other[:, :, sample] += 0.5
            model.module(x)
            model.module(other)
            cells = [out[:, :, out.shape[2] // 2] for out in seen[-2:]]
            if not torch.equal(*cells):
                changing.append(sample)
    n_cells = seen[0].shape[2]
    centre = round((n_cells // 2 + 0.5) * LENGTH / n_cells - 0.5)
    assert receptive_field(model) == (centre - changing[0], changing[-1] - centre)


def test_models_without_such_a_layer_and_models_of_pictures_are_refused():
    with pytest.raises(EcglensError, match="jones-lstm names no layer"):
        receptive_field(create("jones-lstm", classes=2, leads=1, length=60))
    drawing = create("small2d", classes=2, leads=1, length=300)
    for model in (drawing, drawing.behind_picture()):
        with pytest.raises(EcglensError, match="small2d sees pictures; expected a model of signals"):
            receptive_field(model)
