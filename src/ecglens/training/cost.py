"""What a training will cost, said before it starts."""

from __future__ import annotations

import copy
import time

import torch

from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier
from ecglens.models.device import moved, pick_device
from ecglens.training.options import TrainOptions


def training_seconds(classifier: Classifier, n_rows: int, options: TrainOptions) -> float:
    """Seconds that all epochs over `n_rows` rows would take here, from the second of two steps of a copy of the net.

    The steps see noise. Forward and backward alone: reading, augmenting and validating come on top. The net and the random
    state stay as they are. Raises EcglensError for a model that takes more than the signals.
    """
    if classifier.context is not None:
        raise EcglensError(f"{classifier.name} takes {classifier.context} beside the signals; its cost is not estimated")
    module = copy.deepcopy(classifier.module)
    n = min(options.batch, n_rows)
    device = pick_device()
    seconds = 0.0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), moved(module, device):
        module.train()
        signals = torch.randn(n, len(classifier.leads), classifier.length, device=device)
        for _ in range(2):
            started = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
                out = module(signals)
            out.float().sum().backward()
            float(out.detach().float().sum())  # a GPU hands its answer over before it is there
            seconds = time.perf_counter() - started
    return seconds / n * n_rows * options.epochs
