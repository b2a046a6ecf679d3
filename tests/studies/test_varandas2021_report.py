"""The report of varandas2021: what it says, that it can be drawn again, beside another run, and from damaged folders."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ecglens.errors import EcglensError
from ecglens.report.focus import focus_histograms
from ecglens.report.html import Section
from ecglens.report.shown import read_shown, write_shown
from ecglens.runs import Run, open_run
from ecglens.studies.sources import Sources
from ecglens.studies.varandas2021_published import METHODS
from ecglens.studies.varandas2021_report import opening, windows
from ecglens.studies.varandas2021_report_focus import pictures_section, positions
from ecglens.studies.varandas2021_report_scores import scores
from ecglens.studies.varandas2021_words import counted, named

_SETTINGS = ("epochs=1", "batch=16", "probed_per_class=2", "rate=0.003", "explained_at_most=30")
_RECORDS = {"100": "NNNNNA", "103": "NNNNNNNV", "109": "LLLLV", "118": "RRRRRA", "207": "LLRRVN"}


@pytest.fixture(scope="module")
def runs(ecglens: Callable[..., Any], write_record: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Whole runs, read only: pictures of set 1, corrected, and the 1-D twin of set 2, as published."""
    home, out = tmp_path_factory.mktemp("varandas"), {}
    for seed, (name, beats) in enumerate(_RECORDS.items()):
        write_record(home / "mitdb", name, seconds=30, beats=beats, seed=seed, doubtful=0.1)
    settings = tuple(word for setting in _SETTINGS for word in ("--set", setting))
    for name, words in (
        ("pictures", ("--model", "small2d")),
        ("twin", ("--model", "resnet", "--set-number", "2", "--recipe", "as-published", "--quick")),
    ):
        done = ecglens("run", "varandas2021", *words, *settings, "--data", home, "--out", home / name)
        assert done.code == 0, done.err
        out[name] = home / name
    return out


