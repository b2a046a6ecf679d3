"""Speed of the attribution engine: ratios of two things measured in one run, medians of interleaved repeats."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import nn

from ecglens.analysis.precision import profiles_to_precision
from ecglens.attribution import explain
from ecglens.attribution.folding import folded
from ecglens.attribution.passes import Pass, Shared, undisturbed
from ecglens.attribution.registry import find_method
from ecglens.models import Classifier, create

_FOUR = ("saliency", "input-x-gradient", "grad-cam", "guided-grad-cam")


def interleaved(repeats: int, **works: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each work, all done in turn, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for round_number in range(repeats + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in seconds.items()}


def resnet(n_leads: int, length: int) -> Classifier:
    """Issue A's network with batch norms that have seen something."""
    torch.manual_seed(0)
    made = create("resnet", classes=list("AEjLNPRV"), leads=[f"lead {k}" for k in range(n_leads)], length=length, fs=360)
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
    took = interleaved(repeats, ours=ours, captum=captum)
    print(f"4 methods, {n_leads} x {length}: {took['captum'] / took['ours']:.2f} x captum's four "
          f"({64 / took['ours']:.0f} against {64 / took['captum']:.0f} examples/s)")  # fmt: skip


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

    took = interleaved(repeats, ours=ours, bare=bare)
    print(f"saliency into the store: {took['bare'] / took['ours']:.2f} of bare autograd.grad "
          f"({len(data) / took['ours']:.0f} examples/s)")  # fmt: skip


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

    took = interleaved(repeats, ours=ours, bare=bare)
    print(f"cam of 8 classes: {took['bare'] / took['ours']:.2f} of the bare forward ({len(x) / took['ours']:.0f} examples/s)")


def learned_mask(repeats: int) -> None:
    """The learned mask of 256 examples at once, beside bare forwards and backwards, and one example at a time."""
    model, x, steps = resnet(2, 430), torch.randn(256, 2, 430), 5
    target = np.zeros(len(x), np.int64)
    mask = find_method("deletion-mask", {"steps": steps})

    def bare() -> None:
        for _ in range(steps):
            probe = x.clone().requires_grad_()
            torch.autograd.grad(model.module(probe)[:, 0].sum(), probe)

    def ours() -> None:
        with undisturbed(model.module):
            mask(Pass.of(Shared(model), x, None, target, np.arange(len(x))))

    def one_at_a_time() -> None:
        with undisturbed(model.module):
            for row in range(16):
                mask(Pass.of(Shared(model), x[row : row + 1], None, target[:1], np.array([row])))

    took = interleaved(repeats, ours=ours, bare=bare, one=one_at_a_time)
    print(f"learned mask, 256 at once: {took['bare'] / took['ours']:.2f} of bare forward + backward, "
          f"{(took['one'] / 16) / (took['ours'] / 256):.1f} x one example at a time")  # fmt: skip


def lead_shapley(repeats: int) -> None:
    """Exact Shapley values of 12 leads, beside 4,096 bare forwards an example in batches of the same size."""
    model, x = resnet(12, 1000), torch.randn(1, 12, 1000)
    exact, batch_size = find_method("lead-shapley"), 512
    some = torch.randn(batch_size, 12, 1000)

    def bare() -> None:
        with torch.no_grad():
            for _ in range(4096 // batch_size):
                model.module(some)

    def ours() -> None:
        with undisturbed(model.module):
            exact(Pass.of(Shared(model), x, None, np.zeros(1, np.int64), np.arange(1)))

    took = interleaved(repeats, ours=ours, bare=bare)
    rate, share = 4096 / took["ours"], took["bare"] / took["ours"]
    print(f"exact Shapley of 12 leads: {share:.2f} of the bare forward rate ({rate:.0f} forwards/s)")


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
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--run", type=Path, help="a trained jones2020 run: measures --precision on all beats of MIT-BIH")
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # captum's remarks on hooks
    if asked.run is not None:
        precision(asked.repeats, asked.run, asked.data)
        return
    print(f"{torch.get_num_threads()} threads, medians of {asked.repeats} interleaved repeats")
    four_methods(asked.repeats, 2, 430)
    four_methods(asked.repeats, 12, 1000)
    into_the_store(asked.repeats)
    all_classes(asked.repeats)
    learned_mask(asked.repeats)
    lead_shapley(min(asked.repeats, 7))


if __name__ == "__main__":
    main()
