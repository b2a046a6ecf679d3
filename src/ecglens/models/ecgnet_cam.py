"""ECGNet made readable: pooled at 48 positions and one linear layer, so that class activation maps add up to the logit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecglens.models.ecgnet import STATE, LstmBranch, ResBlock, Stem, expect_pieces

_EARLY_POOL = 3
_BLOCKS = ((64, 1, 7), (96, 5, 7), (128, 1, 3), (128, 1, 3))  # (filters, pool, kernel) of each residual block
_DROP = 0.2
_MULTIPLE = 60  # the CNN wants 15ths of the length, the LSTM 12ths


class ECGNetCam(nn.Module):
    """(example, lead, time) to logits (example, class): our design of the network that the paper's 48 positions imply.

    ECGNet's stem; a max pool of 3; four of its residual blocks, 64 and 96 channels with kernel 7, a max pool of 5 in the
    second, then twice 128 with kernel 3, dropout .2; batch norm and ReLU (`tail`); mean over time. Beside it ECGNet's LSTM.
    One linear layer takes the 128 means, then the LSTM's 40 values. Positions are 15 samples apart (42 ms at 360 Hz) and each
    sees 227 samples (631 ms); with ECGNet's kernel of 15 throughout, it would be 1,043 samples.
    """

    def __init__(self, n_classes: int, n_leads: int, length: int) -> None:
        super().__init__()
        self.stem = Stem(n_leads)
        self.pool = nn.MaxPool1d(_EARLY_POOL)
        self.blocks = nn.Sequential()
        n_in = Stem.channels
        for number, (filters, pool, kernel) in enumerate(_BLOCKS):
            self.blocks.append(ResBlock(n_in, filters, pool, kernel=kernel, drop=_DROP, opened=number == 0))
            n_in = filters
        self.tail_norm = nn.BatchNorm1d(n_in)
        self.tail = nn.ReLU()
        self.lstm = LstmBranch(n_leads, length)
        self.n_cnn = n_in
        self.head = nn.Linear(n_in + STATE, n_classes)

    def branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the head takes: the means over time of `tail` (example, 128), and the LSTM's state (example, 40)."""
        hidden = self.tail_norm(self.blocks(self.pool(self.stem(x))))
        return self.tail(hidden).mean(dim=2), self.lstm(x)

    def join(self, cnn: Tensor, state: Tensor) -> Tensor:
        """Logits (example, class) from the two `branches`; affine in both."""
        return self.head(torch.cat([cnn, state], dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.join(*self.branches(x))


def build(n_classes: int, n_leads: int, length: int) -> ECGNetCam:
    """A fresh network with random weights; raises EcglensError for a length that is no multiple of 60.

    Source: Vijayarangan 2020, for what it must do; stem, blocks and LSTM of Murugesan 2018.
    """
    expect_pieces("ecgnet-cam", length, _MULTIPLE)
    return ECGNetCam(n_classes, n_leads, length)
