"""One simulated record: the signal, the beats, the waves of each, and how each differs from the patient's normal beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.recordings.evidence import SOURCES
from ecglens.simulation.dipole import PARTS, Gaussians, electrode_field, joined, lead_weights, render
from ecglens.simulation.noise import electrode_noise
from ecglens.simulation.patients import Patient, draw_patient
from ecglens.simulation.rhythm import Rhythm, Wanted, make_rhythm
from ecglens.simulation.settings import Settings
from ecglens.simulation.shapes import SHAPES, normal

WINDOW_S = 0.6  # s on each side of R in which a beat is compared with the patient's normal beat
_NEAR = 3  # beats on each side that can reach into that window
_REACH_S = 0.9  # no wave of a beat is further from its R mark
_WAVE_SHARE, _WAVE_MV = 0.05, 0.01  # a wave is where it alone exceeds both


@dataclass(frozen=True)
class SimulatedRecord:
    """A record and its truth.

    signal, clean: mV (lead, time), with and without noise; r_sample (beat,); waves: a row per beat, lead and wave that can be
    seen (beat, lead, wave, onset, peak, offset in samples); evidence: a row per span (beat, lead, start, stop in samples,
    source, mv); disturbed: beats that differ from normal; normal: mV (disturbed, lead, time), the same patient's normal beat
    in the place of each, noise-free, from `window_start` (disturbed,) on.
    """

    name: str
    settings: Settings
    patient: Patient
    rhythm: Rhythm
    signal: NDArray[np.float64]
    clean: NDArray[np.float64]
    r_sample: NDArray[np.int64]
    waves: pd.DataFrame
    evidence: pd.DataFrame
    disturbed: NDArray[np.int64]
    normal: NDArray[np.float64]
    window_start: NDArray[np.int64]


def simulate_record(settings: Settings, number: int, wanted: Wanted) -> SimulatedRecord:
    """Patient `number` of the cohort: the same bytes for the same settings."""
    patient = draw_patient(settings, number)
    name = record_name(number)
    seconds, fs = 60 * settings.minutes, settings.fs
    rhythm = make_rhythm(patient, wanted, seconds, np.random.default_rng([settings.seed, number, 1]), name)
    n_samples = round(seconds * fs)
    curves = _all_curves(patient, rhythm)
    seen = _Seen(patient, settings, np.random.default_rng([settings.seed, number, 2]), n_samples)
    everything = np.zeros(len(curves), np.int64)
    clean = seen.leads(render(curves, everything, 1, np.zeros(len(curves)), n_samples, fs), np.zeros(1, np.int64))[0]
    noise = electrode_noise(patient, n_samples, fs, np.random.default_rng([settings.seed, number, 3]))
    r_sample = np.round(rhythm.at * fs).astype(np.int64)
    disturbed = disturbed_beats(rhythm)
    half = round(WINDOW_S * fs)
    window_start = r_sample[disturbed] - half
    change = _change(patient, rhythm, curves, disturbed, window_start, 2 * half, seen, fs)
    evidence = _spans(change, disturbed, window_start, settings, n_samples)
    windows = _windows(clean, window_start, 2 * half)
    return SimulatedRecord(
        name=name,
        settings=settings,
        patient=patient,
        rhythm=rhythm,
        signal=clean + lead_weights(settings.leads) @ noise,
        clean=clean,
        r_sample=r_sample,
        waves=_boundaries(curves, rhythm, r_sample, seen, settings, n_samples),
        evidence=evidence,
        disturbed=disturbed,
        normal=windows - change.sum(axis=1),
        window_start=window_start,
    )


def record_name(number: int) -> str:
    """s001, s002, ..."""
    return f"s{number + 1:03d}"


class _Seen:
    """How this patient's dipole is seen by the leads at each moment: breathing turns it, electrodes have their gains."""

    def __init__(self, patient: Patient, settings: Settings, rng: np.random.Generator, n_samples: int) -> None:
        time = np.arange(n_samples) / settings.fs
        phase = 2 * np.pi * (patient.breaths * time + rng.random())
        pole = rng.normal(size=3)
        turn = np.deg2rad(patient.breath_degrees) * np.sin(phase)
        self._sine, self._one_less_cosine = np.sin(turn), 1 - np.cos(turn)
        self._pole = pole / np.linalg.norm(pole)
        self._weights = lead_weights(settings.leads) @ (patient.gains[:, None] * electrode_field())

    def leads(self, dipole: NDArray[np.float64], start: NDArray[np.int64]) -> NDArray[np.float64]:
        """mV (row, lead, time) of dipoles (row, XYZ, time) whose first sample is `start` (row,) in the record."""
        x, y, z = self._pole
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        # Rodrigues' formula; the leads are looked at through each of its three matrices
        seen = np.matmul(np.concatenate([self._weights, self._weights @ cross, self._weights @ cross @ cross]), dipole)
        still, turning, squared = np.split(seen, 3, axis=1)
        at = np.clip(start[:, None] + np.arange(dipole.shape[2]), 0, len(self._sine) - 1)
        return still + self._sine[at][:, None] * turning + self._one_less_cosine[at][:, None] * squared


