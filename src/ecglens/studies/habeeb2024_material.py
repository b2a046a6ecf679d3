"""The records of two hospitals, cut alike, as one set of examples; and which net trains on and is tested on which of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.clips import ClipFacts, ClipOptions, cut_clips
from ecglens.examples.diagnoses import DiagnosisMap, counts_side_by_side, diagnosis_map, multi_hot
from ecglens.examples.examples import Examples, joined
from ecglens.examples.splits import TEST, TRAIN, VALIDATION, random_places
from ecglens.files import write_table
from ecglens.progress import say
from ecglens.recordings.databases import Database, Skipped, database, read_records
from ecglens.recordings.duplicates import Fingerprints, SameSignal, fingerprints, same_signals, together
from ecglens.recordings.places import find_database, records_at, records_present
from ecglens.recordings.ptbxl_reader import ptbxl_folds
from ecglens.recordings.recording import Recording
from ecglens.runs import Run
from ecglens.studies.habeeb2024_recipe import CPSC, CPSC_FOLDS, LABELS, PTBXL, Question
from ecglens.studies.stages import expect_same_data, note_data

PADDED = ClipOptions(30.0, 25.0, "end", "start", "none")  # as published, at a rate that a probe can do with
_PROBED = 310  # records of each hospital in which a probe looks for the hospital
_LETTER = "A"  # what the Challenge's names of CPSC2018's records begin with


@dataclass(frozen=True)
class Source:
    """One hospital: its database, the folder it lies in, and the records to read."""

    hospital: str
    which: Database
    folder: Path
    records: tuple[str, ...]


@dataclass(frozen=True)
class Net:
    """One training: rows that train and validate, and for each hospital the rows that this net alone tests.

    first: rows of the training before it, where it goes on from another one (else none).
    """

    name: str
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    tests: dict[str, NDArray[np.int64]]
    first: NDArray[np.int64]


@dataclass(frozen=True)
class Material:
    """The clips of both hospitals, which hospital each is of (example,), the side of each, and the nets to train.

    labels: by key of LABELS, bool (example, class): what each record is by the map that a recipe can take; probed: rows of
    the examples in which the hospital is looked for; padded (probed, lead, time): the same records as published, the last
    30 s with zeros before shorter ones, at 25 Hz.
    """

    examples: Examples
    hospital: NDArray[np.str_]
    side: NDArray[np.str_]
    nets: tuple[Net, ...]
    labels: dict[str, NDArray[np.bool_]]
    probed: NDArray[np.int64]
    padded: NDArray[np.float32]


@dataclass
class _Seen:
    """What is kept of recordings while they go by; the signals of a large database fill the memory."""

    names: list[str] = field(default_factory=list)
    diagnoses: list[tuple[str, ...]] = field(default_factory=list)
    likelihoods: list[tuple[float, ...]] = field(default_factory=list)
    prints: list[Fingerprints] = field(default_factory=list)
    some: list[Recording] = field(default_factory=list)

    def watch(self, recordings: Iterable[Recording], picked: set[str]) -> Iterator[Recording]:
        """The recordings; those in `picked` are kept whole."""
        for recording in recordings:
            self.names.append(recording.record)
            self.diagnoses.append(recording.diagnoses)
            self.likelihoods.append(recording.likelihoods)
            self.prints.append(fingerprints([recording]))
            if recording.record in picked:
                self.some.append(recording)
            yield recording


def sources(data: Path | None, fs: float) -> tuple[Source, Source]:
    """CPSC2018 in its own format or as the Challenge gives it out, and PTB-XL; raises EcglensError where one is not there."""
    own = data is not None and (data / "cpsc2018").is_dir()
    cpsc = database("cpsc2018" if own else "cinc2020")
    folder = find_database(cpsc, data)
    there, _ = records_present(cpsc, folder)
    mine = there if own else tuple(name for name in there if name.startswith(_LETTER))
    if not mine:
        raise EcglensError(f"{folder} holds no record of CPSC2018; in the Challenge's set their names begin with {_LETTER}")
    ptbxl = database("ptbxl")
    place = find_database(ptbxl, data)
    return Source(CPSC, cpsc, folder, mine), Source(PTBXL, ptbxl, place, records_at(ptbxl, place, fs)[0])


def prepare(question: Question, data: Path | None, this: Run) -> Material:
    """Read both, cut, split, and plan the nets; writes examples.csv and its tables, and notes what was left out and why."""
    recipe = question.recipe
    parts, hospitals, facts, abouts, prints, counts = [], [], {}, {}, {}, []
    padded: dict[str, NDArray[np.float32]] = {}
    by_map: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in LABELS}
    for source in sources(data, recipe.fs):
        labels = map_of(source, recipe.labels)
        skipped: list[Skipped] = []
        remarks: list[str] = []
        seen = _Seen()
        read = read_records(source.which, source.folder, source.records, skipped, swap_leads=False, remarks=remarks)
        examples, fact = cut_clips(seen.watch(read, _probed(source, question.seed)), labels, recipe.cutting, skipped)
        padded |= _padded(seen.some, labels)
        prints[source.hospital] = together(seen.prints)
        for name in LABELS:
            by_map[name].append(_labels(examples, seen, map_of(source, name)))
        counts.append(_counts(source, seen))
        write_table(this.tables / f"label-map-{source.hospital}.csv", labels.table())
        parts.append(examples)
        hospitals.append(np.full(len(examples), source.hospital))
        facts[source.hospital] = _told(fact, labels)
        records = sorted(set(examples.column("record")))
        abouts[source.hospital] = note_data(source.which, source.folder, records, (), skipped, remarks)
        say(f"{source.hospital}: {len(records):,} records, {len(skipped)} left out")
    both, hospital = joined(parts), np.concatenate(hospitals)
    shared = same_signals(prints[CPSC], prints[PTBXL])
    side = sides(both, hospital, recipe.folds, _folds(data, both, hospital), question.seed, shared)
    nets = plan_nets(question.train, hospital, side)
    about = _together(abouts)
    expect_same_data(this, about)
    _write_examples(both, hospital, side, this)
    write_table(this.tables / "label-counts.csv", pd.concat(counts, ignore_index=True))
    this.note(data=about, clips=facts, shared_signals=[asdict(pair) for pair in shared])
    names = _names(both)
    probed = np.flatnonzero(np.isin(names, list(padded)) & (side != "unused"))
    labels_of = {name: np.concatenate(rows) for name, rows in by_map.items()}
    return Material(both, hospital, side, nets, labels_of, probed, np.stack([padded[name] for name in names[probed]]))


def map_of(source: Source, labels: str) -> DiagnosisMap:
    """The map that turns a hospital's diagnoses into the nine classes."""
    return diagnosis_map(LABELS[labels][source.hospital])


