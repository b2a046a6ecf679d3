"""Figures on small tables: what they show is what the tables say."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from ecglens.analysis.profiles import class_profiles
from ecglens.analysis.regions import segments_around_r
from ecglens.examples.examples import LeadPlace
from ecglens.report import figures
from ecglens.report.html import picture

_FS = 100.0
_FOUR = ("lead 1", "lead 2", "usual lead 1", "usual lead 2")
_LAYOUTS = [(("MLII",), None), (("MLII",), False), (("MLII", "V1"), True), (_FOUR, None), (_FOUR, True)]


def _texts(figure) -> list[str]:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in (*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label)]
        found += [text.get_text() for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        if axes.get_legend() is not None:
            found += [text.get_text() for text in axes.get_legend().get_texts()]
    return found


def _beat(leads=("MLII", "V1"), n: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for k, lead in enumerate(leads):
        time = (np.arange(n) - n // 2) / _FS
        valid = (np.arange(n) >= 5) & (np.arange(n) < n - 8)
        mv = np.where(valid, np.sin(6 * time) * (1 + 0.3 * k), 0.0)
        parts.append(pd.DataFrame({"lead": lead, "time_s": time, "mv": mv, "map": rng.normal(size=n), "valid": valid}))
    return pd.concat(parts, ignore_index=True)


def _papers(figure, n: int) -> list:
    """The axes with a trace of n samples, from left to right and top to bottom."""
    return [axes for axes in figure.axes if any(len(line.get_xdata()) == n for line in axes.lines)]


def _size_mm(axes) -> np.ndarray:
    return np.array(axes.get_position().bounds[2:]) * axes.figure.get_size_inches() * 25.4


@pytest.mark.parametrize(("leads", "signed"), _LAYOUTS)
def test_a_beat_lies_on_paper_of_25_mm_per_second_and_10_mm_per_millivolt(leads, signed):
    figure = figures.beat_on_paper(_beat(leads), signed=signed)
    papers = _papers(figure, 60)
    assert len(papers) == len(leads)
    (told,) = {float(found) for text in _texts(figure) for found in re.findall(r"enlarged ([\d.]+) times", text)}
    for axes in papers:
        seconds, millivolts = np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())
        assert seconds == pytest.approx(0.59)
        assert millivolts >= 2.6
        np.testing.assert_allclose(_size_mm(axes), [seconds * 25 * told, millivolts * 10 * told])
        assert axes.get_ylim() == papers[0].get_ylim()


@pytest.mark.parametrize(("leads", "signed"), _LAYOUTS)
def test_nothing_of_a_beat_lies_outside_the_figure_or_on_something_else(leads, signed):
    figure = figures.beat_on_paper(_beat(leads), signed=signed)
    boxes = [axes.get_position() for axes in figure.axes]
    for k, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1
        for other in boxes[:k]:
            apart = box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 or other.y1 <= box.y0
            assert apart


@pytest.mark.parametrize("signed", [True, False])
def test_no_colour_hides_the_trace_of_a_beat(signed):
    beat = _beat()
    for axes, lead in zip(_papers(figures.beat_on_paper(beat, signed=signed), 60), ("MLII", "V1"), strict=True):
        mine = beat[beat["lead"] == lead]
        (trace,) = [line for line in axes.lines if len(line.get_xdata()) == 60]
        np.testing.assert_array_equal(trace.get_ydata(), mine["mv"])
        assert axes.images
        for other in (*axes.images, *axes.collections, *axes.patches):
            assert trace.get_zorder() > other.get_zorder()
        np.testing.assert_array_equal(axes.images[0].get_array()[0], mine["map"])


def test_all_leads_of_a_beat_share_one_scale_of_the_map():
    beat = _beat()
    beat.loc[beat["lead"] == "V1", "map"] *= 5
    figure = figures.beat_on_paper(beat, signed=True)
    limit = beat["map"].abs().max()
    images = [image for axes in figure.axes for image in axes.images if image.get_array().shape == (1, 60)]
    assert len(images) == 4
    assert {(image.norm.vmin, image.norm.vmax) for image in images} == {(-limit, limit)}


def _areas(axes):
    """Filled areas; the paper's lines are collections too."""
    return [each for each in axes.collections if not isinstance(each, LineCollection)]


