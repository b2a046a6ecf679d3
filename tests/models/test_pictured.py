"""A network behind a picture: which signal is drawn, and that the network of few convolutions tells places apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.attribution import explain
from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier
from ecglens.models.pictured import Pictured, rasteriser_of, whole
from ecglens.models.rasteriser import Rasteriser
from ecglens.models.small2d import Small2d
from made import created, make_examples, random_examples
from nets import classifier


class Corner(nn.Module):
    """Logits are the ink of two columns."""

    def forward(self, ink: torch.Tensor) -> torch.Tensor:
        return ink[:, 0, :, [0, -1]].sum(1)


def signals(n: int = 3, length: int = 300) -> torch.Tensor:
    return torch.randn(n, 1, length, generator=torch.Generator().manual_seed(0))


def test_logits_are_those_of_the_net_on_the_picture_of_the_span() -> None:
    x, picture = signals(), Rasteriser(20, 30)
    module = Pictured(picture, Corner())
    span = torch.tensor([[0, 300], [40, 300], [7, 90]])
    torch.testing.assert_close(module(x, span), picture(x, span)[:, 0, :, [0, -1]].sum(1), rtol=0, atol=0)


def test_without_a_span_all_of_the_signal_is_drawn() -> None:
    x = signals()
    module = Pictured(Rasteriser(20, 30), Corner())
    every = torch.tensor([[0, 300]] * 3)
    assert whole(x).tolist() == every.tolist()
    torch.testing.assert_close(module(x), module(x, every), rtol=0, atol=0)
    assert (module(x) != module(x, torch.tensor([[0, 150]] * 3))).any()
    assert module(x[:0]).shape == (0, 2)


def test_the_picture_learns_nothing() -> None:
    module = Pictured(Rasteriser(), Small2d(2, 224))
    assert not [name for name, _ in module.named_parameters() if name.startswith("picture")]
    assert {"picture.height_mv", "picture.line"} <= set(module.state_dict())


def test_the_rasteriser_is_found_or_what_draws_is_named() -> None:
    model = created("small2d", make_examples(signals(2).numpy()))
    assert rasteriser_of(model) is model.module.picture
    with pytest.raises(EcglensError, match=r"resnet draws by NoneType; expected a Rasteriser"):
        rasteriser_of(created("resnet", random_examples(2)))
    with pytest.raises(EcglensError, match=r"net draws by Identity; expected a Rasteriser"):
        rasteriser_of(classifier(Pictured(nn.Identity(), Corner())))


def test_a_network_of_ones_own_behind_a_picture_is_explained_on_the_picture() -> None:
    """Two columns of ink are the logits, so the gradient of the first is 1 in column 0 and nothing anywhere else."""
    own = Classifier.wrap(Pictured(Rasteriser(20, 30), Corner()), classes="ab", leads=["II"], fs=100, length=300, draws=True)
    assert own.draws
    maps = explain(own, signals().numpy(), ["saliency"], target="a")["saliency"][:]
    assert maps.shape == (3, 1, 20, 30)
    wanted = np.zeros((20, 30))
    wanted[:, 0] = 1
    np.testing.assert_array_equal(np.abs(maps[:, 0]), np.broadcast_to(wanted, (3, 20, 30)))


def test_what_draws_no_picture_is_not_wrapped_as_if_it_did() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(300, 2))
    with pytest.raises(EcglensError, match="draws no picture; expected draws=True and a module with the parts"):
        Classifier.wrap(flat, classes="ab", leads=["II"], fs=100, length=300, draws=True)


# ------------------------------------------------------------------------------------------------ small2d


def built(n_classes: int = 2, columns: int = 224) -> Small2d:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Small2d(n_classes, columns).eval()


@pytest.mark.parametrize(("rows", "columns", "n_classes"), [(224, 224, 2), (64, 33, 3), (97, 200, 5), (32, 1, 2)])
def test_small2d_takes_pictures_of_any_size_that_it_was_built_for(rows: int, columns: int, n_classes: int) -> None:
    assert built(n_classes, columns)(torch.rand(2, 1, rows, columns)).shape == (2, n_classes)


def test_small2d_is_seven_convolutions_with_a_norm_each() -> None:
    parts = list(built().modules())
    assert sum(isinstance(part, nn.Conv2d) for part in parts) == 7
    assert sum(isinstance(part, nn.BatchNorm2d) for part in parts) == 7
    # 5 x 5 x 16, then 3 x 3 between 16, 24, 32, 48, 64, 64, 64; two numbers a channel; 7 columns of 64 to 2 classes
    convolutions = 25 * 16 + 9 * (16 * 24 + 24 * 32 + 32 * 48 + 48 * 64 + 64 * 64 + 64 * 64)
    expected = convolutions + 2 * (16 + 24 + 32 + 48 + 64 + 64 + 64) + 7 * 64 * 2 + 2
    assert sum(each.numel() for each in built().parameters()) == expected


def test_small2d_is_the_same_one_picture_after_the_other_and_in_either_memory_order() -> None:
    net, ink = built(), torch.rand(5, 1, 224, 224)
    with torch.no_grad():
        every = net(ink)
        torch.testing.assert_close(torch.cat([net(one[None]) for one in ink]), every, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net(ink.contiguous(memory_format=torch.channels_last)), every, rtol=1e-4, atol=1e-5)


def test_small2d_tells_columns_apart_and_averages_rows() -> None:
    """What reaches the head is the mean over rows of the tail, column by column."""
    net, ink = built(), torch.zeros(1, 1, 224, 224)
    seen: list[torch.Tensor] = []
    net.tail.register_forward_hook(lambda _m, _i, out: seen.append(out))
    net.head.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    ink[0, 0, 100:110, 30:36] = 1
    with torch.no_grad():
        at_30 = net(ink)
        at_158 = net(ink.roll(128, 3))
    cells, flat = seen[:2]
    assert cells.shape == (1, 64, 7, 7)
    torch.testing.assert_close(flat, torch.stack([cells[0, c].mean(0) for c in range(64)]).reshape(1, -1))
    assert (at_30 - at_158).abs().max() > 1e-6


def test_small2d_drops_in_training_alone() -> None:
    net, ink = built(), torch.rand(2, 1, 64, 224)
    with torch.no_grad():
        assert torch.equal(net(ink), net(ink))
        net.drop.train()
        assert not torch.equal(net(ink), net(ink))
