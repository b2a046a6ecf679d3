"""What several sections of lin2020's report say: names of classes, scores with intervals."""

from __future__ import annotations

from ecglens.examples.diagnoses import diagnosis_map
from ecglens.recordings.databases import database
from ecglens.studies.lin2020_recipe import CLASS_SETS
from ecglens.studies.sources import Sources


def names_of(source: Sources) -> dict[str, str]:
    """Class to a word that a reader knows."""
    which = diagnosis_map(CLASS_SETS[source.asked["database"]][source.asked["classes"]])
    return {name: which.short.get(name, name) for name in which.classes}


def said(source: Sources, key: str) -> str:
    """A score of the test side with its interval."""
    value, low, high = (source.metrics.get(f"test.{key}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "not known"
    unit = "patients" if patients_named(source) else "records"
    return f"{value:.3f}" + ("" if low is None or high is None else f" (95 % over {unit} {low:.3f} to {high:.3f})")


def patients_named(source: Sources) -> bool:
    """Whether the database says whose records they are."""
    return database(source.asked["database"]).patients_named
