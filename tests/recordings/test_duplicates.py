"""One signal in two databases: found among real records by signal alone, whatever gain, rate, shift or name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecglens.errors import EcglensError
from ecglens.recordings.databases import Skipped, database, read_records
from ecglens.recordings.duplicates import Fingerprints, fingerprints, same_signals, together
from ecglens.recordings.places import records_present
from ecglens.recordings.recording import Recording
from ecglens.recordings.resampling import resampled
from ecglens.recordings.twelve_record import no_marks
from recordings.twelve_made import LEADS, heart


@pytest.fixture(scope="module")
def real(data_root: Path) -> dict[str, list[Recording]]:
    """All of cinc2020, and every fifth record of ptbxl beside those of its first ten and 17691."""
    found = {}
    for name in ("cinc2020", "ptbxl"):
        folder = data_root / name
        if not folder.is_dir():
            pytest.skip(f"ECGLENS_DATA holds no {name}/")
        records, _ = records_present(database(name), folder)
        if name == "ptbxl":
            records = tuple(sorted({*records[:10], *records[::5], "17691_lr"}))
        skipped: list[Skipped] = []
        found[name] = list(read_records(database(name), folder, records, skipped, swap_leads=False))
        assert skipped == []
    return found


def test_the_eleven_shared_signals_are_found_and_no_other(real: dict[str, list[Recording]]) -> None:
    pairs = same_signals(fingerprints(real["cinc2020"]), fingerprints(real["ptbxl"]))
    names = [*range(1, 11), 17691]
    assert {(pair.first, pair.second) for pair in pairs} == {(f"HR{n:05}", f"{n:05}_lr") for n in names}
    assert all(pair.correlation > 0.99 and pair.shift == 0 for pair in pairs)


def test_other_real_records_stay_well_below(real: dict[str, list[Recording]]) -> None:
    mine = fingerprints(real["ptbxl"][:300])
    pairs = same_signals(mine, mine, shift=0.1, same=0.92)
    assert {(pair.first, pair.second) for pair in pairs} == {(name, name) for name in mine.records}


def changed(recording: Recording, name: str) -> Recording:
    """Another gain, another rate, cut by a fifth of a second and with a spike, fewer leads, leads in another order."""
    moved = replace(resampled(recording, 257), record=name)
    signal = moved.signal[:, 51:] * np.float32(1.7)
    signal[1, 700:705] += 20
    rows = [0, 1, 5, 7, 9, 11, 10]
    return replace(moved, signal=signal[rows], leads=tuple(moved.leads[row] for row in rows))


def test_gain_rate_shift_spike_and_missing_leads_do_not_hide_a_signal(real: dict[str, list[Recording]]) -> None:
    some = [each for each in real["cinc2020"] if each.record in ("A0001", "A0007", "HR06001", "Q0002", "S0001")]
    others = [changed(each, f"copy of {each.record}") for each in some]
    pairs = same_signals(fingerprints(real["cinc2020"]), fingerprints(others))
    assert {(pair.first, pair.second) for pair in pairs} == {(each.record, f"copy of {each.record}") for each in some}
    # what the second lacks at its begin: sample k of it is sample k + shift of the first
    assert {pair.shift for pair in pairs} == {0.2}


def recording(signal: np.ndarray, name: str = "x", fs: float = 500) -> Recording:
    return Recording("made", name, name, signal.astype(np.float32), fs, LEADS, no_marks())


def test_flat_short_and_empty_records_are_like_nothing() -> None:
    whole = recording(heart())
    odd = [recording(0 * heart(), "flat"), recording(heart()[:, :900], "short"), recording(heart() * np.nan, "nan")]
    found = same_signals(fingerprints([*odd, whole]), fingerprints([*odd, whole]))
    assert [(pair.first, pair.second) for pair in found] == [("x", "x")]
    with pytest.raises(EcglensError, match="expected at least one"):
        fingerprints([])
    with pytest.raises(EcglensError, match="not of one length"):
        same_signals(fingerprints([whole]), fingerprints([whole], seconds=5))


def test_fingerprints_made_one_by_one_are_those_made_at_once() -> None:
    many = [recording(heart(seed=number), f"r{number}") for number in range(4)]
    once, one_by_one = fingerprints(many), together([fingerprints([each]) for each in many])
    assert one_by_one.records == once.records
    np.testing.assert_array_equal(one_by_one.signals, once.signals)
    np.testing.assert_array_equal(one_by_one.n, once.n)
    with pytest.raises(EcglensError, match="no recording to look for"):
        together([])


def test_another_drift_does_not_hide_a_signal(real: dict[str, list[Recording]]) -> None:
    """Drift of 2 mV in one of two copies, as by another filter; their plain signals are unlike by it."""
    some = [each for each in real["cinc2020"] if each.record in ("A0001", "A0007", "HR06001", "Q0002", "S0001")]
    drifting = []
    for number, each in enumerate(some):
        time = np.arange(each.signal.shape[1]) / each.fs
        drift = 2 * np.sin(2 * np.pi * (0.15 * time[None] + np.arange(12)[:, None] / 7 + number))
        moved = replace(each, record=f"copy of {each.record}", signal=(each.signal + drift).astype(np.float32))
        drifting.append(moved)
        assert np.corrcoef(each.signal[0], moved.signal[0])[0, 1] < 0.5
    pairs = same_signals(fingerprints(some), fingerprints(drifting))
    assert {(pair.first, pair.second) for pair in pairs} == {(each.record, f"copy of {each.record}") for each in some}
    assert all(pair.correlation > 0.97 for pair in pairs)


def test_the_best_shift_is_the_one_of_a_slow_search() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(12, 620)).cumsum(axis=1)
    base -= base.mean(axis=1, keepdims=True)
    mine, theirs = (fingerprints([recording(base[:, at : at + 500], fs=50)]) for at in (10, 22))
    (pair,) = same_signals(mine, theirs, same=0.9)
    assert pair.shift == pytest.approx(12 / 50)
    assert slowly(mine, theirs) == 12


def slowly(first: Fingerprints, second: Fingerprints) -> int:
    """The shift in samples at which the two are most alike, one by one."""
    a, b = first.signals[0].astype(float), second.signals[0].astype(float)
    n = a.shape[1]
    scores = {}
    for lag in range(-25, 26):
        pairs = [(at, at - lag) for at in range(n) if 0 <= at - lag < n]
        scores[lag] = sum(float(a[:, i] @ b[:, j]) for i, j in pairs)
    return max(scores, key=lambda lag: scores[lag])
