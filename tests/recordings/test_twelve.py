"""Names of leads against their signals: real records with names exchanged, and the real records as they are."""

from __future__ import annotations

import math
from itertools import combinations, pairwise, permutations, product
from pathlib import Path

import numpy as np
import pytest

from ecglens.errors import EcglensError
from ecglens.recordings.challenge_reader import read_challenge
from ecglens.recordings.databases import Skipped, database, read_records
from ecglens.recordings.ludb_reader import USUAL_GAIN
from ecglens.recordings.places import records_present
from ecglens.recordings.sixteen import read_header, read_samples
from ecglens.recordings.twelve import LIMB, check_chest, check_limb, limb_error
from ecglens.recordings.twelve_record import scaled
from recordings.twelve_made import LEADS, heart

CHEST = LEADS[6:]
RECORDS = ("A0001", "HR00003", "Q0002")


@pytest.fixture(scope="module")
def real(data_root: Path) -> dict[str, np.ndarray]:
    folder = data_root / "cinc2020" / "records"
    if not folder.is_dir():
        pytest.skip("ECGLENS_DATA holds no cinc2020/")
    return {record: read_challenge(folder, record).signal for record in RECORDS}


def called(names: dict[str, str]) -> list[str]:
    """The twelve names, some of them others."""
    return [names.get(lead, lead) for lead in LEADS]


def slow_error(signal: np.ndarray, names: list[str]) -> float:
    """The worst sum, lead by lead, in float64, over the rms of the limb leads."""
    lead = {name: row.astype(np.float64) - row.mean(dtype=np.float64) for name, row in zip(names, signal, strict=True)}
    sums = (
        lead["I"] - lead["II"] + lead["III"], lead["aVR"] + (lead["I"] + lead["II"]) / 2,
        lead["aVR"] + lead["aVL"] + lead["aVF"],
        lead["aVL"] - (lead["I"] - lead["III"]) / 2, lead["aVF"] - (lead["II"] + lead["III"]) / 2,
    )  # fmt: skip
    size = math.sqrt(np.mean([lead[name] ** 2 for name in LIMB]))
    return max(math.sqrt(np.mean(each**2)) for each in sums) / size


def test_the_error_is_the_worst_of_the_sums(real: dict[str, np.ndarray]) -> None:
    for signal in real.values():
        for names in (list(LEADS), called({"I": "II", "II": "I"}), called({"III": "V2", "V2": "III"})):
            order = [names.index(lead) for lead in LEADS]
            found = limb_error(signal[order], LEADS)
            assert found == pytest.approx(slow_error(signal, names), rel=1e-5, abs=1e-6)
            assert limb_error(signal, names) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("record", RECORDS)
def test_every_swap_with_a_limb_name_is_refused_and_the_true_one_is_named(real: dict[str, np.ndarray], record: str) -> None:
    assert check_limb(real[record], LEADS, record) == ()
    for first, second in (*combinations(LIMB, 2), *product(LIMB, CHEST)):
        with pytest.raises(
            EcglensError, match=rf"leads {first} and {second} swapped by name( or .*)? would fit; mend the header"
        ):
            check_limb(real[record], called({first: second, second: first}), record)


def test_three_limb_names_exchanged_are_refused_and_the_true_exchange_is_named(real: dict[str, np.ndarray]) -> None:
    for record, signal in real.items():
        for a, b, c in permutations(LIMB, 3):
            turns = [
                f"lead {x} called {y}, {y} called {z} and {z} called {x}" for x, y, z in ((a, b, c), (b, c, a), (c, a, b))
            ]
            with pytest.raises(EcglensError, match="|".join(turns)):
                check_limb(signal, called({a: b, b: c, c: a}), record)


