"""The published systems: one file a study. This table is all that `ecglens studies` needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StudyCard:
    """A study by name: what it is, in which database, and the module that runs it."""

    title: str
    authors: str
    databases: tuple[str, ...]
    module: str
    sets: bool = False  # whether it has --set-number


STUDIES = {
    "jones2020": StudyCard(
        "Improving ECG classification interpretability using saliency maps",
        "Jones, Deligianni, Dalton; BIBE 2020",
        ("mitdb", "simulated"),
        "ecglens.studies.jones2020",
    ),
    "vijayarangan2020": StudyCard(
        "Interpreting deep neural networks for single-lead ECG arrhythmia classification",
        "Vijayarangan, Murugesan and others; EMBC 2020",
        ("mitdb", "ltafdb", "ltdb", "simulated"),
        "ecglens.studies.vijayarangan2020",
    ),
    "varandas2021": StudyCard(
        "Quantified explainability: convolutional neural network focus assessment in arrhythmia detection",
        "Varandas, Goncalves, Gamboa, Vieira; BioMedInformatics 2022",
        ("mitdb", "simulated"),
        "ecglens.studies.varandas2021",
        sets=True,
    ),
}
