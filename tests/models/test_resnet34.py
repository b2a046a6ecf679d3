"""ResNet-34 in one dimension against a plain version of it; its sizes; pools that leave padding out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ecglens.attribution import explain
from ecglens.attribution.folding import folded
from ecglens.attribution.preflight import preflight
from ecglens.attribution.registry import methods
from ecglens.models import create
from ecglens.models.classifier import Classifier
from ecglens.models.resnet34 import CELL, REACH, ResNet34, build, build_masked
from made import FEW, random_examples
from nets import maps

_BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}
_LENGTH = 4000


def _lively(net: ResNet34, length: int = 640) -> ResNet34:
    """Norms that know what they get and are not the identity, weights from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for part in net.modules():
            if isinstance(part, nn.Conv1d | nn.Linear):
                part.reset_parameters()
            elif isinstance(part, nn.BatchNorm1d):
                part.momentum = 1.0
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, 0.0, 0.3)
        for part in net.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        with torch.no_grad():
            net.train()(torch.randn(4, net.conv1.in_channels, length))
    return net.eval()


@pytest.fixture(scope="module")
def plain() -> ResNet34:
    return _lively(build(3, 2, _LENGTH))


@pytest.fixture(scope="module")
def masked() -> ResNet34:
    return _lively(build_masked(3, 2, _LENGTH))


def _classifier(net: ResNet34, length: int = 1000) -> Classifier:
    model = create(
        "resnet34-1d-masked" if net.masked else "resnet34-1d", classes=3, leads=2, length=length, fs=100, activation="sigmoid"
    )
    model.module = net
    return model


