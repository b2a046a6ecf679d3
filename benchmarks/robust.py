"""Memory and kills: 100,000 examples must not take more memory than 10,000, and a killed run must end with the same bytes."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

_CHILD = """
import sys, numpy as np, torch
from pathlib import Path
from ecglens.attribution import explain
from ecglens.models import create
torch.manual_seed(0)
model = create("resnet", classes=list("AEjLNPRV"), leads=["1", "2"], length=430, fs=360)
explain(model, np.load(sys.argv[1], mmap_mode="r"), ["saliency", "grad-cam"], out=Path(sys.argv[2]), quiet=True)
"""


def write_data(path: Path, n: int) -> None:
    """Noise as an array file, written piece by piece."""
    array = np.lib.format.open_memmap(path, "w+", np.float32, (n, 2, 430))
    rng = np.random.default_rng(0)
    for first in range(0, n, 5000):
        array[first : first + 5000] = rng.normal(size=(min(5000, n - first), 2, 430))


def peak_anonymous(data: Path, out: Path) -> float:
    """MB of anonymous memory (RssAnon) at its highest while `data` is explained."""
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(data), str(out)])
    peak = 0.0
    while child.poll() is None:
        try:
            lines = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii").splitlines()
            peak = max(peak, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")))
        except (OSError, TypeError):
            pass
        time.sleep(0.05)
    if child.returncode:
        raise SystemExit("the child failed")
    return peak


def digest(folder: Path) -> str:
    """Hash of all arrays of a store."""
    out = hashlib.sha256()
    for path in sorted(folder.glob("shard-*/*.npy")):
        out.update(path.name.encode() + path.read_bytes())
    return out.hexdigest()


def kills(data: Path, folder: Path, times: int) -> None:
    """Explain `data` with `times` kills at random moments, each gone on with; compare with an unbroken run."""
    whole, broken = folder / "whole", folder / "broken"
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", _CHILD, str(data), str(whole)], check=True)
    took = time.monotonic() - started
    done, restarts = 0, 0
    draw = random.Random(0)
    while done < times:
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(data), str(broken)])
        timer = threading.Timer(draw.uniform(0.2, 1.0) * took, child.kill)
        timer.start()
        code = child.wait()
        timer.cancel()
        restarts += 1
        if code == 0:  # it came to its end before the kill: start over
            assert digest(broken) == digest(whole), "the bytes differ"
            shutil.rmtree(broken)
        else:
            done += 1
    subprocess.run([sys.executable, "-c", _CHILD, str(data), str(broken)], check=True)
    same = digest(broken) == digest(whole)
    print(f"{done} kills in {restarts} starts, gone on with: {'the same bytes' if same else 'OTHER BYTES'} as an unbroken run")


def main() -> None:
    """Both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peaks = {}
        for n in (10_000, 100_000):
            write_data(folder / f"{n}.npy", n)
            peaks[n] = peak_anonymous(folder / f"{n}.npy", folder / f"store{n}")
            shutil.rmtree(folder / f"store{n}")
        ratio = peaks[100_000] / peaks[10_000]
        print(f"RssAnon: {peaks[10_000]:.0f} MB for 10,000 examples, {peaks[100_000]:.0f} MB for 100,000: {ratio:.2f} x")
        write_data(folder / "kills.npy", 40_000)
        kills(folder / "kills.npy", folder, 20)


if __name__ == "__main__":
    main()
