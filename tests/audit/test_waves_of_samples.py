"""Checks that look at a few beats ask for their waves among all beats: the others tell whether there is a P wave."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from audit.beats_made import made_beats
from ecglens.analysis.waves import wave_regions
from ecglens.audit import clusters, faithful, wave_focus, wave_occlusion
from ecglens.audit.subject import Subject
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions
from made import tiny


@pytest.mark.parametrize(
    ("module", "check"),
    [
        (wave_focus, wave_focus.wave_table),
        (wave_occlusion, wave_occlusion.wave_occlusion),
        (clusters, clusters.clusters),
        (faithful, faithful.faithfulness),
    ],
)
def test_waves_of_a_sample_are_asked_for_among_all(module: ModuleType, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = made_beats(120)
    asked: list[np.ndarray] = []

    def kept(whole: Examples, source: Any = None, rows: Any = None) -> Regions:
        assert whole is examples
        asked.append(rows)
        return wave_regions(whole, source, rows)

    monkeypatch.setattr(module, "wave_regions", kept)
    check(Subject("net", tiny(examples), examples, method="saliency"))
    assert len(asked) == 1
    assert asked[0] is not None
