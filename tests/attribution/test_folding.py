"""Batch norms folded away: the same answers, and the model itself untouched."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ecglens.attribution import explain
from ecglens.attribution.folding import folded
from ecglens.models import create


def seasoned_resnet() -> object:
    torch.manual_seed(0)
    made = create("resnet", classes=list("ABC"), leads=["I", "II"], length=200, fs=100)
    for part in made.module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.3, 3)
    made.module.eval()
    return made


def test_the_folded_network_answers_as_the_network_and_has_fewer_batch_norms():
    made, x = seasoned_resnet(), torch.randn(5, 2, 200)
    before = {name: value.clone() for name, value in made.module.state_dict().items()}
    copy = folded(made.module, made.cam_layer, x[:2])
    assert copy is not made.module
    count = [sum(isinstance(part, nn.BatchNorm1d) for part in each.modules()) for each in (made.module, copy)]
    assert count[1] < count[0]
    torch.testing.assert_close(copy(x), made.module(x), rtol=1e-4, atol=1e-6)
    after = made.module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_layer_whose_output_folding_would_change_keeps_its_batch_norm():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(1, 4, 5), nn.BatchNorm1d(4), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    net[1].running_mean.normal_(1, 0.3)
    net.eval()
    x = torch.randn(2, 1, 40)
    assert folded(net, "0", x) is net  # the convolution alone is what CAM is to read
    assert folded(net, "2", x) is not net


def test_what_cannot_be_traced_stays_as_it_is():
    class Winding(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv1d(1, 3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)

        def forward(self, x):
            hidden = self.norm(self.conv(x))
            if float(hidden.mean()) > 100:  # depends on the data: torch.fx gives up
                hidden = -hidden
            return self.head(hidden.mean(dim=2))

    net = Winding().eval()
    assert folded(net, "conv", torch.randn(2, 1, 20)) is net


def test_maps_are_those_of_the_model_as_it_stands():
    made, x = seasoned_resnet(), np.random.default_rng(0).normal(size=(6, 2, 200)).astype(np.float32)
    found = explain(made, x, ["saliency", "grad-cam"], target=np.zeros(6, np.int64), quiet=True)
    probe = torch.from_numpy(x).requires_grad_()
    (expected,) = torch.autograd.grad(made.module(probe)[:, 0].sum(), probe)
    np.testing.assert_allclose(found["saliency"][:], expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
