"""Searches that are done and searches that are cut short; maps that say where and maps that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

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
