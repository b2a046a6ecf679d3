"""Leads exchanged as electrodes are, and leads that tell the class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from audit.beats_made import made_beats
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN, Measure
from ecglens.audit.leads import _difference, _More, lead_configuration, lead_order, rewired, swaps
from ecglens.audit.subject import Subject
from ecglens.examples.examples import Examples, LeadPlace
from ecglens.models.classifier import Classifier
from ecglens.training.metrics import patient_draws
from made import make_examples

TWELVE = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")


def _leads_from(potential: dict[str, np.ndarray]) -> np.ndarray:
    """Einthoven's, Goldberger's and Wilson's leads (12, time) from the potentials at the electrodes."""
    ra, la, ll = (potential[name] for name in ("RA", "LA", "LL"))
    middle = (ra + la + ll) / 3
    limb = [la - ra, ll - ra, ll - la, 1.5 * (ra - middle), 1.5 * (la - middle), 1.5 * (ll - middle)]
    return np.stack([*limb, *(potential[f"V{k}"] - middle for k in range(1, 7))])


def test_exchanged_electrodes_give_the_leads_that_they_would_record() -> None:
    rng = np.random.default_rng(0)
    potential = {name: rng.normal(size=30) for name in _ELECTRODES}
    before = make_examples(_leads_from(potential)[None].astype(np.float32), leads=TWELVE)
    named = {swap.name: swap for swap in swaps(TWELVE)}
    pairs = [("LA", "RA"), ("LA", "LL"), ("RA", "LL"), *((f"V{k}", f"V{k + 1}") for k in range(1, 6))]
    assert set(named) == {f"{one} and {other}" for one, other in pairs}
    for one, other in pairs:
        moved = potential | {one: potential[other], other: potential[one]}
        after = rewired(before, named[f"{one} and {other}"].wiring)
        np.testing.assert_allclose(after.signals[0], _leads_from(moved), atol=1e-5)


def test_leads_of_other_names_are_exchanged_in_pairs() -> None:
    assert [swap.wiring for swap in swaps(("MLII", "V1"))] == [{"MLII": ("V1", 1), "V1": ("MLII", 1)}]
    assert [swap.name for swap in swaps(("I", "V1", "V2"))] == ["V1 and V2"]
    assert len(swaps(tuple("abcde"))) == 6


def test_leads_in_a_row_are_exchanged_with_their_usual_beats() -> None:
    x = np.arange(16, dtype=np.float32)[None, None] * np.ones((2, 1, 1), np.float32)
    names = ("lead 1", "lead 2", "usual lead 1", "usual lead 2")
    joined = make_examples(x, leads=("all",), places=tuple(LeadPlace(name, 0, 4 * k, 4) for k, name in enumerate(names)))
    after = rewired(joined, swaps(("lead 1", "lead 2"))[0].wiring)
    expected = [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11]
    np.testing.assert_array_equal(after.signals[:, 0], np.tile(expected, (2, 1)))
    np.testing.assert_array_equal(joined.signals, x)


class _FirstLead(nn.Module):
    """Class 2 where the first lead is the larger one around R."""

    def forward(self, x):
        size = x.amax(2) - x.amin(2)
        return torch.stack([size[:, 1], size[:, 0]], dim=1)


class _AnyLead(nn.Module):
    """All leads alike."""

    def forward(self, x):
        size = (x.amax(2) - x.amin(2)).sum(1)
        return torch.stack([torch.full_like(size, 2.4), size], dim=1)


def _subject(examples: Examples, net: nn.Module, activation: str = "softmax") -> Subject:
    model = Classifier(
        net, "net", examples.classes, examples.leads, examples.fs, examples.length, activation=activation,
        thresholds=(0.7, 0.75) if activation == "sigmoid" else None,
    )  # fmt: skip
    return Subject("net", model, examples)


