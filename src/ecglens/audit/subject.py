"""What is audited: a model with the examples, splits, answers and maps that a run, or a user, has of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.examples.splits import TEST, TRAIN, VALIDATION
from ecglens.models.classifier import Classifier
from ecglens.recordings.duplicates import Fingerprints

OTHER_START, SHUFFLED_LABELS = "another random start", "trained on shuffled labels"


@dataclass(frozen=True)
class Sibling:
    """Another training of the model that is audited: its name, the classifier, and how it differs, "another random start" or
    "trained on shuffled labels". Raises EcglensError for another difference.
    """

    name: str
    classifier: Classifier
    differs: str

    def __post_init__(self) -> None:
        choose(self.differs, [OTHER_START, SHUFFLED_LABELS], "difference of a sibling")


@dataclass(frozen=True)
class Subject:
    """A model and what is known of how it came about; what is not known is None, and checks that need it are not run.

    name: for the page; examples: all that trained, validated or were tested, in mV; split: str (example,), "train",
    "validation", "test" or "unused"; shown: rows that an epoch of training saw, repeats included; validated: rows that
    validation saw, repeats included (they may lie among the training ones); chose: whether anything (an epoch, a rate,
    thresholds) was chosen by them; asked: rows that were answered for the scores;
    probabilities (asked, class); answered: bool (asked, class), where answers are yes or no class by class; metrics: what the
    run reports, by name; method: the attribution method whose maps the run shows; map_options: its options; further: other
    methods whose maps it shows, with their options; origin: str (example,), database or hospital; elsewhere: gives the records
    of further databases at hand, by name; kind: "real" or "simulated"; seed; siblings: other trainings of the model.
    """

    name: str
    classifier: Classifier
    examples: Examples
    split: NDArray[np.str_] | None = None
    shown: NDArray[np.int64] | None = None
    validated: NDArray[np.int64] | None = None
    asked: NDArray[np.int64] | None = None
    probabilities: NDArray[np.floating] | None = None
    answered: NDArray[np.bool_] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    method: str | None = None
    map_options: dict[str, Any] = field(default_factory=dict)
    further: dict[str, dict[str, Any]] = field(default_factory=dict)
    origin: NDArray[np.str_] | None = None
    elsewhere: Callable[[], dict[str, Fingerprints]] | None = None
    chose: bool = True
    kind: str = "real"
    seed: int = 0
    siblings: tuple[Sibling, ...] = ()

    def __post_init__(self) -> None:
        for each in (self.classifier, *(sibling.classifier for sibling in self.siblings)):
            each.expect(self.examples)
        n = len(self.examples)
        for what, values in (("split", self.split), ("origin", self.origin)):
            if values is not None and len(values) != n:
                raise EcglensError(f"{what} of {len(values)} examples for {n}; expected one for each")
        for what, rows in (("shown", self.shown), ("validated", self.validated), ("asked", self.asked)):
            if rows is not None and len(rows) and (rows.min() < 0 or rows.max() >= n):
                raise EcglensError(f"{what} holds rows from {rows.min()} to {rows.max()}; expected rows of {n} examples")
        if (self.asked is None) != (self.probabilities is None):
            raise EcglensError("asked and probabilities belong together; give both or neither")
        if self.asked is not None and self.probabilities is not None and len(self.asked) != len(self.probabilities):
            raise EcglensError(f"{len(self.asked)} rows were asked, {len(self.probabilities)} answered; expected as many")

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Which classes hold, bool (example, class)."""
        if self.examples.multi_hot is not None:
            return self.examples.multi_hot
        hot = np.zeros((len(self.examples), len(self.examples.classes)), bool)
        hot[np.arange(len(hot)), self.examples.labels] = True
        return hot

    @property
    def patients(self) -> NDArray[np.str_]:
        """Of each example."""
        return self.examples.column("patient").astype(str)

    @property
    def ids(self) -> NDArray[np.str_]:
        """Of each example."""
        return self.examples.column("id").astype(str)

    def some_ids(self, rows: NDArray[np.int64], most: int = 8) -> tuple[str, ...]:
        """Ids of the first few of the rows, to look at."""
        return tuple(self.ids[np.unique(rows)[:most]].tolist())

    def side(self, *names: str) -> NDArray[np.int64]:
        """Rows on the sides of these names; raises EcglensError where no split is known."""
        if self.split is None:
            raise EcglensError(f"{self.name} has no split; ask `split is None` first")
        return np.flatnonzero(np.isin(self.split, names))

    @property
    def learnt(self) -> NDArray[np.int64]:
        """Rows that trained or validated."""
        return self.side(TRAIN, VALIDATION)

    @property
    def tested(self) -> NDArray[np.int64]:
        """Rows of the test side."""
        return self.side(TEST)
