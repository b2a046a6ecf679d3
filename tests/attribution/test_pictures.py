"""Models that see pictures: signals become ink on the way, and maps are of the ink."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import DeepLift, GuidedGradCam, LayerGradCam, Occlusion, Saliency
from torch import Tensor, nn

from ecglens.attribution import engine, explain, planning, read_attributions
from ecglens.attribution.attributions import Attributions
from ecglens.attribution.folding import folded
from ecglens.attribution.preflight import preflight
from ecglens.attribution.registry import methods
from ecglens.attribution.resizing import resized
from ecglens.attribution.store import merge, read_plan
from ecglens.errors import EcglensError
from ecglens.examples.boxes import Boxes
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
from ecglens.models.classifier import Classifier
from ecglens.models.pictured import Pictured
from made import random_examples
from nets import gap, maps, signals

ROWS, COLUMNS, LENGTH = 18, 22, 60
THREE = ["saliency", "grad-cam", "guided-grad-cam"]
VALID = {"valid_start": np.arange(12) % 5, "valid_stop": 60 - np.arange(12) % 7}


class Sketch(nn.Module):
    """A picture by the plainest means: in each column, ink below the mean of its stretch of the span."""

    def __init__(self) -> None:
        super().__init__()
        self.steep = nn.Parameter(torch.tensor(5.0))
        self.with_graph: list[bool] = []

    def forward(self, x: Tensor, span: Tensor) -> Tensor:
        level = torch.linspace(2, -2, ROWS)[:, None]
        drawn = [
            nn.functional.adaptive_avg_pool1d(one[None, :, first:stop].sum(1, keepdim=True), COLUMNS)
            for one, (first, stop) in zip(x, span.tolist(), strict=True)
        ]
        self.with_graph.append(torch.is_grad_enabled())
        return torch.sigmoid(self.steep * (torch.cat(drawn) - level))[:, None]


class Net(nn.Module):
    """Two convolutions with a batch norm and pooling between, mean over places, one linear layer."""

    def __init__(self, plain: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 5, stride=2, padding=2)
        self.norm = nn.Identity() if plain else nn.BatchNorm2d(4)
        self.active = nn.ReLU()
        self.pool = nn.MaxPool2d(2, padding=1)
        self.last = nn.Conv2d(4, 6, 3)
        self.last_active = nn.ReLU()
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.pool(self.active(self.norm(self.first(x))))
        return self.head(self.mean(self.last_active(self.last(hidden))).flatten(1))


def pictured(seed: int = 0, *, net: Callable[[], nn.Module] = Net, layer: str | None = "net.last_active") -> Classifier:
    """A tiny classifier of pictures of two leads."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Pictured(Sketch(), net()).eval()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.running_mean, 0.0, 0.2)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, 0.0, 0.2)
            elif isinstance(part, (nn.Conv2d, nn.Linear)):
                with torch.no_grad():
                    part.weight.mul_(2)
    classes, leads = ("class 1", "class 2", "class 3"), ("lead 1", "lead 2")
    return Classifier(
        module, "sketched", classes, leads, 360.0, LENGTH, "offset", cam_layer=layer, context="span", draws=True
    )  # fmt: skip


def beats(n: int = 7) -> Examples:
    return random_examples(n, length=LENGTH, **{name: values[:n] for name, values in VALID.items()})


def _ink(model: Classifier, examples: Examples) -> Tensor:
    with torch.no_grad():
        return model.module.picture(*model.inputs(examples))


def _close(found: Any, wanted: Any, **told: float) -> None:
    wanted = wanted.detach().numpy() if isinstance(wanted, Tensor) else wanted
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, **{"rtol": 1e-4, "atol": 1e-6} | told)


# ------------------------------------------------------------------------------------------------ the classifier


def test_the_span_of_each_example_is_its_context_and_logits_heed_it():
    model, examples = pictured(), beats()
    context = model.context_of(examples)
    assert context.dtype == torch.int64
    np.testing.assert_array_equal(context.numpy(), np.stack([VALID["valid_start"][:7], VALID["valid_stop"][:7]], axis=1))
    assert not np.allclose(model.logits(examples), replace(model, context=None).logits(examples))
    _close(model.logits(examples), model.module.net(_ink(model, examples)))


def test_the_net_behind_the_picture_is_a_classifier_of_ink():
    model = pictured()
    behind = model.behind_picture()
    assert behind.module is model.module.net
    assert behind.input_shape == (1, ROWS, COLUMNS)
    assert (behind.rows, behind.length, behind.leads, behind.cam_layer) == (ROWS, COLUMNS, ("ink",), "last_active")
    assert (behind.draws, behind.context, behind.classes) == (False, None, model.classes)
    assert model.input_shape == (2, LENGTH)
    assert pictured(layer=None).behind_picture().cam_layer is None


