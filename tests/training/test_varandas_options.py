"""Weights of the classes, Adam's weight decay, the rate in steps, and the stop by a falling F1."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from torch.nn import functional

from ecglens.training import fit as fit_module
from ecglens.training.fit import TrainOptions, fit
from ecglens.training.losses import inverse_frequency
from ecglens.training.stopping import f1_falls, f1_of, patience_is_over
from made import FEW, random_examples, tiny, toy_problem

_PLAIN = TrainOptions(
    optimiser="adam", rate=1e-2, weight_decay=0.0, schedule="none", epochs=3, batch=16, bf16=False, gain_jitter=0.0
)
_NONE = np.array([], np.int64)
_FALLS = [0.5, 0.6, 0.9, 0.8, 0.95, 0.7, 0.6]


@FEW
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_classes_weigh_one_over_their_frequency_with_mean_one(labels):
    found = inverse_frequency(torch.tensor(labels), 5).tolist()
    there = sorted(set(labels))
    shares = {label: len(labels) / labels.count(label) for label in there}
    mean = sum(shares.values()) / len(shares)
    for label in range(5):
        assert found[label] == pytest.approx(shares[label] / mean if label in shares else 1.0, rel=1e-5)


def _weighted(logits, labels, weights):
    """Weighted cross-entropy, example by example: sum of w log p over the sum of w."""
    total = mass = 0.0
    for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
        total -= weights[label] * (row[label] - math.log(sum(math.exp(value) for value in row)))
        mass += weights[label]
    return total / mass


def test_both_losses_are_weighted_means_over_all_rows(tmp_path):
    """One epoch with a rate of nearly nothing: all batches meet the same network."""
    examples = random_examples(700, length=24, classes=2, seed=3)
    examples.labels[:] = np.random.default_rng(0).random(700) < 0.2
    model = tiny(examples)
    model.module.drop.p = 0.0
    rows, validation = np.arange(80).repeat(2), np.arange(80, 700)  # two validation batches, of different mixture
    shown = []
    model.module.register_forward_hook(lambda module, _x, out: shown.append(out.detach()) if module.training else None)
    options = replace(_PLAIN, class_weights="inverse", rate=1e-12, epochs=1, batch=32)
    done = fit(model, examples, rows, validation, options, 0, tmp_path)
    labels = torch.from_numpy(examples.labels)
    many, few = (labels[rows] == 0).sum().item(), (labels[rows] == 1).sum().item()
    weights = [2 * few / (many + few), 2 * many / (many + few)]
    row = done.history[0]
    logits = torch.from_numpy(model.logits(examples.take(validation)))
    assert row["validation_loss"] == pytest.approx(_weighted(logits, labels[validation], weights), rel=1e-4)
    plain = functional.cross_entropy(logits, labels[validation]).item()
    assert abs(row["validation_loss"] - plain) > 1e-3
    order = _order_of_the_first_epoch(rows)
    assert row["train_loss"] == pytest.approx(_weighted(torch.cat(shown), labels[order], weights), rel=1e-4)


def _order_of_the_first_epoch(rows, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, 0]).generate_state(1)[0]))
        return torch.from_numpy(rows)[torch.randperm(len(rows))]


def test_with_weights_the_rare_class_is_found_more_often(tmp_path):
    examples = toy_problem(400, seed=1)
    examples.signals[:] += np.random.default_rng(1).normal(0, 3, examples.signals.shape)
    rows = np.concatenate([np.flatnonzero(examples.labels == 0)[:150], np.flatnonzero(examples.labels == 1)[:15]])
    rest = np.setdiff1d(np.arange(400), rows)
    found = {}
    for weights in ("none", "inverse"):
        model = tiny(examples)
        fit(model, examples, rows, _NONE, replace(_PLAIN, class_weights=weights, epochs=8), 0, tmp_path)
        found[weights] = (model.logits(examples.take(rest)).argmax(1) == 1).mean()
    assert found["inverse"] > found["none"] + 0.1


def test_adam_takes_weight_decay_as_a_term_of_the_gradient(tmp_path):
    """Five steps of Adam by its formula (Kingma 2015, algorithm 1), with g + decay w for g."""
    examples = random_examples(8, length=24)
    model, by_hand = (tiny(examples) for _ in range(2))
    model.module.drop.p = by_hand.module.drop.p = 0.0
    options = replace(_PLAIN, epochs=5, batch=8, rate=0.01, weight_decay=0.3)
    fit(model, examples, np.arange(8), _NONE, options, 0, tmp_path)
    by_hand.module.train()
    named = dict(by_hand.module.named_parameters())
    first, second = ({name: torch.zeros_like(value) for name, value in named.items()} for _ in range(2))
    for step in range(1, 6):
        by_hand.module.zero_grad()
        functional.cross_entropy(by_hand.module(*by_hand.inputs(examples)), torch.from_numpy(examples.labels)).backward()
        for name, value in named.items():
            with torch.no_grad():
                gradient = value.grad + 0.3 * value
                first[name] = 0.9 * first[name] + 0.1 * gradient
                second[name] = 0.999 * second[name] + 0.001 * gradient**2
                value -= 0.01 * (first[name] / (1 - 0.9**step)) / ((second[name] / (1 - 0.999**step)).sqrt() + 1e-8)
    for name, value in named.items():
        if name != "conv.bias":  # before a batch norm its gradient is rounding alone
            torch.testing.assert_close(model.module.state_dict()[name], value.detach(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("optimiser", ["nadam", "sgd"])
def test_the_other_optimisers_take_no_weight_decay(optimiser, tmp_path):
    examples = toy_problem()
    found = []
    for decay in (0.0, 0.5):
        model = tiny(examples)
        fit(model, examples, np.arange(64), _NONE, replace(_PLAIN, optimiser=optimiser, weight_decay=decay), 0, tmp_path)
        found.append(model.module.state_dict()["head.weight"].clone())
    assert torch.equal(*found)


def test_the_rate_falls_to_a_tenth_after_every_four_epochs_also_over_a_kill(tmp_path, monkeypatch):
    examples = toy_problem(16)
    options = replace(_PLAIN, schedule="step", epochs=10, rate=1e-2)
    steps = []
    step = torch.optim.Adam.step

    def watched(self, *args, **kwargs):
        steps.append(self.param_groups[0]["lr"])
        if len(steps) == 6:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny(examples), examples, np.arange(16), _NONE, options, 0, tmp_path)
    done = fit(tiny(examples), examples, np.arange(16), _NONE, options, 0, tmp_path)
    wanted = [1e-2] * 4 + [1e-3] * 4 + [1e-4] * 2
    assert [row["rate"] for row in done.history] == pytest.approx(wanted)
    assert steps == pytest.approx([*wanted[:6], *wanted[5:]])


@FEW
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20), st.integers(0, 2))
def test_f1_is_that_of_one_class_against_the_others(pairs, label):
    answers, labels = (np.array(side) for side in zip(*pairs, strict=True))
    found = f1_of(torch.from_numpy(answers), torch.from_numpy(labels), label)
    assert found == pytest.approx(f1_score(labels == label, answers == label, zero_division=0.0))


@pytest.mark.parametrize(
    ("f1", "stops"),
    [
        ([0.9, 0.8, 0.7, 0.6], None),  # there are no four epochs before
        ([0.9, 0.8, 0.7, 0.6, 0.5], 5),
        ([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.7], 7),  # the paper's two epochs: 5 and 7
        ([0.5, 0.5, 0.5, 0.5, 0.5], 5),  # equal is enough
        ([0.1, 0.9, 0.9, 0.9, 0.71, 0.86, 0.85, 0.82], 8),
        ([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.96], None),
        ([float("nan")] * 8, None),
    ],
)
def test_training_stops_where_f1_is_no_better_than_the_mean_of_four_epochs_before(f1, stops):
    found = next((epoch for epoch in range(1, len(f1) + 1) if f1_falls(f1[:epoch])), None)
    assert found == stops


@FEW
@given(st.lists(st.integers(0, 20).map(lambda k: k / 20), min_size=1, max_size=9))
def test_the_stop_by_f1_equals_a_slow_loop(f1):
    slow = False
    if len(f1) >= 5:
        before = sum(f1[len(f1) - 1 - back] for back in (1, 2, 3, 4)) / 4
        slow = f1[-1] <= before + 1e-12
        if abs(f1[-1] - before) < 1e-9:
            return  # a tie is for rounding to decide
    assert f1_falls(f1) == slow


@FEW
@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.integers(0, 4))
def test_patience_counts_epochs_since_the_best(losses, patience):
    since = len(losses) - 1 - losses.index(min(losses))
    assert patience_is_over([float(loss) for loss in losses], patience) == (patience > 0 and since >= patience)
    assert not patience_is_over([float("nan")] * 6, patience)


def test_f1_of_the_first_class_is_in_the_history_and_ends_the_training(tmp_path, monkeypatch):
    """The rule with F1 as given, then the true F1 against scikit-learn's."""
    examples = random_examples(64, length=24, classes=2)
    options = replace(_PLAIN, stop="f1-falls", epochs=9)
    told = iter(_FALLS)
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "f1_of", lambda *_: next(told))
        done = fit(tiny(examples), examples, np.arange(48), np.arange(48, 64), options, 0, tmp_path)
    assert [row["validation_f1"] for row in done.history] == _FALLS[:6]
    assert done.stopped_early
    model = tiny(examples)
    validation = np.r_[48:64, 50, 50]
    done = fit(model, examples, np.arange(48), validation, replace(options, epochs=1, rate=1e-3), 0, tmp_path)
    answers = model.logits(examples.take(validation)).argmax(1)
    wanted = f1_score(examples.labels[validation] == 0, answers == 0)
    assert 0 < wanted < 1, "a half-trained network is meant to be wrong at times"
    assert done.history[0]["validation_f1"] == pytest.approx(wanted)
    assert not done.stopped_early


