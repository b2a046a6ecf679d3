"""PTB-XL, LUDB, PTB and CPSC2018: real records, and real records put into formats that are not at hand."""

from __future__ import annotations

import ast
import csv
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.io
import wfdb

from ecglens.errors import EcglensError
from ecglens.recordings.challenge_header import cpsc_table
from ecglens.recordings.challenge_reader import read_challenge
from ecglens.recordings.databases import Skipped, database, read_records
from ecglens.recordings.ludb_reader import ludb_waves, read_ludb
from ecglens.recordings.places import LIST, checksums_in, records_present, verify
from ecglens.recordings.ptbxl_reader import ptbxl_left_out, ptbxl_rows, ptbxl_superclasses, ptbxl_table
from ecglens.recordings.recording import Recording, Waves
from recordings.twelve_made import LEADS, heart, units, write_challenge


def folder_of(data_root: Path, name: str) -> Path:
    if not (data_root / name).is_dir():
        pytest.skip(f"ECGLENS_DATA holds no {name}/")
    return data_root / name


def read(name: str, folder: Path, *records: str) -> tuple[list[Recording], list[Skipped]]:
    skipped: list[Skipped] = []
    return list(read_records(database(name), folder, records, skipped, swap_leads=True)), skipped


# ------------------------------------------------------------------------------------------------ PTB-XL


