"""Does the answer depend on which lead is which, and is a class tied to the leads that were recorded?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis.intervals import ratio_over_patients
from ecglens.audit.finding import Answer, Finding, Measure, clear, found, not_run
from ecglens.audit.sanity import examples_for_maps
from ecglens.audit.sign_measures import recorded
from ecglens.audit.subject import Subject
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier
from ecglens.training.metrics import patient_draws

Wiring = dict[str, tuple[str, float]]  # lead to the one whose signal it then shows, and the factor
_LIMB: dict[str, Wiring] = {
    "LA and RA": {"I": ("I", -1), "II": ("III", 1), "III": ("II", 1), "aVR": ("aVL", 1), "aVL": ("aVR", 1)},
    "LA and LL": {"I": ("II", 1), "II": ("I", 1), "III": ("III", -1), "aVL": ("aVF", 1), "aVF": ("aVL", 1)},
    "RA and LL": {"I": ("III", -1), "II": ("II", -1), "III": ("I", -1), "aVR": ("aVF", 1), "aVF": ("aVR", 1)},
}
_MOST = 300  # examples
_FEW = 20  # examples, of a class or of others, below which nothing is said
_PAIRS = 6  # of leads that have no electrodes of their own
_DEPENDS = 0.01  # share of answers that change, up to which they do not depend on the order
_MOVED = 0.2  # from which on the order decides
_TIED, _LEANS = 0.5, 0.25  # share of a class with a lead configuration less that of the others
ANY_ORDER = "any order"


@dataclass(frozen=True)
class Swap:
    """Leads that show others' signals: its name, what kind of mistake it is, and the wiring of those that change."""

    name: str
    kind: str
    wiring: Wiring


def swaps(leads: tuple[str, ...]) -> list[Swap]:
    """What may be exchanged among leads of these names: the limb electrodes, where all six limb leads are there; chest
    electrodes that are neighbours; else the leads in pairs, at most six.
    """
    out = []
    if {lead for wiring in _LIMB.values() for lead in wiring} <= set(leads):
        out += [Swap(name, "limb electrodes", wiring) for name, wiring in _LIMB.items()]
    for one, other in ((f"V{k}", f"V{k + 1}") for k in range(1, 6)):
        if one in leads and other in leads:
            out.append(Swap(f"{one} and {other}", "chest electrodes", {one: (other, 1), other: (one, 1)}))
    pairs = list(combinations(leads, 2))[:_PAIRS]
    return out or [Swap(f"{one} and {other}", "leads", {one: (other, 1), other: (one, 1)}) for one, other in pairs]


def rewired(examples: Examples, wiring: Wiring) -> Examples:
    """The examples with leads showing others' signals, and the patient's usual beat under them too, where there is one.

    wiring: lead to (lead, factor) for those that change. Leads may lie one behind the other; they are of one length.
    """
    places = {place.name: place for place in examples.places}
    signals = examples.signals.copy()
    for name, (source, factor) in wiring.items():
        for before in ("", "usual "):
            if before + name in places and before + source in places:
                to, of = places[before + name], places[before + source]
                signals[:, to.row, to.offset : to.offset + to.length] = (
                    factor * examples.signals[:, of.row, of.offset : of.offset + of.length]
                )
    return replace(examples, signals=signals)


def answers(classifier: Classifier, examples: Examples) -> NDArray[np.bool_]:
    """Which classes the model says, bool (example, class): the likeliest, or all above their thresholds."""
    logits = classifier.logits(examples)
    if classifier.activation == "softmax":
        return np.asarray(logits.argmax(1)[:, None] == np.arange(logits.shape[1]))
    thresholds = np.full(logits.shape[1], 0.5) if classifier.thresholds is None else np.array(classifier.thresholds)
    return np.asarray(classifier.probabilities(logits) >= thresholds)