def _probed(source: Source, seed: int) -> set[str]:
    """Some records of a hospital, at random."""
    pick = np.random.default_rng([seed, 42]).permutation(len(source.records))[:_PROBED]
    return {source.records[k] for k in pick}


def _padded(recordings: list[Recording], labels: DiagnosisMap) -> dict[str, NDArray[np.float32]]:
    """The records cut as PADDED says, by database and name."""
    some = cut_clips(recordings, labels, PADDED, [])[0]
    return dict(zip(_names(some).tolist(), some.signals, strict=True))


def _labels(examples: Examples, seen: _Seen, labels: DiagnosisMap) -> NDArray[np.bool_]:
    """The classes of each example by a map, whether it is the recipe's own or not."""
    at = {name: row for row, name in enumerate(seen.names)}
    rows = [at[name] for name in examples.column("record").astype(str)]
    return multi_hot(labels, seen.diagnoses, seen.likelihoods).labels[rows]


def _names(examples: Examples) -> NDArray[np.str_]:
    """Database and name of each example's record."""
    return (examples.table["database"] + "/" + examples.table["record"].astype(str)).to_numpy().astype(str)


def _told(facts: ClipFacts, labels: DiagnosisMap) -> dict[str, object]:
    return asdict(facts) | {"map": labels.name, "source": labels.source, "warnings": list(labels.warnings)}


def _counts(source: Source, seen: _Seen) -> pd.DataFrame:
    """Records of each class of one hospital by every map that a recipe can give it, side by side."""
    maps = [diagnosis_map(name) for name in dict.fromkeys(each[source.hospital] for each in LABELS.values())]
    table = counts_side_by_side(maps, seen.diagnoses, seen.likelihoods)
    table.insert(0, "hospital", source.hospital)
    return table


def _folds(data: Path | None, examples: Examples, hospital: NDArray[np.str_]) -> NDArray[np.int64]:
    """The publisher's fold of each PTB-XL example, 0 for the others."""
    fold = ptbxl_folds(find_database(database("ptbxl"), data))
    names = examples.column("record").astype(str)
    return np.array([fold[name] if whose == PTBXL else 0 for name, whose in zip(names, hospital, strict=True)], np.int64)


