"""Functions that models call, by what a rule has to know of them, for rules that stand below the modules (see `rules`)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecglens.attribution.rules import OTHER
from ecglens.errors import EcglensError
from ecglens.models.classifier import Classifier

POOLS = (F.max_pool1d, torch.max_pool1d, F.max_pool2d, torch.max_pool2d)
_SMOOTH = (
    "leaky_relu", "elu", "gelu", "silu", "mish", "selu", "celu", "softplus", "sigmoid", "tanh", "relu6", "hardtanh",
    "hardswish", "logsigmoid",
)  # fmt: skip
ELEMENTWISE = {function: name for function, name in OTHER.items() if name in _SMOOTH}
WEIGHTED = (F.conv1d, torch.conv1d, F.conv2d, torch.conv2d, F.linear)
LINEAR = (
    F.avg_pool1d, torch.avg_pool1d, F.adaptive_avg_pool1d, torch.adaptive_avg_pool1d, torch.mean, torch.Tensor.mean, torch.sum,
    torch.Tensor.sum, F.batch_norm, torch.batch_norm, F.avg_pool2d, F.adaptive_avg_pool2d,
)  # fmt: skip
SUMS = (torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__)
SUMS_IN_PLACE = (torch.Tensor.add_, torch.Tensor.__iadd__)
DIFFERENCES = {"sub", "__sub__", "__rsub__", "rsub", "neg", "__neg__", "diff"}
PRODUCTS = {"mul", "__mul__", "__rmul__", "div", "__truediv__", "true_divide", "matmul", "__matmul__", "bmm", "mm"}
MAXIMA = {"amax", "max_pool2d", "_max_pool2d", "adaptive_max_pool1d", "max_pool2d_with_indices"}
# these hand gradients, and so relevance, on untouched (or to the place of a maximum)
ROUTES = MAXIMA | {
    "flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "cat", "stack", "__getitem__", "dropout",
    "clone", "contiguous", "expand", "chunk", "split", "max_pool1d", "_max_pool1d", "max_pool1d_with_indices", "pad",
    "identity", "size", "dim", "__get__", "numel", "is_floating_point", "movedim", "swapaxes", "feature_dropout", "dropout1d",
    "alpha_dropout", "detach", "float", "to", "type", "unbind", "is_cuda", "__len__", "new_zeros", "zeros_like",
    "boolean_dispatch", "fn",
}  # fmt: skip


def split_input(args: Any, kwargs: Any) -> tuple[Tensor, list[Any], dict[str, Any]]:
    """(input, other arguments in order, arguments by name), wherever the input stands; in-place flags are dropped."""
    named = {name: value for name, value in kwargs.items() if name != "inplace"}
    return (args[0], list(args[1:]), named) if args else (named.pop("input"), [], named)


def expect_no_rnn(classifier: Classifier) -> None:
    """Raises EcglensError for recurrent layers, whose steps are below what rules can reach."""
    for name, part in classifier.module.named_modules():
        if isinstance(part, nn.RNNBase):
            raise EcglensError(
                f"there is no rule for {type(part).__name__} ({name or 'the model itself'}) of {classifier.name}; "
                "integrated-gradients or expected-gradients may serve"
            )
