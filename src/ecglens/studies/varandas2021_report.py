"""The report of varandas2021: from the tables of a run folder, or of two (set 1 and set 2), to one page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.errors import EcglensError
from ecglens.examples.label_maps import label_map
from ecglens.report import figures
from ecglens.report.focus import focus_by_position, focus_histograms, occlusion_by_position, retiming_curves
from ecglens.report.html import Section, sheet, with_intervals, write_html
from ecglens.report.pictures import labelled_region, picture_maps
from ecglens.report.shown import read_shown
from ecglens.runs import Run
from ecglens.studies.sources import NOT_FOR_PATIENTS, Sources
from ecglens.studies.varandas2021 import SPLITS
from ecglens.studies.varandas2021_published import FOCUS, METHODS, RANDOM, TABLE_1, WINDOWS, solved
from ecglens.studies.varandas2021_recipe import LABELLED, PICTURED, REGIONS

PAPER = (
    "Varandas, Goncalves, Gamboa, Vieira: Quantified explainability: convolutional neural network focus assessment in "
    "arrhythmia detection (BioMedInformatics 2022)"
)
_CLASS_METRICS = ["f1", "precision", "recall", "specificity", "auc", "average_precision"]
_TABLE_1_ROWS = {
    "epochs": "epochs",
    "validation_accuracy": "validation accuracy",
    "validation_f1": "validation F1 (normal)",
    "accuracy": "accuracy",
    "f1_normal": "F1 (normal)",
    "precision_abnormal": "precision (abnormal)",
    "sensitivity_abnormal": "sensitivity (abnormal)*",
    "recall_normal": "recall (normal)*",
    "balanced_accuracy": "balanced accuracy*",
    "prevalence_normal": "share of normal windows*",
}  # *: left out by the paper, solved from what it prints
_GROUPS = {"all": "2", "right": "3", "wrong": "3", "abnormal": "4", "normal": "4"}  # the paper's tables


def redraw(run: Run, beside: Run | None = None) -> Path:
    """`write_report` for folders that may have been changed since: raises EcglensError where they do not hold a whole run.

    beside: a run of the other set (or another model), whose rows stand beside this one's in the paper's tables.
    """
    for each in (run, beside):
        if each is not None:
            each.expect_complete()
            if each.about["asked"]["study"] != "varandas2021":
                raise EcglensError(f"{each.path} is a run of {each.about['asked']['study']}; expected one of varandas2021")
    try:
        return write_report(run, beside)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise EcglensError(f"{run.path} does not hold what its report needs ({reason}); run it again") from None


def write_report(run: Run, beside: Run | None = None) -> Path:
    """Draw all figures from the tables and write report.html."""
    source = Sources(run)
    sources = [source] + ([Sources(beside)] if beside is not None else [])
    asked, data = source.asked, run.about["data"]
    sections = [
        _asked(source),
        _data(source),
        _scores(sources),
        _focus(sources),
        _pictures(sources),
        _positions(sources),
        *([_probes(source)] if source.has("occlusion") else []),
        _recipes(source),
        _meaning(source),
    ]
    banner = f"{data['kind'].upper()} ECGs: {data['title']}. {NOT_FOR_PATIENTS}"
    if asked["quick"]:
        banner += f" A quick run: {run.about['training']['rows']} training windows."
    path = run.path / "report.html"
    title = f"varandas2021, {asked['recipe_name']}: {_name(source)}"
    ribbon = "SIMULATED ECGs: no person's heart" if source.simulated else None
    write_html(path, title, banner, _facts(source), sections, ribbon=ribbon)
    return path


def _name(source: Sources) -> str:
    number = source.asked["set_number"]
    return f"{source.asked['model']}, set {number} ({LABELLED[number]} beat labelled)"


def _facts(source: Sources) -> list[tuple[str, str]]:
    about, asked = source.run.about, source.asked
    training, data = about["training"], about["data"]
    return [
        ("paper", PAPER),
        ("data", f"{data['database']} {data['version']}, {len(data['records'])} records; {data['licence']}"),
        ("test", SPLITS[asked["split"]]),
        ("training", f"{training['rows']} windows x {training['epochs']} epochs in {training['seconds']:.0f} s, "
                     f"{training['threads']} threads" + (", stopped by its rule" if training["stopped_early"] else "")),
        ("seed", str(asked["seed"])),
        ("made by", f"ecglens {about['ecglens']}, torch {about['libraries']['torch']}, {about['started'][:10]}"),
    ]  # fmt: skip


def _asked(source: Sources) -> Section:
    metrics, recipe = source.metrics, source.recipe
    beat = LABELLED[source.asked["set_number"]]
    text = [
        f"The question: six beats are shown, and the {beat} one says whether the window is normal. Does the model "
        "look at that "
        "beat, and does it need the others?",
        f"On {metrics['test.n']} test windows of {metrics['test.patients']} patients ({metrics['test.prevalence_normal']:.1%} "
        f"normal) its balanced accuracy is {metrics['test.balanced_accuracy']:.3f}"
        f"{_interval(metrics, 'test.balanced_accuracy')}, its accuracy {metrics['test.accuracy']:.3f}; it finds "
        f"{metrics['test.per_class.abnormal.recall']:.3f} of the abnormal beats. A model that always says normal has accuracy "
        f"{metrics['test.always_normal.accuracy']:.3f} and finds none.",
        "Focus is the share of a map's mass that lies in the region of the labelled beat. By chance it would be "
        f"{metrics['focus.random.mean']:.1%}, the region's share of "
        f"{'the picture' if source.asked['model'] in PICTURED else 'the signal'}; it is "
        + ", ".join(
            f"{metrics[f'focus.{method}.mean']:.1%} ({metrics[f'focus.{method}.enrichment']:.1f} x chance) by {words}"
            for method, words in METHODS.items()
        )
        + f". Region: {REGIONS[recipe['region']]}.",
    ]
    key, other = "retiming.beside the labelled beat.rise", "retiming.another gap.rise"
    if key in metrics and other in metrics:
        text.append(
            "Where the RR interval beside the labelled beat is made "
            f"{-metrics['retiming.beside the labelled beat.change']:.0%} "
            f"shorter, shapes unchanged, the share of normal windows that are called abnormal changes by {metrics[key]:+.1%}; "
            f"where it is another interval, by {metrics[other]:+.1%}."
        )
    shared = metrics["test.shared_patients"]
    if shared:
        text.append(
            f"Patient {', '.join(shared)} is on both sides of the split."
            + (
                f" Without: balanced accuracy {metrics['test_unseen_patients.macro_recall']:.3f}."
                if "test_unseen_patients.macro_recall" in metrics
                else ""
            )
        )
    return Section("What came out", text)


def _interval(metrics: dict[str, float | None], key: str) -> str:
    low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
    return "" if low is None or high is None or low != low else f" (95 % interval over patients {low:.3f} to {high:.3f})"


def _data(source: Sources) -> Section:
    about = source.run.about
    found, data, recipe = about["windows"], about["data"], source.recipe
    names = label_map("varandas")
    text = [
        f"Windows of {recipe['beats']} beats that slide on beat by beat, one lead ({recipe['lead']} where a "
        "record has it, else "
        "its first), from half-way to the beat before to half-way to the beat after. "
        + "; ".join(f"{key}: {names.names[key]}" for key in names.classes)
        + f". {names.source}.",
    ]
    if source.asked["model"] in PICTURED:
        text.append(
            "The model's first layer draws each window as one trace, 224 x 224 pixels: the window's time over "
            "the whole width, "
            f"{recipe['height_mv']:g} mV over the height. The scale is fixed, so a spike cannot squash the trace; what leaves "
            "the picture runs along its edge. In the middle of the height lies the middle between the sixth highest and the "
            "sixth lowest column."
        )
    else:
        text.append("The 1-D twin sees the same windows as signals; around a window the array holds the window's median.")
    said = {
        "incomplete": "windows lack their last beat (the paper's count implies them)",
        "at_edge": "windows begin or end with the record",
        "other_beat": "windows hold a beat of no class and are left out",
        "one_sample": "windows have two R peaks at one sample and are left out",
        "too_long": f"windows are longer than {recipe['longest']:g} s and are left out",
        "invalid": "windows hold invalid samples and are left out",
        "flat": "windows hold no signal and are left out",
    }
    text += [f"{sum(found[key].values())} {words}." for key, words in said.items() if sum(found[key].values())]
    if found["few_beats"]:
        text.append(f"Fewer than {recipe['beats']} beats: records {', '.join(found['few_beats'])}.")
    if found["other_beats"]:
        marks = ", ".join(f"{name} {n}" for name, n in sorted(found["other_beats"].items()))
        text.append(f"Beats of no class, by symbol: {marks}.")
    if data["missing"]:
        text.append(f"Not at hand: records {', '.join(data['missing'])}.")
    text += [f"Mended: {remark}." for remark in data["remarks"]]
    text += [
        f"Left out: {item['record']}: {item['reason']}."
        for item in data["skipped"]
        if item["record"] not in found["few_beats"]
    ]
    splits = source.table("splits")
    counts = splits.groupby("split")["n"].sum()
    frame = pd.DataFrame(
        [{"side": side, "windows here": int(counts.get(side, 0)), "paper": WINDOWS.get(side)} for side in
         ("train", "validation", "test", "unused")], dtype=object,
    )  # fmt: skip
    return Section(
        "The windows",
        text,
        [sheet(frame, "splits", "Windows on each side, the paper's beside ours")],
        [source.picture(figures.class_counts(splits, "windows"), "figure-a-classes", "Windows per class and side.")],
    )


def _scores(sources: list[Sources]) -> Section:
    columns = {}
    for source in sources:
        number = source.asked["set_number"]
        columns[f"ours: {source.asked['model']}, set {number}"] = _table_1(source)
        paper = TABLE_1[number]
        columns[f"paper: ResNet-50, set {number}"] = paper | solved(
            paper["accuracy"], paper["f1_normal"], paper["precision_abnormal"]
        )
    source, usual = sources[0], sources[0].metrics["test.prevalence_normal"]
    columns["always normal"] = {
        "accuracy": usual, "f1_normal": 2 * usual / (1 + usual), "sensitivity_abnormal": 0.0, "recall_normal": 1.0,
        "balanced_accuracy": 0.5, "prevalence_normal": usual,
    }  # fmt: skip
    rows = [
        {"": words} | {name: _number(key, column.get(key)) for name, column in columns.items()}
        for key, words in _TABLE_1_ROWS.items()
    ]
    text = [
        "The paper's F1 is of the normal class and its precision of the abnormal one; its sensitivity, normal recall and "
        "balanced accuracy are solved from the three numbers that it prints, which fit no other reading.",
        "Intervals are 95 %, from a bootstrap over patients. Operating points are read off the test windows' own ROC curve, "
        "with the normal recall of the paper's two models; the last row, where there is one, has a threshold chosen on "
        "validation patients.",
    ]
    per_class = with_intervals(source.table("per_class"), _CLASS_METRICS)
    per_class = per_class[["class", "support", "patients", "predicted", *_CLASS_METRICS]]
    operating = with_intervals(source.table("operating"), ["sensitivity"])
    sheets = [
        sheet(pd.DataFrame(rows), "metrics", "Table 1 of the paper, ours beside it; * is left out by the paper and solved"),
        sheet(operating, "operating", "Abnormal beats found where so many normal ones are left in peace"),
        sheet(per_class, "per_class", "Class by class"),
    ]
    if source.has("per_class_unseen_patients"):
        unseen = with_intervals(source.table("per_class_unseen_patients"), _CLASS_METRICS)
        sheets.append(sheet(unseen, "per_class_unseen_patients", "The same without patients that training has seen"))
    sheets.append(sheet(source.table("per_patient"), "per_patient", "By patient: windows, accuracy, and F1 of each class"))
    matrix = source.picture(
        figures.confusion_matrix(source.table("confusion"), f"set {source.asked['set_number']}"), "figure-b-confusion",
        "Confusion matrix; rows add up to 1, small numbers are windows.",
    )  # fmt: skip
    return Section("How good is it", text, sheets, [matrix])


def _table_1(source: Sources) -> dict[str, float]:
    """Our numbers under the names of the paper's Table 1 and of what is solved from it."""
    metrics, last = source.metrics, source.table("training").iloc[-1]
    return {
        "epochs": float(last["epoch"]), "validation_f1": float(last.get("validation_f1", np.nan)),
        "accuracy": metrics["test.accuracy"], "f1_normal": metrics["test.per_class.normal.f1"],
        "precision_abnormal": metrics["test.per_class.abnormal.precision"],
        "sensitivity_abnormal": metrics["test.per_class.abnormal.recall"],
        "recall_normal": metrics["test.per_class.normal.recall"], "balanced_accuracy": metrics["test.balanced_accuracy"],
        "prevalence_normal": metrics["test.prevalence_normal"],
    }  # fmt: skip


