"""Agreement of maps, beside slow and simple counts, and on made methods whose agreement is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from audit.subjects import subject as plain_subject
from ecglens.audit import completeness as complete
from ecglens.audit import small_changes as small
from ecglens.audit.agreement import between_methods, difference, likeness, stretched
from ecglens.audit.completeness import completeness
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.subject import Subject
from ecglens.models.classifier import Classifier
from made import make_examples

FS = 100.0


class Weighted(torch.nn.Module):
    """Class 0: samples times known weights, pushed through a bend; class 1: nothing."""

    def __init__(self, leads: int, length: int, bend: bool = True) -> None:
        super().__init__()
        time = torch.arange(length)
        weights = torch.zeros(leads, length)
        for lead in range(leads):
            weights[lead] = (1 + lead) * torch.exp(-0.5 * ((time - length / 2) / 6.0) ** 2)
        self.weight = torch.nn.Parameter(weights)
        self.bend = bend

    def forward(self, x):
        score = (x * self.weight).sum((1, 2))
        score = score + 0.05 * score.relu() ** 2 if self.bend else score
        return torch.stack([score, 0 * score], dim=1)


def made(leads: int = 3, n: int = 24, length: int = 120, bend: bool = True) -> Subject:
    """Bumps around the middle of noisy leads; four patients."""
    rng = np.random.default_rng(5)
    time = np.arange(length)
    bumps = np.exp(-0.5 * ((time - rng.integers(50, 70, n)[:, None]) / 4) ** 2)
    signals = bumps[:, None] * rng.uniform(0.6, 1.2, (n, leads, 1)) + rng.normal(0, 0.05, (n, leads, length))
    examples = make_examples(
        signals.astype(np.float32), np.arange(n) % 2, classes=("V", "N"), fs=FS, patient=[f"p{k % 4}" for k in range(n)]
    )
    net = Weighted(leads, length, bend)
    classifier = Classifier(net, "weighted", examples.classes, examples.leads, FS, length)
    return Subject("weighted", classifier, examples, method="saliency")


def test_likeness_is_that_of_slow_counts() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 4, 2, 103))
    two[:, :, :50] = one[:, :, :50]
    one[3] = 1.0
    found = likeness(one, two, FS)
    for k in range(4):
        cells = []
        for maps in (one, two):
            cells.append([np.abs(maps[k, lead, at : at + 5]).sum() for lead in range(2) for at in range(0, 103, 5)])
        if k == 3:
            assert np.isnan(found[k]).all() or np.ptp(cells[0]) > 0
            continue
        assert found[k, 0] == pytest.approx(spearmanr(*cells).statistic)
        top = [set(np.argsort(values)[::-1][: round(0.1 * len(values))]) for values in cells]
        assert found[k, 1] == pytest.approx(len(top[0] & top[1]) / len(top[0]))


def test_leads_are_added_up_where_one_map_does_not_tell_them_apart() -> None:
    rng = np.random.default_rng(1)
    many, one = rng.random((3, 4, 60)), rng.random((3, 1, 60))
    np.testing.assert_allclose(likeness(many, one, FS), likeness(many.sum(1, keepdims=True), one, FS))
    assert stretched(many, FS).shape == (3, 4, 12)


def test_ties_at_the_top_are_what_drawing_them_gives() -> None:
    values = np.zeros((1, 1, 20))
    values[0, 0, 3] = 5  # one value of the top two; the other is one of 19
    other = np.zeros((1, 1, 20))
    other[0, 0, [3, 4]] = [2, 1]
    rng, hits = np.random.default_rng(2), 0.0
    for _ in range(4000):
        second = rng.choice([k for k in range(20) if k != 3])
        hits += (1 + (second == 4)) / 2
    assert likeness(values, other, 20.0)[0, 1] == pytest.approx(hits / 4000, abs=0.01)


def test_a_difference_needs_examples_and_two_patients() -> None:
    values, none = np.linspace(0, 1, 12), np.full(12, np.nan)
    told = difference(values, np.zeros(12), np.array(["a", "b"] * 6), "words", {}, 0)
    assert told.value == pytest.approx(0.5)
    assert told.low < 0.5 < told.high
    assert "0 pairs" in difference(values, none, np.array(["a", "b"] * 6), "words", {}, 0)
    assert "one patient" in difference(values, np.zeros(12), np.array(["a"] * 12), "words", {}, 0)


def test_a_gradient_agrees_with_its_kin_and_a_map_of_the_signal_with_none() -> None:
    answer = between_methods(made())
    assert answer.findings[0].state == CLEAR
    table = answer.tables["agreement"].set_index("method")
    assert list(table.index[table["asks the net"]]) == ["input-x-gradient", "integrated-gradients", "occlusion"]
    assert (table.loc[["random"], "correlation"].abs() < 0.2).all()


def test_a_map_that_only_noise_is_like_is_found(method) -> None:
    def far(batch):
        """Large where all else is small: on the edges."""
        out = 0.01 * batch.x.abs()
        out[:, :, :20] += torch.linspace(2, 1, 20)
        out[:, :, -20:] += 1
        return out

    finding = between_methods(replace(made(), method=method("made-far", far))).findings[0]
    assert (finding.state, finding.severity) == (FOUND, "low")
    assert finding.high < 0
    assert "it agrees more with the trivial map '" in finding.what
    assert "no other method" not in finding.what


def test_without_maps_or_with_too_few_nothing_is_run() -> None:
    few = plain_subject([0, 1, 2], ["a", "b", "c"], length=200)
    for check in (between_methods, small.leads_told):
        for of, text in ((few, "no method"), (replace(few, method="saliency"), "8 ")):
            findings = check(of).findings
            assert findings[-1].state == NOT_RUN, check
            assert check is small.leads_told or text in findings[-1].why_not
    for of in (few, replace(few, method="saliency")):
        assert completeness(of).state == NOT_RUN
        assert {each.state for each in small.small_changes(of)} == {NOT_RUN}


def test_a_map_that_adds_up_is_complete_and_half_of_it_is_not(method) -> None:
    subject = replace(made(), method="integrated-gradients")
    done = completeness(subject)
    assert (done.state, done.number) == (CLEAR, 0)

    def half(batch):
        return 0.9 * batch.gradient * batch.x.detach()

    linear = made(bend=False)
    name = method("made-half", half, sums_to="f(x) - f(x')")
    finding = completeness(replace(linear, method=name))
    assert (finding.state, finding.severity, finding.number) == (FOUND, "medium", 1)
    assert "10.0% off" in finding.what
    silent = completeness(replace(linear, method="saliency"))
    assert silent.state == NOT_RUN
    assert "does not promise" in silent.why_not
    assert "no difference" in completeness(replace(linear, method="lrp-epsilon")).why_not


def test_what_is_promised_is_asked_anew_at_each_baseline() -> None:
    subject = made(n=10)
    rows = np.arange(10)
    weight = subject.classifier.module.weight.detach().numpy()

    def answer(signal: np.ndarray) -> float:
        score = float((signal * weight).sum())
        return score + 0.05 * max(score, 0) ** 2

    x = subject.examples.signals.astype(float)
    background = complete.background_of(subject).signals.astype(float)
    for method, options, several, behind in (
        ("integrated-gradients", {}, False, [np.zeros_like(x[0])]),
        ("integrated-gradients", {"baseline": "mean"}, False, [background.mean(0)]),
        ("lead-shapley", {}, False, [np.zeros_like(x[0])]),
        ("expected-gradients", {"samples": 400}, True, list(background)),
    ):
        of = replace(subject, method=method, map_options=options)
        total, rise = complete.sums_and_rises(of, rows, several=several)
        for k in rows:
            assert answer(x[k]) > 0  # so class 0 is asked about
            assert rise[k] == pytest.approx(answer(x[k]) - np.mean([answer(each) for each in behind]), rel=1e-4)
            assert several or total[k] == pytest.approx(rise[k], rel=0.01)
        assert np.corrcoef(total, rise)[0, 1] > 0.95  # of draws it is so by and by


def test_a_steady_map_keeps_still_and_one_drawn_from_the_last_digits_does_not(method) -> None:
    subject = made()
    assert {each.state for each in small.small_changes(subject)} == {CLEAR}

    def digits(batch):
        return (1e4 * batch.x.detach()).frac()

    gain, shift = small.small_changes(replace(subject, method=method("made-digits", digits)))
    assert (gain.state, gain.severity) == (FOUND, "medium")
    assert shift.number > 0.9  # the same digits, two samples later
    scaled = replace(subject, classifier=replace(subject.classifier, scale="lead"))
    assert small.small_changes(scaled)[0].number > 0.99


def test_later_moves_each_lead_by_itself_and_a_map_drawn_anew_is_found(method) -> None:
    subject = made()
    moved = small.later(subject.examples, 2)
    for k in (0, 7):
        for lead in range(3):
            signal = subject.examples.signals[k, lead]
            np.testing.assert_array_equal(moved.signals[k, lead], [signal[0], signal[0], *signal[:-2]])

    def drawn(batch):
        """Noise that a whole signal decides."""
        seeds = (1e6 * batch.x.detach().abs().double().sum((1, 2))).long()
        return torch.stack([torch.rand(batch.x.shape[1:], generator=torch.Generator().manual_seed(int(k))) for k in seeds])

    _, shift = small.small_changes(replace(subject, method=method("made-drawn", drawn)))
    assert (shift.state, shift.severity) == (FOUND, "medium")
    assert abs(shift.number) < 0.2


def test_one_map_for_all_leads_is_found_and_shares_by_lead_are_slow_sums(method) -> None:
    subject = made()
    none, ranks = small.leads_told(replace(subject, method="r-window")).findings
    assert (none.state, none.severity, none.number, ranks.state) == (FOUND, "low", 3, NOT_RUN)
    answer = small.leads_told(replace(subject, method="input-x-gradient"))
    assert [each.state for each in answer.findings] == [CLEAR, CLEAR]
    table = answer.tables["leads"]
    weight = subject.classifier.module.weight.detach().numpy()
    rows = small.examples_for_maps(subject, 24)
    falls = []
    for k in rows:
        x = subject.examples.signals[k].astype(float)
        for lead in range(3):
            flat = x.copy()
            flat[lead] = x[lead].mean()
            scores = [(each * weight).sum() for each in (x, flat)]
            falls.append(abs(np.subtract(*[score + 0.05 * max(score, 0) ** 2 for score in scores])))
    np.testing.assert_allclose(table["moved"], np.reshape(falls, (-1, 3)).mean(0), rtol=1e-4)
    assert table["share"].sum() == pytest.approx(1)

    def against(batch):
        return batch.x.detach().abs() * torch.tensor([9.0, 3.0, 0.1])[:, None]

    _, ranks = small.leads_told(replace(subject, method=method("made-against", against))).findings
    assert (ranks.state, ranks.severity) == (FOUND, "low")


def test_one_lead_and_pictures_are_not_run() -> None:
    assert {each.state for each in small.leads_told(made(leads=1)).findings} == {NOT_RUN}
    _, ranks = small.leads_told(made(leads=2)).findings
    assert "ranks need 3" in ranks.why_not
