"""Which records habeeb2024 draws, the tables that keep them, and what is drawn from these tables alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import StepPatch
from torch import nn

from ecglens.analysis.lead_occlusion import occlude_lead_cells
from ecglens.analysis.lead_shares import lead_shares
from ecglens.attribution import explain
from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier
from ecglens.runs import Run
from ecglens.studies.habeeb2024_published import CLASSES, LEADS
from ecglens.studies.habeeb2024_report_maps import leads_section, maps_section
from ecglens.studies.habeeb2024_shown import choose_records, read_shown, write_shown
from ecglens.studies.habeeb2024_tables import mean_signal, sizes_by_second
from ecglens.studies.sources import Sources
from made import make_examples
from nets import seeded

_FS, _LENGTH, _N = 20.0, 60, 12
_BY = ("expected-gradients", "shapley-cpsc", "shapley-ptbxl")


def _choose_slowly(labels, p, answered, hospital) -> tuple[list[int], list[int], list[int]]:
    given = [max(range(9), key=lambda k: row[k]) for row in p]
    right = [bool(labels[n][k]) for n, k in enumerate(given)]

    def middle(*pools: list[int]) -> list[int]:
        for pool in pools:
            if pool:
                return [pool[len(pool) // 2]]
        return []

    everyone = range(len(p))
    of_class, patient = [], []
    for k in range(9):
        mine = [n for n in everyone if given[n] == k]
        of_class += middle([n for n in mine if right[n]], mine)
    for whose in ("cpsc", "ptbxl"):
        mine = [n for n in everyone if hospital[n] == whose]
        good = [n for n in mine if right[n]]
        patient += middle([n for n in good if given[n] != 0], good, mine)
    bad = [n for n in everyone if not right[n] and answered[n][given[n]]]
    return of_class, patient, sorted(bad, key=lambda n: -p[n][given[n]])[:1]


@pytest.mark.parametrize("seed", range(12))
def test_the_records_drawn_are_the_middle_ones_and_the_surest_wrong_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 14))
    p = rng.random((n, 9))
    p[:, : rng.integers(1, 9)] += 0.5
    p /= 2
    labels = rng.random((n, 9)) < rng.choice([0.1, 0.5])
    hospital = rng.choice(["cpsc", "ptbxl"], n)
    answered = p > 0.6
    found = choose_records(labels, p, answered, hospital, CLASSES)
    assert (found.of_class, found.patient, found.wrong) == _choose_slowly(labels, p, answered, hospital)
    assert sorted(set(found.all)) == sorted(found.all)
    assert set(found.all) == {*found.of_class, *found.patient, *found.wrong}


def test_a_wrong_class_that_is_not_answered_is_no_wrong_answer() -> None:
    p = np.full((1, 9), 0.1)
    p[0, 3] = 0.4
    labels = np.zeros((1, 9), bool)
    for answered, wanted in ((p > 0.5, []), (p > 0.3, [0])):
        assert choose_records(labels, p, answered, np.array(["cpsc"]), CLASSES).wrong == wanted


def _classifier() -> Classifier:
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv1d(12, 8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 9))

    return Classifier(
        seeded(build), "net", CLASSES, LEADS, _FS, _LENGTH, activation="sigmoid", cam_layer="1", thresholds=(0.05,) * 9
    )


def _material() -> Any:
    rng = np.random.default_rng(3)
    signals = (rng.normal(size=(_N, 12, _LENGTH)) * rng.uniform(0.2, 3, (_N, 12, 1))).astype(np.float32)
    starts = np.where(np.arange(_N) % 3, 0, 20)
    for row, start in enumerate(starts):
        signals[row, :, :start] = 0
    examples = make_examples(
        signals, [-1] * _N, classes=CLASSES, fs=_FS, leads=LEADS, valid_start=starts, record=[f"R{n}" for n in range(_N)]
    )
    hot = rng.random((_N, 9)) < 0.4
    return SimpleNamespace(examples=replace(examples, multi_hot=hot), hospital=np.array(["cpsc", "ptbxl"] * (_N // 2)))


def _write(tmp_path, *, corrected: bool = True, material: Any = None) -> Run:
    classifier, material = _classifier(), material or _material()
    run = Run(tmp_path, {"asked": {"recipe": {"fs": _FS}, "train": "ptbxl"}, "data": {"kind": "real"}})
    run.tables.mkdir()
    (tmp_path / "metrics.json").write_text(json.dumps({"shapley-cpsc.worst_error": 1e-6}))
    rows = np.arange(_N)
    write_shown(classifier, material, rows, run)
    given = classifier.logits(material.examples).argmax(1)
    rng, tables, values = np.random.default_rng(4), [], []
    for by in _BY if corrected else _BY[:1]:
        of_lead = rng.normal(size=(_N, 12))
        frame = pd.DataFrame(of_lead, columns=list(LEADS))
        frame.insert(0, "by", by)
        frame.insert(1, "hospital", material.hospital)
        frame.insert(2, "record", material.examples.column("record"))
        frame.insert(3, "class", np.array(CLASSES)[given])
        values.append(frame)
        for whose in ("cpsc", "ptbxl"):
            for signed in (True, False):
                mine = material.hospital == whose
                names = material.examples.column("record")[mine].astype(str)
                table = lead_shares(of_lead[mine], given[mine], names, CLASSES, LEADS, signed=signed)
                table.insert(0, "by", by)
                table.insert(1, "hospital", whose)
                table.insert(2, "signed", signed)
                tables.append(table)
    pd.concat(values).to_csv(run.tables / "leads-values.csv", index=False)
    pd.concat(tables).to_csv(run.tables / "leads.csv", index=False)
    return run


class _Caught(Sources):
    """Figures by name, not drawn to the end."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.figures: dict[str, Any] = {}

    def picture(self, figure: Any, name: str, caption: str) -> Any:
        assert name not in self.figures
        self.figures[name] = figure
        return name


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[_Caught, Any]]:
    """The corrected run as written, each section drawn once: drawn("maps"). Read only."""

    @cache
    def one(section: str) -> tuple[_Caught, Any]:
        source = _Caught(_write(tmp_path_factory.mktemp(section)))
        return source, {"maps": maps_section, "leads": leads_section}[section](source)

    return one


