"""One batch on its way through a model: what methods ask for is computed when first asked for, and once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecglens.attribution.rules import GuidedReLU, Switch
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier, evaluating


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients for weights, cuDNN's RNNs and short cuts off; all is put back as it was found."""
    wanted = {value: value.requires_grad for value in module.parameters()}
    module.requires_grad_(False)
    # cuDNN has no backward pass for an RNN in evaluation mode
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    enabled = not recurrent and torch.backends.cudnn.enabled
    try:
        # TF32 keeps 10 bits: maps would not add up to their score
        with evaluating(module), torch.backends.cudnn.flags(enabled=enabled, deterministic=True, allow_tf32=False):
            yield
    finally:
        for value, flag in wanted.items():
            value.requires_grad_(flag)


@dataclass
class Counter:
    """Examples that went through the model, forwards and backwards."""

    forward: int = 0
    backward: int = 0


@dataclass
class Shared:
    """What all passes of a run have in common.

    output: explain the "logit" or the "probability"; background: model inputs that stand for 'nothing known', float32
    (example, lead, time); seed: decides every random draw, together with the rows of the batch.
    """

    classifier: Classifier
    output: str = "logit"
    background: Tensor | None = None
    seed: int = 0
    counter: Counter = field(default_factory=Counter)
    found: dict[str, Any] = field(default_factory=dict)  # of the model, looked up once
    writes: bool = True  # the model may write into its input, so it gets a copy
    folded: nn.Module | None = None  # the model with its batch norms folded, where it could be

    @property
    def module(self) -> nn.Module:
        """What batches go through."""
        return self.classifier.module if self.folded is None else self.folded

    def once(self, name: str, look: Callable[[], Any]) -> Any:
        """What `look` finds out about the model, kept for all batches."""
        if name not in self.found:
            self.found[name] = look()
        return self.found[name]


class _Forward:
    """The batch and its one forward pass with gradients; shared by the passes that ask about several classes."""

    def __init__(self, shared: Shared, x: Tensor, context: Tensor | None) -> None:
        self.shared, self.x, self.context = shared, x.detach().requires_grad_(True), context
        self.switch = Switch()
        self.memo: dict[str, Tensor] = {}  # what methods work out once for all classes

    @cached_property
    def result(self) -> tuple[Tensor, Tensor | None]:
        """(logits, activations of the CAM layer or None)."""
        with GuidedReLU(self.switch):
            return self._run(self.x)

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        classifier = self.shared.classifier
        if classifier.cam_layer is None:
            return call(self.shared, x, self.context), None
        caught: list[Tensor] = []
        layer = self.shared.module.get_submodule(classifier.cam_layer)
        hook = layer.register_forward_hook(lambda _module, _inputs, out: caught.append(out))
        try:
            logits = call(self.shared, x, self.context)
        finally:
            hook.remove()
        _expect_once(classifier, len(caught))
        return logits, caught[0]

    @cached_property
    def quick_result(self) -> tuple[Tensor, Tensor | None]:
        """As `result`, but without gradients, unless they are there already."""
        if "result" in self.__dict__:
            return self.result
        with torch.no_grad():
            return self._run(self.x.detach())


def _expect_once(classifier: Classifier, times: int) -> None:
    if times != 1:
        raise EcglensError(
            f"layer {classifier.cam_layer!r} of {classifier.name} ran {times} times in one forward pass; class activation "
            "maps "
            "need a layer that runs once"
        )


