"""What is kept of one net of the benchmark: the audit's answers, and where maps peak, against what is known."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.regions import mass_inside
from ecglens.attribution import explain
from ecglens.audit.confounders import claims, sign_findings
from ecglens.audit.finding import FOUND
from ecglens.audit.signs import find_sign
from ecglens.examples.examples import Examples
from ecglens.examples.regions import inside
from ecglens.examples.splits import TRAIN
from ecglens.studies.planting import Mark, Outcome, place_ms
from ecglens.training.metrics import ranking_scores

METHODS = (
    "saliency", "smoothgrad", "input-x-gradient", "integrated-gradients", "expected-gradients", "deeplift", "guided-backprop",
    "grad-cam", "guided-grad-cam", "occlusion", "magnitude", "slope", "random",
)  # fmt: skip
_MOST = 24  # examples whose maps are measured
NEAR_MS = 100.0
_REACH_MS = 10.0  # that a span is widened by, either side: a mark may be one sample


def told(done: Outcome, mark: Mark | None) -> dict[str, Any]:
    """The audit of a net, and its maps where a place or evidence is known; plain data."""
    started = time.monotonic()
    findings = sign_findings(done.subject)
    audited = time.monotonic() - started
    kept = [
        {"sign": each.where.get("sign"), "class": each.where.get("class"), "severity": each.severity, "number": each.number,
         "place_ms": float(each.where["ms from R"]) if "ms from R" in each.where else None}
        for each in findings if each.state == FOUND
    ]  # fmt: skip
    out: dict[str, Any] = {
        "accuracy": float(done.right.mean()), "n": len(done.clean), "findings": kept,
        "not_run": [each.id for each in findings if each.state == "not run"], "moved": done.moved, "live": done.live,
        "place_ms": place_ms(done), "marked": None if done.planted is None else len(done.planted.rows), "audit_s": audited,
    }  # fmt: skip
    if mark is not None and done.live and find_sign(mark.kind).has_place:
        out["maps"] = maps_at_marks(done, mark)
    if mark is None and done.clean.evidence is not None:
        out["evidence"] = maps_at_evidence(done)
    return out


def maps_at_marks(done: Outcome, mark: Mark) -> list[dict[str, Any]]:
    """A row for each method: do maps of test beats of other classes that the mark moved to its class lie on the mark?

    near: share whose peak in time is within 100 ms of the mark's middle (of padding: its edge); pointing: share whose peak is
    inside the mark, 10 ms more either side; mass: share of the map in there; area: of the time. The map of the class, its
    size added up over leads.
    """
    classifier, label = done.subject.classifier, done.clean.classes.index(mark.class_name)
    asked = done.asked
    rows = asked[done.clean.labels[asked] != label]
    rows = rows[~claims(classifier, done.clean.take(rows), label)]
    before = done.clean.take(rows)
    after = find_sign(mark.kind).put(before, mark.strength, np.random.default_rng([done.subject.seed, 42]))
    moved = np.flatnonzero(claims(classifier, after, label))
    moved = np.sort(np.random.default_rng([done.subject.seed, 91]).permutation(moved)[:_MOST])
    before, after = before.take(moved), after.take(moved)
    span, place = spans(before, after)
    maps = _maps(done, after, np.full(len(after), label))
    return [{"method": name} | _at(size, span, place, after.fs) for name, size in maps.items()]


def spans(before: Examples, after: Examples) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Where a mark is, bool (example, time), 10 ms more either side, and its middle in samples; of padding, its edge."""
    time = np.arange(after.length)
    start, stop = (after.column(name) for name in ("valid_start", "valid_stop"))
    shorter = (stop < before.column("valid_stop")) | (start > before.column("valid_start"))
    change = np.abs(after.signals.astype(np.float64) - before.signals).max(axis=1)
    marked = (change > 0) & (change >= change.max(axis=1, keepdims=True) / 2)
    padded = (time < start[:, None]) | (time >= stop[:, None])
    marked = np.where(shorter[:, None], padded, marked)
    middle = (marked * time).sum(axis=1) / np.maximum(marked.sum(axis=1), 1)
    place = np.where(shorter, np.where(stop < before.column("valid_stop"), stop, start), middle)
    reach = round(_REACH_MS / 1000 * after.fs)
    wide = np.zeros_like(marked)
    for by in range(-reach, reach + 1):
        wide[:, max(by, 0) : marked.shape[1] + min(by, 0)] |= marked[:, max(-by, 0) : marked.shape[1] - max(by, 0)]
    return wide, place


