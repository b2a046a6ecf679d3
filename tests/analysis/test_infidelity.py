"""Infidelity and largest change under noise, against captum's and against sums by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ecglens.analysis.infidelity import foretold_falls, infidelity, infidelity_table, max_sensitivity, score_falls
from ecglens.attribution import explain
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier
from made import make_examples, random_examples, tiny
from nets import Linear, classifier, seeded, signals

captum_metrics = pytest.importorskip("captum.metrics")
N, DRAWS = 6, 5


@pytest.fixture(scope="module")
def given() -> tuple[Classifier, Examples, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A net, examples, masks, a fill, targets and maps."""
    rng = np.random.default_rng(4)
    examples = random_examples(N, length=40, seed=1, fs=100.0)
    masks = (rng.random((N, DRAWS, 2, 40)) < 0.3).astype(np.float32)
    fill = rng.normal(size=(N, 2, 40)).astype(np.float32)
    return tiny(examples), examples, masks, fill, rng.integers(0, 3, N), rng.normal(size=(N, 2, 40)).astype(np.float32)


@pytest.mark.parametrize("slopes", [False, True])
@pytest.mark.parametrize("one_lead", [False, True])
def test_infidelity_is_captums(given, slopes: bool, one_lead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, examples, masks, fill, target, maps = given
    maps = maps[:, :1] if one_lead else maps
    away = examples.signals - fill
    monkeypatch.setattr(Classifier, "at_once", 12)  # two examples at a time
    falls = score_falls(model, examples, masks, target, fill)
    found = infidelity(foretold_falls(maps, masks, away if slopes else None), falls)
    spread = torch.from_numpy(np.broadcast_to(maps, examples.signals.shape).copy())
    drawn = iter(range(DRAWS))

    def perturb(x):
        mask = torch.from_numpy(masks[:, next(drawn)])
        by = mask * torch.from_numpy(away)
        return (by if slopes else mask), x - by

    def asked(normalize: bool) -> np.ndarray:
        nonlocal drawn
        drawn = iter(range(DRAWS))
        x, labels = torch.from_numpy(examples.signals), torch.from_numpy(target)
        told = {"target": labels, "n_perturb_samples": DRAWS, "max_examples_per_batch": N, "normalize": normalize}
        with torch.no_grad():
            return captum_metrics.infidelity(model.module.eval(), perturb, x, spread, **told).numpy()

    np.testing.assert_allclose(found["infidelity"], asked(False), rtol=1e-4)
    np.testing.assert_allclose(found["scaled"], asked(True), rtol=1e-3)
    np.testing.assert_allclose(found["unexplained"], found["scaled"] / (falls**2).mean(axis=1))


def test_a_linear_model_is_foretold_wholly_and_an_empty_map_foretells_nothing() -> None:
    model, x = classifier(seeded(Linear)), signals(4, seed=2)
    examples = make_examples(x, classes=model.classes, leads=model.leads, fs=100.0)
    rng, target = np.random.default_rng(0), np.array([0, 1, 2, 0])
    masks, fill = rng.random((4, 6, 2, 24)).astype(np.float32), signals(4, seed=3)
    weights = model.module.head.weight.detach().numpy().reshape(3, 2, 24)[target]
    falls = score_falls(model, examples, masks, target, fill)
    np.testing.assert_allclose(falls, (masks * (weights * (x - fill))[:, None]).sum(axis=(2, 3)), atol=1e-4)
    for maps, away in ((weights, x - fill), (weights * (x - fill), None), (3 * weights, x - fill)):
        found = infidelity(foretold_falls(maps, masks, away), falls)
        np.testing.assert_allclose(found["unexplained"], 0, atol=1e-6)
    np.testing.assert_allclose(found["scale"], 1 / 3, rtol=1e-4)
    empty = infidelity(foretold_falls(0 * weights, masks), falls)
    np.testing.assert_allclose(empty["unexplained"], 1)
    table = infidelity_table(
        {"good": foretold_falls(weights, masks, x - fill), "none": 0 * falls}, falls, np.array(list("aabb"))
    )
    assert table["method"].tolist() == ["good", "none"]
    np.testing.assert_allclose(table["unexplained"], [0, 1], atol=1e-6)
    np.testing.assert_allclose(table["high"], [0, 1], atol=1e-6)


def test_the_largest_change_is_captums_sensitivity(given) -> None:
    model, examples, _, _, target, _ = given
    rng = np.random.default_rng(9)
    noisy = [
        replace(examples, signals=examples.signals + rng.normal(0, 0.05, examples.signals.shape).astype(np.float32))
        for _ in range(3)
    ]

    def map_of(some: Examples) -> np.ndarray:
        return explain(model, some, ["saliency"], target=target, quiet=True)["saliency"][:]

    found = max_sensitivity(map_of, examples, noisy)
    saliency = pytest.importorskip("captum.attr").Saliency(model.module.eval())
    drawn = iter(noisy)

    def explained(x):
        x = x[0] if isinstance(x, tuple) else x
        return (saliency.attribute(x.clone().requires_grad_(True), target=torch.from_numpy(target), abs=False),)

    theirs = captum_metrics.sensitivity_max(
        explained, torch.from_numpy(examples.signals), n_perturb_samples=3, max_examples_per_batch=N,
        perturb_func=lambda x: torch.from_numpy(next(drawn).signals),
    )  # fmt: skip
    np.testing.assert_allclose(found, theirs.detach().numpy(), rtol=1e-3)
    assert found.min() > 0


def test_an_empty_map_has_no_change_and_what_does_not_fit_is_refused(given) -> None:
    model, examples, masks, fill, target, _ = given
    assert np.isnan(max_sensitivity(lambda some: np.zeros((N, 1, 40)), examples, [examples])).all()
    with pytest.raises(EcglensError, match="no noisy examples"):
        max_sensitivity(lambda some: some.signals, examples, [])
    with pytest.raises(EcglensError, match="masks have shape"):
        score_falls(model, examples, masks[:, 0], target, fill)
    with pytest.raises(EcglensError, match="expected the same"):
        infidelity(np.zeros((2, 3)), np.zeros((2, 4)))
