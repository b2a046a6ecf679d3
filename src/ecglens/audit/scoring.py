"""Do the scores say what they seem to say? Absent classes, mixed classes, thresholds from the test set, the lazy answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.analysis.intervals import mean_over_patients
from ecglens.audit.finding import Finding, Measure, clear, found, not_run
from ecglens.audit.subject import Subject
from ecglens.training.metrics import class_scores

_METRICS = ("precision", "recall", "f1")
_CLOSE = 1e-4
ASKED_ANEW = 2000  # examples, where a model's answers are not known
_PLATEAU = 0.1  # share of the thresholds that are all the best, above which a threshold may be best unchosen


def absent_classes(subject: Subject) -> Finding:
    """A macro average in which classes without a test example count as 0."""
    name, what = "scoring.absent-classes", "A macro average over classes that the test set lacks"
    scores = _class_scores(subject)
    reported = _reported_macros(subject)
    if scores is None or not reported:
        return not_run(name, "recipe", what, "no answers to test examples, or no macro average, is known")
    support = scores["support"]
    absent = [word for word, n in zip(subject.examples.classes, support, strict=True) if not n]
    words = "what the macro average loses by classes that the test set lacks"
    if not absent:
        return clear(name, "recipe", "Every class has a test example.", Measure(0.0, words))
    there = support > 0
    counted: list[tuple[float, str, float, float]] = []
    for metric, value in reported.items():
        over_all, over_present = float(scores[metric].mean()), float(scores[metric][there].mean())
        if abs(value - over_all) < _CLOSE < abs(value - over_present):
            counted.append((over_present - over_all, metric, over_all, over_present))
    odd = [f"{metric} {value:.3f}" for metric, value in reported.items()
           if not abs(value - float(scores[metric][there].mean())) < _CLOSE]  # fmt: skip
    if not counted and odd:
        why = f"the reported macro {', '.join(odd)} is neither the mean over all classes nor that over those of the test set"
        return not_run(name, "recipe", what, why)
    if not counted:
        told = f"{', '.join(absent)}: no test example; the macro averages leave them out."
        return clear(name, "recipe", told, Measure(0.0, words))
    fall, metric, with_them, without = max(counted)
    return found(
        name, "recipe", "high" if fall > 0.05 else "medium",
        f"The test set has no example of {', '.join(absent)}, and they count as 0 in the macro {metric}: {with_them:.3f} is "
        f"reported, {without:.3f} is the mean over the {int(there.sum())} classes that are there.",
        Measure(fall, words, where={"classes": ", ".join(absent)}),
        do="Average over the classes that the test set has, and name the others.",
    )  # fmt: skip


def metrics_of_one_class(subject: Subject) -> Finding:
    """Precision, recall and F1 that are reported together and are of different classes."""
    name, what = "scoring.metrics-of-different-classes", "Precision, recall and F1 of different classes"
    scores = _class_scores(subject)
    reported = {metric: subject.metrics.get(f"headline.{metric}") for metric in _METRICS}
    known = {metric: float(value) for metric, value in reported.items() if isinstance(value, int | float)}
    if scores is None or len(known) < 2:
        return not_run(name, "recipe", what, "the run puts no two of precision, recall and F1 forward as one class's")
    of = {
        metric: {k for k in range(len(subject.examples.classes)) if abs(float(scores[metric][k]) - value) < _CLOSE}
        for metric, value in known.items()
    }
    words = "classes that the reported precision, recall and F1 are of"
    if set.intersection(*of.values()):
        return clear(name, "recipe", "They are of one class.", Measure(1.0, words))
    told = {metric: ", ".join(subject.examples.classes[k] for k in sorted(which)) for metric, which in of.items() if which}
    if len(told) < len(known):
        odd = ", ".join(metric for metric in known if metric not in told)
        return not_run(name, "recipe", what, f"the reported {odd} is no class's, so it is not told how it was averaged")
    said = ", ".join(f"{metric} {known[metric]:.3f} is that of {which}" for metric, which in told.items())
    return found(
        name, "recipe", "high", f"Reported side by side, but of different classes: {said}. None follows from the others.",
        Measure(float(len(set(told.values()))), words, where=told), do="Report all scores of each class, by name.",
    )  # fmt: skip


def better_than_lazy(subject: Subject) -> Finding:
    """Is the model better than one that always says the commonest class? Where no answers are known, 2,000 are asked for."""
    name, what = "scoring.lazy-answer", "Accuracy beside that of the commonest answer"
    if subject.answered is not None or subject.examples.multi_hot is not None:
        return not_run(name, "model", what, "records may be of several classes")
    rows, said = _answers(subject)
    if not len(rows):
        return not_run(name, "model", what, "there is no example to ask about")
    if len(np.unique(subject.examples.labels[rows])) < 2:
        return not_run(name, "model", what, "the test examples are of one class, which always saying it gets all right")
    if len(np.unique(subject.patients[rows])) < 2:
        return not_run(name, "model", what, "the test examples are of one patient; chance is told from several")
    truth = subject.examples.labels[rows]
    usual = int(np.bincount(truth).argmax())
    gain = (said == truth).astype(float) - (truth == usual)
    low, high = (float(end[0]) for end in mean_over_patients(gain[:, None], subject.patients[rows], seed=subject.seed))
    word = subject.examples.classes[usual]
    told = f"accuracy {np.mean(said == truth):.3f}; always {word}: {np.mean(truth == usual):.3f}"
    if not _known(subject):
        told += f"; {len(rows)} examples asked now" + ("" if _held_out(subject) else ", which it may have learnt from")
    gained = Measure(float(gain.mean()), f"accuracy above that of always saying {word}", low, high)
    if gained.value > 0 and low > 0:
        return clear(name, "model", f"Better than the commonest answer ({told}).", gained)
    beside = "is no better than" if gained.value <= 0 else "cannot be told from"
    return found(
        name, "model", "high" if gained.value <= 0 else "medium",
        f"The model {beside} one that always says {word} ({told}).", gained,
        do="Report accuracy beside the commonest answer's, and scores by class.",
    )  # fmt: skip


def _known(subject: Subject) -> bool:
    return subject.asked is not None and len(subject.asked) > 0


def _held_out(subject: Subject) -> bool:
    return subject.split is not None and len(subject.tested) > 0


def _answers(subject: Subject) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, the class said of each): those of the scores, else of examples drawn at random, tested ones where some are."""
    if _known(subject):
        assert subject.asked is not None
        assert subject.probabilities is not None
        return subject.asked, subject.probabilities.argmax(1)
    rows = subject.tested if _held_out(subject) else np.arange(len(subject.examples))
    rows = np.sort(np.random.default_rng([subject.seed, 81]).permutation(rows)[:ASKED_ANEW])
    return rows, subject.classifier.logits(subject.examples.take(rows)).argmax(1)