def call(shared: Shared, x: Tensor, context: Tensor | None) -> Tensor:
    """Logits of model inputs `x`; counts them. `context` is repeated where x holds each example several times."""
    shared.counter.forward += len(x)
    if shared.writes:
        x = x.clone()
    if context is None:
        return shared.module(x)
    if len(context) != len(x):
        context = context.repeat_interleave(len(x) // len(context), dim=0)
    return shared.module(x, context)


def _indices(target: NDArray[np.int64], x: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(target, np.int64)).to(x.device)


@dataclass
class Pass:
    """One batch, asked about one class of each example. What a method is given.

    x: the model's own input (example, lead, time); target: class index (example,); rows: which examples of the data set these
    are; examples: where the batch comes from, if not from an array; notes: what a method has to say of each example beside its
    map, (example, ...) by name.
    """

    shared: Shared
    forward: _Forward
    target: Tensor
    rows: NDArray[np.int64]
    examples: Examples | None = None
    notes: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls, shared: Shared, x: Tensor, context: Tensor | None, target: NDArray[np.int64], rows: NDArray[np.int64],
        examples: Examples | None = None,
    ) -> Pass:  # fmt: skip
        """A fresh batch; nothing is computed yet."""
        return cls(shared, _Forward(shared, x, context), _indices(target, x), rows, examples)

    def asking(self, target: NDArray[np.int64]) -> Pass:
        """The same batch asked about other classes; its forward pass is not done again."""
        return Pass(self.shared, self.forward, _indices(target, self.x), self.rows, self.examples)

    @property
    def classifier(self) -> Classifier:
        """The model."""
        return self.shared.classifier

    @property
    def x(self) -> Tensor:
        """The model's own input (example, lead, time)."""
        return self.forward.x

    def predicted(self, *, with_graph: bool) -> NDArray[np.int64]:
        """The likeliest class of each example (example,); with_graph: gradients will be asked for, so that pass serves."""
        logits = self.logits if with_graph else self.forward.quick_result[0]
        return logits.detach().argmax(1).cpu().numpy().astype(np.int64)

    @property
    def logits(self) -> Tensor:
        """(example, class), with its graph."""
        return self.forward.result[0]

    @property
    def quick_logits(self) -> Tensor:
        """(example, class) without a graph: from a forward pass without gradients where none was done."""
        return self.forward.quick_result[0].detach()

    @property
    def quick_activations(self) -> Tensor:
        """Output of the CAM layer without its graph: from a forward pass without gradients where none was done."""
        found = self.forward.quick_result[1]
        if found is None:
            raise EcglensError(f"{self.classifier.name} names no layer for class activation maps (cam_layer)")
        return found.detach()

    @property
    def activations(self) -> Tensor:
        """Output of the CAM layer (example, channel, time), with its graph; raises EcglensError where there is none."""
        out = self.forward.result[1]
        if out is None:
            raise EcglensError(f"{self.classifier.name} names no layer for class activation maps (cam_layer)")
        return out

    def score_of(self, logits: Tensor) -> Tensor:
        """(example,) of the target class: logit or probability; logits may hold each example several times in a row."""
        target = self.target
        if len(logits) != len(target):
            target = target.repeat_interleave(len(logits) // len(target))
        if self.shared.output == "probability":
            logits = logits.softmax(1) if self.classifier.activation == "softmax" else logits.sigmoid()
        return logits.gather(1, target[:, None])[:, 0]

    def logits_of(self, x: Tensor) -> Tensor:
        """(example, class) for other inputs (repeats in a row allowed); no guided rule, no caught layers."""
        return call(self.shared, x, self.forward.context)

    def score(self, x: Tensor) -> Tensor:
        """(example,) for other inputs."""
        return self.score_of(self.logits_of(x))

    @cached_property
    def _both_gradients(self) -> tuple[Tensor, Tensor | None]:
        logits, activations = self.forward.result
        self.forward.switch.guided = False
        by = [self.x] if activations is None else [self.x, activations]
        self.shared.counter.backward += len(self.x)
        found = torch.autograd.grad(self.score_of(logits).sum(), by, retain_graph=True)
        return found[0], None if activations is None else found[1]

    @property
    def gradient(self) -> Tensor:
        """d score / d x (example, lead, time)."""
        return self._both_gradients[0]

    @property
    def activation_gradient(self) -> Tensor:
        """d score / d activations (example, channel, time)."""
        _ = self.activations
        gradient = self._both_gradients[1]
        assert gradient is not None
        return gradient

    @cached_property
    def guided_gradient(self) -> Tensor:
        """As `gradient`, but every ReLU lets only positive gradients through."""
        self.forward.switch.guided = True
        try:
            self.shared.counter.backward += len(self.x)
            (found,) = torch.autograd.grad(self.score_of(self.logits).sum(), self.x, retain_graph=True)
        finally:
            self.forward.switch.guided = False
        return found

    def draws(self, purpose: int, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        """One draw for each example from a generator of its own, stacked: the same whatever the batch holds beside it.

        Drawn on the CPU, wherever the batch is: a GPU would draw other numbers.
        """
        out = []
        for row in self.rows:
            words = np.random.SeedSequence([self.shared.seed, purpose, int(row)]).generate_state(1, np.uint64)
            out.append(draw(torch.Generator().manual_seed(int(words[0] >> 1))))
        return torch.stack(out).to(self.x.device)
