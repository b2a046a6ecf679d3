"""The two recipes of lin2020: as the paper has it, and corrected; which databases, classes and splits there are."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ecglens.errors import EcglensError, choose
from ecglens.examples.clips import ClipOptions
from ecglens.models.scaling import SCALES
from ecglens.studies.options import part_of
from ecglens.training.options import TrainOptions

MODEL_NAMES = ("cnn-gap", "cnn-gap-short")
LOSSES = ("macro-obs", "wbce")
# Set of classes (--classes) to the map of diagnoses, by database; the first is the default
CLASS_SETS = {
    "cinc2020": {"challenge": "challenge2020"},
    "ptbxl": {"superclasses": "ptbxl-superclasses", "challenge": "challenge2020-from-scp"},
    "cpsc2018": {"cpsc": "cpsc2018", "challenge": "challenge2020-from-cpsc"},
}
DATABASES = tuple(CLASS_SETS)
SPLITS = {
    "folds": "the database's own folds: 1 to 8 train, 9 validates, 10 tests; no patient is in two (PTB-XL)",
    "patients": "patients at random, a tenth validates and a quarter tests; where the database names no patients, records",
    "fifths": "a fifth of the patients (or records) tests, the next one validates; --set fold=0 to 4 says which",
    "single-label": "as published: of the records with one class, two thirds of each class train, the rest tests; a tenth of "
    "the training records validates; records with more classes train; nobody looks whose records they are",
}


@dataclass(frozen=True)
class Recipe(TrainOptions):
    """Every choice of a run, by name; `--set NAME=VALUE` changes one.

    See `ClipOptions` for seconds to missing, `TrainOptions` for the training. scale: a key of SCALES; join: how the clips
    of a record are put together, "mean" or "max" of their probabilities; oversample: records of a rare class are drawn again
    until it has this share of the largest class's, 0 never; goal: what thresholds are chosen for on validation, "challenge"
    or "f1"; only: records whose names begin so ("A": CPSC2018's of the Challenge), all where empty; fold: which fifth tests
    under --split fifths; start_from: a run folder with a net of the same leads and rate, whose layers are taken over, the
    last one too where it has the same classes.
    """

    seconds: float = 10.0
    fs: float = 100.0
    clips: str = "head-middle-end"
    pad: str = "both"
    baseline: str = "line"
    missing: str = "leave-out"
    scale: str = "none"
    join: str = "mean"
    oversample: float = 0.0
    goal: str = "f1"
    only: str = ""
    fold: int = 0
    start_from: str = ""
    loss: str = "wbce"
    epochs: int = 15
    batch: int = 64
    gain_jitter: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.cutting  # checks its own words
        choose(self.loss, list(LOSSES), "loss")
        choose(self.scale, list(SCALES), "scale")
        choose(self.join, ["max", "mean"], "join")
        choose(self.goal, ["challenge", "f1"], "goal")
        if not 0 <= self.oversample <= 1:
            raise EcglensError(f"oversample is {self.oversample}; expected a share from 0 to 1")
        for name in ("crop", "rr_drop"):
            if getattr(self, name):
                raise EcglensError(
                    f"{name} is {getattr(self, name)}; expected 0: clips of whole records have no R peak of theirs"
                )
        if not 0 <= self.fold <= 4:
            raise EcglensError(f"fold is {self.fold}; expected 0 to 4")

    @property
    def cutting(self) -> ClipOptions:
        """The part that says how clips are cut."""
        return part_of(self, ClipOptions)

    @property
    def training(self) -> TrainOptions:
        """The part that says how the network is trained."""
        return part_of(self, TrainOptions)


# What the report says about each choice on which the recipes differ
REASONS = {
    "fs": "500 Hz is implied; at 100 Hz a step costs a fifth, and what the classes differ in is still there",
    "oversample": "minor classes are oversampled, by how much is unsaid; weighted losses already count them",
    "gain_from": "the paper's gains average 1.5; a net that is to know what is tall should see amplitudes as they are",
    "gain_to": "see gain_from",
    "gain_jitter": "a little of each lead's own, about 1",
    "stretch": "a heart a seventh slower or faster has the same superclasses; chosen on the training folds",
    "shift_s": "where a record begins says nothing",
    "epochs": "unsaid",
    "rate": "unsaid",
}


def recipe_for(name: str, loss: str, classes: str, *, quick: bool) -> Recipe:
    """The recipe `name` with that loss; thresholds are chosen for the Challenge's score where the classes have one."""
    choose(name, ["as-published", "corrected"], "recipe")
    recipe = Recipe(loss=loss, goal="challenge" if classes == "challenge" else "f1")
    if name == "as-published":
        recipe = replace(recipe, fs=500.0, oversample=0.1, gain_from=0.5, gain_to=2.5, epochs=30, rate=1e-3)
    else:
        recipe = replace(recipe, gain_jitter=0.3)
        if classes == "superclasses":  # others have classes that are rates and intervals
            recipe = replace(recipe, stretch=0.15, shift_s=1.0)
    if quick:
        recipe = replace(recipe, fs=100.0, epochs=min(recipe.epochs, 12))
    return recipe


@dataclass(frozen=True)
class Question:
    """What is asked of the study: everything that decides what comes out. database, classes: see CLASS_SETS."""

    recipe_name: str
    recipe: Recipe
    model: str
    database: str
    classes: str
    split: str
    quick: bool
    seed: int
