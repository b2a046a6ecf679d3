"""Does a class hold what its name says? The source's own diagnoses of its examples, beside what the name means."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from ecglens.audit.finding import Finding, Measure, clear, found, not_run
from ecglens.audit.subject import Subject
from ecglens.examples.diagnosis_map import table_named

_FEW = 10  # records of a class, below which nothing is said
_ODD = 0.2  # share of a class whose source says something else
_MORE = 0.1  # by how much more of these than of all have it
_NAMED = 2  # diagnoses that are named


@dataclass(frozen=True)
class Meaning:
    """What a class name means, in words, and the diagnoses (PTB-XL's statements, SNOMED CT codes) that say it or its kin."""

    words: str
    said_by: frozenset[str]


@cache
def meanings() -> dict[str, Meaning]:
    """By class name: those of PTB-XL, CPSC2018 and the Challenge 2020 that mean one thing everywhere."""
    with files("ecglens.audit").joinpath("tables/class_meanings.csv").open(encoding="utf-8") as rows:
        return {row["class"]: Meaning(row["meaning"], frozenset(row["said by"].split())) for row in csv.DictReader(rows)}


def class_meanings(subject: Subject) -> list[Finding]:
    """Classes with records whose source calls them something else: at least a fifth of ten or more.

    Kin counts as the same (an incomplete block is a block, ischaemia is ST depression), so that only another thing is odd.
    """
    name, what = "labels.meaning", "Whether classes hold what their names say"
    examples = subject.examples
    if "diagnoses" not in examples.table:
        return [not_run(name, "recipe", what, "the examples do not say what their source called them")]
    known = [word for word in examples.classes if word in meanings()]
    if not known:
        return [not_run(name, "recipe", what, f"no class has a name whose meaning is known ({', '.join(meanings())})")]
    first = (~(examples.table["database"].astype(str) + "/" + examples.table["record"].astype(str)).duplicated()).to_numpy()
    said = [frozenset(text.split("; ")) - {""} for text in examples.column("diagnoses").astype(str)]
    out, largest, measured = [], (0.0, ""), 0
    for word in known:
        rows = np.flatnonzero(first & subject.truth[:, examples.classes.index(word)])
        rows = rows[[bool(said[row]) for row in rows]] if len(rows) else rows
        if len(rows) < _FEW:
            continue
        measured += 1
        odd = rows[[not said[row] & meanings()[word].said_by for row in rows]]
        largest = max(largest, (len(odd) / len(rows), word))
        if len(odd) >= _ODD * len(rows):
            out.append(_finding(subject, word, rows, odd, said))
    if out:
        return out
    words = "largest share of a class's records whose source says nothing of the kind"
    if not measured:
        return [not_run(name, "recipe", what, f"no class has {_FEW} records with a diagnosis")]
    told = f"Records of {measured} classes have a diagnosis that says what the class is."
    return [clear(name, "recipe", told, Measure(largest[0], words, where={"class": largest[1]} if largest[1] else {}))]


def _finding(
    subject: Subject, word: str, rows: NDArray[np.int64], odd: NDArray[np.int64], said: list[frozenset[str]]
) -> Finding:
    share = len(odd) / len(rows)
    instead = ", ".join(f"{_in_words(code)}: {n}" for code, n in _instead(odd, said)) or "this and that"
    return found(
        f"labels.meaning.{word}", "recipe", "high" if share >= 0.5 else "medium",
        f"{len(odd)} of {len(rows)} records of {word} ({meanings()[word].words}) have no diagnosis that says so. What they "
        f"have instead: {instead}. What the model learns as {word} is that too.",
        Measure(share, f"share of the records of {word} whose source says nothing of the kind", where={"class": word}),
        examples=subject.some_ids(odd),
        do="Read the map from diagnoses to classes, and give these records their own class or none.",
    )  # fmt: skip


def _instead(odd: NDArray[np.int64], said: list[frozenset[str]]) -> list[tuple[str, int]]:
    """The diagnoses that these records have more often than all have, by a tenth at least; what stands out most first."""
    here, everywhere = Counter(code for row in odd for code in said[row]), Counter(code for each in said for code in each)
    gain = {code: n / len(odd) - everywhere[code] / len(said) for code, n in here.items()}
    odd_ones = [code for code in sorted(gain, key=lambda code: -gain[code]) if gain[code] > _MORE]
    return [(code, here[code]) for code in odd_ones[:_NAMED]]


def _in_words(code: str) -> str:
    """A code with what the package's tables call it."""
    challenge = [(f"challenge2020_{part}", "code", "name") for part in ("scored", "unscored")]
    for table, key, text in (("scp", "statement", "description"), *challenge):
        for row in table_named(table):
            if row[key] == code:
                return f"{code} ({row[text]})"
    return code