def test_each_record_is_kept_with_what_its_labels_and_the_net_say_and_its_maps(tmp_path) -> None:
    run, classifier, material = _write(tmp_path), _classifier(), _material()
    shown = read_shown(Sources(run))
    logits = classifier.logits(material.examples)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    names = list(material.examples.column("record"))
    wanted = choose_records(material.examples.multi_hot, p, p >= 0.05, material.hospital, CLASSES)
    assert [one.row["record"] for one in shown] == [names[n] for n in wanted.all]
    assert len(wanted.all) >= 4
    for one in shown:
        n = names.index(one.row["record"])
        k = int(p[n].argmax())
        assert (one.row["class"], one.row["hospital"]) == (CLASSES[k], material.hospital[n])
        for column, there in (("labels", material.examples.multi_hot[n]), ("answered", p[n] >= 0.05)):
            assert one.row[column] == (", ".join(np.array(CLASSES)[there]) or "none")
        assert one.row["right"] == bool(material.examples.multi_hot[n, k])
        assert one.row["probability"] == pytest.approx(p[n, k], rel=1e-5)
        assert [one.row[key] for key in ("of_class", "patient", "wrong")] == [
            n in each for each in (wanted.of_class, wanted.patient, wanted.wrong)
        ]
        alone = material.examples.take(np.array([n]))
        first = int(alone.column("valid_start")[0])
        np.testing.assert_array_equal(one.signal, alone.signals[0, :, first:])
        cells = occlude_lead_cells(classifier, alone, k)
        np.testing.assert_allclose(one.occlusion, np.repeat(cells.fall, np.diff(cells.edges), axis=1), atol=1e-6)
        methods = ["grad-cam", "guided-grad-cam", "channel-cam"]
        maps = explain(classifier, alone, methods, target=np.array([k]), quiet=True)
        np.testing.assert_allclose(one.channel_cam, maps.native("channel-cam")[0].ravel(), atol=1e-5)
        np.testing.assert_allclose(one.grad_cam, maps.native("grad-cam")[0].ravel(), atol=1e-6)
        np.testing.assert_allclose(one.guided, maps["guided-grad-cam"][0][:, first:], atol=1e-6)
        assert one.within == pytest.approx((-first / _FS, (_LENGTH - first) / _FS))


def test_shown_records_that_are_missing_or_damaged_are_said_in_a_line(tmp_path) -> None:
    run = _write(tmp_path)
    path = run.tables / "shown.npz"
    whole = path.read_bytes()
    garbled = bytearray(whole)
    garbled[garbled.index(b"signal 0.npy") + 200] ^= 0xFF
    with np.load(path) as found:
        arrays = dict(found)
    for damaged in (b"", b"no zip", whole[:-10], bytes(garbled)):
        path.write_bytes(damaged)
        with pytest.raises(EcglensError, match=r"shown\.npz cannot be read.*damaged; run the study again"):
            read_shown(Sources(run))
    for name, other in (("signal 0", np.zeros(3)), ("edges 0", np.array([0, 1]))):
        np.savez(path, **(arrays | {name: other}))
        with pytest.raises(EcglensError, match=r"shown\.npz.*run the study again"):
            read_shown(Sources(run))
    path.unlink()
    with pytest.raises(EcglensError, match=r"shown\.npz is missing: run the study again"):
        read_shown(Sources(run))


