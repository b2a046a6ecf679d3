"""Hiding beats and gaps, against one example and one region after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from beating import beating
from ecglens.analysis import beat_occlusion
from ecglens.analysis.beat_occlusion import FILLS, Occluded, occlude_regions, occlusion_table
from ecglens.errors import EcglensError
from ecglens.examples.beat_regions import beat_regions
from ecglens.examples.regions import Regions
from ecglens.models.classifier import Classifier
from ecglens.models.pictured import Pictured
from made import tiny

_NAMES = 13  # regions of a window of six beats


def _hidden_slowly(lead, start, stop, fill, first, end):
    out = lead.copy()
    if fill == "line":
        out[start:stop] = np.linspace(float(lead[start]), float(lead[stop - 1]), stop - start)
    else:
        out[start:stop] = 0 if fill == "zero" else np.median(lead[first:end])
    return out


@pytest.mark.parametrize("leads", [1, 2])
@pytest.mark.parametrize("fill", FILLS)
def test_each_region_hidden_alone(fill, leads, monkeypatch):
    monkeypatch.setattr(beat_occlusion, "_ROWS_AT_ONCE", 17)
    examples = beating(6, lacking=(2,), leads=leads)
    model = tiny(examples)
    with torch.no_grad():  # so that small changes turn some of them over
        model.module.head.bias -= torch.from_numpy(model.logits(examples).mean(0))
    regions = beat_regions(examples)
    found = occlude_regions(model, examples, regions, fill=fill)
    before = model.logits(examples)
    assert found.names == tuple(dict.fromkeys(regions.names))
    assert found.fall.shape == (6, _NAMES)
    np.testing.assert_array_equal(found.predicted, before.argmax(1))
    for row in range(6):
        first, end = (int(examples.table[name].iloc[row]) for name in ("valid_start", "valid_stop"))
        for k, name in enumerate(found.names):
            mine = [column for column, each in enumerate(regions.names) if each == name]
            signal = examples.signals[row].copy()
            for column in mine:
                start, stop = int(regions.start[row, column]), int(regions.stop[row, column])
                if start < stop:
                    lead = regions.row[column]
                    signal[lead] = _hidden_slowly(signal[lead], start, stop, fill, first, end)
            if start == stop:
                assert np.isnan([found.fall[row, k], found.changed[row, k]]).all()
                assert found.seconds[row, k] == 0
                continue
            one = replace(examples.take(np.array([row])), signals=signal[None])
            after, was = model.logits(one)[0], int(before[row].argmax())
            margin = before[row, was] - before[row, 1 - was]
            assert found.margin[row] == pytest.approx(margin, abs=1e-5)
            assert found.fall[row, k] == pytest.approx(margin - (after[was] - after[1 - was]), abs=1e-4), (row, name)
            assert found.changed[row, k] == (after.argmax() != was)
            assert found.seconds[row, k] == pytest.approx((stop - start) / 100)
    assert np.isnan(found.fall).any()
    assert (found.changed == 1).any()
    assert (found.changed == 0).any()


class _Height(nn.Module):
    """A picture one column wide and high: the largest sample of the span."""

    def forward(self, x: Tensor, span: Tensor) -> Tensor:
        time = torch.arange(x.shape[2])
        there = (time >= span[:, :1]) & (time < span[:, 1:])
        return x[:, 0].masked_fill(~there, -9.0).amax(1)[:, None, None, None]


class _Two(nn.Module):
    def forward(self, ink: Tensor) -> Tensor:
        return torch.cat([0 * ink[:, 0, 0], ink[:, 0, 0] - 50.0], dim=1)


def test_a_model_of_pictures_draws_the_changed_signal():
    examples = beating(4)
    regions = beat_regions(examples)
    fourth = regions.names.index("beat 4")
    signals = examples.signals.copy()
    for row in range(4):
        signals[row, 0, (regions.start[row, fourth] + regions.stop[row, fourth]) // 2] = 100.0
    examples = replace(examples, signals=signals)
    model = Classifier(
        Pictured(_Height(), _Two()),
        "height",
        examples.classes,
        examples.leads,
        100.0,
        examples.length,
        context="span",
        draws=True,
    )
    found = occlude_regions(model, examples, regions)
    assert (found.predicted == 1).all()
    there = ~np.isnan(found.fall)
    others = there & (np.arange(_NAMES) != fourth)
    assert (found.changed[:, fourth] == 1).all()
    assert (found.changed[others] == 0).all()
    assert (found.fall[:, fourth] > 90).all()
    assert (found.fall[others] == 0).all()


def test_the_table_is_plain_means_over_those_that_have_the_region():
    rng = np.random.default_rng(0)
    fall, changed = rng.normal(size=(30, 2)), (rng.random((30, 2)) < 0.4) * 1.0
    lacking = rng.random(30) < 0.3
    fall[lacking, 1], changed[lacking, 1] = np.nan, np.nan
    seconds = np.where(np.isnan(fall), 0, rng.random((30, 2)))
    found = Occluded(("beat 1", "gap 1-2"), fall, changed, seconds, np.zeros(30, int), np.ones(30))
    labels, patients = np.arange(30) % 2, np.array([f"p{k % 5}" for k in range(30)])
    table = occlusion_table(found, labels, ("normal", "abnormal"), patients)
    assert list(table["class"]) == ["all", "all", "normal", "normal", "abnormal", "abnormal"]
    for row in table.itertuples():
        k = found.names.index(row.region)
        mine = [i for i in range(30) if row[1] in ("all", ("normal", "abnormal")[labels[i]]) and not np.isnan(fall[i, k])]
        assert row.n == len(mine)
        assert row.patients == len({patients[i] for i in mine})
        assert row.fall == pytest.approx(np.mean([fall[i, k] for i in mine]))
        assert row.changed == pytest.approx(np.mean([changed[i, k] for i in mine]))
        assert row.seconds == pytest.approx(np.mean([seconds[i, k] for i in mine]))
        assert row.fall_low < row.fall < row.fall_high
        assert row.changed_low <= row.changed <= row.changed_high
    alone = occlusion_table(found, labels, ("normal", "abnormal"), np.array(["p"] * 30))
    assert alone[["fall_low", "changed_high"]].isna().all().all()
    with pytest.raises(EcglensError, match="30 examples, 29 labels"):
        occlusion_table(found, labels[1:], ("normal", "abnormal"), patients)


def test_what_is_refused():
    examples = beating(3)
    model, regions = tiny(examples), beat_regions(examples)
    with pytest.raises(EcglensError, match="did you mean 'zero'"):
        occlude_regions(model, examples, regions, fill="zeros")
    with pytest.raises(EcglensError, match="3 examples and regions of 2"):
        occlude_regions(model, examples, regions.take(np.arange(2)))
    outside = Regions(("x",), ("lead 1",), np.array([0]), np.zeros((3, 1), int), np.full((3, 1), 701))
    with pytest.raises(EcglensError, match="outside 1 leads and 700 samples"):
        occlude_regions(model, examples, outside)
    other = replace(outside, row=np.array([1]), stop=outside.stop - 1)
    with pytest.raises(EcglensError, match="outside 1 leads"):
        occlude_regions(model, examples, other)
