"""A model of one's own from the command line: file to report, and every way to get it wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from ecglens.attribution import explain, read_attributions
from ecglens.runs import COMPLETE
from ecglens.studies import own

MODEL = """
import torch
from torch import nn
from ecglens.models import Classifier


class Net(nn.Module):
    def __init__(self, n_classes, n_leads):
        super().__init__()
        self.conv, self.active, self.head = nn.Conv1d(n_leads, 6, 9, stride=2), nn.ReLU(), nn.Linear(6, n_classes)

    def forward(self, x):
        return self.head(self.active(self.conv(x)).mean(dim=2))


def small():
    torch.manual_seed(0)
    return Classifier.wrap(Net(3, 2), classes=list("abc"), leads=["I", "II"], fs=100, length=60, cam_layer="active")


def beats():
    torch.manual_seed(0)
    return Classifier.wrap(
        Net(8, 2), classes=list("AEjLNPRV"), leads=["MLII", "V1"], fs=360, length=200, scale="offset", cam_layer="active"
    )


def probabilities():
    net = nn.Sequential(Net(3, 2), nn.Softmax(1))
    return Classifier.wrap(net, classes=list("abc"), leads=["I", "II"], fs=100, length=60)


def no_classifier():
    return Net(3, 2)


def fails():
    raise RuntimeError("weights are\\nin the other room")


def needs_a_word(word):
    return small()


def wrong_layer():
    return Classifier.wrap(Net(3, 2), classes=list("abc"), leads=["I", "II"], fs=100, length=60, cam_layer="conv9")


def leaves():
    raise SystemExit(0)


answer = 42
"""
FAST = ("saliency", "grad-cam", "cam", "guided-grad-cam", "deeplift", "lrp-epsilon", "occlusion", "random")


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "my_model.py"
    path.write_text(MODEL, encoding="utf-8")
    return path


@pytest.fixture
def array_file(tmp_path: Path) -> Path:
    path = tmp_path / "signals.npy"
    np.save(path, np.random.default_rng(0).normal(size=(12, 2, 60)).astype(np.float32))
    return path


@pytest.fixture
def run_explain(ecglens: Callable, model_file: Path, array_file: Path, tmp_path: Path) -> Callable:
    """`ecglens explain` of small() on the array; any word can be changed, None leaves an option out."""

    def call(**changed: object) -> object:
        told = {"model": f"{model_file}:small", "data": array_file, "methods": "saliency", "out": tmp_path / "run"} | changed
        words = [word for name, value in told.items() if value is not None for word in (f"--{name.replace('_', '-')}", value)]
        return ecglens("explain", *words)

    return call


def _headings(page: str) -> list[str]:
    return [re.sub(r"^\d+\. ", "", each) for each in re.findall(r"<h2[^>]*>(.*?)</h2>", page, re.S)]


# ------------------------------------------------------------------------------------------------ from file to report


def test_a_model_and_an_array_make_maps_tables_and_a_page(run_explain: Callable, tmp_path: Path, array_file: Path) -> None:
    done = run_explain(methods=",".join(FAST))
    assert (done.code, done.out) == (0, f"{tmp_path / 'run' / 'report.html'}\n"), done.err
    run = tmp_path / "run"
    about = json.loads((run / "run.json").read_text())
    assert about["status"] == COMPLETE
    maps = read_attributions(run / "attributions")
    assert maps.methods == FAST
    assert maps["saliency"].shape == (12, 2, 60)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert _headings(page) == ["The model and its methods", *FAST]
    for words in ("research only", "GIVEN ECGs", "signals.npy", "Net"):
        assert words in page, words
    assert not re.search(r"""(src|href)=["']https?://""", page)
    for method in FAST:
        assert (run / "tables" / f"profiles-{method}.csv").is_file()
    assert len(pd.read_csv(run / "tables" / "preflight.csv")) >= 24
    counts = pd.read_csv(run / "tables" / "predicted.csv")
    assert counts["predicted"].tolist() == np.bincount(maps.predicted, minlength=3).tolist()
    assert not list(run.rglob("*.part"))


