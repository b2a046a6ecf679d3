"""Signs that a class carries: named where planted, told used from unused, and not named where nothing was planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from beats_made import Small, learnt, made_beats
from subjects import subject
from torch import nn

from ecglens.analysis.one_number import best_auc
from ecglens.audit.confounders import _of_sign, sign_findings
from ecglens.audit.finding import Finding
from ecglens.audit.padding import coarse, padding_tells
from ecglens.audit.plant import moved_share, plant
from ecglens.audit.signs import SIGNS, find_sign
from ecglens.audit.subject import Subject
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier

N, TRAIN = 480, 320


def audited(kind: str = "", strength: float = 0.0, scale: str = "none") -> tuple[list[Finding], Classifier, Examples]:
    """Findings on a net that learnt from two thirds of made beats, 60 % of whose V are marked."""
    examples = made_beats(N, patients=12)
    train, test = np.arange(TRAIN), np.arange(TRAIN, N)
    marked = plant(examples, kind, "V", 0.6, strength, 1, train).examples if kind else examples
    model = learnt(marked, train, scale)
    answers = model.probabilities(model.logits(marked.take(test)))
    split = np.where(np.arange(N) < TRAIN, "train", "test")
    told = Subject("net", model, marked, split, shown=train, asked=test, probabilities=answers)
    return sign_findings(told), model, marked.take(test)


def of_v(findings: list[Finding], sign: str) -> list[Finding]:
    return [each for each in findings if each.state == "found" and each.where == each.where | {"class": "V", "sign": sign}]


@pytest.fixture(scope="module")
def clean() -> list[Finding]:
    return audited()[0]


@pytest.mark.parametrize(("kind", "strength"), [("spike", 1.0), ("mains", 0.3)])
def test_a_live_plant_is_named_with_kind_and_class_and_its_clean_twin_is_not(
    kind: str, strength: float, clean: list[Finding]
) -> None:
    findings, model, test = audited(kind, strength)
    assert moved_share(model, test, kind, "V", strength, 1) >= 0.2
    (named,) = of_v(findings, kind)
    assert (named.severity, named.id) == ("high", f"confounders.{kind}.V")
    assert named.number is not None
    assert named.number >= 0.2
    assert "goes by it" in named.what
    assert not of_v(clean, kind)
    if kind == "spike":
        place = plant(made_beats(N, patients=12), kind, "V", 0.6, strength, 1, np.arange(TRAIN)).place
        assert place is not None
        assert float(named.where["ms from R"]) == pytest.approx((np.median(place) - 180) / 0.36, abs=20)


def test_no_sign_is_named_where_none_was_planted(clean: list[Finding]) -> None:
    assert {each.state for each in clean} == {"clear"}
    assert [each.id for each in clean] == [f"confounders.{sign.name}" for sign in SIGNS]


@pytest.mark.parametrize(("kind", "strength", "scale"), [("offset", 0.5, "offset"), ("gain", 1.6, "lead")])
def test_a_plant_that_the_net_cannot_see_is_called_present_not_used(kind: str, strength: float, scale: str) -> None:
    findings, model, test = audited(kind, strength, scale)
    assert moved_share(model, test, kind, "V", strength, 1) < 0.05
    (named,) = of_v(findings, kind)
    assert named.severity == "low"
    assert "Present, not used" in named.what
    assert not [each for each in findings if each.severity == "high"]


class _Looks(torch.nn.Module):
    """Says V where a number of the first lead is above 0."""

    def __init__(self, number: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.number, self.weight = number, torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = self.number(x[:, 0]) + self.weight
        return torch.stack([-value, value], 1)


def _looked_at(examples: Examples, number: Callable[[torch.Tensor], torch.Tensor]) -> list[Finding]:
    model = Classifier(_Looks(number), "looks", examples.classes, examples.leads, examples.fs, examples.length)
    return sign_findings(Subject("net", model, examples))


@pytest.mark.parametrize("side", [1, -1])
def test_marks_that_point_down_are_put_on_pointing_down(side: int) -> None:
    examples = made_beats(480, patients=12)
    marked = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(examples.labels == 1))[:140])
    signals = examples.signals.copy()
    signals[marked, :, 95:97] += 1.5 * side
    found = _looked_at(replace(examples, signals=signals), lambda x: (side * x[:, 93:99]).amax(1) - 0.8)
    (named,) = of_v(found, "spike")
    assert named.severity == "high"
    assert "100% of them leave" in named.what
    signals = examples.signals.copy()
    signals[marked, :, :7] += 0.8 * side
    found = _looked_at(replace(examples, signals=signals), lambda x: (side * x[:, :7]).mean(1) - 0.4)
    assert [each.severity for each in of_v(found, "edge-mark")] == ["high"]


def test_noise_in_half_of_a_class_is_put_on_at_no_level_below_none() -> None:
    """The other half's level beside its own kind is as often below 0 as above; noise of less than none ended the audit."""
    for seed in range(10):
        examples = made_beats(480, patients=12, seed=seed)
        rng, patients = np.random.default_rng(seed), examples.column("patient").astype(str)
        half = [
            rng.permutation(np.flatnonzero((examples.labels == 1) & (patients == who)))[:10] for who in np.unique(patients)
        ]
        marked = np.sort(np.concatenate(half))
        signals = examples.signals.copy()
        signals[marked] = find_sign("muscle").put(examples.take(marked), 0.08, rng).signals
        noisy = replace(examples, signals=signals)
        model = Classifier(_Looks(lambda x: x.mean(1)), "looks", noisy.classes, noisy.leads, noisy.fs, noisy.length)
        (finding,) = _of_sign(Subject("net", model, noisy, seed=seed), find_sign("muscle"), noisy, _hot(noisy), [1])
        assert finding.state == "found"


