"""A record against the same record made slowly: signal, leads, wave boundaries, and evidence beside the normal rhythm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slowly import EVERY_CLASS, alone, as_it_is, dipole, placed_beat, seen_by_leads

from ecglens.errors import EcglensError
from ecglens.simulation import record as record_module
from ecglens.simulation.cohort import simulate
from ecglens.simulation.dipole import LEADS
from ecglens.simulation.patients import draw_patient
from ecglens.simulation.record import SOURCES, WINDOW_S, SimulatedRecord, disturbed_beats, simulate_record
from ecglens.simulation.rhythm import Rhythm, Wanted
from ecglens.simulation.settings import CLASSES, Settings
from ecglens.simulation.shapes import normal


@pytest.fixture(scope="module")
def records() -> list[SimulatedRecord]:
    return list(simulate(EVERY_CLASS))


@pytest.fixture(scope="module")
def two_leads() -> list[SimulatedRecord]:
    return list(simulate(replace(EVERY_CLASS, leads=("II", "V1"))))


def beats_of(record: SimulatedRecord, kind: str) -> np.ndarray:
    return np.flatnonzero(record.rhythm.kind == kind)


# ------------------------------------------------------------------------------------------------ the signal


def test_all_classes_are_there_and_r_marks_lie_where_the_rhythm_says(records: list[SimulatedRecord]) -> None:
    assert {kind for record in records for kind in record.rhythm.kind} == set(CLASSES)
    for record in records:
        np.testing.assert_array_equal(record.r_sample, np.round(record.rhythm.at * 360))
        assert record.signal.shape == record.clean.shape == (12, 30 * 360)


def test_the_clean_signal_equals_a_slow_one(records: list[SimulatedRecord]) -> None:
    for number in (0, 4, 9):
        record = records[number]
        curves = as_it_is(record, range(len(record.rhythm)))
        for first in (0, 4000, 30 * 360 - 400):
            samples = np.arange(first, first + 400)
            expected = seen_by_leads(record, number, dipole(curves, samples / 360), samples)
            np.testing.assert_allclose(record.clean[:, samples], expected, atol=1e-4)


def test_breathing_turns_the_heart(records: list[SimulatedRecord]) -> None:
    record = records[0]
    other = replace(record, patient=replace(record.patient, breath_degrees=0.0))
    samples = np.arange(3000, 4000)
    still = seen_by_leads(other, 0, dipole(as_it_is(record, range(len(record.rhythm))), samples / 360), samples)
    assert np.abs(record.clean[:, samples] - still).max() > 0.02


def test_two_leads_and_twelve_see_one_heart_and_one_noise(
    records: list[SimulatedRecord], two_leads: list[SimulatedRecord]
) -> None:
    rows = [LEADS.index("II"), LEADS.index("V1")]
    for twelve, two in zip(records, two_leads, strict=True):
        np.testing.assert_allclose(two.signal, twelve.signal[rows], atol=1e-9)
        np.testing.assert_allclose(two.clean, twelve.clean[rows], atol=1e-9)
        np.testing.assert_array_equal(two.r_sample, twelve.r_sample)
        kept = twelve.evidence[twelve.evidence["lead"].isin(("II", "V1"))].drop(columns="mv").reset_index(drop=True)
        assert two.evidence.drop(columns="mv").equals(kept)


def test_the_limb_leads_obey_einthoven_and_goldberger_with_noise_and_gains(records: list[SimulatedRecord]) -> None:
    for record in records:
        lead = dict(zip(LEADS, record.signal, strict=True))
        np.testing.assert_allclose(lead["III"], lead["II"] - lead["I"], atol=1e-9)
        np.testing.assert_allclose(lead["aVR"] + lead["aVL"] + lead["aVF"], 0, atol=1e-9)


def test_without_noise_the_signal_is_the_clean_one_and_with_it_it_is_not() -> None:
    quiet = Settings(patients=1, minutes=0.5, wander=0, mains=0, muscle=0)
    (record,) = simulate(quiet)
    np.testing.assert_array_equal(record.signal, record.clean)
    (noisy,) = simulate(replace(quiet, muscle=0.02))
    np.testing.assert_array_equal(noisy.clean, record.clean)
    assert 0.01 < (noisy.signal - noisy.clean).std() < 0.1


# ------------------------------------------------------------------------------------------------ textbook marks


def over_all_leads(record: SimulatedRecord, wave: str) -> dict[int, tuple[int, int]]:
    """Beat to first onset and last offset over all leads."""
    rows = record.waves[record.waves["wave"] == wave]
    found = rows.groupby("beat").agg(first=("onset", "min"), last=("offset", "max"))
    return {int(beat): (int(row["first"]), int(row["last"])) for beat, row in found.iterrows()}


def test_narrow_classes_have_narrow_and_wide_classes_wide_qrs_in_the_marks(records: list[SimulatedRecord]) -> None:
    widths: dict[str, list[float]] = {}
    for record in records:
        for beat, (first, last) in over_all_leads(record, "QRS").items():
            widths.setdefault(str(record.rhythm.kind[beat]), []).append((last - first) / 360)
    assert set(widths) == set(CLASSES)
    for kind in "NAj":
        assert max(widths[kind]) < 0.12
    for kind in "VELRP":
        assert min(widths[kind]) > max(widths["N"])
        assert np.median(widths[kind]) >= 0.12


def test_p_waves_stand_where_a_class_has_them(records: list[SimulatedRecord]) -> None:
    for record in records:
        p, qrs = over_all_leads(record, "P"), over_all_leads(record, "QRS")
        for beat in range(len(record.rhythm)):
            kind = str(record.rhythm.kind[beat])
            before = beat in p and p[beat][0] < qrs[beat][0] - 0.04 * 360
            if kind in "NALR":
                assert before, (record.name, beat, kind)
            elif kind in "jE":
                assert not before, (record.name, beat, kind)


def test_the_sinus_node_goes_on_under_a_premature_ventricular_beat(records: list[SimulatedRecord]) -> None:
    seen = 0
    for record in records:
        for beat in beats_of(record, "V"):
            p = placed_beat(record, int(beat)).of("P")
            usual = normal(record.patient, 0.8).of("P")
            # a P of its own none: that P stands before where the next sinus QRS would have come
            expected = record.rhythm.at[beat - 1] + record.rhythm.sinus[beat]
            np.testing.assert_allclose(p.at, usual.at + expected)
            seen += 1
    assert seen > 5


def test_the_signal_of_left_and_right_block_says_which_it_is(records: list[SimulatedRecord]) -> None:
    v1 = LEADS.index("V1")
    for record in records:
        for kind in "LR":
            for beat in beats_of(record, kind)[1:-1]:
                first, last = over_all_leads(record, "QRS")[int(beat)]
                qrs = record.clean[v1, first:last]
                if kind == "L":
                    assert qrs[np.abs(qrs).argmax()] < 0
                else:
                    assert qrs[len(qrs) // 2 :].sum() > 0


def test_a_spike_stands_before_each_paced_qrs(records: list[SimulatedRecord]) -> None:
    for record in records:
        for beat in beats_of(record, "P"):
            first, last = over_all_leads(record, "QRS")[int(beat)]
            steps = np.abs(np.diff(record.clean[:, first - 4 : last], axis=1)).max(0)
            spike = int(steps.argmax())
            assert spike < 4 + round(0.02 * 360)
            assert steps[spike] > 1.5 * steps[spike + 5 :].max()


# ------------------------------------------------------------------------------------------------ wave boundaries


def test_each_boundary_stands_where_its_wave_alone_crosses_the_threshold(records: list[SimulatedRecord]) -> None:
    for number, record in enumerate(records):
        beats = {int(beats_of(record, kind)[len(beats_of(record, kind)) // 2]) for kind in set(record.rhythm.kind)}
        for beat in sorted(beats):
            samples = np.arange(record.r_sample[beat] - 300, record.r_sample[beat] + 300)
            inside = (samples >= 0) & (samples < record.clean.shape[1])
            rows = record.waves[record.waves["beat"] == beat]
            end = rows[rows["wave"] == "QRS"].set_index("lead")["offset"]
            for wave in ("P", "QRS", "T"):
                size = np.abs(alone(record, number, beat, wave, samples)) * inside
                for k, lead in enumerate(LEADS):
                    limit = max(0.05 * size[k].max(), 0.01)
                    row = rows[(rows["wave"] == wave) & (rows["lead"] == lead)]
                    if size[k].max() < limit - 1e-4 or size[k].max() < 0.0099:
                        assert row.empty
                        continue
                    if abs(size[k].max() - 0.01) < 1e-4 or (wave == "T" and row.empty):
                        continue  # on the edge, or hidden in QRS
                    over = samples[size[k] > limit]
                    others = record.waves[(record.waves["lead"] == lead)]
                    others = others[(others["beat"] != beat) | (others["wave"] != wave)]
                    if row.empty:  # hidden: it begins inside another wave, which goes on as long or is a QRS
                        begins_in = others[(others["onset"] <= over[0]) & (over[0] < others["offset"])]
                        assert wave != "QRS"
                        assert len(begins_in), (record.name, beat, wave, lead)
                        continue
                    onset = over[0] if wave != "T" or lead not in end else max(over[0], end[lead])
                    assert len(row) == 1
                    found = row.iloc[0]
                    # one sample is left to rounding where the wave is flat
                    assert abs(found["onset"] - onset) <= 1, (record.name, beat, wave, lead)
                    if found["offset"] < over[-1]:  # cut where the next wave of the lead begins
                        assert found["offset"] in set(others["onset"])
                        continue
                    assert abs(found["offset"] - (over[-1] + 1)) <= 1
                    assert abs(size[k][found["peak"] - samples[0]] - size[k].max()) < 1e-4


def test_waves_lie_in_the_record_with_their_peak_inside(records: list[SimulatedRecord]) -> None:
    for record in records:
        waves = record.waves
        assert (waves["onset"] >= 0).all()
        assert (waves["offset"] <= record.clean.shape[1]).all()
        assert (waves["onset"] < waves["offset"]).all()
        assert ((waves["onset"] <= waves["peak"]) & (waves["peak"] < waves["offset"])).all()
        assert not waves.duplicated(["beat", "lead", "wave"]).any()


def test_t_does_not_begin_before_qrs_ends(records: list[SimulatedRecord]) -> None:
    for record in records:
        by = record.waves.set_index(["beat", "lead", "wave"])
        t, qrs = by.xs("T", level="wave"), by.xs("QRS", level="wave")
        both = t.join(qrs, rsuffix="_qrs", how="inner")
        assert len(both) > 100
        assert (both["onset"] >= both["offset_qrs"]).all()


# ------------------------------------------------------------------------------------------------ evidence


def normal_rhythm(record: SimulatedRecord, beat: int, reach: int = 5) -> dict[int, float]:
    """Where each neighbour would stand (s) if this beat kept its place and all beats were normal ones at sinus intervals."""
    at = {beat: record.rhythm.at[beat]}
    for other in range(beat + 1, min(beat + reach, len(record.rhythm) - 1) + 1):
        at[other] = at[other - 1] + record.rhythm.sinus[other]
    for other in range(beat - 1, max(beat - reach, 0) - 1, -1):
        at[other] = at[other + 1] - record.rhythm.sinus[other + 1]
    return at


def slow_change(record: SimulatedRecord, number: int, beat: int) -> dict[str, np.ndarray]:
    """mV (lead, time) by source: the record without noise minus the patient's normal rhythm, around one beat."""
    half = round(WINDOW_S * record.settings.fs)
    samples = np.arange(record.r_sample[beat] - half, record.r_sample[beat] + half)
    time = samples / record.settings.fs
    moving = {source: np.zeros((3, len(samples))) for source in SOURCES}
    for other, there in normal_rhythm(record, beat).items():
        source = "beat" if other == beat else "before" if other < beat else "after"
        expected = normal(record.patient, float(record.rhythm.sinus[other]))
        moving[source] += dipole(placed_beat(record, other), time)
        moving[source] -= dipole(replace(expected, at=expected.at + there), time)
    return {source: seen_by_leads(record, number, each, samples) for source, each in moving.items()}