def thresholds_from_test(subject: Subject) -> Finding:
    """Thresholds that are the best ones of the very records that are scored.

    Of classes that are told apart without error, or of which many thresholds are the best, any threshold may be: left out.
    """
    name, what = "scoring.thresholds-from-test", "Thresholds chosen on the test set"
    thresholds = subject.classifier.thresholds
    if subject.asked is None or subject.probabilities is None or subject.answered is None or thresholds is None:
        return not_run(name, "recipe", what, "the model has no thresholds, or no answers to test examples are known")
    truth = subject.truth[subject.asked]
    often = [k for k in range(truth.shape[1]) if 5 <= truth[:, k].sum() <= len(truth) - 5]
    if len(often) < 3:
        return not_run(name, "recipe", what, f"{len(often)} classes have five test records; three are needed")
    top = {k: _f1_at_best(truth[:, k], subject.probabilities[:, k]) for k in often}
    often = [k for k in often if top[k][0] < 1 and top[k][1] <= _PLATEAU]
    if len(often) < 3:
        why = f"{len(often)} classes have a best threshold that few others equal on the test records; three are needed"
        return not_run(name, "recipe", what, why)
    best = [k for k in often if top[k][0] <= _f1(truth[:, k], subject.answered[:, k]) + 1e-9]
    words = "share of the classes whose threshold is the best possible one for the test records"
    share = Measure(len(best) / len(often), words, where={"classes": ", ".join(subject.examples.classes[k] for k in best)})
    if share.value < 0.8:
        return clear(name, "recipe", f"{len(best)} of {len(often)} thresholds happen to be the best for the test set.", share)
    return found(
        name, "recipe", "high",
        f"{len(best)} of {len(often)} thresholds give the largest F1 that any threshold gives on the test records: they were "
        "chosen on them, and F1, precision and recall are too good.",
        share, do="Choose thresholds on validation records.",
    )  # fmt: skip


def _class_scores(subject: Subject) -> dict[str, NDArray[np.float64]] | None:
    """precision, recall, f1 and support of each class (class,), from the answers themselves."""
    if subject.asked is None or subject.probabilities is None:
        return None
    truth = subject.truth[subject.asked]
    n = truth.shape[1]
    said = subject.answered if subject.answered is not None else np.eye(n, dtype=bool)[subject.probabilities.argmax(1)]
    hit, claimed, support = (truth & said).sum(0), said.sum(0), truth.sum(0)
    confusion = np.zeros((n, 2, 2))
    confusion[:, 1, 1], confusion[:, 0, 1], confusion[:, 1, 0] = hit, claimed - hit, support - hit
    confusion[:, 0, 0] = len(truth) - claimed - support + hit
    scores = class_scores(confusion)
    return {metric: scores[metric][:, 1] for metric in _METRICS} | {"support": support.astype(np.float64)}


def _reported_macros(subject: Subject) -> dict[str, float]:
    values = {metric: subject.metrics.get(f"headline.macro_{metric}") for metric in _METRICS}
    return {metric: float(value) for metric, value in values.items() if isinstance(value, int | float)}


def _f1(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    total = truth.sum() + said.sum()
    return float(2 * (truth & said).sum() / total) if total else 0.0


def _f1_at_best(truth: NDArray[np.bool_], probability: NDArray[np.floating]) -> tuple[float, float]:
    """The largest F1 of any threshold, and which share of the distinct probabilities give it as thresholds."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(truth[order])
    ends = np.append(np.diff(probability[order]) != 0, True)
    f1 = (2 * hits / (np.arange(1, len(order) + 1) + truth.sum()))[ends]
    return float(f1.max()), float(np.mean(f1 >= f1.max() - 1e-9))
