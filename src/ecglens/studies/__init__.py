"""The published systems: one file a study. This table is all that `ecglens studies` needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StudyCard:
    """A study by name: what it is, in which database, the module that runs it, and options of `run` that few studies take.

    beside: how many runs can stand beside one in its report; any number in that of habeeb2024, whose trainings are compared.
    """

    title: str
    authors: str
    databases: tuple[str, ...]
    module: str
    words: tuple[str, ...] = ()
    beside: int = 1


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
        words=("set_number",),
    ),
    "lin2020": StudyCard(
        "Explainable deep learning for twelve-lead ECGs: CNN-GAP with class activation maps on the 2020 Challenge",
        "Lin and others (NTU-Accesslab); CinC 2020",
        ("cinc2020", "ptbxl", "cpsc2018"),
        "ecglens.studies.lin2020",
        words=("loss", "database"),
    ),
    "habeeb2024": StudyCard(
        "Improved generalization and interpretability of a deep learning model for automatic diagnosis of 12-lead ECG",
        "Habeeb, Goyal; 2024, on Zhang, Yuan, Zhang 2020",
        ("cinc2020 (CPSC2018's records)", "ptbxl"),
        "ecglens.studies.habeeb2024",
        words=("train",),
        beside=100,
    ),
}
