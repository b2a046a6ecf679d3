"""Stretches of a lead hidden, against one forward for each of them; spread to samples, against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.analysis.lead_occlusion import LeadCells, occlude_lead_cells
from ecglens.errors import EcglensError
from ecglens.recordings.challenge_reader import read_challenge
from made import make_examples
from nets import classifier, seeded

_LEADS, _LENGTH, _FS = ("I", "II", "III"), 57, 20.0


def _model(scale="none"):
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv1d(3, 5, 7), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 51, 4))

    return classifier(seeded(build), classes=tuple("abcd"), leads=_LEADS, length=_LENGTH, fs=_FS, scale=scale)


def _scaled(x, scale):
    """A signal (lead, time) as the model takes it, lead by lead."""
    if scale == "offset":
        return np.array([row - row.mean() for row in x], np.float32)
    if scale == "lead":
        return np.array([(row - row.mean()) / row.std() for row in x], np.float32)
    return (x - x.min()) / (x.max() - x.min()) if scale == "joint" else x


def _example(first=0, stop=_LENGTH, seed=0):
    signal = np.random.default_rng(seed).normal(0.7, 1, size=(1, 3, _LENGTH)).astype(np.float32)
    signal[:, :, :first] = signal[:, :, stop:] = 0
    return make_examples(signal, classes=tuple("abcd"), fs=_FS, leads=_LEADS, valid_start=first, valid_stop=stop)


@pytest.mark.parametrize(("first", "stop"), [(0, 57), (4, 50), (0, 50), (3, 7)])
@pytest.mark.parametrize(("seconds", "scale"), [(0.5, "none"), (0.15, "none"), (0.5, "offset"), (0.5, "lead"), (0.5, "joint")])
def test_each_stretch_is_the_fall_of_the_logit_when_it_alone_is_the_leads_mean(first, stop, seconds, scale) -> None:
    model, example = _model(scale), _example(first, stop)
    found = occlude_lead_cells(model, example, 2, seconds=seconds)
    step = round(seconds * _FS)
    assert found.edges.tolist() == [*range(first, stop, step), stop]
    x = example.signals[0]
    for lead in range(3):
        for cell, (begin, end) in enumerate(zip(found.edges[:-1], found.edges[1:], strict=True)):
            hidden = x.copy()
            hidden[lead, begin:end] = x[lead, first:stop].mean(dtype=np.float64)
            with torch.no_grad():
                given = [torch.from_numpy(_scaled(each, scale)[None]) for each in (x, hidden)]
                before, after = (float(model.module(each)[0, 2]) for each in given)
            assert found.fall[lead, cell] == pytest.approx(before - after, abs=2e-5)


def test_the_signal_given_is_left_as_it_was() -> None:
    example = _example()
    before = example.signals.copy()
    occlude_lead_cells(_model(), example, 0)
    np.testing.assert_array_equal(example.signals, before)


def test_cells_spread_to_their_samples_and_nowhere_else() -> None:
    cells = LeadCells(np.array([3, 5, 9]), np.array([[1.0, 2], [3, 4]]))
    out = cells.spread(11)
    for lead in range(2):
        for sample in range(11):
            wanted = [cells.fall[lead, k] for k in range(2) if cells.edges[k] <= sample < cells.edges[k + 1]]
            np.testing.assert_equal(out[lead, sample], wanted[0] if wanted else np.nan)


@pytest.mark.parametrize("edges", [[3, 5], [3, 5, 5], [-1, 2, 3], [3, 5, 12]])
def test_edges_that_do_not_fit_are_refused(edges) -> None:
    with pytest.raises(EcglensError, match="expected one edge more"):
        LeadCells(np.array(edges), np.zeros((2, 2))).spread(11)


@pytest.mark.parametrize(("target", "seconds"), [(4, 0.5), (-1, 0.5), (0, 0.0), (0, -1.0), (0, float("nan")), (0, 0.01)])
def test_unknown_classes_and_lengths_under_a_sample_are_refused(target, seconds) -> None:
    with pytest.raises(EcglensError, match=r"expected one example and 0 to 3|one sample, or more"):
        occlude_lead_cells(_model(), _example(), target, seconds=seconds)
    two = _example().take(np.array([0, 0]))
    with pytest.raises(EcglensError, match="2 examples"):
        occlude_lead_cells(_model(), two, 0)


def test_of_a_real_record_only_the_stretches_of_leads_that_the_model_reads_count(data_root) -> None:
    folder = data_root / "cinc2020" / "records"
    if not (folder / "A0001.hea").is_file():
        pytest.skip("ECGLENS_DATA holds no cinc2020/records/A0001")
    recording = read_challenge(folder, "A0001")
    signal = np.ascontiguousarray(recording.signal[None, :, :1000], np.float32)
    example = make_examples(signal, fs=recording.fs, leads=recording.leads)
    weight = torch.zeros(2, 12, 1000)
    weight[1, 6, 250:500] = 1.0  # V1 from .5 to 1 s

    class Reads(nn.Module):
        def forward(self, x):
            return (x[:, None] * weight).sum((2, 3))

    model = classifier(Reads(), classes=("class 1", "class 2"), leads=recording.leads, length=1000, fs=recording.fs)
    found = occlude_lead_cells(model, example, 1)
    wanted = signal[0, 6, 250:500].sum() - 250 * signal[0, 6].mean()
    assert found.fall[6, 1] == pytest.approx(wanted, rel=1e-4)
    assert np.abs(np.delete(found.fall.ravel(), 6 * 4 + 1)).max() < 1e-3
