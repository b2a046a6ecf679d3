"""The nine classes of habeeb2024 against plain loops over the databases' own tables, and against counts pinned by hand."""

from __future__ import annotations

import ast
import csv
from dataclasses import replace

import numpy as np
import pytest

from ecglens.errors import EcglensError
from ecglens.examples.diagnoses import DIAGNOSIS_MAPS, counts_side_by_side, diagnosis_map, multi_hot
from ecglens.examples.diagnosis_map import table_named
from ecglens.recordings.databases import database, read_records

NINE = ("SNR", "AF", "IAVB", "LBBB", "RBBB", "PAC", "PVC", "STD", "STE")
PUBLISHED = diagnosis_map("habeeb2024-as-published")
CORRECTED = diagnosis_map("habeeb2024")
SNOMED = diagnosis_map("habeeb2024-from-snomed")

# what belongs to a class as published, written again by hand
_AS_PUBLISHED = {
    "SNR": "NORM NDT LVH ISC_ ISCAL LAO/LAE",
    "AF": "AFIB AFLT WPW PSVT",
    "IAVB": "1AVB 2AVB 3AVB IVCD",
    "LBBB": "CLBBB ILBBB LAFB",
    "RBBB": "CRBBB IRBBB LPFB",
    "PAC": "PAC PACE",
    "PVC": "PVC BIGU",
    "STD": "NST_ ISCAS",
    "STE": "IMI ASMI ILMI AMI ALMI LMI IPLMI IPMI PMI INJAS INJAL INJIN INJLA INJIL ANEUR",
}
_OTHERS = {
    "AFIB": "AF", "1AVB": "IAVB", "CLBBB": "LBBB", "CRBBB": "RBBB", "PAC": "PAC", "PVC": "PVC", "STD_": "STD", "STE_": "STE",
}  # fmt: skip
_REMOVED = ["ISCIN", "ISCIL", "DIG", "ISCLA", "RVH", "LNGQT", "RAO/RAE", "EL", "ISCAN", "SEHYP", "STACH"]
_CPSC = {
    "426783006": "SNR", "164889003": "AF", "270492004": "IAVB", "164909002": "LBBB", "59118001": "RBBB", "284470004": "PAC",
    "164884008": "PVC", "429622005": "STD", "164931005": "STE",
}  # fmt: skip


def _rows(path):
    with path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def statements(data_root):
    """scp_codes of the PTB-XL rows at hand."""
    path = data_root / "ptbxl" / "ptbxl_database.csv"
    if not path.is_file():
        pytest.skip("ECGLENS_DATA holds no ptbxl/")
    return [ast.literal_eval(row["scp_codes"]) for row in _rows(path)]


@pytest.fixture(scope="module")
def cpsc(data_root):
    """Codes of the records of CPSC2018 in the Challenge's format."""
    path = data_root / "cinc2020" / "LABELS.csv"
    if not path.is_file():
        pytest.skip("ECGLENS_DATA holds no cinc2020/")
    return [row["dx_snomed"].split(",") for row in _rows(path) if row["record"].startswith("A")]


def _plainly(codes, published):
    """The classes of one record, the slow way."""
    if published:
        likely = {code for code, likelihood in codes.items() if likelihood > 0}
        return {name for name in NINE if likely & set(_AS_PUBLISHED[name].split())}
    found = {_OTHERS[code] for code in codes if code in _OTHERS}
    if not found and "SR" in codes and "NORM" in codes:
        found = {"SNR"}
    return found


def _counts(all_classes):
    return [sum(name in classes for classes in all_classes) for name in NINE] + [sum(not each for each in all_classes)]


def test_the_three_maps_have_the_same_nine_classes_in_the_order_of_cpsc():
    for each in (PUBLISHED, CORRECTED, SNOMED):
        assert each.classes == NINE
    assert tuple(_CPSC[code] for code in diagnosis_map("cpsc2018").classes) == NINE


@pytest.mark.parametrize("made", [PUBLISHED, CORRECTED], ids=["published", "corrected"])
def test_each_statement_has_a_row_and_a_reason_in_the_table(made, data_root):
    known = [row[""] for row in _rows(data_root / "ptbxl" / "scp_statements.csv")]
    rows = {row["statement"]: row for row in table_named("habeeb2024_scp")}
    assert list(rows) == known
    assert {code for code in made.codes if not code.startswith("heart_axis")} == set(known)
    for row in rows.values():
        assert row["certainty"] in ("stated", "high", "medium", "low")
        assert row["published"] in (*NINE, "removed", "never")
        assert row["corrected"] in (*NINE, "")
        assert row["evidence"]
        assert row["reason"]
    column = made.table().set_index("code").iloc[:, -1]
    assert (column[known] != "").all()


def test_the_published_table_is_the_paper_s():
    rows = {row["statement"]: row for row in table_named("habeeb2024_scp")}
    assert {code for code, row in rows.items() if row["published"] == "removed"} == set(_REMOVED)
    counted = [code for code, row in rows.items() if row["published"] != "never"]
    assert len(counted) == 52
    assert sum(row["published"] in NINE for row in rows.values()) == 41
    assert {code: row["published"] for code, row in rows.items() if row["published"] in NINE} == {
        code: name for name, codes in _AS_PUBLISHED.items() for code in codes.split()
    }


