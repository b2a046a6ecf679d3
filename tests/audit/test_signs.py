"""Signs: what is measured is what was put on, beside the heart, and it can be taken off again."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beats_made import made_beats

from ecglens.audit.sign_measures import EDGE, seen
from ecglens.audit.signs import SIGNS, find_sign
from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.examples import Examples, LeadPlace
from ecglens.examples.label_maps import label_map
from ecglens.recordings.databases import database, read_records
from ecglens.recordings.simulated import simulated_database
from ecglens.simulation.cohort import write_cohort
from ecglens.simulation.settings import Settings

STRENGTHS = {
    "mains": 0.15, "mains-60": 0.15, "spike": 0.6, "offset": 0.4, "gain": 1.5, "lead-swap": 1.0, "clip": 40.0,
    "padding": 100.0, "edge-mark": 0.5, "wander": 0.8, "muscle": 0.08,
}  # fmt: skip
NAMES = [sign.name for sign in SIGNS]


@pytest.fixture(scope="module")
def real(real_mitdb: Path) -> Examples:
    which = database("mitdb")
    recordings = read_records(which, real_mitdb, ("100", "119", "209"), [], swap_leads=True)
    examples, _ = cut_beats(recordings, label_map("jones"), BeatOptions(), [])
    return examples.take(np.arange(5, len(examples) - 5, 25))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    settings = Settings(patients=8, minutes=0.5, heart_rate_spread=0.1)
    folder = write_cohort(settings, tmp_path_factory.mktemp("signs") / "cohort")
    which = simulated_database(folder)
    recordings = read_records(which, folder, which.records, [], swap_leads=True)
    return cut_beats(recordings, label_map("jones"), BeatOptions(), [])[0]


def put(examples: Examples, name: str, strength: float | None = None, at: np.ndarray | None = None) -> Examples:
    return find_sign(name).put(examples, STRENGTHS[name] if strength is None else strength, np.random.default_rng(3), at)


def recovered(examples: Examples, name: str, strength: float) -> float:
    """The median of what is measured; of gain, offset and padding beside what there was."""
    sign = find_sign(name)
    if name == "lead-swap":  # told from the examples that have it not
        rows = np.arange(0, len(examples), 3)
        signals = examples.signals.copy()
        signals[rows] = put(examples.take(rows), name, strength).signals
        return float(np.median(sign.measure(replace(examples, signals=signals))[rows]))
    before, after = sign.measure(examples), sign.measure(put(examples, name, strength))
    if sign.factor:
        return float(np.median(after / before))
    return float(np.median(after - before if name in ("offset", "padding") else after))


@pytest.mark.parametrize("name", NAMES)
def test_what_was_put_on_is_measured(name: str) -> None:
    assert recovered(made_beats(120), name, STRENGTHS[name]) == pytest.approx(STRENGTHS[name], rel=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_put_on_real_beats_is_measured(name: str, real: Examples) -> None:
    ties = 2 * 1000 / 360 if name == "clip" else 0.0  # samples of one value beside the flat top, from 11 bits
    assert recovered(real, name, STRENGTHS[name]) == pytest.approx(STRENGTHS[name], rel=0.1, abs=ties)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "lead-swap"])
def test_more_of_it_measures_more(name: str) -> None:
    examples, none = made_beats(60), 1.0 if find_sign(name).factor else 0.0
    found = [recovered(examples, name, none + share * (STRENGTHS[name] - none)) for share in (0.4, 0.7, 1.0, 1.5)]
    assert (np.diff(found) > 0.1 * abs(STRENGTHS[name] - none)).all()


@pytest.mark.parametrize("name", [sign.name for sign in SIGNS if sign.take_off is not None])
def test_what_was_put_on_can_be_taken_off(name: str) -> None:
    examples, sign = made_beats(60), find_sign(name)
    if name == "offset":  # to no level of its own: only what is beyond it is taken
        level = examples.signals - np.median(examples.signals, axis=2, keepdims=True)
        examples = replace(examples, signals=level + np.float32(0.05))
    marked = put(examples, name)
    assert sign.take_off is not None
    again = sign.take_off(marked, sign.measure(examples))
    there, left = ((x.signals - examples.signals).astype(float) for x in (marked, again))
    assert np.sqrt((left**2).mean()) < 0.15 * np.sqrt((there**2).mean())
    untouched = sign.take_off(examples, 1.001 * sign.measure(examples) + 1e-6)
    np.testing.assert_allclose(untouched.signals, examples.signals, atol=1e-5)


def test_an_offset_is_taken_off_on_its_own_side_of_0() -> None:
    examples = made_beats(6)
    rests = np.array([-0.8, -0.3, -0.1, 0.1, 0.3, 0.8])
    level = examples.signals - np.median(examples.signals, axis=2, keepdims=True)
    shifted = replace(examples, signals=(level + rests[:, None, None]).astype(np.float32))
    left = [-0.2, -0.2, -0.1, 0.1, 0.2, 0.2]
    for at_most in (0.2, -0.2, np.array([0.2, -0.2] * 3)):
        cleaned = find_sign("offset").take_off(shifted, at_most)
        np.testing.assert_allclose(cleaned.signals, level + np.array(left)[:, None, None], atol=1e-6)


def test_a_sign_hardly_moves_the_measures_of_the_others(simulated: Examples) -> None:
    """Each in units of the least that counts as the sign: below 1 nothing is named that is not there."""
    rows = np.random.default_rng(0).permutation(len(simulated))[:150]
    some = simulated.take(rows)
    before = {sign.name: sign.measure(some) for sign in SIGNS}
    table = np.zeros((len(SIGNS), len(SIGNS)))
    for k, name in enumerate(NAMES):
        marked = put(some, name)
        for m, other in enumerate(SIGNS):
            if m != k:
                after = other.measure(marked)
                if other.factor:
                    table[k, m] = np.median(np.abs(np.log(after / before[other.name]))) / np.log(other.least)
                else:
                    table[k, m] = np.median(np.abs(after - before[other.name])) / other.least
    lines = (
        ["put on | moves", *NAMES],
        *([name, *(f"{value:.2f}" for value in row)] for name, row in zip(NAMES, table, strict=True)),
    )
    sys.stdout.write("\n" + "\n".join("\t".join(line) for line in lines) + "\n")
    loud = {(NAMES[k], NAMES[m]): table[k, m] for k, m in zip(*np.nonzero(table > 0.9), strict=True)}
    assert set(loud) <= EXPECTED, loud
    assert max(loud.values()) < 6


# noise of .08 mV has samples that stand out; flat tops are lower
EXPECTED = {("muscle", "spike"), ("clip", "gain")}


def test_a_measure_is_that_of_a_slow_plain_one() -> None:
    examples = made_beats(14, seed=4)
    for name in ("mains", "spike", "muscle", "clip", "edge-mark"):
        examples = examples if name == "muscle" else put(examples, name, STRENGTHS[name] / 2)
    start, stop = np.arange(14) * 5, 360 - np.arange(14) * 4
    time = np.arange(360)
    inside = (time >= start[:, None]) & (time < stop[:, None])
    signals = np.where(inside[:, None], examples.signals, 0)
    examples = replace(examples, signals=signals, table=examples.table.assign(valid_start=start, valid_stop=stop))
    # R beside the spike in every other one: there it may be the heart's
    r = np.where(np.arange(14) % 2, find_sign("spike").place(examples) + 10, 180).astype(np.int64)
    examples = replace(examples, table=examples.table.assign(r_index=r))
    for name, slow in SLOW.items():
        expected = [slow(signals[k].astype(float), int(start[k]), int(stop[k]), int(r[k]), 360.0) for k in range(14)]
        np.testing.assert_allclose(find_sign(name).measure(examples), expected, rtol=1e-6, atol=1e-9, err_msg=name)


def _slow_mains(x, start, stop, r, fs, hz=50.0):
    width, sizes = round(0.1 * fs), []
    t = np.arange(width) / fs
    for lead in x:
        found = []
        for begin in range(0, len(lead) - width + 1, width // 2):
            if begin >= start and begin + width <= stop:
                now = t + begin / fs  # the phase of the whole
                basis = np.stack([t**0, t, t**2, np.cos(2 * np.pi * hz * now), np.sin(2 * np.pi * hz * now)], axis=1)
                found.append(np.linalg.lstsq(basis, lead[begin : begin + width], rcond=None)[0][3:])
        sizes.append(np.hypot(*np.median(found, axis=0)))
    return np.sqrt(np.mean(np.square(sizes)))


def _slow_spike(x, start, stop, r, fs):
    reach, smooth = round(0.04 * fs), np.empty_like(x)
    padded = np.pad(x, ((0, 0), (2, 2)), mode="edge")
    for at in range(x.shape[1]):
        smooth[:, at] = np.median(padded[:, at : at + 5], axis=1)
    largest = 0.0
    for at in range(start, stop):
        near = smooth[:, max(at - reach, 0) : at + reach + 1]
        calm = np.ptp(near, axis=1) <= 0.3 * np.ptp(smooth[:, start:stop], axis=1)
        if calm.all() and abs(at - r) > 0.12 * fs:
            largest = max(largest, np.abs(x - smooth)[:, at].max())
    return largest


def _slow_clip(x, start, stop, r, fs):
    longest = 0
    for lead in x[:, start:stop]:
        for extreme in (lead.max(), lead.min()):
            run = 0
            for value in lead:
                run = run + 1 if abs(value - extreme) <= 1e-4 * np.ptp(lead) else 0
                longest = max(longest, run)
    return 1000 * longest / fs


def _slow_edge_mark(x, start, stop, r, fs):
    width, found = round(EDGE * fs), []
    for part in (x[:, start:stop], x[:, start:stop][:, ::-1]):
        steps = []
        for lead in part:
            bend = lead[:width].mean() - 2 * lead[width : 2 * width].mean() + lead[2 * width : 3 * width].mean()
            fall = [lead[k - 1] - lead[k] for k in range(1, 3 * width)]
            jump = fall[width - 1] - (fall[width - 2] + fall[width]) / 2
            steps.append(np.sign(bend) * min(abs(bend), abs(jump)) if bend * jump > 0 else 0.0)
        found.append(abs(np.mean(steps)))
    return max(found)


SLOW = {
    "mains": _slow_mains,
    "mains-60": lambda *told: _slow_mains(*told, hz=60.0),
    "spike": _slow_spike,
    "clip": _slow_clip,
    "edge-mark": _slow_edge_mark,
    "offset": lambda x, start, stop, r, fs: np.median(x[:, start:stop], axis=1).mean(),
    "gain": lambda x, start, stop, r, fs: np.ptp(x[:, max(start, r - 43) : min(stop, r + 44)], axis=1).mean(),
    "padding": lambda x, start, stop, r, fs: 1000 * (x.shape[1] - (stop - start)) / fs,
}


@pytest.mark.parametrize("name", NAMES)
def test_padding_stays_zero_and_the_table_true(name: str) -> None:
    examples = made_beats(20)
    stop = np.full(20, 300)
    signals = examples.signals.copy()
    signals[:, :, 300:] = 0
    examples = replace(examples, signals=signals, table=examples.table.assign(valid_stop=stop))
    marked = put(examples, name)
    valid = marked.table[["valid_start", "valid_stop"]].to_numpy()
    assert not marked.signals[:, :, 300:].any()
    assert (marked.signals[:, :, :300] != signals[:, :, :300]).any(axis=(1, 2)).all()
    assert marked.signals.dtype == np.float32
    assert ((valid[:, 1] - valid[:, 0]) == 300 - (36 if name == "padding" else 0)).all()
    assert (examples.signals == signals).all()


@pytest.mark.parametrize("name", NAMES)
def test_leads_one_behind_the_other_are_measured_and_marked_as_side_by_side(name: str) -> None:
    apart = made_beats(40)
    behind = replace(
        apart, signals=apart.signals.reshape(40, 1, -1), leads=("II + V1",),
        places=(LeadPlace("II", 0, 0, 360), LeadPlace("V1", 0, 360, 360)),
    )  # fmt: skip
    np.testing.assert_array_equal(seen(put(behind, name)).x, seen(put(apart, name)).x)
    np.testing.assert_array_equal(find_sign(name).measure(behind), find_sign(name).measure(apart))


@pytest.mark.parametrize("name", [sign.name for sign in SIGNS if sign.has_place])
def test_it_is_found_where_it_was_put(name: str) -> None:
    examples = made_beats(40)
    at = np.full(40, 60)
    marked = put(examples, name, at=at)
    place, difference = find_sign(name).place(marked), np.abs(seen(marked).x - seen(examples).x).max(axis=1)
    where = difference >= difference.max(axis=1, keepdims=True) / 2
    middle = (where * np.arange(360)).sum(axis=1) / where.sum(axis=1)
    expected = np.full(40, 36.0) if name == "padding" else middle
    assert np.median(np.abs(place - expected)) <= 0.02 * 360
    if name == "spike":
        assert np.abs(middle - 60).max() < 10


@pytest.mark.parametrize("width", [1, 2])
def test_how_long_a_spike_lasts_is_measured(width: int, real: Examples) -> None:
    spike = find_sign("spike")
    for examples in (made_beats(60), real):
        marked = spike.put(examples, 1.0, np.random.default_rng(0), width=width)
        lasts = spike.width(marked)
        changed = (seen(marked).x != seen(examples).x).any(axis=1).sum(axis=1)
        assert (changed == width).all()
        assert (lasts == width).mean() > 0.9


def test_what_cannot_be_measured_is_not_a_number() -> None:
    slow = made_beats(8, fs=100.0)
    assert np.isnan(find_sign("mains").measure(slow)).all()
    assert np.isnan(find_sign("mains-60").measure(slow)).all()
    brisk = made_beats(8, fs=110.0)
    assert not np.isnan(find_sign("mains").measure(brisk)).any()
    assert np.isnan(find_sign("mains-60").measure(brisk)).all()
    strips = made_beats(8)
    strips = replace(strips, table=strips.table.assign(r_index=-1))
    assert np.isnan(find_sign("lead-swap").measure(strips)).all()
    for name in NAMES:
        assert find_sign(name).measure(strips.take(np.array([], np.int64))).shape == (0,)
    with pytest.raises(EcglensError, match=r"unknown sign 'mians'; did you mean 'mains'"):
        find_sign("mians")


def test_a_real_heart_has_none_of_what_no_heart_makes(real: Examples) -> None:
    for name in ("mains", "mains-60", "spike", "clip", "edge-mark"):
        amount = find_sign(name).measure(real)
        assert np.quantile(amount, 0.95) < find_sign(name).least, name
