"""Where a model looks, example by example."""

from ecglens.attribution.attributions import Attributions, read_attributions
from ecglens.attribution.engine import explain

__all__ = ["Attributions", "explain", "read_attributions"]
