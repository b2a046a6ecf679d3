"""A whole data set: who is asked about what, in which batches, and what is left after a kill."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ecglens.attribution import engine, explain, planning, read_attributions
from ecglens.attribution.store import read_plan
from ecglens.errors import EcglensError
from ecglens.examples.regions import Regions, region_means
from made import FEW, created, random_examples, tiny
from nets import LENGTH, Linear, Plain, classifier, gap, maps, seeded, signals

TARGET = np.array([0, 1, 2, 2, 1])


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of at most four examples, each a shard of its own."""
    monkeypatch.setattr(engine, "_SHARD_MB", 0.001)
    monkeypatch.setattr(planning, "_LARGEST_BATCH", 4)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ------------------------------------------------------------------------------------------------ targets


def test_each_way_to_name_a_target_asks_about_that_class():
    examples = random_examples(6, length=24)
    model = tiny(examples)
    by_class = [maps(model, examples, "saliency", [label] * 6) for label in range(3)]
    predicted = model.logits(examples).argmax(1)
    wanted = {
        "predicted": predicted,
        "true": examples.labels,
        "class 2": np.full(6, 1),
        "given": np.array([2, 0, 1, 1, 0, 2]),
    }
    for name, target in wanted.items():
        found = explain(model, examples, ["saliency"], target=target if name == "given" else name, quiet=True)
        np.testing.assert_array_equal(found.target, target)
        np.testing.assert_array_equal(found.predicted, predicted)
        for k, label in enumerate(target):
            np.testing.assert_allclose(found["saliency"][k], by_class[label][k], rtol=1e-5, atol=1e-7)


def test_all_classes_stand_behind_each_other_with_their_notes():
    model, x = gap(), signals()
    names = ["saliency", "grad-cam", "lrp-epsilon", "lead-shapley-sampled"]
    options = {"lead-shapley-sampled": {"orders": 2}}
    found = explain(model, x, names, target="all", options=options, quiet=True)
    assert found["saliency"].shape == (5, 3, 2, LENGTH)
    assert found["grad-cam"].shape == (5, 3, 1, LENGTH)
    assert found.native("grad-cam").shape == (5, 3, 1, 11)
    assert found.note("lrp-epsilon", "bias-share").shape == (5, 3)
    assert found.note("lead-shapley-sampled", "standard-error").shape == (5, 3, 2)
    assert (found.target == -1).all()
    for label in range(3):
        one = explain(model, x, names, target=model.classes[label], options=options, quiet=True)
        for name in names:
            np.testing.assert_allclose(found[name][:, label], one[name][:], rtol=1e-4, atol=1e-6)
        note = found.note("lrp-epsilon", "bias-share")[:, label]
        np.testing.assert_allclose(note, one.note("lrp-epsilon", "bias-share"), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("predicte", "unknown target or class 'predicte'; did you mean 'predicted'"),
        ("d", "choose from: predicted, true, all, a, b, c"),
        ("true", "target 'true' needs examples with labels"),
        (np.array([0, 1]), r"targets have shape \(2,\); expected a class index for each of 5 rows"),
        (np.array([0, 1, 2, 3, 0]), "expected a class index for each of 5 rows"),
        (np.array([0, 1, 2, -1, 0]), "expected a class index for each of 5 rows"),
    ],
    ids=str,
)
def test_a_target_that_does_not_fit_is_refused(target, said):
    with pytest.raises(EcglensError, match=said):
        explain(gap(), signals(), ["saliency"], target=target, quiet=True)


def test_a_true_label_is_that_of_the_row_asked_for():
    examples = random_examples(6, length=24)
    rows = np.array([5, 1, 1, 0])
    found = explain(tiny(examples), examples, ["uniform"], target="true", rows=rows, quiet=True)
    np.testing.assert_array_equal(found.target, examples.labels[rows])
    np.testing.assert_array_equal(found.rows, rows)


