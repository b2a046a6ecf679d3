"""The page: one file, nothing fetched, nothing run, every text as it was given."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecglens.report.html import Picture, Section, picture, sheet, with_intervals, write_html
from ecglens.report.paper import new_figure, place

_NASTY = "<b>R&D</b> \"a\" 'b' {{ 7*7 }} {% if %}"


class _Page(HTMLParser):
    """All tags with their attributes, and all text outside style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def values(self, *names: str) -> list[str]:
        return [value or "" for _, attrs in self.tags for name, value in attrs.items() if name in names]


def _figure(label: str = "time (s)"):
    figure = new_figure(60, 40)
    axes = place(figure, 10, 10, 40, 25)
    axes.plot([0, 1, 2], [0, 1, 0], marker="o")
    axes.imshow(np.arange(6.0).reshape(2, 3), extent=(0, 2, 0, 1))
    axes.fill_between([0, 1], 0, 1, alpha=0.5, hatch="//")
    axes.set_xlabel(label)
    return figure


def _sections(folder: Path) -> list[Section]:
    table = pd.DataFrame({"class": ["N", _NASTY], "f1": [0.5, np.nan]})
    return [
        Section(
            "First", ["a paragraph", _NASTY], [sheet(table, "scores", _NASTY)], [picture(_figure(), "one", _NASTY, folder)]
        ),
        Section(_NASTY, [], [], [picture(_figure(), "two", "the same again", folder)]),
    ]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page")
    write_html(folder / "report.html", _NASTY, _NASTY, [("seed", "0"), (_NASTY, _NASTY)], _sections(folder))
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_fetches_nothing_and_runs_nothing(page):
    parsed = _Page(page)
    tags = {tag for tag, _ in parsed.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert "svg" in tags
    references = parsed.values("src", "href", "xlink:href", "srcset", "data", "poster", "action", "background")
    assert references
    assert all(value.startswith(("#", "data:image/")) for value in references)
    assert not any(name.startswith("on") for _, attrs in parsed.tags for name in attrs)
    assert "@import" not in page
    assert all(target.startswith(("#", "'#", '"#')) for target in re.findall(r"url\(\s*([^)]*)\)", page))


def test_ids_are_unique_on_the_page_and_every_reference_finds_one(page):
    parsed = _Page(page)
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    wanted = [value.removeprefix("#") for value in parsed.values("href", "xlink:href") if value.startswith("#")]
    wanted += re.findall(r"url\(#([^)]*)\)", page)
    wanted += parsed.values("aria-labelledby")
    assert len(wanted) > 4
    assert set(wanted) <= set(ids)


def test_two_pictures_of_the_same_figure_share_no_id(tmp_path):
    one, two = (_Page(picture(_figure(), name, "", tmp_path).svg) for name in ("one", "two"))
    assert one.values("id")
    assert not set(one.values("id")) & set(two.values("id"))
    assert len(one.values("id")) == len(two.values("id"))


def test_every_text_reaches_the_reader_as_it_was_given(page):
    parsed = _Page(page)
    assert "b" not in {tag for tag, _ in parsed.tags}
    text = [" ".join(part.split()) for part in parsed.text]
    # title, heading, banner at both ends, name and value of a fact, paragraph, captions, cell
    assert sum(_NASTY in part for part in text) >= 11
    assert "49" not in " ".join(text).split()
    assert _NASTY in parsed.values("aria-label")


def test_the_page_says_what_it_is_in_the_right_order(page):
    parsed = _Page(page)
    assert page.lower().startswith("<!doctype html>")
    assert ("html", {"lang": "en"}) in parsed.tags
    assert "utf-8" in parsed.values("charset")
    assert sum(tag == "h2" for tag, _ in parsed.tags) == 2
    assert sum(tag == "svg" for tag, _ in parsed.tags) == 2
    assert page.index("a paragraph") < page.index("the same again")
    # every section can be reached from the contents
    contents = [attrs["href"] for tag, attrs in parsed.tags if tag == "a"]
    sections = ["#" + str(attrs["id"]) for tag, attrs in parsed.tags if tag == "section"]
    assert [href for href in contents if href in sections] == sections
    assert len(sections) == 2


def test_a_page_without_sections_is_a_page(tmp_path):
    write_html(tmp_path / "deep" / "empty.html", "t", "b", [], [])
    parsed = _Page((tmp_path / "deep" / "empty.html").read_text(encoding="utf-8"))
    assert "section" not in {tag for tag, _ in parsed.tags}


def test_the_same_sections_give_the_same_page(tmp_path, page):
    write_html(tmp_path / "again.html", _NASTY, _NASTY, [("seed", "0"), (_NASTY, _NASTY)], _sections(tmp_path))
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_a_page_that_cannot_be_rendered_leaves_the_old_one(tmp_path):
    path = tmp_path / "report.html"
    write_html(path, "old", "", [], [])
    before = path.read_text(encoding="utf-8")
    with pytest.raises(Exception):  # noqa: B017
        write_html(path, "new", "", [], [Section("s", [], [], [None])])
    assert path.read_text(encoding="utf-8") == before
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_picture_is_the_same_bytes_twice_and_names_no_date(tmp_path):
    figure = _figure()
    twice = [picture(figure, "one", "c", tmp_path / str(k)) for k in (1, 2)] + [picture(_figure(), "one", "c", tmp_path / "3")]
    assert len({each.svg for each in twice}) == 1
    files = {(tmp_path / str(k) / "one.svg").read_bytes() for k in (1, 2, 3)}
    assert len(files) == 1
    assert b"dc:date" not in files.pop()


def test_a_picture_is_a_whole_svg_file_and_its_text_can_be_searched(tmp_path):
    found = picture(_figure("ventricular <beats> & \N{MICRO SIGN}V"), "one", "what it shows", tmp_path)
    assert isinstance(found, Picture)
    assert (found.name, found.caption) == ("one", "what it shows")
    assert found.svg.startswith("<svg")
    whole = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert whole.startswith("<?xml")
    for svg in (whole, found.svg):
        assert "ventricular &lt;beats&gt; &amp; \N{MICRO SIGN}V" in svg
    assert "ventricular <beats> & \N{MICRO SIGN}V" in " ".join(_Page(found.svg).text)
    import xml.etree.ElementTree as tree

    for svg in (whole, found.svg):
        assert tree.fromstring(svg).tag.endswith("svg")
    assert [path.name for path in tmp_path.iterdir()] == ["one.svg"]


def test_a_picture_leaves_the_settings_of_matplotlib(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    picture(_figure(), "one", "", tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_a_sheet_gives_numbers_their_decimals_and_leaves_missing_ones_out():
    table = pd.DataFrame(
        {
            "name": ["a", None, "c"],
            "share": [0.12345, np.nan, 1.0],
            "single": np.array([0.5, 2.0, np.nan], np.float32),
            "count": [1, 20, 300],
            "good": [True, False, True],
            "mixed": [1.5, "text", None],
        }
    )
    found = sheet(table, "things", "what they are", digits=2)
    assert (found.name, found.caption) == ("things", "what they are")
    assert found.header == ["name", "share", "single", "count", "good", "mixed"]
    assert found.rows == [
        ["a", "0.12", "0.50", "1", "yes", "1.50"],
        ["", "", "2.00", "20", "no", "text"],
        ["c", "1.00", "", "300", "yes", ""],
    ]
    assert sheet(table, "", "").rows[0][1] == "0.123"


def test_a_sheet_of_no_rows_keeps_its_header():
    found = sheet(pd.DataFrame({"a": [], "b": []}), "none", "")
    assert (found.header, found.rows) == (["a", "b"], [])


def test_intervals_stand_beside_their_value_and_nothing_where_it_is_missing():
    table = pd.DataFrame(
        {
            "class": ["N", "V", "S"],
            "f1": [0.5, 0.25, np.nan],
            "f1_low": [0.4, np.nan, np.nan],
            "f1_high": [0.6, np.nan, np.nan],
            "n": [3, 2, 0],
        }
    )
    before = table.copy(deep=True)
    found = with_intervals(table, ["f1"], digits=2)
    assert found["f1"].tolist() == ["0.50 [0.40, 0.60]", "0.25", ""]
    assert list(found.columns) == ["class", "f1", "n"]
    pd.testing.assert_frame_equal(table, before)