def test_the_maps_of_the_command_are_those_of_the_function(
    run_explain: Callable, tmp_path: Path, model_file: Path, array_file: Path
) -> None:
    assert run_explain(methods="saliency,random", target="b", output="probability", seed=3).code == 0
    found = read_attributions(tmp_path / "run" / "attributions")
    told = {"target": "b", "output": "probability", "seed": 3, "quiet": True}
    wanted = explain(own.load_model(f"{model_file}:small", None), np.load(array_file), ["saliency", "random"], **told)
    for method in wanted.methods:
        np.testing.assert_array_equal(found[method][:], wanted[method][:])


def test_the_profile_of_a_method_is_relative_to_each_examples_mean(run_explain: Callable, tmp_path: Path) -> None:
    assert run_explain(methods="uniform,magnitude").code == 0
    table = pd.read_csv(tmp_path / "run" / "tables" / "profiles-uniform.csv", keep_default_na=False, na_values=[""])
    np.testing.assert_allclose(table["median"].dropna(), 1)
    assert not np.allclose(pd.read_csv(tmp_path / "run" / "tables" / "profiles-magnitude.csv")["median"].dropna(), 1)


def test_weights_are_loaded_over_those_of_the_function(run_explain: Callable, tmp_path: Path, model_file: Path) -> None:
    plain = own.load_model(f"{model_file}:small", None)
    weights = {name: torch.full_like(value, 0.01) for name, value in plain.module.state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    assert run_explain(weights=tmp_path / "weights.safetensors", target="a").code == 0
    loaded = own.load_model(f"{model_file}:small", tmp_path / "weights.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in loaded.module.state_dict().items())
    found = read_attributions(tmp_path / "run" / "attributions")["saliency"][:]
    assert not np.array_equal(
        found, explain(plain, np.load(tmp_path / "signals.npy"), ["saliency"], target="a", quiet=True)["saliency"][:]
    )


def test_beats_of_a_database_are_cut_labelled_and_explained(
    run_explain: Callable, tmp_path: Path, model_file: Path, tiny_data: Path
) -> None:
    done = run_explain(model=f"{model_file}:beats", data=tiny_data, methods="saliency,mean-activation", target="true")
    assert done.code == 0, done.err
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "REAL ECGs" in page
    assert "MLII, V1 are fed the records" in page
    maps = read_attributions(tmp_path / "run" / "attributions")
    assert set(np.array(list("AEjLNPRV"))[maps.target]) == set("ALNRV")
    assert maps["saliency"].shape[1:] == (2, 200)
    assert _headings(page) == ["The model and its methods", "saliency", "mean-activation"]


def test_a_run_folder_is_a_model_too(ecglens: Callable, stages: dict[str, Path], tiny_data: Path, tmp_path: Path) -> None:
    done = ecglens("explain", "--model", stages["training"], "--data", tiny_data, "--out", tmp_path / "run")
    assert done.code == 0 or "leads" in done.complaint or "length" in done.complaint


def test_all_classes_are_kept_though_no_class_map_is_drawn(run_explain: Callable, tmp_path: Path) -> None:
    assert run_explain(methods="saliency,grad-cam++", target="all").code == 0
    assert read_attributions(tmp_path / "run" / "attributions")["saliency"].shape == (12, 3, 2, 60)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert _headings(page)[1:] == ["saliency", "grad-cam++"]


def test_a_method_of_captum_gets_a_section(run_explain: Callable, tmp_path: Path) -> None:
    done = run_explain(methods="captum:FeatureAblation")
    assert done.code == 0, done.err
    assert _headings((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))[1:] == ["captum:FeatureAblation"]


def test_a_method_asked_for_twice_has_one_section(run_explain: Callable, tmp_path: Path) -> None:
    assert run_explain(methods="saliency, saliency ,").code == 0
    assert _headings((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))[1:] == ["saliency"]


def test_microvolts_are_remarked_on(run_explain: Callable, tmp_path: Path, array_file: Path) -> None:
    np.save(array_file, np.load(array_file) * 1000)
    done = run_explain()
    assert "are these microvolts" in done.err
    assert "are these microvolts" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_what_the_model_supports_is_said_and_why_not_the_rest(run_explain: Callable, model_file: Path) -> None:
    model_file.write_text(MODEL.replace("nn.ReLU()", "nn.GELU()"), encoding="utf-8")
    done = run_explain()
    assert done.code == 0
    assert "Net: CAM reads active" in done.err
    assert re.search(r"not guided-backprop: guided backpropagation is defined for ReLU; Net uses gelu in active", done.err)


# ------------------------------------------------------------------------------------------------ again


def test_a_complete_run_is_not_done_again_and_overwrite_does_it_anew(
    run_explain: Callable, tmp_path: Path, ecglens: Callable
) -> None:
    assert run_explain().code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert "holds this run already, complete" in run_explain().complaint
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before
    assert "another run" in run_explain(methods="grad-cam").complaint
    assert "another run" in run_explain(target="a").complaint
    words = ["--model", f"{tmp_path / 'my_model.py'}:small", "--data", tmp_path / "signals.npy", "--out", tmp_path / "run"]
    assert ecglens("explain", *words, "--methods", "grad-cam", "--overwrite").code == 0
    assert read_attributions(tmp_path / "run" / "attributions").methods == ("grad-cam",)


def test_what_a_complete_run_advises_can_be_done(run_explain: Callable, tmp_path: Path, ecglens: Callable) -> None:
    run_explain()
    said = run_explain().complaint
    page = tmp_path / "run" / "report.html"
    before = page.read_bytes()
    if "ecglens report" in said:
        page.unlink()
        assert ecglens("report", tmp_path / "run").code == 0
        assert page.read_bytes() == before


def test_other_weights_are_another_run(run_explain: Callable, tmp_path: Path, model_file: Path) -> None:
    assert run_explain().code == 0
    weights = own.load_model(f"{model_file}:small", None).module.state_dict()
    save_file({name: value * 2 for name, value in weights.items()}, tmp_path / "weights.safetensors")
    assert "another run" in run_explain(weights=tmp_path / "weights.safetensors").complaint


def test_an_interrupted_run_goes_on_and_ends_as_an_unbroken_one(
    run_explain: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_explain(out=tmp_path / "whole", methods="saliency,occlusion").code == 0

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write = own._write
    monkeypatch.setattr(own, "_write", stopped)
    assert run_explain(methods="saliency,occlusion").code == 130
    assert not (tmp_path / "run" / "report.html").exists()
    monkeypatch.setattr(own, "_write", write)
    assert run_explain(methods="saliency,occlusion").code == 0
    for name in ("report.html", "tables/profiles-saliency.csv", "attributions/shard-00000/occlusion.npy"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# ------------------------------------------------------------------------------------------------ bad input


BAD = {
    "no file": ({"model": "nowhere.py:small"}, "there is no file nowhere.py"),
    "no function named": ({"model": "{model}"}, "expected a run folder, or FILE.py:FUNCTION"),
    "an empty function": ({"model": "{model}:"}, "AttributeError"),
    "a function that is not there": ({"model": "{model}:smal"}, "has no attribute 'smal'"),
    "not a function": ({"model": "{model}:answer"}, "TypeError: 'int' object is not callable"),
    "no Classifier": ({"model": "{model}:no_classifier"}, r"no_classifier\(\) in .* returned a Net; expected .*wrap"),
    "code that fails": ({"model": "{model}:fails"}, "RuntimeError: weights are in the other room"),
    "code that wants more": ({"model": "{model}:needs_a_word"}, "missing 1 required positional argument"),
    "a layer that is not there": ({"model": "{model}:wrong_layer"}, "Net has no layer 'conv9'"),
    "probabilities": ({"model": "{model}:probabilities"}, "probabilities, not logits"),
    "an empty run folder": ({"model": "{empty}"}, r"holds no model\.json"),
    "a folder that is not there": ({"model": "nowhere"}, "expected a run folder"),
    "no weights": ({"weights": "nothing.safetensors"}, r"--weights: there is no file nothing\.safetensors"),
    "no safetensors": ({"weights": "{text}"}, "is not a safetensors file"),
    "weights of another model": ({"weights": "{other}"}, "does not fit Net"),
    "no data": ({"data": "nothing.npy"}, r"there is no file nothing\.npy"),
    "no array": ({"data": "{text}"}, "is not a numpy array file"),
    "a pickle": ({"data": "{pickled}"}, "is not a numpy array file"),
    "words": ({"data": "{words}"}, "expected numbers"),
    "two dimensions": ({"data": "{flat}"}, "the array has shape"),
    "no dimension": ({"data": "{scalar}"}, "the array has shape|numbers"),
    "another number of leads": ({"data": "{leads}"}, "three|3"),
    "another length": ({"data": "{short}"}, "59"),
    "no example": ({"data": "{none}"}, "no example"),
    "gaps in the first examples": ({"data": "{nan}"}, "NaN"),
    "a gap in the last example": ({"data": "{late}"}, "NaN"),
    "a folder without data": ({"data": "{empty}"}, "holds no"),
    "beats for other classes": ({"data": "{tiny}"}, "Net has classes a, b, c; beats can be labelled as jones: .*FILE.npy"),
    "an unknown method": ({"methods": "salience"}, "unknown method 'salience'; did you mean 'saliency'"),
    "an unknown method of captum": ({"methods": "captum:Nope"}, "captum has no method 'Nope'"),
    "no method": ({"methods": " , "}, "no method is asked for"),
    "a method that the data cannot have": ({"methods": "mean-activation"}, "give it examples, not an array"),
    "an unknown class": ({"target": "d"}, "unknown target or class 'd'"),
    "labels that are not there": ({"target": "true"}, "an array has none"),
    "an unknown output": ({"output": "logits"}, "unknown output 'logits'; did you mean 'logit'"),
    "too little memory": ({"memory": "0.0001"}, "do not hold two examples"),
    "a negative seed": ({"seed": "-1"}, "seed"),
}  # fmt: skip


@pytest.mark.parametrize(
    "what",
    BAD,
)
def test_bad_input_is_one_line_with_exit_code_two(
    run_explain: Callable, model_file: Path, tmp_path: Path, tiny_data: Path, what: str
) -> None:
    changed, said = BAD[what]
    good = np.zeros((5, 2, 60), np.float32) + np.random.default_rng(0).normal(size=(5, 2, 60)).astype(np.float32)
    arrays = {
        "flat": good[:, 0], "scalar": np.float32(3), "leads": np.repeat(good[:, :1], 3, axis=1), "short": good[:, :, :59],
        "none": good[:0], "nan": good * np.nan, "late": np.where(np.arange(5)[:, None, None] == 4, np.nan, good),
        "words": np.full((5, 2, 60), "a"),
    }  # fmt: skip
    places = {"model": model_file, "empty": tmp_path / "empty", "tiny": tiny_data, "text": tmp_path / "text.npy"}
    (tmp_path / "empty").mkdir()
    places["text"].write_text("no array")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    places["other"] = tmp_path / "other.safetensors"
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        places[name] = tmp_path / f"{name}.npy"
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], object), allow_pickle=True)
    places["pickled"] = tmp_path / "pickled.npy"
    done = run_explain(**{name: value.format(**places) for name, value in changed.items()})
    assert re.search(said, done.complaint), done.complaint
    assert not (tmp_path / "run" / "report.html").exists()


def test_code_that_leaves_does_not_pass_for_a_run_that_went_well(run_explain: Callable, model_file: Path) -> None:
    assert run_explain(model=f"{model_file}:leaves").code == 2


def test_code_with_a_mistake_in_it_is_one_line(run_explain: Callable, model_file: Path) -> None:
    model_file.write_text("def small(:\n")
    assert "SyntaxError" in run_explain().complaint
    model_file.write_text("import no_such_library\n")
    assert "No module named 'no_such_library'" in run_explain().complaint


def test_weights_beside_a_run_folder_are_not_passed_over_in_silence(
    ecglens: Callable, stages: dict[str, Path], tiny_data: Path, tmp_path: Path
) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "w.safetensors")
    done = ecglens(
        "explain", "--model", stages["training"], "--weights", tmp_path / "w.safetensors", "--data", tiny_data,
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert "weights" in done.complaint or "w.safetensors" in done.complaint


def test_a_pickle_of_weights_is_not_opened(run_explain: Callable, model_file: Path, tmp_path: Path) -> None:
    torch.save(own.load_model(f"{model_file}:small", None).module.state_dict(), tmp_path / "weights.pt")
    assert "is not a safetensors file" in run_explain(weights=tmp_path / "weights.pt").complaint
