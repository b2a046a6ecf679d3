"""From sums of maps and answers to the tables of the report."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ecglens.analysis.beat_boxes import SIGNAL
from ecglens.analysis.beat_occlusion import occlude_regions, occlusion_table
from ecglens.analysis.focus import Focus, focus, focus_of_sums, focus_table, groups_of
from ecglens.analysis.retiming import retiming_effect, retiming_table
from ecglens.attribution import explain
from ecglens.attribution.attributions import Attributions
from ecglens.attribution.resizing import resized
from ecglens.examples.beat_regions import beat_regions
from ecglens.examples.boxes import Boxes
from ecglens.examples.examples import Examples
from ecglens.examples.retimed import WHERE
from ecglens.examples.sliding import beats_at
from ecglens.examples.splits import VALIDATION
from ecglens.files import write_json, write_table
from ecglens.models import Classifier
from ecglens.models.pictured import rasteriser_of
from ecglens.models.rasteriser import SIZE, Rasteriser, column_ranges
from ecglens.report.shown import ShownPicture, write_shown
from ecglens.runs import Run
from ecglens.studies.options import differing_options
from ecglens.studies.varandas2021 import map_options
from ecglens.studies.varandas2021_material import Material
from ecglens.studies.varandas2021_published import TABLE_1, solved
from ecglens.studies.varandas2021_recipe import REASONS, Question, Recipe, recipe_for
from ecglens.training.operating import sensitivity_at

if TYPE_CHECKING:
    from ecglens.studies.varandas2021 import Focused

# The paper sums the size of gradients; the other two maps keep what speaks for the class
PARTS = {"saliency": "magnitude", "grad-cam": "positive", "guided-grad-cam": "positive"}
_EARLY = -0.2  # of the RR interval
_HELD = (0.2, 0.3)  # s around R that keep their shape when beats are moved; with more, hardly a gap could be made shorter
_PLACES = dict(zip(WHERE, ("beside", "other", "all"), strict=True))  # in the names of metrics
# Of the paper's two models, solved from its Table 1
NORMAL_RECALL = tuple(
    round(solved(row["accuracy"], row["f1_normal"], row["precision_abnormal"])["recall_normal"], 3) for row in TABLE_1.values()
)


def analyse(
    question: Question, classifier: Classifier, material: Material, tested: Examples, logits: NDArray[np.float32],
    focused: Focused, this: Run,
) -> None:  # fmt: skip
    """Write every table that the report reads, and add what was found to metrics.json; tested: the test side of material."""
    metrics: dict[str, Any] = json.loads((this.path / "metrics.json").read_text(encoding="utf-8"))
    metrics |= {f"test.balanced_accuracy{end}": metrics[f"test.macro_recall{end}"] for end in ("", "_low", "_high")}
    metrics |= {f"test.{key}": value for key, value in headline(question.recipe, metrics).items()}
    metrics |= _write_operating(question, classifier, material, tested, logits, this)
    predicted = logits.argmax(1).astype(np.int64)[focused.rows]
    metrics |= _write_focus(question, classifier, focused, predicted, this)
    metrics |= _write_probes(question, classifier, tested, this)
    _write_shown(classifier, focused, predicted, question, this)
    _write_recipes(question, this)
    write_json(this.path / "metrics.json", metrics)


def headline(recipe: Recipe, metrics: dict[str, Any]) -> dict[str, Any]:
    """What is put forward of metrics.json: F1 and precision, each of the class that the recipe names."""
    of = {"f1": recipe.f1_of, "precision": recipe.precision_of}
    return {f"headline_{name}": metrics[f"test.per_class.{word}.{name}"] for name, word in of.items()}


def _write_operating(
    question: Question, classifier: Classifier, material: Material, tested: Examples, logits: NDArray[np.float32], this: Run
) -> dict[str, Any]:
    """tables/operating.csv: sensitivity where normal recall is given.

    threshold there: "test ROC", read off the test windows, or "validation", chosen on the validation side.
    """
    abnormal = tested.labels == 1
    score = (logits[:, 1] - logits[:, 0]).astype(np.float64)
    patients = tested.column("patient").astype(str)
    rows = []
    for recall in NORMAL_RECALL:
        value, low, high = sensitivity_at(score, abnormal, patients, recall, seed=question.seed)
        rows.append(_point("test ROC", recall, value, low, high))
    held = np.flatnonzero(material.plan.split == VALIDATION)
    if len(held) and (material.examples.labels[held] == 0).any():
        # a threshold that no test window has chosen
        usual = material.examples.take(held[material.examples.labels[held] == 0])
        z = classifier.logits(usual)
        limit = np.quantile(z[:, 1] - z[:, 0], NORMAL_RECALL[question.set_number - 1])
        recall, value = float((score[~abnormal] <= limit).mean()), float((score[abnormal] > limit).mean())
        rows.append(_point("validation", recall, value))
    own = rows[question.set_number - 1]  # the paper's two models differ in normal recall
    write_table(this.tables / "operating.csv", pd.DataFrame(rows))
    return {
        "test.prevalence_normal": float(1 - abnormal.mean()),
        "test.paper_recall": own["normal_recall"],
        "test.sensitivity_at_paper_recall": own["sensitivity"],
        "test.sensitivity_at_paper_recall_low": own["sensitivity_low"],
        "test.sensitivity_at_paper_recall_high": own["sensitivity_high"],
    }


def _point(threshold: str, recall: float, value: float, low: float = np.nan, high: float = np.nan) -> dict[str, Any]:
    """A row of operating.csv; threshold: where it comes from."""
    point = {"threshold": threshold, "normal_recall": recall}
    return point | {"sensitivity": value, "sensitivity_low": low, "sensitivity_high": high}


def _write_focus(
    question: Question, classifier: Classifier, focused: Focused, predicted: NDArray[np.int64], this: Run
) -> dict[str, Any]:
    """tables/focus.csv (groups of the paper), positions.csv (beats and gaps, by class), focus-values.csv (each picture)."""
    examples, recipe = focused.examples, question.recipe
    found: dict[str, Any] = {}
    patients = examples.column("patient").astype(str)
    groups = groups_of(examples.labels, predicted, examples.classes)
    tables, positions, values = [], [], []
    for method, part in PARTS.items():
        positive, negative = focused.maps.mass(method)
        here = focus_of_sums(positive, negative, focused.boxes, part=part, within=None if classifier.draws else SIGNAL)
        regions = _of(here, ("rectangle", "extent"))
        table = focus_table(regions, groups, patients, empty=recipe.empty, seed=question.seed)
        table.insert(0, "method", method)
        tables.append(table)
        tiles = _of(here, tuple(name for name in here.names if name not in ("rectangle", "extent", SIGNAL)))
        by_class = {name: groups[name] for name in examples.classes}
        table = focus_table(tiles, by_class, patients, empty=recipe.empty, seed=question.seed)
        table.insert(0, "method", method)
        positions.append(table.rename(columns={"group": "class"}))
        k = here.names.index(recipe.region)
        values.append(
            pd.DataFrame({"id": examples.column("id"), "method": method, "focus": here.share[:, k], "random": here.area[:, k]})
        )
        found |= _flat(tables[-1], method, recipe.region)
        if not classifier.draws:
            found[f"focus.{method}.on_padding"] = _mean(here.outside)
        # of all pictures: which maps are empty has no say in what chance gives
        found |= {"focus.random.mean": _mean(here.area[:, k]), "focus.random.sd": float(here.area[:, k].std())}
    write_table(this.tables / "focus.csv", pd.concat(tables))
    write_table(this.tables / "positions.csv", pd.concat(positions))
    whole = pd.concat(values)
    # as text: with nine digits a table of all pictures is twice as large
    whole[["focus", "random"]] = whole[["focus", "random"]].round(5)
    write_table(this.tables / "focus-values.csv", whole)
    return found


def _of(focus: Focus, names: tuple[str, ...]) -> Focus:
    """The focus on some of the regions."""
    columns = [focus.names.index(name) for name in names]
    return Focus(names, focus.share[:, columns], focus.area[:, columns], focus.empty, focus.outside)


def _flat(table: pd.DataFrame, method: str, region: str) -> dict[str, float]:
    row = table[(table["group"] == "all") & (table["region"] == region)].iloc[0]
    names = {"mean": "focus", "sd": "focus_sd", "enrichment": "enrichment", "empty_rate": "empty_rate"}
    return {f"focus.{method}.{key}": float(row[column]) for key, column in names.items()}


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _write_probes(question: Question, classifier: Classifier, tested: Examples, this: Run) -> dict[str, Any]:
    """tables/occlusion.csv and retiming.csv: what hiding a beat or a gap does, and what moving a beat does."""
    limit = question.recipe.probed_per_class
    if not limit:
        return {}
    rng = np.random.default_rng([question.seed, 5])
    some = [rng.permutation(np.flatnonzero(tested.labels == label))[:limit] for label in range(len(tested.classes))]
    part = tested.take(np.sort(np.concatenate(some)))
    patients = part.column("patient").astype(str)
    occluded = occlude_regions(classifier, part, beat_regions(part))
    table = occlusion_table(occluded, part.labels, part.classes, patients, seed=question.seed)
    write_table(this.tables / "occlusion.csv", table)
    effect = retiming_effect(classifier, part, extent=_HELD)
    moved = retiming_table(effect, part.labels, part.classes, patients, seed=question.seed)
    write_table(this.tables / "retiming.csv", moved)
    return {"probed.n": len(part)} | _early(moved)


def _early(moved: pd.DataFrame) -> dict[str, float]:
    """How much more often a normal window is called abnormal when a gap is made a fifth shorter, by place of the gap."""
    early = moved[(moved["class"] == "normal") & np.isclose(moved["change"], _EARLY) & (moved["n"] > 0)]
    out = {}
    for row in early.to_dict("records"):
        place = _PLACES[row["where"]]
        out[f"retiming.{place}.change"] = float(row["change"])
        out[f"retiming.{place}.rise"] = float(row["called_abnormal"] - row["called_abnormal_before"])
    return out


def _write_shown(
    classifier: Classifier, focused: Focused, predicted: NDArray[np.int64], question: Question, this: Run
) -> None:
    """tables/shown.npz: one right and, where there is one, one wrong picture of each class, in the middle of their list."""
    examples = focused.examples
    chosen = []
    for label in range(len(examples.classes)):
        for right in (True, False):
            mine = np.flatnonzero((examples.labels == label) & ((predicted == label) == right))
            chosen += [int(mine[len(mine) // 2])] if len(mine) else []
    part = examples.take(np.array(chosen))
    maps = explain(classifier, part, list(PARTS), target=question.recipe.target, options=map_options(), quiet=True)
    boxes = focused.boxes.take(np.array(chosen))
    at = boxes.names.index(question.recipe.region)
    shown = []
    for k in range(len(part)):
        box = (boxes.top[k, at], boxes.bottom[k, at], boxes.left[k, at], boxes.right[k, at])
        shown.append(_picture(classifier, part, maps, k, box, str(examples.classes[predicted[chosen[k]]]), question))
    write_shown(this.tables / "shown.npz", shown)


def _picture(
    classifier: Classifier, part: Examples, maps: Attributions, k: int, box: tuple[float, float, float, float], predicted: str,
    question: Question,
) -> ShownPicture:  # fmt: skip
    """Example `k` as the model saw it; a model of signals gets a picture as well, its maps are bands then."""
    one = part.take(np.array([k]))
    start, stop = (int(one.column(name)[0]) for name in ("valid_start", "valid_stop"))
    picture = rasteriser_of(classifier) if classifier.draws else Rasteriser(height_mv=question.recipe.height_mv)
    x, span = torch.from_numpy(one.signals), torch.tensor([[start, stop]])
    middle = float(picture.middle(*column_ranges(x[:, 0], span, picture.columns)))
    found = {name: maps[name][k] if classifier.draws else maps[name][k][:, start:stop] for name in PARTS}
    counted = {name: np.abs(map_) if PARTS[name] == "magnitude" else np.maximum(map_, 0) for name, map_ in found.items()}
    shown, summed = (
        {name: map_[0] if classifier.draws else _band(map_[0]) for name, map_ in each.items()} for each in (found, counted)
    )
    if not classifier.draws:
        left, right = np.clip((np.array(box[2:]) * part.length - start) / (stop - start), 0, 1)  # the signal alone is shown
        box = (*box[:2], float(left), float(right))
    edges = Boxes(("box",), *(np.array([[side]]) for side in box))
    r = beats_at(one)[0]
    about = one.table.iloc[0]
    return ShownPicture(
        id=about["id"], group=f"set {question.set_number}", label=part.classes[int(one.labels[0])], predicted=predicted,
        lead=about["lead_names"], ink=picture(x, span)[0, 0].numpy(), maps=shown,
        time_maps={name: map_.sum(axis=0) for name, map_ in summed.items()},
        focus={name: float(focus(map_[None], edges, part=PARTS[name]).share[0, 0]) for name, map_ in found.items()},
        box=box, time_s=(np.arange(stop - start) + 0.5) / one.fs, mv=one.signals[0, 0, start:stop],
        r_s=(r[r >= 0] - start + 0.5) / one.fs, seconds=(0.0, (stop - start) / one.fs),
        millivolts=(middle - question.recipe.height_mv / 2, middle + question.recipe.height_mv / 2),
    )  # fmt: skip


def _band(map_: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map of time as a picture of one row."""
    return resized(map_[None], (SIZE,)).astype(np.float32)


def _write_recipes(question: Question, this: Run) -> None:
    """tables/recipes.csv: the options on which the two recipes differ, the value of this run, and why it matters."""
    published, corrected, own = (
        recipe_for(name, question.model, question.set_number, quick=False)
        for name in ("as-published", "corrected", question.recipe_name)
    )
    rows = differing_options((published, corrected), own, question.recipe, REASONS)
    write_table(this.tables / "recipes.csv", pd.DataFrame(rows))
    write_json(this.tables / "recipe.json", asdict(question.recipe))