def _all_curves(patient: Patient, rhythm: Rhythm) -> Gaussians:
    """Every curve of the record, in absolute time."""
    beats = []
    for beat in range(len(rhythm)):
        beats.append(beat_curves(patient, rhythm, beat).moved(rhythm.at[beat], beat))
    return joined(beats)


def beat_curves(patient: Patient, rhythm: Rhythm, beat: int) -> Gaussians:
    """The curves of one beat, around its R mark."""
    kind, rr = str(rhythm.kind[beat]), float(rhythm.before[beat])
    if kind != "V":
        return SHAPES[kind](patient, rr)
    curves = SHAPES["V"](patient, rr, int(rhythm.focus[beat]))  # type: ignore[call-arg]
    # the sinus node goes on: its P wave comes when it would have come
    p = normal(patient, rr).of("P").moved(float(rhythm.sinus[beat] - rhythm.before[beat]), 0)
    return joined([curves, p])


def disturbed_beats(rhythm: Rhythm) -> NDArray[np.int64]:
    """Beats with anything but undisturbed normal beats within reach."""
    odd = (rhythm.kind != "N") | (np.abs(rhythm.before - rhythm.sinus) > 1e-9)
    odd[0] = rhythm.kind[0] != "N"
    padded = np.pad(odd, _NEAR)
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEAR + 1).any(axis=1)
    return np.flatnonzero(near)


def _change(
    patient: Patient,
    rhythm: Rhythm,
    curves: Gaussians,
    disturbed: NDArray[np.int64],
    window_start: NDArray[np.int64],
    length: int,
    seen: _Seen,
    fs: float,
) -> NDArray[np.float64]:
    """mV (disturbed, source, lead, time): the record minus the patient's normal rhythm around each disturbed beat.

    Source 0 is the beat itself, 1 the beats before it, 2 those after it. The normal rhythm keeps this beat's R mark; its
    neighbours are normal beats at the sinus intervals.
    """
    first = np.searchsorted(curves.owner, np.arange(len(rhythm)), "left")
    last = np.searchsorted(curves.owner, np.arange(len(rhythm)), "right")
    usual = (rhythm.kind == "N") & (np.abs(rhythm.before - rhythm.sinus) < 1e-9)
    normals = [normal(patient, float(rr)) for rr in rhythm.sinus]
    parts, rows = [], []
    for row, beat in enumerate(disturbed):
        at = rhythm.at[beat]
        for other in range(max(beat - _NEAR, 0), min(beat + _NEAR, len(rhythm) - 1) + 1):
            source = 3 * row + (0 if other == beat else 1 if other < beat else 2)
            between = rhythm.sinus[min(beat, other) + 1 : max(beat, other) + 1].sum()
            there = at - between if other < beat else at + between
            if usual[other] and abs(there - rhythm.at[other]) < 1e-9:
                continue  # nothing differs
            if min(abs(there - at), abs(rhythm.at[other] - at)) > WINDOW_S + _REACH_S:
                continue
            parts.append(curves.take(np.arange(first[other], last[other])))
            expected = normals[other].moved(there, other)
            parts.append(Gaussians(expected.at, expected.width, -expected.moment, expected.part, expected.owner))
            rows += [np.full(len(parts[-2]), source), np.full(len(expected), source)]
    if not parts:
        return np.zeros((0, 3, len(seen.leads(np.zeros((1, 3, 1)), np.zeros(1, np.int64))[0]), length))
    all_parts, to = joined(parts), np.concatenate(rows)
    begin = np.repeat(window_start, 3)
    dipole = render(all_parts, to, 3 * len(disturbed), begin[to] / fs, length, fs)
    change = seen.leads(dipole, begin)
    return change.reshape(len(disturbed), 3, -1, length)


def _spans(
    change: NDArray[np.float64], disturbed: NDArray[np.int64], start: NDArray[np.int64], settings: Settings, n_samples: int
) -> pd.DataFrame:
    """Runs of samples in which a lead differs by more than `evidence_mv`, with the source that contributes most."""
    total = np.abs(change.sum(axis=1))
    most = np.abs(change).argmax(axis=1) + 1
    at = start[:, None] + np.arange(change.shape[-1])
    inside = (at >= 0) & (at < n_samples)
    mark = np.where((total > settings.evidence_mv) & inside[:, None, :], most, 0)
    edges = np.diff(np.pad(mark, ((0, 0), (0, 0), (1, 1))), axis=2) != 0
    # within a row and lead, every edge ends one run and begins the next
    row, lead, place = np.nonzero(edges)
    following = (row[1:] == row[:-1]) & (lead[1:] == lead[:-1])
    begin, end = np.flatnonzero(following), np.flatnonzero(following) + 1
    source = mark[row[begin], lead[begin], place[begin]] if len(begin) else np.array([], np.int64)
    keep = source > 0
    begin, end, source = begin[keep], end[keep], source[keep]
    row_, lead_, first, last = row[begin], lead[begin], place[begin], place[end]
    mv = [float(total[r, k, a:b].max()) for r, k, a, b in zip(row_, lead_, first, last, strict=True)]
    return pd.DataFrame(
        {
            "beat": disturbed[row_],
            "lead": np.array(settings.leads)[lead_],
            "start": start[row_] + first,
            "stop": start[row_] + last,
            "source": np.array(SOURCES)[source - 1],
            "mv": mv,
        }
    )