def _beats(order: tuple[str, str] = ("II", "V1"), n: int = 80) -> Examples:
    examples = made_beats(n)
    return replace(examples, table=examples.table.assign(lead_names=", ".join(order)))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_share_that_changes_is_counted_one_by_one(activation: str) -> None:
    examples = _beats()
    answer = lead_order(_subject(examples, _FirstLead(), activation))
    (row,) = answer.tables["lead_order"].to_dict("records")
    changed = 0
    for x in examples.signals:
        answers = []
        for leads in (x, x[::-1]):
            sizes = np.array([np.ptp(leads[1]), np.ptp(leads[0])])
            yes = 1 / (1 + np.exp(-sizes)) >= np.array([0.7, 0.75])
            answers.append(tuple(yes) if activation == "sigmoid" else int(sizes.argmax()))
        changed += answers[0] != answers[1]
    assert changed > 0
    assert row["changed"] == changed / len(examples)
    assert (row["n"], row["patients"]) == (80, 8)
    assert row["low"] <= row["changed"] <= row["high"]
    (one,) = answer.findings
    assert (one.id, one.state) == ("model.lead-order", CLEAR)


def test_a_model_that_cannot_tell_leads_apart_is_said_to() -> None:
    (one,) = lead_order(_subject(_beats(), _AnyLead())).findings
    assert (one.state, one.severity, one.number) == (FOUND, "low", 0.0)


def test_two_orders_in_the_data_are_a_finding_where_the_order_decides() -> None:
    examples = _beats()
    turned = examples.column("record") == "p3"
    names = np.where(turned, "V1, II", "II, V1")
    mixed = replace(examples, table=examples.table.assign(lead_names=names))
    (one,) = lead_order(_subject(mixed, _FirstLead())).findings
    assert (one.state, one.severity) == (FOUND, "medium")
    assert "record p3" in one.what
    assert set(one.examples) <= set(mixed.column("id")[turned])
    (one,) = lead_configuration(_subject(mixed, _FirstLead())).findings
    assert (one.id, one.state, one.severity) == ("data.lead-configuration", FOUND, "low")
    assert one.number == pytest.approx(turned.mean())


class _LargeFirst(nn.Module):
    """Class 2 where the first lead is above 1 somewhere."""

    def forward(self, x):
        above = x[:, 0].amax(1) - 1
        return torch.stack([-above, above], dim=1)


def _with_a_swap_in(turned: list[int], patients: list[str]) -> Examples:
    """Leads of one height, 0.5 or 1.5 in turn; where they are turned they differ, so that an exchange is seen."""
    height = np.where(np.arange(len(patients)) % 2, 1.5, 0.5)[:, None] * np.ones((1, 2))
    height[turned] = [0.5, 1.5]
    signals = height[:, :, None] * np.sin(np.linspace(0, 6, 20))
    return make_examples(signals.astype(np.float32), np.arange(len(patients)) % 2, leads=("II", "V1"), patient=patients)


@pytest.mark.parametrize(
    ("patients", "turned", "alike"),
    [
        ([f"p{k % 8}" for k in range(120)], [], True),
        (["a"] * 120, [7], True),  # one patient: there is no interval
        ([f"p{k % 8}" for k in range(120)], [7], False),  # may be 2 % of others' answers, says the interval
        (["a"] * 115 + ["b"] * 5, [117], False),
    ],
)
def test_a_model_is_said_not_to_tell_leads_apart_where_that_is_sure(
    patients: list[str], turned: list[int], alike: bool
) -> None:
    (one,) = lead_order(_subject(_with_a_swap_in(turned, patients), _LargeFirst())).findings
    assert one.number == len(turned) / 120
    assert (one.state, one.severity) == ((FOUND, "low") if alike else (CLEAR, ""))


def test_the_interval_of_answers_that_change_is_over_patients() -> None:
    """All answers of half of the patients change; of answers one by one, 40 to 60 % would."""
    patients = [f"p{k // 12}" for k in range(96)]
    (row,) = (
        lead_order(_subject(_with_a_swap_in(list(range(48)), patients), _LargeFirst())).tables["lead_order"].to_dict("records")
    )
    rng = np.random.default_rng(0)
    drawn = [np.mean(rng.integers(8, size=8) < 4) for _ in range(4000)]
    assert row["changed"] == 0.5
    assert (row["low"], row["high"]) == (np.quantile(drawn, 0.025), np.quantile(drawn, 0.975))


