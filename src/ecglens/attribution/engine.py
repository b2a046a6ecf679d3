"""Explain a whole data set: plan, share, stream."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecglens.attribution.attributions import Attributions, file_name, read_attributions
from ecglens.attribution.folding import folded
from ecglens.attribution.identity import data_checksum, fingerprint, model_checksum, regions_told
from ecglens.attribution.passes import Pass, Shared, undisturbed
from ecglens.attribution.planning import batch_bounds, batch_size, planned_passes, timed_pass
from ecglens.attribution.preflight import check_layer, check_model, why_not
from ecglens.attribution.registry import Method, find_method
from ecglens.attribution.resizing import resized
from ecglens.attribution.rules import watch
from ecglens.attribution.source import Source, background_of, targets_of
from ecglens.attribution.store import Stacked, missing_shards, read_plan, shard_name, shard_written_whole, write_plan
from ecglens.errors import EcglensError, choose
from ecglens.examples.boxes import Boxes, signed_box_sums
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions, region_means
from ecglens.models.classifier import Classifier
from ecglens.models.device import moved, pick_device
from ecglens.progress import bar, say

_SHARD_MB = 64
_SHORT = 500  # passes that are not worth a word
_KEPT = {"float16": np.float16, "float32": np.float32}


def explain(
    classifier: Classifier,
    data: Examples | NDArray[np.floating[Any]],
    methods: Sequence[str],
    *,
    target: str | NDArray[np.int64] = "predicted",
    rows: NDArray[np.int64] | None = None,
    background: NDArray[np.floating[Any]] | Examples | None = None,
    output: str = "logit",
    options: dict[str, dict[str, Any]] | None = None,
    out: Path | None = None,
    keep: Regions | Boxes | None = None,
    kept: str = "float32",
    memory_mb: float = 1024,
    seed: int = 0,
    part: tuple[int, int] = (0, 1),
    quiet: bool = False,
) -> Attributions:
    """Maps of `data` by `methods`, all from as few passes as can be shared; on the GPU if there is one.

    data: Examples in mV, or an array (example, lead, time) that counts as the model's own input; maps of a classifier that
    draws are of its pictures (example, 1, row, column), made batch by batch. target: "predicted", "true" (Examples only),
    "all", the name of a class, or class indices (row,). rows: examples to explain, default all. background: stands for
    'nothing known' where a method needs it. options: by method. out: a store on disk, gone on with if it is there; without
    it maps stay in memory. keep: only the means of the maps over these Regions, or their positive and negative mass in these
    Boxes, float32 (of each example of the data). kept: "float32" or "float16". memory_mb: what batches may use. part: (k, n)
    explains every n-th shard from the k-th on, for several processes that share `out`. Raises EcglensError for a model,
    method, target or store that does not fit, by name. The module's mode and device are left as they were.
    """
    source = Source(classifier, data)
    rows = np.arange(len(source)) if rows is None else np.asarray(rows, np.int64)
    if not len(rows) or rows.min() < 0 or rows.max() >= len(source):
        raise EcglensError(f"rows must be some of 0 to {len(source) - 1}; found {len(rows)} rows")
    chosen = [find_method(name, (options or {}).get(name)) for name in dict.fromkeys(methods)]
    for name in options or {}:
        find_method(name)  # options of a method that is not asked for do no harm, those of none are a slip
    if not chosen:
        raise EcglensError("no method is asked for; 'ecglens methods' lists them")
    choose(output, ["logit", "probability"], "output")
    choose(kept, list(_KEPT), "precision")
    asked = targets_of(classifier, source, target, rows)
    if keep is not None and len(keep.start if isinstance(keep, Regions) else keep) != len(source):
        raise EcglensError(f"keep= has regions of another number of examples; expected those of all {len(source)} of the data")
    if classifier.draws and isinstance(keep, Regions):
        raise EcglensError(f"{classifier.name} draws pictures, whose maps have no samples; keep=Regions needs Boxes there")
    check_layer(classifier)
    with moved(classifier.module, pick_device()):
        model = classifier.behind_picture() if classifier.draws else classifier
        behind, behind_told = background_of(classifier, background)
        shared = Shared(model, output, behind, seed)
        probe_x, probe_context, probe = source.inputs(rows[np.minimum([0, 1], len(rows) - 1)])
        check_model(model, probe_x, probe_context)
        _expect_supported(chosen, shared, probe_x, probe_context)
        with undisturbed(model.module):
            inputs = (probe_x,) if probe_context is None else (probe_x, probe_context)
            shared.writes = _writes_into(model, *inputs)
            shared.folded = folded(model.module, model.cam_layer, *inputs)
            batch = batch_size(len(chosen), shared, probe_x, probe_context, probe, memory_mb)
        bounds = batch_bounds(len(rows), batch)
        plan = {
            "methods": {method.name: _plain(method.options) for method in chosen},
            "target": target if isinstance(target, str) else "given",
            "output": output,
            "kept": kept,
            "seed": seed,
            "n": len(rows),
            # of a map, behind its leads
            "shape": None if keep is not None else list(model.input_shape[1:]),
            "classes": list(classifier.classes),
            **regions_told(keep),
            "background": behind_told,
            "model": model_checksum(classifier),
            # read whole, so only where a store has to know its data again
            "data": None if out is None else data_checksum(data, source.spans()),
            "asked": hashlib.sha256(rows.tobytes() + (b"" if asked is None else asked.tobytes())).hexdigest()[:16],
        }
        run = _Run(chosen, shared, source, rows, asked, target, keep, kept)
        if out is None:
            return run.in_memory(plan, bounds, quiet)
        plan = _keep_bounds(out, plan, bounds, run, batch)
        todo = [number for number in missing_shards(out, plan) if number % part[1] == part[0]]
        run.to_disk(out, plan, todo, quiet)
        if missing_shards(out, plan):  # another process has the rest
            nothing = np.array([], np.int64)
            return Attributions(plan, rows, target=nothing, predicted=nothing, folder=out)
        return read_attributions(out)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options as the plan can hold them; data by their checksum."""
    out: dict[str, Any] = {}
    for name, value in options.items():
        is_data = isinstance(value, Regions | np.ndarray)
        out[name] = fingerprint(value) if is_data else value if isinstance(value, int | float | str | bool) else repr(value)
    return out


