"""From millivolts to what a network was trained on: done once, inside the Classifier, and differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from ecglens.errors import EcglensError, choose

SCALES = {
    "none": "mV as recorded",
    "offset": "mV, each lead's own mean taken off: amplitudes stay, electrode offset and slow wander go",
    "lead": "each lead of each example to mean 0 and standard deviation 1",
    "usual": "each lead's own mean taken off, in standard deviations of the patient's usual beat (second half of the rows)",
    "joint": "all leads of an example together to [0, 1] by their common minimum and maximum (Jones 2020)",
}


def scale(x: Tensor, name: str) -> Tensor:
    """Scale signals (example, lead, time) in mV by the rule of that name; constant signals give zeros, not NaN.

    Under "joint" a constant example is left as it is, as in the authors' code.
    """
    choose(name, list(SCALES), "scale")
    if name == "offset":
        return x - x.mean(dim=2, keepdim=True)
    if name == "lead":
        return _standardised(x, x)
    if name == "usual":
        if x.shape[1] % 2:
            raise EcglensError(f"scale 'usual' needs each lead's usual beat as a further row; found {x.shape[1]} rows")
        return _standardised(x, x[:, x.shape[1] // 2 :].repeat(1, 2, 1))
    if name == "joint":
        low, high = x.amin(dim=(1, 2), keepdim=True), x.amax(dim=(1, 2), keepdim=True)
        varies = high > low
        return torch.where(varies, (x - low) / torch.where(varies, high - low, 1.0), x)
    return x


def _standardised(x: Tensor, unit: Tensor) -> Tensor:
    """Each row's mean taken off, divided by the standard deviation of the same row of `unit`; zeros where that is flat."""
    varies = unit.amax(dim=2, keepdim=True) > unit.amin(dim=2, keepdim=True)
    variance = (unit - unit.mean(dim=2, keepdim=True)).square().mean(dim=2, keepdim=True)
    # the root of zero has no gradient, so flat rows never come to it
    return (x - x.mean(dim=2, keepdim=True)) * varies / torch.where(varies, variance, 1.0).sqrt()
