"""From further run folders to other trainings of the net that is audited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ecglens.audit.subject import OTHER_START, SHUFFLED_LABELS, Sibling
from ecglens.errors import EcglensError
from ecglens.models import load
from ecglens.runs import Run


def siblings_of(run: Run, others: Sequence[Run]) -> tuple[Sibling, ...]:
    """The nets of `others` as siblings of that of `run`, by what run.json says was asked: all is alike but the seed, or the
    labels are shuffled (`--set targets=shuffled`).

    Raises EcglensError for a run that is not complete, is the same, or differs in study, recipe, split, data or anything else
    than its seed.
    """
    return tuple(_sibling(run, other) for other in others)


def _sibling(run: Run, other: Run) -> Sibling:
    other.expect_complete()
    mine, theirs = run.about["asked"], other.about["asked"]
    apart = [name for name in sorted(mine.keys() | theirs.keys()) if mine.get(name) != theirs.get(name)]
    first, second = mine.get("recipe") or {}, theirs.get("recipe") or {}
    options = [name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)]
    shuffled = options == ["targets"] and second.get("targets") == "shuffled"
    if "recipe" in apart and not shuffled:
        told = ", ".join(f"{name} is {second.get(name)}, not {first.get(name)}" for name in options[:3])
        raise EcglensError(f"{other.path} is no sibling of {run.path}: its recipe differs ({told}); only the seed may")
    for name in apart:
        if name not in ("seed", "recipe"):
            raise EcglensError(
                f"{other.path} is no sibling of {run.path}: its {name} is {theirs.get(name)}, not {mine.get(name)}; "
                "expected another seed alone"
            )
    if not apart:
        raise EcglensError(f"{other.path} was asked the same as {run.path}; train a sibling with another --seed")
    for name in ("kind", "records", "sha256"):
        if run.about["data"].get(name) != other.about["data"].get(name):
            raise EcglensError(f"{other.path} was made from other data than {run.path}; expected a sibling of the same files")
    return Sibling(other.path.name, load(_net(other.path)), SHUFFLED_LABELS if shuffled else OTHER_START)


def _net(path: Path) -> Path:
    """Where the run's model lies: in the folder itself, or the first of its nets."""
    nets = sorted(each.parent for each in path.glob("nets/*/model.json"))
    if (path / "model.json").is_file() or not nets:
        return path
    return nets[0]
