"""Hiding waves, beside a slow loop over samples, and on nets that read one wave alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from audit.beats_made import looks_at, made_beats
from ecglens.analysis.wave_occlusion import occlude_waves
from ecglens.analysis.waves import wave_regions
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.subject import Subject
from ecglens.audit.wave_occlusion import ALL_CLASSES, ALL_LEADS, wave_occlusion
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples, LeadPlace
from ecglens.examples.regions import Regions
from ecglens.models.classifier import Classifier
from made import make_examples


class Reads(torch.nn.Module):
    """Class 0 is the sum of |x| of one lead from one sample to another; class 1 a tenth of it, so never the larger."""

    def __init__(self, lead: int, first: int, stop: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.there = (slice(None), lead, slice(first, stop))

    def forward(self, x):
        score = self.scale * x[self.there].abs().sum(1)
        return torch.stack([score, 0.1 * score], dim=1)


def _classifier(examples: Examples, lead: int, first: int, stop: int) -> Classifier:
    net = Reads(lead, first, stop)
    return Classifier(net, "reads", examples.classes, examples.leads, examples.fs, examples.length)


@pytest.fixture(scope="module")
def examples() -> Examples:
    return made_beats(40)


def test_falls_are_those_of_a_slow_line_from_sample_to_sample() -> None:
    rng = np.random.default_rng(0)
    places = (LeadPlace("a", 0, 0, 20), LeadPlace("b", 0, 20, 20), LeadPlace("c", 1, 0, 40))
    signals = rng.normal(size=(5, 2, 40)).astype(np.float32)
    examples = make_examples(signals, leads=("x", "y"), places=places)
    names, leads, row = ("P", "P", "P", "T"), ("a", "b", "c", "b"), np.array([0, 0, 1, 0])
    start, stop = np.tile([3, 20, 36, 30], (5, 1)), np.tile([9, 27, 40, 30], (5, 1))
    stop[2, 3] = 35  # a T in one example alone
    regions = Regions(names, leads, row, start, stop)
    classifier = _classifier(examples, 0, 0, 40)
    target = np.array([0, 1, 0, 1, 0])
    found = occlude_waves(classifier, examples, regions, target)
    assert found.names == ("P", "T")
    for n in range(5):
        for k, name in enumerate(found.names):
            x = signals[n].astype(float)
            gone = False
            for each, lead in enumerate(leads):
                place = next(one for one in places if one.name == lead)
                first, end = start[n, each], stop[n, each]
                if names[each] != name or first == end:
                    continue
                gone = True
                before = first - 1 if first > place.offset else None
                behind = end if end < place.offset + place.length else None
                for at in range(first, end):
                    left = x[place.row, behind] if before is None else signals[n, place.row, before]
                    right = left if behind is None else signals[n, place.row, behind]
                    share = 0.5 if None in (before, behind) else (at - before) / (behind - before)
                    x[place.row, at] = left + (right - left) * share
            if not gone:
                assert np.isnan(found.fall[n, k])
                continue
            weight = 1 if target[n] == 0 else 0.1
            slow = weight * (np.abs(signals[n, 0]).sum() - np.abs(x[0]).sum())
            assert found.fall[n, k] == pytest.approx(slow, abs=1e-4), (n, name)


def test_what_does_not_fit_is_refused(examples: Examples) -> None:
    classifier = _classifier(examples, 0, 0, 10)
    regions = wave_regions(examples)
    with pytest.raises(EcglensError, match="the same number"):
        occlude_waves(classifier, examples, regions, np.zeros(3, np.int64))
    with pytest.raises(EcglensError, match="the leads are"):
        other = replace(regions, lead=("V9",) * len(regions.lead))
        occlude_waves(classifier, examples, other, np.zeros(40, np.int64))


def test_a_net_of_one_lead_and_wave_is_moved_by_that_alone(examples: Examples, method) -> None:
    r = int(examples.column("r_index")[0])
    of = Subject("net", _classifier(examples, 1, r - 8, r + 12), examples, method=method("made-qrs", looks_at(r - 8, r + 12)))
    answer = wave_occlusion(of)
    assert [each.state for each in answer.findings] == [CLEAR, CLEAR]
    table = answer.tables["wave_occlusion"]
    mine = table[table["class"] == ALL_CLASSES].set_index(["lead", "wave"])
    assert set(table["class"]) == {ALL_CLASSES, "N"}  # the class that the net gives
    assert mine["moved"].idxmax()[1] == "QRS"
    assert mine.loc[("V1", "QRS"), "fall"] == pytest.approx(mine.loc[(ALL_LEADS, "QRS"), "fall"])
    assert mine.loc["II"]["moved"].max() == 0
    assert mine.loc[(ALL_LEADS, "QRS"), "patients"] == 8
    assert mine.loc[(ALL_LEADS, "QRS"), "fall_low"] < mine.loc[(ALL_LEADS, "QRS"), "fall"]
    assert mine.loc[(ALL_LEADS, "QRS"), "share"] == pytest.approx(mine.loc["II"].loc["QRS", "share"] * 2, rel=0.3)


def test_a_map_on_t_of_a_net_that_reads_qrs_is_found(examples: Examples, method) -> None:
    r = int(examples.column("r_index")[0])
    of = Subject("net", _classifier(examples, 0, r - 8, r + 8), examples, method=method("made-t", looks_at(r + 70, r + 110)))
    points, ranks = wave_occlusion(of).findings
    assert (points.state, points.severity) == (FOUND, "medium")
    assert "N: the map lies on T, hiding QRS moves most" in points.what
    assert points.number < 0.05
    assert ranks.number < 0.5
    even = wave_occlusion(replace(of, method="uniform")).findings[0]
    assert even.state == NOT_RUN  # it points to no wave


def test_a_map_that_ranks_waves_backwards_is_found(examples: Examples, method) -> None:
    def backwards(batch):
        return 1 / (batch.x.detach().abs() + 0.01)

    made = method("made-backwards", backwards)
    of = Subject("net", _classifier(examples, 0, 0, examples.length), examples, method=made)
    _, ranks = wave_occlusion(of).findings
    assert (ranks.state, ranks.severity) == (FOUND, "medium")
    _, with_it = wave_occlusion(replace(of, method="magnitude")).findings
    assert with_it.state == CLEAR
    assert with_it.number > 0.3


def test_without_method_beats_or_enough_examples_it_is_not_run(examples: Examples) -> None:
    of = Subject("net", _classifier(examples, 0, 0, 20), examples, method="saliency")
    few = Subject("net", of.classifier, examples.take(np.arange(3)), method="saliency")
    for each in (replace(of, method=None), few):
        assert {finding.state for finding in wave_occlusion(each).findings} == {NOT_RUN}


def test_empty_maps_and_no_example_to_explain_are_not_run(examples: Examples, method) -> None:
    of = Subject("net", _classifier(examples, 0, 0, 20), examples, method="saliency")
    empty = wave_occlusion(replace(of, method=method("made-nothing", looks_at(0, 0))))
    without = replace(of, examples=replace(examples, multi_hot=np.zeros((len(examples), 2), bool)))
    none = wave_occlusion(replace(of, examples=examples.take(np.array([], np.int64))))
    for answer, why in ((empty, "the maps are empty"), (wave_occlusion(without), "no example"), (none, "no example")):
        assert {each.state for each in answer.findings} == {NOT_RUN}
        assert all(why in each.why_not for each in answer.findings)
