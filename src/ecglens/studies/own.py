"""Explain a model of your own: preflight, maps of the whole data set, class maps, one page."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.profiles import class_profiles
from ecglens.analysis.regions import region_means, segments_around_r
from ecglens.attribution import Attributions, explain
from ecglens.attribution.attributions import file_name
from ecglens.attribution.preflight import Preflight, preflight
from ecglens.attribution.registry import find_method
from ecglens.errors import EcglensError, choose
from ecglens.examples.examples import Examples, LeadPlace
from ecglens.examples.regions import Regions
from ecglens.files import sha256, write_table
from ecglens.models import Classifier, load
from ecglens.progress import say
from ecglens.report import figures
from ecglens.report.html import Section, picture, sheet, write_html
from ecglens.runs import Run, start_run
from ecglens.studies.own_data import load_data
from ecglens.studies.sampled import explain_to_precision, precision_text
from ecglens.studies.sources import NOT_FOR_PATIENTS


def explain_own(
    model: str, weights: Path | None, data: str | None, methods: list[str], target: str, output: str, out: Path, *,
    seed: int, memory_mb: float, overwrite: bool, precision: float | None = None, simultaneous: bool = False,
    kept: str = "float32",
) -> Run:  # fmt: skip
    """Everything from the user's words to the report; a store that is there is gone on with."""
    started = time.monotonic()
    methods = list(dict.fromkeys(methods))
    for name in methods:
        find_method(name)
    classifier = load_model(model, weights)
    given, facts = load_data(classifier, data)
    asked = {
        "study": "own", "model": model, "data": data, "methods": methods, "target": target, "output": output, "seed": seed,
        "precision": precision, "simultaneous": simultaneous, "kept": kept,
        "weights": None if weights is None else sha256(weights),
    }  # fmt: skip
    this = start_run(out, asked, overwrite=overwrite, redraws=False)
    this.note(data=facts)
    found = _check(classifier, given)
    background = _few(given, seed)
    if precision is None:
        maps = explain(
            classifier, given, methods, target=target, output=output, background=background, out=this.path / "attributions",
            memory_mb=memory_mb, seed=seed, kept=kept,
        )  # fmt: skip
        sections = [(maps, method, "") for method in methods]
    else:
        sections = _to_precision(classifier, given, methods, target, output, background, this, seed, precision, simultaneous)
    _write(classifier, given, sections, found, this)
    return this.completed(started)


def load_model(model: str, weights: Path | None) -> Classifier:
    """A run folder, or FILE.py:FUNCTION that returns a Classifier; weights are safetensors.

    FILE.py is the user's own and is run; nothing else is. Raises EcglensError for what does not fit, by name.
    """
    path, colon, function = model.rpartition(":")
    if not colon or not path.endswith(".py"):
        if Path(model).is_dir() and weights is not None:
            raise EcglensError(f"--weights {weights}: the run folder {model} has its own; leave --weights out")
        if Path(model).is_dir():
            return load(Path(model))
        raise EcglensError(
            f"--model {model}: expected a run folder, or FILE.py:FUNCTION where FUNCTION() returns a Classifier"
        )
    if not Path(path).is_file():
        raise EcglensError(f"--model {model}: there is no file {path}")
    spec = importlib.util.spec_from_file_location("ecglens_own_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ecglens_own_model"] = module
    try:
        spec.loader.exec_module(module)
        made = getattr(module, function)()
    except EcglensError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        reason = " ".join(str(error).split())[:200]
        raise EcglensError(f"--model {model}: {type(error).__name__}: {reason}") from None
    if not isinstance(made, Classifier):
        raise EcglensError(
            f"{function}() in {path} returned a {type(made).__name__}; expected ecglens.models.Classifier.wrap(...)"
        )
    if weights is not None:
        _load_weights(made, weights)
    return made


