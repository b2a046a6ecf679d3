"""A folder that `ecglens simulate` wrote, as a database."""

from __future__ import annotations

import json
from pathlib import Path

from ecglens.errors import EcglensError
from ecglens.recordings.databases import Database

COHORT_FILE = "cohort.json"
_MODEL = (
    "McSharry PE et al. IEEE TBME 50(3):289-294, 2003; Sameni R et al. EURASIP J. Adv. Signal Process. 43407, 2007; "
    "Dower GE et al. Clin. Cardiol. 3:87-95, 1980"
)


def simulated_database(folder: Path) -> Database:
    """The cohort in `folder`; raises EcglensError when its cohort.json cannot be read."""
    path = folder / COHORT_FILE
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        settings = about["settings"]
        return Database(
            name="simulated",
            title="Simulated cohort of ecglens",
            version=f"{about['ecglens']}, seed {settings['seed']}",
            licence="free of rights: no person's data",
            citation=_MODEL,
            address="made by 'ecglens simulate'",
            fs=float(settings["fs"]),
            n_leads=len(settings["leads"]),
            megabytes=round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6, 1),
            lead_facts=(
                f"simulated: {settings['patients']} patients, {settings['minutes']:g} minutes each, leads "
                f"{', '.join(settings['leads'])}; no person's heart",
                "evidence is where a beat differs from the same patient's normal beat by more than "
                f"{settings['evidence_mv']:g} mV",
            ),
            kind="simulated",
            listed=dict(about["sha256"]),
            a_few=tuple(about["a_few"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EcglensError(f"{path} is not the description of a simulated cohort ({type(error).__name__}: {error})") from None
