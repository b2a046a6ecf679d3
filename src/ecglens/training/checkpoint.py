"""The state of an unfinished training, as safetensors and JSON: nothing in it can run code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecglens.errors import EcglensError
from ecglens.files import write_tensors

FILE = "checkpoint.safetensors"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors, numbers and strings to one file, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    plain = _take_tensors(state, "", tensors)
    write_tensors(folder / FILE, tensors, {"state": json.dumps(plain)})


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, or None where there is none. Raises EcglensError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            state = _put_tensors(json.loads(file.metadata()["state"]), tensors)
        if not isinstance(state, dict):
            raise TypeError("its content is no table")
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise EcglensError(f"{path} is damaged ({type(error).__name__}); delete it to train from the start") from None
    return state


def drop_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a finished training."""
    (folder / FILE).unlink(missing_ok=True)


def snapshot_path(folder: Path, epoch: int) -> Path:
    """Where the weights after `epoch` epochs are kept."""
    return folder / "snapshots" / f"epoch-{epoch:03d}.safetensors"


def keep_snapshot(module: nn.Module, folder: Path, epoch: int) -> None:
    """Write the weights as they are now, whole or not at all."""
    path = snapshot_path(folder, epoch)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, {name: value.contiguous() for name, value in module.state_dict().items()})


def load_snapshot(module: nn.Module, folder: Path, epoch: int) -> None:
    """Put the weights kept after `epoch` epochs into `module`; raises EcglensError where there are none, or others."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = snapshot_path(folder, epoch)
    try:
        module.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise EcglensError(f"{path} is missing; run the study again with --overwrite to keep it") from None
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EcglensError(f"{path} does not hold weights of this model: {reason}") from None


def _take_tensors(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value.detach().contiguous().clone()
        return {"tensor": path}
    if isinstance(value, dict):
        # keys can be numbers (optimiser state), which JSON objects cannot
        return {"dict": [[key, _take_tensors(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_take_tensors(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path}: {type(value).__name__} has no place in a checkpoint")


def _put_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _put_tensors(item, tensors) for key, item in content}
    items = [_put_tensors(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy of a module's state that further training does not touch."""
    return {name: torch.clone(value).detach() for name, value in state.items()}
