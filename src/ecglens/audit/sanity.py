"""Can the maps be believed at all? Do they depend on the class, on the weights, on time; are they of what the net saw?"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecglens.analysis.course import rank_correlation
from ecglens.analysis.dependence import class_dependence
from ecglens.attribution import explain
from ecglens.audit.finding import Finding, Measure, clear, found, not_run
from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier

_MOST = 60  # examples on which maps are compared
_ENOUGH = 6  # examples that must be left
_KEPT = 0.1  # by which a probability may change and the answer counts as the same
_SAME = 0.02  # share of a map that changes, below which it counts as the same


def examples_for_maps(subject: Subject, most: int = _MOST) -> NDArray[np.int64]:
    """Rows to explain: as many of each class as there is room for, tested ones where some are; sorted."""
    rows = np.arange(len(subject.examples)) if subject.asked is None else np.unique(subject.asked)
    rng = np.random.default_rng([subject.seed, 61])
    truth = subject.truth[rows]
    each = max(1, most // max(int(truth.any(0).sum()), 1))
    parts = [rng.permutation(rows[truth[:, k]])[:each] for k in range(truth.shape[1])]
    return np.unique(np.concatenate(parts))[:most]


def maps_of(
    subject: Subject, part: Examples, target: NDArray[np.int64], classifier: Classifier | None = None
) -> NDArray[np.float32]:
    """Maps (example, lead or 1, time) by the method that is audited, of its model or of another one of that shape."""
    assert subject.method is not None
    made = explain(
        classifier or subject.classifier, part, [subject.method], target=target, background=background_of(subject),
        options={subject.method: subject.map_options} if subject.map_options else None, seed=subject.seed, quiet=True,
    )  # fmt: skip
    return np.asarray(made[subject.method][:])


def background_of(subject: Subject, n: int = 64) -> Examples:
    """Examples that stand for 'nothing known', from the training side where there is one."""
    rows = np.arange(len(subject.examples)) if subject.split is None or not len(subject.learnt) else subject.learnt
    return subject.examples.take(np.sort(np.random.default_rng([subject.seed, 9]).permutation(rows)[:n]))


def class_sensitivity(subject: Subject) -> Finding:
    """Does the map change when another class is asked about?"""
    name, what = "explanation.class-free", "Whether the map depends on the class"
    if subject.method is None:
        return not_run(name, "explanation", what, "no method is named whose maps are shown")
    if len(subject.examples.classes) < 2:
        return not_run(name, "explanation", what, "the model has one class; two are needed")
    rows = examples_for_maps(subject)
    part = subject.examples.take(rows)
    order = np.argsort(subject.classifier.logits(part), axis=1)
    table = class_dependence(subject.method, subject.classifier, part, order[:, -1], order[:, -2])
    change = table["change"].to_numpy()
    low, high = np.percentile(change, [5, 95]).tolist()
    words = f"median share of the map that changes with the class, over {len(rows)} examples (5 % to 95 %)"
    middle = Measure(float(np.median(change)), words, low, high, {"method": subject.method})
    if middle.value < _SAME:
        return found(
            name, "explanation", "high",
            f"Asked about another class, {subject.method} draws the same map ({middle.value:.1%} of it changes): it does not "
            "say what speaks for a class, and class maps made of it differ only because the examples do.",
            middle, examples=subject.some_ids(rows),
            do="Explain the class's logit, such as with saliency or integrated gradients.",
        )  # fmt: skip
    return clear(name, "explanation", f"{middle.value:.0%} of a map by {subject.method} changes with the class.", middle)


class _Bounded(nn.Module):
    """The same net, but inputs are cut to a range: equal to it wherever data lie."""

    def __init__(self, net: nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.net, self.low, self.high = net, low, high

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        out: Tensor = self.net(x.clamp(self.low, self.high), *context)
        return out


def foreign_input(subject: Subject) -> Finding:
    """Are the maps of inputs such as the net was given, or of others?

    The net is compared with one that is equal to it on all inputs up to half a range beyond the data (zero included), and cut
    off farther out. A map of what the net saw is the same for both; one that changes was made where no data are.
    """
    name, what = "explanation.foreign-input", "Whether the maps are of what the net saw"
    if subject.method is None:
        return not_run(name, "explanation", what, "no method is named whose maps are shown")
    if subject.classifier.draws:
        return not_run(name, "explanation", what, "the net sees pictures, which are drawn inside it")
    rows = examples_for_maps(subject, 12)
    part = subject.examples.take(rows)
    bounded, low, high = _bounded(subject)
    target = subject.classifier.logits(part).argmax(1)
    one = maps_of(subject, part, target)
    try:
        other = maps_of(subject, part, target, bounded)
    except EcglensError as error:
        return not_run(name, "explanation", what, f"{subject.method} does not take a net whose input is cut off ({error})")
    size = (np.abs(one) + np.abs(other)).sum(axis=(1, 2), dtype=np.float64)
    change = np.abs(one - other).sum(axis=(1, 2), dtype=np.float64) / np.where(size > 0, size, 1)
    words = "median share of the map that changes where the net is changed only far beyond all data"
    middle = Measure(float(np.median(change)), words, where={"method": subject.method})
    if middle.value > _SAME:
        return found(
            name, "explanation", "high",
            f"{subject.method} asks the net about inputs far beyond those that it is given (they lie between {low:.3g} and "
            f"{high:.3g}): {middle.value:.0%} of its map is of a regime that the net never saw.",
            middle, examples=subject.some_ids(rows), do="Make maps on the input as the net is given it, in its own units.",
        )  # fmt: skip
    return clear(name, "explanation", f"{subject.method} asks about inputs such as the data are.", middle)


def _bounded(subject: Subject) -> tuple[Classifier, float, float]:
    """The classifier with inputs cut off half a range beyond those of some examples, and the range of the examples."""
    classifier = subject.classifier
    rows = np.sort(np.random.default_rng([subject.seed, 62]).permutation(len(subject.examples))[:2000])
    x = classifier.inputs(subject.examples.take(rows))[0]
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    beyond = 0.5 * (high - low)
    layer = None if classifier.cam_layer is None else f"net.{classifier.cam_layer}"
    module = _Bounded(classifier.module, low - beyond, high + beyond)
    return replace(classifier, module=module, cam_layer=layer), low, high


def follows_time(subject: Subject) -> Finding:
    """Does the map move with the signal? Signals are turned round in time by a quarter; the map must turn with them.

    Only examples whose class keeps its probability count, and half must: a net that reads places, as of beats around R, has
    other maps there.
    """
    name, what = "explanation.no-time", "Whether the map moves with the signal"
    if subject.method is None:
        return not_run(name, "explanation", what, "no method is named whose maps are shown")
    if subject.classifier.draws or subject.classifier.context is not None:
        return not_run(name, "explanation", what, "the net is told where the signal is, so that it cannot be moved alone")
    rows = examples_for_maps(subject, 48)
    part = subject.examples.take(rows)
    by = part.length // 4
    moved = replace(part, signals=np.ascontiguousarray(np.roll(part.signals, by, axis=2)))
    logits = [subject.classifier.logits(each) for each in (part, moved)]
    target = logits[0].argmax(1)
    before, after = (subject.classifier.probabilities(each)[np.arange(len(rows)), target] for each in logits)
    kept = np.flatnonzero(np.abs(after - before) <= _KEPT)
    needed = max(_ENOUGH, len(rows) // 2)
    if len(kept) < needed:
        why = f"{len(kept)} of {len(rows)} answers stay when the signal is moved by a quarter; {needed} are needed"
        return not_run(name, "explanation", what, why)
    rows, target = rows[kept], target[kept]
    still, turned = (maps_of(subject, each.take(kept), target) for each in (part, moved))
    follows = rank_correlation(np.roll(still, by, axis=2), turned)
    stays = rank_correlation(still, turned)
    known = ~np.isnan(follows) & ~np.isnan(stays)
    if known.sum() < _ENOUGH:
        return not_run(name, "explanation", what, f"{int(known.sum())} maps are not the same everywhere; {_ENOUGH} are needed")
    follow, stay = float(np.median(follows[known])), float(np.median(stays[known]))
    words = "rank correlation of the map with itself moved along with the signal, less that with itself unmoved, over "
    more = Measure(follow - stay, f"{words}{int(known.sum())} examples whose answer stays", where={"method": subject.method})
    told = f"(rank correlation {follow:.2f} with where they should be, {stay:.2f} with where they were)"
    if follow < 0.5 and stay > follow + 0.2 and float((stays[known] > follows[known]).mean()) >= 0.75:
        return found(
            name, "explanation", "high",
            f"The signal was moved by a quarter of its length, the answers stayed, and so did the maps {told}: what "
            f"{subject.method} draws along time is not time.",
            more, examples=subject.some_ids(rows), do="Do not read places off these maps; see what the map's axis really is.",
        )  # fmt: skip
    if follow <= stay:
        return not_run(name, "explanation", what, f"the maps neither follow the signal nor clearly stay {told}")
    return clear(name, "explanation", f"The maps move with the signal {told}.", more)


def depends_on_weights(subject: Subject) -> Finding:
    """Cascading randomisation: do the maps change when layers, from the last to the first, get random weights?"""
    name, what = "explanation.weights", "Whether the map depends on what the net has learnt"
    if subject.method is None:
        return not_run(name, "explanation", what, "no method is named whose maps are shown")
    rows = examples_for_maps(subject, 24)
    part = subject.examples.take(rows)
    target = subject.classifier.logits(part).argmax(1)
    learnt = np.abs(maps_of(subject, part, target))
    values = []
    for fresh in randomised(subject.classifier, subject.seed):
        values.append(float(np.nanmedian(rank_correlation(learnt, np.abs(maps_of(subject, part, target, fresh))))))
    words = f"median rank correlation of the maps' sizes with those of the net with all its {len(values)} stages at random"
    by_stage = ", ".join(f"{value:.2f}" for value in values)
    last = Measure(values[-1], words, where={"method": subject.method, "from the last stage to the first": by_stage})
    if last.value > 0.5:
        return found(
            name, "explanation", "high" if last.value > 0.8 else "medium",
            f"With all weights at random {subject.method} still draws much the same map (rank correlation {last.value:.2f}): "
            "it shows the signal or the architecture more than what was learnt.",
            last, examples=subject.some_ids(rows), do="Use a method whose maps change with the weights.",
        )  # fmt: skip
    return clear(name, "explanation", f"With random weights the maps are others (rank correlation {last.value:.2f}).", last)


def randomised(classifier: Classifier, seed: int, stages: int = 4) -> Iterator[Classifier]:
    """The classifier with the last quarter of its layers at random, then the last half, three quarters, all.

    Each layer's values are its own ones in another order, so that their size stays; statistics of batch norms too.
    """
    module = copy.deepcopy(classifier.module)
    layers = [child for child in module.modules() if any(True for _ in child.parameters(recurse=False))]
    generator = torch.Generator().manual_seed(seed)
    done = 0
    for stage in range(1, stages + 1):
        stop = -(-len(layers) * stage // stages)
        for layer in layers[::-1][done:stop]:
            _shuffle(layer, generator)
        done = stop
        yield replace(classifier, module=module)


def _shuffle(layer: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for value in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)):
            if value.is_floating_point() and value.numel() > 1:
                order = torch.randperm(value.numel(), generator=generator)
                value.copy_(value.flatten()[order].reshape(value.shape))
