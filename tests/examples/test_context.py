"""RR numbers: plain logarithms of plain ratios, zero where a neighbour is missing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ecglens.examples.context import RR_FEATURES, rr_features

COLUMNS = ("rr_before", "rr_after", "rr_earlier", "rr_local", "rr_spread")


def with_rr(make_examples: Any, rows: list[tuple[float, ...]]) -> Any:
    examples = make_examples([0] * len(rows), ["a"] * len(rows))
    examples.table[list(COLUMNS)] = np.array(rows, np.float64).reshape(len(rows), len(COLUMNS))
    return examples


def slowly(before: float, after: float, earlier: float, local: float, spread: float) -> list[float]:
    out = []
    for over, under in ((before, local), (after, local), (before, after), (earlier, local), (local, 0.8)):
        missing = math.isnan(over) or math.isnan(under)
        out.append(0.0 if missing else math.log(over / under))
    out.append(0.0 if math.isnan(spread) else spread)
    return [min(max(value, -2.0), 2.0) for value in out]


seconds = st.floats(0.05, 20) | st.just(math.nan)


@given(rows=st.lists(st.tuples(seconds, seconds, seconds, seconds, st.floats(0, 5) | st.just(math.nan)), max_size=6))
def test_features_are_those_of_a_plain_loop(make_examples, rows: list[tuple[float, ...]]) -> None:
    found = rr_features(with_rr(make_examples, rows))
    assert found.dtype == np.float32
    assert found.shape == (len(rows), len(RR_FEATURES))
    np.testing.assert_allclose(found, np.array([slowly(*row) for row in rows]).reshape(found.shape), atol=1e-6)


def test_a_regular_rhythm_of_75_a_minute_is_all_zero(make_examples) -> None:
    assert rr_features(with_rr(make_examples, [(0.8, 0.8, 0.8, 0.8, 0.0)])).tolist() == [[0.0] * 6]


def test_a_beat_without_neighbours_is_a_regular_rhythm(make_examples) -> None:
    assert rr_features(with_rr(make_examples, [(math.nan,) * 5])).tolist() == [[0.0] * 6]


def test_two_marks_on_one_sample_give_finite_numbers(make_examples) -> None:
    found = rr_features(with_rr(make_examples, [(0.0, 0.8, 0.8, 0.8, math.inf), (0.8, 0.0, 0.0, 0.0, 0.1), (0.0,) * 5]))
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 2