def _number(key: str, value: float | None) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if key == "epochs" else f"{value:.3f}"


def _focus(sources: list[Sources]) -> Section:
    rows, values = [], []
    for source in sources:
        rows += _tables_2_to_4(source)
        each = source.table("focus-values")
        each["set"] = f"set {source.asked['set_number']}"
        each["method"] = each["method"].map(METHODS)
        values.append(each)
    mean, sd = RANDOM
    source = sources[0]
    table = source.table("focus")
    both = table[table["group"].isin(_GROUPS)].copy()
    both = with_intervals(both, ["focus", "enrichment"])[
        ["method", "group", "region", "n", "patients", "empty", "focus", "focus_sd", "random", "enrichment"]
    ]
    text = [
        f"In per cent, mean ± standard deviation over test windows. Region: {REGIONS[source.recipe['region']]}. An empty map "
        + (
            "counts as no focus."
            if source.recipe["empty"] == "zero"
            else "is left out of the means; how many there are is said."
        )
        + " Maps are of the "
        + ("class that the model gave" if source.recipe["target"] == "predicted" else "true class")
        + "; the paper does not say which. Of gradients the size is summed, of Grad-CAM and GB grad-CAM what speaks for the "
        "class.",
        f"Random focus is what a map without any preference would have: the region's share. The paper's is {100 * mean:.1f} ± "
        f"{100 * sd:.1f}; it compares focus with it, but not picture by picture. 'x chance' is mean focus over mean random "
        "focus of the same pictures, with its 95 % interval over patients.",
        "The paper's Table 4 weighted by the classes' shares gives its Table 2, except for GB grad-CAM of set 2 (15.8 for "
        "15.3).",
    ]
    return Section(
        "Focus on the labelled beat",
        text,
        [
            sheet(pd.DataFrame(rows), "focus", "Tables 2, 3 and 4 of the paper, ours beside"),
            sheet(both, "focus", "Both regions, with intervals over patients"),
        ],
        [
            source.picture(
                focus_histograms(pd.concat(values), empty=source.recipe["empty"]), "figure-1-histograms",
                "Figure 1: focus of every picture; the outline is random focus.",
            )
        ],
    )  # fmt: skip


