"""Which diagnosis of a whole record belongs to which class: readable tables in `tables/`, several classes a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError, choose
from ecglens.examples.diagnosis_map import DiagnosisMap, plain_words, table_named
from ecglens.examples.nine_classes import nine_class_maps
from ecglens.recordings.challenge_header import cpsc_table

SINUS_RHYTHM = "426783006"


@dataclass(frozen=True)
class MultiHot:
    """Labels of records, and what was left out on the way.

    labels: bool (record, class); unknown, unscored: in how many records each label stood that nobody knows, or that belongs
    to no class; without: how many records have no class; unlikely: in how many each label was left out for its likelihood.
    """

    labels: NDArray[np.bool_]
    unknown: dict[str, int]
    unscored: dict[str, int]
    without: int
    unlikely: dict[str, int] = field(default_factory=dict)


def multi_hot(
    which: DiagnosisMap, diagnoses: Sequence[object], likelihoods: Sequence[Sequence[float]] | None = None
) -> MultiHot:
    """The classes of each record.

    diagnoses: for each record its codes or text labels: a list, a text with commas, a single number, or PTB-XL's scp_codes.
    Empty ones and NaN are passed over. likelihoods: of each record's labels in %, as in `Recording.likelihoods`; asked for
    only by a map that counts some of the labels alone (`above`), and taken from scp_codes where it is given those. Raises
    EcglensError where `diagnoses` is one text, or a map asks for likelihoods that are not there.
    """
    if isinstance(diagnoses, str):
        raise EcglensError(f"diagnoses is the text {diagnoses!r}; expected a list with an entry for each record")
    if likelihoods is not None and len(likelihoods) != len(diagnoses):
        raise EcglensError(f"likelihoods of {len(likelihoods)} records for {len(diagnoses)}; expected an entry for each")
    column = {name: index for index, name in enumerate(which.classes)}
    labels = np.zeros((len(diagnoses), len(column)), bool)
    unknown: Counter[str] = Counter()
    unscored: Counter[str] = Counter()
    unlikely: Counter[str] = Counter()
    for row, given in enumerate(diagnoses):
        said = dict.fromkeys(_labels(given))
        if which.above is not None:
            left_out = _left_out(
                given, () if likelihoods is None else likelihoods[row], which.above, f"{which.name}, entry {row}"
            )
            unlikely.update(left_out)
            said = {label: None for label in said if label not in left_out}
        codes = {label: which.code_of(label) for label in said}
        for label, code in codes.items():
            if code is None:
                unknown[label] += 1
            elif not which.codes[code]:
                unscored[f"{code} ({which.short[code]})" if code in which.short else code] += 1
            else:
                labels[row, column[which.codes[code]]] = True
        for name, needed in which.only.items():
            others = labels[row].sum() > labels[row, column[name]]
            labels[row, column[name]] = not others and set(needed) <= set(codes.values())
    without = int((~labels.any(1)).sum())
    return MultiHot(labels, dict(unknown.most_common()), dict(unscored.most_common()), without, dict(unlikely.most_common()))


def _left_out(given: object, likelihoods: Sequence[float], above: float, where: str) -> set[str]:
    """The labels of a record that are not likely enough to count, or have no likelihood (NaN)."""
    labels = _labels(given)
    if isinstance(given, Mapping):
        likelihoods = tuple(given.values())
    if len(labels) != len(likelihoods):
        raise EcglensError(
            f"{where}: {len(labels)} labels with {len(likelihoods)} likelihoods; expected one for each, as PTB-XL has them: "
            f"only labels above {above:g} % count here; give them, or choose another set of diagnoses"
        )
    return {label for label, likelihood in zip(labels, likelihoods, strict=True) if not likelihood > above}


def counts_side_by_side(
    maps: Sequence[DiagnosisMap], diagnoses: Sequence[object], likelihoods: Sequence[Sequence[float]] | None = None
) -> pd.DataFrame:
    """In how many records each class holds by each map: columns class, class name and one of each map; last row 'no class'.

    diagnoses, likelihoods: see `multi_hot`. Raises EcglensError where the maps have not the same classes in the same order.
    """
    for each in maps:
        if each.classes != maps[0].classes:
            raise EcglensError(
                f"{each.name} has the classes {', '.join(each.classes)}; expected those of {maps[0].name}, "
                f"{', '.join(maps[0].classes)}: only maps with the same classes can stand side by side"
            )
    if not maps:
        raise EcglensError("no set of diagnoses to count with; expected one or more")
    table = pd.DataFrame({"class": [*maps[0].classes, "no class"], "class name": [*maps[0].names.values(), ""]})
    for each in maps:
        found = multi_hot(each, diagnoses, likelihoods)
        table[each.name] = [*found.labels.sum(axis=0).tolist(), found.without]
    return table


def diagnosis_map(name: str) -> DiagnosisMap:
    """The map of that name; raises EcglensError with the known names otherwise."""
    return DIAGNOSIS_MAPS[choose(name, sorted(DIAGNOSIS_MAPS), "set of diagnoses")]


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


def _unambiguous(pairs: Iterable[tuple[str, str]], same: Mapping[str, str]) -> dict[str, str]:
    """Words to codes, without the words that could mean two; `same` gives equivalent codes one name."""
    meant: dict[str, dict[str, str]] = {}
    for word, code in pairs:
        meant.setdefault(plain_words(word), {}).setdefault(same.get(code, code), code)
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
            words | {plain_words(word): code for word, code in cpsc_pairs},
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
        {plain_words(row["word"]): row["code"] for row in rows},
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


def _all() -> dict[str, DiagnosisMap]:
    made = _challenge()
    others = (_cpsc(), _superclasses(), *nine_class_maps(made["challenge2020-from-cpsc"]))
    return made | {each.name: each for each in others}


DIAGNOSIS_MAPS = _all()
