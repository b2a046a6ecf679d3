"""The numbers of Varandas 2021, to stand beside ours; what the paper leaves out is worked out from what it prints."""

from __future__ import annotations

METHODS = {"saliency": "Gradients", "grad-cam": "Grad-CAM", "guided-grad-cam": "GB grad-CAM"}

# Windows: counts of the text
WINDOWS = {"train": 37_867, "validation": 11_204, "test": 49_617}

# Table 1, by set. F1 is of the normal class, precision of the abnormal one: solved for the prevalence, only this fits
TABLE_1 = {
    1: {
        "epochs": 7, "validation_accuracy": 0.9406, "validation_f1": 0.9682, "accuracy": 0.9366, "f1_normal": 0.9647,
        "precision_abnormal": 0.7412,
    },
    2: {
        "epochs": 5, "validation_accuracy": 0.9623, "validation_f1": 0.9800, "accuracy": 0.9172, "f1_normal": 0.9538,
        "precision_abnormal": 0.6357,
    },
}  # fmt: skip

# Tables 2 to 4: mean and standard deviation of focus, by set and group of test pictures
FOCUS = {
    1: {
        "all": {"saliency": (0.303, 0.092), "grad-cam": (0.227, 0.115), "guided-grad-cam": (0.274, 0.109)},
        "right": {"saliency": (0.303, 0.089), "grad-cam": (0.236, 0.107), "guided-grad-cam": (0.283, 0.097)},
        "wrong": {"saliency": (0.314, 0.126), "grad-cam": (0.102, 0.152), "guided-grad-cam": (0.133, 0.168)},
        "abnormal": {"saliency": (0.346, 0.103), "grad-cam": (0.184, 0.155), "guided-grad-cam": (0.240, 0.179)},
        "normal": {"saliency": (0.298, 0.089), "grad-cam": (0.233, 0.108), "guided-grad-cam": (0.278, 0.097)},
    },
    2: {
        "all": {"saliency": (0.250, 0.182), "grad-cam": (0.087, 0.052), "guided-grad-cam": (0.153, 0.099)},
        "right": {"saliency": (0.244, 0.180), "grad-cam": (0.088, 0.043), "guided-grad-cam": (0.155, 0.088)},
        "wrong": {"saliency": (0.324, 0.193), "grad-cam": (0.083, 0.108), "guided-grad-cam": (0.127, 0.194)},
        "abnormal": {"saliency": (0.397, 0.193), "grad-cam": (0.107, 0.102), "guided-grad-cam": (0.319, 0.241)},
        "normal": {"saliency": (0.232, 0.173), "grad-cam": (0.085, 0.042), "guided-grad-cam": (0.138, 0.052)},
    },
}
RANDOM = (0.097, 0.040)  # mean area of the rectangle over that of the picture


def solved(accuracy: float, f1: float, precision_abnormal: float) -> dict[str, float]:
    """What Table 1 implies: prevalence of normal, abnormal sensitivity, normal recall, balanced accuracy.

    With accuracy a and F1 f of the normal class, normal pictures that are found are (1 - a) f / (2 (1 - f)) of all.
    """
    found_normal = (1 - accuracy) * f1 / (2 * (1 - f1))
    found_abnormal = accuracy - found_normal
    called_normal_wrongly = (1 - accuracy) - found_abnormal * (1 / precision_abnormal - 1)
    normal = found_normal + (1 - accuracy) - called_normal_wrongly
    sensitivity, recall = found_abnormal / (1 - normal), found_normal / normal
    return {
        "prevalence_normal": normal, "sensitivity_abnormal": sensitivity, "recall_normal": recall,
        "balanced_accuracy": (sensitivity + recall) / 2,
    }  # fmt: skip