def lead_order(subject: Subject) -> Answer:
    """Which share of the answers changes when leads are exchanged, as a technician does, or put into any order?

    Low: none does, so that the model cannot tell leads apart and a map by lead says nothing. Medium: the examples hold the
    same leads in two orders, and that exchange changes a fifth of the answers. That electrodes on wrong places change answers
    is told, and is no flaw by itself. Not run where all answers are the same. Table "lead_order": swap, kind, n, patients,
    changed, low, high (95 % over patients), most: what becomes of most.
    """
    name, what = "model.lead-order", "Whether the answer depends on the order of leads"
    leads = tuple(place.name for place in recorded(subject.examples))
    rows = examples_for_maps(subject, _MOST)
    why = ""
    if len(leads) < 2:
        why = "the model has one lead; two are needed"
    elif len({place.length for place in recorded(subject.examples)}) > 1:
        why = "the leads are of several lengths, so that none can stand in the place of another"
    elif len(rows) < _FEW:
        why = f"there are {len(rows)} examples; {_FEW} are needed"
    if why:
        return Answer([not_run(name, "model", what, why)])
    part = subject.examples.take(rows)
    before = answers(subject.classifier, part)
    table = _table(subject, part, before, swaps(leads))
    if (before == before[0]).all() and table["changed"].max() <= _DEPENDS:
        # a model that says one thing whatever it is shown does not show whether it tells leads apart
        one = not_run(name, "model", what, f"all {len(rows)} answers are the same, so that none can tell leads apart")
    else:
        one = _order_finding(subject, part, table)
    return Answer([one], {"lead_order": table})


def _table(subject: Subject, part: Examples, before: NDArray[np.bool_], wirings: list[Swap]) -> pd.DataFrame:
    patients = part.column("patient").astype(str)
    out = []
    for swap, moved in [*((each, rewired(part, each.wiring)) for each in wirings), *_any_order(subject, part, len(wirings))]:
        after = answers(subject.classifier, moved)
        changed = (after != before).any(1)
        low, high = ratio_over_patients(changed[:, None].astype(float), np.ones((len(part), 1)), patients, seed=subject.seed)
        out.append(
            {
                "swap": swap.name, "kind": swap.kind, "n": len(part), "patients": len(np.unique(patients)),
                "changed": float(changed.mean()), "low": float(low[0]), "high": float(high[0]),
                "most": _most(before, after, part.classes, subject.classifier.activation == "softmax"),
            }
        )  # fmt: skip
    return pd.DataFrame(out)


def _any_order(subject: Subject, part: Examples, n_wirings: int) -> Iterator[tuple[Swap, Examples]]:
    """The leads of each example in an order of its own, where that is more than one exchange."""
    leads = [place.name for place in recorded(part)]
    if len(leads) < 3:
        return
    rng = np.random.default_rng([subject.seed, 81])
    parts = []
    for row in range(len(part)):
        order = rng.permutation(len(leads))
        wiring = {leads[k]: (leads[of], 1.0) for k, of in enumerate(order)}
        parts.append(rewired(part.take(np.array([row])), wiring).signals)
    yield Swap("all leads at random", ANY_ORDER, {}), replace(part, signals=np.concatenate(parts))


def _most(before: NDArray[np.bool_], after: NDArray[np.bool_], classes: tuple[str, ...], one_each: bool) -> str:
    """What becomes of the answers, commonest first: 'from V to N 12 %', or 'RBBB gained 5 %'."""
    told: Counter[str] = Counter()
    for old, new in zip(before, after, strict=True):
        if one_each and (old != new).any():
            told[f"from {classes[old.argmax()]} to {classes[new.argmax()]}"] += 1
        elif not one_each:
            told.update(f"{classes[k]} {'gained' if new[k] else 'lost'}" for k in np.flatnonzero(old != new))
    return ", ".join(f"{words} {count / len(before):.0%}" for words, count in told.most_common(2))