def test_ptbxl_table_is_what_the_csv_says(data_root: Path) -> None:
    folder = folder_of(data_root, "ptbxl")
    table = ptbxl_table(folder)
    with (folder / "scp_statements.csv").open() as file:
        classes = {row[""]: row["diagnostic_class"] for row in csv.DictReader(file) if row["diagnostic"] == "1.0"}
    assert ptbxl_superclasses(folder) == classes
    with (folder / "ptbxl_database.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(table) == len(rows) == 2980
    for row in rows[::7]:
        found, codes = table.loc[int(row["ecg_id"])], ast.literal_eval(row["scp_codes"])
        assert found.patient == str(int(float(row["patient_id"])))
        assert (found.strat_fold, found.scp_codes) == (int(row["strat_fold"]), codes)
        assert found.sex == ("F" if row["sex"] == "1" else "M")
        assert found.heart_axis == row["heart_axis"]
        assert found.report == row["report"]
        assert set(found.superclasses) == {classes[code] for code in codes if code in classes}
        hidden = row["age"] in ("", "300.0")
        assert np.isnan(found.age) if hidden else found.age == float(row["age"])
        assert (found.remark is not None) == (row["age"] == "300.0")
    assert table.patient.nunique() == 2893
    assert (table.groupby("patient").strat_fold.nunique() == 1).all()


def test_ptbxl_records_are_wfdbs_at_both_rates(data_root: Path) -> None:
    folder = folder_of(data_root, "ptbxl")
    there, missing = records_present(database("ptbxl"), folder)
    assert (len(there), missing, there[0]) == (2980, (), "00001_lr")
    found, skipped = read("ptbxl", folder, "00001_lr", "00001_hr", "00009_lr", "99999_lr", "../x")
    assert [(each.record, each.fs, each.signal.shape) for each in found] == [
        ("00001_lr", 100, (12, 1000)), ("00001_hr", 500, (12, 5000)), ("00009_lr", 100, (12, 1000)),
    ]  # fmt: skip
    assert [each.record for each in skipped] == ["99999_lr", "../x"]
    for each in found:
        place = folder / f"records{each.fs:g}00000"[:-5] / "00000" / each.record
        wanted = wfdb.rdrecord(str(place))
        np.testing.assert_array_equal(each.signal, wanted.p_signal.T.astype(np.float32))
        assert each.leads == LEADS
        assert [name.upper() for name in each.leads] == wanted.sig_name
    assert {found[0].patient, found[1].patient} == {"ptbxl/15709"}
    assert found[0].diagnoses == ("NORM", "LVOLT", "SR")
    assert (found[0].age, found[0].sex) == (56.0, "F")


def test_ptbxl_tables_that_are_missing_or_damaged_are_one_line(data_root: Path, tmp_path: Path) -> None:
    folder = folder_of(data_root, "ptbxl")
    (tmp_path / "records100" / "00000").mkdir(parents=True)
    for name in ("00001_lr.hea", "00001_lr.dat", "00002_lr.hea", "00002_lr.dat"):
        shutil.copy(folder / "records100" / "00000" / name, tmp_path / "records100" / "00000" / name)
    with pytest.raises(EcglensError, match=r"ptbxl_database.csv is missing in .*; it is part of PTB-XL's official folder"):
        read("ptbxl", tmp_path, "00001_lr")
    shutil.copy(folder / "scp_statements.csv", tmp_path)
    lines = (folder / "ptbxl_database.csv").read_text().splitlines()
    (tmp_path / "ptbxl_database.csv").write_text("\n".join(lines[:2]) + "\n")
    found, skipped = read("ptbxl", tmp_path, "00001_lr", "00002_lr")
    assert [each.record for each in found] == ["00001_lr"]
    assert [each.reason for each in skipped] == ["00002_lr has no row in ptbxl_database.csv; expected one for each record"]
    spoilt = {"{'NORM'": "__import__('os').getcwd() or {'NORM'", "15709.0": "somebody"}
    for old, new in spoilt.items():
        (tmp_path / "ptbxl_database.csv").write_text("\n".join([lines[0], lines[1].replace(old, new)]) + "\n")
        with pytest.raises(EcglensError, match=r"ptbxl_database.csv: (scp_codes|patient_id) of ecg_id 1 is "):
            ptbxl_table(tmp_path)
    (tmp_path / "ptbxl_database.csv").write_text(lines[0] + "\n")
    with pytest.raises(EcglensError, match=r"ptbxl_database.csv has no row; expected one for each record"):
        ptbxl_table(tmp_path)
    (tmp_path / "ptbxl_database.csv").write_text("\n".join([lines[0], lines[1], lines[1]]) + "\n")
    with pytest.raises(EcglensError, match="two rows of ecg_id 1"):
        ptbxl_table(tmp_path)


def test_a_row_that_cannot_be_read_is_named_and_the_rest_goes_on(data_root: Path, tmp_path: Path) -> None:
    folder = folder_of(data_root, "ptbxl")
    (tmp_path / "records100" / "00000").mkdir(parents=True)
    for number in range(1, 6):
        for ending in ("hea", "dat"):
            shutil.copy(folder / "records100" / "00000" / f"0000{number}_lr.{ending}", tmp_path / "records100" / "00000")
    shutil.copy(folder / "scp_statements.csv", tmp_path)
    with (folder / "ptbxl_database.csv").open() as file:
        rows = list(csv.DictReader(file))
    rows[1]["patient_id"], rows[3]["scp_codes"] = "", "none"
    rows[4]["ecg_id"] = "five"
    write_table(tmp_path / "ptbxl_database.csv", rows)
    found, skipped = read("ptbxl", tmp_path, *(f"0000{number}_lr" for number in range(1, 6)))
    assert [each.record for each in found] == ["00001_lr", "00003_lr"]
    assert [each.record for each in skipped] == ["00002_lr", "00004_lr", "00005_lr"]
    assert "ptbxl_database.csv: patient_id of ecg_id 2 is ''; expected a whole number" in skipped[0].reason
    assert "scp_codes of ecg_id 4 is 'none'" in skipped[1].reason
    assert len(ptbxl_table(tmp_path)) == 2977
    assert set(ptbxl_left_out(tmp_path)) == {f"0000{number}_{rate}" for number in (2, 4, 5) for rate in ("lr", "hr")}
    assert ptbxl_left_out(folder) == {}


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def test_the_table_is_parsed_once_and_again_when_a_file_is_another(data_root: Path, tmp_path: Path) -> None:
    for name in ("ptbxl_database.csv", "scp_statements.csv"):
        shutil.copy(folder_of(data_root, "ptbxl") / name, tmp_path)
    first = ptbxl_table(tmp_path)
    wanted = first.loc[1, "strat_fold"]
    first.loc[1, "strat_fold"] = 77
    again = ptbxl_table(tmp_path)
    assert again.loc[1, "strat_fold"] == wanted
    assert again.loc[1, "scp_codes"] is first.loc[1, "scp_codes"]
    lines = (tmp_path / "ptbxl_database.csv").read_text().splitlines()
    (tmp_path / "ptbxl_database.csv").write_text("\n".join(lines[:3]) + "\n")
    assert len(ptbxl_table(tmp_path)) == 2
    (tmp_path / "scp_statements.csv").unlink()
    with pytest.raises(EcglensError, match=r"scp_statements.csv is missing"):
        ptbxl_table(tmp_path)


def test_the_hearts_axis_is_among_the_diagnoses_where_the_table_has_it(data_root: Path) -> None:
    folder = folder_of(data_root, "ptbxl")
    with (folder / "ptbxl_database.csv").open() as file:
        axis = {f"{int(row['ecg_id']):05}_lr": row["heart_axis"] for row in csv.DictReader(file)}
    some = [next(name for name in axis if axis[name] == wanted) for wanted in ("", "LAD", "ALAD", "RAD", "ARAD", "MID")]
    found, skipped = read("ptbxl", folder, *some)
    assert skipped == []
    for each in found:
        said = [label for label in each.diagnoses if "axis" in label]
        assert said == ([f"heart_axis={axis[each.record]}"] if axis[each.record] else [])


def test_superclasses_are_of_diagnostic_statements_alone(tmp_path: Path) -> None:
    rows = [",description,diagnostic,form,rhythm,diagnostic_class", "IMI,x,1.0,,,MI", "NT_,x,,1.0,,STTC", "XX,x,1.0,,,"]
    (tmp_path / "scp_statements.csv").write_text("\n".join(rows) + "\n")
    assert ptbxl_superclasses(tmp_path) == {"IMI": "MI"}


def test_the_command_line_lists_and_verifies_them(data_root: Path, ecglens: Any) -> None:
    listed = ecglens("data", "list").out
    for name in ("cinc2020", "cpsc2018", "ludb", "ptbdb", "ptbxl"):
        assert f"{database(name).title} {database(name).version}: {database(name).n_records} records, 12 leads" in listed
        assert database(name).lead_facts[0] in listed
    folder = folder_of(data_root, "ptbxl")
    complaint = ecglens("data", "verify", "ptbxl", "--data", folder.parent).complaint
    assert "holds 2980 records of ptbxl and no SHA256SUMS.txt: there is nothing to compare them with" in complaint
    complaint = ecglens("data", "fetch", "cpsc2018", "--data", "nowhere").complaint
    assert "given out as archives" in complaint


def test_ptbxl_rows_are_found_by_the_names_of_both_files(data_root: Path) -> None:
    rows = ptbxl_rows(ptbxl_table(folder_of(data_root, "ptbxl")))
    assert rows["00001_lr"] == rows["00001_hr"]
    assert len(rows) == 2 * 2980


# ------------------------------------------------------------------------------------------------ LUDB


def test_ludbs_limb_leads_sum_by_one_gain_and_not_by_the_headers(data_root: Path) -> None:
    folder = folder_of(data_root, "ludb")
    there, _ = records_present(database("ludb"), folder)
    assert len(there) == 200
    found, skipped = read("ludb", folder, *there[:20])
    assert skipped == []
    for each in found:
        published = wfdb.rdrecord(str(folder / "data" / each.record))
        by_header = published.p_signal.T
        np.testing.assert_allclose(np.ptp(by_header, axis=1), 1, atol=0.003)
        digital = np.fromfile(folder / "data" / f"{each.record}.dat", "<i2").reshape(-1, 12).T
        np.testing.assert_array_equal(each.signal, digital.astype(np.float32) / np.float32(1000))
        # III = II - I to the unit
        np.testing.assert_array_equal(digital[2], digital[1] - digital[0])
        assert "one gain for all, read as 1000/mV" in each.remarks[0]
        assert (each.leads, each.patient) == (LEADS, f"ludb/{each.record}")
    first = next(each for each in found if each.record == "1")
    assert (first.age, first.sex) == (51.0, "F")
    assert first.diagnoses[:2] == ("Rhythm: Sinus bradycardia", "Electric axis of the heart: left axis deviation")


def rows_of(waves: Waves) -> list[SimpleNamespace]:
    names = ("lead", "kind", "start", "peak", "stop")
    columns = [getattr(waves, name).tolist() for name in names]
    return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def test_waves_of_ludb_are_the_marks_lead_by_lead(data_root: Path) -> None:
    folder = folder_of(data_root, "ludb")
    for record in ("1", "7", "104"):
        drawn, remarks = ludb_waves(folder / "data" / f"{record}.hea", 5000)
        waves = rows_of(drawn)
        for lead in LEADS:
            marks = wfdb.rdann(str(folder / "data" / record), lead.lower())
            mine = [wave for wave in waves if wave.lead == lead]
            peaks = [(s, y) for s, y in zip(marks.sample.tolist(), marks.symbol, strict=True) if y in "pNt"]
            assert [(w.peak, {"P": "p", "QRS": "N", "T": "t"}[w.kind]) for w in mine] == peaks
            ends = sorted([w.start for w in mine if w.start >= 0] + [w.stop for w in mine if w.stop >= 0])
            assert ends == sorted(s for s, y in zip(marks.sample.tolist(), marks.symbol, strict=True) if y in "()")
        assert all(w.start <= w.peak + 3 and (w.stop < 0 or w.peak <= w.stop) for w in waves)
        assert (remarks == ()) == (record == "1")
        recording = read_ludb(folder / "data" / f"{record}.hea")
        assert recording.waves is not None
        assert rows_of(recording.waves) == waves
        assert [each.startswith("waves as drawn: ") for each in recording.remarks] == [False] + [True] * (record != "1")
    remarks = ludb_waves(folder / "data" / "7.hea", 5000)[1]
    assert "7.v1: QRS at sample 968 has no start" in remarks
    assert "7.v1: QRS from 1766 to 1796 has its peak outside, at sample 1765" in remarks


def test_ludb_is_verified_by_the_publishers_list(data_root: Path, tmp_path: Path) -> None:
    folder = folder_of(data_root, "ludb")
    wanted = checksums_in(database("ludb"), folder)
    assert (len(wanted), sum(name.endswith(".hea") for name in wanted)) == (2801, 200)
    (tmp_path / "data").mkdir()
    few = [line for line in (folder / LIST).read_text().splitlines() if line.split()[1] in ("data/1.hea", "data/1.dat")]
    (tmp_path / LIST).write_text("\n".join([*few, f"{'0' * 64} ../../stolen.hea", f"{'0' * 64} data/../1.hea"]) + "\n")
    shutil.copy(folder / "data" / "1.hea", tmp_path / "data")
    (tmp_path / "data" / "1.dat").write_bytes(b"xx")
    checks = {check.name: check.state for check in verify(database("ludb"), tmp_path)}
    assert checks == {"data/1.hea": "ok", "data/1.dat": "wrong checksum"}


def test_a_missing_wave_file_of_ludb_is_one_line(data_root: Path, tmp_path: Path) -> None:
    for path in (folder_of(data_root, "ludb") / "data").glob("1.*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "1.v3").unlink()
    with pytest.raises(EcglensError, match=r"1\.v3 is missing in .*: the waves of lead V3; fetch it again"):
        ludb_waves(tmp_path / "1.hea", 5000)
    found = read_ludb(tmp_path / "1.hea")
    assert (found.leads, found.waves) == (LEADS, None)
    assert found.remarks[-1].startswith("without waves: 1.v3 is missing in ")


def test_waves_behind_the_signals_end_are_refused(data_root: Path) -> None:
    path = folder_of(data_root, "ludb") / "data" / "1.hea"
    last = int(max(ludb_waves(path, 5000)[0].stop))
    assert ludb_waves(path, last + 1)[0].stop.max() == last
    with pytest.raises(
        EcglensError, match=r"1\.[a-z0-9]+ has a wave behind the signal's end; the files do not belong together"
    ):
        ludb_waves(path, last)


# ------------------------------------------------------------------------------------------------ formats not at hand


def as_cpsc(folder: Path, record: str, signal: np.ndarray, sex: str = "Male", age: object = 74) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / f"{record}.mat", {"ECG": {"sex": sex, "age": age, "data": signal}}, do_compression=True)


def test_real_records_in_cpscs_own_format_are_as_in_the_challenges(data_root: Path, tmp_path: Path) -> None:
    source = folder_of(data_root, "cinc2020") / "records"
    records = ("A0001", "A0002", "A0004", "A0018")
    wanted = [read_challenge(source, record) for record in records]
    for each in wanted:
        as_cpsc(
            tmp_path / "TrainingSet1",
            each.record,
            each.signal.astype(np.float64),
            {"M": "Male", "F": "Female"}[each.sex],
            each.age,
        )
    numbers = {"59118001": 5, "426783006": 1, "164889003": 2, "164909002": 4}
    rows = [f"{each.record},{numbers[each.diagnoses[0]]},," for each in wanted]
    (tmp_path / "TrainingSet1" / "REFERENCE.csv").write_text(
        "\n".join(["Recording,First_label,Second_label,Third_label", *rows])
    )
    there, _ = records_present(database("cpsc2018"), tmp_path)
    assert there == records
    found, skipped = read("cpsc2018", tmp_path, *there)
    assert skipped == []
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine.signal, theirs.signal)
        assert (mine.diagnoses, mine.age, mine.sex, mine.fs) == (theirs.diagnoses, theirs.age, theirs.sex, 500)
        assert mine.remarks == ()
    assert found[0].patient == "cpsc2018/A0001"


