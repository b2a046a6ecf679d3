"""Deletion and insertion curves against one changed signal after another; a linear model's best order; what fills a wave."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from audit.beats_made import made_beats
from ecglens.analysis import faithfulness as of
from ecglens.analysis.ecg_fills import ecg_fill
from ecglens.analysis.waves import wave_regions
from ecglens.attribution import explain
from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.examples import Examples, LeadPlace
from ecglens.examples.label_maps import label_map
from ecglens.models.classifier import Classifier
from ecglens.recordings.databases import database, read_records
from made import make_examples, random_examples, tiny
from nets import Linear, classifier, seeded, signals


@pytest.fixture(scope="module")
def beats() -> Examples:
    return made_beats(24)


def _numbers(n: int, leads: int, cuts: list[int]) -> np.ndarray:
    """The same regions in each lead of each example, each lead's own."""
    out = np.full((n, leads, cuts[-1]), -1, np.int64)
    for lead in range(leads):
        for k, (low, high) in enumerate(pairwise(cuts)):
            out[:, lead, low:high] = lead * (len(cuts) - 1) + k
    return out


def _slow_fill(number: np.ndarray, order: np.ndarray, share: float) -> np.ndarray:
    """How far each sample is replaced: region after region, as long as there is something left of the share."""
    left, out = share * (number >= 0).sum(), np.zeros(number.shape)
    for region in order:
        size = (number == region).sum()
        if size:
            part = min(max(left / size, 0), 1)
            out[number == region] = part
            left -= part * size
    return out


