"""Challenge records: headers as people have them, against the corrected ones; bad input, named and counted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecglens.errors import EcglensError
from ecglens.recordings.challenge_header import clinical, read_age, read_sex
from ecglens.recordings.challenge_reader import read_challenge
from ecglens.recordings.databases import Skipped, database, read_records
from ecglens.recordings.places import records_present
from recordings.twelve_made import LEADS, heart, units, write_challenge


@pytest.fixture(scope="session")
def cinc(data_root: Path) -> Path:
    """The real cinc2020/."""
    if not (data_root / "cinc2020").is_dir():
        pytest.skip("ECGLENS_DATA holds no cinc2020/")
    return data_root / "cinc2020"


@pytest.fixture(scope="session")
def as_found(cinc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the signals and the headers as people have them."""
    folder = tmp_path_factory.mktemp("cinc2020")
    for path in (cinc / "headers_as_found").glob("*.hea"):
        (folder / path.name).symlink_to(path)
        (folder / f"{path.stem}.mat").symlink_to(cinc / "records" / f"{path.stem}.mat")
    return folder


# ------------------------------------------------------------------------------------------------ real records


def test_each_header_as_found_is_read_as_the_corrected_one_says(cinc: Path, as_found: Path) -> None:
    records = sorted(path.stem for path in as_found.glob("*.hea"))
    assert len(records) == 204
    gains, texts, dates, unlabelled = [], [], [], []
    for record in records:
        wanted, found = read_challenge(cinc / "records", record), read_challenge(as_found, record)
        np.testing.assert_array_equal(found.signal, wanted.signal, err_msg=record)
        assert (found.leads, found.fs, found.age, found.sex) == (LEADS, wanted.fs, wanted.age, wanted.sex), record
        assert [each[:15] for each in wanted.remarks] == (["leads V2 and V3"] if record == "A0062" else [])
        remarks = "; ".join(found.remarks)
        if "no label" in remarks:
            unlabelled.append(record)
            assert found.diagnoses == ()
        else:
            assert found.diagnoses == wanted.diagnoses, record
        gains += [record] if "read as 1000/mV" in remarks else []
        texts += [record] if "label read from text" in remarks else []
        dates += [record] if "is not a time and date" in remarks else []
        written = (as_found / f"{record}.hea").read_text()
        assert ("read as 1000/mV" in remarks) == bool(re.search(r" (200|2000000)/mV", written)), record
        assert ("is not a time" in remarks) == bool(re.search(r"-20\d\d ", written.splitlines()[0])), record
    assert (len(gains), len(texts), len(dates), len(unlabelled)) == (14, 150, 194, 18)


def test_the_numbers_are_those_of_wfdb(cinc: Path) -> None:
    for record in ("A0001", "HR06000", "Q0010", "S0004"):
        wanted = wfdb.rdrecord(str(cinc / "records" / record)).p_signal.T.astype(np.float32)
        np.testing.assert_array_equal(read_challenge(cinc / "records", record).signal, wanted)


def test_the_folder_is_found_as_the_publisher_lays_it_out_and_all_is_read(cinc: Path, tmp_path: Path) -> None:
    which = database("cinc2020")
    there, missing = records_present(which, cinc)
    assert (len(there), missing) == (204, ())
    official = tmp_path / "cinc2020" / "training" / "cpsc_2018" / "g1"
    official.mkdir(parents=True)
    for name in ("A0001.hea", "A0001.mat", "A0002.hea"):
        (official / name).symlink_to(cinc / "records" / name)
    assert records_present(which, tmp_path / "cinc2020") == (("A0001",), ())
    skipped: list[Skipped] = []
    (found,) = read_records(which, tmp_path / "cinc2020", ("A0001", "A0002", "A9"), skipped, swap_leads=False)
    assert (found.record, found.patient, found.database) == ("A0001", "cinc2020/A0001", "cinc2020")
    assert [each.record for each in skipped] == ["A0002", "A9"]
    assert "A0002.mat cannot be read" in skipped[0].reason
    assert not which.patients_named