def test_uncertain_statements_are_named_in_the_warnings_and_in_the_table():
    told = next(text for text in PUBLISHED.warnings if text.startswith("Recovered"))
    medium, _, low = told.partition("with low")
    for row in table_named("habeeb2024_scp"):
        assert (row["statement"] in medium.split(": ")[1].rstrip("; ").split(", ")) == (row["certainty"] == "medium")
        assert (row["statement"] in low.strip(": .").split(", ")) == (row["certainty"] == "low")
    assert set(PUBLISHED.table()["certainty"]) == {"stated", "high", "medium", "low", ""}  # '' of the column heart_axis


def test_counts_of_both_maps_on_the_rows_at_hand(statements):
    assert len(statements) == 2980
    table = counts_side_by_side([PUBLISHED, CORRECTED], statements)
    assert list(table.columns) == ["class", "class name", "habeeb2024-as-published", "habeeb2024"]
    assert table["class"].tolist() == [*NINE, "no class"]
    assert table["class name"].iloc[1] == "atrial fibrillation"
    published = _counts([_plainly(codes, True) for codes in statements])
    corrected = _counts([_plainly(codes, False) for codes in statements])
    assert table["habeeb2024-as-published"].tolist() == published
    assert table["habeeb2024"].tolist() == corrected
    assert published == [2078, 31, 188, 262, 220, 40, 134, 97, 663, 32]
    assert corrected == [1171, 197, 100, 63, 52, 51, 148, 136, 5, 1207]


def test_every_record_has_the_classes_of_the_plain_loop(statements):
    for made, published in ((PUBLISHED, True), (CORRECTED, False)):
        found = multi_hot(made, statements)
        assert not found.unknown
        for codes, labels in zip(statements, found.labels, strict=True):
            assert {name for name, yes in zip(NINE, labels, strict=True) if yes} == _plainly(codes, published)


def test_the_likelihood_drops_the_rhythms_as_published_and_nothing_in_the_corrected_map(statements):
    found = multi_hot(PUBLISHED, statements)
    wanted = {}
    for codes in statements:
        for code, likelihood in codes.items():
            wanted[code] = wanted.get(code, 0) + (likelihood <= 0)
    assert found.unlikely == {code: n for code, n in wanted.items() if n}
    assert (found.unlikely["AFIB"], found.unlikely["PAC"], found.unlikely["STACH"], found.unlikely["SR"]) == (
        187,
        45,
        105,
        2277,
    )
    assert multi_hot(CORRECTED, statements).unlikely == {}


def test_paced_rhythm_is_atrial_premature_as_published_and_never_in_the_corrected_map(statements):
    assert PUBLISHED.codes["PACE"] == "PAC"
    assert {code for code, to in CORRECTED.codes.items() if to == "PAC"} == {"PAC"}
    pac = NINE.index("PAC")
    published, corrected = multi_hot(PUBLISHED, statements).labels[:, pac], multi_hot(CORRECTED, statements).labels[:, pac]
    paced = np.array(["PACE" in codes for codes in statements])
    assert (paced.sum(), published[paced].sum(), published.sum()) == (36, 34, 40)
    assert not corrected[paced].any()
    for code in CORRECTED.codes:  # beside each other statement too
        assert multi_hot(CORRECTED, [["PACE", code]]).labels[0, pac] == (code == "PAC")
    assert not any("pace" in word for word in CORRECTED.words)
    assert SNOMED.codes["10370003"] == ""  # pacing rhythm


def test_normal_sinus_rhythm_needs_both_statements_and_no_other_class():
    given = [
        ["SR", "NORM"],
        ["NORM", "SR", "IRBBB"],
        ["SR"],
        ["NORM"],
        ["SR", "NORM", "1AVB"],
        ["SR", "IMI"],
        ["NORM", "SBRAD"],
    ]
    found = multi_hot(CORRECTED, given)
    assert found.labels[:, 0].tolist() == [True, True, False, False, False, False, False]
    assert found.labels[4].tolist() == [name == "IAVB" for name in NINE]
    assert found.without == 4


def test_counts_of_the_cpsc_records_at_hand(cpsc):
    assert len(cpsc) == 155
    table = counts_side_by_side([SNOMED], cpsc)
    plain = _counts([{_CPSC[code] for code in codes} for codes in cpsc])
    assert table["habeeb2024-from-snomed"].tolist() == plain == [20, 27, 7, 9, 33, 15, 18, 19, 13, 0]
    own = multi_hot(diagnosis_map("cpsc2018"), cpsc)
    found = multi_hot(SNOMED, cpsc)
    np.testing.assert_array_equal(found.labels, own.labels)  # column by column the same nine
    assert not (found.labels[:, 0] & found.labels[:, 1:].any(1)).any()  # Normal stands alone


