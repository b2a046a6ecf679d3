"""Which annotation belongs to which class: readable tables, case kept unless asked."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import choose


@dataclass(frozen=True)
class LabelMap:
    """Annotations to classes.

    symbols gives for each class its beat symbols (none for a rhythm); names says what a class is; rhythms gives for each
    class that is a rhythm its label, such as "(AFIB".
    """

    name: str
    symbols: dict[str, str]
    names: dict[str, str]
    source: str
    rhythms: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their indices."""
        return tuple(self.symbols)

    def indices(self, symbol: NDArray[np.str_], *, merge_case: bool = False) -> NDArray[np.int64]:
        """Class index of each symbol, int64 (mark,); -1 where the map has no class for it.

        merge_case gives 'a' to the class of 'A' and 'e' to that of 'E', the rest untouched: what happened to the
        authors of jones2020, whose folder names did not tell upper from lower case.
        """
        out = np.full(len(symbol), -1, np.int64)
        for index, members in enumerate(self.symbols.values()):
            wanted = set(members)
            if merge_case:
                wanted |= {lower for lower in "ae" if lower.upper() in wanted}
            out[np.isin(symbol, list(wanted))] = index
        return out


_VIJAYARANGAN = {"N": "normal beat", "PVC": "premature ventricular contraction", "PAC": "atrial premature beat"}

LABEL_MAPS = {
    "jones": LabelMap(
        "jones",
        {"A": "A", "E": "E", "j": "j", "L": "L", "N": "N", "P": "/", "R": "R", "V": "V"},
        {
            "A": "atrial premature beat",
            "E": "ventricular escape beat",
            "j": "nodal (junctional) escape beat",
            "L": "left bundle branch block beat",
            "N": "normal beat",
            "P": "paced beat",
            "R": "right bundle branch block beat",
            "V": "premature ventricular contraction",
        },
        "Jones 2020, section III.A; order of the authors' code",
    ),
    "aami": LabelMap(
        "aami",
        {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F"},
        {
            "N": "normal, bundle branch block or escape beat (not ventricular)",
            "S": "supraventricular ectopic beat",
            "V": "ventricular ectopic beat",
            "F": "fusion of ventricular and normal beat",
        },
        "ANSI/AAMI EC57; class Q (paced, unclassifiable) left out, as it has 15 beats outside the paced records",
    ),
    "vijayarangan": LabelMap(
        "vijayarangan",
        {"N": "N", "PVC": "V", "PAC": "A", "AFIB": "", "SVTA": "", "SBR": "", "LBBB": "L", "RBBB": "R"},
        _VIJAYARANGAN
        | {
            "AFIB": "atrial fibrillation",
            "SVTA": "supraventricular tachyarrhythmia",
            "SBR": "sinus bradycardia",
            "LBBB": "left bundle branch block beat",
            "RBBB": "right bundle branch block beat",
        },
        "Vijayarangan 2020, dataset table; which annotations it counts is inferred from the counts",
        rhythms={"AFIB": "(AFIB", "SVTA": "(SVTA", "SBR": "(SBR"},
    ),
    "vijayarangan-beats": LabelMap(
        "vijayarangan-beats",
        {"N": "N", "PVC": "V", "PAC": "A", "LBBB": "L", "RBBB": "R"},
        _VIJAYARANGAN | {"LBBB": "left bundle branch block beat", "RBBB": "right bundle branch block beat"},
        "the beat classes of Vijayarangan 2020, which MIT-BIH alone can train",
    ),
    "varandas": LabelMap(
        "varandas",
        {"normal": "NLRej", "abnormal": "AaJSVEF"},
        {"normal": "beat of AAMI class N", "abnormal": "beat of AAMI class S, V or F"},
        "Varandas 2021; that normal means AAMI class N, and class Q is left out, is inferred from its counts",
    ),
}


def label_map(name: str) -> LabelMap:
    """The label map of that name; raises EcglensError with the known names otherwise."""
    return LABEL_MAPS[choose(name, sorted(LABEL_MAPS), "set of classes")]