def in_spans(record: SimulatedRecord, beat: int) -> np.ndarray:
    """str (lead, time): the source of the span that a sample lies in, '' outside."""
    half = round(WINDOW_S * record.settings.fs)
    out = np.full((len(record.settings.leads), 2 * half), "", "<U6")
    begin = record.r_sample[beat] - half
    for row in record.evidence[record.evidence["beat"] == beat].itertuples():
        k = record.settings.leads.index(row.lead)
        assert (out[k, row.start - begin : row.stop - begin] == "").all()  # no two spans overlap
        assert 0 <= row.start - begin < row.stop - begin <= 2 * half
        out[k, row.start - begin : row.stop - begin] = row.source
    return out


def expect_spans_where_it_differs(record: SimulatedRecord, number: int, beat: int) -> None:
    change = slow_change(record, number, beat)
    total = np.abs(sum(change.values()))
    found = in_spans(record, beat)
    at = record.r_sample[beat] - round(WINDOW_S * record.settings.fs) + np.arange(total.shape[1])
    inside = ((at >= 0) & (at < record.clean.shape[1]))[None, :]
    least = record.settings.evidence_mv
    assert (found[(total > least + 1e-4) & inside] != "").all()
    assert (found[(total < least - 1e-4) | ~inside] == "").all()
    sizes = np.stack([np.abs(change[source]) for source in SOURCES])
    ranked = np.sort(sizes, axis=0)
    clear = (ranked[-1] - ranked[-2] > 1e-4) & (found != "")
    np.testing.assert_array_equal(np.array(SOURCES)[sizes.argmax(0)][clear], found[clear])


