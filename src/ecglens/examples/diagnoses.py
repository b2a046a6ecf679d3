"""Which diagnosis of a whole record belongs to which class: readable tables in `tables/`, several classes a record."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.recordings.challenge_header import cpsc_table

SINUS_RHYTHM = "426783006"


@dataclass(frozen=True)
class DiagnosisMap:
    """Diagnoses to classes.

    codes gives for each code its class, "" for one that is known and belongs to none; names says what a class is, in the
    order of the classes; short gives the usual abbreviation of a class or code; words gives the code of a text label, in
    lower case, where only one can be meant; warnings say what the map merges or loses, for the report.
    """

    name: str
    codes: dict[str, str]
    names: dict[str, str]
    short: dict[str, str]
    source: str
    warnings: tuple[str, ...]
    words: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of their columns: SNOMED codes as text, or PTB-XL's superclasses."""
        return tuple(self.names)

    def code_of(self, label: str) -> str | None:
        """The code that a label stands for, as code, abbreviation or name; None where nobody knows, or more than one could."""
        return label if label in self.codes else self.words.get(_plain(label))

    def table(self) -> pd.DataFrame:
        """The map as a table to read: code, abbreviation, class, what the class is; codes of no class last."""
        rows = [(code, self.short.get(code, ""), to, self.names.get(to, "not scored")) for code, to in self.codes.items()]
        return pd.DataFrame(sorted(rows, key=lambda row: not row[2]), columns=["code", "abbreviation", "class", "class name"])


@dataclass(frozen=True)
class MultiHot:
    """Labels of records, and what was left out on the way.

    labels: bool (record, class); unknown, unscored: in how many records each label stood that nobody knows, or that belongs
    to no class; without: how many records have no class.
    """

    labels: NDArray[np.bool_]
    unknown: dict[str, int]
    unscored: dict[str, int]
    without: int


def multi_hot(which: DiagnosisMap, diagnoses: Sequence[object]) -> MultiHot:
    """The classes of each record.

    diagnoses: for each record its codes or text labels: a list, a text with commas, a single number, or PTB-XL's scp_codes
    (all its statements count, whatever their likelihood: leave out beforehand those that should not). Empty ones and NaN are
    passed over. Raises EcglensError where `diagnoses` is one text.
    """
    if isinstance(diagnoses, str):
        raise EcglensError(f"diagnoses is the text {diagnoses!r}; expected a list with an entry for each record")
    column = {name: index for index, name in enumerate(which.classes)}
    labels = np.zeros((len(diagnoses), len(column)), bool)
    unknown: Counter[str] = Counter()
    unscored: Counter[str] = Counter()
    for row, given in enumerate(diagnoses):
        for label in dict.fromkeys(_labels(given)):
            code = which.code_of(label)
            if code is None:
                unknown[label] += 1
            elif not which.codes[code]:
                unscored[f"{code} ({which.short[code]})" if code in which.short else code] += 1
            else:
                labels[row, column[which.codes[code]]] = True
    return MultiHot(labels, dict(unknown.most_common()), dict(unscored.most_common()), int((~labels.any(1)).sum()))


def diagnosis_map(name: str) -> DiagnosisMap:
    """The map of that name; raises EcglensError with the known names otherwise."""
    return DIAGNOSIS_MAPS[choose(name, sorted(DIAGNOSIS_MAPS), "set of diagnoses")]


@cache
def table_named(name: str) -> tuple[dict[str, str], ...]:
    """The rows of a table of the package, as texts by column."""
    with files("ecglens.examples").joinpath(f"tables/{name}.csv").open(encoding="utf-8") as rows:
        return tuple(csv.DictReader(rows))


def _labels(given: object) -> list[str]:
    if isinstance(given, str):
        given = given.split(",")
    if not isinstance(given, Iterable):
        given = [given]
    return [text for text in map(_text, given) if text]


def _text(label: object) -> str:
    if isinstance(label, (float, np.floating)):  # a column with gaps makes floats of whole numbers
        return "" if np.isnan(label) else f"{label:.0f}" if float(label).is_integer() else str(label)
    return "" if label is None else str(label).strip()


def _plain(label: str) -> str:
    return " ".join(label.casefold().split())


def _unambiguous(pairs: Iterable[tuple[str, str]], same: Mapping[str, str]) -> dict[str, str]:
    """Words to codes, without the words that could mean two; `same` gives equivalent codes one name."""
    meant: dict[str, dict[str, str]] = {}
    for word, code in pairs:
        meant.setdefault(_plain(word), {}).setdefault(same.get(code, code), code)
    return {word: next(iter(codes.values())) for word, codes in meant.items() if len(codes) == 1}


