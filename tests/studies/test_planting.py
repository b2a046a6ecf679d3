"""`ecglens plant`: marks what it says, trains the same net with and without, and says what the audit says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecglens.audit.finding import read_findings
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.models import load
from ecglens.simulation.cohort import write_cohort
from ecglens.simulation.settings import Settings
from ecglens.studies.planting import CLASSES, Mark, QuickNet, drawn, outcome, place_ms, read_beats, sides
from made import make_examples


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    beats = {"V": 64, "A": 64, "E": 0, "j": 0, "L": 0, "R": 0, "P": 0}
    settings = Settings(patients=9, minutes=0.7, heart_rate_spread=0.05, beats=beats, carriers={"V": 8, "A": 8}, seed=3)
    return write_cohort(settings, tmp_path_factory.mktemp("plant") / "cohort")


@pytest.fixture(scope="module")
def beats(cohort: Path) -> Examples:
    examples, kind = read_beats(cohort, per_record=8)
    assert kind == "simulated"
    return examples


def test_beats_are_those_of_three_classes_at_most_so_many_of_each_in_a_record(cohort: Path, beats: Examples) -> None:
    assert beats.classes == CLASSES
    assert beats.length == 360
    assert set(beats.column("symbol")) == {"A", "N", "V"}
    counts = beats.counts().groupby(["class", "patient"])["n"].sum()
    assert counts.max() == 8
    assert (counts["N"] == 8).all()
    assert (beats.column("r_index") == 180).all()
    assert beats.evidence is not None


def people(patterns: list[str]) -> Examples:
    """Five beats of each of the classes that each patient has."""
    rows = [(f"p{k:02d}", CLASSES.index(name)) for k, has in enumerate(patterns) for name in has for _ in range(5)]
    labels = np.array([label for _, label in rows])
    signals = np.random.default_rng(0).normal(size=(len(rows), 2, 40)).astype(np.float32)
    return make_examples(signals, labels, classes=CLASSES, patient=[name for name, _ in rows])


def test_a_third_of_the_patients_test_whatever_classes_they_have() -> None:
    patterns = ["AN"] * 6 + ["NV"] * 6 + ["N"] * 9 + ["ANV"] * 3
    examples = people(patterns)
    patients = examples.column("patient").astype(str)
    for seed in (0, 1):
        split = sides(examples, seed)
        tested = {name: set(split[patients == name]) for name in np.unique(patients)}
        assert all(len(both) == 1 for both in tested.values())
        for pattern in set(patterns):
            own = [tested[f"p{k:02d}"] == {"test"} for k, has in enumerate(patterns) if has == pattern]
            assert sum(own) == len(own) // 3
    assert (sides(examples, 0) != sides(examples, 1)).any()
    with pytest.raises(EcglensError, match="there are 3 patients; expected at least four"):
        sides(people(["AN"] * 3), 0)


def test_a_draw_takes_so_many_people_and_is_the_same_again() -> None:
    examples = people(["ANV"] * 20)
    part, split = drawn(examples, 4, people=8, per_class=16)
    assert len(np.unique(part.column("patient"))) == 8
    assert np.bincount(part.labels).tolist() == [16, 16, 16]
    again, same = drawn(examples, 4, people=8, per_class=16)
    assert again.column("id").tolist() == part.column("id").tolist()
    assert (same == split).all()
    assert set(drawn(examples, 5, people=8, per_class=16)[0].column("patient")) != set(part.column("patient"))


def test_a_twin_has_the_same_examples_and_weights_and_the_marked_net_differs_by_the_marks_alone(beats: Examples) -> None:
    split = sides(beats, 2)
    mark = Mark("spike", "V", 0.5, 1.0)
    marked, clean, again = (
        outcome(beats, split, what, net="quick", scale="none", seed=2, kind="simulated") for what in (mark, None, None)
    )
    for one, other in zip(
        clean.subject.classifier.module.parameters(), again.subject.classifier.module.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    assert clean.planted is None
    assert clean.moved is None
    assert not clean.live
    planted = marked.planted
    assert planted is not None
    changed = (marked.subject.examples.signals != clean.subject.examples.signals).any(axis=(1, 2))
    np.testing.assert_array_equal(np.flatnonzero(changed), planted.rows)
    train_v = np.flatnonzero((split == "train") & (beats.labels == CLASSES.index("V")))
    assert len(planted.rows) == round(len(train_v) / 2)
    assert np.isin(planted.rows, train_v).all()
    np.testing.assert_array_equal(marked.clean.signals, beats.signals)
    where = [np.flatnonzero(changed_at.any(axis=0)).mean() for changed_at in
             (marked.subject.examples.signals != beats.signals)[planted.rows]]  # fmt: skip
    assert place_ms(marked) == pytest.approx((np.median(where) - 180) / 0.36, abs=3)
    assert place_ms(clean) is None


@pytest.mark.parametrize("length", [37, 100, 360, 430])
def test_the_quick_net_takes_any_length(length: int) -> None:
    net = QuickNet(3, 2, length)
    assert net(torch.zeros(2, 2, length)).shape == (2, 3)
    assert sum(each.numel() for each in net.parameters()) < 40_000


@pytest.fixture(scope="module")
def done(ecglens: Callable[..., Any], cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("planted") / "run"
    said = ecglens(
        "plant", "--kind", "mains", "--class", "A", "--share", "1", "--strength", "0.5", "--data", cohort, "--quick",
        "--out", out,
    )  # fmt: skip
    assert said.code == 0, said.err
    return out, said.err


def test_a_live_plant_is_said_to_be_live_and_named(done: tuple[Path, str], cohort: Path) -> None:
    out, said = done
    facts = json.loads((out / "plant.json").read_text(encoding="utf-8"))
    assert facts["asked"] == {
        "kind": "mains", "class_name": "A", "share": 1.0, "strength": 0.5, "scale": "none", "seed": 0, "quick": True
    }  # fmt: skip
    assert (facts["unit"], facts["place_ms_from_r"], facts["kind"]) == ("mV at 50 Hz", None, "simulated")
    assert facts["live"] == (facts["moved_share"] >= 0.2)
    assert facts["live"]
    assert "live, it moves" in said
    about, findings = read_findings(out / "findings.json")
    named = [each for each in findings if each.id == "confounders.mains.A"]
    assert facts["named"] == bool(named)
    assert facts["called_used"] == any(each.severity == "high" for each in named)
    assert facts["called_used"]
    assert about["examples"] == facts["examples"]
    assert "SIMULATED" in (out / "report.html").read_text(encoding="utf-8")
    assert load(out).classes == CLASSES


def test_a_folder_that_holds_something_is_not_written_over_unasked(
    done: tuple[Path, str], cohort: Path, ecglens: Callable[..., Any], tmp_path: Path
) -> None:
    words = ("plant", "--kind", "mains", "--class", "A", "--strength", "0.5", "--data", cohort, "--quick", "--out")
    again = ecglens(*words, done[0])
    assert again.code == 2
    assert "holds a plant already" in again.err
    (tmp_path / "mine").write_text("x", encoding="utf-8")
    other = ecglens(*words, tmp_path, "--overwrite")
    assert other.code == 2
    assert "is not empty and holds no plant" in other.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--kind", "mians", "--class", "A", "--strength", "1"), "did you mean 'mains'"),
        (("--kind", "mains", "--class", "L", "--strength", "1"), "unknown class 'L'"),
        (("--kind", "mains", "--class", "A", "--strength", "1", "--scale", "usual"), "unknown scale 'usual'"),
        (("--kind", "mains", "--class", "A", "--strength", "0"), "changes nothing"),
        (("--kind", "mains", "--class", "A", "--strength", "1", "--share", "2"), "share is 2"),
    ],
)
def test_what_cannot_be_planted_is_one_line(
    words: tuple[str, ...], told: str, cohort: Path, ecglens: Callable[..., Any], tmp_path: Path
) -> None:
    done = ecglens("plant", *words, "--data", cohort, "--quick", "--out", tmp_path / "out")
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()
