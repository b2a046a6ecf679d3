"""Training: it learns, it can be killed, it keeps what it was told to keep."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier
from ecglens.training import fit as fit_module
from ecglens.training.checkpoint import FILE, keep_snapshot, load_snapshot, save_checkpoint, snapshot_path
from ecglens.training.fit import TrainOptions, dealt_anew, fit
from made import TinyNet, created, make_examples, random_examples, tiny, toy_problem

_PLAIN = TrainOptions(
    optimiser="adam", rate=1e-2, weight_decay=0.0, schedule="none", epochs=3, batch=16, bf16=False, gain_jitter=0.0
)
_NONE = np.array([], np.int64)


class _KilledError(Exception):
    pass


def _halves(examples):
    rows = np.arange(len(examples))
    return rows[: len(rows) * 3 // 4], rows[len(rows) * 3 // 4 :]


def _weights(model: Classifier) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def _equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def _without_time(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def _kill(monkeypatch: pytest.MonkeyPatch, at: int, *, before: bool = False) -> None:
    """Training dies at its save number `at`, after it or, with `before`, with the epoch's work not yet saved."""
    saves = []

    def dying(folder, state):
        saves.append(1)
        if before and len(saves) == at:
            raise _KilledError
        save_checkpoint(folder, state)
        if len(saves) == at:
            raise _KilledError

    monkeypatch.setattr(fit_module, "save_checkpoint", dying)


def _flipped() -> tuple:
    """Validation beats whose labels are the wrong way round: validation gets worse as training gets better."""
    examples = toy_problem()
    train, validation = _halves(examples)
    labels = examples.labels.copy()
    labels[validation] = 1 - labels[validation]
    return replace(examples, labels=labels), train, validation


@pytest.mark.parametrize(
    "options",
    [
        _PLAIN,
        replace(_PLAIN, optimiser="nadam", loss="focal"),
        replace(_PLAIN, optimiser="adamw", schedule="one-cycle", loss="smoothed"),
        replace(_PLAIN, bf16=True, gain_jitter=0.2),
    ],
    ids=["adam", "nadam and focal", "adamw, one-cycle and smoothed", "bf16 and jitter"],
)
def test_training_makes_the_loss_small(options, tmp_path):
    examples = toy_problem()
    train, validation = _halves(examples)
    model = tiny(examples, seed=1)
    before = np.mean(model.logits(examples.take(validation)).argmax(1) == examples.labels[validation])
    done = fit(model, examples, train, validation, replace(options, epochs=6), 0, tmp_path)
    losses = [row["train_loss"] for row in done.history]
    assert losses[-1] < 0.6 * losses[0]
    assert done.history[-1]["validation_loss"] < done.history[0]["validation_loss"]
    after = np.mean(model.logits(examples.take(validation)).argmax(1) == examples.labels[validation])
    assert after == 1.0 > before


