"""What a training will cost, said before it starts."""

from __future__ import annotations

import copy
import time

import numpy as np
import torch
from numpy.typing import NDArray

from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier
from ecglens.models.device import moved, pick_device
from ecglens.training.options import TrainOptions


def training_seconds(classifier: Classifier, examples: Examples, rows: NDArray[np.int64], options: TrainOptions) -> float:
    """Seconds that all epochs over `rows` would take here, from the second of two steps of a copy of the net.

    Forward and backward alone: reading, augmenting and validating come on top. The net and the random state stay as they are.
    """
    module = copy.deepcopy(classifier.module)
    batch = rows[: options.batch]
    device = pick_device()
    seconds = 0.0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), moved(module, device):
        module.train()
        inputs = [each.to(device) for each in classifier.inputs(examples.take(batch))]
        for _ in range(2):
            started = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
                out = module(*inputs)
            out.float().sum().backward()
            float(out.detach().float().sum())  # a GPU hands its answer over before it is there
            seconds = time.perf_counter() - started
    return seconds / len(batch) * len(rows) * options.epochs
