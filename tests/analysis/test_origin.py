"""Trivial descriptions, the last layer, and the whole question about the origin put to a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kurtosis
from torch import Tensor, nn

from ecglens.analysis.origin import drawn_evenly, last_layer, last_linear, probe_all, trivial_description
from ecglens.analysis.probing import origin_probe
from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.models.classifier import Classifier
from ecglens.recordings.recording import Recording
from made import created, make_examples, random_examples, tiny

FS = 250.0


def _described(x: np.ndarray, start: Any = 0, stop: Any = None) -> pd.DataFrame:
    """The description of signals (example, time) in one lead I."""
    stop = x.shape[1] if stop is None else stop
    ends = (np.broadcast_to(np.asarray(each), len(x)) for each in (start, stop))
    features, names = trivial_description(x[:, None], *ends, FS, ("I",))
    return pd.DataFrame(features, columns=names)


def test_the_description_is_that_of_the_valid_part_alone():
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=(5, 2, 300)), axis=2)
    x[1] = np.round(x[1])
    x[2] = np.clip(x[2], *np.quantile(x[2, :, 100:180], [0.1, 0.8]))
    start, stop = np.array([0, 20, 100, 0, 299 - 3]), np.array([300, 280, 180, 150, 299])
    features, names = trivial_description(x, start, stop, FS)
    assert names[:2] == ("length", "lead 1 mean")
    assert features.shape == (5, len(names)) == (5, 17)
    for row in range(5):
        one = dict(zip(names, features[row], strict=True))
        assert one["length"] == pytest.approx((stop[row] - start[row]) / FS)
        for lead in range(2):
            cut = x[row, lead, start[row] : stop[row]]
            told = {key.split(f"lead {lead + 1} ")[1]: value for key, value in one.items() if f"lead {lead + 1} " in key}
            near = [k for k in range(len(cut)) if cut[k] in cut[max(k - 1, 0) : k] or cut[k] in cut[k + 1 : k + 2]]
            time = np.arange(len(cut)) / FS
            frequency = np.arange(4000 // 2 + 1) * FS / 4000
            waves = np.exp(-2j * np.pi * frequency[:, None] * time)
            power = np.abs(waves @ (cut - cut.mean())) ** 2
            expected = {
                "mean": cut.mean(),
                "SD": cut.std(),
                "peak-to-peak": np.ptp(cut),
                "noise": np.std(cut[2:] - 2 * cut[1:-1] + cut[:-2]),
                "mains": power[(abs(frequency - 50) <= 1) | (abs(frequency - 60) <= 1)].sum() / power.sum(),
                "wander": power[frequency < 0.5].sum() / power.sum(),
                "kurtosis": kurtosis(cut),
                "clipped": np.mean([k in near and cut[k] in (cut.min(), cut.max()) for k in range(len(cut))]),
            }
            assert list(told) == list(expected)
            for name, value in expected.items():
                assert told[name] == pytest.approx(value, rel=1e-8, abs=1e-10), (row, lead, name)
    changed = x.copy()
    changed[2, :, :100], changed[2, :, 180:] = 1e3, -1e3
    np.testing.assert_array_equal(trivial_description(changed, start, stop, FS)[0], features)


def test_the_description_sees_mains_wander_clipping_and_a_flat_lead():
    time = np.arange(2000) / FS
    noise = 0.02 * np.random.default_rng(0).normal(size=2000)
    beat = np.sin(2 * np.pi * 5 * time) + noise
    rows = [np.sin(2 * np.pi * f * time) + noise for f in (50, 60, 0.2, 5)]
    told = _described(np.stack([*rows, np.clip(beat, -1, 0.5), np.full(2000, 0.1)]))
    assert (told["I mains"].iloc[:2] > 0.95).all()
    assert told["I wander"].iloc[2] > 0.9
    assert (told.loc[3, ["I mains", "I wander"]] < 0.01).all()
    # 5 Hz over .5: a third of the time, as arcsin(.5) is 30 degrees
    assert told["I clipped"].iloc[4] == pytest.approx(1 / 3, abs=0.03)
    assert told["I clipped"].iloc[3] == 0
    flat = told.loc[5].drop(["length", "I mean", "I clipped"])
    assert (flat == 0).all()
    assert told["I clipped"].iloc[5] == 1


def test_an_origin_that_differs_in_length_alone_is_told_from_the_length():
    n = 200
    stop = np.full(n, 100)
    origins = np.array(["x", "y"])[np.arange(n) % 2]
    longer = (origins == "x") & (np.arange(n) % 5 < 3)
    stop[longer] = 120
    share = longer[origins == "x"].mean()
    features = _described(np.zeros((n, 200)), 0, stop)
    told = origin_probe(features.to_numpy(), np.zeros(n, np.int64), origins, groups=None, classes=("A",), permutations=5).iloc[
        0
    ]
    # pairs of a longer x and a y are told, the other pairs are ties
    assert told["auc"] == pytest.approx(share + (1 - share) / 2, abs=1e-9)
    assert told["low"] < told["auc"] < told["high"]
    assert told["shuffled_high"] < told["low"]


def test_descriptions_of_nothing_are_refused():
    x = np.zeros((3, 1, 50))
    with pytest.raises(EcglensError, match="2 of 3 examples have under three valid samples"):
        trivial_description(x, np.array([0, 10, 0]), np.array([50, 12, 51]), FS)
    x[1, 0, 3] = np.nan
    with pytest.raises(EcglensError, match="1 of 3 examples hold NaN"):
        trivial_description(x, np.zeros(3, int), np.full(3, 50), FS)


@pytest.mark.parametrize("name", ["jones-cnn", "jones-lstm", "resnet", "resnet-rr"])
def test_the_last_layer_makes_the_logits(name: str):
    examples = random_examples(9, leads=1, length=430)
    model = created(name, examples)
    features, logits = last_layer(model, examples)
    head = last_linear(model, examples)
    made = features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(made, logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits, model.logits(examples), rtol=1e-4, atol=1e-5)


def test_the_last_layer_in_batches_leaves_the_model_as_it_was():
    examples = random_examples(300, length=24, classes=2)
    model = tiny(examples)
    model.module.train()
    features, logits = last_layer(model, examples)
    assert model.module.training
    assert not any(part._forward_hooks for part in model.module.modules())
    one, _ = last_layer(model, examples.take(np.array([299, 255, 256])))
    np.testing.assert_allclose(features[[299, 255, 256]], one, atol=1e-6)
    assert logits.shape == (300, 2)


class _Ended(nn.Module):
    """A linear layer, and something behind it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.head, self.kind = nn.Linear(48, 2), kind

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(x.flatten(1))
        return out if self.kind == "linear" else out.tanh()