@pytest.mark.parametrize(("n", "severity"), [(20, "medium"), (19, "")])
def test_two_orders_are_medium_where_a_fifth_of_the_answers_goes_by_them(n: int, severity: str) -> None:
    examples = _with_a_swap_in(list(range(n)), [f"p{k % 8}" for k in range(100)])
    names = np.where(np.arange(100) < 10, "V1, II", "II, V1")
    (one,) = lead_order(_subject(replace(examples, table=examples.table.assign(lead_names=names)), _LargeFirst())).findings
    assert (one.number, one.severity) == (n / 100, severity)


def test_three_leads_are_put_into_any_order_too() -> None:
    rng = np.random.default_rng(0)
    examples = make_examples(
        rng.normal(size=(40, 3, 20)).astype(np.float32), np.arange(40) % 2, leads=("a", "b", "c"),
        patient=[f"p{k % 4}" for k in range(40)],
    )  # fmt: skip
    table = lead_order(_subject(examples, _FirstLead())).tables["lead_order"]
    assert table["swap"].tolist() == ["a and b", "a and c", "b and c", "all leads at random"]
    size = np.ptp(examples.signals, axis=2)
    there = size[:, 0] > size[:, 1]
    assert table["changed"].tolist()[1] == pytest.approx(np.mean(there != (size[:, 2] > size[:, 1])))
    assert 0.3 < table["changed"].tolist()[3] < 0.7  # half of all orders turn two leads round


def test_what_has_one_lead_or_few_examples_is_not_run() -> None:
    one_lead = make_examples(np.ones((40, 1, 20), np.float32), np.arange(40) % 2)
    few = _beats(n=16)
    for examples, text in ((one_lead, "one lead"), (few, "16 examples")):
        (one,) = lead_order(_subject(examples, nn.Flatten())).findings
        assert one.state == NOT_RUN
        assert text in one.why_not


def _with_leads(names: list[str], labels: np.ndarray, patients: np.ndarray) -> Subject:
    examples = make_examples(
        np.ones((len(labels), 2, 20), np.float32), labels, classes=("N", "V", "P"), lead_names=names,
        patient=patients, record=patients,
    )  # fmt: skip
    return Subject("net", Classifier(nn.Flatten(), "net", examples.classes, examples.leads, 360.0, 20), examples)


def test_a_class_in_other_leads_than_the_rest_is_found_and_the_shares_are_right() -> None:
    labels = np.repeat([0, 1, 2], 60)
    patients = np.array([f"p{k % 10}" for k in range(180)])
    paced = [f"q{k % 6}" for k in range(60)]
    patients[labels == 2] = paced
    names = np.array(["MLII, V1"] * 180, dtype=object)
    other = (labels == 2) & np.isin(patients, ["q0", "q1", "q2", "q3", "q4"])
    names[other] = "V5, V2"
    names[:6] = "V5, V2"
    answer = lead_configuration(_with_leads(names.tolist(), labels, patients))
    (one,) = answer.findings
    assert (one.state, one.severity) == (FOUND, "medium")
    assert one.where == {"class": "P", "leads": "V5, V2"}
    assert one.number == pytest.approx(50 / 60 - 6 / 120)
    for row in answer.tables["lead_configurations"].to_dict("records"):
        mine = labels == ("N", "V", "P").index(row["class"])
        has = np.array([each == row["leads"] for each in names])
        assert row["n"] == sum(a and b for a, b in zip(mine, has, strict=True))
        assert row["share of the class"] == pytest.approx(has[mine].mean())
        assert row["share of the others"] == pytest.approx(has[~mine].mean())
        assert row["patients"] == len(set(patients[mine & has]))


def test_configurations_spread_over_classes_and_those_of_one_patient_are_clear() -> None:
    labels, patients = np.repeat([0, 1, 2], 60), np.array([f"p{k % 10}" for k in range(180)])
    spread = np.where(np.arange(180) % 2, "MLII, V1", "MLII, V5")
    one_patient = np.where((labels == 2) & (patients == "p0"), "V5, V2", "MLII, V1")
    for names in (spread, one_patient):
        (one,) = lead_configuration(_with_leads(names.tolist(), labels, patients)).findings
        assert one.state == CLEAR
    (one,) = lead_configuration(_with_leads(["I,II"] * 180, labels, patients)).findings
    assert (one.state, one.what) == (CLEAR, "All examples were recorded in I, II.")