def _slow_logits(model: Classifier, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.module.eval()(torch.from_numpy(x.astype(np.float32))[None])[0].double().numpy()


def test_each_sample_of_signal_is_in_one_part_of_one_wave_of_its_lead(beats: Examples) -> None:
    beats = beats.take(np.arange(8))
    numbers, waves = of.region_numbers(beats, wave_regions(beats)), wave_regions(beats)
    longest = round(0.2 * beats.fs)
    for n in range(len(beats)):
        for place in beats.places:
            wave = np.full(beats.length, -1)
            for k, lead in enumerate(waves.lead):
                if lead == place.name:
                    wave[waves.start[n, k] : waves.stop[n, k]] = k
            mine = numbers[n, place.row]
            assert (mine >= 0).all()
            assert (np.diff(mine) >= 0).all()
            for number in np.unique(mine):
                where = np.flatnonzero(mine == number)
                assert len(np.unique(wave[where])) == 1
                assert len(where) <= longest
            for k in np.unique(wave):
                sizes = np.unique(mine[wave == k], return_counts=True)[1]
                assert len(sizes) == -(-(wave == k).sum() // longest)
                assert sizes.max() - sizes.min() <= 1
        assert not set(numbers[n, 0]) & set(numbers[n, 1])
    assert of.region_sizes(numbers).max() <= longest


def test_regions_of_maps_without_leads_go_through_all_leads_and_parts_leave_padding_out(beats: Examples) -> None:
    four = beats.take(np.arange(4))
    together = of.region_numbers(four, wave_regions(four), leads_apart=False)
    np.testing.assert_array_equal(together[:, 0], together[:, 1])
    padded = replace(beats, table=beats.table.assign(valid_start=40, valid_stop=300))
    parts = of.region_numbers(padded, None)
    assert (parts[:, :, :40] == -1).all()
    assert (parts[:, :, 300:] == -1).all()
    assert set(of.region_sizes(parts).flatten()) == {32, 33}  # 260 samples in 8 parts of at most 36
    joined = make_examples(
        np.zeros((2, 1, 60), np.float32), leads=("both",), fs=100.0, valid_start=5, valid_stop=25,
        places=tuple(LeadPlace(f"lead {k}", 0, 30 * k, 30) for k in range(2)),
    )  # fmt: skip
    expected = np.full(60, -1)
    expected[5:25], expected[35:55] = np.repeat([0, 1], 10), np.repeat([2, 3], 10)
    np.testing.assert_array_equal(of.region_numbers(joined, None)[0, 0], expected)


def test_mass_is_the_mean_of_a_map_in_each_region() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(-1, 6, (4, 3, 50))
    numbers[numbers == 4] = -1
    maps = rng.normal(size=(4, 3, 50)).astype(np.float32)
    for given in (maps, maps[:, :1]):
        found = of.mass_per_sample(given, numbers)
        full = np.broadcast_to(given, maps.shape)
        for n in range(4):
            for k in range(6):
                inside = full[n][numbers[n] == k]
                assert found[n, k] == pytest.approx(inside.mean() if len(inside) else 0, abs=1e-6)


def test_signs_count_where_they_tell_for_from_against() -> None:
    maps = np.array([[[-2.0, 1.0]]])
    np.testing.assert_array_equal(of.ranked_by("integrated-gradients", maps), maps)
    for name in ("saliency", "smoothgrad", "magnitude"):
        np.testing.assert_array_equal(of.ranked_by(name, maps), np.abs(maps))


def test_orders_go_from_high_to_low_and_equal_ones_by_chance() -> None:
    values = np.array([[1.0, 3.0, 2.0]] * 3)
    np.testing.assert_array_equal(of.orders_by(values, 0), [[1, 2, 0]] * 3)
    first = of.orders_by(np.zeros((600, 3)), 0)[:, 0]
    assert np.bincount(first, minlength=3).min() > 150
    drawn = of.random_orders(np.ones((5, 7), int), 4, 0)
    np.testing.assert_array_equal(drawn[:2], drawn[2:, :, ::-1])
    np.testing.assert_array_equal(np.sort(drawn, axis=2), np.broadcast_to(np.arange(7), drawn.shape))
    with pytest.raises(EcglensError, match="even number"):
        of.random_orders(np.ones((5, 7), int), 3, 0)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_curves_equal_one_changed_signal_after_another(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = random_examples(7, length=60, seed=1, fs=100.0)
    model = replace(tiny(examples, scale="offset"), activation=activation)
    rng = np.random.default_rng(2)
    numbers = _numbers(7, 2, [0, 7, 8, 30, 31, 52, 60])
    numbers[3, :, 50:] = -1  # padding; its last region is gone
    orders, target = rng.random((3, 7, 12)).argsort(axis=2), rng.integers(0, 3, 7)
    fill = rng.normal(size=(7, 2, 60)).astype(np.float32)
    monkeypatch.setattr(Classifier, "at_once", 20)  # three examples at a time
    deleted = of.deletion_curves(model, examples, numbers, orders, target, fill, steps=6)
    put_back = of.insertion_curves(model, examples, numbers, orders, target, fill, steps=6)
    for n in range(7):
        x = examples.signals[n] - examples.signals[n].mean(axis=1, keepdims=True)
        for k in range(3):
            for step in range(7):
                mask = _slow_fill(numbers[n], orders[k, n], step / 6)
                out, back = np.where(numbers[n] >= 0, fill[n], x), mask * x + (1 - mask) * fill[n]
                back = np.where(numbers[n] >= 0, back, out)
                for found, changed in ((deleted, (1 - mask) * x + mask * fill[n]), (put_back, back)):
                    logits = torch.from_numpy(_slow_logits(model, changed))
                    chance = logits.softmax(0) if activation == "softmax" else logits.sigmoid()
                    assert found[0][k, n, step] == pytest.approx(float(logits[target[n]]), abs=1e-4)
                    assert found[1][k, n, step] == pytest.approx(float(chance[target[n]]), abs=1e-4)
    assert np.ptp(deleted[0], axis=0).max() > 0.05


def _linear() -> tuple[Classifier, Examples]:
    model = classifier(seeded(Linear))
    x = signals(4, seed=5)
    return model, make_examples(x, classes=model.classes, leads=model.leads, fs=100.0)


def test_input_x_gradient_has_the_best_of_all_orders_on_a_linear_model() -> None:
    """At every share, not only in area, and with regions of several lengths: sums instead of means would not do."""
    model, examples = _linear()
    numbers = _numbers(4, 2, [0, 4, 24])
    target = np.array([0, 1, 2, 1])
    fill = np.zeros_like(examples.signals)
    maps = explain(model, examples, ["input-x-gradient"], target=target, quiet=True)["input-x-gradient"][:]
    values = of.mass_per_sample(of.ranked_by("input-x-gradient", maps), numbers)
    mine = of.deletion_curves(model, examples, numbers, of.orders_by(values, 0)[None], target, fill, steps=8)[0][0]
    every = np.repeat(np.array(list(permutations(range(4))))[:, None], 4, axis=1)
    best = np.empty((len(every), 4, 9))
    weights = model.module.head.weight.detach().double().numpy().reshape(3, 2, 24)
    bias = model.module.head.bias.detach().double().numpy()
    for n in range(4):
        part = weights[target[n]] * examples.signals[n]
        for k, order in enumerate(every[:, n]):
            for step in range(9):
                best[k, n, step] = bias[target[n]] + ((1 - _slow_fill(numbers[n], order, step / 8)) * part).sum()
    np.testing.assert_allclose(mine, best.min(axis=0), atol=1e-4)
    put_back = of.insertion_curves(model, examples, numbers, of.orders_by(values, 0)[None], target, fill, steps=8)[0][0]
    np.testing.assert_allclose(put_back, best.max(axis=0)[:, ::-1], atol=1e-4)
    by_sum = of.orders_by(values * of.region_sizes(numbers), 0)[None]
    assert not np.allclose(of.deletion_curves(model, examples, numbers, by_sum, target, fill, steps=8)[0][0], mine, atol=1e-2)


def test_all_orders_together_delete_a_linear_model_along_a_straight_line() -> None:
    """Of equal regions each is deleted by that share in expectation; drawn ones come near."""
    model, examples = _linear()
    numbers, target = _numbers(4, 2, [0, 8, 16, 24]), np.array([0, 1, 2, 1])
    fill = np.zeros_like(examples.signals)
    every = np.repeat(np.array(list(permutations(range(6))))[:, None], 4, axis=1)
    mean = of.deletion_curves(model, examples, numbers, every, target, fill, steps=8)[0].mean(axis=0)
    line = mean[:, :1] + (mean[:, -1:] - mean[:, :1]) * np.arange(9) / 8
    np.testing.assert_allclose(mean, line, atol=1e-4)
    np.testing.assert_allclose(mean[:, 0], model.logits(examples)[np.arange(4), target], atol=1e-5)
    drawn = of.random_orders(of.region_sizes(numbers), 100, 0)
    near = of.deletion_curves(model, examples, numbers, drawn, target, fill, steps=8)[0].mean(axis=0)
    np.testing.assert_allclose(near, line, atol=0.25 * np.abs(mean[:, -1] - mean[:, 0]).max())
    # an order and its reverse are a straight line together
    np.testing.assert_allclose((near + near[:, ::-1]) / 2, (line + line[:, ::-1]) / 2, atol=1e-4)


def test_maps_stand_beside_random_order_by_the_area_between() -> None:
    model, examples = _linear()
    numbers, target = _numbers(4, 2, [0, 8, 16, 24]), np.array([0, 1, 2, 1])
    fill = np.zeros_like(examples.signals)
    part = model.module.head.weight.detach().numpy().reshape(3, 2, 24)[target] * examples.signals
    good = of.mass_per_sample(part, numbers)
    found = of.beside_random(model, examples, numbers, {"good": good, "bad": -good}, target, fill, steps=6, draws=4)
    order = of.random_orders(of.region_sizes(numbers), 4, 0)
    for curve, what in (("deletion", of.deletion_curves), ("insertion", of.insertion_curves)):
        chance = what(model, examples, numbers, order, target, fill, steps=6)[0].mean(axis=0)
        np.testing.assert_allclose(found.curves[of.RANDOM_ORDER, curve][0], chance, atol=1e-5)
        for method, sign in (("good", 1), ("bad", -1)):
            mine = what(model, examples, numbers, of.orders_by(sign * good, 0)[None], target, fill, steps=6)[0][0]
            np.testing.assert_allclose(found.curves[method, curve][0], mine, atol=1e-5)
            gap = chance - mine if curve == "deletion" else mine - chance
            slow = [sum((a + b) / 12 for a, b in pairwise(row)) for row in gap]
            np.testing.assert_allclose(found.areas[method, curve], slow, atol=1e-5)
            assert (sign * found.areas[method, curve] > 0).all()


def test_what_does_not_fit_is_refused_by_name() -> None:
    model, examples = _linear()
    numbers, target, fill = _numbers(4, 2, [0, 8, 24]), np.zeros(4, int), np.zeros_like(examples.signals)
    orders = np.broadcast_to(np.arange(4), (1, 4, 4))
    with pytest.raises(EcglensError, match="fill have shape"):
        of.deletion_curves(model, examples, numbers, orders, target, fill[:2])
    with pytest.raises(EcglensError, match="targets run to 3"):
        of.deletion_curves(model, examples, numbers, orders, target + 3, fill)
    with pytest.raises(EcglensError, match="every region once"):
        of.deletion_curves(model, examples, numbers, 0 * orders, target, fill)
    with pytest.raises(EcglensError, match="steps is 0"):
        of.deletion_curves(model, examples, numbers, orders, target, fill, steps=0)


def _slow_laid(pool: Examples, k: int, r: int) -> np.ndarray:
    """Beat k of the pool with its R at sample r, its first and last value going on."""
    row = pool.table.iloc[k]
    at = [min(max(t - r + row["r_index"], row["valid_start"]), row["valid_stop"] - 1) for t in range(pool.length)]
    return pool.signals[k][:, at].astype(float)


def test_fills_of_beats_are_laid_r_on_r_at_the_level_of_the_example(beats: Examples) -> None:
    rng = np.random.default_rng(1)
    by = rng.integers(-30, 30, len(beats))
    moved = np.stack([np.roll(x, k, axis=1) for x, k in zip(beats.signals, by, strict=True)])
    moved[:, :, 320:] = 0
    pool = replace(beats, signals=moved, table=beats.table.assign(r_index=beats.column("r_index") + by, valid_stop=320))
    pool.table.loc[pool.table["patient"] == "p3", "patient"] = "alone"
    only = np.flatnonzero((pool.column("patient") == "alone") & (pool.labels == 1))
    pool.table.loc[only, "patient"] = "other"
    model = tiny(pool)
    some = pool.take(np.arange(12))
    target = some.labels
    fill, known = ecg_fill(model, some, "neighbour", target=target, pool=pool)
    mean, all_known = ecg_fill(model, some, "mean-beat", target=target, pool=pool)
    assert all_known.all()
    assert known.sum() == 10
    for n in range(len(some)):
        r, stop = some.column("r_index")[n], 320
        others = np.flatnonzero(pool.labels != target[n])
        slow = [(np.mean([_slow_laid(pool, k, r) for k in others], axis=0), mean[n])]
        same = [k for k in others if pool.column("patient")[k] == some.column("patient")[n]]
        assert known[n] == bool(same)
        if same:
            nearest = min(same, key=lambda k: abs(pool.column("r_sample")[k] - some.column("r_sample")[n]))
            slow.append((_slow_laid(pool, nearest, r), fill[n]))
        for expected, found in slow:
            level = np.median(some.signals[n][:, :stop], axis=1) - np.median(expected[:, :stop], axis=1)
            np.testing.assert_allclose(found, expected + level[:, None], atol=1e-5)


def test_the_mean_beat_gives_each_other_class_the_same_weight() -> None:
    flat = np.repeat(np.array([5.0, 1.0, 1.0, 1.0, 4.0], np.float32), 40).reshape(5, 1, 40)
    bump = flat * (np.arange(40) == 20)
    pool = make_examples(bump, [0, 1, 1, 1, 2], classes=("a", "b", "c"))
    fill, _ = ecg_fill(tiny(pool), pool.take(np.array([0])), "mean-beat", target=np.array([0]), pool=pool)
    assert fill[0, 0, 20] == pytest.approx((1 + 4) / 2)


def test_the_blur_does_not_see_padding(beats: Examples) -> None:
    padded = replace(beats, signals=beats.signals.copy(), table=beats.table.assign(valid_start=50, valid_stop=300))
    padded.signals[:, :, :50] = 99
    fill, known = ecg_fill(tiny(padded), padded, "blur", target=beats.labels)
    assert known.all()
    slow = gaussian_filter1d(beats.signals[:, :, 50:300].astype(float), 36, axis=2, mode="nearest", truncate=3)
    np.testing.assert_allclose(fill[:, :, 50:300], slow, atol=1e-4)


def test_fills_of_beats_need_beats(beats: Examples) -> None:
    model, clips = tiny(beats), replace(beats, table=beats.table.assign(r_index=-1))
    with pytest.raises(EcglensError, match="one known R each"):
        ecg_fill(model, clips, "neighbour", target=beats.labels, pool=clips)
    with pytest.raises(EcglensError, match="give a pool"):
        ecg_fill(model, beats, "mean-beat", target=beats.labels)
    with pytest.raises(EcglensError, match="unknown fill"):
        ecg_fill(model, beats, "zero", target=beats.labels)


def test_a_real_ventricular_beat_is_filled_with_a_normal_one_beside_it(real_mitdb: Path) -> None:
    recordings = read_records(database("mitdb"), real_mitdb, ("208",), [], swap_leads=True)
    examples, _ = cut_beats(recordings, label_map("jones"), BeatOptions(), [])
    v = examples.classes.index("V")
    rows = np.flatnonzero((examples.labels == v) & (examples.column("r_index") > 40))[5:15]
    part = examples.take(rows)
    numbers = of.region_numbers(part, wave_regions(part))
    assert (
        of.region_sizes(numbers).sum(axis=1) == len(part.places) * (part.table["valid_stop"] - part.table["valid_start"])
    ).all()
    fill, known = ecg_fill(tiny(examples), part, "neighbour", target=part.labels, pool=examples)
    assert known.all()
    for k, row in enumerate(rows):
        near = np.flatnonzero(examples.labels != v)
        nearest = near[np.abs(examples.column("r_sample")[near] - examples.column("r_sample")[row]).argmin()]
        assert abs(examples.column("r_sample")[nearest] - examples.column("r_sample")[row]) < 5 * examples.fs
        r, r_of = part.column("r_index")[k], examples.column("r_index")[nearest]
        reach = min(20, r, r_of)
        mine, theirs = (x[0, at - reach : at + 20] for x, at in ((fill[k], r), (examples.signals[nearest], r_of)))
        np.testing.assert_allclose(mine - mine[0], theirs - theirs[0], atol=1e-4)
