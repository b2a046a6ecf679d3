"""Methods that change the input, against plain loops and brute force."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ecglens.attribution import explain
from ecglens.attribution.passes import Pass, Shared, undisturbed
from ecglens.attribution.perturbation import coalition_scores, shapley_weights
from ecglens.errors import EcglensError
from ecglens.examples.regions import Regions
from made import FEW
from nets import LENGTH, Linear, classifier, flat, gap, maps, one_pass, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])


def _score(model, one: np.ndarray, label: int, output: str = "logit") -> float:
    with torch.no_grad():
        logits = model.module(torch.from_numpy(one.astype(np.float32))[None])[0].double()
    return float((logits if output == "logit" else logits.softmax(0))[label])


# ------------------------------------------------------------------------------------------------ occlusion


@pytest.mark.parametrize("seconds", [0.04, 0.05, 0.1, 1.0])
@pytest.mark.parametrize("baseline", ["zero", "mean"])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_occlusion_equals_a_plain_loop_over_windows(seconds, baseline, output):
    model, x, background = gap(), signals(3), signals(4, seed=1) + 1
    width, start = round(seconds * 100), background.mean(0) if baseline == "mean" else np.zeros((2, LENGTH))
    wanted = np.zeros_like(x)
    for k, lead in np.ndindex(3, 2):
        for first in range(0, LENGTH, width):
            changed = x[k].copy()
            changed[lead, first : first + width] = start[lead, first : first + width]
            fall = _score(model, x[k], TARGET[k], output) - _score(model, changed, TARGET[k], output)
            wanted[k, lead, first : first + width] = fall
    found = maps(
        model, x, "occlusion", TARGET[:3], output=output, background=background,
        options={"seconds": seconds, "baseline": baseline},
    )  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


@FEW
@given(st.integers(0, 999), st.integers(1, 5))
def test_occlusion_of_regions_given_as_data_is_the_mean_of_the_falls_where_they_overlap(seed, n_regions):
    rng = np.random.default_rng(seed)
    model, x = flat(), signals(4, seed)
    start = rng.integers(0, LENGTH, (6, n_regions))
    stop = np.minimum(start + rng.integers(0, 12, (6, n_regions)), LENGTH)  # some are empty, many overlap
    row = rng.integers(0, 2, n_regions)
    regions = Regions(tuple(f"r{k}" for k in range(n_regions)), ("I",) * n_regions, row, start, stop)
    data = np.concatenate([signals(2, seed + 1), x])
    rows = np.array([2, 3, 4, 5])
    found = maps(model, data, "occlusion", TARGET[:4], rows=rows, options={"regions": regions})
    for k in range(4):
        total, times = np.zeros((2, LENGTH)), np.zeros((2, LENGTH))
        for region in range(n_regions):
            there = slice(start[rows[k], region], stop[rows[k], region])
            changed = x[k].copy()
            changed[row[region], there] = 0
            fall = _score(model, x[k], TARGET[k]) - _score(model, changed, TARGET[k])
            total[row[region], there] += fall
            times[row[region], there] += 1
        np.testing.assert_allclose(found[k], total / np.maximum(times, 1), rtol=1e-3, atol=1e-5)


def test_occlusion_of_a_linear_model_is_what_the_window_contributes():
    model, x = classifier(seeded(Linear)), signals(3)
    weights = model.module.head.weight.detach().numpy()[1].reshape(2, LENGTH)
    parts = (weights * x).reshape(3, 2, 4, 6).sum(axis=3)
    found = maps(model, x, "occlusion", [1] * 3, options={"seconds": 0.06})
    np.testing.assert_allclose(found, np.repeat(parts, 6, axis=2), rtol=1e-3, atol=1e-5)


# ------------------------------------------------------------------------------------------------ Shapley


class FourLeads(nn.Module):
    """Leads that only count together."""

    def __init__(self, n_leads: int = 4) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(n_leads * 6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.tanh(2 * self.first(torch.flatten(x, 1))))


def _four(n_leads: int = 4):
    leads = tuple(f"V{k + 1}" for k in range(n_leads))
    return classifier(seeded(lambda: FourLeads(n_leads)), leads=leads, length=6), signals(3, leads=n_leads, length=6)


def _slow_shapley(model, x: np.ndarray, start: np.ndarray, label: int, output: str = "logit") -> np.ndarray:
    n_leads = len(x)
    out = np.zeros(n_leads)
    orders = list(permutations(range(n_leads)))
    for order in orders:
        now = start.copy()
        before = _score(model, now, label, output)
        for lead in order:
            now[lead] = x[lead]
            after = _score(model, now, label, output)
            out[lead] += (after - before) / len(orders)
            before = after
    return out


@pytest.mark.parametrize("baseline", ["zero", "mean"])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_exact_lead_shapley_equals_all_orders_and_sums_to_the_rise(baseline, output):
    model, x = _four()
    background = signals(5, seed=4, leads=4, length=6) + 0.5
    start = background.mean(0) if baseline == "mean" else np.zeros((4, 6), np.float32)
    target = np.array([0, 2, 1])
    found = maps(
        model, x, "lead-shapley", target, output=output, background=background, options={"baseline": baseline}
    )[:, :, 0]  # fmt: skip
    for k in range(3):
        np.testing.assert_allclose(found[k], _slow_shapley(model, x[k], start, target[k], output), atol=1e-5)
        rise = _score(model, x[k], target[k], output) - _score(model, start, target[k], output)
        assert found[k].sum() == pytest.approx(rise, abs=1e-5)


@pytest.mark.parametrize("n", [1, 3, 40, 200, 600])
@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_coalitions_are_scored_one_by_one_whatever_the_batch(n, baseline):
    """Six leads: all coalitions go through the model at once, in several rounds, or one a round."""
    model, _ = _four(6)
    x, background = signals(n, leads=6, length=6), signals(5, seed=4, leads=6, length=6) + 0.5
    start = background.mean(0) if baseline == "mean" else np.zeros((6, 6), np.float32)
    target = np.arange(n) % 3
    with undisturbed(model.module):
        shared = Shared(model, background=torch.from_numpy(background), writes=False)
        found = coalition_scores(Pass.of(shared, torch.from_numpy(x), None, target, np.arange(n)), baseline).numpy()
    assert found.shape == (n, 64)
    for k in {0, n // 2, n - 1}:
        for number in range(64):
            there = np.array([number >> lead & 1 for lead in range(6)], bool)[:, None]
            wanted = _score(model, np.where(there, x[k], start), target[k])
            assert found[k, number] == pytest.approx(wanted, abs=1e-5)


def test_a_lead_that_changes_nothing_gets_nothing_and_equal_leads_get_the_same():
    class Some(nn.Module):
        def forward(self, x):
            sums = x.sum(dim=2)
            return torch.stack([sums[:, 0] * sums[:, 1] + sums[:, 3], sums[:, 3]], dim=1)

    model = classifier(Some(), classes=("a", "b"), leads=("1", "2", "3", "4"), length=6)
    x = signals(3, leads=4, length=6)
    x[:, 1] = x[:, 0]
    found = maps(model, x, "lead-shapley", [0] * 3)[:, :, 0]
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-6)
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=1e-5)
    np.testing.assert_allclose(found[:, 3], x[:, 3].sum(axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_leads", [1, 2, 3, 5])
def test_weights_of_coalitions_add_up_as_shapley_values_must(n_leads):
    weights = shapley_weights(n_leads)
    np.testing.assert_allclose(weights.sum(axis=0), 0, atol=1e-12)  # a constant score gives nothing
    whole, nobody = weights[-1].sum(), weights[0].sum()
    assert whole == pytest.approx(1)
    assert nobody == pytest.approx(-1)
    np.testing.assert_allclose(weights[1:-1].sum(axis=1), 0, atol=1e-12)  # what is between cancels in the sum


def test_coalitions_are_numbered_by_the_leads_that_are_there():
    model, x = _four()
    batch = one_pass(model, x, [0, 1, 2])
    found = coalition_scores(batch, "zero").numpy()
    assert found.shape == (3, 16)
    for k, number in np.ndindex(3, 16):
        shown = np.where([[(number >> lead) & 1] for lead in range(4)], x[k], 0)
        assert found[k, number] == pytest.approx(_score(model, shown, [0, 1, 2][k]), abs=1e-5)


def test_sampled_lead_shapley_lies_within_four_standard_errors_of_the_exact_one():
    model, x = _four(6)
    exact = maps(model, x, "lead-shapley", [0, 1, 2])[:, :, 0]
    found = explain(
        model,
        x,
        ["lead-shapley-sampled"],
        target=np.array([0, 1, 2]),
        options={"lead-shapley-sampled": {"orders": 40}},
        quiet=True,
    )
    values, error = found.native("lead-shapley-sampled")[:, :, 0], found.note("lead-shapley-sampled", "standard-error")
    assert error.shape == (3, 6)
    assert (error > 0).all()
    apart = np.abs(values - exact) / error
    assert apart.max() < 4
    assert np.sqrt((apart**2).mean()) > 0.3  # and the errors are not mere caution
    np.testing.assert_allclose(values.sum(axis=1), exact.sum(axis=1), atol=1e-5)


def test_more_orders_bring_the_sample_nearer():
    model, x = _four(6)

    def error(orders):
        told = {"options": {"lead-shapley-sampled": {"orders": orders}}, "quiet": True, "target": np.array([0, 1, 2])}
        return explain(model, x, ["lead-shapley-sampled"], **told).note("lead-shapley-sampled", "standard-error").mean()

    assert error(100) < error(10) / 2


def test_sampled_shapley_needs_two_orders_for_its_error_bar():
    with pytest.raises(EcglensError, match="orders is 1; an error bar needs at least 2"):
        maps(gap(), signals(), "lead-shapley-sampled", options={"orders": 1})


def test_too_many_leads_are_referred_to_the_sampled_method():
    model, x = _four(17)
    with pytest.raises(EcglensError, match=r"17 leads have .*coalitions.*lead-shapley-sampled"):
        maps(model, x, "lead-shapley")
    assert maps(model, x, "lead-shapley-sampled", options={"orders": 2}).shape == (3, 17, 1)
