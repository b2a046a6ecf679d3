"""Examples: what a model is shown, with everything an analysis may have to ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.regions import Regions

# Every row of `Examples.table` has these columns
COLUMNS = (
    "id",  # database/record/R sample
    "database",
    "record",
    "patient",
    "start",  # where the window begins in the record, in samples (may be negative)
    "r_sample",  # R peak, in samples of the record
    "r_index",  # R peak, in samples of the window
    "valid_start",  # first sample of the window that is signal, not padding
    "valid_stop",  # sample after the last one that is signal
    "symbol",  # annotation in the database
    "lead_names",  # leads of this record, in order
    "rr_before",  # s, to the beat before; NaN where there is none
    "rr_after",  # s, to the beat after
    "rr_earlier",  # s, the RR interval before rr_before
    "rr_local",  # s, median of the RR intervals within ten beats
    "rr_spread",  # mean |log(RR / rr_local)| of the same intervals: how irregular the rhythm is
)


@dataclass(frozen=True)
class LeadPlace:
    """Where a lead lies in the arrays: in row `row`, from sample `offset` on, for `length` samples."""

    name: str
    row: int
    offset: int
    length: int


@dataclass(frozen=True)
class Examples:
    """Signals with labels and, row by row, where they come from.

    signals: float32 (example, lead, time) in mV; labels: int64 (example,), index into `classes`; fs in Hz; places: where
    each recorded lead lies (two leads joined into one vector share row 0); table: a DataFrame with `COLUMNS`; evidence:
    where each beat is known to differ from the same patient's normal beat (simulated ECGs only, else None); multi_hot: bool
    (example, class) where an example may be of several classes or of none, labels are then the class of those that have
    exactly one, else -1 (`single_labels`). Raises EcglensError where these do not fit each other.
    """

    signals: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    fs: float
    leads: tuple[str, ...]
    places: tuple[LeadPlace, ...]
    table: pd.DataFrame
    evidence: Regions | None = None
    multi_hot: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.signals.ndim != 3 or self.signals.shape[1] != len(self.leads):
            raise EcglensError(f"signals have shape {self.signals.shape}; expected (example, {len(self.leads)} leads, time)")
        if not len(self.signals) == len(self.labels) == len(self.table):
            raise EcglensError(
                f"{len(self.signals)} signals, {len(self.labels)} labels and {len(self.table)} table rows; "
                "expected the same number"
            )
        if self.evidence is not None and len(self.evidence.start) != len(self.labels):
            raise EcglensError(f"evidence of {len(self.evidence.start)} examples; expected {len(self.labels)}")
        if self.multi_hot is not None and self.multi_hot.shape != (len(self.labels), len(self.classes)):
            raise EcglensError(
                f"multi_hot has shape {self.multi_hot.shape}; expected (example, class), here "
                f"({len(self.labels)}, {len(self.classes)})"
            )
        missing = [column for column in COLUMNS if column not in self.table.columns]
        if missing:
            raise EcglensError(f"the table of examples lacks {', '.join(missing)}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def length(self) -> int:
        """Samples per lead."""
        return self.signals.shape[2]

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Examples:
        """The examples at `rows` (indices, repeats allowed, or a mask)."""
        table = self.table[rows] if rows.dtype == bool else self.table.iloc[rows]
        return replace(
            self,
            signals=self.signals[rows],
            labels=self.labels[rows],
            table=table.reset_index(drop=True),
            evidence=None if self.evidence is None else self.evidence.take(rows),
            multi_hot=None if self.multi_hot is None else self.multi_hot[rows],
        )

    def column(self, name: str) -> NDArray[Any]:
        """A column of the table as an array (example,)."""
        return self.table[name].to_numpy()

    def counts(self) -> pd.DataFrame:
        """Examples by class and patient: columns class, patient, n; no rows of zero."""
        row, label = np.arange(len(self)), self.labels
        if self.multi_hot is not None:
            row, label = np.nonzero(self.multi_hot)
        frame = pd.DataFrame({"class": np.array(self.classes)[label], "patient": self.column("patient")[row]})
        counted = frame.groupby(["class", "patient"], sort=True).size()
        return counted.rename("n").reset_index()


def joined(parts: Sequence[Examples]) -> Examples:
    """Examples of several databases behind each other, evidence left out; raises EcglensError where they do not fit."""
    if not parts:
        raise EcglensError("no examples to join; expected at least one set")
    first = parts[0]
    for part in parts[1:]:
        for name in ("classes", "fs", "leads", "places"):
            if getattr(part, name) != getattr(first, name):
                raise EcglensError(f"examples with {name} {getattr(part, name)} cannot join some with {getattr(first, name)}")
        if (part.multi_hot is None) != (first.multi_hot is None):
            raise EcglensError("examples of one class each cannot join some of several; give all of them multi_hot labels")
    hot = [part.multi_hot for part in parts if part.multi_hot is not None]
    return replace(
        first,
        signals=np.concatenate([part.signals for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        table=pd.concat([part.table for part in parts], ignore_index=True),
        evidence=None,
        multi_hot=np.concatenate(hot) if hot else None,
    )


def single_labels(multi_hot: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The class of each example that has exactly one, int64 (example,), else -1; from bool (example, class)."""
    return np.where(multi_hot.sum(axis=1) == 1, multi_hot.argmax(axis=1), -1).astype(np.int64)
