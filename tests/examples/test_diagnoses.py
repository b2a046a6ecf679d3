"""Diagnosis maps against the public tables, and against a plain loop over real labels."""

from __future__ import annotations

import ast
import csv
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from ecglens.errors import EcglensError
from ecglens.examples.diagnoses import DIAGNOSIS_MAPS, diagnosis_map, multi_hot
from ecglens.recordings.databases import database, read_records
from ecglens.recordings.places import records_present

SAME = {"59118001": "713427006", "63593006": "284470004", "17338001": "427172004"}
CHALLENGE = ("challenge2020", "challenge2020-from-cpsc", "challenge2020-from-scp")


def _rows(path):
    with path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", sorted(DIAGNOSIS_MAPS))
def test_every_map_is_whole(name):
    made = diagnosis_map(name)
    assert made.name == name
    assert len(set(made.classes)) == len(made.classes)
    assert set(made.codes.values()) - {""} <= set(made.classes)
    assert set(made.words.values()) <= set(made.codes)
    assert all(word == word.casefold().strip() for word in made.words)
    assert made.warnings
    assert all(text.endswith(".") for text in made.warnings)
    table = made.table()
    assert len(table) == len(made.codes)
    assert table["class name"].iloc[-1] == "not scored" or "" not in made.codes.values()


def test_an_unknown_map_is_refused():
    with pytest.raises(EcglensError, match="unknown set of diagnoses 'challenge'"):
        diagnosis_map("challenge")


@pytest.mark.parametrize("name", CHALLENGE)
def test_27_scored_codes_make_24_classes_named_by_the_first_listed(name):
    made = diagnosis_map(name)
    assert len(made.classes) == 24
    assert not set(SAME) & set(made.classes)
    assert made.classes[0] == "270492004"  # the order of the Challenge's weights
    assert made.names["713427006"] == "complete right bundle branch block"
    assert made.short["284470004"] == "PAC"


def test_codes_are_those_of_the_challenges_tables(data_root):
    made = diagnosis_map("challenge2020")
    scored = _rows(data_root / "challenge2020" / "dx_mapping_scored.csv")
    unscored = _rows(data_root / "challenge2020" / "dx_mapping_unscored.csv")
    wanted = {row["SNOMED CT Code"]: SAME.get(row["SNOMED CT Code"], row["SNOMED CT Code"]) for row in scored}
    assert made.codes == wanted | {row["SNOMED CT Code"]: "" for row in unscored}
    for row in scored + unscored:
        assert made.short[row["SNOMED CT Code"]] == row["Abbreviation"]


def test_superclasses_are_those_of_the_statements(data_root):
    made = diagnosis_map("ptbxl-superclasses")
    wanted = {row[""]: row["diagnostic_class"] for row in _rows(data_root / "ptbxl" / "scp_statements.csv")}
    assert len(wanted) == 71
    assert {code: to for code, to in made.codes.items() if not code.startswith("heart_axis")} == wanted
    assert made.classes == ("NORM", "MI", "STTC", "CD", "HYP")


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("426783006", "426783006"),
        ("RBBB", "59118001"),
        ("Atrial fibrillation", "164889003"),
        ("  sinus   RHYTHM ", "426783006"),
        ("I-AVB", "270492004"),
        ("Normal", "426783006"),
        ("ventricular ectopics", "164884008"),
        ("PVC", None),  # the Challenge's 427172004 or CPSC2018's 164884008
        ("premature ventricular contractions", "427172004"),
        ("12345", None),
        ("", None),
    ],
)
def test_a_text_label_is_read_where_only_one_can_be_meant(label, code):
    assert diagnosis_map("challenge2020").code_of(label) == code


def test_the_same_text_means_what_cpsc_means_by_it_in_cpsc():
    made = diagnosis_map("challenge2020-from-cpsc")
    assert made.code_of("PVC") == "164884008"
    assert multi_hot(made, [["PVC"], [7], ["427172004"]]).labels.any(1).tolist() == [False, False, True]


def test_what_is_left_out_is_counted_by_name_and_each_record_once():
    made = diagnosis_map("challenge2020")
    given = [
        ["164889003", "164884008", "164884008"],
        ["XYZ", "164884008"],
        ["PVC", "RBBB"],
        [],
        ["XYZ"],
        ["59118001", "713427006"],
    ]
    found = multi_hot(made, given)
    assert found.unknown == {"XYZ": 2, "PVC": 1}
    assert found.unscored == {"164884008 (VEB)": 2}
    assert found.without == 3
    assert found.labels.shape == (6, 24)
    assert found.labels.sum(1).tolist() == [1, 0, 1, 0, 0, 1]


