"""The rule for wrong gains, slowly re-implemented, and how often it errs on real records."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import wfdb

from ecglens.errors import EcglensError
from ecglens.recordings.plausible import believable_gain, check_size, size_of, step_of
from ecglens.recordings.sixteen import read_header, read_samples
from ecglens.recordings.twelve_readers import headers_in
from recordings.twelve_made import heart, units


def size_slowly(signal: np.ndarray, fs: float) -> float:
    heights = []
    for row in signal:
        each, start = [], 0
        while start + int(2 * fs) <= len(row):
            stretch = [value for value in row[start : start + int(2 * fs)].tolist() if value == value]
            if stretch:
                each.append(max(stretch) - min(stretch))
            start += int(2 * fs)
        if each and median(each) > 0:
            heights.append(median(each))
    return median(heights)


def test_size_is_the_median_height_of_two_seconds_over_leads_that_beat() -> None:
    signal = heart(250, 11, seed=4)
    assert size_of(signal, 250) == pytest.approx(size_slowly(signal, 250), rel=1e-12)
    signal[3] = 0.5
    signal[5, 100:900] = np.nan
    signal[6] = np.nan
    assert size_of(signal, 250) == pytest.approx(size_slowly(signal, 250), rel=1e-12)
    assert np.isnan(size_of(0 * heart(), 500))


def test_size_does_not_feel_a_spike_or_drift() -> None:
    signal = heart()
    spiked = signal.copy()
    spiked[:, 700] += 40
    assert size_of(spiked, 500) == pytest.approx(size_of(signal, 500), rel=0.01)


def test_steps() -> None:
    samples = units(heart())
    assert step_of(samples) == 1
    assert step_of(samples // 5 * 5) == 5
    assert step_of(samples // 10 * 10) == 10
    some = samples // 5 * 5
    some[:, ::3] += 1  # a third of samples off the grid, as after a resampling
    assert step_of(some.astype(np.int16)) == 5
    assert step_of(0 * samples) == 1


def test_no_real_record_is_refused_and_steps_are_the_recorders(data_root: Path) -> None:
    found: dict[str, Counter[int]] = {}
    sizes = []
    for layout, name in (("challenge", "cinc2020"), ("ludb", "ludb"), ("ptbxl", "ptbxl")):
        if not (data_root / name).is_dir():
            pytest.skip(f"ECGLENS_DATA holds no {name}/")
        paths = sorted(headers_in(layout, data_root / name).items())
        for record, path in paths if name != "ptbxl" else paths[::10]:
            header = read_header(path)
            samples = read_samples(header, path.parent)
            size, step = size_of(samples, header.fs), step_of(samples)
            assert believable_gain(size, step, 1000.0, 1000.0, record).per_mv == 1000
            found.setdefault(record.rstrip("_lr0123456789") or name, Counter())[step] += 1
            sizes.append(size / 1000)
    assert set(found["HR"]) == {5}
    assert set(found["A"]) == set(found["Q"]) == set(found["S"]) == {1}
    assert 0.3 < min(sizes) < max(sizes) < 4
    assert np.exp(np.median(np.log(sizes))) == pytest.approx(1.07, abs=0.05)


def test_how_often_a_gain_of_200_said_for_1000_is_believed(data_root: Path) -> None:
    """On PTB-XL, at most one in a thousand wrongly, and one in fifty refused; no right gain of 200 is changed more often."""
    if not (data_root / "ptbxl").is_dir():
        pytest.skip("ECGLENS_DATA holds no ptbxl/")
    wrong, right = Counter(), Counter()
    paths = sorted(headers_in("ptbxl", data_root / "ptbxl").items())[::4]
    for record, path in paths:
        header = read_header(path)
        samples = read_samples(header, path.parent)
        size = size_of(samples, header.fs)
        for counts, units_per_mv in ((wrong, 1000.0), (right, 200.0)):
            try:
                counts[believable_gain(size * units_per_mv / 1000, 1, 200.0, 1000.0, record).per_mv == units_per_mv] += 1
            except EcglensError:
                counts["refused"] += 1
    for counts in (wrong, right):
        assert counts[False] <= 0.005 * len(paths), counts
        assert counts["refused"] <= 0.03 * len(paths), counts


def test_a_coarse_step_excludes_a_gain_that_the_size_would_allow() -> None:
    assert believable_gain(430.0, 1, 200.0, None, "x").per_mv == 200
    with pytest.raises(EcglensError, match=r"in steps of 25 uV; expected 0.25 to 6 mV; .*500 or 1000/mV would fit"):
        believable_gain(430.0, 5, 200.0, None, "x")
    assert believable_gain(430.0, 5, 200.0, 1000.0, "x").per_mv == 1000


@pytest.mark.parametrize(("height", "fine"), [(0.24, False), (0.26, True), (5.9, True), (6.1, False), (0.0, False)])
def test_limits_in_mv(height: float, fine: bool) -> None:
    signal = heart().astype(np.float32)
    signal = signal * np.float32(height / size_of(signal, 500))
    if fine:
        check_size(signal, 500, "x")
    else:
        with pytest.raises(EcglensError, match=r"x: beats are|x: all leads are flat"):
            check_size(signal, 500, "x")


def test_the_real_mitdb_is_for_two_leads_and_not_judged_by_this_rule(real_mitdb: Path) -> None:
    """Its two leads are chosen large: the rule is one of twelve leads, and no reader of two leads asks it."""
    sizes = []
    for record in ("100", "114", "203", "208"):
        digital = wfdb.rdrecord(str(real_mitdb / record), physical=False, sampto=36_000).d_signal.T
        sizes.append(size_of(digital, 360) / 200)
    assert 0.5 < min(sizes) < max(sizes) < 5
