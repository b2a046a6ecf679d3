"""Evidence of simulated records as regions of beats, and beats with it replaced: against loops over samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.evidence import counterparts, evidence_regions, with_evidence_alone, without_evidence
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.regions import inside
from ecglens.recordings.databases import database, read_records
from ecglens.recordings.evidence import read_truth
from ecglens.recordings.recording import Recording
from ecglens.recordings.simulated import simulated_database
from ecglens.simulation.cohort import write_cohort
from ecglens.simulation.settings import Settings
from made import random_examples

COHORT = Settings(patients=5, minutes=0.3, carriers={"L": 0, "R": 1, "P": 1, "E": 0, "j": 1}, beats={"A": 3, "V": 4, "j": 1})

CUTS = {
    "fixed": BeatOptions(),
    "longer than the window of evidence": BeatOptions(length=700),
    "short": BeatOptions(length=61),
    "as published": BeatOptions(
        extent="halfway", neighbours="annotations", padding="end", merge_case=True, join_leads=True, length=430
    ),
    "half-way, in the centre": BeatOptions(extent="halfway", length=500),
    "with the usual beat": BeatOptions(usual_beat=True),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(COHORT, tmp_path_factory.mktemp("cohort") / "made")


@pytest.fixture(scope="module")
def recordings(folder: Path) -> dict[str, Recording]:
    which = simulated_database(folder)
    return {each.record: each for each in read_records(which, folder, which.records, [], swap_leads=True)}


def cut(recordings: dict[str, Recording], how: str) -> Examples:
    return cut_beats(recordings.values(), label_map("jones"), CUTS[how], [])[0]


def slow_inside(examples: Examples, recordings: dict[str, Recording]) -> np.ndarray:
    """bool (example, row, time), span by span and sample by sample."""
    out = np.zeros(examples.signals.shape, bool)
    for number, row in enumerate(examples.table.itertuples()):
        spans = recordings[row.record].evidence
        assert spans is not None
        for k in np.flatnonzero(spans.r_sample == row.r_sample):
            place = examples.places[row.lead_names.split(", ").index(spans.lead[k])]
            for sample in range(spans.start[k], spans.stop[k]):
                at = sample - row.start
                if row.valid_start <= at < row.valid_stop:
                    out[number, place.row, place.offset + at] = True
    return out


def slow_counterparts(examples: Examples, folder: Path, n_leads: int = 2) -> tuple[np.ndarray, np.ndarray]:
    clean, normal = examples.signals.copy(), examples.signals.copy()
    for number, row in enumerate(examples.table.itertuples()):
        truth = read_truth(folder, row.record)
        own = [k for k, start in enumerate(truth.start) if start + truth.normal.shape[2] // 2 == row.r_sample]
        for lead in range(n_leads):
            place = examples.places[lead]
            for at in range(row.valid_start, row.valid_stop):
                value = truth.clean[lead, row.start + at]
                clean[number, place.row, place.offset + at] = normal[number, place.row, place.offset + at] = value
                if own:
                    there = row.start + at - truth.start[own[0]]
                    if 0 <= there < truth.normal.shape[2]:
                        normal[number, place.row, place.offset + at] = truth.normal[own[0], lead, there]
    return clean, normal


# ------------------------------------------------------------------------------------------------ as regions


@pytest.mark.parametrize("how", CUTS)
def test_evidence_of_the_record_lies_at_the_same_samples_of_the_beat(recordings: dict[str, Recording], how: str) -> None:
    examples = cut(recordings, how)
    assert examples.evidence is not None
    assert len(examples.evidence.start) == len(examples) > 50
    found = inside(examples.evidence, *examples.signals.shape[1:])
    expected = slow_inside(examples, recordings)
    np.testing.assert_array_equal(found, expected)
    assert expected.any()


def test_evidence_is_never_on_padding(recordings: dict[str, Recording]) -> None:
    examples = cut(recordings, "as published")
    found = inside(examples.evidence, *examples.signals.shape[1:])
    padded = 0
    for number, row in enumerate(examples.table.itertuples()):
        for place in examples.places:
            assert not found[number, place.row, place.offset + row.valid_stop : place.offset + place.length].any()
            padded += place.length - row.valid_stop
    assert padded > 1000
    assert [place.offset for place in examples.places] == [0, 430]
    assert found[:, 0, 430:].any()


def test_each_region_lies_in_its_own_lead_and_says_its_source(recordings: dict[str, Recording]) -> None:
    for how in ("fixed", "as published"):
        examples = cut(recordings, how)
        regions = examples.evidence
        place_of = {place.name: place for place in examples.places}
        sources = set()
        for k, name in enumerate(regions.names):
            place = place_of[regions.lead[k]]
            source, number = name.split(" ")
            sources.add(source)
            assert int(number) >= 1
            assert regions.row[k] == place.row
            some = regions.start[:, k] < regions.stop[:, k]
            assert (regions.start[some, k] >= place.offset).all()
            assert (regions.stop[some, k] <= place.offset + place.length).all()
            for example in np.flatnonzero(some)[:5]:
                row = examples.table.iloc[example]
                spans = recordings[row["record"]].evidence
                lead = row["lead_names"].split(", ")[list(place_of).index(regions.lead[k])]
                own = (spans.r_sample == row["r_sample"]) & (spans.lead == lead) & (spans.source == source)
                begin = regions.start[example, k] - place.offset + row["start"]
                assert ((spans.start[own] <= begin) & (begin < spans.stop[own])).any()
        assert sources == {"beat", "before", "after"}


def test_the_usual_beat_has_no_evidence_of_its_own(recordings: dict[str, Recording]) -> None:
    examples = cut(recordings, "with the usual beat")
    assert examples.leads == ("lead 1", "lead 2", "usual lead 1", "usual lead 2")
    assert set(examples.evidence.row) == {0, 1}


@pytest.mark.parametrize("rows", [np.array([5, 0, 5, 30]), np.array([], np.intp)])
def test_taken_examples_keep_their_evidence(recordings: dict[str, Recording], rows: np.ndarray) -> None:
    examples = cut(recordings, "fixed")
    whole = inside(examples.evidence, 2, 430)
    taken = examples.take(rows)
    np.testing.assert_array_equal(inside(taken.evidence, 2, 430), whole[rows])
    assert taken.table["id"].tolist() == examples.table["id"].iloc[rows].tolist()
    odd = np.array(examples.classes)[examples.labels] != "N"
    assert len(examples.take(odd).evidence.start) == odd.sum()
    np.testing.assert_array_equal(inside(examples.take(odd).evidence, 2, 430), slow_inside(examples.take(odd), recordings))


def test_beats_of_another_class_have_evidence_and_undisturbed_ones_have_none(recordings: dict[str, Recording]) -> None:
    examples = cut(recordings, "fixed")
    has = inside(examples.evidence, 2, 430).any(axis=(1, 2))
    normal = np.array(examples.classes)[examples.labels] == "N"
    assert has[~normal].all()
    assert (~has[normal]).sum() > 20


def test_real_records_have_no_evidence(tiny_mitdb: Path) -> None:
    which = database("mitdb")
    found = cut_beats(read_records(which, tiny_mitdb, ("100",), [], swap_leads=True), label_map("jones"), BeatOptions(), [])[0]
    assert found.evidence is None
    assert found.take(np.array([0])).evidence is None


def test_a_cohort_in_which_nothing_differs_has_evidence_without_regions(recordings: dict[str, Recording]) -> None:
    quiet = {
        name: replace(each, evidence=replace(each.evidence, **{part: getattr(each.evidence, part)[:0] for part in
              ("r_sample", "lead", "start", "stop", "source")})) for name, each in recordings.items()
    }  # fmt: skip
    examples = cut(quiet, "fixed")
    assert examples.evidence.names == ()
    assert examples.evidence.start.shape == (len(examples), 0)
    assert not inside(examples.evidence, 2, 430).any()
    assert evidence_regions(examples.table, examples.places, dict.fromkeys(recordings)) is None


def test_evidence_of_other_examples_is_refused(recordings: dict[str, Recording]) -> None:
    examples = cut(recordings, "fixed")
    with pytest.raises(EcglensError, match=f"evidence of 3 examples; expected {len(examples)}"):
        replace(examples, evidence=examples.evidence.take(np.arange(3)))


# ------------------------------------------------------------------------------------------------ replaced


@pytest.mark.parametrize("how", CUTS)
def test_counterparts_equal_a_loop_over_samples(folder: Path, recordings: dict[str, Recording], how: str) -> None:
    examples = cut(recordings, how)
    examples = examples.take(np.arange(0, len(examples), 4))
    found = counterparts(examples, folder)
    clean, normal = slow_counterparts(examples, folder)
    assert found.clean.dtype == found.normal.dtype == np.float32
    np.testing.assert_array_equal(found.clean, clean)
    np.testing.assert_array_equal(found.normal, normal)


@pytest.mark.parametrize("how", CUTS)
def test_evidence_is_taken_out_or_left_alone_sample_by_sample(
    folder: Path, recordings: dict[str, Recording], how: str
) -> None:
    examples = cut(recordings, how)
    examples = examples.take(np.arange(0, len(examples), 3))
    truth = counterparts(examples, folder)
    where = slow_inside(examples, recordings)
    without, alone = without_evidence(examples, truth), with_evidence_alone(examples, truth)
    assert without.signals.dtype == alone.signals.dtype == np.float32
    np.testing.assert_array_equal(without.signals[~where], examples.signals[~where])
    noise = examples.signals - truth.clean
    np.testing.assert_allclose(without.signals[where], (truth.normal + noise)[where], atol=1e-5)
    np.testing.assert_array_equal(alone.signals[where], examples.signals[where])
    np.testing.assert_array_equal(alone.signals[~where], truth.normal[~where])
    for changed in (without, alone):
        np.testing.assert_array_equal(changed.labels, examples.labels)
        assert changed.table is examples.table


def test_what_is_left_without_evidence_differs_from_normal_by_less_than_the_threshold(
    folder: Path, recordings: dict[str, Recording]
) -> None:
    examples = cut(recordings, "fixed")
    truth = counterparts(examples, folder)
    rest = without_evidence(examples, truth).signals - (examples.signals - truth.clean) - truth.normal
    assert np.abs(rest).max() <= COHORT.evidence_mv + 0.0015
    assert np.abs(truth.clean - truth.normal).max() > 0.5


def test_padding_stays_zero(folder: Path, recordings: dict[str, Recording]) -> None:
    examples = cut(recordings, "as published")
    truth = counterparts(examples, folder)
    padding = np.ones(examples.signals.shape, bool)
    for number, row in enumerate(examples.table.itertuples()):
        for place in examples.places:
            padding[number, place.row, place.offset + row.valid_start : place.offset + row.valid_stop] = False
    assert padding.sum() > 1000
    for signals in (
        truth.clean,
        truth.normal,
        without_evidence(examples, truth).signals,
        with_evidence_alone(examples, truth).signals,
    ):
        assert not signals[padding].any()


def test_beats_without_evidence_become_their_own_clean_beat(folder: Path, recordings: dict[str, Recording]) -> None:
    examples = cut(recordings, "fixed")
    quiet = examples.take(~inside(examples.evidence, 2, 430).any(axis=(1, 2)))
    truth = counterparts(quiet, folder)
    np.testing.assert_allclose(truth.clean, truth.normal, atol=COHORT.evidence_mv)
    np.testing.assert_array_equal(without_evidence(quiet, truth).signals, quiet.signals)


def test_examples_without_evidence_cannot_be_changed(folder: Path, recordings: dict[str, Recording]) -> None:
    examples = cut(recordings, "fixed")
    truth = counterparts(examples, folder)
    for change in (without_evidence, with_evidence_alone):
        with pytest.raises(EcglensError, match="carry no evidence: only simulated ones do"):
            change(random_examples(), truth)


def test_a_folder_that_does_not_hold_the_records_is_refused(tmp_path: Path, recordings: dict[str, Recording]) -> None:
    with pytest.raises(EcglensError, match=r"s001\.truth\.safetensors is missing in "):
        counterparts(cut(recordings, "fixed"), tmp_path)


def test_the_truth_of_another_record_is_refused(folder: Path, tmp_path: Path, recordings: dict[str, Recording]) -> None:
    for path in folder.glob("*.truth.safetensors"):
        arrays = load_file(path)
        save_file(arrays | {"clean": np.ascontiguousarray(arrays["clean"][:, :1000])}, tmp_path / path.name)
    with pytest.raises(EcglensError, match="truth"):
        counterparts(cut(recordings, "fixed"), tmp_path)