def test_what_has_no_picture_or_reads_a_layer_of_it_is_refused():
    with pytest.raises(EcglensError, match="net draws no picture; expected draws=True and a module with the parts"):
        gap().behind_picture()
    with pytest.raises(EcglensError, match="net draws no picture"):
        replace(gap(), draws=True).behind_picture()
    with pytest.raises(EcglensError, match="layer 'picture' of sketched is not behind its picture"):
        replace(pictured(), cam_layer="picture").behind_picture()
    with pytest.raises(EcglensError, match="sketched draws pictures and takes RR intervals"):
        replace(pictured(), context="rr")
    flat = pictured()
    flat.module.picture = nn.Identity()
    flat.module.picture.forward = lambda x, span: x
    with pytest.raises(EcglensError, match=r"the picture of sketched has shape \(1, 2, 60\); expected \(example, 1, row"):
        flat.behind_picture()


def test_a_saved_card_says_that_the_model_draws(tmp_path):
    import json

    pictured().save(tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    assert (card["draws"], card["context"]) == (True, "span")


# ------------------------------------------------------------------------------------------------ maps


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.filterwarnings("ignore:Setting forward")
@pytest.mark.parametrize("plain", [True, False])
def test_pictures_are_explained_as_captum_explains_them(plain):
    model, examples = pictured(net=lambda: Net(plain)), beats()
    target = examples.labels
    names = [*THREE, "hires-cam", "occlusion"]
    options = {"occlusion": {"pixels": 5}}
    found = explain(model, examples, names, target="true", options=options, quiet=True)
    net, ink, asked = model.module.net, _ink(model, examples).requires_grad_(), torch.from_numpy(target)
    layer, blocks = net.last_active, (1, 5, 5)
    _close(found["saliency"][:], Saliency(net).attribute(ink, asked, abs=False))
    cells = LayerGradCam(net, layer).attribute(ink, asked)
    _close(found.native("grad-cam")[:], cells)
    _close(found["grad-cam"][:], resized(cells.detach().numpy(), (ROWS, COLUMNS)))
    _close(found["guided-grad-cam"][:], GuidedGradCam(net, layer).attribute(ink, asked))
    _close(found["occlusion"][:], Occlusion(net).attribute(ink, blocks, strides=blocks, target=asked), atol=1e-5)
    assert np.abs(found["guided-grad-cam"][:]).max() > 1e-4
    np.testing.assert_array_equal(found.predicted, model.logits(examples).argmax(1))
    assert found.plan["shape"] == [ROWS, COLUMNS]
    assert found["saliency"].shape == (7, 1, ROWS, COLUMNS)
    folds = folded(net, "last_active", ink.detach())
    assert plain or not any(isinstance(part, nn.BatchNorm2d) for part in folds.modules())


def test_an_array_is_drawn_whole_and_unscaled_and_its_pictures_get_no_gradient():
    model, x = pictured(), signals(5, length=LENGTH)
    found = explain(model, x, ["input-x-gradient", "magnitude"], quiet=True)
    assert model.module.picture.with_graph
    assert not any(model.module.picture.with_graph)
    span = torch.tensor([0, LENGTH]).expand(5, 2)
    ink = model.module.picture(torch.from_numpy(x), span)
    _close(found["magnitude"][:], ink)
    behind = model.behind_picture()
    again = explain(behind, ink.detach().numpy(), ["input-x-gradient"], quiet=True)
    np.testing.assert_array_equal(found["input-x-gradient"][:], again["input-x-gradient"][:])
    with pytest.raises(EcglensError, match=r"has shape \(5, 2, 60\); sketched takes \(example, 1, 18 rows, 22 columns\)"):
        explain(behind, x, ["saliency"], quiet=True)


def test_pictures_of_all_classes_stand_behind_each_other():
    model, examples = pictured(), beats()
    found = explain(model, examples, [*THREE, "cam"], target="all", quiet=True)
    assert found["grad-cam"].shape == (7, 3, 1, ROWS, COLUMNS)
    assert found["grad-cam"][2:5, 1, 0].shape == (3, ROWS, COLUMNS)
    for label, name in enumerate(model.classes):
        one = explain(model, examples, [*THREE, "cam"], target=name, quiet=True)
        for method in found.methods:
            _close(found[method][:, label], one[method][:])


def test_the_map_of_a_picture_does_not_depend_on_its_batch_mates(monkeypatch):
    model, examples = pictured(), beats(11)
    names, options = [*THREE, "smoothgrad"], {"smoothgrad": {"samples": 2}}
    whole = explain(model, examples, names, options=options, quiet=True)
    monkeypatch.setattr(planning, "_LARGEST_BATCH", 3)
    few = explain(model, examples, names, options=options, quiet=True)
    alone = explain(model, examples, names, options=options, rows=np.array([4]), quiet=True)
    for name in names:
        _close(few[name][:], whole[name][:])
        _close(alone[name][0], whole[name][4])


def test_a_lone_picture_passes_the_preflight_and_so_do_signals():
    model, examples = pictured(), beats()
    one = model.inputs(examples.take(np.array([0])))
    found = preflight(model, *one)
    assert found.cam_layer == "net.last_active"
    assert set(THREE) <= set(found.supported)
    assert "a picture has no leads" in found.refused["lead-shapley"]
    with pytest.raises(EcglensError, match=r"sketched has no layer 'net\.lost'; its last convolutions: net\.first, net\.last"):
        explain(replace(model, cam_layer="net.lost"), examples, ["saliency"], quiet=True)


def test_the_memory_budget_counts_the_pictures():
    model, sizes = pictured(net=lambda: Net(plain=True)), []
    model.module.net.register_forward_pre_hook(lambda _m, args: sizes.append(len(args[0])))
    explain(model, beats(12), ["saliency"], memory_mb=0.2, quiet=True)
    assert 2 <= max(sizes) < 12
    with pytest.raises(EcglensError, match="MB do not hold two examples: sketched takes about"):
        explain(model, beats(12), ["saliency"], memory_mb=0.001, quiet=True)


# ------------------------------------------------------------------------------------------------ every method

REFUSED = {
    "lead-shapley": "a picture has no leads",
    "lead-shapley-sampled": "a picture has no leads",
    "deletion-mask": "its mask is smooth in time",
    "channel-cam": "it was made for signals",
    "mean-activation": "it reads the signal itself",
    "r-window": "R peaks are known in samples, not in columns",
}
QUICK: dict[str, dict[str, Any]] = {
    "smoothgrad": {"samples": 2}, "expected-gradients": {"samples": 2}, "integrated-gradients": {"most_steps": 64},
    "occlusion": {"pixels": 7},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(methods()))
def test_each_method_works_on_pictures_or_is_refused_by_name_before_the_first_pass(name, tmp_path):
    model, examples = pictured(), beats(4)
    told = {"background": beats(3), "options": {name: QUICK.get(name, {})}, "quiet": True}
    if name in REFUSED:
        with pytest.raises(EcglensError, match=f"{name} is not for pictures, which sketched sees: {REFUSED[name]}"):
            explain(model, examples, [name], out=tmp_path / "out", **told)
        assert not (tmp_path / "out").exists()
        return
    found = explain(model, examples, [name], **told)
    assert found[name].shape == (4, 1, ROWS, COLUMNS)
    assert np.isfinite(found[name][:]).all()
    if name in ("deeplift", "lrp-epsilon"):
        assert (found.note(name, "completeness-error" if name == "deeplift" else "conservation-error") < 1e-3).all()


@pytest.mark.filterwarnings("ignore:Setting forward")
@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2), nn.AvgPool2d(3), nn.AdaptiveAvgPool2d(4)], ids=lambda pool: type(pool).__name__
)
def test_deeplift_of_pictures_equals_captums_where_no_relu_touches_a_pooling(pool):
    """Where one does, captum is not complete (see test_deeplift)."""

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 3, 3), pool, nn.Flatten(), nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, 3)
        )  # fmt: skip

    lazy = build()
    lazy(torch.zeros(1, 1, ROWS, COLUMNS))
    model, examples = pictured(net=lambda: lazy, layer=None), beats()
    found = explain(model, examples, ["deeplift"], target="true", quiet=True)
    ink, asked = _ink(model, examples).requires_grad_(), torch.from_numpy(examples.labels)
    _close(found["deeplift"][:], DeepLift(model.module.net).attribute(ink, torch.zeros_like(ink), asked), atol=1e-5)
    assert (found.note("deeplift", "completeness-error") < 1e-3).all()


