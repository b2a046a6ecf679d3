"""What a user's own model is asked about: an array of the user's, or beats and windows of a database that fit the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import LABEL_MAPS, LabelMap
from ecglens.examples.windows import WindowOptions, cut_windows
from ecglens.models import Classifier
from ecglens.recordings.databases import Database, Skipped, read_records
from ecglens.recordings.places import records_present
from ecglens.simulation.stand_in import find_records


def load_data(classifier: Classifier, data: str | None) -> tuple[Examples | NDArray[np.float32], dict[str, Any]]:
    """FILE.npy (example, lead, time) as the model's own input, memory-mapped; else beats of MIT-BIH or a simulated cohort.

    Beats are cut as fixed windows of the model's length, their classes those of the model; for a model of one lead whose
    classes are those of vijayarangan2020, or some of them, windows of that study. Raises EcglensError where they cannot be.
    """
    if data is not None and data.endswith(".npy"):
        try:
            array = np.load(data, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise EcglensError(f"--data: there is no file {data}") from None
        except (ValueError, OSError, EOFError) as error:
            raise EcglensError(f"{data} is not a numpy array file ({' '.join(str(error).split())[:100]})") from None
        if array.ndim != 3:
            raise EcglensError(f"{data}: the array has shape {array.shape}; expected (example, lead, time)")
        if not len(array):
            raise EcglensError(f"{data} holds no example")
        if array.dtype.kind != "f" and array.dtype.kind != "i":
            raise EcglensError(f"{data} holds {array.dtype}; expected numbers (example, lead, time)")
        return array, {"kind": "given", "title": Path(data).name, "facts": [f"{len(array)} examples of {data}"]}
    which, folder = find_records("mitdb", None if data is None else Path(data))
    skipped: list[Skipped] = []
    there, missing = records_present(which, folder)
    windows = LABEL_MAPS["vijayarangan"]
    if len(classifier.leads) == 1 and set(classifier.classes) <= set(windows.classes):
        examples, facts = _windows(classifier, which, folder, there, windows, skipped)
    else:
        examples, facts = _beats(classifier, which, folder, there, skipped)
    renamed = tuple(replace(place, name=name) for place, name in zip(examples.places, classifier.leads, strict=True))
    facts = [*which.lead_facts, *facts]
    facts += [f"missing: {', '.join(missing)}"] if missing else []
    facts += [f"left out: {item.record}: {item.reason}" for item in skipped]
    return replace(examples, leads=classifier.leads, places=renamed), {
        "kind": which.kind,
        "title": which.title,
        "facts": facts,
    }


def _beats(
    classifier: Classifier, which: Database, folder: Path, there: tuple[str, ...], skipped: list[Skipped]
) -> tuple[Examples, list[str]]:
    beats = {name: labels for name, labels in LABEL_MAPS.items() if not labels.rhythms}
    fits = [labels for labels in beats.values() if labels.classes == classifier.classes]
    if not fits:
        known = "; ".join(f"{name}: {', '.join(labels.classes)}" for name, labels in beats.items())
        raise EcglensError(
            f"{classifier.name} has classes {', '.join(classifier.classes)}; beats can be labelled as {known}. Give your own "
            "examples as FILE.npy instead"
        )
    if len(classifier.leads) != which.n_leads or classifier.fs != which.fs:
        raise EcglensError(
            f"{classifier.name} takes {len(classifier.leads)} leads at {classifier.fs:g} Hz; {which.title} has "
            f"{which.n_leads} at {which.fs:g} Hz"
        )
    recordings = read_records(which, folder, there, skipped, swap_leads=True)
    examples, _ = cut_beats(recordings, fits[0], BeatOptions(length=classifier.length), skipped)
    return examples, [f"the model's {', '.join(classifier.leads)} are fed the records' leads in their order"]


def _windows(
    classifier: Classifier, which: Database, folder: Path, there: tuple[str, ...], labels: LabelMap, skipped: list[Skipped]
) -> tuple[Examples, list[str]]:
    options = WindowOptions(seconds=classifier.length / classifier.fs, fs=classifier.fs)
    recordings = read_records(which, folder, there, skipped, swap_leads=False)
    # a rhythm that the model does not know takes no beats away
    known = replace(labels, rhythms={name: mark for name, mark in labels.rhythms.items() if name in classifier.classes})
    examples, found = cut_windows(recordings, known, options, skipped)
    number = np.array([classifier.classes.index(name) if name in classifier.classes else -1 for name in labels.classes])
    kept = number[examples.labels] >= 0
    part = examples.take(kept)
    if not len(part):
        raise EcglensError(f"{which.title} as read here holds no window of {', '.join(classifier.classes)}")
    facts = [f"one lead: {options.lead} where a record has it, else its first; {int((~kept).sum())} windows of other classes"]
    said = {"left_record": "leave the record", "in_rhythm": "lie in a rhythm of another class", "no_beat": "hold no beat"}
    lost = {words: sum(getattr(found, key).values()) for key, words in said.items()}
    facts += [f"{n} windows {words}" for words, n in lost.items() if n]
    return replace(part, labels=number[part.labels].astype(np.int64), classes=classifier.classes), facts
