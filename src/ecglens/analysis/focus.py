"""Focus: how much of a map lies in a region (relevance mass), for any map and any region, beside what chance would give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.intervals import ratio_over_patients
from ecglens.errors import EcglensError, choose
from ecglens.examples.boxes import Boxes, box_areas, box_sums, boxes_of, common, joined
from ecglens.examples.regions import Regions

Array = NDArray[np.float64]

PARTS = ("magnitude", "positive", "negative")
EMPTY = ("leave-out", "zero")
_WITHIN = "(within)"  # the name under which `focus` hands on its own `within`
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Focus:
    """How much of each map lies in each region.

    names: of the regions; share (example, region): mass in the region / mass of the whole map, NaN for an empty map; area
    (example, region): what a uniform map would have, so the random focus of this very example, 0 where it has no such region;
    empty bool (example,): what was counted, the map or what of it lies `within`, has no mass at all, exactly 0: a map of
    1e-30 everywhere is not empty; outside (example,): share of the map's mass that was not counted, NaN where it has none.
    """

    names: tuple[str, ...]
    share: Array
    area: Array
    empty: NDArray[np.bool_]
    outside: Array

    @property
    def enrichment(self) -> Array:
        """share / area (example, region): 1 is no more than chance; NaN for an empty map, or without a region."""
        return np.divide(self.share, self.area, out=np.full(self.share.shape, np.nan), where=self.area > 0)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Focus:
        """The focus of the examples at `rows`."""
        return Focus(self.names, self.share[rows], self.area[rows], self.empty[rows], self.outside[rows])


def focus(maps: Any, where: Boxes | Regions, *, part: str = "magnitude", within: Boxes | None = None) -> Focus:
    """Focus of each map on each region.

    maps: (example, row, column), (example, 1, row, column), or (example, lead, time), at any resolution; Regions count samples
    of the maps' last axis (for coarser maps: `boxes_of`). part: the mass is the "magnitude" of all values, the "positive" ones
    alone, or the size of the "negative" ones. within: mass and area are counted inside these boxes alone, and regions are
    cut to them (for padded signals). Boxes of one name are one region. Raises EcglensError for maps with NaN or infinite
    values, boxes of one name that overlap, an unknown part, numbers that do not fit. Source: Varandas 2021, focus; area
    share and rule for empty maps are ours.
    """
    choose(part, list(PARTS), "part")
    if isinstance(where, Regions):
        if maps.ndim != 3:
            raise EcglensError(f"maps have shape {tuple(maps.shape)}; Regions are of signals, pictures need Boxes")
        where = boxes_of(where, *maps.shape[1:])
    if within is not None:
        within = replace(within, names=(_WITHIN,) * len(within.names))
        where = joined(common(where, within), within)
    sums = box_sums(maps, joined(where, _whole(len(where))), part=part)
    return _focus(sums, where, None if within is None else _WITHIN)


def focus_of_sums(
    positive: NDArray[np.floating[Any]],
    negative: NDArray[np.floating[Any]],
    boxes: Boxes,
    *,
    part: str = "magnitude",
    within: str | None = None,
) -> Focus:
    """Focus from sums that were kept instead of the maps, as `explain(keep=boxes)` keeps them.

    positive, negative: sums of the positive values, and of the size of the negative ones, in each box (example, box + 1); the
    last column is the whole map. within: name of the boxes that mass and area are counted in; all others have to lie inside
    them (`ecglens.examples.boxes.common`). Raises EcglensError as `focus`.
    """
    choose(part, list(PARTS), "part")
    expected = (len(boxes), len(boxes.names) + 1)
    if positive.shape != expected or negative.shape != expected:
        raise EcglensError(f"sums are {positive.shape} and {negative.shape}; expected (example, box + 1), here {expected}")
    if within is not None:
        choose(within, sorted(set(boxes.names)), "region to count within")
    up, down = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    return _focus({"magnitude": up + down, "positive": up, "negative": down}[part], boxes, within)


def _focus(sums: Array, boxes: Boxes, within: str | None) -> Focus:
    """Focus from sums of one part of the map (example, box + 1)."""
    bad = ~np.isfinite(sums).all(1)
    if bad.any():
        raise EcglensError(f"{bad.sum()} of {len(sums)} maps hold NaN or infinite values, or sums that do; drop them")
    _expect_apart(boxes)
    areas, whole = box_areas(boxes), sums[:, -1]
    every = tuple(dict.fromkeys(boxes.names))
    # rounding may leave -1e-17 of what is 0
    mass, area = (_by_name(each, boxes.names, every) for each in (np.maximum(sums[:, :-1], 0), areas))
    base_mass, base_area = whole, np.ones(len(sums))
    if within is not None:
        base_mass, base_area = (each[:, every.index(within)] for each in (mass, area))
        _expect_inside(boxes, area, every, within)
    kept = [k for k, name in enumerate(every) if name != within]
    return Focus(
        tuple(every[k] for k in kept),
        _ratio(mass[:, kept], base_mass[:, None]),
        _ratio(area[:, kept], base_area[:, None]),
        base_mass == 0,
        np.clip(_ratio(whole - base_mass, whole), 0, 1),
    )


def _whole(n: int) -> Boxes:
    return Boxes(("whole",), np.zeros((n, 1)), np.ones((n, 1)), np.zeros((n, 1)), np.ones((n, 1)))


def _by_name(values: Array, names: tuple[str, ...], every: tuple[str, ...]) -> Array:
    """Boxes of one name added up: (example, name)."""
    member = np.array([[name == one for one in every] for name in names], float).reshape(len(names), len(every))
    return values @ member


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _expect_apart(boxes: Boxes) -> None:
    """Boxes of one name share no area: what lies in two of them would count twice."""
    for name in [name for name, count in Counter(boxes.names).items() if count > 1]:
        mine = [k for k, each in enumerate(boxes.names) if each == name]
        twice = _overlap(*(side[:, mine] for side in (boxes.top, boxes.bottom, boxes.left, boxes.right)))
        if twice.any():
            raise EcglensError(f"boxes named {name!r} overlap in {twice.sum()} examples; give them names of their own")


def _overlap(top: Array, bottom: Array, left: Array, right: Array) -> NDArray[np.bool_]:
    """Examples in which any two boxes (example, box) share area."""
    # what has no area shares none; it goes behind all others, where nothing reaches it
    left = np.where((bottom - top > _TOLERANCE) & (right - left > _TOLERANCE), left, np.inf)
    order = np.argsort(left, axis=1)
    top, bottom, left, right = (np.take_along_axis(each, order, axis=1) for each in (top, bottom, left, right))
    twice = np.zeros(len(left), bool)
    for on in range(1, left.shape[1]):
        # where no box reaches the one that begins `on` later, none reaches any that begins after that
        if not (right[:, :-on] - left[:, on:] > _TOLERANCE).any():
            break
        wide = np.minimum(right[:, :-on], right[:, on:]) - left[:, on:]
        high = np.minimum(bottom[:, :-on], bottom[:, on:]) - np.maximum(top[:, :-on], top[:, on:])
        twice |= ((wide > _TOLERANCE) & (high > _TOLERANCE)).any(1)
    return twice


def _expect_inside(boxes: Boxes, area: Array, every: tuple[str, ...], within: str) -> None:
    columns = np.array([name == within for name in boxes.names])
    sides = (getattr(boxes, side)[:, columns] for side in ("top", "bottom", "left", "right"))
    cut = common(boxes, Boxes((within,) * int(columns.sum()), *sides))
    lost = np.abs(_by_name(box_areas(cut), cut.names, every) - area).max(0) > _TOLERANCE
    if lost.any():
        names = ", ".join(name for name, one in zip(every, lost, strict=True) if one)
        raise EcglensError(f"{names} reach outside {within!r}; cut them first (ecglens.examples.boxes.common)")


def groups_of(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: tuple[str, ...]
) -> dict[str, NDArray[np.bool_]]:
    """The groups of the paper's tables as masks (example,): all; right, wrong (as classified); each class (the true one)."""
    groups = {"all": np.ones(len(truth), bool), "right": truth == predicted, "wrong": truth != predicted}
    return groups | {name: truth == label for label, name in enumerate(classes)}


