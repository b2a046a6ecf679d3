"""Weights that others trained, in safetensors: nothing in such a file can run code."""

from __future__ import annotations

import shlex
from pathlib import Path

from torch import Tensor, nn

from ecglens.errors import EcglensError
from ecglens.progress import say

_PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".pkl")
_TURN = (
    'python -c "import sys, torch; from safetensors.torch import save_file; '
    'save_file(torch.load(sys.argv[1], weights_only=True), sys.argv[2])"'
)
_HEAD = ("fc.weight", "fc.bias")


def load_public_weights(module: nn.Module, path: Path) -> None:
    """Put the weights of a safetensors file into `module` (a ResNet50), by name.

    A last layer `fc` of another number of classes is left out, which is said. Raises EcglensError for a file that may hold
    code, a missing or damaged one, and names or shapes that do not fit; module is then as it was.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if path.suffix.lower() in _PICKLED:
        files = " ".join(shlex.quote(str(name)) for name in (path, path.with_suffix(".safetensors")))
        raise EcglensError(
            f"{path} may run code when it is opened; expected safetensors. If you trust it, turn it into one: {_TURN} {files}"
        )
    try:
        found = load_file(path)
    except FileNotFoundError:
        raise EcglensError(f"{path} does not exist; expected weights as safetensors") from None
    except (SafetensorError, OSError) as error:
        raise EcglensError(f"{path} is no safetensors file ({error})") from None
    own = module.state_dict()
    left_out: tuple[str, ...] = ()
    if _classes(found) not in (0, _classes(own)) and all(name in found for name in _HEAD):
        left_out = _HEAD
        say(f"{path.name}: fc has {_classes(found)} classes, the model {_classes(own)}; fc keeps its fresh weights")
    given = {name: value for name, value in found.items() if name not in left_out}
    # batch norm counts its batches since 2018 only, and the count has no effect here
    wanted = {name for name in own if name not in left_out and not name.endswith(".num_batches_tracked")}
    _expect_none(path, "lacks", sorted(wanted - given.keys()))
    _expect_none(path, "holds, and the model does not,", sorted(given.keys() - own.keys()))
    shapes = [
        f"{name} {tuple(value.shape)} for {tuple(own[name].shape)}"
        for name, value in sorted(given.items())
        if value.shape != own[name].shape
    ]
    _expect_none(path, "has other shapes:", shapes)
    module.load_state_dict(own | given)


def _classes(state: dict[str, Tensor]) -> int:
    return len(state["fc.bias"]) if "fc.bias" in state and state["fc.bias"].dim() == 1 else 0


def _expect_none(path: Path, what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise EcglensError(
            f"{path} {what} {', '.join(names[:3])}{more}; expected the usual public names, such as layer1.0.conv1.weight"
        )
