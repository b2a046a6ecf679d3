"""Windows cut short while a network learns: which end, how much, what is filled in, and what the network is told of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier
from ecglens.training import fit as fit_module
from ecglens.training.cropping import cropped
from ecglens.training.fit import TrainOptions, fit
from made import created, random_examples

_PLAIN = TrainOptions(
    optimiser="adam", rate=1e-2, weight_decay=0.0, schedule="none", epochs=1, batch=16, bf16=False, gain_jitter=0.0
)
_NONE = np.array([], np.int64)


def _windows(n: int, *, length: int = 90, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise, spans of all lengths from 1, and an R anywhere in each."""
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.permuted(np.tile(np.arange(length + 1), (n, 1)), axis=1)[:, :2], axis=1)
    r = [rng.integers(start, stop) for start, stop in ends.tolist()]
    return torch.from_numpy(rng.normal(size=(n, 2, length)).astype(np.float32)), torch.from_numpy(ends), torch.tensor(r)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_a_cut_takes_the_far_end_alone_and_leaves_the_r_peak_and_all_other_samples(share):
    signals, span, r = _windows(400)
    before = signals.clone(), span.clone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        draws = torch.rand(400).tolist()
        torch.manual_seed(1)
        found, spans = cropped(signals, span, r, share)
    assert torch.equal(signals, before[0])
    assert torch.equal(span, before[1])
    for k, ((start, stop), at) in enumerate(zip(span.tolist(), r.tolist(), strict=True)):
        wanted = int(draws[k] * share * (stop - start))
        left = range(start, stop)
        while wanted and (at - left[0] if at - start > stop - 1 - at else left[-1] - at):
            left, wanted = (left[1:] if at - start > stop - 1 - at else left[:-1]), wanted - 1
        assert spans[k].tolist() == [left[0], left[-1] + 1]
        assert at in left
        slow = signals[k].clone()
        for lead in range(2):
            middle = sorted(signals[k, lead, left[0] : left[-1] + 1].tolist())[(len(left) - 1) // 2]
            for place in set(range(start, stop)) - set(left):
                slow[lead, place] = middle
        assert torch.equal(found[k], slow)


def test_how_much_is_cut_is_spread_evenly_up_to_the_share():
    signals = torch.zeros(4000, 1, 200)
    span = torch.tensor([[0, 200]]).expand(4000, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, spans = cropped(signals, span, torch.full((4000,), 180), 0.4)
    assert (spans[:, 1] == 200).all()
    counts = np.bincount(spans[:, 0], minlength=80)
    assert len(counts) == 80
    np.testing.assert_allclose(counts.reshape(4, 20).sum(1), 1000, atol=120)


def test_up_to_half_a_window_is_never_held_back_by_the_r_peak():
    """So the default recipe cuts as if R did not count."""
    n, length = 20_000, 61
    signals, span, _ = _windows(n, length=length, seed=2)
    rng = np.random.default_rng(3)
    r = torch.tensor([rng.integers(start, stop) for start, stop in span.tolist()])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        _, spans = cropped(signals, span, r, 0.5)
        torch.manual_seed(4)
        wanted = (torch.rand(n) * 0.5 * (span[:, 1] - span[:, 0])).long()
    assert torch.equal((span[:, 1] - span[:, 0]) - (spans[:, 1] - spans[:, 0]), wanted)


class _Spanned(nn.Module):
    """Keeps what it was shown in training and in evaluation mode."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.head = nn.Linear(2 * length, 2)
        self.seen: dict[bool, list[tuple[torch.Tensor, torch.Tensor]]] = {True: [], False: []}

    def forward(self, x: torch.Tensor, span: torch.Tensor) -> torch.Tensor:
        self.seen[self.training].append((x.detach().clone(), span.clone()))
        return self.head(x.flatten(1))


def test_the_net_is_given_the_span_that_is_left_anew_each_time_and_the_whole_one_in_validation(tmp_path):
    length = 40
    examples = random_examples(60, length=length, classes=2, valid_start=4, valid_stop=36, r_index=30)
    module = _Spanned(length)
    model = Classifier(module, "spanned", examples.classes, examples.leads, examples.fs, length, context="span")
    fit(model, examples, np.arange(48), np.arange(48, 60), replace(_PLAIN, epochs=2, crop=0.5), 0, tmp_path)
    starts: list[dict[int, int]] = [{}, {}]
    for number, (x, span) in enumerate(module.seen[True]):
        for one, (start, stop) in zip(x.numpy(), span.tolist(), strict=True):
            # the far end is the one before R; what the span leaves out is filled in, padding is as it was
            (who,) = np.flatnonzero((examples.signals[:, :, start:36] == one[:, start:36]).all((1, 2)))
            assert 4 <= start <= 19
            assert stop == 36
            np.testing.assert_array_equal(one[:, :4], examples.signals[who, :, :4])
            np.testing.assert_array_equal(one[:, 36:], examples.signals[who, :, 36:])
            assert start == 4 or (np.ptp(one[:, 4:start], axis=1) == 0).all()
            starts[number // 3][int(who)] = start
    assert [len(each) for each in starts] == [48, 48]
    assert len(set(starts[0].values())) > 8
    assert starts[0] != starts[1]
    assert all((span == torch.tensor([4, 36])).all() for _, span in module.seen[False])
    shown = torch.cat([x for x, _ in module.seen[False]])
    np.testing.assert_array_equal(shown.numpy(), np.tile(examples.signals[48:], (2, 1, 1)))


def test_nets_that_see_pictures_learn_the_same_whatever_lies_outside_the_span(tmp_path, monkeypatch):
    """So what cut samples and padding hold has no say in their results."""
    examples = random_examples(10, leads=1, length=300, classes=2, valid_start=40, valid_stop=280, r_index=250)
    rng, weights = np.random.default_rng(0), []

    def noisy(*given):
        signals, span = cropped(*given)
        time = torch.arange(signals.shape[2])
        inside = ((time >= span[:, :1]) & (time < span[:, 1:]))[:, None]
        return torch.where(inside, signals, torch.from_numpy(rng.normal(0, 50, signals.shape).astype(np.float32))), span

    for cut in (cropped, noisy):
        monkeypatch.setattr(fit_module, "cropped", cut)
        model = created("small2d", examples)
        fit(model, examples, np.arange(10), _NONE, replace(_PLAIN, batch=5, crop=0.5), 0, tmp_path)
        weights.append(model.module.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("crop", [1.0, -0.1, float("nan")])
def test_a_share_that_would_leave_nothing_is_refused(crop):
    with pytest.raises(EcglensError, match=f"crop is {crop}; expected a share from 0 to less than 1"):
        replace(_PLAIN, crop=crop)
