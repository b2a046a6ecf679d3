"""ECGNet of Murugesan 2018, the network of Vijayarangan 2020: a residual CNN beside an LSTM, 17,438,384 values."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ecglens.errors import EcglensError

KERNEL = 15
STATE = 40  # of the LSTM
_STEM = (15, 17, 19, 21)  # kernels side by side
_STEPS = 12
_CHANNELS = (64,) * 3 + (128,) * 4 + (192,) * 4 + (256,) * 4 + (320,)  # of the blocks; the first and every second one pool


class Stem(nn.Module):
    """Four 'same' convolutions of 16 filters and different kernels side by side, batch norm, ReLU: 64 channels."""

    channels = 16 * len(_STEM)

    def __init__(self, n_leads: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(n_leads, 16, kernel, padding=kernel // 2) for kernel in _STEM)
        self.norm = nn.BatchNorm1d(self.channels)
        self.active = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.active(self.norm(torch.cat([conv(x) for conv in self.convs], dim=1)))


class ResBlock(nn.Module):
    """Two times norm-ReLU-dropout-convolution and maybe a max pool, beside the input, pooled too, 1 x 1 where channels change.

    `opened`: the input is fresh from a norm and ReLU, so the block starts with its convolution.
    """

    def __init__(
        self, n_in: int, n_out: int, pool: int, *, kernel: int = KERNEL, drop: float = 0.5, opened: bool = False
    ) -> None:
        super().__init__()
        opening = [] if opened else [nn.BatchNorm1d(n_in), nn.ReLU(), nn.Dropout(drop)]
        self.body = nn.Sequential(
            *opening,
            nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2),
            nn.BatchNorm1d(n_out),
            nn.ReLU(),
            nn.Dropout(drop),
            nn.Conv1d(n_out, n_out, kernel, padding=kernel // 2),
        )
        self.pool = nn.MaxPool1d(pool) if pool > 1 else nn.Identity()
        self.shortcut_pool = nn.MaxPool1d(pool) if pool > 1 else nn.Identity()
        self.match = nn.Conv1d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.body(x)) + self.match(self.shortcut_pool(x))


class LstmBranch(nn.Module):
    """The signal in 12 pieces of all leads, one after the other, through two LSTM layers: last state (example, 40)."""

    def __init__(self, n_leads: int, length: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_leads * (length // _STEPS), STATE, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.unflatten(2, (_STEPS, -1)).transpose(1, 2).flatten(2)
        return self.lstm(steps)[0][:, -1]


class ECGNet(nn.Module):
    """(example, lead, time) to logits (example, class). The head is three linear layers with nothing between them.

    `tail` is the last batch norm: 320 channels at 1/256 of the sampling rate, two positions at 720 samples.
    """

    def __init__(self, n_classes: int, n_leads: int, length: int) -> None:
        super().__init__()
        self.stem = Stem(n_leads)
        self.blocks = nn.Sequential()
        n_in, left = Stem.channels, length
        for number, filters in enumerate(_CHANNELS):
            pool = 2 - number % 2
            self.blocks.append(ResBlock(n_in, filters, pool, opened=number == 0))
            n_in, left = filters, left // pool
        self.tail = nn.BatchNorm1d(n_in)
        self.lstm = LstmBranch(n_leads, length)
        self.n_cnn = n_in * left
        self.head = nn.Sequential(nn.Linear(self.n_cnn + STATE, 500), nn.Linear(500, 100), nn.Linear(100, n_classes))

    def branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the head takes: from the CNN (example, 320 x positions), channel by channel; the LSTM's state (example, 40)."""
        return torch.flatten(self.tail(self.blocks(self.stem(x))), 1), self.lstm(x)

    def join(self, cnn: Tensor, state: Tensor) -> Tensor:
        """Logits (example, class) from the two `branches`; affine in both."""
        return self.head(torch.cat([cnn, state], dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.join(*self.branches(x))


class TwoBranches(Protocol):
    """A network whose head joins `n_cnn` values of a CNN with the state of an LSTM."""

    n_cnn: int
    lstm: LstmBranch

    def join(self, cnn: Tensor, state: Tensor) -> Tensor:
        """Logits (example, class)."""


class LstmPart(nn.Module):
    """What the LSTM alone gives to the logits (example, class), head's bias included; the CNN's values are zero and it idles.

    Shares the weights of `net`, an ECGNet or ECGNetCam; raises EcglensError for another.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        if not all(hasattr(net, part) for part in ("n_cnn", "lstm", "join")):
            raise EcglensError(f"{type(net).__name__} has no LSTM beside a CNN; expected the module of ecgnet or ecgnet-cam")
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        net = cast(TwoBranches, self.net)
        return net.join(x.new_zeros(x.shape[0], net.n_cnn), net.lstm(x))


def expect_pieces(name: str, length: int, of: int) -> None:
    """Raises EcglensError where `length` is no multiple of `of`."""
    if length % of:
        less = length - length % of
        raise EcglensError(f"{name} takes multiples of {of} samples; length is {length}: take {less or of} or {less + of}")


def build(n_classes: int, n_leads: int, length: int) -> ECGNet:
    """A fresh network with random weights; raises EcglensError for a length that is no multiple of 12.

    Source: Murugesan 2018, IEEE 8438739; layers from the public code of its authors.
    """
    expect_pieces("ecgnet", length, _STEPS)
    return ECGNet(n_classes, n_leads, length)