def test_one_step_of_adam_equals_one_by_hand(tmp_path):
    examples = random_examples(8, length=24)
    model, by_hand = tiny(examples, scale="lead"), tiny(examples, scale="lead")
    model.module.drop.p = by_hand.module.drop.p = 0.0
    options = replace(_PLAIN, epochs=1, batch=8, rate=0.03)
    done = fit(model, examples, np.arange(8), _NONE, options, 0, tmp_path)
    optimiser = torch.optim.Adam(by_hand.module.parameters(), lr=0.03)
    by_hand.module.train()
    (x,) = by_hand.inputs(examples)
    loss = nn.functional.cross_entropy(by_hand.module(x), torch.from_numpy(examples.labels))
    loss.backward()
    optimiser.step()
    assert done.history[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, value in by_hand.module.state_dict().items():
        # Adam's first step is +-rate: a gradient that is rounding alone (the bias before a batch norm) may go either way
        if name != "conv.bias":
            torch.testing.assert_close(model.module.state_dict()[name], value, atol=1e-3, rtol=1e-3)


def test_only_the_given_rows_are_shown_and_as_often_as_they_are_repeated(tmp_path):
    examples = random_examples(12, length=24)
    shown = []
    model = tiny(examples)
    model.module.register_forward_pre_hook(lambda module, args: shown.append(args[0].clone()) if module.training else None)
    rows = np.array([1, 1, 1, 4, 6, 6, 7, 9])
    fit(model, examples, rows, np.array([0, 2]), replace(_PLAIN, epochs=2, batch=4), 0, tmp_path)
    for epoch in (shown[:2], shown[2:]):
        seen = torch.cat(epoch).numpy()
        who = [int(np.flatnonzero((examples.signals == one).all((1, 2)))[0]) for one in seen]
        assert sorted(who) == rows.tolist()
    assert not torch.equal(torch.cat(shown[:2]), torch.cat(shown[2:]))


@pytest.mark.parametrize("several", [False, True])
def test_shuffled_targets_are_the_labels_of_the_training_rows_dealt_anew(several: bool) -> None:
    labels = np.arange(40) if not several else np.eye(40, dtype=np.float32)
    rows = np.repeat(np.arange(5, 35), 2)
    dealt = dealt_anew(labels, rows, 3)
    code = dealt if not several else dealt.argmax(1)
    outside = np.r_[0:5, 35:40]
    assert code[outside].tolist() == outside.tolist()
    assert sorted(code[5:35]) == list(range(5, 35))
    assert (code[5:35] != np.arange(5, 35)).mean() > 0.8
    assert np.array_equal(dealt_anew(labels, rows, 3), dealt)
    assert not np.array_equal(dealt_anew(labels, rows, 4), dealt)


def test_a_net_of_shuffled_targets_learns_them_and_not_the_labels(tmp_path):
    examples = toy_problem(64)
    model = tiny(examples)
    options = replace(_PLAIN, epochs=30, batch=16, targets="shuffled")
    fit(model, examples, np.arange(64), np.array([], np.int64), options, 0, tmp_path)
    said = model.logits(examples).argmax(1)
    dealt = dealt_anew(examples.labels, np.arange(64), 0)
    assert (said == dealt).mean() > (said == examples.labels).mean()


def test_a_last_batch_of_one_is_left_out_and_not_counted(tmp_path):
    examples = make_examples(np.ones((3, 2, 24), np.float32), [0, 1, 1])
    model = tiny(examples)
    nn.init.zeros_(model.module.head.weight)
    nn.init.zeros_(model.module.head.bias)
    done = fit(model, examples, np.arange(3), _NONE, replace(_PLAIN, epochs=1, batch=2), 0, tmp_path)
    # two equal chances until the first step
    assert done.history[0]["train_loss"] == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_to_train_on_are_refused(n, tmp_path):
    examples = toy_problem(8)
    with pytest.raises(EcglensError):
        fit(tiny(examples), examples, np.arange(n), _NONE, _PLAIN, 0, tmp_path)


def test_the_validation_loss_is_that_of_the_finished_epoch_in_evaluation_mode(tmp_path):
    examples = toy_problem()
    train, validation = _halves(examples)
    model = tiny(examples, scale="offset")
    options = replace(_PLAIN, epochs=1, gain_jitter=0.5)
    done = fit(model, examples, train, validation, options, 0, tmp_path)
    logits = torch.from_numpy(model.logits(examples.take(validation)))
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(examples.labels[validation])).item()
    assert done.history[0]["validation_loss"] == pytest.approx(expected, rel=1e-5)


def test_without_validation_beats_the_validation_loss_is_missing_and_training_goes_to_its_end(tmp_path):
    examples = toy_problem()
    options = replace(_PLAIN, patience=1, keep="best", schedule="plateau", epochs=4)
    done = fit(tiny(examples), examples, np.arange(64), _NONE, options, 0, tmp_path)
    assert [row["epoch"] for row in done.history] == [1, 2, 3, 4]
    assert all(math.isnan(row["validation_loss"]) for row in done.history)
    assert not done.stopped_early
    assert done.history[-1]["rate"] == options.rate


def test_a_trained_model_is_in_evaluation_mode_and_its_checkpoint_is_gone(tmp_path):
    examples = toy_problem()
    model = tiny(examples)
    done = fit(model, examples, np.arange(64), _NONE, _PLAIN, 0, tmp_path)
    assert not any(part.training for part in model.module.modules())
    assert list(tmp_path.iterdir()) == []
    assert done.seconds == pytest.approx(sum(row["seconds"] for row in done.history))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    examples = toy_problem()
    options = replace(_PLAIN, gain_jitter=0.1)
    found = []
    for seed in (1, 1, 2):
        model = tiny(examples)
        fit(model, examples, np.arange(64), _NONE, options, seed, tmp_path)
        found.append(_weights(model))
    assert _equal(found[0], found[1])
    assert not _equal(found[0], found[2])


