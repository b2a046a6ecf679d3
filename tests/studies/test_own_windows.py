"""`ecglens explain` of a model of one lead: windows of the study's classes, as many of them as the model knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecglens.examples.label_maps import label_map
from ecglens.examples.windows import WindowOptions, cut_windows
from ecglens.models import create
from ecglens.recordings.databases import database, read_records
from ecglens.studies.own_data import load_data

_MODEL = """
import torch
from torch import nn
from ecglens.models import Classifier

def build():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(1, 4, 9, stride=3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, {n}))
    return Classifier.wrap(net, classes={classes}, leads=["MLII"], fs={fs}, length={length}, cam_layer="1")
"""


def _explain(ecglens: Callable[..., Any], folder: Path, data: Path, classes: list[str], fs: float = 360.0, length: int = 720):
    file = folder / "mine.py"
    file.write_text(_MODEL.format(n=len(classes), classes=classes, fs=fs, length=length), encoding="utf-8")
    return ecglens("explain", "--model", f"{file}:build", "--data", data, "--methods", "cam", "--out", folder / "run")


def test_a_model_of_one_lead_is_asked_about_windows_of_the_classes_it_knows(ecglens, tiny_data, tmp_path) -> None:
    done = _explain(ecglens, tmp_path, tiny_data, ["PVC", "N"])
    assert done.code == 0, done.err
    table = pd.read_csv(tmp_path / "run" / "tables" / "predicted.csv")
    which = database("mitdb")
    recordings = read_records(which, tiny_data / "mitdb", ("100", "109", "118", "207"), [], swap_leads=False)
    windows, _ = cut_windows(recordings, label_map("vijayarangan"), WindowOptions(), [])
    wanted = np.isin(np.array(windows.classes)[windows.labels], ["PVC", "N"]).sum()
    assert table["predicted"].sum() == wanted
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "one lead: MLII where a record has it" in page
    assert f"{len(windows) - wanted} windows of other classes" in page


def test_windows_come_at_the_models_rate_and_length_in_the_models_order_of_classes(tiny_data) -> None:
    model = create("ecgnet-cam", classes=["RBBB", "PVC"], leads=["x"], length=180, fs=90.0)
    examples, _ = load_data(model, str(tiny_data))
    assert (examples.fs, examples.length, examples.classes, examples.leads) == (90.0, 180, ("RBBB", "PVC"), ("x",))
    symbols = examples.column("symbol")
    assert set(symbols[examples.labels == 0]) == {"R"}
    assert set(symbols[examples.labels == 1]) == {"V"}


def test_a_model_of_one_lead_with_classes_that_no_record_holds_is_told_so(ecglens, tiny_data, tmp_path) -> None:
    done = _explain(ecglens, tmp_path, tiny_data, ["SBR", "SVTA"])
    assert done.code == 2
    assert "holds no window of SBR, SVTA" in done.err


@pytest.mark.parametrize("classes", [["N", "V"], ["N", "PVC", "other"]])
def test_a_model_of_one_lead_with_other_classes_is_refused_with_those_that_can_be_had(
    ecglens, tiny_data, tmp_path, classes
) -> None:
    done = _explain(ecglens, tmp_path, tiny_data, classes)
    assert done.code == 2
    assert "beats can be labelled as" in done.err
    assert "Give your own examples as FILE.npy" in done.err
