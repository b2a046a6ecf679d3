"""Is what tests a model really unseen? Patients, signals and repeats on both sides, and what validates it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ecglens.audit.finding import Finding, Measure, clear, found, not_run
from ecglens.audit.subject import Subject
from ecglens.examples.examples import Examples
from ecglens.recordings.duplicates import Fingerprints, SameSignal, fingerprints, same_signals, together
from ecglens.recordings.recording import Recording
from ecglens.recordings.twelve_record import no_marks

_FEW = 8  # examples named in a finding
_NOTHING_CHOSEN = "Nothing was chosen by the validation examples."
_LONG_ENOUGH = 5.0  # s, of which a signal can be told from all others
_NO_LEADS = "no two records have a signal in one of the leads that are compared (I, II, V1 to V6)"
_RARE = 10  # examples of a class, below which its absence says nothing
_EXPECTED = 5  # examples that would validate by chance alone, below which none may be chance


def shared_patients(subject: Subject) -> Finding:
    """Patients who were learnt from and tested."""
    name, what = "leakage.shared-patients", "Patients on both sides of the split"
    if subject.split is None or not len(subject.tested) or not len(subject.learnt):
        return not_run(name, "recipe", what, "the split is not known, or has no test side")
    learnt, tested = np.unique(subject.patients[subject.learnt]), subject.patients[subject.tested]
    both = np.isin(tested, learnt)
    who = sorted(set(tested[both]))
    share = Measure(float(both.mean()), "share of the test examples whose patient was learnt from")
    if not who:
        return clear(name, "recipe", f"None of the {len(np.unique(tested))} test patients was learnt from.", share)
    records = _records_of(subject, who)
    return found(
        name, "recipe", "high" if share.value > 0.1 else "medium",
        f"{len(who)} of {len(np.unique(tested))} test patients were learnt from: {_listed(records)}. What is learnt of a "
        "patient's own shapes counts as a success here, and will not be there for a new patient.",
        share, where={"patients": ", ".join(who[:_FEW])}, examples=subject.some_ids(subject.tested[both]),
        do="Split by patient, and score again.",
    )  # fmt: skip


def _records_of(subject: Subject, patients: list[str]) -> list[str]:
    """Each patient with the records under which the patient goes; first those who have several, whom names do not show."""
    of, records = subject.patients, subject.examples.column("record").astype(str)
    rows = np.flatnonzero(np.isin(of, patients))
    mine: dict[str, list[str]] = {}
    for patient, record in sorted(set(zip(of[rows].tolist(), records[rows].tolist(), strict=True))):
        mine.setdefault(patient, []).append(record)
    return [
        patient if len(mine[patient]) == 1 else f"{patient} (records {' and '.join(mine[patient][:4])})"
        for patient in sorted(patients, key=lambda patient: -len(mine[patient]))
    ]


def repeats_across(subject: Subject) -> Finding:
    """The same examples in training and in validation, as where rows are repeated before they are split."""
    name, what = "leakage.validated-on-training", "Training examples that validate"
    if subject.shown is None or subject.validated is None or not len(subject.validated):
        return not_run(name, "recipe", what, "which rows trained and which validated is not known, or none validated")
    again = np.isin(subject.validated, subject.shown)
    share = Measure(float(again.mean()), "share of the validation rows that also train")
    if not subject.chose:
        return clear(name, "recipe", _NOTHING_CHOSEN, share)
    if not again.any():
        return clear(name, "recipe", "No validation example is also trained on.", share)
    return found(
        name, "recipe", "high" if share.value > 0.5 else "medium",
        f"{share.value:.0%} of the validation rows are training examples, repeated before the split: the validation loss is a "
        "training loss, and what was chosen by it was not validated.",
        share, examples=subject.some_ids(subject.validated[again]),
        do="Split first, and repeat rare classes within the training side alone.",
    )  # fmt: skip


def classes_validated(subject: Subject) -> Finding:
    """Classes that train and never validate, though five examples (patients, where whole ones validate) would by chance."""
    name, what = "leakage.classes-not-validated", "Classes that no validation example has"
    if subject.shown is None or subject.validated is None or not len(subject.validated):
        return not_run(name, "recipe", what, "which rows trained and which validated is not known, or none validated")
    classes, truth = subject.examples.classes, subject.truth
    trained, validated = truth[np.unique(subject.shown)].sum(0), truth[subject.validated].sum(0)
    expected = _expected(subject, np.unique(subject.shown), np.unique(subject.validated))
    often = [k for k in range(len(classes)) if trained[k] >= _RARE and expected[k] >= _EXPECTED]
    if not often:
        return not_run(name, "recipe", what, f"no class is frequent enough that {_EXPECTED} examples of it would validate")
    missing = [k for k in often if not validated[k]]
    share = Measure(len(missing) / len(often), "share of the frequent training classes that no validation example has")
    there, held = [classes[k] for k in often if validated[k]], [classes[k] for k in range(len(classes)) if validated[k]]
    if not subject.chose:
        return clear(name, "recipe", _NOTHING_CHOSEN, share)
    if not missing:
        return clear(name, "recipe", f"Each of the {len(often)} frequent classes validates.", share)
    absent = ", ".join(classes[k] for k in missing)
    of = f"{', '.join(held)} ({len(there)} of {len(often)} frequent classes)"
    return found(
        name, "recipe", "high" if share.value >= 0.5 else "medium",
        f"Validation holds {of}: the epoch, the rate and the thresholds were chosen blind to {absent}.",
        share, where={"classes": absent}, do="Draw validation examples from every class.",
    )  # fmt: skip


def _expected(subject: Subject, shown: NDArray[np.int64], validated: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many of each class would validate by chance alone: examples, or patients where whole patients validate."""
    truth, patients = subject.truth, subject.patients
    if np.isin(patients[validated], patients[shown]).mean() > 0.5:
        return np.asarray(truth[shown].sum(0) * len(validated) / len(shown))
    who = np.array([len(np.unique(patients[shown][truth[shown, k]])) for k in range(truth.shape[1])])
    return who * len(np.unique(patients[validated])) / len(np.unique(patients[shown]))


