"""The networks themselves: shapes, sizes, and the two of Jones 2020 against plain re-implementations."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ecglens.errors import EcglensError
from ecglens.models import MODELS, create
from made import FEW, created, fitting, random_examples


def _jones(n_leads: int = 1, length: int = 860) -> nn.Module:
    torch.manual_seed(0)
    return create("jones-cnn", classes=8, leads=n_leads, length=length).module.eval()


def test_create_names_classes_and_leads_that_are_only_counted():
    model = create("jones-lstm", classes=3, leads=2, length=50)
    assert model.classes == ("class 1", "class 2", "class 3")
    assert model.leads == ("lead 1", "lead 2")
    assert (model.fs, model.length, model.scale) == (360.0, 50, "none")


def test_create_keeps_the_names_it_is_given():
    model = create("resnet", classes=["N", "V"], leads=("II", "V5"), length=64, fs=250, scale="lead")
    assert (model.classes, model.leads, model.fs, model.scale) == (("N", "V"), ("II", "V5"), 250.0, "lead")
    assert model.module(torch.zeros(3, 2, 64)).shape == (3, 2)


def test_create_suggests_the_name_that_was_meant():
    with pytest.raises(EcglensError, match=r"unknown model 'jones-cn'; did you mean 'jones-cnn'"):
        create("jones-cn", classes=2, leads=1, length=100)


@pytest.mark.parametrize("names", [[], ["N", "N"], 0])
def test_create_refuses_no_classes_and_a_class_named_twice(names):
    with pytest.raises(EcglensError, match="class names"):
        create("jones-lstm", classes=names, leads=1, length=10)


def test_create_refuses_an_unknown_scale():
    with pytest.raises(EcglensError, match="scale"):
        create("jones-lstm", classes=2, leads=1, length=10, scale="loud")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_shortest_length_works_and_one_sample_less_is_refused(name):
    shortest = MODELS[name].min_length
    model = create(name, classes=2, leads=1, length=shortest)
    assert model.module.eval()(torch.zeros(2, 1, shortest)).shape == (2, 2)
    with pytest.raises(EcglensError, match=f"at least {shortest} samples"):
        create(name, classes=2, leads=1, length=shortest - 1)


@pytest.mark.parametrize("name", sorted(MODELS))
@FEW
@given(st.integers(1, 4), st.integers(1, 9), st.integers(46, 150), st.integers(1, 3))
def test_every_model_takes_one_tensor_and_returns_finite_logits(name, n_leads, n_classes, length, n):
    length, n_leads = fitting(name, length), 1 if MODELS[name].draws else n_leads
    model = create(name, classes=n_classes, leads=n_leads, length=length)
    with torch.no_grad():
        out = model.module.eval()(torch.randn(n, n_leads, length))
    assert out.shape == (n, n_classes)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_layer_for_class_activation_maps_exists_and_puts_out_filters_over_time(name):
    length = fitting(name, 96)
    model = create(name, classes=2, leads=1, length=length)
    mixing = [part for part in model.module.modules() if isinstance(part, nn.Conv1d | nn.Conv2d) and part.kernel_size[-1] > 1]
    if model.cam_layer is None:
        assert not mixing
        return
    layer, order, shapes = model.module.get_submodule(model.cam_layer), [], []
    layer.register_forward_hook(lambda _m, _i, out: shapes.append(out.shape))
    for part in {*mixing, layer}:
        part.register_forward_hook(lambda this, _i, _o: order.append(this))
    model.module.eval()(torch.zeros(2, 1, length))
    # nothing after it mixes samples
    assert order[-1] is layer
    assert order.count(layer) == 1
    assert len(shapes[0]) == (4 if MODELS[name].draws else 3)
    assert shapes[0][2] <= length


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_same_seed_gives_the_same_fresh_model(name):
    examples = random_examples(leads=1, length=fitting(name, 60))
    one, two, other = (created(name, examples, seed=seed).module.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_jones_cnn_runs_without_a_warning_from_torch():
    module = _jones(length=60)
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # torch tells each warning once per process otherwise
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            module(torch.zeros(1, 1, 60))
    finally:
        torch.set_warn_always(before)
    assert [str(each.message) for each in told] == []


def test_jones_cnn_has_the_published_number_of_values():
    model = create("jones-cnn", classes=8, leads=1, length=860)
    assert model.n_trainable == 636_712
    assert model.n_values == 637_672


def test_jones_cnn_has_the_number_of_values_its_layers_add_up_to():
    def conv(n_in, n_out):
        return 16 * n_in * n_out + n_out

    trainable = conv(2, 32) + conv(32, 32) + conv(32, 32) + 3 * 2 * 32
    for filters in (64, 64, 128, 128):
        trainable += conv(32, filters) + conv(filters, 32) + 2 * filters
    trainable += (500 - 45) * 32 * 5 + 5
    statistics = 2 * (3 * 32 + 64 + 64 + 128 + 128)
    model = create("jones-cnn", classes=5, leads=2, length=500)
    assert (model.n_trainable, model.n_values) == (trainable, trainable + statistics)


def test_jones_cnn_loses_15_samples_in_each_of_three_convolutions_and_none_in_the_units():
    module, lengths = _jones(), []
    for layer in (module.stem.conv1, module.stem.conv2, module.units, module.last):
        layer.register_forward_hook(lambda _m, _i, out: lengths.append(out.shape[-1]))
    module(torch.randn(1, 1, 860))
    assert lengths == [845, 830, 830, 815]


def test_jones_cnn_flattens_time_first_then_filter_as_keras_does():
    module, caught = _jones(length=100), []
    module.last_active.register_forward_hook(lambda _m, _i, out: caught.append(out))
    with torch.no_grad():
        module.head.weight.zero_()
        module.head.bias.zero_()
        for k, (time, filt) in enumerate([(0, 0), (0, 7), (3, 0), (54, 31), (20, 5)]):
            module.head.weight[k, time * 32 + filt] = 1.0
        logits = module(torch.randn(4, 1, 100))
    expected = [[one[f, t].item() for t, f in [(0, 0), (0, 7), (3, 0), (54, 31), (20, 5)]] for one in caught[0]]
    torch.testing.assert_close(logits[:, :5], torch.tensor(expected))


def test_jones_cnn_equals_its_layers_written_out():
    module = _jones(n_leads=2, length=70)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
                part.weight.uniform_(0.5, 2)
                part.bias.normal_()
    x = torch.randn(3, 2, 70)

    def conv(a, layer, same=False):
        if same:  # Keras pads the odd sample at the end
            a = np.pad(a, ((0, 0), (0, 0), (7, 8)))
        windows = np.lib.stride_tricks.sliding_window_view(a, 16, axis=2)
        return np.einsum("nctk,fck->nft", windows, _array(layer.weight)) + _array(layer.bias)[:, None]

    def norm(a, layer):
        mean, var = _array(layer.running_mean)[:, None], _array(layer.running_var)[:, None]
        return (a - mean) / np.sqrt(var + 0.001) * _array(layer.weight)[:, None] + _array(layer.bias)[:, None]

    def leaky(a):
        return np.where(a > 0, a, 0.3 * a)

    a = _array(x)
    a = leaky(norm(conv(a, module.stem.conv1), module.stem.norm1))
    a = leaky(norm(conv(a, module.stem.conv2), module.stem.norm2))
    for unit in module.units:
        inner = leaky(norm(conv(a, unit.first, same=True), unit.norm))
        a = a + leaky(conv(inner, unit.second, same=True))
    a = leaky(norm(conv(a, module.last), module.last_norm))
    flat = np.stack([one.T.ravel() for one in a])
    expected = flat @ _array(module.head.weight).T + _array(module.head.bias)
    with torch.no_grad():
        np.testing.assert_allclose(module(x).numpy(), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_jones_cnn_starts_like_keras():
    torch.manual_seed(0)
    module = create("jones-cnn", classes=8, leads=1, length=860).module
    layer = module.units[2].first  # 32 x 16 inputs to each of 128 filters
    fan_in = 32 * 16
    assert layer.weight.std().item() == pytest.approx(math.sqrt(1 / fan_in), rel=0.02)
    assert layer.weight.abs().max().item() <= 2 * math.sqrt(1 / fan_in) / 0.8796 + 1e-6
    limit = math.sqrt(6 / (815 * 32 + 8))
    assert 0.99 * limit < module.head.weight.abs().max().item() <= limit
    assert all(not part.bias.any() for part in module.modules() if isinstance(part, nn.Conv1d | nn.Linear))


def test_jones_lstm_has_the_published_number_of_trainable_values():
    assert create("jones-lstm", classes=8, leads=1, length=860).n_trainable == 19_240


def test_jones_lstm_leaves_the_second_bias_of_pytorch_at_zero_and_untrained():
    lstm = create("jones-lstm", classes=8, leads=1, length=860).module.lstm
    assert not lstm.bias_hh_l0.any()
    assert not lstm.bias_hh_l0.requires_grad
    assert all(value.requires_grad for name, value in lstm.named_parameters() if name != "bias_hh_l0")


def test_jones_lstm_starts_like_keras():
    torch.manual_seed(0)
    lstm = create("jones-lstm", classes=8, leads=1, length=10).module.lstm
    assert lstm.bias_ih_l0[64:128].eq(1).all()  # PyTorch's second gate is the forget gate
    assert lstm.bias_ih_l0.sum().item() == 64
    recurrent = lstm.weight_hh_l0.detach()
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(64), atol=1e-5, rtol=0)
    limit = math.sqrt(6 / (1 + 4 * 64))
    assert 0.9 * limit < lstm.weight_ih_l0.abs().max().item() <= limit


def test_jones_lstm_equals_a_loop_over_the_samples():
    torch.manual_seed(1)
    module = create("jones-lstm", classes=4, leads=2, length=30).module.eval()
    with torch.no_grad():
        module.lstm.bias_ih_l0.normal_()
        module.dense.bias.normal_()
        module.head.bias.normal_()
    x = torch.randn(3, 2, 30)
    kernel, recurrent = _array(module.lstm.weight_ih_l0), _array(module.lstm.weight_hh_l0)
    bias = _array(module.lstm.bias_ih_l0)

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    expected = []
    for one in _array(x):
        state, cell = np.zeros(64), np.zeros(64)
        for time in range(30):
            gates = kernel @ one[:, time] + recurrent @ state + bias
            into, forget, new, out = gates[:64], gates[64:128], gates[128:192], gates[192:]
            cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(new)
            state = sigmoid(out) * np.tanh(cell)
        hidden = np.maximum(_array(module.dense.weight) @ state + _array(module.dense.bias), 0)
        expected.append(_array(module.head.weight) @ hidden + _array(module.head.bias))
    with torch.no_grad():
        np.testing.assert_allclose(module(x).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_resnet_rr_without_context_reads_a_regular_rhythm():
    torch.manual_seed(0)
    module = create("resnet-rr", classes=4, leads=2, length=96).module.eval()
    x = torch.randn(5, 2, 96)
    from ecglens.examples.context import RR_FEATURES

    with torch.no_grad():
        assert torch.equal(module(x), module(x, torch.zeros(5, len(RR_FEATURES))))


def test_resnet_rr_answers_differently_for_each_of_its_rr_numbers():
    from ecglens.examples.context import RR_FEATURES

    torch.manual_seed(0)
    module = create("resnet-rr", classes=4, leads=2, length=96).module.eval()
    x = torch.randn(1, 2, 96)
    with torch.no_grad():
        regular = module(x)
        for number in range(len(RR_FEATURES)):
            context = torch.zeros(1, len(RR_FEATURES))
            context[0, number] = 1.0
            assert not torch.allclose(module(x, context), regular), RR_FEATURES[number]


def test_resnet_passes_the_sum_before_its_norm_on_to_the_next_short_cut():
    torch.manual_seed(0)
    module = create("resnet", classes=2, leads=1, length=96).module.eval()
    first, second = module.units[0], module.units[1]
    caught: dict[str, torch.Tensor] = {}
    first.sum_norm.register_forward_hook(lambda _m, i, _o: caught.__setitem__("sum", i[0]))
    second.pool.register_forward_hook(lambda _m, i, _o: caught.__setitem__("short cut", i[0]))
    module(torch.randn(2, 1, 96))
    assert torch.equal(caught["sum"], caught["short cut"])


def test_resnet_keeps_a_sixty_fourth_of_the_samples_rounded_up():
    for length in (32, 64, 65, 430, 431):
        module, seen = create("resnet", classes=2, leads=1, length=length).module.eval(), []
        module.head.register_forward_hook(lambda _m, i, _o, seen=seen: seen.append(i[0].shape[1]))
        module(torch.zeros(1, 1, length))
        filters = module.units[-1].second.out_channels
        assert seen == [filters * math.ceil(length / 64)]


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64)
