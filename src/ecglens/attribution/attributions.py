"""Maps of a whole data set, kept in the run folder and read back without loading them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecglens.attribution.gradient import METHODS
from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples
from ecglens.files import write_json, written_whole
from ecglens.models.classifier import Classifier
from ecglens.progress import bar

_BATCH = 256


@dataclass(frozen=True)
class Attributions:
    """Maps (example, lead, time) of one method, memory-mapped; rows: which example of the data set each map is of;
    target: the class that was asked about (index)."""

    method: str
    maps: NDArray[np.float32]
    rows: NDArray[np.int64]
    target: NDArray[np.int64]


def attribute(
    classifier: Classifier,
    examples: Examples,
    rows: NDArray[np.int64],
    target: NDArray[np.int64],
    method: str,
    folder: Path,
) -> Attributions:
    """Explain `examples` at `rows` for the classes `target`, batch by batch, into `folder`/METHOD.npy.

    Raises EcglensError for an unknown method or when a map holds NaN.
    """
    function = METHODS[choose(method, sorted(METHODS), "method")]
    shape = (len(rows), len(examples.leads), examples.length)
    with written_whole(folder / f"{method}.npy") as beside, beside.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        with bar("explain", len(rows)) as progress:
            for start in range(0, len(rows), _BATCH):
                part = rows[start : start + _BATCH]
                maps = function(classifier, examples.take(part), target[start : start + _BATCH])
                if not np.isfinite(maps).all():
                    raise EcglensError(f"{method} of {classifier.name} gave a map that holds NaN or infinity")
                file.write(maps.astype("<f4").tobytes())
                progress.step(len(part))
        # the list of rows goes just before the maps change and comes after: a kill in between leaves nothing that looks whole
        (folder / f"{method}.json").unlink(missing_ok=True)
    write_json(folder / f"{method}.json", {"rows": rows.tolist(), "target": target.tolist()})
    return read_attributions(folder, method)


def read_attributions(folder: Path, method: str) -> Attributions:
    """What `attribute` wrote; raises EcglensError where it is missing or damaged."""
    try:
        maps = np.load(folder / f"{method}.npy", mmap_mode="r", allow_pickle=False)
        about = json.loads((folder / f"{method}.json").read_text(encoding="utf-8"))
        found = Attributions(method, maps, np.array(about["rows"], np.int64), np.array(about["target"], np.int64))
    except FileNotFoundError as error:
        raise EcglensError(f"{folder} holds no maps of {method} ({Path(str(error.filename)).name} is missing)") from None
    except (ValueError, OSError, EOFError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise EcglensError(f"{folder / method}.npy is damaged ({reason}); delete it and run again") from None
    if maps.ndim != 3 or not len(maps) == len(found.rows) == len(found.target):
        raise EcglensError(
            f"{folder / method}.npy is damaged: shape {maps.shape}, {len(found.rows)} rows, "
            f"{len(found.target)} targets; delete it and run again"
        )
    return found
