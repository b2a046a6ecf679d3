"""Clips put together again, against a loop over samples."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.analysis.whole_records import joined_clips
from ecglens.errors import EcglensError
from ecglens.examples.clips import starts_of


def _plain(values: np.ndarray, starts: list[int], length: int, samples: int) -> list[float]:
    out = []
    for at in range(samples):
        seen = [
            row[int((at - start) / length * len(row) + 1e-9)]
            for row, start in zip(values, starts, strict=True)
            if start <= at < start + length
        ]
        out.append(np.mean(seen) if seen else np.nan)
    return out


@pytest.mark.parametrize(("samples", "cells"), [(35, 10), (35, 5), (20, 3), (37, 4), (10, 10)])
def test_each_sample_has_the_mean_of_the_clips_that_reach_it(samples: int, cells: int) -> None:
    starts = [start for _, start in starts_of(samples, 10, "tiles")]
    values = np.random.default_rng(0).normal(size=(len(starts), cells))
    found = joined_clips(values, np.array(starts), 10, samples)
    np.testing.assert_allclose(found, _plain(values, starts, 10, samples))
    assert not np.isnan(found).any()


def test_what_no_clip_reaches_is_not_known_and_padding_is_cut_off() -> None:
    found = joined_clips(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 8]), 4, 12)
    np.testing.assert_array_equal(found, [1, 1, 2, 2, np.nan, np.nan, np.nan, np.nan, 3, 3, 4, 4])
    np.testing.assert_array_equal(joined_clips(np.arange(6.0)[None], np.array([-2]), 6, 3), [2, 3, 4])


def test_numbers_that_do_not_fit_are_refused() -> None:
    for values, starts in ((np.zeros((2, 3)), [0]), (np.zeros(3), [0]), (np.zeros((1, 9)), [0])):
        with pytest.raises(EcglensError, match="with a start each"):
            joined_clips(values, np.array(starts), 8, 10)
