"""Small pictures beside the findings of an audit: the examples to look at, on ECG paper, with the map that is audited."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.audit.finding import FOUND, Finding, worst_first
from ecglens.audit.leads import answers
from ecglens.audit.sanity import maps_of
from ecglens.audit.sign_measures import recorded
from ecglens.audit.signs import SIGNS
from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError
from ecglens.examples.examples import LeadPlace
from ecglens.files import write_text
from ecglens.report.html import picture
from ecglens.report.small_paper import Shown, on_paper, slim

_EXAMPLES, _LEADS = 3, 2  # in a picture
_WHOLE = 8  # findings that have pictures of so many examples, the rest of one: a page has to open quickly
_MOST_BYTES = 2_200_000  # of all pictures: from there on findings have none
_LONGEST = 10.0  # s that are shown


def finding_pictures(subject: Subject, findings: Sequence[Finding], folder: Path) -> dict[str, dict[str, str]]:
    """A picture in `folder` for each finding with examples, worst first: id to {"file": name, "caption": words}.

    Up to three examples each (one from the ninth finding on), two leads at most: the one that the finding names, else II or
    the first, and the one with most of the map. Maps speak for the class that the finding names, else for the one that is
    answered. Pictures of former audits in `folder` go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("finding-*.svg"):
        old.unlink()
    row_of = {name: row for row, name in enumerate(subject.ids.tolist())}
    asked = [
        (each, rows)
        for each in worst_first(findings)
        if each.state == FOUND and (rows := [row_of[name] for name in each.examples if name in row_of][:_EXAMPLES])
    ]
    asked = [(each, rows if number < _WHOLE else rows[:1]) for number, (each, rows) in enumerate(asked)]
    maps = _maps(subject, asked)
    out: dict[str, dict[str, str]] = {}
    size = 0
    for number, (each, rows) in enumerate(asked):
        shown, what = _shown(subject, each, rows, maps)
        name = f"finding-{number + 1:02d}-{re.sub(r'[^A-Za-z0-9]+', '-', each.id).strip('-')}"
        made = picture(on_paper(shown), name, _caption(subject, each, what, shown), folder)
        path = folder / f"{name}.svg"
        write_text(path, slim(path.read_text(encoding="utf-8")))
        size += path.stat().st_size
        if size > _MOST_BYTES:
            path.unlink()
            break
        out[each.id] = {"file": f"{name}.svg", "caption": made.caption}
    return out


def _target(subject: Subject, each: Finding) -> int:
    """The class that the finding names, -1 where it names none."""
    word = each.where.get("class")
    return subject.examples.classes.index(word) if word in subject.examples.classes else -1


_Maps = dict[tuple[int, int], tuple[int, NDArray[np.float32] | None, NDArray[np.bool_]]]


def _maps(subject: Subject, asked: list[tuple[Finding, list[int]]]) -> _Maps:
    """(row, class asked about or -1) to the class of the map, the map (lead or 1, time) and what the model says (class,)."""
    keys = sorted({(row, _target(subject, each)) for each, rows in asked for row in rows})
    if not keys:
        return {}
    part = subject.examples.take(np.array([row for row, _ in keys]))
    logits = subject.classifier.logits(part)
    target = np.array([likeliest if k < 0 else k for (_, k), likeliest in zip(keys, logits.argmax(1), strict=True)])
    made: NDArray[np.float32] | None = None
    if subject.method is not None and not subject.classifier.draws:
        try:
            made = maps_of(subject, part, target)
        except EcglensError:  # a picture without a map is better than no page
            made = None
    said = answers(subject.classifier, part)
    return {
        key: (int(target[k]), None if made is None else made[k], said[k]) for k, key in enumerate(keys)
    }  # fmt: skip


