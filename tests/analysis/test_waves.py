"""Regions of waves: they tile what is signal, hold what experts drew, and lie where made beats have their waves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.analysis.delineation import IN_LEAD
from ecglens.analysis.waves import EXPERT, NAMES, _with_neighbours, delineated, known_waves, simulated_waves, wave_regions
from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.examples import Examples, LeadPlace
from ecglens.examples.label_maps import label_map
from ecglens.examples.regions import Regions
from ecglens.recordings.databases import database, read_records
from ecglens.recordings.ludb_reader import read_ludb
from ecglens.recordings.recording import Waves
from ecglens.recordings.simulated import simulated_database
from ecglens.simulation.cohort import write_cohort
from ecglens.simulation.settings import Settings
from made import make_examples

_BEAT = ((-0.16, 0.02, 0.15), (-0.025, 0.008, -0.1), (0.0, 0.011, 1.0), (0.028, 0.009, -0.2), (0.27, 0.045, 0.3))


def _beats_at(at: list[float], seconds: float, fs: float, n_leads: int = 2, seed: int = 0) -> np.ndarray:
    """Leads with beats at these times (s)."""
    time = np.arange(round(seconds * fs)) / fs
    one = sum(h * np.exp(-(((time - r - where) / width) ** 2) / 2) for r in at for where, width, h in _BEAT)
    noise = np.random.default_rng(seed).normal(0, 0.004, (n_leads, len(time)))
    return (np.array([1.0, -0.7, 0.5])[:n_leads, None] * one + noise).astype(np.float32)


def _windows(n: int = 10, fs: float = 360.0, rr: float = 0.7, **more: Any) -> Examples:
    """One-beat windows of 1.2 s of a regular rhythm."""
    length = round(1.2 * fs)
    signals = np.stack([_beats_at([0.6 - rr, 0.6, 0.6 + rr], 1.2, fs, seed=k) for k in range(n)])
    columns = {"r_sample": np.arange(n) * round(rr * fs), "rr_before": rr, "rr_after": rr, "rr_earlier": rr}
    return make_examples(
        signals, fs=fs, r_index=np.full(n, round(0.6 * fs)), valid_stop=np.full(n, length), **(columns | more)
    )


def _of(regions: Regions, example: int, lead: str) -> list[tuple[str, int, int]]:
    """(name, start, stop) of an example's lead, in the order given."""
    mine = [k for k, each in enumerate(regions.lead) if each == lead]
    return [(regions.names[k], int(regions.start[example, k]), int(regions.stop[example, k])) for k in mine]


def _expect_tiles(regions: Regions, examples: Examples) -> None:
    """Every sample of the signal, and none else, lies in exactly one region of each lead."""
    valid = examples.table[["valid_start", "valid_stop"]].to_numpy()
    for example in range(len(examples)):
        for place in examples.places:
            count = np.zeros(place.length, int)
            for _, start, stop in _of(regions, example, place.name):
                count[start - place.offset : stop - place.offset] += 1
            wanted = np.zeros(place.length, int)
            wanted[valid[example, 0] : valid[example, 1]] = 1
            assert np.array_equal(count, wanted)


def test_regions_of_a_labelled_beat_lie_where_its_waves_do() -> None:
    examples = _windows()
    regions = wave_regions(examples)
    assert regions.names == tuple(name for name in ("before", *NAMES, "after") for _ in range(2))
    _expect_tiles(regions, examples)
    for lead in examples.leads:
        table = {
            name: np.array(
                [
                    [(start - 216) / 360, (stop - 216) / 360]
                    for example in range(10)
                    for n, start, stop in _of(regions, example, lead)
                    if n == name
                ]
            )
            for name in NAMES
        }
        for name, (start, stop) in {
            "P": (-0.21, -0.11), "PR": (-0.11, -0.045), "QRS": (-0.045, 0.05), "ST": (0.05, 0.16), "T": (0.16, 0.37),
        }.items():  # fmt: skip
            np.testing.assert_allclose(np.median(table[name], axis=0), [start, stop], atol=0.035, err_msg=name)
        # the next R lies outside the window: its P wave may begin 0.25 s before
        np.testing.assert_allclose(np.median(table["TP"], axis=0), [0.37, 0.7 - 0.25], atol=0.035)
        assert np.ptp(table["RR gap"], axis=1).max() == 0


