"""What deleting costs, against a plain loop; random masks of the same amount; sums by class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d
from torch import nn

from ecglens.analysis.deletion import deletion_by_class, deletion_effect, random_masks
from ecglens.attribution import explain
from ecglens.errors import EcglensError
from ecglens.examples.examples import LeadPlace
from made import FEW, created, make_examples, random_examples, tiny
from nets import classifier, gap, one_pass

CELL = 0.03  # s: 3 samples at 100 Hz


def _fitting(n: int = 7, length: int = 60):
    """Examples, a net that takes them, soft masks, targets."""
    examples = random_examples(n, length=length, seed=1, fs=100.0)
    rng = np.random.default_rng(2)
    masks = rng.random((n, 2, length)) ** 6
    return examples, tiny(examples, scale="offset"), masks, rng.integers(0, 3, n)


def _logit(model, x: np.ndarray, label: int) -> float:
    with torch.no_grad():
        return float(model.module.eval()(torch.from_numpy(x.astype(np.float32))[None])[0, label])


def _random_cells(row: int, draws: int, n_cells: int, seed: int) -> np.ndarray:
    words = np.random.SeedSequence([seed, 7, row]).generate_state(1, np.uint64)
    return torch.rand(draws, n_cells, generator=torch.Generator().manual_seed(int(words[0] >> 1))).numpy()


def _slow_random(mask: np.ndarray, dice: np.ndarray, width: int, signal: np.ndarray) -> np.ndarray:
    """Cells in the order of the dice, whole, until the next would be too much; of that as much as is left."""
    length = mask.shape[1]
    cells = [(lead, first, min(first + width, length)) for lead in range(len(mask)) for first in range(0, length, width)]
    left, out = mask.sum(), np.zeros_like(mask, dtype=float)
    ordered = sorted(range(len(cells)), key=lambda k: dice[k])
    has = {k: signal[cells[k][0], (cells[k][1] + cells[k][2]) // 2] for k in ordered}
    for k in [k for k in ordered if has[k]] + [k for k in ordered if not has[k]]:
        lead, first, stop = cells[k]
        part = min(left / (stop - first), 1)
        out[lead, first:stop] = part
        left -= part * (stop - first)
    return out


@pytest.mark.parametrize("fill", ["zero", "mean", "blur"])
@pytest.mark.parametrize("one_lead", [False, True])
@pytest.mark.parametrize("length", [60, 62])
def test_the_effect_equals_a_plain_loop_over_examples_and_draws(fill, one_lead, length):
    examples, model, masks, target = _fitting(length=length)
    masks = masks[:, :1] if one_lead else masks
    background = random_examples(5, length=length, seed=9, fs=100.0)
    found = deletion_effect(
        model, examples, masks, target, fill=fill, blur=0.05, background=background, cell_s=CELL, draws=4, seed=3
    )
    assert list(found) == ["amount", "fall", "random_fall", "beats_random"]
    n_cells = -(-length // 3) * masks.shape[1]
    for row in range(len(examples)):
        x = examples.signals[row] - examples.signals[row].mean(axis=1, keepdims=True)
        other = background.signals - background.signals.mean(axis=2, keepdims=True)
        blur = gaussian_filter1d(x, 5, axis=1, mode="nearest", truncate=3)
        away = x - {"zero": 0 * x, "mean": other.mean(axis=0), "blur": blur}[fill]
        fall = _logit(model, x, target[row]) - _logit(model, x - masks[row] * away, target[row])
        by_chance = []
        for dice in _random_cells(row, 4, n_cells, seed=3):
            drawn = _slow_random(masks[row], dice, 3, np.ones_like(masks[row], bool))
            by_chance.append(_logit(model, x, target[row]) - _logit(model, x - drawn * away, target[row]))
        assert found["amount"][row] == pytest.approx(masks[row].mean())
        assert found["fall"][row] == pytest.approx(fall, abs=1e-4)
        assert found["random_fall"][row] == pytest.approx(np.mean(by_chance), abs=1e-4)
        assert found["beats_random"][row] == (fall > np.mean(by_chance))
    assert found["fall"].abs().max() > 1e-2


@FEW
@given(st.integers(0, 999), st.integers(1, 3), st.integers(1, 40), st.integers(1, 45), st.floats(0, 8))
def test_random_masks_hold_as_much_in_whole_cells_and_one_in_part(seed, n_leads, length, width, power):
    rng = np.random.default_rng(seed)
    mask = (rng.random((4, n_leads, length)) ** power).astype(np.float32)
    mask[0], mask[1] = 0, 1
    begin = rng.integers(0, length, (4, n_leads, 1))
    signal = (np.arange(length) >= begin) & (np.arange(length) < begin + rng.integers(0, 30))
    batch = one_pass(gap(), np.zeros((4, 2, 24), np.float32), [0] * 4, seed=seed)
    drawn = [each.numpy() for each in random_masks(batch, torch.from_numpy(mask), torch.from_numpy(signal), width, 3)]
    assert len(drawn) == 3
    for number, each in enumerate(drawn):
        np.testing.assert_allclose(each.mean(axis=(1, 2)), mask.mean(axis=(1, 2)), atol=1e-6)
        for row in range(4):
            dice = _random_cells(row, 3, n_leads * -(-length // width), seed)[number]
            np.testing.assert_allclose(each[row], _slow_random(mask[row], dice, width, signal[row]), atol=1e-4)
            firsts = each[row, :, ::width]
            np.testing.assert_allclose(np.repeat(firsts, width, axis=1)[:, :length], each[row])
            assert ((firsts > 1e-6) & (firsts < 1 - 1e-6)).sum() <= 1


@pytest.mark.parametrize("joined", [False, True])
def test_padding_is_deleted_last_for_it_would_cost_nothing(joined):
    """Two leads of 30 samples, in rows of their own or one behind the other; 10 to 20 of each are signal."""
    n_rows, length = (1, 60) if joined else (2, 30)
    places = tuple(LeadPlace(f"lead {k + 1}", 0 if joined else k, 30 * k if joined else 0, 30) for k in range(2))
    leads = ("both",) if joined else ("lead 1", "lead 2")
    signals = np.zeros((3, n_rows, length), np.float32)
    for place in places:
        signals[:, place.row, place.offset + 10 : place.offset + 20] = 1
    examples = make_examples(
        signals, np.zeros(3, int), leads=leads, fs=100.0, places=places, valid_start=np.full(3, 10), valid_stop=np.full(3, 20)
    )

    class Sum(nn.Module):
        def forward(self, x):
            total = x.flatten(1).sum(dim=1)
            return torch.stack([total, -total], dim=1)

    model = classifier(Sum(), classes=examples.classes, leads=leads, length=length)
    masks = np.zeros((3, n_rows, length))
    for place in places:
        masks[:, place.row, place.offset + 10 : place.offset + 20] = 0.8
    found = deletion_effect(model, examples, masks, np.zeros(3, int), cell_s=0.02, draws=5)
    np.testing.assert_allclose(found["fall"], 16, rtol=1e-5)
    np.testing.assert_allclose(found["random_fall"], 16, rtol=1e-5)  # all of it on signal, though two thirds is padding


def test_batches_and_mates_do_not_matter(monkeypatch):
    examples, model, masks, target = _fitting(12)
    whole = deletion_effect(model, examples, masks, target, draws=3, cell_s=CELL)
    monkeypatch.setattr("ecglens.analysis.deletion._BATCH", 5)
    pd.testing.assert_frame_equal(deletion_effect(model, examples, masks, target, draws=3, cell_s=CELL), whole, atol=1e-5)
    masks[1:] = 0
    first = deletion_effect(model, examples, masks, target, draws=3, cell_s=CELL).iloc[0]
    np.testing.assert_allclose(first[:3].astype(float), whole.iloc[0, :3].astype(float), atol=1e-5)


def test_examples_go_through_the_model_together():
    examples, model, masks, target = _fitting(40)
    sizes: list[int] = []
    hook = model.module.register_forward_hook(lambda _module, ins, _out: sizes.append(len(ins[0])))
    deletion_effect(model, examples, masks, target, draws=6)
    hook.remove()
    assert sizes == [40] * 8


def test_nothing_deleted_costs_nothing_and_beats_nothing():
    examples, model, masks, target = _fitting()
    found = deletion_effect(model, examples, 0 * masks, target, draws=2)
    assert (found[["amount", "fall", "random_fall"]] == 0).all(axis=None)
    assert not found["beats_random"].any()


def test_a_mask_on_what_the_net_reads_beats_random_ones_and_one_beside_it_does_not():
    signals = np.random.default_rng(0).normal(size=(20, 2, 60)).astype(np.float32)
    signals[:, 0, 20:26] = 2
    examples = make_examples(signals, np.zeros(20, int), fs=100.0)

    class Reads(nn.Module):
        def forward(self, x):
            seen = x[:, 0, 20:26].sum(dim=1)
            return torch.stack([seen, -seen], dim=1)

    model = classifier(Reads(), classes=examples.classes, leads=examples.leads, length=60)
    on, beside = np.zeros((20, 2, 60)), np.zeros((20, 2, 60))
    on[:, 0, 20:26], beside[:, 0, 30:36] = 1, 1
    target = np.zeros(20, int)
    table = deletion_effect(model, examples, on, target)
    np.testing.assert_allclose(table["fall"], 12, rtol=1e-5)
    assert table["beats_random"].all()
    by_class = deletion_by_class(table, target, examples.classes)
    assert by_class["ratio"].item() > 10  # 6 of 120 samples
    assert not deletion_effect(model, examples, beside, target)["beats_random"].any()


# ------------------------------------------------------------------------------------------------ by class


def _table(n: int = 60, seed: int = 0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"amount": rng.random(n), "fall": rng.normal(4, 2, n), "random_fall": rng.normal(1, 0.5, n)})
    table["beats_random"] = table["fall"] > table["random_fall"]
    labels = np.array([0, 2, 2])[np.arange(n) % 3]
    return table, labels, np.array([f"p{k}" for k in rng.integers(0, 6, n)])


def test_sums_by_class_equal_a_plain_loop():
    table, labels, patients = _table()
    found = deletion_by_class(table, labels, ("A", "B", "C"), patients)
    assert list(found["class"]) == ["A", "C"]  # no row for a class without examples
    for row, label in zip(found.to_dict("records"), (0, 2), strict=True):
        mine = table[labels == label]
        assert row["n"] == len(mine)
        assert row["fall"] == pytest.approx(sum(mine["fall"]) / len(mine))
        assert row["random_fall"] == pytest.approx(sum(mine["random_fall"]) / len(mine))
        assert row["ratio"] == pytest.approx(sum(mine["fall"]) / sum(mine["random_fall"]))
        assert row["share"] == pytest.approx(
            sum(a > b for a, b in zip(mine["fall"], mine["random_fall"], strict=True)) / row["n"]
        )
        # a bootstrap over patients of our own, from another seed
        own, ratios = patients[labels == label], []
        rng = np.random.default_rng(99)
        names = np.unique(own)
        for _ in range(2000):
            pick = np.concatenate([np.flatnonzero(own == name) for name in rng.choice(names, len(names))])
            ratios.append(mine["fall"].to_numpy()[pick].sum() / mine["random_fall"].to_numpy()[pick].sum())
        low, high = np.quantile(ratios, [0.025, 0.975])
        assert row["low"] == pytest.approx(low, rel=0.05)
        assert row["high"] == pytest.approx(high, rel=0.05)
    pd.testing.assert_frame_equal(found, deletion_by_class(table, labels, ("A", "B", "C"), patients))
    assert deletion_by_class(table, labels, ("A", "B", "C"), patients, seed=1)["low"].ne(found["low"]).any()


def test_without_patients_or_with_one_there_is_no_interval():
    table, labels, patients = _table()
    for given_patients in (None, np.full(len(table), "one")):
        found = deletion_by_class(table, labels, ("A", "B", "C"), given_patients)
        assert found[["low", "high"]].isna().all(axis=None)
        assert found["ratio"].notna().all()
    assert len(np.unique(patients)) > 1


def test_where_random_deletion_costs_nothing_there_is_no_ratio():
    table, labels, patients = _table()
    table.loc[labels == 2, "random_fall"] = -0.1
    found = deletion_by_class(table, labels, ("A", "B", "C"), patients)
    assert found["ratio"].isna().tolist() == [False, True]
    assert found["fall"].notna().all()
    assert found["high"].tolist()[1] == np.inf  # no bound


# ------------------------------------------------------------------------------------------------ refused, real


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"fill": "noise"}, "unknown fill 'noise'.*zero, mean, blur"),
        ({"fill": "mean"}, "fill 'mean' needs a background"),
        ({"fill": "blur", "blur": 0.0}, "a blur of 0 samples"),
        ({"draws": 0}, "draws is 0; expected at least 1"),
        ({"masks": np.zeros((7, 2, 59))}, r"masks have shape \(7, 2, 59\); expected \(7, 2 or 1, 60\)"),
        ({"masks": np.full((7, 2, 60), 1.5)}, "masks run from 1.5 to 1.5; expected 0 .kept. to 1"),
        ({"masks": np.full((7, 2, 60), np.nan)}, "masks run from nan to nan"),
        ({"target": np.zeros(6, int)}, r"targets have shape \(6,\); expected a class index for each of 7"),
        ({"target": np.full(7, 3)}, "expected a class index"),
    ],
)
def test_what_does_not_fit_is_refused(changed, words):
    examples, model, masks, target = _fitting()
    told = {"masks": masks, "target": target} | changed
    with pytest.raises(EcglensError, match=words):
        deletion_effect(model, examples, told.pop("masks"), told.pop("target"), **told)


def test_examples_of_another_rate_and_lengths_that_differ_are_refused():
    examples, model, masks, target = _fitting()
    with pytest.raises(EcglensError, match="sampling rate: model tiny expects 100 Hz, the examples have 200 Hz"):
        deletion_effect(model, replace(examples, fs=200.0), masks, target)
    table, labels, _ = _table()
    with pytest.raises(EcglensError, match="60 rows, 59 labels and 60 patients; expected the same number"):
        deletion_by_class(table, labels[:-1], ("A", "B", "C"))


def test_on_real_beats_the_mask_of_a_net_trained_for_a_moment_beats_random_deletion(real_mitdb: Path):
    """N against V of DS1 records, a small net, masks of 24 beats."""
    from ecglens.examples.beats import BeatOptions, cut_beats
    from ecglens.examples.label_maps import label_map
    from ecglens.recordings.databases import database, read_records

    records = read_records(database("mitdb"), real_mitdb, ["106", "119", "208"], [], swap_leads=True)
    beats, _ = cut_beats(records, label_map("jones"), BeatOptions(), [])
    n, v = beats.classes.index("N"), beats.classes.index("V")
    some = np.concatenate([np.flatnonzero(beats.labels == label)[::12][:60] for label in (n, v)])
    part = beats.take(some)
    part = replace(part, labels=(part.labels == v).astype(np.int64), classes=("N", "V"))
    model = created("resnet", part, scale="offset")
    x, labels = model.inputs(part)[0], torch.from_numpy(part.labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        optimiser = torch.optim.Adam(model.module.train().parameters(), lr=0.003)
        for _ in range(25):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model.module(x), labels).backward()
            optimiser.step()
    model.module.eval()
    few = np.concatenate([np.flatnonzero(part.labels == label)[:12] for label in (0, 1)])
    right = few[model.logits(part.take(few)).argmax(1) == part.labels[few]]
    assert len(right) > 18
    part = part.take(right)
    told = {"deletion-mask": {"steps": 60, "starts": 1, "rate": 0.05}}
    masks = explain(model, part, ["deletion-mask"], target="true", options=told, quiet=True)["deletion-mask"][:]
    table = deletion_effect(model, part, masks, part.labels)
    by_class = deletion_by_class(table, part.labels, part.classes, part.column("patient"))
    # N may gain by random deletion; there is no ratio then
    assert (by_class["fall"] > 3 * by_class["random_fall"].clip(lower=0.1)).all()
    assert (by_class["share"] > 0.9).all()
