"""Does a class carry a sign that says nothing of the heart, and does the model decide by it?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.intervals import ratio_over_patients
from ecglens.analysis.origin import drawn_evenly
from ecglens.audit.finding import SEVERITIES, Finding, Measure, clear, found, not_run
from ecglens.audit.presence import FEW, SHARE, Presence, is_there, present
from ecglens.audit.signs import SIGNS, Sign
from ecglens.audit.subject import Subject
from ecglens.examples.examples import Examples
from ecglens.models.classifier import Classifier

Rows = NDArray[np.int64]
How = dict[str, Any]  # what else of the marked examples a sign is put on by
LIVE = 0.2  # share of other classes' examples that move to the class, from which on a sign decides
_PER_CLASS = 600  # examples that are measured, of each class
_ASKED = 300  # examples that a sign is put on


def sign_findings(subject: Subject) -> list[Finding]:
    """Every sign of `SIGNS`, in every class: is it there more than in the others, and does the decision go by it?

    Present: at least 8 % of the class's training examples (else of all), and by the interval over patients 2 %, have more of
    it than 99 % of the other classes' examples, and more than the least that is worth a name. An example's amount is counted
    twice: as it is, and as what it has beyond its patient's usual amount (median of the other classes' examples), which tells
    a sign from a noisy or loud patient.
    What a heart or a rhythm makes, too (`Sign.natural`: gain, offset, leads, padding, wander, noise) is only called a sign
    where the class has it in two kinds, with it and without it, in the same patients and by the same amount: see
    `ecglens.audit.modes`. Wide beats of V are larger in all of a patient's V, and by another factor in each patient.
    Such a sign in all examples of a class cannot be told from its nature, and is not called one.
    Used (high): put on tested examples of other classes that are free of it, as strong as those beyond typically have it, it
    moves 20 % of them or more to the class, and 10 % more than the rest of the class's level does. Else "present, not used".
    """
    classes, truth = subject.examples.classes, subject.truth
    name = "confounders.signs"
    if len(classes) < 2:
        return [not_run(name, "data", "Signs that a class carries", "the model has one class; two are needed")]
    rows = _learnt(subject)
    if len(np.unique(subject.patients[rows])) < 2:
        return [not_run(name, "data", "Signs that a class carries", "there is one patient; two are needed")]
    rows = _measured(subject, rows)
    often = [k for k in range(len(classes)) if min(truth[rows, k].sum(), (~truth[rows, k]).sum()) >= FEW]
    if not often:
        return [not_run(name, "data", "Signs that a class carries", f"no class has {FEW} examples, and {FEW} of others")]
    part = subject.examples.take(rows)
    return [each for sign in SIGNS for each in _of_sign(subject, sign, part, truth[rows], often)]


def _learnt(subject: Subject) -> Rows:
    """Rows that the model learnt from, where known."""
    if subject.shown is not None and len(subject.shown):
        return np.unique(subject.shown)
    if subject.split is not None and len(subject.learnt):
        return subject.learnt
    return np.arange(len(subject.examples))


def _unseen(subject: Subject) -> Rows:
    """Rows to put a sign on: tested, else held out, else all."""
    if subject.asked is not None and len(subject.asked):
        return np.unique(subject.asked)
    if subject.split is not None:
        for rows in (subject.tested, np.flatnonzero(~np.isin(np.arange(len(subject.examples)), _learnt(subject)))):
            if len(rows):
                return rows
    return np.arange(len(subject.examples))


def _measured(subject: Subject, rows: Rows, per_class: int = _PER_CLASS) -> Rows:
    """Some of each class, over its patients evenly."""
    truth, chosen = subject.truth[rows], []
    same = np.full(len(rows), "")
    for k in range(truth.shape[1]):
        picked = drawn_evenly(
            truth[:, k].astype(np.int64), same, subject.patients[rows], per_class=per_class, at_least=1, seed=subject.seed
        )
        chosen.append(picked[truth[picked, k]])
    chosen.append(np.flatnonzero(~truth.any(axis=1))[:per_class])
    return rows[np.unique(np.concatenate(chosen))]


def _of_sign(subject: Subject, sign: Sign, part: Examples, truth: NDArray[np.bool_], often: list[int]) -> list[Finding]:
    name, what = f"confounders.{sign.name}", f"Whether a class carries the sign {sign.name}"
    amount = sign.measure(part)
    if np.isnan(amount).all():
        return [not_run(name, "data", what, "these examples are too short, too slowly sampled or have too few leads for it")]
    patients, out = part.column("patient").astype(str), []
    largest = (-1.0, "")
    for k in often:
        seen = present(sign, amount, truth[:, k], patients, subject.seed)
        largest = max([largest, *((here.share, part.classes[k]) for here in seen)])
        findings = [_finding(subject, sign, part, k, here) for here in seen if is_there(here)]
        if findings:  # of two kinds the odd one is that by which the model goes
            out.append(max(findings, key=lambda each: SEVERITIES.index(each.severity)))
    if out:
        return out
    if largest[0] < 0:
        why = f"no class has {FEW} examples in which it can be measured"
        two = ", and two patients with six of them each, to tell it from what hearts differ in" if sign.natural else ""
        return [not_run(name, "data", what, why + two)]
    words = "largest share of a class's examples that have the sign"
    told = f"No class carries the sign {sign.name}."
    if largest[0] >= SHARE:
        told = f"The sign {sign.name} is in {largest[0]:.0%} of {largest[1]}, but in too few patients to be the class's own."
    return [clear(name, "data", told, Measure(largest[0], words, where={"class": largest[1]}))]


def _finding(subject: Subject, sign: Sign, part: Examples, k: int, here: Presence) -> Finding:
    word = part.classes[k]
    name = f"confounders.{sign.name}.{word}"
    where = {"class": word, "sign": sign.name} | _place(sign, part, here.rows)
    ids = part.column("id").astype(str)[here.rows[:8]].tolist()
    told = (
        f"{here.share:.0%} of {word} have the sign {sign.name} (about {here.strong:.3g} {sign.unit}, against {here.beside}; "
        f"AUC {here.auc:.2f})"
    )
    rows = _free(subject, sign, k, here)
    there = Measure(here.share, f"share of {word} with the sign", here.low, here.high, where)
    if len(rows) < FEW:
        return found(
            name, "data", "low", f"{told}. Whether it is used cannot be said: {len(rows)} examples to put it on.", there,
            examples=ids, do="Keep examples of other classes aside, and audit again.",
        )  # fmt: skip
    how = _how(sign, part, here.rows, subject.examples.take(rows))
    strong, ordinary = (each if sign.signed else max(each, 0.0) for each in (here.strong, here.ordinary))
    if sign.polar and _moved(subject, sign, rows, k, -strong, how) > _moved(subject, sign, rows, k, strong, how):
        strong, ordinary = -strong, -ordinary
    moved, idle = (_moved(subject, sign, rows, k, strength, how) for strength in (strong, ordinary))
    left = _left(subject, sign, part.take(here.rows[:_ASKED]), k, here)
    beside = "" if left is None else f" Taken off {word} that have it, {left:.0%} of them leave."
    if moved >= LIVE and moved - idle >= LIVE / 2:
        low, high = _moved_interval(subject, sign, rows, k, strong, how)
        return found(
            name, "model", "high",
            f"{told}, and the model goes by it: put on examples of other classes, it moves {moved:.0%} of them to {word} "
            f"({idle:.0%} at the level of the other {word}).{beside}",
            Measure(moved, f"share of {len(rows)} examples of other classes that the sign moves to {word}", low, high, where),
            examples=ids, do=f"Record or clean {word} like the rest, or give the sign to all classes alike, and train again.",
        )  # fmt: skip
    if left is not None and left >= LIVE and not sign.natural:
        return found(
            name, "model", "medium",
            f"{told}. Put on examples of other classes, it moves {moved:.0%} of them to {word} ({idle:.0%} at the level of "
            f"the other {word}), but taken off {word} that have it, {left:.0%} of them leave: the model leans on it there.",
            there, examples=ids, do=f"Record or clean {word} like the rest, and train again.",
        )  # fmt: skip
    return found(
        name, "data", "low",
        f"{told}. Present, not used: put on examples of other classes, it moves {moved:.0%} of them to {word} "
        f"({idle:.0%} at the level of the other {word}).{beside}",
        there, examples=ids, do="Clean it all the same: another training may find it.",
    )  # fmt: skip


def claims(classifier: Classifier, examples: Examples, k: int) -> NDArray[np.bool_]:
    """Whether the model says class k: the likeliest, or where classes are yes or no, above its threshold."""
    logits = classifier.logits(examples)
    if classifier.activation == "softmax":
        return np.asarray(logits.argmax(axis=1) == k)
    threshold = 0.5 if classifier.thresholds is None else classifier.thresholds[k]
    return np.asarray(classifier.probabilities(logits)[:, k] >= threshold)


def _free(subject: Subject, sign: Sign, k: int, here: Presence) -> Rows:
    """Unseen examples of other classes that are not said to be of class k and have less than half of the sign."""
    rows = _unseen(subject)
    rows = rows[~subject.truth[rows, k]]
    rows = np.random.default_rng([subject.seed, 71]).permutation(rows)[: 2 * _ASKED]
    if not len(rows):
        return rows
    part = subject.examples.take(rows)
    fine = ~claims(subject.classifier, part, k)
    if not sign.natural:
        fine &= ~(sign.measure(part) > here.strong / 2)
    return np.sort(rows[fine][:_ASKED])


def _put(subject: Subject, sign: Sign, rows: Rows, k: int, strength: float, how: How) -> NDArray[np.bool_]:
    part = subject.examples.take(rows)
    return claims(subject.classifier, sign.put(part, strength, np.random.default_rng([subject.seed, 72]), **how), k)


def _moved(subject: Subject, sign: Sign, rows: Rows, k: int, strength: float, how: How) -> float:
    return float(_put(subject, sign, rows, k, strength, how).mean())


def _moved_interval(subject: Subject, sign: Sign, rows: Rows, k: int, strength: float, how: How) -> tuple[float, float]:
    moved = _put(subject, sign, rows, k, strength, how).astype(float)[:, None]
    low, high = ratio_over_patients(moved, np.ones_like(moved), subject.patients[rows], seed=subject.seed)
    return float(low[0]), float(high[0])


def _left(subject: Subject, sign: Sign, marked: Examples, k: int, here: Presence) -> float | None:
    """Share of the class's marked examples, said to be of it, that are no longer so when the sign is taken off."""
    if sign.take_off is None or not len(marked):
        return None
    said = claims(subject.classifier, marked, k)
    if not said.any():
        return None
    if sign.signed:  # either way: the opposite of it is put on
        opposite = 1 / here.strong if sign.factor else -here.strong
        cleaned = sign.put(marked, opposite, np.random.default_rng([subject.seed, 72]))
    else:
        cleaned = sign.take_off(marked, np.maximum(sign.measure(marked) - here.strong, 0.0))
    return float((~claims(subject.classifier, cleaned, k))[said].mean())


