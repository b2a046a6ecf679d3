"""Fit the weights of the delineation: `python benchmarks/ludb_fit.py [--folds 5]`, some minutes.

Boundaries on LUDB's odd records; whether there is a P wave on these and on rhythms of PTB-XL's folds 1 to 8. Writes
src/ecglens/analysis/wave_weights.json; with --folds it only prints how well folds of the odd records, and PTB-XL's folds 9 and
10, do that took no part in the fit. No even record of LUDB is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
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
from rhythms import Rhythms, rhythms, said

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


def evidence_of(truths: list[Truth], atria: Rhythms, weights: Weights) -> list[tuple[np.ndarray, np.ndarray]]:
    """(`presence_measures`, 1 or 0 for a P wave) of LUDB's and of PTB-XL's beats with all leads, with two and with one."""

    def all_leads(_: np.random.Generator) -> list[list[int]]:
        return [list(range(12))]

    def pairs(rng: np.random.Generator) -> list[list[int]]:
        return rng.permutation(12).reshape(6, 2).tolist()

    def single(rng: np.random.Generator) -> list[list[int]]:
        return rng.permutation(12).reshape(12, 1).tolist()

    out = []
    for sets in (all_leads, pairs, single):
        rng = np.random.default_rng(1)
        parts = [(p_told(view.x, view.beats, weights), view.truth.has_p) for view in views(truths, rng, sets, 0.5)]
        out.append(parts)
        parts = []
        for x, beats, has_p in atria:
            for rows in sets(rng)[:2]:
                parts.append((p_told(x[rows], beats, weights), np.full(len(beats.r), float(has_p))))
        out.append(parts)
    joined = [tuple(map(np.concatenate, zip(*parts, strict=True))) for parts in out]
    return [(told[~np.isnan(answer)], answer[~np.isnan(answer)]) for told, answer in joined]


def fit_presence(truths: list[Truth], atria: Rhythms, weights: Weights) -> np.ndarray:
    """(mean, scale, weight) of each of PRESENCE: a logistic regression.

    Each database and number of leads weighs the same in it, and in each of these the beats with P as much as those without.
    """
    from sklearn.linear_model import LogisticRegression

    parts = evidence_of(truths, atria, weights)
    x, y = map(np.concatenate, zip(*parts, strict=True))
    worth = np.concatenate(
        [np.where(answer > 0, 1 / answer.mean(), 1 / (1 - answer.mean())) / len(answer) for _, answer in parts]
    )
    mean, scale = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    model = LogisticRegression(C=0.3, max_iter=500)
    model.fit(np.nan_to_num((x - mean) / scale), y, sample_weight=worth / worth.mean())
    # the intercept goes into the mean of the measure that weighs the most
    most = int(np.argmax(np.abs(model.coef_[0])))
    mean[most] -= model.intercept_[0] * scale[most] / model.coef_[0, most]
    return np.column_stack([mean, scale, model.coef_[0]])


def fit(truths: list[Truth], atria: Rhythms) -> Weights:
    """All weights."""
    points = fit_points(views(truths, np.random.default_rng(0), mixed, _JITTER))
    first = Weights(points, np.zeros((len(PRESENCE), 3)))
    return Weights(points, fit_presence(truths, atria, first))


def written(weights: Weights) -> str:
    """The table as JSON, numbers with four digits."""

    def short(values: np.ndarray) -> list[float]:
        return [float(f"{value:.4g}") for value in values]

    table = {
        "about": "weights of measures by point; mean, scale, weight of signs of a P wave",
        "source": "LUDB 1.0.1 (ODC-By 1.0, Kalyakulina 2020), records 1, 3, 5 ... 199; presence: these and PTB-XL (CC BY 4.0, "
        "Wagner 2020), folds 1 to 8, by rhythm",
        "command": "python benchmarks/ludb_fit.py",
        "points": {
            name: dict(zip(measure_names(look), short(weights.points[name]), strict=True)) for name, look in LOOKS.items()
        },
        "presence": {name: short(row) for name, row in zip(PRESENCE, weights.presence, strict=True)},
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
    truths, atria = read_truths(odd=True), rhythms(range(1, 9))
    if not folds:
        PLACE.write_text(written(fit(truths, atria)), encoding="utf-8")
        print(f"{PLACE} written")
        return
    unseen = rhythms((9, 10))
    ways: dict[str, list] = {way: [] for way in WAYS}
    for fold in range(folds):
        weights = fit([each for k, each in enumerate(truths) if k % folds != fold], atria)
        if not fold:
            for way, rows in WAYS.items():
                print(f"PTB-XL, folds 9 and 10, {way}: {said(unseen, rows, weights)}")
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