@pytest.fixture
def own(runs: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a run that a test may damage: own("twin")."""
    return lambda name: Path(shutil.copytree(runs[name], tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"))


def _page(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def _words(run: Path) -> str:
    """The page as it is read, without its pictures."""
    page = re.sub(r"<(style|script|svg)\b.*?</\1>", "", _page(run), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def _tell(run: Path, **facts: Any) -> None:
    """Change what run.json says."""
    file = run / "run.json"
    about = json.loads(file.read_text(encoding="utf-8"))
    for name, value in facts.items():
        about[name] = about[name] | value if isinstance(value, dict) else value
    file.write_text(json.dumps(about), encoding="utf-8")


def _change_metrics(run: Path, **values: Any) -> None:
    file = run / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


def _with_recipe(run: Path, **values: Any) -> dict[str, Any]:
    """What was asked, with other options."""
    asked = json.loads((run / "run.json").read_text(encoding="utf-8"))["asked"]
    return {"recipe": asked["recipe"] | values}


def _section(run: Path, title: str) -> str:
    """The words of one section, without its pictures."""
    page = re.sub(r"<svg\b.*?</svg>", "", _page(run), flags=re.S)
    parts = re.findall(r"<section.*?</section>", page, re.S)
    (mine,) = [part for part in parts if re.search(rf"<h2>\d+\. {re.escape(title)}</h2>", part)]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", mine)).split())


def _drawn(make: Callable[[dict[str, Sources]], Section], *runs: Path) -> str:
    """The words of a section, drawn anew from its tables."""
    section = make(named([Sources(open_run(run)) for run in runs]))
    cells = [cell for sheet in section.sheets for row in (sheet.header, *sheet.rows) for cell in row]
    return " ".join(" ".join([*section.text, *cells]).split())


def _headings(run: Path) -> list[str]:
    """The columns of Table 1 of the paper, ours beside it."""
    tables = re.findall(r"<table.*?</table>", _page(run), re.S)
    one = next(table for table in tables if "validation accuracy" in table)
    return [html.unescape(re.sub(r"<[^>]+>", "", each)).strip() for each in re.findall(r"<th.*?</th>", one, re.S)]


# ------------------------------------------------------------------------------------------------ what it says


@pytest.mark.parametrize("name", ["pictures", "twin"])
def test_the_report_says_what_a_reader_must_know(runs: dict[str, Path], name: str) -> None:
    words = _words(runs[name])
    metrics = json.loads((runs[name] / "metrics.json").read_text(encoding="utf-8"))
    for each in (
        "research only", "REAL ECGs", "A model that always says normal", f"accuracy {metrics['test.accuracy']:.3f}",
        f"finds {metrics['test.per_class.abnormal.recall']:.3f} of the abnormal beats",
        f"{metrics['focus.saliency.mean']:.1%}", f"On {metrics['test.n']} test windows of 2 patients",
        "9.7 ± 4.0", "Tables 2, 3 and 4 of the paper", "What the model needs", "As published and corrected",
    ):  # fmt: skip
        assert each in words, each
    assert ("A quick run" in words) is (name == "twin")
    assert not re.search(r"""(src|href)=["']https?://""", _page(runs[name]))


def test_the_papers_numbers_stand_beside_ours(runs: dict[str, Path]) -> None:
    assert _headings(runs["pictures"])[1:] == ["ours: small2d, set 1", "paper: ResNet-50, set 1", "always normal"]
    words = _words(runs["pictures"])
    assert "30.3 ± 9.2" in words
    assert "34.6 ± 10.3" in words
    assert "25.0 ± 18.2" not in words
    assert "25.0 ± 18.2" in _words(runs["twin"])


def test_the_twin_is_not_described_as_a_picture(runs: dict[str, Path]) -> None:
    words = _words(runs["twin"])
    assert "The 1-D twin sees the same windows as signals" in words
    assert "as high as the trace" not in words  # a signal has no height


@pytest.mark.parametrize(("rule", "who"), [("stratified", "the same patients"), ("patients", "whom training has not seen")])
def test_a_threshold_of_the_validation_side_is_told_of_where_there_is_one(
    own: Callable[[str], Path], rule: str, who: str
) -> None:
    """Else the reader takes the last row of the ROC curve for it."""
    run = own("pictures")
    assert "threshold chosen on validation" not in _words(run)
    table = pd.read_csv(run / "tables" / "operating.csv")
    assert set(table["threshold"]) == {"test ROC"}
    last = {"threshold": "validation", "normal_recall": 0.951, "sensitivity": 0.654}
    pd.concat([table, pd.DataFrame([last])]).to_csv(run / "tables" / "operating.csv", index=False)
    training = pd.read_csv(run / "tables" / "training.csv").assign(validation_accuracy=0.8762)
    training.to_csv(run / "tables" / "training.csv", index=False)
    _tell(run, asked=_with_recipe(run, validation=rule))
    words = _drawn(scores, run)
    assert "threshold chosen on validation" in words
    assert words.count(who) == 2  # in the text and in its row
    assert "0.951 0.654" in words
    assert "validation accuracy 0.876" in words


def test_the_published_lead_is_said_in_words(runs: dict[str, Path]) -> None:
    assert "(first where a record has it" not in _words(runs["twin"])


def test_the_report_of_the_twin_says_how_much_of_its_maps_lies_on_padding(runs: dict[str, Path]) -> None:
    metrics = json.loads((runs["twin"] / "metrics.json").read_text(encoding="utf-8"))
    words = _words(runs["twin"])
    assert "padding" in words
    assert f"{metrics['focus.saliency.on_padding']:.1%}" in words or f"{metrics['focus.saliency.on_padding']:.0%}" in words


def test_the_opening_is_short(runs: dict[str, Path]) -> None:
    for run in runs.values():
        found = re.search(r'<section id="s1">(.*?)</section>', _page(run), re.S)
        assert found is not None
        paragraphs = re.findall(r"<p>(.*?)</p>", found[1], re.S)
        assert 3 <= len(paragraphs) <= 5
        assert max(len(paragraph.split()) for paragraph in paragraphs) <= 90


@pytest.mark.parametrize("name", ["pictures", "twin"])
def test_methods_have_one_name_everywhere(runs: dict[str, Path], name: str) -> None:
    page = re.sub(r"<style.*?</style>", "", _page(runs[name]), flags=re.S)
    seen = re.sub(r"<[^>]+>", " ", page)
    for word in ("saliency", "grad-cam ", "guided-grad-cam", "guided Grad-CAM"):
        assert word not in seen.replace("GB grad-CAM", ""), word
    for file in ("figure-1-histograms", "figure-2-maps", "figure-4-positions"):
        svg = (runs[name] / "figures" / f"{file}.svg").read_text(encoding="utf-8")
        assert all(f">{called}" in svg or f": {called}" in svg for called in METHODS.values()), file


def test_tables_and_anchors_are_where_the_page_says(runs: dict[str, Path]) -> None:
    for run in runs.values():
        anchors = re.findall(r' id="(t-[^"]+)"', _page(run))
        assert len(anchors) == len(set(anchors))
        named_files = re.findall(r"\(tables/([^)]+)\)", _page(run))
        assert all((run / "tables" / file).is_file() for file in named_files)


def test_a_net_trained_on_cut_windows_is_said_to_be_where_other_beats_count(runs: dict[str, Path]) -> None:
    for name, there in (("pictures", True), ("twin", False)):
        for section in ("Which beat, which gap", "What the model needs"):
            words = _section(runs[name], section)
            assert ("up to 50% of their length" in words and "crop=0.5" in words) is there
            assert ("--set crop=0 trains one without" in words) is there
        assert ("trained on windows with their far end cut off" in _section(runs[name], "What came out")) is there


def test_the_gap_beside_the_labelled_beat_is_named_by_its_side(runs: dict[str, Path]) -> None:
    for name, side, other in (("pictures", "before", "behind"), ("twin", "behind", "before")):
        metrics = json.loads((runs[name] / "metrics.json").read_text(encoding="utf-8"))
        first = _section(runs[name], "What came out")
        assert f"{100 * metrics['retiming.beside.rise']:+.1f} points" in first
        assert f"where it is another interval, by {100 * metrics['retiming.other.rise']:+.1f} (" in first
        assert f"Where the RR interval {side} the labelled beat" in first
        assert f"RR interval {other} the labelled beat" not in first
        assert f"in the gap {side} it" in _section(runs[name], "Which beat, which gap")
        assert f"{side} the labelled beat" in (runs[name] / "figures" / "figure-6-retiming.svg").read_text(encoding="utf-8")
    assert "lies outside of the window, which begins half-way" in _section(runs["twin"], "What the model needs")


def test_windows_without_their_last_beat_are_told_of(own: Callable[[str], Path]) -> None:
    run = own("twin")
    n = sum(json.loads((run / "run.json").read_text(encoding="utf-8"))["windows"]["incomplete"].values())
    assert n == len(_RECORDS) - 1 or n == len(_RECORDS)
    words = _section(run, "Which beat, which gap")
    assert f"has five beats, as published ({n} windows on all sides): it has no beat 6; its labelled beat is beat 1" in words
    _tell(run, asked={"set_number": 1})
    assert "its labelled beat is beat 5 and is counted there" in _drawn(positions, run)
    assert "as published (" not in _section(own("pictures"), "Which beat, which gap")


def test_how_many_windows_were_tested_and_explained(own: Callable[[str], Path]) -> None:
    run = own("pictures")
    n = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test.n"]
    assert n > 30
    for section in ("What came out", "Focus on the labelled beat"):
        assert f"Maps were made of 30 of the {n} tested windows" in _section(run, section)
    splits = pd.read_csv(run / "tables" / "splits.csv")
    unused = splits[splits["split"] == "test"].assign(split="unused", n=500)
    pd.concat([splits, unused]).to_csv(run / "tables" / "splits.csv", index=False)
    _tell(run, asked=_with_recipe(run, tested_at_most=n))
    every = n + 500 * len(unused)
    assert f"On {n} of {every} test windows, drawn at random, of 2 patients" in _drawn(opening, run)
    assert f"Of {every} test windows {n} were drawn" in _drawn(lambda sides: windows(*sides.values()), run)


def test_beats_lead_and_rate_are_those_of_the_run(own: Callable[[str], Path]) -> None:
    run = own("pictures")
    assert "Six heartbeats in a row" in _words(run)
    assert "one lead (MLII where a record has it, else its first)" in _words(run)
    assert "Resampled" not in _words(run)
    rates = {"mitdb/100": 360.0, "mitdb/103": 250.0}
    _tell(run, asked=_with_recipe(run, lead="first", fs=120.0, beats=4), windows={"resampled": rates})
    words = _drawn(lambda sides: windows(*sides.values()), run)
    assert "Windows of four beats" in words
    assert "one lead (each record's first)" in words
    assert "Resampled to 120 Hz from 250, 360 Hz: 2 records" in words
    assert (counted(2), counted(10), counted(12)) == ("two", "ten", "12")


def test_which_windows_are_shown_is_said_as_it_is(own: Callable[[str], Path]) -> None:
    run = own("pictures")
    file = run / "tables" / "shown.npz"
    shown = [replace(read_shown(file)[0], label=label, predicted=label) for label in ("normal", "abnormal")]
    write_shown(file, shown)
    assert (
        "One test window each that is normal called normal, abnormal called abnormal: the middle one of the list, not chosen "
        "for its looks. There is none that is normal called abnormal or abnormal called normal."
    ) in _drawn(pictures_section, run)


def test_maps_without_mass_are_said_to_have_none(own: Callable[[str], Path], ecglens: Callable[..., Any]) -> None:
    """Also where intervals, histograms and dots have nothing to stand on; a warning of numpy fails the test."""
    run = own("twin")
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    gone = {f"focus.{method}.{key}": None for method in METHODS for key in ("mean", "sd", "enrichment", "on_padding")}
    _change_metrics(run, **(gone | {f"focus.{method}.empty_rate": 1.0 for method in METHODS}))
    for file in ("focus", "positions"):
        table = pd.read_csv(run / "tables" / f"{file}.csv")
        numbers = [column for column in table if column.startswith(("focus", "random", "enrichment", "mean_"))]
        table[numbers] = np.nan
        table["empty"], table["empty_rate"] = table["n"], 1.0
        table.to_csv(run / "tables" / f"{file}.csv", index=False)
    values = pd.read_csv(run / "tables" / "focus-values.csv").assign(focus=np.nan)
    values.to_csv(run / "tables" / "focus-values.csv", index=False)
    done = ecglens("report", run)
    assert done.code == 0, done.err
    assert f"{metrics['focus.random.mean']:.1%}, the region's share" in _section(run, "What came out")
    assert "it is no map has any mass" not in _words(run)
    for section in ("What came out", "Focus on the labelled beat", "Which beat, which gap"):
        assert "no map has any mass" in _section(run, section)
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", _words(run))


# ------------------------------------------------------------------------------------------------ drawn again


def test_the_report_can_be_drawn_again(own: Callable[[str], Path], ecglens: Callable[..., Any]) -> None:
    run = own("pictures")
    before = {path.name: path.read_bytes() for path in (run / "report.html", *(run / "figures").iterdir())}
    (run / "report.html").unlink()
    shutil.rmtree(run / "figures")
    done = ecglens("report", run)
    assert (done.code, done.out) == (0, f"{run / 'report.html'}\n"), done.err
    assert {path.name: path.read_bytes() for path in (run / "report.html", *(run / "figures").iterdir())} == before


def _beside(runs: dict[str, Path], names: tuple[str, str]) -> list[str]:
    """The columns of Table 1 for the two runs of the fixture, called so."""
    usual = [json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test.prevalence_normal"] for run in runs.values()]
    alike = f"{usual[0]:.3f}" == f"{usual[1]:.3f}"
    return [
        f"ours: {names[0]}", "paper: ResNet-50, set 1", f"ours: {names[1]}", "paper: ResNet-50, set 2",
        *(["always normal"] if alike else [f"always normal: {name}" for name in names]),
    ]  # fmt: skip


def test_another_set_beside_has_its_own_columns_rows_and_figure(
    own: Callable[[str], Path], runs: dict[str, Path], ecglens: Callable[..., Any]
) -> None:
    """What the two runs differ in stands at all that is theirs."""
    run, names = own("pictures"), ("small2d, set 1, corrected, full", "resnet, set 2, as-published, quick")
    done = ecglens("report", run, "--beside", runs["twin"])
    assert done.code == 0, done.err
    assert _headings(run)[1:] == _beside(runs, names)
    words = _words(run)
    assert "30.3 ± 9.2" in words
    assert "25.0 ± 18.2" in words
    # each run's own region and rule, not those of the first
    assert f"{names[0]}: The region of the labelled beat is R - 0.25 s to R + 0.45 s" in words
    assert f"{names[1]}: The region of the labelled beat is R - 0.2 s to R + 0.4 s; an empty map counts as no focus" in words
    rows = pd.read_csv(run / "tables" / "tables-2-to-4.csv", keep_default_na=False)
    assert list(dict.fromkeys(zip(rows["run"], rows["region"], strict=True))) == [
        (names[0], "extent"), (names[1], "rectangle")
    ]  # fmt: skip
    for name, folder in zip(names, (run, runs["twin"]), strict=True):
        mine = rows[(rows["run"] == name) & (rows["windows"] == "all")].set_index("map")
        table = pd.read_csv(folder / "tables" / "focus.csv")
        region = "extent" if name == names[0] else "rectangle"
        for method, called in METHODS.items():
            row = table[(table["method"] == method) & (table["group"] == "all") & (table["region"] == region)].iloc[0]
            if row["empty_rate"] < 1:
                assert mine.loc[called, "ours"] == f"{100 * row['focus']:.1f} ± {100 * row['focus_sd']:.1f}"
                assert mine.loc[called, "random, ours"] == f"{100 * row['random']:.1f} ± {100 * row['random_sd']:.1f}"
    assert all(name in (run / "figures" / "figure-1-histograms.svg").read_text(encoding="utf-8") for name in names)
    assert f"This page is of {names[0]}; beside it, in Tables 1 to 4 and in figures 1 and 2, stands {names[1]}." in words
    # and nothing of it is left when it is drawn alone again
    before = {path.name for path in (runs["pictures"] / "figures").iterdir()}
    assert {path.name for path in (run / "figures").iterdir()} == before | {"figure-2-maps-beside.svg"}
    assert ecglens("report", run).code == 0
    assert {path.name for path in (run / "figures").iterdir()} == before
    assert _page(run) == _page(runs["pictures"])


def test_histograms_of_two_runs_have_each_runs_rule_and_room_for_its_name() -> None:
    names = ["small2d, set 1, corrected, full, seed 7", "resnet, set 2, as-published, quick, seed 0"]
    values = pd.DataFrame(
        [(name, method, share, 0.1) for name in names for method in METHODS.values() for share in (0.2, 0.6, np.nan, np.nan)],
        columns=["set", "method", "focus", "random"],
    )
    figure = focus_histograms(values, empty={names[0]: "leave-out", names[1]: "zero"})
    words = [axes.texts[0].get_text() for axes in figure.axes]
    assert all("focus 40.0 ± 20.0 %\n" in each for each in words[:3])
    assert all("focus 20.0 ± 24.5 % (empty as 0)" in each for each in words[3:])
    assert [axes.get_title(loc="left") for axes in figure.axes] == [*METHODS.values()] * 2
    assert [text.get_text() for text in figure.texts][:2] == names  # on lines of their own
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    texts = [each for axes in figure.axes for each in (axes._left_title, axes.xaxis.label, *axes.get_xticklabels())]
    boxes = [each.get_window_extent(renderer) for each in (*texts, *figure.texts) if each.get_text()]
    for first, second in combinations(boxes, 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        assert wide <= 0.5 or min(first.y1, second.y1) - max(first.y0, second.y0) <= 0.5
    with pytest.raises(EcglensError, match="unknown empty 'drop'"):
        focus_histograms(values, empty={names[0]: "leave-out", names[1]: "drop"})


def _two(first: Path, second: Path, **asked: Any) -> list[str]:
    """What two runs are called, the second asked otherwise."""
    return list(named([Sources(open_run(first)), Sources(_asked_otherwise(second, **asked))]))


def _asked_otherwise(path: Path, **asked: Any) -> Run:
    run = open_run(path)
    recipe = run.about["asked"]["recipe"] | asked.pop("recipe", {})
    run.about["asked"] |= asked | {"recipe": recipe}
    return run


def test_runs_are_called_by_all_that_tells_them_apart(runs: dict[str, Path], own: Callable[[str], Path]) -> None:
    pictures, copy = runs["pictures"], own("pictures")
    assert list(named([Sources(open_run(pictures))])) == ["small2d, set 1"]
    for asked, ends in (
        ({"seed": 7}, ("seed 0", "seed 7")),
        ({"split": "patients"}, ("split ds1-ds2", "split patients")),
        ({"quick": True, "seed": 7}, ("full, seed 0", "quick, seed 7")),
        ({"recipe_name": "as-published", "recipe": {"crop": 0.0}}, ("corrected", "as-published")),
        ({"recipe": {"crop": 0.0}}, ("crop=0.5", "crop=0.0")),
        ({}, (pictures.name, copy.name)),  # a copy, or other data
    ):
        assert _two(pictures, copy, **asked) == [f"small2d, set 1, {end}" for end in ends]
    assert _two(pictures, copy, set_number=2) == ["small2d, set 1", "small2d, set 2"]


def test_two_runs_that_differ_in_the_seed_have_a_column_each(own: Callable[[str], Path]) -> None:
    run, other = own("pictures"), own("pictures")
    _tell(other, asked={"seed": 7})
    _change_metrics(other, **{"test.accuracy": 0.123})
    assert "Table 1 has both runs; all else here is of small2d, set 1, seed 0" in _drawn(scores, run, other)
    table = pd.read_csv(run / "tables" / "table-1.csv", index_col=0, dtype=str)
    ours = ["ours: small2d, set 1, seed 0", "ours: small2d, set 1, seed 7"]
    assert list(table) == [ours[0], "paper: ResNet-50, set 1", ours[1], "always normal"]
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert list(table.loc["accuracy", ours]) == [f"{metrics['test.accuracy']:.3f}", "0.123"]


def test_one_run_given_twice_is_refused(own: Callable[[str], Path], ecglens: Callable[..., Any]) -> None:
    run = own("pictures")
    before = (run / "report.html").read_bytes()
    assert "is given twice" in ecglens("report", run, "--beside", run / ".." / run.name).complaint
    assert (run / "report.html").read_bytes() == before


def test_simulated_ecgs_are_not_put_beside_real_ones(own: Callable[[str], Path], ecglens: Callable[..., Any]) -> None:
    run, other = own("pictures"), own("twin")
    before = {path: path.read_bytes() for path in (run / "report.html", *(run / "figures").iterdir())}
    _tell(other, data={"kind": "simulated", "title": "a made-up cohort"})
    for first, second in ((run, other), (other, run)):
        assert "of simulated ECGs" in ecglens("report", first, "--beside", second).complaint
    assert {path: path.read_bytes() for path in (run / "report.html", *(run / "figures").iterdir())} == before


# ------------------------------------------------------------------------------------------------ what is refused


def test_a_run_of_another_study_is_not_put_beside(own: Callable[[str], Path], ecglens: Callable[..., Any]) -> None:
    run, other = own("pictures"), own("twin")
    before = (run / "report.html").read_bytes()
    _tell(other, asked={"study": "jones2020"})
    assert "expected one of varandas2021" in ecglens("report", run, "--beside", other).complaint
    _tell(other, asked={"study": "nobody1999"})
    assert "not known here" in ecglens("report", run, "--beside", other).complaint
    assert (run / "report.html").read_bytes() == before


def test_a_run_that_is_not_complete_is_not_drawn(own: Callable[[str], Path], ecglens: Callable[..., Any]) -> None:
    run, other = own("pictures"), own("twin")
    _tell(other, status="unfinished")
    assert "is not complete" in ecglens("report", run, "--beside", other).complaint
    assert "is not complete" in ecglens("report", other).complaint


@pytest.mark.parametrize(
    "name", ["splits.csv", "operating.csv", "focus.csv", "focus-values.csv", "shown.npz", "occlusion.csv", "retiming.csv"]
)
def test_a_table_that_is_gone_is_named(own: Callable[[str], Path], ecglens: Callable[..., Any], name: str) -> None:
    run = own("pictures")
    (run / "tables" / name).unlink()
    assert name in ecglens("report", run).complaint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tables/splits.csv", b""), ("tables/per_class.csv", b"class,n\nnormal,1\n"), ("tables/focus.csv", b"\xff\xfe\x00"),
        ("tables/training.csv", b"epoch\n"), ("tables/shown.npz", b"PK"), ("metrics.json", b"[1, 2]"),
        ("metrics.json", b"{"), ("run.json", b"{}"), ("tables/focus-values.csv", b"id,method,focus,random\na,b,c,d\n"),
    ],
)  # fmt: skip
def test_a_damaged_file_ends_in_one_line(
    own: Callable[[str], Path], ecglens: Callable[..., Any], name: str, content: bytes
) -> None:
    run = own("pictures")
    before = (run / "report.html").read_bytes()
    (run / name).write_bytes(content)
    assert str(run) in ecglens("report", run).complaint
    assert (run / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", "{}"), ("metrics.json", '{"study": "varandas2021"}'), ("metrics.json", '{"test.n": 20}'),
        ("tables/training.csv", "epoch\n"), ("tables/focus.csv", "method,group\nsaliency,all\n"),
        ("tables/focus-values.csv", "id,method,focus,random\na,b,c,d\n"),
    ],
)  # fmt: skip
def test_damage_is_said_of_the_run_that_has_it(
    own: Callable[[str], Path], runs: dict[str, Path], ecglens: Callable[..., Any], name: str, content: str
) -> None:
    other = own("twin")
    (other / name).write_text(content, encoding="utf-8")
    run = own("pictures")
    complaint = ecglens("report", run, "--beside", other).complaint
    assert f"{other}" in complaint
    assert f"{run} " not in complaint


