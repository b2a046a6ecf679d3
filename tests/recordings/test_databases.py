"""What is known about mitdb, against what the publisher gives out."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecglens.errors import EcglensError
from ecglens.recordings.databases import DATABASES, Skipped, database, read_records
from ecglens.recordings.recording import Recording

MITDB = DATABASES["mitdb"]


def read(folder: Path, *records: str, swap_leads: bool = True) -> tuple[list[Recording], list[Skipped]]:
    skipped: list[Skipped] = []
    return list(read_records(MITDB, folder, records, skipped, swap_leads=swap_leads)), skipped


def test_mitdb_has_145_checksums_of_48_records() -> None:
    assert len(MITDB.checksums) == 145
    assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in MITDB.checksums.values())
    assert len(MITDB.records) == 48
    assert (MITDB.records[0], MITDB.records[-1]) == ("100", "234")
    assert {f"{name}.{end}" for name in MITDB.records for end in ("hea", "dat", "atr")} <= set(MITDB.checksums)


def test_two_records_of_one_person_are_one_patient() -> None:
    assert MITDB.patient("201") == MITDB.patient("202") == "201"
    assert len({MITDB.patient(record) for record in MITDB.records}) == 47


def test_an_unknown_database_is_answered_with_the_known_ones() -> None:
    with pytest.raises(EcglensError, match=r"unknown database 'mitbd'; did you mean 'mitdb'\? \(choose from: mitdb\)"):
        database("mitbd")


def test_the_checksums_are_the_publishers(real_mitdb: Path) -> None:
    lines = (real_mitdb / "SHA256SUMS.txt").read_text().splitlines()
    published = {name: digest for digest, name in (line.split() for line in lines)}
    assert all(published[name] == digest for name, digest in MITDB.checksums.items())
    assert hashlib.sha256((real_mitdb / "232.dat").read_bytes()).hexdigest() == MITDB.checksums["232.dat"]


def test_every_real_header_is_as_the_database_says(real_mitdb: Path) -> None:
    swapped, without_mlii = [], []
    for record in MITDB.records:
        header = wfdb.rdheader(str(real_mitdb / record))
        assert (header.fs, header.n_sig, header.sig_len) == (MITDB.fs, MITDB.n_leads, 650_000)
        if "MLII" not in header.sig_name:
            without_mlii.append(record)
        elif header.sig_name[0] != "MLII":
            swapped.append(record)
    assert swapped == list(MITDB.lead_order) == ["114"]
    assert without_mlii == ["102", "104"]


def test_all_real_records_are_read_with_the_published_numbers_of_marks(real_recordings: dict[str, Recording]) -> None:
    assert list(real_recordings) == list(MITDB.records)
    assert sum(len(each.annotations.sample) for each in real_recordings.values()) == 112_647
    assert sum(int(each.annotations.is_beat.sum()) for each in real_recordings.values()) == 109_494
    assert len({each.patient for each in real_recordings.values()}) == 47
    assert {each.signal.shape for each in real_recordings.values()} == {(2, 650_000)}


def test_real_record_114_gets_its_leads_swapped_back_and_no_other_is_touched(
    real_mitdb: Path, real_recordings: dict[str, Recording]
) -> None:
    (as_recorded,), _ = read(real_mitdb, "114", swap_leads=False)
    assert as_recorded.leads == ("V5", "MLII")
    mended = real_recordings["114"]
    assert mended.leads == ("MLII", "V5")
    assert len(mended.remarks) == 1
    np.testing.assert_array_equal(mended.signal, as_recorded.signal[::-1])
    assert [name for name, each in real_recordings.items() if each.remarks] == ["114"]


def test_record_114_keeps_leads_that_are_in_order_already(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "114", leads=("MLII", "V5"), seconds=5)
    (found,), _ = read(tmp_path, "114")
    assert (found.leads, found.remarks) == (("MLII", "V5"), ())


def test_record_114_with_other_leads_is_read_or_named_but_no_crash(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "114", leads=("V1", "V2"), seconds=5)
    found, skipped = read(tmp_path, "114")
    assert [each.leads for each in found] == [("V1", "V2")] or [item.record for item in skipped] == ["114"]


def test_what_cannot_be_used_is_skipped_by_name_and_the_rest_is_read_in_order(tmp_path: Path, write_record) -> None:
    for record in ("100", "102", "103"):
        write_record(tmp_path, record, seconds=5)
    write_record(tmp_path, "101", seconds=5, fs=250)
    found, skipped = read(tmp_path, "103", "101", "100", "105", "102")
    assert [each.record for each in found] == ["103", "100", "102"]
    assert [item.record for item in skipped] == ["101", "105"]
    assert "250 Hz" in skipped[0].reason
    assert "105.hea is missing" in skipped[1].reason


@pytest.mark.parametrize("lead", [0, 1])
def test_a_lead_that_is_flat_or_without_a_single_sample_is_refused(tmp_path: Path, write_record, lead: int) -> None:
    def flat(digital: np.ndarray) -> None:
        digital[:, lead] = 1100

    def absent(digital: np.ndarray) -> None:
        digital[:, lead] = -2048

    def flat_where_present(digital: np.ndarray) -> None:
        digital[:, lead] = 1100
        digital[50:90, lead] = -2048

    for record, edit in {"100": flat, "101": absent, "103": flat_where_present}.items():
        write_record(tmp_path, record, seconds=5, edit=edit)
    found, skipped = read(tmp_path, "100", "101", "103")
    assert found == []
    assert [item.reason.split(" of ")[0] for item in skipped] == [f"lead {('MLII', 'V1')[lead]}"] * 3


def test_a_record_without_beat_marks_is_refused(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "100", seconds=5, beats="N")
    wfdb.wrann("100", "atr", np.array([50]), np.array(["+"]), aux_note=["(N"], write_dir=str(tmp_path))
    write_record(tmp_path, "101", seconds=5)
    (tmp_path / "101.atr").write_bytes(b"")
    found, skipped = read(tmp_path, "100", "101")
    assert found == []
    assert [item.reason for item in skipped] == ["100.atr has no beat marks", "101.atr has no beat marks"]


def test_a_lead_with_some_invalid_samples_is_read(tmp_path: Path, write_record) -> None:
    def gap(digital: np.ndarray) -> None:
        digital[50:90, 0] = -2048

    write_record(tmp_path, "100", seconds=5, edit=gap)
    (found,), skipped = read(tmp_path, "100")
    assert skipped == []
    assert np.isnan(found.signal[0]).sum() == 40
    assert not np.isnan(found.signal[1]).any()


def test_the_order_of_leads_comes_from_the_database(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "100", leads=("X", "Y"), seconds=5)
    which = replace(MITDB, lead_order={"100": ("Y", "X")})
    (found,) = read_records(which, tmp_path, ("100",), [], swap_leads=True)
    assert found.leads == ("Y", "X")
