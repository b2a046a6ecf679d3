"""Maps as papers made them, faults and all."""

from __future__ import annotations

import torch
from torch import Tensor

from ecglens.attribution.passes import Pass, call
from ecglens.attribution.registry import Card, register
from ecglens.errors import EcglensError


@register(
    "mean-activation",
    Card(
        equation="|d mean(A) / dx| at the raw integers (mV x 1000), then min-max over the example",
        source="Jones 2020, as its code does it (keras-vis with no filter chosen)",
        passes="1 forward, 1 backward",
        signed=False, leads=True, resolution="sample", needs=("cam layer",), blind_to="the class: no class enters it",
        not_pictures="it reads the signal itself, as raw integers",
    ),
)  # fmt: skip
def mean_activation(batch: Pass) -> Tensor:
    """(example, lead, time) in [0, 1]."""
    if batch.examples is None:
        raise EcglensError("mean-activation reads the signal in mV; give it examples, not an array of the model's own input")
    classifier = batch.classifier
    if classifier.cam_layer is None:
        raise EcglensError(f"{classifier.name} has no convolution; this map reads the last one")
    caught: list[Tensor] = []
    signals = (torch.from_numpy(batch.examples.signals) * 1000).round().to(batch.x.device).requires_grad_(True)
    hook = batch.shared.module.get_submodule(classifier.cam_layer).register_forward_hook(
        lambda _m, _i, out: caught.append(out)
    )
    try:
        call(batch.shared, signals, batch.forward.context)
    finally:
        hook.remove()
    batch.shared.counter.backward += len(signals)
    # per example: batch mates do not meet in evaluation mode
    (gradient,) = torch.autograd.grad(caught[0].mean(dim=(1, 2)).sum(), signals)
    size = gradient.abs()
    low, high = size.amin(dim=(1, 2), keepdim=True), size.amax(dim=(1, 2), keepdim=True)
    return (size - low) / (high - low + 1e-7)