def _tables_2_to_4(source: Sources) -> list[dict[str, str]]:
    """A row per group and method: the paper's mean and standard deviation, and ours with chance beside it."""
    number, table, rows = source.asked["set_number"], source.table("focus"), []
    for group, paper_table in _GROUPS.items():
        ours = table[(table["group"] == group) & (table["region"] == source.recipe["region"])].set_index("method")
        for method, words in METHODS.items():
            mean, sd = FOCUS[number][group][method]
            row = {
                "table": paper_table, "set": str(number), "windows": group, "map": words,
                "paper": f"{100 * mean:.1f} ± {100 * sd:.1f}", "ours": _mean_sd(ours, method),
            }  # fmt: skip
            if method in ours.index:
                own = ours.loc[method]
                row["random, ours"] = f"{100 * own['random']:.1f} ± {100 * own['random_sd']:.1f}"
                row["x chance"] = _with_bounds(own, "enrichment", 2)
                row["empty maps"] = f"{own['empty_rate']:.1%}"
            rows.append(row)
    return rows


def _mean_sd(table: pd.DataFrame, method: str) -> str:
    if method not in table.index or table.loc[method, "focus"] != table.loc[method, "focus"]:
        return ""
    return f"{100 * table.loc[method, 'focus']:.1f} ± {100 * table.loc[method, 'focus_sd']:.1f}"