def test_weights_do_not_depend_on_the_global_random_state(tmp_path):
    examples = toy_problem()
    found = []
    for state in (5, 6):
        model = tiny(examples)
        torch.manual_seed(state)
        fit(model, examples, np.arange(64), _NONE, replace(_PLAIN, gain_jitter=0.1), 0, tmp_path)
        found.append(_weights(model))
    assert _equal(*found)


@pytest.mark.parametrize("ends", ["well", "killed", "with an error"])
def test_the_global_random_state_is_left_as_it_was(ends, tmp_path, monkeypatch):
    examples = toy_problem()
    if ends == "killed":
        _kill(monkeypatch, 1)
    if ends == "with an error":
        examples.signals[:] = np.nan
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    try:
        fit(tiny(examples), examples, np.arange(64), _NONE, _PLAIN, 0, tmp_path)
        assert ends == "well"
    except (_KilledError, EcglensError):
        assert ends != "well"
    assert torch.equal(torch.random.get_rng_state(), before)


_RESUMED = {
    "adam and plateau": replace(_PLAIN, schedule="plateau", epochs=5, gain_jitter=0.1),
    "nadam": replace(_PLAIN, optimiser="nadam", loss="focal", epochs=4),
    "adamw and one-cycle": replace(_PLAIN, optimiser="adamw", schedule="one-cycle", epochs=4, weight_decay=0.1, bf16=True),
    "best with patience": replace(_PLAIN, keep="best", patience=3, schedule="plateau", epochs=8),
    "as Varandas": replace(
        _PLAIN, weight_decay=0.1, schedule="step", class_weights="inverse", stop="f1-falls", epochs=8, bf16=True
    ),
}


@pytest.mark.parametrize("before", [False, True], ids=["after the save", "before the save"])
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("name", list(_RESUMED))
def test_a_killed_training_ends_bit_for_bit_as_one_that_was_not(name, at, before, tmp_path, monkeypatch):
    options = _RESUMED[name]
    examples, train, validation = _flipped()
    whole = tiny(examples)
    expected = fit(whole, examples, train, validation, options, 3, tmp_path / "whole")

    folder = tmp_path / "killed"
    with monkeypatch.context() as patch:
        _kill(patch, at, before=before)
        with pytest.raises(_KilledError):
            fit(tiny(examples), examples, train, validation, options, 3, folder)
    assert (folder / FILE).is_file() == (at > 1 or not before)
    # another process makes the model anew
    again = tiny(examples, seed=8) if at > 1 or not before else tiny(examples)
    epochs = []
    saved = fit_module.save_checkpoint
    monkeypatch.setattr(fit_module, "save_checkpoint", lambda *args: (epochs.append(1), saved(*args)))
    found = fit(again, examples, train, validation, options, 3, folder)
    assert len(epochs) == len(expected.history) - (at - before)
    assert _equal(_weights(again), _weights(whole))
    assert _without_time(found.history) == _without_time(expected.history)
    assert found.stopped_early == expected.stopped_early
    assert not (folder / FILE).exists()


@pytest.mark.parametrize("name", ["jones-lstm", "resnet-rr"])
def test_a_killed_training_of_a_model_of_the_registry_ends_the_same_too(name, tmp_path, monkeypatch):
    examples = random_examples(24, length=40, rr_before=np.linspace(0.3, 1.2, 24))
    options = replace(_PLAIN, optimiser="nadam", epochs=3, rr_drop=0.5 if name == "resnet-rr" else 0.0)
    whole = created(name, examples)
    fit(whole, examples, np.arange(24), _NONE, options, 0, tmp_path / "whole")
    with monkeypatch.context() as patch:
        _kill(patch, 2)
        with pytest.raises(_KilledError):
            fit(created(name, examples), examples, np.arange(24), _NONE, options, 0, tmp_path)
    again = created(name, examples, seed=4)
    fit(again, examples, np.arange(24), _NONE, options, 0, tmp_path)
    assert _equal(_weights(again), _weights(whole))


