"""ResNet-50 against a plain version of it, and weights by their public names."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ecglens.errors import EcglensError
from ecglens.models.public_weights import load_public_weights
from ecglens.models.resnet50 import ResNet50, build

_COLOURS = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))  # mean and standard deviation, in ImageNet
_BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}


@pytest.fixture(scope="module")
def lively() -> ResNet50:
    """With batch norms that have seen pictures and are not the identity. Read only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build(3)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 0.5
                nn.init.uniform_(part.weight, 0.3, 1.2)
                nn.init.normal_(part.bias, 0.0, 0.2)
        with torch.no_grad():
            for _ in range(2):
                module.train()(torch.rand(4, 1, 64, 64))
    return module.eval()


def _ink(n: int = 3, seed: int = 1) -> Tensor:
    return torch.rand(n, 1, 64, 64, generator=torch.Generator().manual_seed(seed))


def _norm(x: Tensor, state: dict[str, Tensor], name: str, training: bool) -> Tensor:
    """Batch norm by its formula, channel by channel."""
    out = torch.empty_like(x)
    for channel in range(x.shape[1]):
        values = x[:, channel]
        mean, variance = state[f"{name}.running_mean"][channel], state[f"{name}.running_var"][channel]
        if training:
            mean = values.mean()
            variance = ((values - mean) ** 2).mean()
        scaled = (values - mean) / (variance + 1e-5).sqrt()
        out[:, channel] = scaled * state[f"{name}.weight"][channel] + state[f"{name}.bias"][channel]
    return out


def _plain(state: dict[str, Tensor], ink: Tensor, training: bool) -> Tensor:
    """He 2016, table 1, column '50-layer', from the public names."""

    def conv(x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        return functional.conv2d(x, state[f"{name}.weight"], None, stride, padding)

    def norm(x: Tensor, name: str) -> Tensor:
        return _norm(x, state, name, training)

    white = 1 - ink
    colours = [(white - torch.tensor(mean)) / torch.tensor(sd) for mean, sd in _COLOURS]
    x = norm(conv(torch.cat(colours, 1), "conv1", 2, 3), "bn1").clamp(min=0)
    x = functional.max_pool2d(functional.pad(x, (1, 1, 1, 1), value=-math.inf), 3, 2)
    for layer, blocks in _BLOCKS.items():
        for block in range(blocks):
            here = f"{layer}.{block}"
            stride = 2 if block == 0 and layer != "layer1" else 1
            shortcut = x
            if block == 0:
                shortcut = norm(conv(x, f"{here}.downsample.0", stride), f"{here}.downsample.1")
            x = norm(conv(x, f"{here}.conv1"), f"{here}.bn1").clamp(min=0)
            x = norm(conv(x, f"{here}.conv2", stride, 1), f"{here}.bn2").clamp(min=0)
            x = (norm(conv(x, f"{here}.conv3"), f"{here}.bn3") + shortcut).clamp(min=0)
    return x.mean(3).mean(2) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize("training", [False, True])
def test_resnet50_equals_a_plain_version(lively, training):
    """In double precision: batch norm over few cells makes rounding large."""
    module, ink = build(3).double(), _ink().double()
    module.load_state_dict(lively.state_dict())
    state = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        found = module.train(training)(ink)
        wanted = _plain(state, ink, training)
    assert wanted.std(0).min() > 1e-3, "the plain network is meant to tell pictures apart"
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)


def test_under_autocast_it_answers_the_same_up_to_bfloat16(lively):
    ink = _ink()
    with torch.no_grad():
        exact = lively(ink)
        with torch.autocast("cpu", torch.bfloat16):
            found = lively(ink)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.1, atol=0.05 * exact.abs().max().item())


def test_paper_is_white_and_the_names_of_the_colours_statistics_are_not_in_the_state(lively):
    seen = []
    hook = lively.conv1.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    lively(torch.stack([torch.zeros(1, 64, 64), torch.ones(1, 64, 64)]))
    hook.remove()
    paper, trace = seen[0][:, :, 0, 0].tolist()
    assert paper == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert trace == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert {name.split(".")[0] for name in lively.state_dict()} == {"conv1", "bn1", "fc", *_BLOCKS}


@pytest.mark.parametrize(("n_classes", "n_values"), [(2, 23_512_130), (1_000, 25_557_032)])
def test_the_number_of_trainable_values_is_the_public_one(n_classes, n_values):
    assert sum(value.numel() for value in build(n_classes).parameters() if value.requires_grad) == n_values


def _public_names() -> set[str]:
    def norm(name: str) -> set[str]:
        return {f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}

    names = {"conv1.weight", "fc.weight", "fc.bias"} | norm("bn1")
    for layer, blocks in _BLOCKS.items():
        names |= {f"{layer}.0.downsample.0.weight"} | norm(f"{layer}.0.downsample.1")
        for block in range(blocks):
            for k in (1, 2, 3):
                names |= {f"{layer}.{block}.conv{k}.weight"} | norm(f"{layer}.{block}.bn{k}")
    return names


