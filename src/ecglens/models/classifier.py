"""A network with all it needs to be used rightly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecglens.errors import EcglensError, choose
from ecglens.examples.context import rr_features
from ecglens.examples.examples import Examples
from ecglens.files import write_json, write_tensors
from ecglens.models.scaling import SCALES, scale
from ecglens.progress import bar

_BATCH = 512


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every part is in the mode in which it was found."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@dataclass
class Classifier:
    """A network and how to use it.

    module: takes scaled signals (example, lead, time) and returns logits (example, class); scale: how millivolts become
    what it was trained on; activation: "softmax" or "sigmoid"; thresholds: per class, "sigmoid" only; cam_layer: dotted name
    of the layer that class activation maps read; context: "rr" if module also takes the RR numbers of
    `ecglens.examples.context`.
    """

    module: nn.Module
    name: str
    classes: tuple[str, ...]
    leads: tuple[str, ...]
    fs: float
    length: int
    scale: str = "none"
    activation: str = "softmax"
    thresholds: tuple[float, ...] | None = None
    cam_layer: str | None = None
    context: str | None = None

    def __post_init__(self) -> None:
        choose(self.scale, list(SCALES), "scale")
        choose(self.activation, ["softmax", "sigmoid"], "activation")
        choose(self.context or "none", ["none", "rr"], "context")
        if self.thresholds is not None and len(self.thresholds) != len(self.classes):
            raise EcglensError(f"{len(self.thresholds)} thresholds for {len(self.classes)} classes; expected one each")

    @classmethod
    def wrap(
        cls,
        module: nn.Module,
        *,
        classes: Sequence[str],
        leads: Sequence[str],
        fs: float,
        length: int,
        scale: str = "none",
        activation: str = "softmax",
        cam_layer: str | None = None,
    ) -> Classifier:
        """A model of your own as a Classifier; tried once on zeros.

        Raises EcglensError that names what does not fit: the input, the number of outputs, the layer.
        """
        wrapped = cls(
            module, type(module).__name__, tuple(classes), tuple(leads), float(fs), length, scale, activation,
            cam_layer=cam_layer,
        )  # fmt: skip
        if cam_layer is not None and cam_layer not in dict(module.named_modules()):
            raise EcglensError(f"{wrapped.name} has no layer {cam_layer!r}; see dict(model.named_modules())")
        probe = torch.zeros(2, len(leads), length)
        try:
            with evaluating(module), torch.no_grad():
                out = module(probe)
        except Exception as error:  # whatever a stranger's module raises
            reason = " ".join(str(error).split())[:200]
            raise EcglensError(
                f"{wrapped.name} does not take signals (example, {len(leads)} leads, {length} samples): {reason}"
            ) from None
        if not isinstance(out, Tensor) or out.shape != (2, len(classes)):
            found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise EcglensError(
                f"{wrapped.name} returns {found} for two examples; expected logits of shape (2, {len(classes)})"
            )
        return wrapped

    @property
    def n_trainable(self) -> int:
        """Number of trainable values."""
        return sum(p.numel() for p in self.module.parameters() if p.requires_grad)

    @property
    def n_values(self) -> int:
        """Trainable values and batch-norm statistics, as Keras counts them."""
        statistics = sum(
            buffer.numel() for name, buffer in self.module.named_buffers() if not name.endswith("num_batches_tracked")
        )
        return self.n_trainable + statistics

    def expect(self, examples: Examples) -> None:
        """Raises EcglensError, by name, where examples do not fit this model."""
        checks = (
            ("sampling rate", f"{self.fs:g} Hz", f"{examples.fs:g} Hz"),
            ("leads", ", ".join(self.leads), ", ".join(examples.leads)),
            ("length", f"{self.length} samples", f"{examples.length} samples"),
            ("classes", ", ".join(self.classes), ", ".join(examples.classes)),
        )
        for what, wanted, found in checks:
            if wanted != found:
                raise EcglensError(f"{what}: model {self.name} expects {wanted}, the examples have {found}")

    def inputs(self, examples: Examples) -> tuple[Tensor, ...]:
        """What the module takes: scaled signals, and the RR numbers where it wants them."""
        signals = scale(torch.from_numpy(examples.signals), self.scale)
        context = self.context_of(examples)
        return (signals,) if context is None else (signals, context)

    def context_of(self, examples: Examples) -> Tensor | None:
        """The RR numbers (example, 6) where the module wants them, else None."""
        return torch.from_numpy(rr_features(examples)) if self.context == "rr" else None

    def logits(self, examples: Examples) -> NDArray[np.float32]:
        """Logits (example, class), in evaluation mode, batch by batch; the module's mode is left as it was."""
        self.expect(examples)
        out = np.empty((len(examples), len(self.classes)), np.float32)
        with evaluating(self.module), torch.inference_mode(), bar("predict", len(examples)) as progress:
            for start in range(0, len(examples), _BATCH):
                rows = np.arange(start, min(start + _BATCH, len(examples)))
                out[rows] = self.module(*self.inputs(examples.take(rows))).float().numpy()
                progress.step(len(rows))
        return out

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (example, class) from logits."""
        tensor = torch.from_numpy(logits)
        return (tensor.softmax(1) if self.activation == "softmax" else tensor.sigmoid()).numpy()

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `model.json` into `folder`."""
        weights = {name: value.contiguous() for name, value in self.module.state_dict().items()}
        write_tensors(folder / "model.safetensors", weights)
        card = {
            field: getattr(self, field)
            for field in ("name", "classes", "leads", "fs", "length", "scale", "activation", "thresholds", "cam_layer")
        }
        write_json(folder / "model.json", card | {"context": self.context, "n_trainable": self.n_trainable})
