"""Siblings: nets that agree because their weights are near, and nets that do not."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from audit.beats_made import Small, made_beats
from ecglens.audit.agreement import likeness
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.sanity import examples_for_maps, maps_of
from ecglens.audit.siblings import ANOTHER_EXAMPLE, another_of, sibling_likeness, siblings
from ecglens.audit.subject import OTHER_START, SHUFFLED_LABELS, Sibling, Subject
from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier
from ecglens.runs import Run
from ecglens.studies.siblings import siblings_of


@pytest.fixture(scope="module")
def subject() -> Subject:
    examples = made_beats(60, fs=120.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = Small()
    classifier = Classifier(net, "small", examples.classes, examples.leads, examples.fs, examples.length)
    return Subject("small", classifier, examples, method="input-x-gradient")


def _near(subject: Subject, noise: float, differs: str = OTHER_START, name: str = "twin") -> Sibling:
    """The same net with its weights moved by a share of their own size."""
    module = copy.deepcopy(subject.classifier.module)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for value in module.parameters():
            value += noise * value.std().nan_to_num(0) * torch.randn(value.shape, generator=generator)
    return Sibling(name, replace(subject.classifier, module=module), differs)


def test_starts_that_agree_are_clear_and_their_likeness_is_that_of_the_maps(subject: Subject) -> None:
    of = replace(subject, siblings=(_near(subject, 0.01), _near(subject, 0.02, name="other")))
    answer = siblings(of)
    starts, labels = answer.findings
    assert (starts.state, labels.state) == (CLEAR, NOT_RUN)
    assert SHUFFLED_LABELS in labels.why_not
    rows = examples_for_maps(of, 40)
    part = of.examples.take(rows)
    target = of.classifier.logits(part).argmax(1)
    slow = []
    for each in of.siblings:
        slow.append(likeness(maps_of(of, part, target), maps_of(of, part, target, each.classifier), of.examples.fs)[:, 0])
    table = answer.tables["siblings"].set_index("beside")
    assert table.loc[OTHER_START, "correlation"] == pytest.approx(np.mean(slow))
    assert table.loc[OTHER_START, "correlation"] > table.loc[ANOTHER_EXAMPLE, "correlation"]
    assert table.loc[OTHER_START, "patients"] == 8
    assert starts.low < starts.number < starts.high


def test_starts_that_do_not_agree_are_found_and_labels_are_not_asked_then(subject: Subject, method) -> None:
    def drawn(batch):
        """Noise that the first weight decides, the same for all examples."""
        seed = int(1e6 * abs(next(batch.classifier.module.parameters()).flatten()[0].item()))
        return torch.rand(batch.x.shape[1:], generator=torch.Generator().manual_seed(seed)) + 0 * batch.x.detach()

    both = (_near(subject, 30.0), _near(subject, 40.0, SHUFFLED_LABELS))
    starts, labels = siblings(replace(subject, method=method("made-of-weights", drawn), siblings=both)).findings
    assert (starts.state, starts.severity) == (FOUND, "medium")
    assert starts.high < 0
    assert starts.number == pytest.approx(-1, abs=0.5)
    assert labels.state == NOT_RUN
    assert "too little" in labels.why_not


def test_shuffled_labels_that_change_nothing_are_found_and_those_that_do_are_not(subject: Subject) -> None:
    near = _near(subject, 0.01)
    _, same = siblings(replace(subject, siblings=(near, _near(subject, 0.01, SHUFFLED_LABELS)))).findings
    assert (same.state, same.severity) == (FOUND, "high")
    _, other = siblings(replace(subject, siblings=(near, _near(subject, 30.0, SHUFFLED_LABELS)))).findings
    assert other.state == CLEAR
    assert other.number > 0.1


def test_a_map_that_asks_no_net_is_the_same_for_shuffled_labels(subject: Subject) -> None:
    both = (_near(subject, 30.0), _near(subject, 40.0, SHUFFLED_LABELS))
    starts, labels = siblings(replace(subject, method="magnitude", siblings=both)).findings
    assert (starts.state, labels.state, labels.severity) == (CLEAR, FOUND, "high")


def test_without_siblings_method_or_partners_it_is_not_run(subject: Subject) -> None:
    for of, text in (
        (subject, "--sibling RUN"),
        (replace(subject, method=None), "no method"),
        (replace(subject, siblings=(_near(subject, 0.01, SHUFFLED_LABELS),)), OTHER_START),
    ):
        for each in siblings(of).findings:
            assert each.state == NOT_RUN
            assert text in each.why_not
    one = replace(subject, examples=subject.examples.take(np.arange(1)), siblings=(_near(subject, 0.01),))
    assert siblings(one).findings[0].state == NOT_RUN


def test_another_example_is_of_the_same_class_and_not_itself(subject: Subject) -> None:
    target = np.array([0, 1, 0, 0, 2, 1, 0])
    partner = another_of(target)
    assert (target[partner] == target).all()
    assert (partner == np.arange(7)).tolist() == [False, False, False, False, True, False, False]
    alike, rows = sibling_likeness(replace(subject, siblings=(_near(subject, 0.01),)))
    assert len(alike[ANOTHER_EXAMPLE]) == len(rows)


def test_a_sibling_of_other_classes_or_another_kind_is_refused(subject: Subject) -> None:
    with pytest.raises(EcglensError, match="difference of a sibling"):
        Sibling("twin", subject.classifier, "size")
    other = replace(subject.classifier, classes=("N", "A"))
    with pytest.raises(EcglensError, match="classes"):
        replace(subject, siblings=(Sibling("twin", other, OTHER_START),))


@pytest.fixture
def runs(tmp_path: Path):
    """Run folders with a net, by what was asked: runs(name, seed=1, ...)."""
    from ecglens.models import create

    def make(name: str, *, status: str = "complete", data: str = "abc", place: str = "", **asked) -> Run:
        whole = {"study": "made", "recipe": {"rate": 0.1, "epochs": 2}, "split": "patients", "seed": 0} | asked
        path = tmp_path / name
        net = create("jones-cnn", classes=("N", "V"), leads=("II",), length=430, fs=360.0)
        (path / place).mkdir(parents=True)
        net.save(path / place)
        about = {"status": status, "asked": whole, "data": {"kind": "real", "records": ["1"], "sha256": {"1": data}}}
        (path / "run.json").write_text(json.dumps(about))
        return Run(path, about)

    return make


def test_runs_that_differ_in_their_seed_are_siblings(runs) -> None:
    found = siblings_of(runs("one"), [runs("two", seed=1), runs("three", seed=2, place="nets/0")])
    assert [(each.name, each.differs) for each in found] == [("two", OTHER_START), ("three", OTHER_START)]
    assert found[0].classifier.classes == ("N", "V")


def test_runs_that_learnt_shuffled_labels_are_siblings_whatever_their_seed(runs) -> None:
    one = runs("one", recipe={"rate": 0.1, "targets": "labels"})
    shuffled = {"recipe": {"rate": 0.1, "targets": "shuffled"}}
    found = siblings_of(one, [runs("same", **shuffled), runs("other", seed=1, **shuffled)])
    assert [each.differs for each in found] == [SHUFFLED_LABELS] * 2
    with pytest.raises(EcglensError, match="its recipe differs"):
        siblings_of(one, [runs("both", recipe={"rate": 0.2, "targets": "shuffled"})])


def test_other_runs_are_refused_with_what_differs(runs) -> None:
    one = runs("one")
    for k, (asked, text) in enumerate(
        (
            ({}, "was asked the same"),
            ({"seed": 1, "split": "records"}, "its split is records, not patients"),
            ({"seed": 1, "study": "other"}, "its study is other"),
            ({"seed": 1, "recipe": {"rate": 0.2, "epochs": 2}}, "rate is 0.2, not 0.1"),
            ({"seed": 1, "recipe": None}, "its recipe differs"),
            ({"seed": 1, "data": "xyz"}, "other data"),
            ({"seed": 1, "status": "unfinished"}, "not complete"),
        )
    ):
        with pytest.raises(EcglensError, match=text):
            siblings_of(one, [runs(f"other-{k}", **asked)])
