"""The report of vijayarangan2020: from the tables of a run folder to one page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.errors import EcglensError
from ecglens.examples.label_maps import label_map
from ecglens.report import figures, windows
from ecglens.report.html import Picture, Section, sheet, with_intervals, write_html
from ecglens.runs import Run
from ecglens.studies.sources import NOT_FOR_PATIENTS, Sources, blamed, expect_runs
from ecglens.studies.vijayarangan2020_published import COMPARISON, DATABASES, DATASET, METRICS
from ecglens.studies.vijayarangan2020_recipe import CLASS_SETS, SPLITS

PAPER = "Vijayarangan et al.: Interpreting deep neural networks for single-lead ECG arrhythmia classification (EMBC 2020)"
_CLASS_METRICS = ["f1", "precision", "recall", "specificity", "auc", "average_precision"]


def redraw(run: Run, beside: Run | None = None) -> Path:
    """`write_report` for folders that may have been changed since: raises EcglensError where they do not hold a whole run."""
    if beside is not None:
        raise EcglensError(
            "--beside is for runs of jones2020; 'ecglens run vijayarangan2020 --model all' puts nets side by side"
        )
    expect_runs("vijayarangan2020", run)
    with blamed(run):
        if run.about["asked"]["model"] == "all":
            from ecglens.studies.vijayarangan2020_comparison import write_comparison

            return write_comparison(run)
        return write_report(run)


def write_report(run: Run) -> Path:
    """Draw all figures from the tables and write report.html."""
    source = Sources(run)
    asked, data = source.asked, run.about["data"]
    sections = [
        _asked(source),
        data_section(source),
        _scores(source),
        _panels(source),
        *([_branches(source)] if source.has("branches") else []),
        _masks(source),
        _course(source),
        _expected(source),
        _origin(source),
        _recipes(source),
        _meaning(),
    ]
    banner = f"{data['kind'].upper()} ECGs: {data['title']}. {NOT_FOR_PATIENTS}"
    if asked["quick"]:
        banner += " A quick run: few records, few epochs; its scores show that the machinery works, nothing more."
    path = run.path / "report.html"
    title = f"vijayarangan2020, {asked['recipe_name']}: {asked['model']}, {asked['split']}"
    ribbon = "SIMULATED ECGs: no person's heart" if source.simulated else None
    write_html(path, title, banner, facts(source), sections, ribbon=ribbon)
    return path


def facts(source: Sources) -> list[tuple[str, str]]:
    """What stands at the head of the page."""
    about, asked = source.run.about, source.asked
    training, data = about["training"], about["data"]
    return [
        ("paper", PAPER),
        ("data", f"{data['database']} {data['version']}, {len(data['records'])} records; {data['licence']}"),
        ("test", SPLITS[asked["split"]]),
        ("training", f"{training['rows']} windows x {training['epochs']} epochs in {training['seconds']:.0f} s, "
                     f"{training['threads']} threads"),
        ("seed", str(asked["seed"])),
        ("made by", f"ecglens {about['ecglens']}, torch {about['libraries']['torch']}, {about['started'][:10]}"),
    ]  # fmt: skip


def _asked(source: Sources) -> Section:
    metrics = source.metrics
    low, high = metrics["test.accuracy_low"], metrics["test.accuracy_high"]
    interval = f" (95 % interval over patients {low:.3f} to {high:.3f})" if low is not None else ""
    text = [
        "The question: what does a network that reads two seconds of one lead look at, and does that settle while it learns?",
        f"On {metrics['test.n']} test windows of {metrics['test.patients']} patients the model is right in "
        f"{metrics['test.accuracy']:.3f}{interval}; macro F1 {metrics['test.macro_f1']:.3f} over the classes that occur.",
    ]
    shared = metrics["test.shared_patients"]
    if shared:
        text.append(
            f"{len(shared)} patients are on both sides of the split, so these numbers say how well the net knows patients "
            "that it has seen."
            + (
                f" On test patients that it has not seen: accuracy {metrics['test_unseen_patients.accuracy']:.3f}."
                if "test_unseen_patients.accuracy" in metrics
                else ""
            )
        )
        if metrics["test.windows_overlapping_training"]:
            text.append(
                f"{metrics['test.windows_overlapping_training']:.0%} of the test windows share samples with a training window."
            )
    if "branches.lstm_share" in metrics:
        text.append(
            f"The paper's map belongs to the CNN. The LSTM has {metrics['branches.lstm_share']:.0%} of the decision (median), "
            "and no CNN map can show it."
        )
    ratios = [value for key, value in metrics.items() if key.startswith("mask.ratio.") and value is not None]
    if ratios:
        text.append(
            f"What the learned mask deletes lowers the class's logit {min(ratios):.1f} to {max(ratios):.1f} times as much as "
            "deleting the same amount in random cells, class by class."
        )
    return Section("What came out", text)


def data_section(source: Sources) -> Section:
    about = source.run.about
    found, data = about["windows"], about["data"]
    names = label_map(CLASS_SETS[source.asked["classes"]])
    text = [
        f"Windows of {source.recipe['seconds']:g} s of one lead ({source.recipe['lead']} where a record has it, else its "
        f"first) at {source.recipe['fs']:g} Hz. A beat's window has its R in the middle; a rhythm's windows "
        + ("begin at its onset, one each." if source.recipe["rhythm_windows"] == "onset" else "fill its span."),
        "Classes: " + "; ".join(f"{key} {names.names[key]}" for key in names.classes) + f". Source: {names.source}.",
        *(f"Missing: class {name}, {reason}." for name, reason in about["missing_classes"].items()),
        *(f"Class {name} has windows to learn from and none to test." for name in about["untested_classes"]),
        "About these records: " + "; ".join(data["facts"]) + ".",
    ]
    said = {
        "left_record": "windows leave the record",
        "in_rhythm": "beat windows lie in a rhythm of another class",
        "no_beat": "rhythm windows hold no beat",
        "invalid": "windows hold invalid samples",
        "spans_open": "rhythm spans have no end mark and end with the record",
        "spans_short": "rhythm spans are shorter than a window",
    }
    text += [f"{sum(found[key].values())} {words}." for key, words in said.items() if sum(found[key].values())]
    for key, words in (
        ("unknown_rhythms", "Rhythm labels that are not known"),
        ("other_beats", "Beats of no class, by symbol"),
    ):
        if found[key]:
            text.append(f"{words}: " + ", ".join(f"{name} {n}" for name, n in sorted(found[key].items())) + ".")
    if found["resampled"]:
        rates = sorted({f"{rate:g} Hz" for rate in found["resampled"].values()})
        text.append(f"Resampled with their annotations: {len(found['resampled'])} records, recorded at {', '.join(rates)}.")
    if data["missing"]:
        text.append(f"Not at hand: records {', '.join(data['missing'])}.")
    text += [f"Mended: {remark}." for remark in data["remarks"]]
    text += [f"Left out: {item['record']}: {item['reason']}." for item in data["skipped"]]
    counts = pd.DataFrame(
        [
            {"class": name, "kept here": found["kept"].get(name, 0)}
            | {f"paper, {base}": number for base, number in zip(DATABASES, DATASET[name], strict=True)}
            for name in names.classes
        ],
        dtype=object,
    )
    return Section(
        "The windows",
        text,
        [sheet(counts, "examples", "Windows by class, the paper's dataset table beside ours")],
        [
            source.picture(
                figures.class_counts(source.table("splits"), "windows"),
                "figure-1-classes",
                "Figure 1: windows per class and side.",
            )
        ],
    )


def _scores(source: Sources) -> Section:
    metrics = source.metrics
    ours = {"model": f"ours: {source.asked['model']}, {source.asked['split']}"} | {
        name: metrics["test.accuracy" if name == "accuracy" else f"test.macro_{name}"] for name in METRICS
    }
    paper = [{"model": f"paper: {who}"} | dict(zip(METRICS, numbers, strict=True)) for who, numbers in COMPARISON.values()]
    usual = {
        "model": "always normal",
        "accuracy": metrics.get("test.always_normal.accuracy"),
        "f1": metrics.get("test.always_normal.macro_f1"),
    }
    per_class = with_intervals(source.table("per_class"), _CLASS_METRICS)
    averages = ["class", "support", "patients", "predicted", *_CLASS_METRICS]
    sheets = [
        sheet(pd.DataFrame([ours, *paper, usual]), "", "The paper's comparison table (eight classes) beside ours"),
        sheet(per_class[[name for name in averages if name in per_class]], "per_class", "Class by class"),
    ]
    if source.has("per_class_unseen_patients"):
        unseen = with_intervals(source.table("per_class_unseen_patients"), _CLASS_METRICS)
        sheets.append(sheet(unseen, "per_class_unseen_patients", "The same without patients that training has seen"))
    sheets.append(sheet(source.table("per_patient"), "per_patient", "By patient: windows, accuracy, and F1 of each class"))
    text = [
        "Intervals are 95 %, from a bootstrap over patients: windows of one patient are alike and do not count as many.",
        "The paper gives no split, no number of test windows and no interval; ECGNet's public code takes windows at random, "
        "so that one patient's beats are on both sides.",
    ]
    matrix = source.picture(
        figures.confusion_matrix(source.table("confusion"), f"{source.asked['model']}, {source.asked['split']}"),
        "figure-2-confusion", "Figure 2: confusion matrix; rows add up to 1, small numbers are windows.",
    )  # fmt: skip
    return Section("How good is it", text, sheets, [matrix])


def _panels(source: Sources) -> Section:
    shown = source.table("shown")
    strips = {"mask": "mask, whole net"} | ({"mask_lstm": "mask, LSTM alone"} if "mask_lstm" in shown else {})
    pictures: list[Picture] = []
    for window_id in dict.fromkeys(shown["id"]):
        window = shown[shown["id"] == window_id]
        label, predicted = window["label"].iloc[0], window["predicted"].iloc[0]
        state = "rightly" if label == predicted else f"WRONGLY, it is {label}"
        pictures.append(
            source.picture(
                windows.window_with_maps(window, strips), f"figure-3-{label}-as-{predicted}",
                f"Figure 3: {window_id}, called {predicted} {state}.",
            )
        )  # fmt: skip
    method, cells = source.metrics["maps.method"], source.metrics["maps.cells"]
    return Section(
        "Single windows",
        [
            "A right and, where the masked windows hold one, a wrong test window of each class, not chosen for their looks. "
            f"Behind the trace and in the upper strip: the map ({method}) for the class that was given, purple for it, orange "
            "against it. Below: how much of each sample the learned mask deletes (dark: all of it), from the whole net's input"
            + (" and from the LSTM's alone." if "mask_lstm" in strips else "."),
            f"The map has {cells} cells of {1000 * source.recipe['seconds'] / cells:.0f} ms, and each sees "
            f"{source.metrics['maps.cell_sees_ms']:.0f} ms of the signal. Where a cell sees far, the map of one sharp sign is "
            "a plateau as wide as that, and its peak lies anywhere on it: read its middle, not its peak. With a bump planted "
            "at a known place, the map of ecgnet-cam peaked up to 200 ms beside it, its mask within 40 ms.",
        ],
        [],
        pictures,
    )


def _branches(source: Sources) -> Section:
    branches, metrics = source.table("branches"), source.metrics
    text = [
        "The head adds a part from the CNN and a part from the LSTM, so each class's logit can be taken apart exactly "
        f"(the parts miss the logits by {metrics['branches.parts_miss_logits_by']:.1e} at most). A constant part says "
        "nothing: shares are exact Shapley values of the two branches, against their mean over training windows, for the "
        "given class against the mean of all.",
        f"The CNN would give the same class in {metrics['branches.cnn_alone_says_the_same']:.1%} of the windows if the LSTM "
        "always said what it says on average.",
    ]
    parts = branches.drop(columns=["lstm_share_q25", "lstm_share_q75"]).rename(
        columns={
            "of_cnn": "CNN's part",
            "of_lstm": "LSTM's part",
            "cnn": "CNN says",
            "lstm": "LSTM says",
            "lstm_share": "LSTM's share",
            "cnn_alone_says_the_same": "CNN alone agrees",
        }
    )
    return Section(
        "How much the map explains",
        text,
        [sheet(parts, "branches", "Parts of the logit by predicted class, means; what each branch says; share of the LSTM")],
        [source.picture(windows.shares(branches), "figure-4-branches", "Figure 4: whose decision it is.")],
    )


def _masks(source: Sources) -> Section:
    deletion, masks, settling = source.table("deletion"), source.table("masks"), source.table("settling")
    text = [
        "A mask is learned that deletes as little as it can and takes away as much of the class as it can. Is what it found "
        "special? Beside it as much is deleted in random cells of 28 ms, 20 times for each window. Rows are by the class that "
        "the model gave, whose logit it is.",
        "As published the mask cannot settle. Deleting one sample costs 1 and can gain no more than a probability, so the "
        "best mask deletes one sample's worth at most (m is 1 almost everywhere); and from m = 0, 500 steps of .001 end about "
        f"half-way: the published picture is a moment of a journey. Followed here: after {settling['steps'].iloc[-2]} steps "
        f"of .001 m is {settling['m, mean'].iloc[-2]:.2f} on average, with steps of .05 it is "
        f"{settling['m, mean'].iloc[-1]:.3f}.",
    ]
    if "mask.overlap" in source.metrics:
        text.append(
            f"Masks learned from different starts overlap by {source.metrics['mask.overlap']:.2f} (soft intersection over "
            "union, mean over windows): what two starts do not share is chance."
        )
    return Section(
        "The learned mask",
        text,
        [
            sheet(
                deletion, "deletion", "What masks delete, against chance; share: of the windows in which the mask does more"
            ),
            sheet(
                masks,
                "masks",
                "Do masks stand still (moved over the last 20 steps: .05 or less), and do starts agree",
            ),
            sheet(settling, "settling", "The published mask: 1 keeps, 0 deletes; it starts at 0"),
        ],
        [source.picture(windows.deletion(deletion), "figure-5-deletion", "Figure 5: masks against chance.")],
    )


def _course(source: Sources) -> Section:
    table, maps, signals = source.table("course"), source.table("course_maps"), source.table("course_signals")
    metrics = source.metrics
    text = [
        "The paper shows maps at several epochs. Here the same windows are followed from the untrained net to the last epoch, "
        "and in a second training with another seed (its weights, the order of windows, dropout), where there is one.",
        f"The map of the untrained net has a rank correlation of {metrics['course.untrained_with_final']:.2f} with the final "
        "one (mean over classes of the median)"
        + (
            f"; the final maps of two starts have {metrics['course.between_starts']:.2f} with each other."
            if metrics.get("course.between_starts") is not None
            else "."
        ),
        *(
            [
                f"Maps of different windows of one class already have {metrics['course.between_windows']:.2f}: "
                "what is common to "
                "all is no sign that a map follows its window."
            ]
            if metrics.get("course.between_windows") is not None
            else []
        ),
    ]
    pictures = [
        source.picture(
            windows.course(table), "figure-6-course", "Figure 6: maps across training; bands are quartiles of the windows."
        )
    ]
    for name in dict.fromkeys(maps["class"]):
        pictures.append(
            source.picture(
                windows.maps_across_training(maps, signals, name), f"figure-7-{name}",
                f"Figure 7: class {name} across training, each strip on its own scale.",
            )
        )  # fmt: skip
    wide = table.pivot_table(index=["start", "beside", "epoch"], columns="class", values="median", sort=False).reset_index()
    caption = "Rank correlations: median over the windows of a class (quartiles are in the file)"
    return Section("Across training", text, [sheet(wide, "course", caption)], pictures)


def _expected(source: Sources) -> Section:
    table = source.table("expected")
    few = table.drop(columns=["why", "source"])
    reasons = table[["class", "why", "source"]].drop_duplicates()
    text = [
        "Where cardiology expects a class's sign, as windows around R (waves themselves are not yet delineated), and how much "
        "of each map falls there. Enrichment is the share of the map over the share of time: 1 is what a map that knows "
        "nothing gets. The size of the map counts, for and against the class. A map that misses the expected "
        "place is not wrong: the net may look elsewhere.",
    ]
    figure = windows.dots(
        table[table["method"] != "uniform"].replace([np.inf], np.nan), "class", "method", "enrichment", "low", "high",
        label="enrichment where the sign is expected (1: as anywhere)", line=1.0,
    )  # fmt: skip
    return Section(
        "Beside the medical literature",
        text,
        [
            sheet(few, "expected", "Share of each map where the sign is expected"),
            sheet(reasons, "expected", "What is expected"),
        ],
        [source.picture(figure, "figure-8-expected", "Figure 8: intervals are 95 %, over patients.")],
    )


def _origin(source: Sources) -> Section:
    text = [
        "A class that comes from one recorder, or one patient, can be told by that instead of by the heart. Can the origin be "
        "told within a class, from what the net is shown, from its map, from its last layer? 'Trivial description' knows "
        "a dozen plain facts (length, mean, spread, noise, mains, wander); 'shuffled' is what chance gives. For "
        "patients the plain number is near 1 and says "
        "little; what counts is how far the class's margin falls when what tells the origin is taken out of the last layer, "
        "beyond what taking out as much at random does ('leans', with its interval). An AUC no larger than 'shuffled_high' is "
        "chance; where few patients have a class, even a large one may be. Taking out as much at random is a hard blow too "
        "where most of the variance goes ('share'), so that a small leaning cannot be seen.",
    ]
    sheets, pictures = [], []
    for origin in ("patient", "database"):
        if not source.has(f"origin-{origin}-told"):
            continue
        told = source.table(f"origin-{origin}-told")
        sheets.append(sheet(told, f"origin-{origin}-told", f"How well the {origin} can be told within a class (AUC)"))
        if source.has(f"origin-{origin}-leaning"):
            leaning = source.table(f"origin-{origin}-leaning")
            sheets.append(sheet(leaning, f"origin-{origin}-leaning", f"Does the decision lean on what tells the {origin}"))
        drawn = told[told["auc"].notna()]
        if len(drawn):
            figure = windows.dots(drawn, "class", "from", "auc", "low", "high", label=f"AUC of the {origin}", line=0.5)
            pictures.append(source.picture(figure, f"figure-9-{origin}", f"Figure 9: telling the {origin} within a class."))
    if not source.has("origin-database-told"):
        text.append("All windows are of one database, so what tells the database cannot be asked here.")
    return Section("What tells where a window is from", text, sheets, pictures)


def _recipes(source: Sources) -> Section:
    text = [
        "The two recipes differ in these options, and in the split that they take by default. 'This run' may "
        "differ from both by --set or --quick."
    ]
    return Section(
        "As published and corrected",
        text,
        [sheet(source.table("recipes"), "recipes", "What the paper did, what we would do, and why")],
    )


def _meaning() -> Section:
    return Section(
        "What a map means, and what it does not",
        [
            "A class activation map shows what the CNN's last layer adds to the logit, cell by cell. A cell sees more of the "
            "signal than it covers, and what an LSTM beside the CNN adds is not in it.",
            "A learned mask shows one way of taking the class away. Evidence that is there twice need not be deleted, and a "
            "deleted stretch is no ECG any more.",
            "Classes that live in few patients cannot be told from those patients by any map.",
            f"Every figure is in figures/ as SVG, every table in tables/ as CSV. {NOT_FOR_PATIENTS}",
        ],
    )
