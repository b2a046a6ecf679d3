"""The evidence test of a report on simulated ECGs: its numbers against loops, and what the report says of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.analysis.regions import mass_inside
from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.evidence import counterparts, with_evidence_alone, without_evidence
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.regions import inside
from ecglens.recordings.databases import read_records
from ecglens.recordings.simulated import simulated_database
from ecglens.simulation.cohort import write_cohort
from ecglens.simulation.settings import Settings
from ecglens.studies.evidence import evidence_section, write_evidence
from made import FEW, random_examples

COHORT = Settings(patients=5, minutes=0.3, carriers={"L": 0, "R": 1, "P": 1, "E": 0, "j": 1}, beats={"A": 3, "V": 4, "j": 1})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(COHORT, tmp_path_factory.mktemp("cohort") / "made")


@pytest.fixture(scope="module")
def examples(folder: Path) -> Examples:
    which = simulated_database(folder)
    recordings = read_records(which, folder, which.records, [], swap_leads=True)
    return cut_beats(recordings, label_map("jones"), BeatOptions(), [])[0]


class ByVoltage:
    """Stands for a network: says a class by what it sees, quickly and not always rightly."""

    def __init__(self, n_classes: int) -> None:
        self.weights = np.random.default_rng(5).normal(size=(n_classes, 2 * 430))

    def logits(self, examples: Examples) -> np.ndarray:
        return examples.signals.reshape(len(examples), -1) @ self.weights.T


def asked(
    examples: Examples, folder: Path, tested: np.ndarray, tmp_path: Path, seed: int = 3
) -> tuple[dict[str, Any], np.ndarray]:
    maps = np.random.default_rng(1).normal(size=examples.signals.shape).astype(np.float32)
    this = SimpleNamespace(tables=tmp_path)
    stand_in = ByVoltage(len(examples.classes))
    found = write_evidence(stand_in, examples, SimpleNamespace(maps=maps), tested, folder, this, seed)  # type: ignore[arg-type]
    return found, maps


# ------------------------------------------------------------------------------------------------ mass inside


@FEW
@given(st.integers(0, 2**31), st.integers(0, 5), st.integers(1, 3), st.integers(1, 20))
def test_the_share_of_a_map_inside_equals_a_loop(seed, n, rows, length):
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(n, rows, length)).astype(np.float32)
    maps[: n // 3] = 0
    where = rng.random(maps.shape) < 0.4
    found = mass_inside(maps, where)
    assert found.shape == (n,)
    for k in range(n):
        total = within = 0.0
        for row in range(rows):
            for time in range(length):
                total += abs(float(maps[k, row, time]))
                within += abs(float(maps[k, row, time])) * bool(where[k, row, time])
        assert found[k] == pytest.approx(within / total) if total else np.isnan(found[k])


def test_more_maps_than_are_summed_at_once_are_all_summed() -> None:
    rng = np.random.default_rng(0)
    maps, where = rng.normal(size=(2500, 1, 4)).astype(np.float32), rng.random((2500, 1, 4)) < 0.5
    size = np.abs(maps.astype(float))
    np.testing.assert_allclose(mass_inside(maps, where), (size * where).sum((1, 2)) / size.sum((1, 2)))


# ------------------------------------------------------------------------------------------------ tables


def test_the_table_of_maps_equals_a_loop_over_beats(examples: Examples, folder: Path, tmp_path: Path) -> None:
    found, maps = asked(examples, folder, np.zeros(len(examples), bool), tmp_path)
    where = inside(examples.evidence, 2, 430)
    other = np.random.default_rng([3, 8]).permutation(len(examples))
    rows = []
    for k in range(len(examples)):
        if where[k].any():
            area = where[k].mean()
            share = np.abs(maps[k])[where[k]].sum() / np.abs(maps[k]).sum()
            of_other = np.abs(maps[other[k]])[where[k]].sum() / np.abs(maps[other[k]]).sum()
            rows.append((examples.classes[examples.labels[k]], area, share, share / area, of_other / area))
    table = pd.read_csv(tmp_path / "evidence_maps.csv", keep_default_na=False)
    assert not (tmp_path / "evidence_test.csv").exists()
    assert found["maps.evidence_n"] == len(rows) == table["n"].sum()
    for name, *numbers in table[["class", "n", *table.columns[2:]]].itertuples(index=False):
        own = np.array([row[1:] for row in rows if row[0] == name])
        assert numbers[0] == len(own)
        np.testing.assert_allclose(numbers[1:], own.mean(0), rtol=1e-5)
    assert set(table["class"]) == {row[0] for row in rows}
    assert found["maps.evidence_enrichment"] == pytest.approx(np.mean([row[3] for row in rows]), rel=1e-5)
    assert found["maps.evidence_enrichment_shuffled"] == pytest.approx(np.mean([row[4] for row in rows]), rel=1e-5)


def test_maps_that_lie_on_the_evidence_are_enriched_and_noise_is_not(examples: Examples, folder: Path, tmp_path: Path) -> None:
    where = inside(examples.evidence, 2, 430).astype(np.float32)
    this = SimpleNamespace(tables=tmp_path)
    nobody = np.zeros(len(examples), bool)
    found = write_evidence(None, examples, SimpleNamespace(maps=where), nobody, folder, this, 0)  # type: ignore[arg-type]
    share = pd.read_csv(tmp_path / "evidence_maps.csv")["share of map"]
    np.testing.assert_allclose(share, 1)
    assert found["maps.evidence_enrichment"] > 1.5
    noise, _ = asked(examples, folder, nobody, tmp_path)
    assert noise["maps.evidence_enrichment"] == pytest.approx(1, abs=0.05)


def test_the_test_of_the_network_equals_a_loop_over_beats(examples: Examples, folder: Path, tmp_path: Path) -> None:
    tested = np.arange(len(examples)) % 2 == 0
    found, _ = asked(examples, folder, tested, tmp_path)
    test = examples.take(tested)
    truth = counterparts(test, folder)
    network = ByVoltage(len(examples.classes))
    given_answers = {
        "recall": network.logits(test).argmax(1),
        "without evidence": network.logits(without_evidence(test, truth)).argmax(1),
        "evidence alone": network.logits(with_evidence_alone(test, truth)).argmax(1),
    }
    quiet = [
        k for k in range(len(test))
        if test.classes[test.labels[k]] == "N" and not inside(test.evidence, 2, 430)[k].any()
    ]  # fmt: skip
    assert len(quiet) > 10
    table = pd.read_csv(tmp_path / "evidence_test.csv", keep_default_na=False)
    assert table["class"].tolist() == [name for k, name in enumerate(test.classes) if (test.labels == k).any()]
    for row in table.to_dict("records"):
        label = test.classes.index(row["class"])
        own = [k for k in range(len(test)) if test.labels[k] == label]
        assert row["n"] == len(own)
        for name, answer in given_answers.items():
            assert row[name] == pytest.approx(np.mean([answer[k] == label for k in own]))
        chance = np.mean([given_answers["recall"][k] == label for k in quiet])
        assert row["undisturbed normal beats called so"] == pytest.approx(chance)
    for name, answer in given_answers.items():
        assert found[f"evidence.accuracy.{name}"] == pytest.approx((answer == test.labels).mean())
    answers = {tuple(answer) for answer in given_answers.values()}
    assert len(answers) == 3  # or nothing would be compared


def test_examples_without_evidence_are_refused(tmp_path: Path) -> None:
    real = random_examples()
    with pytest.raises(EcglensError, match="carry no evidence: only simulated ones do"):
        write_evidence(
            None, real, SimpleNamespace(maps=real.signals), np.ones(len(real), bool), tmp_path,  # type: ignore[arg-type]
            SimpleNamespace(tables=tmp_path), 0,  # type: ignore[arg-type]
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------ what the report says


_METRICS = {
    "evidence.accuracy.recall": 0.9123,
    "evidence.accuracy.without evidence": 0.4567,
    "evidence.accuracy.evidence alone": 0.8765,
    "maps.evidence_enrichment": 2.345,
    "maps.evidence_enrichment_shuffled": 1.234,
}


def test_the_section_says_the_numbers_and_shows_both_tables() -> None:
    maps, test = pd.DataFrame({"class": ["V"], "n": [3]}), pd.DataFrame({"class": ["V"], "recall": [0.5]})
    section = evidence_section(_METRICS, maps, test, "evidence is where a beat differs by 0.02 mV")
    text = " ".join(section.text)
    assert "Evidence is where a beat differs by 0.02 mV, measured without noise" in text
    for number in ("0.912 as it is", "0.457 without evidence", "0.876 with nothing else", "2.35", "1.23"):
        assert number in text.replace("0.877", "0.876").replace("2.34;", "2.35;"), number
    assert [each.name for each in section.sheets] == ["evidence_test", "evidence_maps"]


def test_without_test_beats_the_section_speaks_of_the_maps_alone() -> None:
    maps = pd.DataFrame({"class": ["V"], "n": [3]})
    section = evidence_section({key: value for key, value in _METRICS.items() if "maps" in key}, maps, None, "fact")
    assert [each.name for each in section.sheets] == ["evidence_maps"]
    assert "rest on it" not in " ".join(section.text)


def test_a_cohort_in_which_no_beat_differs_can_be_reported() -> None:
    nothing = dict.fromkeys(("maps.evidence_enrichment", "maps.evidence_enrichment_shuffled"))  # null in metrics.json
    assert evidence_section(_METRICS | nothing, pd.DataFrame({"class": [], "n": []}), None, "fact").text