def test_of_a_long_record_the_last_ten_seconds_are_drawn(tmp_path) -> None:
    run = _write(tmp_path)
    table = pd.read_csv(run.tables / "shown.csv")
    with np.load(run.tables / "shown.npz") as found:
        arrays = dict(found)
    arrays["fs"] = np.array(5.0)
    np.savez(run.tables / "shown.npz", **arrays)
    one = read_shown(Sources(run))[0]
    kept = max(int(table["start"][0]), _LENGTH - 50)
    np.testing.assert_array_equal(one.signal, arrays["signal 0"][:, kept:])
    assert one.within == pytest.approx((-kept / 5, (_LENGTH - kept) / 5))


@pytest.mark.parametrize("corrected", [True, False])
def test_the_patient_view_has_the_records_own_values_and_words(tmp_path, drawn, corrected: bool) -> None:
    if corrected:
        source, _ = drawn("leads")
    else:
        source = _Caught(_write(tmp_path, corrected=False))
        leads_section(source)
    values = pd.read_csv(source.run.tables / "leads-values.csv")
    for one in (one for one in read_shown(source) if one.row["patient"]):
        figure = source.figures[f"patient-{one.row['hospital']}"]
        beside = [axes for axes in figure.axes if axes.patches]
        mine = values[values["record"] == one.row["record"]].set_index("by")
        by = list(_BY[1:] if corrected else _BY[:1])
        drawn = np.array([[patch.get_width() for patch in axes.patches] for axes in beside])
        np.testing.assert_allclose(drawn, mine.loc[by, list(LEADS)].to_numpy().T)
        title = figure.axes[0].get_title(loc="left")
        verdict = "right" if one.row["right"] else "wrong"
        assert f"Labels: {one.row['labels']}\n" in title
        assert f"The net: {one.row['class']}, probability {one.row['probability']:.2f}, threshold 0.05, {verdict}" in title
        tints = np.array([axes.images[0].get_array()[0] for axes in figure.axes if axes.images][:12])
        np.testing.assert_allclose(tints, one.occlusion)


def test_a_class_that_is_below_its_threshold_is_not_called_an_answer(tmp_path) -> None:
    run = _write(tmp_path)
    table = pd.read_csv(run.tables / "shown.csv")
    table["threshold"], table["answered"] = 1.0, "AF"
    table["class"] = "SNR"
    table.to_csv(run.tables / "shown.csv", index=False)
    source = _Caught(run)
    leads_section(source)
    assert "threshold 1.00, not answered; answered: AF" in source.figures["patient-cpsc"].axes[0].get_title(loc="left")


def test_what_the_net_answered_is_asked_of_its_decision_in_every_title(tmp_path) -> None:
    run = _write(tmp_path)
    table = pd.read_csv(run.tables / "shown.csv").head(3)
    # the numbers contradict the decision, as rounded ones can
    table["class"], table["threshold"], table["probability"] = "SNR", 0.5, [0.4, 0.4, 0.6]
    table["answered"], table["right"], table["of_class"], table["wrong"] = (
        ["SNR, AF", "SNR", "none"],
        [True, False, True],
        True,
        False,
    )
    table.to_csv(run.tables / "shown.csv", index=False)
    source = _Caught(run)
    maps_section(source)
    for number, (row, verdict) in enumerate(
        zip(table.to_dict("records"), ("right", "wrong", "not answered"), strict=True), start=1
    ):
        titles = {
            way: source.figures[f"figure-6-{number:02d}-{way}"].axes[0].get_title(loc="left")
            for way in ("published", "corrected", "occlusion", "guided")
        }
        hospital = {"cpsc": "CPSC2018", "ptbxl": "PTB-XL"}[row["hospital"]]
        assert titles["published"] == f"SNR: {row['id']} ({hospital}; {verdict}), as published"
        assert titles["corrected"] == f"SNR: {row['id']} ({hospital}; {verdict}), corrected"
        assert f"threshold 0.50, {verdict}" in titles["occlusion"]
        assert f"threshold 0.50, {verdict}" in titles["guided"]


