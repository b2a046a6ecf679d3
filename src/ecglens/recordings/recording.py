"""An ECG as it lies on disk."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError

# Annotation symbols that mark a beat (WFDB, annotation codes)
BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")

# Rhythm labels that PhysioNet's list of annotations explains
RHYTHMS = frozenset(
    ("(AB", "(AFIB", "(AFL", "(B", "(BII", "(IVR", "(N", "(NOD", "(P", "(PREX", "(SBR", "(SVTA", "(T", "(VFL", "(VT")
)


@dataclass(frozen=True)
class Annotations:
    """Marks on a recording, in order of time.

    sample: int64 (mark,), position in samples; symbol: str (mark,), WFDB code; note: str (mark,), free text.
    """

    sample: NDArray[np.int64]
    symbol: NDArray[np.str_]
    note: NDArray[np.str_]

    @property
    def is_beat(self) -> NDArray[np.bool_]:
        """Bool (mark,): True where the mark is a heart beat, not a rhythm, noise or comment mark."""
        return np.isin(self.symbol, list(BEAT_SYMBOLS))

    def beats(self) -> Annotations:
        """Only the beats."""
        keep = self.is_beat
        return Annotations(self.sample[keep], self.symbol[keep], self.note[keep])


@dataclass(frozen=True)
class Evidence:
    """Why beats belong to their classes, span by span: where they differ from the same patient's normal beat.

    r_sample: int64 (span,), R mark of the beat; lead: str (span,); start, stop: int64 (span,), samples of the record; source:
    str (span,), "beat" (its own waves), "before" or "after" (a neighbour is not where, or not what, it would be).
    """

    r_sample: NDArray[np.int64]
    lead: NDArray[np.str_]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    source: NDArray[np.str_]

    def of_lead(self, lead: str) -> Evidence:
        """The spans of one lead."""
        mine = self.lead == lead
        return Evidence(*(getattr(self, each.name)[mine] for each in fields(self)))


@dataclass(frozen=True)
class Waves:
    """The waves that experts drew, by lead in the order of time within it.

    lead: str (wave,); kind: str (wave,), 'P', 'QRS' or 'T'; start, peak, stop: int64 (wave,), samples of the record, stop the
    last one of the wave, start and stop -1 where none was drawn. A few peaks lie a sample or three outside.
    """

    lead: NDArray[np.str_]
    kind: NDArray[np.str_]
    start: NDArray[np.int64]
    peak: NDArray[np.int64]
    stop: NDArray[np.int64]


@dataclass(frozen=True)
class Recording:
    """One record of one patient.

    signal: float32 (lead, time) in mV, NaN where the recorder marked a sample invalid; fs in Hz; leads by name.
    Two records of one person share `patient`. `remarks` says what the reader had to mend or swap. `evidence` is known for
    simulated records alone, `waves` where experts drew them (LUDB). likelihoods: of each of `diagnoses` in %, NaN where none
    was given; empty where the database has none (all but PTB-XL, where 0 of a rhythm or form is no 'no'). Raises EcglensError
    where they are not as many as the diagnoses.
    """

    database: str
    record: str
    patient: str
    signal: NDArray[np.float32]
    fs: float
    leads: tuple[str, ...]
    annotations: Annotations
    age: float | None = None
    sex: str | None = None
    diagnoses: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    evidence: Evidence | None = None
    waves: Waves | None = None
    likelihoods: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.likelihoods and len(self.likelihoods) != len(self.diagnoses):
            raise EcglensError(
                f"{self.record} has {len(self.diagnoses)} diagnoses and {len(self.likelihoods)} likelihoods; "
                "expected one for each, or none"
            )

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.signal.shape[1] / self.fs

    def rhythm_spans(self) -> list[tuple[int, int, str]]:
        """(first sample, sample after the last, rhythm) for each stretch between rhythm marks, e.g. '(AFIB'."""
        marks = self.annotations
        at = [
            (int(sample), note.rstrip("\x00"))
            for sample, symbol, note in zip(marks.sample, marks.symbol, marks.note, strict=True)
            if symbol == "+" and note.startswith("(")
        ]
        ends = [*(start for start, _ in at[1:]), self.signal.shape[1]]
        return [(start, end, rhythm) for (start, rhythm), end in zip(at, ends, strict=False)]

    def with_leads(self, order: tuple[str, ...], remark: str) -> Recording:
        """The same recording with its leads in another order; `remark` says why."""
        rows = [self.leads.index(lead) for lead in order]
        return replace(self, signal=self.signal[rows], leads=order, remarks=(*self.remarks, remark))
