"""Simulated ECGs beside MIT-BIH: a picture of each class, and heart rate, QRS width and amplitude in numbers.

Real signals may not be kept in the repository, so the pictures are drawn where the data are: `make beside-real`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.examples import Examples
from ecglens.examples.label_maps import label_map
from ecglens.files import write_table
from ecglens.recordings.databases import Database, database, read_records
from ecglens.recordings.places import find_database, records_present
from ecglens.report import paper
from ecglens.simulation.stand_in import SIMULATED, find_records

_SHOWN = {"N": "103", "A": "209", "j": "222", "V": "119", "E": "207", "L": "109", "R": "118", "P": "107"}
_SECONDS, _MV = 3.2, 1.5
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def main() -> None:
    """Draw and measure; with --run also score a model trained on simulated beats on real N against V."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that holds mitdb/ (default: $ECGLENS_DATA, cache, PhysioNet)")
    parser.add_argument(
        "--simulated", type=Path, default=Path(SIMULATED), help="a simulated cohort (default: the built-in one)"
    )
    parser.add_argument("--run", type=Path, help="a run trained on simulated beats, to be scored on real ones")
    parser.add_argument("--out", type=Path, default=Path("build/beside-real"))
    asked = parser.parse_args()
    real = database("mitdb")
    folder = find_database(real, asked.data)
    made, made_folder = find_records("mitdb", asked.simulated)
    beats = {"simulated": _beats(made, made_folder), "MIT-BIH": _beats(real, folder)}
    asked.out.mkdir(parents=True, exist_ok=True)
    table = pd.concat([_distributions(examples).assign(data=name) for name, examples in beats.items()])
    table = table.sort_values(["measure", "data"])[["measure", "data", "n", *(f"{q:.0%}" for q in _QUANTILES)]]
    write_table(asked.out / "distributions.csv", table)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    figure = _picture(made, made_folder, real, folder)
    figure.savefig(asked.out / "classes.png", dpi=110)
    print(asked.out / "classes.png")
    if asked.run is not None:
        _score(asked.run, beats["MIT-BIH"])


def _beats(which: Database, folder: Path) -> Examples:
    there, _ = records_present(which, folder)
    return cut_beats(read_records(which, folder, there, [], swap_leads=True), label_map("jones"), BeatOptions(), [])[0]