def test_a_training_killed_after_it_stopped_early_does_not_go_on(tmp_path, monkeypatch):
    examples, train, validation = _flipped()
    options = replace(_PLAIN, patience=2, epochs=9)
    whole = tiny(examples)
    expected = fit(whole, examples, train, validation, options, 3, tmp_path / "whole")
    assert expected.stopped_early
    with monkeypatch.context() as patch:
        _kill(patch, len(expected.history))
        with pytest.raises(_KilledError):
            fit(tiny(examples), examples, train, validation, options, 3, tmp_path)
    again = tiny(examples, seed=5)
    found = fit(again, examples, train, validation, options, 3, tmp_path)
    assert found.stopped_early
    assert len(found.history) == len(expected.history)
    assert _equal(_weights(again), _weights(whole))


def _other_label(examples):
    return replace(examples, labels=np.where(np.arange(len(examples)) == 5, 1 - examples.labels, examples.labels))


_OTHERS = {
    "seed": {"seed": 4},
    "options": {"options": replace(_PLAIN, rate=0.02)},
    "rows": {"rows": np.arange(1, 48)},
    "validation rows": {"validation": np.arange(50, 64)},
    "labels": {"change": _other_label},
    "signals": {"change": lambda examples: replace(examples, signals=examples.signals[:, ::-1].copy())},
    "scale": {"scale": "lead"},
    "weights of another shape": {"filters": 3},
}


@pytest.mark.parametrize("what", list(_OTHERS))
def test_a_checkpoint_of_another_training_is_not_taken_up(what, tmp_path, monkeypatch):
    first = toy_problem()
    other = _OTHERS[what]

    def train(folder, told):
        examples = told.get("change", lambda same: same)(first)
        model = tiny(examples, scale=told.get("scale", "none"))
        if "filters" in told:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model.module = TinyNet(filters=told["filters"])
        options = replace(told.get("options", _PLAIN), schedule="plateau", keep="best")
        rows, validation = told.get("rows", np.arange(48)), told.get("validation", np.arange(48, 64))
        done = fit(model, examples, rows, validation, options, told.get("seed", 3), folder)
        return _weights(model), _without_time(done.history)

    expected, history = train(tmp_path / "fresh", other)
    with monkeypatch.context() as patch:
        _kill(patch, 2)
        with pytest.raises(_KilledError):
            train(tmp_path, {})
    found, again = train(tmp_path, other)
    assert again == history
    assert _equal(found, expected)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"not a checkpoint")
    examples = toy_problem()
    with pytest.raises(EcglensError, match="is damaged"):
        fit(tiny(examples), examples, np.arange(64), _NONE, _PLAIN, 0, tmp_path)


@pytest.mark.parametrize("scale", ["none", "offset", "lead", "joint"])
def test_an_invalid_sample_ends_training_with_one_line(scale, tmp_path):
    examples = toy_problem()
    examples.signals[7, 1, 3] = np.nan
    with pytest.raises(EcglensError, match=r"training loss became nan in epoch 1; .*invalid samples") as caught:
        fit(tiny(examples, scale=scale), examples, np.arange(64), _NONE, _PLAIN, 0, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_invalid_sample_among_the_validation_beats_ends_training_with_one_line(tmp_path):
    examples = toy_problem()
    examples.signals[60, 1, 3] = np.nan
    train, validation = _halves(examples)
    with pytest.raises(EcglensError, match="validation"):
        fit(tiny(examples), examples, train, validation, replace(_PLAIN, keep="best"), 0, tmp_path)


def test_a_learning_rate_that_blows_up_ends_training_with_one_line(tmp_path):
    examples = toy_problem()
    model = tiny(examples)
    with torch.no_grad():
        model.module.head.weight.fill_(3e38)
    with pytest.raises(EcglensError, match="lower the learning rate"):
        fit(model, examples, np.arange(64), _NONE, _PLAIN, 0, tmp_path)


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_training_stops_after_as_many_epochs_without_a_better_validation_loss(patience, tmp_path):
    examples, train, validation = _flipped()
    options = replace(_PLAIN, patience=patience, epochs=9)
    done = fit(tiny(examples), examples, train, validation, options, 0, tmp_path)
    losses = [row["validation_loss"] for row in done.history]
    best = int(np.argmin(losses))
    assert len(losses) < 9, "the toy problem is meant to get worse"
    assert done.stopped_early
    assert len(losses) - 1 - best == patience


def test_patience_0_never_stops_early(tmp_path):
    examples, train, validation = _flipped()
    done = fit(tiny(examples), examples, train, validation, replace(_PLAIN, epochs=7), 0, tmp_path)
    assert len(done.history) == 7
    assert not done.stopped_early


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_weights_that_are_kept_are_those_of_the_epoch_asked_for(keep, tmp_path, monkeypatch):
    examples, train, validation = _flipped()
    after = []
    monkeypatch.setattr(
        fit_module,
        "save_checkpoint",
        lambda _folder, state: after.append({name: value.clone() for name, value in state["module"].items()}),
    )
    model = tiny(examples)
    done = fit(model, examples, train, validation, replace(_PLAIN, keep=keep, epochs=5), 0, tmp_path)
    losses = [row["validation_loss"] for row in done.history]
    best = int(np.argmin(losses))
    assert best < 4, "the toy problem is meant to get worse"
    assert _equal(_weights(model), after[best if keep == "best" else 4])
    logits = torch.from_numpy(model.logits(examples.take(validation)))
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(examples.labels[validation])).item()
    assert loss == pytest.approx(losses[best] if keep == "best" else losses[-1], rel=1e-5)


