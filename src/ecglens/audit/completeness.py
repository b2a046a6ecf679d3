"""Does a map add up to what its method promises?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecglens.attribution import explain
from ecglens.attribution.passes import undisturbed
from ecglens.attribution.registry import find_method
from ecglens.audit.agreement import LEAST, why_no_maps
from ecglens.audit.finding import Finding, Measure, clear, found, not_run
from ecglens.audit.sanity import background_of, examples_for_maps
from ecglens.audit.subject import Subject
from ecglens.models.device import moved, pick_device

_MOST = 24  # examples
_OFF = 0.05  # of the difference
_MANY = 0.1  # share of examples
_SMALL = 0.05  # of the median difference, below which a share of it means nothing
_A_BASELINE, _MANY_BASELINES = "f(x) - f(x')", "f(x) - mean of f(x')"


def completeness(subject: Subject) -> Finding:
    """Share of examples whose map adds up to something more than 5 % off the difference of logits that the method promises.

    The logits are asked for anew, at the example and at the baseline. Examples whose difference is small beside the others'
    are left out. "low" for methods that draw samples: more of them mend it.
    """
    name, what = "explanation.completeness", "Whether maps add up to what the method promises"
    why = why_no_maps(subject)
    if why:
        return not_run(name, "explanation", what, why)
    assert subject.method is not None
    promise = find_method(subject.method, subject.map_options).card.sums_to
    if not promise.startswith((_A_BASELINE, _MANY_BASELINES)):
        told = (
            f"promises {promise}, which is no difference of answers" if promise else "does not promise to add up to anything"
        )
        return not_run(name, "explanation", what, f"{subject.method} {told}")
    rows = examples_for_maps(subject, _MOST)
    total, rise = sums_and_rises(subject, rows, several=promise.startswith(_MANY_BASELINES))
    large = np.abs(rise) > _SMALL * np.median(np.abs(rise))
    if large.sum() < LEAST:
        return not_run(name, "explanation", what, f"{int(large.sum())} answers differ from the baseline's; {LEAST} are needed")
    off = np.abs(total - rise)[large] / np.abs(rise[large])
    words = f"share of {int(large.sum())} examples whose map adds up to more than {_OFF:.0%} off what is promised"
    share = Measure(float((off > _OFF).mean()), words, where={"method": subject.method, "promised": promise})
    told = f"{subject.method} promises {promise}; in the median example its map is {np.median(off):.1%} off"
    if share.value > _MANY:
        return found(
            name, "explanation", "low" if promise.startswith(_MANY_BASELINES) else "medium",
            f"{told}, in {share.value:.0%} more than {_OFF:.0%}.", share,
            examples=subject.some_ids(rows[large][off > _OFF]),
            do="Take more steps or samples; where that does not help, the method's rules do not fit this net.",
        )  # fmt: skip
    return clear(name, "explanation", f"{told}.", share)


def sums_and_rises(
    subject: Subject, rows: NDArray[np.int64], *, several: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(sum of the map, logit less the baseline's or, if there are `several`, the mean of the background's) (example,)."""
    assert subject.method is not None
    classifier, part, behind = subject.classifier, subject.examples.take(rows), background_of(subject)
    target = classifier.logits(part).argmax(1)
    made = explain(
        classifier, part, [subject.method], target=target, background=behind,
        options={subject.method: subject.map_options}, seed=subject.seed, quiet=True,
    )  # fmt: skip
    total = np.asarray(made.native(subject.method)[:], np.float64).reshape(len(rows), -1).sum(1)
    with moved(classifier.module, pick_device()), undisturbed(classifier.module), torch.no_grad():
        x, *context = classifier.inputs(part)
        others = classifier.inputs(behind)[0]
        if not several:
            mean = subject.map_options.get("baseline", "zero") == "mean"
            others = others.mean(dim=0, keepdim=True) if mean else torch.zeros_like(x[:1])

        def score(inputs: Tensor) -> NDArray[np.float64]:
            logits = classifier.module(inputs, *context).double().cpu().numpy()
            return np.asarray(logits[np.arange(len(rows)), target], np.float64)

        rise = score(x) - np.mean([score(other.expand_as(x)) for other in others], axis=0)
    return total, rise