def test_what_adds_up_to_the_rise_of_the_score_does_so_in_two_dimensions():
    model, examples = pictured(), beats()
    names = ["integrated-gradients", "deeplift", "lrp-epsilon", "lrp-alpha-beta"]
    found = explain(model, examples, names, target="true", quiet=True)
    net, ink = model.module.net, _ink(model, examples)
    score, base = (net(each).detach().numpy()[np.arange(7), examples.labels] for each in (ink, torch.zeros_like(ink)))
    for name in names[:2]:
        np.testing.assert_allclose(found[name][:].sum(axis=(1, 2, 3)), score - base, rtol=0.02, atol=1e-3)
    for name in names[2:]:
        told = found[name][:].sum(axis=(1, 2, 3)) + found.note(name, "bias-share") * score
        np.testing.assert_allclose(told, score, rtol=1e-3, atol=5e-3)


def test_cam_of_a_picture_averages_to_the_logit_less_the_bias():
    model, examples = pictured(), beats()
    cells = explain(model, examples, ["cam"], target="all", quiet=True).native("cam")[:]
    _close(cells.mean(axis=(2, 3, 4)) + model.module.net.head.bias.detach().numpy(), model.logits(examples))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seconds": 0.1}, "sketched sees pictures; occlusion takes no seconds there, give it pixels"),
        ({"pixels": 0}, "pixels is 0; expected at least 1"),
    ],
)
def test_occlusion_in_seconds_is_for_signals_and_in_pixels_for_pictures(options, said):
    with pytest.raises(EcglensError, match=said):
        explain(pictured(), beats(), ["occlusion"], options={"occlusion": options}, quiet=True)
    with pytest.raises(EcglensError, match="net takes signals; occlusion takes no pixels there, give it seconds"):
        maps(gap(), signals(), "occlusion", options={"pixels": 3})