def _ended(kind: str, examples: Examples) -> Classifier:
    return Classifier(_Ended(kind), kind, examples.classes, examples.leads, examples.fs, examples.length)


def test_a_model_without_a_last_layer_is_refused():
    examples = random_examples(4, length=24, classes=2)
    features, _ = last_layer(_ended("linear", examples), examples)
    np.testing.assert_array_equal(features, examples.signals.reshape(4, -1))
    with pytest.raises(EcglensError, match="tanh does not give its logits by a last"):
        last_layer(_ended("tanh", examples), examples)
    with pytest.raises(EcglensError, match="no examples"):
        last_layer(_ended("linear", examples), examples.take(np.empty(0, np.intp)))
    with pytest.raises(EcglensError, match="sampling rate"):
        last_layer(_ended("linear", examples), replace(examples, fs=100.0))


def test_examples_are_drawn_evenly_over_origins_and_patients():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=3000)
    patients = np.char.add("p", np.minimum(rng.geometric(0.1, size=3000), 30).astype(str))
    origins = np.where(np.isin(patients, ["p1", "p2", "p3", "p4"]), "x", "y")
    rows = drawn_evenly(labels, origins, patients, per_class=100, at_least=20, seed=0)
    assert (np.diff(rows) > 0).all()
    for label in (0, 1):
        mine = rows[labels[rows] == label]
        assert np.unique(origins[mine], return_counts=True)[1].tolist() == [50, 50]
        for origin in ("x", "y"):
            some = mine[origins[mine] == origin]
            have = {p: ((patients == p) & (labels == label)).sum() for p in set(patients[origins == origin])}
            taken = {p: (patients[some] == p).sum() for p in have}
            fullest = max(taken.values())
            assert all(taken[p] >= min(have[p], fullest - 1) for p in have)
    alone = drawn_evenly(labels, patients, patients, per_class=100, at_least=20, seed=0)
    counts = pd.Series(patients[alone]).groupby(labels[alone]).value_counts()
    assert (counts == 20).all()
    assert len(counts) == 10
    assert (alone != drawn_evenly(labels, patients, patients, per_class=100, at_least=20, seed=1)).any()


def _confounded(n: int = 720, seed: int = 0) -> Examples:
    """Two databases; the second has a wave of 50 Hz of its own, and is nearly all of class 2."""
    rng = np.random.default_rng(seed)
    who = rng.integers(24, size=n)
    second = who % 2 == 1
    labels = np.where(rng.random(n) < 0.8, second, ~second).astype(np.int64)
    time = np.arange(64) / 250
    signals = 0.3 * rng.normal(size=(n, 1, 64)) + second[:, None, None] * 0.4 * np.sin(2 * np.pi * 50 * time)
    patients = np.char.add("p", who.astype(str))
    return make_examples(
        signals.astype(np.float32), labels, fs=250.0, database=np.where(second, "ltafdb", "mitdb"), patient=patients,
        record=patients,
    )  # fmt: skip


def _reader_of_mains(examples: Examples) -> Classifier:
    """A linear model that reads the wave of 50 Hz and nothing else."""
    model = _ended("linear", examples)
    model.module.head = nn.Linear(64, 2)
    wave = torch.from_numpy(np.sin(2 * np.pi * 50 * np.arange(64) / 250)).float()
    with torch.no_grad():
        model.module.head.weight.copy_(torch.stack([-wave, wave]))
        model.module.head.bias.copy_(torch.tensor([6.4, -6.4]))
    return model