def test_without_a_next_p_the_gap_reaches_the_next_qrs() -> None:
    examples = make_examples(np.zeros((1, 1, 400), np.float32), fs=250.0, leads=["II"], beats_at=None)
    examples.table["beats_at"] = ["100 300"]
    waves = Waves(
        np.array(["II"] * 5), np.array(["P", "QRS", "T", "QRS", "T"]),
        np.array([60, 90, 150, 290, 340]), np.array([70, 100, 170, 300, 360]), np.array([80, 109, 199, 309, 389]),
    )  # fmt: skip
    regions = wave_regions(examples, {"made/r1": waves})
    assert _of(regions, 0, "II") == [
        ("before", 0, 60), ("P", 60, 81), ("PR", 81, 90), ("QRS", 90, 110), ("ST", 110, 150), ("T", 150, 200),
        ("TP", 200, 200),
        ("RR gap", 200, 290), ("P", 290, 290), ("PR", 290, 290), ("QRS", 290, 310), ("ST", 310, 340), ("T", 340, 390),
        ("TP", 390, 390), ("RR gap", 390, 400), ("after", 400, 400),
    ]  # fmt: skip


def test_known_waves_are_moved_by_the_start_and_cut_at_what_is_signal() -> None:
    examples = make_examples(
        np.zeros((2, 1, 200), np.float32), fs=250.0, leads=["II"], r_index=np.array([100, 100]),
        start=np.array([1000, 1000]), valid_start=np.array([0, 70]), valid_stop=np.array([200, 160]),
        rr_after=np.nan, rr_before=np.nan,
    )  # fmt: skip
    waves = Waves(
        np.array(["II", "II", "II", "V1"]), np.array(["P", "QRS", "T", "QRS"]),
        np.array([1060, 1090, 1150, 1000]), np.array([1070, 1101, 1170, 1100]), np.array([1080, 1109, 1189, 1190]),
    )  # fmt: skip
    found, _ = delineated(examples, {"made/r1": waves})
    assert (found.quality == EXPERT).all()
    regions = wave_regions(examples, {"made/r1": waves})
    assert [stop - start for _, start, stop in _of(regions, 0, "II")] == [60, 21, 9, 20, 40, 40, 10, 0, 0]
    assert [(start, stop) for _, start, stop in _of(regions, 1, "II")][1:6] == [
        (70, 81),
        (81, 90),
        (90, 110),
        (110, 150),
        (150, 160),
    ]


def test_beats_of_a_longer_window_each_have_regions() -> None:
    at = [0.5, 1.3, 2.1, 2.9]
    signal = _beats_at(at, 3.4, 250.0)[None]
    given = make_examples(signal, fs=250.0, r_index=np.array([125]))
    given.table["beats_at"] = [" ".join(str(round(250 * each)) for each in at)]
    clip = make_examples(signal, fs=250.0, r_index=np.array([-1]), r_sample=np.array([-1]), rr_after=np.nan)
    for examples in (given, clip):
        regions = wave_regions(examples)
        _expect_tiles(regions, examples)
        places = [start for name, start, _ in _of(regions, 0, "lead 1") if name == "QRS"]
        assert len(places) == 4
        np.testing.assert_allclose(places, [250 * each - 11 for each in at], atol=6)
        widths = [stop - start for name, start, stop in _of(regions, 0, "lead 1") if name == "RR gap"][:-1]
        assert widths == [0, 0, 0]


