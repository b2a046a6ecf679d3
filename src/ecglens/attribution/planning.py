"""What explaining will cost: passes, time, and how many examples fit into a batch."""

from __future__ import annotations

import inspect
import math
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecglens.attribution.passes import Pass, Shared, call
from ecglens.attribution.registry import Method
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier

_LARGEST_BATCH = 256
_MOST_PICTURES = 32  # more at once fall out of the processor's caches: small2d took half as long again for each of 64


def batch_size(
    n_methods: int, shared: Shared, x: Tensor, context: Tensor | None, part: Examples | None, memory_mb: float
) -> int:
    """How many examples fit the budget: what autograd keeps for the two in `x`, counted, with room for as much again."""
    kept = 0
    weights = {value.data_ptr() for value in shared.module.state_dict().values()}

    # without its node: a tensor that its own node saves would hold itself, and the graph and the net with it, for ever
    def pack(tensor: Tensor) -> Tensor:
        nonlocal kept
        if tensor.data_ptr() not in weights:  # those are there once, not for each example
            kept += tensor.numel() * tensor.element_size()
        return tensor.detach()

    batch = Pass.of(shared, x, context, np.zeros(2, np.int64), np.arange(2), part)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _ = batch.logits
    # DeepLIFT holds each example and its baseline; gradients of activations come beside them
    each = 4 * (kept / 2 + 4 * x[0].numel() * (2 + n_methods))
    fits = int(memory_mb * 2**20 / max(each, 1))
    if fits < 2:
        raise EcglensError(
            f"{memory_mb:g} MB do not hold two examples: {shared.classifier.name} takes about {each / 2**20:.1f} MB for each; "
            f"ask for at least {math.ceil(2 * each / 2**20)} MB"
        )
    return min(fits, _LARGEST_BATCH, _LARGEST_BATCH if shared.classifier.rows is None else _MOST_PICTURES)


def batch_bounds(n: int, batch: int) -> list[tuple[int, int]]:
    """Batches of even size. Only where two examples are all that fit can one be left alone; it is then explained twice."""
    n_batches = max(-(-n // batch), 1)
    edges = np.linspace(0, n, n_batches + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in pairwise(edges)]


def timed_pass(shared: Shared, x: Tensor, context: Tensor | None, *, backward: bool) -> float:
    """Seconds of one pass, the second of two."""
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        x = x.detach().requires_grad_(backward)
        out = call(shared, x, context)
        if backward:
            (out,) = torch.autograd.grad(out.sum(), x)
        out[:1].cpu()  # a GPU hands its answer over before it is there
        seconds = time.perf_counter() - started
    return seconds


def planned_passes(chosen: list[Method], classifier: Classifier, *, all_classes: bool) -> tuple[float, float, bool]:
    """Forwards and backwards that an example takes, and whether it may take more (steps that grow, captum's own)."""
    n_classes = len(classifier.classes) if all_classes else 1
    shared_backwards = {"guided" if "guided" in method.name else "plain" for method in chosen if method.card.graph}
    if any(method.name == "guided-grad-cam" for method in chosen):
        shared_backwards.add("plain")  # for its Grad-CAM
    forwards, backwards, more = 1.0, float(len(shared_backwards) * n_classes), False
    for method in chosen:
        own, back = _own_passes(method, classifier)
        forwards, backwards = forwards + n_classes * own, backwards + n_classes * back
        more |= method.name == "integrated-gradients" or method.name.startswith("captum:")
    return forwards, backwards, more


def _own_passes(method: Method, classifier: Classifier) -> tuple[float, float]:
    """Passes of one method beyond those it shares."""
    n_leads = len(classifier.leads)

    def option(name: str) -> Any:
        return method.options.get(name, inspect.signature(method.function).parameters[name].default)

    if method.name in ("smoothgrad", "expected-gradients"):
        return option("samples"), option("samples")
    if method.name == "integrated-gradients":
        return option("steps") + 2, option("steps")
    if method.name == "deletion-mask":
        learned = option("starts") * option("steps")
        return learned + 1, learned  # and the score under the map
    if method.name == "occlusion":
        if classifier.rows is not None:
            return 1 + -(-classifier.rows // option("pixels")) * -(-classifier.length // option("pixels")), 0
        regions, width = option("regions"), max(round(option("seconds") * classifier.fs), 1)
        return 1 + (n_leads * -(-classifier.length // width) if regions is None else len(regions.names)), 0
    if method.name == "lead-shapley":
        return 2**n_leads, 0
    if method.name == "lead-shapley-sampled":
        return 2 * option("orders") * (n_leads + 1), 0
    return {"deeplift": (2, 2), "lrp-epsilon": (1, 1), "lrp-alpha-beta": (1, 1), "mean-activation": (1, 1)}.get(
        method.name, (0, 0)
    )
