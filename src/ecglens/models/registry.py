"""Models by name, fresh or from a folder. Adding one is a file with a `build` function and a line here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from ecglens.errors import EcglensError, choose
from ecglens.models import (
    cnn_gap,
    ecgnet,
    ecgnet_cam,
    hannun,
    jones_cnn,
    jones_lstm,
    resnet,
    resnet34,
    resnet50,
    small2d,
    zihlmann,
)
from ecglens.models.classifier import Classifier
from ecglens.models.pictured import Pictured
from ecglens.models.rasteriser import SIZE, Rasteriser


@dataclass(frozen=True)
class ModelCard:
    """What one has to know to make a model: build(n_classes, n_leads, length), its shortest input, its CAM layer.

    context, draws: as in `Classifier`; one that draws takes one lead.
    """

    build: Callable[[int, int, int], nn.Module]
    source: str
    min_length: int
    cam_layer: str | None
    context: str | None = None
    draws: bool = False


def _pictured_resnet50(n_classes: int, n_leads: int, length: int) -> Pictured:
    return Pictured(Rasteriser(), resnet50.build(n_classes))


def _pictured_small2d(n_classes: int, n_leads: int, length: int) -> Pictured:
    return Pictured(Rasteriser(), small2d.Small2d(n_classes, SIZE))


MODELS = {
    "jones-cnn": ModelCard(jones_cnn.build, "Jones 2020, section III; layers from the authors' code", 46, "last"),
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
    "ecgnet": ModelCard(
        ecgnet.build, "Murugesan 2018 (ECGNet), in Vijayarangan 2020; layers from the authors' code", 264, "tail"
    ),
    "ecgnet-cam": ModelCard(
        ecgnet_cam.build,
        "ecgnet with fewer blocks, 48 positions and one linear layer: CAM as in Vijayarangan 2020",
        60,
        "tail",
    ),
    "hannun": ModelCard(hannun.build, "Hannun 2019, in Vijayarangan 2020; layers from the authors' code", 16, "tail"),
    "zihlmann": ModelCard(
        zihlmann.build, "Zihlmann 2017 (CNN), in Vijayarangan 2020; layers from the authors' code", 64, "cells"
    ),
    "cnn-gap": ModelCard(
        cnn_gap.build, "Lin 2020 (CNN-GAP): twelve convolutions; sizes of the layers are ours", cnn_gap.MIN_LENGTH, "tail"
    ),
    "cnn-gap-short": ModelCard(
        cnn_gap.build_with_short_cuts, "`cnn-gap` with short cuts around its blocks", cnn_gap.MIN_LENGTH, "tail"
    ),
    "resnet34-1d": ModelCard(
        resnet34.build,
        "Habeeb 2024 after Zhang 2020; layers from Zhang's public code",
        resnet34.MIN_LENGTH,
        "cells",
    ),
    "resnet34-1d-masked": ModelCard(
        resnet34.build_masked,
        "`resnet34-1d` whose pools leave padding out",
        resnet34.MIN_LENGTH,
        "cells",
        "span",
    ),
    "resnet50": ModelCard(
        _pictured_resnet50,
        "He 2016 (ResNet-50), in Varandas 2021: six beats as a picture",
        SIZE,
        "net.layer4",
        "span",
        draws=True,
    ),
    "small2d": ModelCard(
        _pictured_small2d,
        "seven convolutions for the pictures of Varandas 2021, for two cores",
        SIZE,
        "net.tail",
        "span",
        draws=True,
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
    activation: str = "softmax",
) -> Classifier:
    """A fresh, untrained model of that name.

    classes, leads: how many, or their names; length in samples; fs in Hz; scale: a key of `ecglens.models.scaling.SCALES`.
    Raises EcglensError for an unknown name, an input that is too short, or more leads than a picture shows.
    """
    card = MODELS[choose(name, sorted(MODELS), "model")]
    class_names = _names(classes, "class")
    lead_names = _names(leads, "lead")
    if length < card.min_length:
        raise EcglensError(f"{name} needs at least {card.min_length} samples per lead; length is {length}")
    if card.draws and len(lead_names) != 1:
        raise EcglensError(f"{name} draws one lead; leads are {', '.join(lead_names)}: choose one of them")
    return Classifier(
        module=card.build(len(class_names), len(lead_names), length),
        name=name,
        classes=class_names,
        leads=lead_names,
        fs=float(fs),
        length=length,
        scale=scale,
        activation=activation,
        cam_layer=card.cam_layer,
        context=card.context,
        draws=card.draws,
    )


def load(folder: Path) -> Classifier:
    """The model in a folder written by `Classifier.save`; no code is run from the files.

    Raises EcglensError when a file is missing, or weights do not fit the named model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for name in ("model.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise EcglensError(f"{folder} holds no {name}; expected a run folder with a trained model")
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        choose(card["name"], sorted(MODELS), "model")
        model = create(
            card["name"],
            classes=card["classes"],
            leads=card["leads"],
            length=int(card["length"]),
            fs=float(card["fs"]),
            scale=card["scale"],
        )
        if card.get("draws", model.draws) != model.draws:  # before pictures it was not said
            raise ValueError(f"draws is {card['draws']}, of {model.name} it is {model.draws}")
        thresholds = None if card["thresholds"] is None else tuple(map(float, card["thresholds"]))
        model = replace(model, activation=card["activation"], thresholds=thresholds)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise EcglensError(f"{folder / 'model.json'} is damaged ({type(error).__name__}: {error})") from None
    try:
        model.module.load_state_dict(load_file(folder / "model.safetensors"))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EcglensError(f"{folder / 'model.safetensors'} does not hold the weights of {model.name}: {reason}") from None
    return model


def _names(given: int | Sequence[str], what: str) -> tuple[str, ...]:
    names = tuple(f"{what} {number + 1}" for number in range(given)) if isinstance(given, int) else tuple(given)
    if not names or len(set(names)) != len(names):
        raise EcglensError(f"{what} names are {list(names)}; expected at least one and each once")
    return names
