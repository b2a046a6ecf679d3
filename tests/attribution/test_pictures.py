"""Saliency, Grad-CAM and guided Grad-CAM of networks that see pictures, held against captum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import GuidedGradCam, LayerGradCam, Saliency
from torch import nn

from ecglens.attribution.passes import Pass, Shared, undisturbed
from ecglens.attribution.registry import find_method
from ecglens.models import Classifier


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_pictures_are_explained_as_captum_explains_them():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )
    model = Classifier(net.eval(), "pictures", ("a", "b", "c"), ("ink",), 360.0, 24, cam_layer="2")
    x, target = torch.randn(4, 1, 20, 24), torch.tensor([0, 1, 2, 1])
    with undisturbed(net):
        batch = Pass.of(Shared(model), x, None, target.numpy(), np.arange(4))
        found = {name: find_method(name)(batch).detach() for name in ("saliency", "grad-cam", "guided-grad-cam", "hires-cam")}
    assert batch.shared.counter.forward == 4
    probe = x.clone().requires_grad_()
    expected = {
        "saliency": Saliency(net).attribute(probe, target, abs=False),
        "grad-cam": LayerGradCam(net, net[2]).attribute(probe, target),
        "guided-grad-cam": GuidedGradCam(net, net[2]).attribute(probe, target),
    }
    for name, value in expected.items():
        assert found[name].shape == value.shape
        torch.testing.assert_close(found[name], value.detach(), rtol=0, atol=1e-6)
    assert found["hires-cam"].shape == (4, 1, 6, 8)