def test_a_class_of_one_patient_does_not_hide_one_that_is_tied_to_its_leads() -> None:
    labels = np.repeat([0, 1, 2], 60)
    patients = np.array([f"p{k % 30}" for k in range(180)])
    spread = np.where(np.arange(180) % 2, "MLII, V1", "MLII, V2").astype(object)
    names = spread.copy()
    patients[labels == 1], names[labels == 1] = "alone", "V1, V2"
    names[(labels == 2) & (np.arange(180) % 4 > 0)] = "V5, V6"
    (one,) = lead_configuration(_with_leads(names.tolist(), labels, patients)).findings
    assert (one.state, one.severity, one.where) == (FOUND, "medium", {"class": "P", "leads": "V5, V6"})
    assert one.number == pytest.approx(0.75)
    assert one.low < 0.75 < one.high
    names[labels == 2] = spread[labels == 2]
    (one,) = lead_configuration(_with_leads(names.tolist(), labels, patients)).findings
    assert (one.state, one.low is None) == (CLEAR, False)
    assert "Of V it is not told" in one.what
    two = np.where(labels == 1, 1, 0)
    (one,) = lead_configuration(_with_leads(names.tolist(), two, np.where(two == 1, "alone", "other"))).findings
    assert (one.state, "one patient" in one.why_not) == (NOT_RUN, True)


def test_the_interval_of_lead_shares_is_of_the_difference() -> None:
    # all of V in one configuration; in the others it is the patients that decide, so that the difference moves with them
    labels = np.repeat([0, 1], 60)
    patients = np.array([f"{'nv'[k // 60]}{k % 6}" for k in range(120)])
    rest = np.where(np.arange(120) % 2, "MLII, V1", "MLII, V2")
    names = np.where((labels == 1) | (patients == "n0"), "V5, V6", rest)
    (one,) = lead_configuration(_with_leads(names.tolist(), labels, patients)).findings
    assert one.number == pytest.approx(5 / 6)
    assert one.low < 5 / 6 < one.high


@pytest.mark.parametrize(
    ("value", "low", "rank"),
    [
        (0.5, 0.26, 2), (0.5, 0.25, 1), (0.49, 0.4, 1), (0.25, 0.01, 1), (0.25, 0.0, 0), (0.24, 0.2, 0), (0.9, -0.1, 0),
        (0.9, None, 0),
    ],
)  # fmt: skip
def test_a_class_is_tied_to_leads_by_the_difference_and_by_the_lower_bound_of_it(
    value: float, low: float | None, rank: int
) -> None:
    assert _More(Measure(value, "", low, 1.0), value, 0.0).rank == rank


def test_the_bounds_of_a_difference_are_those_of_shares_counted_in_each_draw_of_patients() -> None:
    rng = np.random.default_rng(2)
    patients = rng.choice([f"p{k}" for k in range(7)], 90)
    mine, has = rng.random(90) < 0.4, rng.random(90) < 0.3 + 0.4 * (patients < "p3")
    differences = []
    for times in patient_draws(7, 1000, 5).astype(int):
        rows = np.concatenate([np.repeat(np.flatnonzero(patients == f"p{k}"), times[k]) for k in range(7)])
        differences.append(has[rows][mine[rows]].mean() - has[rows][~mine[rows]].mean())
    expected = (np.percentile(differences, 2.5), np.percentile(differences, 97.5))
    assert _difference(has, mine, patients, 5) == pytest.approx(expected)


class _Always(nn.Module):
    """The first class, or the only one, whatever is shown."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, x):
        return torch.ones(len(x), 1) * torch.arange(self.n, 0, -1.0)


@pytest.mark.parametrize("n", [1, 2])
def test_a_model_that_always_says_one_thing_is_not_asked_for_leads(n: int) -> None:
    examples = _beats()
    if n == 1:
        examples = replace(examples, classes=examples.classes[:1], labels=np.zeros(len(examples), np.int64))
    (one,) = lead_order(_subject(examples, _Always(n))).findings
    assert (one.state, "the same" in one.why_not) == (NOT_RUN, True)