def _from_r(examples: Examples) -> NDArray[np.float64] | None:
    """R of each example, in samples, where all have one."""
    r = examples.column("r_index").astype(np.float64)
    return r if len(r) and bool(((r >= 0) & (r < examples.length)).all()) else None


def _place(sign: Sign, part: Examples, rows: Rows) -> dict[str, str]:
    """Where the sign lies, in ms from R or from the start: the median place."""
    if sign.place is None:
        return {}
    marked = part.take(rows)
    at, r = sign.place(marked), _from_r(marked)
    if r is None:
        return {"ms from the start": f"{1000 * np.median(at) / part.fs:.0f}"}
    return {"ms from R": f"{1000 * np.median(at - r) / part.fs:.0f}"}


def _how(sign: Sign, part: Examples, rows: Rows, others: Examples) -> How:
    """At which sample of other examples, and over how many, the sign is put on them, as it is on those that have it."""
    how: How = {"at": _at(sign, part, rows, others)}
    if sign.width is not None:
        how["width"] = round(float(np.median(sign.width(part.take(rows)))))
    return how


def _at(sign: Sign, part: Examples, rows: Rows, others: Examples) -> Rows | None:
    """The sample (example,) of other examples that answers to where the sign lies."""
    if sign.place is None:
        return None
    marked = part.take(rows)
    at, r, theirs = sign.place(marked), _from_r(marked), _from_r(others)
    if r is None or theirs is None:
        return np.full(len(others), round(float(np.median(at))), np.int64)
    return np.round(theirs + np.median(at - r)).astype(np.int64).clip(0, others.length - 1)