def test_labels_come_as_lists_texts_numbers_gaps_and_dictionaries():
    made = diagnosis_map("cpsc2018")
    given = [[1], "2,5", 3.0, np.nan, None, [4.0, np.nan, np.nan], np.array([6, 9]), "", " 7 ,", {"8": 100.0}, np.int64(9)]
    numbers = [[1], [2, 5], [3], [], [], [4], [6, 9], [], [7], [8], [9]]
    found = multi_hot(made, given)
    assert found.labels.tolist() == [[number in row for number in range(1, 10)] for row in numbers]
    assert not found.unknown
    with pytest.raises(EcglensError, match="expected a list with an entry for each record"):
        multi_hot(made, "426783006")


def test_no_records_give_no_rows():
    assert multi_hot(diagnosis_map("challenge2020"), []).labels.shape == (0, 24)


def test_the_labels_of_the_challenge_records_equal_a_plain_loop(data_root):
    rows = _rows(data_root / "cinc2020" / "LABELS.csv")
    scored = {row["SNOMED CT Code"] for row in _rows(data_root / "challenge2020" / "dx_mapping_scored.csv")}
    made = diagnosis_map("challenge2020")
    found = multi_hot(made, [row["dx_snomed"] for row in rows])
    without = 0
    for row, labels in zip(rows, found.labels, strict=True):
        wanted = {SAME.get(code, code) for code in row["dx_snomed"].split(",") if code in scored}
        assert {name for name, yes in zip(made.classes, labels, strict=True) if yes} == wanted
        without += not wanted
    assert not found.unknown
    assert found.without == without == 59
    assert found.unscored["164884008 (VEB)"] == 19


def test_raw_text_labels_of_cpsc_come_to_the_same_as_their_codes(data_root):
    rows = [row for row in _rows(data_root / "cinc2020" / "LABELS.csv") if row["dx_raw"] and row["label_origin"] == "header"]
    made = diagnosis_map("challenge2020-from-cpsc")
    raw, coded = (multi_hot(made, [row[key] for row in rows]) for key in ("dx_raw", "dx_snomed"))
    np.testing.assert_array_equal(raw.labels, coded.labels)
    assert not raw.unknown
    assert sum(not row["dx_raw"][0].isdigit() for row in rows) > 140


def test_statements_of_ptbxl_come_to_the_challenges_labels_on_the_records_that_are_in_both(data_root):
    table = pd.read_csv(data_root / "ptbxl" / "ptbxl_database.csv", index_col="ecg_id")
    both = [row for row in _rows(data_root / "cinc2020" / "LABELS.csv") if row["record"].startswith("HR")]
    both = [row for row in both if int(row["record"][2:]) in table.index]
    assert len(both) == 11
    rows = table.loc[[int(row["record"][2:]) for row in both]]
    statements = [
        [*ast.literal_eval(codes), f"heart_axis={axis}"] for codes, axis in zip(rows.scp_codes, rows.heart_axis, strict=True)
    ]
    found = multi_hot(diagnosis_map("challenge2020-from-scp"), statements)
    wanted = multi_hot(diagnosis_map("challenge2020"), [row["dx_snomed"] for row in both])
    np.testing.assert_array_equal(found.labels, wanted.labels)
    assert set(found.unknown) <= {"heart_axis=nan"}


def test_axis_deviations_of_ptbxl_are_those_of_its_column_and_no_map_finds_them_unknown(data_root):
    folder = data_root / "ptbxl"
    if not folder.is_dir():
        pytest.skip("ECGLENS_DATA holds no ptbxl/")
    which = database("ptbxl")
    records, _ = records_present(which, folder)
    diagnoses = [each.diagnoses for each in read_records(which, folder, records, [], swap_leads=False)]
    assert len(diagnoses) == 2980
    made = diagnosis_map("challenge2020-from-scp")
    found = multi_hot(made, diagnoses)
    count = dict(zip(made.classes, found.labels.sum(0).tolist(), strict=True))
    said = Counter(row["heart_axis"] for row in _rows(folder / "ptbxl_database.csv"))
    assert (said["LAD"], said["ALAD"], said["RAD"], said["ARAD"]) == (472, 154, 24, 14)
    assert (count["39732003"], count["47665007"]) == (472 + 154, 24 + 14)
    assert not found.unknown
    classes = multi_hot(diagnosis_map("ptbxl-superclasses"), diagnoses)
    assert not classes.unknown
    assert classes.labels.sum(0).tolist() == [1429, 663, 700, 600, 344]
    assert classes.unscored["heart_axis=MID"] == found.unscored["heart_axis=MID"] == said["MID"] == 897


def test_all_statements_of_ptbxl_are_known(data_root):
    table = pd.read_csv(data_root / "ptbxl" / "ptbxl_database.csv")
    found = multi_hot(diagnosis_map("ptbxl-superclasses"), [ast.literal_eval(codes) for codes in table.scp_codes])
    assert not found.unknown
    assert found.without == 60
    assert found.labels.sum(0).tolist() == [1429, 663, 700, 600, 344]
