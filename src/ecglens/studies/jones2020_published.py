"""The numbers of Jones 2020 (tables 1 to 3, figure 6), to stand beside ours."""

from __future__ import annotations

METRICS = ("accuracy", "f1", "precision", "recall", "specificity")

# Table 1: (split, model) to accuracy, then macro F1, precision, recall, specificity over all eight classes
TABLE_1 = {
    ("holdout", "cnn"): (0.9710, 0.8510, 0.7924, 0.9753, 0.9955),
    ("holdout", "lstm"): (0.9674, 0.8422, 0.7865, 0.9478, 0.9951),
    ("leave-patients-out", "cnn"): (0.9094, 0.3593, 0.3805, 0.3661, 0.9872),
    ("leave-patients-out", "lstm"): (0.9491, 0.3856, 0.3843, 0.4089, 0.9923),
}

# Tables 2 and 3: what the paper compares itself with, in the order of METRICS; None where it gives no number
PEERS = {
    "cnn": ("Pandey 2019 (30 % hold-out)", (0.983, 0.899, 0.861, 0.955, None)),
    "lstm": ("Gao 2019 (10 % hold-out)", (0.992, 0.993, 0.993, 0.993, 0.991)),
}

# Figure 6: (split, model) to class to (F1, precision, recall); classes without test beats are not in it
FIGURE_6 = {
    ("holdout", "cnn"): {
        "A": (0.75, 0.61, 0.97), "E": (0.67, 0.51, 0.96), "j": (0.51, 0.34, 0.98), "L": (0.98, 0.96, 0.99),
        "N": (0.98, 1.0, 0.97), "P": (1.0, 0.99, 1.0), "R": (0.98, 0.97, 0.99), "V": (0.95, 0.95, 0.95),
    },
    ("holdout", "lstm"): {
        "A": (0.69, 0.55, 0.90), "E": (0.65, 0.51, 0.88), "j": (0.53, 0.38, 0.89), "L": (0.96, 0.94, 0.99),
        "N": (0.98, 1.0, 0.96), "P": (1.0, 1.0, 1.0), "R": (0.99, 0.98, 0.99), "V": (0.95, 0.94, 0.96),
    },
    ("leave-patients-out", "cnn"): {
        "A": (0.10, 0.06, 0.32), "N": (0.97, 0.99, 0.95), "P": (0.97, 1.0, 0.93), "V": (0.84, 0.99, 0.73),
    },
    ("leave-patients-out", "lstm"): {
        "A": (0.16, 0.10, 0.38), "N": (0.97, 0.99, 0.94), "P": (0.98, 1.0, 0.96), "V": (0.98, 0.98, 0.98),
    },
}  # fmt: skip

# de Chazal 2004, tables VII and VIII: F1 of the AAMI classes, DS1 to DS2
DE_CHAZAL = {"S": 0.51, "V": 0.80}