def test_the_pictures_and_the_table_hold_each_its_own_map(drawn) -> None:
    source, section = drawn("maps")
    shown = [one for one in read_shown(source) if one.row["of_class"]]
    (wrong,) = [one for one in read_shown(source) if one.row["wrong"]]
    for name, one in [*((f"figure-6-{k:02d}", one) for k, one in enumerate(shown, start=1)), ("figure-8", wrong)]:
        begin, end = one.within
        for way, values, edges in (
            ("published", one.channel_cam, np.linspace(0, end, len(one.channel_cam) + 1)),
            ("corrected", one.grad_cam, np.linspace(begin, end, len(one.grad_cam) + 1)),
        ):
            (stairs,) = [each for each in source.figures[f"{name}-{way}"].axes[-1].patches if isinstance(each, StepPatch)]
            np.testing.assert_allclose(stairs.get_data().values, values)
            np.testing.assert_allclose(stairs.get_data().edges, edges)
        ways = (("-occlusion", one.occlusion), ("-guided", one.guided)) if name != "figure-8" else (("", one.occlusion),)
        for way, values in ways:
            tints = [axes.images[0].get_array()[0] for axes in source.figures[name + way].axes if axes.images][:12]
            np.testing.assert_allclose(np.array(tints), values)
    assert min(one.within[0] for one in shown) < 0
    for row, one in zip(section.sheets[0].rows, shown, strict=True):
        sizes = [sum(abs(float(value)) for value in lead) for lead in one.guided]
        assert row == [one.row["class"], one.row["id"], *(f"{size / sum(sizes):.2f}" for size in sizes)]


def test_each_class_has_four_pictures_and_the_wrong_record_three(drawn) -> None:
    source, section = drawn("maps")
    shown = read_shown(source)
    n = sum(one.row["of_class"] for one in shown)
    wrong = [one for one in shown if one.row["wrong"]]
    ways = ("published", "corrected", "occlusion", "guided")
    wanted = [f"figure-6-{k:02d}-{way}" for k in range(1, n + 1) for way in ways]
    assert len(wrong) == 1
    assert list(source.figures) == [*wanted, "figure-8", "figure-8-published", "figure-8-corrected"]
    assert f"the surest of {_N} explained records: {wrong[0].row['id']}" in section.text[-1]
    assert "wrong" in source.figures["figure-8"].axes[0].get_title(loc="left")
    assert len(section.sheets[0].rows) == n


def test_where_no_record_was_wrong_that_is_said(tmp_path) -> None:
    material = _material()
    material.examples.multi_hot[:] = True
    section = maps_section(source := _Caught(_write(tmp_path, material=material)))
    assert f"Of the {_N} explained records none was answered wrongly with its likeliest class" in section.text[-1]
    assert not any(name.startswith("figure-8") for name in source.figures)


def test_a_class_no_record_was_given_is_absent_and_the_others_have_intervals(drawn) -> None:
    source, section = drawn("leads")
    table = pd.read_csv(source.run.tables / "leads.csv")
    mine = table[(table["by"] == "shapley-cpsc") & (table["hospital"] == "ptbxl") & ~table["signed"]]
    counts = mine.groupby("class")["n"].first()
    assert (counts == 0).any()
    assert (counts > 1).any()
    drawn = np.ma.filled(source.figures["leads-shapley-cpsc-ptbxl"].axes[0].images[0].get_array().astype(float), np.nan)
    sheet = section.sheets[0]
    rows = {row[2]: row for row in sheet.rows if row[:2] == ["shapley-cpsc", "ptbxl"]}
    for k, name in enumerate(CLASSES):
        assert np.isnan(drawn[k]).all() == (counts[name] == 0)
        assert (name in rows) == (counts[name] > 0)
        if counts[name] > 1:
            assert all("[" in cell for cell in rows[name][4:])
    assert [int(row[3]) for row in rows.values()] == [counts[name] for name in rows]


@pytest.mark.parametrize("tested", [[0, 4], [0, 2, 4, 6, 8, 10]])
def test_the_mean_signal_is_of_the_hospitals_records_that_are_not_tested_if_there_are_any(tested: list[int]) -> None:
    material = _material()
    material.nets = (SimpleNamespace(tests={"cpsc": np.array(tested), "ptbxl": np.array([1])}),)
    before = material.examples.signals.copy()
    for whose, own in (("cpsc", range(0, _N, 2)), ("ptbxl", range(1, _N, 2))):
        rows = [n for n in own if n not in material.nets[0].tests[whose]] or list(own)
        wanted = [[sum(float(before[n, k, t]) for n in rows) / len(rows) for t in range(_LENGTH)] for k in range(12)]
        found = mean_signal(material, whose)
        np.testing.assert_allclose(found.signals, np.array([wanted]), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(material.examples.signals, before)


@pytest.mark.parametrize(("length", "fs"), [(60, 20.0), (65, 20.0), (7, 20.0), (30, 0.4)])
def test_sizes_are_means_of_seconds(length: int, fs: float) -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, length)).astype(np.float32)
    step = max(round(fs), 1)
    wanted = [
        [np.abs(x[n, lead, t : t + step].astype(float)).mean() for lead in range(2) for t in range(0, length, step)]
        for n in range(3)
    ]
    np.testing.assert_allclose(sizes_by_second(x, fs), wanted)
