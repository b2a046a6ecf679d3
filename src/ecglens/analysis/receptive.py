"""How far the cells of a class activation map see: a map can say no more about a place than that."""

from __future__ import annotations

import torch

from ecglens.attribution.passes import undisturbed
from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier

_TRIED = 64  # noise windows: of a max pool only the largest sample counts, so many are needed


def receptive_field(classifier: Classifier, seed: int = 0) -> tuple[int, int]:
    """(samples before, samples after) the centre sample of the CAM layer's middle cell that change what the cell gives.

    Measured by gradients on noise, so that it holds for any network. Raises EcglensError where there is no CAM layer, and for
    a model that sees pictures, whose cells see columns of them.
    """
    if classifier.draws or classifier.rows is not None:
        raise EcglensError(f"{classifier.name} sees pictures; expected a model of signals, whose cells see samples")
    if classifier.cam_layer is None:
        raise EcglensError(f"{classifier.name} names no layer for class activation maps (cam_layer)")
    shape = (_TRIED, len(classifier.leads), classifier.length)
    # where the model is: a GPU may add up a convolution in ways that leave crumbs where there is nothing
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(classifier.device).requires_grad_()
    caught: list[torch.Tensor] = []
    layer = classifier.module.get_submodule(classifier.cam_layer)
    hook = layer.register_forward_hook(lambda _module, _inputs, out: caught.append(out))
    try:
        with undisturbed(classifier.module):
            classifier.module(noise)
    finally:
        hook.remove()
    cells = caught[0].flatten(2)
    middle = cells.shape[2] // 2
    weights = torch.linspace(1, 2, cells.shape[1], device=cells.device)
    (slope,) = torch.autograd.grad((cells[:, :, middle] * weights).sum(), noise)
    reached = torch.nonzero(slope.abs().sum(dim=(0, 1)))[:, 0]
    if not len(reached):
        return 0, 0
    centre = round((middle + 0.5) * classifier.length / cells.shape[2] - 0.5)
    return max(centre - int(reached[0]), 0), max(int(reached[-1]) - centre, 0)