def test_plateau_cuts_the_rate_to_a_tenth_after_two_epochs_that_are_no_better(tmp_path):
    examples, train, validation = _flipped()
    options = replace(_PLAIN, schedule="plateau", epochs=6, rate=0.01)
    done = fit(tiny(examples), examples, train, validation, options, 0, tmp_path)
    rate, best, bad, expected = 0.01, math.inf, 0, []
    for row in done.history:
        expected.append(rate)
        if row["validation_loss"] < best - 1e-4:
            best, bad = row["validation_loss"], 0
        else:
            bad += 1
        if bad == 2:
            rate, bad = max(rate * 0.1, 1e-6), 0
    assert expected[-1] < 0.01, "the toy problem is meant to get worse"
    assert [row["rate"] for row in done.history] == pytest.approx(expected)


def test_one_cycle_rises_to_the_rate_asked_for_and_ends_near_0(tmp_path, monkeypatch):
    examples = toy_problem()
    rates = []
    step = torch.optim.AdamW.step

    def watched(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    options = replace(_PLAIN, optimiser="adamw", schedule="one-cycle", epochs=5, rate=0.01)
    fit(tiny(examples), examples, np.arange(64), _NONE, options, 0, tmp_path)
    assert len(rates) == 20
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert rates[0] < 0.1 * max(rates)
    assert rates[-1] < 0.01 * max(rates)


def test_jitter_draws_a_gain_for_each_lead_of_each_example(tmp_path):
    examples = make_examples(np.ones((400, 2, 24), np.float32), np.arange(400) % 2)
    seen = []
    model = tiny(examples)
    model.module.register_forward_pre_hook(lambda _m, args: seen.append(args[0].clone()))
    fit(model, examples, np.arange(400), _NONE, replace(_PLAIN, epochs=1, batch=400, gain_jitter=0.2), 0, tmp_path)
    (shown,) = seen
    assert torch.equal(shown.amin(2), shown.amax(2)), "one gain over the whole lead"
    logs = shown[:, :, 0].log()
    assert logs.std().item() == pytest.approx(0.2, rel=0.15)
    assert logs.mean().item() == pytest.approx(0, abs=0.03)
    assert abs(np.corrcoef(logs.T.numpy())[0, 1]) < 0.2
    assert (examples.signals == 1).all()


@pytest.mark.parametrize(("low", "high"), [(2.0, 2.0), (0.5, 2.5)])
def test_gains_of_all_leads_together_are_drawn_between_the_two_that_are_given(low, high, tmp_path):
    examples = make_examples(np.ones((400, 2, 24), np.float32), np.arange(400) % 2)
    seen = []
    model = tiny(examples)
    model.module.register_forward_pre_hook(lambda _m, args: seen.append(args[0].clone()))
    options = replace(_PLAIN, epochs=1, batch=400, gain_from=low, gain_to=high)
    fit(model, examples, np.arange(400), _NONE, options, 0, tmp_path)
    gains = seen[0][:, 0, 0].numpy()
    assert (seen[0].numpy() == gains[:, None, None]).all()
    assert low <= gains.min()
    assert gains.max() <= high
    np.testing.assert_allclose(np.quantile(gains, [0.25, 0.5, 0.75]), np.interp([1, 2, 3], [0, 4], [low, high]), atol=0.15)


def test_rr_numbers_are_hidden_as_often_as_told_and_never_in_validation(tmp_path):
    examples = random_examples(200, length=40, rr_before=0.4)
    seen = {True: [], False: []}
    model = created("resnet-rr", examples)
    model.module.register_forward_pre_hook(lambda module, args: seen[module.training].append(args[1].clone()))
    options = replace(_PLAIN, epochs=1, batch=128, rr_drop=0.3)
    fit(model, examples, np.arange(160), np.arange(160, 200), options, 0, tmp_path)
    shown = torch.cat(seen[True])
    hidden = (shown == 0).all(1)
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.1)
    assert (shown[~hidden] == shown[~hidden][0]).all()
    assert (torch.cat(seen[False])[:, 0] != 0).all()


