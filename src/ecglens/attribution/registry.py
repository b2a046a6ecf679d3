"""The methods by name, and what to know about each before believing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ecglens.attribution.passes import Pass
from ecglens.errors import EcglensError, did_you_mean


@dataclass(frozen=True)
class Card:
    """Facts of a method.

    equation: what it computes (f: the score, x: the input, x': a baseline, A: activations of the CAM layer); source;
    passes: cost of one example in forward passes, in words; signed: tells for from against; leads: tells leads apart;
    resolution: of its cells in time; sums_to: what its values add up to, or ""; blind_to: what it cannot show; needs: what
    the model must have, of "relu", "cam layer", "mean and linear head", "layers with a rule", "background"; one_pass:
    cheap enough for every example; not_pictures: why a network that sees pictures cannot have it, or ""; graph: reads the
    batch's own forward pass with gradients, which such methods share.
    """

    equation: str
    source: str
    passes: str
    signed: bool
    leads: bool
    resolution: str
    blind_to: str
    sums_to: str = ""
    needs: tuple[str, ...] = ()
    one_pass: bool = True
    not_pictures: str = ""
    graph: bool = False


@dataclass(frozen=True)
class Method:
    """A method: its name, its card, and the function from a Pass to a map at its own resolution: (example, lead or 1, cell),
    or (example, 1, row, column) of pictures.
    """

    name: str
    card: Card
    function: Callable[..., Tensor]
    options: dict[str, Any]

    def __call__(self, batch: Pass) -> Tensor:
        return self.function(batch, **self.options)


_REGISTRY: dict[str, Method] = {}


def register(name: str, card: Card) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Put a function into the registry under a name of words with hyphens."""

    def put(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        _REGISTRY[name] = Method(name, card, function, {})
        return function

    return put


def methods() -> dict[str, Method]:
    """Every method by name."""
    from ecglens.attribution import cams, deeplift, gradients, lrp, masks, perturbation, published, trivial  # noqa: F401  they register

    return dict(_REGISTRY)


def find_method(name: str, options: dict[str, Any] | None = None) -> Method:
    """The method of that name, or `captum:NAME`; raises EcglensError with the near misses, or for an unknown option."""
    import inspect
    from dataclasses import replace

    if name.startswith("captum:"):
        from ecglens.attribution.from_captum import captum_method

        return captum_method(name, options or {})
    known = methods()
    if name not in known:
        raise EcglensError(
            f"unknown method {name!r}{did_you_mean(name, list(known))} (known: {', '.join(sorted(known))}, or captum:NAME)"
        )
    method = known[name]
    taken = list(inspect.signature(method.function).parameters)[1:]
    for option in options or {}:
        if option not in taken:
            raise EcglensError(
                f"{name} has no option {option!r}{did_you_mean(option, taken)} (it takes: {', '.join(taken) or 'none'})"
            )
    return replace(method, options=dict(options or {}))
