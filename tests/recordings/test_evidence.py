"""Evidence and truth on disk: read back as they were made, and refused in one line when they are damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from ecglens.errors import EcglensError
from ecglens.recordings.evidence import read_evidence, read_truth, write_truth
from ecglens.recordings.recording import Recording
from ecglens.recordings.wfdb_reader import read_wfdb
from ecglens.simulation.cohort import simulate, write_cohort
from ecglens.simulation.record import SimulatedRecord
from ecglens.simulation.settings import Settings

SMALL = Settings(patients=3, minutes=0.3, carriers={"E": 0, "j": 0}, beats={"A": 2, "V": 2})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(SMALL, tmp_path_factory.mktemp("cohort") / "made")


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "own"))


def odd_record() -> SimulatedRecord:
    """The record with most evidence."""
    return max(simulate(SMALL), key=lambda record: len(record.evidence))


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(EcglensError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# ------------------------------------------------------------------------------------------------ as it was made


def test_evidence_is_read_as_it_was_made(folder: Path) -> None:
    spans = 0
    for record in simulate(SMALL):
        found = read_evidence(folder, read_wfdb(folder, record.name))
        made = record.evidence
        np.testing.assert_array_equal(found.r_sample, record.r_sample[made["beat"]])
        for name in ("lead", "start", "stop", "source"):
            np.testing.assert_array_equal(getattr(found, name), made[name])
        spans += len(made)
    assert spans > 50


def test_truth_is_read_to_the_microvolt(folder: Path) -> None:
    for record in simulate(SMALL):
        truth = read_truth(folder, record.name)
        assert truth.clean.dtype == truth.normal.dtype == np.float32
        np.testing.assert_allclose(truth.clean, record.clean, atol=0.0005 + 1e-6)
        np.testing.assert_allclose(truth.normal, record.normal, atol=0.0005 + 1e-6)
        np.testing.assert_array_equal(truth.start, record.window_start)


def test_in_the_truth_clean_and_normal_differ_in_the_spans_and_nowhere_else(folder: Path) -> None:
    for record in simulate(SMALL):
        recording = read_wfdb(folder, record.name)
        evidence, truth = read_evidence(folder, recording), read_truth(folder, record.name)
        n_samples = recording.signal.shape[1]
        half = truth.normal.shape[2] // 2
        for row, start in enumerate(truth.start):
            for k, lead in enumerate(recording.leads):
                differs = np.zeros(2 * half, bool)
                marked = np.zeros(2 * half, bool)
                edge = np.zeros(2 * half, bool)
                for j in range(2 * half):
                    if 0 <= start + j < n_samples:
                        size = abs(truth.clean[k, start + j] - truth.normal[row, k, j])
                        differs[j] = size > SMALL.evidence_mv
                        edge[j] = abs(size - SMALL.evidence_mv) < 0.0011  # both are rounded to a microvolt
                for span in np.flatnonzero((evidence.r_sample == start + half) & (evidence.lead == lead)):
                    marked[evidence.start[span] - start : evidence.stop[span] - start] = True
                np.testing.assert_array_equal(marked[~edge], differs[~edge])


def test_a_voltage_beyond_what_16_bits_hold_is_cut_not_turned_around(tmp_path: Path) -> None:
    clean = np.array([[40.0, -40.0, 1.2345]])
    write_truth(tmp_path / "s001.truth.safetensors", clean, np.zeros(1), np.zeros((1, 1, 4)))
    np.testing.assert_allclose(read_truth(tmp_path, "s001").clean, [[32.767, -32.767, 1.234]], atol=0.00051)


# ------------------------------------------------------------------------------------------------ damaged evidence


def damaged(own: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> str:
    name = odd_record().name
    path = own / f"{name}.evidence.csv"
    edit(pd.read_csv(path)).to_csv(path, index=False)
    return refused(lambda: read_evidence(own, read_wfdb(own, name)))


def first_row(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def edit(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**{column: table[column].astype(object).where(table.index != 0, value)})

    return edit


@pytest.mark.parametrize(
    ("column", "value"),
    [("r_sample", 5), ("lead", "V6"), ("start", -1), ("stop", 10**7), ("stop", 0), ("start", 10**6)],
)
def test_a_span_that_the_record_does_not_have_is_named_by_its_row(own: Path, column: str, value: object) -> None:
    assert damaged(own, first_row(column, value)).startswith(f"row 2 of {odd_record().name}.evidence.csv names a beat, lead")


def test_the_row_that_is_named_is_the_row_in_the_file(own: Path) -> None:
    text = damaged(own, lambda table: table.assign(lead=table["lead"].where(table.index != 7, "V6")))
    assert text.startswith("row 9 of ")


@pytest.mark.parametrize(("column", "value"), [("start", "here"), ("r_sample", "1;2"), ("stop", 10**25)])
def test_a_cell_that_is_no_number_is_refused(own: Path, column: str, value: object) -> None:
    assert "is not a table of r_sample, lead, start, stop, source" in damaged(own, first_row(column, value))


def test_an_empty_cell_is_refused_without_a_warning_of_numpy(own: Path) -> None:
    assert "evidence.csv" in damaged(own, first_row("stop", None))


@pytest.mark.parametrize("column", ["r_sample", "lead", "start", "stop", "source"])
def test_a_missing_column_is_refused(own: Path, column: str) -> None:
    assert "is not a table of" in damaged(own, lambda table: table.drop(columns=column))


def test_a_source_that_is_none_of_the_three_is_refused(own: Path) -> None:
    assert "source" in damaged(own, first_row("source", "elsewhere"))


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe" * 50, b'"open', b"a,b\n1,2,3,4\n1\n"])
def test_a_file_that_is_no_table_is_refused(own: Path, content: bytes) -> None:
    name = odd_record().name
    (own / f"{name}.evidence.csv").write_bytes(content)
    assert f"{name}.evidence.csv is not a table of" in refused(lambda: read_evidence(own, read_wfdb(own, name)))


def test_a_missing_file_is_named(own: Path) -> None:
    for path in [*own.glob("*.evidence.csv"), *own.glob("*.truth.safetensors")]:
        path.unlink()
    recording: Recording = read_wfdb(own, "s001")
    assert refused(lambda: read_evidence(own, recording)).startswith("s001.evidence.csv is missing in ")
    assert refused(lambda: read_truth(own, "s001")).startswith("s001.truth.safetensors is missing in ")


# ------------------------------------------------------------------------------------------------ damaged truth


@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
def test_truth_that_was_cut_short_is_refused(own: Path, keep: int) -> None:
    path = own / "s001.truth.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert refused(lambda: read_truth(own, "s001")).startswith("s001.truth.safetensors cannot be read (")


@pytest.mark.parametrize("name", ["clean", "start", "normal"])
def test_truth_without_one_of_its_arrays_is_refused(own: Path, name: str) -> None:
    path = own / "s001.truth.safetensors"
    arrays = load_file(path)
    del arrays[name]
    save_file(arrays, path)
    assert "cannot be read (KeyError)" in refused(lambda: read_truth(own, "s001"))


@pytest.mark.parametrize(
    "changes",
    [
        {"clean": np.zeros(5, np.int16)},
        {"clean": np.zeros((3, 50), np.int16)},
        {"start": np.zeros(10_000, np.int64)},
        {"normal": np.zeros((4, 2), np.int16)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_arrays_that_do_not_fit_each_other_are_refused(own: Path, changes: dict[str, np.ndarray]) -> None:
    path = own / "s001.truth.safetensors"
    save_file(load_file(path) | changes, path)
    assert "arrays that do not fit each other" in refused(lambda: read_truth(own, "s001"))
