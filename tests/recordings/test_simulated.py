"""A cohort's folder as a database, and its records with their evidence beside real ones without."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecglens.errors import EcglensError
from ecglens.recordings.databases import DATABASES, Skipped, database, read_records
from ecglens.recordings.simulated import simulated_database
from ecglens.simulation.cohort import simulate, write_cohort
from ecglens.simulation.settings import Settings

SMALL = Settings(patients=3, minutes=0.3, carriers={"E": 0, "j": 0}, beats={"A": 2, "V": 2}, seed=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(SMALL, tmp_path_factory.mktemp("cohort") / "made")


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "own"))


def test_the_database_says_what_the_cohort_is(folder: Path) -> None:
    which = simulated_database(folder)
    assert (which.name, which.kind, which.fs, which.n_leads) == ("simulated", "simulated", 360.0, 2)
    assert which.records == ("s001", "s002", "s003")
    assert which.version.endswith(", seed 6")
    assert "no person" in which.lead_facts[0]
    assert "more than 0.02 mV" in which.lead_facts[-1]
    assert set(which.a_few) <= set(which.records)
    assert which.checksums == json.loads((folder / "cohort.json").read_text(encoding="utf-8"))["sha256"]
    assert which.patient("s002") == "s002"


def test_real_databases_are_real_and_have_a_list_in_the_package_or_the_number_of_records() -> None:
    for which in DATABASES.values():
        assert (which.kind, which.listed, which.a_few) == ("real", {}, ())
        assert which.checksums == database(which.name).checksums
        assert (len(which.checksums) > 100) == (which.n_records == 0) == (which.name == "mitdb")


def test_simulated_records_are_read_with_their_evidence(folder: Path) -> None:
    skipped: list[Skipped] = []
    which = simulated_database(folder)
    found = list(read_records(which, folder, which.records, skipped, swap_leads=True))
    assert skipped == []
    for recording, made in zip(found, simulate(SMALL), strict=True):
        assert (recording.database, recording.patient, recording.leads) == ("simulated", made.name, ("II", "V1"))
        np.testing.assert_allclose(recording.signal, made.signal, atol=0.0005 + 1e-6)
        assert recording.evidence is not None
        np.testing.assert_array_equal(recording.evidence.start, made.evidence["start"])
        assert recording.annotations.beats().symbol.tolist() == ["/" if k == "P" else k for k in made.rhythm.kind]


def test_real_records_have_no_evidence_even_beside_such_a_file(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "100", seconds=5)
    (tmp_path / "100.evidence.csv").write_text("nonsense")
    (found,) = read_records(database("mitdb"), tmp_path, ("100",), [], swap_leads=True)
    assert found.evidence is None


def test_no_real_record_has_evidence(real_mitdb: Path) -> None:
    (found,) = read_records(database("mitdb"), real_mitdb, ("100",), [], swap_leads=True)
    assert found.evidence is None


def test_records_with_damaged_evidence_are_left_out_by_name_and_the_rest_is_read(own: Path) -> None:
    (own / "s001.evidence.csv").unlink()
    (own / "s003.evidence.csv").write_text("a,b\n1,2\n")
    which, skipped = simulated_database(own), []
    found = list(read_records(which, own, which.records, skipped, swap_leads=True))
    assert [recording.record for recording in found] == ["s002"]
    assert [item.record for item in skipped] == ["s001", "s003"]
    assert "s001.evidence.csv is missing" in skipped[0].reason
    assert "s003.evidence.csv is not a table" in skipped[1].reason


def test_a_simulated_database_is_simulated_by_its_kind_not_by_its_name(folder: Path) -> None:
    which = replace(simulated_database(folder), kind="real")
    assert next(read_records(which, folder, ("s001",), [], swap_leads=True)).evidence is None


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"ecglens": "1", "settings": []}', '{"settings": {"seed": 1}, "ecglens": 1}', "\x00"],
)
def test_a_damaged_cohort_json_is_refused_in_one_line(own: Path, content: str) -> None:
    (own / "cohort.json").write_text(content, encoding="utf-8")
    with pytest.raises(EcglensError, match=r"cohort\.json is not the description of a simulated cohort \(") as error:
        simulated_database(own)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"), [("sha256", None), ("sha256", [1, 2]), ("a_few", 3), ("settings", {"seed": 0}), ("ecglens", None)]
)
def test_a_cohort_json_with_a_wrong_part_is_refused(own: Path, key: str, value: object) -> None:
    about = json.loads((own / "cohort.json").read_text(encoding="utf-8"))
    if value is None:
        del about[key]
    else:
        about[key] = value
    (own / "cohort.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(EcglensError, match="is not the description of a simulated cohort"):
        simulated_database(own)


def test_bytes_that_are_no_text_are_refused(own: Path) -> None:
    (own / "cohort.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(EcglensError, match="UnicodeDecodeError"):
        simulated_database(own)