def _challenge() -> dict[str, DiagnosisMap]:
    scored, unscored, cpsc = table_named("challenge2020_scored"), table_named("challenge2020_unscored"), cpsc_table()
    known = (*scored, *unscored)
    to_class = {row["code"]: row["class"] for row in scored}
    codes = to_class | {row["code"]: "" for row in unscored}
    names = {row["code"]: row["name"] for row in scored if row["code"] == row["class"]}
    short = {row["code"]: row["abbreviation"] for row in known}
    pairs = [(row[key], row["code"]) for row in known for key in ("abbreviation", "name")]
    cpsc_pairs = [(row["word"], row["code"]) for row in cpsc]
    merged = (
        "CRBBB with RBBB, PAC with SVPB and PVC with VPB are one class each, as the Challenge scores them: a complete right "
        "bundle branch block is not told from one of unknown degree.",
        "The ventricular ectopics of CPSC2018 and PTB-XL have the code 164884008, which is not scored: the class PVC lacks "
        "them, and a record with nothing else has no class.",
        "A record without a scored diagnosis is negative for every class; whatever is answered for it, it earns nothing.",
        "Some diagnoses were named in few databases (LPR in PTB-XL alone): elsewhere a record without one counts as negative.",
    )
    text = (
        "The text 'PVC' as a header's label is CPSC2018's word and read as its code 164884008, not scored; in tables of "
        "labels it is not read, for the Challenge's abbreviation means 427172004."
    )
    source = "PhysioNet/CinC Challenge 2020, evaluation-2020: dx_mapping_scored.csv, dx_mapping_unscored.csv (BSD-2)"
    from_scp = {row["statement"]: to_class.get(row["code"], "") for row in table_named("scp")}
    words = _unambiguous(pairs + cpsc_pairs, to_class)
    made = (
        DiagnosisMap("challenge2020", codes, names, short, source, (*merged, text), words),
        DiagnosisMap(
            "challenge2020-from-cpsc",
            codes | {row["number"]: codes[row["code"]] for row in cpsc},
            names,
            short | {row["number"]: short[row["code"]] for row in cpsc},
            f"{source}; CPSC2018's numbers and words as the Challenge coded them",
            (*merged, "CPSC2018's PVC, STD and STE are of no scored class."),
            words | {_plain(word): code for word, code in cpsc_pairs},
        ),
        DiagnosisMap(
            "challenge2020-from-scp",
            from_scp,
            names,
            {code: name for code, name in short.items() if code in names},
            f"{source}; statements of PTB-XL as the Challenge coded them, partly inferred (tables/README.txt)",
            (
                *merged,
                "'normal ECG' (NORM) and 'sinus rhythm' (SR) are one class; a record without SR counts as sinus rhythm if "
                "NORM is said.",
                "T wave abnormal takes NDT, NT_, LOWT and TAB_, and supraventricular premature beats SVARR: inferred.",
                "Left and right axis deviation are of the column heart_axis, 'heart_axis=LAD' and the like among the labels: "
                "where it is empty, they count as absent. Abnormal ones (ALAD, ARAD) count as LAD and RAD: inferred.",
            ),
        ),
    )  # fmt: skip
    return {each.name: each for each in made}


def _cpsc() -> DiagnosisMap:
    rows = cpsc_table()
    short = {row["code"]: row["word"] for row in rows}
    codes = {row["code"]: row["code"] for row in rows}
    return DiagnosisMap(
        "cpsc2018",
        codes | {row["number"]: row["code"] for row in rows},
        {row["code"]: row["name"] for row in rows},
        short | {row["number"]: row["word"] for row in rows},
        "CPSC2018, REFERENCE.csv: numbers 1 to 9; codes as the Challenge 2020 gave them",
        (
            "RBBB and LBBB do not say whether the block is complete.",
            "PVC, STD and STE have no weight in the Challenge's score, so that these nine classes cannot be scored by it.",
        ),
        {_plain(row["word"]): row["code"] for row in rows},
    )


def _superclasses() -> DiagnosisMap:
    rows = table_named("scp")
    return DiagnosisMap(
        "ptbxl-superclasses",
        {row["statement"]: row["superclass"] for row in rows},
        {
            "NORM": "normal ECG",
            "MI": "myocardial infarction",
            "STTC": "ST or T change",
            "CD": "conduction disturbance",
            "HYP": "hypertrophy",
        },
        {},
        "PTB-XL 1.0.3, scp_statements.csv: diagnostic_class (CC BY 4.0)",
        (
            "Each superclass puts unlike statements together: CD bundle branch, fascicular and AV blocks and WPW; HYP the "
            "ventricles' hypertrophy and the atria's enlargement; MI also 'subendocardial injury'; STTC ischaemia, drugs, "
            "electrolytes and a long QT.",
            "Statements of form and rhythm have no superclass: a record with nothing else, such as AF alone or a pacemaker's, "
            "is negative for all five.",
        ),
    )


DIAGNOSIS_MAPS = _challenge() | {each.name: each for each in (_cpsc(), _superclasses())}
