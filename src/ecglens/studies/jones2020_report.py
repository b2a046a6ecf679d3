"""The report of jones2020: from the tables of a run folder to one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ecglens.examples.label_maps import label_map
from ecglens.examples.splits import SPLITS
from ecglens.report import figures
from ecglens.report.html import Section, sheet, with_intervals, write_html
from ecglens.runs import Run
from ecglens.studies.evidence import evidence_section
from ecglens.studies.jones2020_published import DE_CHAZAL
from ecglens.studies.jones2020_recipe import recipe_for
from ecglens.studies.sampled import precision_text
from ecglens.studies.sources import NOT_FOR_PATIENTS, Sources, blamed, expect_runs

_CLASS_METRICS = ["f1", "precision", "recall", "specificity", "auc", "average_precision"]


class _Sources(Sources):
    """What the report reads from the run folder."""

    @property
    def signed(self) -> bool:
        """Whether the maps have a sign."""
        return bool(self.metrics["maps.signed"])

    @property
    def unit(self) -> str:
        """What a segment's value means."""
        return "size of gradient (1 = this beat's mean)" if self.signed else "map of the paper (0 to 1 in each beat)"


def redraw(run: Run, beside: Run | None = None) -> Path:
    """`write_report` for folders that may have been changed since: raises EcglensError where they do not hold a whole run."""
    expect_runs("jones2020", run, beside)
    with blamed(run):
        return write_report(run, beside)


def write_report(run: Run, beside: Run | None = None) -> Path:
    """Draw all figures from the tables and write report.html; `beside` is a second run to compare with."""
    source = _Sources(run)
    other = _Sources(beside) if beside is not None else None
    sections = [
        _asked(source),
        _data(source),
        _scores(source),
        _recipes(source, other),
        _beats(source),
        _class_maps(source),
        *([_evidence(source)] if source.simulated else []),
        _right_and_wrong(source),
        _trust(source),
        _meaning(source),
    ]
    asked = source.asked
    title = f"jones2020, {asked['recipe_name']}: {asked['model']}, {asked['split']}"
    data = run.about["data"]
    banner = f"{data['kind'].upper()} ECGs: {data['title']}. {NOT_FOR_PATIENTS}"
    if asked["quick"]:
        banner += " A quick run: few records, few epochs; its scores show that the machinery works, nothing more."
    path = run.path / "report.html"
    write_html(
        path, title, banner, _facts(source), sections, ribbon="SIMULATED ECGs: no person's heart" if source.simulated else None
    )
    return path


def _facts(source: _Sources) -> list[tuple[str, str]]:
    about, asked = source.run.about, source.asked
    training, data = about["training"], about["data"]
    return [
        ("paper", "Jones, Deligianni, Dalton: Improving ECG classification interpretability using saliency maps (2020)"),
        ("data", f"{data['database']} {data['version']}, {len(data['records'])} records; {data['licence']}"),
        ("test", SPLITS[asked["split"]]),
        ("training", f"{training['rows']} rows x {training['epochs']} epochs in {training['seconds']:.0f} s, "
                     f"{training['threads']} threads"),
        ("seed", str(asked["seed"])),
        ("made by", f"ecglens {about['ecglens']}, torch {about['libraries']['torch']}, {about['started'][:10]}"),
    ]  # fmt: skip


def _asked(source: _Sources) -> Section:
    metrics, asked = source.metrics, source.asked
    text = [
        "The question: which parts of a heart beat move this classifier, class by class, and are its right answers reached "
        "another way than its wrong ones?",
        f"On {metrics['test.n']} test beats of {metrics['test.patients']} patients the model is right in "
        f"{metrics['test.accuracy']:.1%}{_interval(metrics, 'test.accuracy')}; macro F1 over the classes that occur is "
        f"{metrics['test.macro_f1']:.3f}{_interval(metrics, 'test.macro_f1')}. A model that always says 'normal' would be "
        f"right in {metrics['test.always_normal.accuracy']:.1%}, with macro F1 {metrics['test.always_normal.macro_f1']:.3f}.",
    ]
    shared = metrics["test.shared_patients"]
    if shared:
        names = ", ".join(shared) if len(shared) <= 5 else f"{len(shared)} patients"
        text.append(f"LEAKAGE: {names} have beats both in training and in test. These scores flatter the model.")
        if "test_unseen_patients.accuracy" in metrics:
            text.append(
                f"On the {metrics['test_unseen_patients.n']} test beats of patients never trained on: accuracy "
                f"{metrics['test_unseen_patients.accuracy']:.3f}, macro F1 {metrics['test_unseen_patients.macro_f1']:.3f}."
            )
    else:
        text.append("No patient has beats both in training and in test (checked by name, records of one person joined).")
    change = metrics.get(f"maps.class_change.{metrics['maps.method']}")
    text.append(
        "Does the map depend on the class that is asked about? Measured: "
        + (
            "no. Asked about another class, it is the same map to the last digit, so nothing in it speaks for a class."
            if change == 0
            else f"yes. Asked about the second likeliest class, half of the beats' maps change by at least {change:.0%}."
        )
    )
    if asked["recipe_name"] == "as-published":
        text.append(_length_note(source))
    return Section("What was asked, in short", text)


