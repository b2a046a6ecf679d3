"""The learned mask, against a slow descent by hand, one example at a time; and what it must find."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch import nn

from ecglens.attribution import explain
from ecglens.attribution.masks import PUBLISHED, blurred, deletion_mask, log_odds
from ecglens.errors import EcglensError
from made import toy_problem
from nets import LENGTH, classifier, gap, maps, one_pass, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])
QUICK = {"starts": 1, "tolerance": 0.0}


def _fitted(module: nn.Module, x: torch.Tensor, labels: torch.Tensor, steps: int = 60) -> nn.Module:
    """Two classes, sure, but not so sure that a probability of 1 has no gradient."""
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(x), labels).backward()
        optimiser.step()
    with torch.no_grad():
        logits = module(x)
        assert (logits.argmax(1) == labels).float().mean() > 0.95
        share = 3 / (logits[:, 0] - logits[:, 1]).abs().mean()
        module[-1].weight.mul_(share)
        module[-1].bias.mul_(share)
    for value in module.parameters():
        value.grad = None
    return module.eval()


@pytest.fixture(scope="module")
def trained():
    """A small net that tells the toy problem's bumps apart, its signals and labels."""
    examples = toy_problem(64)
    x, labels = torch.from_numpy(examples.signals), torch.from_numpy(examples.labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv1d(2, 4, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(96, 2))
        _fitted(module, x, labels)
    return classifier(module, classes=examples.classes), examples.signals, examples.labels


def _notes(model, x, target, rows=None, **options):
    """The map and its notes."""
    told = {"options": {"deletion-mask": options}, "quiet": True, "rows": rows}
    found = explain(model, x, ["deletion-mask"], target=np.asarray(target), **told)
    names = ("moved", "score-left", *(["overlap"] if options.get("starts", 3) > 1 else []))
    return found["deletion-mask"][:], {name: found.note("deletion-mask", name) for name in names}


# ------------------------------------------------------------------------------------------------ by hand


def _slow_fill(one: np.ndarray, baseline: str, background: np.ndarray | None, blur_s: float) -> np.ndarray:
    if baseline == "zero":
        return np.zeros_like(one)
    if baseline == "mean":
        return background.mean(axis=0)
    return gaussian_filter1d(one, blur_s * 100, axis=1, mode="nearest", truncate=3)


def _slow_cost(module, one, fill, mask, label, whole, told, activation="softmax"):
    """What the mask costs, sample by sample. mask: tensor (lead, time)."""
    deletes = told["goal"] == "deletion"
    total, changes, n, n_changes = 0, 0, 0, 0
    for lead in range(len(mask)):
        for at in range(mask.shape[1]):
            amount = 1 - mask[lead, at] if deletes else mask[lead, at]
            total = total + (amount.abs() if told["bounded"] == "none" else amount)
            n += 1
            if at:
                changes = changes + (mask[lead, at] - mask[lead, at - 1]).abs()
                n_changes += 1
    if told["size"] == "mean":
        total, changes = total / n, changes / n_changes
    logits = module((mask * one + (1 - mask) * fill)[None])[0]
    p = logits.softmax(0)[label] if activation == "softmax" else logits[label].sigmoid()
    if told["score"] == "probability":
        lost = p if deletes else 1 - p
    else:
        unit = max(np.log1p(np.exp(whole)), np.log(2))
        odds = torch.log(p / (1 - p))
        lost = torch.log(1 + torch.exp(odds if deletes else whole - odds)) / unit
    return told["l1"] * total + told["l2"] * changes + lost


def _slow_mask(model, one, fill, label, first, told):
    """Salience (lead, time), and the masks of all steps, by an Adam written out; first: (lead, cell)."""
    module = model.module.double()
    one, fill = torch.from_numpy(one).double(), torch.from_numpy(fill).double()
    width = max(round(told.get("cell", 0) * 100), 1)
    with torch.no_grad():
        logits = module(one[None])[0]
        p = float(logits.softmax(0)[label] if model.activation == "softmax" else logits[label].sigmoid())
    whole = np.log(p / (1 - p))
    mask = torch.as_tensor(first).double()
    mean, square = torch.zeros_like(mask), torch.zeros_like(mask)
    course = [mask]
    for step in range(1, told["steps"] + 1):
        probe = mask.clone().requires_grad_(True)
        wide = torch.stack([probe[:, at // width] for at in range(one.shape[1])], dim=1)
        cost = _slow_cost(module, one, fill, wide, label, whole, told, model.activation)
        (gradient,) = torch.autograd.grad(cost, probe)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        mask = mask - told["rate"] * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        if told["bounded"] == "clamp":
            mask = mask.clamp(0, 1)
        course.append(mask)
    module.float()
    kept = np.stack([mask[:, at // width].numpy() for at in range(one.shape[1])], axis=1)
    return np.clip(1 - kept if told["goal"] == "deletion" else kept, 0, 1), course


_PLAIN = {
    "steps": 10, "rate": 0.03, "l1": 0.4, "l2": 0.0, "start": 0.6, "size": "mean", "score": "logit", "baseline": "zero",
    "bounded": "clamp", "goal": "deletion", **QUICK,
}  # fmt: skip


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"goal": "preservation", "start": 0.4},
        {"score": "probability"},
        {"score": "probability", "goal": "preservation"},
        {"size": "sum", "l1": 0.02},
        {"baseline": "mean"},
        {"baseline": "blur", "blur": 0.04},
        {"bounded": "none", "start": 0.9},
        {"bounded": "none", "goal": "preservation", "start": 0.1},
        {"start": 0.9},
        {"cell": 0.05},
        {"cell": 0.07, "goal": "preservation", "baseline": "blur", "blur": 0.1, "start": 0.5},
    ],
    ids=lambda changed: ", ".join(f"{name}={value}" for name, value in changed.items()) or "plain",
)
def test_a_mask_equals_a_slow_descent_on_one_example_by_hand(trained, changed, activation):
    model, x, labels = trained
    model = classifier(model.module, classes=model.classes, activation=activation)
    told, background = _PLAIN | changed, signals(5, seed=4) + 0.5
    found = maps(model, x[:4], "deletion-mask", labels[:4], background=background, options=told)
    width = max(round(told.get("cell", 0) * 100), 1)
    first = np.full((2, -(-LENGTH // width)), told["start"])
    for row in (0, 3):
        fill = _slow_fill(x[row], told["baseline"], background, told.get("blur", 0.1))
        wanted, _ = _slow_mask(model, x[row], fill, int(labels[row]), first, told)
        # at a clamp's edge, or where a gradient is next to nothing, a last digit may turn one step of Adam
        assert np.isclose(found[row], wanted, atol=1e-3).mean() > 0.95
        assert np.abs(found[row] - found[row].flat[0]).max() > 0.05  # it went somewhere


def _random_first(row: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    words = np.random.SeedSequence([seed, 6, row]).generate_state(1, np.uint64)
    return torch.rand(*shape, generator=torch.Generator().manual_seed(int(words[0] >> 1))).numpy()


@pytest.mark.parametrize("size", ["mean", "sum"])
def test_other_starts_are_random_and_the_map_is_the_mean_of_all(trained, size):
    model, x, labels = trained
    told = _PLAIN | {"starts": 3, "size": size, "steps": 6} | ({"l2": 0.3} if size == "mean" else {"l1": 0.01, "l2": 0.02})
    found, notes = _notes(model, x[:3], labels[:3], **told)
    # from a level start neighbours are equal but for a last digit, and either may be the larger: so that one is not by hand
    level, level_notes = _notes(model, x[:3], labels[:3], **(told | {"starts": 1}))
    for row in range(3):
        slow = [
            _slow_mask(model, x[row], np.zeros_like(x[row]), int(labels[row]), first, told)
            for first in _random_first(row, (2, 2, LENGTH))
        ]
        masks = [level[row], *(mask for mask, _ in slow)]
        assert np.isclose(found[row], np.mean(masks, axis=0), atol=1e-3).mean() > 0.95
        pairs = [(masks[0], masks[1]), (masks[0], masks[2]), (masks[1], masks[2])]
        overlap = np.mean([np.minimum(*pair).sum() / np.maximum(*pair).sum() for pair in pairs])
        assert notes["overlap"][row] == pytest.approx(overlap, abs=2e-3)
        moved = [level_notes["moved"][row], *(float((course[-1] - course[0]).abs().max()) for _, course in slow)]
        assert notes["moved"][row] == pytest.approx(max(moved), abs=2e-3)


def test_movement_is_that_of_the_start_that_moves_most(trained):
    model, x, labels = trained
    one, two = (_notes(model, x[:16], labels[:16], steps=60, starts=starts, tolerance=0.0)[1]["moved"] for starts in (1, 2))
    assert (two >= one - 1e-6).all()
    assert (two > one + 1e-3).any()


@pytest.mark.parametrize("goal", ["deletion", "preservation"])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_the_score_that_is_left_is_that_of_the_signal_under_the_map(trained, goal, score):
    model, x, labels = trained
    found, notes = _notes(model, x[:6], labels[:6], steps=15, starts=2, goal=goal, score=score)
    shown = x[:6] * (1 - found if goal == "deletion" else found)
    with torch.no_grad():
        logits = model.module(torch.from_numpy(shown))
    wanted = (logits if score == "logit" else logits.softmax(1)).numpy()[np.arange(6), labels[:6]]
    np.testing.assert_allclose(notes["score-left"], wanted, atol=1e-4)


def test_movement_is_that_of_the_last_twenty_steps(trained):
    model, x, labels = trained
    told = _PLAIN | {"steps": 33, "start": 1.0}
    _, notes = _notes(model, x[:2], labels[:2], **told)
    at = {steps: _notes(model, x[:2], labels[:2], **(told | {"steps": steps}))[0] for steps in (13, 33)}
    np.testing.assert_allclose(notes["moved"], np.abs(at[33] - at[13]).max(axis=(1, 2)), atol=1e-6)


def test_a_fill_by_blur_is_a_gaussian_of_the_signal_itself():
    x = signals(3)
    for width in (0.4, 2.0, 9.0, 40.0):  # the last reaches beyond both edges
        wanted = gaussian_filter1d(x.astype(float), width, axis=2, mode="nearest", radius=max(int(np.ceil(3 * width)), 1))
        np.testing.assert_allclose(blurred(torch.from_numpy(x), width).numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize(("n_classes", "activation"), [(3, "softmax"), (3, "sigmoid"), (1, "sigmoid"), (1, "softmax")])
def test_log_odds_are_those_of_the_class_against_the_others(n_classes, activation):
    logits = torch.randn(6, n_classes, generator=torch.Generator().manual_seed(0)).double() * 3
    model = classifier(nn.Identity(), classes=tuple("abc"[:n_classes]), activation=activation)
    target = np.arange(6) % n_classes
    found = log_odds(one_pass(model, np.zeros((6, 2, LENGTH), np.float32), target), logits).numpy()
    for row in range(6):
        values = logits[row].numpy()
        chance = np.exp(values) / np.exp(values).sum() if activation == "softmax" else 1 / (1 + np.exp(-values))
        p = chance[target[row]]
        assert found[row] == pytest.approx(values[0] if n_classes == 1 else np.log(p / (1 - p)))


# ------------------------------------------------------------------------------------------------ batch


@pytest.mark.parametrize("tolerance", [0.0, 0.3])
def test_a_mask_does_not_meet_its_batch_mates(trained, tolerance):
    model, x, labels = trained
    told = {"steps": 45, "starts": 2, "tolerance": tolerance}
    together, notes = _notes(model, x[:6], labels[:6], **told)
    if tolerance:
        assert (notes["moved"] <= tolerance).any()
    for row in range(6):
        alone = maps(model, x[:6], "deletion-mask", labels[row : row + 1], rows=np.array([row]), options=told)
        np.testing.assert_allclose(alone[0], together[row], atol=1e-4)
    louder = x[:6].copy()
    louder[1:] *= 30
    np.testing.assert_allclose(maps(model, louder, "deletion-mask", labels[:6], options=told)[0], together[0], atol=1e-4)


def test_the_order_of_a_batch_does_not_matter(trained):
    model, x, labels = trained
    told = {"steps": 25, "starts": 2, "cell": 0.03}
    whole = maps(model, x[:8], "deletion-mask", labels[:8], options=told)
    order = np.random.default_rng(0).permutation(8)
    mixed = maps(model, x[:8], "deletion-mask", labels[:8][order], rows=order, options=told)
    np.testing.assert_allclose(mixed, whole[order], atol=1e-4)


def test_a_mask_that_stands_still_is_done_and_the_batch_when_all_are(trained):
    """A tolerance that every mask keeps ends at the first look; each mask is then as it was when it was done."""
    model, x, labels = trained
    model.module.counts = []
    hook = model.module.register_forward_hook(lambda _module, ins, _out: model.module.counts.append(len(ins[0])))
    told = {"steps": 100, "starts": 1, "rate": 0.02}

    def passes(**more):
        model.module.counts.clear()
        found, notes = _notes(model, x[:6], labels[:6], **(told | more))
        return found, notes, len(model.module.counts)

    whole, _, n_whole = passes(tolerance=0.0)
    first, _, n_first = passes(tolerance=1.0)
    assert n_whole - n_first == 80
    np.testing.assert_allclose(first, passes(tolerance=0.0, steps=20)[0], atol=1e-6)
    by_look = [passes(tolerance=0.0, steps=20 * k) for k in (1, 2, 3, 4, 5)]
    moved = np.stack([each[1]["moved"] for each in by_look])
    tolerance = float(np.median(moved[1:3]))
    some, some_notes, _ = passes(tolerance=tolerance)
    ends = [int(np.argmax(moved[:, row] <= tolerance)) if (moved[:, row] <= tolerance).any() else 4 for row in range(6)]
    assert len(set(ends)) > 1
    for row, end in enumerate(ends):
        np.testing.assert_allclose(some[row], by_look[end][0][row], atol=1e-6)
        assert some_notes["moved"][row] == pytest.approx(moved[end, row], abs=1e-6)
    assert not np.allclose(some, whole)
    hook.remove()


def test_cells_share_one_value(trained):
    model, x, labels = trained
    found = maps(model, x[:4], "deletion-mask", labels[:4], options={"steps": 30, "cell": 0.05, **QUICK})
    assert found.shape == x[:4].shape
    for first in range(0, LENGTH, 5):
        part = found[:, :, first : first + 5]
        np.testing.assert_array_equal(part, np.repeat(part[:, :, :1], part.shape[2], axis=2))
    assert len(np.unique(found)) > 5


# ------------------------------------------------------------------------------------------------ what it does


@pytest.mark.parametrize("bounded", ["clamp", "none"])
@pytest.mark.parametrize("goal", ["deletion", "preservation"])
def test_maps_lie_between_none_and_all(bounded, goal):
    found = maps(
        gap(), 5 * signals(), "deletion-mask", TARGET, options={"steps": 40, "rate": 0.3, "bounded": bounded, "goal": goal}
    )
    assert found.shape == signals().shape
    assert (found >= 0).all()
    assert (found <= 1).all()


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_what_the_mask_deletes_costs_the_class_more_than_a_random_mask_of_equal_mass(trained, score):
    model, x, labels = trained
    x, labels = x[:16], labels[:16]
    told = {"steps": 80, "rate": 0.05, "l1": 0.3, "l2": 0.5, "start": 0.5, "score": score}  # at 1 a probability has no slope
    found = maps(model, x, "deletion-mask", labels, options=told | QUICK)

    def chance(shown):
        with torch.no_grad():
            return model.module(torch.from_numpy(shown.astype(np.float32))).softmax(1).numpy()[np.arange(16), labels]

    rng = np.random.default_rng(0)
    shuffled = np.stack([rng.permutation(each.ravel()).reshape(each.shape) for each in found])
    fall, by_chance = chance(x) - chance(x * (1 - found)), chance(x) - chance(x * (1 - shuffled))
    assert fall.mean() > by_chance.mean() + 0.2
    assert (fall > by_chance).mean() > 0.9


def test_what_a_preserving_mask_keeps_keeps_the_class(trained):
    model, x, labels = trained
    told = {"steps": 120, "goal": "preservation", **QUICK}
    found, notes = _notes(model, x[:16], labels[:16], **told)
    assert found.mean() < 0.4
    with torch.no_grad():
        logits = model.module(torch.from_numpy(x[:16] * found)).numpy()
    np.testing.assert_array_equal(logits.argmax(1), labels[:16])
    np.testing.assert_allclose(notes["score-left"], logits[np.arange(16), labels[:16]], atol=1e-4)


def test_neighbours_cost_what_the_second_weight_says(trained):
    model, x, labels = trained
    rough, smooth = (
        maps(model, x[:8], "deletion-mask", labels[:8], options={"steps": 60, "l2": l2, "l1": 0.3, **QUICK}) for l2 in (0, 3.0)
    )
    assert np.abs(np.diff(smooth, axis=2)).mean() < 0.5 * np.abs(np.diff(rough, axis=2)).mean()


def test_a_dearer_deletion_deletes_less(trained):
    model, x, labels = trained
    cheap, dear = (
        maps(model, x[:8], "deletion-mask", labels[:8], options={"steps": 60, "l1": l1, **QUICK}) for l1 in (0.1, 5.0)
    )
    assert dear.mean() < cheap.mean()


@pytest.mark.parametrize(("goal", "salient"), [("deletion", 0.75), ("preservation", 0.25)])
def test_no_step_leaves_the_mask_where_it_starts(goal, salient):
    told = {"steps": 0, "start": 0.25, "goal": goal, **QUICK}
    np.testing.assert_allclose(maps(gap(), signals(), "deletion-mask", TARGET, options=told), salient)


_AT, _LONG = 40, 120  # samples at 100 Hz


def _bumps():
    """Bumps of 30 ms at 0.4 s in the first lead, up or down; wide ones elsewhere that say nothing; noise."""
    rng, time = np.random.default_rng(0), np.arange(_LONG)
    labels = np.arange(64) % 2
    x = rng.normal(0, 0.2, (64, 2, _LONG))
    x[:, 0] += (2 * labels - 1)[:, None] * np.exp(-0.5 * ((time - _AT) / 3) ** 2)
    x += rng.normal(0, 1, (64, 2, 1)) * np.exp(-0.5 * ((time - 85) / 8) ** 2)
    return x.astype(np.float32), labels


class _Reader(nn.Module):
    """Reads the bump and nothing else: ReLUs of its mean on either side of zero."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shape", torch.exp(-0.5 * ((torch.arange(_LONG) - _AT) / 3.0) ** 2))

    def forward(self, x):
        seen = (x[:, 0] * self.shape).sum(dim=1)
        return torch.stack([torch.relu(-seen), torch.relu(seen)], dim=1)


@pytest.fixture(scope="module", params=["trained", "made"])
def bump(request):
    """A net that tells the sign of the bump."""
    x, labels = _bumps()
    module: nn.Module = _Reader()
    if request.param == "trained":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = nn.Sequential(nn.Conv1d(2, 6, 7, padding=3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * _LONG, 2))
            _fitted(module, torch.from_numpy(x), torch.from_numpy(labels), steps=80)
    return classifier(module, classes=("down", "up"), length=_LONG), x, labels, request.param == "made"


@pytest.mark.parametrize("goal", ["deletion", "preservation"])
@pytest.mark.parametrize("baseline", ["zero", "mean", "blur"])
def test_the_mask_peaks_where_the_net_reads(bump, goal, baseline):
    model, x, labels, reads_nothing_else = bump
    told = {"steps": 120, "starts": 2, "goal": goal, "baseline": baseline, "blur": 0.15}
    found = maps(model, x[:16], "deletion-mask", labels[:16], background=x, options=told)
    mean = found.mean(axis=0)
    lead, at = np.unravel_index(mean.argmax(), mean.shape)
    assert lead == 0
    assert abs(at - _AT) <= 4  # 40 ms
    if reads_nothing_else:  # then each example's own mask must; it may be flat on top, so the middle of the top
        for each in found:
            top = np.flatnonzero(each[0] >= 0.95 * each[0].max())
            assert abs(top.mean() - _AT) <= 4
            assert each[0, top].min() > each[1].max() + 0.5


# ------------------------------------------------------------------------------------------------ as published


def test_published_and_corrected_differ_in_values_only():
    taken = {name: each.default for name, each in inspect.signature(deletion_mask).parameters.items() if name != "batch"}
    assert set(PUBLISHED) <= set(taken)
    assert [PUBLISHED[name] for name in ("l1", "l2", "rate", "steps", "start", "starts")] == [1, 0.001, 0.001, 500, 0, 1]
    assert {name for name in PUBLISHED if PUBLISHED[name] != taken[name]} == {
        "steps", "rate", "l2", "start", "size", "score", "bounded", "starts", "tolerance",
    }  # fmt: skip


def test_the_published_mask_ends_half_way_as_the_rate_says(trained):
    """500 steps of .001: a step of Adam is the rate times at most (largest by smallest slope), and these are near 1."""
    model, x, labels = trained
    quiet = x[:6] / 20  # the slopes of the probability are then small beside that of the size, which is 1
    found, notes = _notes(model, quiet, labels[:6], **PUBLISHED)
    probe = torch.rand(200, 6, 2, LENGTH, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    logits = model.module((probe * torch.from_numpy(quiet)).flatten(0, 1)).softmax(1)
    steepest = float(
        torch.autograd.grad(logits.gather(1, torch.from_numpy(labels[:6]).repeat(200)[:, None]).sum(), probe)[0].abs().max()
    )
    assert steepest < 0.02
    kept = 1 - found
    assert kept.max() <= 0.5 * (1 + steepest) / (1 - steepest)
    assert kept.min() >= 0.5 * (1 - steepest) / (1 + steepest)
    np.testing.assert_allclose(notes["moved"], 20 * PUBLISHED["rate"], rtol=0.02)  # and it is still on its way


def test_the_published_mask_at_its_end_deletes_nothing(trained):
    """A deleted sample costs 1, and a probability has at most 1 to lose: nothing is worth it, of 48 samples or of 720."""
    model, x, labels = trained
    end, notes = _notes(model, x[:6], labels[:6], **(PUBLISHED | {"steps": 1500, "rate": 0.002, "bounded": "clamp"}))
    np.testing.assert_array_equal(end, 0)
    np.testing.assert_array_equal(notes["moved"], 0)
    unbounded, _ = _notes(model, x[:6], labels[:6], **(PUBLISHED | {"steps": 1500, "rate": 0.002}))
    assert unbounded.max() < 0.01  # to and fro about 1 by a step
    # whatever is deleted costs more than it brings: masks at random, whole samples and all of them
    rng = np.random.default_rng(0)
    tried = [np.ones((2, LENGTH)), *np.eye(2 * LENGTH).reshape(-1, 2, LENGTH)]
    tried += [rng.random((2, LENGTH)) ** power for power in (1, 3, 10, 30)]
    with torch.no_grad():
        for row in range(6):
            one = torch.from_numpy(x[row])
            for deleted in tried:
                masks = torch.stack([one, one * torch.from_numpy(1 - deleted).float()])
                before, after = model.module(masks).softmax(1)[:, labels[row]].tolist()
                assert deleted.sum() + after >= before


# ------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"size": "mena"}, "unknown size 'mena'; did you mean 'mean'.*mean, sum"),
        ({"score": "logits"}, "unknown score 'logits'; did you mean 'logit'"),
        ({"baseline": "blurr"}, "unknown fill 'blurr'; did you mean 'blur'.*zero, mean, blur"),
        ({"bounded": "clip"}, "unknown bound 'clip'.*clamp, none"),
        ({"goal": "delete"}, "unknown goal 'delete'.*deletion, preservation"),
        ({"baseline": "mean"}, "needs a background"),
        ({"baseline": "blur", "blur": 0.0}, "a blur of 0 samples .* expected more than 0"),
        ({"steps": -1}, "steps of the deletion mask is -1; expected at least 0"),
        ({"starts": 0}, "starts of the deletion mask is 0; expected at least 1"),
        ({"start": 1.5}, "start of the deletion mask is 1.5; expected 0 to 1"),
        ({"tolerance": -0.1}, "tolerance of the deletion mask is -0.1; expected 0 to 1"),
        ({"cell": 0.5}, "cell of the deletion mask is 0.5; expected 0 to 0.24"),
        ({"stpes": 3}, "deletion-mask has no option 'stpes'; did you mean 'steps'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(told, words):
    with pytest.raises(EcglensError, match=words):
        maps(gap(), signals(), "deletion-mask", TARGET, options=told)


def test_a_class_that_the_signal_has_not_has_nothing_to_lose():
    """Asked about the least likely class the mask deletes little, and nothing breaks."""
    model, x = classifier(seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 3)))), signals()
    with torch.no_grad():
        least = model.module(torch.from_numpy(x)).argmin(1).numpy()
    told = {"steps": 60, **QUICK}
    asked, other = maps(model, x, "deletion-mask", least, options=told), maps(model, x, "deletion-mask", options=told)
    assert asked.mean() < 0.5 * other.mean()
