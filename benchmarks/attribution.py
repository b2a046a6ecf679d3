"""Speed of the attribution engine: medians of ratios of two things measured in turn, in one run."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import nn

from ecglens.analysis.precision import profiles_to_precision
from ecglens.attribution import explain
from ecglens.attribution.folding import folded
from ecglens.attribution.passes import Pass, Shared, undisturbed
from ecglens.attribution.registry import Method, find_method
from ecglens.models import Classifier, create

_FOUR = ("saliency", "input-x-gradient", "grad-cam", "guided-grad-cam")


class Paired(NamedTuple):
    """base seconds / mine, round by round: the median, its lower and upper quartile; and the median seconds of each."""

    ratio: float
    low: float
    high: float
    base: float
    mine: float

    def __str__(self) -> str:
        return f"{self.ratio:.2f} ({self.low:.2f} to {self.high:.2f})"


def paired(repeats: int, base: Callable[[], object], mine: Callable[[], object], *, at_least_s: float = 12) -> Paired:
    """Both works in turn, each first in every other round, so that a machine that slows down or speeds up favours neither.

    At least `repeats` rounds and `at_least_s` seconds, after one round that does not count.
    """
    took: list[tuple[float, float]] = []
    begun = 0.0
    while len(took) < repeats + 1 or time.perf_counter() - begun < at_least_s:
        seconds = [0.0, 0.0]
        for which in (0, 1) if len(took) % 2 else (1, 0):
            started = time.perf_counter()
            (base, mine)[which]()
            seconds[which] = time.perf_counter() - started
        begun = begun or time.perf_counter()
        took.append((seconds[0], seconds[1]))
    each = np.array(took[1:])
    low, middle, high = np.quantile(each[:, 0] / each[:, 1], [0.25, 0.5, 0.75])
    return Paired(middle, low, high, *np.median(each, axis=0))


def resnet(n_leads: int, length: int, name: str = "resnet") -> Classifier:
    """Issue A's network, or another by name, with batch norms that have seen something."""
    torch.manual_seed(0)
    made = create(name, classes=list("AEjLNPRV"), leads=[f"lead {k}" for k in range(n_leads)], length=length, fs=360)
    for part in made.module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    made.module.requires_grad_(False).eval()
    return made


def gap_net(n_leads: int, length: int) -> Classifier:
    """The same size with a global mean and one linear layer, as CAM needs."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(n_leads, 32, 17, stride=2, padding=8), nn.ReLU(), nn.Conv1d(32, 64, 17, stride=2, padding=8), nn.ReLU(),
        nn.Conv1d(64, 64, 17, padding=8), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 8),
    )  # fmt: skip
    leads = [f"lead {k}" for k in range(n_leads)]
    return Classifier.wrap(net.eval(), classes=list("AEjLNPRV"), leads=leads, fs=360, length=length, cam_layer="5")


def four_methods(repeats: int, n_leads: int, length: int) -> None:
    """Four methods that share passes, beside captum's four one after the other."""
    from captum.attr import GuidedGradCam, InputXGradient, LayerGradCam, Saliency

    model = resnet(n_leads, length)
    module, x = model.module, torch.randn(64, n_leads, length)
    layer, target = module.get_submodule(str(model.cam_layer)), module(x).argmax(1)

    def captum() -> list[object]:
        probe = x.clone().requires_grad_()
        return [
            Saliency(module).attribute(probe, target, abs=False),
            InputXGradient(module).attribute(probe, target),
            LayerGradCam(module, layer).attribute(probe, target),
            GuidedGradCam(module, layer).attribute(probe, target),
        ]

    whole = folded(module, model.cam_layer, x[:2])  # done once for a data set

    def ours() -> list[object]:
        with undisturbed(module):
            batch = Pass.of(Shared(model, writes=False, folded=whole), x, None, target.numpy(), np.arange(len(x)))
            return [find_method(name)(batch) for name in _FOUR]

    for one, other in zip(ours(), captum(), strict=True):
        assert torch.allclose(one, other, atol=1e-5), "the two do not compute the same"  # type: ignore[arg-type]
    took = paired(repeats, captum, ours)
    print(f"4 methods, {n_leads} x {length}: {took} x captum's four "
          f"({64 / took.mine:.0f} against {64 / took.base:.0f} examples/s)")  # fmt: skip


