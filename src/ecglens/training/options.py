"""The choices of a training, checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ecglens.errors import EcglensError, choose
from ecglens.training.losses import LOSSES, MULTILABEL_LOSSES

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


@dataclass(frozen=True)
class TrainOptions:
    """How a network is trained.

    loss: "cross-entropy", "focal" or "smoothed", or, for records of several classes, "bce", "wbce" or "macro-obs";
    class_weights: "none", or "inverse": cross-entropy in which a class counts with 1 / its frequency among the training rows,
    mean 1 over the classes; optimiser: "adam", "nadam", "adamw" or "sgd"; rate: (peak) learning rate; weight_decay: L2 term
    in the gradient of "adam", decoupled in "adamw", of no effect in the others; schedule: "none", "plateau" (x 0.1 after two
    epochs without a better validation loss, floor 1e-6), "one-cycle" or "step" (x 0.1 after every four epochs); stop:
    "patience", or "f1-falls" (see `ecglens.training.stopping`); patience: stop after so many epochs without a better
    validation loss, 0 never; keep: weights of the "last" or the "best" epoch; bf16: autocast to bfloat16; gain_jitter:
    standard deviation of a random log-gain per lead; gain_from, gain_to: a random gain between these, of all leads together;
    offset_mv: leads are moved up or down by up to so much, each by its own; jitter_share: so many of the examples have gains,
    and offsets; stretch: each example is made slower or faster by up to e to the power of this; shift_s: signals are moved in
    time by up to so many seconds either way, round the ends; hide_s: so many seconds of all leads, anywhere, are zero (all
    anew each time); rr_drop: how often the RR numbers are hidden, so that the signal is learnt too; crop: up to this share of
    an example's signal is cut off, anew each time, at the end farther from its R peak (see `ecglens.training.cropping`);
    targets: "labels", or "shuffled": the labels of the training rows, dealt out anew once, for a sibling of an audit.
    """

    loss: str = "cross-entropy"
    class_weights: str = "none"
    optimiser: str = "adamw"
    rate: float = 3e-3
    weight_decay: float = 1e-2
    schedule: str = "one-cycle"
    epochs: int = 3
    batch: int = 128
    stop: str = "patience"
    patience: int = 0
    keep: str = "last"
    bf16: bool = True
    gain_jitter: float = 0.1
    gain_from: float = 1.0
    gain_to: float = 1.0
    offset_mv: float = 0.0
    jitter_share: float = 1.0
    stretch: float = 0.0
    shift_s: float = 0.0
    hide_s: float = 0.0
    rr_drop: float = 0.0
    crop: float = 0.0
    targets: str = "labels"

    def __post_init__(self) -> None:
        choose(self.loss, sorted((*LOSSES, *MULTILABEL_LOSSES)), "loss")
        choose(self.optimiser, sorted(OPTIMISERS), "optimiser")
        choose(self.schedule, ["none", "one-cycle", "plateau", "step"], "schedule")
        choose(self.class_weights, ["inverse", "none"], "class_weights")
        choose(self.stop, ["f1-falls", "patience"], "stop")
        choose(self.keep, ["best", "last"], "keep")
        choose(self.targets, ["labels", "shuffled"], "targets")
        at_least_zero = ("weight_decay", "patience", "gain_jitter", "offset_mv", "stretch", "shift_s", "hide_s", "rr_drop")
        for name in at_least_zero:
            if not getattr(self, name) >= 0:
                raise EcglensError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 < self.rate < float("inf"):
            raise EcglensError(f"rate is {self.rate}; expected a learning rate over 0")
        if not 0 < self.gain_from <= self.gain_to < float("inf"):
            raise EcglensError(f"gains from {self.gain_from} to {self.gain_to}; expected numbers above 0, the smaller first")
        if not 0 <= self.crop < 1:
            raise EcglensError(f"crop is {self.crop}; expected a share from 0 to less than 1")
        for name in ("shift_s", "stretch"):
            if getattr(self, name) and self.crop:
                raise EcglensError(
                    f"{name} is {getattr(self, name)} and crop {self.crop}: crop needs R where it was; set one to 0"
                )
        if not 0 < self.jitter_share <= 1:
            raise EcglensError(f"jitter_share is {self.jitter_share}; expected a share above 0, at most 1")
        if self.rr_drop > 1:
            raise EcglensError(f"rr_drop is {self.rr_drop}; expected a share between 0 and 1")
        if self.epochs < 1 or self.batch < 2:
            raise EcglensError(f"epochs is {self.epochs}, batch {self.batch}; expected at least 1 and 2")
        if self.class_weights != "none" and self.loss != "cross-entropy":
            raise EcglensError(
                f"class_weights is {self.class_weights!r} and loss {self.loss!r}; classes are weighed in 'cross-entropy' alone"
            )
        if self.stop != "patience" and self.patience:
            raise EcglensError(f"patience is {self.patience} and stop {self.stop!r}; expected patience 0, or stop 'patience'")
