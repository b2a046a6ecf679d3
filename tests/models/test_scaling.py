"""Each rule of scaling against its definition, example by example."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ecglens.errors import EcglensError
from ecglens.models.scaling import SCALES, scale
from made import FEW

_SIGNALS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.sampled_from([2, 4]), st.integers(2, 30)),
    elements=st.floats(-5, 5, width=32).map(lambda value: np.float32(round(value, 3))),
)


def _slow(x: np.ndarray, name: str) -> np.ndarray:
    """One example (lead, time), in float64."""
    x = x.astype(np.float64)
    if name == "none":
        return x
    if name == "joint":
        low, high = x.min(), x.max()
        return (x - low) / (high - low) if high > low else x
    out = np.zeros_like(x)
    for lead in range(len(x)):
        reference = x[lead]
        if name == "usual":
            reference = x[lead % (len(x) // 2) + len(x) // 2]
        centred = x[lead] - x[lead].mean()
        spread = reference.std() if name in ("lead", "usual") else 1.0
        # a flat line has no spread to divide by
        out[lead] = centred / (spread if np.ptp(reference) > 0 else 1.0)
    return out


@pytest.mark.parametrize("name", sorted(SCALES))
@FEW
@given(_SIGNALS)
def test_each_rule_equals_its_definition_lead_by_lead(name, x):
    expected = np.stack([_slow(one, name) for one in x])
    # float32 rounds sums of values up to 5 by some 1e-6, and dividing by a nearly flat reference lead makes that larger
    spreads = x.astype(np.float64).std(axis=2)
    atol = 2e-4 + 3e-6 / spreads[spreads > 0].min(initial=1.0)
    np.testing.assert_allclose(scale(torch.from_numpy(x), name).numpy(), expected, rtol=2e-2, atol=atol)


@FEW
@given(_SIGNALS)
def test_joint_lies_between_0_and_1_and_reaches_both(x):
    out = scale(torch.from_numpy(x), "joint").numpy()
    for before, after in zip(x, out, strict=True):
        if before.max() > before.min():
            assert (after.min(), after.max()) == (0, 1)


@FEW
@given(_SIGNALS)
def test_lead_gives_mean_0_and_standard_deviation_1_where_the_lead_varies(x):
    out = scale(torch.from_numpy(x), "lead").double()
    for before, after in zip(x.reshape(-1, x.shape[2]), out.reshape(-1, x.shape[2]), strict=True):
        assert after.mean().item() == pytest.approx(0, abs=1e-3)
        if np.ptp(before) > 0:
            assert after.std(correction=0).item() == pytest.approx(1, abs=1e-3)


@FEW
@given(_SIGNALS)
def test_offset_gives_mean_0_and_keeps_amplitudes(x):
    out = scale(torch.from_numpy(x), "offset").numpy()
    np.testing.assert_allclose(out.mean(axis=2), 0, atol=1e-5)
    np.testing.assert_allclose(np.ptp(out, axis=2), np.ptp(x, axis=2), atol=1e-5)


@pytest.mark.parametrize("name", sorted(SCALES))
@FEW
@given(st.floats(-5, 5, width=32))
def test_a_flat_line_becomes_neither_nan_nor_noise(name, level):
    out = scale(torch.full((2, 2, 430), level), name)
    if name in ("none", "joint"):
        assert (out == level).all()
    else:
        assert out.abs().max() < 1e-4


@pytest.mark.parametrize("name", ["lead", "usual"])
def test_a_lead_stuck_at_the_end_of_the_range_stays_flat(name):
    # the mean of equal float32 numbers is not quite that number
    for level in (4.925, -5.05, 5.12, 10.235, 16.4, 20.47, 32.767):
        out = scale(torch.full((1, 2, 430), level), name)
        assert out.abs().max() < 1e-2, level


@pytest.mark.parametrize("name", sorted(SCALES))
def test_the_gradient_through_a_flat_lead_is_a_number(name):
    x = torch.randn(2, 4, 20, generator=torch.Generator().manual_seed(0))
    x[0, 2] = 0.0
    x.requires_grad_(True)
    scale(x, name).square().sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", sorted(SCALES))
def test_examples_of_a_batch_do_not_meet(name):
    x = torch.randn(5, 4, 20, generator=torch.Generator().manual_seed(0))
    together = scale(x, name)
    for k in range(5):
        torch.testing.assert_close(scale(x[k : k + 1], name)[0], together[k])


@pytest.mark.parametrize("name", sorted(SCALES))
def test_the_input_is_left_as_it_was(name):
    x = torch.randn(2, 2, 20, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    scale(x, name)
    assert torch.equal(x, before)


def test_usual_refuses_an_odd_number_of_rows():
    with pytest.raises(EcglensError, match="found 3 rows"):
        scale(torch.zeros(1, 3, 10), "usual")


def test_an_unknown_rule_is_refused_with_the_known_ones():
    with pytest.raises(EcglensError, match="unknown scale 'leads'; did you mean 'lead'"):
        scale(torch.zeros(1, 1, 10), "leads")