@pytest.mark.parametrize("rows", [[5], [-1], [], [0, 9]], ids=str)
def test_rows_that_are_not_there_are_refused(rows):
    with pytest.raises(EcglensError, match="rows must be some of 0 to 4"):
        explain(gap(), signals(), ["saliency"], rows=np.array(rows, np.int64), quiet=True)


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"methods": ["salience"]}, r"unknown method 'salience'; did you mean 'saliency'\?.*captum:NAME"),
        ({"methods": []}, "no method is asked for"),
        ({"output": "logits"}, "unknown output 'logits'; did you mean 'logit'"),
        ({"kept": "float64"}, "unknown precision 'float64'"),
        ({"options": {"saliency": {"steps": 3}}}, r"saliency has no option 'steps'.*it takes: none"),
        ({"methods": ["smoothgrad"], "options": {"smoothgrad": {"sample": 3}}}, "mean 'samples'.*takes: samples, noise"),
        ({"background": signals(4, leads=3)}, r"background has shape \(4, 3, 24\); expected \(example, 2 leads, 24 s"),
        ({"background": signals(4)[0]}, r"the background has shape \(2, 24\)"),
        ({"background": signals(0)}, "the background holds no example; expected one or more"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_words_that_are_not_known_are_refused_before_the_model_runs(told, said):
    calls = []

    class Spied(Plain):
        def forward(self, x):
            calls.append(len(x))
            return super().forward(x)

    told = {"methods": ["saliency"]} | told
    with pytest.raises(EcglensError, match=said):
        explain(classifier(seeded(Spied), "last_active"), signals(), quiet=True, **told)
    assert calls == []


def test_options_for_a_method_that_is_not_asked_for_are_not_passed_over_in_silence():
    with pytest.raises(EcglensError, match="smoothgrat"):
        explain(gap(), signals(), ["smoothgrad"], options={"smoothgrat": {"samples": 2}}, quiet=True)


@pytest.mark.parametrize("shape", [(5, 3, 24), (5, 2, 23), (5, 24), (2, 24)], ids=str)
def test_an_array_of_another_shape_is_refused(shape):
    with pytest.raises(EcglensError, match=r"net takes \(example, 2 leads, 24 samples\)"):
        explain(gap(), np.zeros(shape, np.float32), ["saliency"], quiet=True)


def test_no_example_at_all_is_refused():
    with pytest.raises(EcglensError, match="there is no example to explain"):
        explain(gap(), np.zeros((0, 2, 24), np.float32), ["saliency"], quiet=True)


def test_examples_of_another_kind_than_the_models_are_refused():
    with pytest.raises(EcglensError, match="sampling rate: model net expects 100 Hz"):
        explain(gap(), random_examples(4, length=24), ["saliency"], quiet=True)


def test_a_model_that_takes_rr_intervals_cannot_be_given_an_array():
    examples = random_examples(3)
    with pytest.raises(EcglensError, match="resnet-rr takes RR intervals"):
        explain(created("resnet-rr", examples), examples.signals, ["saliency"], quiet=True)


# ------------------------------------------------------------------------------------------------ scaling


class Shown(Linear):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[np.ndarray] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shown.append(x.detach().clone().numpy())
        return super().forward(x)


@pytest.mark.parametrize("scale", ["none", "offset", "lead", "joint"])
def test_examples_are_scaled_once_and_arrays_not_at_all(scale):
    examples = random_examples(5, length=LENGTH)
    model = classifier(
        seeded(Shown), scale=scale, classes=examples.classes, leads=examples.leads, fs=examples.fs, name="shown"
    )
    scaled = model.inputs(examples)[0].numpy()
    explain(model, examples, ["saliency"], quiet=True)
    np.testing.assert_array_equal(model.module.shown[-1], scaled)
    by_examples = explain(model, examples, ["input-x-gradient"], quiet=True)["input-x-gradient"][:]
    explain(model, scaled, ["saliency"], quiet=True)
    np.testing.assert_array_equal(model.module.shown[-1], scaled)
    np.testing.assert_array_equal(by_examples, explain(model, scaled, ["input-x-gradient"], quiet=True)["input-x-gradient"][:])


def test_a_background_of_examples_is_scaled_as_the_data_is():
    examples = random_examples(5, length=LENGTH)
    told = {"scale": "lead", "classes": examples.classes, "leads": examples.leads, "fs": examples.fs}
    model = classifier(seeded(Linear), **told)
    scaled = model.inputs(examples)[0].numpy()
    given_examples = maps(model, examples, "integrated-gradients", background=examples, options={"baseline": "mean"})
    given_arrays = maps(model, scaled, "integrated-gradients", background=scaled, options={"baseline": "mean"})
    np.testing.assert_array_equal(given_examples, given_arrays)


def test_whole_numbers_count_as_the_models_own_input_too():
    x = np.round(signals() * 100).astype(np.int16)
    np.testing.assert_array_equal(maps(gap(), x, "saliency"), maps(gap(), x.astype(np.float32), "saliency"))


def test_an_array_on_disk_is_read_as_one_in_memory(tmp_path):
    x = signals(9)
    np.save(tmp_path / "x.npy", x)
    found = maps(gap(), np.load(tmp_path / "x.npy", mmap_mode="r"), "saliency")
    np.testing.assert_array_equal(found, maps(gap(), x, "saliency"))


# ------------------------------------------------------------------------------------------------ batches


class Spy(Plain):
    """Never wants to see an example alone."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) >= 2, "a batch of one"
        self.sizes.append(len(x))
        return super().forward(x)


METHODS = ["saliency", "grad-cam", "guided-backprop", "integrated-gradients", "smoothgrad", "occlusion", "lrp-epsilon"]
QUICK = {"integrated-gradients": {"steps": 2, "most_steps": 2}, "smoothgrad": {"samples": 2}}


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 13])
@pytest.mark.usefixtures("small_steps")
def test_no_batch_is_of_one_example(n):
    model, x = classifier(seeded(Spy), "last_active"), signals(n)
    found = explain(model, x, METHODS, options=QUICK, quiet=True)
    assert len(found.rows) == len(found.target) == len(found["saliency"]) == n
    expected = explain(classifier(seeded(Plain), "last_active"), signals(13), METHODS, options=QUICK, quiet=True)
    for name in METHODS:
        np.testing.assert_allclose(found[name][:], expected[name][:n], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("target", ["predicted", "all", "b"])
def test_a_lone_example_is_explained_as_among_others(target):
    model, x = classifier(seeded(Spy), "last_active"), signals()
    alone = explain(model, x[:1], METHODS, target=target, options=QUICK, quiet=True)
    among = explain(model, x, METHODS, target=target, options=QUICK, quiet=True)
    for name in METHODS:
        np.testing.assert_allclose(alone[name][0], among[name][0], rtol=1e-4, atol=1e-6)
    assert alone.note("integrated-gradients", "completeness-error").shape == among.note(
        "integrated-gradients", "completeness-error"
    )[:1].shape  # fmt: skip


def test_steps_that_only_one_example_still_needs_do_not_show_it_to_the_model_alone():
    class Alone(nn.Module):
        def __init__(self):
            super().__init__()
            self.sizes = []

        def forward(self, x):
            self.sizes.append(len(x))
            bend = torch.relu(x[:, 0, 0] - 0.9)
            return torch.stack([bend, x.sum(dim=(1, 2))], dim=1)

    model = classifier(Alone(), classes=("a", "b"))
    x = signals(4)
    x[:, 0, 0] = 1.0
    maps(model, x, "integrated-gradients", [1, 1, 0, 1])
    assert min(model.module.sizes) >= 2


@FEW
@given(st.integers(1, 2000), st.integers(2, 256))
def test_batches_follow_each_other_fit_and_are_of_even_size(n, batch):
    bounds = planning.batch_bounds(n, batch)
    assert [first for first, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
    assert bounds[-1][1] == n
    sizes = [stop - first for first, stop in bounds]
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 2 or n == 1 or batch == 2  # then the engine shows the one twice


@pytest.mark.parametrize("memory_mb", [0.05, 1])
def test_maps_do_not_depend_on_the_size_of_batches_nor_on_the_order_of_rows(memory_mb, monkeypatch):
    sizes = []
    model = classifier(seeded(Spy), "last_active")
    x, background = signals(40), signals(6, seed=3)
    names = ["saliency", "smoothgrad", "expected-gradients", "lead-shapley-sampled", "random"]
    options = {"smoothgrad": {"samples": 3}, "expected-gradients": {"samples": 3}, "lead-shapley-sampled": {"orders": 2}}
    told = {"background": background, "options": options, "quiet": True}
    expected = explain(model, x, names, memory_mb=1024, **told)
    sizes, model.module.sizes = model.module.sizes, []
    order = np.random.default_rng(0).permutation(40)
    found = explain(model, x, names, memory_mb=memory_mb, rows=order, **told)
    if memory_mb < 0.1:
        assert max(model.module.sizes) < max(sizes)
    for name in names:
        np.testing.assert_allclose(found[name][:], expected[name][order], rtol=1e-4, atol=1e-5)
    other = explain(model, x, names, seed=1, **told)
    for name in ("smoothgrad", "expected-gradients", "random"):
        assert not np.allclose(other[name][:], expected[name][:])


def test_a_budget_that_does_not_hold_two_examples_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(EcglensError, match=r"0\.001 MB do not hold two examples: net takes about .* ask for at least \d+ MB"):
        explain(gap(), signals(), ["saliency"], memory_mb=0.001, out=tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_the_budget_that_is_asked_for_is_enough():
    for filters in (4, 400, 1600, 1700, 1800):
        model = classifier(seeded(lambda filters=filters: Plain(filters=filters)), "last_active")
        with pytest.raises(EcglensError) as caught:
            explain(model, signals(3), ["uniform"], memory_mb=0.001, quiet=True)
        wanted = float(str(caught.value).rsplit("at least ", 1)[1].removesuffix(" MB"))
        explain(model, signals(3), ["uniform"], memory_mb=wanted, quiet=True)


def test_nothing_of_a_call_is_left_behind():
    model, outputs = gap(), []
    for module in model.module.modules():  # an activation saves what it gives, which would hold itself
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _m, _args, out: outputs.append(weakref.ref(out)))
    explain(model, signals(), ["saliency"], quiet=True)
    gc.collect()
    assert outputs
    assert all(output() is None for output in outputs)


class Force(nn.Module):
    """A net whose answer is a gradient of its own."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Conv1d(2, 4, 5, padding=2), nn.Linear(2, 3)

    def forward(self, x):
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            (force,) = torch.autograd.grad(self.layer(x).tanh().square().sum(), x, create_graph=True)
        return self.head(force.mean(2))


def test_a_net_that_takes_a_gradient_on_its_way_is_explained():
    model, x = classifier(seeded(Force)), signals()
    found = explain(model, x, ["saliency"], target=TARGET, quiet=True)["saliency"][:]
    inputs = torch.tensor(x, requires_grad=True)
    model.module(inputs)[np.arange(5), TARGET].sum().backward()
    np.testing.assert_allclose(found, inputs.grad.numpy(), atol=1e-6)
    assert found.any()


def test_large_weights_do_not_make_batches_small():
    model = classifier(nn.Sequential(nn.Flatten(), nn.Linear(48, 40_000), nn.ReLU(), nn.Linear(40_000, 3)))
    sizes = []
    model.module.register_forward_pre_hook(lambda _m, args: sizes.append(len(args[0])))
    # 8 MB of weights; an example has half a MB of activations at most
    explain(model, signals(64), ["saliency"], memory_mb=128, quiet=True)
    assert sizes[-1] > 16


def test_a_recurrent_model_is_held_to_the_budget_too():
    examples = random_examples(40, length=200)
    model, sizes = created("jones-lstm", examples), []
    model.module.register_forward_pre_hook(lambda _m, args: sizes.append(len(args[0])))
    explain(model, examples, ["saliency"], memory_mb=20, quiet=True)
    assert 2 <= max(sizes) < 10


# ------------------------------------------------------------------------------------------------ regions


def _regions(n: int, seed: int = 0) -> Regions:
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 15, (n, 3))
    return Regions(("P", "QRS", "T"), ("I", "II", "II"), np.array([0, 1, 1]), start, start + rng.integers(0, 9, (n, 3)))


