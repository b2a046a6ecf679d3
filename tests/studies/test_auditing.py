"""`ecglens audit` from a run folder, or a model of one's own, to findings and a page."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ecglens.audit.checks import CHECKS, Check
from ecglens.audit.finding import Finding, read_findings
from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError
from ecglens.models import load
from ecglens.runs import open_run
from ecglens.studies.auditing import _answered, cost_first
from ecglens.studies.subjects import subject_of_run


@pytest.fixture(scope="module")
def audited(
    ecglens: Callable[..., Any], stages: dict[str, Path], tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("audit") / "found"
    done = ecglens("audit", stages["complete"], "--data", tiny_data, "--out", out)
    assert done.code == 0, done.err
    return out


def test_every_check_gives_an_answer_and_all_are_on_the_page(audited: Path) -> None:
    about, findings = read_findings(audited / "findings.json")
    assert len(findings) >= len(CHECKS)
    assert len({each.id for each in findings}) == len(findings)
    assert about["examples"] > 0
    page = (audited / "report.html").read_text(encoding="utf-8")
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "REAL ECGs" in words
    for each in findings:
        assert each.id in words
        assert " ".join((each.why_not or each.what).split()) in words


def test_time_pictures_and_tables_are_those_of_the_findings(audited: Path) -> None:
    about, findings = read_findings(audited / "findings.json")
    assert list(about["seconds_by_check"]) == [*(check.name for check in CHECKS), "pictures"]
    assert sum(about["seconds_by_check"].values()) <= about["seconds"] + 1
    shown = {each.id for each in findings if each.state == "found" and each.examples}
    assert set(about["pictures"]) == shown
    files = {each["file"] for each in about["pictures"].values()}
    assert files == {path.name for path in (audited / "figures").glob("*.svg")}
    assert (audited / "report.html").read_text(encoding="utf-8").count("<svg") == len(files)
    assert (audited / "report.html").stat().st_size < 3_000_000


def test_a_check_that_is_refused_is_not_run_and_the_audit_goes_on(stages: dict[str, Path], tiny_data: Path) -> None:
    def refuse(subject: Subject) -> Finding:
        raise EcglensError("the method takes no such model")

    subject = subject_of_run(open_run(stages["complete"]), tiny_data)
    found = _answered(Check("made", "Is it so?", refuse), subject).findings
    assert [(each.id, each.state, each.why_not) for each in found] == [
        ("audit.made", "not run", "the method takes no such model")
    ]


def test_the_cost_is_said_first_in_numbers(stages: dict[str, Path], tiny_data: Path) -> None:
    subject = subject_of_run(open_run(stages["complete"]), tiny_data)
    checks = [
        Check("one", "?", lambda subject: [], maps=150),
        Check("two", "?", lambda subject: [], answers=70),
    ]
    told = cost_first(subject, checks)
    assert told.startswith(
        f"2 checks of {subject.name}, {len(subject.examples):,} examples: about 70 answers and 180 maps by "
    )
    assert re.search(r"about \d+ (s|min), and the counting$", told)
    assert "maps" not in cost_first(replace(subject, method=None), checks)


def test_the_subject_of_a_run_is_what_the_run_trained_and_tested(stages: dict[str, Path], tiny_data: Path) -> None:
    run = open_run(stages["complete"])
    subject = subject_of_run(run, tiny_data)
    rows = pd.read_csv(run.path / "examples.csv", keep_default_na=False)
    assert rows["id"].tolist() == subject.ids.tolist()
    assert rows["split"].tolist() == subject.split.tolist()
    predictions = pd.read_csv(run.path / "predictions.csv", keep_default_na=False)
    assert predictions["id"].tolist() == subject.ids[subject.asked].tolist()
    again = load(run.path)
    logits = again.logits(subject.examples.take(subject.asked))
    assert abs(again.probabilities(logits) - subject.probabilities).max() < 1e-5


def test_an_audit_can_stand_in_a_build(
    ecglens: Callable[..., Any], stages: dict[str, Path], tiny_data: Path, tmp_path: Path
) -> None:
    words = ("audit", stages["complete"], "--data", tiny_data, "--out", tmp_path / "found", "--fail-on")
    done = ecglens(*words, "low")
    worst = [each.severity for each in read_findings(tmp_path / "found" / "findings.json")[1]]
    assert done.code == (3 if any(worst) else 0)
    assert "unknown severity" in ecglens(*words, "awful").complaint


def test_what_cannot_be_audited_is_said_in_a_line(
    ecglens: Callable[..., Any], stages: dict[str, Path], tiny_data: Path, own_data: Path, tmp_path: Path
) -> None:
    assert "one of the two" in ecglens("audit").complaint
    twice = ecglens("audit", stages["complete"], "--sibling", stages["complete"], "--data", tiny_data).complaint
    assert "was asked the same" in twice
    assert "one of the two" in ecglens("audit", stages["complete"], "--model", "net.py:build").complaint
    assert "holds no run.json" in ecglens("audit", tmp_path).complaint
    assert "is not complete" in ecglens("audit", stages["training"], "--data", tiny_data).complaint
    assert "--out" in ecglens("audit", "--model", stages["complete"]).complaint
    next(own_data.glob("mitdb/*.atr")).unlink()
    said = ecglens("audit", stages["complete"], "--data", own_data, "--out", tmp_path / "found").complaint
    assert "was made from other data" in said
    assert str(stages["complete"]) in said
    assert not (tmp_path / "found").exists()


def test_a_model_of_ones_own_has_no_split_and_says_so(
    ecglens: Callable[..., Any], stages: dict[str, Path], tiny_data: Path, tmp_path: Path
) -> None:
    done = ecglens("audit", "--model", stages["complete"], "--data", tiny_data, "--out", tmp_path / "found")
    assert done.code == 0, done.err
    found = {row["id"]: row for row in json.loads((tmp_path / "found" / "findings.json").read_text())["findings"]}
    assert "split is not known" in found["leakage.shared-patients"]["why_not"]
    assert found["explanation.class-free"]["state"] == "clear"
