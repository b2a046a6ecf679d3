"""Checksums by which a store knows its model, its data and its settings again."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
from ecglens.models.classifier import Classifier


def fingerprint(value: Any) -> str:
    """Changes with an array, or with regions and where they are."""
    arrays = [value.row, value.start, value.stop] if isinstance(value, Regions) else [value]
    words = repr((value.names, value.lead)) if isinstance(value, Regions) else ""
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


def data_checksum(data: Examples | NDArray[np.floating[Any]]) -> str:
    """Changes with the data: shape, and a hash of all samples, read piece by piece."""
    array = data.signals if isinstance(data, Examples) else data
    digest = hashlib.sha256(repr((array.shape, str(array.dtype))).encode())
    for first in range(0, len(array), 4096):
        digest.update(np.ascontiguousarray(array[first : first + 4096]).data)
    return digest.hexdigest()[:16]