@pytest.mark.parametrize("target", ["predicted", "all"])
def test_kept_region_means_are_those_of_the_full_maps(target, tmp_path):
    model, x, regions = gap(), signals(9), _regions(9)
    names = ["saliency", "grad-cam", "lead-shapley"]
    rows = np.array([8, 0, 3, 3, 5])
    whole = explain(model, x, names, target=target, rows=rows, quiet=True)
    told = {"target": target, "rows": rows, "keep": regions, "quiet": True}
    for found in (explain(model, x, names, **told), explain(model, x, names, out=tmp_path, **told)):
        assert found.plan["shape"] is None
        for name in names:
            full = np.broadcast_to(whole[name][:], (5, *((3,) if target == "all" else ()), 2, LENGTH))
            wanted = (
                np.stack(
                    [region_means(np.ascontiguousarray(full[:, label]), regions.take(rows)) for label in range(3)], axis=1
                )
                if target == "all"
                else region_means(np.ascontiguousarray(full), regions.take(rows))
            )
            np.testing.assert_allclose(found[name][:].squeeze(-2), wanted, rtol=1e-4, atol=1e-6)
            assert np.isnan(wanted).any()


def test_half_precision_is_close_and_in_range():
    whole, half = (
        explain(gap(), signals(), ["saliency"], kept=kept, quiet=True)["saliency"][:] for kept in ("float32", "float16")
    )
    np.testing.assert_array_equal(half, whole.astype(np.float16).astype(np.float32))


