"""Subjects for the tests: any examples with a small net, split and answers as a test wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ecglens.audit.subject import Subject
from made import make_examples, tiny

CLASSES = ("N", "V", "A")


def subject(
    labels: Sequence[int], patients: Sequence[str], *, records: Sequence[str] | None = None, length: int = 24,
    classes: tuple[str, ...] = CLASSES, multi_hot: np.ndarray | None = None, **told: Any,
) -> Subject:  # fmt: skip
    """Noise in two leads, an example for each label."""
    from dataclasses import replace

    rng = np.random.default_rng(7)
    signals = rng.normal(size=(len(labels), 2, length)).astype(np.float32)
    examples = make_examples(
        signals, labels, classes=classes, patient=list(patients), record=list(records if records is not None else patients)
    )
    if multi_hot is not None:
        examples = replace(examples, multi_hot=multi_hot)
    return Subject("net", tiny(examples), examples, **told)


def sides(text: str) -> np.ndarray:
    """'tvx' as train, validation, test; '.' is unused."""
    return np.array([{"t": "train", "v": "validation", "x": "test", ".": "unused"}[letter] for letter in text])
