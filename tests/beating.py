"""Made-up windows of beats for the tests that move beats, hide them, or ask where they lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecglens.examples.examples import Examples
from made import make_examples

PADDING = 7.0  # mV, unlike anything in the signal


def beating(
    n: int = 8, *, beats: int = 6, length: int = 700, fs: float = 100.0, labelled: str = "last", leads: int = 1, seed: int = 0,
    lacking: tuple[int, ...] = (), rr: tuple[float, float] = (0.5, 1.2),
) -> Examples:  # fmt: skip
    """`n` windows of noise with `beats` R peaks, RR intervals anywhere in `rr` (s); examples `lacking` have one beat less.

    As `cut_sliding` leaves them: at the end of the array if the last beat is labelled, else at its start; patients p0 to p3.
    """
    rng = np.random.default_rng(seed)
    signals = np.full((n, leads, length), PADDING, np.float32)
    columns: dict[str, list] = {
        name: [] for name in ("beats_at", "labelled", "valid_start", "valid_stop", "r_index", "beat_symbols")
    }
    for k in range(n):
        count = beats - (k in lacking)
        edge = rng.integers(20, 60, 2)
        r = edge[0] + np.concatenate([[0], np.cumsum(np.rint(rng.uniform(*rr, count - 1) * fs))]).astype(int)
        size = int(r[-1] + edge[1])
        start = length - size if labelled == "last" else 0
        signals[k, :, start : start + size] = rng.normal(size=(leads, size))
        label = count - 1 if labelled == "last" else 0
        for name, value in zip(
            columns, (" ".join(map(str, r + start)), label, start, start + size, r[label] + start, "N" * count), strict=True
        ):
            columns[name].append(value)
    r_index = np.array(columns["r_index"])
    columns |= {"r_sample": 1000 + 300 * np.arange(n), "start": 1000 + 300 * np.arange(n) - r_index}
    extra = {name: columns.pop(name) for name in ("beats_at", "labelled", "beat_symbols")}
    made = make_examples(
        signals, np.arange(n) % 2, classes=("normal", "abnormal"), fs=fs, patient=[f"p{k % 4}" for k in range(n)], **columns
    )
    return replace(made, table=made.table.assign(**extra))


def beats_of(examples: Examples, row: int) -> list[int]:
    """R peaks of one example."""
    return [int(at) for at in examples.table["beats_at"].iloc[row].split()]


def extents_slowly(examples: Examples, row: int, extent: tuple[float, float] = (0.25, 0.45)) -> list[tuple[int, int]]:
    """(start, stop) of each beat of one example, one after the other."""
    r = beats_of(examples, row)
    out = []
    for k, at in enumerate(r):
        lowest = int(examples.table["valid_start"].iloc[row]) if k == 0 else (r[k - 1] + at) // 2
        highest = int(examples.table["valid_stop"].iloc[row]) if k == len(r) - 1 else (at + r[k + 1]) // 2
        out.append((max(at - round(extent[0] * examples.fs), lowest), min(at + round(extent[1] * examples.fs), highest)))
    return out