def _signals(n: int = 3, length: int = 640, seed: int = 1) -> Tensor:
    return torch.randn(n, 2, length, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------ as published


def _by_hand(state: dict[str, np.ndarray], x: np.ndarray, pooled: slice = slice(None)) -> np.ndarray:
    """Logits (class,) of one example (lead, time), by windows laid over the signal; `pooled`: the cells that pools see."""

    def conv(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        weight = state[f"{name}.weight"]
        wide = np.pad(x, ((0, 0), (weight.shape[2] // 2, weight.shape[2] // 2)))
        windows = np.lib.stride_tricks.sliding_window_view(wide, weight.shape[2], axis=1)[:, ::stride]
        return np.einsum("ctk,fck->ft", windows, weight, optimize=True)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        part = {each: state[f"{name}.{each}"][:, None] for each in ("running_mean", "running_var", "weight", "bias")}
        return (x - part["running_mean"]) / np.sqrt(part["running_var"] + 1e-5) * part["weight"] + part["bias"]

    hidden = np.maximum(norm(conv(x, "conv1", 2), "bn1"), 0)
    wide = np.pad(hidden, ((0, 0), (1, 1)), constant_values=-np.inf)
    hidden = np.lib.stride_tricks.sliding_window_view(wide, 3, axis=1)[:, ::2].max(axis=2)
    for layer, blocks in _BLOCKS.items():
        for block in range(blocks):
            here, stride = f"{layer}.{block}", 2 if layer != "layer1" and block == 0 else 1
            beside = hidden
            if stride == 2:
                beside = norm(conv(hidden, f"{here}.downsample.0", 2), f"{here}.downsample.1")
            hidden = np.maximum(norm(conv(hidden, f"{here}.conv1", stride), f"{here}.bn1"), 0)
            hidden = np.maximum(norm(conv(hidden, f"{here}.conv2"), f"{here}.bn2") + beside, 0)
    hidden = hidden[:, pooled]
    return state["fc.weight"] @ np.concatenate([hidden.mean(axis=1), hidden.max(axis=1)]) + state["fc.bias"]


def _state(net: ResNet34) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("length", [32, 100, 641])
def test_the_network_equals_one_written_by_hand(plain: ResNet34, length: int) -> None:
    x = _signals(2, length)
    with torch.no_grad():
        found = plain(x).numpy()
    wanted = [_by_hand(_state(plain), each) for each in x.double().numpy()]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_sizes_are_those_of_the_paper() -> None:
    model = create("resnet34-1d", classes=9, leads=12, length=15_000, fs=500, activation="sigmoid")
    assert model.n_trainable == 16_610_185
    seen: dict[str, tuple[int, ...]] = {}
    for name in ("conv1", "maxpool", *_BLOCKS, "cells"):
        model.module.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: seen.__setitem__(name, tuple(out.shape[1:]))
        )
    with torch.no_grad():
        model.module.eval()(torch.zeros(1, 12, 15_000))
    assert seen == {
        "conv1": (64, 7500), "maxpool": (64, 3750), "layer1": (64, 3750), "layer2": (128, 1875), "layer3": (256, 938),
        "layer4": (512, 469), "cells": (512, 469),
    }  # fmt: skip
    assert create("resnet34-1d-masked", classes=9, leads=12, length=15_000).n_trainable == 16_610_185


def test_it_drops_a_fifth_between_the_convolutions_of_each_block() -> None:
    drops = [part for part in build(3, 2, 640).modules() if isinstance(part, nn.Dropout)]
    assert [part.p for part in drops] == [0.2] * 16


@FEW
@given(st.integers(32, 700))
def test_there_is_a_cell_for_each_32_samples_begun(length: int) -> None:
    net, seen = build(2, 1, length).eval(), []
    net.cells.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[2]))
    with torch.no_grad():
        net(torch.zeros(1, 1, length))
    assert seen == [-(-length // CELL)]


def test_a_cell_sees_1341_samples_to_each_side_of_its_middle(plain: ResNet34) -> None:
    x, caught = _signals(4, _LENGTH).requires_grad_(), []
    hook = plain.cells.register_forward_hook(lambda _m, _i, out: caught.append(out))
    plain(x)
    hook.remove()
    for cell in (50, 70):
        (slope,) = torch.autograd.grad(caught[0][:, :, cell].sum(), x, retain_graph=True)
        reached = torch.nonzero(slope.abs().sum(dim=(0, 1)))[:, 0]
        assert cell * CELL - REACH <= int(reached[0]) < cell * CELL - REACH + 8  # a max pool may leave the outermost out
        assert cell * CELL + REACH - 8 < int(reached[-1]) <= cell * CELL + REACH


# ------------------------------------------------------------------------------------------------ pools and padding


@pytest.mark.parametrize(
    "span", [(0, 640), (1, 640), (200, 640), (0, 100), (224, 225), (225, 256), (225, 257), (0, 1), (639, 640)]
)
def test_the_masked_pools_see_cells_whose_middle_is_signal(masked: ResNet34, span: tuple[int, int]) -> None:
    x = _signals(2)
    with torch.no_grad():
        found = masked(x, torch.tensor([span, (0, 640)])).numpy()
    inside = [cell for cell in range(20) if span[0] <= cell * CELL < span[1]]
    inside = inside or [max(cell for cell in range(20) if cell * CELL < span[1])]
    state = _state(masked)
    wanted = [
        _by_hand(state, x[0].double().numpy(), slice(inside[0], inside[-1] + 1)),
        _by_hand(state, x[1].double().numpy()),
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_without_a_span_or_with_all_of_it_the_masked_network_is_the_published_one(plain: ResNet34, masked: ResNet34) -> None:
    masked.load_state_dict(plain.state_dict())
    x = _signals()
    with torch.no_grad():
        wanted = plain(x)
        torch.testing.assert_close(masked(x), wanted)
        torch.testing.assert_close(masked(x, torch.tensor([[0, 640]]).expand(3, 2)), wanted)


@settings(FEW, max_examples=6)
@given(st.integers(0, 10_000), st.integers(1500, 3600), st.booleans())
def test_what_stands_far_outside_the_span_does_not_matter_to_the_masked_one_alone(
    plain: ResNet34, masked: ResNet34, seed: int, edge: int, before: bool
) -> None:
    span = (edge, _LENGTH) if before else (0, _LENGTH - edge)
    one = _signals(1, _LENGTH, seed)
    other = one.clone()
    far = slice(0, edge - REACH) if before else slice(_LENGTH - edge + REACH, _LENGTH)
    other[:, :, far] = 3 * _signals(1, _LENGTH, seed + 1)[:, :, far]
    spans = torch.tensor([span])
    with torch.no_grad():
        torch.testing.assert_close(masked(one, spans), masked(other, spans), rtol=0, atol=0)
        assert float((plain(one) - plain(other)).abs().max()) > 1e-3
        # what is near is still seen: cells at the edge look beyond it
        other = one.clone()
        near = slice(edge - 300, edge) if before else slice(_LENGTH - edge, _LENGTH - edge + 300)
        other[:, :, near] += 3
        assert float((masked(one, spans) - masked(other, spans)).abs().max()) > 1e-4


def test_the_classifier_hands_the_span_to_the_masked_network(masked: ResNet34) -> None:
    examples = random_examples(3, length=1000, fs=100.0, valid_start=[0, 500, 900])
    model = _classifier(masked)
    found = model.logits(examples)
    with torch.no_grad():
        spans = torch.tensor([[0, 1000], [500, 1000], [900, 1000]])
        wanted = masked(torch.from_numpy(examples.signals), spans)
        deaf = masked(torch.from_numpy(examples.signals))
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)
    assert float((wanted - deaf)[1:].abs().amax(dim=1).min()) > 1e-3


# ------------------------------------------------------------------------------------------------ maps


def test_every_method_is_there_for_the_published_network_and_its_norms_are_folded(plain: ResNet34) -> None:
    found = preflight(_classifier(plain), _signals(2, 1000))
    assert found.refused == {}
    assert set(found.supported) == set(methods())
    with torch.no_grad():
        less = folded(plain, "cells", _signals(2, 1000))
    assert not any(isinstance(part, nn.BatchNorm1d) for part in less.modules())


def test_the_masked_network_refuses_what_a_span_forbids(masked: ResNet34) -> None:
    found = preflight(_classifier(masked), _signals(2, 1000), torch.tensor([[0, 1000], [500, 1000]]))
    assert set(found.refused) == {"cam", "lrp-epsilon", "lrp-alpha-beta"}
    assert "resnet34-1d-masked (cam_layer: cells) is not so built" in found.refused["cam"]


def test_deeplift_adds_up_through_both_pools(plain: ResNet34, masked: ResNet34) -> None:
    examples = random_examples(3, length=200, fs=100.0, valid_start=[0, 50, 120])
    for net in (plain, masked):
        model = _classifier(net, 200)
        found = explain(model, examples, ["deeplift"], target=np.array([0, 1, 2]), quiet=True)
        x, *context = model.inputs(examples)
        with torch.no_grad():
            rise = (net(x, *context) - net(torch.zeros_like(x), *context)).numpy()[np.arange(3), np.arange(3)]
        np.testing.assert_allclose(found["deeplift"][:].sum(axis=(1, 2)), rise, atol=1e-3 * max(1, np.abs(rise).max()))


def test_relevance_is_kept_through_both_pools(plain: ResNet34) -> None:
    found = explain(_classifier(plain, 200), _signals(3, 200).numpy(), ["lrp-epsilon"], target=np.array([0, 1, 2]), quiet=True)
    assert found.note("lrp-epsilon", "conservation-error").max() < 0.01


def test_a_cam_holds_the_part_of_the_mean_and_says_what_the_largest_values_add(plain: ResNet34) -> None:
    x, target, caught = _signals(3, 1000), np.array([0, 1, 2]), []
    found = explain(_classifier(plain), x.numpy(), ["cam"], target=target, quiet=True)
    hook = plain.cells.register_forward_hook(lambda _m, _i, out: caught.append(out))
    with torch.no_grad():
        plain(x)
    hook.remove()
    weight = plain.fc.weight.detach()[target]
    largest = (weight[:, 512:] * caught[0].amax(dim=2)).sum(dim=1).numpy()
    np.testing.assert_allclose(found.note("cam", "beside-the-map"), largest, rtol=1e-3, atol=1e-4)
    average = (weight[:, :512] * caught[0].mean(dim=2)).sum(dim=1).numpy()
    np.testing.assert_allclose(found.native("cam")[:].mean(axis=(1, 2)), average, rtol=1e-3, atol=1e-4)


def test_a_grad_cam_of_the_masked_network_is_0_on_padding(masked: ResNet34) -> None:
    examples = random_examples(3, length=1000, fs=100.0, valid_start=[0, 500, 900])
    found = maps(_classifier(masked), examples, "grad-cam")[:, 0]
    assert found.shape == (3, 32)
    for row, start in enumerate((0, 500, 900)):
        first = -(-start // CELL)
        assert not found[row, :first].any()
        assert np.abs(found[row, first:]).max() > 0
