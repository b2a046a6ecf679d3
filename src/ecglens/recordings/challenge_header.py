"""What the comments of a PhysioNet/CinC Challenge header say: age, sex, labels."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ecglens.errors import EcglensError

OLDEST = 120
_ALSO = {"snr": "normal", "iavb": "i-avb"}  # other spellings of CPSC2018's words


@cache
def cpsc_table() -> tuple[dict[str, str], ...]:
    """CPSC2018's nine labels: number, word, SNOMED code as the Challenge gave it, the code's name."""
    with files("ecglens.recordings").joinpath("tables/cpsc2018.csv").open(encoding="utf-8") as rows:
        return tuple(csv.DictReader(rows))


@cache
def _cpsc_words() -> dict[str, str]:
    words = {row["word"].lower(): row["code"] for row in cpsc_table()}
    return words | {other: words[word] for other, word in _ALSO.items()}


@dataclass(frozen=True)
class Clinical:
    """Age in years, sex ('F' or 'M') and labels as a header has them; None and () where it does not say."""

    age: float | None
    sex: str | None
    diagnoses: tuple[str, ...]
    remarks: tuple[str, ...]


def clinical(comments: Sequence[str], record: str) -> Clinical:
    """Read '#Age: 74', '#Sex: Male', '#Dx: 59118001,164889003', with or without a space after the #, in any case.

    CPSC2018's words become SNOMED codes, with a remark; other text stays as found. No label is a remark. Raises EcglensError
    where there are two different ages or sexes.
    """
    said: dict[str, list[str]] = {}
    for comment in comments:
        name, _, value = comment.partition(":")
        said.setdefault(name.strip().lower(), []).append(value.strip())
    remarks: list[str] = []
    age, age_remark = read_age(_one(said.get("age", []), "ages", record))
    sex, sex_remark = read_sex(_one(said.get("sex", []), "sexes", record))
    remarks += [each for each in (age_remark, sex_remark) if each]
    labels = [word.strip() for value in said.get("dx", []) for word in value.split(",")]
    labels = [word for word in labels if word and word.lower() not in ("unknown", "nan")]
    codes = [_cpsc_words().get(word.lower(), word) for word in labels]
    mended = [f"'{word}' as {code}" for word, code in zip(labels, codes, strict=True) if word != code]
    if mended:
        remarks.append(f"label read from text: {', '.join(mended)}")
    unread = [code for code in codes if not re.fullmatch(r"\d{6,18}", code)]
    if unread:
        remarks.append(f"label that is no SNOMED code, kept as found: {', '.join(unread)}")
    if not labels:
        remarks.append("the header has no label")
    return Clinical(age, sex, tuple(dict.fromkeys(codes)), tuple(remarks))


def _one(values: list[str], what: str, record: str) -> str:
    different = list(dict.fromkeys(values))
    if len(different) > 1:
        raise EcglensError(
            f"{record}.hea gives {len(different)} {what}: {', '.join(different)}; expected one; mend the header"
        )
    return different[0] if different else ""


def read_age(text: str) -> tuple[float | None, str | None]:
    """(age, remark): none for '', 'NaN', 'Unknown' and -1; above 120, as PTB-XL's 300 for over 89, none with a remark."""
    word = text.strip().lower()
    if word in ("", "nan", "unknown", "-1", "-1.0", "n/a"):
        return None, None
    try:
        age = float(word)
    except ValueError:
        age = -1.0
    if age == 300:
        return None, "age above 89, hidden by the publisher as 300: taken as not known"
    if not 0 <= age <= OLDEST:
        return None, f"age {text!r} is not from 0 to {OLDEST}: taken as not known"
    return age, None


def read_sex(text: str) -> tuple[str | None, str | None]:
    """(sex, remark): 'F' or 'M' for female, male, F, M in any case; none for '', 'NaN' and 'Unknown'."""
    word = text.strip().lower()
    if word in ("", "nan", "unknown", "n/a"):
        return None, None
    if word in ("f", "female", "m", "male"):
        return word[0].upper(), None
    return None, f"sex {text!r} is neither female nor male: taken as not known"
