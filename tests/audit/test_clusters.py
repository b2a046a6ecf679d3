"""Kinds of a class's maps, with made maps that lie on a planted spike, or otherwise in one patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from audit.beats_made import made_beats
from ecglens.audit.clusters import clusters
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.signs import find_sign
from ecglens.audit.subject import Subject
from ecglens.examples.examples import Examples, LeadPlace
from made import make_examples, tiny

_EARLY = 40  # samples before the first wave


@pytest.fixture(scope="module")
def examples() -> Examples:
    return made_beats(160, patients=4)


@pytest.fixture
def looks(method) -> Callable[[Callable[[torch.Tensor], torch.Tensor]], str]:
    """A made method: `odd(x)` says of which examples the map lies at the start, the others' lies on QRS."""

    def put(odd: Callable[[torch.Tensor], torch.Tensor]) -> str:
        def look(batch):
            chance = torch.Generator().manual_seed(int(1000 * batch.x[0, 0, 0].abs()))
            out = 0.02 * torch.rand(batch.x.shape, generator=chance)
            size = 1 + torch.rand((len(out), 2, 1), generator=chance)[:, : out.shape[1]]
            early = odd(batch.x)[:, None, None]
            out[:, :, 10:_EARLY] += early * size
            out[:, :, 170:190] += ~early * size
            return out

        return method("made-kinds", look)

    return put


def _subject(examples: Examples, method: str | None) -> Subject:
    return Subject("net", tiny(examples), examples, method=method)


def test_a_kind_with_a_spike_is_named_with_its_class(examples: Examples, looks) -> None:
    v = np.flatnonzero(examples.labels == 1)
    marked = v[np.arange(len(v)) % 3 == 0]
    signals = examples.signals.copy()
    put = find_sign("spike").put(examples.take(marked), 1.5, np.random.default_rng(0), np.full(len(marked), 25))
    signals[marked] = put.signals
    subject = _subject(replace(examples, signals=signals), looks(lambda x: x[:, 0, :_EARLY].amax(1) > 0.8))
    answer = clusters(subject)
    (one,) = answer.findings
    assert (one.id, one.state, one.severity) == ("explanation.clusters.V", FOUND, "medium")
    assert one.where["sign"] == "spike"
    assert set(one.examples) <= set(subject.ids[marked])
    assert one.number == 1.0
    table = answer.tables["clusters"]
    assert table[table["class"] == "N"]["kind"].tolist() == ["all of one kind"]
    mine = table[table["class"] == "V"]
    assert mine["n"].tolist() == [len(v) - len(marked), len(marked)]
    assert mine["patients"].tolist() == [4, 4]
    assert mine["signs"].tolist()[0] == ""
    assert "spike 100%" in mine["signs"].tolist()[1]
    right = subject.classifier.logits(subject.examples.take(marked)).argmax(1) == 1
    assert mine["answered rightly"].tolist()[1] == pytest.approx(right.mean())


def test_a_kind_that_is_one_patients_is_low_and_its_own_level_no_confounder(examples: Examples, looks) -> None:
    signals = examples.signals.copy()
    signals[examples.column("patient") == "p2"] += 1.0
    subject = _subject(replace(examples, signals=signals), looks(lambda x: x[:, 0].median(1).values > 0.6))
    found = {each.id: each for each in clusters(subject).findings}
    assert set(found) == {"explanation.clusters.N", "explanation.clusters.V"}
    for each in found.values():
        assert each.severity == "low"
        assert each.where["patient"] == "p2"


def test_maps_of_one_kind_are_clear(examples: Examples, looks) -> None:
    answer = clusters(_subject(examples, looks(lambda x: x[:, 0, 0] > 99)))
    (one,) = answer.findings
    assert (one.id, one.state, one.number) == ("explanation.clusters", CLEAR, 1.0)
    assert one.where["by"] == "waves"
    assert (answer.tables["clusters"]["kind"] == "all of one kind").all()


def test_kinds_over_all_patients_without_a_sign_are_told_and_are_no_finding(examples: Examples, looks) -> None:
    """Every patient has both: another shape, such as a second focus, makes other maps."""
    signals = examples.signals.copy()
    other = np.arange(len(examples)) // 8 % 2 == 0
    signals[other] *= -1
    answer = clusters(_subject(replace(examples, signals=signals), looks(lambda x: x[:, 0, 180] < 0)))
    (one,) = answer.findings
    assert (one.state, one.number) == (CLEAR, 2.0)
    assert len(answer.tables["clusters"]) == 4


def test_what_has_no_waves_is_cut_into_windows(looks) -> None:
    rng = np.random.default_rng(0)
    flat = make_examples(
        0.01 * rng.normal(size=(60, 1, 200)).astype(np.float32), np.arange(60) % 2, fs=100.0,
        places=(LeadPlace("a", 0, 0, 120), LeadPlace("b", 0, 120, 80)), patient=[f"p{k % 5}" for k in range(60)],
        valid_stop=np.full(60, 120),
    )  # fmt: skip
    (one,) = clusters(_subject(flat, looks(lambda x: x[:, 0, 0] > 99))).findings
    assert one.state == CLEAR
    assert one.where["by"] == "windows"


def test_what_is_lacking_is_said(examples: Examples, looks) -> None:
    method = looks(lambda x: x[:, 0, 0] > 99)
    one_patient = replace(examples, table=examples.table.assign(patient="p0"))
    for subject, text in (
        (_subject(examples, None), "no method"),
        (_subject(one_patient, method), "one patient"),
        (_subject(examples.take(np.arange(30)), method), "no class has 25"),
        (_subject(examples.take(np.arange(0)), method), "no example"),
    ):
        (one,) = clusters(subject).findings
        assert one.state == NOT_RUN
        assert text in one.why_not
    subject = _subject(examples, method)
    subject.classifier.draws = True
    assert "pictures" in clusters(subject).findings[0].why_not
