"""Checksums by which a store knows its model, its data and its settings again."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.examples.boxes import Boxes
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
from ecglens.models.classifier import Classifier


def fingerprint(value: Any) -> str:
    """Changes with an array, or with regions or boxes and where they are."""
    arrays, words = [value], ""
    if isinstance(value, Regions):
        arrays, words = [value.row, value.start, value.stop], repr((value.names, value.lead))
    elif isinstance(value, Boxes):
        arrays, words = [value.top, value.bottom, value.left, value.right], repr(value.names)
    digest = hashlib.sha256(words.encode())
    for array in arrays:
        digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def model_checksum(classifier: Classifier) -> str:
    """Changes with the weights, and with how the model is used."""
    digest = hashlib.sha256(repr((classifier.name, classifier.classes, classifier.scale, classifier.cam_layer)).encode())
    for name, value in sorted(classifier.module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def data_checksum(data: Examples | NDArray[np.floating[Any]], span: NDArray[np.int64] | None = None) -> str:
    """Changes with the data: shape, and a hash of all samples, read piece by piece; and with the span that is drawn."""
    array = data.signals if isinstance(data, Examples) else data
    digest = hashlib.sha256(repr((array.shape, str(array.dtype))).encode())
    for first in range(0, len(array), 4096):
        digest.update(np.ascontiguousarray(array[first : first + 4096]).data)
    if span is not None:
        digest.update(np.ascontiguousarray(span).data)
    return digest.hexdigest()[:16]


def regions_told(keep: Regions | Boxes | None) -> dict[str, Any]:
    """What a plan says of the regions or boxes that maps are cut down to."""
    if isinstance(keep, Boxes):
        return {"regions": None, "boxes": list(keep.names), "regions_at": fingerprint(keep)}
    names = None if keep is None else [f"{lead} {name}" for lead, name in zip(keep.lead, keep.names, strict=True)]
    return {"regions": names, "regions_at": None if keep is None else fingerprint(keep)}
