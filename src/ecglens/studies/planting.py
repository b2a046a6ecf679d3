"""`ecglens plant`: mark a class's training beats, train a quick net on them, see whether it goes by the mark, and audit it."""

from __future__ import annotations

import tempfile
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecglens.analysis.origin import drawn_evenly
from ecglens.audit.confounders import LIVE, sign_findings
from ecglens.audit.finding import FOUND, Finding, read_findings, write_findings
from ecglens.audit.plant import KINDS, Planted, moved_share, plant
from ecglens.audit.signs import find_sign
from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError, choose
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.examples.splits import TEST, TRAIN
from ecglens.files import write_json
from ecglens.models import Classifier, create
from ecglens.models.scaling import SCALES
from ecglens.progress import say
from ecglens.recordings.databases import read_records
from ecglens.recordings.places import records_present
from ecglens.report.audit_page import write_page
from ecglens.simulation.stand_in import find_records
from ecglens.training.fit import TrainOptions, fit

Rows = NDArray[np.int64]
CLASSES = ("A", "N", "V")
# MIT-BIH records that hold all three classes, or V, for a quick look
_FEW = ("100", "118", "119", "200", "207", "209", "213", "220", "222", "223", "232", "233")
LENGTH_S = 1.0  # of a beat's window, R in the middle
_NET = {"quick": TrainOptions(epochs=8, batch=64, rate=5e-3, bf16=False, gain_jitter=0.0),
        "resnet": TrainOptions(epochs=4, batch=64, bf16=False, gain_jitter=0.0)}  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """What is planted: a kind of `ecglens.audit.plant.KINDS`, on a share of a class's training beats, of a strength."""

    kind: str
    class_name: str
    share: float
    strength: float


