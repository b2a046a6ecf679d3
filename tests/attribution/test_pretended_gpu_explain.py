"""Maps, and what analysis asks of a model, on a GPU: the same as on the CPU, on machines without one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from ecglens.analysis import branches, deletion, dependence, origin
from ecglens.analysis.receptive import receptive_field
from ecglens.attribution import engine, explain
from ecglens.attribution.attributions import Attributions
from ecglens.attribution.passes import undisturbed
from ecglens.attribution.preflight import preflight
from ecglens.attribution.registry import methods
from ecglens.errors import EcglensError
from ecglens.examples.boxes import Boxes
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
from ecglens.models import MODELS, Classifier
from ecglens.models.pictured import Pictured
from ecglens.models.rasteriser import Rasteriser
from made import created, fitting, lively, random_examples, tiny
from nets import Gap, Plain, classifier, seeded
from pretended_gpu import CPU, GPU, PretendedGpu, pretended

N, LENGTH = 6, 24
ROWS, COLUMNS = 18, 22
QUICK: dict[str, dict[str, Any]] = {
    "smoothgrad": {"samples": 3},
    "expected-gradients": {"samples": 3},
    "integrated-gradients": {"steps": 2, "most_steps": 8},
    "deletion-mask": {"steps": 21, "cell": 0.006, "baseline": "blur", "blur": 0.01},
    "occlusion": {"seconds": 0.02},
    "deeplift": {"baseline": "mean"},
    "lead-shapley-sampled": {"orders": 2},
}  # fmt: skip
CAPTUM = ["captum:GradientShap", "captum:FeatureAblation", "captum:LayerGradCam", "captum:ShapleyValueSampling"]
KILLED = 4  # batches


class _Flat2d(nn.Module):
    """Two convolutions and pooling, mean over places, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 5, stride=2, padding=2), nn.BatchNorm2d(4)
        self.pool, self.last, self.active = nn.MaxPool2d(2, padding=1), nn.Conv2d(4, 6, 3), nn.ReLU()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.active(self.last(self.pool(torch.relu(self.norm(self.first(x)))))).mean(dim=(2, 3)))


class _OtherDigits(Rasteriser):
    """Draws a little otherwise on a GPU, as true ones do."""

    def forward(self, x: Tensor, span: Tensor) -> Tensor:
        return super().forward(x, span) * (1.0 if x.device.type == "cpu" else 1.0 + 1e-6)


def _pictured(examples: Examples, picture: type[Rasteriser] = Rasteriser) -> Classifier:
    module = seeded(lambda: Pictured(picture(ROWS, COLUMNS), _Flat2d()))
    return Classifier(
        module, "drawn", examples.classes, examples.leads, examples.fs, examples.length, cam_layer="net.active",
        context="span", draws=True,
    )  # fmt: skip


def _examples(leads: int = 2, n: int = N, **told: Any) -> Examples:
    return random_examples(n, leads=leads, length=LENGTH, **{"valid_stop": LENGTH - np.arange(n) % 3} | told)


def _gap(examples: Examples, net: type[nn.Module] = Gap, **told: Any) -> Classifier:
    return replace(
        classifier(seeded(net), "last_active", fs=360.0),
        classes=examples.classes,
        leads=examples.leads,
        scale="offset",
        **told,
    )


def _sides(model: Classifier) -> list[torch.device]:
    """On which side any part of the model is given what it works on, from now on."""
    sides: list[torch.device] = []
    for part in model.module.modules():
        part.register_forward_pre_hook(lambda _part, args: sides.extend(each.device for each in args))
    return sides


def _back(gpu: PretendedGpu, model: Classifier) -> bool:
    """The module has come home, with all of its values."""
    return model.device == CPU and not any(gpu.has(each) for each in model.module.state_dict().values())


