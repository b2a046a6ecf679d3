"""Where beats lie on what a model sees: the rectangle of the labelled beat, the tiles, and the signal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from beating import beating, beats_of, extents_slowly
from ecglens.analysis.beat_boxes import SIGNAL, beat_boxes
from ecglens.errors import EcglensError
from ecglens.examples.boxes import Boxes, box_areas
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.sliding import SlidingOptions, cut_sliding
from ecglens.examples.splits import DS2_RECORDS
from ecglens.models import Classifier
from ecglens.models.pictured import Pictured
from ecglens.models.rasteriser import Rasteriser
from ecglens.recordings.recording import Recording
from nets import classifier

TILES = ("before", *(name for k in range(1, 6) for name in (f"beat {k}", f"gap {k}-{k + 1}")), "beat 6", "after")


def drawing(examples: Examples, *, rows: int = 224, columns: int = 224, context: str | None = "span") -> Classifier:
    """A model that draws; its network is never asked."""
    return classifier(
        Pictured(Rasteriser(rows, columns), nn.Identity()), classes=examples.classes, leads=examples.leads, fs=examples.fs,
        length=examples.length, draws=True, context=context,
    )  # fmt: skip


def plain(examples: Examples) -> Classifier:
    return classifier(nn.Identity(), classes=examples.classes, leads=examples.leads, fs=examples.fs, length=examples.length)


def ink_of(model: Classifier, examples: Examples) -> np.ndarray:
    """The pictures, (example, row, column)."""
    return model.module.picture(*model.inputs(examples))[:, 0].numpy()


def box(boxes: Boxes, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """top, bottom, left, right of one box in all examples."""
    at = boxes.names.index(name)
    return boxes.top[:, at], boxes.bottom[:, at], boxes.left[:, at], boxes.right[:, at]


def expect_tight(ink: np.ndarray, boxes: Boxes) -> None:
    """In the columns that it touches, the rectangle holds all ink and reaches to its first and last row."""
    n, rows, columns = ink.shape
    top, bottom, left, right = box(boxes, "rectangle")
    for k in range(n):
        touched = [c for c in range(columns) if c + 1 > left[k] * columns + 1e-6 and c < right[k] * columns - 1e-6]
        part = ink[k][:, touched]
        held = np.flatnonzero(part.max(1) > 1e-4)
        assert top[k] * rows - 1e-3 <= held[0] + 1 - part.max(1)[held[0]]
        assert abs(top[k] * rows - (held[0] + 1 - part.max(1)[held[0]])) < 2e-3, "the first row is covered so far"
        assert abs(bottom[k] * rows - (held[-1] + part.max(1)[held[-1]])) < 2e-3, "and the last"
        assert part[: int(top[k] * rows - 1e-3)].sum() == 0
        assert part[int(np.ceil(bottom[k] * rows + 1e-3)) :].sum() == 0


# ------------------------------------------------------------------------------------------------ made-up windows


@pytest.mark.parametrize("labelled", ["first", "last"])
def test_boxes_on_a_picture_are_shares_of_the_signal(labelled: str) -> None:
    examples = beating(8, labelled=labelled)
    boxes = beat_boxes(drawing(examples), examples)
    assert boxes.names == ("rectangle", "extent", *TILES, SIGNAL)
    beat = 5 if labelled == "last" else 0
    for k in range(8):
        first, stop = (int(examples.column(name)[k]) for name in ("valid_start", "valid_stop"))
        r, size = beats_of(examples, k)[beat], stop - first
        wanted = {
            "rectangle": (max(r - 20, first), min(r + 40, stop)),
            "extent": extents_slowly(examples, k)[beat],
            f"beat {beat + 1}": extents_slowly(examples, k)[beat],
            "beat 3": extents_slowly(examples, k)[2],
            "gap 3-4": (extents_slowly(examples, k)[2][1], extents_slowly(examples, k)[3][0]),
            "before": (first, extents_slowly(examples, k)[0][0]),
            "after": (extents_slowly(examples, k)[5][1], stop),
            SIGNAL: (first, stop),
        }
        for name, (start, end) in wanted.items():
            top, bottom, left, right = (side[k] for side in box(boxes, name))
            assert (left, right) == pytest.approx(((start - first) / size, (end - first) / size), abs=1e-12), name
            if name != "rectangle":
                assert (top, bottom) == (0, 1)
    tiles = [boxes.names.index(name) for name in TILES]
    np.testing.assert_allclose(box_areas(boxes)[:, tiles].sum(1), 1, atol=1e-12)


def test_boxes_on_a_signal_are_shares_of_the_whole_array() -> None:
    examples = beating(8)
    boxes = beat_boxes(plain(examples), examples)
    on_picture = beat_boxes(drawing(examples), examples)
    first, stop = (examples.column(name) for name in ("valid_start", "valid_stop"))
    assert boxes.names == on_picture.names
    assert (boxes.top == 0).all()
    assert (boxes.bottom == 1).all()
    for name in ("left", "right"):
        share = getattr(on_picture, name)
        np.testing.assert_allclose(getattr(boxes, name) * 700, first[:, None] + share * (stop - first)[:, None], atol=1e-9)
    np.testing.assert_allclose(box(boxes, SIGNAL)[2], first / 700)
    np.testing.assert_allclose(box(boxes, SIGNAL)[3], stop / 700)


def test_a_model_that_draws_all_of_the_array_has_boxes_of_that_picture() -> None:
    examples = beating(6)
    model = drawing(examples, context=None)
    boxes, on_signal = beat_boxes(model, examples), beat_boxes(plain(examples), examples)
    np.testing.assert_array_equal(boxes.left, on_signal.left)
    np.testing.assert_array_equal(boxes.right, on_signal.right)
    x, span = torch.from_numpy(examples.signals), torch.tensor([[0, 700]] * 6)
    expect_tight(model.module.picture(x, span)[:, 0].detach().numpy(), boxes)


@pytest.mark.parametrize(("rows", "columns"), [(224, 224), (50, 37)])
def test_the_rectangle_touches_the_ink(rows: int, columns: int) -> None:
    examples = beating(8, seed=3)
    examples = replace(examples, signals=(0.3 * examples.signals).astype(np.float32))
    model = drawing(examples, rows=rows, columns=columns)
    expect_tight(ink_of(model, examples), beat_boxes(model, examples))


def test_boxes_do_not_depend_on_how_many_are_asked() -> None:
    examples = beating(40).take(np.arange(1100) % 40)  # more than are drawn at once
    model = drawing(examples, rows=20, columns=30)
    every, few = beat_boxes(model, examples), beat_boxes(model, examples.take(np.arange(40)))
    for side in ("top", "bottom", "left", "right"):
        np.testing.assert_array_equal(getattr(every, side), getattr(few, side)[np.arange(1100) % 40])


def test_a_beat_that_an_example_lacks_has_an_empty_box() -> None:
    examples = beating(6, lacking=(2,), labelled="first")
    boxes = beat_boxes(drawing(examples), examples)
    areas = box_areas(boxes)[:, boxes.names.index("beat 6")]
    assert (areas == 0).tolist() == [False, False, True, False, False, False]


def test_windows_that_do_not_know_their_beats_and_other_pictures_are_refused() -> None:
    examples = beating(3)
    with pytest.raises(EcglensError, match="no column beats_at"):
        beat_boxes(drawing(examples), replace(examples, table=examples.table.drop(columns="beats_at")))
    with pytest.raises(EcglensError, match="no column labelled; cut windows that know their beats"):
        beat_boxes(drawing(examples), replace(examples, table=examples.table.drop(columns="labelled")))
    other = replace(drawing(examples), module=Pictured(nn.Identity(), nn.Identity()))
    with pytest.raises(EcglensError, match="draws by Identity; expected a Rasteriser"):
        beat_boxes(other, examples)


# ------------------------------------------------------------------------------------------------ real windows


@pytest.mark.parametrize("labelled", ["first", "last"])
def test_on_real_windows_the_labelled_r_peak_lies_in_its_boxes_and_the_rectangle_touches_the_ink(
    real_recordings: dict[str, Recording], labelled: str
) -> None:
    for record in ("105", "200", "232"):
        examples, _ = cut_sliding([real_recordings[record]], label_map("varandas"), SlidingOptions(labelled=labelled), [])
        examples = examples.take(np.linspace(0, len(examples) - 1, 25).astype(int))
        model = drawing(examples)
        boxes = beat_boxes(model, examples)
        first, stop, r = (examples.column(name) for name in ("valid_start", "valid_stop", "r_index"))
        at = (r - first + 0.5) / (stop - first)
        for name in ("rectangle", "extent", "beat 6" if labelled == "last" else "beat 1"):
            _, _, left, right = box(boxes, name)
            assert ((left < at) & (at < right)).all(), name
        ink = ink_of(model, examples)
        expect_tight(ink, boxes)
        # the R peak's own ink
        top, bottom, *_ = box(boxes, "rectangle")
        for k, column in enumerate((at * 224).astype(int)):
            rows = np.flatnonzero(ink[k, :, column] > 1e-3)
            assert top[k] * 224 < rows[0] + 1
            assert rows[-1] < bottom[k] * 224


@pytest.mark.parametrize(("labelled", "mean", "spread"), [("first", 0.0979, 0.0387), ("last", 0.0882, 0.0310)])
def test_the_mean_area_of_the_rectangle_on_ds2_is_the_papers_random_focus(
    real_recordings: dict[str, Recording], labelled: str, mean: float, spread: float
) -> None:
    """The paper has 9.7 +- 4.0 %."""
    options = SlidingOptions(labelled=labelled, ends="published", other_beats="keep")
    areas = []
    for record in DS2_RECORDS:
        examples, _ = cut_sliding([real_recordings[record]], label_map("varandas"), options, [])
        areas.append(box_areas(beat_boxes(drawing(examples), examples))[:, 0])
    every = np.concatenate(areas)
    assert len(every) == 49_617
    assert every.mean() == pytest.approx(mean, abs=5e-5)
    assert every.std() == pytest.approx(spread, abs=5e-5)
