"""The page of an audit: what was found, worst first, what was not run and why, what is clear, and the tables behind it."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from ecglens.audit.finding import CLEAR, FOUND, NOT_RUN, SEVERITIES, Finding
from ecglens.files import write_text
from ecglens.report.html import Section, Sheet, sheet

_SIGNS = {"high": "▲", "medium": "◆", "low": "●"}  # severity by shape too, not by colour alone
_LEGEND = "High: do not rely on it before this is mended. Medium: may mislead. Low: good to know."
_WARNING = "For research only: nothing here may be used to diagnose or treat a person."
_MOST_ROWS = 60  # of a table on the page
_TABLES = {
    "waves": "Where in the heart beat the maps lie",
    "expectations": "What cardiology looks at, and what the maps look at",
    "wave_occlusion": "What becomes of the answer when a wave is hidden",
    "faithfulness": "What becomes of the answer when the map's first regions go",
    "agreement": "How much methods agree with each other",
    "clusters": "Kinds of maps within a class",
    "lead_order": "Answers that change when leads are exchanged",
    "lead_configurations": "Leads that were recorded, by class",
}
_READ = {
    "waves": "As a multiple of the wave's share of time, all leads together: 1 is no more than anywhere; 95 % over patients. "
    "'magnitude' and 'slope' are trivial maps: the signal's own size and steepness. A stretch behind T is TP where the next "
    "beat has a P wave, else RR gap. Delineation misses one P wave in twenty, and more in irregular rhythms.",
    "clusters": "By the share of the maps' mass in each wave and lead, up to five kinds a class. Signs: those of the "
    "confounding signs that half of the kind has beyond the rest of the class.",
    "lead_order": "Share of the answers that change, 95 % over patients.",
}


def write_page(out: Path, about: dict[str, Any], findings: list[Finding]) -> Path:
    """report.html in `out`, one file that opens offline, from findings.json and the tables/ and figures/ beside it."""
    from jinja2 import Environment, StrictUndefined

    found, open_, clear = ([each for each in findings if each.state == state] for state in (FOUND, NOT_RUN, CLEAR))
    asks = about.get("asks", {})
    template = files("ecglens.report").joinpath("templates/audit.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template).render(
        title=f"Audit of {about['subject']}",
        kind=str(about.get("kind", "real")).upper(),
        n_examples=f"{about['examples']:,}",
        warning=_WARNING,
        legend=_LEGEND,
        tally=_tally(found, open_, clear),
        cards=[_card(out, about, each, asks.get(each.id, each.id)) for each in found],
        sections=[*_unmet(open_, clear, asks), *_tables(out, about), _cost(about)],
    )
    path = out / "report.html"
    write_text(path, page)
    return path


def _tally(found: list[Finding], open_: list[Finding], clear: list[Finding]) -> list[dict[str, Any]]:
    """The numbers at the top."""
    counts = {each: sum(one.severity == each for one in found) for each in reversed(SEVERITIES)}
    told = [{"tone": each, "sign": _SIGNS[each], "word": each, "n": n} for each, n in counts.items()]
    rest = (("open", "○", "not run", len(open_)), ("clear", "✓", "clear", len(clear)))
    return told + [{"tone": tone, "sign": sign, "word": word, "n": n} for tone, sign, word, n in rest]


def _card(out: Path, about: dict[str, Any], each: Finding, asks: str) -> dict[str, Any]:
    """A finding as the page shows it."""
    drawn = about.get("pictures", {}).get(each.id)
    where = {name: value for name, value in each.where.items() if value}
    lines = [
        f"Measured: {_number(each)}, {each.in_words}." if each.number is not None else "",
        "; ".join(f"{name}: {value}" for name, value in where.items()) + "." if where else "",
        f"Look at {', '.join(each.examples)}." if each.examples else "",
        f"A flaw of the {each.of}; {each.id} in findings.json.",
    ]
    return {
        "severity": each.severity,
        "sign": _SIGNS[each.severity],
        "title": asks + (f" {of}" if (of := _of(each)) else ""),
        "what": each.what,
        "first": _first_sentence(each.what),
        "do": each.do,
        "lines": [line for line in lines if line],
        "svg": _inline(out / "figures" / drawn["file"]) if drawn else "",
        "caption": drawn["caption"] if drawn else "",
    }


def _of(each: Finding) -> str:
    """What tells findings of one question apart: class and sign."""
    told = [each.where[name] for name in ("class", "sign") if each.where.get(name)]
    return f"({', '.join(told)})" if told else ""


def _first_sentence(text: str) -> str:
    """Up to the first full stop, question mark or colon before a new sentence."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text, maxsplit=1)[0]