def class_of_one_patient(subject: Subject) -> Finding:
    """Classes that live in one patient: they cannot be told from the patient."""
    name = "data.class-in-one-patient"
    truth, patients, classes = subject.truth, subject.patients, subject.examples.classes
    if len(np.unique(patients)) < 2:
        return not_run(name, "data", "Classes that live in one patient", "there is one patient")
    alone: list[tuple[str, str, float, int]] = []
    largest = 0.0
    for k, word in enumerate(classes):
        who, counts = np.unique(patients[truth[:, k]], return_counts=True)
        if counts.sum() < _RARE:
            continue
        share = float(counts.max() / counts.sum())
        largest = max(largest, share)
        if share >= 0.8:
            alone.append((word, str(who[counts.argmax()]), share, int(counts.sum())))
    measure = Measure(largest, "largest share of a class that one patient has")
    if not alone:
        return clear(name, "data", "No class has four fifths of its examples in one patient.", measure)
    told = "; ".join(f"{word}: {share:.0%} of {n} are of {who}" for word, who, share, n in alone)
    rows = np.flatnonzero(truth[:, classes.index(alone[0][0])] & (patients == alone[0][1]))
    return found(
        name, "data", "medium",
        f"{told}. A score of such a class is a score of recognising the patient, and its map is a map of the patient.",
        measure, where={"classes": ", ".join(each[0] for each in alone)}, examples=subject.some_ids(rows),
        do="Leave such a class out of averages and claims, or add patients who have it.",
    )  # fmt: skip


def shared_signals(subject: Subject) -> Finding:
    """One signal under two names: on both sides of the split, or in two databases."""
    name, what = "leakage.shared-signals", "One signal under two names"
    seconds = subject.examples.length / subject.examples.fs
    if seconds < _LONG_ENOUGH:
        return not_run(name, "data", what, f"examples last {seconds:g} s; to know a signal again takes {_LONG_ENOUGH:g} s")
    parts = _parts(subject)
    if len(parts) < 2:
        return not_run(name, "data", what, "there is one database and one side")
    n = sum(_comparable(one, [other for other in parts if other is not one]) for one in parts)
    if not n:
        return not_run(name, "data", what, _NO_LEADS)
    compared = f"{n} of {sum(len(part.records) for part in parts)} could be compared"
    pairs: list[SameSignal] = []
    for one, other in combinations(parts, 2):
        pairs += same_signals(one, other)
    pairs = [pair for pair in pairs if pair.first != pair.second]
    measure = Measure(float(len(pairs)), "pairs of records with one signal (correlation of .95 or more)")
    if not pairs:
        return clear(name, "data", f"No two records of different sides or databases have one signal; {compared}.", measure)
    told = _listed([f"{pair.first} and {pair.second}" for pair in pairs])
    return found(
        name, "data", "medium",
        f"{len(pairs)} pairs of records have one signal under two names ({compared}): {told}.", measure,
        examples=[pair.first for pair in pairs[:_FEW]], do="Leave one of each pair out, or keep both on one side.",
    )  # fmt: skip


