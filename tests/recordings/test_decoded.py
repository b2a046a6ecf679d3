"""The decoded set: the reader's numbers, written whole, and made again when a source file changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecglens.errors import EcglensError
from ecglens.recordings import decoded as module
from ecglens.recordings.challenge_reader import read_challenge
from ecglens.recordings.databases import Skipped, database, read_records
from ecglens.recordings.decoded import INDEX, SAMPLES, decoded, open_decoded
from ecglens.recordings.twelve_readers import headers_in
from recordings.twelve_made import LEADS, heart, units, write_challenge


@pytest.fixture
def three(tmp_path: Path) -> dict[str, Path]:
    """A good record in an odd order with holes and a baseline, one with a wrong gain, one that is all zero."""
    digital = units(heart(seed=1))
    digital[4, 10:20] = -32768
    order = list(reversed(range(12)))
    write_challenge(tmp_path / "db", "A1", digital[order], leads=tuple(LEADS[row] for row in order), gain="1000(5)/mV")
    write_challenge(tmp_path / "db", "A2", units(heart(fs=257, seconds=7)), gain="100/mV", fs=257)
    write_challenge(tmp_path / "db", "A3", 0 * digital)
    return headers_in("challenge", tmp_path / "db")


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    true = module.read_samples

    def counting(header: Any, folder: Path) -> Any:
        asked.append(header.record)
        return true(header, folder)

    monkeypatch.setattr(module, "read_samples", counting)
    return asked


def test_numbers_leads_and_remarks_are_the_readers(three: dict[str, Path], tmp_path: Path) -> None:
    skipped: list[Skipped] = []
    whole = decoded(three, tmp_path / "db", tmp_path / "cache", skipped, 1000.0)
    assert list(whole.rows) == ["A1", "A2"]
    assert [(each.record, each.reason.split(";")[0]) for each in skipped] == [("A3", "A3: all leads are flat")]
    for record, row in whole.rows.items():
        wanted = read_challenge(tmp_path / "db", record)
        np.testing.assert_array_equal(whole.signal(record), wanted.signal)
        assert (row.leads, row.fs) == (wanted.leads, wanted.fs)
        assert all(remark in wanted.remarks for remark in row.remarks)
        assert whole.digital(record).dtype == np.int16
    assert np.isnan(whole.signal("A1")[4]).sum() == 10
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [INDEX, SAMPLES]
    assert np.load(tmp_path / "cache" / SAMPLES, allow_pickle=False).shape == (12 * (5000 + 1799),)


def test_a_set_that_fits_is_opened_without_reading_a_source(
    three: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = count_reads(monkeypatch)
    for _ in range(3):
        skipped: list[Skipped] = []
        decoded(three, tmp_path / "db", tmp_path / "cache", skipped, 1000.0)
        assert [each.record for each in skipped] == ["A3"]
    assert asked == ["A1", "A2", "A3"]


def _touch(folder: Path) -> None:
    os.utime(folder / "A2.mat", ns=(1, 1))


def _grow(folder: Path) -> None:
    with (folder / "A1.hea").open("a") as file:
        file.write("#Hx: none\n")


def _mend(folder: Path) -> None:
    write_challenge(folder, "A3", units(heart(seed=3)))


@pytest.mark.parametrize(("edit", "record"), [(_touch, "A2"), (_grow, "A1"), (_mend, "A3")])
def test_a_changed_source_is_noticed(
    three: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[Path], None], record: str
) -> None:
    first = decoded(three, tmp_path / "db", tmp_path / "cache", [], 1000.0)
    asked = count_reads(monkeypatch)
    edit(tmp_path / "db")
    again = decoded(three, tmp_path / "db", tmp_path / "cache", [], 1000.0)
    assert record in again.rows
    assert asked == ["A1", "A2", "A3"]
    # the open set keeps its own numbers
    np.testing.assert_array_equal(first.signal("A1"), again.signal("A1"))


def test_another_choice_of_records_or_gain_is_another_set(
    three: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = count_reads(monkeypatch)
    decoded(three, tmp_path / "db", tmp_path / "cache", [], 1000.0)
    skipped: list[Skipped] = []
    assert list(decoded(three, tmp_path / "db", tmp_path / "cache", skipped).rows) == ["A1"]
    assert [each.record for each in skipped] == ["A2", "A3"]
    few = {name: path for name, path in three.items() if name != "A2"}
    assert list(decoded(few, tmp_path / "db", tmp_path / "cache", [], 1000.0).rows) == ["A1"]
    assert len(asked) == 3 + 3 + 2


def test_a_set_that_is_not_whole_is_made_again(three: dict[str, Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    wanted = decoded(three, tmp_path / "db", cache, [], 1000.0).signal("A1")
    whole = (cache / SAMPLES).read_bytes()
    spoilt = {SAMPLES: whole[:-10], INDEX: b"{}"}
    for name, content in spoilt.items():
        (cache / name).write_bytes(content)
        with pytest.raises(EcglensError, match=r"is not a decoded set .* delete it, it is made again"):
            open_decoded(cache)
        np.testing.assert_array_equal(decoded(three, tmp_path / "db", cache, [], 1000.0).signal("A1"), wanted)
    assert json.loads((cache / INDEX).read_text())["form"] == 1


def test_an_interruption_leaves_no_set(three: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_json", stop)
    with pytest.raises(KeyboardInterrupt):
        decoded(three, tmp_path / "db", tmp_path / "cache", [], 1000.0)
    with pytest.raises(EcglensError, match="is not a decoded set"):
        open_decoded(tmp_path / "cache")


def test_nothing_that_can_be_decoded_is_an_error_with_a_reason(three: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(EcglensError, match=r"none of the 1 records in .* can be decoded; the first reason: A3: all leads"):
        decoded({"A3": three["A3"]}, tmp_path / "db", tmp_path / "cache", [])
    with pytest.raises(EcglensError, match="A9 is not among the 2 decoded records"):
        decoded(three, tmp_path / "db", tmp_path / "cache", [], 1000.0).signal("A9")


def test_a_full_disk_leaves_no_part(three: dict[str, Path], tmp_path: Path, full_disk: Callable[[int], Any]) -> None:
    with full_disk(50_000), pytest.raises(OSError):
        decoded(three, tmp_path / "db", tmp_path / "cache", [], 1000.0)
    assert list((tmp_path / "cache").iterdir()) == []


def test_real_records_are_the_readers(data_root: Path, tmp_path: Path) -> None:
    for name, layout, usual in (("ptbxl", "ptbxl", None), ("ludb", "ludb", 1000.0), ("cinc2020", "challenge", 1000.0)):
        folder = data_root / name
        if not folder.is_dir():
            pytest.skip(f"ECGLENS_DATA holds no {name}/")
        headers = dict(sorted(headers_in(layout, folder).items())[::40])
        whole = decoded(headers, folder, tmp_path / name, [], usual)
        skipped: list[Skipped] = []
        for each in read_records(database(name), folder, tuple(headers), skipped, swap_leads=False):
            np.testing.assert_array_equal(whole.signal(each.record), each.signal, err_msg=each.record)
            assert whole.rows[each.record].leads == each.leads
        assert (len(whole.rows), skipped) == (len(headers), [])