def test_names_that_no_single_exchange_mends_are_refused(real: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    for record, signal in real.items():
        for _ in range(5):
            with pytest.raises(EcglensError, match=r"no swap of two names mends it; .* mend the header"):
                check_limb(signal, [LEADS[row] for row in rng.permutation(12)], record)


def test_a_spike_a_scale_a_filter_and_a_dead_lead_are_remarks(real: dict[str, np.ndarray]) -> None:
    from scipy.signal import butter, sosfiltfilt

    high = butter(2, 0.5, "high", fs=500, output="sos")
    for record, signal in real.items():
        for row in range(6):
            spike, less, level, dead = (signal.copy() for _ in range(4))
            spike[row, 1000:1010] += 20
            less[row] *= 0.7
            level[row] = sosfiltfilt(high, level[row])
            dead[row] = np.random.default_rng(row).normal(0, 1e-4, signal.shape[1])
            for changed in (spike, less, level, dead):
                remarks = check_limb(changed, LEADS, record)
                assert all("limb leads do not sum: off by" in each for each in remarks)
            assert len(check_limb(spike, LEADS, record)) == 1


def test_no_real_record_is_refused_and_how_many_have_a_remark(data_root: Path) -> None:
    if not (data_root / "ptbxl").is_dir() or not (data_root / "ludb").is_dir():
        pytest.skip("ECGLENS_DATA holds no ptbxl/ and ludb/")
    skipped: list[Skipped] = []
    said = {}
    for name in ("ptbxl", "cinc2020"):
        there, _ = records_present(database(name), data_root / name)
        found = list(read_records(database(name), data_root / name, there, skipped, swap_leads=False))
        said[name] = (len(found), sum("may be swapped" in str(each.remarks) for each in found))
        assert not any("do not sum:" in str(each.remarks) for each in found)
    assert skipped == []
    remarks = []
    for path in (data_root / "ludb" / "data").glob("*.hea"):
        header = read_header(path)
        remarks.append(scaled(header, read_samples(header, path.parent), USUAL_GAIN).remarks)
    said["ludb"] = (len(remarks), sum("may be swapped" in str(each) for each in remarks))
    assert said == {"ptbxl": (2980, 16), "cinc2020": (204, 1), "ludb": (200, 1)}


# ------------------------------------------------------------------------------------------------ chest leads


def slow_suspicion(signal: np.ndarray, names: list[str], step: int) -> tuple[float, str]:
    """(gain of the best swap in the sum of the neighbours' correlations, its two leads)."""
    rows = [signal[names.index(lead)].astype(np.float64)[::step] for lead in CHEST]
    rows = [np.diff(row) for row in rows]

    def total(order: list[int]) -> float:
        pairs = [(rows[a], rows[b]) for a, b in pairwise(order)]
        return sum(float(a @ b / math.sqrt((a @ a) * (b @ b))) for a, b in pairs)

    best = (-math.inf, "")
    for a, b in combinations(range(6), 2):
        order = list(range(6))
        order[a], order[b] = b, a
        best = max(best, (total(order) - total(list(range(6))), f"leads V{a + 1} and V{b + 1} "))
    return best


def test_chest_leads_out_of_order_are_a_remark_where_a_slow_search_says_so(real: dict[str, np.ndarray]) -> None:
    said = 0
    rng = np.random.default_rng(0)
    for signal in [
        each + rng.normal(0, noise, each.shape).astype(np.float32) for each in real.values() for noise in (0, 0.03)
    ]:
        for first, second in combinations(CHEST, 2):
            names = called({first: second, second: first})
            gain, pair = slow_suspicion(signal, names, 5)
            remarks = check_chest(signal, names, 500)
            assert bool(remarks) == (gain > 0.5)
            assert all(each.startswith(pair) for each in remarks)
            said += len(remarks)
        assert check_chest(signal, LEADS, 500) == ()
        assert check_chest(signal[:11], LEADS[:11], 500) == ()
    assert said >= 25


def test_invalid_samples_and_flat_chest_leads_do_not_disturb(real: dict[str, np.ndarray]) -> None:
    signal = real["A0001"].copy()
    signal[7, 100:300] = np.nan
    assert check_chest(signal, LEADS, 500) == ()
    assert check_chest(signal, called({"V1": "V4", "V4": "V1"}), 500)[0].startswith("leads V1 and V4 may be swapped")
    signal[7] = 0
    assert check_chest(signal, LEADS, 500) == ()
    # the made heart's chest leads are one beat, up or down
    assert check_chest(heart(), LEADS, 500) == ()
