"""Pictures with maps, focus and moved beats: what they show is what the tables and arrays say, and every word can be read."""

from __future__ import annotations

import io
import os
import re
import zipfile
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle

from ecglens.errors import EcglensError
from ecglens.models.rasteriser import Rasteriser, column_ranges
from ecglens.report import focus, pictures
from ecglens.report.html import picture
from ecglens.report.shown import ShownPicture, read_shown, write_shown

_FS = 360.0
_SIZE = 56  # pixels: small pictures are drawn and saved sooner
_METHODS = ("gradients", "Grad-CAM", "guided Grad-CAM")


def _shown(seed: int = 0, *, methods=_METHODS, seconds: float = 5.0, empty: bool = False, height: float = 1.0) -> ShownPicture:
    """A made-up example: gradients have signs, the other maps have none; Grad-CAM is coarse, and nothing at all if `empty`."""
    rng = np.random.default_rng(seed)
    n = round(seconds * _FS)
    time = np.arange(n) / _FS
    r = (np.arange(6) + 0.5) * seconds / 6
    mv = sum(height * np.exp(-(((time - at) / 0.03) ** 2)) for at in r) + rng.normal(0, 0.02, n)
    shapes = {"Grad-CAM": (7, 7)}
    maps = {name: rng.normal(size=shapes.get(name, (_SIZE, _SIZE))) for name in methods}
    maps = {name: values if name == "gradients" else np.maximum(values, 0) for name, values in maps.items()}
    if empty:
        maps |= {name: np.zeros((7, 7)) for name in methods if name == "Grad-CAM"}
    shares = {name: np.nan if empty and name == "Grad-CAM" else float(rng.uniform()) for name in methods}
    return ShownPicture(
        f"mitdb/{100 + seed}, beat {seed}", "set 1", "abnormal" if seed % 2 else "normal", "normal", "MLII",
        ink=rng.uniform(size=(_SIZE, _SIZE)), maps=maps, time_maps={name: values.sum(0) for name, values in maps.items()},
        focus=shares, box=(0.1, 0.75, 0.8, 0.96), time_s=time, mv=mv, r_s=r,
        seconds=(-0.5 / _FS, (n - 0.5) / _FS), millivolts=(-1.0, 1.5),
    )  # fmt: skip


def _all_axes(figure) -> list:
    return [each for axes in figure.axes for each in (axes, *axes.child_axes)]