def some_beats(record: SimulatedRecord, per_kind: int = 2) -> list[int]:
    chosen: list[int] = []
    for kind in sorted(set(record.rhythm.kind)):
        beats = beats_of(record, kind)
        chosen += [int(beats[k]) for k in np.linspace(0, len(beats) - 1, min(per_kind, len(beats))).astype(int)]
    return chosen


def test_spans_are_where_the_beat_differs_from_the_normal_one_and_nowhere_else(two_leads: list[SimulatedRecord]) -> None:
    for number, record in enumerate(two_leads):
        for beat in some_beats(record):
            expect_spans_where_it_differs(record, number, beat)


def test_neighbours_of_odd_beats_have_evidence_where_those_reach_in(two_leads: list[SimulatedRecord]) -> None:
    for number, record in enumerate(two_leads):
        odd = np.flatnonzero(np.isin(record.rhythm.kind, list("AVjE")))
        for beat in odd[:2]:
            for neighbour in range(max(beat - 4, 0), min(beat + 5, len(record.rhythm))):
                expect_spans_where_it_differs(record, number, neighbour)


@pytest.mark.parametrize("changes", [{"heart_rate": 140.0}, {"evidence_mv": 0.2}, {"heart_rate": 45.0, "variability": 0.1}])
def test_spans_are_right_in_fast_and_slow_hearts_and_at_another_threshold(changes: dict[str, float]) -> None:
    carriers = {"L": 0, "R": 0, "P": 0, "A": 1, "V": 1, "j": 1, "E": 0}
    # one event each: slow hearts have few beats in half a minute
    few = Settings(patients=2, minutes=0.5, leads=("V2",), seed=3, carriers=carriers, beats=dict.fromkeys("AVj", 1), **changes)
    for number, record in enumerate(simulate(few)):
        for beat in range(0, len(record.rhythm), 2):
            expect_spans_where_it_differs(record, number, beat)


