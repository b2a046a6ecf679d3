"""Training on records that may be of several classes, or of none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples, single_labels
from ecglens.models import create
from ecglens.training.fit import TrainOptions, fit
from made import make_examples


def _several(n: int = 48) -> Examples:
    """Noise in which class 0 lifts the first half and class 1 the second: a record may have both, or none."""
    rng = np.random.default_rng(0)
    marks = rng.random((n, 2)) < 0.5
    signals = rng.normal(0, 0.3, (n, 1, 64)).astype(np.float32)
    signals[:, 0, :32] += marks[:, :1]
    signals[:, 0, 32:] -= marks[:, 1:]
    examples = make_examples(signals, classes=("a", "b"))
    return replace(examples, labels=single_labels(marks), multi_hot=marks)


def test_records_of_several_classes_are_learnt_class_by_class(tmp_path: Path) -> None:
    examples = _several()
    model = create("cnn-gap", classes=("a", "b"), leads=examples.leads, length=64, fs=examples.fs, activation="sigmoid")
    options = TrainOptions(loss="wbce", epochs=12, batch=12, bf16=False, rate=3e-3)
    rows = np.arange(36)
    fitted = fit(model, examples, rows, np.arange(36, 48), options, 0, tmp_path)
    answers = model.logits(examples) > 0
    assert (answers[36:] == examples.multi_hot[36:]).mean() > 0.9
    assert np.isfinite([row["validation_loss"] for row in fitted.history]).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"loss": "cross-entropy"}, "unknown loss for several labels"),
     ({"stop": "f1-falls"}, "stop=patience"), ({"loss": "macro-obs"}, "Challenge's weights")],
)  # fmt: skip
def test_what_counts_one_class_each_is_refused_for_several(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    examples = _several()
    model = create("cnn-gap", classes=("a", "b"), leads=examples.leads, length=64, fs=examples.fs, activation="sigmoid")
    options = TrainOptions(**({"loss": "wbce", "epochs": 1, "batch": 8} | changes))
    with pytest.raises(EcglensError, match=words):
        fit(model, examples, np.arange(36), np.arange(36, 48), options, 0, tmp_path)


def test_a_loss_for_several_classes_is_refused_where_there_is_one_each(tmp_path: Path) -> None:
    examples = replace(_several(), multi_hot=None, labels=np.zeros(48, np.int64))
    model = create("cnn-gap", classes=("a", "b"), leads=examples.leads, length=64, fs=examples.fs)
    with pytest.raises(EcglensError, match="is for records of several classes"):
        fit(model, examples, np.arange(36), np.arange(36, 48), TrainOptions(loss="wbce", epochs=1, batch=8), 0, tmp_path)
