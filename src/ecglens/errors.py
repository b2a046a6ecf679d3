"""The errors that ecglens raises on purpose."""

from __future__ import annotations


class EcglensError(Exception):
    """A mistake the user can mend: the text says what was found, what was expected and what to do."""


def did_you_mean(name: str, known: list[str]) -> str:
    """``; did you mean 'x'?`` where a known name is close to `name`, else an empty string."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def choose(name: str, known: list[str], what: str) -> str:
    """`name` if it is one of `known`; raises EcglensError with all choices otherwise."""
    if name not in known:
        raise EcglensError(f"unknown {what} {name!r}{did_you_mean(name, known)} (choose from: {', '.join(known)})")
    return name
