"""The fast path: the same numbers as wfdb, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecglens.errors import EcglensError
from ecglens.recordings.sixteen import millivolts, read_header, read_samples
from ecglens.recordings.twelve import STANDARD, standard_name, standard_order
from recordings.twelve_made import LEADS, heart, units, write_challenge


def read(path: Path) -> np.ndarray:
    header = read_header(path)
    gains = np.array(header.gains, np.float32)
    return millivolts(read_samples(header, path.parent), gains, np.array(header.baselines, np.float32))


def test_real_records_have_wfdbs_numbers(data_root: Path) -> None:
    if not (data_root / "ptbxl").is_dir() or not (data_root / "ludb").is_dir():
        pytest.skip("ECGLENS_DATA holds no ptbxl/ and ludb/")
    paths = sorted((data_root / "ptbxl" / "records100").glob("*/*.hea"))[::60]
    paths += sorted((data_root / "ptbxl" / "records500").glob("*/*.hea"))[:5]
    paths += sorted((data_root / "ludb" / "data").glob("*.hea"))[:20]
    for path in paths:
        wanted = wfdb.rdrecord(str(path.with_suffix("")))
        np.testing.assert_array_equal(read(path), wanted.p_signal.T.astype(np.float32), err_msg=path.name)
        header = read_header(path)
        assert (header.fs, header.n_samples, header.names) == (wanted.fs, wanted.sig_len, tuple(wanted.sig_name))


@pytest.mark.parametrize("units_of", ["mV", "uV", "V"])
def test_holes_baselines_and_units_are_wfdbs(tmp_path: Path, units_of: str) -> None:
    digital = units(heart(250, 4))[:2].T.astype(np.int64) + 100
    digital[30:60, 1] = -32768
    gain = {"mV": 1000.0, "uV": 1.0, "V": 1e6}[units_of]
    wfdb.wrsamp(
        "a", fs=250, units=[units_of] * 2, sig_name=["I", "II"], d_signal=digital, fmt=["16"] * 2, adc_gain=[gain] * 2,
        baseline=[100, -7], write_dir=str(tmp_path),
    )  # fmt: skip
    factor = {"mV": 1.0, "uV": 1e-3, "V": 1e3}[units_of]
    wanted = wfdb.rdrecord(str(tmp_path / "a")).p_signal.T * factor
    assert np.isnan(wanted[1]).sum() == 30
    np.testing.assert_allclose(read(tmp_path / "a.hea"), wanted.astype(np.float32), rtol=3e-7, atol=1e-9)


def test_a_time_and_date_that_wfdb_knows_are_no_remark(tmp_path: Path) -> None:
    for first_line, n in ((" 12:30:00", 0), (" 12:30:00 05/02/2020", 0), (" 05-Feb-2020 11:39:16", 1)):
        path = write_challenge(tmp_path, "A1", units(heart()), first_line=first_line)
        assert len(read_header(path).remarks) == n


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("16+24", "212"), ("16+24", "16x2+24"), (" 500 ", " 0 "), (" 500 ", " fast "), ("A1 12", "A1 11"),
        ("1000/mV", "1000/mmHg"), ("1000/mV", "gain"), (" 5000", " -5"),
    ],
)  # fmt: skip
def test_other_headers_are_refused_in_one_line(tmp_path: Path, old: str, new: str) -> None:
    path = write_challenge(tmp_path, "A1", units(heart()))
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(EcglensError, match=r"^A1\.hea is not a header of 16-bit signals; expected 'name leads rate samples'"):
        read_header(path)


def test_files_that_are_missing_short_or_empty_are_named(tmp_path: Path) -> None:
    path = write_challenge(tmp_path, "A1", units(heart()))
    path.write_text(path.read_text().replace(".mat 16+24", ".dat 16"))
    with pytest.raises(EcglensError, match=r"A1\.dat cannot be read: A1\.hea names it"):
        read(path)
    units(heart()).T.tofile(tmp_path / "A1.dat")
    np.testing.assert_array_equal(read(path), units(heart()) / np.float32(1000))
    whole = (tmp_path / "A1.dat").read_bytes()
    for content, part in (
        (b"", "holds 0 samples"),
        (whole[:-1], "are not 12 leads"),
        (whole[:-24], "holds 4999 samples a lead"),
    ):
        (tmp_path / "A1.dat").write_bytes(content)
        with pytest.raises(EcglensError, match=part):
            read(path)
    with pytest.raises(EcglensError, match=r"A2\.hea cannot be read in"):
        read_header(tmp_path / "A2.hea")


def test_a_changed_sample_is_noticed_by_the_sum_of_its_lead(tmp_path: Path) -> None:
    path = write_challenge(tmp_path, "A1", units(heart()))
    content = bytearray((tmp_path / "A1.mat").read_bytes())
    content[24 + 2 * (12 * 100 + 3)] ^= 1
    (tmp_path / "A1.mat").write_bytes(content)
    with pytest.raises(EcglensError, match=r"A1: samples of lead aVR sum to \d+, the header says \d+: damaged"):
        read(path)


def test_names_of_leads() -> None:
    assert STANDARD == LEADS
    assert [standard_name(lead.upper()) for lead in LEADS] == list(LEADS)
    assert [standard_name(f" lead_{lead} ") for lead in LEADS] == list(LEADS)
    assert [standard_name(name) for name in ("MLII", "vx", "", "V7", "-aVR", "lead", "ECG")] == [None] * 7
    rows, leads, remarks = standard_order(["V6", "foo", "i", "AVF"], "x")
    assert (rows, leads) == ([2, 3, 0], ("I", "aVF", "V6"))
    assert remarks == (
        "without leads II, III, aVR, aVL, V1, V2, V3, V4, V5",
        "foo left out: not of the twelve standard leads",
    )