def _expect_supported(chosen: list[Method], shared: Shared, x: Tensor, context: Tensor | None) -> None:
    with undisturbed(shared.classifier.module):
        seen = watch(shared.classifier.module, *([x] if context is None else [x, context]))
        for method in chosen:
            if "background" in method.card.needs and shared.background is None:
                raise EcglensError(f"{method.name} needs a background: examples that stand for 'nothing known'")
            reason = why_not(method, shared.classifier, seen, x, context)
            if reason is not None:
                raise EcglensError(reason)


def _writes_into(classifier: Classifier, x: Tensor, *context: Tensor) -> bool:
    """Whether the model changes what it is given."""
    given = x.clone()
    with torch.no_grad():
        classifier.module(given, *context)
    return not torch.equal(given, x)


def _keep_bounds(out: Path, plan: dict[str, Any], bounds: list[tuple[int, int]], run: _Run, batch: int) -> dict[str, Any]:
    """The plan with batch and shard bounds, from the store if there is one: a resumed run must cut as the first one did."""
    if (out / "plan.json").is_file():
        there = read_plan(out)
        plan = plan | {"batches": there["batches"], "shards": there["shards"]}
    else:
        per_example = run.bytes_per_example()
        rows_each = max(int(_SHARD_MB * 2**20 / max(per_example, 1)), batch)
        shards, first = [], 0
        for number, (_, stop) in enumerate(bounds):
            if stop - bounds[first][0] >= rows_each or number == len(bounds) - 1:
                shards.append([bounds[first][0], stop])
                first = number + 1
        plan = plan | {"batches": [list(pair) for pair in bounds], "shards": shards}
    write_plan(out, plan)
    return plan