# ------------------------------------------------------------------------------------------------ leads, in any order


def test_leads_come_in_the_standard_order_whatever_the_file_calls_them(tmp_path: Path) -> None:
    signal, order = heart(), np.random.default_rng(0).permutation(12)
    spelled = ("DI", "Lead II", "iii", "AVR", "avl", "ECG_aVF", "C1", "v2", "V3", "c4", "MDC_ECG_LEAD_V5", "V6")
    write_challenge(tmp_path, "A1", units(signal)[order], leads=tuple(spelled[row] for row in order))
    found = read_challenge(tmp_path, "A1")
    assert found.leads == LEADS
    np.testing.assert_allclose(found.signal, signal, atol=6e-4)


def test_missing_and_foreign_leads_are_said(tmp_path: Path) -> None:
    signal = np.concatenate([heart()[[1, 0, 7]], heart()[[3]]])
    write_challenge(tmp_path, "A1", units(signal), leads=("II", "I", "V2", "vx"))
    found = read_challenge(tmp_path, "A1")
    assert found.leads == ("I", "II", "V2")
    assert found.remarks == (
        "without leads III, aVR, aVL, aVF, V1, V3, V4, V5, V6",
        "vx left out: not of the twelve standard leads",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"II": "I", "I": "II"}, "leads I and II swapped by name"),
        ({"aVR": "aVL", "aVL": "aVR"}, "leads aVR and aVL swapped by name"),
        ({"III": "aVF", "aVF": "III"}, "leads III and aVF swapped by name"),
    ],
)
def test_limb_leads_swapped_by_name_are_refused_and_the_swap_is_named(
    tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    write_challenge(tmp_path, "A1", units(heart()), leads=tuple(change.get(lead, lead) for lead in LEADS))
    with pytest.raises(
        EcglensError, match=r"A1: limb leads do not sum \(III = II - I .* would fit; mend the header"
    ) as caught:
        read_challenge(tmp_path, "A1")
    assert reason in str(caught.value)


def test_a_real_limb_lead_turned_over_is_refused_and_named(cinc: Path) -> None:
    from ecglens.recordings.twelve import check_limb

    for record in ("A0001", "HR00003", "Q0002"):
        turned = read_challenge(cinc / "records", record).signal.copy()
        turned[3] *= -1
        with pytest.raises(EcglensError, match="lead aVR turned over would fit"):
            check_limb(turned, LEADS, record)


def test_limb_leads_that_no_swap_mends_are_a_remark_or_refused_where_they_are_far_off(tmp_path: Path) -> None:
    signal = heart()
    signal[2] *= 1.4
    write_challenge(tmp_path, "A1", units(signal))
    (remark,) = read_challenge(tmp_path, "A1").remarks
    assert remark.startswith("limb leads do not sum: off by ")
    signal[2] = heart(seed=3)[6] * 1.7
    write_challenge(tmp_path, "A1", units(signal))
    with pytest.raises(EcglensError, match=r"^A1: limb leads do not sum .* no swap of two names mends it"):
        read_challenge(tmp_path, "A1")


# ------------------------------------------------------------------------------------------------ gains


@pytest.mark.parametrize("gain", ["200/mV", "2000000/mV", "10000/mV", "100/mV", "0/mV", "4880/mV"])
def test_a_wrong_gain_is_read_as_1000_with_a_remark(tmp_path: Path, gain: str) -> None:
    write_challenge(tmp_path, "A1", units(heart()), gain=gain)
    found = read_challenge(tmp_path, "A1")
    np.testing.assert_array_equal(found.signal, units(heart()) / np.float32(1000))
    (remark,) = found.remarks
    assert "read as 1000/mV" in remark


@pytest.mark.parametrize(("per_mv", "gain"), [(1000, "1000.0(0)/mv"), (200, "200/mV"), (4880, "4880/mV"), (1000, "1/uV")])
def test_a_right_gain_is_believed(tmp_path: Path, per_mv: float, gain: str) -> None:
    write_challenge(tmp_path, "A1", units(heart(), per_mv), gain=gain)
    found = read_challenge(tmp_path, "A1")
    assert len(found.remarks) == (gain == "4880/mV")  # 1000/mV would make it 5.7 mV high: possible, and so it is said
    assert all("believed, though 1000/mV is usual" in remark for remark in found.remarks)
    np.testing.assert_allclose(found.signal, heart(), atol=0.6 / per_mv)


def test_where_two_gains_fit_the_record_is_refused(tmp_path: Path) -> None:
    write_challenge(tmp_path, "A1", units(heart(height=0.6)), gain="500/mV")
    with pytest.raises(EcglensError, match=r"A1: the header says 500/mV, .* 1000/mV, usual in this format, .* cannot be told"):
        read_challenge(tmp_path, "A1")


def test_where_no_usual_gain_fits_those_that_would_are_said(tmp_path: Path) -> None:
    write_challenge(tmp_path, "A1", units(heart(), 8000), gain="1000/mV")
    with pytest.raises(EcglensError, match=r"expected 0.25 to 6 mV; .*4880 or 10000/mV would fit: mend the header"):
        read_challenge(tmp_path, "A1")


def test_baselines_and_invalid_samples_are_as_wfdb_has_them(tmp_path: Path) -> None:
    digital = units(heart()) + np.int16(37)
    digital[4, 100:150] = -32768
    write_challenge(tmp_path, "A1", digital, gain="1000(37)/mV")
    found = read_challenge(tmp_path, "A1")
    # this version of wfdb knows 'no sample' in .dat alone, so the numbers are its, the holes ours
    wanted = (digital.astype(np.float64) - 37) / 1000
    wanted[4, 100:150] = np.nan
    np.testing.assert_array_equal(found.signal, wanted.astype(np.float32))
    assert found.remarks == ("invalid samples in lead aVL: 0.1% of all",)


# ------------------------------------------------------------------------------------------------ bad input


def test_what_cannot_be_used_is_named_with_one_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = units(heart())
    write_challenge(tmp_path, "good", good)
    write_challenge(tmp_path, "one", good[:, :1])
    write_challenge(tmp_path, "zero", 0 * good)
    write_challenge(tmp_path, "slow", good, fs=5)
    empty = good.copy()
    empty[7] = -32768
    write_challenge(tmp_path, "nan", empty)
    write_challenge(tmp_path, "twice", good, leads=(*LEADS[:6], "V1", "v1", *LEADS[8:]))
    write_challenge(tmp_path, "text", good)
    (tmp_path / "text.mat").write_text("<html>not a file of MATLAB</html>" * 40)
    write_challenge(tmp_path, "short", good)
    (tmp_path / "short.mat").write_bytes((tmp_path / "short.mat").read_bytes()[:-999])
    write_challenge(tmp_path, "other", good)
    write_challenge(tmp_path / "x", "other", good[::-1])
    (tmp_path / "x" / "other.mat").replace(tmp_path / "other.mat")
    write_challenge(tmp_path, "names", good, leads=tuple(f"x{n}" for n in range(12)))
    write_challenge(tmp_path, "header", good)
    (tmp_path / "header.hea").write_text("header twelve 500\n")
    write_challenge(tmp_path, "struct", good)
    import scipy.io

    scipy.io.savemat(tmp_path / "struct.mat", {"ECG": {"data": good}})
    write_challenge(tmp_path, "half", good)
    scipy.io.savemat(tmp_path / "half.mat", {"val": good + 0.5})
    records, skipped = tuple(sorted(path.stem for path in tmp_path.glob("*.hea"))), []
    found = list(read_records(database("cinc2020"), tmp_path, records, skipped, swap_leads=True))
    assert [each.record for each in found] == ["good"]
    reasons = {each.record: each.reason for each in skipped}
    assert not any("\n" in reason or len(reason) > 320 for reason in reasons.values())
    begins = {
        "one": "one has 1 sample at 500 Hz; expected at least 1 s",
        "zero": "zero: all leads are flat",
        "slow": "slow is sampled at 5 Hz; expected 50 to 20000 Hz",
        "nan": "nan has no valid sample in lead V2",
        "twice": "twice: rows 7 and 8 are both called lead V1",
        "text": "text.mat is not a MATLAB file",
        "short": "short.mat holds 0 samples",
        "other": "other: samples of lead I sum to",
        "names": "names: no lead is one of I, II",
        "header": "header.hea is not a header of 16-bit signals",
        "struct": "struct.mat has no array 'val'",
        "half": "half.mat has no array 'val'",
    }
    assert set(reasons) == set(begins)
    for record, begin in begins.items():
        assert reasons[record].startswith(begin), reasons[record]


def test_a_matlab_file_of_another_version_is_read_too(tmp_path: Path) -> None:
    import scipy.io

    write_challenge(tmp_path, "A1", units(heart()))
    wanted = read_challenge(tmp_path, "A1")
    for values in (units(heart()), units(heart()).astype(np.float64)):
        scipy.io.savemat(tmp_path / "A1.mat", {"val": values}, do_compression=True)
        np.testing.assert_array_equal(read_challenge(tmp_path, "A1").signal, wanted.signal)


def test_half_an_hour_at_257_hz_is_read(tmp_path: Path) -> None:
    write_challenge(tmp_path, "I1", np.tile(units(heart(257, 60)), 30), fs=257)
    found = read_challenge(tmp_path, "I1")
    assert (found.fs, found.signal.shape, found.remarks) == (257.0, (12, 462_600), ())


def test_a_flat_lead_is_a_remark(tmp_path: Path) -> None:
    digital = units(heart())
    digital[11] = 4
    write_challenge(tmp_path, "A1", digital)
    assert read_challenge(tmp_path, "A1").remarks == ("lead V6 is flat: the electrode was not connected",)


# ------------------------------------------------------------------------------------------------ what comments say


def test_labels_are_codes_or_kept_as_found() -> None:
    found = clinical(["Dx: AF, 999999999,Nonsense,", " Age: NaN", "SEX: F"], "A1")
    assert found.diagnoses == ("164889003", "999999999", "Nonsense")
    assert (found.age, found.sex) == (None, "F")
    assert found.remarks == (
        "label read from text: 'AF' as 164889003",
        "label that is no SNOMED code, kept as found: Nonsense",
    )
    assert clinical(["Dx: SNR,iavb,Normal,PVC"], "A1").diagnoses == ("426783006", "270492004", "164884008")
    assert clinical(["Dx:"], "A1").remarks == ("the header has no label",)
    with pytest.raises(EcglensError, match=r"A1.hea gives 2 ages: 74, 47; expected one"):
        clinical(["Age: 74", "Age: 47"], "A1")


@pytest.mark.parametrize(
    ("text", "age"),
    [("74", 74), ("56.0", 56), (" 0.5 ", 0.5), ("-1", None), ("NaN", None), ("", None), ("300", None), ("x", None)],
)
def test_ages(text: str, age: float | None) -> None:
    assert read_age(text)[0] == age
    assert (read_age(text)[1] is not None) == (text in ("300", "x"))
    assert text != "300" or "above 89" in str(read_age(text)[1])


def test_sexes() -> None:
    assert [read_sex(text)[0] for text in ("Male", "female", "F", "m", "NaN", "", "x")] == [
        "M",
        "F",
        "F",
        "M",
        None,
        None,
        None,
    ]
    assert read_sex("x")[1] is not None