def test_padding_is_grey_and_signal_is_not():
    figure = figures.beat_on_paper(_beat(("MLII",)), signed=None)
    (axes,) = _papers(figure, 60)
    (grey,) = _areas(axes)
    spans = sorted((path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in grey.get_paths())
    np.testing.assert_allclose(spans, [(-0.30, -0.26), (0.22, 0.29)])
    whole = _beat(("MLII",)).assign(valid=True)
    assert not _areas(_papers(figures.beat_on_paper(whole, signed=None), 60)[0])


def test_an_empty_map_is_drawn_without_complaint(tmp_path):
    picture(figures.beat_on_paper(_beat().assign(map=0.0), signed=True), "empty", "", tmp_path)


def test_class_counts_draws_a_bar_as_high_as_each_count():
    splits = pd.DataFrame(
        [
            ("N", "train", 900, 300),
            ("N", "validation", 90, 0),
            ("N", "test", 200, 0),
            ("V", "train", 30, 300),
            ("V", "test", 7, 0),
        ],
        columns=["class", "split", "n", "drawn"],
    )
    figure = figures.class_counts(splits)
    (axes,) = figure.axes
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}
    assert heights == {
        "train": [900, 30],
        "validation": [90, 0],
        "test": [200, 7],
        "drawn in an epoch": [300, 300],
    }
    assert axes.get_yscale() == "log"
    assert {"N", "V", "900", "7"} <= set(_texts(figure))


def test_extraction_shades_the_window_and_names_every_mark():
    time = np.arange(-100, 150) / _FS
    signal = pd.concat([pd.DataFrame({"lead": lead, "time_s": time, "mv": np.sin(5 * time)}) for lead in ("MLII", "V1")])
    marks = pd.DataFrame(
        [
            (-0.8, "N", "beat"),
            (0.0, "V", "beat"),
            (0.3, "+", "other mark"),
            (-0.4, "", "window start"),
            (0.35, "", "window stop"),
        ],
        columns=["time_s", "symbol", "kind"],
    )
    figure = figures.extraction(signal, marks)
    papers = _papers(figure, 250)
    assert len(papers) == 2
    zooms = set()
    for axes in papers:
        (window,) = axes.patches
        assert (window.get_x(), window.get_x() + window.get_width()) == pytest.approx((-0.4, 0.35))
        assert [text.get_text().strip() for text in axes.texts] == ["N", "V", "+"]
        (trace,) = [line for line in axes.lines if len(line.get_xdata()) == 250]
        assert trace.get_zorder() > window.get_zorder()
        zooms |= set(np.round(_size_mm(axes) / [np.ptp(axes.get_xlim()) * 25, np.ptp(axes.get_ylim()) * 10], 6))
    assert len(zooms) == 1


def _confusion() -> pd.DataFrame:
    return pd.DataFrame([("N", 90, 10, 0), ("V", 5, 15, 0), ("S", 0, 0, 0)], columns=["true", "N", "V", "S"])


def test_rows_of_the_confusion_matrix_add_up_to_1_and_a_class_without_beats_stays_empty():
    figure = figures.confusion_matrix(_confusion(), "of a test")
    shares = np.ma.filled(figure.axes[0].images[0].get_array().astype(float), np.nan)
    np.testing.assert_allclose(shares[:2], [[0.9, 0.1, 0], [0.25, 0.75, 0]])
    assert np.isnan(shares[2]).all()
    texts = _texts(figure)
    assert {"0.90", "90", "0.10", "10", "0.25", "5", "0.75", "15", "none", "of a test"} <= set(texts)
    assert texts.count("none") == 1
    at = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert np.round(at["0.10"][0]) == 1  # predicted V
    assert np.round(at["0.10"][1]) == 0  # true N


