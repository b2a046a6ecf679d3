"""PTB Diagnostic ECG Database (ptbdb): folders by patient, twelve leads in `.dat` and three Frank leads in `.xyz`."""

from __future__ import annotations

from pathlib import Path

from ecglens.recordings.challenge_header import Clinical, read_age, read_sex
from ecglens.recordings.recording import Recording
from ecglens.recordings.sixteen import Header, read_header, read_samples
from ecglens.recordings.twelve_record import scaled, twelve_recording

_DIAGNOSES = (
    "reason for admission",
    "acute infarction (localization)",
    "former infarction (localization)",
    "additional diagnoses",
)


def read_ptb(path: Path, *, database: str = "ptbdb") -> Recording:
    """Read one record from its header `path`, such as patient001/s0010_re.hea.

    signal: float32 (lead, time) in mV; the Frank leads vx, vy, vz are left out, with a remark. patient: 'ptbdb/' and the
    folder's name. diagnoses: reason for admission, infarctions and additional diagnoses, as found. Raises EcglensError where
    files are missing or damaged, or amplitudes are not an ECG's. Source: Bousseljot et al., Biomed. Tech. 40(s1):317, 1995.
    """
    header = read_header(path)
    what = scaled(header, read_samples(header, path.parent), None)
    return twelve_recording(what, header.fs, database, path.stem, f"{database}/{path.parent.name}", _about(header))


def _about(header: Header) -> Clinical:
    said: dict[str, str] = {}
    for line in header.comments:
        name, _, value = line.partition(":")
        if value.strip().lower() not in ("", "no", "unknown", "n/a"):
            said.setdefault(name.strip().lower(), value.strip())
    age, age_remark = read_age(said.get("age", ""))
    sex, sex_remark = read_sex(said.get("sex", ""))
    found = tuple(dict.fromkeys(said[name] for name in _DIAGNOSES if name in said))
    return Clinical(age, sex, found, tuple(each for each in (age_remark, sex_remark) if each))
