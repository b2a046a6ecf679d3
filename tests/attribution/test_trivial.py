"""Maps that know nothing of the model."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.attribution import explain
from made import random_examples, tiny
from nets import LENGTH, gap, maps, signals


def test_uniform_is_one_everywhere():
    assert (maps(gap(), signals(), "uniform") == 1).all()


def test_magnitude_is_the_size_of_the_models_own_input():
    x = signals()
    np.testing.assert_array_equal(maps(gap(), x, "magnitude"), np.abs(x))
    examples = random_examples(4, length=24)
    model = tiny(examples, scale="lead")
    np.testing.assert_array_equal(maps(model, examples, "magnitude"), np.abs(model.inputs(examples)[0].numpy()))


def test_slope_is_the_size_of_central_differences():
    x = signals()
    found = maps(gap(), x, "slope")
    for k, lead, time in np.ndindex(x.shape):
        before, after = max(time - 1, 0), min(time + 1, LENGTH - 1)
        wanted = abs(float(x[k, lead, after]) - float(x[k, lead, before])) / (after - before)
        assert found[k, lead, time] == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_random_is_standard_normal_and_every_example_has_its_own():
    found = maps(gap(), signals(300), "random")
    assert abs(found.mean()) < 4 / found.size**0.5
    assert found.std() == pytest.approx(1, abs=0.03)
    assert len(np.unique(found[:, 0, 0])) == 300
    np.testing.assert_array_equal(found, maps(gap(1), signals(300, seed=9), "random"))  # not of model or data
    assert not np.array_equal(found, maps(gap(), signals(300), "random", seed=1))


@pytest.mark.parametrize("seconds", [0.06, 0.01, 0.2])
def test_r_window_is_one_within_so_many_seconds_of_r(seconds):
    r_index = np.array([5, 30, 59, 0])
    examples = random_examples(4, length=60, r_index=r_index)
    model = tiny(examples)
    found = maps(model, examples, "r-window", options={"seconds": seconds})
    assert found.shape == (4, 1, 60)
    for k, time in np.ndindex(4, 60):
        assert found[k, 0, time] == (abs(time - r_index[k]) <= round(seconds * 360))


def test_r_window_stands_in_the_middle_where_r_is_not_known():
    found = maps(gap(), signals(), "r-window")
    wanted = np.zeros(LENGTH)
    wanted[12 - 6 : 12 + 7] = 1  # 0.06 s at 100 Hz
    np.testing.assert_array_equal(found, np.broadcast_to(wanted, (5, 1, LENGTH)))


def test_trivial_maps_need_no_gradient_and_no_layer():
    found = explain(gap(), signals(), ["uniform", "random", "magnitude", "slope", "r-window"], target="all", quiet=True)
    for name in found.methods:
        assert (found[name][:, 0] == found[name][:, 2]).all()  # no class enters them
