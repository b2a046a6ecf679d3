"""One progress bar for all long work, on standard error, silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Bar:
    """Handed out by `bar`: call `step` as work gets done."""

    def __init__(self, progress: object | None, task: object | None) -> None:
        self._progress, self._task = progress, task

    def step(self, amount: float = 1, note: str | None = None) -> None:
        """Move on by `amount`; `note` replaces the text at the end of the bar."""
        if self._progress is not None:
            fields = {} if note is None else {"note": note}
            self._progress.update(self._task, advance=amount, **fields)  # type: ignore[attr-defined]


@contextmanager
def bar(what: str, total: float, done: int = 0) -> Iterator[Bar]:
    """A bar named `what` with elapsed time and time left; on a pipe or in a log it stays silent."""
    if not sys.stderr.isatty():
        yield Bar(None, None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress, progress.add_task(what, total=total, completed=done, note=""))


def say(line: str) -> None:
    """One line about what is going on, to standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
