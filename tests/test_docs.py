"""The code in docs/own-model.md runs as it stands."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parent.parent / "docs" / "own-model.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)


def test_a_reader_gets_from_the_page_to_class_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ecglens: Callable) -> None:
    model, own_python, pictured = blocks("python")
    (tmp_path / "mymodel.py").write_text(model, encoding="utf-8")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 2, 430)).astype(np.float32))
    done = ecglens(
        "explain", "--model", f"{tmp_path / 'mymodel.py'}:build", "--data", tmp_path / "x.npy", "--methods",
        "saliency,grad-cam", "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "grad-cam" in page
    assert (tmp_path / "run" / "tables" / "profiles-saliency.csv").is_file()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mymodel", raising=False)
    said: dict[str, object] = {}
    exec(own_python, said)
    maps = said["maps"]
    assert maps["grad-cam"][:5].shape == (5, 1, 430)
    assert maps.native("grad-cam").shape == (20, 1, 215)
    exec(pictured, said)
    assert said["drawn"].shape == (4, 1, 224, 224)


def test_the_commands_on_the_page_name_options_that_there_are(ecglens: Callable) -> None:
    options = set(re.findall(r"--[a-z-]+", " ".join(blocks("")))) | {"--simultaneous"}
    help_text = ecglens("explain", "--help").out
    assert options
    assert all(option in help_text for option in options)


def test_precision_explains_a_sample_and_says_how_large(tmp_path: Path, ecglens: Callable) -> None:
    (tmp_path / "mymodel.py").write_text(blocks("python")[0], encoding="utf-8")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(300, 2, 430)).astype(np.float32))
    words = [
        "explain", "--model", f"{tmp_path / 'mymodel.py'}:build", "--data", tmp_path / "x.npy", "--methods",
        "saliency,integrated-gradients", "--precision", "0.05", "--out", tmp_path / "run",
    ]  # fmt: skip
    done = ecglens(*words)
    assert done.code == 0, done.err
    assert "of 300 examples explained by integrated-gradients for a precision of 0.05" in done.err
    assert "examples were explained" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    for words_more, answer in ((["--target", "all"], "--target all"), (["--output", "probability"], "explains logits")):
        assert answer in ecglens(*words[:-1], tmp_path / words_more[1], *words_more).complaint
