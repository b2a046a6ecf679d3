"""A cohort on disk: readable by wfdb, the same bytes for the same words, whole or not there at all."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from slowly import EVERY_CLASS

from ecglens.errors import EcglensError
from ecglens.simulation import cohort
from ecglens.simulation.cohort import assign, simulate, write_cohort
from ecglens.simulation.dipole import LEADS
from ecglens.simulation.record import SimulatedRecord
from ecglens.simulation.settings import CLASSES, Settings

TWO = replace(EVERY_CLASS, leads=("II", "V1"))
SMALL = Settings(patients=3, minutes=0.3, carriers={"E": 0, "j": 0}, beats={"A": 2, "V": 2})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(TWO, tmp_path_factory.mktemp("cohort") / "made")


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(EVERY_CLASS, tmp_path_factory.mktemp("cohort") / "twelve")


@pytest.fixture(scope="module")
def records() -> list[SimulatedRecord]:
    return list(simulate(TWO))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ------------------------------------------------------------------------------------------------ what is written


def test_each_record_has_its_files_and_the_cohort_its_tables(folder: Path, records: list[SimulatedRecord]) -> None:
    expected = {"cohort.json", "beats.csv"}
    for record in records:
        expected |= {f"{record.name}.{end}" for end in ("hea", "dat", "atr", "ii", "v1", "evidence.csv", "truth.safetensors")}
    assert {path.name for path in folder.iterdir()} == expected
    assert [record.name for record in records] == [f"s{k:03d}" for k in range(1, 11)]


def test_wfdb_reads_the_signal_to_the_microvolt_and_the_beats(folder: Path, records: list[SimulatedRecord]) -> None:
    for record in records:
        read = wfdb.rdrecord(str(folder / record.name))
        assert (read.fs, read.sig_name, read.units) == (360, ["II", "V1"], ["mV", "mV"])
        assert "not a person" in read.comments[0]
        np.testing.assert_allclose(read.p_signal.T, record.signal, atol=0.0005 + 1e-9)
        marks = wfdb.rdann(str(folder / record.name), "atr")
        np.testing.assert_array_equal(marks.sample, record.r_sample)
        assert marks.symbol == ["/" if kind == "P" else kind for kind in record.rhythm.kind]


def test_two_leads_of_twelve_are_the_same_files_but_for_rounding(folder: Path, twelve: Path) -> None:
    rows = [LEADS.index("II"), LEADS.index("V1")]
    for name in ("s001", "s007", "s010"):
        two = wfdb.rdrecord(str(folder / name), physical=False).d_signal
        all_leads = wfdb.rdrecord(str(twelve / name), physical=False).d_signal
        assert np.abs(two - all_leads[:, rows]).max() <= 1
        lead = dict(zip(LEADS, all_leads.T, strict=True))
        assert np.abs(lead["III"] - (lead["II"] - lead["I"])).max() <= 1
        assert np.abs(lead["aVR"] + lead["aVL"] + lead["aVF"]).max() <= 1
        for end in ("atr", "ii", "v1"):
            assert (folder / f"{name}.{end}").read_bytes() == (twelve / f"{name}.{end}").read_bytes()


def test_wave_boundaries_can_be_read_lead_by_lead(twelve: Path) -> None:
    for record in simulate(EVERY_CLASS):
        for lead in LEADS:
            marks = wfdb.rdann(str(twelve / record.name), lead.lower())
            rows = record.waves[record.waves["lead"] == lead]
            expected = Counter()
            for row in rows.itertuples():
                expected += Counter(
                    [(row.onset, "("), (row.peak, {"P": "p", "QRS": "N", "T": "t"}[row.wave]), (row.offset, ")")]
                )
            assert Counter(zip(marks.sample, marks.symbol, strict=True)) == expected
            assert (np.diff(marks.sample) >= 0).all()


def test_a_wave_that_overlaps_no_other_stands_in_brackets(twelve: Path) -> None:
    for record in list(simulate(EVERY_CLASS))[:4]:
        marks = wfdb.rdann(str(twelve / record.name), "v2")
        marked = list(zip(marks.sample, marks.symbol, strict=True))
        triples = set(zip(marked, marked[1:], marked[2:], strict=False))
        rows = record.waves[record.waves["lead"] == "V2"]
        alone = 0
        for row in rows.itertuples():
            overlaps = (rows["onset"] < row.offset) & (rows["offset"] > row.onset)
            if overlaps.sum() == 1:
                symbol = {"P": "p", "QRS": "N", "T": "t"}[row.wave]
                assert ((row.onset, "("), (row.peak, symbol), (row.offset, ")")) in triples
                alone += 1
        assert alone > 10


def test_no_wave_opens_before_the_one_before_it_has_closed(twelve: Path) -> None:
    for number in range(1, 11):
        for lead in LEADS:
            marks = wfdb.rdann(str(twelve / f"s{number:03d}"), lead.lower())
            text = "".join(marks.symbol)
            assert text.replace("(p)", "").replace("(N)", "").replace("(t)", "") == ""


def test_beats_csv_has_a_row_for_each_beat_with_its_timing(folder: Path, records: list[SimulatedRecord]) -> None:
    table = pd.read_csv(folder / "beats.csv", keep_default_na=False, na_values=[""])
    assert len(table) == sum(len(record.rhythm) for record in records)
    for record in records:
        rows = table[table["record"] == record.name]
        np.testing.assert_array_equal(rows["r_sample"], record.r_sample)
        assert rows["class"].tolist() == record.rhythm.kind.tolist()
        np.testing.assert_allclose(rows["rr_before"].iloc[1:], np.diff(record.rhythm.at), rtol=1e-6)
        np.testing.assert_allclose(rows["sinus_before"].iloc[1:], record.rhythm.sinus[1:], rtol=1e-6)
        assert np.isnan(rows["rr_before"].iloc[0])
        for beat, row in enumerate(rows.itertuples()):
            spans = record.evidence[record.evidence["beat"] == beat]
            assert row.evidence_spans == len(spans)
            assert row.evidence_s == pytest.approx((spans["stop"] - spans["start"]).sum() / 360, rel=1e-6)


def test_cohort_json_tells_settings_counts_and_checksums(folder: Path, records: list[SimulatedRecord]) -> None:
    about = json.loads((folder / "cohort.json").read_text(encoding="utf-8"))
    assert "not of any person" in about["what"]
    assert Settings(**about["settings"] | {"leads": tuple(about["settings"]["leads"])}) == TWO
    kinds = Counter(str(kind) for record in records for kind in record.rhythm.kind)
    assert about["beats"] == dict(kinds)
    assert set(about["beats"]) == set(CLASSES)
    holders = {kind: sum(kind in record.rhythm.kind for record in records) for kind in kinds}
    assert about["patients"] == holders
    others = {path for path in folder.iterdir() if path.name != "cohort.json"}
    assert about["sha256"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in others}


def test_a_quick_look_holds_every_class(folder: Path, records: list[SimulatedRecord]) -> None:
    few = json.loads((folder / "cohort.json").read_text(encoding="utf-8"))["a_few"]
    assert few == sorted(set(few))
    names = {record.name: set(record.rhythm.kind.tolist()) for record in records}
    assert set().union(*(names[name] for name in few)) == set(CLASSES)
    beats = pd.read_csv(folder / "beats.csv", keep_default_na=False)
    for at_most in (4, 6, 8):
        few = cohort._a_few(beats, at_most)
        assert len(few) == at_most
        assert {"L", "R", "P"} <= set().union(*(names[name] for name in few))


# ------------------------------------------------------------------------------------------------ numbers by class


def counts(settings: Settings) -> tuple[Counter, dict[str, int]]:
    kinds, holders = Counter(), Counter()
    for record in simulate(settings):
        own = Counter(record.rhythm.kind.tolist())
        kinds += own
        holders += Counter(own.keys())
    return kinds, holders


@pytest.mark.parametrize("seed", range(3))
def test_as_many_beats_as_wanted_are_made(seed: int) -> None:
    wanted = {"A": 7, "V": 11, "j": 3, "E": 2, "L": 20, "R": 13, "P": 9}
    carriers = {"V": 3, "A": 2, "j": 1, "E": 1, "L": 1, "R": 1, "P": 1}
    settings = Settings(patients=9, minutes=0.75, seed=seed, beats=wanted, carriers=carriers)
    who = [each for each in assign(settings) if each.base in "LR" and each.events.get("V")]
    kinds, holders = counts(settings)
    if not who:  # V among wanted L or R: see test_premature_beats_do_not_take_away_from_a_run
        assert {name: kinds[name] for name in wanted} == wanted
    assert {name: kinds[name] for name in "AVjEP"} == {name: wanted[name] for name in "AVjEP"}
    assert {name: holders[name] for name in wanted} == carriers


def test_a_class_can_live_in_one_patient_and_another_nowhere() -> None:
    kinds, holders = counts(Settings(patients=6, minutes=0.3, carriers={"V": 1, "A": 0, "j": 0, "E": 0}))
    assert holders["V"] == 1
    assert not set("AjE") & set(kinds)
    kinds, _ = counts(Settings(patients=6, minutes=0.3, beats={"V": 0, "A": 0, "j": 0, "E": 0, "L": 0}))
    assert set(kinds) == {"N", "R", "P"}


def test_patients_stay_the_same_persons_when_others_join() -> None:
    few, more = (list(simulate(Settings(patients=n, minutes=0.3, carriers=dict.fromkeys("AEjLPRV", 0)))) for n in (2, 4))
    for one, same in zip(few, more, strict=False):
        np.testing.assert_array_equal(one.signal, same.signal)
    assert len({record.signal.tobytes() for record in more}) == 4


# ------------------------------------------------------------------------------------------------ same words, same bytes


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        bytes_of(write_cohort(replace(SMALL, seed=seed), tmp_path / name))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again
    assert set(first) == set(other)
    same = {name for name in first if first[name] == other[name]}
    # a record in undisturbed rhythm has a table of evidence without a row
    assert all(name.endswith(".evidence.csv") and first[name].count(b"\n") == 1 for name in same)


# ------------------------------------------------------------------------------------------------ whole or not at all


def test_an_empty_folder_is_taken_and_parents_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_cohort(SMALL, tmp_path / "empty")
    write_cohort(SMALL, tmp_path / "deep" / "down")
    assert bytes_of(tmp_path / "empty") == bytes_of(tmp_path / "deep" / "down")
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "deep"}


def test_a_folder_with_anything_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".hidden").write_text("precious")
    with pytest.raises(EcglensError, match=r"mine is there and not empty; name a new folder"):
        write_cohort(SMALL, tmp_path / "mine")
    assert bytes_of(tmp_path / "mine") == {".hidden": b"precious"}
    (tmp_path / "file").write_text("precious")
    with pytest.raises(EcglensError, match="file is there and not empty"):
        write_cohort(SMALL, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("where", ["write_record", "beat_table", "write_json", "simulate_record"])
@pytest.mark.parametrize("empty_folder_there", [False, True])
def test_an_interrupted_cohort_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, empty_folder_there: bool
) -> None:
    real, calls = getattr(cohort, where), []

    def stopped(*words: object) -> object:
        calls.append(words)
        if len(calls) == (1 if where == "write_json" else 2):
            raise KeyboardInterrupt
        return real(*words)

    monkeypatch.setattr(cohort, where, stopped)
    if empty_folder_there:
        (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_cohort(SMALL, tmp_path / "out")
    assert list(tmp_path.rglob("*")) == ([tmp_path / "out"] if empty_folder_there else [])


@pytest.mark.parametrize("n_bytes", [1000, 15_000])
def test_a_full_disk_leaves_nothing(tmp_path: Path, full_disk: Callable, n_bytes: int) -> None:
    with full_disk(n_bytes), pytest.raises(OSError):
        write_cohort(SMALL, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_at_the_truth_is_named_in_one_line(tmp_path: Path, full_disk: Callable) -> None:
    # signals of 18 s and two leads are 26 kB, the truth is more
    with full_disk(30_000), pytest.raises((OSError, EcglensError)):
        write_cohort(SMALL, tmp_path / "out")


def test_a_disk_that_is_full_at_the_truth_leaves_nothing(tmp_path: Path, full_disk: Callable) -> None:
    with full_disk(30_000), pytest.raises(Exception, match=r"truth|I/O error"):
        write_cohort(SMALL, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_folder_one_stands_in_is_taken_when_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_cohort(SMALL, Path("."))
    assert (tmp_path / "here" / "cohort.json").is_file()
