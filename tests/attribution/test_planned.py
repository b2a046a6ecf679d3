"""The passes that are announced are the passes that are made."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecglens.attribution import engine, explain, planning
from ecglens.attribution.passes import Pass, Shared, undisturbed
from ecglens.attribution.registry import find_method, methods
from nets import gap, signals

OPTIONS = {
    "smoothgrad": {"samples": 3}, "expected-gradients": {"samples": 4}, "deletion-mask": {"steps": 5},
    "lead-shapley-sampled": {"orders": 2}, "integrated-gradients": {"steps": 8, "most_steps": 8},
}  # fmt: skip


def counted(names: list[str], *, all_classes: bool = False) -> tuple[float, float]:
    model, x = gap(), torch.from_numpy(signals())
    shared, chosen = Shared(model, background=x), [find_method(name, OPTIONS.get(name)) for name in names]
    nothing = np.zeros(len(x), np.int64)
    with undisturbed(model.module):
        batch = Pass.of(shared, x, None, nothing, np.arange(len(x)))
        batch.predicted(with_graph=any(method.card.graph for method in chosen))
        asked = [batch.asking(nothing + label) for label in range(len(model.classes))] if all_classes else [batch]
        for one in asked:
            for method in chosen:
                if method.name != "mean-activation":
                    method(one)
    return shared.counter.forward / len(x), shared.counter.backward / len(x)


@pytest.mark.parametrize("name", sorted(set(methods()) - {"mean-activation"}))
def test_each_method_alone_takes_as_many_passes_as_announced(name):
    planned = planning.planned_passes([find_method(name, OPTIONS.get(name))], gap(), all_classes=False)
    assert counted([name]) == pytest.approx(planned[:2])
    assert planned[2] == (name == "integrated-gradients")


@pytest.mark.parametrize("all_classes", [False, True])
def test_methods_that_share_passes_are_announced_as_sharing_them(all_classes):
    names = ["saliency", "input-x-gradient", "grad-cam", "guided-grad-cam", "cam", "lead-shapley", "deeplift", "uniform"]
    planned = planning.planned_passes([find_method(name) for name in names], gap(), all_classes=all_classes)
    assert counted(names, all_classes=all_classes) == pytest.approx(planned[:2])


def test_the_cost_is_said_before_the_first_map(capsys, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine._Run, "batch", stop)
    with pytest.raises(KeyboardInterrupt):
        explain(gap(), signals(600), ["saliency", "occlusion"])
    assert "explain 600 examples by saliency, occlusion: " in capsys.readouterr().err