def into_the_store(repeats: int) -> None:
    """Saliency of an array into a store on disk, beside autograd alone in the same batches."""
    model = resnet(2, 430)
    module, data = model.module, np.random.default_rng(0).normal(size=(16_384, 2, 430)).astype(np.float32)

    def bare() -> None:
        for first in range(0, len(data), 256):
            x = torch.from_numpy(data[first : first + 256]).requires_grad_()
            logits = module(x)
            torch.autograd.grad(logits.gather(1, logits.argmax(1, keepdim=True)).sum(), x)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            explain(model, data, ["saliency"], out=Path(folder) / "store", quiet=True)

    took = paired(repeats, bare, ours, at_least_s=60)
    print(f"saliency into the store: {took} of bare autograd.grad ({len(data) / took.mine:.0f} examples/s)")


def all_classes(repeats: int) -> None:
    """CAM of all classes, beside the bare forward pass."""
    model, x = gap_net(12, 1000), torch.randn(128, 12, 1000)
    nothing = np.zeros(len(x), np.int64)
    cam, shared = find_method("cam"), Shared(model, writes=False)  # as `explain` finds out

    def bare() -> None:
        with torch.no_grad():
            model.module(x)

    def ours() -> None:
        with undisturbed(model.module):
            batch = Pass.of(shared, x, None, nothing, np.arange(len(x)))
            for label in range(8):
                cam(batch.asking(nothing + label))

    took = paired(repeats, bare, ours, at_least_s=20)
    print(f"cam of 8 classes: {took} of the bare forward ({len(x) / took.mine:.0f} examples/s)")


def learned_mask(repeats: int, model: Classifier, steps: int) -> None:
    """The learned mask of 256 examples at once, beside bare forwards and backwards, and one example at a time."""
    module, x = model.module, torch.randn(256, len(model.leads), model.length)
    target = np.zeros(len(x), np.int64)
    whole = folded(module, model.cam_layer, x[:2])  # as `explain` does, once for a data set
    mask = find_method("deletion-mask", {"steps": steps, "starts": 1, "tolerance": 0.0})
    shared = Shared(model, writes=False, folded=whole)
    singles = [4 if steps > 50 else 16, max(1, min(steps, 20))]  # examples and steps of the slow way: it is linear in both
    single = find_method("deletion-mask", {"steps": singles[1], "starts": 1, "tolerance": 0.0})

    def bare() -> None:
        for _ in range(steps):
            probe = x.clone().requires_grad_()
            torch.autograd.grad(module(probe)[:, 0].sum(), probe)

    def ours(method: Method = mask) -> None:
        with undisturbed(module):
            batch = Pass.of(shared, x, None, target, np.arange(len(x)))
            batch.predicted(with_graph=False)  # as `explain` does
            method(batch)

    def one_at_a_time() -> None:
        with undisturbed(module):
            for row in range(singles[0]):
                single(Pass.of(shared, x[row : row + 1], None, target[:1], np.array([row])))

    took, slow = paired(repeats, bare, ours, at_least_s=30), paired(repeats, one_at_a_time, lambda: ours(single))
    print(f"learned mask, {model.name} {len(model.leads)} x {model.length}, 256 at once, {steps} steps: {took} of bare "
          f"forward + backward, {slow.ratio * len(x) / singles[0]:.1f} x one example at a time")  # fmt: skip


