"""The examples that a report shows as pictures with their maps, and the file in the run folder that keeps them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.files import written_whole

_Array = NDArray[np.floating[Any]]
_WORDS, _ARRAYS = ("id", "group", "label", "predicted", "lead"), ("ink", "time_s", "mv", "r_s")
# What numpy raises on archives that are damaged
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, TokenError, LookupError, ValueError, TypeError, OSError, EOFError, RuntimeError,
)  # fmt: skip
_EDGES = ("seconds", "millivolts", "box")


@dataclass(frozen=True)
class ShownPicture:
    """One example as the model saw it: its picture, its trace, and its map by each method.

    group: words before the title ("set 1"), may be empty; label, predicted: class names; lead: of the trace.
    ink: (row, column), 0 is paper and 1 ink; maps: method to (row, column), any resolution; focus: method to the share of the
    map's mass in the box, NaN for an empty map; time_maps: method to (cell,), what focus counts of the map summed down the
    columns, cells of equal width from the left edge of the picture to the right. box: top, bottom, left, right of the labelled
    beat's region, shares of the picture, 0 is the top and the left. time_s, mv: (time,), the trace in s and mV; r_s: (beat,),
    R of its beats in s. seconds, millivolts: what the left and the right edge, the bottom and the top edge of the picture
    stand for. Raises EcglensError where these do not fit each other.
    """

    id: str
    group: str
    label: str
    predicted: str
    lead: str
    ink: _Array
    maps: dict[str, _Array]
    time_maps: dict[str, _Array]
    focus: dict[str, float]
    box: tuple[float, float, float, float]
    time_s: _Array
    mv: _Array
    r_s: _Array
    seconds: tuple[float, float]
    millivolts: tuple[float, float]

    def __post_init__(self) -> None:
        if not self.maps or not list(self.maps) == list(self.time_maps) == list(self.focus):
            raise EcglensError(
                f"{self.id}: maps of {_names(self.maps)}, time_maps of {_names(self.time_maps)}, focus of "
                f"{_names(self.focus)}; expected the same methods in the same order, one or more"
            )
        for what, array, axes in self._arrays():
            if array.ndim != axes or array.size == 0:
                raise EcglensError(
                    f"{self.id}: {what} has shape {array.shape}; expected {axes} dimensions, none of them empty"
                )
        if self.r_s.ndim != 1:
            raise EcglensError(f"{self.id}: r_s has shape {self.r_s.shape}; expected one R a beat, in s")
        if len(self.mv) != len(self.time_s) or len(self.mv) < 2:
            raise EcglensError(f"{self.id}: {len(self.mv)} mv for {len(self.time_s)} time_s; expected as many, two or more")
        top, bottom, left, right = self.box
        if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
            raise EcglensError(f"{self.id}: box {self.box}; expected top < bottom and left < right, all from 0 to 1")
        for what, (low, high) in (("seconds", self.seconds), ("millivolts", self.millivolts)):
            if not -np.inf < low < high < np.inf:
                raise EcglensError(f"{self.id}: {what} {low} to {high}; expected two numbers, the smaller one first")

    @property
    def area(self) -> float:
        """The box's share of the picture: the focus of a map that is the same everywhere."""
        top, bottom, left, right = self.box
        return (bottom - top) * (right - left)

    @property
    def box_seconds(self) -> tuple[float, float]:
        """Left and right edge of the box in s."""
        first, last = self.seconds
        return first + self.box[2] * (last - first), first + self.box[3] * (last - first)

    def _arrays(self) -> list[tuple[str, _Array, int]]:
        maps = [(f"map {name!r}", array, 2) for name, array in self.maps.items()]
        cells = [(f"time map {name!r}", array, 1) for name, array in self.time_maps.items()]
        return [("ink", self.ink, 2), ("time_s", self.time_s, 1), ("mv", self.mv, 1), *maps, *cells]


def write_shown(path: Path, shown: Sequence[ShownPicture]) -> None:
    """Write examples to an .npz file, whole or not at all; same examples, same bytes. No pickle is in it."""
    arrays: dict[str, NDArray[Any]] = {"number": np.array(len(shown))}
    for k, one in enumerate(shown):
        arrays[f"{k}/words"] = np.array([getattr(one, name) for name in _WORDS], np.str_)
        arrays[f"{k}/methods"] = np.array(list(one.maps), np.str_)
        arrays[f"{k}/focus"] = np.array(list(one.focus.values()), np.float64)
        arrays |= {f"{k}/{name}": np.array(getattr(one, name), np.float64) for name in _EDGES}
        arrays |= {f"{k}/{name}": np.asarray(getattr(one, name), np.float32) for name in _ARRAYS}
        for m, name in enumerate(one.maps):
            arrays[f"{k}/map {m}"] = np.asarray(one.maps[name], np.float32)
            arrays[f"{k}/time map {m}"] = np.asarray(one.time_maps[name], np.float32)
    # numpy adds .npz to a path, not to a handle
    with written_whole(path) as beside, beside.open("wb") as handle:
        np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]


@contextmanager
def arrays_of(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """The arrays of an .npz file; raises EcglensError, also for what is read inside, when it is missing or damaged."""
    if not path.is_file():
        raise EcglensError(f"{path} is missing: run the study again, its examples with maps are kept there")
    try:
        with np.load(path, allow_pickle=False) as found:
            yield found
    except EcglensError as error:
        raise EcglensError(f"{path}: {error}; run the study again") from None
    except _DAMAGE as error:
        raise EcglensError(f"{path} cannot be read ({type(error).__name__}): damaged; run the study again") from None


def read_shown(path: Path) -> list[ShownPicture]:
    """The examples that `write_shown` wrote; raises EcglensError when the file is missing or damaged."""
    with arrays_of(path) as found:
        return [_one({name: found[f"{k}/{name}"] for name in _keys(found, k)}) for k in range(int(found["number"]))]


def _keys(found: np.lib.npyio.NpzFile, k: int) -> list[str]:
    return [name.removeprefix(f"{k}/") for name in found.files if name.startswith(f"{k}/")]


def _one(found: dict[str, NDArray[Any]]) -> ShownPicture:
    methods = [str(name) for name in found["methods"]]
    id, group, label, predicted, lead = (str(word) for word in found["words"])
    top, bottom, left, right = (float(edge) for edge in found["box"])
    first, last = (float(edge) for edge in found["seconds"])
    lowest, highest = (float(edge) for edge in found["millivolts"])
    return ShownPicture(
        id, group, label, predicted, lead, found["ink"],
        maps={name: found[f"map {m}"] for m, name in enumerate(methods)},
        time_maps={name: found[f"time map {m}"] for m, name in enumerate(methods)},
        focus={name: float(share) for name, share in zip(methods, found["focus"], strict=True)},
        box=(top, bottom, left, right), time_s=found["time_s"], mv=found["mv"], r_s=found["r_s"],
        seconds=(first, last), millivolts=(lowest, highest),
    )  # fmt: skip


def _names(by_method: dict[str, object] | dict[str, _Array] | dict[str, float]) -> str:
    return ", ".join(by_method) or "nothing"
