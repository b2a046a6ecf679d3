"""A spike in one lead: where it is put, and that map and occlusion find it where the network reads nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.analysis.planted_spike import Spike, lead_occlusion, spike_effect, with_spike
from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier
from made import make_examples


class Size(nn.Module):
    """Class 0 is the size of the signal in all leads, class 1 nothing: the mean over time of a layer, then linear."""

    def __init__(self, n_leads: int) -> None:
        super().__init__()
        self.tail = nn.Sequential(nn.Conv1d(n_leads, 1, 1, bias=False), nn.ReLU())
        nn.init.ones_(self.tail[0].weight)
        self.head = nn.Linear(1, 2, bias=False)
        self.head.weight.data = torch.tensor([[1.0], [0.0]])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.tail(x).mean(2))


def _examples(n: int = 12, length: int = 1000):
    signals = np.abs(np.random.default_rng(0).normal(0, 0.02, (n, 3, length))).astype(np.float32)
    return make_examples(signals, classes=("a", "b"), fs=100.0, leads=("I", "II", "V1"), valid_start=100, valid_stop=900)


def _model(examples):
    module = Size(3)
    return Classifier.wrap(module, classes=("a", "b"), leads=examples.leads, fs=100, length=1000, cam_layer="tail")


def test_a_spike_lies_where_it_was_put_and_nowhere_else() -> None:
    examples = _examples(2)
    found = with_spike(examples, np.array([300, 555]), 1, Spike(2.0, 0.05))
    change = found.signals - examples.signals
    for number, at in enumerate((300, 555)):
        wanted = np.zeros((3, 1000))
        wanted[1, at : at + 5] = 2
        np.testing.assert_allclose(change[number], wanted, atol=1e-6)


def test_a_net_that_adds_up_amplitudes_is_drawn_to_the_spike_and_its_lead_is_found() -> None:
    examples = _examples()
    table = spike_effect(_model(examples), examples, "V1", (Spike(50.0, 0.02),))
    assert (table["class"] == "a").all()
    assert table["at_s"].between(1.3, 8.7).all()  # the spike's surroundings lie within the signal
    np.testing.assert_allclose(table["logit_after"] - table["logit_before"], 2 * 50 / 1000, rtol=1e-4)
    np.testing.assert_allclose(table["chance"], 61 / 1000)
    rises = (table["map_after"] - table["map_before"]).to_numpy()
    assert rises.min() > 0.5
    assert table["found"].all()
    assert not table["found_before"].all()


def test_the_share_near_the_spike_is_that_of_a_plain_sum() -> None:
    examples = _examples(4)
    table = spike_effect(_model(examples), examples, "II", (Spike(10.0, 0.02),))
    for number, row in table.iterrows():
        at = round(row["at_s"] * 100)
        size = examples.signals[number].sum(0).astype(float)
        assert row["map_before"] == pytest.approx(size[at - 30 : at + 31].sum() / size.sum(), rel=1e-4)


def test_several_spikes_share_place_and_clean_answers() -> None:
    examples = _examples(3)
    both = spike_effect(_model(examples), examples, "II", (Spike(1.0, 0.02), Spike(8.0, 0.1)))
    small, large = (part.reset_index(drop=True) for _, part in both.groupby("spike", sort=False))
    assert list(both["spike"].unique()) == ["1 mV, 20 ms", "8 mV, 100 ms"]
    for same in ("id", "class", "at_s", "logit_before", "map_before", "chance", "found_before"):
        assert small[same].equals(large[same])
    np.testing.assert_allclose(large["logit_after"] - large["logit_before"], 8 * 10 / 1000, rtol=1e-4)
    np.testing.assert_allclose(small["logit_after"] - small["logit_before"], 1 * 2 / 1000, rtol=1e-3)


def test_hiding_a_lead_takes_away_what_it_gives() -> None:
    examples = _examples(4)
    found = lead_occlusion(_model(examples), examples, np.zeros(4, np.int64))
    np.testing.assert_allclose(found, examples.signals.mean(axis=2), rtol=1e-4)


def test_a_lead_that_is_not_there_is_refused() -> None:
    examples = _examples(2)
    with pytest.raises(EcglensError, match=r"no lead 'V9'.*I, II, V1"):
        spike_effect(_model(examples), examples, "V9", (Spike(5.0, 0.02),))
