"""Where cardiology expects a class's sign, against loops over samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecglens.analysis.expected import EXPECTED, expected_spans, mass_where_expected
from ecglens.examples.label_maps import LABEL_MAPS
from made import make_examples


def _windows(classes=("N", "PVC", "AFIB", "x"), n=8, length=200):
    rng = np.random.default_rng(0)
    patients = [f"p{k % 3}" for k in range(n)]
    signals = rng.normal(size=(n, 1, length)).astype(np.float32)
    made = make_examples(
        signals, np.arange(n) % len(classes), classes=classes, fs=100.0, r_index=80 + np.arange(n), patient=patients,
        valid_start=[0, 75] * (n // 2),
    )  # fmt: skip
    return replace(made, table=made.table.assign(beats_at=[f"{20 + k} {80 + k} 190" for k in range(n)]))


def test_spans_are_the_windows_of_the_class_around_its_beats_where_there_is_signal():
    examples = _windows()
    where, valid = expected_spans(examples)
    for k, label in enumerate(examples.labels):
        expected = EXPECTED.get(examples.classes[label])
        beats = [80 + k] if expected is None or not expected.every_beat else [20 + k, 80 + k, 190]
        for time in range(200):
            inside = expected is not None and any(
                round(at + first * 100) <= time < round(at + stop * 100) for at in beats for first, stop in expected.windows
            )
            signal = time >= (75 if k % 2 else 0)
            assert valid[k, 0, time] == signal
            assert where[k, 0, time] == (inside and signal), (k, time)


def test_a_uniform_map_has_no_enrichment_and_a_map_that_knows_has_all():
    examples = _windows(n=12)
    where, valid = expected_spans(examples)
    maps = {"uniform": valid.astype(np.float32), "knows": -where.astype(np.float32)}
    table = mass_where_expected(examples, maps, examples.column("patient"))
    assert set(table["class"]) == {"N", "PVC", "AFIB"}  # nothing is known of class x
    uniform, knows = (table[table["method"] == name] for name in maps)
    np.testing.assert_allclose(uniform["enrichment"], 1, atol=1e-6)
    np.testing.assert_allclose(knows["share_of_map"], 1, atol=1e-6)
    np.testing.assert_allclose(knows["enrichment"], 1 / knows["share_of_time"], rtol=1e-6)
    for row in table.itertuples():
        assert row.low <= row.enrichment + 1e-9
        assert row.high >= row.enrichment - 1e-9


def test_shares_are_plain_means_over_the_windows_of_the_class():
    examples = _windows(n=12)
    rng = np.random.default_rng(3)
    maps = rng.normal(size=(12, 1, 200)).astype(np.float32)
    where, valid = expected_spans(examples)
    table = mass_where_expected(examples, {"m": maps}, examples.column("patient")).set_index("class")
    for name in ("N", "PVC", "AFIB"):
        mine = np.flatnonzero(examples.labels == examples.classes.index(name))
        mass = [np.abs(maps[k])[where[k]].sum() / np.abs(maps[k]).sum() for k in mine]
        time = [where[k].sum() / valid[k].sum() for k in mine]
        assert table.loc[name, "share_of_map"] == pytest.approx(np.mean(mass), rel=1e-5)
        assert table.loc[name, "share_of_time"] == pytest.approx(np.mean(time), rel=1e-9)
        assert table.loc[name, "n"] == 3


def test_a_map_of_one_patient_has_no_interval_and_an_empty_map_does_not_count():
    examples = _windows(classes=("N", "PVC"), n=4)
    maps = np.ones((4, 1, 200), np.float32)
    maps[0] = 0
    table = mass_where_expected(examples, {"m": maps}, np.array(["p"] * 4)).set_index("class")
    assert table.loc["N", "n"] == 1
    assert table.loc["PVC", "n"] == 2
    assert table[["low", "high"]].isna().all().all()


def test_every_class_of_the_paper_is_expected_somewhere_with_a_source():
    for name in LABEL_MAPS["vijayarangan"].classes:
        expected = EXPECTED[name]
        assert expected.source
        assert expected.why
        assert all(first < stop for first, stop in expected.windows)
