"""Examples fit together, and what is taken from them stays together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.examples.examples import COLUMNS, joined

LABELS, RECORDS, PATIENTS = [0, 1, 1, 0, 2], ["a", "a", "b", "c", "c"], ["a", "a", "b", "b", "b"]


def test_a_row_taken_brings_its_signal_label_and_table_along(make_examples) -> None:
    whole = make_examples(LABELS, RECORDS)

    @given(st.lists(st.integers(0, 4), max_size=8))
    def check(rows: list[int]) -> None:
        part = whole.take(np.array(rows, np.intp))
        assert len(part) == len(rows)
        assert part.signals[:, 0, 0].tolist() == rows
        assert part.labels.tolist() == [LABELS[row] for row in rows]
        assert part.column("record").tolist() == [RECORDS[row] for row in rows]
        assert part.table.index.tolist() == list(range(len(rows)))

    check()


def test_a_mask_takes_the_rows_where_it_is_true(make_examples) -> None:
    part = make_examples(LABELS, RECORDS).take(np.array([True, False, False, True, True]))
    assert part.signals[:, 0, 0].tolist() == [0, 3, 4]
    assert part.column("record").tolist() == ["a", "c", "c"]


def test_examples_join_behind_each_other_and_can_be_taken_apart_again(make_examples) -> None:
    whole = make_examples(LABELS, RECORDS, PATIENTS)
    parts = [whole.take(np.array(rows, np.intp)) for rows in ([3, 1], [0], [], [2, 4])]
    again = joined(parts)
    assert again.signals[:, 0, 0].tolist() == [3, 1, 0, 2, 4]
    assert again.labels.tolist() == [LABELS[row] for row in (3, 1, 0, 2, 4)]
    assert again.table.equals(whole.table.iloc[[3, 1, 0, 2, 4]].reset_index(drop=True))
    assert (again.classes, again.fs, again.leads, again.multi_hot) == (whole.classes, whole.fs, whole.leads, None)
    hot = np.eye(4, dtype=bool)[LABELS]
    several = replace(whole, multi_hot=hot)
    assert np.array_equal(joined([several.take(np.array([4, 0])), several]).multi_hot, hot[[4, 0, *range(5)]])
    with pytest.raises(EcglensError, match="cannot join some of several"):
        joined([several, whole])
    with pytest.raises(EcglensError, match=r"examples with fs 7 cannot join some with"):
        joined([whole, replace(whole, fs=7)])
    with pytest.raises(EcglensError, match="at least one set"):
        joined([])


def test_counts_add_up_by_class_and_patient_without_rows_of_zero(make_examples) -> None:
    counts = make_examples(LABELS, RECORDS, PATIENTS).counts()
    assert counts.to_dict("list") == {"class": ["A", "A", "B", "B", "C"], "patient": ["a", "b", "a", "b", "b"], "n": [1] * 5}


def test_length_is_samples_per_lead(make_examples) -> None:
    assert make_examples(LABELS, RECORDS).length == 2


def test_what_does_not_fit_is_refused_by_name(make_examples) -> None:
    whole = make_examples(LABELS, RECORDS)
    with pytest.raises(EcglensError, match=r"signals have shape \(5, 1, 2\); expected \(example, 2 leads, time\)"):
        replace(whole, leads=("I", "II"))
    with pytest.raises(EcglensError, match=r"signals have shape \(5, 2\)"):
        replace(whole, signals=whole.signals[:, 0])
    with pytest.raises(EcglensError, match="5 signals, 4 labels and 5 table rows"):
        replace(whole, labels=whole.labels[:4])
    with pytest.raises(EcglensError, match="5 signals, 5 labels and 3 table rows"):
        replace(whole, table=whole.table[:3])


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_is_asked_for(make_examples, column: str) -> None:
    whole = make_examples(LABELS, RECORDS)
    with pytest.raises(EcglensError, match=f"the table of examples lacks {column}"):
        replace(whole, table=whole.table.drop(columns=column))