def test_examples_that_do_not_fit_the_model_are_refused_before_anything_is_trained(tmp_path):
    examples = toy_problem()
    model = tiny(examples)
    before = _weights(model)
    with pytest.raises(EcglensError, match="length"):
        fit(model, toy_problem(length=30), np.arange(64), _NONE, _PLAIN, 0, tmp_path)
    assert _equal(_weights(model), before)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"loss": "hinge"}, "unknown loss"),
        ({"optimiser": "lion"}, "unknown optimiser"),
        ({"schedule": "cosine"}, "unknown schedule"),
        ({"keep": "first"}, "unknown keep"),
        ({"class_weights": "balanced"}, "unknown class_weights"),
        ({"class_weights": "inverse", "loss": "focal"}, "class_weights is 'inverse' and loss 'focal'"),
        ({"class_weights": "inverse", "loss": "smoothed"}, "class_weights is 'inverse' and loss 'smoothed'"),
        ({"stop": "f1-fall"}, "unknown stop 'f1-fall'; did you mean 'f1-falls'"),
        ({"stop": "f1-falls", "patience": 2}, "patience is 2 and stop 'f1-falls'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch": 1}, "batch 1"),
    ],
)
def test_options_that_are_not_understood_are_refused(change, text):
    with pytest.raises(EcglensError, match=text):
        TrainOptions(**change)


def test_weights_are_kept_after_the_epochs_asked_for_also_over_a_kill(tmp_path, monkeypatch):
    examples = toy_problem()
    options, rows = replace(_PLAIN, epochs=4), np.arange(64)
    plain = {}
    for epochs in (1, 3):  # without a schedule, a shorter training is the beginning of a longer one
        model = tiny(examples)
        fit(model, examples, rows, _NONE, replace(options, epochs=epochs), 5, tmp_path / f"plain-{epochs}")
        plain[epochs] = _weights(model)
    before = _weights(tiny(examples))
    _kill(monkeypatch, 2)
    with pytest.raises(_KilledError):
        fit(tiny(examples), examples, rows, _NONE, options, 5, tmp_path, keep_epochs=(0, 1, 3))
    monkeypatch.undo()
    fit(tiny(examples), examples, rows, _NONE, options, 5, tmp_path, keep_epochs=(0, 1, 3))
    model = tiny(examples)
    for epoch, wanted in ((0, before), *plain.items()):
        load_snapshot(model.module, tmp_path, epoch)
        assert _equal(_weights(model), wanted)
    assert not _equal(plain[1], plain[3])
    with pytest.raises(EcglensError, match=r"epoch-002.safetensors is missing"):
        load_snapshot(model.module, tmp_path, 2)


def test_a_snapshot_of_another_model_or_a_damaged_one_is_refused(tmp_path):
    model = tiny(toy_problem())
    keep_snapshot(nn.Linear(2, 3), tmp_path, 1)
    with pytest.raises(EcglensError, match="does not hold weights of this model"):
        load_snapshot(model.module, tmp_path, 1)
    snapshot_path(tmp_path, 1).write_bytes(b"no safetensors")
    with pytest.raises(EcglensError, match="does not hold weights of this model"):
        load_snapshot(model.module, tmp_path, 1)
