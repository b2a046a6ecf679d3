"""Reading PTB-XL at 100 Hz, alternating in one run: wfdb.rdrecord, the 16-bit fast path, a decoded set; same numbers."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ecglens.errors import EcglensError
from ecglens.recordings.databases import database
from ecglens.recordings.decoded import decoded
from ecglens.recordings.places import find_database
from ecglens.recordings.sixteen import millivolts, read_header, read_samples
from ecglens.recordings.twelve_readers import headers_in

_RECORDS, _ROUNDS = 300, 5


def reading(folder: Path) -> None:
    """Seconds of the fastest of a few rounds, each of which reads the same records in each way, one way after another."""
    import wfdb

    headers = headers_in("ptbxl", folder)
    records = sorted(headers)[:: max(len(headers) // _RECORDS, 1)][:_RECORDS]

    def plain(record: str) -> np.ndarray:
        return wfdb.rdrecord(str(headers[record].with_suffix(""))).p_signal

    def direct(record: str) -> np.ndarray:
        path = headers[record]
        header = read_header(path)
        gains = np.array(header.gains, np.float32)
        return millivolts(read_samples(header, path.parent), gains, np.array(header.baselines, np.float32))

    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        whole = decoded({record: headers[record] for record in records}, folder, Path(scratch), [])
        once = time.perf_counter() - started
        for record in records:
            wanted = plain(record).T.astype(np.float32)
            if not (np.array_equal(wanted, direct(record)) and np.array_equal(wanted, whole.signal(record))):
                raise EcglensError(f"{record}: not the numbers that wfdb gives")
        ways: dict[str, Callable[[str], object]] = {"wfdb": plain, "direct": direct, "decoded": whole.signal}
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(_ROUNDS):
            for name, read in ways.items():
                started = time.perf_counter()
                for record in records:
                    read(record)
                best[name] = min(best[name], time.perf_counter() - started)
    n = len(records)
    for name, what in (("direct", "16-bit fast path, sums checked"), ("decoded", "decoded set")):
        print(
            f"PTB-XL at 100 Hz, {n} records: {what} is {best['wfdb'] / best[name]:.1f} x wfdb.rdrecord, same float32 "
            f"({n / best[name]:,.0f} and {n / best['wfdb']:,.0f} records a second)"
        )
    print(f"decoding them once, with all checks: {once / best['wfdb']:.2f} x wfdb.rdrecord of them")


def main() -> None:
    """Without PTB-XL it is left out with a word."""
    print(f"{os.cpu_count()} cores")
    try:
        folder = find_database(database("ptbxl"), None)
    except EcglensError as error:
        print(f"reading of PTB-XL left out: {error}")
    else:
        reading(folder)


if __name__ == "__main__":
    main()
