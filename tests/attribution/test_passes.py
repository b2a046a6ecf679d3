"""What methods ask for is computed once, and the model is left as it was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ecglens.attribution import explain
from ecglens.attribution.passes import Pass, Shared, undisturbed
from ecglens.attribution.registry import find_method, methods
from ecglens.errors import EcglensError
from ecglens.models import MODELS
from made import FEW, created, fitting, lively, random_examples
from nets import Gap, Plain, by_hand, classifier, flat, gap, one_pass, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])
# few steps: here it only matters that they run
QUICK = {
    "smoothgrad": {"samples": 2},
    "integrated-gradients": {"steps": 2, "most_steps": 2},
    "expected-gradients": {"samples": 2},
    "lead-shapley-sampled": {"orders": 2},
    "deletion-mask": {"steps": 2},
}


# ------------------------------------------------------------------------------------------------ counted


class _Counting(torch.autograd.Function):
    """The identity; counts how often a gradient comes by."""

    @staticmethod
    def forward(ctx, x, counts):
        ctx.counts = counts
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.counts["backward"] += 1
        return gradient, None


class Counted(Plain):
    """A net that counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = {"forward": 0, "backward": 0}

    def forward(self, x: Tensor) -> Tensor:
        self.counts["forward"] += 1
        return _Counting.apply(super().forward(x), self.counts)


def _passes(names: list[str], target="predicted", **told) -> tuple[int, int]:
    model = classifier(seeded(Counted), "last_active")
    explain(model, signals(6), names, target=target, quiet=True, **told)
    return model.module.counts["forward"], model.module.counts["backward"]


SHARING = ["saliency", "input-x-gradient", "grad-cam", "guided-grad-cam"]


def test_methods_together_take_one_forward_and_two_backwards():
    checks, _ = _passes(["uniform"])  # trying the model, and one forward for the predicted class
    assert _passes(["saliency"]) == (checks, 1)
    assert _passes(SHARING) == (checks, 2)
    assert _passes([*SHARING, "hires-cam", "grad-cam++", "guided-backprop"]) == (checks, 2)
    assert _passes(SHARING, "a") == (checks, 2)


def test_all_classes_share_the_forward_pass():
    checks, _ = _passes(["uniform"])
    assert _passes(SHARING, "all") == (checks, 2 * 3)


def test_cam_of_all_classes_takes_one_forward_and_no_backward():
    checks, _ = _passes(["uniform"])
    heads = _passes(["cam"])[0] - checks  # looking for the linear head
    assert heads <= 3
    assert _passes(["cam"], "all") == _passes(["cam"])
    assert _passes(["cam"], "all")[1] == 0


def test_the_counter_counts_examples_of_each_pass():
    batch = one_pass(flat(), signals(), TARGET)
    counter = batch.shared.counter
    assert (counter.forward, counter.backward) == (0, 0)
    batch.predicted(with_graph=True)
    for name in SHARING:
        by_hand(batch, name)
    assert (counter.forward, counter.backward) == (5, 10)
    other = batch.asking(np.zeros(5, np.int64))
    for name in SHARING:
        by_hand(other, name)
    assert (counter.forward, counter.backward) == (5, 20)
    by_hand(batch, "occlusion", seconds=0.08)
    assert counter.forward == 5 + 5 * (1 + 2 * 3)


def test_without_gradients_the_predicted_class_costs_no_graph():
    batch = one_pass(gap(), signals(), TARGET)
    found = batch.predicted(with_graph=False)
    assert "result" not in batch.forward.__dict__
    with torch.no_grad():
        np.testing.assert_array_equal(found, batch.classifier.module(batch.x).argmax(1))
    np.testing.assert_array_equal(batch.predicted(with_graph=True), found)
    # and what is there with gradients is not done again
    before = batch.shared.counter.forward
    assert not batch.quick_activations.requires_grad
    assert batch.shared.counter.forward in (before, before + 5)


def test_asking_about_another_class_gives_what_a_fresh_batch_gives():
    model, x = gap(), signals()
    first = one_pass(model, x, TARGET)
    _ = by_hand(first, "guided-grad-cam"), by_hand(first, "saliency")
    other = np.array([2, 2, 0, 1, 0])
    for name in SHARING:
        np.testing.assert_array_equal(by_hand(first.asking(other), name), by_hand(one_pass(model, x, other), name))


def test_guided_and_plain_gradients_do_not_mix_in_any_order():
    model, x = flat(), signals()
    alone = {name: by_hand(one_pass(model, x, TARGET), name) for name in SHARING}
    for order in (SHARING, SHARING[::-1]):
        batch = one_pass(model, x, TARGET)
        for name in order:
            np.testing.assert_array_equal(by_hand(batch, name), alone[name])


