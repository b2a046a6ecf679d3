"""One HTML file that opens offline: sections of text, tables and figures, nothing fetched from anywhere."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ecglens.files import write_text, written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure for the report: file name without ending, what it shows, and the picture."""

    name: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Sheet:
    """A table for the report: file name in tables/ ("" for one made from others), what it shows, header and rows as text."""

    name: str
    caption: str
    header: list[str]
    rows: list[list[str]]


@dataclass
class Section:
    """A heading with plain paragraphs, then pictures and tables."""

    title: str
    text: list[str] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def picture(figure: Figure, name: str, caption: str, folder: Path) -> Picture:
    """Save a figure as SVG in `folder` and take it into the report. Same figure, same bytes."""
    import matplotlib

    buffer = io.StringIO()
    # without a fixed salt and date every SVG differs
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "ecglens"})
    svg = buffer.getvalue()
    with written_whole(folder / f"{name}.svg") as beside:
        beside.write_text(svg, encoding="utf-8")
    # ids of one picture must not meet those of another on the same page
    inline = svg[svg.index("<svg") :]
    for prefix in ('id="', 'href="#', "url(#"):
        inline = inline.replace(prefix, f"{prefix}{name}-")
    # on the page a figure is shown by its own size, a third larger, so that small ones do not shout
    width = 1.35 * figure.get_size_inches()[0]
    inline = inline.replace("<svg", f'<svg style="width: {width:.2f}in"', 1)
    return Picture(name, caption, inline)


def sheet(table: pd.DataFrame, name: str, caption: str, *, digits: int = 3) -> Sheet:
    """A table as text: numbers with `digits` decimals, nothing for a missing one."""

    whole = [pd.api.types.is_integer_dtype(kind) for kind in table.dtypes]

    def text(value: Any, is_whole: bool) -> str:
        if value is None or value is pd.NA or value != value:
            return ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if is_whole or not isinstance(value, float):
            return str(value)
        return f"{value:.{digits}f}"

    rows = [
        [text(value, is_whole) for value, is_whole in zip(row, whole, strict=True)]
        for row in table.astype(object).itertuples(index=False)
    ]
    return Sheet(name, caption, [str(column) for column in table.columns], rows)


def with_intervals(table: pd.DataFrame, metrics: list[str], *, digits: int = 3) -> pd.DataFrame:
    """Columns m, m_low, m_high drawn together as 'm [low, high]'; nothing where the value is missing."""
    out = table.copy()
    for metric in metrics:
        texts = []
        for value, low, high in zip(table[metric], table[f"{metric}_low"], table[f"{metric}_high"], strict=True):
            interval = f" [{low:.{digits}f}, {high:.{digits}f}]" if low == low else ""
            texts.append(f"{value:.{digits}f}{interval}" if value == value else "")
        out[metric] = texts
        out = out.drop(columns=[f"{metric}_low", f"{metric}_high"])
    return out


def write_html(
    path: Path, title: str, banner: str, facts: list[tuple[str, str]], sections: list[Section], *, ribbon: str | None = None
) -> None:
    """Render the page, whole or not at all; `ribbon` stays in sight on the screen and on each printed page."""
    from jinja2 import Environment, StrictUndefined

    template = files("ecglens.report").joinpath("templates/report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template).render(title=title, banner=banner, facts=facts, sections=sections, ribbon=ribbon)
    write_text(path, page)