def _length_note(source: _Sources) -> str:
    training, asked = source.run.about["training"], source.asked
    full = recipe_for("as-published", asked["model"], asked["split"], quick=False).epochs
    said = f"Trained on {training['rows']} rows x {training['epochs']} epochs; the paper trained {full} epochs on all rows."
    whole = training["epochs"] >= full and not source.recipe["rows_at_most"]
    return said if whole else said + " A shorter training than the paper's: it claims nothing about the paper's numbers."


def _interval(metrics: dict[str, Any], key: str) -> str:
    low, high = metrics[f"{key}_low"], metrics[f"{key}_high"]
    return f" (95 % interval over patients {low:.3f} to {high:.3f})" if low is not None else ""


def _data(source: _Sources) -> Section:
    about = source.run.about
    beats, data = about["beats"], about["data"]
    names = label_map(source.asked["classes"])
    text = [
        f"{beats['kept']} beats kept of {beats['of_classes']} of these classes. "
        + (
            f"Cut half-way to the neighbouring marks, the longest is {beats['longest']} samples; {beats['too_long']} "
            f"({beats['too_long'] / beats['of_classes']:.2%}) are longer than {source.recipe['length']} and dropped."
            if source.recipe["extent"] == "halfway"
            else f"Each is a window of {source.recipe['length']} samples with R in the middle; none is dropped for its length."
        ),
        "Classes: " + "; ".join(f"{key} {value}" for key, value in names.names.items()) + f". Source: {names.source}.",
        "About these records: " + "; ".join(data["facts"]) + ".",
    ]
    if data["missing"]:
        text.append(f"Not at hand: records {', '.join(data['missing'])}.")
    text += [f"Mended: {remark}." for remark in data.get("remarks", [])]
    text += [f"Left out: {item['record']}: {item['reason']}." for item in data["skipped"]]
    concentration = _concentration(source.table("examples"))
    beat = _first_beat(source)
    return Section(
        "The beats",
        text,
        [sheet(concentration, "examples", "Classes that live in few patients: a net can learn the person, not the class")],
        [
            source.picture(
                figures.class_counts(source.table("splits")), "figure-1-classes",
                "Figure 1 of the paper, from our data: beats per class and side.",
            ),
            source.picture(
                figures.extraction(source.table("extraction"), source.table("extraction_marks")), "figure-2-extraction",
                "Figure 2: how a beat is cut. Dotted: marks, orange where the mark is no beat. Shaded: the signal that the "
                "model sees.",
            ),
            source.picture(
                figures.beat_on_paper(beat, signed=None), "figure-3-beat",
                f"Figure 3: a whole example ({beat['id'].iloc[0]}, class {beat['label'].iloc[0]}). Grey: padding.",
            ),
        ],
    )  # fmt: skip