@dataclass
class _Run:
    """Everything a batch needs."""

    chosen: list[Method]
    shared: Shared
    source: Source
    rows: NDArray[np.int64]
    asked: NDArray[np.int64] | None
    target: Any
    keep: Regions | Boxes | None
    kept: str

    def bytes_per_example(self) -> float:
        """Of the store, about."""
        n_classes = len(self.shared.classifier.classes) if self.all_classes else 1
        if isinstance(self.keep, Boxes):
            size, cells = 4, 2 * (len(self.keep.names) + 1)
        else:
            size = np.dtype(_KEPT[self.kept]).itemsize
            cells = math.prod(self.shared.classifier.input_shape) if self.keep is None else len(self.keep.names)
        return n_classes * len(self.chosen) * size * cells

    @property
    def all_classes(self) -> bool:
        """Whether each class is asked about."""
        return isinstance(self.target, str) and self.target == "all"

    def batch(self, first: int, stop: int) -> dict[str, NDArray[Any]]:
        """All arrays of one batch by name; a lone example is explained twice, so that no batch is of one."""
        rows = self.rows[first:stop]
        padded = rows if len(rows) > 1 else np.repeat(rows, 2)
        x, context, part = self.source.inputs(padded)
        empty = np.zeros(len(padded), np.int64)
        batch = Pass.of(self.shared, x, context, empty, padded, part)
        predicted = batch.predicted(with_graph=any(method.card.graph for method in self.chosen))
        found: dict[str, NDArray[Any]] = {"rows": rows, "predicted": predicted[: len(rows)]}
        if self.all_classes:
            found["target"] = np.full(len(rows), -1)
            passes = [batch.asking(empty + label) for label in range(len(self.shared.classifier.classes))]
        else:
            target = predicted if self.asked is None else np.resize(self.asked[first:stop], len(padded))
            found["target"] = target[: len(rows)]
            passes = [batch.asking(target)]
        for method in self.chosen:
            maps = [self._map(method, each, padded)[: len(rows)] for each in passes]
            found[file_name(method.name)] = self._kept(method, np.stack(maps, axis=1) if self.all_classes else maps[0])
            for name in passes[0].notes:
                notes = [each.notes[name].cpu().numpy()[: len(rows)] for each in passes]
                found[file_name(f"{method.name}.{name}")] = np.stack(notes, axis=1) if self.all_classes else notes[0]
            for each in passes:
                each.notes.clear()
        return found

    def _map(self, method: Method, batch: Pass, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        maps = method(batch).detach().float().cpu().numpy()
        if not np.isfinite(maps).all():
            raise EcglensError(f"{method.name} of {batch.classifier.name} gave a map that holds NaN or infinity")
        if self.keep is None:
            return maps
        whole = resized(maps, batch.classifier.input_shape[1:])
        if isinstance(self.keep, Boxes):
            return np.stack(signed_box_sums(whole, self.keep.take(rows)), axis=1).astype(np.float32)
        whole = np.broadcast_to(whole, (len(whole), max(whole.shape[1], len(batch.classifier.leads)), whole.shape[2]))
        return region_means(np.ascontiguousarray(whole), self.keep.take(rows))[:, None]

    def _kept(self, method: Method, maps: NDArray[np.float32]) -> NDArray[Any]:
        if self.kept == "float32" or isinstance(self.keep, Boxes):
            return maps
        with np.errstate(over="ignore"):
            out = maps.astype(_KEPT[self.kept])
        if np.isinf(out).any():  # NaN is a region that an example does not have
            raise EcglensError(
                f"maps of {method.name} reach {np.nanmax(np.abs(maps)):.3g}, too large for {self.kept}; keep float32"
            )
        return out

    def announce(self, n: int) -> None:
        """Say, before the first pass, how many passes an example takes and about how long all take, from one timed batch."""
        forwards, backwards, more = planned_passes(self.chosen, self.shared.classifier, all_classes=self.all_classes)
        if n * (forwards + backwards) < _SHORT:
            return
        rows = self.rows[: min(len(self.rows), 32)]
        x, context, _ = self.source.inputs(np.resize(rows, max(len(rows), 2)))
        with undisturbed(self.shared.classifier.module):
            seconds = [timed_pass(self.shared, x, context, backward=backward) / len(x) for backward in (False, True)]
        about = n * (forwards * seconds[0] + backwards * max(seconds[1] - seconds[0], 0))
        say(
            f"explain {n} examples by {', '.join(method.name for method in self.chosen)}: {forwards:g} forwards and "
            f"{backwards:g} backwards each{' or more' if more else ''}, about {about:.0f} s in all"
        )

    def in_memory(self, plan: dict[str, Any], bounds: list[tuple[int, int]], quiet: bool) -> Attributions:
        """Explain everything and keep it."""
        parts: dict[str, list[NDArray[Any]]] = {}
        if not quiet:
            self.announce(len(self.rows))
        with undisturbed(self.shared.classifier.module), bar("explain", len(self.rows)) as progress:
            for first, stop in bounds:
                for name, array in self.batch(first, stop).items():
                    parts.setdefault(name, []).append(array)
                progress.step(stop - first)
        arrays = {name: Stacked([np.concatenate(each)]) for name, each in parts.items()}
        whole = {name: arrays.pop(name).rows(np.arange(len(self.rows))) for name in ("rows", "target", "predicted")}
        return Attributions(plan, **whole, folder=None, _arrays=arrays)

    def to_disk(self, out: Path, plan: dict[str, Any], todo: list[int], quiet: bool) -> None:
        """Explain the shards in `todo`, each whole or not at all."""
        for number in todo:  # what a killed process left of these shards
            for rubbish in out.glob(f".{shard_name(number)}.*.part"):
                shutil.rmtree(rubbish, ignore_errors=True)
        n_todo = sum(plan["shards"][number][1] - plan["shards"][number][0] for number in todo)
        if not quiet and n_todo:
            self.announce(n_todo)
        with undisturbed(self.shared.classifier.module), bar("explain", n_todo) as progress:
            for number in todo:
                begin, end = plan["shards"][number]
                with shard_written_whole(out, number, end - begin) as writer:
                    for first, stop in plan["batches"]:
                        if begin <= first and stop <= end:
                            for name, array in self.batch(first, stop).items():
                                writer.add(name, array)
                            progress.step(stop - first)