def _expect_same(found: Attributions, wanted: Attributions) -> None:
    assert found.methods == wanted.methods
    for part in ("rows", "target", "predicted"):
        np.testing.assert_array_equal(getattr(found, part), getattr(wanted, part))
    for method in wanted.methods:
        # Adam takes its steps in another order on a GPU
        near = {"rtol": 1e-4, "atol": 1e-5} if method == "deletion-mask" else {"rtol": 1e-6, "atol": 1e-7}
        pairs = [(found.note(method, note), wanted.note(method, note)) for note in wanted.notes(method)]
        if wanted.plan.get("boxes") is None:
            pairs.append((found.native(method)[:], wanted.native(method)[:]))
        else:
            pairs.extend(zip(found.mass(method), wanted.mass(method), strict=True))
        for one, other in pairs:
            assert isinstance(one, np.ndarray)
            np.testing.assert_allclose(one, other, **near)


@pytest.mark.filterwarnings("ignore:Setting")
@pytest.mark.parametrize("method", [*sorted(methods()), *CAPTUM])
def test_a_map_of_signals_is_made_there_and_is_that_of_the_cpu(method, monkeypatch):
    examples = _examples()
    told = {"target": "true", "background": _examples(n=4, seed=1), "options": QUICK, "quiet": True}
    wanted = explain(_gap(examples, Plain), examples, [method], **told)
    model = _gap(examples, Plain)
    sides = _sides(model)
    with pretended(monkeypatch) as gpu:
        found = explain(model, examples, [method], **told)
        assert _back(gpu, model)
        assert set(sides) == {GPU}
        assert all(devices == [GPU] for devices in gpu.forked)
        assert bool(gpu.forked) == method.startswith("captum")
    _expect_same(found, wanted)


@pytest.mark.parametrize("method", [name for name, each in sorted(methods().items()) if not each.card.not_pictures])
def test_a_map_of_pictures_is_made_there_and_is_that_of_the_cpu(method, monkeypatch):
    examples = _examples(leads=1)
    options = QUICK | {"occlusion": {"pixels": 7}}
    told = {"target": "true", "background": _examples(leads=1, n=4, seed=1), "options": options, "quiet": True}
    wanted = explain(_pictured(examples), examples, [method], **told)
    with pretended(monkeypatch) as gpu:
        model = _pictured(examples)
        found = explain(model, examples, [method], **told)
        assert _back(gpu, model)
        assert gpu.sent
    _expect_same(found, wanted)


def _regions(n: int = N) -> Regions:
    start = np.arange(n)[:, None] + np.array([0, 4, 2])
    return Regions(("P", "QRS", "P"), ("lead 1", "lead 1", "lead 2"), np.array([0, 0, 1]), start, start + 5)


def _boxes(n: int = N) -> Boxes:
    low = np.linspace(0, 0.5, n)[:, None]
    return Boxes(("box",), low, low + 0.3, low, low + 0.4)


@pytest.mark.parametrize("keep", [None, _regions(), _boxes()], ids=["whole", "regions", "boxes"])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_methods_share_passes_there_over_all_classes_too(keep, output, monkeypatch, capsys):
    """With batch norms to fold, an array, and a word beforehand on how long it takes."""
    x, behind = _examples().signals, _examples(n=4, seed=1).signals
    names = [
        "saliency",
        "guided-grad-cam",
        "smoothgrad",
        "occlusion",
        "expected-gradients",
        *(["cam"] if output == "logit" else []),
    ]
    options = QUICK | {"smoothgrad": {"samples": 30}, "occlusion": {"regions": _regions()}}
    told = {"target": "all", "background": behind, "options": options, "output": output, "keep": keep}
    wanted = explain(_gap(_examples()), x, names, **told)
    with pretended(monkeypatch) as gpu:
        model = _gap(_examples())
        found = explain(model, x, names, **told)
        assert _back(gpu, model)
    assert capsys.readouterr().err.count("in all") == 2
    _expect_same(found, wanted)


def test_an_array_drawn_whole_is_drawn_there(monkeypatch):
    examples = _examples(leads=1)
    told = {"background": examples.signals[:3], "quiet": True}
    wanted = explain(_pictured(examples), examples.signals, ["expected-gradients", "grad-cam"], options=QUICK, **told)
    with pretended(monkeypatch):
        found = explain(_pictured(examples), examples.signals, ["expected-gradients", "grad-cam"], options=QUICK, **told)
    _expect_same(found, wanted)