def test_leads_that_share_a_row_have_their_own_regions_in_it() -> None:
    apart = _windows(4)
    length = apart.length
    places = (LeadPlace("lead 1", 0, 0, length), LeadPlace("lead 2", 0, length, length))
    joined = make_examples(
        apart.signals.reshape(4, 1, -1), fs=360.0, leads=["both"], places=places, r_index=apart.column("r_index"),
        valid_stop=apart.column("valid_stop"), r_sample=apart.column("r_sample"), rr_before=0.7, rr_after=0.7, rr_earlier=0.7,
    )  # fmt: skip
    one, two = wave_regions(apart), wave_regions(joined)
    _expect_tiles(two, joined)
    behind = np.array([length if lead == "lead 2" else 0 for lead in two.lead])
    assert np.array_equal(one.start + behind, two.start)
    assert set(two.row) == {0}


def test_leads_of_several_lengths_are_refused() -> None:
    examples = make_examples(
        np.zeros((1, 1, 300), np.float32), leads=["both"], places=(LeadPlace("a", 0, 0, 100), LeadPlace("b", 0, 100, 200))
    )
    with pytest.raises(EcglensError, match="leads of \\[100, 200\\] samples"):
        wave_regions(examples)


@given(st.data())
def test_any_examples_are_tiled(data: st.DataObject) -> None:
    n, length = data.draw(st.integers(1, 4)), data.draw(st.integers(2, 400))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    signals = np.cumsum(rng.normal(0, 0.1, (n, 2, length)), axis=2).astype(np.float32)
    first = rng.integers(0, length // 2, n)
    stop = rng.integers(first + 1, length + 1)
    kind = data.draw(st.sampled_from(["labelled", "several", "clips"]))
    r = np.full(n, -1) if kind == "clips" else rng.integers(first, stop)
    rr = rng.choice([np.nan, 0.05, 0.3, 0.8], (3, n))
    examples = make_examples(
        signals, fs=data.draw(st.sampled_from([100.0, 250.0, 360.0])), valid_start=first, valid_stop=stop, r_index=r,
        rr_before=rr[0], rr_after=rr[1], rr_earlier=rr[2], record=rng.choice(["r1", "r2"], n),
    )  # fmt: skip
    if kind == "several":
        many = [sorted(set(rng.integers(low, high, 5).tolist())) for low, high in zip(first, stop, strict=True)]
        examples.table["beats_at"] = [" ".join(map(str, each)) for each in many]
    marks = np.sort(rng.integers(0, length, (6, 3)), axis=1)
    marks = marks[np.argsort(marks[:, 1])]
    waves = Waves(np.full(6, "lead 1"), rng.choice(["P", "QRS", "T"], 6).astype(np.str_), *marks.T)
    _expect_tiles(wave_regions(examples, data.draw(st.sampled_from([None, {"made/r1": waves}]))), examples)


def test_a_simulated_record_gives_its_true_waves(tmp_path: Path) -> None:
    settings = Settings(patients=2, minutes=0.5, seed=3)
    write_cohort(settings, tmp_path / "made")
    which = simulated_database(tmp_path / "made")
    recording = next(iter(read_records(which, tmp_path / "made", which.records, [], swap_leads=False)))
    waves = simulated_waves(tmp_path / "made", recording)
    assert set(waves.lead) == set(recording.leads)
    beats = recording.annotations.beats().sample
    for lead in recording.leads:
        peaks = waves.peak[(waves.lead == lead) & (waves.kind == "QRS")]
        assert (np.abs(peaks[:, None] - beats).min(axis=1) < 0.12 * recording.fs).mean() > 0.95
    r = beats[3:20]
    length = round(1.2 * recording.fs)
    signals = np.stack([recording.signal[:, at - length // 2 : at - length // 2 + length] for at in r])
    examples = make_examples(
        signals, fs=recording.fs, leads=recording.leads, r_index=np.full(len(r), length // 2), start=r - length // 2,
        r_sample=r, rr_after=np.nan, record=recording.record, database=recording.database,
    )  # fmt: skip
    true, _ = delineated(examples, {f"{recording.database}/{recording.record}": waves})
    ours, _ = delineated(examples)
    assert (true.quality == EXPERT).mean() > 0.9
    known = (true.quality == EXPERT) & (ours.quality == IN_LEAD)
    for edges in ("onset", "offset"):
        apart = (getattr(ours, edges)["QRS"] - getattr(true, edges)["QRS"])[known]
        assert np.median(np.abs(apart)) <= 0.03 * recording.fs
    (tmp_path / "made" / f"{recording.record}.{recording.leads[0].lower()}").unlink()
    with pytest.raises(EcglensError, match="simulate again"):
        simulated_waves(tmp_path / "made", recording)


def test_ludb_waves_are_the_experts(data_root: Path) -> None:
    if not (data_root / "ludb").is_dir():
        pytest.skip("ECGLENS_DATA holds no ludb/")
    recording = read_ludb(next((data_root / "ludb").rglob("1.hea")))
    source = known_waves([recording], 250.0)
    examples = make_examples(
        recording.signal[None, :, ::2], fs=250.0, leads=recording.leads, r_index=np.array([-1]), r_sample=np.array([-1]),
        record="1", database="ludb", rr_after=np.nan,
    )  # fmt: skip
    regions = wave_regions(examples, source)
    _expect_tiles(regions, examples)
    waves = recording.waves
    assert waves is not None
    for lead in ("II", "V1"):
        mine = _of(regions, 0, lead)
        for kind in ("P", "QRS", "T"):
            drawn = [each for each in zip(waves.lead, waves.kind, waves.start, strict=True) if each[:2] == (lead, kind)]
            starts = [start for name, start, _ in mine if name == kind]
            inner = [place for _, _, place in drawn if 2000 < place < 3000]
            assert inner
            assert all(min(abs(place / 2 - start) for start in starts) <= 1 for place in inner)


def test_of_no_example_there_are_no_regions() -> None:
    regions = wave_regions(_windows(1).take(np.array([], np.int64)))
    assert regions.start.shape == regions.stop.shape == (0, len(regions.names))


def test_around_each_row_come_the_twelve_beats_before_and_behind_in_its_record() -> None:
    rng = np.random.default_rng(0)
    record = np.repeat(["a", "b", "c"], [40, 3, 30])[rng.permutation(73)]
    examples = _windows(73, record=record, r_sample=rng.permutation(73) * 250)
    rows = np.array([5, 60, 7, 7])
    table = examples.table.assign(row=np.arange(73))
    expected: set[int] = set()
    for row in rows:
        mine = table[table["record"] == record[row]].sort_values("r_sample")["row"].tolist()
        at = mine.index(row)
        expected |= set(mine[max(at - 12, 0) : at + 13])
    assert _with_neighbours(examples, rows).tolist() == sorted(expected)
    longer = examples.take(np.arange(4))
    longer.table["beats_at"] = ["216"] * 4
    assert _with_neighbours(longer, np.array([3, 1])).tolist() == [1, 3]


def test_regions_of_some_beats_are_those_that_they_have_among_all(real_mitdb: Path) -> None:
    recordings = read_records(database("mitdb"), real_mitdb, ("106", "114"), [], swap_leads=True)
    examples, _ = cut_beats(recordings, label_map("jones"), BeatOptions(), [])
    v = examples.labels == examples.classes.index("V")
    rng = np.random.default_rng(1)
    rows = rng.permutation(np.concatenate([rng.choice(np.flatnonzero(each), 60, replace=False) for each in (v, ~v)]))
    among_all, alone = wave_regions(examples).take(rows), wave_regions(examples.take(rows))
    some = wave_regions(examples, rows=rows)
    for end in ("start", "stop"):
        np.testing.assert_array_equal(getattr(some, end), getattr(among_all, end))
    assert (alone.start != among_all.start).any()  # a sample of beats knows no rhythm