def test_labels_of_cpsc_up_to_three_and_those_nobody_knows(tmp_path: Path) -> None:
    for record in ("A1", "A2", "A3"):
        as_cpsc(tmp_path, record, heart())
    (tmp_path / "REFERENCE.csv").write_text("Recording,First_label,Second_label,Third_label\nA1,2,5,9\nA2,12,,\n")
    found, _ = read("cpsc2018", tmp_path, "A1", "A2", "A3")
    assert [each.diagnoses for each in found] == [("164889003", "59118001", "164931005"), ("12",), ()]
    assert found[2].remarks == ("no label: REFERENCE.csv has no row of it",)
    assert [row["word"] for row in cpsc_table()][6] == "PVC"


def test_bad_files_of_cpsc_are_named(tmp_path: Path) -> None:
    as_cpsc(tmp_path, "good", heart())
    as_cpsc(tmp_path, "two", heart()[:2])
    as_cpsc(tmp_path, "volts", heart() / 1000)
    as_cpsc(tmp_path, "one", heart()[:, :1])
    as_cpsc(tmp_path, "infinite", np.where(heart() > 1, np.inf, heart()))
    as_cpsc(tmp_path, "words", np.array([["a", "b"]]))
    lost = heart()
    lost[2] = np.nan
    as_cpsc(tmp_path, "nan", lost)
    scipy.io.savemat(tmp_path / "plain.mat", {"val": heart()})
    (tmp_path / "text.mat").write_text("no")
    with pytest.raises(EcglensError, match=r"holds no REFERENCE.csv"):
        read("cpsc2018", tmp_path, "good")
    (tmp_path / "REFERENCE.csv").write_text("Recording,First_label\ngood,1\n")
    found, skipped = read("cpsc2018", tmp_path, *sorted(path.stem for path in tmp_path.glob("*.mat")))
    assert [each.record for each in found] == ["good"]
    reasons = {each.record: each.reason for each in skipped}
    for record, part in {
        "two": "twelve leads by time", "volts": "beats are 0.0", "one": "has 1 sample", "infinite": "infinite samples",
        "words": "ECG.data is", "nan": "no valid sample in lead III", "plain": "no struct ECG", "text": "is not a MATLAB file",
    }.items():  # fmt: skip
        assert part in reasons.pop(record)
    assert reasons == {}