@pytest.mark.parametrize("name", ["jones-cnn", "jones-lstm", "resnet-rr", "ecgnet-cam", "zihlmann", "small2d"])
def test_a_model_of_the_registry_is_explained_there(name, monkeypatch):
    examples = random_examples(2, leads=1 if MODELS[name].draws else 2, length=fitting(name))
    wanted = explain(created(name, examples), examples, ["saliency"], quiet=True)
    with pretended(monkeypatch) as gpu:
        model = created(name, examples)
        found = explain(model, examples, ["saliency"], quiet=True)
        assert _back(gpu, model)
    _expect_same(found, wanted)


def _dying(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, done = engine._Run.batch, []

    def killed(run: Any, first: int, stop: int) -> Any:
        done.append(first)
        if len(done) == KILLED:
            raise KeyboardInterrupt
        return batch(run, first, stop)

    monkeypatch.setattr(engine._Run, "batch", killed)


@pytest.mark.parametrize("first", ["here", "there"])
@pytest.mark.parametrize("draws", [False, True], ids=["signals", "pictures"])
def test_a_store_begun_on_one_side_is_gone_on_with_on_the_other(first, draws, tmp_path, monkeypatch):
    """Though the picture of the background is not the same to the last digit on both."""
    examples = _examples(leads=1 if draws else 2, n=16)
    make = (lambda: _pictured(examples, _OtherDigits)) if draws else (lambda: _gap(examples))
    monkeypatch.setattr(engine, "_SHARD_MB", 1e-6)  # a batch fills a shard
    monkeypatch.setattr(engine, "batch_size", lambda *_: 2)
    names = ["saliency", "expected-gradients"]
    told = {"background": examples.take(np.arange(3)), "options": QUICK, "quiet": True}
    wanted = explain(make(), examples, names, out=tmp_path / "whole", **told)

    def go(side: str, model: Classifier) -> Attributions:
        if side == "here":
            return explain(model, examples, names, out=tmp_path / "maps", **told)
        with pretended(monkeypatch):
            return explain(model, examples, names, out=tmp_path / "maps", **told)

    model = make()
    with monkeypatch.context() as patch:
        _dying(patch)
        with pytest.raises(KeyboardInterrupt):
            go(first, model)
    assert model.device == CPU
    done = sorted((tmp_path / "maps").glob("shard-*"))
    assert len(done) == KILLED - 1
    before = [path.stat().st_mtime_ns for path in done]
    found = go("there" if first == "here" else "here", make())
    assert [path.stat().st_mtime_ns for path in done] == before, "what was there is kept"
    assert found.plan == wanted.plan
    for name in names:
        np.testing.assert_allclose(found[name][:], wanted[name][:], rtol=1e-3, atol=1e-5)
    if not draws:
        for path in sorted((tmp_path / "whole").rglob("*.npy")):
            assert path.read_bytes() == (tmp_path / "maps" / path.relative_to(tmp_path / "whole")).read_bytes()


def test_another_background_is_still_told_from_the_one_of_a_store(tmp_path):
    examples = _examples(leads=1)
    model, some = _pictured(examples), examples.take(np.arange(3))
    told = {"options": QUICK, "quiet": True, "out": tmp_path / "maps"}
    explain(model, examples, ["expected-gradients"], background=some, **told)
    moved = replace(some, table=some.table.assign(valid_start=1))
    for other in (moved, replace(some, signals=some.signals + 0.1), some.take(np.arange(2))):
        shutil.rmtree(tmp_path / "maps" / "shard-00000", ignore_errors=True)
        with pytest.raises(EcglensError, match="background differ"):
            explain(model, examples, ["expected-gradients"], background=other, **told)


def test_a_module_comes_home_after_an_error_and_one_put_on_a_gpu_stays_there(monkeypatch):
    examples = _examples()
    wanted = explain(_gap(examples), examples, ["saliency"], quiet=True)
    with pretended(monkeypatch) as gpu:
        model = _gap(examples)
        with pytest.raises(EcglensError, match="needs a background"):
            explain(model, examples, ["expected-gradients"], quiet=True)
        assert _back(gpu, model)
        model.module.to(GPU)
        found = explain(model, examples, ["saliency"], quiet=True)
        assert model.device == GPU
        made = Classifier.wrap(model.module, classes="abc", leads=("I", "II"), fs=360, length=LENGTH)
        assert made.module is model.module
        there = preflight(model, *model.inputs(examples))
        drawn = _pictured(_examples(leads=1))
        drawn.module.to(GPU)
        seen = preflight(drawn, *drawn.inputs(_examples(leads=1)))
        field = receptive_field(model)
    _expect_same(found, wanted)
    here = _gap(examples)
    assert there == preflight(here, *here.inputs(examples))
    assert "deeplift" in there.supported
    drawn = _pictured(_examples(leads=1))
    assert seen == preflight(drawn, *drawn.inputs(_examples(leads=1)))
    assert field == receptive_field(here)


def test_convolutions_keep_all_digits_and_one_way_of_adding_up():
    def flags() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic

    before = flags()
    with undisturbed(nn.Conv1d(1, 1, 1)):
        assert flags() == (False, True)
    assert flags() == before


# ------------------------------------------------------------------------------------------------ analysis


def _probes(examples: Examples) -> tuple[Classifier, Classifier, Classifier]:
    """One with two branches, one that takes RR intervals, one with a last linear layer."""
    rr = replace(created("resnet-rr", examples), scale="offset")
    return lively("ecgnet-cam", examples), rr, tiny(examples)


def _asked(examples: Examples, models: tuple[Classifier, Classifier, Classifier]) -> list[Any]:
    two, rr, last = models
    masks, target = np.random.default_rng(0).uniform(size=examples.signals.shape), examples.labels
    parts = branches.branch_logits(two, examples)
    told = {"background": examples, "cell_s": 0.03, "draws": 2}
    falls = [deletion.deletion_effect(two, examples, masks, target, fill=fill, **told) for fill in ("mean", "blur")]
    share = dependence.context_share(rr, examples, target, examples, seed=0, draws=2)
    tables = origin.probe_all(last, examples, None, origin="record", per_class=20, permutations=2, replicates=2)
    return [parts.cnn, parts.lstm, parts.constant, *falls, share, *origin.last_layer(last, examples), *tables.values()]


@pytest.mark.parametrize("owner", ["cpu", "gpu"])
def test_what_analysis_asks_of_a_model_is_asked_there(owner, monkeypatch):
    examples = random_examples(
        24, length=60, record=[f"r{k // 3 % 4}" for k in range(24)], rr_before=np.linspace(0.4, 1.1, 24)
    )
    wanted = _asked(examples, _probes(examples))
    with pretended(monkeypatch) as gpu:
        models = _probes(examples)
        for model in models:
            if owner == "gpu":
                model.module.to(GPU)
        sides = [_sides(model) for model in models]
        found = _asked(examples, models)
        assert [model.device for model in models] == 3 * [GPU if owner == "gpu" else CPU]
        assert owner == "gpu" or all(_back(gpu, model) for model in models)
        assert all(set(each) == {GPU} for each in sides)
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
@pytest.mark.parametrize("draws", [False, True], ids=["signals", "pictures"])
def test_a_true_gpu_explains_as_the_cpu_does(draws, monkeypatch):
    examples = _examples(leads=1 if draws else 2)
    model = _pictured(examples) if draws else _gap(examples)
    names = [name for name, each in methods().items() if not (draws and each.card.not_pictures) and name != "deletion-mask"]
    options = {name: told for name, told in QUICK.items() if name in names} | {"occlusion": {"pixels": 7} if draws else {}}
    told = {"target": "true", "background": examples, "options": options, "quiet": True}
    there = explain(model, examples, names, **told)
    assert model.device == CPU
    monkeypatch.setattr(engine, "pick_device", lambda: CPU)
    here = explain(model, examples, names, **told)
    for name in names:
        size = np.abs(here[name][:]).max()
        np.testing.assert_allclose(there[name][:], here[name][:], atol=1e-3 * float(size), err_msg=name)
