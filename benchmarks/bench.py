"""What `make bench` runs: each claim as a ratio of two things measured in this one run, best of a few rounds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ecglens.analysis.profiles import class_profiles
from ecglens.analysis.regions import region_means, segments_around_r
from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.examples import LeadPlace
from ecglens.examples.label_maps import label_map
from ecglens.recordings.databases import Skipped, database, read_records
from ecglens.recordings.places import find_database, records_present
from reading import reading as reading_twelve_leads

_MAX_BEATS = 105_079


def best_of(rounds: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest round."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def reading(folder: Path) -> None:
    """All records on disk to all corrected beats in memory, beside wfdb.rdsamp on the same records."""
    import wfdb

    which = database("mitdb")
    records, _ = records_present(which, folder)

    def plain() -> list[object]:
        return [wfdb.rdsamp(str(folder / record)) for record in records]

    def ours() -> object:
        skipped: list[Skipped] = []
        return cut_beats(
            read_records(which, folder, records, skipped, swap_leads=True), label_map("jones"), BeatOptions(), skipped
        )

    base, mine = best_of(3, plain), best_of(3, ours)
    print(f"beats of {len(records)} records / wfdb.rdsamp of them: {mine / base:.2f} x  ({mine:.2f} s / {base:.2f} s)")


def segments() -> None:
    """Segment analysis of as many beats as the paper has, beside one running sum over the same maps."""
    rng = np.random.default_rng(0)
    maps = rng.random((_MAX_BEATS, 1, 860), np.float32)
    r_index = rng.integers(50, 300, _MAX_BEATS)
    places = (LeadPlace("lead 1", 0, 0, 430), LeadPlace("lead 2", 0, 430, 430))
    truth = np.where(rng.random(_MAX_BEATS) < 0.7, 4, rng.integers(0, 8, _MAX_BEATS))
    predicted = np.where(rng.random(_MAX_BEATS) < 0.03, (truth + 1) % 8, truth)
    tested = rng.random(_MAX_BEATS) < 0.25

    def ours() -> object:
        regions = segments_around_r(r_index, places, 360.0)
        return class_profiles(region_means(maps, regions), regions, truth, predicted, tested, tuple("AEjLNPRV"))

    mine, base = best_of(3, ours), best_of(3, lambda: np.cumsum(maps, axis=2))
    print(f"segments, profiles of {_MAX_BEATS} beats / one np.cumsum: {mine / base:.2f} x  ({mine:.2f} s / {base:.2f} s)")


def starting() -> None:
    """The command line's start, beside an empty Python."""

    def python(*words: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    base = best_of(5, python("-c", "pass"))
    for name, words in (
        ("import ecglens", ("-c", "import ecglens")),
        ("ecglens --help", ("-c", "import sys; sys.argv=['ecglens', '--help']; from ecglens.cli import main; main()")),
        ("ecglens studies", ("-c", "import sys; sys.argv=['ecglens', 'studies']; from ecglens.cli import main; main()")),
    ):
        mine = best_of(5, python(*words))
        print(f"{name} / empty Python: {mine / base:.1f} x  ({mine:.2f} s / {base:.2f} s)")


def drawing() -> None:
    """Windows of six beats as 224 x 224 pictures, beside matplotlib: a figure for each, and one figure used again."""
    import torch
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ecglens.models.rasteriser import Rasteriser

    draw, n, few = Rasteriser(), 4096, 40
    made = torch.Generator().manual_seed(0)
    signals = (torch.randn(n, 1, 2500, generator=made).cumsum(2) * 0.02).clamp(-2, 2)
    span = torch.stack([torch.zeros(n, dtype=torch.int64), torch.randint(1200, 2500, (n,), generator=made)], 1)

    def ours() -> None:
        with torch.inference_mode():
            for first in range(0, n, 64):
                draw(signals[first : first + 64], span[first : first + 64])

    def figure() -> tuple[Figure, FigureCanvasAgg]:
        whole = Figure(figsize=(2.24, 2.24), dpi=100)
        axes = whole.add_axes((0, 0, 1, 1))
        axes.axis("off")
        axes.set_ylim(-1.25, 1.25)
        return whole, FigureCanvasAgg(whole)

    def plotted() -> None:
        for row in range(few):
            whole, canvas = figure()
            whole.axes[0].plot(signals[row, 0, : span[row, 1]].numpy(), "k", linewidth=1.5)
            whole.axes[0].set_xlim(0, int(span[row, 1]))
            canvas.draw()
            np.asarray(canvas.buffer_rgba())

    whole, canvas = figure()
    (line,) = whole.axes[0].plot([0.0], "k", linewidth=1.5)

    def again() -> None:
        for row in range(few):
            line.set_data(np.arange(int(span[row, 1])), signals[row, 0, : span[row, 1]].numpy())
            whole.axes[0].set_xlim(0, int(span[row, 1]))
            canvas.draw()
            np.asarray(canvas.buffer_rgba())

    mine, fresh, used = best_of(5, ours) / n, best_of(3, plotted) / few, best_of(3, again) / few
    print(
        f"pictures of windows: {1 / mine:,.0f} a second ({torch.get_num_threads()} threads), {fresh / mine:.0f} x matplotlib "
        f"with a figure for each ({1 / fresh:.0f} a second), {used / mine:.0f} x one figure used again ({1 / used:.0f})"
    )


def main() -> None:
    """Run all; without MIT-BIH, and without PTB-XL, the reading is left out with a word."""
    print(f"{os.cpu_count()} cores")
    starting()
    segments()
    drawing()
    try:
        folder = find_database(database("mitdb"), None)
    except EcglensError as error:
        print(f"reading left out: {error}")
    else:
        reading(folder)
    try:
        folder = find_database(database("ptbxl"), None)
    except EcglensError as error:
        print(f"reading of PTB-XL left out: {error}")
    else:
        reading_twelve_leads(folder)


if __name__ == "__main__":
    main()