def test_what_longer_intervals_do_is_read_off_their_own_rows(own: Callable[[str], Path]) -> None:
    run = own("twin")
    table = pd.read_csv(run / "tables" / "retiming.csv")
    mine = (table["class"] == "normal") & (table["change"] == 0.2)
    table["called_abnormal_before"] = 0.25
    table.loc[mine, "called_abnormal"] = table["where"].map({"beside the labelled beat": 0.375, "another gap": 0.5})
    table.to_csv(run / "tables" / "retiming.csv", index=False)
    words = _drawn(opening, run)
    assert "(as much longer: +12.5)" in words
    assert re.search(r"where it is another interval, by [+-][0-9.]+ \(\+25\.0\)", words)


@pytest.mark.parametrize(("low", "said"), [(0.5, True), (0.49, True), (0.6, False), (None, False)])
def test_a_net_that_has_not_learnt_the_task_is_said_to_be_one(
    own: Callable[[str], Path], ecglens: Callable[..., Any], low: float | None, said: bool
) -> None:
    run = own("pictures")
    file = run / "metrics.json"
    metrics = json.loads(file.read_text(encoding="utf-8"))
    changed = {"test.balanced_accuracy": 0.7, "test.balanced_accuracy_low": low}
    file.write_text(json.dumps(metrics | changed), encoding="utf-8")
    assert ecglens("report", run).code == 0
    assert ("no better than chance" in _words(run)) is said
