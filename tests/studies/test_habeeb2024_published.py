"""The numbers of Habeeb and Goyal 2024 against each other."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.studies.habeeb2024_published import CLASSES, FIGURES, LEADS, TABLE_1, TABLE_2, TABLE_3

# The papers' rows of averages
MEANS_2 = {
    "precision": (0.824, 0.383),
    "recall": (0.844, 0.41),
    "f1": (0.832, 0.345),
    "auc": (0.971, 0.693),
    "accuracy": (0.969, 0.848),
}
MEANS_3 = {
    "precision": (0.824, 0.67, 0.782),
    "recall": (0.844, 0.655, 0.762),
    "f1": (0.832, 0.64, 0.765),
    "auc": (0.971, 0.918, 0.958),
    "accuracy": (0.969, 0.924, 0.945),
}


def test_the_averages_of_tables_2_and_3_are_the_plain_means_of_their_classes() -> None:
    for table, means in ((TABLE_2, MEANS_2), (TABLE_3, MEANS_3)):
        for metric, columns in table.items():
            assert np.mean(columns, axis=1) == pytest.approx(means[metric], abs=1.1e-3), metric


def test_f1_follows_from_precision_and_recall() -> None:
    for table in (TABLE_2, TABLE_3):
        p, r, f1 = (np.array(table[name]) for name in ("precision", "recall", "f1"))
        np.testing.assert_allclose(2 * p * r / (p + r), f1, atol=2e-3)


def test_shares_of_the_leads_add_up_to_one_in_every_row() -> None:
    assert list(FIGURES) == [("cpsc", "cpsc"), ("cpsc", "ptbxl"), ("both", "cpsc"), ("both", "ptbxl")]
    for rows in FIGURES.values():
        assert tuple(rows) == CLASSES
        for shares in rows.values():
            assert len(shares) == len(LEADS)
            assert sum(shares) == pytest.approx(1, abs=0.035)


def test_percentages_of_table_1_are_those_of_its_records() -> None:
    for n, percent, men, of_class, _, _ in TABLE_1.values():
        assert 100 * n / 21_541 == pytest.approx(percent, abs=0.01)
        assert 100 * men / n == pytest.approx(of_class, abs=0.01)
