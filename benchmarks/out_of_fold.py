"""Scores over all records of runs that tested a fifth each: `python benchmarks/out_of_fold.py RUN0 RUN1 ...` (lin2020).

Prints AUC and average precision of each class with 95 % intervals over patients (over records, where nobody names patients).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from ecglens.models import load
from ecglens.training.multilabel import score_multilabel


def main(runs: list[Path]) -> None:
    """Read each run's predictions.csv; every record must be in one of them alone."""
    rows = pd.concat([pd.read_csv(run / "predictions.csv") for run in runs], ignore_index=True)
    twice = rows.loc[rows["record"].duplicated(), "record"]
    if len(twice):
        raise SystemExit(f"{len(twice)} records are tested in two runs, such as {twice.iloc[0]}; expected fifths of one split")
    classes = load(runs[0]).classes
    truth, probabilities, answered = (
        rows[[f"{before}{name}" for name in classes]].to_numpy() for before in ("", "p_", "answered_")
    )
    scores = score_multilabel(
        truth.astype(bool), probabilities, answered.astype(bool), rows["patient"].to_numpy().astype(str), classes
    )
    shown = ["class", "support", *(f"{name}{end}" for name in ("auc", "average_precision") for end in ("", "_low", "_high"))]
    print(f"{len(rows)} records")
    print(scores.per_class.loc[scores.per_class["support"] > 0, shown].round(3).to_string(index=False))


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
