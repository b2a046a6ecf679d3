"""The two recipes of vijayarangan2020: as the slides have it, and corrected. What differs is what they got wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ecglens.attribution.masks import PUBLISHED
from ecglens.errors import EcglensError, choose
from ecglens.examples.splits import VALIDATION_RULES, expect_resampling
from ecglens.examples.windows import WindowOptions
from ecglens.models.scaling import SCALES
from ecglens.studies.options import part_of
from ecglens.training.options import TrainOptions

MODEL_NAMES = ("ecgnet", "ecgnet-cam", "hannun", "zihlmann")
CLASS_SETS = {"beats": "vijayarangan-beats", "all": "vijayarangan"}
SPLITS = {
    "shuffled": "windows at random, so many of each class: patients are on both sides, and windows overlap, so it LEAKS "
    "(ECGNet's public code)",
    "patients": "a random quarter of the patients",
    "ds1-ds2": "of MIT-BIH, DS1 trains and DS2 tests (de Chazal 2004), patient 201 is in both (records 201 and 202); of other "
    "databases a random quarter of the patients",
}


@dataclass(frozen=True)
class Recipe(TrainOptions):
    """Every choice of a run, by name; `--set NAME=VALUE` changes one.

    See `WindowOptions` for seconds to beats_in_rhythms, `TrainOptions` for the training. per_class: windows of a class
    that "shuffled" takes, a fifth of them to test; resample, validation: rules of `ecglens.examples.splits`; tested_at_most:
    test windows per class, 0 for all; mask: "published" or "corrected" options of deletion-mask; mask_steps: at most;
    masked_per_class, explained_per_class: test windows that get a mask, and the maps of one pass; starts: trainings from
    different random starts; course_per_class: windows whose maps are followed while the network learns; shared: patients whom
    ds1-ds2 has on both sides, "keep" or "leave-out" of training.
    """

    seconds: float = 2.0
    fs: float = 360.0
    lead: str = "MLII"
    rhythm_windows: str = "span"
    beats_in_rhythms: str = "leave-out"
    scale: str = "offset"
    per_class: int = 2_500
    resample: str = "2000-per-class"
    validation: str = "patients"
    tested_at_most: int = 0
    average_over: str = "present"
    shared: str = "leave-out"
    mask: str = "corrected"
    mask_steps: int = 400
    mask_starts: int = 2
    masked_per_class: int = 32
    explained_per_class: int = 400
    starts: int = 2
    course_per_class: int = 24
    rate: float = 1e-3
    epochs: int = 4
    batch: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.windows  # checks its own words
        choose(self.scale, list(SCALES), "scale")
        expect_resampling(self.resample)
        choose(self.validation, list(VALIDATION_RULES), "validation")
        choose(self.average_over, ["all", "present"], "average_over")
        choose(self.shared, ["keep", "leave-out"], "shared")
        choose(self.mask, ["corrected", "published"], "mask")
        for name in ("per_class", "mask_steps", "mask_starts", "masked_per_class", "explained_per_class", "starts"):
            if getattr(self, name) < 1:
                raise EcglensError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.per_class < 5 or self.tested_at_most < 0 or self.course_per_class < 1:
            raise EcglensError(
                f"per_class is {self.per_class}, tested_at_most {self.tested_at_most}, course_per_class "
                f"{self.course_per_class}; expected at least 5, 0 and 1"
            )

    @property
    def windows(self) -> WindowOptions:
        """The part that says how windows are cut."""
        return part_of(self, WindowOptions)

    @property
    def training(self) -> TrainOptions:
        """The part that says how the network is trained."""
        return part_of(self, TrainOptions)

    @property
    def mask_options(self) -> dict[str, Any]:
        """The options of deletion-mask."""
        if self.mask == "published":
            return PUBLISHED | {"steps": min(self.mask_steps, PUBLISHED["steps"])}
        return {"steps": self.mask_steps, "starts": self.mask_starts}


_AS_PUBLISHED = Recipe(
    lead="first",
    rhythm_windows="onset",
    beats_in_rhythms="keep",
    scale="none",
    resample="none",
    validation="none",
    shared="keep",
    mask="published",
    mask_steps=500,
    mask_starts=1,
    masked_per_class=16,
    optimiser="sgd",
    rate=0.01,
    weight_decay=0.0,
    schedule="none",
    epochs=25,
    batch=8,
    bf16=False,
    gain_jitter=0.0,
)

# What the report says about each choice on which the recipes differ
REASONS = {
    "lead": "record 114 has its leads the other way round, so that the first lead is not always the same one",
    "rhythm_windows": "the paper's counts of AFIB and SVTA imply one window an onset: 102 and 22 windows of hours of rhythm",
    "beats_in_rhythms": "an N beat inside atrial fibrillation had label N and looked like AFIB",
    "scale": "electrode offsets differ from record to record, and name the record",
    "resample": "the same number of windows of each class; here also spread evenly over the patients of the class",
    "shared": "patient 201 (records 201 and 202) is in DS1 and in DS2; here in training no more",
    "validation": "no validation was said of; here whole training patients",
    "mask": "a sum of |1 - m| against a probability: nothing is ever worth deleting, and 500 steps of .001 end half-way there",
    "masked_per_class": "500 steps a window",
    "mask_steps": "until the masks stand still, at most so many; the share that does is reported",
    "mask_starts": "masks from different starts differ; their mean and their overlap are reported",
}


def recipe_for(name: str, model: str, split: str, *, quick: bool) -> Recipe:
    """The recipe `name` for a model and a split; `quick` cuts training short."""
    choose(name, ["as-published", "corrected"], "recipe")
    choose(model, [*MODEL_NAMES, "all"], "model")
    recipe = _AS_PUBLISHED if name == "as-published" else Recipe()
    if name == "corrected" and model == "ecgnet-cam" and split == "shuffled":
        # chosen by the loss on a tenth of the training windows, which are of all patients, so for this split alone
        recipe = replace(recipe, rate=3e-3, epochs=8)
    if name == "corrected" and split == "shuffled":
        recipe = replace(recipe, resample="none", validation="none")
    if quick:
        recipe = replace(
            recipe, per_class=500, epochs=3, optimiser="adamw", rate=1e-3, schedule="one-cycle", batch=64, bf16=True,
            tested_at_most=300, mask_steps=60, mask_starts=2, masked_per_class=8, explained_per_class=60, course_per_class=8,
            resample="none" if split == "shuffled" else "400-per-class",
        )  # fmt: skip
    return recipe


@dataclass(frozen=True)
class Question:
    """What is asked of the study: everything that decides what comes out."""

    recipe_name: str
    recipe: Recipe
    model: str
    split: str
    classes: str
    quick: bool
    seed: int