@dataclass(frozen=True)
class Outcome:
    """subject: the net with its examples, marked where they trained; clean: the same examples without marks; planted, moved:
    None where nothing was planted.
    """

    subject: Subject
    clean: Examples
    planted: Planted | None
    moved: float | None

    @property
    def asked(self) -> Rows:
        """Tested rows."""
        assert self.subject.asked is not None
        return self.subject.asked

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which tested rows are answered rightly, bool (row of `asked`,)."""
        assert self.subject.probabilities is not None
        return np.asarray(self.subject.probabilities.argmax(1) == self.clean.labels[self.asked])

    @property
    def live(self) -> bool:
        """Whether the net goes by the mark: it moves a fifth of clean test beats of other classes to the class."""
        return self.moved is not None and self.moved >= LIVE


class QuickNet(nn.Module):
    """Three convolutions, the largest value of each of 24 features in eight stretches or so, a linear layer.

    (example, lead, time) in mV to logits (example, class); fewer than 40,000 weights.
    """

    def __init__(self, n_classes: int, n_leads: int, length: int) -> None:
        super().__init__()
        quarter = (length + 3) // 4  # after two strides of two
        stretch = max(quarter // 8, 1)
        self.body = nn.Sequential(
            OrderedDict(
                first=nn.Conv1d(n_leads, 12, 9, padding=4),
                norm1=nn.BatchNorm1d(12),
                active1=nn.ReLU(),
                second=nn.Conv1d(12, 24, 9, stride=2, padding=4),
                norm2=nn.BatchNorm1d(24),
                active2=nn.ReLU(),
                third=nn.Conv1d(24, 24, 9, stride=2, padding=4),
                active3=nn.ReLU(),
                stretches=nn.MaxPool1d(stretch),
            )
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(24 * (quarter // stretch), n_classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


def read_beats(data: Path | None, *, per_record: int, quick: bool = False) -> tuple[Examples, str]:
    """Beats of `CLASSES`, a second each, at most `per_record` of each class in a record; and "real" or "simulated".

    See `find_records` for data; quick: from a dozen records. Raises EcglensError where a class has no beat.
    """
    which, folder = find_records("mitdb", data)
    there, _ = records_present(which, folder)
    if quick:
        few = tuple(record for record in (which.a_few or _FEW) if record in there)
        there = few or there[:12]
    jones = label_map("jones")
    labels = replace(jones, name="plant", symbols={name: jones.symbols[name] for name in CLASSES})
    recordings = read_records(which, folder, there, [], swap_leads=True)
    examples, _ = cut_beats(recordings, labels, BeatOptions(length=round(LENGTH_S * which.fs)), [])
    absent = [name for k, name in enumerate(CLASSES) if not (examples.labels == k).any()]
    if absent:
        raise EcglensError(
            f"{folder} holds no beat of class {', '.join(absent)}; name a folder whose records have all of them"
        )
    record = examples.column("record").astype(str)
    rng, chosen = np.random.default_rng(0), []
    for name in np.unique(record):
        for label in range(len(CLASSES)):
            rows = np.flatnonzero((record == name) & (examples.labels == label))
            chosen.append(rng.permutation(rows)[:per_record])
    return examples.take(np.sort(np.concatenate(chosen))), which.kind


def sides(examples: Examples, seed: int) -> NDArray[np.str_]:
    """ "train" or "test" (example,): a third of the patients test, of those with each set of classes as near as can be.

    Raises EcglensError for fewer than four patients.
    """
    patients, who = np.unique(examples.column("patient").astype(str), return_inverse=True)
    if len(patients) < 4:
        raise EcglensError(f"there are {len(patients)} patients; expected at least four, to train on some and test on others")
    has = np.zeros((len(patients), len(examples.classes)), np.int64)
    has[who, examples.labels] = 1
    pattern = has @ (2 ** np.arange(len(examples.classes)))
    order = np.lexsort((np.random.default_rng([seed, 51]).random(len(patients)), pattern))
    tested = np.zeros(len(patients), bool)
    tested[order[1::3]] = True
    return np.where(tested[who], TEST, TRAIN)


def drawn(examples: Examples, seed: int, *, people: int, per_class: int) -> tuple[Examples, NDArray[np.str_]]:
    """Beats of so many random patients, at most `per_class` of each class, evenly over them; and their sides."""
    patients = examples.column("patient").astype(str)
    names = np.unique(patients)
    some = np.random.default_rng([seed, 52]).permutation(names)[:people]
    part = examples.take(np.isin(patients, some))
    who = part.column("patient").astype(str)
    rows = drawn_evenly(part.labels, np.full(len(part), ""), who, per_class=per_class, at_least=1, seed=seed)
    part = part.take(rows)
    return part, sides(part, seed)


def outcome(
    examples: Examples, split: NDArray[np.str_], mark: Mark | None, *, net: str, scale: str, seed: int, kind: str
) -> Outcome:
    """Plant (or not), train and ask; the same arguments but for `mark` give the twin: same examples, seed and first weights.

    net: "quick" or "resnet"; scale: of its input; kind: "real" or "simulated". Raises EcglensError as `plant` does.
    """
    train, test = (np.flatnonzero(split == side) for side in (TRAIN, TEST))
    planted = None
    if mark is not None:
        planted = plant(examples, mark.kind, mark.class_name, mark.share, mark.strength, seed, train)
    marked = examples if planted is None else planted.examples
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = _fresh(net, examples, scale)
    with tempfile.TemporaryDirectory() as folder:
        fit(classifier, marked, train, np.array([], np.int64), _NET[net], seed, Path(folder))
    answers = classifier.probabilities(classifier.logits(marked.take(test)))
    name = "clean" if mark is None else f"{mark.kind} on {mark.share:.0%} of {mark.class_name}, {mark.strength:g}"
    subject = Subject(
        name,
        classifier,
        marked,
        split,
        shown=train,
        asked=test,
        probabilities=answers,
        method="saliency",
        kind=kind,
        seed=seed,
    )
    moved = None
    if mark is not None:
        moved = moved_share(classifier, examples.take(test), mark.kind, mark.class_name, mark.strength, seed)
    return Outcome(subject, examples, planted, moved)


def _fresh(net: str, examples: Examples, scale: str) -> Classifier:
    choose(net, list(_NET), "net")
    if net != "quick":
        return create(net, classes=examples.classes, leads=examples.leads, length=examples.length, fs=examples.fs, scale=scale)
    module = QuickNet(len(examples.classes), len(examples.leads), examples.length)
    return Classifier(
        module, "quick", examples.classes, examples.leads, examples.fs, examples.length, scale, cam_layer="body.third"
    )


def of_mark(findings: list[Finding], mark: Mark) -> list[Finding]:
    """Findings that name the kind and the class."""
    return [
        each for each in findings
        if each.state == FOUND and (each.where.get("sign"), each.where.get("class")) == (mark.kind, mark.class_name)
    ]  # fmt: skip


def place_ms(done: Outcome) -> float | None:
    """Where the marks lie, ms from R: their median; None for a kind without a place."""
    if done.planted is None or done.planted.place is None:
        return None
    r = done.clean.column("r_index")[done.planted.rows].astype(np.float64)
    return float(1000 * np.median(done.planted.place - r) / done.clean.fs)


def run(mark: Mark, data: Path | None, out: Path, *, quick: bool, scale: str, seed: int, overwrite: bool) -> list[Finding]:
    """Plant, train, audit; writes plant.json, model.json, model.safetensors, findings.json and report.html into `out`.

    Raises EcglensError for a mark that cannot be planted, and a folder that holds something else.
    """
    _expect_room(out, overwrite=overwrite)
    choose(mark.kind, list(KINDS), "kind of plant")
    choose(mark.class_name, list(CLASSES), "class")
    choose(scale, [name for name in SCALES if name != "usual"], "scale")  # these beats have no usual one under them
    started = time.monotonic()
    examples, kind = read_beats(data, per_record=40 if quick else 100, quick=quick)
    part, split = drawn(examples, seed, people=len(examples), per_class=500 if quick else 2000)
    done = outcome(part, split, mark, net="resnet", scale=scale, seed=seed, kind=kind)
    findings = sign_findings(done.subject)
    named = of_mark(findings, mark)
    assert done.planted is not None
    facts = {
        "asked": asdict(mark) | {"scale": scale, "seed": seed, "quick": quick}, "kind": kind, "examples": len(part),
        "patients": len(np.unique(done.subject.patients)), "trained_on": int((split == TRAIN).sum()),
        "marked": len(done.planted.rows), "unit": find_sign(mark.kind).unit, "place_ms_from_r": place_ms(done),
        "accuracy": float(done.right.mean()), "moved_share": done.moved, "live": done.live,
        "named": bool(named), "called_used": any(each.severity == "high" for each in named),
        "seconds": time.monotonic() - started,
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    done.subject.classifier.save(out)
    asks = {each.id: "Does a class carry a sign, and is it used?" for each in findings}
    about = {"subject": done.subject.name, "kind": kind, "examples": len(part), "seconds": facts["seconds"], "tables": []}
    write_findings(out / "findings.json", about | {"asks": asks}, findings)
    write_page(out, *read_findings(out / "findings.json"))
    write_json(out / "plant.json", facts)
    _tell(mark, done, named)
    return findings


def _expect_room(out: Path, *, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise EcglensError(f"{out} is a file; --out takes a folder")
    if (out / "plant.json").is_file():
        if not overwrite:
            raise EcglensError(f"{out} holds a plant already; choose another --out, or --overwrite to replace it")
    elif any(out.iterdir()):
        raise EcglensError(f"{out} is not empty and holds no plant; choose another folder for --out")


def _tell(mark: Mark, done: Outcome, named: list[Finding]) -> None:
    lives = "live" if done.live else "not live"
    say(
        f"{done.subject.name}: {lives}, it moves {done.moved:.0%} of clean test beats of other classes to {mark.class_name} "
        f"(live from {LIVE:.0%})"
    )
    used = (
        "the audit calls it used" if any(each.severity == "high" for each in named) else "the audit calls it present, not used"
    )
    say(used if named else "the audit does not name it")
