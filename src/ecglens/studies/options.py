"""The options of a recipe: what `--set NAME=VALUE` changes, and where two recipes differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar

from ecglens.errors import EcglensError, did_you_mean

Recipe = TypeVar("Recipe")  # a frozen dataclass of plain values
Part = TypeVar("Part")  # one that holds some of them


def with_settings(recipe: Recipe, settings: list[str]) -> Recipe:
    """The recipe with `NAME=VALUE` settings applied; raises EcglensError that names what is not understood."""
    known = {name: getattr(recipe, name) for name in _names(recipe)}
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise EcglensError(f"--set {setting!r}: expected NAME=VALUE, such as epochs=2")
        if name not in known:
            hint = did_you_mean(name, list(known))
            raise EcglensError(f"--set {name}: there is no such option{hint} (known: {', '.join(known)})")
        changes[name] = _parsed(name, text, type(known[name]))
    return replace(recipe, **changes)  # type: ignore[type-var]


def _parsed(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise EcglensError(f"--set {name}={text}: expected true or false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise EcglensError(f"--set {name}={text}: expected a number ({kind.__name__})") from None


def differences(recipe: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """The options on which two recipes differ: name to (value, other value)."""
    left, right = asdict(recipe), asdict(other)  # type: ignore[call-overload]
    return {name: (left[name], right[name]) for name in _names(recipe) if left[name] != right[name]}


def _names(recipe: Any) -> list[str]:
    """The recipe's own options, then those that it shares with other studies."""
    return list(dict.fromkeys([*type(recipe).__annotations__, *(field.name for field in fields(recipe))]))


def differing_options(pair: tuple[Recipe, Recipe], own: Recipe, this: Recipe, reasons: dict[str, str]) -> list[dict[str, Any]]:
    """A row per option that the two recipes (as published, corrected) do not share, with the value of `this` run and why.

    Options that this run changed by `--set` or `--quick` against its `own` recipe follow.
    """
    rows = [
        {
            "option": name,
            "as-published": values[0],
            "corrected": values[1],
            "this run": getattr(this, name),
            "why": reasons.get(name, "how it is trained"),
        }
        for name, values in differences(*pair).items()
    ]
    there = {row["option"] for row in rows}
    for name, (_, value) in differences(own, this).items():
        if name not in there:
            both = [getattr(recipe, name) for recipe in pair]
            rows.append(
                {"option": name, "as-published": both[0], "corrected": both[1], "this run": value, "why": "set in this run"}
            )
    return rows


def part_of(recipe: Any, kind: Callable[..., Part], **given: Any) -> Part:
    """The options of dataclass `kind` that the recipe has by the same names; the others are `given`, or as `kind` has them."""
    own = {field.name for field in fields(kind)} & {field.name for field in fields(recipe)}  # type: ignore[arg-type]
    return kind(**{name: getattr(recipe, name) for name in own} | given)
