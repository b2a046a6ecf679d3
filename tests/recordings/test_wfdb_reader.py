"""Records come out of the reader as wfdb gives them, or with a word on what is wrong."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.recordings.wfdb_reader import read_wfdb


def expect_like_wfdb(folder: Path, record: str) -> None:
    """Signal, leads, rate and marks as wfdb.rdsamp and wfdb.rdann have them."""
    signal, about = wfdb.rdsamp(str(folder / record))
    marks = wfdb.rdann(str(folder / record), "atr")
    found = read_wfdb(folder, record)
    assert found.signal.dtype == np.float32
    assert found.signal.flags.c_contiguous
    np.testing.assert_allclose(found.signal, signal.T, rtol=1e-6, atol=1e-5)
    assert (found.fs, found.leads) == (about["fs"], tuple(about["sig_name"]))
    np.testing.assert_array_equal(found.annotations.sample, marks.sample)
    assert found.annotations.symbol.tolist() == marks.symbol
    assert found.annotations.note.tolist() == [note.rstrip("\x00") for note in marks.aux_note]


@pytest.mark.parametrize("record", ["100", "114", "207"])
def test_a_real_record_is_what_wfdb_reads(real_mitdb: Path, record: str) -> None:
    expect_like_wfdb(real_mitdb, record)


@pytest.mark.parametrize("fmt", ["16", "24", "32", "80", "212"])
def test_a_record_of_any_format_is_what_wfdb_reads(tmp_path: Path, write_record, fmt: str) -> None:
    def into_eight_bits(digital: np.ndarray) -> None:
        digital[:] = np.clip((digital - 1024) // 4, -127, 127)
        digital[300:310, 0] = {"16": -(2**15), "24": -(2**23), "32": -(2**31), "80": -(2**7), "212": -(2**11)}[fmt]

    write_record(tmp_path, "100", fmt=fmt, seconds=5, edit=into_eight_bits)
    expect_like_wfdb(tmp_path, "100")
    found = read_wfdb(tmp_path, "100").signal
    assert np.flatnonzero(np.isnan(found[0])).tolist() == list(range(300, 310))
    assert not np.isnan(found[1]).any()


@given(
    st.lists(st.integers(-2048, 2047), min_size=2, max_size=40), st.integers(-500, 1500), st.sampled_from([50, 200, 1000.5])
)
def test_every_sample_is_digital_minus_zero_by_gain(
    tmp_path_factory: pytest.TempPathFactory, samples: list[int], zero: int, gain: float
) -> None:
    folder = tmp_path_factory.mktemp("one")
    wfdb.wrsamp(
        "1", fs=360, units=["mV"], sig_name=["I"], d_signal=np.array(samples)[:, None], fmt=["212"], adc_gain=[gain],
        baseline=[zero], write_dir=str(folder),
    )  # fmt: skip
    wfdb.wrann("1", "atr", np.array([1]), np.array(["N"]), write_dir=str(folder))
    slowly = [float("nan") if sample == -2048 else (sample - zero) / gain for sample in samples]
    np.testing.assert_allclose(read_wfdb(folder, "1").signal[0], slowly, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("units", "factor"), [("mV", 1), ("uV", 1e-3), ("V", 1e3), ("MV", 1)])
def test_every_unit_of_voltage_becomes_millivolt(tmp_path: Path, write_record, units: str, factor: float) -> None:
    write_record(tmp_path / "mv", "100", seconds=5)
    write_record(tmp_path / "other", "100", seconds=5, units=units)
    expected = read_wfdb(tmp_path / "mv", "100").signal * factor
    np.testing.assert_allclose(read_wfdb(tmp_path / "other", "100").signal, expected, rtol=1e-6)


def test_age_sex_and_diagnoses_come_from_the_comments(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "100", seconds=5)
    found = read_wfdb(tmp_path, "100")
    assert (found.age, found.sex, found.diagnoses) == (64.0, "F", ("Digoxin",))
    header = (tmp_path / "100.hea").read_text()
    (tmp_path / "100.hea").write_text(header.replace("64 F", "-1 M"))
    found = read_wfdb(tmp_path, "100")
    assert (found.age, found.sex) == (None, "M")
    (tmp_path / "100.hea").write_text(re.sub("#.*\n", "", header))
    found = read_wfdb(tmp_path, "100")
    assert (found.age, found.sex, found.diagnoses) == (None, None, ())


def test_record_and_patient_have_the_names_they_are_given(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "202", seconds=5)
    found = read_wfdb(tmp_path, "202", database="mitdb", patient="201")
    assert (found.database, found.record, found.patient) == ("mitdb", "202", "201")
    assert read_wfdb(tmp_path, "202").patient == "202"


def _with_line_end(folder: Path, ending: str) -> None:
    path = folder / "100.hea"
    path.write_text(path.read_text().replace("\n", f" {ending}\n", 1))


@pytest.mark.parametrize(
    "ending", ["12:00:00 99/99/9999", "25:61:00", "12:00:00 31/02/2020", "12:00 04.06.2020", "15:11:55 2020"]
)
def test_a_date_that_wfdb_rejects_is_ignored_with_a_remark(tmp_path: Path, write_record, ending: str) -> None:
    write_record(tmp_path, "100", seconds=5)
    plain = read_wfdb(tmp_path, "100")
    _with_line_end(tmp_path, ending)
    with pytest.raises(ValueError):
        wfdb.rdheader(str(tmp_path / "100"))
    found = read_wfdb(tmp_path, "100")
    np.testing.assert_array_equal(found.signal, plain.signal)
    assert found.leads == plain.leads
    assert (plain.remarks, len(found.remarks)) == ((), 1)
    assert "date or time" in found.remarks[0]


@pytest.mark.parametrize("ending", ["04-Jun-2020 15:11:55", "15-May-2020 15:35:30", "-", "yesterday"])
def test_a_date_in_any_other_writing_does_not_stop_the_reader(tmp_path: Path, write_record, ending: str) -> None:
    """Versions of wfdb differ in what they take."""
    write_record(tmp_path, "100", seconds=5)
    plain = read_wfdb(tmp_path, "100")
    _with_line_end(tmp_path, ending)
    np.testing.assert_array_equal(read_wfdb(tmp_path, "100").signal, plain.signal)


def test_a_date_that_is_fine_needs_no_remark(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "100", seconds=5)
    _with_line_end(tmp_path, "12:00:00 04/06/2020")
    assert wfdb.rdheader(str(tmp_path / "100")).base_date == datetime.date(2020, 6, 4)
    assert read_wfdb(tmp_path, "100").remarks == ()


def test_a_rejected_date_leaves_the_folder_as_it_was(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "100", seconds=5)
    _with_line_end(tmp_path, "99:99:99")
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    read_wfdb(tmp_path, "100")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def _cut(ending: str, n_bytes: int):
    def damage(folder: Path) -> None:
        path = folder / f"100.{ending}"
        path.write_bytes(path.read_bytes()[:n_bytes])

    return damage


def _swap(ending: str, old: str, new: str):
    def damage(folder: Path) -> None:
        path = folder / f"100.{ending}"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return damage


def _one_sample_changed(folder: Path) -> None:
    content = bytearray((folder / "100.dat").read_bytes())
    content[3000] ^= 1
    (folder / "100.dat").write_bytes(content)


def _marks_of_a_longer_record(folder: Path) -> None:
    wfdb.wrann("100", "atr", np.array([100, 2000, 90_000]), np.array(["N"] * 3), write_dir=str(folder))


def _wrong_checksum(folder: Path) -> None:
    lines = (folder / "100.hea").read_text().splitlines()
    words = lines[1].split()
    words[6] = str((int(words[6]) + 1) % 30000)
    (folder / "100.hea").write_text("\n".join([lines[0], " ".join(words), *lines[2:]]) + "\n")


DAMAGES = {
    "no header": (lambda folder: (folder / "100.hea").unlink(), r"100\.hea is missing"),
    "no marks": (lambda folder: (folder / "100.atr").unlink(), r"100\.atr is missing"),
    "no signal": (lambda folder: (folder / "100.dat").unlink(), r"100\.dat is missing"),
    "signal cut in half": (_cut("dat", 2700), r"100\.dat cannot be read .*(truncated|damaged)"),
    "signal cut by a byte": (_cut("dat", 5399), r"100"),
    "signal empty": (_cut("dat", 0), r"100\.dat cannot be read"),
    "header empty": (_cut("hea", 0), r"100\.hea is not a WFDB header"),
    "header of words": (lambda folder: (folder / "100.hea").write_text("see README\n"), r"100\.hea is not a WFDB header"),
    "header of zeros": (lambda folder: (folder / "100.hea").write_bytes(bytes(200)), r"100\.hea is not a WFDB header"),
    "header without leads": (lambda folder: (folder / "100.hea").write_text("100 0 360 1800\n"), r"no signals"),
    "header cut in a lead": (_cut("hea", 40), r"100"),
    "one sample changed": (_one_sample_changed, r"checksum of lead (MLII|V1) is .*damaged"),
    "wrong checksum in the header": (_wrong_checksum, r"checksum of lead MLII is .*the header says"),
    "marks of another record": (_marks_of_a_longer_record, r"mark at sample 90000, the signal ends at 1800; 2 of 3 marks"),
    "marks cut in the middle of a mark": (_cut("atr", 7), r"100\.atr"),
    "unknown unit": (_swap("hea", "/mV", "/mmHg"), r"signal unit is 'mmHg'; expected mV, uV or V"),
    "negative gain": (_swap("hea", "200(1024)", "-200(1024)"), r"gain of lead MLII is -200"),
    "unknown format": (_swap("hea", " 212 ", " 213 "), r"100"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_record_is_refused_in_one_line_that_names_it(tmp_path: Path, write_record, what: str) -> None:
    damage, words = DAMAGES[what]
    write_record(tmp_path, "100", seconds=5)
    read_wfdb(tmp_path, "100")
    damage(tmp_path)
    with pytest.raises(EcglensError, match=words) as caught:
        read_wfdb(tmp_path, "100")
    assert "\n" not in str(caught.value)


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_signal_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, write_record, share: float) -> None:
    folder = tmp_path_factory.mktemp("cut")
    write_record(folder, "100", seconds=5)
    content = (folder / "100.dat").read_bytes()
    (folder / "100.dat").write_bytes(content[: int(share * len(content))])
    with pytest.raises(EcglensError, match="100"):
        read_wfdb(folder, "100")


@given(ending=st.sampled_from(["hea", "atr"]), noise=st.binary(max_size=60), at=st.integers(0, 150))
def test_noise_in_header_or_marks_is_read_or_refused_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, write_record, ending: str, noise: bytes, at: int
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    write_record(folder, "100", seconds=5)
    content = (folder / f"100.{ending}").read_bytes()
    (folder / f"100.{ending}").write_bytes(content[:at] + noise + content[at + len(noise) :])
    try:
        found = read_wfdb(folder, "100")
    except EcglensError:
        return
    assert found.signal.shape[0] == len(found.leads)


def test_a_header_cut_short_in_its_last_line_is_refused(write_record: Callable[..., Path], tmp_path: Path) -> None:
    """Cut behind the gain such a line is still a WFDB header, of a lead shifted by its baseline."""
    write_record(tmp_path, "100")
    header = tmp_path / "100.hea"
    lines = header.read_text().splitlines()
    lines[2] = " ".join(lines[2].split()[:3])
    header.write_text("\n".join(lines[:3]) + "\n")
    with pytest.raises(EcglensError, match="cut short"):
        read_wfdb(tmp_path, "100")


def _marks_at(folder: Path, samples: list[int]) -> None:
    wfdb.wrann("100", "atr", np.array(samples), np.array(["N"] * len(samples)), write_dir=str(folder))


@pytest.mark.parametrize(
    ("inside", "behind", "fine"),
    [(1, 1, True), (1, 2, False), (198, 1, True), (198, 2, True), (197, 2, False), (693, 7, True), (692, 7, False)],
)
def test_a_hundredth_of_the_marks_and_one_at_least_may_outlive_the_signal(
    tmp_path: Path, write_record, inside: int, behind: int, fine: bool
) -> None:
    write_record(tmp_path, "100", seconds=5)
    late = [1800 + 36 * k for k in range(behind)]
    _marks_at(tmp_path, [2 * k + 100 for k in range(inside)] + late)
    if not fine:
        with pytest.raises(EcglensError, match=f"{behind} of {inside + behind} marks lie behind it"):
            read_wfdb(tmp_path, "100")
        return
    found = read_wfdb(tmp_path, "100")
    assert found.annotations.sample.tolist() == [2 * k + 100 for k in range(inside)]
    assert len(found.annotations.symbol) == len(found.annotations.note) == inside
    times = ", ".join([f"{5 + 0.1 * k:.2f}" for k in range(behind)][:5]) + (", ..." if behind > 5 else "")
    many = f"{behind} of the {inside + behind} marks in 100.atr"
    assert found.remarks == (f"{many} lie behind the signal's end at 5.00 s and are left out: at {times} s",)


def test_a_mark_on_the_last_sample_is_not_behind_it(tmp_path: Path, write_record) -> None:
    write_record(tmp_path, "100", seconds=5)
    _marks_at(tmp_path, [100, 1799])
    found = read_wfdb(tmp_path, "100")
    assert (found.annotations.sample.tolist(), found.remarks) == ([100, 1799], ())