def _with_bounds(row: pd.Series, name: str, digits: int) -> str:
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if value != value:
        return ""
    return f"{value:.{digits}f}" + ("" if low != low else f" [{low:.{digits}f}, {high:.{digits}f}]")


def _pictures(sources: list[Sources]) -> Section:
    drawn = []
    for number, source in enumerate(sources):
        shown = read_shown(source.run.tables / "shown.npz")
        suffix = "" if number == 0 else "-beside"
        drawn.append(
            sources[0].picture(
                picture_maps(shown, behind="grad-cam"), f"figure-2-maps{suffix}",
                f"Figure 2: maps of {_name(source)}; the box is the region.",
            )
        )  # fmt: skip
        if number == 0:
            drawn.append(
                source.picture(labelled_region(shown[0]), "figure-3-region", "Figure 3: the region of the labelled beat.")
            )
    text = [
        "A right and, where there is one, a wrong test window of each class, from the middle of the list, not "
        "chosen for their "
        "looks. Each map has its own scale. Under the pictures the trace on ECG paper, and the maps summed down their "
        "columns into time.",
    ]
    if sources[0].asked["model"] not in PICTURED:
        text.append("This model sees no picture: pictures are drawn here for the eye, and its maps are bands of time.")
    return Section("Single windows", text, [], drawn)


