"""Grad-CAM as Habeeb 2024 does it: its steps done slowly, and that it carries no time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ecglens.attribution import explain
from ecglens.attribution.registry import find_method
from ecglens.errors import EcglensError
from ecglens.models import create
from made import FEW, created, random_examples
from nets import LENGTH, by_hand, classifier, flat, gap, maps, one_pass, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])


class _Wide(nn.Module):
    """Cells that see one sample each, so that samples in another order are cells in that order; 40 channels."""

    def __init__(self, n_cells: int = LENGTH) -> None:
        super().__init__()
        self.last, self.head = nn.Conv1d(2, 40, 1), nn.Linear(40 * n_cells, 3)
        self.order = torch.arange(n_cells)

    def forward(self, x: Tensor) -> Tensor:
        cells = torch.tanh(self.last(x))
        return self.head(torch.flatten(cells[:, :, self.order], 1))


def _slow(model, x: np.ndarray, target: np.ndarray, percentile: float = 95.0) -> np.ndarray:
    """One example at a time, in plain loops."""
    layer, out = model.module.get_submodule(model.cam_layer), []
    for one, label in zip(x, target, strict=True):
        caught: list[Tensor] = []
        hook = layer.register_forward_hook(lambda _m, _i, put, caught=caught: caught.append(put))
        logits = model.module.eval()(torch.from_numpy(one)[None])
        hook.remove()
        (gradient,) = torch.autograd.grad(logits[0, label], caught[0])
        activations, gradients = caught[0][0].detach().double().numpy(), gradient[0].double().numpy()
        n_channels, n_cells = activations.shape
        weights = [sum(gradients[channel, cell] for channel in range(n_channels)) / n_channels for cell in range(n_cells)]
        values = np.array([sum(weights[cell] * row[cell] for cell in range(n_cells)) for row in activations])
        values = (values - values.min()) / (values.max() - values.min())
        values[values < np.percentile(values, percentile)] = 0
        out.append(values)
    return np.stack(out)[:, None]


@pytest.mark.parametrize("percentile", [0.0, 50.0, 95.0, 100.0])
@pytest.mark.parametrize("build", [gap, flat, lambda: classifier(seeded(_Wide), "last")])
def test_the_map_equals_the_steps_of_the_authors_done_slowly(build, percentile):
    model, x = build(), signals()
    found = maps(model, x, "channel-cam", TARGET, options={"percentile": percentile})
    np.testing.assert_allclose(found, _slow(model, x, TARGET, percentile), rtol=1e-3, atol=1e-4)
    assert (found.max(axis=2) == 1).all()


def test_26_of_512_channels_are_left_of_the_real_network_and_no_cell_is():
    examples = random_examples(2, length=640)
    model = created("resnet34-1d", examples)  # from a seed: dead channels are alike, and some draws have many at the threshold
    found = explain(model, examples, ["channel-cam", "grad-cam"], quiet=True)
    assert found.native("channel-cam").shape == (2, 1, 512)
    assert (found.native("channel-cam")[:] > 0).sum(axis=(1, 2)).tolist() == [26, 26]
    assert found.native("grad-cam").shape == (2, 1, 20)
    assert found["channel-cam"].shape == found["grad-cam"].shape == (2, 1, 640)


def test_a_map_of_15000_samples_has_469_cells_corrected_and_512_channels_as_published():
    model = create("resnet34-1d", classes=9, leads=12, length=15_000, fs=500)
    x = np.random.default_rng(0).normal(size=(1, 12, 15_000)).astype(np.float32)
    found = explain(model, x, ["channel-cam", "grad-cam"], quiet=True)
    assert found.native("grad-cam").shape == (1, 1, 469)
    assert found.native("channel-cam").shape == (1, 1, 512)


@FEW
@given(st.permutations(range(LENGTH)), st.integers(0, 99))
def test_time_in_another_order_leaves_the_published_map_as_it_is_and_goes_through_the_corrected_one(order, seed):
    model, x = classifier(seeded(_Wide, seed), "last"), signals(seed=seed)
    published, corrected = (maps(model, x, name, TARGET) for name in ("channel-cam", "grad-cam"))
    # samples in another order give activations and gradients in that order, where the head takes them back
    model.module.order = torch.from_numpy(np.argsort(order))
    turned = np.ascontiguousarray(x[:, :, list(order)])
    np.testing.assert_allclose(maps(model, turned, "channel-cam", TARGET), published, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(maps(model, turned, "grad-cam", TARGET), corrected[:, :, list(order)], rtol=1e-4, atol=1e-6)
    assert np.abs(corrected - corrected.mean(axis=2, keepdims=True)).max() > 1e-3


def test_an_example_on_its_own_gets_the_map_that_it_gets_among_others():
    model, x = gap(), signals()
    together = maps(model, x, "channel-cam", TARGET)
    for row in range(5):
        alone = by_hand(one_pass(model, x[row : row + 1], TARGET[row : row + 1]), "channel-cam")
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4, atol=1e-6)


def test_channels_that_are_all_alike_give_an_empty_map():
    model = gap()
    with torch.no_grad():
        model.module.head.weight.zero_()
    assert not maps(model, signals(), "channel-cam", TARGET).any()


@pytest.mark.parametrize("percentile", [-1, 101, float("nan")])
def test_a_percentile_that_is_none_is_refused(percentile):
    with pytest.raises(EcglensError, match=r"percentile is .*; expected 0"):
        maps(gap(), signals(), "channel-cam", TARGET, options={"percentile": percentile})


def test_the_card_says_that_there_is_no_time_in_it():
    card = find_method("channel-cam").card
    assert card.blind_to.startswith("time: it has a number for each channel")
    assert (card.signed, card.leads) == (False, False)


def test_pictures_are_refused():
    examples = random_examples(2, leads=1, length=224)
    with pytest.raises(EcglensError, match="channel-cam is not for pictures"):
        explain(create("small2d", classes=3, leads=1, length=224), examples, ["channel-cam"], quiet=True)
