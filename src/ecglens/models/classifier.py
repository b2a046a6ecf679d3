"""A network with all it needs to be used rightly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecglens.errors import EcglensError, choose
from ecglens.examples.context import rr_features
from ecglens.examples.examples import Examples
from ecglens.files import write_json, write_tensors
from ecglens.models.device import device_of, moved, pick_device
from ecglens.models.scaling import SCALES, scale
from ecglens.progress import bar


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
    `ecglens.examples.context`, "span" if it takes which samples are signal; draws: module is a
    `ecglens.models.pictured.Pictured`: maps are of the picture that its first part draws; rows: of the pictures
    (example, 1, row, column) that module takes in the place of signals, see `behind_picture`.
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
    draws: bool = False
    rows: int | None = None

    def __post_init__(self) -> None:
        choose(self.scale, list(SCALES), "scale")
        choose(self.activation, ["softmax", "sigmoid"], "activation")
        choose(self.context or "none", ["none", "rr", "span"], "context")
        if self.draws and self.context == "rr":
            raise EcglensError(f"{self.name} draws pictures and takes RR intervals; expected context 'span' or none")
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
        draws: bool = False,
    ) -> Classifier:
        """A model of your own as a Classifier; tried once on zeros.

        draws: a `ecglens.models.pictured.Pictured`, whose maps are to be of the picture that it draws. Raises EcglensError
        that names what does not fit: the input, the number of outputs, the layer.
        """
        wrapped = cls(
            module, type(module).__name__, tuple(classes), tuple(leads), float(fs), length, scale, activation,
            cam_layer=cam_layer, draws=draws,
        )  # fmt: skip
        if cam_layer is not None and cam_layer not in dict(module.named_modules()):
            raise EcglensError(f"{wrapped.name} has no layer {cam_layer!r}; see dict(model.named_modules())")
        probe = torch.zeros(2, len(leads), length, device=wrapped.device)
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
        if draws:
            wrapped.behind_picture()  # refuses what does not draw
        return wrapped

    @property
    def device(self) -> torch.device:
        """Where the module is: the device of its first parameter, else the CPU."""
        return device_of(self.module)

    @property
    def at_once(self) -> int:
        """Examples in a batch without gradients; few where module sees pictures, which are large."""
        return 64 if self.draws or self.rows is not None else 512

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

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one thing that module takes: (lead, time), or (1, row, column) for a network behind a picture."""
        return (len(self.leads), self.length) if self.rows is None else (1, self.rows, self.length)

    def behind_picture(self) -> Classifier:
        """The network behind the picture alone: it takes ink (example, 1, row, column), its length is the columns.

        Raises EcglensError where module does not draw, or cam_layer is not a layer of the network.
        """
        parts = dict(self.module.named_children())
        if not self.draws or "picture" not in parts or "net" not in parts:
            raise EcglensError(
                f"{self.name} draws no picture; expected draws=True and a module with the parts picture and net"
            )
        if self.cam_layer is not None and not self.cam_layer.startswith("net."):
            raise EcglensError(f"layer {self.cam_layer!r} of {self.name} is not behind its picture; expected one of net")
        flat, span = torch.zeros(1, len(self.leads), self.length), torch.tensor([[0, self.length]])
        with evaluating(parts["picture"]), torch.no_grad():
            ink = parts["picture"](flat.to(self.device), span.to(self.device))
        if ink.dim() != 4 or ink.shape[1] != 1:
            raise EcglensError(f"the picture of {self.name} has shape {tuple(ink.shape)}; expected (example, 1, row, column)")
        layer = None if self.cam_layer is None else self.cam_layer.removeprefix("net.")
        return replace(
            self, module=parts["net"], leads=("ink",), length=ink.shape[3], rows=ink.shape[2], scale="none", cam_layer=layer,
            context=None, draws=False,
        )  # fmt: skip

    def inputs(self, examples: Examples) -> tuple[Tensor, ...]:
        """What the module takes, on its device: scaled signals, and the RR numbers or the span where it wants them."""
        signals = scale(torch.from_numpy(examples.signals), self.scale)
        context = self.context_of(examples)
        return tuple(each.to(self.device) for each in (signals, context) if each is not None)

    def context_of(self, examples: Examples) -> Tensor | None:
        """The RR numbers (example, 6), or which samples are signal, int64 (example, 2): its first, and the one after its last;
        None where the module wants neither.
        """
        if self.context == "span":
            return torch.from_numpy(np.array(examples.table[["valid_start", "valid_stop"]], np.int64))
        return torch.from_numpy(rr_features(examples)) if self.context == "rr" else None

    def logits(self, examples: Examples) -> NDArray[np.float32]:
        """Logits (example, class), in evaluation mode, batch by batch, on the GPU if there is one.

        The module's mode and device are left as they were.
        """
        self.expect(examples)
        out = np.empty((len(examples), len(self.classes)), np.float32)
        with (
            moved(self.module, pick_device()),
            evaluating(self.module),
            torch.inference_mode(),
            bar("predict", len(examples)) as progress,
        ):
            for start in range(0, len(examples), self.at_once):
                rows = np.arange(start, min(start + self.at_once, len(examples)))
                out[rows] = self.module(*self.inputs(examples.take(rows))).float().cpu().numpy()
                progress.step(len(rows))
        return out

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (example, class) from logits."""
        tensor = torch.from_numpy(logits)
        return (tensor.softmax(1) if self.activation == "softmax" else tensor.sigmoid()).numpy()

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `model.json` into `folder`.

        Raises EcglensError for a network behind a picture, which could not be loaded without it.
        """
        if self.rows is not None:
            raise EcglensError(f"{self.name} is the network behind a picture alone; save the classifier that draws")
        weights = {name: value.contiguous() for name, value in self.module.state_dict().items()}
        write_tensors(folder / "model.safetensors", weights)
        card = {
            field: getattr(self, field)
            for field in ("name", "classes", "leads", "fs", "length", "scale", "activation", "thresholds", "cam_layer")
        }
        write_json(
            folder / "model.json", card | {"context": self.context, "draws": self.draws, "n_trainable": self.n_trainable}
        )