def _distributions(examples: Examples) -> pd.DataFrame:
    """Quantiles over records of each record's median: rate of all beats; QRS width and height of beats, N and wide classes."""
    frame = pd.DataFrame({"record": examples.column("record"), "class": np.array(examples.classes)[examples.labels]})
    frame["heart rate, 1/min"] = 60 / examples.column("rr_local")
    frame["QRS width, ms"] = qrs_width(examples.signals, examples.length // 2, examples.fs)
    near = slice(examples.length // 2 - round(0.06 * examples.fs), examples.length // 2 + round(0.06 * examples.fs))
    height = np.ptp(examples.signals[:, :, near], axis=2)
    frame["QRS height in lead 1, mV"], frame["QRS height in lead 2, mV"] = height[:, 0], height[:, 1]
    quiet = examples.signals[:, 0, : round(0.1 * examples.fs)]
    frame["noise in lead 1, 0.5 s before R, uV"] = 1000 * np.diff(quiet, n=2, axis=1).std(axis=1) / np.sqrt(6)
    rows = []
    for measure in frame.columns[2:]:
        for classes, name in ((("N",), "N"), (("V",), "V"), (("L", "R"), "L and R")):
            if measure.startswith(("heart", "noise")) and name != "N":
                continue
            some = frame[frame["class"].isin(classes)].groupby("record")[measure].median()
            rows.append(
                {"measure": f"{measure} ({name})", "n": len(some)}
                | {f"{q:.0%}": value for q, value in zip(_QUANTILES, some.quantile(_QUANTILES), strict=True)}
            )
    return pd.DataFrame(rows)


def qrs_width(signals: NDArray[np.float32], middle: int, fs: float, share: float = 0.12) -> NDArray[np.float64]:
    """ms (beat,) between the first and last moment, within 0.12 s of R, of a slope above `share` of the steepest.

    Slope: root of the summed squares over the leads, smoothed over 10 ms. Crude, but the same for both sorts of ECG.
    """
    from scipy.ndimage import uniform_filter1d

    reach = round(0.12 * fs)
    slope = np.sqrt((np.gradient(signals[:, :, middle - reach : middle + reach].astype(float), axis=2) ** 2).sum(axis=1))
    slope = uniform_filter1d(slope, max(round(0.01 * fs), 1), axis=1)
    steep = slope > share * slope.max(axis=1, keepdims=True)
    first, last = steep.argmax(axis=1), steep.shape[1] - steep[:, ::-1].argmax(axis=1)
    return 1000 * (last - first) / fs


def _picture(made: Database, made_folder: Path, real: Database, folder: Path) -> object:
    """A row per class: two leads simulated, two leads real, the beat of the class in the middle."""
    width, height = paper.paper_size(_SECONDS, 2 * _MV, 1.0)
    figure = paper.new_figure(2 * (width + 14) + 8, len(_SHOWN) * (2 * height + 8) + 10)
    for number, (name, record) in enumerate(_SHOWN.items()):
        bottom = (len(_SHOWN) - 1 - number) * (2 * height + 8) + 2
        for column, (which, at, shown) in enumerate(((made, made_folder, None), (real, folder, record))):
            signal, leads, title = _strip(which, at, name, shown)
            for lead in range(2):
                axes = paper.place(figure, 12 + column * (width + 14), bottom + (1 - lead) * height, width, height)
                middle = np.median(signal[lead])
                paper.draw_paper(axes, (0, _SECONDS), (middle - _MV, middle + _MV))
                paper.draw_trace(
                    axes,
                    np.arange(signal.shape[1]) / which.fs,
                    np.clip(signal[lead], middle - 1.02 * _MV, middle + 1.02 * _MV),
                )
                axes.axvline(_SECONDS / 2, color="#0b5c8a", linewidth=0.5, zorder=1)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.text(0.03, middle + 0.75 * _MV, leads[lead], fontsize=7)
                if lead == 0:
                    axes.set_title(title, fontsize=7, pad=2, loc="left")
    return figure


def _strip(which: Database, folder: Path, name: str, record: str | None) -> tuple[NDArray[np.float32], tuple[str, ...], str]:
    """Seconds of signal around a beat of the class, from the named record or from the first that has it."""
    symbol = "/" if name == "P" else name
    half = round(_SECONDS / 2 * which.fs)
    there, _ = records_present(which, folder)
    for recording in read_records(which, folder, (record,) if record else there, [], swap_leads=True):
        beats = recording.annotations.beats()
        at = beats.sample[beats.symbol == symbol]
        at = at[(at > half) & (at < recording.signal.shape[1] - half)]
        if len(at) > 2:
            r = at[len(at) // 2]
            title = f"{name}: {which.title if which.kind == 'real' else 'SIMULATED'}, record {recording.record}"
            return recording.signal[:, r - half : r + half], recording.leads, title
    raise EcglensError(f"no record of {which.title} has class {name} often enough to show it")


def _score(run: Path, real: Examples) -> None:
    """AUC of real V against real N, by the difference of the two logits."""
    from sklearn.metrics import roc_auc_score

    from ecglens.models import load

    normal, ectopic = real.classes.index("N"), real.classes.index("V")
    some = real.take(np.isin(real.labels, [normal, ectopic]))
    logits = load(run).logits(some)
    score, is_v = logits[:, ectopic] - logits[:, normal], some.labels == ectopic
    print(f"trained on simulated beats, scored on real ones: {is_v.sum()} V against {(~is_v).sum()} N,", end=" ")
    print(f"AUC {roc_auc_score(is_v, score):.4f}")


if __name__ == "__main__":
    main()
