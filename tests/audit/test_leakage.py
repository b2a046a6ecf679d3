"""Patients, repeats, classes and signals on the wrong side, in small splits where the answer is plain to see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from audit.subjects import sides, subject
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.leakage import (
    class_of_one_patient,
    classes_validated,
    repeats_across,
    shared_patients,
    shared_signals,
    signals_elsewhere,
)
from ecglens.recordings.duplicates import fingerprints
from ecglens.recordings.recording import Recording
from ecglens.recordings.twelve_record import no_marks
from made import make_examples, tiny
from recordings.twelve_made import LEADS, irregular


def test_patients_on_both_sides_are_counted_by_their_test_examples() -> None:
    of = subject([0] * 8, list("aabbccdd"), records=list("12345678"), split=sides("ttvxxxx."))
    found = shared_patients(of)
    assert (found.state, found.severity, found.of) == (FOUND, "high", "recipe")
    assert found.number == pytest.approx(1 / 4)  # of b, c, c, d that test, b was validated on
    assert found.where == {"patients": "b"}
    assert "b (records 3 and 4)" in found.what
    assert found.examples == ("made/3",)


def test_no_patient_on_both_sides_is_clear_and_no_split_is_not_run() -> None:
    of = subject([0] * 4, list("aabb"), split=sides("tvxx"))
    assert shared_patients(of).state == CLEAR
    assert shared_patients(replace(of, split=None)).state == NOT_RUN
    assert shared_patients(replace(of, split=sides("tttt"))).state == NOT_RUN


@pytest.mark.parametrize(("validated", "share", "severity"), [([0, 1, 2, 3], 0.5, "medium"), ([0, 0, 1, 3], 0.75, "high")])
def test_validation_rows_that_train_are_counted_with_their_repeats(validated: list[int], share: float, severity: str) -> None:
    of = subject([0] * 6, list("abcdef"), shown=np.array([0, 0, 1, 5]), validated=np.array(validated))
    found = repeats_across(of)
    assert (found.state, found.severity, found.number) == (FOUND, severity, pytest.approx(share))
    assert set(found.examples) <= {"made/0", "made/1"}
    assert repeats_across(replace(of, validated=np.array([2, 3, 4]))).state == CLEAR
    assert repeats_across(replace(of, chose=False)).what == "Nothing was chosen by the validation examples."
    assert repeats_across(replace(of, validated=np.array([], np.int64))).state == NOT_RUN


def test_classes_without_a_validation_example_are_named_if_they_are_frequent() -> None:
    labels = [0] * 24 + [1] * 24 + [2] * 12 + [1] * 16
    of = subject(labels, [str(k) for k in range(76)], shown=np.arange(60), validated=np.arange(60, 76))
    found = classes_validated(of)
    # of N and V, of which 6.4 of 16 would validate by chance; of A 3.2, so that none says nothing
    assert (found.state, found.severity, found.number) == (FOUND, "high", 0.5)
    assert found.where == {"classes": "N"}
    assert "Validation holds V (1 of 2 frequent classes)" in found.what
    assert classes_validated(replace(of, validated=np.r_[0, 60:75])).state == CLEAR
    assert classes_validated(replace(of, chose=False)).state == CLEAR
    assert classes_validated(replace(of, shown=np.array([0, 24]))).state == NOT_RUN
    assert classes_validated(replace(of, validated=np.arange(60, 68))).state == NOT_RUN


def test_a_class_of_one_patient_is_named_with_its_patient() -> None:
    labels = [0] * 20 + [1] * 10 + [2] * 9
    patients = [str(k % 4) for k in range(20)] + ["9"] * 8 + ["8"] * 2 + ["7"] * 9
    found = class_of_one_patient(subject(labels, patients))
    assert (found.state, found.of, found.where) == (FOUND, "data", {"classes": "V"})  # A has nine examples: too few
    assert found.number == pytest.approx(0.8)
    assert "V: 80% of 10 are of 9" in found.what
    patients[20] = "6"
    assert class_of_one_patient(subject(labels, patients)).state == CLEAR
    assert class_of_one_patient(subject([0, 1], ["a", "a"])).state == NOT_RUN


def _twelve(n: int, twin: tuple[int, int] | None, split: str, origin: np.ndarray | None):
    signals = np.stack([irregular(10, seed=k)[:, ::5] for k in range(n)])
    if twin is not None:
        signals[twin[1]] = 1.7 * signals[twin[0]]
    examples = make_examples(
        signals.astype(np.float32), np.arange(n) % 2, fs=50, leads=LEADS, record=[f"r{k}" for k in range(n)],
        patient=[f"p{k}" for k in range(n)],
    )  # fmt: skip
    from ecglens.audit.subject import Subject

    return Subject("net", tiny(examples), examples, split=sides(split), origin=origin)


def test_one_signal_under_two_names_is_found_across_sides_and_databases() -> None:
    of = _twelve(6, (1, 5), "tttxxx", None)
    found = shared_signals(of)
    assert (found.state, found.number) == (FOUND, 1)
    assert "made/r1" in found.what
    assert "made/r5" in found.what
    assert shared_signals(_twelve(6, None, "tttxxx", None)).state == CLEAR
    hospitals = np.array(["one", "one", "one", "two", "two", "two"])
    assert shared_signals(_twelve(6, (1, 5), "tttttt", hospitals)).number == 1
    assert shared_signals(_twelve(6, (1, 5), "tttttt", None)).state == NOT_RUN


def test_records_that_another_database_holds_are_counted_by_it() -> None:
    of = _twelve(4, None, "tttx", None)
    there = [Recording("", f"there/{k}", "", irregular(10, seed=k), 250.0, LEADS, no_marks()) for k in (2, 7, 8)]
    absent = [Recording("", f"absent/{k}", "", irregular(10, seed=k), 250.0, LEADS, no_marks()) for k in (7, 8)]
    prints = {"there": fingerprints(there), "absent": fingerprints(absent)}
    found = signals_elsewhere(replace(of, elsewhere=lambda: prints))
    assert (found.state, found.severity, found.of, found.number) == (FOUND, "low", "data", 1)
    assert "1 in there: made/r2 is there/2" in found.what
    assert "absent" not in found.what
    assert signals_elsewhere(replace(of, elsewhere=lambda: {"absent": prints["absent"]})).state == CLEAR
    assert signals_elsewhere(replace(of, elsewhere=dict)).state == NOT_RUN
    assert signals_elsewhere(of).state == NOT_RUN


def test_beats_are_too_short_to_be_known_again() -> None:
    found = shared_signals(subject([0, 1], ["a", "b"], split=sides("tx")))
    assert found.state == NOT_RUN
    assert "5 s" in found.why_not


def test_leads_that_fingerprints_do_not_know_are_not_compared() -> None:
    of = _twelve(4, None, "ttxx", None)
    assert "4 of 4 could be compared" in shared_signals(of).what
    same = np.repeat(of.examples.signals[:1], 4, axis=0)
    examples = replace(of.examples, signals=same, leads=tuple(f"x{lead}" for lead in LEADS))
    unknown = replace(of, examples=examples, classifier=tiny(examples))
    prints = fingerprints([Recording("", "there/1", "", irregular(10, seed=1), 250.0, LEADS, no_marks())])
    mlii = fingerprints([Recording("", "mit/1", "", irregular(10, seed=1)[:1], 250.0, ("MLII",), no_marks())])
    for said in (
        shared_signals(unknown),
        signals_elsewhere(replace(unknown, elsewhere=lambda: {"there": prints})),
        signals_elsewhere(replace(of, elsewhere=lambda: {"mit": mlii})),
    ):
        assert (said.state, "V1 to V6" in said.why_not) == (NOT_RUN, True)
    both = signals_elsewhere(replace(of, elsewhere=lambda: {"there": prints, "mit": mlii}))
    assert (both.number, "4 of 4 could be compared, and none with mit" in both.what) == (1, True)


def test_columns_are_not_cast_anew_for_each_shared_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    from ecglens.examples.examples import Examples

    asked: list[str] = []
    column = Examples.column
    monkeypatch.setattr(Examples, "column", lambda self, name: (asked.append(name), column(self, name))[1])
    who = [str(k) for k in range(40)]
    of = subject([0] * 80, who * 2, records=[f"r{k}" for k in range(80)], split=sides("t" * 40 + "x" * 40))
    assert "0 (records r0 and r40), 1 (records r1 and r41)" in shared_patients(of).what
    assert len(asked) < 10