def _profiles(wrong: bool = True, *, size: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    places = (LeadPlace("MLII", 0, 0, 50), LeadPlace("V1", 1, 0, 50))
    regions = segments_around_r(np.full(40, 25), places, _FS)
    values = size * np.abs(rng.normal(size=(40, len(regions.names)))) + size * np.arange(len(regions.names))
    truth = np.repeat([0, 1], 20)
    predicted = truth.copy()
    if wrong:
        predicted[:8], predicted[8:10] = 1, 2
    return class_profiles(values, regions, truth, predicted, np.ones(40, bool), ("N", "V", "S"))


@pytest.mark.parametrize("signed", [True, False])
def test_class_maps_show_the_median_of_every_segment_on_one_scale(signed):
    profiles = _profiles()
    figure = figures.class_maps(profiles, unit="median |gradient|", signed=signed)
    grids = [axes.images[0] for axes in figure.axes if axes.images and axes.images[0].get_array().shape == (2, 6)]
    for grid, lead in zip(grids, ("MLII", "V1"), strict=True):
        mine = profiles[(profiles["group"] == "all") & (profiles["lead"] == lead)]
        expected = [mine.loc[mine["class"] == name, "median"].tolist() for name in ("N", "V")]
        np.testing.assert_allclose(grid.get_array(), expected, rtol=1e-6)
    top = profiles.loc[profiles["group"] == "all", "median"].max()
    assert [(grid.norm.vmin, grid.norm.vmax) for grid in grids] == [
        (pytest.approx(-top if signed else 0), pytest.approx(top))
    ] * 2
    texts = _texts(figure)
    assert {"MLII", "V1", "-3", "+3", "R", "N  n 20", "V  n 20", "median |gradient|"} <= set(texts)


def test_class_maps_leave_a_segment_that_no_beat_reaches_without_a_colour():
    profiles = _profiles()
    gone = (profiles["region"] == "-3") & (profiles["class"] == "V")
    profiles.loc[gone, "median"] = np.nan
    figure = figures.class_maps(profiles, unit="")
    grid = np.ma.masked_invalid(figure.axes[0].images[0].get_array())
    assert grid.mask[1].tolist() == [True] + [False] * 5
    assert not grid.mask[0].any()


def test_right_and_wrong_draws_the_medians_of_all_right_and_wrong_and_of_the_class_taken_for():
    profiles = _profiles()
    figure = figures.right_and_wrong(profiles, "N", unit="median")
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines if "(n" in str(line.get_label())}
    drawn |= {line.get_label(): line.get_ydata() for line in figure.axes[2].lines if "(n" in str(line.get_label())}
    assert set(drawn) == {"all (n 20)", "right (n 10)", "wrong (n 10)", "N taken for V (n 8)", "all V (n 20)"}

    def median(name, group):
        mine = profiles[(profiles["class"] == name) & (profiles["group"] == group) & (profiles["lead"] == "MLII")]
        return mine["median"]

    np.testing.assert_allclose(drawn["all (n 20)"], median("N", "all"))
    np.testing.assert_allclose(drawn["right (n 10)"], median("N", "right"))
    np.testing.assert_allclose(drawn["wrong (n 10)"], median("N", "wrong"))
    np.testing.assert_allclose(drawn["N taken for V (n 8)"], median("N", "wrong as V"))
    np.testing.assert_allclose(drawn["all V (n 20)"], median("V", "all"))
    highest = profiles[["median", "q75"]].max().max()
    assert all(axes.get_ylim()[0] == 0 for axes in figure.axes)
    assert all(axes.get_ylim()[1] >= highest for axes in figure.axes)


def test_right_and_wrong_is_none_where_the_class_has_no_wrong_beats():
    assert figures.right_and_wrong(_profiles(), "V", unit="") is None
    assert figures.right_and_wrong(_profiles(wrong=False), "N", unit="") is None
    assert figures.right_and_wrong(_profiles(), "N", unit="") is not None


def test_right_and_wrong_works_for_a_class_taken_for_one_that_has_no_beats(tmp_path):
    profiles = _profiles()
    profiles = profiles[profiles["group"] != "wrong as V"]
    figure = figures.right_and_wrong(profiles, "N", unit="")
    picture(figure, "right-and-wrong", "", tmp_path)
    assert any("N taken for S (n 2)" in text for text in _texts(figure))
    assert not any("all S" in text for text in _texts(figure))


def test_right_and_wrong_of_empty_maps_is_drawn_without_complaint(tmp_path):
    picture(figures.right_and_wrong(_profiles(size=0.0), "N", unit=""), "empty", "", tmp_path)


def _everything() -> dict:
    splits = pd.DataFrame([("N", "train", 9, 3), ("N", "test", 2, 0)], columns=["class", "split", "n", "drawn"])
    time = np.arange(100) / _FS
    signal = pd.DataFrame({"lead": "MLII", "time_s": time, "mv": np.sin(5 * time)})
    marks = pd.DataFrame(
        [(0.1, "N", "beat"), (0.0, "", "window start"), (0.3, "", "window stop")], columns=["time_s", "symbol", "kind"]
    )
    return {
        "class_counts": lambda: figures.class_counts(splits),
        "extraction": lambda: figures.extraction(signal, marks),
        "beat_on_paper": lambda: figures.beat_on_paper(_beat(), signed=True),
        "confusion_matrix": lambda: figures.confusion_matrix(_confusion(), "test"),
        "class_maps": lambda: figures.class_maps(_profiles(), unit="median"),
        "right_and_wrong": lambda: figures.right_and_wrong(_profiles(), "N", unit="median"),
    }


@pytest.mark.parametrize("name", sorted(_everything()))
def test_every_figure_becomes_the_same_bytes_twice_and_leaves_its_tables(name, tmp_path):
    make = _everything()[name]
    first = picture(make(), name, "", tmp_path / "1").svg
    second = picture(make(), name, "", tmp_path / "2").svg
    assert first == second
    assert (tmp_path / "1" / f"{name}.svg").read_bytes() == (tmp_path / "2" / f"{name}.svg").read_bytes()


@pytest.mark.parametrize("name", ["class_maps", "right_and_wrong"])
def test_a_figure_leaves_the_table_it_is_made_from(name):
    profiles = _profiles()
    before = profiles.copy(deep=True)
    if name == "class_maps":
        figures.class_maps(profiles, unit="")
    else:
        figures.right_and_wrong(profiles, "N", unit="")
    pd.testing.assert_frame_equal(profiles, before)
