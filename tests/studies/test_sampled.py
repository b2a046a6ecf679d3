"""Explaining to a precision: a store is read again only by the question that made it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ecglens.attribution import Attributions
from ecglens.errors import EcglensError
from ecglens.examples.regions import Regions
from ecglens.studies import sampled
from nets import gap, signals

N = 80


def ask(tmp_path: Path, model=None, x=None, **changed: object) -> Attributions:
    x = signals(N) if x is None else x
    rows, nothing = np.arange(N), np.zeros(N, np.int64)
    regions = Regions(("early", "late"), ("I", "I"), np.array([0, 0]), np.tile([0, 12], (N, 1)), np.tile([12, 24], (N, 1)))
    told = {
        "precision": 0.2,
        "simultaneous": False,
        "background": None,
        "seed": 0,
        "labels": nothing,
        "target": nothing,
    } | changed
    return sampled.explain_to_precision(
        model or gap(), x, "saliency", regions, told.pop("labels"), rows.astype(str), rows, told.pop("target"),
        out=tmp_path / "store", table=tmp_path / "precision.csv", **told,
    )  # fmt: skip


def test_a_store_that_is_there_is_read_and_nothing_is_explained_again(tmp_path, monkeypatch):
    first = ask(tmp_path)
    monkeypatch.setattr(sampled, "explain", lambda *_, **__: pytest.fail("explained again"))
    again = ask(tmp_path)
    np.testing.assert_array_equal(again["saliency"][:], first["saliency"][:])
    assert 64 <= len(again.rows) <= N


def test_the_store_of_another_model_is_refused(tmp_path):
    ask(tmp_path)
    other = gap()
    with torch.no_grad():
        next(other.module.parameters()).mul_(2)
    with pytest.raises(EcglensError, match=r"made otherwise \(model differ"):
        ask(tmp_path, other)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"x": signals(N, seed=5)}, "data"),
        ({"precision": 0.1}, "precision"),
        ({"simultaneous": True}, "simultaneous"),
        ({"seed": 3}, "seed"),
        ({"target": np.ones(N, np.int64)}, "of"),
        ({"background": signals(4, seed=1)}, "background"),
    ],
)
def test_the_store_of_another_question_is_refused_by_what_differs(tmp_path, changed, name):
    ask(tmp_path)
    with pytest.raises(EcglensError, match=rf"made otherwise \({name} differ"):
        ask(tmp_path, **changed)


def test_maps_are_those_of_explain_at_the_rows_that_were_drawn(tmp_path):
    from ecglens.attribution import explain

    found = ask(tmp_path)
    whole = explain(gap(), signals(N), ["saliency"], target=np.zeros(N, np.int64), quiet=True)["saliency"][:]
    np.testing.assert_allclose(found["saliency"][:], whole[found.rows], rtol=1e-5, atol=1e-7)
