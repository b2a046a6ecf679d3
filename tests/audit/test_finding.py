"""Findings as data: what they may say, their order, and there and back through the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecglens.audit.finding import (
    CLEAR,
    FOUND,
    NOT_RUN,
    Finding,
    Measure,
    at_or_above,
    clear,
    found,
    not_run,
    read_findings,
    worst_first,
    write_findings,
)
from ecglens.errors import EcglensError

_MEASURE = Measure(0.25, "share of something", 0.1, 0.4, {"method": "saliency"})
_SOME = [
    clear("a.clear", "data", "Nothing.", _MEASURE),
    found("a.low", "data", "low", "A little.", _MEASURE, do="Look."),
    not_run("a.open", "recipe", "Something", "there is one patient"),
    found("a.high", "model", "high", "Much.", _MEASURE, do="Mend.", examples=["x/1"], where={"class": "V"}),
    found("a.medium", "recipe", "medium", "More.", _MEASURE, do="Mend."),
]


def test_the_worst_comes_first_then_what_was_not_run_then_what_is_clear() -> None:
    assert [each.id for each in worst_first(_SOME)] == ["a.high", "a.medium", "a.low", "a.open", "a.clear"]


@pytest.mark.parametrize(("severity", "names"), [("high", {"a.high"}), ("medium", {"a.high", "a.medium"}),
                                                 ("low", {"a.high", "a.medium", "a.low"})])  # fmt: skip
def test_what_fails_an_audit_is_as_bad_as_asked_or_worse(severity: str, names: set[str]) -> None:
    assert {each.id for each in at_or_above(_SOME, severity)} == names


def test_findings_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    write_findings(path, {"subject": "net"}, _SOME)
    about, back = read_findings(path)
    assert about == {"subject": "net"}
    assert back == worst_first(_SOME)
    assert back[0].where == {"method": "saliency", "class": "V"}


def test_a_number_that_is_not_known_is_null_and_not_nan(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    write_findings(path, {}, [clear("a", "data", "x", Measure(0.5, "y", float("nan"), float("inf")))])
    row = json.loads(path.read_text(encoding="utf-8"))["findings"][0]
    assert (row["number"], row["low"], row["high"]) == (0.5, None, None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"findings": 3}', '{"findings": [{"id": "a"}]}', '{"findings": [{}]}'])
def test_what_is_not_findings_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "findings.json").write_text(text, encoding="utf-8")
    with pytest.raises(EcglensError, match="cannot be read as findings"):
        read_findings(tmp_path / "findings.json")


def test_a_finding_says_all_that_it_must() -> None:
    for state, severity, why_not, text in (
        (FOUND, "", "", "severity"), (CLEAR, "high", "", "only what is found"), (NOT_RUN, "", "", "says why"),
        (CLEAR, "", "too few", "says why"), (FOUND, "awful", "", "severity"), ("perhaps", "", "", "state"),
    ):  # fmt: skip
        with pytest.raises(EcglensError, match=text):
            Finding("a", state, "data", "x", severity, why_not=why_not)
    with pytest.raises(EcglensError, match="flaw"):
        Finding("a", CLEAR, "author", "x")
