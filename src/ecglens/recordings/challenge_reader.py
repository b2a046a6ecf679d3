"""Records of the PhysioNet/CinC Challenges 2020 and 2021: `.mat` (int16 `val`) and `.hea` with labels in its comments."""

from __future__ import annotations

from pathlib import Path

from ecglens.recordings.challenge_header import clinical
from ecglens.recordings.recording import Recording
from ecglens.recordings.sixteen import read_header, read_samples
from ecglens.recordings.twelve_record import scaled, twelve_recording

USUAL_GAIN = 1000.0  # per mV: samples of the format count microvolts


def read_challenge(folder: Path, record: str, *, database: str = "cinc2020", patient: str | None = None) -> Recording:
    """Read RECORD.hea and the `.mat` it names, both in `folder`.

    signal: float32 (lead, time) in mV, standard leads in the standard order. diagnoses: SNOMED codes; text that is no code as
    found. A gain that cannot be (see `plausible`) is read as 1000/mV where that fits, with a remark. Raises EcglensError where
    files are missing or damaged, or the header cannot be believed. Source: physionet.org/content/challenge-2020.
    """
    header = read_header(folder / f"{record}.hea")
    about = clinical(header.comments, record)
    what = scaled(header, read_samples(header, folder), USUAL_GAIN)
    return twelve_recording(what, header.fs, database, record, patient or record, about)
