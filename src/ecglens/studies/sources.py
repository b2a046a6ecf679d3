"""What a report reads from a run folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from ecglens.errors import EcglensError
from ecglens.report.html import Picture, picture
from ecglens.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_FOR_PATIENTS = "For research only: nothing here may be used to diagnose or treat a person."


class Sources:
    """Tables, metrics and what was asked, of one run folder; raises EcglensError where one is missing."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.asked: dict[str, Any] = run.about["asked"]
        self.recipe: dict[str, Any] = self.asked["recipe"]
        try:
            self.metrics: dict[str, Any] = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise EcglensError(f"{run.path} has no readable metrics.json; run it again to the end") from None

    def has(self, name: str) -> bool:
        """Whether the run has that table."""
        return (self.run.tables / f"{name}.csv").is_file()

    def table(self, name: str) -> pd.DataFrame:
        """A table of the run."""
        path = self.run.tables / f"{name}.csv"
        if not path.is_file():
            raise EcglensError(f"{path} is missing; run it again to the end")
        # a class may be called 'NA', never 'not a number'
        return pd.read_csv(path, keep_default_na=False, na_values=[""])

    @property
    def simulated(self) -> bool:
        """Whether the ECGs are of nobody."""
        return self.run.about["data"]["kind"] == "simulated"

    def picture(self, figure: Figure, name: str, caption: str) -> Picture:
        """The figure in figures/ and in the report; one of simulated ECGs says so itself, for it may travel alone."""
        if self.simulated:
            figure.text(0.995, 0.005, "SIMULATED ECGs", ha="right", va="bottom", fontsize=6, color="#a33b00")
        return picture(figure, name, caption, self.run.path / "figures")
