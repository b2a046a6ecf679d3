"""Do the maps of a class fall into kinds? Spectral clustering of where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.focus import focus
from ecglens.errors import EcglensError
from ecglens.examples.regions import Regions

Array = NDArray[np.float64]
FEWEST = 25  # maps, below which kinds cannot be told from chance
_LEAST = 5  # maps in a kind
_APART = 4.5  # distance of two kinds, in their spread: 2.7 for a normal cloud cut in two, 3.5 for an even one
_ELSEWHERE = 0.1  # share of the mass by which two kinds differ at least: less is nothing to look at
_PADDING = "padding"


@dataclass(frozen=True)
class Kinds:
    """Kinds of profiles.

    member: int64 (example,), 0 is the largest kind; values: smallest eigenvalues of the graph's Laplacian, rising, one more
    than kinds were looked for; n_gap: number of kinds by the eigengap alone; apart: smallest distance of two kinds, in their
    spread, NaN for one.
    """

    member: NDArray[np.int64]
    values: Array
    n_gap: int
    apart: float

    @property
    def n(self) -> int:
        """1 where the profiles are of one kind."""
        return int(self.member.max(initial=0)) + 1

    def nearest(self, profiles: Array, kind: int, most: int) -> NDArray[np.int64]:
        """Rows of the `most` members that are nearest to the middle of their kind, nearest first."""
        rows = np.flatnonzero(self.member == kind)
        away = ((_rooted(profiles[rows]) - _rooted(profiles[rows]).mean(0)) ** 2).sum(1)
        return rows[np.argsort(away, kind="stable")[:most]]


def equal_windows(first: NDArray[np.int64], stop: NDArray[np.int64], leads: Sequence[tuple[str, int, int]], n: int) -> Regions:
    """`n` windows of one length over each example's signal, for maps in which no waves can be found.

    first, stop (example,): which samples of a lead are signal; leads: (name, row of the arrays, first sample) of each.
    """
    edges = np.rint(first[:, None] + (stop - first)[:, None] * np.arange(n + 1) / n).astype(np.int64)
    return Regions(
        tuple(f"window {k + 1}" for _ in leads for k in range(n)), tuple(name for name, _, _ in leads for _ in range(n)),
        np.repeat(np.array([row for _, row, _ in leads], np.int64), n),
        np.concatenate([edges[:, :-1] + offset for _, _, offset in leads], axis=1),
        np.concatenate([edges[:, 1:] + offset for _, _, offset in leads], axis=1),
    )  # fmt: skip


def map_profiles(maps: NDArray[np.floating], regions: Regions, *, by_lead: bool) -> tuple[Array, tuple[str, ...]]:
    """Share of each map's mass in each region, float64 (example, region), rows sum to 1, and the regions' names.

    maps (example, lead, time); regions of one name are one, in each lead by itself ("QRS of V1") where `by_lead`; what lies in
    none of them, padding, counts too. An empty map is of no kind: its row is NaN. Raises EcglensError as `focus`.
    """
    names = regions.names
    if by_lead:
        names = tuple(f"{name} of {lead}" for name, lead in zip(regions.names, regions.lead, strict=True))
    found = focus(maps, replace(regions, names=names))
    rest = np.clip(1 - found.share.sum(1, keepdims=True), 0, 1)
    return np.concatenate([found.share, rest], axis=1), (*found.names, _PADDING)


def kinds_of(profiles: Array, *, most: int = 5, seed: int = 0) -> Kinds:
    """Kinds of profiles (example, region), at most `most`; one where they are a cloud without gaps.

    Roots of the shares (Hellinger), a graph of the sqrt(n) nearest neighbours, its normalised Laplacian; as many kinds as come
    before the largest gap of eigenvalues, told apart by k-means of the eigenvectors. A cloud that is longer than wide has gaps
    too: kinds count only with five members each, a tenth of the mass in other regions, and 4.5 spreads apart along the line
    through their middles; else the next largest gap is tried, down to that after the first eigenvalue. Kinds of fewer than
    sqrt(n) members may be missed. Raises EcglensError for fewer than 25 profiles, and for NaN. Source: Lapuschkin 2019
    (SpRAy); Ng, Jordan and Weiss 2002; the conditions on kinds are ours.
    """
    n = len(profiles)
    if n < FEWEST or not np.isfinite(profiles).all():
        raise EcglensError(f"{n} profiles, some of them NaN or too few; expected {FEWEST} or more without NaN")
    x = _rooted(profiles)
    values, vectors = _spectrum(x, most)
    by_gap = np.argsort(-np.diff(values), kind="stable") + 1
    for number in by_gap[: int(np.flatnonzero(by_gap == 1)[0])]:
        member = _members(vectors[:, :number], int(number), seed)
        sizes = np.bincount(member)
        if len(sizes) < 2 or sizes.min() < _LEAST:
            continue
        pairs = [(member == a, member == b) for a in range(len(sizes)) for b in range(a)]
        apart = min(_distance(x[one], x[other]) for one, other in pairs)
        elsewhere = min(np.abs(profiles[one].mean(0) - profiles[other].mean(0)).sum() / 2 for one, other in pairs)
        if apart >= _APART and elsewhere >= _ELSEWHERE:
            return Kinds(member, values, int(by_gap[0]), apart)
    return Kinds(np.zeros(n, np.int64), values, int(by_gap[0]), float("nan"))


def _rooted(profiles: Array) -> Array:
    return np.sqrt(np.maximum(profiles, 0))


def _spectrum(x: Array, most: int) -> tuple[Array, Array]:
    """The smallest eigenvalues, one more than `most`, and eigenvectors of I - D^-1/2 W D^-1/2."""
    from scipy.linalg import eigh
    from sklearn.neighbors import kneighbors_graph

    near = kneighbors_graph(x, int(np.ceil(np.sqrt(len(x)))), include_self=False).toarray()
    weight = np.maximum(near, near.T)
    size = np.sqrt(weight.sum(1))
    values, vectors = eigh(np.eye(len(x)) - weight / np.outer(size, size), subset_by_index=(0, most))
    return np.clip(values, 0, None), vectors


def _members(vectors: Array, n: int, seed: int) -> NDArray[np.int64]:
    """Kind (example,), the largest first."""
    from sklearn.cluster import KMeans

    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    label = KMeans(n, n_init=10, random_state=seed).fit_predict(unit)
    found, counts = np.unique(label, return_counts=True)
    rank = {old: new for new, old in enumerate(found[np.argsort(-counts, kind="stable")])}
    return np.array([rank[each] for each in label], np.int64)


def _distance(one: Array, other: Array) -> float:
    """Distance of the middles in the spread along it; infinite where there is no spread."""
    line = one.mean(0) - other.mean(0)
    length = float(np.linalg.norm(line))
    if length == 0:
        return 0.0
    off = np.concatenate([(part - part.mean(0)) @ line / length for part in (one, other)])
    spread = float(np.sqrt(np.mean(off**2)))
    return length / spread if spread > 0 else float("inf")
