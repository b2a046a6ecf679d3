"""Fit a classifier: epochs with a bar, a checkpoint after each, the same result after a kill and a restart."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier
from ecglens.models.device import device_of, moved, pick_device
from ecglens.models.scaling import scale
from ecglens.progress import Bar, bar, say
from ecglens.training.augmenting import hidden, of_some, shifted, stretched, with_gains, with_offsets
from ecglens.training.checkpoint import copied, drop_checkpoint, keep_snapshot, load_checkpoint, save_checkpoint
from ecglens.training.cropping import cropped
from ecglens.training.losses import MULTILABEL_LOSSES, Loss, inverse_frequency, loss_named, multilabel_loss
from ecglens.training.options import OPTIMISERS, TrainOptions
from ecglens.training.stopping import f1_falls, f1_of, patience_is_over

_PLACES = ["valid_start", "valid_stop", "r_index"]  # what cropping goes by


@dataclass
class Fit:
    """What a training left: a row per epoch (epoch, rate, train_loss, validation_loss, seconds) and the seconds in all.

    With stop "f1-falls" a row has validation_f1 (of the first class) and validation_accuracy too.
    """

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
    """Train `classifier.module` on `examples` at `rows` (repeats allowed), in place; on the GPU if there is one.

    keep_epochs: epochs after which `folder`/snapshots keeps the weights (`snapshot_path`), 0 for before the first step. A
    checkpoint in `folder` is taken up where it stopped if it is of the same training; after the last epoch it is
    removed. The global random state is left as it was. Raises EcglensError when the loss is no longer a number.
    """
    classifier.expect(examples)
    if len(rows) < 2:
        raise EcglensError(f"there are {len(rows)} rows to train on; expected at least 2")
    _expect_one_class_each(examples, options)
    _expect_room(classifier, options)
    fingerprint = _fingerprint(classifier, examples, rows, validation, options, seed)
    device = pick_device()
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), moved(classifier.module, device):
        trainer = _Trainer(classifier, examples, rows, validation, options, seed)
        state = load_checkpoint(folder)
        if state is not None and state.get("fingerprint") == fingerprint:
            trainer.restore(state)
            say(f"training goes on after epoch {trainer.epoch} of {options.epochs}")
        if trainer.epoch == 0 and 0 in keep_epochs:
            keep_snapshot(classifier.module, folder, 0)
        with bar("train", options.epochs * len(rows), trainer.epoch * len(rows)) as progress:
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


def dealt_anew(labels: NDArray[Any], rows: NDArray[np.int64], seed: int) -> NDArray[Any]:
    """Labels (example, ...) of which those of `rows` are dealt out among them at random; each row keeps one, repeats or not.

    A net trained so has learnt nothing of the classes: its maps must be others (Adebayo 2018, section 4).
    """
    out, given = labels.copy(), np.unique(rows)
    out[given] = labels[np.random.default_rng([seed, 17]).permutation(given)]
    return out


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
        self.device = device_of(self.module)
        # signals stay in mV on the CPU, and are scaled and sent over batch by batch: no second copy of the data set
        self.signals = torch.from_numpy(examples.signals)
        self.context = classifier.context_of(examples)
        several = examples.multi_hot
        labels = examples.labels if several is None else several.astype(np.float32)
        if options.targets == "shuffled":
            labels = dealt_anew(labels, rows, seed)
        self.labels = torch.from_numpy(labels)
        places = examples.table[_PLACES].to_numpy(np.int64) if options.crop else None
        self.places = None if places is None else torch.from_numpy(places)
        self.rows, self.validation = torch.from_numpy(rows), torch.from_numpy(validation)
        trainable = [value for value in self.module.parameters() if value.requires_grad]
        decay = {"weight_decay": options.weight_decay} if options.optimiser in ("adam", "adamw") else {}
        self.optimiser = OPTIMISERS[options.optimiser](trainable, lr=options.rate, **decay)
        self.schedule = self._make_schedule()
        self.loss: Loss = (
            loss_named(options.loss)
            if several is None
            else multilabel_loss(options.loss, self.labels[self.rows], classifier.classes)
        )
        self.class_weights: Tensor | None = None
        if options.class_weights == "inverse":
            self.class_weights = inverse_frequency(self.labels[self.rows], len(classifier.classes))
            self.loss = partial(self.loss, weight=self.class_weights.to(self.device))
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
        if self.options.schedule == "step":
            return torch.optim.lr_scheduler.StepLR(self.optimiser, step_size=4, gamma=0.1)
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
        total, seen = 0.0, 0.0
        for step in range(self.steps):
            batch = order[step * self.options.batch : (step + 1) * self.options.batch]
            mass = self._mass(batch)
            total += self._one_step(batch) * mass
            seen += mass
            progress.step(len(batch), note=f"epoch {self.epoch + 1}/{self.options.epochs}")
        self.epoch += 1
        row = {
            "epoch": float(self.epoch),
            "rate": float(self.optimiser.param_groups[0]["lr"]),
            "train_loss": total / seen,
        } | self._validate()
        self._judge(row)
        row["seconds"] = time.monotonic() - started
        self.history.append(row)
        say(
            f"epoch {self.epoch}/{self.options.epochs}: training loss {row['train_loss']:.4f}, "
            + (f"validation loss {row['validation_loss']:.4f}, " if len(self.validation) else "")
            + f"{row['seconds']:.0f} s"
        )

    def _one_step(self, batch: Tensor) -> float:
        options = self.options
        signals = self.signals[batch]
        gained = with_gains(signals, options.gain_jitter, options.gain_from, options.gain_to)
        signals = of_some(gained, signals, options.jitter_share)
        signals = of_some(with_offsets(signals, options.offset_mv), signals, options.jitter_share)
        span = None
        if self.places is not None:
            place = self.places[batch]
            signals, span = cropped(signals, place[:, :2], place[:, 2], options.crop)
        signals = stretched(signals, options.stretch)
        signals = shifted(signals, round(options.shift_s * self.classifier.fs))
        signals = hidden(signals, round(options.hide_s * self.classifier.fs))
        self.optimiser.zero_grad()
        loss = self._loss_of(self._logits_of(signals, batch, span), batch)
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

    def _loss_of(self, logits: Tensor, batch: Tensor) -> Tensor:
        return self.loss(logits, self.labels[batch].to(self.device))

    def _logits_of(self, signals: Tensor, batch: Tensor, span: Tensor | None = None) -> Tensor:
        inputs: tuple[Tensor, ...] = (scale(signals, self.classifier.scale),)
        if self.context is not None:
            context = span if span is not None and self.classifier.context == "span" else self.context[batch]
            if self.module.training and self.options.rr_drop and self.classifier.context == "rr":
                context = context * (torch.rand(len(batch), 1) >= self.options.rr_drop)
            inputs = (*inputs, context)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            logits: Tensor = self.module(*(each.to(self.device) for each in inputs))
        return logits.float()

    def _mass(self, batch: Tensor) -> float:
        """What the mean loss of a batch counts for in the mean over all."""
        if self.class_weights is None:
            return len(batch)
        return float(self.class_weights[self.labels[batch]].sum())

    def _validate(self) -> dict[str, float]:
        """validation_loss, and what is scored besides where F1 can end the training; NaN without validation rows."""
        loss, answers = float("nan"), self.labels[:0]
        if len(self.validation):
            loss, answers = self._validation_answers()
        row = {"validation_loss": loss}
        if self.options.stop == "f1-falls":
            truth = self.labels[self.validation]
            row["validation_f1"] = f1_of(answers, truth) if len(truth) else float("nan")
            row["validation_accuracy"] = float((answers == truth).double().mean())
        return row

    def _validation_answers(self) -> tuple[float, Tensor]:
        self.module.eval()
        losses, answers, mass = [], [], 0.0
        with torch.no_grad():
            for batch in self.validation.split(self.classifier.at_once):
                logits = self._logits_of(self.signals[batch], batch)
                losses.append(self._loss_of(logits, batch).cpu() * self._mass(batch))
                mass += self._mass(batch)
                answers.append(logits.argmax(1).cpu())
        loss = float(torch.stack(losses).sum() / mass)
        if not np.isfinite(loss):
            raise EcglensError(f"the validation loss became {loss} in epoch {self.epoch}; look for invalid samples")
        return loss, torch.cat(answers)

    def _judge(self, row: dict[str, float]) -> None:
        """Compare with the epochs before: schedule, best weights, early stop."""
        losses = [each["validation_loss"] for each in (*self.history, row)]
        if self.options.schedule == "plateau" and len(self.validation):
            self.schedule.step(losses[-1])
        if self.options.schedule == "step":
            self.schedule.step()
        if self.options.keep == "best" and not losses[-1] >= min(losses[:-1], default=float("inf")):
            self.best = copied(self.module.state_dict())
        if self.options.stop == "f1-falls":
            self.stopped_early = f1_falls([each["validation_f1"] for each in (*self.history, row)])
        else:
            self.stopped_early = patience_is_over(losses, self.options.patience)

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


def _expect_one_class_each(examples: Examples, options: TrainOptions) -> None:
    """What counts examples of one class each makes no sense where an example may be of several."""
    if examples.multi_hot is None:
        if options.loss in MULTILABEL_LOSSES:
            raise EcglensError(f"loss {options.loss!r} is for records of several classes; these have one each: choose another")
        return
    choose(options.loss, list(MULTILABEL_LOSSES), "loss for several labels a record")
    if options.stop != "patience":
        raise EcglensError(f"stop={options.stop}: records may be of several classes here; expected stop=patience")


def _expect_room(classifier: Classifier, options: TrainOptions) -> None:
    """What is hidden must leave something, and what is moved must not be told by its place."""
    if round(options.hide_s * classifier.fs) >= classifier.length:
        raise EcglensError(
            f"hide_s is {options.hide_s:g}; examples last {classifier.length / classifier.fs:g} s: expected less"
        )
    for name in ("shift_s", "stretch"):
        if getattr(options, name) and classifier.context == "span":
            raise EcglensError(
                f"{name} is {getattr(options, name):g}; {classifier.name} goes by where the signal is: expected 0"
            )


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
    context = classifier.context_of(examples)
    known: list[NDArray[Any]] = [] if context is None else [context.numpy()]
    known += [] if examples.multi_hot is None else [examples.multi_hot]
    known += [examples.table[_PLACES].to_numpy(np.int64)] if options.crop else []
    arrays: tuple[NDArray[Any], ...] = (rows, validation, examples.labels, examples.signals, *known)
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
