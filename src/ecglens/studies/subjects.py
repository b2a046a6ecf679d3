"""From a run folder, or a user's own model, to something to audit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.runs import Run
from ecglens.studies import STUDIES
from ecglens.training.options import TrainOptions

Q = TypeVar("Q")


def subject_of_run(run: Run, data: Path | None) -> Subject:
    """A complete run of any study with its examples read again; raises EcglensError where it cannot be audited."""
    run.expect_complete()
    study = run.about["asked"]["study"]
    if study not in STUDIES or find_spec(STUDIES[study].module + "_subject") is None:
        raise EcglensError(f"{run.path} is a run of {study!r}, which cannot be audited; expected one of {', '.join(STUDIES)}")
    found: Subject = import_module(STUDIES[study].module + "_subject").subject(run, data)
    return replace(found, kind=run.about["data"]["kind"])


def subject_of_model(model: str, weights: Path | None, data: str | None, method: str, seed: int) -> Subject:
    """A user's model with a database that fits it; neither split nor training are known."""
    from ecglens.studies.own import load_model
    from ecglens.studies.own_data import load_data

    classifier = load_model(model, weights)
    examples, facts = load_data(classifier, data)
    if not isinstance(examples, Examples):
        raise EcglensError(
            f"--data {data}: an array has no patients, labels or R peaks, without which nothing can be audited; name a folder "
            "that holds a database"
        )
    return Subject(classifier.name, classifier, examples, method=method, kind=facts["kind"], seed=seed)


def question_of(run: Run, question: Callable[..., Q], recipe: Callable[..., Any]) -> Q:
    """What was asked of a run, from run.json; raises EcglensError where another version of ecglens wrote it."""
    asked = {name: value for name, value in run.about["asked"].items() if name != "study"}
    try:
        lacking = sorted(set(signature(recipe).parameters) - set(asked["recipe"]))
        if lacking:
            raise KeyError(f"no {', '.join(lacking)}")
        return question(**(asked | {"recipe": recipe(**asked["recipe"])}))
    except (TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:100]
        raise EcglensError(f"{run.path} was made by another version of ecglens ({reason}); run it anew") from None


@contextmanager
def scratch(run: Run) -> Iterator[Run]:
    """A folder that a study's `prepare` may write to, with what the run noted of its data, so that other files are refused."""
    with tempfile.TemporaryDirectory() as place:
        about = json.loads(json.dumps({"asked": run.about["asked"], "status": "audited", "data": run.about["data"]}))
        (Path(place) / "tables").mkdir()
        try:
            yield Run(Path(place), about)
        except EcglensError as error:
            if "was begun with other data" not in str(error):
                raise
            raise EcglensError(
                f"{run.path} was made from other data than these (or files have changed); name the folder it was made from by "
                "--data"
            ) from None


def chosen(options: TrainOptions) -> bool:
    """Whether a training chooses anything, an epoch or a rate, by its validation examples."""
    return options.keep == "best" or options.patience > 0 or options.schedule == "plateau" or options.stop == "f1-falls"


def metrics_of(run: Run) -> dict[str, Any]:
    """metrics.json of a run; raises EcglensError where it is missing or damaged."""
    try:
        found = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise EcglensError(f"{run.path} has no readable metrics.json; run it again to the end")
    return found