# ------------------------------------------------------------------------------------------------ draws


@FEW
@given(st.permutations(range(8)), st.integers(1, 7), st.integers(0, 5))
def test_a_draw_depends_on_seed_purpose_and_example_alone(order, size, seed):
    shared = Shared(gap(), seed=seed)

    def drawn(rows, purpose=3):
        batch = Pass.of(shared, torch.zeros(len(rows), 2, 24), None, np.zeros(len(rows), np.int64), np.array(rows))
        return batch.draws(purpose, lambda own: torch.randn(3, generator=own))

    whole = drawn(list(range(8)))
    assert torch.equal(drawn(order), whole[list(order)])
    assert torch.equal(drawn(list(order)[:size]), whole[list(order)[:size]])
    assert len({tuple(each.tolist()) for each in whole}) == 8
    assert not torch.equal(drawn(list(range(8)), purpose=4), whole)
    shared.seed += 1
    assert not torch.equal(drawn(list(range(8))), whole)


def test_the_global_generators_are_not_touched():
    torch.manual_seed(5)
    before, legacy = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002
    model = gap()
    explain(
        model, signals(), [name for name in methods() if name != "mean-activation"], background=signals(3),
        options=QUICK, quiet=True,
    )  # fmt: skip
    assert torch.equal(torch.random.get_rng_state(), before)
    assert str(np.random.get_state()) == str(legacy)  # noqa: NPY002


# ------------------------------------------------------------------------------------------------ as found


def _state(module: nn.Module) -> dict:
    parts = list(module.modules())
    return {
        "modes": [part.training for part in parts],
        "wanted": [value.requires_grad for value in module.parameters()],
        "weights": {key: value.clone() for key, value in module.state_dict().items()},
        "grads": [value.grad is None for value in module.parameters()],
        "hooks": [
            (len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks), len(part._backward_pre_hooks))
            for part in parts
        ],
        "attributes": [sorted(vars(part)) for part in parts],
        "grad mode": torch.is_grad_enabled(),
        "cudnn": torch.backends.cudnn.enabled,
    }


def _same(one: dict, two: dict) -> bool:
    weights = (one.pop("weights"), two.pop("weights"))
    return one == two and all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def _unusual(module: nn.Module) -> nn.Module:
    """Modes and flags that are neither all on nor all off, and a hook of the user's own."""
    module.train()
    parts = list(module.modules())
    parts[-1].eval()
    next(iter(module.parameters())).requires_grad_(False)
    parts[1].register_forward_hook(lambda _m, _i, _o: None)
    return module


EVERY = sorted(methods())


@pytest.mark.parametrize("method", EVERY)
def test_a_method_leaves_the_module_as_it_found_it(method):
    model = gap(fs=360.0)
    examples = random_examples(4, length=24, classes=3)
    model = replace(model, classes=examples.classes, leads=examples.leads)
    _unusual(model.module)
    before, shown = _state(model.module), examples.signals.copy()
    explain(model, examples, [method], background=examples.signals, options=QUICK, quiet=True)
    assert _same(_state(model.module), before)
    np.testing.assert_array_equal(examples.signals, shown)


_NO_DEEPLIFT = ("jones-lstm", "ecgnet", "ecgnet-cam", "zihlmann")  # it has no rule for an LSTM, nor for a spectrogram


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_of_the_registry_is_left_as_it_was_found(name):
    draws = MODELS[name].draws
    examples = random_examples(3, leads=1 if draws else 2, length=fitting(name))
    model = lively(name, examples)
    _unusual(model.module)
    before = _state(model.module)
    wanted = ["saliency", *([] if name in _NO_DEEPLIFT else ["deeplift"])]
    wanted += ["guided-grad-cam", *([] if draws else ["mean-activation"])] if name.startswith("resnet") else []
    explain(model, examples, wanted, quiet=True)
    assert _same(_state(model.module), before)


