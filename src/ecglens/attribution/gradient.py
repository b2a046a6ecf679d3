"""Saliency: the gradient of a number inside the model by its input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier, evaluating

# (classifier, examples, target class of each) to maps (example, lead, time)
Method = Callable[[Classifier, Examples, NDArray[np.int64]], NDArray[np.float32]]


def class_logit_gradient(classifier: Classifier, examples: Examples, target: NDArray[np.int64]) -> NDArray[np.float32]:
    """Signed gradient of the target class's logit by the scaled signal: maps (example, lead, time).

    A positive value means: more of this sample (in the unit the network sees), more of the class. Vanilla gradient of
    Simonyan 2013, eq. 2, without the absolute value.
    """
    signals, *context = classifier.inputs(examples)
    signals.requires_grad_(True)
    with _frozen(classifier.module):
        logits = classifier.module(signals, *context)
        chosen = logits.gather(1, torch.from_numpy(target)[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, signals)
    return gradient.numpy()


def mean_activation_gradient(classifier: Classifier, examples: Examples, target: NDArray[np.int64]) -> NDArray[np.float32]:
    """The map of Jones 2020: |gradient| of the mean output of the last convolution, min-max over the example, in [0, 1].

    As in the authors' code the input is the raw integers (mV x 1000, rounded), not what the network was trained on, and
    `target` is not used: no class enters this map. Raises EcglensError for a model without such a layer.
    """
    del target
    if classifier.cam_layer is None:
        raise EcglensError(f"{classifier.name} has no convolution; this map reads the last one")
    signals = torch.from_numpy(np.round(examples.signals * 1000)).requires_grad_(True)
    with _frozen(classifier.module), _output_of(classifier.module, classifier.cam_layer) as caught:
        classifier.module(signals)
        # per example: batch mates do not meet in evaluation mode
        (gradient,) = torch.autograd.grad(caught[0].mean(dim=(1, 2)).sum(), signals)
    size = gradient.abs()
    low, high = size.amin(dim=(1, 2), keepdim=True), size.amax(dim=(1, 2), keepdim=True)
    return ((size - low) / (high - low + 1e-7)).numpy()


METHODS: dict[str, Method] = {
    "class-logit": class_logit_gradient,
    "mean-activation": mean_activation_gradient,
}


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients for the weights; modes and flags are put back as they were."""
    wanted = {value: value.requires_grad for value in module.parameters()}
    module.requires_grad_(False)
    try:
        with evaluating(module):
            yield
    finally:
        for value, flag in wanted.items():
            value.requires_grad_(flag)


@contextmanager
def _output_of(module: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Catches what a layer puts out; the hook goes with the block."""
    caught: list[Tensor] = []
    hook = module.get_submodule(layer).register_forward_hook(lambda _m, _i, out: caught.append(out))
    try:
        yield caught
    finally:
        hook.remove()