def test_undisturbed_normal_beats_have_no_evidence_and_are_many() -> None:
    carriers = {"L": 1, "R": 0, "P": 0, "A": 2, "V": 2, "j": 0, "E": 0}
    asked = Settings(patients=4, minutes=0.5, carriers=carriers, beats={"A": 2, "V": 2, "L": 5})
    quiet = 0
    for record in simulate(asked):
        rhythm = record.rhythm
        for beat in range(len(rhythm)):
            near = range(max(beat - 4, 0), min(beat + 5, len(rhythm)))
            if all(rhythm.kind[k] == "N" and abs(rhythm.before[k] - rhythm.sinus[k]) < 1e-9 for k in near):
                assert not (record.evidence["beat"] == beat).any()
                quiet += 1
    assert quiet > 50


def test_every_odd_beat_has_evidence_of_its_own_and_early_beats_of_their_timing(records: list[SimulatedRecord]) -> None:
    seen = dict.fromkeys(CLASSES, 0)
    for record in records:
        for beat, kind in enumerate(record.rhythm.kind):
            spans = record.evidence[record.evidence["beat"] == beat]
            if kind == "N":
                # only its T wave can differ, after an interval that was longer or shorter
                on_time = abs(record.rhythm.before[beat] - record.rhythm.sinus[beat]) < 1e-9
                assert not on_time or (spans["source"] != "beat").all()
                continue
            if beat > 0 and kind in "AV":
                assert (spans["source"] == "before").any(), (record.name, beat, kind)
            assert (spans["source"] == "beat").any(), (record.name, beat, kind)
            seen[kind] += 1
    assert min(count for kind, count in seen.items() if kind != "N") >= 2


