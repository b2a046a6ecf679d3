"""A map from diagnoses to classes, and the package's tables that maps are read from."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import pandas as pd


@dataclass(frozen=True)
class DiagnosisMap:
    """Diagnoses to classes.

    codes gives for each code its class, "" for one that is known and belongs to none; names says what a class is, in the
    order of the classes; short gives the usual abbreviation of a class or code; words gives the code of a text label, in
    lower case, where only one can be meant; warnings say what the map merges or loses, for the report. above: only labels
    with a likelihood above this (%) count; None: all. only: a class that holds where no other does, and where all these codes
    stand. beside: more columns of the table, each with a text for a code.
    """

    name: str
    codes: dict[str, str]
    names: dict[str, str]
    short: dict[str, str]
    source: str
    warnings: tuple[str, ...]
    words: dict[str, str] = field(default_factory=dict)
    above: float | None = None
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    beside: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of their columns: SNOMED codes as text, PTB-XL's superclasses, or abbreviations."""
        return tuple(self.names)

    def code_of(self, label: str) -> str | None:
        """The code that a label stands for, as code, abbreviation or name; None where nobody knows, or more than one could."""
        return label if label in self.codes else self.words.get(plain_words(label))

    def table(self) -> pd.DataFrame:
        """The map as a table to read: code, abbreviation, class, what it is, what stands beside; no class last."""
        rows = [(code, self.short.get(code, ""), to, self.names.get(to, "not scored")) for code, to in self.codes.items()]
        rows.sort(key=lambda row: not row[2])
        table = pd.DataFrame(rows, columns=["code", "abbreviation", "class", "class name"])
        return table.assign(**{name: table["code"].map(texts).fillna("") for name, texts in self.beside.items()})


@cache
def table_named(name: str) -> tuple[dict[str, str], ...]:
    """The rows of a table of the package, as texts by column."""
    with files("ecglens.examples").joinpath(f"tables/{name}.csv").open(encoding="utf-8") as rows:
        return tuple(csv.DictReader(rows))


def plain_words(label: str) -> str:
    """A text label in lower case, with single spaces."""
    return " ".join(label.casefold().split())
