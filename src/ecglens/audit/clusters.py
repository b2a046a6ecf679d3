"""Do the maps of a class fall into kinds, and is a kind one patient's, or that of a sign that no heart makes?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.clustering import FEWEST, Array, Kinds, equal_windows, kinds_of, map_profiles
from ecglens.analysis.waves import wave_regions
from ecglens.audit.confounders import claims
from ecglens.audit.finding import Answer, Finding, Measure, clear, found, not_run
from ecglens.audit.sanity import examples_for_maps, maps_of
from ecglens.audit.signs import SIGNS, Sign
from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples
from ecglens.examples.regions import Regions

Rows = NDArray[np.int64]
_MOST = 400  # examples
_FEW = 10  # of a kind, and of the rest of the class, below which no sign and no patient is named
_WINDOWS = 10  # of a lead, where there are no waves
_SHARED = 0.5  # of a kind, from which on it shares a sign
_ONE = 0.95  # of a kind that is one patient's
_NAME = "explanation.clusters"
_WHAT = "Whether the maps of a class fall into kinds"


@dataclass(frozen=True)
class _Shared:
    """A sign that a kind has and the rest has not: share of either, patients who have it in half of their examples or more."""

    sign: Sign
    share: float
    rest: float
    patients: int


@dataclass(frozen=True)
class _Kind:
    """A kind of a class's maps: rows in its middle, its largest patient and that one's share, the class's examples of other
    patients, shared signs, the row of the table.
    """

    rows: Rows
    patient: str
    of_patient: float
    of_others: int
    shared: list[_Shared]
    told: dict[str, object]


def clusters(subject: Subject) -> Answer:
    """Spectral clusters of each class's maps (`ecglens.analysis.clustering`), by their mass in each wave and lead.

    Maps speak for the class whose examples they are of. Medium: half of a kind has a sign that hearts do not make (mains,
    spike, clip, mark at the edge), in two patients or more, beyond 95 % of the rest of the class. Low: 95 % of a kind are one
    patient's, and the class has ten examples of others. Table "clusters": a row per kind; where waves cannot be found the maps
    are cut into ten windows a lead. Source: Lapuschkin 2019, spectral relevance analysis.
    """
    if why := _why_not(subject):
        return Answer([not_run(_NAME, "explanation", _WHAT, why)])
    rows = examples_for_maps(subject, _MOST)
    truth = subject.truth[rows]
    often = [k for k in range(truth.shape[1]) if truth[:, k].sum() >= FEWEST]
    if not often:
        why = f"no class has {FEWEST} examples among {len(rows)}; the largest has {int(truth.sum(0).max(initial=0))}"
        return Answer([not_run(_NAME, "explanation", _WHAT, why)])
    part = subject.examples.take(rows)
    regions, by = _where(subject.examples, rows)
    at, label = np.nonzero(truth[:, often])
    asked = part.take(at)
    maps = maps_of(subject, asked, np.array(often)[label])
    full = np.broadcast_to(maps, (len(maps), part.signals.shape[1], maps.shape[2]))
    apart = maps.shape[1] > 1 or len(part.places) > part.signals.shape[1]
    profiles, names = map_profiles(full, regions.take(at), by_lead=apart)
    table, findings, most = [], [], (0, "")
    for number, k in enumerate(often):
        mine = np.flatnonzero((label == number) & np.isfinite(profiles).all(1))
        if len(mine) < FEWEST:
            continue
        kinds = kinds_of(profiles[mine], seed=subject.seed)
        told = _kinds(subject, rows[at[mine]], k, kinds, profiles[mine], names)
        table += [each.told for each in told]
        most = max(most, (kinds.n, part.classes[k]))
        one = _finding(subject, part.classes[k], told, by) if kinds.n > 1 else None
        findings += [] if one is None else [one]
    if not table:
        why = f"no class has {FEWEST} maps that are not empty"
        return Answer([not_run(_NAME, "explanation", _WHAT, why)])
    if not findings:
        words = "largest number of kinds into which a class's maps fall"
        text = "No class's maps fall into kinds." if most[0] == 1 else "Kinds of maps are neither one patient's nor a sign's."
        measure = Measure(float(most[0]), words, where={"class": most[1], "method": str(subject.method), "by": by})
        findings = [clear(_NAME, "explanation", text, measure)]
    return Answer(findings, {"clusters": pd.DataFrame(table)})


def _why_not(subject: Subject) -> str:
    if subject.method is None:
        return "no method is named whose maps are shown"
    if subject.classifier.draws:
        return "the net sees pictures, whose maps have rows and columns and no leads"
    patients = len(np.unique(subject.patients))
    return "" if patients > 1 else f"there is {'one patient' if patients else 'no example'}; two patients are needed"


def _where(examples: Examples, rows: Rows) -> tuple[Regions, str]:
    """Waves of all leads in these examples, or windows, and which of the two."""
    try:
        waves = wave_regions(examples, rows=rows)
        qrs = np.array([name == "QRS" for name in waves.names])
        if (waves.stop > waves.start)[:, qrs].any(1).mean() >= 0.5:
            return waves, "waves"
    except EcglensError:
        pass
    part = examples.take(rows)
    shortest = min(place.length for place in part.places)
    first, stop = (part.column(name).astype(np.int64).clip(0, shortest) for name in ("valid_start", "valid_stop"))
    return equal_windows(first, stop, [(each.name, each.row, each.offset) for each in part.places], _WINDOWS), "windows"


def _kinds(subject: Subject, rows: Rows, k: int, kinds: Kinds, profiles: Array, names: tuple[str, ...]) -> list[_Kind]:
    """What the kinds of one class are; rows: of the subject's examples, one for each profile."""
    part = subject.examples.take(rows)
    right, patients = claims(subject.classifier, part, k), subject.patients[rows]
    amounts = {sign.name: sign.measure(part) for sign in SIGNS} if kinds.n > 1 else {}
    out = []
    for kind in range(kinds.n):
        mine = kinds.member == kind
        who, counts = np.unique(patients[mine], return_counts=True)
        shared = [] if kinds.n == 1 else _shared(amounts, mine, patients)
        more = profiles[mine].mean(0) - profiles.mean(0)
        most = np.argsort(-more if kinds.n > 1 else -profiles.mean(0), kind="stable")[:2]
        lies = [f"{names[j]} {profiles[mine, j].mean():.0%} (class {profiles[:, j].mean():.0%})" for j in most]
        told = {
            "class": part.classes[k],
            "kind": f"{kind + 1} of {kinds.n}" if kinds.n > 1 else "all of one kind",
            "n": int(mine.sum()),
            "patients": len(who),
            "largest patient": f"{who[counts.argmax()]} ({counts.max() / mine.sum():.0%})",
            "answered rightly": float(right[mine].mean()),
            "signs": ", ".join(f"{each.sign.name} {each.share:.0%} (rest {each.rest:.0%})" for each in shared),
            "maps lie more in": ", ".join(lies) if kinds.n > 1 else "",
            "nearest the middle": ", ".join(subject.ids[rows[kinds.nearest(profiles, kind, 3)]]),
        }
        middle, largest = rows[kinds.nearest(profiles, kind, 8)], str(who[counts.argmax()])
        of_others = int((patients != largest).sum())
        out.append(_Kind(middle, largest, float(counts.max() / mine.sum()), of_others, shared, told))
    return out


