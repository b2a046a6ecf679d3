"""ResNet-34 in one dimension, of Habeeb 2024 after Zhang 2020; its pools can leave padding out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # (filters, blocks) of layer1 to layer4
CELL = 32  # samples from the middle of one cell to that of the next; the first is sample 0
REACH = 1341  # samples that a cell sees to each side of its middle
MIN_LENGTH = CELL


class _Block(nn.Module):
    """Convolution, norm, ReLU, dropout, convolution and norm, added to what came in, then ReLU."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(n_in, n_out, 7, stride, padding=3, bias=False)
        self.bn1 = nn.BatchNorm1d(n_out)
        self.relu1 = nn.ReLU()
        self.dropout = nn.Dropout(0.2)
        self.conv2 = nn.Conv1d(n_out, n_out, 7, padding=3, bias=False)
        self.bn2 = nn.BatchNorm1d(n_out)
        self.relu2 = nn.ReLU()
        self.downsample = (
            nn.Sequential(nn.Conv1d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm1d(n_out))
            if stride > 1 or n_in != n_out
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.relu1(self.bn1(self.conv1(x))))
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu2(self.bn2(self.conv2(hidden)) + shortcut)
        return out


class ResNet34(nn.Module):
    """(example, lead, time) to logits (example, class), whatever the length.

    `cells` (example, 512, cell), one for each 32 samples begun, are pooled over time by their mean and by their largest value,
    side by side before the linear layer. The middle of cell k is sample 32 k; it sees 1341 samples to each side of it. masked:
    also takes the span, int64 (example, 2): the first sample that is signal, and the one after the last, at least one apart.
    Cells whose middle is outside are then 0 and no pool counts them; those near its ends still see what is beyond. Without a
    span all is signal. Source: Habeeb 2024, section 4.2; layers from the public code of Zhang 2020; masking is ours.
    """

    def __init__(self, n_classes: int, n_leads: int, *, masked: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(n_leads, _STAGES[0][0], 15, stride=2, padding=7, bias=False)
        self.bn1 = nn.BatchNorm1d(_STAGES[0][0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool1d(3, stride=2, padding=1)
        n_in, layers = _STAGES[0][0], []
        for stage, (filters, blocks) in enumerate(_STAGES):
            layer = []
            for block in range(blocks):
                layer.append(_Block(n_in, filters, 2 if stage and not block else 1))
                n_in = filters
            layers.append(nn.Sequential(*layer))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.cells = nn.Identity()  # what maps read: a layer of its own, so that the norms of layer4 can be folded
        self.fc = nn.Linear(2 * n_in, n_classes)
        self.masked = masked

    def forward(self, x: Tensor, span: Tensor | None = None) -> Tensor:
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        hidden = self.layer4(self.layer3(self.layer2(self.layer1(hidden))))
        if self.masked and span is not None:
            inside = _inside(span, hidden.detach())
            cells = self.cells(hidden * inside)  # behind a ReLU: a 0 is never larger than what is inside
            average = cells.sum(dim=2) / inside.sum(dim=2)
        else:
            cells = self.cells(hidden)
            average = torch.mean(cells, dim=2)
        largest = F.max_pool1d(cells, cells.shape[2]).flatten(1)  # not amax, for which deeplift has no rule
        out: Tensor = self.fc(torch.cat([average, largest], dim=1))
        return out


def _inside(span: Tensor, cells: Tensor) -> Tensor:
    """1 for cells (example, channel, cell) whose middle is in the span, else 0: (example, 1, cell).

    Where no middle is, for the last cell before the span's end.
    """
    # not arange, which torch.fx cannot follow; not clamp, which guided backpropagation refuses
    number = torch.ones_like(cells[:1, 0], dtype=torch.int64).cumsum(dim=1) - 1
    start, last = span[:, :1], (span[:, 1:] - 1) // CELL
    return (((number * CELL >= start) & (number <= last)) | (number == last)).to(cells.dtype)[:, None]


def build(n_classes: int, n_leads: int, length: int) -> ResNet34:
    """A fresh network with random weights: 16,610,185 values with twelve leads and nine classes."""
    return ResNet34(n_classes, n_leads)


def build_masked(n_classes: int, n_leads: int, length: int) -> ResNet34:
    """The same with pools that leave out what is not signal."""
    return ResNet34(n_classes, n_leads, masked=True)
