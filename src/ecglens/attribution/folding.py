"""Batch norms folded into the convolutions before them: the same function with fewer steps."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

_NEAR = 1e-4  # of the largest logit


def folded(module: nn.Module, cam_layer: str | None, *inputs: Tensor) -> nn.Module:
    """A copy of `module` with batch norms folded into convolutions where torch.fx can follow it, else the module itself.

    The copy must keep the CAM layer, and what that layer gives, and answer `inputs` as the module does.
    """
    norms = [part for part in module.modules() if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d))]
    if not norms or any(part.running_mean is None for part in norms):
        return module
    try:
        copy = _fused(module, cam_layer)
        copy.requires_grad_(False)
        with torch.no_grad():
            before, after = _answers(module, cam_layer, inputs), _answers(copy, cam_layer, inputs)
    except Exception:  # torch.fx cannot follow every model; the model itself serves as well
        return module
    if len(before) != len(after):
        return module
    for one, other in zip(before, after, strict=True):
        if one.shape != other.shape or not torch.allclose(
            one, other, rtol=_NEAR, atol=_NEAR * max(float(one.abs().max()), 1e-6)
        ):
            return module
    return copy


def _fused(module: nn.Module, cam_layer: str | None) -> nn.Module:
    """A traced copy in which each batch norm that alone follows a convolution is part of it.

    A CAM layer that holds layers itself stays as it is: tracing would take it apart, and nothing could be caught there.
    """
    from torch.fx import GraphModule, Tracer
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    class KeepingLayer(Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return module_qualified_name == cam_layer or super().is_leaf_module(m, module_qualified_name)

    model = deepcopy(module).eval()
    traced = GraphModule(model, KeepingLayer().trace(model))
    parts = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        before: Any = node.args[0] if node.op == "call_module" and node.args else None
        norm = parts.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)) or getattr(before, "op", "") != "call_module":
            continue
        name = str(before.target)
        conv = parts[name]
        runs = sum(each.op == "call_module" and each.target == name for each in traced.graph.nodes)
        if isinstance(conv, (nn.Conv1d, nn.Conv2d)) and len(before.users) == 1 and runs == 1:
            traced.set_submodule(name, fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _answers(module: nn.Module, cam_layer: str | None, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Logits, and what the CAM layer gives."""
    if cam_layer is None:
        return [module(*inputs)]
    caught: list[Tensor] = []
    hook = module.get_submodule(cam_layer).register_forward_hook(lambda _module, _inputs, out: caught.append(out))
    try:
        logits = module(*inputs)
    finally:
        hook.remove()
    return [logits, *caught]