def _order_finding(subject: Subject, part: Examples, table: pd.DataFrame) -> Finding:
    name = "model.lead-order"
    worst = table.loc[table["changed"].idxmax()]
    words = f"share of {worst['n']} answers that change"
    low, high = (None if np.isnan(worst[end]) else float(worst[end]) for end in ("low", "high"))
    measure = Measure(float(worst["changed"]), words, low, high, {"exchanged": str(worst["swap"])})
    if worst["changed"] <= _DEPENDS and (high is None or high <= 2 * _DEPENDS):
        return found(
            name, "model", "low",
            f"Whatever leads are exchanged, the answer stays ({worst['changed']:.1%} change at most): the model does not tell "
            "leads apart, and a map by lead says nothing of it.",
            measure, do="Do not read maps by lead; if leads ought to matter, see how they enter the net.",
        )  # fmt: skip
    turned = _turned(subject)
    if turned and measure.value >= _MOVED and len(recorded(part)) == 2:
        records, rows = turned
        return found(
            name, "model", "medium",
            f"Exchanging the two leads changes {measure.value:.0%} of the answers, and {records} come with their leads the "
            "other way round than the rest.",
            measure, examples=subject.some_ids(rows), do="Put the leads in one order by name, in training and ever after.",
        )  # fmt: skip
    each = "; ".join(f"{row['swap']} {row['changed']:.0%}" for row in table.to_dict("records"))
    return clear(name, "model", f"The answer depends on which lead is which. Exchanged, answers change: {each}.", measure)


def _leads_of(examples: Examples) -> list[tuple[str, ...]]:
    """The leads that each example was recorded with, in order."""
    split = {str(each): tuple(lead.strip() for lead in str(each).split(",")) for each in set(examples.column("lead_names"))}
    return [split[str(each)] for each in examples.column("lead_names")]


def _turned(subject: Subject) -> tuple[str, NDArray[np.int64]] | None:
    """Records, in words, and rows whose leads are those of others in another order; None where there are none."""
    leads = _leads_of(subject.examples)
    counts = Counter(leads)
    usual: dict[frozenset[str], tuple[str, ...]] = {}
    for order, _ in counts.most_common():
        usual.setdefault(frozenset(order), order)
    rows = np.array([k for k, each in enumerate(leads) if usual[frozenset(each)] != each], np.int64)
    if not len(rows):
        return None
    records = sorted(set(subject.examples.column("record")[rows].astype(str)))
    some = ", ".join(records[:5]) + (f" and {len(records) - 5} more" if len(records) > 5 else "")
    return f"{'record' if len(records) == 1 else 'records'} {some}", rows


def lead_configuration(subject: Subject) -> Answer:
    """Were the examples of a class recorded in other leads than those of the others?

    By "lead_names" of the examples. Medium: a configuration is in a class more often than in the others by half of the
    examples (interval of the difference, over patients, above a quarter); low: by a quarter (above 0), or records have the
    leads of others in another order. Table "lead_configurations": class, leads, n, patients, share of the class, share of the
    others.
    """
    name, what = "data.lead-configuration", "Whether a class is tied to the leads that were recorded"
    leads = np.array([", ".join(each) for each in _leads_of(subject.examples)])
    if not len(leads):
        return Answer([not_run(name, "data", what, "there are no examples")])
    if set(leads) == {""}:
        return Answer([not_run(name, "data", what, "no example says which leads it was recorded with")])
    kinds, truth, patients = sorted(set(leads.tolist())), subject.truth, subject.patients
    rows, more = [], []
    for k, word in enumerate(subject.examples.classes):
        mine = truth[:, k]
        for kind in kinds:
            has = leads == kind
            if not (has & mine).any():
                continue
            share, rest = float(has[mine].mean()), float(has[~mine].mean()) if (~mine).any() else float("nan")
            there = {
                "class": word, "leads": kind, "n": int((has & mine).sum()), "patients": len(np.unique(patients[has & mine])),
                "share of the class": share, "share of the others": rest,
            }  # fmt: skip
            rows.append(there)
            if min(mine.sum(), (~mine).sum()) >= _FEW and share > rest:
                low, high = _difference(has, mine, patients, subject.seed)
                words = f"share of {word} recorded in {kind}, less that of the other classes"
                more.append(_More(Measure(share - rest, words, low, high, {"class": word, "leads": kind}), share, rest))
    one = _configuration_finding(subject, kinds, more, leads)
    return Answer([one], {"lead_configurations": pd.DataFrame(rows)} if len(kinds) > 1 else {})


