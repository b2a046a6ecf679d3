"""Searches that are done and searches that are cut short; maps that say where and maps that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from audit.subjects import subject
from ecglens.attribution.masks import PUBLISHED
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.settling import _way, even, settled

_OF = subject([0, 1, 2] * 4, [f"p{k}" for k in range(12)], length=40)


def test_a_mask_that_marches_on_is_not_done_and_one_that_stands_still_is() -> None:
    marching = PUBLISHED | {"steps": 40}
    found = settled(replace(_OF, method="saliency", further={"deletion-mask": marching}))
    assert (found.state, found.severity) == (FOUND, "high")
    # Adam's steps are of one length: 40 to 80 steps is twice as far as 20 to 40
    assert found.number == pytest.approx(2, abs=0.05)
    assert found.where == {"method": "deletion-mask", "steps": "40"}
    still = {"steps": 400, "starts": 1, "tolerance": 0.0}
    assert settled(replace(_OF, method="deletion-mask", map_options=still)).state == CLEAR


def test_sums_over_steps_settle_and_methods_without_steps_are_not_asked() -> None:
    assert settled(replace(_OF, method="integrated-gradients")).state == CLEAR
    assert settled(replace(_OF, method="saliency")).state == NOT_RUN
    assert settled(_OF).state == NOT_RUN


def test_a_way_is_measured_example_by_example_against_the_way_before() -> None:
    half, whole, double = (np.full((2, 1, 5), value) for value in (1.0, 2.0, 2.5))
    double[1] = 2.02  # less than a fiftieth of 2.02 counts as still
    assert _way(half, whole, double) == pytest.approx([0.5, 0.0])
    assert _way(whole, whole, double)[0] == pytest.approx(100)  # moved late: nothing before to measure by


def test_maps_that_are_the_same_everywhere_are_named() -> None:
    few = {"deletion-mask": PUBLISHED | {"steps": 20}}
    found = even(replace(_OF, method="saliency", further=few))
    assert (found.state, found.where) == (FOUND, {"method": "deletion-mask"})
    assert found.number > 0.99
    found = even(replace(_OF, method="saliency"))
    assert found.state == CLEAR
    assert found.number < 0.5
    assert even(_OF).state == NOT_RUN
    pictured = replace(_OF, method="saliency", classifier=replace(_OF.classifier, draws=True))
    assert "pictures" in even(pictured).why_not


def test_a_method_that_doubles_its_own_steps_is_asked_at_those_it_took(method) -> None:
    made: list[dict] = []

    def kept(batch, steps: int = 4, most_steps: int = 64, tolerance: float = 0.01):
        """1 + c / steps; the first example is done at once, the others at 32."""
        made.append({"steps": steps, "most_steps": most_steps})
        took = torch.tensor([min(steps if row == 0 else max(32, steps), most_steps) for row in batch.rows.tolist()])
        return torch.ones_like(batch.x) + (8 / took)[:, None, None]

    found = settled(replace(_OF, method=method("made-doubling", kept)))
    assert found.where == {"method": "made-doubling", "steps": "4 to 32"}
    # 1 / n: as far again is half of what the second half did
    assert (found.number, found.high) == pytest.approx((0.5, 0.5))
    assert {each["steps"] for each in made} == {2, 4, 8, 16, 32, 64}
    # but for the maps that are shown, exactly as many as are told
    assert all(each["steps"] == each["most_steps"] for each in made if each != {"steps": 4, "most_steps": 64})


def test_pictures_are_not_settled_and_empty_maps_say_neither_where_nor_nowhere(method) -> None:
    pictured = replace(_OF, method="integrated-gradients", classifier=replace(_OF.classifier, draws=True))
    assert "pictures" in settled(pictured).why_not

    def nothing(batch, share: float = 1.0):
        rows = torch.as_tensor(batch.rows)
        return batch.gradient * (rows >= share * 12)[:, None, None]

    of = replace(_OF, method=method("made-nothing", nothing))
    empty, some = even(of), even(replace(of, map_options={"share": 0.25}))
    assert (empty.state, empty.why_not) == (NOT_RUN, "the maps are empty: 12 of 12 of made-nothing")
    assert some.state == CLEAR
    assert some.number > 0
    assert "median over 9 examples" in some.in_words
    assert "3 empty maps of made-nothing left out" in some.in_words


def test_empty_maps_do_not_count_as_settled(method) -> None:
    def sum_of_some(batch, steps: int = 8, share: float = 1.0):
        return batch.gradient * (1 + (8 / steps) ** 2) * (torch.as_tensor(batch.rows) >= share * 12)[:, None, None]

    of = replace(_OF, method=method("made-sum-of-some", sum_of_some))
    empty, some = settled(of), settled(replace(of, map_options={"share": 0.25}))
    assert (empty.state, empty.why_not) == (NOT_RUN, "the maps are empty: 12 of 12 of made-sum-of-some")
    assert (some.state, some.severity) == (CLEAR, "")
    assert some.number == pytest.approx(0.25)  # not 0, which the empty ones would be
    assert "median of 9 examples" in some.in_words
    assert "3 empty maps of made-sum-of-some left out" in some.in_words
    beside = settled(replace(of, further={"integrated-gradients": {}}))
    assert "12 empty maps of made-sum-of-some left out" in beside.in_words
    assert beside.where["method"] == "integrated-gradients"


def test_without_an_example_nothing_is_settled_or_even() -> None:
    none = replace(_OF.examples, multi_hot=np.zeros((12, 3), bool))
    for check in (settled, even):
        assert "no example" in check(replace(_OF, examples=none, method="integrated-gradients")).why_not
