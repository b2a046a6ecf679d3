"""Models by name. Adding one is a file with a `build` function and a line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from ecglens.errors import EcglensError, choose
from ecglens.models import jones_cnn, jones_lstm, resnet
from ecglens.models.classifier import Classifier


@dataclass(frozen=True)
class ModelCard:
    """What one has to know to make a model: build(n_classes, n_leads, length), its shortest input, its CAM layer."""

    build: Callable[[int, int, int], nn.Module]
    source: str
    min_length: int
    cam_layer: str | None
    context: str | None = None


MODELS = {
    "jones-cnn": ModelCard(
        jones_cnn.build, "Jones 2020, section III; layers from the authors' code", 46, "last"
    ),
    "jones-lstm": ModelCard(
        jones_lstm.build, "Jones 2020, section III, after Gao 2019; layers from the authors' code", 1, None
    ),
    "resnet": ModelCard(resnet.build, "after Ribeiro 2020, figure 3, with fewer filters", 32, "units.3.second"),
    "resnet-rr": ModelCard(
        resnet.build_with_rr,
        "`resnet` with the RR intervals around the beat at its head",
        32,
        "units.3.second",
        "rr",
    ),
}


def create(
    name: str,
    *,
    classes: int | Sequence[str],
    leads: int | Sequence[str],
    length: int,
    fs: float = 360.0,
    scale: str = "none",
) -> Classifier:
    """A fresh, untrained model of that name.

    classes, leads: how many, or their names; length in samples; fs in Hz; scale: a key of `ecglens.models.scaling.SCALES`.
    Raises EcglensError for an unknown name or an input that is too short.
    """
    card = MODELS[choose(name, sorted(MODELS), "model")]
    class_names = _names(classes, "class")
    lead_names = _names(leads, "lead")
    if length < card.min_length:
        raise EcglensError(f"{name} needs at least {card.min_length} samples per lead; length is {length}")
    return Classifier(
        module=card.build(len(class_names), len(lead_names), length),
        name=name,
        classes=class_names,
        leads=lead_names,
        fs=float(fs),
        length=length,
        scale=scale,
        cam_layer=card.cam_layer,
        context=card.context,
    )


def _names(given: int | Sequence[str], what: str) -> tuple[str, ...]:
    names = tuple(f"{what} {number + 1}" for number in range(given)) if isinstance(given, int) else tuple(given)
    if not names or len(set(names)) != len(names):
        raise EcglensError(f"{what} names are {list(names)}; expected at least one and each once")
    return names