def test_a_model_that_reads_the_recorder_is_found_out():
    examples = _confounded()
    model = _reader_of_mains(examples)
    maps = np.random.default_rng(0).normal(size=(len(examples), 1, 8))
    tables = probe_all(model, examples, maps, "database", per_class=200, replicates=100)
    told = tables["told"].set_index(["from", "class"])["auc"].unstack()
    assert list(tables["told"]["from"].unique()) == ["input", "trivial description", "map", "last layer"]
    assert (told.loc["input"] > 0.95).all()
    assert (told.loc["last layer"] > 0.95).all()
    assert (told.loc["trivial description"] > 0.9).all()
    assert told.loc["map", "all classes"] < 0.65
    lean = tables["leaning"].set_index("class")
    # class 2 of the first database, and class 1 of the second, are taken for the other: margins of both signs
    assert (lean["auc_before"] > 0.95).all()
    assert (lean["leans"].abs() < 2).all()
    assert (lean["margin_after"].abs() < 0.3 * 12.8).all()


def test_who_is_asked_for_decides_who_stays_whole(monkeypatch: pytest.MonkeyPatch):
    examples = _confounded()
    seen: list[dict[str, Any]] = []

    def note(features: Any, labels: Any, origins: Any, **told: Any) -> pd.DataFrame:
        seen.append({"features": features, "labels": labels, "origins": origins} | told)
        return origin_probe(features, labels, origins, **told)

    monkeypatch.setattr("ecglens.analysis.origin.origin_probe", note)
    few: dict[str, Any] = {"per_class": 80, "replicates": 10, "permutations": 1}
    probe_all(_reader_of_mains(examples), examples, None, "database", **few)
    assert len(seen) == 3
    assert all(len(set(seen[0]["origins"][seen[0]["groups"] == one])) == 1 for one in set(seen[0]["groups"]))
    assert len(seen[0]["labels"]) == 160
    np.testing.assert_array_equal(seen[0]["features"], seen[2]["features"])  # the last layer of this model is the signal
    rows = [int(np.flatnonzero((examples.signals[:, 0] == one).all(1))[0]) for one in seen[0]["features"]]
    np.testing.assert_array_equal(examples.labels[rows], seen[0]["labels"])
    np.testing.assert_array_equal(examples.column("database")[rows], seen[0]["origins"])
    np.testing.assert_array_equal(examples.column("patient")[rows], seen[0]["groups"])
    seen.clear()
    probe_all(_reader_of_mains(examples), examples, None, "patient", at_least=10, **few)
    assert seen[0]["groups"] is None
    assert np.unique(seen[0]["origins"]).size > 4
    rows = [int(np.flatnonzero((examples.signals[:, 0] == one).all(1))[0]) for one in seen[0]["features"]]
    for patient in np.unique(seen[0]["origins"]):
        assert (np.diff(np.array(rows)[seen[0]["origins"] == patient]) > 0).all()


def test_a_model_without_a_last_layer_is_still_probed():
    examples = _confounded(240)
    model = _ended("tanh", examples)
    model.module.head = nn.Linear(64, 2)
    tables = probe_all(model, examples, None, "database", replicates=10, permutations=1)
    last = tables["told"].iloc[-1]
    assert last["from"] == "last layer"
    assert "does not give its logits by a last nn.Linear" in last["why_not"]
    assert tables["leaning"]["why_not"].iloc[0] == last["why_not"]
    assert tables["told"]["auc"].notna().sum() == 6


def test_what_does_not_fit_is_refused():
    examples = _confounded(40)
    model = _reader_of_mains(examples)
    with pytest.raises(EcglensError, match="unknown origin 'databse'; did you mean 'database'"):
        probe_all(model, examples, None, "databse")
    with pytest.raises(EcglensError, match="3 maps for 40 examples"):
        probe_all(model, examples, np.zeros((3, 1, 4)), "database")


def test_real_patients_are_told_from_a_normal_beat(real_recordings: dict[str, Recording]):
    some = [real_recordings[name] for name in ("100", "103", "112", "115", "122")]
    examples, _ = cut_beats(some, label_map("jones"), BeatOptions(length=256), [])
    normal = np.flatnonzero(examples.labels == examples.classes.index("N"))
    model = tiny(examples)
    tables = probe_all(model, examples.take(normal), None, "patient", per_class=200, replicates=100)
    told = tables["told"].query("`class` == 'N'").set_index("from")
    assert (told["origins"] == 5).all()
    assert (told["n"] == 200).all()
    assert told.loc["input", "auc"] > 0.9
    assert told.loc["trivial description", "auc"] > 0.9
    assert (told["shuffled_high"] < 0.65).all()
    assert tables["leaning"].set_index("class")["leans"].notna().sum() == 1
