"""From one hospital to the other: what is lost, class by class, and how much of it is labels and not hearts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.training.metrics import Array, patient_draws, with_interval
from ecglens.training.multilabel import in_chunks, rankings

FREQUENT = 10  # positives, from which on a class enters a mean that is compared with another one


@dataclass(frozen=True)
class HospitalAnswers:
    """Answers to the records of one hospital: bool (record, class), probabilities (record, class), patients (record,)."""

    truth: NDArray[np.bool_]
    probabilities: NDArray[np.floating]
    patients: NDArray[np.str_]


def transfer_rows(
    cpsc: HospitalAnswers,
    ptbxl: dict[str, HospitalAnswers],
    classes: tuple[str, ...],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUC on both hospitals and their difference, for each map of PTB-XL's labels and class, with 95 % intervals.

    ptbxl: by map, the same answers with other labels. Columns labels, class, n_cpsc, n_ptbxl, auc_cpsc, auc_ptbxl, difference
    (CPSC2018 less PTB-XL), each with _low and _high over patients, drawn in each hospital by itself. Two rows more for each
    map, whose n count classes: "mean of its classes", those with ten positives in both hospitals by this map, and "mean of the
    shared classes", those that have them by every map; absent where there is no such class.
    """
    here = _replicas(cpsc, replicates, seed)
    there = {name: _replicas(tested, replicates, seed + 1) for name, tested in ptbxl.items()}
    often = {name: _frequent(cpsc) & _frequent(tested) for name, tested in ptbxl.items()}
    shared = np.logical_and.reduce(list(often.values()))
    rows: list[dict[str, Any]] = []
    for name, tested in ptbxl.items():
        for k, word in enumerate(classes):
            counts = {"n_cpsc": int(cpsc.truth[:, k].sum()), "n_ptbxl": int(tested.truth[:, k].sum())}
            rows.append({"labels": name, "class": word} | counts | _compared(here[:, k], there[name][:, k]))
        for word, which in (("mean of its classes", often[name]), ("mean of the shared classes", shared)):
            if which.any():
                n = int(which.sum())
                means = _compared(here[:, which].mean(axis=1), there[name][:, which].mean(axis=1))
                rows.append({"labels": name, "class": word, "n_cpsc": n, "n_ptbxl": n} | means)
    return pd.DataFrame(rows)


def frequent_in_both(cpsc: HospitalAnswers, ptbxl: HospitalAnswers, classes: tuple[str, ...]) -> list[str]:
    """Classes with ten positives or more in each hospital."""
    return [name for name, often in zip(classes, _frequent(cpsc) & _frequent(ptbxl), strict=True) if often]


def _frequent(tested: HospitalAnswers) -> NDArray[np.bool_]:
    often: NDArray[np.bool_] = tested.truth.sum(axis=0) >= FREQUENT
    return often


def _replicas(tested: HospitalAnswers, replicates: int, seed: int) -> Array:
    """AUC of each class: the first row of the records themselves, then of patients drawn again. (1 + replicate, class)"""
    names, who = np.unique(tested.patients, return_inverse=True)
    draws = patient_draws(len(names), replicates, seed)
    weights = np.concatenate([np.ones((1, len(who))), draws[:, who]])
    return np.concatenate([rankings(tested.truth, tested.probabilities, part)[0] for part in in_chunks(weights)])


def _compared(cpsc: Array, ptbxl: Array) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, values in (("auc_cpsc", cpsc), ("auc_ptbxl", ptbxl), ("difference", cpsc - ptbxl)):
        out |= with_interval(name, float(values[0]), values[1:])
    return out
