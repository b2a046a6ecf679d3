"""A pretended GPU, for machines without one: it knows of each tensor on which side it is.

Numbers are computed by the CPU, so that results can be compared; whatever mixes the two sides is refused as CUDA would.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ecglens.analysis import branches, deletion, dependence, origin
from ecglens.attribution import engine
from ecglens.models import classifier
from ecglens.training import fit

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
_CROSSING = (Tensor.copy_, Tensor.data.__set__, torch._has_compatible_shallow_copy_type)


class PretendedGpu(TorchFunctionMode):
    """Tensors belong to the CPU until they are sent over by `to`; what is made of them belongs where they do.

    sent: how many were; forked: the devices whose random states were forked, one list a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[int, Any] = {}  # kept, so that no address is used again
        self.sent = 0
        self.forked: list[list[torch.device]] = []

    def has(self, value: Tensor) -> bool:
        return value.untyped_storage()._cdata in self.there

    def put(self, value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        self.there[storage._cdata] = storage
        return value

    def send(self, value: Tensor, device: torch.device, words: tuple) -> Tensor:
        dtype = next((word for word in words if isinstance(word, torch.dtype)), value.dtype)
        if self.has(value) == (device.type == "cuda"):
            return value.to(dtype)
        self.sent += device.type == "cuda"
        copy = value.clone().to(dtype)
        return self.put(copy) if device.type == "cuda" else copy

    def backward(self, plain: Any, node: Any, *gradients: Any) -> Any:
        """A backward of our own, which runs inside torch.autograd.grad, where no mode looks: its gradients are where what it
        has saved is."""
        if any(self.has(each) for each in node.saved_tensors if each is not None):
            for each in gradients:
                self.put(each)
        with self:
            return plain(node, *gradients)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:
            return GPU if self.has(args[0]) else func(*args)
        if func == Tensor.grad.__get__:
            gradient = func(*args)
            return self.put(gradient) if gradient is not None and self.has(args[0]) else gradient
        if func in (Tensor.numpy, Tensor.__array__) and self.has(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func is Tensor.cpu:
            return self.send(args[0], CPU, ())
        words = (*args[1:], *kwargs.values()) if func is Tensor.to else (kwargs.pop("device", None),)
        device = next((torch.device(word) for word in words if isinstance(word, torch.device | str)), None)
        if func is Tensor.to and device is not None:
            return self.send(args[0], device, words)
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        sides = {self.has(each) for each in tensors if each.dim()}
        if len(sides) > 1 and func not in _CROSSING:
            raise RuntimeError(f"{func.__name__}: expected all tensors to be on the same device")
        out = func(*args, **kwargs)
        if (device is not None and device.type == "cuda") or (func is not Tensor.copy_ and any(map(self.has, tensors))):
            for each in tree_leaves(out):
                if isinstance(each, Tensor):
                    self.put(each)
        return out


@contextmanager
def pretended(monkeypatch: Any) -> Iterator[PretendedGpu]:
    """Inside, `pick_device` names the pretended GPU, and random states are forked for the CPU alone."""
    fork, plain = torch.random.fork_rng, BackwardCFunction.apply
    with monkeypatch.context() as patch, PretendedGpu() as gpu:
        for where in (fit, classifier, engine, branches, deletion, dependence, origin):
            patch.setattr(where, "pick_device", lambda: GPU)
        patch.setattr(torch.random, "fork_rng", lambda devices: (gpu.forked.append(list(devices)), fork(devices=[]))[1])
        patch.setattr(BackwardCFunction, "apply", lambda node, *gradients: gpu.backward(plain, node, *gradients))
        yield gpu
