"""What is known about databases, against what the publishers give out, and records that cannot be used."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import wfdb

from ecglens.errors import EcglensError
from ecglens.recordings.databases import DATABASES, Skipped, database, read_records
from ecglens.recordings.recording import Recording
from ecglens.recordings.simulated import simulated_database
from ecglens.simulation.cohort import write_cohort
from ecglens.simulation.settings import Settings, with_settings

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
    known = "cinc2020, cpsc2018, ltafdb, ltdb, ludb, mitdb, ptbdb, ptbxl"
    with pytest.raises(EcglensError, match=rf"unknown database 'mitbd'; did you mean 'mitdb'\? \(choose from: {known}\)"):
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


# ------------------------------------------------------------------------------------------------ databases without a list


def test_long_term_databases_are_known_by_their_facts_and_have_no_invented_checksums() -> None:
    for name, n_records in {"ltafdb": 84, "ltdb": 7}.items():
        which = database(name)
        assert (which.n_records, which.fs, which.n_leads, which.checksums, which.records) == (n_records, 128.0, 2, {}, ())
        assert which.address == f"https://physionet.org/files/{name}/1.0.0/"
        assert "Attribution" in which.licence


def test_patients_of_ltafdb_are_not_those_of_mitdb_with_records_of_the_same_names(tmp_path: Path, write_record) -> None:
    for name in ("mitdb", "ltafdb"):
        write_record(tmp_path / name, "100", seconds=5, fs=database(name).fs)
    found = [
        next(read_records(database(name), tmp_path / name, ("100",), [], swap_leads=True)) for name in ("mitdb", "ltafdb")
    ]
    assert [each.patient for each in found] == ["100", "ltafdb/100"]
    assert [each.record for each in found] == ["100", "100"]


# ------------------------------------------------------------------------------------------------ rates that no heart has


def rate_of(recording: Recording) -> float:
    """The median heart rate, beat by beat."""
    beats = recording.annotations.beats().sample.tolist()
    return 60 / median((b - a) / recording.fs for a, b in pairwise(beats))


def claim(folder: Path, record: str, fs: float, instead: float) -> None:
    """The header says another sampling rate; nothing else changes."""
    path = folder / f"{record}.hea"
    lines = path.read_text().splitlines()
    words = lines[0].split()
    assert float(words[2]) == fs
    path.write_text("\n".join([" ".join([*words[:2], f"{instead:g}", *words[3:]]), *lines[1:]]) + "\n")


def test_no_real_heart_is_refused(real_recordings: dict[str, Recording]) -> None:
    rates = sorted(rate_of(each) for each in real_recordings.values())
    assert (round(rates[0], 1), round(rates[-1], 1)) == (50.1, 112.5)


def test_no_simulated_heart_is_refused(tmp_path: Path) -> None:
    settings = Settings(patients=6, minutes=1.1, carriers={}, beats={}, seed=2)
    fast = with_settings(settings, ["heart_rate=150", "heart_rate_spread=0.3"])
    for each in (settings, fast):
        folder = write_cohort(each, tmp_path / f"rate {each.heart_rate}")
        which, skipped = simulated_database(folder), []
        found = list(read_records(which, folder, which.records, skipped, swap_leads=True))
        assert (len(found), skipped) == (6, [])
        highest = max(rate_of(recording) for recording in found)
    assert highest > 150


def test_128_hz_data_given_as_360_hz_are_refused_with_the_rates_that_would_make_sense(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "100", seconds=90, fs=128, beats="N")
    claim(tmp_path, "100", 128, 360)
    # still a minute at the claimed rate? 90 s of 128 Hz are 32 s of 360 Hz: too short to tell
    found, skipped = read(tmp_path, "100")
    assert (len(found), skipped) == (1, [])
    write_record(tmp_path, "101", seconds=180, fs=128, beats="N")
    claim(tmp_path, "101", 128, 360)
    found, skipped = read(tmp_path, "101")
    assert found == []
    (reason,) = (item.reason for item in skipped)
    assert re.fullmatch(
        r"101 has a median of 21\d beats a minute at the 360 Hz of its header; expected 25 to 150; "
        r"it may be 100 or 125 or 128 or 200 Hz data given as 360 Hz",
        reason,
    )


def test_a_rate_that_no_sampling_rate_explains_asks_for_a_look_at_the_marks(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "100", seconds=70)
    wfdb.wrann("100", "atr", np.array([50, 51, 52]), np.array(["N"] * 3), write_dir=str(tmp_path))
    write_record(tmp_path, "101", seconds=70)
    wfdb.wrann("101", "atr", np.array([50, 50, 50, 9000]), np.array(["N"] * 4), write_dir=str(tmp_path))
    found, skipped = read(tmp_path, "100", "101")
    assert found == []
    assert [item.reason.split("; ")[-1] for item in skipped] == ["check its beat marks"] * 2
    assert "21600 beats a minute" in skipped[0].reason


@pytest.mark.parametrize(("beats_apart", "fine"), [(2.3, True), (2.5, False), (0.41, True), (0.39, False)])
def test_the_limits_are_25_and_150_beats_a_minute(tmp_path: Path, write_record, beats_apart: float, fine: bool) -> None:
    write_record(tmp_path, "100", seconds=61)
    marks = np.arange(0, 60, beats_apart) * 360
    wfdb.wrann("100", "atr", marks.astype(np.int64), np.array(["N"] * len(marks)), write_dir=str(tmp_path))
    found, skipped = read(tmp_path, "100")
    assert (len(found), len(skipped)) == ((1, 0) if fine else (0, 1))
    if beats_apart == 2.5:
        assert skipped[0].reason.endswith("it may be 1000 Hz data given as 360 Hz")


def test_one_beat_in_a_minute_is_no_heart_rate(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "100", seconds=61)
    wfdb.wrann("100", "atr", np.array([500]), np.array(["N"]), write_dir=str(tmp_path))
    assert len(read(tmp_path, "100")[0]) == 1