def sides(
    examples: Examples, hospital: NDArray[np.str_], folds: str, publisher: NDArray[np.int64], seed: int,
    shared: list[SameSignal],
) -> NDArray[np.str_]:  # fmt: skip
    """PTB-XL: 'train', 'validation' or 'test'; CPSC2018: 'part 0' to 'part 4', at random. (example,)

    shared: records of CPSC2018 (first) that PTB-XL holds as well; they are 'unused'.
    """
    mine, names = hospital == PTBXL, examples.column("record").astype(str)
    side = np.full(len(examples), "unused", "<U10")
    if folds == "publisher":
        side[mine] = np.where(publisher[mine] == 10, TEST, np.where(publisher[mine] == 9, VALIDATION, TRAIN))
    else:
        place = random_places(names[mine], seed)
        side[mine] = np.where(place < 0.1, TEST, np.where(place < 0.2, VALIDATION, TRAIN))
    part = (CPSC_FOLDS * random_places(examples.column("patient").astype(str)[~mine], seed)).astype(int)
    side[~mine] = np.char.add("part ", part.astype(str))
    side[~mine & np.isin(names, [pair.first for pair in shared])] = "unused"
    return side


def plan_nets(train: str, hospital: NDArray[np.str_], side: NDArray[np.str_]) -> tuple[Net, ...]:
    """The nets of a training: one where PTB-XL alone trains, else one for each part of CPSC2018, which it tests.

    The part after the tested one validates. PTB-XL's test side is tested by the first net alone.
    """
    ptbxl = {name: np.flatnonzero((hospital == PTBXL) & (side == name)) for name in (TRAIN, VALIDATION, TEST)}
    for name, rows in ptbxl.items():
        if not len(rows):
            raise EcglensError(f"no record of PTB-XL is on the {name} side; add records or choose other folds")
    none = np.array([], np.int64)
    if train == "ptbxl":
        everyone = np.flatnonzero((hospital == CPSC) & (side != "unused"))
        return (Net("0", ptbxl[TRAIN], ptbxl[VALIDATION], {CPSC: everyone, PTBXL: ptbxl[TEST]}, none),)
    nets = []
    for fold in range(CPSC_FOLDS):
        part = {k: np.flatnonzero(side == f"part {k}") for k in range(CPSC_FOLDS)}
        tested, validates = part[fold], part[(fold + 1) % CPSC_FOLDS]
        trains = np.concatenate([part[k] for k in range(CPSC_FOLDS) if k not in (fold, (fold + 1) % CPSC_FOLDS)])
        tests = {CPSC: tested, PTBXL: ptbxl[TEST] if fold == 0 else none}
        if train == "cpsc":
            nets.append(Net(str(fold), trains, validates, tests, none))
        elif train == "both":
            both = [np.concatenate(each) for each in ((trains, ptbxl[TRAIN]), (validates, ptbxl[VALIDATION]))]
            nets.append(Net(str(fold), both[0], both[1], tests, none))
        else:
            nets.append(Net(str(fold), ptbxl[TRAIN], ptbxl[VALIDATION], tests, trains))
    return tuple(nets)


def _together(abouts: dict[str, dict[str, object]]) -> dict[str, object]:
    """What run.json says of both hospitals."""
    out: dict[str, object] = {"kind": "real", "hospitals": abouts}
    for name in ("title", "database", "version", "licence"):
        out[name] = "; ".join(str(about[name]) for about in abouts.values())
    for name in ("records", "skipped", "remarks", "facts"):
        out[name] = [line for about in abouts.values() for line in about[name]]  # type: ignore[attr-defined]
    out["sha256"] = {
        f"{whose}/{file}": digest
        for whose, about in abouts.items()
        for file, digest in about["sha256"].items()  # type: ignore[attr-defined]
    }
    return out


def _write_examples(examples: Examples, hospital: NDArray[np.str_], side: NDArray[np.str_], this: Run) -> None:
    """examples.csv, a row a record; tables/sides.csv: records of each class, hospital and side."""
    hot = examples.multi_hot
    assert hot is not None
    columns = ["id", "record", "patient", "start", "valid_start", "valid_stop", "recorded_fs", "recorded_seconds"]
    table = examples.table[columns].copy()
    table.insert(1, "hospital", hospital)
    table["side"] = side
    rows = []
    for k, name in enumerate(examples.classes):
        table[name] = hot[:, k].astype(int)
        for whose in (CPSC, PTBXL):
            for which in sorted(set(side[hospital == whose])):
                mine = (hospital == whose) & (side == which)
                rows.append({"class": name, "hospital": whose, "side": which, "n": int(hot[mine, k].sum())})
    write_table(this.path / "examples.csv", table)
    write_table(this.tables / "sides.csv", pd.DataFrame(rows))