def _words(figure) -> list[tuple[str, object]]:
    """Every word that can be seen, with its box in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    found = list(figure.texts)
    for axes in _all_axes(figure):
        found += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        if axes.get_legend() is not None:
            found += axes.get_legend().get_texts()
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            labels = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
            found += [label for at, label in labels if low - 1e-9 <= at <= high + 1e-9]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in found if text.get_text() and text.get_visible()]


def _texts(figure) -> list[str]:
    return [text for text, _ in _words(figure)]


def _traces(figure, n: int) -> list:
    return [axes for axes in figure.axes if any(len(line.get_xdata()) == n for line in axes.lines)]


def _panels(figure) -> list:
    return [axes for axes in figure.axes if any(image.get_array().shape == (_SIZE, _SIZE) for image in axes.images)]


def _frame(axes) -> tuple[float, float, float, float]:
    (frame,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    x, y = frame.get_xy()
    return y, y + frame.get_height(), x, x + frame.get_width()


def test_each_panel_shows_the_map_then_the_ink_then_the_frame():
    shown = [_shown(0), _shown(1, empty=True)]
    panels = _panels(pictures.picture_maps(shown))
    assert len(panels) == 6
    for axes, (one, name) in zip(panels, [(one, name) for one in shown for name in _METHODS], strict=True):
        map_, ink = axes.images
        np.testing.assert_array_equal(map_.get_array(), one.maps[name])
        np.testing.assert_array_equal(ink.get_array(), one.ink)
        assert map_.get_extent() == ink.get_extent() == [0, _SIZE, _SIZE, 0]
        assert axes.get_xlim() == (0, _SIZE)
        assert axes.get_ylim() == (_SIZE, 0)  # row 0 is above
        assert ink.get_cmap()(0.0)[3] == 0  # paper hides no map
        assert ink.get_cmap()(1.0)[3] > 0.8
        assert _frame(axes) == pytest.approx(tuple(_SIZE * share for share in one.box))
        said = "empty map" if np.isnan(one.focus[name]) else f"focus {100 * one.focus[name]:.1f} %"
        assert axes.get_title(loc="left") == f"{name}: {said}"


def test_a_map_with_signs_is_centred_on_0_and_any_other_begins_there():
    figure = pictures.picture_maps([_shown(0)])
    ranges = [(axes.images[0].cmap.name, axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in _panels(figure)]
    for (colours, low, high), (name, values) in zip(ranges, _shown(0).maps.items(), strict=True):
        sizes = sorted(abs(value) for value in values.ravel() if value != 0)
        assert 0.98 * len(sizes) - 1 <= sum(size <= high for size in sizes) < len(sizes)
        assert (colours, low) == (("PuOr", -high) if name == "gradients" else ("Blues", 0))
    # one method has one language, also where one of its maps has no value below 0
    second = _shown(1)
    second.maps["gradients"] = np.abs(second.maps["gradients"])
    second.time_maps["gradients"] = np.abs(second.time_maps["gradients"])
    figure = pictures.picture_maps([_shown(0), second])
    assert [axes.images[0].cmap.name for axes in _panels(figure)] == ["PuOr", "Blues", "Blues"] * 2
    assert {"against the class | for it", "none | most"} <= set(_texts(figure))
    assert "against the class | for it" not in _texts(pictures.picture_maps([_shown(0, methods=("Grad-CAM",))]))


def test_strips_without_signs_have_one_hue_though_their_maps_have_signs():
    one = _shown(0, methods=("gradients",))
    one.time_maps["gradients"] = np.abs(one.maps["gradients"]).sum(0)
    figure = pictures.picture_maps([one])
    assert [axes.images[0].cmap.name for axes in _panels(figure)] == ["PuOr"]
    strips = [image for axes in figure.axes for image in axes.images if len(image.get_array()) == 1]
    assert [(image.cmap.name, image.norm.vmin) for image in strips] == [("Blues", 0)] * 2
    assert {"against the class | for it", "none | most"} <= set(_texts(figure))  # a scale for each


def test_full_colour_of_few_values_and_of_none():
    assert pictures.full_colour(np.zeros((4, 4))) == 1
    sparse = np.zeros((100, 100))
    sparse[3, 3] = -2.0
    assert pictures.full_colour(sparse) == 2
    values = np.concatenate([np.arange(1, 101.0), np.zeros(1000)])
    assert 99 <= pictures.full_colour(values[None]) <= 100


def test_traces_lie_on_one_paper_with_their_r_marks_and_the_region():
    shown = [_shown(0, seconds=4.0), _shown(1, seconds=6.5)]
    figure = pictures.picture_maps(shown)
    (told,) = {float(found) for text in _texts(figure) for found in re.findall(r"drawn ([\d.]+) times", text)}
    size_mm = np.array(figure.get_size_inches()) * 25.4
    for one in shown:
        (axes,) = _traces(figure, len(one.mv))
        (trace,) = [line for line in axes.lines if len(line.get_xdata()) == len(one.mv)]
        np.testing.assert_array_equal(trace.get_ydata(), one.mv)
        np.testing.assert_array_equal(trace.get_xdata(), one.time_s)
        assert axes.get_xlim() == pytest.approx(one.seconds)
        width, height = np.array(axes.get_position().bounds[2:]) * size_mm
        zoom = width / (25 * (one.seconds[1] - one.seconds[0]))
        assert zoom == pytest.approx(told, abs=0.006)
        assert height / (10 * np.ptp(axes.get_ylim())) == pytest.approx(zoom)
        upright = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2 and np.ptp(line.get_xdata()) == 0]
        first, last = one.seconds
        region = [first + share * (last - first) for share in one.box[2:]]
        np.testing.assert_allclose(sorted(upright), sorted([*one.r_s, *region]))
        assert all(trace.get_zorder() > image.get_zorder() for image in axes.images)


@pytest.mark.parametrize("behind", [None, "Grad-CAM"])
def test_maps_summed_into_time_lie_behind_the_trace_and_below_it(behind):
    one = _shown(0)
    figure = pictures.picture_maps([one], behind=behind)
    (paper,) = _traces(figure, len(one.mv))
    (image,) = paper.images
    np.testing.assert_array_equal(image.get_array()[0], one.time_maps[behind or "gradients"])
    assert image.norm.vmax == pictures.full_colour(one.time_maps[behind or "gradients"]) != 1
    assert image.get_extent()[:2] == pytest.approx(one.seconds)
    strips = [axes for axes in figure.axes if axes is not paper and axes.images and len(axes.images[0].get_array()) == 1]
    assert [axes.texts[0].get_text() for axes in strips] == list(_METHODS)
    for axes, name in zip(strips, _METHODS, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array()[0], one.time_maps[name])
        full = pictures.full_colour(one.time_maps[name])
        low = -full if name == "gradients" else 0
        assert (axes.images[0].norm.vmin, axes.images[0].norm.vmax) == (low, full)
        assert axes.get_xlim() == paper.get_xlim()
        assert axes.get_position().x0 == paper.get_position().x0
        assert axes.get_position().width == pytest.approx(paper.get_position().width)
    assert f"behind the trace:\n{behind or 'gradients'}" in _texts(figure)


def test_a_spike_does_not_flatten_a_trace_and_the_edges_of_the_picture_are_marked():
    one = _shown(0)
    one.mv[700] = 40.0
    (axes,) = _traces(pictures.picture_maps([one]), len(one.mv))
    low, high = axes.get_ylim()
    assert high - low == pytest.approx(5)
    assert low < np.median(one.mv) < high
    level = {line.get_ydata()[0] for line in axes.lines if len(line.get_ydata()) == 2 and np.ptp(line.get_ydata()) == 0}
    assert level == {-1.0, 1.5}


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(EcglensError, match="no examples to show"):
        pictures.picture_maps([])
    with pytest.raises(EcglensError, match=r"beat 1 has maps of Grad-CAM, mitdb/100, beat 0 of gradients, Grad-CAM"):
        pictures.picture_maps([_shown(0), _shown(1, methods=("Grad-CAM",))])
    with pytest.raises(EcglensError, match=r"no maps of 'lime'.*one of: gradients, Grad-CAM, guided Grad-CAM"):
        pictures.picture_maps([_shown(0)], behind="lime")


def test_the_region_has_axes_in_pixels_and_in_s_and_mv():
    one = _shown(0)
    figure = pictures.labelled_region(one)
    texts = _texts(figure)
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), one.ink)
    assert _frame(axes) == pytest.approx(tuple(_SIZE * share for share in one.box))
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, _SIZE), (_SIZE, 0))
    first, last = one.seconds
    bottom, top = one.millivolts
    for row, column in ((0, 0), (_SIZE, _SIZE), (14, 42)):
        s, mv = first + column / _SIZE * (last - first), top - row / _SIZE * (top - bottom)
        assert _seconds_and_mv(axes, row, column) == pytest.approx((s, mv))
    assert any("10.4 % of the picture" in text for text in texts)  # .65 x .16
    assert {"s", "MLII (mV)", "column (pixels)", "row (pixels)", "0", "28", "56", "1.0", "−1.0"} <= set(texts)


def _seconds_and_mv(axes, row: float, column: float) -> tuple[float, float]:
    """What the axes above and at the right say of a place in the picture."""
    seconds, millivolts = axes.child_axes
    x, y = axes.transData.transform((column, row))
    return seconds.transData.inverted().transform((x, y))[0], millivolts.transData.inverted().transform((x, y))[1]


def _real(recording, beat: int) -> ShownPicture:
    """Six beats of a record, the last one labelled, drawn by the rasteriser."""
    at = recording.annotations.beats().sample[beat - 5 : beat + 1]
    start, stop = at[0] - 100, at[-1] + 160
    mv = recording.signal[0, start:stop]
    signal, span = torch.from_numpy(mv.copy())[None, None], torch.tensor([[0, len(mv)]])
    middle = float(Rasteriser().middle(*column_ranges(signal[:, 0], span, 224)))
    edges = ((at[-1] - 72 - start) / len(mv), (at[-1] + 144 - start) / len(mv))
    ink = Rasteriser()(signal, span)[0, 0].numpy()
    maps = {"saliency": ink * np.linspace(0, 1, 224)}
    return ShownPicture(
        f"mitdb/{recording.record}, beat {beat}", "", "normal", "normal", recording.leads[0], ink, maps,
        {"saliency": maps["saliency"].sum(0)}, {"saliency": 0.3}, (0.05, 0.95, *edges), np.arange(len(mv)) / _FS, mv,
        (at - start) / _FS, (-0.5 / _FS, (len(mv) - 0.5) / _FS), (middle - 1.25, middle + 1.25),
    )  # fmt: skip


@pytest.mark.parametrize(("record", "beat"), [("100", 40), ("119", 300), ("207", 200), ("232", 90)])
def test_the_axes_in_s_and_mv_say_where_the_trace_of_a_real_record_lies_in_the_picture(real_mitdb, record, beat):
    from ecglens.recordings.wfdb_reader import read_wfdb

    one = _real(read_wfdb(real_mitdb, record), beat)
    figure = pictures.labelled_region(one)
    _texts(figure)
    (axes,) = figure.axes
    (first, top), (last, bottom) = _seconds_and_mv(axes, 0, 0), _seconds_and_mv(axes, 224, 224)
    inside = (one.mv > bottom + 0.02) & (one.mv < top - 0.02)
    assert inside.mean() > 0.8  # a tenth of 119 is cut off: its beats are higher than the picture
    columns = ((one.time_s - first) / (last - first) * 224).astype(int)
    rows = ((top - one.mv) / (top - bottom) * 224).astype(int)
    assert (one.ink[rows[inside], columns[inside]] > 0).all()
    assert _overlaps(pictures.picture_maps([one])) == []


def test_shown_examples_come_back_from_their_file_as_they_were(tmp_path):
    shown = [_shown(0), replace(_shown(1, empty=True, seconds=3.0), group="", lead="V1 (µV?)")]
    write_shown(tmp_path / "tables" / "shown.npz", shown)
    back = read_shown(tmp_path / "tables" / "shown.npz")
    assert len(back) == 2
    for one, other in zip(shown, back, strict=True):
        for name in ("id", "group", "label", "predicted", "lead", "box", "seconds", "millivolts"):
            assert getattr(one, name) == getattr(other, name)
        for name in ("ink", "time_s", "mv", "r_s"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6)
        assert list(one.maps) == list(other.maps) == list(other.time_maps)
        for name in one.maps:
            np.testing.assert_allclose(one.maps[name], other.maps[name], rtol=1e-6)
            np.testing.assert_allclose(one.time_maps[name], other.time_maps[name], rtol=1e-6)
            np.testing.assert_equal(one.focus[name], other.focus[name])
    write_shown(tmp_path / "again.npz", shown)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "tables" / "shown.npz").read_bytes()
    with np.load(tmp_path / "again.npz", allow_pickle=True) as found:
        assert not [name for name in found.files if found[name].dtype == object]
    write_shown(tmp_path / "none.npz", [])
    assert read_shown(tmp_path / "none.npz") == []


class _Acts:
    """Makes a folder if it is ever unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_file_of_shown_examples_that_is_missing_or_damaged_is_said_in_a_line(tmp_path):
    path = tmp_path / "shown.npz"
    with pytest.raises(EcglensError, match=r"shown\.npz is missing: run the study again"):
        read_shown(path)
    write_shown(path, [_shown(0, methods=("Grad-CAM",))])
    whole = path.read_bytes()
    middle = bytearray(whole)
    at = middle.index(b"0/mv.npy") + 2000
    middle[at] ^= 0xFF
    garbled = whole[: at - 1960] + b"\xff" * 200 + whole[at - 1760 :]
    headless = io.BytesIO()
    with zipfile.ZipFile(headless, "w") as parts:
        parts.writestr("number.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': ('<i8\n ")
    for damaged in (b"", b"no zip", whole[: len(whole) // 3], whole[:-10], bytes(middle), garbled, headless.getvalue()):
        path.write_bytes(damaged)
        with pytest.raises(EcglensError, match=r"cannot be read.*damaged; run the study again"):
            read_shown(path)
    for arrays in (
        {"number": 1},
        {"else": 3},
        {"number": np.array(["many"])},
        {"number": np.array([_Acts(tmp_path / "ran")])},
    ):
        np.savez(path, **arrays)
        with pytest.raises(EcglensError, match=r"cannot be read.*damaged"):
            read_shown(path)
    assert not (tmp_path / "ran").exists()
    # whole, and of something else
    write_shown(path, [_shown(0)])
    with np.load(path) as found:
        np.savez(path, **(dict(found) | {"0/box": np.array([0.5, 0.4, 0.1, 0.2])}))
    with pytest.raises(EcglensError, match=rf"^{re.escape(str(path))}: mitdb/100, beat 0: box .*; run the study again$"):
        read_shown(path)


def test_a_file_of_shown_examples_is_whole_or_as_before(tmp_path, monkeypatch):
    path = tmp_path / "shown.npz"
    write_shown(path, [_shown(0)])
    before = path.read_bytes()

    def full(handle, **_):
        handle.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        write_shown(path, [_shown(1)])
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["shown.npz"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"maps": {}}, "maps of nothing, time_maps of gradients, Grad-CAM"),
        ({"focus": {"gradients": 0.2}}, "focus of gradients; expected the same methods"),
        ({"ink": np.zeros(224)}, r"ink has shape \(224,\); expected 2 dimensions"),
        ({"ink": np.zeros((0, 224))}, r"ink has shape \(0, 224\)"),
        ({"time_maps": dict.fromkeys(_METHODS, np.zeros((7, 7)))}, r"time map 'gradients' has shape \(7, 7\); expected 1"),
        ({"mv": np.zeros(5)}, "5 mv for 1800 time_s"),
        ({"r_s": np.zeros((2, 3))}, r"r_s has shape \(2, 3\)"),
        ({"box": (0.5, 0.5, 0.1, 0.2)}, "box .* expected top < bottom"),
        ({"box": (0.1, 0.5, 0.1, 1.2)}, "all from 0 to 1"),
        ({"box": (0.1, np.nan, 0.1, 0.2)}, "expected top < bottom"),
        ({"seconds": (1.0, 1.0)}, "seconds 1.0 to 1.0; expected two numbers"),
        ({"millivolts": (0.0, np.inf)}, "millivolts 0.0 to inf"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(change, said):
    with pytest.raises(EcglensError, match=f"mitdb/100, beat 0: .*{said}"):
        replace(_shown(0), **change)


def _focus_values(n: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    parts = []
    for set_name in ("set 1", "set 2"):
        for k, method in enumerate(_METHODS):
            values = rng.beta(2, 5 + k, n)
            values[: 40 * k] = np.nan
            values[40 * k : 60 * k] = 0
            parts.append(
                pd.DataFrame({"set": set_name, "method": method, "focus": values, "random": rng.uniform(0.02, 0.2, n)})
            )
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("empty", ["leave-out", "zero"])
def test_histograms_count_what_lies_in_each_bin_with_means_and_empty_maps(empty):
    values = _focus_values()
    figure = focus.focus_histograms(values, empty=empty)
    assert len(figure.axes) == 6
    for axes in figure.axes:
        set_name, method = axes.get_title(loc="left").split(": ")
        mine = values[(values["set"] == set_name) & (values["method"] == method)]
        n_empty = sum(share != share for share in mine["focus"])
        used = [100 * (0.0 if share != share else share) for share in mine["focus"] if share == share or empty == "zero"]
        bars, outline = axes.patches
        for stairs, percent in ((bars, used), (outline, [100 * share for share in mine["random"]])):
            heights, edges, _ = stairs.get_data()
            assert set(np.diff(edges)) == {2.0}
            slow = [sum(low <= share < high for share in percent) / 5 for low, high in pairwise(edges)]
            np.testing.assert_allclose(heights, slow)
        assert bars.get_fill()
        assert not outline.get_fill()
        means = sorted(line.get_xdata()[0] for line in axes.lines)
        np.testing.assert_allclose(means, sorted([np.mean(used), 100 * mine["random"].mean()]))
        (words,) = [text.get_text() for text in axes.texts]
        assert f"n 500, empty {n_empty} ({n_empty / 5:.1f} %)" in words
        assert f"focus {np.mean(used):.1f} ± {np.std(used):.1f} %" in words
        assert ("(empty as 0)" in words) == (empty == "zero" and n_empty > 0)
    boxes = dict(_words(figure))
    for axes in figure.axes:
        lowest = axes.transData.inverted().transform((0, boxes[axes.texts[0].get_text()].y0))[1]
        assert lowest > max(stairs.get_data()[0].max() for stairs in axes.patches)  # words lie above the bars
        assert lowest > max(line.get_ydata()[1] for line in axes.lines)
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_histograms_of_one_set_of_no_map_and_of_full_focus(tmp_path):
    values = _focus_values()
    one = values[(values["set"] == "set 1") & (values["method"] == "gradients")]
    figure = focus.focus_histograms(one.assign(focus=np.nan))
    assert "empty 500 (100.0 %)" in figure.axes[0].texts[0].get_text()
    (axes,) = focus.focus_histograms(one.assign(focus=1.0)).axes
    assert axes.patches[0].get_data()[0][-1] == 100  # all of it counts, in the last bin
    gone = values[(values["set"] == "set 1") | (values["method"] == "gradients")]
    assert [axes.texts[0].get_text() for axes in focus.focus_histograms(gone).axes][-1] == "no pictures"
    with pytest.raises(EcglensError, match=r"unknown empty 'drop' \(choose from: leave-out, zero\)"):
        focus.focus_histograms(one, empty="drop")


_REGIONS = ["before", *[name for k in range(1, 6) for name in (f"beat {k}", f"gap {k}-{k + 1}")], "beat 6", "after"]


def _positions() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = [(method, name, region) for method in _METHODS for name in ("normal", "abnormal") for region in _REGIONS]
    table = pd.DataFrame(rows, columns=["method", "class", "region"])
    table["focus"], table["random"] = rng.uniform(0.01, 0.4, len(table)), rng.uniform(0.01, 0.15, len(table))
    table["focus_low"], table["focus_high"] = 0.8 * table["focus"], 1.3 * table["focus"]
    return table


def _marked(axes) -> float:
    """The middle of the shaded span."""
    (span,) = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_height() == 1]
    return span.get_x() + span.get_width() / 2


def test_focus_by_position_draws_means_intervals_and_random_focus_in_the_tables_order():
    table = _positions()
    figure = focus.focus_by_position(table, labelled="beat 6")
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(_METHODS)
    for axes, method in zip(figure.axes, _METHODS, strict=True):
        assert _marked(axes) == _REGIONS.index("beat 6")
        for k, name in enumerate(("normal", "abnormal")):
            mine = table[(table["method"] == method) & (table["class"] == name)]
            (dots,) = [line for line in axes.lines if line.get_label() == name]
            np.testing.assert_array_equal(np.round(dots.get_xdata()), range(13))
            np.testing.assert_allclose(dots.get_ydata(), 100 * mine["focus"])
            ends = [path.vertices for path in axes.collections[k].get_paths()]
            np.testing.assert_allclose([each[:, 1] for each in ends], 100 * mine[["focus_low", "focus_high"]])
            bars = axes.containers[k].patches
            np.testing.assert_allclose([bar.get_height() for bar in bars], 100 * mine["random"])
            np.testing.assert_allclose([bar.get_x() + bar.get_width() / 2 for bar in bars], dots.get_xdata())
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    texts = _texts(figure)
    assert {"before", "gap 3-4", "beat 6\n(the label)", "normal", "abnormal", "random focus"} <= set(texts)
    assert texts.count("gap 3-4") == 1
    shuffled = pd.concat(
        [table[table["class"] == "normal"], table[table["class"] == "abnormal"].sample(frac=1, random_state=0)]
    )
    again = focus.focus_by_position(shuffled, labelled="beat 6")
    for axes, other in zip(figure.axes, again.axes, strict=True):
        for line, same in zip(axes.lines, other.lines, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), same.get_ydata())


def test_a_region_that_is_not_there_cannot_be_the_label():
    with pytest.raises(EcglensError, match="unknown region 'beat 7'; did you mean"):
        focus.focus_by_position(_positions(), labelled="beat 7")
    with pytest.raises(EcglensError, match="unknown region 'last'"):
        focus.occlusion_by_position(_occlusion(), labelled="last")


def _occlusion() -> pd.DataFrame:
    table = _positions()
    table = table[table["method"] == "gradients"].rename(columns={"focus_low": "fall_low", "focus_high": "fall_high"})
    table["fall"], table["changed"] = table["focus"] - 0.1, table["random"]
    table["fall_low"] -= 0.1
    table["changed_low"], table["changed_high"] = 0.5 * table["changed"], 1.5 * table["changed"]
    return table


def test_occlusion_draws_falls_above_and_changed_classes_below():
    table = _occlusion()
    figure = focus.occlusion_by_position(table, labelled="beat 1")
    above, below = figure.axes
    for k, name in enumerate(("normal", "abnormal")):
        mine = table[table["class"] == name]
        (dots,) = [line for line in above.lines if line.get_label() == name]
        np.testing.assert_allclose(dots.get_ydata(), mine["fall"])
        ends = [path.vertices[:, 1] for path in above.collections[k].get_paths()]
        np.testing.assert_allclose(ends, mine[["fall_low", "fall_high"]])
        np.testing.assert_allclose([bar.get_height() for bar in below.containers[k]], 100 * mine["changed"])
        ends = [path.vertices[:, 1] for path in below.collections[k].get_paths()]
        np.testing.assert_allclose(ends, 100 * mine[["changed_low", "changed_high"]])
    assert _marked(above) == _marked(below) == 1
    assert 0 in [line.get_ydata()[0] for line in above.lines if len(line.get_ydata()) == 2]


_PLACES = ("before the labelled beat", "another gap", "all gaps")


def _retiming() -> pd.DataFrame:
    rows = [
        (name, where, k / 10, 0.5 + 0.1 * p - k / 20 if name == "normal" else 0.7, 900 + 100 * p - abs(k))
        for name in ("normal", "abnormal")
        for p, where in enumerate(_PLACES)
        for k in (0, *range(-4, 0), *range(1, 5))
    ]
    table = pd.DataFrame(rows, columns=["class", "where", "change", "called_abnormal", "n"])
    table["called_abnormal_before"] = 0.4 + 0.01 * table["n"] / 900
    table["called_abnormal_low"], table["called_abnormal_high"] = (
        table["called_abnormal"] - 0.05,
        table["called_abnormal"] + 0.1,
    )
    return table


def test_retiming_draws_a_line_with_its_band_for_each_class_and_place():
    table = _retiming()
    figure = focus.retiming_curves(table)
    for axes, name in zip(figure.axes, ("normal", "abnormal"), strict=True):
        assert axes.get_title(loc="left") == f"truly {name}"
        curves = [line for line in axes.lines if len(line.get_xdata()) == 9]
        lines, unchanged = curves[::2], curves[1::2]
        for line, before, band, (p, where) in zip(lines, unchanged, axes.collections, enumerate(_PLACES), strict=True):
            mine = table[(table["class"] == name) & (table["where"] == where)].sort_values("change")
            np.testing.assert_allclose(line.get_xdata(), range(-40, 50, 10), atol=1e-9)
            np.testing.assert_allclose(line.get_ydata(), 100 * mine["called_abnormal"])
            np.testing.assert_allclose(before.get_ydata(), 100 * mine["called_abnormal_before"])
            assert before.get_color() == line.get_color()
            corners = {tuple(corner) for corner in np.round(band.get_paths()[0].vertices, 6).tolist()}
            for row in mine.itertuples():
                assert (round(100 * row.change, 6), round(100 * row.called_abnormal_low, 6)) in corners
                assert (round(100 * row.change, 6), round(100 * row.called_abnormal_high, 6)) in corners
            assert line.get_label() == f"{where} (n {896 + 100 * p:,} to {900 + 100 * p:,})"
        assert len({line.get_linestyle() for line in lines}) == 3
        assert [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2] == [[0, 0]]


def _everything() -> dict:
    many = [_shown(0), _shown(1, seconds=2.4), _shown(2, seconds=8.5, empty=True), _shown(3, height=7.0)]
    values, table = _focus_values(), _positions()
    return {
        "four examples": lambda: pictures.picture_maps(many),
        "one map": lambda: pictures.picture_maps([_shown(0, methods=("Grad-CAM",), seconds=9.0, height=0.1)]),
        "four maps": lambda: pictures.picture_maps([_shown(0, methods=(*_METHODS, "LIME"))], behind="guided Grad-CAM"),
        "region": lambda: pictures.labelled_region(_shown(1)),
        "histograms": lambda: focus.focus_histograms(values, empty="zero"),
        "one row": lambda: focus.focus_histograms(values[values["set"] == "set 2"]),
        "positions": lambda: focus.focus_by_position(table, labelled="beat 6"),
        "one position": lambda: focus.focus_by_position(table[table["method"] == "gradients"], labelled="beat 1"),
        "occlusion": lambda: focus.occlusion_by_position(_occlusion(), labelled="beat 6"),
        "retiming": lambda: focus.retiming_curves(_retiming()),
        "one class": lambda: focus.retiming_curves(_retiming().query("`class` == 'normal'")),
    }


def _overlaps(figure) -> list[str]:
    """Words that leave the figure or lie on other words."""
    words = _words(figure)
    width, height = figure.get_size_inches() * figure.dpi
    gone = [text for text, box in words if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    return gone + [
        f"{text} | {other}"
        for (text, box), (other, its) in combinations(words, 2)
        if min(box.x1, its.x1) - max(box.x0, its.x0) > 0.5 and min(box.y1, its.y1) - max(box.y0, its.y0) > 0.5
    ]


@pytest.mark.parametrize("name", sorted(_everything()))
def test_every_word_of_every_picture_can_be_read(name):
    assert _overlaps(_everything()[name]()) == []


@pytest.mark.parametrize("name", sorted(_everything().keys() - {"four examples", "four maps"}))  # these take long
def test_every_picture_fits_the_page_and_becomes_the_same_bytes_twice(name, tmp_path):
    make = _everything()[name]
    first, second = (picture(make(), "made", "", tmp_path / each).svg for each in ("1", "2"))
    assert first == second
    assert make().get_size_inches()[0] * 25.4 <= 180.01


def test_pictures_leave_their_tables():
    for make, table in (
        (focus.focus_histograms, _focus_values()),
        (lambda each: focus.focus_by_position(each, labelled="after"), _positions()),
        (lambda each: focus.occlusion_by_position(each, labelled="after"), _occlusion()),
        (focus.retiming_curves, _retiming()),
    ):
        before = table.copy(deep=True)
        make(table)
        pd.testing.assert_frame_equal(table, before)