def test_half_precision_does_not_turn_large_maps_into_infinity(tmp_path):
    model = classifier(seeded(Linear))
    with torch.no_grad():
        model.module.head.weight.mul_(1e7)
    try:
        found = explain(model, signals(), ["saliency"], kept="float16", out=tmp_path, quiet=True)["saliency"][:]
    except EcglensError:
        return
    assert np.isfinite(found).all()


# ------------------------------------------------------------------------------------------------ broken off and gone on


class Stops(Plain):
    """Is interrupted in its n-th forward pass with gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 10**9

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return super().forward(x)


_ASKED = {"methods": ["saliency", "smoothgrad", "integrated-gradients"], "options": QUICK, "quiet": True}


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("after", [2, 9, 17])
def test_an_interrupted_run_goes_on_to_the_same_bytes_even_with_another_budget(after, tmp_path, monkeypatch):
    x = signals(30)
    explain(classifier(seeded(Stops), "last_active"), x, out=tmp_path / "whole", **_ASKED)
    model = classifier(seeded(Stops), "last_active")
    model.module.left = after
    with pytest.raises(KeyboardInterrupt):
        explain(model, x, out=tmp_path / "broken", **_ASKED)
    there = sorted(path.name for path in (tmp_path / "broken").iterdir())
    whole = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert set(there) < set(whole)
    if after > 9:
        assert any(name.startswith("shard-") for name in there)
    with pytest.raises(EcglensError, match=r"is not complete: .* shards are missing; give the same command again"):
        read_attributions(tmp_path / "broken")
    model.module.left = 10**9
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "broken").rglob("*.npy")}
    monkeypatch.setattr(planning, "_LARGEST_BATCH", 3)  # as a smaller budget would
    found = explain(model, x, out=tmp_path / "broken", **_ASKED)
    assert _bytes(tmp_path / "broken") == _bytes(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in before} == before  # what was whole is not done again
    np.testing.assert_array_equal(found["saliency"][:], read_attributions(tmp_path / "whole")["saliency"][:])


@pytest.mark.usefixtures("small_steps")
def test_a_gone_on_run_cuts_as_the_first_one_did_whatever_the_budget(tmp_path, monkeypatch):
    x = signals(30)
    model = classifier(seeded(Stops), "last_active")
    model.module.left = 12
    with pytest.raises(KeyboardInterrupt):
        explain(model, x, out=tmp_path, **_ASKED)
    batches = read_plan(tmp_path)["batches"]
    sizes = []
    model.module.left = 10**9
    monkeypatch.setattr(planning, "_LARGEST_BATCH", 2)  # as a smaller budget would
    model.module.register_forward_pre_hook(lambda _m, args: sizes.append(len(args[0])) if args[0].requires_grad else None)
    explain(model, x, out=tmp_path, **_ASKED)
    assert read_plan(tmp_path)["batches"] == batches
    assert max(sizes[1:]) == max(stop - first for first, stop in batches) > 2


_CHILD = """
    import sys, time
    from pathlib import Path
    import numpy as np, torch
    sys.path[:0] = [{tests!r}]
    torch.set_num_threads(1)
    from ecglens.attribution import engine, explain, planning
    from nets import Plain, classifier, seeded, signals
    engine._SHARD_MB, planning._LARGEST_BATCH = 0.001, 4
    model = classifier(seeded(Plain), "last_active")
    if {slow}:
        model.module.register_forward_hook(lambda _m, _i, _o: time.sleep(0.02))
    explain(model, signals(60), ["saliency", "lead-shapley"], out=Path({out!r}), quiet=True)