@pytest.mark.parametrize("at", [2, 5, 6])
def test_the_stop_by_f1_is_kept_over_a_kill(at, tmp_path, monkeypatch):
    """F1 as given for each epoch; killed right after epoch `at`, with five epochs or fewer in the checkpoint."""
    examples = toy_problem()
    options = replace(_PLAIN, stop="f1-falls", epochs=9)
    saved = fit_module.save_checkpoint

    def dying(folder, state):
        saved(folder, state)
        if state["epoch"] == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit_module, "f1_of", lambda *_: next(told))
    told = iter(_FALLS)
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "save_checkpoint", dying)
        with pytest.raises(KeyboardInterrupt):
            fit(tiny(examples), examples, np.arange(48), np.arange(48, 64), options, 0, tmp_path)
    done = fit(tiny(examples, seed=4), examples, np.arange(48), np.arange(48, 64), options, 0, tmp_path)
    assert [row["validation_f1"] for row in done.history] == _FALLS[:6]
    assert done.stopped_early


def test_without_validation_rows_the_stop_by_f1_never_comes(tmp_path):
    examples = toy_problem()
    done = fit(tiny(examples), examples, np.arange(64), _NONE, replace(_PLAIN, stop="f1-falls", epochs=7), 0, tmp_path)
    assert len(done.history) == 7
    assert all(math.isnan(row["validation_f1"]) for row in done.history)
    assert not done.stopped_early


def test_the_history_of_the_other_trainings_has_no_f1(tmp_path):
    examples = toy_problem()
    done = fit(tiny(examples), examples, np.arange(48), np.arange(48, 64), replace(_PLAIN, epochs=1), 0, tmp_path)
    assert list(done.history[0]) == ["epoch", "rate", "train_loss", "validation_loss", "seconds"]
