"""The recurrent network of Jones 2020 (after Gao 2019): 19,240 trainable values, one row read sample by sample."""

from __future__ import annotations

from torch import Tensor, nn

from ecglens.models.keras_start import keras_dense, keras_lstm


class JonesLSTM(nn.Module):
    """LSTM 64, last state, dense 32, dense: (example, lead, time) to logits (example, class)."""

    def __init__(self, n_classes: int, n_leads: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_leads, 64, batch_first=True)
        self.dense = nn.Linear(64, 32)
        self.active = nn.ReLU()
        self.head = nn.Linear(32, n_classes)
        keras_lstm(self.lstm)
        keras_dense(self.dense)
        keras_dense(self.head)

    def forward(self, x: Tensor) -> Tensor:
        _, (state, _) = self.lstm(x.transpose(1, 2))
        return self.head(self.active(self.dense(state[-1])))


def build(n_classes: int, n_leads: int, length: int) -> JonesLSTM:
    """A fresh network with random weights; any length of at least one sample."""
    del length
    return JonesLSTM(n_classes, n_leads)