def test_the_most_of_a_span_is_the_largest_difference_in_it(two_leads: list[SimulatedRecord]) -> None:
    record, half = two_leads[0], round(WINDOW_S * 360)
    for beat in some_beats(record):
        total = np.abs(sum(slow_change(record, 0, beat).values()))
        begin = record.r_sample[beat] - half
        for row in record.evidence[record.evidence["beat"] == beat].itertuples():
            k = record.settings.leads.index(row.lead)
            assert row.mv == pytest.approx(total[k, row.start - begin : row.stop - begin].max(), abs=1e-4)


def test_the_normal_counterpart_is_the_clean_signal_minus_the_change(two_leads: list[SimulatedRecord]) -> None:
    half = round(WINDOW_S * 360)
    for number, record in enumerate(two_leads):
        for row in range(0, len(record.disturbed), 9):
            beat = int(record.disturbed[row])
            assert record.window_start[row] == record.r_sample[beat] - half
            at = record.window_start[row] + np.arange(2 * half)
            inside = (at >= 0) & (at < record.clean.shape[1])
            expected = record.clean[:, at[inside]] - sum(slow_change(record, number, beat).values())[:, inside]
            np.testing.assert_allclose(record.normal[row][:, inside], expected, atol=1e-4)


# ------------------------------------------------------------------------------------------------ anything that may be asked


@settings(max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 2**31),
    st.floats(0.3, 0.5),
    st.floats(50, 150),
    st.sampled_from([100.0, 250.0, 360.0, 1000.0]),
    st.floats(0.5, 1.6),
    st.floats(0, 0.2),
)
def test_whatever_is_allowed_gives_a_sound_record_or_one_line_why_not(seed, minutes, rate, fs, width, variability):
    asked = Settings(
        patients=5, minutes=minutes, seed=seed, heart_rate=rate, fs=fs, qrs_width=width, variability=variability, leads=("V1",)
    )
    try:
        made = list(simulate(asked))
    except EcglensError as error:
        if "do not fit into" not in str(error):
            raise
        return
    for record in made:
        assert np.isfinite(record.signal).all()
        assert (np.diff(record.r_sample) > 0).all()
        assert record.r_sample[0] >= 0
        assert record.r_sample[-1] < record.signal.shape[1]
        assert np.abs(record.clean).max() < 30


def test_a_wave_that_goes_on_after_the_record_ends_is_cut_there() -> None:
    patient = replace(draw_patient(Settings(), 0), qt=1.25)
    made = 0
    for cut in np.arange(0, 1.2, 0.02):  # so that some last beat stands shortly before the end
        wanted = Settings(patients=1, minutes=(14 + cut) / 60, heart_rate=45, heart_rate_spread=0)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(record_module, "draw_patient", lambda settings, number: replace(patient, rr=60 / 45))
            record = simulate_record(wanted, 0, Wanted("L", None, {}))
        made += 1
        assert np.isfinite(record.clean).all()
    assert made == 60


@pytest.mark.parametrize("n", range(1, 7))
def test_a_record_of_few_beats_has_its_disturbed_beats(n: int) -> None:
    at = 0.35 + np.arange(n)
    rhythm = Rhythm(at, np.array(["L"] * n), np.ones(n), np.ones(n), np.zeros(n, int))
    assert disturbed_beats(rhythm).tolist() == list(range(n))


@pytest.mark.parametrize("n", range(7, 30))
def test_disturbed_are_the_beats_that_have_an_odd_one_within_three(n: int) -> None:
    rng = np.random.default_rng(n)
    kind = rng.choice(["N", "V"], n, p=[0.9, 0.1])
    before = np.where(rng.random(n) < 0.05, 1.3, 1.0)
    rhythm = Rhythm(0.35 + np.cumsum(before), kind, np.ones(n), before, np.zeros(n, int))
    # the first beat has no interval before it that could be odd
    odd = [kind[k] != "N" or (k > 0 and before[k] != 1) for k in range(n)]
    expected = [k for k in range(n) if any(odd[max(k - 3, 0) : k + 4])]
    assert disturbed_beats(rhythm).tolist() == expected
