"""Where in the beat maps lie, with made maps that lie where we put them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from audit.beats_made import looks_at, made_beats
from ecglens.analysis.waves import wave_regions
from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN
from ecglens.audit.subject import Subject
from ecglens.audit.wave_focus import ALL, OUTSIDE, wave_findings, wave_table
from ecglens.examples.examples import Examples
from made import tiny


@pytest.fixture(scope="module")
def examples() -> Examples:
    return made_beats(60)


def _subject(examples: Examples, method: str) -> Subject:
    return Subject("net", tiny(examples), examples, method=method)


def test_a_uniform_map_has_in_each_wave_as_much_as_time(examples: Examples) -> None:
    table = wave_table(_subject(examples, "uniform"))
    assert isinstance(table, pd.DataFrame)
    mine = table[(table["method"] == "uniform") & (table["time"] > 0)]
    np.testing.assert_allclose(mine["enrichment"], 1, atol=1e-5)
    assert set(mine["wave"]) >= {"QRS", "ST", "T", OUTSIDE}
    outside, _ = wave_findings(_subject(examples, "uniform"), table)
    assert (outside.state, outside.severity) == (FOUND, "medium")


def test_shares_are_those_of_a_slow_sum_over_leads_and_samples(examples: Examples) -> None:
    subject = _subject(examples, "magnitude")
    table = wave_table(subject)
    regions = wave_regions(examples)
    size = np.abs(subject.classifier.inputs(examples)[0].numpy()).astype(float)
    shares: dict[str, list[float]] = {"QRS": [], OUTSIDE: []}
    for n in range(len(examples)):
        inside = dict.fromkeys(shares, 0.0)
        for k, (name, row) in enumerate(zip(regions.names, regions.row, strict=True)):
            mass = size[n, row, regions.start[n, k] : regions.stop[n, k]].sum()
            if name == "QRS":
                inside["QRS"] += mass
            elif name not in ("P", "PR", "ST", "T"):
                inside[OUTSIDE] += mass
        for name in shares:
            shares[name].append(inside[name] / size[n].sum())
    for name, values in shares.items():
        row = table[(table["method"] == "magnitude") & (table["class"] == ALL) & (table["wave"] == name)].iloc[0]
        assert row["n"] == len(examples)
        assert row["share"] == pytest.approx(np.mean(values), rel=1e-4)


def test_a_map_on_qrs_is_on_the_beat_and_one_on_the_pause_is_not(examples: Examples, method) -> None:
    r = int(examples.column("r_index")[0])
    assert (examples.column("r_index") == r).all()
    on_qrs = _subject(examples, method("made-qrs", looks_at(r - 4, r + 4)))
    outside, alike = wave_findings(on_qrs, wave_table(on_qrs))
    assert (outside.state, alike.state) == (CLEAR, CLEAR)
    assert outside.number < 0.1
    on_pause = _subject(examples, method("made-pause", looks_at(examples.length - 12, examples.length)))
    outside, _ = wave_findings(on_pause, wave_table(on_pause))
    assert outside.state == FOUND
    assert outside.number > 1.5


def test_a_map_of_the_signals_size_is_said_to_be_one(examples: Examples) -> None:
    subject = _subject(examples, "magnitude")
    assert wave_findings(subject, wave_table(subject))[1].state == FOUND


def test_what_has_no_waves_is_not_run(examples: Examples) -> None:
    subject = _subject(examples, "uniform")
    for table, text in ((wave_table(replace(subject, method=None)), "no method"), ("no R", "no R")):
        for each in wave_findings(subject, table):
            assert each.state == NOT_RUN
            assert text in each.why_not


def test_empty_maps_and_no_example_to_explain_are_not_run(examples: Examples, method) -> None:
    of = _subject(examples, method("made-nothing", looks_at(0, 0)))
    for each in wave_findings(of, wave_table(of)):
        assert (each.state, each.why_not) == (NOT_RUN, "the maps are empty")
    without = replace(of, examples=replace(examples, multi_hot=np.zeros((len(examples), 2), bool)))
    for none in (without, replace(of, examples=examples.take(np.array([], np.int64)))):
        assert wave_table(none) == "there is no example to explain"