"""


def _child(out: Path, *, slow: bool) -> subprocess.Popen:
    code = textwrap.dedent(_CHILD.format(tests=str(Path(__file__).parents[1]), out=str(out), slow=slow))
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_killed_process_leaves_whole_shards_and_the_next_one_goes_on_to_the_same_bytes(tmp_path):
    done = _child(tmp_path / "whole", slow=False)
    assert done.wait(120) == 0, done.stderr.read()
    victim = _child(tmp_path / "killed", slow=True)
    deadline = time.monotonic() + 100
    while not (tmp_path / "killed" / "shard-00002").is_dir() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(60)
    shards = {path.name for path in (tmp_path / "killed").glob("shard-*")}
    assert (
        {"shard-00000", "shard-00001", "shard-00002"} <= shards < {path.name for path in (tmp_path / "whole").glob("shard-*")}
    )
    for name in shards:
        assert _bytes(tmp_path / "killed" / name) == _bytes(tmp_path / "whole" / name)
    again = _child(tmp_path / "killed", slow=False)
    assert again.wait(120) == 0, again.stderr.read()
    found, wanted = _bytes(tmp_path / "killed"), _bytes(tmp_path / "whole")
    assert {name: found[name] for name in wanted} == wanted


def test_a_killed_process_leaves_no_rubbish_behind_when_gone_on(tmp_path):
    explain(gap(), signals(), ["saliency"], out=tmp_path, quiet=True)
    os.replace(tmp_path / "shard-00000", tmp_path / ".shard-00000.999999.part")
    explain(gap(), signals(), ["saliency"], out=tmp_path, quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "shard-00000"]


# ------------------------------------------------------------------------------------------------ what is said


def test_a_long_run_says_once_what_it_costs(capsys):
    engine.explain(gap(), signals(600), ["saliency", "guided-backprop"])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("explain 600 examples")]
    assert len(said) == 1
    assert "saliency, guided-backprop: 1 forwards and 2 backwards each" in said[0]
    engine.explain(gap(), signals(600), ["saliency"], quiet=True)
    assert "explain 600 examples by" not in capsys.readouterr().err


def test_maps_in_memory_and_on_disk_are_the_same(tmp_path):
    told = {"methods": ["saliency", "smoothgrad", "grad-cam"], "options": QUICK, "quiet": True, "target": "all"}
    in_memory, on_disk = explain(gap(), signals(), **told), explain(gap(), signals(), out=tmp_path, **told)
    for name in told["methods"]:
        np.testing.assert_array_equal(in_memory[name][:], on_disk[name][:])
    for field in ("rows", "target", "predicted"):
        np.testing.assert_array_equal(getattr(in_memory, field), getattr(on_disk, field))
    assert in_memory.folder is None


def test_a_method_asked_for_twice_is_computed_once():
    found = explain(gap(), signals(), ["saliency", "grad-cam", "saliency"], quiet=True)
    assert found.methods == ("saliency", "grad-cam")