def test_regions_of_a_picture_are_refused_where_boxes_are_needed():
    regions = Regions(("P",), ("lead 1",), np.array([0]), np.zeros((7, 1), int), np.full((7, 1), 9))
    with pytest.raises(EcglensError, match="sketched draws pictures, whose maps have no samples; keep=Regions needs Boxes"):
        explain(pictured(), beats(), ["saliency"], keep=regions, quiet=True)


# ------------------------------------------------------------------------------------------------ the store


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of at most three examples, each a shard of its own."""
    monkeypatch.setattr(engine, "_SHARD_MB", 1e-5)
    monkeypatch.setattr(planning, "_LARGEST_BATCH", 3)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _boxes(n: int = 11, seed: int = 0) -> Boxes:
    sides = np.sort(np.random.default_rng(seed).uniform(size=(2, 2, n, 3)), axis=0)
    sides[:, 0, 0, 1] = 0.4  # no such box in the first example
    return Boxes(("first", "second", "gap"), sides[0, 0], sides[1, 0], sides[0, 1], sides[1, 1])


def _same(one: Attributions, other: Attributions) -> None:
    for name in THREE:
        np.testing.assert_array_equal(one._stacked(name).rows(np.arange(11)), other._stacked(name).rows(np.arange(11)))
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.target, other.target)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("kept", ["maps", "boxes"])
def test_a_store_that_lost_a_shard_is_gone_on_with_to_the_same_bytes(kept, tmp_path):
    told = {"keep": _boxes() if kept == "boxes" else None, "quiet": True, "target": "true"}
    in_memory = explain(pictured(), beats(11), THREE, **told)
    found = explain(pictured(), beats(11), THREE, out=tmp_path / "out", **told)
    _same(found, in_memory)
    whole = _bytes(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "shard-00001")
    with pytest.raises(EcglensError, match="is not complete: 1 of 3 shards are missing"):
        read_attributions(tmp_path / "out")
    _same(explain(pictured(), beats(11), THREE, out=tmp_path / "out", **told), in_memory)
    assert _bytes(tmp_path / "out") == whole
    for k in range(2):
        explain(pictured(), beats(11), THREE, out=tmp_path / f"part-{k}", part=(k, 2), **told)
    merge([tmp_path / "part-0", tmp_path / "part-1"], tmp_path / "merged")
    assert _bytes(tmp_path / "merged") == whole


def test_other_spans_are_other_data(tmp_path):
    explain(pictured(), beats(), ["saliency"], out=tmp_path, quiet=True)
    moved = beats()
    moved.table["valid_stop"] -= 1
    with pytest.raises(EcglensError, match=r"made otherwise \(data differ"):
        explain(pictured(), moved, ["saliency"], out=tmp_path, quiet=True)


def test_half_precision_keeps_the_shapes_of_pictures():
    whole, half = (explain(pictured(), beats(), THREE, kept=kept, quiet=True) for kept in ("float32", "float16"))
    for name in THREE:
        cells = whole.native(name)[:].astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(half.native(name)[:], cells)
        assert half[name].shape == (7, 1, ROWS, COLUMNS)


def test_a_plan_from_before_there_were_pictures_is_read_and_gone_on_with(tmp_path):
    import json

    explain(gap(), signals(), ["grad-cam"], out=tmp_path, quiet=True)
    plan = json.loads((tmp_path / "plan.json").read_text())
    (length,) = plan.pop("shape")
    (tmp_path / "plan.json").write_text(json.dumps(plan | {"length": length}))
    assert read_plan(tmp_path)["shape"] == [24]
    assert read_attributions(tmp_path)["grad-cam"].shape == (5, 1, 24)
    shutil.rmtree(tmp_path / "shard-00000")
    again = explain(gap(), signals(), ["grad-cam"], out=tmp_path, quiet=True)
    np.testing.assert_array_equal(again["grad-cam"][:], explain(gap(), signals(), ["grad-cam"], quiet=True)["grad-cam"][:])


# ------------------------------------------------------------------------------------------------ boxes


def _slow_sums(values: np.ndarray, boxes: Boxes) -> np.ndarray:
    """Sums of maps (example, row, column) in boxes, cell by cell, the whole map last."""
    n, rows, columns = values.shape
    out = np.zeros((n, len(boxes.names) + 1))
    for k in range(n):
        for number in range(len(boxes.names)):
            for row in range(rows):
                high = min((row + 1) / rows, boxes.bottom[k, number]) - max(row / rows, boxes.top[k, number])
                for column in range(columns):
                    wide = min((column + 1) / columns, boxes.right[k, number])
                    wide -= max(column / columns, boxes.left[k, number])
                    out[k, number] += values[k, row, column] * max(high, 0) * rows * max(wide, 0) * columns
        out[k, -1] = values[k].sum()
    return out


@pytest.mark.parametrize("target", ["true", "all"])
@pytest.mark.parametrize("drawn", [True, False])
def test_mass_kept_in_boxes_is_that_of_the_whole_maps(target, drawn, tmp_path):
    examples, boxes = beats(11), _boxes()
    model = pictured() if drawn else replace(
        gap(), classes=examples.classes, leads=examples.leads, fs=360.0, length=LENGTH
    )  # fmt: skip
    rows = np.array([8, 0, 3, 3, 10])
    told: dict[str, Any] = {"target": target, "rows": rows, "quiet": True}
    whole = explain(model, examples, THREE, **told)
    found = explain(model, examples, THREE, keep=boxes, kept="float16", out=tmp_path, **told)
    assert (found.plan["shape"], found.plan["boxes"]) == (None, ["first", "second", "gap"])
    for name in THREE:
        full = np.asarray(whole[name])
        full = full.reshape(5, -1, *full.shape[-2:])  # (example, class or 1, row, column)
        full = full if drawn or target == "all" else np.asarray(whole[name])[:, None]
        for part, sign in zip(found.mass(name), (1, -1), strict=True):
            assert part.dtype == np.float32
            assert part.shape == (5, *((3,) if target == "all" else ()), 4)
            for label in range(3 if target == "all" else 1):
                wanted = _slow_sums((sign * full[:, label]).clip(min=0), boxes.take(rows))
                one = part[:, label] if target == "all" else part
                np.testing.assert_allclose(one, wanted, rtol=1e-4, atol=1e-5)
        assert found.mass(name)[0].max() > 0
    assert (found.mass("saliency")[1] > 0).any()
    for take in (lambda: found["saliency"], lambda: found.native("saliency")):
        with pytest.raises(EcglensError, match=r"only the mass in boxes was kept; take mass\(method\)"):
            take()
    with pytest.raises(EcglensError, match="no mass in boxes was kept"):
        whole.mass("saliency")


def test_boxes_of_other_examples_are_refused_and_other_boxes_are_another_question(tmp_path):
    with pytest.raises(EcglensError, match="another number of examples; expected those of all 7 of the data"):
        explain(pictured(), beats(), THREE, keep=_boxes(11), quiet=True)
    explain(pictured(), beats(11), THREE, keep=_boxes(), out=tmp_path, quiet=True)
    with pytest.raises(EcglensError, match="made otherwise"):
        explain(pictured(), beats(11), THREE, keep=_boxes(seed=1), out=tmp_path, quiet=True)


def test_a_uniform_map_has_its_share_of_area_in_each_box():
    boxes = _boxes()
    positive, negative = explain(pictured(), beats(11), ["uniform"], keep=boxes, quiet=True).mass("uniform")
    area = (boxes.bottom - boxes.top) * (boxes.right - boxes.left)
    np.testing.assert_allclose(positive[:, :-1] / positive[:, -1:], area, atol=1e-6)
    assert (negative == 0).all()