def maps_at_evidence(done: Outcome) -> list[dict[str, Any]]:
    """A row for each class and method: do maps of simulated test beats, rightly told, lie on what makes them differ?

    Of the classes other than N. mass: share of the map on evidence, of all leads and samples; area: share of these; pointing:
    share of the maps whose largest value is there; auc: of telling samples of evidence from others by the map's size, mean
    over examples.
    """
    examples, out = done.clean, []
    assert examples.evidence is not None
    some = np.flatnonzero((examples.evidence.stop > examples.evidence.start).any(axis=1))
    for label, name in enumerate(examples.classes):
        rows = done.asked[done.right & np.isin(done.asked, some) & (examples.labels[done.asked] == label)]
        if name == "N" or not len(rows):
            continue
        rows = np.sort(np.random.default_rng([done.subject.seed, 92]).permutation(rows)[:_MOST])
        part = examples.take(rows)
        assert part.evidence is not None
        where = inside(part.evidence, *part.signals.shape[1:])
        maps = _maps(done, part, part.labels)
        out += [{"method": method, "class": name} | on_evidence(size, where) for method, size in maps.items()]
    return out


def on_evidence(size: NDArray[np.float32], where: NDArray[np.bool_]) -> dict[str, float]:
    """The numbers of `maps_at_evidence` of map sizes (example, lead or 1, time) and evidence (example, lead, time)."""
    size = np.broadcast_to(size, where.shape)
    flat, truth = size.reshape(len(size), -1), where.reshape(len(size), -1)
    auc = [ranking_scores(own, values)[0][0] for own, values in zip(truth, flat, strict=True)]
    return {
        "n": len(size),
        "mass": float(np.nanmean(mass_inside(size, where))),
        "area": float(where.mean()),
        "pointing": float(truth[np.arange(len(flat)), flat.argmax(axis=1)].mean()),
        "auc": float(np.nanmean(auc)),
    }


def _maps(done: Outcome, part: Examples, target: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Sizes of the maps (example, lead or 1, time) of the target by each of `METHODS`."""
    split = done.subject.split
    assert split is not None
    train = np.flatnonzero(split == TRAIN)
    behind = done.subject.examples.take(np.sort(np.random.default_rng([done.subject.seed, 9]).permutation(train)[:64]))
    found = explain(
        done.subject.classifier, part, METHODS, target=target, background=behind, seed=done.subject.seed, quiet=True
    )  # fmt: skip
    return {name: np.abs(np.asarray(found[name][:])) for name in METHODS}


def peaks(course: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """The sample of the largest value (example,); of a plateau its middle."""
    highest = course >= course.max(axis=1, keepdims=True)
    first, last = highest.argmax(axis=1), course.shape[1] - 1 - highest[:, ::-1].argmax(axis=1)
    run = np.cumprod(np.where(np.arange(course.shape[1]) < first[:, None], True, highest), axis=1).sum(axis=1) - 1
    return np.asarray((first + np.minimum(run, last)) // 2, np.int64)


def _at(size: NDArray[np.float32], span: NDArray[np.bool_], place: NDArray[np.float64], fs: float) -> dict[str, float]:
    course = size.sum(axis=1)
    peak = peaks(course)
    return {
        "n": len(course),
        "near": float((np.abs(peak - place) <= NEAR_MS / 1000 * fs).mean()),
        "pointing": float(span[np.arange(len(span)), peak].mean()),
        "mass": float(np.nanmean(mass_inside(course[:, None], span[:, None]))),
        "area": float(span.mean()),
    }
