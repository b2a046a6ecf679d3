"""Fit the weights of the delineation: `python benchmarks/ludb_fit.py [--folds 5]`, some minutes.

Boundaries on LUDB's odd records; whether there is a P wave on these, PTB-XL's folds 1 to 8 and MIT-BIH. Writes
src/ecglens/analysis/wave_weights.json and prints how PTB-XL's folds 9 and 10 do; with --folds it only prints how well folds of
the odd records do that took no part in the fit. No even record of LUDB is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch

from ecglens.analysis.delineation import Stretches, at_rate, delineate_stretches
from ecglens.analysis.wave_chain import (
    LOOKS,
    PRESENCE,
    Beats,
    Weights,
    allowed_places,
    find_point,
    find_points,
    presence_measures,
)
from ecglens.analysis.wave_measures import RATE, Banks, Look, banks, measure_names, measures
from ludb_delineation import LIMITS, Truth, figures, read_truths, scored
from rhythms import Heard, mitdb, ptbxl, said

PLACE = Path(__file__).parents[1] / "src/ecglens/analysis/wave_weights.json"
WAYS = {"12 leads": list(range(12)), "II and V1": [1, 6], "II": [1]}
_STEPS, _BATCH = 250, 1024
_NEAR = 2.5  # samples of RATE: how fast a place further from the expert's is worth less
_JITTER = 2.5  # samples of RATE by which R is moved, as no finder hits what experts call R


@dataclass
class View:
    """Some leads of a record: x at RATE; marks (beat, lead) by point in samples of RATE; what was found so far."""

    truth: Truth
    x: np.ndarray
    marks: dict[str, np.ndarray]
    beats: Beats
    bank: Banks
    found: dict[str, np.ndarray]


def views(
    truths: list[Truth], rng: np.random.Generator, sets: Callable[[np.random.Generator], list[list[int]]], jitter: float
) -> list[View]:
    """Each record with each set of leads; jitter: samples of RATE by which R is moved."""
    out = []
    for truth in truths:
        x, _ = at_rate(truth.signal[None], truth.fs)
        scale = RATE / truth.fs
        for rows in sets(rng):
            r = np.rint(truth.r * scale + rng.normal(0, jitter, len(truth.r))).astype(np.int64)
            zeros = np.zeros_like(r)
            rr = np.diff(r, prepend=np.nan) / RATE
            beats = Beats(r, zeros, np.full_like(r, x.shape[2]), zeros, rr)
            marks = {name: truth.marks[name][:, rows] * scale for name in LOOKS}
            found = {"lead": np.zeros((len(r), len(rows)))}
            out.append(View(truth, x[0, rows], marks, beats, banks(x[0, rows]), found))
    return out


def mixed(rng: np.random.Generator) -> list[list[int]]:
    """All leads, four by themselves, three pairs: the same weights have to do for any number."""
    twelve = rng.permutation(12).tolist()
    return [list(range(12)), *([lead] for lead in rng.permutation(12)[:4].tolist()), twelve[:2], twelve[2:4], twelve[4:6]]


def weights_of(x: np.ndarray, allowed: np.ndarray, wanted: np.ndarray, look: Look) -> np.ndarray:
    """Weights (measure,) of a softmax over places that gives the most to the wanted place (n,) and those around it."""
    apart = np.abs(look.offsets - wanted[:, None])
    target = np.exp(-apart / _NEAR) * allowed
    total = target.sum(1, keepdims=True)
    fits = (apart.min(1) <= 2) & (total[:, 0] > 0)
    x, allowed, target = (torch.tensor(each[fits]) for each in (x, allowed, (target / np.maximum(total, 1e-9)).astype("f")))
    scale = x.std((0, 1)) + 1e-6
    weights = torch.zeros(x.shape[2], requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
    generator = torch.Generator().manual_seed(0)
    for _ in range(_STEPS):
        part = torch.randint(len(x), (_BATCH,), generator=generator)
        score = (x[part] @ (weights / scale)).masked_fill(~allowed[part], -1e4)
        loss = -(target[part] * torch.log_softmax(score, 1)).sum(1).mean() + 1e-4 * (weights**2).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return (weights / scale).detach().numpy().astype(np.float32)


def fit_points(seen: list[View]) -> dict[str, np.ndarray]:
    """Weights of each point, one after another, as each is looked for from those found before it."""
    points = {}
    for name, look in LOOKS.items():
        parts = []
        for view in seen:
            anchor, allowed = allowed_places(name, view.found, view.beats)
            wanted = view.marks[name] - anchor
            known = ~np.isnan(wanted) & (anchor > 0)
            parts.append([each[known] for each in (measures(view.bank, anchor, look, allowed), allowed, wanted)])
        points[name] = weights_of(*(np.concatenate(each) for each in zip(*parts, strict=True)), look)
        for view in seen:
            view.found[name] = find_point(name, points[name], view.bank, view.found, view.beats)
    return points


def p_told(x: np.ndarray, beats: Beats, weights: Weights) -> np.ndarray:
    """`presence_measures` of a signal (lead, time)."""
    found, told = find_points(x, beats, weights)
    return presence_measures(told, found, np.ones(told.shape[:2], bool), beats)


def all_leads(_: np.random.Generator, n: int) -> list[list[int]]:
    return [list(range(n))]


def pairs(rng: np.random.Generator, n: int) -> list[list[int]]:
    return rng.permutation(n).reshape(-1, 2).tolist()


def single(rng: np.random.Generator, n: int) -> list[list[int]]:
    return rng.permutation(n).reshape(-1, 1).tolist()


@dataclass(frozen=True)
class Told:
    """`presence_measures` of beats, 1 or 0 for a P wave, what each is worth in the fit, and with how many leads."""

    x: np.ndarray
    y: np.ndarray
    worth: np.ndarray
    leads: np.ndarray


def told_of(parts: list[tuple[np.ndarray, np.ndarray]], leads: int) -> Told:
    """Of a database's records: beats with P weigh as much as those without, a record as the root of its beats."""
    known = [(told[~np.isnan(answer)], answer[~np.isnan(answer)]) for told, answer in parts]
    x, y = map(np.concatenate, zip(*known, strict=True))
    often = np.concatenate([np.where(answer > 0, answer.sum(), (1 - answer).sum()) for _, answer in known])
    worth = 1 / np.sqrt(often)
    for there in (0, 1):
        worth[y == there] /= worth[y == there].sum()
    return Told(x, y, worth, np.full(len(y), leads))


