"""The two recipes of habeeb2024: as the authors did it, and corrected; which trainings there are."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ecglens.errors import EcglensError, choose
from ecglens.examples.clips import ClipOptions
from ecglens.studies.options import part_of
from ecglens.training.options import TrainOptions

MODEL_NAMES = ("resnet34-1d", "resnet34-1d-masked")
CPSC, PTBXL = "cpsc", "ptbxl"  # the two hospitals
WORDS = {CPSC: "CPSC2018", PTBXL: "PTB-XL"}
TRAININGS = {
    "cpsc": "on CPSC2018's records alone (the paper's 'Original')",
    "ptbxl": "on PTB-XL alone",
    "both": "on both from scratch (the paper's 'Ours_2')",
    "cpsc-then-ptbxl": "on CPSC2018's, then on with PTB-XL's alone (the paper's 'Ours_1')",
}
# Which map of diagnoses each hospital's records get (--set labels=...)
LABELS = {
    "published": {CPSC: "habeeb2024-from-snomed", PTBXL: "habeeb2024-as-published"},
    "strict": {CPSC: "habeeb2024-from-snomed", PTBXL: "habeeb2024"},
}
FOLDS = {
    "random": "a tenth of the records, at random, tests and a tenth validates; nobody looks whose records they are",
    "publisher": "PTB-XL's own folds: 1 to 8 train, 9 validates, 10 tests; no patient is in two",
}
CPSC_FOLDS = 5


@dataclass(frozen=True)
class Recipe(TrainOptions):
    """Every choice of a run, by name; `--set NAME=VALUE` changes one.

    See `ClipOptions` for seconds to missing, `TrainOptions` for the training. labels: a key of LABELS; folds: of PTB-XL, a
    key of FOLDS (CPSC2018's records, whose patients nobody names, are in five parts at random, each tested by a net that has
    not seen it); least_steps: of any training, however few its records are; explained: test records of each hospital that get
    exact lead Shapley values and maps.
    """

    seconds: float = 10.0
    fs: float = 100.0
    clips: str = "end"
    pad: str = "both"
    baseline: str = "none"
    missing: str = "leave-out"
    labels: str = "strict"
    folds: str = "publisher"
    least_steps: int = 150
    explained: int = 10
    loss: str = "bce"
    rate: float = 1e-3
    epochs: int = 20
    batch: int = 32
    gain_jitter: float = 0.3
    stretch: float = 0.15
    shift_s: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.cutting  # checks its own words
        choose(self.labels, list(LABELS), "labels")
        choose(self.folds, list(FOLDS), "folds")
        choose(self.clips, ["end", "head"], "clips")
        if self.explained < 1 or self.least_steps < 0:
            raise EcglensError(f"explained is {self.explained}, least_steps {self.least_steps}; expected at least 1 and 0")
        for name in ("crop", "rr_drop"):
            if getattr(self, name):
                raise EcglensError(
                    f"{name} is {getattr(self, name)}; expected 0: clips of whole records have no R peak of theirs"
                )

    @property
    def cutting(self) -> ClipOptions:
        """The part that says how clips are cut."""
        return part_of(self, ClipOptions)

    def training(self, n_records: int) -> TrainOptions:
        """The part that says how the network is trained, with the epochs that make `least_steps`."""
        options = part_of(self, TrainOptions)
        return replace(options, epochs=max(self.epochs, -(-self.least_steps * self.batch // max(n_records, 1))))


_AS_PUBLISHED = Recipe(
    seconds=30.0, fs=500.0, pad="start", labels="published", folds="random", least_steps=0, explained=200, optimiser="adam",
    rate=1e-4, weight_decay=0.0, schedule="none", epochs=30, keep="best", bf16=False, gain_jitter=0.1,
    stretch=0.0, shift_s=0.0, offset_mv=0.02, jitter_share=0.31,
)  # fmt: skip

# What the report says about each choice on which the recipes differ
REASONS = {
    "seconds": "the last 30 s; PTB-XL's 10 s are then two thirds zeros, which tell the hospital; here 10 s of both",
    "fs": "500 Hz; at 100 Hz a step costs a fifth, and what the classes differ in is still there",
    "pad": "zeros before shorter records",
    "labels": "likelihood > 0 drops PTB-XL's rhythms, whose likelihood is 0 by design; pacing counted as premature beats, "
    "infarction as ST elevation; here a statement counts where it says what CPSC2018's label says",
    "folds": "records at random: a patient's records are on both sides; here PTB-XL's own folds",
    "least_steps": "the paper has 5,500 records of CPSC2018; with 93 its 30 epochs would be 90 steps",
    "explained": "as many as two cores explain",
    "keep": "the paper keeps the epoch with the best F1 on validation; here, as published, the one with the lowest loss",
    "gain_jitter": "as published about 1 by a tenth; more of it helps small sets",
    "stretch": "a heart a seventh slower or faster has the same nine classes; with gain_jitter and shift_s chosen on fold 9",
    "shift_s": "where a record begins says nothing",
    "offset_mv": "a random offset of each lead of up to 20 uV",
    "jitter_share": "gains in 31 of 100 examples, and offsets",
}


def recipe_for(name: str, *, quick: bool) -> Recipe:
    """The recipe `name`; `quick` takes 100 Hz, at most twenty epochs, and few records to explain."""
    choose(name, ["as-published", "corrected"], "recipe")
    recipe = _AS_PUBLISHED if name == "as-published" else Recipe()
    if quick:
        recipe = replace(recipe, fs=100.0, epochs=min(recipe.epochs, 20), explained=min(recipe.explained, 5), bf16=True)
    return recipe


@dataclass(frozen=True)
class Question:
    """What is asked of the study: everything that decides what comes out. train: a key of TRAININGS."""

    recipe_name: str
    recipe: Recipe
    model: str
    train: str
    quick: bool
    seed: int
