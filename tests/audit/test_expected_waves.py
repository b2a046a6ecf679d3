"""The table of what is expected, and the remark on maps that lie elsewhere."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from audit.subjects import subject
from ecglens.audit.expected_waves import WAVES, compare_with_expected, expectations, waves
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.wave_focus import OUTSIDE
from ecglens.examples.label_maps import LABEL_MAPS
from ecglens.examples.nine_classes import NINE

OF = subject([0, 1, 2], ["a", "b", "c"], method="saliency")


def measured(rows: dict[str, dict[str, tuple[float, float, float]]], n: int = 20, patients: int = 4) -> pd.DataFrame:
    """class -> wave -> (enrichment, low, high), as `wave_table` has it."""
    out = []
    for one, by_wave in rows.items():
        for wave, (value, low, high) in by_wave.items():
            about = {"method": "saliency", "class": one, "wave": wave, "n": n, "patients": patients, "share": 0.1 * value}
            out.append(about | {"time": 0.1, "enrichment": value, "low": low, "high": high})
            out.append(about | {"method": "slope", "time": 0.1, "enrichment": 9.0, "low": 8.0, "high": 10.0})
    return pd.DataFrame(out)


def test_every_row_names_waves_words_and_a_source() -> None:
    table = expectations()
    for name, row in table.items():
        assert set(row) == {"names", "title", "waves", "intervals", "leads", "expected", "source"}, name
        assert row["waves"].split(), name
        assert set(row["waves"].split()) <= set(WAVES), name
        assert row["title"], name
        assert row["expected"], name
        assert any(year in row["source"] for year in ("2008", "2009", "2015", "2017", "2018", "2020", "2021")), name
    leads = {"I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"}
    assert all(set(row["leads"].split()) <= leads for row in table.values())


def test_no_name_stands_twice_and_all_classes_of_the_studies_are_there() -> None:
    names = [name for row in {row["names"]: row for row in expectations().values()}.values() for name in row["names"].split()]
    assert len(names) == len(set(names)) == len(expectations())
    wanted = {*NINE, *LABEL_MAPS["jones"].classes, *LABEL_MAPS["aami"].classes, *LABEL_MAPS["vijayarangan"].classes}
    wanted |= {"NORM", "MI", "STTC", "CD", "HYP", "/", "e"}
    assert wanted <= set(expectations())


def test_a_paced_p_and_a_ventricular_v_are_not_mixed_up() -> None:
    table = expectations()
    assert table["P"]["title"] == "paced beat"
    assert table["j"]["title"] != table["J"]["title"]
    assert table["R"] is table["RBBB"]
    assert "V1" in table["R"]["leads"].split()
    assert "P" in table["AF"]["waves"].split()


def test_maps_on_what_is_expected_are_clear_and_elsewhere_a_remark() -> None:
    good = {"V": {"QRS": (2.0, 1.8, 2.2), "P": (0.5, 0.4, 0.6), OUTSIDE: (0.8, 0.7, 0.9)}}
    answer = compare_with_expected(OF, measured(good))
    assert (answer.findings[0].state, answer.findings[0].number) == (CLEAR, 0)
    bad = {"V": {"QRS": (0.9, 0.8, 1.0), "P": (2.0, 1.7, 2.3), OUTSIDE: (0.8, 0.7, 0.9)}}
    answer = compare_with_expected(OF, measured(good | {"N": good["V"]} | bad))
    finding = answer.findings[0]
    assert (finding.state, finding.severity, finding.number) == (FOUND, "low", 1)
    assert "V: P, expected QRS ST T outside" in finding.what
    table = answer.tables["expected_waves"].set_index("class")
    assert table.loc["V", ["densest", "best_expected", "as_expected"]].tolist() == ["P", "QRS", "no"]
    assert table.loc["V", "best_enrichment"] == 0.9
    assert table.loc["N", "as_expected"] == "yes"


@pytest.mark.parametrize(
    ("waves", "n", "patients"),
    [
        ({"QRS": (1.9, 1.6, 2.2), "P": (2.0, 1.7, 2.3)}, 20, 4),  # no more than what is expected
        ({"QRS": (0.9, 0.8, 1.0), "P": (2.0, 1.7, 2.3)}, 7, 4),
        ({"QRS": (0.9, 0.8, 1.0), "P": (2.0, math.nan, math.nan)}, 20, 1),
        ({"QRS": (0.9, 0.8, 1.0), "P": (1.1, 1.05, 1.2)}, 20, 4),  # hardly denser than anywhere
        ({"QRS": (0.9, 0.8, 1.0), "TP": (2.0, 1.7, 2.3)}, 20, 4),  # is in "outside" already
    ],
)
def test_what_is_not_clear_is_not_told(waves, n: int, patients: int) -> None:
    answer = compare_with_expected(OF, measured({"V": waves}, n, patients))
    assert answer.findings[0].state == NOT_RUN
    assert answer.tables["expected_waves"]["as_expected"].tolist() == ["not told"]


def test_classes_that_no_table_knows_and_subjects_without_waves_are_not_run() -> None:
    answer = compare_with_expected(OF, measured({"cat": {"QRS": (2.0, 1.8, 2.2)}}))
    assert answer.findings[0].state == NOT_RUN
    assert "no class" in answer.findings[0].why_not
    assert waves(subject([0, 1, 2], ["a", "b", "c"])).findings[0].why_not == "no method is named whose maps are shown"
