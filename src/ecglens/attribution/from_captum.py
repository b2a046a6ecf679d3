"""Any captum method by name, such as `captum:DeepLiftShap`."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecglens.attribution.gradients import baseline_of
from ecglens.attribution.passes import Pass
from ecglens.attribution.registry import Card, Method
from ecglens.errors import EcglensError, did_you_mean


def captum_method(name: str, options: dict[str, Any]) -> Method:
    """captum's class of that name as a Method; raises EcglensError where captum is missing or has no such class.

    captum draws for a batch as a whole, so its random methods depend on the batch, and a GPU draws other numbers. Layer
    methods get the model's cam_layer; methods that want baselines get the background, or zeros. options go to `attribute`.
    """
    try:
        import captum.attr as captum
    except ImportError:
        raise EcglensError(f"{name} needs captum, which is not installed: pip install captum") from None
    wanted = name.removeprefix("captum:")
    known = [each for each, kind in vars(captum).items() if inspect.isclass(kind) and hasattr(kind, "attribute")]
    if wanted not in known:
        raise EcglensError(f"captum has no method {wanted!r}{did_you_mean(wanted, known)} (known: {', '.join(sorted(known))})")
    kind = getattr(captum, wanted)
    takes = inspect.signature(kind.attribute).parameters
    for option in options:
        if option not in takes:
            raise EcglensError(f"{name} has no option {option!r}{did_you_mean(option, list(takes))}")

    def function(batch: Pass, **given: Any) -> Tensor:
        return _attribute(kind, takes, batch, given)

    unknown = "see captum"
    card = Card(
        equation=unknown, source=f"captum.attr.{wanted}", passes=unknown, signed=True, leads=True, resolution="sample",
        blind_to=unknown, one_pass=False,
    )  # fmt: skip
    return Method(name, card, function, options)


def _attribute(kind: Any, takes: Any, batch: Pass, given: dict[str, Any]) -> Tensor:
    if batch.shared.output != "logit":
        raise EcglensError(f"captum's {kind.__name__} is asked about logits here; leave output at 'logit'")
    module, x, context = batch.classifier.module, batch.x.detach().clone().requires_grad_(True), batch.forward.context
    arguments: dict[str, Any] = {"target": batch.target} if "target" in takes else {}
    if context is not None:
        arguments["additional_forward_args"] = (context,)
    if "abs" in takes:
        arguments["abs"] = False  # the sign is kept
    if "baselines" in takes:
        spread = "distribution" in (kind.attribute.__doc__ or "") and batch.shared.background is not None
        arguments["baselines"] = batch.shared.background if spread else baseline_of(batch, "zero")
    if "sliding_window_shapes" in takes:
        width = max(round(0.1 * batch.classifier.fs), 1)
        arguments["sliding_window_shapes"] = (1, width) if x.dim() == 3 else (1, 16, 16)
        arguments["strides"] = arguments["sliding_window_shapes"]
    needs_layer = "layer" in inspect.signature(kind.__init__).parameters
    if needs_layer and batch.classifier.cam_layer is None:
        raise EcglensError(f"captum's {kind.__name__} needs a layer; {batch.classifier.name} names none (cam_layer)")
    made = kind(module, module.get_submodule(str(batch.classifier.cam_layer))) if needs_layer else kind(module)
    # captum draws from the global generators
    state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []), torch.enable_grad():
        torch.manual_seed(batch.shared.seed)
        np.random.seed(batch.shared.seed % 2**32)  # noqa: NPY002
        try:
            out = made.attribute(x, **{**arguments, **given})
        except (RuntimeError, AssertionError, TypeError, ValueError, AttributeError, IndexError) as error:
            reason = " ".join(str(error).split())[:160]
            raise EcglensError(f"captum's {kind.__name__} cannot explain {batch.classifier.name}: {reason}") from None
        finally:
            np.random.set_state(state)  # noqa: NPY002
    found = out[0] if isinstance(out, tuple) else out
    found = found.detach().float()
    if found.dim() == x.dim() and found.shape[1] in (1, x.shape[1]):
        return found
    if x.dim() == 4:
        raise EcglensError(
            f"captum's {kind.__name__} gives shape {tuple(found.shape)} for {batch.classifier.name}; expected pictures"
        )
    return found.flatten(1)[:, None]