def lead_shapley(repeats: int) -> None:
    """Exact Shapley values of 12 leads, beside 4,096 bare forwards an example in batches of the same size."""
    model, x = resnet(12, 1000), torch.randn(1, 12, 1000)
    exact, batch_size, shared = find_method("lead-shapley"), 512, Shared(model, writes=False)  # as `explain` finds out
    some = torch.randn(batch_size, 12, 1000)

    def bare() -> None:
        with torch.no_grad():
            for _ in range(4096 // batch_size):
                model.module(some)

    def ours() -> None:
        with undisturbed(model.module):
            exact(Pass.of(shared, x, None, np.zeros(1, np.int64), np.arange(1)))

    took = paired(repeats, bare, ours, at_least_s=40)
    print(f"exact Shapley of 12 leads: {took} of the bare forward rate ({4096 / took.mine:.0f} forwards/s)")


def precision(repeats: int, run: Path, data: Path | None) -> None:
    """Passes saved by --precision 0.02 on all real beats, and how often what it says is right."""
    from ecglens.analysis.regions import region_means, segments_around_r
    from ecglens.examples.beats import BeatOptions, cut_beats
    from ecglens.examples.label_maps import label_map
    from ecglens.models import load
    from ecglens.recordings.databases import database, read_records
    from ecglens.recordings.places import find_database, records_present

    which = database("mitdb")
    folder = find_database(which, data)
    there, _ = records_present(which, folder)
    beats, _ = cut_beats(read_records(which, folder, there, [], swap_leads=True), label_map("jones"), BeatOptions(), [])
    maps = np.abs(explain(load(run), beats, ["saliency"])["saliency"][:])
    segments = segments_around_r(beats.column("r_index"), beats.places, beats.fs)
    values = region_means(maps / maps.max(axis=(1, 2), keepdims=True), segments)
    patients = beats.column("patient").astype(str)
    whole = np.stack([np.median(values[beats.labels == label], axis=0) for label in range(len(beats.classes))])
    for simultaneous in (False, True):
        passes, each, family = [], [], []
        for seed in range(repeats):
            found = profiles_to_precision(
                values.__getitem__, beats.labels, patients, beats.classes, precision=0.02, simultaneous=simultaneous, seed=seed
            )
            table = found.table
            truth = whole[[beats.classes.index(name) for name in table["class"]], table["region"]]
            inside = (truth >= table["low"] - 1e-9) & (truth <= table["high"] + 1e-9)
            near = (table["median"] - truth).abs() <= table["class"].map(found.tolerance) + 1e-9
            passes.append(len(found.rows))
            each.append((inside.mean(), near.mean()))
            family.append((inside.all(), near.all()))
        inside, near = np.mean(each, axis=0)
        print(
            f"--precision 0.02{' --simultaneous' if simultaneous else ''}: {len(values) / np.mean(passes):.1f} x fewer passes "
            f"({np.mean(passes):.0f} of {len(values)}), {repeats} repeats: interval right {inside:.3f}, within the precision "
            f"{near:.3f}; all regions of all classes together "
            f"{np.mean(family, axis=0)[0]:.2f} and {np.mean(family, axis=0)[1]:.2f}"
        )


def main() -> None:
    """Everything, or with --run RUN the precision on real beats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--run", type=Path, help="a trained jones2020 run: measures --precision on all beats of MIT-BIH")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--mask-steps", type=int, help="measure the learned mask alone, with so many steps")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # captum's remarks on hooks
    if asked.run is not None:
        precision(asked.repeats, asked.run, asked.data)
        return
    print(f"{torch.get_num_threads()} threads, medians (and quartiles) of at least {asked.repeats} interleaved repeats")
    if asked.mask_steps is not None:
        for model in (resnet(2, 430), resnet(1, 720, "ecgnet-cam")):
            learned_mask(asked.repeats, model, asked.mask_steps)
        return
    four_methods(asked.repeats, 2, 430)
    four_methods(asked.repeats, 12, 1000)
    into_the_store(asked.repeats)
    all_classes(asked.repeats)
    learned_mask(asked.repeats, resnet(2, 430), 5)
    learned_mask(asked.repeats, resnet(1, 720, "ecgnet-cam"), 5)
    lead_shapley(asked.repeats)


if __name__ == "__main__":
    main()