def _inline(path: Path) -> str:
    """A picture that was made before, a third larger than its paper; "" where the file is gone."""
    if not path.is_file():
        return ""
    svg = path.read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    for prefix in ('id="', 'href="#', "url(#"):  # ids of one picture must not meet those of another
        svg = svg.replace(prefix, f"{prefix}{path.stem}-")
    width = re.search(r'width="([\d.]+)pt"', svg)
    inches = 1.3 * float(width.group(1)) / 72 if width else 7.0
    return svg.replace("<svg", f'<svg style="width: {inches:.2f}in"', 1)


def _unmet(open_: list[Finding], clear: list[Finding], asks: dict[str, str]) -> list[Section]:
    out = []
    if open_:
        rows = [{"asked": asks.get(each.id, each.what), "not run, because": each.why_not, "id": each.id} for each in open_]
        text = ["A check that lacks something is neither passed nor failed."]
        out.append(Section("Not run", text, [sheet(pd.DataFrame(rows), "", "What was not checked, and why")]))
    if clear:
        rows = [
            {"asked": asks.get(each.id, each.id), "answer": each.what, "number": _number(each), "id": each.id}
            for each in clear
        ]
        text = ["Nothing was found here; the number says by how far."]
        out.append(Section("Clear", text, [sheet(pd.DataFrame(rows), "", "Checks without a finding")]))
    return out


def _tables(out: Path, about: dict[str, Any]) -> list[Section]:
    """Every table of the audit: those with known names first, in their order."""
    names = list(about.get("tables", []))
    order = [name for name in _TABLES if name in names] + [name for name in names if name not in _TABLES]
    sheets = []
    for name in order:
        path = out / "tables" / f"{name}.csv"
        try:
            table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        except (OSError, pd.errors.EmptyDataError):
            continue
        sheets.append(_sheet(name, table))
    return [Section("The tables behind it", ["In square brackets: 95 % intervals."], sheets)] if sheets else []


def _sheet(name: str, table: pd.DataFrame) -> Sheet:
    caption = _TABLES.get(name, name.replace("_", " ").capitalize()) + ". " + _READ.get(name, "")
    if name == "waves":
        return sheet(_waves(table), name, caption.strip())
    if len(table) > _MOST_ROWS:
        caption += f" The first {_MOST_ROWS} of {len(table):,} rows."
    return sheet(_with_brackets(table.head(_MOST_ROWS)), name, caption.strip())


def _with_brackets(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers in three digits, and X, X_low, X_high (or low and high after X) drawn together as 'X [low, high]'."""
    out = table.copy()
    columns = list(table.columns)
    for low in [name for name in columns if name == "low" or name.endswith("_low")]:
        high = low.removesuffix("low") + "high"
        value = low.removesuffix("_low") if low != "low" else columns[max(columns.index(low) - 1, 0)]
        if high not in columns or value not in columns or value == low:
            continue
        triples = zip(table[value], table[low], table[high], strict=True)
        out[value] = [_text(one) + (f" [{_text(a)}, {_text(b)}]" if a == a and b == b else "") for one, a, b in triples]
        out = out.drop(columns=[low, high])
    for column in out.select_dtypes("float"):
        whole = (out[column].dropna() % 1 == 0).all() and out[column].notna().any() and out[column].abs().max() >= 2
        out[column] = ["" if each != each else f"{each:.0f}" if whole else _text(each) for each in out[column]]
    return out.rename(columns=lambda name: str(name).replace("_", " "))


def _text(value: Any) -> str:
    if value != value:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _waves(table: pd.DataFrame) -> pd.DataFrame:
    """Share of the maps in each wave, by class and method."""
    shown = table[["method", "class", "n", "wave"]].copy()
    shown["share / time"] = [
        f"{row.enrichment:.2f}" + (f" [{row.low:.2f}, {row.high:.2f}]" if row.low == row.low else "")
        if row.time > 0 else ""
        for row in table.itertuples()
    ]  # fmt: skip
    wide = shown.pivot(index=["method", "class", "n"], columns="wave", values="share / time")
    order = [name for name in dict.fromkeys(table["wave"]) if name in wide]
    wide = wide.loc[list(dict.fromkeys(zip(table["method"], table["class"], table["n"], strict=True)))]
    return wide[order].reset_index()


def _cost(about: dict[str, Any]) -> Section:
    """What the audit took, check by check."""
    seconds = about.get("seconds_by_check", {})
    if not seconds:
        return Section("Cost", [f"The audit took {about.get('seconds', 0):.0f} s."])
    rows = [{"check": name, "seconds": f"{value:.1f}"} for name, value in sorted(seconds.items(), key=lambda each: -each[1])]
    text = [f"The audit took {about.get('seconds', 0):.0f} s."]
    return Section("Cost", text, [sheet(pd.DataFrame(rows), "", "By check")])


def _number(each: Finding) -> str:
    if each.number is None:
        return ""
    interval = f" [{each.low:.3g}, {each.high:.3g}]" if each.low is not None and each.high is not None else ""
    return f"{each.number:.3g}{interval}"
