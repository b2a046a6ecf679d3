"""What a report reads from a run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd

from ecglens.errors import EcglensError
from ecglens.report.html import Picture, picture
from ecglens.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_FOR_PATIENTS = "For research only: nothing here may be used to diagnose or treat a person."


class Sources:
    """Tables, metrics and what was asked, of one run folder; raises EcglensError where one is missing or damaged."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.asked: dict[str, Any] = run.about["asked"]
        self.recipe: dict[str, Any] = self.asked["recipe"]
        try:
            self.metrics: dict[str, Any] = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.metrics = {}
        if not isinstance(self.metrics, dict) or not self.metrics:
            raise EcglensError(f"{run.path} has no readable metrics.json; run it again to the end")

    def has(self, name: str) -> bool:
        """Whether the run has that table."""
        return (self.run.tables / f"{name}.csv").is_file()

    def table(self, name: str) -> pd.DataFrame:
        """A table of the run."""
        path = self.run.tables / f"{name}.csv"
        if not path.is_file():
            raise EcglensError(f"{path} is missing; run it again to the end")
        try:
            # a class may be called 'NA', never 'not a number', and a code of digits is a name as well
            return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={"class": str, "code": str})
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
            raise EcglensError(f"{path} cannot be read ({reason}); run it again") from None

    @property
    def simulated(self) -> bool:
        """Whether the ECGs are of nobody."""
        return self.run.about["data"]["kind"] == "simulated"

    def picture(self, figure: Figure, name: str, caption: str) -> Picture:
        """The figure in figures/ and in the report; one of simulated ECGs says so itself, for it may travel alone."""
        if self.simulated:
            figure.text(0.995, 0.005, "SIMULATED ECGs", ha="right", va="bottom", fontsize=6, color="#a33b00")
        return picture(figure, name, caption, self.run.path / "figures")


def expect_runs(study: str, *runs: Run | None) -> None:
    """Raises EcglensError unless each run that is given is a whole one of the study."""
    for run in runs:
        if run is not None:
            run.expect_complete()
            if run.about["asked"]["study"] != study:
                raise EcglensError(f"{run.path} is a run of {run.about['asked']['study']}; expected one of {study}")


@contextmanager
def blamed(run: Run) -> Iterator[None]:
    """What cannot be read inside is said of `run`, as one EcglensError; of several, the innermost counts."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise EcglensError(f"{run.path} does not hold what its report needs ({reason}); run it again") from None
