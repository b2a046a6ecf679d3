"""Checks of maps, on nets and methods whose answer is known: maps that ignore the class, the weights, time or the input."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from audit.subjects import CLASSES, subject
from ecglens.audit import sanity
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.subject import Subject
from ecglens.models.classifier import Classifier
from made import make_examples
from nets import Gap, seeded


@pytest.fixture(scope="module")
def net() -> Subject:
    """Examples of three classes and a net that ends in a mean over time, so that it hardly minds when things happen."""
    rng = np.random.default_rng(3)
    time = np.arange(80)
    bumps = np.stack([np.exp(-0.5 * ((time - at) / 2) ** 2) for at in rng.integers(12, 68, 30)])
    signals = (bumps[:, None] * np.array([[1.0], [-0.5]]) + rng.normal(0, 0.02, (30, 2, 80))).astype(np.float32)
    examples = make_examples(signals, np.arange(30) % 3, classes=CLASSES, patient=[str(k % 6) for k in range(30)])
    classifier = Classifier(
        seeded(Gap), "gap", examples.classes, examples.leads, examples.fs, examples.length, cam_layer="last_active"
    )
    return Subject("gap", classifier, examples, method="saliency")


def test_a_map_without_a_class_is_found_and_a_gradient_of_the_logit_is_not(net: Subject) -> None:
    found = sanity.class_sensitivity(replace(net, method="mean-activation"))
    assert (found.state, found.severity, found.number) == (FOUND, "high", 0)
    clear = sanity.class_sensitivity(net)
    assert clear.state == CLEAR
    assert clear.number > 0.02
    assert sanity.class_sensitivity(replace(net, method=None)).state == NOT_RUN
    assert sanity.class_sensitivity(replace(net, method="magnitude")).state == FOUND


def test_a_map_of_another_input_is_found_and_methods_that_perturb_are_not(net: Subject) -> None:
    found = sanity.foreign_input(replace(net, method="mean-activation"))
    assert (found.state, found.severity) == (FOUND, "high")
    assert found.number > 0.2
    for name in ("saliency", "integrated-gradients", "smoothgrad", "occlusion", "expected-gradients", "cam", "grad-cam"):
        assert sanity.foreign_input(replace(net, method=name)).state == CLEAR, name


def test_a_net_is_bounded_only_beyond_its_data(net: Subject) -> None:
    bounded, low, high = sanity._bounded(net)
    np.testing.assert_array_equal(bounded.logits(net.examples), net.classifier.logits(net.examples))
    assert (low, high) == (pytest.approx(net.examples.signals.min()), pytest.approx(net.examples.signals.max()))
    louder = replace(net.examples, signals=net.examples.signals * 100)
    assert np.abs(bounded.logits(louder) - net.classifier.logits(louder)).max() > 1


def test_a_map_that_stays_where_it_was_has_no_time(net: Subject, method) -> None:
    def stays(batch):
        """Sizes of channels, drawn along time: each has its own, wherever the signal is."""
        size = batch.x.abs().sum(dim=2, keepdim=True)
        order = torch.linspace(1, 2, batch.x.shape[2]) ** 3
        return size * order

    found = sanity.follows_time(replace(net, method=method("made-stays", stays)))
    assert (found.state, found.severity) == (FOUND, "high")
    assert found.number < -0.2
    assert sanity.follows_time(net).state == CLEAR
    assert sanity.follows_time(replace(net, method="uniform")).state == NOT_RUN

    def mostly_stays(batch):
        """The same with as much noise again, of the example's own."""
        seeded = torch.Generator().manual_seed(round(float(1e4 * batch.x.detach()[..., 0].abs().sum())))
        return stays(batch) + torch.randn(batch.x.shape, generator=seeded) * stays(batch).std()

    found = sanity.follows_time(replace(net, method=method("made-mostly-stays", mostly_stays)))
    assert found.state == FOUND
    assert -0.5 < found.number < -0.2


def test_a_map_that_ignores_the_weights_is_found(net: Subject) -> None:
    found = sanity.depends_on_weights(replace(net, method="magnitude"))
    assert (found.state, found.severity, found.number) == (FOUND, "high", pytest.approx(1))
    assert sanity.depends_on_weights(net).state == CLEAR


def test_weights_are_put_in_another_order_from_the_last_layer_to_the_first(net: Subject) -> None:
    before = {name: value.clone() for name, value in net.classifier.module.state_dict().items()}
    changed = []
    for fresh in sanity.randomised(net.classifier, 0):
        now = fresh.module.state_dict()
        for name, value in now.items():
            torch.testing.assert_close(value.flatten().sort().values, before[name].flatten().sort().values)
        changed.append({name.split(".")[0] for name, value in now.items() if not torch.equal(value, before[name])})
    assert changed[0] == {"head"}
    assert changed[-1] == {"head", "last", "norm", "first"}
    assert all(one <= two for one, two in pairwise(changed))
    for name, value in net.classifier.module.state_dict().items():
        assert torch.equal(value, before[name])


def test_examples_for_maps_have_every_class_and_are_tested_ones_where_some_are(net: Subject) -> None:
    rows = sanity.examples_for_maps(net, 9)
    assert np.bincount(net.examples.labels[rows]).tolist() == [3, 3, 3]
    asked = np.arange(15, 30)
    some = replace(net, asked=asked, probabilities=np.ones((15, 3)))
    assert set(sanity.examples_for_maps(some, 9)) <= set(asked)


def test_a_model_of_one_class_cannot_be_asked_about_another() -> None:
    of = subject([0] * 4, list("abcd"), classes=("N",), method="saliency")
    assert sanity.class_sensitivity(of).state == NOT_RUN