def _shared(amounts: dict[str, Array], mine: NDArray[np.bool_], patients: NDArray[np.str_]) -> list[_Shared]:
    """Signs that half of a kind has beyond 95 % of the rest of the class."""
    out = []
    for sign in SIGNS:
        amount = amounts[sign.name]
        level = np.log2(np.maximum(amount, 1e-6)) if sign.factor else amount
        least = float(np.log2(sign.least)) if sign.factor else sign.least
        known = ~np.isnan(level)
        if min((mine & known).sum(), (~mine & known).sum()) < _FEW:
            continue
        usual = float(np.median(level[~mine & known]))
        for side in (1, -1) if sign.signed else (1,):
            more = np.where(known, side * (level - usual), -np.inf)
            has = more > max(float(np.quantile(more[~mine & known], 0.95)), least)
            share, rest = float(has[mine & known].mean()), float(has[~mine & known].mean())
            if share >= _SHARED:
                there = mine & known
                n = sum(bool(has[there & (patients == who)].mean() >= _SHARED) for who in np.unique(patients[there]))
                out.append(_Shared(sign, share, rest, n))
                break
    return out


def _finding(subject: Subject, word: str, told: list[_Kind], by: str) -> Finding | None:
    """The worst that there is to say of the kinds of one class."""
    name, sizes = f"{_NAME}.{word}", [int(str(each.told["n"])) for each in told]
    start = f"The maps of {word} fall into {len(told)} kinds ({', '.join(map(str, sizes))} examples)"
    where = {"class": word, "method": str(subject.method), "by": by}
    signs = [(each, shared) for each in told for shared in each.shared if not shared.sign.natural and shared.patients > 1]
    if signs:
        kind, shared = max(signs, key=lambda each: each[1].share - each[1].rest)
        return found(
            name, "explanation", "medium",
            f"{start}, and {shared.share:.0%} of one kind have the sign {shared.sign.name}, against {shared.rest:.0%} of the "
            "rest: these maps may be of the sign and not of the heart.",
            Measure(shared.share, f"share of the kind with the sign {shared.sign.name}, of {kind.told['n']} examples",
                    where=where | {"sign": shared.sign.name, "kind": str(kind.told["kind"])}),
            examples=subject.ids[kind.rows].tolist(),
            do=f"Look at these examples; take the sign {shared.sign.name} off them and see whether map and answer stay.",
        )  # fmt: skip
    lone = [
        each for each, size in zip(told, sizes, strict=True)
        if each.of_patient >= _ONE and size >= _FEW and each.of_others >= _FEW
    ]  # fmt: skip
    if not lone:
        return None
    kind = max(lone, key=lambda each: int(str(each.told["n"])))
    beside = f" It shares {', '.join(each.sign.name for each in kind.shared)}." if kind.shared else ""
    return found(
        name, "explanation", "low",
        f"{start}, and {_of(len(lone), len(told))} one patient's ({kind.patient}): what is common to the maps of "
        f"{word} is less than it looks, for a mean over them is a mean of a few patients.{beside}",
        Measure(kind.of_patient, f"share of the kind that is patient {kind.patient}'s, of {kind.told['n']} examples",
                where=where | {"patient": kind.patient, "kind": str(kind.told["kind"])}),
        examples=subject.ids[kind.rows].tolist(),
        do="Show maps of each kind, not their mean, or add patients.",
    )  # fmt: skip


def _of(some: int, of: int) -> str:
    return "each kind is" if some == of else f"{some} of them {'is' if some == 1 else 'are'}"
