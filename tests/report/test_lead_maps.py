"""Twelve leads, each with its own map and bars, drawn: what has which colour and length, that nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.errors import EcglensError
from ecglens.recordings.challenge_reader import read_challenge
from ecglens.recordings.twelve import STANDARD
from ecglens.report.lead_maps import leads_with_maps

_FS = 100.0


def _signal() -> np.ndarray:
    time = np.arange(200) / _FS
    return np.stack([(1 + 0.1 * lead) * np.sin(2 * np.pi * time) for lead in range(12)])


def _maps() -> np.ndarray:
    maps = np.random.default_rng(0).normal(size=(12, 200))
    maps[:, :20] = np.nan
    return maps


def _lead_axes(figure):
    return [axes for axes in figure.axes if axes.get_ylabel() in STANDARD]


def _bar_axes(figure):
    return [axes for axes in figure.axes if axes.patches]


def test_every_lead_is_drawn_in_order_over_its_own_map_on_one_scale() -> None:
    maps = _maps()
    figure = leads_with_maps(_signal(), maps, _FS, STANDARD, "a title", what="fall")
    axes = _lead_axes(figure)
    assert [each.get_ylabel() for each in axes] == list(STANDARD)
    assert [each.get_position().y0 for each in axes] == sorted((each.get_position().y0 for each in axes), reverse=True)
    limit = np.nanmax(np.abs(maps))
    for each, row, values in zip(axes, _signal(), maps, strict=True):
        np.testing.assert_allclose(each.lines[-1].get_ydata(), row)
        np.testing.assert_allclose(np.ma.filled(each.images[0].get_array()[0], np.nan), values)
        assert each.images[0].get_extent()[:2] == [0, 2]
        assert each.images[0].get_clim() == (-limit, limit)
    assert not _bar_axes(figure)
    assert axes[0].get_title(loc="left") == "a title"


def test_full_colour_is_at_the_percentile_and_an_empty_map_is_drawn() -> None:
    maps = _maps()
    figure = leads_with_maps(_signal(), maps, _FS, STANDARD, "a title", what="fall", percentile=90)
    wanted = np.percentile(np.abs(maps[:, 20:]), 90)
    assert _lead_axes(figure)[3].images[0].get_clim() == pytest.approx((-wanted, wanted))
    for empty in (np.zeros((12, 200)), np.full((12, 200), np.nan)):
        figure = leads_with_maps(_signal(), empty, _FS, STANDARD, "a title", what="fall")
        assert _lead_axes(figure)[0].images[0].get_clim() == (-1, 1)
    one = np.zeros((12, 200))
    one[4, 7] = -3  # below the percentile, and yet the only thing there is
    figure = leads_with_maps(_signal(), one, _FS, STANDARD, "a title", what="fall", percentile=90)
    assert _lead_axes(figure)[0].images[0].get_clim() == (-3, 3)


def test_bars_have_each_leads_value_on_one_scale_and_the_colour_of_its_sign() -> None:
    rng = np.random.default_rng(1)
    bars = {"from one mean": rng.normal(size=12), "from the other": rng.normal(size=12)}
    figure = leads_with_maps(_signal(), _maps(), _FS, STANDARD, "a title", what="fall", bars=bars)
    beside = _bar_axes(figure)
    assert len(beside) == 12
    assert len({axes.get_xlim() for axes in beside}) == 1
    low, high = beside[0].get_xlim()
    assert low < min(each.min() for each in bars.values()) < max(each.max() for each in bars.values()) < high
    for number, (axes, lead) in enumerate(zip(beside, _lead_axes(figure), strict=True)):
        assert axes.get_position().y0 == pytest.approx(lead.get_position().y0)
        wanted = [each[number] for each in bars.values()]
        np.testing.assert_allclose([patch.get_width() for patch in axes.patches], wanted)
        assert axes.patches[0].get_y() > axes.patches[1].get_y()  # the first is the upper one
        for patch, value in zip(axes.patches, wanted, strict=True):
            red, _, blue, _ = patch.get_facecolor()
            assert (blue > red) == (value > 0)  # purple for, orange against
        assert [text.get_text().strip() for text in axes.texts] == [f"{value:+.2f}" for value in wanted]
    said = beside[-1].get_xlabel()
    for place, (words, each) in zip(("upper", "lower"), bars.items(), strict=True):
        assert f"{place}: {words}, sum {each.sum():+.2f}" in said


@pytest.mark.parametrize(
    ("values", "bars"),
    [(np.zeros((12, 100)), {}), (np.zeros((11, 200)), {}), (np.zeros((12, 200)), {"a": np.zeros(11)}),
     (np.zeros((12, 200)), {name: np.zeros(12) for name in "abcd"})],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(values, bars) -> None:
    with pytest.raises(EcglensError, match="expected \\(lead, time\\) twice"):
        leads_with_maps(_signal(), values, _FS, STANDARD, "a title", what="fall", bars=bars)


_TITLE = "cinc2020/A0001/end (CPSC2018). Labels: RBBB\nThe net: RBBB, probability 0.10, threshold 0.21, not answered\nmore"
_WHAT = "fall of the logit where half a second of the lead is the lead's mean"


def _expect_no_words_cut_off(figure, path) -> None:
    figure.savefig(path)  # at the figure's own dpi: at another one the words' places and sizes do not fit each other
    width, height = figure.get_size_inches() * figure.dpi
    for each in [*figure.texts, *(text for axes in figure.axes for text in [*axes.texts, axes.xaxis.label, axes._left_title])]:
        if each.get_text():
            box = each.get_window_extent()
            assert box.x0 >= 0, each
            assert box.x1 <= width, each
            assert box.y0 >= -1, each
            assert box.y1 <= height, each


@pytest.mark.parametrize("bars", [{}, {"absent: CPSC2018's mean": np.ones(12)}])
def test_no_words_of_a_short_record_are_cut_off(tmp_path, bars) -> None:
    figure = leads_with_maps(_signal(), _maps(), _FS, STANDARD, _TITLE, what=_WHAT, bars=bars)
    _expect_no_words_cut_off(figure, tmp_path / "one.png")


def test_a_real_record_is_drawn_and_no_words_are_cut_off(data_root, tmp_path) -> None:
    folder = data_root / "cinc2020" / "records"
    if not (folder / "A0001.hea").is_file():
        pytest.skip("ECGLENS_DATA holds no cinc2020/records/A0001")
    recording = read_challenge(folder, "A0001")
    signal = recording.signal[:, -5000::5]
    rng = np.random.default_rng(0)
    words = ("absent: CPSC2018's mean", "absent: PTB-XL's mean")
    bars = {name: scale * rng.normal(size=12) for name, scale in zip(words, (1, 1), strict=True)}
    maps = rng.normal(size=signal.shape)
    figure = leads_with_maps(signal, maps, 100.0, recording.leads, _TITLE, what=_WHAT, bars=bars)
    _expect_no_words_cut_off(figure, tmp_path / "one.png")