def _concentration(examples: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, group in examples.groupby("class"):
        largest = group.sort_values("n").iloc[-1]
        rows.append(
            {
                "class": name,
                "beats": int(group["n"].sum()),
                "patients": len(group),
                "most in patient": largest["patient"],
                "their share": largest["n"] / group["n"].sum(),
            }
        )
    return pd.DataFrame(rows)


def _first_beat(source: _Sources) -> pd.DataFrame:
    beats = source.table("shown_beats")
    chosen = beats[(beats["label"] == "N") & (beats["predicted"] == "N")]
    chosen = chosen if len(chosen) else beats
    return chosen[chosen["id"] == chosen["id"].iloc[0]]


def _scores(source: _Sources) -> Section:
    metrics = source.metrics
    paper = with_intervals(source.table("paper").rename(columns={"low": "ours_low", "high": "ours_high"}), ["ours"])
    per_class = source.table("paper_per_class")
    per_class = per_class.drop(
        columns=[name for name in per_class if name.startswith("paper") and per_class[name].isna().all()]
    )
    averages = ["class", "support", "patients", "predicted", *_CLASS_METRICS]
    paper_columns = [name for name in per_class if name.startswith("paper")]
    by_class = with_intervals(per_class, [name for name in _CLASS_METRICS if name in per_class])
    text = [
        "Intervals are 95 %, from a bootstrap over patients: beats of one patient are alike and do not count as many. A class "
        "without test beats has no score; the paper counted it as 0.",
    ]
    if source.asked["split"] == "ds1-ds2" and source.asked["classes"] == "aami":
        text.append(
            "de Chazal 2004, same split: F1 "
            + ", ".join(f"{name} {value}" for name, value in DE_CHAZAL.items())
            + ". Most S beats here are of one patient (record 232), so read the table by patient."
        )
    headline = "over all classes" if source.recipe["average_over"] == "all" else "over the classes that occur"
    always = pd.DataFrame(
        [
            {"model": "this one", "accuracy": metrics["test.accuracy"], "macro F1": metrics["test.headline_macro_f1"]},
            {
                "model": "always normal",
                "accuracy": metrics["test.always_normal.accuracy"],
                "macro F1": metrics[
                    "test.always_normal.macro_f1" + ("_all" if source.recipe["average_over"] == "all" else "")
                ],
            },
        ]
    )
    sheets = [
        sheet(paper, "paper", "Tables 1 to 3 of the paper beside ours"),
        sheet(always, "", f"Beside a model that always says 'normal' (macro average {headline}; metrics.json)"),
        sheet(by_class[[name for name in averages if name in by_class]], "per_class", "Class by class"),
        sheet(
            by_class[["class", "f1", "precision", "recall", *paper_columns]],
            "paper_per_class",
            "Figure 6 of the paper beside ours; nothing where the test set lacks the class",
        ),
    ]
    if (source.run.tables / "per_class_unseen_patients.csv").is_file():
        unseen = with_intervals(source.table("per_class_unseen_patients"), _CLASS_METRICS)
        sheets.append(sheet(unseen, "per_class_unseen_patients", "The same without patients that training has seen"))
    sheets.append(sheet(source.table("per_patient"), "per_patient", "By patient: beats, accuracy, and F1 of each class"))
    title = f"{source.asked['model']}, {source.asked['split']}"
    matrix = source.picture(
        figures.confusion_matrix(source.table("confusion"), title), "figure-4-confusion",
        "Figure 4: confusion matrix; rows add up to 1, small numbers are beats.",
    )  # fmt: skip
    return Section("How good is it", text, sheets, [matrix])


def _recipes(source: _Sources, other: _Sources | None) -> Section:
    text = [
        "The two recipes differ in these options, and in nothing else. 'This run' may differ from both by --set or --quick."
    ]
    sheets = [sheet(source.table("recipes"), "recipes", "What the paper did, what we would do, and why")]
    sheets.append(sheet(source.table("effects"), "effects", "What an option does to the numbers, measured in this very run"))
    if other is None:
        text.append(
            "What all of them together do to the numbers is seen by running both recipes: 'ecglens report RUN --beside "
            "OTHER_RUN' puts them side by side here."
        )
    else:
        both = {f"{each.asked['recipe_name']} {each.asked['model']} {each.asked['split']}": each for each in (source, other)}
        keys = [key for key in source.metrics if key in other.metrics and _is_headline(key)]
        rows = [{"metric": key} | {name: each.metrics[key] for name, each in both.items()} for key in keys]
        sheets.append(sheet(pd.DataFrame(rows), "../metrics", "What the difference did to the numbers"))
    return Section("As published and corrected", text, sheets)


def _is_headline(key: str) -> bool:
    stem = key.removeprefix("test.")
    return stem in ("n", "accuracy", "macro_f1", "macro_f1_all") or key.startswith(("maps.", "outliers.", "train."))


def _beats(source: _Sources) -> Section:
    beats = source.table("shown_beats")
    what = (
        "Orange: more voltage here speaks against the class that the model gave; purple: for it. The trace is black on top, "
        "the map pale behind it and in full colour as a strip below. Both leads share one scale."
        if source.signed
        else "The map of the paper, from 0 (pale) to 1 (dark) over both leads of the beat together. It knows no class."
    )
    pictures = []
    for beat_id in dict.fromkeys(beats["id"]):
        beat = beats[beats["id"] == beat_id]
        label, predicted = beat["label"].iloc[0], beat["predicted"].iloc[0]
        state = "rightly" if label == predicted else f"WRONGLY, it is {label}"
        name = f"figure-5-{label}-as-{predicted}"
        caption = f"Figure 5: {beat_id}, called {predicted} {state}."
        pictures.append(source.picture(figures.beat_on_paper(beat, signed=source.signed), name, caption))
    return Section(
        "Single beats", [what, "One right and one wrong test beat of each class, not chosen for their looks."], [], pictures
    )


def _class_maps(source: _Sources) -> Section:
    profiles = source.table("profiles")
    pictures = [
        source.picture(
            figures.class_maps(profiles, unit=source.unit), "figure-7-class-maps",
            "Figure 7: median over the beats of each class (training and test together), segment by segment.",
        )
    ]  # fmt: skip
    if source.signed:
        pictures.append(
            source.picture(
                figures.class_maps(source.table("profiles_signed"), unit="against | for the class", signed=True),
                "figure-7b-signed", "The same with its sign: positive means more voltage here, more of the class.",
            )
        )  # fmt: skip
    padding = sheet(
        source.table("padding"), "padding", "How much of the map lies on padding, beside how much of the window is padding"
    )
    return Section(
        "Class by class",
        [
            f"{source.metrics['maps.n']} beats were explained, each for the class that the model gave it. A map is averaged "
            "in segments of 0.1 s that are counted outward from the R peak in each lead.",
            *_other_map(source),
            *_precision(source),
        ],
        [padding],
        pictures,
    )


def _evidence(source: _Sources) -> Section:
    tested = (source.run.tables / "evidence_test.csv").is_file()
    test = source.table("evidence_test") if tested else None
    return evidence_section(source.metrics, source.table("evidence_maps"), test, source.run.about["data"]["facts"][-1])


def _precision(source: _Sources) -> list[str]:
    """How well the class maps are known where a sample was explained."""
    if not source.recipe.get("precision"):
        return []
    table = source.table("precision")
    return [precision_text(table, int(table.drop_duplicates("class")["n_of"].sum()))]


def _other_map(source: _Sources) -> list[str]:
    """A sentence where the recipe's map cannot be had of this network."""
    if source.recipe["map_of"] == source.metrics["maps.method"]:
        return []
    return [
        "The paper explains only its CNN: its map reads the last convolution, and this network has none. Here its maps are "
        "the signed gradient of the given class's logit, as in the corrected recipe."
    ]


def _right_and_wrong(source: _Sources) -> Section:
    profiles, metrics = source.table("profiles"), source.metrics
    pictures = []
    for name in dict.fromkeys(profiles["class"]):
        figure = figures.right_and_wrong(profiles, name, unit=source.unit)
        if figure is not None:
            caption = (
                f"Figure 8, class {name}: above, all beats and the right and wrong ones of the test set; below, the wrong "
                "ones beside the class they were taken for. Bands are quartiles, none where n < 5."
            )
            pictures.append(source.picture(figure, f"figure-8-{name}", caption))
    text = []
    if "outliers.auc" in metrics:
        text.append(
            f"The paper hopes that a beat whose map is unusual is a beat likely to be wrong. Measured on "
            f"{metrics['outliers.n']} test beats ({metrics['outliers.errors']} errors): distance from the class's "
            f"usual map finds errors with AUC "
            f"{metrics['outliers.auc']:.3f}; the model's own doubt (1 - probability) does so with AUC "
            f"{metrics['outliers.auc_of_doubt']:.3f}."
        )
    else:
        text.append(
            "There are no errors, or nothing but errors, among the explained test beats: nothing to find by outlying maps."
        )
    top = source.table("outliers").head(12)
    return Section(
        "Right against wrong", text, [sheet(top, "outliers", "The twelve test beats with the most unusual maps")], pictures
    )


def _trust(source: _Sources) -> Section:
    metrics = source.metrics
    dependence = source.table("dependence").groupby("method")[["change", "correlation"]].median().reset_index()
    text = [
        "Each map was asked for twice: for the likeliest class and for the second likeliest. 'change' is 0 where both "
        "maps are "
        "the same and 1 where they have nothing in common; 'correlation' is between their sizes.",
    ]
    sheets = [sheet(dependence, "dependence", "Does the map depend on the class? Median over beats, this model")]
    if "rr.share_median" in metrics:
        text.append(
            f"This model also sees the RR intervals. Their share in its decisions is {metrics['rr.share_median']:.0%} "
            f"(median; "
            "exact Shapley values of two players, signal and RR intervals). No map over the signal can show that part."
        )
        sheets.append(sheet(source.table("rr_share"), "rr_share", "Share of the RR intervals, by the class that was given"))
    return Section("Can the maps be believed", text, sheets)


def _meaning(source: _Sources) -> Section:
    del source
    return Section(
        "What a map means, and what it does not",
        [
            "A saliency map says how fast a number inside the network changes if one sample changes a little and all "
            "others stay. It "
            "does not say that the sample caused the decision, that a cardiologist would look there, or that the "
            "model would fail "
            "without it.",
            "A bright segment can be noise, an electrode, or a habit of one patient. A dark segment can still matter: "
            "a network "
            "that has made up its mind has small gradients everywhere.",
            "Classes that live in one patient (see 'The beats') cannot be told from that patient by any map.",
            f"Every figure is in figures/ as SVG, every table in tables/ as CSV. {NOT_FOR_PATIENTS}",
        ],
    )