@dataclass(frozen=True)
class _More:
    """A class that has a lead configuration more often than the others: by how much, its share and theirs."""

    by: Measure
    share: float
    rest: float

    @property
    def rank(self) -> int:
        """2 where the class is tied to the leads, 1 where it leans to them, else 0, as without an interval."""
        if self.by.low is None:
            return 0
        return 2 if self.by.value >= _TIED and self.by.low > _LEANS else int(self.by.value >= _LEANS and self.by.low > 0)


def _difference(
    has: NDArray[np.bool_], mine: NDArray[np.bool_], patients: NDArray[np.str_], seed: int
) -> tuple[float, float] | tuple[None, None]:
    """95 % over patients of the share of `has` in `mine` less that in the rest; None with one patient on either side."""
    if min(len(np.unique(patients[mine])), len(np.unique(patients[~mine]))) < 2:
        return None, None
    names, who = np.unique(patients, return_inverse=True)
    draws = patient_draws(len(names), 1000, seed)
    ups, downs = ([draws @ np.bincount(who[of], minlength=len(names)) for of in both]
                  for both in ((has & mine, has & ~mine), (mine, ~mine)))  # fmt: skip
    drawn = (downs[0] > 0) & (downs[1] > 0)
    low, high = np.percentile(ups[0][drawn] / downs[0][drawn] - ups[1][drawn] / downs[1][drawn], [2.5, 97.5])
    return float(low), float(high)


def _configuration_finding(subject: Subject, kinds: list[str], more: list[_More], leads: NDArray[np.str_]) -> Finding:
    name = "data.lead-configuration"
    turned = _turned(subject)
    order = "" if turned is None else f" The leads of {turned[0]} are in another order than those of the rest."
    do = "Give the model leads by name and in one order, or one configuration alone; compare classes within a configuration."
    # a large difference of one patient must not hide a smaller one that is sure
    worst = max(more, key=lambda each: (each.rank, each.by.low is not None, each.by.value), default=None)
    if worst is not None and worst.rank:
        where = worst.by.where
        rows = subject.truth[:, subject.examples.classes.index(where["class"])] & (leads == where["leads"])
        return found(
            name, "data", "medium" if worst.rank == 2 else "low",
            f"{worst.share:.0%} of {where['class']} were recorded in {where['leads']}, against {worst.rest:.0%} of the other "
            f"classes: the leads alone tell something of the class.{order}",
            worst.by, examples=subject.some_ids(np.flatnonzero(rows)), do=do,
        )  # fmt: skip
    if turned is not None:
        share = len(turned[1]) / len(subject.examples)
        measure = Measure(share, "share of the examples whose leads are those of others in another order")
        return found(name, "data", "low", order.strip(), measure, examples=subject.some_ids(turned[1]), do=do)
    if len(kinds) == 1:
        return clear(name, "data", f"All examples were recorded in {kinds[0]}.", Measure(1.0, "lead configurations"))
    alone = sorted({each.by.where["class"] for each in more if each.by.low is None and each.by.value >= _LEANS})
    if alone and worst is not None and worst.by.low is None:
        what = "Whether a class is tied to the leads that were recorded"
        return not_run(
            name, "data", what, f"{', '.join(alone)} or all the others are of one patient, so it may be the patient's"
        )
    known = worst is not None and worst.by.low is not None
    measure = worst.by if worst is not None and known else Measure(float(len(kinds)), "lead configurations")
    but = f" Of {', '.join(alone)} it is not told: one patient has the class, or all others." if alone else ""
    return clear(
        name, "data", f"There are {len(kinds)} lead configurations, and no class is seen to be tied to one.{but}", measure
    )
