"""How well two groups can be told apart by one number of each example: the best that any rule can do on these."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import EcglensError


def best_auc(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """AUC of the best guess from a number's value alone: values are ranked by how much likelier they are in one group.

    first, second (example,): the number in each group. A value that both have in the same proportion tells nothing; 1 where no
    value is shared. It is exact for these examples, and flatters where values hardly repeat. Raises EcglensError for an empty
    group.
    """
    if not len(first) or not len(second):
        raise EcglensError(f"groups of {len(first)} and {len(second)} examples; expected at least one in each")
    values, which = np.unique(np.concatenate([first, second]), return_inverse=True)
    ours = np.bincount(which[: len(first)], minlength=len(values)) / len(first)
    theirs = np.bincount(which[len(first) :], minlength=len(values)) / len(second)
    order = np.argsort(-(ours / (ours + theirs)), kind="stable")
    ratio, ours, theirs = (ours / (ours + theirs))[order], ours[order], theirs[order]
    auc, seen = 0.0, 0.0
    for level in np.unique(ratio)[::-1]:  # values with one ratio are one to the rule
        tied = ratio == level
        auc += theirs[tied].sum() * (seen + ours[tied].sum() / 2)
        seen += ours[tied].sum()
    return float(auc)