def test_cpsc_s_numbers_words_and_codes_are_the_same_class():
    numbers = multi_hot(SNOMED, list(range(1, 10)))
    words = multi_hot(SNOMED, [["Normal"], ["AF"], ["I-AVB"], ["LBBB"], ["RBBB"], ["PAC"], ["PVC"], ["STD"], ["STE"]])
    codes = multi_hot(SNOMED, [[code] for code in _CPSC])
    for each in (numbers, words, codes):
        assert not each.unknown
        np.testing.assert_array_equal(each.labels, np.eye(9, dtype=bool))


def test_codes_beside_those_of_cpsc_are_known_and_merged_as_said():
    merged = {"713427006": "RBBB", "63593006": "PAC", "17338001": "PVC", "427172004": "PVC"}
    assert {code: to for code, to in SNOMED.codes.items() if to and len(code) > 1} == _CPSC | merged
    for code in diagnosis_map("challenge2020").codes:
        assert code in SNOMED.codes
    assert SNOMED.codes["164890007"] == ""  # flutter


def test_recordings_carry_the_likelihoods_that_the_published_map_asks_for(data_root, statements):
    which, folder = database("ptbxl"), data_root / "ptbxl"
    wanted = {
        f"{int(row['ecg_id']):05d}_lr": ast.literal_eval(row["scp_codes"]) for row in _rows(folder / "ptbxl_database.csv")
    }
    names = [name for name, codes in wanted.items() if "AFIB" in codes or "PACE" in codes][:30] + list(wanted)[:30]
    found = list(read_records(which, folder, names, [], swap_leads=False))
    assert len(found) == len(names)
    for each in found:
        pairs = dict(zip(each.diagnoses, each.likelihoods, strict=True))
        axis = [code for code in pairs if code.startswith("heart_axis=")]
        assert all(np.isnan(pairs.pop(code)) for code in axis)
        assert pairs == wanted[each.record]
    by_recording = multi_hot(PUBLISHED, [each.diagnoses for each in found], [each.likelihoods for each in found])
    by_table = multi_hot(PUBLISHED, [wanted[each.record] for each in found])
    np.testing.assert_array_equal(by_recording.labels, by_table.labels)
    same = multi_hot(CORRECTED, [each.diagnoses for each in found])
    np.testing.assert_array_equal(same.labels, multi_hot(CORRECTED, [wanted[each.record] for each in found]).labels)
    with pytest.raises(EcglensError, match=r"has \d+ diagnoses and 1 likelihoods; expected one for each, or none"):
        replace(found[0], likelihoods=(1.0,))
    assert replace(found[0], likelihoods=()).diagnoses == found[0].diagnoses


def test_a_map_that_asks_for_likelihoods_says_so_where_there_are_none():
    with pytest.raises(EcglensError, match=r"habeeb2024-as-published, entry 1: 2 labels with 0 likelihoods; expected one for"):
        multi_hot(PUBLISHED, [{"NORM": 100.0}, ["SR", "NORM"]])
    with pytest.raises(EcglensError, match="likelihoods of 1 records for 2"):
        multi_hot(PUBLISHED, [["NORM"], ["NORM"]], [(100.0,)])
    found = multi_hot(PUBLISHED, [["NORM", "PACE", "heart_axis=LAD"], [], None], [(15.0, 0.0, float("nan")), (), ()])
    assert found.labels[:, 0].tolist() == [True, False, False]
    assert found.unlikely == {"PACE": 1, "heart_axis=LAD": 1}


def test_other_maps_do_not_ask_for_likelihoods_and_give_the_same_with_them(statements):
    for name in ("challenge2020-from-scp", "ptbxl-superclasses", "habeeb2024"):
        made = DIAGNOSIS_MAPS[name]
        plain = multi_hot(made, [list(codes) for codes in statements])
        given = multi_hot(made, [list(codes) for codes in statements], [list(codes.values()) for codes in statements])
        np.testing.assert_array_equal(plain.labels, given.labels)
        assert plain.unlikely == given.unlikely == {}
        assert (made.above, plain.without) == (None, given.without)


def test_maps_of_other_classes_cannot_stand_side_by_side():
    with pytest.raises(EcglensError, match="only maps with the same classes can stand side by side"):
        counts_side_by_side([CORRECTED, diagnosis_map("cpsc2018")], [])
    with pytest.raises(EcglensError, match="no set of diagnoses to count with"):
        counts_side_by_side([], [])
    assert counts_side_by_side([CORRECTED], [])["habeeb2024"].tolist() == [0] * 10


def test_warnings_say_what_is_merged():
    published, corrected = " ".join(PUBLISHED.warnings), " ".join(CORRECTED.warnings)
    for word in ("likelihood above 0", "PACE", "LVH", "WPW", "IVCD", "LAFB", "infarction", "dropped"):
        assert word in published
    for word in ("NORM", "likelihood", "AFLT", "IRBBB", "ILBBB", "STE_"):
        assert word in corrected
    assert "427172004" in " ".join(SNOMED.warnings)
