"""Explain until the class maps are known to a stated precision, not every example. For any study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.precision import profiles_to_precision
from ecglens.attribution import Attributions, explain
from ecglens.attribution.attributions import put_together, read_attributions, save
from ecglens.attribution.identity import data_checksum, fingerprint, model_checksum
from ecglens.attribution.store import expect_same
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions, region_means
from ecglens.files import write_table
from ecglens.models import Classifier
from ecglens.progress import say


def explain_to_precision(
    classifier: Classifier,
    data: Examples | NDArray[np.floating[Any]],
    method: str,
    regions: Regions,
    labels: NDArray[np.int64],
    patients: NDArray[np.str_],
    rows: NDArray[np.int64],
    target: NDArray[np.int64],
    *,
    precision: float,
    simultaneous: bool,
    background: Any,
    out: Path,
    table: Path,
    seed: int,
) -> Attributions:
    """Maps of as many of `rows` as the precision takes, in the store `out`; what was reached in `table`.

    regions, labels and patients are of `rows`, as is target. A store that is there is read, one of
    another model, data or question refused. The values are means of |map| over
    regions, maps scaled to a maximum of 1.
    """
    known = {
        "model": model_checksum(classifier), "data": data_checksum(data), "seed": seed, "precision": precision,
        "simultaneous": simultaneous, "regions_at": fingerprint(regions), "of": fingerprint(np.stack([rows, target, labels])),
        "background": None if background is None else data_checksum(background),
    }  # fmt: skip
    if (out / "plan.json").is_file() and table.is_file():
        expect_same(out, known | {"methods": {method: {}}})
        return read_attributions(out)
    parts: list[Attributions] = []

    def values_of(some: NDArray[np.int64]) -> NDArray[np.floating]:
        part = explain(
            classifier, data, [method], rows=rows[some], target=target[some], background=background, seed=seed, quiet=True
        )
        parts.append(part)
        return region_means(_scaled(part[method][:], int(regions.row.max()) + 1), regions.take(some))

    found = profiles_to_precision(
        values_of, labels, patients, classifier.classes, precision=precision, simultaneous=simultaneous, seed=seed
    )
    named = found.table.assign(
        lead=np.array(regions.lead)[found.table["region"]], region=np.array(regions.names)[found.table["region"]]
    )
    write_table(table, named.assign(tolerance=named["class"].map(found.tolerance)))
    counts = ", ".join(f"{name} {n} of {n_of}" for name, n, n_of in _counts(found.table))
    say(f"{len(found.rows)} of {len(rows)} examples explained by {method} for a precision of {precision:g}: {counts}")
    return save(put_together(parts), out, known)


def _scaled(maps: NDArray[np.float32], n_leads: int) -> NDArray[np.float32]:
    """|map| with its maximum at 1; one that does not tell leads apart counts for each."""
    size = np.abs(maps)
    most = size.max(axis=(1, 2), keepdims=True)
    scaled = size / np.where(most > 0, most, np.float32(1))
    return np.ascontiguousarray(np.broadcast_to(scaled, (len(size), max(size.shape[1], n_leads), size.shape[2])))


def _counts(table: pd.DataFrame) -> list[tuple[str, int, int]]:
    first = table.drop_duplicates("class")
    return list(zip(first["class"], first["n"], first["n_of"], strict=True))


def precision_text(table: pd.DataFrame, n_all: int) -> str:
    """A sentence for the report."""
    counts = _counts(table)
    widest = float((table["high"] - table["low"]).max() / 2)
    others = (table["patients_high"] - table["patients_low"]).max() / 2
    said = (
        f"{sum(n for _, n, _ in counts)} of {n_all} examples were explained: "
        + ", ".join(f"{name} {n} of {n_of}" for name, n, n_of in counts)
        + f". With 95 % confidence each region's median is within {widest:.3f} of what all examples would give (maps scaled "
        "to a maximum of 1)."
    )
    if others == others:
        said += f" How far other patients would differ is another matter: up to {others:.3f}."
    return said
