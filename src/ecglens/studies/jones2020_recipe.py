"""The two recipes of jones2020: as the authors did it, and corrected. What differs is what the paper got wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ecglens.attribution.registry import find_method
from ecglens.errors import EcglensError, choose
from ecglens.examples.beats import BeatOptions
from ecglens.examples.splits import VALIDATION_RULES, expect_resampling
from ecglens.models.scaling import SCALES
from ecglens.studies.options import part_of
from ecglens.training.options import TrainOptions

MODEL_NAMES = {"cnn": "jones-cnn", "lstm": "jones-lstm", "resnet": "resnet", "resnet-rr": "resnet-rr"}


@dataclass(frozen=True)
class Recipe(TrainOptions):
    """Every choice of a run, by name; `--set NAME=VALUE` changes one.

    See `BeatOptions` for extent to usual_beat, `TrainOptions` for the training. swap_leads puts record 114's leads in the
    order of the others; scale is a key of `ecglens.models.scaling.SCALES`; resample and validation are rules of
    `ecglens.examples.splits`; average_over: macro averages over classes "present" in the test set or "all"; map_of:
    any method that `ecglens methods` lists, such as "saliency" or "mean-activation" (class-free gradient of the last
    convolution's mean on raw integers, min-max over the vector); explain_at_most: beats per class that get a map; precision:
    above 0, only as many beats as it takes to know each class's medians so well (simultaneous: all of them together);
    rows_at_most: training rows in an epoch, 0 for all; shared: patients whom ds1-ds2 has on both sides, "keep" or "leave-out"
    of training.
    """

    extent: str = "fixed"
    neighbours: str = "beats"
    padding: str = "centre"
    length: int = 430
    merge_case: bool = False
    join_leads: bool = False
    usual_beat: bool = False
    swap_leads: bool = True
    scale: str = "offset"
    resample: str = "at-least-3%"
    validation: str = "stratified"
    average_over: str = "present"
    map_of: str = "saliency"
    explain_at_most: int = 100_000
    precision: float = 0.0
    simultaneous: bool = False
    rows_at_most: int = 0
    shared: str = "leave-out"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.beats  # checks its own words
        choose(self.scale, list(SCALES), "scale")
        expect_resampling(self.resample)
        choose(self.validation, list(VALIDATION_RULES), "validation")
        choose(self.average_over, ["all", "present"], "average_over")
        choose(self.shared, ["keep", "leave-out"], "shared")
        find_method(self.map_of)
        if not 0 <= self.precision <= 1:
            raise EcglensError(f"precision is {self.precision:g}; expected 0 (explain all) to 1, such as 0.02")
        if self.explain_at_most < 1 or self.rows_at_most < 0:
            raise EcglensError(
                f"explain_at_most is {self.explain_at_most}, rows_at_most {self.rows_at_most}; expected at least 1 and 0"
            )

    @property
    def beats(self) -> BeatOptions:
        """The part that says how beats are cut."""
        return part_of(self, BeatOptions)

    @property
    def training(self) -> TrainOptions:
        """The part that says how the network is trained."""
        return part_of(self, TrainOptions)


_AS_PUBLISHED = Recipe(
    extent="halfway",
    neighbours="annotations",
    padding="end",
    merge_case=True,
    join_leads=True,
    swap_leads=False,
    scale="joint",
    resample="second-largest",
    validation="last-tenth",
    average_over="all",
    shared="keep",
    map_of="mean-activation",
    optimiser="adam",
    rate=1e-3,
    weight_decay=0.0,
    schedule="plateau",
    bf16=False,
    gain_jitter=0.0,
)

# --quick: training rows in an epoch, epochs, maps per class; for two cores and a minute in all
_QUICK = {"cnn": (1_200, 1, 40), "lstm": (6_000, 2, 150)}

# What the report says about each choice on which the recipes differ
FURTHER_REASONS = {
    "usual_beat": "with the patient's usual beat in view, 'unlike the others' can be told from 'unlike other patients'",
}
REASONS = {
    "extent": "half-way beats end where the next beat comes: their length tells the rate, and 2 % are too long and lost",
    "neighbours": "rhythm and noise marks counted as neighbours, so some beats are cut short by a comment",
    "padding": "zeros at the end put R at another place in every beat, and the network can read the beat's length off them",
    "merge_case": "'a' fell into 'A' and 'e' into 'E', as folder names did not tell upper from lower case",
    "join_leads": "leads one behind the other share a scale, and a convolution runs across the seam",
    "swap_leads": "record 114 has its leads the other way round",
    "scale": "one minimum and maximum for both leads and the padding: one lead's artefact rescales the other",
    "resample": "the normal class was cut to a tenth; rare classes were repeated up to a thousand times",
    "validation": "the last tenth of the resampled rows, in order of class, is class V alone and repeats of training beats",
    "shared": "patient 201 (records 201 and 202) is in DS1 and in DS2; here in training no more",
    "average_over": "classes that do not occur in the test set counted as 0",
    "map_of": "the gradient of the mean of a layer: no class enters it, and its input was not the scaled one of training",
}


def recipe_for(name: str, model: str, split: str, *, quick: bool) -> Recipe:
    """The recipe `name` for a model ("cnn", "lstm", "resnet", "resnet-rr") and a split; `quick` cuts training short."""
    choose(name, ["as-published", "corrected"], "recipe")
    choose(model, list(MODEL_NAMES), "model")
    if name == "as-published":
        recipe = _as_published(model, by_beat=split == "holdout")
    else:
        recipe = _corrected(model, split)
    if quick:
        rows, epochs, maps = _QUICK.get(model, (14_000, 2, 300))
        recipe = replace(recipe, rows_at_most=rows, epochs=epochs, explain_at_most=maps, bf16=model != "lstm")
    return recipe


def _as_published(model: str, *, by_beat: bool) -> Recipe:
    if model == "lstm":
        return replace(_AS_PUBLISHED, loss="focal", optimiser="nadam", schedule="none", epochs=40 if by_beat else 20)
    return replace(_AS_PUBLISHED, epochs=30 if by_beat else 15)


def _corrected(model: str, split: str) -> Recipe:
    """Chosen on training patients alone: docs/results/jones2020.md says how."""
    recipe = Recipe(epochs=4) if split == "holdout" else Recipe(epochs=2, validation="patients")
    if split == "ds1-ds2":
        # ectopic beats stand out from the patient's others; of a class that fills whole records that cannot be said
        recipe = replace(recipe, usual_beat=True, scale="usual", epochs=4)
    if model == "lstm":
        return replace(recipe, epochs=15, bf16=False)
    if model == "cnn":
        return replace(recipe, rate=1e-3)
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
