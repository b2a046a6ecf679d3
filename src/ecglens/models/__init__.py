"""The published networks, one a file, and `create`, which makes any of them by name."""

from ecglens.models.classifier import Classifier
from ecglens.models.registry import MODELS, create, load

__all__ = ["MODELS", "Classifier", "create", "load"]