def test_the_state_has_the_public_names(lively):
    assert set(lively.state_dict()) == _public_names()
    assert len(_public_names()) == 320  # as in the public file


def test_every_activation_is_a_module_of_its_own_and_not_in_place(lively):
    calls = []
    hooks = [
        part.register_forward_hook(lambda this, _i, _o: calls.append(this))
        for part in lively.modules()
        if isinstance(part, nn.ReLU)
    ]
    lively(_ink(1))
    for hook in hooks:
        hook.remove()
    assert len(calls) == len(set(calls)) == 49
    assert not any(each.inplace for each in calls)


def test_a_fresh_network_starts_as_published():
    torch.manual_seed(0)
    module = build(2)
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            assert part.bias is None
            wanted = math.sqrt(2 / (part.out_channels * part.kernel_size[0] * part.kernel_size[1]))
            assert part.weight.std().item() == pytest.approx(wanted, rel=0.03), name
            assert abs(part.weight.mean().item()) < 0.03 * wanted, name
        if isinstance(part, nn.BatchNorm2d):
            assert (part.weight == 1).all()
            assert (part.bias == 0).all()
    bound = 1 / math.sqrt(2048)
    assert 0.95 * bound < module.fc.weight.abs().max().item() <= bound


def _fresh(n_classes: int = 3) -> ResNet50:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return build(n_classes)


def _same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def public(lively, tmp_path_factory):
    """A file of weights in the public naming, three classes. Read only."""
    path = tmp_path_factory.mktemp("public") / "resnet50.safetensors"
    save_file(lively.state_dict(), path)
    return path


def test_public_weights_are_taken_whole(lively, public, capsys):
    module = _fresh()
    load_public_weights(module, public)
    assert _same(module.state_dict(), lively.state_dict())
    assert capsys.readouterr().err == ""


def test_a_last_layer_of_other_classes_is_left_out_and_said(lively, public, capsys):
    module = _fresh(2)
    weight, bias = module.fc.weight.clone(), module.fc.bias.clone()
    load_public_weights(module, public)
    assert torch.equal(module.fc.weight, weight)
    assert torch.equal(module.fc.bias, bias)
    assert torch.equal(module.layer4[2].conv3.weight, lively.layer4[2].conv3.weight)
    assert "resnet50.safetensors: fc has 3 classes, the model 2" in capsys.readouterr().err


def test_counts_of_batches_may_be_missing(lively, tmp_path):
    state = {name: value for name, value in lively.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "old.safetensors")
    module = _fresh()
    load_public_weights(module, tmp_path / "old.safetensors")
    assert torch.equal(module.bn1.running_var, lively.bn1.running_var)


def _without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda state: _without(state, "layer2.1.bn2.bias"), r"lacks layer2\.1\.bn2\.bias;"),
        (lambda state: _without(state, "fc.bias"), r"lacks fc\.bias;"),
        (lambda state: state | {"head.weight": torch.ones(1)}, r"the model does not, head\.weight;"),
        (
            lambda state: state | {"conv1.weight": torch.ones(64, 1, 7, 7)},
            r"conv1\.weight \(64, 1, 7, 7\) for \(64, 3, 7, 7\)",
        ),
        (lambda state: {f"model.{name}": value for name, value in state.items()}, r"lacks .* and \d+ more; .*public names"),
    ],
)
def test_names_and_shapes_that_do_not_fit_are_named_and_nothing_is_changed(change, text, public, tmp_path):
    save_file(change(load_file(public)), tmp_path / "odd.safetensors")
    module = _fresh()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(EcglensError, match=text) as caught:
        load_public_weights(module, tmp_path / "odd.safetensors")
    assert "\n" not in str(caught.value)
    assert _same(module.state_dict(), before)


@pytest.mark.parametrize("content", [None, b"", b"no safetensors at all", "cut"])
def test_a_missing_or_damaged_file_is_refused_in_one_line(content, public, tmp_path):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(public.read_bytes()[:5_000] if content == "cut" else content)
    with pytest.raises(EcglensError, match=r"does not exist|is no safetensors file") as caught:
        load_public_weights(_fresh(), path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".PTH"])
def test_a_file_that_may_hold_code_is_never_opened(suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"  # it does not even exist
    with pytest.raises(EcglensError, match="may run code") as caught:
        load_public_weights(_fresh(), path)
    assert "\n" not in str(caught.value)


def test_the_advice_for_a_pickled_file_works(tmp_path):
    wanted = {"conv1.weight": torch.randn(2, 3), "bn1.num_batches_tracked": torch.tensor(4)}
    torch.save(wanted, tmp_path / "it's old.pth")
    with pytest.raises(EcglensError) as caught:
        load_public_weights(_fresh(), tmp_path / "it's old.pth")
    command = shlex.split(str(caught.value)[str(caught.value).index("python -c") :])
    subprocess.run([sys.executable, *command[1:]], check=True)
    assert _same(load_file(tmp_path / "it's old.safetensors"), wanted)