def _hot(examples: Examples) -> np.ndarray:
    return np.eye(len(examples.classes), dtype=bool)[examples.labels]


def test_what_hearts_differ_in_cannot_be_told_from_one_record_each() -> None:
    examples = made_beats(240, patients=240)
    half = np.flatnonzero(examples.labels == 1)[::2]
    signals = examples.signals.copy()
    signals[half] += 1.0
    found = {each.id: each for each in _looked_at(replace(examples, signals=signals), lambda x: x.mean(1) - 0.5)}
    assert found["confounders.offset"].state == "not run"
    assert "six of them each" in found["confounders.offset"].why_not
    assert found["confounders.spike"].state == "clear"


def test_a_sign_in_few_patients_is_not_said_to_be_nowhere() -> None:
    examples = made_beats(480, patients=12)
    patients, v = examples.column("patient").astype(str), examples.labels == 1
    marked = np.flatnonzero(v & (patients == np.unique(patients)[0]))
    signals = examples.signals.copy()
    signals[marked] = find_sign("mains").put(examples.take(marked), 0.4, np.random.default_rng(0)).signals
    (said,) = [
        each for each in _looked_at(replace(examples, signals=signals), lambda x: x.mean(1)) if each.id == "confounders.mains"
    ]
    assert said.state == "clear"
    assert "in too few patients" in said.what


class LooksForTwo(nn.Module):
    """V where two samples in a row stand out at one place."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.weight = at, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        near = x[:, 0, self.at - 3 : self.at + 5]
        high = torch.minimum(near[:, 1:], near[:, :-1]).amax(1) - 1.0 + self.weight
        return torch.stack([-high, high], dim=1)


@pytest.mark.parametrize("seed", range(4))
def test_a_spike_is_put_on_as_long_as_it_is_found(seed: int) -> None:
    examples, spike = made_beats(240), find_sign("spike")
    rows = np.arange(1, 240, 4)
    marked = spike.put(examples.take(rows), 2.0, np.random.default_rng(0), np.full(len(rows), 95), width=2)
    signals = examples.signals.copy()
    signals[rows] = marked.signals
    assert np.median(spike.width(marked)) == 2
    model = Classifier(LooksForTwo(95), "looks", examples.classes, examples.leads, examples.fs, examples.length)
    findings = sign_findings(Subject("net", model, replace(examples, signals=signals), seed=seed))
    (named,) = of_v(findings, "spike")
    assert named.severity == "high"
    assert named.number == 1.0


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (subject([0] * 40, ["a", "b"] * 20, classes=("N",)), "one class"),
        (subject([0, 1] * 40, ["a"] * 80), "one patient"),
        (subject([0] * 60 + [1] * 6, ["a", "b"] * 33), "no class has 20 examples"),
    ],
)
def test_what_lacks_something_is_not_run_and_says_why(told: Subject, why: str) -> None:
    (finding,) = sign_findings(told)
    assert finding.state == "not run"
    assert why in finding.why_not


def with_lengths(stop: np.ndarray, origin: np.ndarray | None = None, context: str | None = None) -> Subject:
    examples = made_beats(len(stop))
    examples = replace(examples, table=examples.table.assign(valid_stop=stop))
    model = Classifier(Small(), "small", examples.classes, examples.leads, 360.0, 360, context=context)
    return Subject("net", model, examples, origin=origin)


def test_padding_that_tells_class_or_hospital_is_found() -> None:
    rng, labels = np.random.default_rng(0), np.arange(200) % 2
    apart = padding_tells(with_lengths(np.where(labels == 1, 250, 320) + rng.integers(-20, 20, 200)))
    assert (apart.state, apart.severity, apart.where["told"][:5]) == ("found", "high", "class")
    assert apart.number is not None
    assert apart.number > 0.95
    hidden = padding_tells(with_lengths(np.where(labels == 1, 250, 320), context="span"))
    assert hidden.severity == "medium"
    same = padding_tells(with_lengths(rng.integers(200, 360, 200)))
    assert same.state == "clear"
    for few, many in ((20, 2000), (60, 600), (300, 3000)):  # sizes that hardly repeat say nothing
        assert best_auc(*coarse(rng.uniform(200, 360, few), rng.uniform(200, 360, many))) < 0.72
        assert best_auc(*coarse(rng.uniform(200, 270, few), rng.uniform(270, 360, many))) > 0.85
    tens = np.full(155, 10.0), np.r_[np.full(52, 10.0), rng.uniform(11, 60, 103)]
    assert best_auc(*coarse(*tens)) == pytest.approx(best_auc(*tens))
    origin = np.where(np.arange(200) < 100, "here", "there")
    hospital = padding_tells(with_lengths(np.where(origin == "here", 360, 300), origin))
    assert hospital.where["told"] in ("origin here", "origin there")
    assert hospital.number == pytest.approx(1.0)
    assert padding_tells(with_lengths(np.full(20, 300))).state == "not run"