def focus_table(
    found: Focus,
    groups: Mapping[str, NDArray[np.bool_]] | NDArray[Any],
    patients: NDArray[Any],
    *,
    empty: str = "leave-out",
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """A row per group and region, in the order given; groups without an example are left out.

    groups: name to mask (example,), see `groups_of`, or labels (example,), each a group. empty: empty maps are left out
    of all but n, patients, empty and empty_rate, or count as a focus of "zero" (the published numbers). Columns: group,
    region, n, patients, empty, empty_rate; without, examples that have no such region (their focus is 0, as is their
    random focus); focus (mean), focus_sd, focus_median; focus_low, focus_high, 95 % over patients; random, random_sd (the area
    share); enrichment (focus / random, both means), enrichment_low, enrichment_high. sd: of the examples, divided by their
    number. Intervals are NaN with fewer than two patients. Raises EcglensError where lengths differ, for another `empty`.
    """
    choose(empty, list(EMPTY), "rule for empty maps")
    if not isinstance(groups, Mapping):
        labels = np.asarray(groups)
        groups = {str(label): labels == label for label in pd.unique(labels)}
    for name, mask in groups.items():
        if not len(mask) == len(patients) == len(found.empty):
            raise EcglensError(
                f"focus of {len(found.empty)} examples, {len(patients)} patients, {len(mask)} in group {name!r}; "
                "expected the same number"
            )
    rows: list[dict[str, Any]] = []
    for name, mask in groups.items():
        if np.asarray(mask).any():
            rows += _rows(name, found.take(np.asarray(mask, bool)), np.asarray(patients)[mask], empty, replicates, seed)
    return pd.DataFrame(rows)


def _rows(group: str, found: Focus, patients: NDArray[Any], empty: str, replicates: int, seed: int) -> list[dict[str, Any]]:
    """The rows of one group."""
    somewhere = ~np.isnan(found.area).any(1)  # else there is nothing to look at
    counted = somewhere & (~found.empty | (empty == "zero"))
    share, area = np.nan_to_num(found.share[counted], nan=0.0), found.area[counted]
    over = {"replicates": replicates, "seed": seed}
    focus_low, focus_high = ratio_over_patients(share, np.ones_like(share), patients[counted], **over)
    enrichment_low, enrichment_high = ratio_over_patients(share, area, patients[counted], **over)
    whole = {
        "n": len(patients), "patients": len(np.unique(patients)), "empty": int(found.empty.sum()),
        "empty_rate": float(found.empty.mean()),
    }  # fmt: skip
    rows = []
    for k, region in enumerate(found.names):
        mean, random = _mean(share[:, k]), _mean(area[:, k])
        rows.append(
            {"group": group, "region": region}
            | whole
            | {
                "without": int((area[:, k] == 0).sum()),
                "focus": mean, "focus_sd": _sd(share[:, k]), "focus_median": _median(share[:, k]),
                "focus_low": focus_low[k], "focus_high": focus_high[k],
                "random": random, "random_sd": _sd(area[:, k]),
                "enrichment": mean / random if random > 0 else np.nan,
                "enrichment_low": enrichment_low[k], "enrichment_high": enrichment_high[k],
            }
        )  # fmt: skip
    return rows


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else np.nan


def _sd(values: Array) -> float:
    return float(values.std()) if len(values) else np.nan


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else np.nan
