"""deepecgkit's xresnet1d-benchmark, by its own trainer and defaults, on PTB-XL's folds and our superclasses.

Runs in an environment of its own (`pip install deepecgkit==0.3.0 scikit-learn`), without ecglens:

    python benchmarks/deepecgkit_folds.py DATA/ptbxl OUT SEED

Prints the macro AUC on folds 9 and 10 and the seconds of the processor. docs/results/lin2020.md has what we saw.
"""

from __future__ import annotations

import ast
import csv
import resource
import sys
from pathlib import Path

import deepecgkit.datasets.modules as modules
import numpy as np
import torch
from deepecgkit.cli.commands.train import train
from deepecgkit.training import ECGTrainer
from sklearn.metrics import roc_auc_score
from torch.utils.data import Subset

CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")


def labels_and_folds(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Superclasses (record, class), of diagnostic statements of any likelihood, and the publisher's fold of each record."""
    with (folder / "scp_statements.csv").open() as file:
        class_of = {row[""]: row["diagnostic_class"] for row in csv.DictReader(file) if row["diagnostic"] == "1.0"}
    with (folder / "ptbxl_database.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [{class_of.get(code) for code in ast.literal_eval(row["scp_codes"])} for row in rows]
    return np.array([[name in each for name in CLASSES] for each in found]), np.array([int(row["strat_fold"]) for row in rows])


def main(folder: Path, out: str, seed: int) -> None:
    """Train as `deepecgkit train` does, with our folds for its random ones and our labels for its own."""
    torch.set_num_threads(1)
    truth, fold = labels_and_folds(folder)
    seen: dict[str, object] = {}

    def split(self: object) -> tuple[Subset, ...]:
        data = self.dataset
        if not np.array_equal(data.metadata_df.strat_fold.values, fold):
            raise SystemExit("deepecgkit reads the records in another order than ptbxl_database.csv has them")
        data.labels = [row.astype(np.float32) for row in truth]
        return tuple(Subset(data, np.flatnonzero(mine).tolist()) for mine in (fold < 9, fold == 9, fold == 10))

    fit = ECGTrainer.fit

    def fit_and_remember(self: ECGTrainer, data: object, **options: object) -> None:
        seen.update(trainer=self, data=data)
        fit(self, data, **options)

    modules.DataSplitter.split, ECGTrainer.fit = split, fit_and_remember
    train(
        "xresnet1d-benchmark", "ptbxl", data_dir=str(folder), output_dir=out, seed=seed, multi_label=True, sampling_rate=100,
        accelerator="cpu",
    )  # fmt: skip
    used = resource.getrusage(resource.RUSAGE_SELF)
    for number, ask in ((9, seen["trainer"].validate), (10, seen["trainer"].test)):
        ask(seen["data"])
        logits = seen["trainer"].get_test_logits()
        found = [roc_auc_score(truth[fold == number][:, k], logits[:, k]) for k in range(len(CLASSES))]
        print(f"fold {number}: macro AUC {np.mean(found):.4f}", dict(zip(CLASSES, np.round(found, 3).tolist(), strict=True)))
    print(f"{used.ru_utime + used.ru_stime:.0f} s of the processor")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
