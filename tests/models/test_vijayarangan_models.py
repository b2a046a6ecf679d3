"""The four networks of Vijayarangan 2020 against plain re-implementations, their sizes, and what the two branches give."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import scipy.signal
import torch
from torch import nn

from ecglens.attribution import explain
from ecglens.attribution.folding import folded
from ecglens.errors import EcglensError
from ecglens.models import Classifier, create, load
from ecglens.models.ecgnet import LstmPart
from ecglens.models.zihlmann import LogSpectrogram
from made import random_examples

ALL = ["ecgnet", "ecgnet-cam", "hannun", "zihlmann"]
TWO = ALL[:2]
_SHORT = {"ecgnet": 264, "ecgnet-cam": 120, "hannun": 77, "zihlmann": 300}


def _made(name: str, *, leads: int = 2, length: int | None = None) -> Classifier:
    """The model with norms and biases that are not those of a fresh one and let the signal through, in evaluation mode."""
    return deepcopy(_once(name, leads, length or _SHORT[name]))


@cache
def _once(name: str, leads: int, length: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = create(name, classes=3, leads=leads, length=length)
        model.module.eval()
        norms = [part for part in model.module.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
        for part in norms:
            part.momentum = 1.0
            part.train()
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0.0, 0.3)
        for part in model.module.modules():
            if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear):
                nn.init.normal_(part.bias, 0.0, 0.2)
        with torch.no_grad():
            model.module(_signals(model, 4, seed=9))
    model.module.eval()
    return model


def _signals(model: Classifier, n: int = 3, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, len(model.leads), model.length)).astype(np.float32))


def _n(*parts: nn.Module) -> int:
    return sum(value.numel() for part in parts for value in part.parameters())


# ------------------------------------------------------------------------------------------------ written out


class _Layers:
    """A network's layers of each kind, handed out in the order in which the recipe uses them, as plain functions."""

    def __init__(self, module: nn.Module) -> None:
        kinds = (nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Linear)
        self.left = {kind: [part for part in module.modules() if type(part) is kind] for kind in kinds}

    def conv(self, a: np.ndarray, filters: int, kernel: int, before: int, after: int, stride: int = 1) -> np.ndarray:
        layer = self.left[nn.Conv1d].pop(0)
        weight, bias = _array(layer.weight), _array(layer.bias)
        assert weight.shape == (filters, a.shape[1], kernel)
        a = np.concatenate([np.zeros((*a.shape[:2], before)), a, np.zeros((*a.shape[:2], after))], axis=2)
        out = np.zeros((len(a), filters, (a.shape[2] - kernel) // stride + 1)) + bias[:, None]
        for tap in range(kernel):
            seen = a[:, :, tap : tap + (out.shape[2] - 1) * stride + 1 : stride]
            out += np.einsum("fc,nct->nft", weight[:, :, tap], seen)
        return out

    def conv_of_picture(self, a: np.ndarray, filters: int, stride: tuple[int, int]) -> np.ndarray:
        layer = self.left[nn.Conv2d].pop(0)
        weight, bias = _array(layer.weight), _array(layer.bias)
        assert weight.shape == (filters, a.shape[1], 5, 5)
        high, wide = -(-a.shape[2] // stride[0]), -(-a.shape[3] // stride[1])
        # TensorFlow's 'same': as many zeros as the last window wants, the odd one behind
        extra = [
            max((given - 1) * step + 5 - had, 0) for given, step, had in zip((high, wide), stride, a.shape[2:], strict=True)
        ]
        canvas = np.zeros((*a.shape[:2], a.shape[2] + extra[0], a.shape[3] + extra[1]))
        up, left = extra[0] // 2, extra[1] // 2
        canvas[:, :, up : up + a.shape[2], left : left + a.shape[3]] = a
        out = np.zeros((len(a), filters, high, wide))
        for row in range(high):
            for column in range(wide):
                patch = canvas[:, :, stride[0] * row : stride[0] * row + 5, stride[1] * column : stride[1] * column + 5]
                out[:, :, row, column] = np.einsum("fcij,ncij->nf", weight, patch) + bias
        return out

    def norm(self, a: np.ndarray, epsilon: float) -> np.ndarray:
        layer = self.left[nn.BatchNorm1d if a.ndim == 3 else nn.BatchNorm2d].pop(0)
        shape = (-1, *[1] * (a.ndim - 2))
        mean, var, weight, bias = (
            _array(value).reshape(shape) for value in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
        )
        return (a - mean) / np.sqrt(var + epsilon) * weight + bias

    def dense(self, a: np.ndarray) -> np.ndarray:
        layer = self.left[nn.Linear].pop(0)
        return a @ _array(layer.weight).T + _array(layer.bias)

    def all_used(self) -> bool:
        return not any(self.left.values())


def _array(value: torch.Tensor) -> np.ndarray:
    return value.detach().double().numpy()


def _relu(a: np.ndarray) -> np.ndarray:
    return np.maximum(a, 0)


def _pool(a: np.ndarray, width: int) -> np.ndarray:
    """What does not fill a window is dropped."""
    return np.stack([a[:, :, k : k + width].max(2) for k in range(0, a.shape[2] - width + 1, width)], axis=2)


def _stem(layers: _Layers, a: np.ndarray) -> np.ndarray:
    beside = [layers.conv(a, 16, kernel, kernel // 2, kernel // 2) for kernel in (15, 17, 19, 21)]
    return _relu(layers.norm(np.concatenate(beside, axis=1), 1e-5))


def _block(layers: _Layers, a: np.ndarray, filters: int, pool: int, kernel: int = 15, opened: bool = False) -> np.ndarray:
    inner = a if opened else _relu(layers.norm(a, 1e-5))
    inner = layers.conv(inner, filters, kernel, kernel // 2, kernel // 2)
    inner = layers.conv(_relu(layers.norm(inner, 1e-5)), filters, kernel, kernel // 2, kernel // 2)
    beside = _pool(a, pool)
    if filters != a.shape[1]:
        beside = layers.conv(beside, filters, 1, 0, 0)
    return _pool(inner, pool) + beside


def _state(lstm: nn.LSTM, x: np.ndarray) -> np.ndarray:
    """Last state of the upper of two layers, gate by gate; a step is a twelfth of each lead, one lead behind the other."""
    width = x.shape[2] // 12

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    out = []
    for one in x:
        steps = [np.concatenate([lead[k * width : (k + 1) * width] for lead in one]) for k in range(12)]
        for layer in range(2):
            kernel, recurrent, first, second = (
                _array(getattr(lstm, f"{name}_l{layer}")) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            state, cell, given = np.zeros(40), np.zeros(40), []
            for step in steps:
                gates = kernel @ step + first + recurrent @ state + second
                into, forget, new, put = gates[:40], gates[40:80], gates[80:120], gates[120:]
                cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(new)
                state = sigmoid(put) * np.tanh(cell)
                given.append(state)
            steps = given
        out.append(steps[-1])
    return np.stack(out)


def _slow_ecgnet(module: nn.Module, x: np.ndarray) -> np.ndarray:
    layers = _Layers(module)
    a = _block(layers, _stem(layers, x), 64, 2, opened=True)
    for number in range(2, 17):
        filters = 64 if number < 4 else 128 if number < 8 else 192 if number < 12 else 256 if number < 16 else 320
        a = _block(layers, a, filters, 2 if number in (3, 5, 7, 9, 11, 13, 15) else 1)
    flat = np.stack([one.ravel() for one in layers.norm(a, 1e-5)])
    out = layers.dense(layers.dense(layers.dense(np.concatenate([flat, _state(module.lstm.lstm, x)], axis=1))))
    assert layers.all_used()
    return out


def _slow_ecgnet_cam(module: nn.Module, x: np.ndarray) -> np.ndarray:
    layers = _Layers(module)
    a = _block(layers, _pool(_stem(layers, x), 3), 64, 1, kernel=7, opened=True)
    a = _block(layers, a, 96, 5, kernel=7)
    a = _block(layers, a, 128, 1, kernel=3)
    a = _block(layers, a, 128, 1, kernel=3)
    means = _relu(layers.norm(a, 1e-5)).mean(2)
    out = layers.dense(np.concatenate([means, _state(module.lstm.lstm, x)], axis=1))
    assert layers.all_used()
    return out


def _same(layers: _Layers, a: np.ndarray, filters: int, stride: int = 1) -> np.ndarray:
    """Keras: as many zeros as the last window wants, the odd one behind."""
    zeros = max((-(-a.shape[2] // stride) - 1) * stride + 16 - a.shape[2], 0)
    return layers.conv(a, filters, 16, zeros // 2, zeros - zeros // 2, stride)


def _slow_hannun(module: nn.Module, x: np.ndarray) -> np.ndarray:
    layers = _Layers(module)
    a = _relu(layers.norm(_same(layers, x, 32), 1e-3))
    for number in range(16):
        filters, stride = 32 * 2 ** (number // 4), 2 if number % 2 else 1
        inner = a if number == 0 else _relu(layers.norm(a, 1e-3))
        inner = _same(layers, inner, filters, stride)
        inner = _same(layers, _relu(layers.norm(inner, 1e-3)), filters)
        beside = np.stack([a[:, :, k : k + stride].max(2) for k in range(0, a.shape[2], stride)], axis=2)
        if number in (4, 8, 12):
            beside = np.concatenate([beside, np.zeros_like(beside)], axis=1)
        a = inner + beside
    a = _relu(layers.norm(a, 1e-3))
    steps = [a[:, :, k] for k in range(a.shape[2])]
    logits = [step @ _array(module.head.weight).T + _array(module.head.bias) for step in steps]
    layers.dense(steps[0])
    assert layers.all_used()
    return np.mean(logits, axis=0)


def _slow_zihlmann(module: nn.Module, x: np.ndarray) -> np.ndarray:
    layers = _Layers(module)
    window = _array(module.picture.window)  # in single precision, which matters where there is next to no power
    _, _, power = scipy.signal.spectrogram(x, nperseg=64, noverlap=32, window=window)
    a, filters = np.log(power + 1e-6), 32
    for _ in range(6):
        for layer in range(4):
            stride = (1, 1)
            if layer == 3:
                filters += 32
                stride = (2, 2 if (a.shape[3] + 1) // 2 >= 6 else 1)
            a = _relu(layers.norm(layers.conv_of_picture(a, filters, stride), 1e-3))
    out = layers.dense(a.reshape(len(a), -1, a.shape[3]).mean(2))
    assert layers.all_used()
    return out


_SLOWLY = {"ecgnet": _slow_ecgnet, "ecgnet-cam": _slow_ecgnet_cam, "hannun": _slow_hannun, "zihlmann": _slow_zihlmann}


@pytest.mark.parametrize(
    ("name", "leads", "length"),
    [
        ("ecgnet", 2, 264),
        ("ecgnet", 1, 720),
        ("ecgnet-cam", 2, 120),
        ("ecgnet-cam", 1, 720),
        ("hannun", 2, 77),
        ("hannun", 1, 720),
        ("zihlmann", 2, 300),
        ("zihlmann", 1, 720),
    ],
)
def test_a_network_equals_its_layers_written_out(name, leads, length):
    model = _made(name, leads=leads, length=length)
    x = _signals(model, 2).double()
    with torch.no_grad():
        found = model.module.double()(x).numpy()
    expected = _SLOWLY[name](model.module, x.numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert np.ptp(expected, axis=0).min() > 1e-3 * np.abs(expected).max()


# ------------------------------------------------------------------------------------------------ sizes


def test_ecgnet_has_the_published_numbers_of_values():
    module = create("ecgnet", classes=8, leads=1, length=720).module
    assert _n(module) == 17_438_384
    assert _n(module.stem, module.blocks, module.tail) == 17_017_536
    assert _n(module.lstm) == 29_440
    assert _n(module.head) == 391_408
    assert _n(create("ecgnet", classes=3, leads=1, length=720).module) == 17_437_879


def test_ecgnet_halves_the_signal_eight_times_and_flattens_two_positions():
    module, lengths = _made("ecgnet", leads=1, length=720).module, []
    for block in module.blocks:
        block.register_forward_hook(lambda _m, _i, out: lengths.append(out.shape[2]))
    cnn, state = module.branches(torch.randn(1, 1, 720))
    assert lengths == [360, 360, 180, 180, 90, 90, 45, 45, 22, 22, 11, 11, 5, 5, 2, 2]
    assert (cnn.shape, state.shape, module.n_cnn) == ((1, 640), (1, 40), 640)


def test_hannun_has_the_number_of_values_its_layers_add_up_to():
    def conv(n_in, n_out):
        return 16 * n_in * n_out + n_out

    expected = conv(1, 32) + 2 * 32  # first convolution and norm
    expected += conv(32, 32) + 2 * 32 + conv(32, 32)  # first block: one norm
    expected += 3 * (2 * 32 + conv(32, 32) + 2 * 32 + conv(32, 32))
    for n in (64, 128, 256):
        expected += 2 * (n // 2) + conv(n // 2, n) + 2 * n + conv(n, n)  # the block that grows
        expected += 3 * (2 * n + conv(n, n) + 2 * n + conv(n, n))
    expected += 2 * 256 + 256 * 8 + 8  # last norm, dense
    model = create("hannun", classes=8, leads=1, length=720)
    assert expected == 10_467_176
    assert model.n_trainable == expected
    parts = list(model.module.modules())
    assert sum(isinstance(part, nn.Conv1d) for part in parts) == 33
    assert sum(isinstance(part, nn.Linear) for part in parts) == 1


def test_hannun_takes_256_samples_a_step_with_half_steps_kept():
    model, lengths = _made("hannun", leads=1, length=720), []
    for block in model.module.blocks:
        block.register_forward_hook(lambda _m, _i, out: lengths.append(out.shape[2]))
    model.module(_signals(model))
    assert lengths == [720, 360, 360, 180, 180, 90, 90, 45, 45, 23, 23, 12, 12, 6, 6, 3]


def test_zihlmann_has_the_number_of_values_its_layers_add_up_to():
    def conv(n_in, n_out):
        return 25 * n_in * n_out + n_out + 2 * n_out  # with its norm

    expected = conv(1, 32) + 2 * conv(32, 32) + conv(32, 64)
    expected += sum(3 * conv(n, n) + conv(n, n + 32) for n in (64, 96, 128, 160, 192))
    expected += 224 * 8 + 8  # one frequency is left
    assert expected == 9_841_640
    assert create("zihlmann", classes=8, leads=1, length=720).n_trainable == expected


def test_zihlmann_keeps_six_frames_of_the_21_that_720_samples_have():
    model, sizes = _made("zihlmann", leads=1, length=720), []
    assert model.module.picture(_signals(model)).shape == (3, 1, 33, 21)
    for part in model.module.blocks:
        if isinstance(part, nn.Dropout):
            part.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape[1:])))
    model.module(_signals(model))
    assert sizes == [(64, 17, 11), (96, 9, 6), (128, 5, 6), (160, 3, 6), (192, 2, 6), (224, 1, 6)]


def test_ecgnet_cam_is_clearly_lighter_than_ecgnet():
    def conv(n_in, n_out, kernel):
        return kernel * n_in * n_out + n_out

    expected = sum(conv(1, 16, kernel) for kernel in (15, 17, 19, 21)) + 2 * 64
    expected += conv(64, 64, 7) + 2 * 64 + conv(64, 64, 7)
    expected += 2 * 64 + conv(64, 96, 7) + 2 * 96 + conv(96, 96, 7) + conv(64, 96, 1)
    expected += 2 * 96 + conv(96, 128, 3) + 2 * 128 + conv(128, 128, 3) + conv(96, 128, 1)
    expected += 2 * 128 + conv(128, 128, 3) + 2 * 128 + conv(128, 128, 3)
    expected += 2 * 128 + 29_440 + (128 + 40) * 8 + 8  # last norm, LSTM, head
    assert create("ecgnet-cam", classes=8, leads=1, length=720).n_trainable == expected
    assert expected < 17_438_384 / 20


@pytest.mark.parametrize(
    ("name", "n", "rate"), [("ecgnet", 31, 0.5), ("ecgnet-cam", 7, 0.2), ("hannun", 16, 0.2), ("zihlmann", 6, 0.15)]
)
def test_dropout_is_where_and_as_strong_as_stated(name, n, rate):
    found = [part.p for part in create(name, classes=2, leads=1, length=720).module.modules() if isinstance(part, nn.Dropout)]
    assert found == [rate] * n


def test_hannun_and_zihlmann_start_like_keras():
    torch.manual_seed(0)
    layer = create("hannun", classes=8, leads=1, length=720).module.blocks[15].body[2].conv
    assert layer.weight.std().item() == pytest.approx(np.sqrt(2 / (256 * 16)), rel=0.02)  # he_normal
    module = create("zihlmann", classes=8, leads=1, length=720).module
    limit = np.sqrt(6 / (25 * (192 + 192)))  # glorot_uniform
    assert 0.99 * limit < module.blocks[-3].conv.weight.abs().max().item() <= limit
    assert all(not part.bias.any() for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear))


# ------------------------------------------------------------------------------------------------ the spectrogram


@pytest.mark.parametrize("length", [64, 95, 96, 720])
def test_the_log_spectrogram_is_scipys(length):
    x = np.random.default_rng(0).normal(size=(3, 2, length)) + 5
    _, _, power = scipy.signal.spectrogram(x, nperseg=64, noverlap=32)
    found = LogSpectrogram().double()(torch.from_numpy(x)).numpy()
    assert found.shape == (3, 2, 33, (length - 32) // 32)
    np.testing.assert_allclose(np.exp(found), power + 1e-6, rtol=1e-5, atol=1e-7 * power.max())
    _, _, spread = scipy.signal.spectrogram(x, nperseg=64, noverlap=32, window="hann")
    assert not np.allclose(np.exp(found), spread, rtol=1e-2, atol=1e-3 * power.max())


def test_the_log_spectrogram_of_a_flat_line_is_finite_and_so_is_its_gradient():
    x = torch.zeros(1, 1, 128, requires_grad=True)
    found = LogSpectrogram()(x)
    found.sum().backward()
    torch.testing.assert_close(found, torch.full_like(found, float(np.log(1e-6))))
    assert torch.isfinite(x.grad).all()


# ------------------------------------------------------------------------------------------------ two branches


@pytest.mark.parametrize("name", TWO)
def test_join_is_affine_in_both_branches(name):
    module = _made(name).module.double()
    draw = torch.Generator().manual_seed(0)
    cnn, state = torch.randn(4, module.n_cnn, generator=draw).double(), torch.randn(4, 40, generator=draw).double()
    other = torch.randn(4, module.n_cnn, generator=draw).double(), torch.randn(4, 40, generator=draw).double()
    mixed = module.join(0.3 * cnn + 0.7 * other[0], 0.3 * state + 0.7 * other[1])
    torch.testing.assert_close(mixed, 0.3 * module.join(cnn, state) + 0.7 * module.join(*other))


@pytest.mark.parametrize("name", TWO)
def test_the_parts_of_the_branches_add_up_to_the_logits(name):
    model = _made(name)
    module, x = model.module.double(), _signals(model).double()
    with torch.no_grad():
        cnn, state = module.branches(x)
        nothing = module.join(torch.zeros_like(cnn), torch.zeros_like(state))
        lstm = LstmPart(module)(x)
        torch.testing.assert_close(lstm + module.join(cnn, torch.zeros_like(state)) - nothing, module(x))
        torch.testing.assert_close(module.join(cnn, state), module(x))
    assert (lstm - nothing).abs().min() > 1e-6
    assert (module(x) - lstm).abs().min() > 1e-6


@pytest.mark.parametrize("name", TWO)
def test_the_lstm_part_hears_no_cnn_and_shares_the_weights(name):
    model = _made(name)
    x, part, ran = _signals(model), LstmPart(model.module), []
    for layer in model.module.modules():
        if isinstance(layer, nn.Conv1d):
            layer.register_forward_hook(lambda *_: ran.append(1))
    with torch.no_grad():
        before = part(x)
        for layer in model.module.modules():
            if isinstance(layer, nn.Conv1d):
                layer.weight.mul_(2)
        assert torch.equal(part(x), before)
        model.module.lstm.lstm.weight_ih_l0.mul_(2)
        assert not torch.allclose(part(x), before)
    assert not ran


def test_the_lstm_part_of_a_net_without_one_is_refused():
    with pytest.raises(EcglensError, match="Hannun has no LSTM beside a CNN; expected the module of ecgnet"):
        LstmPart(_made("hannun").module)


def test_a_position_of_ecgnet_cam_sees_as_many_samples_as_its_docstring_tells():
    model = _made("ecgnet-cam", leads=1, length=720)
    caught = []
    model.module.tail_norm.register_forward_hook(lambda _m, _i, out: caught.append(out))
    x = _signals(model, 64).requires_grad_(True)
    model.module(x)
    assert caught[0].shape[2] == 48
    (gradient,) = torch.autograd.grad(caught[0][:, :, 24].sum(), x)
    seen = np.flatnonzero(gradient.abs().amax(dim=(0, 1)).numpy())
    assert f"sees {seen[-1] - seen[0] + 1} samples" in type(model.module).__doc__
    assert abs((seen[0] + seen[-1]) / 2 - (24 * 15 + 7)) < 1


# ------------------------------------------------------------------------------------------------ all four


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_every_parameter(name):
    model = _made(name, length=720)
    loss = nn.functional.cross_entropy(model.module(_signals(model, 6)), torch.tensor([0, 1, 2, 0, 1, 2]))
    loss.backward()
    for parameter, value in model.module.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.any(), parameter
        assert torch.isfinite(value.grad).all(), parameter


@pytest.mark.parametrize("name", ALL)
def test_a_batch_gives_what_one_by_one_gives(name):
    model = _made(name)
    module, x = model.module.double(), _signals(model, 5).double()
    with torch.no_grad():
        together = module(x)
        alone = torch.cat([module(x[k : k + 1]) for k in range(5)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", ALL)
def test_batch_norms_can_be_folded(name):
    model = _made(name)
    x = _signals(model)
    assert folded(model.module, model.cam_layer, x) is not model.module


@pytest.mark.parametrize("name", ["ecgnet-cam", "zihlmann"])
def test_a_trained_network_comes_back_from_its_folder(name, tmp_path):
    model = _made(name)
    model.save(tmp_path)
    again, x = load(tmp_path), _signals(model)
    with torch.no_grad():
        assert torch.equal(again.module.eval()(x), model.module(x))


@pytest.mark.parametrize(
    ("name", "length", "text"),
    [
        ("ecgnet", 265, "ecgnet takes multiples of 12 samples; length is 265: take 264 or 276"),
        ("ecgnet-cam", 700, "ecgnet-cam takes multiples of 60 samples; length is 700: take 660 or 720"),
        ("ecgnet-cam", 708, "take 660 or 720"),
        ("ecgnet", 252, "ecgnet needs at least 264 samples"),
        ("zihlmann", 63, "zihlmann needs at least 64 samples"),
    ],
)
def test_a_length_that_does_not_fit_is_refused_with_what_does(name, length, text):
    with pytest.raises(EcglensError, match=text):
        create(name, classes=2, leads=1, length=length)


@pytest.mark.parametrize("name", ALL)
def test_the_engine_takes_the_network(name):
    model, methods = _made(name), ["saliency", "grad-cam", "hires-cam"]
    if name not in TWO:  # an LSTM's gates are no ReLU
        methods.append("guided-backprop")
    examples = random_examples(4, leads=2, length=model.length)
    found = explain(model, examples.signals, methods, quiet=True)
    for method in methods:
        values = found.native(method)[:]
        assert np.isfinite(values).all()
        assert np.abs(values).max() > 0
    x = torch.from_numpy(examples.signals).requires_grad_(True)
    model.module(x).amax(dim=1).sum().backward()
    # folded norms round otherwise, and a ReLU or two turns over: exact in double precision
    apart = np.linalg.norm(found.native("saliency")[:] - x.grad.numpy())
    assert apart < 0.01 * np.linalg.norm(x.grad.numpy())


@pytest.mark.parametrize("name", TWO)
def test_guided_backpropagation_through_an_lstm_is_refused(name):
    model = _made(name)
    with pytest.raises(EcglensError, match=r"guided backpropagation is defined for ReLU; .* uses lstm in lstm"):
        explain(model, _signals(model).numpy(), ["guided-backprop"], quiet=True)


@pytest.mark.parametrize("name", ["ecgnet-cam", "hannun", "zihlmann"])
def test_a_class_activation_map_adds_up_to_the_logit(name):
    model = _made(name, leads=1, length=720)
    x = _signals(model)
    found = explain(model, x.numpy(), ["cam"], target="all", quiet=True)
    cam = found.native("cam")[:][:, :, 0]  # (example, class, cell)
    assert cam.shape == (3, 3, {"ecgnet-cam": 48, "hannun": 3, "zihlmann": 6}[name])
    bias = model.module.head.bias.detach().numpy()
    with torch.no_grad():
        logits = model.module(x).numpy()
        rest = LstmPart(model.module)(x).numpy() if name in TWO else bias
    np.testing.assert_allclose(cam.mean(2) + rest, logits, atol=1e-5 * max(1, np.abs(logits).max()))
    if name in TWO:
        np.testing.assert_allclose(found.note("cam", "beside-the-map"), rest - bias, atol=1e-5 * max(1, np.abs(logits).max()))


def test_place_by_place_weights_of_ecgnets_flat_head_add_up_to_what_the_cnn_gives():
    model = _made("ecgnet")
    x = _signals(model)
    found = explain(model, x.numpy(), ["hires-cam"], target=np.array([0, 1, 2]), quiet=True).native("hires-cam")[:]
    with torch.no_grad():
        expected = (model.module(x) - LstmPart(model.module)(x)).numpy()[range(3), range(3)]
    np.testing.assert_allclose(found.sum(axis=(1, 2)), expected, rtol=1e-4, atol=1e-5)