def _windows(signal: NDArray[np.float64], start: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """(window, lead, time) from `start` on; beyond the record its last value goes on."""
    at = np.clip(start[:, None] + np.arange(length), 0, signal.shape[1] - 1)
    return signal[:, at].transpose(1, 0, 2)


def _boundaries(
    curves: Gaussians, rhythm: Rhythm, r_sample: NDArray[np.int64], seen: _Seen, settings: Settings, n_samples: int
) -> pd.DataFrame:
    """Onset, peak and offset of each wave in each lead: where the wave alone exceeds 5 % of its peak and 0.01 mV."""
    fs, n_parts = settings.fs, len(PARTS)
    half = round(0.9 * fs)
    start = np.repeat(r_sample - half, n_parts)
    row = curves.owner * n_parts + curves.part
    dipole = render(curves, row, n_parts * len(rhythm), start[row] / fs, 2 * half, fs)
    alone = np.abs(seen.leads(dipole, start))
    at = start[:, None] + np.arange(2 * half)
    alone *= ((at >= 0) & (at < n_samples))[:, None, :]
    peak = alone.max(axis=2)
    over = alone > np.maximum(_WAVE_SHARE * peak, _WAVE_MV)[:, :, None]
    visible = over.any(axis=2)
    onset, offset = over.argmax(axis=2), 2 * half - over[:, :, ::-1].argmax(axis=2)
    where, lead = np.nonzero(visible)
    table = pd.DataFrame(
        {
            "beat": where // n_parts,
            "lead": np.array(settings.leads)[lead],
            "wave": np.array(PARTS)[where % n_parts],
            "onset": start[where] + onset[where, lead],
            "peak": start[where] + alone.argmax(axis=2)[where, lead],
            "offset": start[where] + offset[where, lead],
        }
    )
    return _one_after_the_other(_t_after_qrs(table))


def _t_after_qrs(table: pd.DataFrame) -> pd.DataFrame:
    """ST and T begin where QRS ends: repolarisation that is hidden in QRS is not a wave of its own."""
    qrs = table[table["wave"] == "QRS"].set_index(["beat", "lead"])["offset"]
    key = pd.MultiIndex.from_frame(table[["beat", "lead"]])
    end = qrs.reindex(key).to_numpy()
    is_t = (table["wave"] == "T").to_numpy() & ~np.isnan(end)
    onset = table["onset"].to_numpy().copy()
    onset[is_t] = np.maximum(onset[is_t], end[is_t])
    table = table.assign(onset=onset.astype(np.int64))
    return table[table["onset"] < table["offset"]].reset_index(drop=True)


def _one_after_the_other(table: pd.DataFrame) -> pd.DataFrame:
    """Waves of a lead do not overlap: a wave that is hidden in another is left out, one that runs into the next ends there."""
    table = table.sort_values(["lead", "onset", "offset"], kind="stable").reset_index(drop=True)
    lead, wave = table["lead"].to_numpy(), table["wave"].to_numpy()
    onset, peak, offset = (table[name].to_numpy().copy() for name in ("onset", "peak", "offset"))
    keep = np.ones(len(table), bool)
    last = -1
    for row in range(len(table)):
        if last >= 0 and lead[last] == lead[row] and onset[row] < offset[last]:
            if wave[row] == "QRS":  # what runs into a QRS ends there; a QRS is never hidden
                offset[last] = onset[row]
                keep[last] &= onset[last] < offset[last]
            elif offset[row] <= offset[last] or (wave[last] == "QRS" and onset[row] < offset[last] and wave[row] == "P"):
                keep[row] = False
                continue
            else:
                offset[last] = onset[row]
                keep[last] &= onset[last] < offset[last]
        last = row
    table = table.assign(offset=offset, peak=np.clip(peak, onset, np.maximum(offset - 1, onset)))[keep]
    order = table["lead"].map({name: number for number, name in enumerate(dict.fromkeys(lead))})
    return (
        table.assign(order=order)
        .sort_values(["beat", "order", "onset"], kind="stable")
        .drop(columns="order")
        .reset_index(drop=True)
    )
