"""What a classifier makes of beats that come earlier or later, with their shapes unchanged: does it read the rhythm?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.intervals import mean_over_patients
from ecglens.errors import EcglensError
from ecglens.examples.beat_regions import EXTENT
from ecglens.examples.examples import Examples
from ecglens.examples.retimed import REASONS, WHERE, retimed
from ecglens.models.classifier import Classifier

CHANGES = (-0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4)
_AT_ONCE = 2048  # examples whose changed signals are held


def retiming_effect(
    classifier: Classifier,
    examples: Examples,
    changes: Sequence[float] = CHANGES,
    *,
    where: Sequence[str] = WHERE,
    extent: tuple[float, float] = EXTENT,
) -> pd.DataFrame:
    """Each example with RR intervals changed: a row per place of the gap, change and example.

    changes: shares of the RR interval; where, extent: see `ecglens.examples.retimed`. Class 0 is normal. Columns: where,
    change, row; why, "" or the reason for which it could not be done, then the rest is NaN; abnormal, 1 if the example is
    then taken for another class than normal; abnormal_before, the same unchanged; margin_change, by how much the margin of
    abnormal rises (logit of the best other class less that of normal). Raises EcglensError for no change or no place, a model
    of one class, and as `retimed`.
    """
    if not len(changes) or not len(where):
        raise EcglensError(f"{len(changes)} changes at {len(where)} places; expected one or more of each")
    classifier.expect(examples)
    if len(examples.classes) < 2:
        raise EcglensError(f"the only class is {examples.classes[0]}; expected the normal one and at least another")
    before = _margin(classifier, examples)
    frames = []
    for place in where:
        for change in changes:
            why, margin = np.zeros(len(examples), "<U16"), np.full(len(examples), np.nan)
            for first in range(0, len(examples), _AT_ONCE):
                rows = np.arange(first, min(first + _AT_ONCE, len(examples)))
                found = retimed(examples.take(rows), place, change, extent=extent)
                why[rows] = found.why
                if len(found.rows):
                    margin[rows[found.rows]] = _margin(classifier, found.examples)
            done = ~np.isnan(margin)
            frames.append(
                pd.DataFrame(
                    {
                        "where": place,
                        "change": float(change),
                        "row": np.arange(len(examples)),
                        "why": why,
                        "abnormal": np.where(done, margin > 0, np.nan),
                        "abnormal_before": np.where(done, before > 0, np.nan),
                        "margin_change": margin - before,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def _margin(classifier: Classifier, examples: Examples) -> NDArray[np.float64]:
    """Logit of the best class that is not normal, less that of normal (example,)."""
    logits = classifier.logits(examples).astype(np.float64)
    return logits[:, 1:].max(1) - logits[:, 0]


def retiming_table(
    effect: pd.DataFrame,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    patients: NDArray[Any],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """`retiming_effect` added up: a row per true class, place and change.

    Columns: class, where, change; n and patients, of the examples that could be changed; no_gap, too_short, too_long, how many
    could not; called_abnormal, their share; called_abnormal_before, the share of the same examples unchanged: what to compare
    with, as not every change can be done to every example; margin_change, the mean; _low and _high: 95 % over patients.
    """
    n = int(effect["row"].max()) + 1 if len(effect) else 0
    if not n == len(labels) == len(patients):
        raise EcglensError(f"{len(labels)} labels and {len(patients)} patients for {n} examples; expected the same number")
    rows = []
    for label, name in enumerate(classes):
        mine = effect[labels[effect["row"]] == label]
        for (where, change), part in mine.groupby(["where", "change"], sort=False):
            done = part[part["why"] == ""]
            names = ["abnormal", "margin_change"]
            low, high = mean_over_patients(
                done[names].to_numpy(float), patients[done["row"]], replicates=replicates, seed=seed
            )
            rows.append(
                {
                    "class": name, "where": where, "change": change, "n": len(done),
                    "patients": len(np.unique(patients[done["row"]])),
                }
                | {reason: int((part["why"] == reason).sum()) for reason in REASONS}
                | {
                    "called_abnormal": done["abnormal"].mean(), "called_abnormal_low": low[0], "called_abnormal_high": high[0],
                    "called_abnormal_before": done["abnormal_before"].mean(),
                    "margin_change": done["margin_change"].mean(), "margin_change_low": low[1], "margin_change_high": high[1],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
