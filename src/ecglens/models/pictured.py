"""A network that sees a picture of the signal: the picture is drawn inside, batch by batch, and never kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier
from ecglens.models.rasteriser import Rasteriser


class Pictured(nn.Module):
    """A network behind a picture. (example, lead, time) in mV to logits (example, class).

    picture: (signals, span int64 (example, 2)) to ink (example, 1, row, column); net: ink to logits. span: first sample that
    is signal and the one after the last; without it all of the signal is drawn.
    """

    def __init__(self, picture: nn.Module, net: nn.Module) -> None:
        super().__init__()
        self.picture = picture
        self.net = net

    def forward(self, x: Tensor, span: Tensor | None = None) -> Tensor:
        return self.net(self.picture(x, whole(x) if span is None else span))


def whole(x: Tensor) -> Tensor:
    """The span, int64 (example, 2), of signals that have no padding."""
    return torch.tensor([0, x.shape[2]], device=x.device).expand(len(x), 2)


def rasteriser_of(classifier: Classifier) -> Rasteriser:
    """The part of the model that draws; raises EcglensError where it is not a Rasteriser."""
    found = getattr(classifier.module, "picture", None)
    if not isinstance(found, Rasteriser):
        raise EcglensError(
            f"{classifier.name} draws by {type(found).__name__}; expected a Rasteriser, which knows where the trace lies"
        )
    return found