def evidence_of(truths: list[Truth], heard: dict[str, list[Heard]], weights: Weights) -> list[Told]:
    """Of LUDB, PTB-XL and MIT-BIH, with all leads, with two and with one; each of equal weight."""
    out = []
    for sets, leads in ((all_leads, 12), (pairs, 2), (single, 1)):
        rng = np.random.default_rng(1)
        seen = views(truths, rng, partial(sets, n=12), 0.5)
        out.append(told_of([(p_told(view.x, view.beats, weights), view.truth.has_p) for view in seen], leads))
        for records in heard.values():
            n = len(records[0].x)
            if n >= leads:
                some = [(each, rows) for each in records for rows in sets(rng, n)[:2]]
                out.append(told_of([(p_told(each.x[rows], each.beats, weights), each.has_p) for each, rows in some], leads))
    return out


def fit_presence(truths: list[Truth], heard: dict[str, list[Heard]], weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """((mean, scale, weight) of each of PRESENCE, level with one, two and more leads): a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    parts = evidence_of(truths, heard, weights)
    x, y, worth, leads = (np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "y", "worth", "leads"))
    mean, scale = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    few = np.column_stack([leads == 1, leads == 2]).astype(float)
    model = LogisticRegression(C=0.3, max_iter=500)
    model.fit(np.column_stack([np.nan_to_num((x - mean) / scale), few]), y, sample_weight=worth / worth.mean())
    found = model.coef_[0]
    return np.column_stack([mean, scale, found[:-2]]), model.intercept_[0] + np.append(found[-2:], 0)


def fit(truths: list[Truth], heard: dict[str, list[Heard]]) -> Weights:
    """All weights."""
    points = fit_points(views(truths, np.random.default_rng(0), mixed, _JITTER))
    first = Weights(points, np.zeros((len(PRESENCE), 3)), np.zeros(3))
    return Weights(points, *fit_presence(truths, heard, first))


def written(weights: Weights) -> str:
    """The table as JSON, numbers with four digits."""

    def short(values: np.ndarray) -> list[float]:
        return [float(f"{value:.4g}") for value in values]

    table = {
        "about": "weights of measures by point; mean, scale, weight of signs of a P wave; level with 1, 2, more leads",
        "source": "LUDB 1.0.1 (ODC-By 1.0, Kalyakulina 2020), records 1, 3, 5 ... 199; presence: these, PTB-XL (CC BY 4.0, "
        "Wagner 2020), folds 1 to 8, and MIT-BIH (ODC-By 1.0, Moody 2001), by rhythms and beat marks",
        "command": "python benchmarks/ludb_fit.py",
        "points": {
            name: dict(zip(measure_names(look), short(weights.points[name]), strict=True)) for name, look in LOOKS.items()
        },
        "presence": {name: short(row) for name, row in zip(PRESENCE, weights.presence, strict=True)},
        "level": short(weights.level),
    }
    return json.dumps(table, indent=1) + "\n"


def with_leads(truth: Truth, rows: list[int]) -> Truth:
    """The record with some of its leads."""
    marks = {name: each[:, rows] for name, each in truth.marks.items()}
    return Truth(
        truth.record, truth.signal[rows], truth.fs, tuple(truth.leads[k] for k in rows), truth.r, marks, truth.qrs[:, rows]
    )


@click.command()
@click.option("--folds", type=int, default=0, help="Only print the figures of that many folds.")
def main(folds: int) -> None:
    """Fit, or try."""
    torch.set_num_threads(1)
    truths, heard = read_truths(odd=True), {"ptbxl": ptbxl(range(1, 9)), "mitdb": mitdb()}
    if not folds:
        weights = fit(truths, heard)
        PLACE.write_text(written(weights), encoding="utf-8")
        print(f"{PLACE} written")
        unseen = ptbxl((9, 10))
        for way, rows in WAYS.items():
            print(f"PTB-XL, folds 9 and 10, {way}: {said(unseen, rows, weights)}")
        return
    ways: dict[str, list] = {way: [] for way in WAYS}
    for fold in range(folds):
        weights = fit([each for k, each in enumerate(truths) if k % folds != fold], heard)
        for truth in truths[fold::folds]:
            for way, rows in WAYS.items():
                part = with_leads(truth, rows)
                n = len(part.r)
                zeros, rr = np.zeros(n, np.int64), np.diff(part.r, prepend=np.nan) / part.fs
                one = Stretches(zeros, part.r, zeros[:1], np.array([part.signal.shape[1]]), zeros, part.r / part.fs, rr)
                ways[way].append(scored(part, delineate_stretches(part.signal[None], part.fs, part.leads, one, weights)))
    for way, rows in ways.items():
        print(f"{folds} folds of the odd records, {way} (goals {LIMITS})\n{figures(rows)}")


if __name__ == "__main__":
    main()
