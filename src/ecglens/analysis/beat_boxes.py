"""Where the labelled beat, and every other beat and gap, lies on what a model sees: on its picture, or on the signal."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ecglens.examples.beat_regions import beat_extents, beat_regions
from ecglens.examples.boxes import Boxes, joined
from ecglens.examples.examples import Examples
from ecglens.examples.sliding import labelled
from ecglens.models import Classifier
from ecglens.models.pictured import rasteriser_of, whole

RECTANGLE = (0.2, 0.4)  # s before and behind R
SIGNAL = "signal"
_AT_ONCE = 1024


def beat_boxes(classifier: Classifier, examples: Examples) -> Boxes:
    """Boxes on the maps of `classifier` for windows that know their beats (`cut_sliding`).

    "rectangle": the labelled beat from R - 0.2 s to R + 0.4 s and, on a picture, as high as the line is there (Varandas 2021,
    figure 3; seconds inferred: so its mean area is the paper's random focus); "extent": the same beat over the whole height,
    as `ecglens.examples.beat_regions` bounds it; that module's tiles ("before", "beat 1", "gap 1-2" ...); "signal": all but
    padding. A picture shows the signal alone, stretched to its width, where the model is told its span. Raises EcglensError as
    `beat_extents`, and without the column "labelled".
    """
    first, stop = (examples.column(name).astype(np.int64)[:, None] for name in ("valid_start", "valid_stop"))
    before, behind = (round(seconds * examples.fs) for seconds in RECTANGLE)
    r = examples.column("r_index").astype(np.int64)[:, None]
    left, right = np.maximum(r - before, first), np.minimum(r + behind, stop)
    tiles = beat_regions(examples)
    _, starts, stops = beat_extents(examples)
    at = np.arange(len(examples)), labelled(examples)
    names = ("extent", *tiles.names, SIGNAL)
    begin = np.column_stack([starts[at], tiles.start, first])
    end = np.column_stack([stops[at], tiles.stop, stop])
    if not classifier.draws or classifier.context != "span":
        first, stop = np.zeros_like(first), np.full_like(stop, examples.length)
    size = stop - first
    box = _high((left - first) / size, (right - first) / size, ("rectangle",))
    if classifier.draws:
        box = _tight(classifier, examples, box)
    return joined(box, _high((begin - first) / size, (end - first) / size, names))


def _high(left: NDArray[np.float64], right: NDArray[np.float64], names: tuple[str, ...]) -> Boxes:
    """Boxes over the whole height."""
    return Boxes(names, np.zeros_like(left), np.ones_like(left), left, right)


def _tight(classifier: Classifier, examples: Examples, box: Boxes) -> Boxes:
    """The boxes cut to where there is ink in the columns that they touch."""
    picture = rasteriser_of(classifier)
    top, bottom = np.empty((2, len(examples), 1))
    for start in range(0, len(examples), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(examples)))
        with torch.no_grad():
            x, *span = classifier.inputs(examples.take(rows))
            edges = picture.edges(x, span[0] if span else whole(x))
        upper, lower = (edge.cpu().double().numpy() for edge in edges)
        column = np.arange(picture.columns)
        touched = (column + 1 > box.left[rows] * picture.columns) & (column < box.right[rows] * picture.columns)
        top[rows, 0] = np.where(touched, upper, picture.rows).min(1) / picture.rows
        bottom[rows, 0] = np.where(touched, lower, 0).max(1) / picture.rows
    return Boxes(box.names, top.clip(0, 1), np.maximum(bottom, top).clip(0, 1), box.left, box.right)