def _positions(sources: list[Sources]) -> Section:
    source = sources[0]
    table = source.table("positions")
    table["method"] = table["method"].map(METHODS)
    labelled = f"beat {source.recipe['beats'] if source.asked['set_number'] == 1 else 1}"
    text = [
        "The paper asks in closing whether its models use RR intervals and earlier beats. Where does the map's mass lie: on "
        "which beat (R - 0.25 s to R + 0.45 s, at most half-way to the neighbour), in which gap? Dots over the grey bars lie "
        "there more than chance.",
    ]
    own = table[table["region"] == labelled]
    text += [
        f"{row['method']}, {row['class']}: {row['focus']:.1%} on the labelled beat ({row['enrichment']:.1f} x chance)."
        for row in own.to_dict("records")
    ]
    return Section(
        "Which beat, which gap",
        text,
        [
            sheet(
                with_intervals(table, ["focus", "enrichment"])[
                    ["method", "class", "region", "n", "focus", "random", "enrichment"]
                ],
                "positions", "Focus on each beat and gap",
            )
        ],
        [
            source.picture(
                focus_by_position(table, labelled=labelled), "figure-4-positions",
                "Figure 4: mean focus with 95 % intervals over patients; grey: random focus.",
            )
        ],
    )  # fmt: skip


def _probes(source: Sources) -> Section:
    labelled = f"beat {source.recipe['beats'] if source.asked['set_number'] == 1 else 1}"
    occlusion, retiming = source.table("occlusion"), source.table("retiming")
    text = [
        f"A map is a claim; here the signal itself is changed, on {source.metrics['probed.n']} test windows. Each "
        "beat and each "
        "gap is hidden in turn (a straight line from its first to its last sample): how far does the margin of the given "
        "class fall, and how often does the class change?",
        "Then beats are moved and their shape is not: only the stretch between two beats is made shorter or longer. If the "
        "model reads RR intervals, an early labelled beat turns normal windows abnormal, and the same change elsewhere does "
        "not. Compare with the unchanged windows of the same row, as not every window has room for every change.",
    ]
    few = occlusion[occlusion["class"] != "all"]
    return Section(
        "What the model needs",
        text,
        [
            sheet(with_intervals(few, ["fall", "changed"]), "occlusion", "Hidden beats and gaps"),
            sheet(
                with_intervals(retiming, ["called_abnormal", "margin_change"]), "retiming", "Moved beats; change of the RR "
                "interval as a share of it",
            ),
        ],
        [
            source.picture(
                occlusion_by_position(few, labelled=labelled), "figure-5-occlusion",
                "Figure 5: what hiding each beat and each gap does.",
            ),
            source.picture(retiming_curves(retiming), "figure-6-retiming", "Figure 6: what moving beats does."),
        ],
    )  # fmt: skip


def _recipes(source: Sources) -> Section:
    text = ["The two recipes differ in these options. 'This run' may differ from both by --set or --quick."]
    return Section(
        "As published and corrected",
        text,
        [sheet(source.table("recipes"), "recipes", "What the paper did, what we would do, and why")],
    )


def _meaning(source: Sources) -> Section:
    text = [
        "High focus says that a map lies on the labelled beat, not that the model needs it: guided maps lie where ink is, for "
        "any model. Low focus is no fault either: an early beat can only be told by the gap before it.",
        "Grad-CAM of a picture is as coarse as the last layer's cells, and each cell sees far beyond itself.",
        "Hiding a beat by a straight line, or moving it, makes ECGs that no heart makes; models may answer oddly "
        "for that alone.",
        f"Every figure is in figures/ as SVG, every table in tables/ as CSV. {NOT_FOR_PATIENTS}",
    ]
    return Section("What a map means, and what it does not", text)
