"""Classes whose records their source calls something else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from audit.subjects import subject
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.meanings import class_meanings, meanings
from ecglens.audit.subject import Subject
from ecglens.examples.diagnosis_map import table_named


def _said(diagnoses: list[str], classes: tuple[str, ...] = ("SNR", "PAC"), hot: list[int] | None = None) -> Subject:
    """A record for each text; those with PAC or PACE are of class PAC, unless told."""
    label = [int("PAC" in text) for text in diagnoses] if hot is None else hot
    of = subject(label, [f"p{k}" for k in range(len(label))], classes=classes)
    return replace(of, examples=replace(of.examples, table=of.examples.table.assign(diagnoses=diagnoses)))


def test_paced_records_among_premature_beats_are_named() -> None:
    found = class_meanings(_said(["PACE; SR"] * 8 + ["PAC; SR"] * 4 + ["NORM; SR"] * 20))
    assert [each.id for each in found] == ["labels.meaning.PAC"]
    assert (found[0].state, found[0].severity, found[0].of) == (FOUND, "high", "recipe")
    assert found[0].number == pytest.approx(8 / 12)
    assert "8 of 12 records of PAC (premature atrial contraction)" in found[0].what
    assert "PACE (normal functioning artificial pacemaker): 8" in found[0].what
    assert "SR (" not in found[0].what  # as frequent in the rest
    assert found[0].examples == tuple(f"made/{k}" for k in range(8))


def test_a_few_odd_ones_are_clear_and_a_clip_more_is_no_record_more() -> None:
    of = _said(["PACE"] + ["PAC"] * 11 + ["NORM"] * 10)
    found = class_meanings(of)
    assert [each.state for each in found] == [CLEAR]
    assert found[0].number == pytest.approx(1 / 12)
    again = of.examples.take(np.array([0] * 30 + list(range(22))))
    clips = replace(again, table=again.table.assign(id=[str(k) for k in range(52)]))
    assert class_meanings(replace(of, examples=clips))[0].number == pytest.approx(1 / 12)


def test_what_is_needed_is_named() -> None:
    of = _said(["PACE"] * 12)
    plain = replace(of, examples=replace(of.examples, table=of.examples.table.drop(columns="diagnoses")))
    for lacking, word in (
        (plain, "what their source called them"), (_said(["PAC"] * 12, ("one", "two")), "no class has a name"),
        (_said(["PAC"] * 9), "10 records"), (_said([""] * 12, hot=[1] * 12), "10 records"),
    ):  # fmt: skip
        found = class_meanings(lacking)
        assert [each.state for each in found] == [NOT_RUN]
        assert word in found[0].why_not


def test_every_code_of_the_table_is_known_to_the_package() -> None:
    known = {row["statement"] for row in table_named("scp")}
    known |= {row["code"] for part in ("scored", "unscored") for row in table_named(f"challenge2020_{part}")}
    known |= {row["code"] for row in table_named("habeeb2024_snomed")} | {"733534002"}  # complete LBBB, of the Challenge 2021
    assert set.union(*(set(each.said_by) for each in meanings().values())) <= known
