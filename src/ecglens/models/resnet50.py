"""ResNet-50 for pictures of ECGs (He 2016, table 1), in the naming of the public weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # (filters, blocks) of layer1 to layer4
_WIDER = 4  # a block gives four times as many channels as its 3 x 3 convolution
# of ImageNet's red, green and blue: what the public weights were trained on
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolution, added to what came in.

    The stride is in the 3 x 3 convolution, as in the public network; in the paper it is in the first.
    """

    def __init__(self, n_in: int, filters: int, stride: int) -> None:
        super().__init__()
        n_out = _WIDER * filters
        self.conv1 = nn.Conv2d(n_in, filters, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(filters, filters, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(filters, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu3 = nn.ReLU()
        self.downsample = (
            nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
            if stride > 1 or n_in != n_out
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.relu1(self.bn1(self.conv1(x)))
        hidden = self.relu2(self.bn2(self.conv2(hidden)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(self.bn3(self.conv3(hidden)) + shortcut)


class ResNet50(nn.Module):
    """Ink (example, 1, row, column), 0 paper to 1 trace, to logits (example, class).

    Paper is white: 1 - ink, in all three colours, normalised as ImageNet's pictures were. At least 32 x 32 pixels.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        # not persistent: the names in the state are the public ones alone
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(3, 1, 1), persistent=False)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        n_in, layers = 64, []
        for stage, (filters, blocks) in enumerate(_STAGES):
            layer = []
            for block in range(blocks):
                layer.append(Bottleneck(n_in, filters, 2 if stage and not block else 1))
                n_in = _WIDER * filters
            layers.append(nn.Sequential(*layer))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.fc = nn.Linear(n_in, n_classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        hidden = (1 - x - self.mean) / self.deviation
        if torch.is_autocast_enabled(x.device.type):
            # in bfloat16 a fifth to a third faster, in float32 slower
            hidden = hidden.contiguous(memory_format=torch.channels_last)
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(hidden))))
        hidden = self.layer4(self.layer3(self.layer2(self.layer1(hidden))))
        return self.fc(hidden.mean(dim=(2, 3)))


def build(n_classes: int) -> ResNet50:
    """A fresh network, its weights as published (He 2015, by fan-out); it trains 23,512,130 values with two classes."""
    return ResNet50(n_classes)
