"""Where networks run: on the GPU if there is one, else on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def pick_device() -> torch.device:
    """The GPU, where this PyTorch can use one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's first parameter; the CPU where it has none."""
    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def moved(module: nn.Module, device: torch.device) -> Iterator[None]:
    """The module on `device` inside the block, afterwards where it was; one that its owner has put on a GPU stays there."""
    home = device_of(module)
    moves = home.type == "cpu" and device.type != "cpu"
    try:
        if moves:
            module.to(device)
        yield
    finally:
        if moves:
            module.to(home)