def test_real_records_in_ptbs_format_with_frank_leads_beside(data_root: Path, tmp_path: Path) -> None:
    wanted = read_challenge(folder_of(data_root, "cinc2020") / "records", "S0001")
    folder = tmp_path / "patient001"
    folder.mkdir()
    digital = np.rint(wanted.signal.astype(np.float64) * 2000).astype(np.int16)
    frank = digital[[6, 7, 8]] // 3
    digital.T.tofile(folder / "s0010_re.dat")
    frank.T.tofile(folder / "s0010_re.xyz")
    lines = [f"s0010_re 15 1000 {digital.shape[1]}"]
    names = [lead.lower() for lead in LEADS]
    for name, row in zip([*names, "vx", "vy", "vz"], [*digital, *frank], strict=True):
        file = "s0010_re.xyz" if name in ("vx", "vy", "vz") else "s0010_re.dat"
        total = (int(row.sum(dtype=np.int64)) + 2**15) % 2**16 - 2**15
        lines.append(f"{file} 16 2000 16 0 {row[0]} {total} 0 {name}")
    comments = ["age: 81", "sex: female", "Diagnose:", "Reason for admission: Myocardial infarction"]
    comments += [
        "Acute infarction (localization): infero-latera",
        "Former infarction (localization): no",
        "Additional diagnoses: Diabetes",
    ]
    (folder / "s0010_re.hea").write_text("\n".join([*lines, *(f"# {each}" for each in comments)]) + "\n")
    assert records_present(database("ptbdb"), tmp_path)[0] == ("s0010_re",)
    (found,), skipped = read("ptbdb", tmp_path, "s0010_re")
    assert skipped == []
    np.testing.assert_array_equal(found.signal, wfdb.rdrecord(str(folder / "s0010_re")).p_signal.T[:12].astype(np.float32))
    np.testing.assert_allclose(found.signal, wanted.signal, atol=3e-4)
    assert (found.patient, found.age, found.sex, found.fs) == ("ptbdb/patient001", 81.0, "F", 1000)
    assert found.diagnoses == ("Myocardial infarction", "infero-latera", "Diabetes")
    assert found.remarks == ("vx, vy, vz left out: not of the twelve standard leads",)
    (folder / "s0010_re.xyz").unlink()
    assert "s0010_re.xyz cannot be read" in read("ptbdb", tmp_path, "s0010_re")[1][0].reason


def test_ptbs_gain_is_the_headers_or_none(tmp_path: Path) -> None:
    write_challenge(tmp_path / "patient001", "s1", units(heart()), gain="2000000/mV", fs=1000)
    _, (skipped,) = read("ptbdb", tmp_path, "s1")
    assert "would fit: mend the header" in skipped.reason


def test_each_new_database_says_what_must_be_known() -> None:
    for name in ("cinc2020", "cpsc2018", "ludb", "ptbdb", "ptbxl"):
        which = database(name)
        assert which.n_leads == 12
        assert which.licence
        assert which.citation
        assert which.address.startswith("http")
        assert which.n_records > 0
        assert which.lead_facts
    assert Counter(database(name).patients_named for name in ("cinc2020", "cpsc2018", "ptbdb", "ptbxl")) == {True: 2, False: 2}


def test_a_folder_without_records_says_what_was_expected(tmp_path: Path) -> None:
    for name, part in {"ptbxl": "records100/", "ludb": "data/", "cpsc2018": "mat"}.items():
        with pytest.raises(EcglensError, match=rf"holds no record of {name}; expected files such as .*{part}"):
            records_present(database(name), tmp_path)
