"""The convolutional network of Zihlmann 2017: 24 two-dimensional convolutions on a log-spectrogram made inside the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ecglens.models.keras_start import keras_dense

SEGMENT = 64
_OVERLAP = 32
_FLOOR = 1e-6  # mV^2: below the step of an 11-bit recording, so a flat line has a logarithm too
_KERNEL = 5
_FIRST = 32  # channels, as many more at the end of each block
_BLOCKS = 6
_LAYERS = 4  # in a block
_FEWEST_FRAMES = 6


class LogSpectrogram(nn.Module):
    """(example, lead, time) in mV to (example, lead, 33 frequencies, frame): ln(power + 1e-6).

    Power is scipy.signal.spectrogram(x, nperseg=64, noverlap=32), with its defaults: Tukey window with a quarter tapered,
    each segment's mean taken off, one-sided density. The sampling rate, which adds a constant to all logarithms, counts as 1.
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        place = torch.arange(SEGMENT, dtype=torch.float64)
        from_edge = torch.minimum(place, SEGMENT - place).clamp(max=SEGMENT / 8)
        window = (1 - torch.cos(torch.pi * from_edge / (SEGMENT / 8))) / 2
        self.register_buffer("window", (window / window.square().sum().sqrt()).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        segments = x.unfold(2, SEGMENT, SEGMENT - _OVERLAP)
        parts = torch.view_as_real(torch.fft.rfft((segments - segments.mean(dim=3, keepdim=True)) * self.window))
        both_sides = parts.square().sum(dim=4)
        # one-sided: all but the lowest and the highest frequency stand for their negative too
        power = torch.cat([both_sides[..., :1], 2 * both_sides[..., 1:-1], both_sides[..., -1:]], dim=3)
        return torch.log(power + _FLOOR).transpose(2, 3)


class _Conv(nn.Module):
    """A TensorFlow 'same' convolution with norm and ReLU: an odd zero is put at the end."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int], size: tuple[int, int]) -> None:
        super().__init__()
        self.size = (-(-size[0] // stride[0]), -(-size[1] // stride[1]))
        self.zeros: tuple[int, ...] = ()
        for had, given, step in zip(size, self.size, stride, strict=True):
            zeros = max((given - 1) * step + _KERNEL - had, 0)
            self.zeros = (zeros // 2, zeros - zeros // 2, *self.zeros)  # `pad` wants the last axis first
        self.conv = nn.Conv2d(n_in, n_out, _KERNEL, stride)
        self.norm = nn.BatchNorm2d(n_out, eps=1e-3)  # Keras: epsilon 1e-3; its slow momentum of .99 lags in short trainings
        self.active = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.active(self.norm(self.conv(pad(x, self.zeros))))


class Zihlmann(nn.Module):
    """(example, lead, time) to logits (example, class), with the picture's height as channels and its mean over time.

    Published: the last of each block's four convolutions has 32 channels more and stride 2 x 2. A minute at 300 Hz has 561
    frames for that, 720 samples 21, so here a block halves time only while at least six frames are left (21, 11, 6, 6, 6, 6)
    and frequency always (33, 17, 9, 5, 3, 2, 1). `cells`, (example, channels x frequencies, frame), is what is averaged, so
    class activation maps add up to the logit; at 720 samples a cell is 128 samples wide.
    """

    def __init__(self, n_classes: int, n_leads: int, length: int) -> None:
        super().__init__()
        self.picture = LogSpectrogram()
        self.blocks = nn.Sequential()
        n_in, n_out, size = n_leads, _FIRST, (SEGMENT // 2 + 1, (length - _OVERLAP) // (SEGMENT - _OVERLAP))
        for _ in range(_BLOCKS):
            for layer in range(_LAYERS):
                stride = (1, 1)
                if layer == _LAYERS - 1:
                    n_out += _FIRST
                    stride = (2, 2 if -(-size[1] // 2) >= _FEWEST_FRAMES else 1)
                conv = _Conv(n_in, n_out, stride, size)
                self.blocks.append(conv)
                n_in, size = n_out, conv.size
            self.blocks.append(nn.Dropout(0.15))
        self.cells = nn.Identity()
        self.head = nn.Linear(n_in * size[0], n_classes)
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(self.blocks(self.picture(x)).flatten(1, 2)).mean(dim=2))


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        keras_dense(module)


def build(n_classes: int, n_leads: int, length: int) -> Zihlmann:
    """A fresh network with random weights; a length of at least one segment of 64 samples.

    Source: Zihlmann 2017, arXiv:1710.06122; layers from the public code of its authors.
    """
    return Zihlmann(n_classes, n_leads, length)
