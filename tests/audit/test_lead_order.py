"""Exchanged leads, in beats of simple waves: which are told, beside whom, and which only look like it."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.audit.lead_order import lead_swap
from ecglens.examples.examples import Examples
from made import make_examples

LENGTH, FS = 100, 100.0
R = 50


def _wave(at: int, height: float = 1.0) -> np.ndarray:
    """Five samples high, else 0: waves at different places have nothing in common."""
    out = np.zeros(LENGTH)
    out[at : at + 5] = height
    return out


DIFFERENCE, SUM, OTHER_SUM = _wave(R - 8), _wave(R + 2), _wave(R + 9)


def _beats(difference: list[float], patients: str, total: list[np.ndarray] | None = None, labels: str = "") -> Examples:
    """Two leads with this many times DIFFERENCE between them, and a sum each."""
    n = len(difference)
    sums = [SUM] * n if total is None else total
    leads = [[(s + d * DIFFERENCE) / 2, (s - d * DIFFERENCE) / 2] for d, s in zip(difference, sums, strict=True)]
    return make_examples(
        np.array(leads, np.float32), [int(each) for each in labels or "0" * n], fs=FS, leads=("II", "V1"), classes=("N", "V"),
        patient=list(patients), r_index=np.full(n, R),
    )  # fmt: skip


@pytest.mark.parametrize("way", [1, -1])
def test_exchanged_leads_are_1_and_the_commoner_way_0_whichever_it_is(way: int) -> None:
    turned = np.arange(12) % 4 == 3
    for scale in (1, -1):  # the heart may point either way, too
        examples = _beats((way * np.where(turned, -1, 1)).tolist(), "a" * 12, [scale * SUM] * 12)
        np.testing.assert_allclose(lead_swap(examples), turned, atol=1e-6)


def test_a_beat_from_another_focus_is_no_exchange_as_far_as_its_sum_is_another() -> None:
    """The difference is turned round in the last six, whose sums have these cosines with the others', on either side."""
    sums = [SUM] * 14 + [c * SUM + side * np.sqrt(1 - c**2) * OTHER_SUM for c in (0.95, 0.7, 0.3) for side in (1, -1)]
    amount = lead_swap(_beats([1] * 14 + [-1] * 6, "a" * 20, sums))
    np.testing.assert_allclose(amount, [0] * 14 + [1, 1, 0.5, 0.5, 0, 0], atol=1e-5)


def test_a_patient_is_held_beside_itself_and_beside_the_class_where_it_has_few_beats() -> None:
    """b has its leads the other way throughout, which is its own; c has three beats, too few to say what is usual in it."""
    amount = lead_swap(_beats([1] * 14 + [-1] * 4 + [-1] * 3, "a" * 14 + "b" * 4 + "c" * 3))
    np.testing.assert_allclose(amount, [0] * 18 + [1] * 3, atol=1e-6)


def test_a_class_is_held_beside_itself() -> None:
    """All V look like N with leads exchanged, and one V like N."""
    difference, labels = [1] * 10 + [-1] * 5 + [1], "0" * 10 + "1" * 6
    np.testing.assert_allclose(lead_swap(_beats(difference, "a" * 16, labels=labels)), [0] * 15 + [1], atol=1e-6)


def test_only_what_is_around_r_counts_and_not_the_level() -> None:
    """Leads 0.15 s and more from R, and where they rest, say nothing of their order."""
    examples = _beats([1] * 9 + [-1], "a" * 10)
    examples.signals[:5, 0, : R - 15] += 3
    examples.signals[5:, 1, R + 16 :] -= 2
    examples.signals[:7, 0] += 5
    np.testing.assert_allclose(lead_swap(examples), [0] * 9 + [1], atol=1e-5)


@pytest.mark.parametrize(("shape", "r"), [((8, 1, LENGTH), R), ((8, 2, LENGTH), -1), ((8, 2, 30), 15)])
def test_one_lead_no_r_or_too_short_a_signal_is_not_a_number(shape: tuple[int, int, int], r: int) -> None:
    examples = make_examples(np.ones(shape, np.float32), fs=FS, r_index=np.full(8, r))
    assert np.isnan(lead_swap(examples)).all()
