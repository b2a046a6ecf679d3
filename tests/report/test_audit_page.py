"""The page of an audit, and the small pictures on it."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audit.beats_made import made_beats
from ecglens.audit.finding import Finding, Measure, clear, found, not_run, worst_first
from ecglens.audit.sanity import maps_of
from ecglens.audit.signs import find_sign
from ecglens.audit.subject import Subject
from ecglens.examples.examples import LeadPlace
from ecglens.report import audit_pictures
from ecglens.report.audit_page import write_page
from ecglens.report.audit_pictures import finding_pictures
from ecglens.report.small_paper import Shown, on_paper, slim
from made import make_examples, tiny


def _found(name: str, severity: str, *, examples: tuple[str, ...] = (), **where: str) -> Finding:
    return found(
        name, "data", severity, f"What {name} says. A second sentence <b>.", Measure(0.25, "share of things", 0.1, 0.4, where),
        do=f"Mend {name}.", examples=examples,
    )  # fmt: skip


FINDINGS = [
    _found("a.low", "low"),
    _found("b.high", "high", **{"class": "V", "sign": "spike"}),
    not_run("c.open", "recipe", "Whether c", "no split is known"),
    _found("d.medium", "medium"),
    clear("e.clear", "model", "All is fine with e.", Measure(0.5, "share")),
]


def _page(out: Path, findings: list[Finding] = FINDINGS, **about: object) -> str:
    facts = {"subject": "net & co", "kind": "simulated", "examples": 1234, "asks": {"b.high": "Is there a spike?"}}
    path = write_page(out, facts | about, worst_first(findings))
    return path.read_text(encoding="utf-8")


def _words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.split("</style>")[1])).split())


def test_the_worst_comes_first_and_everything_is_there(tmp_path: Path) -> None:
    page = _page(tmp_path)
    words = _words(page)
    assert "SIMULATED ECGs , 1,234 examples" in words
    assert "Audit of net & co" in words
    severities = re.findall(r'<article id="f\d" class="(\w+)"', page)
    assert severities == ["high", "medium", "low"]
    assert re.findall(r'<li class="(\w+)"><span class="mark">', page) == severities
    assert re.findall(r"<b>(\d+)</b><span>. ([\w ]+)</span>", page) == [
        ("1", "high"), ("1", "medium"), ("1", "low"), ("1", "not run"), ("1", "clear"),
    ]  # fmt: skip
    assert "Is there a spike? (V, spike)" in words
    for each in FINDINGS:
        assert each.id in words
        assert (each.why_not or each.what) in words
        assert each.do in words
    assert "0.25 [0.1, 0.4], share of things" in words
    assert "sentence <b>." not in page
    top = page[: page.index("The findings, one by one")]
    assert "What b.high says." in top
    assert "second sentence" not in top


def test_an_audit_without_findings_says_so(tmp_path: Path) -> None:
    words = _words(_page(tmp_path, FINDINGS[4:]))
    assert "Nothing was found." in words
    assert "All is fine with e." in words


def test_tables_are_shown_with_intervals_and_those_of_other_names_too(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    order = pd.DataFrame({"swap": ["LA and RA"], "n": [20], "changed": [0.123456], "low": [0.05], "high": [0.2]})
    other = pd.DataFrame({"x": range(70), "y": 0.5, "y_low": 0.25, "y_high": [np.nan] * 69 + [0.75]})
    order.to_csv(tmp_path / "tables" / "lead_order.csv", index=False)
    other.to_csv(tmp_path / "tables" / "other_things.csv", index=False)
    page = _page(tmp_path, tables=["lead_order", "missing", "other_things"])
    assert "<td>LA and RA</td><td>20</td><td>0.123 [0.05, 0.2]</td></tr>" in page
    words = _words(page)
    assert "Answers that change when leads are exchanged." in words
    assert "Other things. The first 60 of 70 rows." in words
    assert "<td>59</td><td>0.5</td>" in page
    assert "<td>60</td>" not in page


def test_waves_are_laid_out_by_class_and_wave(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    rows = [
        {"method": "m", "class": "N", "n": 5, "wave": wave, "time": 0.1, "enrichment": 2.0, "low": low, "high": 3.0}
        for wave, low in (("P", 1.0), ("QRS", np.nan))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "tables" / "waves.csv", index=False)
    page = _page(tmp_path, tables=["waves"])
    heads = re.findall(r'<th scope="col">([^<]*)</th>', page)
    assert heads[-5:] == ["method", "class", "n", "P", "QRS"]
    assert "<td>2.00 [1.00, 3.00]</td><td>2.00</td>" in page


def test_the_time_of_each_check_is_told_longest_first(tmp_path: Path) -> None:
    page = _page(tmp_path, seconds=12.3, seconds_by_check={"short": 0.2, "long": 9.5})
    assert "<td>long</td><td>9.5</td></tr>\n<tr><td>short</td><td>0.2</td>" in page


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[Shown]]:
    """What was drawn, figure by figure."""
    seen: list[list[Shown]] = []

    def keep(shown):
        seen.append(list(shown))
        return on_paper(shown)

    monkeypatch.setattr(audit_pictures, "on_paper", keep)
    return seen


def _subject(n: int = 40, **told: object) -> Subject:
    examples = made_beats(n, patients=4)
    table = examples.table.assign(lead_names="MLII, V5")
    return Subject("net", tiny(examples), replace(examples, table=table), **({"method": "saliency"} | told))  # type: ignore[arg-type]


def test_a_picture_shows_three_examples_with_the_maps_of_the_class_named(tmp_path: Path, drawn) -> None:
    subject = _subject()
    ids = tuple(subject.ids[[3, 1, 8, 9]])
    findings = [_found("x.y V", "high", examples=ids, **{"class": "V"}), _found("none", "low")]
    (tmp_path / "finding-99-old.svg").write_text("old")
    (tmp_path / "other.svg").write_text("stays")
    made = finding_pictures(subject, findings, tmp_path)
    assert set(made) == {"x.y V"}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["finding-01-x-y-V.svg", "other.svg"]
    assert "saliency for V; purple speaks for it" in made["x.y V"]["caption"]
    (shown,) = drawn
    assert len(shown) == 3
    for one, row in zip(shown, (3, 1, 8), strict=True):
        part = subject.examples.take(np.array([row]))
        assert one.leads == ("MLII", "V5")
        np.testing.assert_array_equal(one.mv, part.signals[0])
        np.testing.assert_allclose(one.values, maps_of(subject, part, np.array([1]))[0], rtol=1e-4, atol=1e-9)
        said = subject.examples.classes[int(subject.classifier.logits(part).argmax())]
        truth = "NV"[row % 2]
        assert one.title == f"{subject.ids[row]}\n{truth}, answered {'rightly' if said == truth else said}"
        assert one.time_s[int(part.column("r_index")[0])] == 0


def test_the_page_holds_the_picture_itself(tmp_path: Path) -> None:
    subject = _subject()
    findings = [_found(name, "high", examples=tuple(subject.ids[:2])) for name in ("b.high", "c.high")]
    made = finding_pictures(subject, findings, tmp_path / "figures")
    page = _page(tmp_path, findings, pictures=made)
    assert page.count("<svg") == 2
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for used in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page):
        assert "".join(used) in ids
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|<metadata>.*?</metadata>', "", page, flags=re.DOTALL)
    next((tmp_path / "figures").glob("*.svg")).unlink()
    assert _page(tmp_path, findings, pictures=made).count("<svg") == 1


def test_a_sign_is_marked_where_it_is(tmp_path: Path, drawn) -> None:
    subject = _subject()
    rows = np.array([2, 5])
    put = find_sign("spike").put(subject.examples.take(rows), 1.5, np.random.default_rng(0), np.array([40, 60]))
    signals = subject.examples.signals.copy()
    signals[rows] = put.signals
    marked = replace(subject, examples=replace(subject.examples, signals=signals), method=None)
    each = _found("s", "high", examples=tuple(subject.ids[rows]), sign="spike")
    made = finding_pictures(marked, [each], tmp_path)
    assert "where the sign spike is" in made["s"]["caption"]
    assert "Colour" not in made["s"]["caption"]
    middle = marked.examples.length // 2
    places = [one.mark_s * marked.examples.fs + middle for one in drawn[0]]
    np.testing.assert_allclose(places, [40, 60], atol=1.01)
    assert all(one.values is None for one in drawn[0])


def test_of_many_leads_the_one_named_is_shown_else_ii_and_that_with_most_map(tmp_path: Path, drawn) -> None:
    rng = np.random.default_rng(0)
    leads = ("I", "II", "III", "V1")
    signals = (rng.normal(size=(6, 4, 1500)) * np.array([1, 1, 1, 9])[:, None] / 9).astype(np.float32)
    examples = make_examples(
        signals, np.arange(6) % 2, leads=leads, fs=100.0, r_index=np.full(6, -1), valid_stop=np.full(6, 900),
        lead_names=", ".join(leads),
    )  # fmt: skip
    subject = Subject("net", tiny(examples), examples, method="magnitude")
    ids = tuple(subject.ids[:2])
    finding_pictures(subject, [_found("a", "high", examples=ids), _found("b", "low", examples=ids, lead="III")], tmp_path)
    plain, told = drawn
    assert [one.leads for one in plain] == [("II", "V1")] * 2
    assert [one.leads for one in told] == [("III", "V1")] * 2
    assert plain[0].mv.shape == (2, 1000)  # ten seconds of fifteen
    assert plain[0].time_s[0] == 0
    assert plain[0].valid.sum() == 900


def test_leads_in_a_row_are_shown_each_for_itself(tmp_path: Path, drawn) -> None:
    x = np.random.default_rng(0).normal(size=(4, 1, 80)).astype(np.float32)
    joined = make_examples(
        x, np.arange(4) % 2, places=(LeadPlace("lead 1", 0, 0, 40), LeadPlace("lead 2", 0, 40, 40)), valid_stop=np.full(4, 40),
        r_index=np.full(4, 20), lead_names="MLII, V1",
    )  # fmt: skip
    subject = Subject("net", tiny(joined), joined, method="magnitude")
    finding_pictures(subject, [_found("a", "low", examples=(subject.ids[2],))], tmp_path)
    (one,) = drawn[0]
    assert one.leads == ("MLII", "V1")
    np.testing.assert_array_equal(one.mv, x[2, 0].reshape(2, 40))
    np.testing.assert_allclose(one.values, np.abs(subject.classifier.inputs(joined)[0].numpy())[2, 0].reshape(2, 40))


def test_a_millimetre_of_paper_is_what_the_note_says(tmp_path: Path) -> None:
    time = np.arange(200) / 200
    mv = np.stack([np.sin(7 * time), 0.2 * np.sin(3 * time)])
    one = Shown("a", ("I", "II"), time, mv, None, np.ones(200, bool))
    for shown in ([one], [one, one, one]):
        figure = on_paper(shown)
        zoom = float(re.search(r"drawn ([\d.]+) times", figure.texts[0].get_text())[1])
        width, height = figure.get_size_inches() * 25.4
        assert len(figure.axes) == 2 * len(shown)
        for axes in figure.axes:
            box = axes.get_position()
            assert box.width * width == pytest.approx(np.ptp(axes.get_xlim()) * 25 * zoom, rel=0.01)
            assert box.height * height == pytest.approx(np.ptp(axes.get_ylim()) * 10 * zoom, rel=0.01)
            assert 0 <= box.x0 < box.x1 <= 1
            assert 0 <= box.y0 < box.y1 <= 1


def test_a_slim_picture_has_every_line_that_the_fat_one_had() -> None:
    style = ' clip-path="url(#p)" style="fill: none; stroke: #f4d9d5; stroke-width: 0.4"'
    other = style.replace("#f4d9d5", "#e3a59c")
    fat = (
        f'<g><path d="M 1.23456 2 \nL 3 4.98765 \nL 5 6 \nM 7 7 \nL 8 9 \n"{style}/>\n'
        f'<path d="M 5 6.04 \nL 7.26 6.01 \n"{style}/>\n'
        f'<path d="M 9 1 \nL 9 3 \n"{other}/>\n</g>\n<g><path d="M 4 5 \nQ 6 7 8 9 \nz \n"{other}/></g>'
    )
    thin = slim(fat)
    assert re.sub(r"\s+", " ", thin) == (
        f'<g><path d="M1.2 2 3 5 5 6M7 7 8 9M5 6H7.3"{style}/> <path d="M9 1V3"{other}/> </g> '
        f'<g><path d="M 4 5 Q 6 7 8 9 z"{other}/> </g>'
    )