def _shown(subject: Subject, each: Finding, rows: list[int], maps: _Maps) -> tuple[list[Shown], str]:
    """The examples of a finding, and the classes of their maps, in words ("" without maps)."""
    asked = _target(subject, each)
    found = [maps[row, asked] for row in rows]
    part, classes = subject.examples.take(np.array(rows)), subject.examples.classes
    marks = _marks(subject, each, rows)
    shown = []
    for k, (row, (_, values, said)) in enumerate(zip(rows, found, strict=True)):
        names = _lead_names(subject, row)
        full = None if values is None else np.broadcast_to(values, (part.signals.shape[1], values.shape[1]))
        chosen = _chosen(recorded(part), names, each, full)
        mv = np.stack([_cut(part.signals[k], lead) for lead, _ in chosen]).astype(np.float64)
        tinted = None if full is None else np.stack([_cut(full, lead) for lead, _ in chosen]).astype(np.float64)
        first, stop, r = (int(part.column(name)[k]) for name in ("valid_start", "valid_stop", "r_index"))
        at = np.arange(mv.shape[1])
        zero = r if 0 <= r < len(at) else 0
        keep = _window(len(at), part.fs, marks[k])
        truth = " and ".join(name for name, holds in zip(classes, subject.truth[row], strict=True) if holds) or "no class"
        answer = " and ".join(name for name, holds in zip(classes, said, strict=True) if holds) or "no class"
        right = f"{truth}, answered rightly" if truth == answer else f"{truth}, answered {answer}"
        shown.append(
            Shown(
                f"{subject.ids[row]}\n{right}", tuple(name for _, name in chosen), (at[keep] - zero) / part.fs, mv[:, keep],
                None if tinted is None else tinted[:, keep], ((at >= first) & (at < stop))[keep],
                None if marks[k] is None else (marks[k] - zero) / part.fs,
            )
        )  # fmt: skip
    if any(values is None for _, values, _ in found):
        return shown, ""
    return shown, " or ".join(dict.fromkeys(classes[k] for k, _, _ in found))


def _cut(x: NDArray[np.floating[Any]], lead: LeadPlace) -> NDArray[np.floating[Any]]:
    return x[lead.row, lead.offset : lead.offset + lead.length]


def _lead_names(subject: Subject, row: int) -> list[str]:
    """What the leads of this example really are, beside the names of their places."""
    places = [each.name for each in recorded(subject.examples)]
    told = [name.strip() for name in str(subject.examples.column("lead_names")[row]).split(",")]
    return told if len(told) == len(places) and all(told) else places


def _chosen(
    places: list[LeadPlace], names: list[str], each: Finding, values: NDArray[np.floating[Any]] | None
) -> list[tuple[LeadPlace, str]]:
    """The leads to show, in their order: both of two; else the one that the finding names, or II, and that of most map."""
    if len(places) <= _LEADS:
        return list(zip(places, names, strict=True))
    told = each.where.get("lead", "")
    first = next((k for k, (one, name) in enumerate(zip(places, names, strict=True)) if told and told in (one.name, name)), -1)
    if first < 0:
        first = names.index("II") if "II" in names else 0
    picked = {first}
    if values is not None:
        mass = np.array([np.abs(_cut(values, one)).sum() for one in places])
        if mass.max() > mass.min() * (1 + 1e-6):
            picked.add(int(mass.argmax()))
    return [(places[k], names[k]) for k in sorted(picked)]


def _marks(subject: Subject, each: Finding, rows: list[int]) -> list[Any]:
    """The sample of a lead at which each example has the sign; None where the finding is of none that has a place."""
    sign = next((sign for sign in SIGNS if sign.name == each.where.get("sign")), None)
    if sign is None or sign.place is None:
        return [None] * len(rows)
    return [float(at) for at in sign.place(subject.examples.take(np.array(rows)))]


def _window(n: int, fs: float, mark: float | None) -> slice:
    """What is shown of `n` samples: all, or ten seconds, with the mark in them."""
    size = round(_LONGEST * fs)
    if n <= size:
        return slice(0, n)
    start = 0 if mark is None else int(np.clip(mark - size / 2, 0, n - size))
    return slice(start, start + size)


def _caption(subject: Subject, each: Finding, what: str, shown: Sequence[Shown]) -> str:
    signed = any(one.values is not None and (one.values < 0).any() for one in shown)
    lines = []
    if what:
        colour = "purple speaks for it, orange against it" if signed else "the darker, the more of it"
        lines.append(f"Colour: the map by {subject.method} for {what}; {colour}.")
    if any(one.mark_s is not None for one in shown):
        lines.append(f"Blue dashes: where the sign {each.where['sign']} is.")
    if any(not one.valid.all() for one in shown):
        lines.append("Grey: padding.")
    return " ".join(lines)
