"""Maps whose worth is known, on a linear net: the best possible, its opposite, chance, one that trembles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from audit.subjects import subject as bare
from ecglens.audit.faithful import faithfulness
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN, Finding
from ecglens.audit.subject import Subject
from ecglens.models.classifier import Classifier
from made import make_examples

FS, LENGTH = 100.0, 100


class Weighed(nn.Module):
    """Logits linear in the signal, with weights that fall off along time: its size has nothing to do with them."""

    def __init__(self) -> None:
        super().__init__()
        time = torch.arange(LENGTH) / LENGTH
        one = torch.stack([torch.cos(9 * time), 1.5 * torch.sin(13 * time)])
        self.weight = nn.Parameter(torch.stack([one, -one, one.flip(1)]))

    def forward(self, x):
        return torch.einsum("nlt,clt->nc", x, self.weight)


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Clips without R peaks, so that regions are parts of 0.1 s and the fill is the blur."""
    rng = np.random.default_rng(5)
    signals = rng.normal(size=(30, 2, LENGTH)).astype(np.float32)
    examples = make_examples(
        signals, np.arange(30) % 3, classes=("N", "V", "A"), leads=("I", "II"), fs=FS, r_index=np.full(30, -1),
        patient=[f"p{k % 8}" for k in range(30)],
    )  # fmt: skip
    model = Classifier(Weighed(), "weighed", examples.classes, examples.leads, FS, LENGTH)
    return Subject("weighed", model, examples, method="input-x-gradient")


def _both(subject: Subject) -> dict[str, Finding]:
    return {each.id: each for each in faithfulness(subject).findings}


def test_the_best_map_is_clear_and_its_curves_are_in_the_table(subject: Subject) -> None:
    answer = faithfulness(subject)
    first, second = answer.findings
    assert (first.id, first.state, second.id, second.state) == (
        "explanation.faithfulness", CLEAR, "explanation.stability", CLEAR,
    )  # fmt: skip
    assert first.number > first.low > 0
    assert first.where["fills"] == "blur"
    areas, curves = answer.tables["faithfulness-areas"], answer.tables["faithfulness"]
    of_all = areas[(areas["fill"] == "all") & (areas["beside"] == "random order")].set_index("method")["area"]
    assert of_all["input-x-gradient"] == pytest.approx(first.number)
    assert of_all["input-x-gradient"] > of_all[["magnitude", "slope"]].max()
    mine = curves[(curves["method"] == "input-x-gradient") & (curves["curve"] == "deletion")].set_index("share")["logit"]
    chance = curves[(curves["method"] == "random order") & (curves["curve"] == "deletion")].set_index("share")["logit"]
    assert np.trapezoid(chance - mine, mine.index) == pytest.approx(
        areas[(areas["method"] == "input-x-gradient") & (areas["curve"] == "deletion")]["area"].iloc[0]
    )
    assert (mine.loc[0.0], mine.loc[1.0]) == pytest.approx((chance.loc[0.0], chance.loc[1.0]))
    left = answer.tables["infidelity"].set_index("method")["unexplained"]
    assert left["input-x-gradient"] < left["random"]


def test_the_opposite_map_and_one_of_chance_are_found(subject: Subject, method) -> None:
    def opposite(batch):
        return -batch.gradient * batch.x.detach()

    turned = _both(replace(subject, method=method("made-opposite", opposite)))["explanation.faithfulness"]
    assert (turned.state, turned.severity) == (FOUND, "high")
    assert turned.high < 0
    chance = _both(replace(subject, method="random"))["explanation.faithfulness"]
    assert (chance.state, chance.severity) == (FOUND, "high")


def test_a_map_that_is_worse_than_a_trivial_one_is_found(subject: Subject, method) -> None:
    """A net that adds up squares goes by the signal's size; the audited map has half of that and half chance."""

    class Squares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, 0.2, 0.1]))

        def forward(self, x):
            return (x**2).sum(dim=(1, 2))[:, None] * self.weight

    def blunt(batch):
        loud = batch.x.detach() ** 2
        return loud + 3 * batch.draws(9, lambda own: torch.randn(loud.shape[1:], generator=own))

    rng = np.random.default_rng(6)
    louder = subject.examples.signals * np.repeat(rng.uniform(0.2, 2, (30, 2, 10)), 10, axis=2).astype(np.float32)
    net = replace(subject.classifier, module=Squares())
    squares = replace(subject, classifier=net, examples=replace(subject.examples, signals=louder))
    worse = _both(replace(squares, method=method("made-blunt", blunt)))["explanation.faithfulness"]
    assert (worse.state, worse.severity, worse.where["best trivial map"]) == (FOUND, "medium", "magnitude")
    assert worse.low > 0


def test_a_map_that_trembles_is_found(subject: Subject, method) -> None:
    def trembles(batch):
        return torch.sin(1e4 * batch.x.detach())

    found = _both(replace(subject, method=method("made-trembles", trembles)))["explanation.stability"]
    assert (found.state, found.severity) == (FOUND, "medium")
    assert found.number > 1


def test_the_regions_of_a_map_without_leads_go_through_all_leads_for_trivial_maps_too(subject: Subject, method) -> None:
    def size(batch):
        return batch.x.detach().abs().mean(dim=1, keepdim=True)

    table = faithfulness(replace(subject, method=method("made-size", size))).tables["faithfulness-areas"]
    areas = table[table["beside"] == "random order"].set_index(["method", "fill", "curve"])["area"]
    for key in (("blur", "deletion"), ("blur", "insertion"), ("all", "all")):
        assert areas["made-size", *key] == pytest.approx(areas["magnitude", *key])


def test_what_lacks_something_is_not_run(subject: Subject) -> None:
    patients = subject.examples.table.assign(patient="p")
    lone = replace(subject, examples=replace(subject.examples, table=patients))
    few = replace(subject, examples=subject.examples.take(np.arange(6)))
    pictured = replace(subject, classifier=replace(subject.classifier, draws=True))
    one_class = bare([0] * 20, list("abcd") * 5, classes=("N",), method="saliency")
    deaf = replace(subject, classifier=replace(subject.classifier, module=Deaf()))
    for of, why in (
        (replace(subject, method=None), "no method"), (lone, "one patient"), (few, "6 examples"), (pictured, "pictures"),
        (one_class, "one class"), (deaf, "takes the class away from 0"), (replace(subject, method="cam"), "cannot be made"),
    ):  # fmt: skip
        found = _both(of)["explanation.faithfulness"]
        assert found.state == NOT_RUN
        assert why in found.why_not
    assert _both(deaf)["explanation.stability"].state == NOT_RUN  # its maps are empty


class Deaf(nn.Module):
    """The same answer whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([1.0, 0.0, -1.0]))

    def forward(self, x):
        return self.bias + 0 * x.sum(dim=(1, 2))[:, None]
