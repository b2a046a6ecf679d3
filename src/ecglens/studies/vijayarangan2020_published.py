"""The numbers of Vijayarangan 2020, to stand beside ours."""

from __future__ import annotations

METRICS = ("precision", "recall", "f1", "accuracy")

# Slide "Rationale behind Architecture Choice": eight classes, split and averages unsaid
COMPARISON = {
    "hannun": ("Hannun et al. [2]", (0.93, 0.93, 0.93, 0.93)),
    "zihlmann": ("Zihlmann et al. [3]", (0.94, 0.94, 0.94, 0.94)),
    "ecgnet": ("Murugesan et al. [4]", (0.98, 0.97, 0.97, 0.97)),
}

# Slide "Dataset Description": windows by class and database
DATASET = {
    "N": (75_013, 10_756, 517_402),
    "PVC": (7_121, 1_318, 5_137),
    "PAC": (2_542, 14_914, None),
    "AFIB": (102, 7_241, None),
    "SVTA": (22, 3_265, None),
    "SBR": (None, 11_323, None),
    "LBBB": (6_580, None, None),
    "RBBB": (5_400, None, None),
}
DATABASES = ("mitdb", "ltafdb", "ltdb")
