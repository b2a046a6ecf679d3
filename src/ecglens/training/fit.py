"""Fit a classifier: epochs with a bar, a checkpoint after each, the same result after a kill and a restart."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier
from ecglens.models.scaling import scale
from ecglens.progress import Bar, bar, say
from ecglens.training.checkpoint import copied, drop_checkpoint, keep_snapshot, load_checkpoint, save_checkpoint
from ecglens.training.losses import loss_named

_OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


@dataclass(frozen=True)
class TrainOptions:
    """How a network is trained.

    loss: "cross-entropy", "focal" or "smoothed"; optimiser: "adam", "nadam", "adamw" or "sgd"; rate: (peak) learning rate;
    schedule: "none", "plateau" (x 0.1 after two epochs without a better validation loss, floor 1e-6) or "one-cycle";
    patience: stop after so many epochs without a better validation loss, 0 never; keep: weights of the "last" or the "best"
    epoch; bf16: autocast to bfloat16; gain_jitter: standard deviation of a random log-gain per lead; rr_drop: how
    often the RR numbers are hidden, so that the signal is learnt too.
    """

    loss: str = "cross-entropy"
    optimiser: str = "adamw"
    rate: float = 3e-3
    weight_decay: float = 1e-2
    schedule: str = "one-cycle"
    epochs: int = 3
    batch: int = 128
    patience: int = 0
    keep: str = "last"
    bf16: bool = True
    gain_jitter: float = 0.1
    rr_drop: float = 0.0

    def __post_init__(self) -> None:
        loss_named(self.loss)
        choose(self.optimiser, sorted(_OPTIMISERS), "optimiser")
        choose(self.schedule, ["none", "one-cycle", "plateau"], "schedule")
        choose(self.keep, ["best", "last"], "keep")
        at_least_zero = ("weight_decay", "patience", "gain_jitter", "rr_drop")
        for name in at_least_zero:
            if not getattr(self, name) >= 0:
                raise EcglensError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 < self.rate < float("inf"):
            raise EcglensError(f"rate is {self.rate}; expected a learning rate over 0")
        if self.rr_drop > 1:
            raise EcglensError(f"rr_drop is {self.rr_drop}; expected a share between 0 and 1")
        if self.epochs < 1 or self.batch < 2:
            raise EcglensError(f"epochs is {self.epochs}, batch {self.batch}; expected at least 1 and 2")


@dataclass
class Fit:
    """What a training left: a row per epoch (epoch, rate, train_loss, validation_loss, seconds) and the seconds in all."""

    history: list[dict[str, float]]
    seconds: float
    stopped_early: bool


def fit(
    classifier: Classifier,
    examples: Examples,
    rows: NDArray[np.int64],
    validation: NDArray[np.int64],
    options: TrainOptions,
    seed: int,
    folder: Path,
    *,
    keep_epochs: tuple[int, ...] = (),
) -> Fit:
    """Train `classifier.module` on `examples` at `rows` (repeats allowed), in place.

    keep_epochs: epochs after which `folder`/snapshots keeps the weights (`snapshot_path`), 0 for before the first step. A
    checkpoint in `folder` is taken up where it stopped if it is of the same training; after the last epoch it is
    removed. The global random state is left as it was. Raises EcglensError when the loss is no longer a number.
    """
    classifier.expect(examples)
    if len(rows) < 2:
        raise EcglensError(f"there are {len(rows)} rows to train on; expected at least 2")
    trainer = _Trainer(classifier, examples, rows, validation, options, seed)
    fingerprint = _fingerprint(classifier, examples, rows, validation, options, seed)
    state = load_checkpoint(folder)
    if state is not None and state.get("fingerprint") == fingerprint:
        trainer.restore(state)
        say(f"training goes on after epoch {trainer.epoch} of {options.epochs}")
    with (
        torch.random.fork_rng(devices=[]),
        bar("train", options.epochs * len(rows), trainer.epoch * len(rows)) as progress,
    ):
        if trainer.epoch == 0 and 0 in keep_epochs:
            keep_snapshot(classifier.module, folder, 0)
        while trainer.epoch < options.epochs and not trainer.stopped_early:
            trainer.one_epoch(progress)
            if trainer.epoch in keep_epochs:
                keep_snapshot(classifier.module, folder, trainer.epoch)
            save_checkpoint(folder, trainer.state() | {"fingerprint": fingerprint})
    if options.keep == "best" and trainer.best is not None:
        classifier.module.load_state_dict(trainer.best)
    classifier.module.eval()
    drop_checkpoint(folder)
    return Fit(trainer.history, sum(row["seconds"] for row in trainer.history), trainer.stopped_early)


class _Trainer:
    """The moving parts of one training."""

    def __init__(
        self,
        classifier: Classifier,
        examples: Examples,
        rows: NDArray[np.int64],
        validation: NDArray[np.int64],
        options: TrainOptions,
        seed: int,
    ) -> None:
        self.classifier, self.options, self.seed = classifier, options, seed
        self.module = classifier.module
        # signals stay in mV and are scaled batch by batch: no second copy of the data set
        self.signals = torch.from_numpy(examples.signals)
        self.context = classifier.context_of(examples)
        self.labels = torch.from_numpy(examples.labels)
        self.rows, self.validation = torch.from_numpy(rows), torch.from_numpy(validation)
        trainable = [value for value in self.module.parameters() if value.requires_grad]
        decay = {"weight_decay": options.weight_decay} if options.optimiser == "adamw" else {}
        self.optimiser = _OPTIMISERS[options.optimiser](trainable, lr=options.rate, **decay)
        self.schedule = self._make_schedule()
        self.loss = loss_named(options.loss)
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] | None = None
        self.stopped_early = False

    def _make_schedule(self) -> Any:
        if self.options.schedule == "one-cycle":
            return torch.optim.lr_scheduler.OneCycleLR(
                self.optimiser, self.options.rate, epochs=self.options.epochs, steps_per_epoch=self.steps
            )
        if self.options.schedule == "plateau":
            return torch.optim.lr_scheduler.ReduceLROnPlateau(
                self.optimiser, factor=0.1, patience=1, min_lr=1e-6, threshold=1e-4, threshold_mode="abs"
            )
        return None

    @property
    def steps(self) -> int:
        """Batches per epoch; a last batch of one example would break batch norm and is left out."""
        whole, rest = divmod(len(self.rows), self.options.batch)
        return whole + (rest > 1)

    def one_epoch(self, progress: Bar) -> None:
        started = time.monotonic()
        # seeded anew each epoch: a restart after a kill draws the same numbers
        torch.manual_seed(int(np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)[0]))
        order = self.rows[torch.randperm(len(self.rows))]
        self.module.train()
        total, seen = 0.0, 0
        for step in range(self.steps):
            batch = order[step * self.options.batch : (step + 1) * self.options.batch]
            total += self._one_step(batch) * len(batch)
            seen += len(batch)
            progress.step(len(batch), note=f"epoch {self.epoch + 1}/{self.options.epochs}")
        self.epoch += 1
        row = {
            "epoch": float(self.epoch),
            "rate": float(self.optimiser.param_groups[0]["lr"]),
            "train_loss": total / seen,
            "validation_loss": self._validation_loss(),
        }
        self._judge(row["validation_loss"])
        row["seconds"] = time.monotonic() - started
        self.history.append(row)
        say(
            f"epoch {self.epoch}/{self.options.epochs}: training loss {row['train_loss']:.4f}, "
            + (f"validation loss {row['validation_loss']:.4f}, " if len(self.validation) else "")
            + f"{row['seconds']:.0f} s"
        )

    def _one_step(self, batch: Tensor) -> float:
        signals = self.signals[batch]
        if self.options.gain_jitter:
            signals = signals * torch.exp(self.options.gain_jitter * torch.randn(*signals.shape[:2], 1))
        self.optimiser.zero_grad()
        loss = self._loss_of(signals, batch)
        if not torch.isfinite(loss):
            raise EcglensError(
                f"the training loss became {loss.item()} in epoch {self.epoch + 1}; lower the learning rate, or "
                "look for invalid samples"
            )
        loss.backward()
        self.optimiser.step()
        if self.options.schedule == "one-cycle":
            self.schedule.step()
        return float(loss.detach())

    def _loss_of(self, signals: Tensor, batch: Tensor) -> Tensor:
        inputs: tuple[Tensor, ...] = (scale(signals, self.classifier.scale),)
        if self.context is not None:
            context = self.context[batch]
            if self.module.training and self.options.rr_drop:
                context = context * (torch.rand(len(batch), 1) >= self.options.rr_drop)
            inputs = (*inputs, context)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bf16):
            logits = self.module(*inputs)
        return self.loss(logits.float(), self.labels[batch])

    def _validation_loss(self) -> float:
        if not len(self.validation):
            return float("nan")
        self.module.eval()
        with torch.no_grad():
            losses = [self._loss_of(self.signals[batch], batch) * len(batch) for batch in self.validation.split(512)]
        loss = float(torch.stack(losses).sum() / len(self.validation))
        if not np.isfinite(loss):
            raise EcglensError(f"the validation loss became {loss} in epoch {self.epoch}; look for invalid samples")
        return loss

    def _judge(self, loss: float) -> None:
        """Compare with the epochs before: schedule, best weights, early stop."""
        before = [row["validation_loss"] for row in self.history]
        if self.options.schedule == "plateau" and len(self.validation):
            self.schedule.step(loss)
        if self.options.keep == "best" and not loss >= min(before, default=float("inf")):
            self.best = copied(self.module.state_dict())
        if self.options.patience and len(before) >= self.options.patience:
            since_best = len(before) - int(np.argmin(before)) if min(before) <= loss else 0
            self.stopped_early = since_best >= self.options.patience

    def state(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": _plain(self.schedule.state_dict()) if self.schedule is not None else None,
            "best": self.best,
            "epoch": self.epoch,
            "history": self.history,
            "stopped_early": self.stopped_early,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.best, self.epoch = state["best"], state["epoch"]
        self.history, self.stopped_early = state["history"], state["stopped_early"]


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A schedule's state without the functions that it makes anew by itself."""
    return {name: value for name, value in state.items() if not callable(value)}


def _fingerprint(
    classifier: Classifier,
    examples: Examples,
    rows: NDArray[np.int64],
    validation: NDArray[np.int64],
    options: TrainOptions,
    seed: int,
) -> str:
    """Names one training: two that share it go the same way."""
    shapes = [[name, list(value.shape)] for name, value in classifier.module.state_dict().items()]
    said = json.dumps([classifier.name, classifier.classes, classifier.scale, asdict(options), seed, shapes])
    digest = hashlib.sha256(said.encode())
    for array in (rows, validation, examples.labels, examples.signals):
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
