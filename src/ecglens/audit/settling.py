"""Are maps that are searched for, or summed over steps, the ones that more steps would give?"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.attribution.registry import find_method
from ecglens.audit.finding import Finding, Measure, clear, found, not_run
from ecglens.audit.sanity import examples_for_maps, maps_of
from ecglens.audit.subject import Subject
from ecglens.examples.examples import Examples

_MOST = 12  # examples
_STILL = 0.02  # of a map's mean size: what moves less has settled
_SAME = 1e-5  # of a map's largest size: rounding
_ON_THE_WAY = 0.5  # of what it moved before


def settled(subject: Subject) -> Finding:
    """Do maps stand still when their method works twice as long? Of all methods shown, the one that moves most.

    A map that has settled moves less from s to 2 s steps than it did from s / 2 to s; one that marches on moves more. What
    moves by less than a fiftieth of the map's mean size counts as still. Methods without steps have nothing to settle. Of a
    method that doubles its own steps, s is what each example took. Empty maps have nothing to settle; a method most of whose
    maps are empty is left out.
    """
    name, what = "explanation.unsettled", "Whether maps stand still when their method works longer"
    stepped = {method: options for method, options in _shown(subject).items() if _steps(method, options) >= 2}
    if not stepped:
        return not_run(name, "explanation", what, "no method whose maps are shown works in steps")
    some = _explained(subject)
    if isinstance(some, str):
        return not_run(name, "explanation", what, some)
    rows, part, target = some
    ways, taken, empty = {}, {}, {}
    for method, options in stepped.items():
        half, whole, double, steps_of = _course(subject, method, options, part, target)
        there = np.abs(whole).max(axis=(1, 2), initial=0) + np.abs(double).max(axis=(1, 2), initial=0) > 0
        empty[method] = int((~there).sum())
        if 2 * empty[method] <= len(rows):
            ways[method], taken[method] = _way(half, whole, double)[there], steps_of[there]
    if not ways:
        return not_run(name, "explanation", what, _said_empty(empty, len(rows)))
    worst = max(ways, key=lambda method: float(np.median(ways[method])))
    low, high = np.percentile(ways[worst], [5, 95]).tolist()
    least, most = int(taken[worst].min()), int(taken[worst].max())
    steps = str(least) if least == most else f"{least} to {most}"
    apart = "".join(f"; {count} empty maps of {method} left out" for method, count in empty.items() if count)
    course = f"from {least} to {2 * least} steps, by what it moved from {least // 2} to {least}"
    if least < most:
        course = f"in twice the steps that it took ({steps}), by what it moved in the second half of them"
    words = f"what a map moves {course}, 0 where it stands still; median of {len(ways[worst])} examples (5 % to 95 %){apart}"
    middle = Measure(float(np.median(ways[worst])), words, low, high, {"method": worst, "steps": steps})
    if middle.value > _ON_THE_WAY:
        return found(
            name, "explanation", "high" if middle.value > 1 else "medium",
            f"{worst} is on its way when it stops, after {steps} steps: as long again moves its maps {middle.value:.2f} times "
            "as far as the second half did. What is shown is where the search happened to stop.",
            middle, examples=subject.some_ids(rows), do="Go on until maps stand still, and report the share that does.",
        )  # fmt: skip
    return clear(name, "explanation", f"The maps of {worst} stand still, or nearly, after {steps} steps.", middle)


def _course(
    subject: Subject, method: str, options: dict[str, Any], part: Examples, target: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Maps after half the steps, as shown, and after twice the steps, and the steps that each example (example,) took."""
    takes = inspect.signature(find_method(method).function).parameters
    doubles = "most_steps" in takes
    first = _steps(method, options)
    most = int(options.get("most_steps", takes["most_steps"].default)) if doubles else first
    made: dict[int, NDArray[np.float32]] = {}

    def after(n: int) -> NDArray[np.float32]:
        """Maps of exactly n steps."""
        if n not in made:
            exactly = {"steps": n} | ({"most_steps": n, "tolerance": 0.0} if doubles else {})
            made[n] = maps_of(replace(subject, method=method, map_options=options | exactly), part, target)
        return made[n]

    shown = maps_of(replace(subject, method=method, map_options=options), part, target) if doubles else after(first)
    taken = np.full(len(part), first)
    if doubles:
        # a method that doubles its steps does not say how often: each example took the first number that gives its map
        while True:
            n = int(taken.max())
            size = np.abs(shown).max(axis=(1, 2), initial=0)
            on = (taken == n) & (np.abs(after(n) - shown).max(axis=(1, 2), initial=0) > _SAME * size)
            if 2 * n > most or not on.any():
                break
            taken[on] = 2 * n
    half, double = np.empty_like(shown), np.empty_like(shown)
    for n in np.unique(taken).tolist():
        half[taken == n], double[taken == n] = after(n // 2)[taken == n], after(2 * n)[taken == n]
    return half, shown, double, taken


def _way(half: NDArray[np.floating], whole: NDArray[np.floating], double: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far each map (example, lead, time) goes on, by how far it came last; 0 where that is less than `_STILL`."""
    before, after = (np.abs(b - a).mean(axis=(1, 2), dtype=np.float64) for a, b in ((half, whole), (whole, double)))
    size = np.maximum(np.abs(whole).mean(axis=(1, 2), dtype=np.float64), np.abs(double).mean(axis=(1, 2), dtype=np.float64))
    return np.where(after > _STILL * size, after / np.maximum(before, 1e-12 + _STILL * size / 10), 0.0)


def _explained(subject: Subject) -> tuple[NDArray[np.int64], Examples, NDArray[np.int64]] | str:
    """Rows that are explained, their examples and the class that each is given; or why there are none."""
    if subject.classifier.draws:
        return "the net sees pictures, whose maps have no samples"
    rows = examples_for_maps(subject, _MOST)
    if not len(rows):
        return "there is no example to explain"
    part = subject.examples.take(rows)
    return rows, part, subject.classifier.logits(part).argmax(1)


def even(subject: Subject) -> Finding:
    """Does a map say where at all, or is it nearly the same everywhere? Of all methods shown, the most even one.

    An example's evenness is the 10th percentile of |map| over the signal by its mean: 1 for a map that is the same everywhere.
    Empty maps have none, and are counted apart; a method most of whose maps are empty is left out.
    """
    name, what = "explanation.even", "Whether maps say where"
    shown = _shown(subject)
    if not shown:
        return not_run(name, "explanation", what, "no method is named whose maps are shown")
    some = _explained(subject)
    if isinstance(some, str):
        return not_run(name, "explanation", what, some)
    rows, part, target = some
    known = part.column("valid_start"), part.column("valid_stop")
    time = np.arange(part.length)
    valid = (time >= known[0][:, None]) & (time < known[1][:, None])
    by = {}
    for method, options in shown.items():
        maps = np.abs(maps_of(replace(subject, method=method, map_options=options), part, target)).mean(axis=1)
        by[method] = np.array([_evenness(row[there]) for row, there in zip(maps, valid, strict=True)])
    empty = {method: int(np.isnan(values).sum()) for method, values in by.items()}
    by = {method: values[~np.isnan(values)] for method, values in by.items() if 2 * empty[method] <= len(rows)}
    if not by:
        return not_run(name, "explanation", what, _said_empty(empty, len(rows)))
    worst = max(by, key=lambda method: float(np.median(by[method])))
    low, high = np.percentile(by[worst], [5, 95]).tolist()
    apart = "".join(f"; {count} empty maps of {method} left out" for method, count in empty.items() if count)
    words = (
        f"10th percentile of a map by its mean, median over {len(by[worst])} examples (5 % to 95 %); 1 is the same "
        f"everywhere{apart}"
    )
    middle = Measure(float(np.median(by[worst])), words, low, high, {"method": worst})
    if middle.value > 0.9:
        return found(
            name, "explanation", "medium",
            f"The maps of {worst} are nearly the same everywhere in the signal: they do not say where.", middle,
            examples=subject.some_ids(rows), do="Do not draw conclusions from them; choose another method or other options.",
        )  # fmt: skip
    return clear(name, "explanation", f"The most even maps, those of {worst}, say where.", middle)


def _shown(subject: Subject) -> dict[str, dict[str, Any]]:
    """All methods whose maps are shown, with their options."""
    return ({} if subject.method is None else {subject.method: subject.map_options}) | subject.further


def _said_empty(empty: dict[str, int], n: int) -> str:
    return "the maps are empty: " + ", ".join(f"{count} of {n} of {method}" for method, count in empty.items())


def _evenness(values: NDArray[np.floating]) -> float:
    """NaN for an empty map."""
    mean = float(values.mean()) if len(values) else 0.0
    return float(np.percentile(values, 10)) / mean if mean > 0 else np.nan


def _steps(method: str, options: dict[str, Any]) -> int:
    """Steps of a method that searches or sums, 0 where it has none."""
    takes = inspect.signature(find_method(method).function).parameters
    return int(options.get("steps", takes["steps"].default if "steps" in takes else 0))