class _Failing(Plain):
    """Fails in its n-th forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.left = [10**9]

    def forward(self, x: Tensor) -> Tensor:
        self.left[0] -= 1
        if self.left[0] < 0:
            self.left[0] = 10**9
            raise RuntimeError("no more")
        hidden = self.last_active(self.last(self.active(self.norm(self.first(x)))))
        return self.head(hidden.mean(dim=2))


def test_an_error_in_any_pass_leaves_the_module_as_it_was_found():
    names = ["saliency", "guided-grad-cam", "integrated-gradients", "deeplift", "lrp-epsilon", "cam", "occlusion"]
    module = _unusual(seeded(_Failing))
    model, before = classifier(module, "last_active"), _state(module)
    n_failed = 0
    for allowed in range(200):
        module.left[0] = allowed
        try:
            explain(model, signals(), names, options=QUICK, quiet=True)
        except (RuntimeError, EcglensError):
            n_failed += 1
            now = _state(module)
            assert _same(now, dict(before)), allowed
        else:
            break
    assert n_failed > 15


def test_an_error_inside_a_method_leaves_the_module_as_it_was_found():
    module = _unusual(seeded(Gap))
    before = _state(module)
    with pytest.raises(ZeroDivisionError), undisturbed(module):
        assert not module.training
        assert not any(value.requires_grad for value in module.parameters())
        raise ZeroDivisionError
    assert _same(_state(module), before)


def test_batch_norm_statistics_and_dropout_do_not_move_in_training_mode():
    model, x = gap(), signals()
    expected = [explain(model, x, ["saliency"], quiet=True)["saliency"][:] for _ in range(2)]
    model.module.train()
    statistics = model.module.norm.running_mean.clone()
    found = [explain(model, x, ["saliency"], quiet=True)["saliency"][:] for _ in range(2)]
    for each in (*expected, *found):
        np.testing.assert_array_equal(each, expected[0])
    assert torch.equal(model.module.norm.running_mean, statistics)
    assert model.module.drop.training


def test_a_recurrent_network_is_explained_in_evaluation_mode_and_its_weights_get_no_gradient():
    examples = random_examples(3, length=40)
    model = created("jones-lstm", examples)
    model.module.train()
    found = explain(model, examples, ["saliency", "smoothgrad"], options=QUICK, quiet=True)
    assert (np.abs(found["saliency"][:]).max(axis=(1, 2)) > 0).all()
    assert all(value.grad is None for value in model.module.parameters())
    assert model.module.training


class InPlace(nn.Module):
    """Takes the mean off its input in place, as careless models do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        x -= x.mean(dim=2, keepdim=True)
        return self.head(torch.flatten(x, 1))


@pytest.mark.parametrize("method", ["saliency", "magnitude", "occlusion"])
def test_a_model_that_writes_into_its_input_is_explained_rightly_or_refused(method):
    class Careful(InPlace):
        def forward(self, x):
            return super().forward(x.clone())

    x = signals() + 1
    try:
        found = explain(classifier(seeded(InPlace)), x, [method], quiet=True)[method][:]
    except EcglensError:
        return
    np.testing.assert_allclose(found, explain(classifier(seeded(Careful)), x, [method], quiet=True)[method][:], rtol=1e-5)


# ------------------------------------------------------------------------------------------------ alone or together


_ALONE = [name for name in EVERY if name != "mean-activation"]


@pytest.mark.parametrize("method", _ALONE)
def test_a_map_does_not_depend_on_the_other_examples_of_its_batch(method):
    model, x, background = gap(), signals(5), signals(4, seed=2)
    told = {"background": background, "options": QUICK, "quiet": True}
    together = explain(model, x, [method], target=TARGET, **told)[method][:]
    for row in range(5):
        alone = explain(model, x, [method], target=TARGET[row : row + 1], rows=np.array([row]), **told)[method][:]
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_maps_of_a_registered_model_do_not_depend_on_the_other_examples(name):
    if name == "resnet50":
        pytest.skip("slow here, and small2d is of its kind")
    draws = MODELS[name].draws
    # the latter needs a layer to read, and is not for pictures
    wanted = ["saliency", *(["mean-activation"] if MODELS[name].cam_layer and not draws else [])]
    examples = random_examples(5, leads=1 if draws else 2, length=fitting(name), rr_before=np.linspace(0.4, 1.0, 5))
    model = lively(name, examples)
    together = explain(model, examples, wanted, target=TARGET, quiet=True)
    for row in [3] if draws else range(5):
        alone = explain(model, examples, wanted, target=TARGET[row : row + 1], rows=np.array([row]), quiet=True)
        for method in wanted:
            np.testing.assert_allclose(alone[method][0], together[method][row], rtol=1e-3, atol=1e-5)
    for method in wanted[1:]:  # by itself it asks for no gradient
        alone = explain(model, examples, [method], target=TARGET[3:4], rows=np.array([3]), quiet=True)
        np.testing.assert_allclose(alone[method][0], together[method][3], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", _ALONE)
def test_a_method_gives_one_map_for_each_example_of_the_shape_that_its_card_tells(method):
    card = find_method(method).card
    batch = one_pass(gap(), signals(), TARGET, signals(3))
    found = by_hand(batch, method, **QUICK.get(method, {}))
    assert found.shape[:2] == (5, 2 if card.leads else 1)
    assert found.ndim == 3
    cells = {"sample": 24, "region": 24, "whole lead": 1}.get(card.resolution)
    cells = 4 if method == "channel-cam" else cells  # the channels of its layer
    assert found.shape[2] == (cells if cells else 11)
    assert card.signed or (found >= 0).all()