def signals_elsewhere(subject: Subject) -> Finding:
    """Signals that another database at hand holds, too: whoever tests the model there tests it on what it has learnt."""
    name, what = "leakage.signals-elsewhere", "Signals that further databases hold, too"
    seconds = subject.examples.length / subject.examples.fs
    if seconds < _LONG_ENOUGH:
        return not_run(name, "data", what, f"examples last {seconds:g} s; to know a signal again takes {_LONG_ENOUGH:g} s")
    others = {} if subject.elsewhere is None else subject.elsewhere()
    if not others:
        return not_run(name, "data", what, "there is no further database of such records at hand")
    mine = together(_parts(subject))
    unlike = [other for other, prints in others.items() if not _comparable(mine, [prints])]
    others = {other: prints for other, prints in others.items() if other not in unlike}
    if not others:
        return not_run(name, "data", what, _NO_LEADS)
    compared = f"{_comparable(mine, list(others.values()))} of {len(mine.records)} could be compared"
    compared += f", and none with {', '.join(unlike)}" if unlike else ""
    pairs = {other: same_signals(mine, prints) for other, prints in others.items()}
    n = sum(len(each) for each in pairs.values())
    count = Measure(float(n), f"records that are in {' or '.join(others)}, too (correlation of .95 or more)")
    if not n:
        return clear(name, "data", f"No record is in {', '.join(others)}, too; {compared}.", count)
    told = "; ".join(
        f"{len(each)} in {other}: " + _listed([f"{pair.first} is {pair.second}" for pair in each])
        for other, each in pairs.items() if each
    )  # fmt: skip
    return found(
        name, "data", "low",
        f"Records of this run are in other databases, under other names ({told}; {compared}). A test there is none on "
        "new patients.",
        count, examples=[pair.first for each in pairs.values() for pair in each][:_FEW],
        do="Leave these records out before the model is tested there.",
    )  # fmt: skip


def _comparable(one: Fingerprints, others: list[Fingerprints]) -> int:
    """How many records of one have a signal in a lead in which one of the others has; what has none is like nothing."""
    there = np.any([other.signals.any((0, 2)) for other in others], axis=0)
    return int((one.signals.any(2) & there).any(1).sum())


def _parts(subject: Subject) -> list[Fingerprints]:
    """Fingerprints of whole records, by database and side; the first example of each record."""
    examples = subject.examples
    names = examples.table["database"].astype(str) + "/" + examples.table["record"].astype(str)
    first = (~names.duplicated()).to_numpy()
    side = np.full(len(examples), "", "<U10") if subject.split is None else np.where(subject.split == "test", "test", "learnt")
    origin = names.str.rsplit("/", n=1).str[0].to_numpy() if subject.origin is None else subject.origin
    groups = np.char.add(np.char.add(origin.astype(str), " "), side.astype(str))
    out = []
    for group in sorted(set(groups[first])):
        rows = np.flatnonzero(first & (groups == group))
        out.append(fingerprints(_recordings(examples, rows, names.to_numpy())))
    return out


def _recordings(examples: Examples, rows: NDArray[np.int64], names: NDArray[np.str_]) -> list[Recording]:
    start, stop = examples.column("valid_start"), examples.column("valid_stop")
    return [
        Recording("", str(names[row]), "", examples.signals[row, :, int(start[row]) : int(stop[row])], examples.fs,
                  examples.leads, no_marks())
        for row in rows
    ]  # fmt: skip


def _listed(words: list[str]) -> str:
    return ", ".join(words[:_FEW]) + (f" and {len(words) - _FEW} more" if len(words) > _FEW else "")
