"""Batch norms folded away: the same answers, and the model itself untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.attribution import engine, explain
from ecglens.attribution.folding import folded
from ecglens.models import create
from made import lively, random_examples
from nets import Gap, classifier, gap, seeded, signals


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


def _unfolded(model, x, names, monkeypatch, **told):
    with monkeypatch.context() as here:
        here.setattr(engine, "folded", lambda module, *_: module)
        return explain(model, x, names, quiet=True, **told)


_TARGET = np.array([0, 1, 2, 2, 1])


def test_no_map_depends_on_whether_the_model_could_be_folded(monkeypatch):
    model, x = gap(), signals()
    names = ["saliency", "guided-backprop", "grad-cam", "guided-grad-cam", "cam", "deeplift", "lrp-epsilon", "occlusion"]
    assert folded(model.module, model.cam_layer, torch.from_numpy(x)) is not model.module
    found = explain(model, x, names, target=_TARGET, quiet=True)
    wanted = _unfolded(model, x, names, monkeypatch, target=_TARGET)
    for name in names:
        size = np.abs(wanted[name][:]).max()
        np.testing.assert_allclose(found[name][:], wanted[name][:], rtol=1e-2, atol=1e-3 * size)
    for note in ("bias-share", "conservation-error"):
        np.testing.assert_allclose(found.note("lrp-epsilon", note), wanted.note("lrp-epsilon", note), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["resnet", "resnet-rr", "jones-cnn"])
def test_models_of_the_registry_give_the_same_maps_folded_or_not(name, monkeypatch):
    examples = random_examples(4, length=96, rr_before=0.5)
    model = lively(name, examples)
    found = explain(model, examples, ["saliency", "mean-activation"], target=_TARGET[:4], quiet=True)
    wanted = _unfolded(model, examples, ["saliency", "mean-activation"], monkeypatch, target=_TARGET[:4])
    for method in found.methods:
        size = np.abs(wanted[method][:]).max()
        np.testing.assert_allclose(found[method][:], wanted[method][:], rtol=1e-2, atol=1e-3 * size)


def test_a_model_that_writes_down_what_it_sees_is_not_given_symbols():
    class Writes(Gap):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, x):
            self.seen.append(x)
            return super().forward(x)

    module = seeded(Writes)
    explain(classifier(module, "last_active"), signals(), ["saliency"], quiet=True)
    assert module.seen
    assert all(type(each) is torch.Tensor for each in module.seen)


def test_a_norm_behind_a_convolution_that_another_branch_hears_stays(monkeypatch):
    class Heard(Gap):
        def forward(self, x):
            raw = self.first(x)
            return super().forward(x) + raw.mean(dim=2)[:, :3]

    class Doubled(Gap):
        def forward(self, x):
            raw = self.first(x)
            return self.head(self.last_active(self.last(self.active(self.norm(raw)) + raw)).mean(dim=2))

    for build in (Heard, Doubled):
        model, x = classifier(seeded(build), "last_active"), signals()
        found = explain(model, x, ["saliency"], target=_TARGET, quiet=True)["saliency"][:]
        wanted = _unfolded(model, x, ["saliency"], monkeypatch, target=_TARGET)["saliency"][:]
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_weights_that_change_between_two_questions_are_not_remembered():
    model, x = gap(), signals()
    before = explain(model, x, ["saliency"], target=_TARGET, quiet=True)["saliency"][:]
    with torch.no_grad():
        model.module.head.weight.mul_(3)
    after = explain(model, x, ["saliency"], target=_TARGET, quiet=True)["saliency"][:]
    np.testing.assert_allclose(after, 3 * before, rtol=1e-4, atol=1e-6)


def test_a_hook_of_the_users_own_is_still_heard():
    model, sizes = gap(), []
    model.module.register_forward_pre_hook(lambda _module, args: sizes.append(len(args[0])))
    model.module.last.register_forward_hook(lambda _module, _inputs, out: 2 * out)
    wanted = []
    for one, label in zip(torch.from_numpy(signals()), _TARGET, strict=True):
        x = one[None].clone().requires_grad_(True)
        wanted.append(torch.autograd.grad(model.module(x)[0, label], x)[0][0].numpy())
    found = explain(model, signals(), ["saliency"], target=_TARGET, quiet=True)["saliency"][:]
    np.testing.assert_allclose(found, np.stack(wanted), rtol=1e-3, atol=1e-5)


class Tailed(nn.Module):
    """The CAM layer is a container, which tracing would take apart."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4)
        self.tail = nn.Sequential(nn.Conv1d(4, 5, 3), nn.BatchNorm1d(5), nn.ReLU())
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.tail(torch.relu(self.norm(self.first(x)))).mean(2))


def test_a_cam_layer_that_holds_layers_is_kept_whole_and_the_rest_folded():
    model, x = classifier(seeded(Tailed), "tail"), signals()
    whole = folded(model.module, "tail", torch.from_numpy(x))
    norms = [name for name, part in whole.named_modules() if isinstance(part, nn.BatchNorm1d)]
    assert norms == ["tail.1"]
    found = explain(model, x, ["cam"], target=np.zeros(5, np.int64), quiet=True).native("cam")[:]
    with torch.no_grad():
        logits = model.module(torch.from_numpy(x))[:, 0].numpy()
    np.testing.assert_allclose(found.mean(axis=(1, 2)) + model.module.head.bias[0].item(), logits, atol=1e-5)
