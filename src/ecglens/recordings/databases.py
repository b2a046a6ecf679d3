"""The public databases that ecglens knows: where they are, whose they are, what to know about their records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from ecglens.errors import EcglensError, choose
from ecglens.recordings.evidence import read_evidence
from ecglens.recordings.recording import Recording
from ecglens.recordings.twelve_readers import reader
from ecglens.recordings.wfdb_reader import read_wfdb


@dataclass(frozen=True)
class Database:
    """Facts of one public database.

    same_patient maps a record to the record that names its patient; lead_order gives records whose leads have to
    be reordered to be like the others; lead_facts are said in every report. fs in Hz. kind: "real" or "simulated";
    listed: SHA-256 by file name where no list is kept in the package; a_few: ten records that hold all classes, for a quick
    look.
    """

    name: str
    title: str
    version: str
    licence: str
    citation: str
    address: str
    fs: float
    n_leads: int
    megabytes: float
    same_patient: dict[str, str] = field(default_factory=dict)
    lead_order: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lead_facts: tuple[str, ...] = ()
    kind: str = "real"
    listed: dict[str, str] = field(default_factory=dict)
    a_few: tuple[str, ...] = ()
    n_records: int = 0
    patient_prefix: str = ""
    layout: str = "wfdb"
    patients_named: bool = True

    def patient(self, record: str) -> str:
        """The patient of a record, named by the patient's first record."""
        return self.patient_prefix + self.same_patient.get(record, record)

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of every file, by file name, as the publisher lists them; empty where ecglens has no list."""
        return self.listed or _checksums(self.name)

    @property
    def records(self) -> tuple[str, ...]:
        """All record names, in order; none where ecglens has no list (see `places.records_present`)."""
        return records_of(self.checksums)


def records_of(checksums: dict[str, str]) -> tuple[str, ...]:
    """The records whose headers are among these files, in order."""
    return tuple(sorted(name.removesuffix(".hea") for name in checksums if name.endswith(".hea")))


@cache
def _checksums(name: str) -> dict[str, str]:
    path = files("ecglens.recordings").joinpath(f"checksums/{name}.txt")
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    return {file: digest for digest, file in (line.split() for line in lines)}


DATABASES = {
    "mitdb": Database(
        name="mitdb",
        title="MIT-BIH Arrhythmia Database",
        version="1.0.0",
        licence="Open Data Commons Attribution License v1.0",
        citation="Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. IEEE EMB 20(3):45-50, 2001",
        address="https://physionet.org/files/mitdb/1.0.0/",
        fs=360.0,
        n_leads=2,
        megabytes=98.5,
        same_patient={"202": "201"},
        lead_order={"114": ("MLII", "V5")},
        lead_facts=(
            "records 201 and 202 are one person",
            "records 102 and 104 were recorded with V5 and V2, no MLII",
            "record 114 has V5 first and MLII second, the reverse of all others",
        ),
    ),
    # megabytes of the next four, and of ptbdb and ptbxl (100 Hz): from rate, leads, bits and hours
    "ltafdb": Database(
        name="ltafdb",
        title="Long Term AF Database",
        version="1.0.0",
        licence="Open Data Commons Attribution License v1.0",
        citation="Petrutiu S, Sahakian AV, Swiryn S. Abrupt changes in fibrillatory wave characteristics at the termination "
        "of paroxysmal atrial fibrillation in humans. Europace 9(7):466-470, 2007",
        address="https://physionet.org/files/ltafdb/1.0.0/",
        fs=128.0,
        n_leads=2,
        megabytes=2850,
        lead_facts=(
            "84 records of a day; both leads are called ECG, where they were taken is not said",
            "some records have names of mitdb records and are other people: patients are called ltafdb/NAME",
        ),
        n_records=84,
        patient_prefix="ltafdb/",
    ),
    "ltdb": Database(
        name="ltdb",
        title="MIT-BIH Long-Term ECG Database",
        version="1.0.0",
        licence="Open Data Commons Attribution License v1.0",
        citation="Goldberger AL et al. PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101(23):e215-e220, 2000",
        address="https://physionet.org/files/ltdb/1.0.0/",
        fs=128.0,
        n_leads=2,
        megabytes=200,
        lead_facts=("7 records of most of a day; one has a third lead; where leads were taken is not said",),
        n_records=7,
    ),
    "cinc2020": Database(
        name="cinc2020",
        title="PhysioNet/CinC Challenge 2020 (and 2021)",
        version="1.0.2",
        licence="Creative Commons Attribution 4.0",
        citation="Perez Alday EA et al. Classification of 12-lead ECGs. Physiol. Meas. 41:124003, 2020",
        address="https://physionet.org/files/challenge-2020/1.0.2/",
        fs=500.0,
        n_leads=12,
        megabytes=8000,
        lead_facts=(
            "rates vary: PTB's records (S) have 1000 Hz, St Petersburg's (I) 257 Hz, all others 500 Hz; 6 s to 30 minutes",
            "patients are not named: records of one person may lie on both sides of a split",
            "its HR records are PTB-XL's and its S records PTB's: the same signals in two databases",
        ),
        n_records=43101,
        patient_prefix="cinc2020/",
        layout="challenge",
        patients_named=False,
    ),
    "cpsc2018": Database(
        name="cpsc2018",
        title="China Physiological Signal Challenge 2018, in its own format",
        version="2018",
        licence="free for research, see its page",
        citation="Liu F et al. An open access database for evaluating the algorithms of ECG rhythm and morphology abnormality "
        "detection. J. Med. Imaging Health Inform. 8(7):1368-1373, 2018",
        address="http://2018.icbeb.org/Challenge.html",
        fs=500.0,
        n_leads=12,
        megabytes=2900,
        lead_facts=("the files name neither rate nor leads: 500 Hz, standard order; patients are not named",),
        n_records=6877,
        patient_prefix="cpsc2018/",
        layout="cpsc",
        patients_named=False,
    ),
    "ludb": Database(
        name="ludb",
        title="Lobachevsky University Database",
        version="1.0.1",
        licence="Open Data Commons Attribution License v1.0",
        citation="Kalyakulina AI et al. LUDB: a new open-access validation tool. IEEE Access 8:186181-186190, 2020",
        address="https://physionet.org/files/ludb/1.0.1/",
        fs=500.0,
        n_leads=12,
        megabytes=30,
        lead_facts=("by its headers every lead is 1 mV high; read by one gain of 1000/mV, by which the limb leads sum",),
        n_records=200,
        patient_prefix="ludb/",
        layout="ludb",
    ),
    "ptbdb": Database(
        name="ptbdb",
        title="PTB Diagnostic ECG Database",
        version="1.0.0",
        licence="Open Data Commons Attribution License v1.0",
        citation="Bousseljot R et al. Nutzung der EKG-Signaldatenbank CARDIODAT der PTB. Biomed. Tech. 40(s1):317-318, 1995",
        address="https://physionet.org/files/ptbdb/1.0.0/",
        fs=1000.0,
        n_leads=12,
        megabytes=1700,
        lead_facts=("patients are folders, 290 of them; the three Frank leads are left out",),
        n_records=549,
        layout="ptb",
    ),
    "ptbxl": Database(
        name="ptbxl",
        title="PTB-XL",
        version="1.0.3",
        licence="Creative Commons Attribution 4.0",
        citation="Wagner P et al. PTB-XL, a large publicly available electrocardiography dataset. Sci. Data 7:154, 2020",
        address="https://physionet.org/files/ptb-xl/1.0.3/",
        fs=100.0,
        n_leads=12,
        megabytes=545,
        lead_facts=(
            "also at 500 Hz, by its own names (00001_lr: 100 Hz, 00001_hr: 500 Hz; not fetched); ages above 89 are hidden",
        ),
        n_records=21799,
        layout="ptbxl",
    ),
}


def database(name: str) -> Database:
    """The database of that name; raises EcglensError with the known names otherwise."""
    return DATABASES[choose(name, sorted(DATABASES), "database")]


@dataclass(frozen=True)
class Skipped:
    """Something left out, by name and with the reason: a record, or beats of one."""

    record: str
    reason: str
    beats: int = 0


def read_records(
    which: Database,
    folder: Path,
    records: tuple[str, ...],
    skipped: list[Skipped],
    *,
    swap_leads: bool,
    remarks: list[str] | None = None,
) -> Iterator[Recording]:
    """Read `records` one by one; what cannot be used is appended to `skipped`, what was mended to `remarks`.

    swap_leads puts leads recorded in another order (mitdb 114) into the order of the other records. Raises EcglensError where
    a table that all records need is missing or damaged.
    """
    twelve = None if which.layout == "wfdb" else reader(which.layout, which.name, folder)
    for record in records:
        try:
            if twelve is not None:
                recording = twelve(record)
            else:
                recording = read_wfdb(folder, record, database=which.name, patient=which.patient(record))
                _expect_usual(recording, which)
                if which.kind == "simulated":
                    recording = replace(recording, evidence=read_evidence(folder, recording))
                else:
                    _expect_a_heart(recording)
        except EcglensError as error:
            skipped.append(Skipped(record, str(error)))
            continue
        order = which.lead_order.get(record)
        if swap_leads and order and recording.leads != order and set(recording.leads) == set(order):
            recording = recording.with_leads(order, f"leads put in the order {', '.join(order)}")
        if remarks is not None:
            remarks += [f"{record}: {remark}" for remark in recording.remarks]
        yield recording


def _expect_usual(recording: Recording, which: Database) -> None:
    name, n_leads = recording.record, len(recording.leads)
    if n_leads < which.n_leads:
        raise EcglensError(f"{name} has {n_leads} lead ({', '.join(recording.leads)}); {which.n_leads} are needed")
    if recording.fs != which.fs:
        raise EcglensError(f"{name} is sampled at {recording.fs:g} Hz; {which.name} has {which.fs:g} Hz")
    for lead, signal in zip(recording.leads, recording.signal, strict=True):
        low, high = signal.min(), signal.max()
        if np.isnan(low):
            # slower, but these pass over NaN; a lead of NaN alone compares False as well
            low, high = np.fmin.reduce(signal), np.fmax.reduce(signal)
        if not low < high:
            raise EcglensError(f"lead {lead} of {name} is flat: the electrode was not connected")
    if not recording.annotations.is_beat.any():
        raise EcglensError(f"{name}.atr has no beat marks")


# Beats a minute that the median of a record can have, that it usually has, and rates (Hz) that recorders have
_POSSIBLE, _USUAL = (25, 150), (40, 120)
_RATES = (100, 125, 128, 200, 250, 257, 300, 360, 500, 1000)


def _expect_a_heart(recording: Recording) -> None:
    """A wrong sampling rate in the header shows in the heart rate, where a record is long enough to have one."""
    beats = recording.annotations.beats().sample
    if recording.seconds < 60 or len(beats) < 2:
        return
    between = float(np.median(np.diff(beats)))
    heart_rate = 60 * recording.fs / between if between > 0 else np.inf
    if _POSSIBLE[0] <= heart_rate <= _POSSIBLE[1]:
        return
    fitting = [f"{fs}" for fs in _RATES if between > 0 and _USUAL[0] <= 60 * fs / between <= _USUAL[1]]
    advice = f"it may be {' or '.join(fitting)} Hz data given as {recording.fs:g} Hz" if fitting else "check its beat marks"
    raise EcglensError(
        f"{recording.record} has a median of {heart_rate:.0f} beats a minute at the {recording.fs:g} Hz of its header; "
        f"expected {_POSSIBLE[0]} to {_POSSIBLE[1]}; {advice}"
    )
