"""CNN-GAP against a plain version of it; the mean of its class activation map and the bias are the logit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ecglens.attribution import explain
from ecglens.models import create
from ecglens.models.cnn_gap import BLOCKS, CnnGap
from made import random_examples


def _plain(net: CnnGap, x: np.ndarray, short_cuts: bool) -> np.ndarray:
    """Logits (class,) of one example (lead, time), by loops over filters and taps."""
    state = {name: value.detach().double().numpy() for name, value in net.state_dict().items()}
    hidden = x.astype(float)
    for number, (filters, kernel, stride) in enumerate(BLOCKS):
        before = np.pad(hidden, ((0, 0), (kernel // 2, kernel // 2)))
        cells = (before.shape[1] - kernel) // stride + 1
        weight = state[f"tail.{number}.0.weight"]
        out = np.zeros((filters, cells))
        for cell in range(cells):
            piece = before[:, cell * stride : cell * stride + kernel]
            for k in range(filters):
                out[k, cell] = (weight[k] * piece).sum()
        norm = {name: state[f"tail.{number}.1.{name}"][:, None] for name in ("running_mean", "running_var", "weight", "bias")}
        out = (out - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5) * norm["weight"] + norm["bias"]
        beside = short_cuts and out.shape == hidden.shape
        hidden = np.maximum(out, 0) + (hidden if beside else 0)
    return state["head.weight"] @ hidden.mean(1) + state["head.bias"]


def _shaken(net: CnnGap) -> CnnGap:
    """Batch norms with statistics of their own: fresh ones change nothing."""
    torch.manual_seed(1)
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(part.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(part.weight, 0.8, 1.2)
    return net.eval()


@pytest.mark.parametrize("short_cuts", [False, True])
@pytest.mark.parametrize("length", [16, 61])
def test_logits_are_those_of_a_plain_version(length: int, short_cuts: bool) -> None:
    net = _shaken(CnnGap(3, 2, short_cuts=short_cuts))
    x = np.random.default_rng(0).normal(size=(2, 2, length)).astype(np.float32)
    with torch.no_grad():
        found = net(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, [_plain(net, each, short_cuts) for each in x], atol=1e-5)


def test_twelve_blocks_and_as_many_values_as_the_layers_make() -> None:
    net = CnnGap(24, 12)
    assert len(BLOCKS) == 12
    wanted, n_in = 0, 12
    for filters, kernel, _ in BLOCKS:
        wanted += filters * n_in * kernel + 2 * filters
        n_in = filters
    assert sum(value.numel() for value in net.parameters()) == wanted + 24 * n_in + 24 == 575_192


@pytest.mark.parametrize("length", [1000, 1001, 5000])
def test_a_cell_of_the_map_is_eight_samples(length: int) -> None:
    strides = math.prod(stride for *_, stride in BLOCKS)
    assert strides == 8
    with torch.no_grad():
        assert CnnGap(2, 12).eval().tail(torch.zeros(1, 12, length)).shape == (1, 128, -(-length // strides))


def test_a_fresh_net_lets_as_much_through_as_its_relus_take_and_drops_a_fifth() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = CnnGap(3, 12)
    n_in = 12
    for block, (filters, kernel, _) in zip(net.tail, BLOCKS, strict=True):
        assert float(block[0].weight.detach().std()) == pytest.approx(math.sqrt(2 / (n_in * kernel)), rel=0.05)
        n_in = filters
    assert net.drop.p == 0.2


@pytest.mark.parametrize("name", ["cnn-gap", "cnn-gap-short"])
def test_the_mean_of_the_map_and_the_bias_are_the_logit_of_every_class(name: str) -> None:
    examples = random_examples(6)
    model = create(name, classes=examples.classes, leads=examples.leads, length=examples.length, fs=examples.fs)
    _shaken(model.module)
    logits, bias = model.logits(examples), model.module.head.bias.detach().numpy()
    for k, label in enumerate(examples.classes):
        cells = explain(model, examples, ["cam"], target=label, quiet=True).native("cam")
        np.testing.assert_allclose(cells[:].mean(axis=(1, 2)) + bias[k], logits[:, k], atol=1e-5)
