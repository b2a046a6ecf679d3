"""Clips of whole records: where they begin, what is around them, what they carry on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecglens.errors import EcglensError
from ecglens.examples.clips import ClipOptions, by_record, cut_clips, starts_of
from ecglens.examples.diagnoses import diagnosis_map
from ecglens.recordings.databases import Skipped
from ecglens.recordings.recording import Annotations, Recording
from ecglens.recordings.twelve import STANDARD

_SINUS, _AF = "426783006", "164889003"
LABELS = diagnosis_map("challenge2020")


def record(
    name: str = "A1", seconds: float = 10, fs: float = 100, codes: tuple[str, ...] = (_SINUS,), seed: int = 0
) -> Recording:
    signal = np.random.default_rng(seed).normal(size=(12, round(seconds * fs))).astype(np.float32)
    nothing = Annotations(np.array([], np.int64), np.array([], np.str_), np.array([], np.str_))
    return Recording("made", name, name, signal, fs, STANDARD, nothing, diagnoses=codes)


def options(**changes: object) -> ClipOptions:
    return replace(ClipOptions(seconds=10, fs=100, baseline="none"), **changes)


def test_a_record_of_a_clips_length_is_that_clip() -> None:
    one = record()
    examples, facts = cut_clips([one], LABELS, options(), [])
    np.testing.assert_array_equal(examples.signals[0], one.signal)
    assert (facts.records, facts.clips, facts.padded) == (1, {"head": 1}, 0)
    assert examples.table["id"].tolist() == ["made/A1/head"]
    assert examples.leads == STANDARD
    assert examples.multi_hot is not None
    assert [LABELS.classes[k] for k in np.flatnonzero(examples.multi_hot[0])] == [_SINUS]
    assert examples.labels.tolist() == [LABELS.classes.index(_SINUS)]


def test_head_middle_and_end_of_a_longer_record() -> None:
    one = record(seconds=35, codes=(_SINUS, _AF))
    examples, facts = cut_clips([one], LABELS, options(), [])
    assert examples.table["clip"].tolist() == ["head", "middle", "end"]
    for signal, start in zip(examples.signals, (0, 1250, 2500), strict=True):
        np.testing.assert_array_equal(signal, one.signal[:, start : start + 1000])
    assert examples.table["start"].tolist() == [0, 1250, 2500]
    assert examples.labels.tolist() == [-1, -1, -1]  # two classes are not one
    assert examples.multi_hot is not None
    assert examples.multi_hot.sum(1).tolist() == [2, 2, 2]
    assert facts.clips == {"head": 1, "middle": 1, "end": 1}


def test_the_end_of_a_longer_record_and_zeros_before_a_shorter_one() -> None:
    long, short = record("long", seconds=35), record("short", seconds=7)
    examples, facts = cut_clips([long, short], LABELS, options(clips="end", pad="start"), [])
    np.testing.assert_array_equal(examples.signals[0], long.signal[:, 2500:])
    assert not examples.signals[1, :, :300].any()
    np.testing.assert_array_equal(examples.signals[1, :, 300:], short.signal)
    places = examples.table[["clip", "start", "valid_start", "valid_stop"]].to_numpy().tolist()
    assert places == [["end", 2500, 0, 1000], ["head", -300, 300, 1000]]
    assert facts.clips == {"end": 1, "head": 1}


@pytest.mark.parametrize("samples", [1001, 1999, 2000, 2001, 3000, 115_000])
def test_tiles_cover_the_record_without_a_gap(samples: int) -> None:
    seen = np.zeros(samples, int)
    for _, start in starts_of(samples, 1000, "tiles"):
        seen[start : start + 1000] += 1
    assert seen.min() == 1
    assert len(starts_of(samples, 1000, "tiles")) == -(-samples // 1000)


@pytest.mark.parametrize(("pad", "first"), [("both", 150), ("end", 0)])
def test_a_shorter_record_has_zeros_around_it_and_knows_where_it_is(pad: str, first: int) -> None:
    one = record(seconds=7)
    examples, facts = cut_clips([one], LABELS, options(pad=pad), [])
    wanted = np.zeros((12, 1000), np.float32)
    wanted[:, first : first + 700] = one.signal
    np.testing.assert_array_equal(examples.signals[0], wanted)
    assert examples.table[["valid_start", "valid_stop", "start"]].iloc[0].tolist() == [first, first + 700, -first]
    assert facts.padded == 1


def test_the_baseline_is_each_leads_regression_line_over_the_clip() -> None:
    one = record(seconds=12)
    drift = np.linspace(-3, 5, 1200, dtype=np.float32) + 2
    examples, _ = cut_clips([replace(one, signal=one.signal + drift)], LABELS, options(baseline="line"), [])
    for clip, start in zip(examples.signals, (0, 100, 200), strict=True):
        for lead in range(12):
            y = one.signal[lead, start : start + 1000] + drift[start : start + 1000]
            line = np.polyval(np.polyfit(np.arange(1000), y.astype(float), 1), np.arange(1000))
            np.testing.assert_allclose(clip[lead], y - line, atol=2e-5)
    level, _ = cut_clips([one], LABELS, options(baseline="mean"), [])
    np.testing.assert_allclose(level.signals.mean(2), 0, atol=1e-6)


def test_other_rates_are_resampled_and_counted() -> None:
    at = np.arange(5000) / 500
    wave = np.tile(np.sin(2 * np.pi * 3 * at), (12, 1)).astype(np.float32)
    examples, facts = cut_clips([replace(record(fs=500), signal=wave)], LABELS, options(), [])
    wanted = np.sin(2 * np.pi * 3 * np.arange(1000) / 100)
    np.testing.assert_allclose(examples.signals[0, 4, 50:-50], wanted[50:-50], atol=0.01)
    assert facts.resampled == {"500": 1}
    assert examples.table["recorded_fs"].tolist() == [500]


def test_leads_are_put_in_order_and_a_missing_one_is_said() -> None:
    one = record()
    turned = replace(one, signal=one.signal[::-1].copy(), leads=STANDARD[::-1])
    examples, _ = cut_clips([turned], LABELS, options(), [])
    np.testing.assert_array_equal(examples.signals[0], one.signal)
    without = replace(one, signal=one.signal[:11], leads=STANDARD[:11])
    skipped: list[Skipped] = []
    with pytest.raises(EcglensError, match=r"no record gave a clip of 10 s \(A1: A1 lacks lead V6"):
        cut_clips([without], LABELS, options(), skipped)
    assert "lacks lead V6" in skipped[0].reason
    filled, facts = cut_clips([without], LABELS, options(missing="zero"), [])
    assert not filled.signals[0, 11].any()
    assert facts.missing_leads == {"V6": 1}


def test_a_few_invalid_samples_are_bridged_and_many_are_refused() -> None:
    few, many = record("few"), record("many", seed=1)
    few.signal[3, 100:103] = np.nan
    few.signal[5, :2] = np.nan
    many.signal[7, :200] = np.nan
    skipped: list[Skipped] = []
    examples, facts = cut_clips([few, many], LABELS, options(), skipped)
    assert facts.bridged == {"few": 5}
    first, last = few.signal[3, 99], few.signal[3, 103]
    line = first + (last - first) * np.array([0.25, 0.5, 0.75])
    np.testing.assert_allclose(examples.signals[0, 3, 100:103], line, rtol=1e-5)
    np.testing.assert_array_equal(examples.signals[0, 5, :2], few.signal[5, 2])
    assert [(item.record, item.reason) for item in skipped] == [
        ("many", "many: 20% of lead V2 has no value; at most 10% can be bridged")
    ]


def test_clips_of_a_long_record_without_values_are_left_out_and_the_others_stay() -> None:
    long, short = record("long", seconds=60), record("short", seconds=15)
    long.signal[:, :2000] = np.nan
    short.signal[2, 1200:] = np.nan
    skipped: list[Skipped] = []
    examples, facts = cut_clips([long, short], LABELS, options(), skipped)
    kept = list(zip(examples.table["record"], examples.table["clip"], examples.table["clips"], strict=True))
    assert kept == [("long", "middle", 2), ("long", "end", 2), ("short", "head", 2), ("short", "middle", 2)]
    np.testing.assert_array_equal(examples.signals[0], long.signal[:, 2500:3500])
    np.testing.assert_array_equal(examples.signals[3, 2, 950:], short.signal[2, 1199])
    assert (facts.unusable, facts.bridged, facts.records, skipped) == ({"long": 1, "short": 1}, {"short": 50}, 2, [])


@pytest.mark.parametrize(
    ("signal", "reason"),
    [(np.zeros((12, 1000)), "bad: flat in all leads"), (np.ones((12, 1)), "1 sample"), (np.full((12, 1000), np.nan), "100%")],
)
def test_a_record_without_a_signal_is_named_and_the_rest_goes_on(signal: np.ndarray, reason: str) -> None:
    skipped: list[Skipped] = []
    broken = replace(record("bad"), signal=signal.astype(np.float32))
    examples, facts = cut_clips([broken, record("good")], LABELS, options(), skipped)
    assert examples.table["record"].tolist() == ["good"]
    assert facts.records == 1
    assert [item.record for item in skipped] == ["bad"]
    assert reason in skipped[0].reason


def test_codes_nobody_knows_and_records_without_a_class_are_counted_by_record_not_by_clip() -> None:
    examples, facts = cut_clips([record(seconds=40, codes=("12345", _AF)), record("B", codes=())], LABELS, options(), [])
    assert len(examples) == 4
    assert facts.unknown == {"12345": 1}
    assert facts.unlabelled == 1


def test_clips_of_a_record_are_put_together_again() -> None:
    examples, _ = cut_clips([record("A", seconds=30), record("B"), record("C", seconds=25)], LABELS, options(), [])
    values = np.random.default_rng(0).random((len(examples), 3))
    mean, rows = by_record(values, examples)
    assert rows["record"].tolist() == ["A", "B", "C"]
    np.testing.assert_allclose(mean, [values[:3].mean(0), values[3], values[4:].mean(0)])
    np.testing.assert_allclose(by_record(values, examples, "max")[0], [values[:3].max(0), values[3], values[4:].max(0)])


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"clips": "middle"}, "unknown clips"), ({"pad": "left"}, "unknown pad"), ({"baseline": "median"}, "unknown baseline"),
     ({"missing": "guess"}, "unknown missing"), ({"fs": float("nan")}, "numbers above 0"), ({"seconds": 0.0}, "above 0")],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(EcglensError, match=words):
        options(**changes)


def test_a_map_that_asks_for_likelihoods_gets_those_of_each_record() -> None:
    sure = replace(record("sure", codes=("AFIB", "NORM")), likelihoods=(100.0, 0.0))
    unsure = replace(record("unsure", codes=("AFIB", "NORM")), likelihoods=(0.0, 80.0))
    examples, facts = cut_clips([sure, unsure], diagnosis_map("habeeb2024-as-published"), options(), [])
    assert examples.multi_hot is not None
    named = [[examples.classes[k] for k in np.flatnonzero(row)] for row in examples.multi_hot]
    assert named == [["AF"], ["SNR"]]
    assert facts.unlikely == {"NORM": 1, "AFIB": 1}