def _load_weights(classifier: Classifier, weights: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not weights.is_file():
        raise EcglensError(f"--weights: there is no file {weights}")
    try:
        classifier.module.load_state_dict(load_file(weights))
    except (SafetensorError, OSError) as error:
        raise EcglensError(f"{weights} is not a safetensors file ({' '.join(str(error).split())[:100]})") from None
    except RuntimeError as error:
        raise EcglensError(f"{weights} does not fit {classifier.name}: {' '.join(str(error).split())[:200]}") from None


def _few(given: Examples | NDArray[np.float32], seed: int, n: int = 64) -> Examples | NDArray[np.float32]:
    """Random examples that stand for 'nothing known' where a method compares."""
    rows = np.sort(np.random.default_rng([seed, 9]).permutation(len(given))[:n])
    return given.take(rows) if isinstance(given, Examples) else np.asarray(given[rows], np.float32)


def _check(classifier: Classifier, given: Examples | NDArray[np.float32]) -> Preflight:
    import torch

    rows = np.arange(min(4, len(given)))
    if isinstance(given, Examples):
        classifier.expect(given)
        x, *context = classifier.inputs(given.take(rows))
        found = preflight(classifier, x, context[0] if context else None, given.signals[:64])
    else:
        if given.ndim != 3:
            raise EcglensError(f"the array has shape {given.shape}; expected (example, lead, time)")
        found = preflight(classifier, torch.from_numpy(np.array(given[rows], np.float32)), None, np.asarray(given[:64]))
    say(f"{classifier.name}: CAM reads {found.cam_layer or 'no layer (cam_layer is not set)'}")
    say(f"methods it can have: {', '.join(found.supported)}")
    for name, reason in found.refused.items():
        say(f"not {name}: {reason}")
    for remark in found.remarks:
        say(f"LOOK: {remark}")
    return found


def _to_precision(
    classifier: Classifier, given: Examples | NDArray[np.float32], methods: list[str], target: str, output: str,
    background: Any, this: Run, seed: int, precision: float, simultaneous: bool,
) -> list[tuple[Attributions, str, str]]:  # fmt: skip
    """Each method by a sample of its own, as methods differ in how far their maps spread; with a sentence for the report."""
    if output != "logit":
        raise EcglensError("--precision explains logits; leave --output out")
    if target == "all":
        raise EcglensError("--precision needs one map for each example; --target all gives one for each class")
    rows = np.arange(len(given))
    predicted = explain(classifier, given, ["uniform"], quiet=True, keep=_no_region(len(given))).predicted
    labels = given.labels if isinstance(given, Examples) else predicted
    patients = given.column("patient").astype(str) if isinstance(given, Examples) else rows.astype(str)
    if target == "true" and not isinstance(given, Examples):
        raise EcglensError("target 'true' needs examples with labels; an array has none")
    asked = (
        predicted if target == "predicted" else labels if target == "true" else np.full(len(rows), _class(classifier, target))
    )
    segments = _segments(classifier, given, rows)
    out = []
    for method in methods:
        name = file_name(method)
        maps = explain_to_precision(
            classifier, given, method, segments, labels, patients, rows, asked, precision=precision,
            simultaneous=simultaneous, background=background, out=this.path / "attributions" / name,
            table=this.tables / f"precision-{name}.csv", seed=seed,
        )  # fmt: skip
        table = pd.read_csv(this.tables / f"precision-{name}.csv", keep_default_na=False, na_values=[""])
        out.append((maps, method, precision_text(table, len(rows))))
    return out


def _no_region(n: int) -> Regions:
    empty = np.zeros((n, 1), np.int64)
    return Regions(("nothing",), ("",), np.zeros(1, np.int64), empty, empty + 1)


def _class(classifier: Classifier, name: str) -> int:
    return classifier.classes.index(choose(name, list(classifier.classes), "class"))


def _segments(classifier: Classifier, given: Examples | NDArray[np.float32], rows: NDArray[np.int64]) -> Regions:
    """Segments of 0.1 s around R, or around the middle where R is not known."""
    if isinstance(given, Examples):
        part = given.take(rows)
        return segments_around_r(part.column("r_index"), part.places, part.fs)
    places = tuple(LeadPlace(name, row, 0, classifier.length) for row, name in enumerate(classifier.leads))
    return segments_around_r(np.full(len(rows), classifier.length // 2), places, classifier.fs)


def _write(
    classifier: Classifier, given: Examples | NDArray[np.float32], explained: list[tuple[Attributions, str, str]],
    found: Preflight, this: Run,
) -> None:  # fmt: skip
    """Tables, figures and report.html of class maps, one section a method."""
    known = isinstance(given, Examples)
    whose, middle = ("true", "R") if known else ("predicted", "the middle")
    kind = this.about["data"]["kind"]
    sections = [_summary(classifier, explained[0][0], found, this, whose)]
    for maps, method, said in explained:
        card, name = find_method(method).card, file_name(method).replace("+", "p")
        text = [f"{card.equation}. {card.source}.", f"It cannot show: {card.blind_to}.", *([said] if said else [])]
        pictures = []
        if maps.target[0] >= 0:  # else all classes were asked about
            table = _profiles(classifier, given, maps, method)
            write_table(this.tables / f"profiles-{name}.csv", table)
            figure = figures.class_maps(table, unit="size of map (1 = this example's mean)")
            if kind == "simulated":
                figure.text(0.995, 0.005, "SIMULATED ECGs", ha="right", va="bottom", fontsize=6, color="#a33b00")
            caption = f"Median over the examples of each {whose} class, in segments of 0.1 s counted from {middle}."
            pictures.append(picture(figure, f"class-maps-{name}", caption, this.path / "figures"))
        sections.append(Section(method, text, [], pictures))
    banner = f"{kind.upper()} ECGs: {this.about['data']['title']}. {NOT_FOR_PATIENTS}"
    ribbon = "SIMULATED ECGs: no person's heart" if kind == "simulated" else None
    facts = [("model", classifier.name), ("examples", str(len(given))), ("asked about", this.about["asked"]["target"])]
    write_html(this.path / "report.html", f"What {classifier.name} looks at", banner, facts, sections, ribbon=ribbon)


def _profiles(classifier: Classifier, given: Examples | NDArray[np.float32], maps: Attributions, method: str) -> pd.DataFrame:
    """Class profiles of one method; each example's values relative to the mean over its own segments."""
    segments = _segments(classifier, given, maps.rows)
    labels = given.labels[maps.rows] if isinstance(given, Examples) else maps.predicted
    values = region_means(_in_leads(maps[method][:], len(classifier.leads)), segments, magnitude=True)
    mean = np.nanmean(values, axis=1, keepdims=True)
    tested = np.ones(len(labels), bool)
    return class_profiles(values / np.where(mean > 0, mean, 1), segments, labels, maps.predicted, tested, classifier.classes)


def _in_leads(maps: NDArray[np.float32], n_leads: int) -> NDArray[np.float32]:
    """A map that does not tell leads apart counts for each."""
    return np.ascontiguousarray(np.broadcast_to(maps, (len(maps), n_leads, maps.shape[-1]))) if maps.shape[1] == 1 else maps


def _summary(classifier: Classifier, maps: Attributions, found: Preflight, this: Run, whose: str) -> Section:
    counts = np.bincount(maps.predicted, minlength=len(classifier.classes))
    table = pd.DataFrame({"class": classifier.classes, "predicted": counts})
    methods = pd.DataFrame(
        [{"method": name, "can be had": "yes", "why not": ""} for name in found.supported]
        + [{"method": name, "can be had": "no", "why not": reason} for name, reason in found.refused.items()]
    )
    write_table(this.tables / "preflight.csv", methods)
    write_table(this.tables / "predicted.csv", table)
    text = [
        f"Maps are of the class '{this.about['asked']['target']}' ({maps.plan['output']}).",
        *(f"About the data: {fact}." for fact in this.about["data"]["facts"]),
        *(f"LOOK: {remark}." for remark in found.remarks),
        f"Class maps below are of the {whose} classes.",
    ]
    sheets = [
        sheet(table, "predicted", "What the model says"),
        sheet(methods, "preflight", "Methods that this model supports, and why not the others"),
    ]
    return Section("The model and its methods", text, sheets)
