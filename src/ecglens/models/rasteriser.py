"""Signals drawn as pictures by torch: anti-aliased, on the model's device, thousands a second."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIZE = 224
_SPIKE = 6  # columns: six beats have as many peaks, an artefact seldom so much width
_AT_ONCE = 8  # pictures whose rows and columns stay in the processor's cache


class Rasteriser(nn.Module):
    """One lead (example, 1, time) in mV and its span (example, 2) to ink (example, 1, row, column), 0 paper to 1 trace.

    The span is stretched over the whole width. The height is always `height_mv`; in its middle lies the middle between the
    sixth highest and the sixth lowest column of the trace, so that one spike can neither squash the rest nor push it out, and
    what leaves the picture runs along its edge. In each column the trace covers what lies between its highest and its lowest
    value there, and half a line width more to both sides; a pixel's ink is the share of it that is covered. It has no
    gradient: signals that want one are refused by torch. No source: the paper does not say how its pictures were drawn.
    """

    height_mv: Tensor
    line: Tensor

    def __init__(self, rows: int = SIZE, columns: int = SIZE, height_mv: float = 2.5, line: float = 2.0) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        # buffers, so that weights and pictures cannot be told apart by mistake
        self.register_buffer("height_mv", torch.tensor(float(height_mv)))
        self.register_buffer("line", torch.tensor(float(line)))

    def forward(self, x: Tensor, span: Tensor) -> Tensor:
        top, bottom = self.edges(x, span)
        ink = torch.empty(len(x), 1, self.rows, self.columns, device=x.device)
        row = torch.arange(self.rows, device=x.device, dtype=x.dtype)[:, None]
        for first in range(0, len(x), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            out = ink[some, 0]
            torch.minimum(bottom[some, None], row + 1, out=out)
            out.sub_(torch.maximum(top[some, None], row)).clamp_(0, 1)
        return ink

    def middle(self, high: Tensor, low: Tensor) -> Tensor:
        """mV in the middle of the picture's height (example, 1), from each column's highest and lowest value."""
        return (_nth(high, _SPIKE) - _nth(-low, _SPIKE)) / 2

    def edges(self, x: Tensor, span: Tensor) -> tuple[Tensor, Tensor]:
        """Upper and lower edge of the line in each column, in rows from the top (example, column)."""
        high, low = column_ranges(x[:, 0], span, self.columns)
        middle = self.middle(high, low)
        per_mv = self.rows / self.height_mv
        half = self.line / 2
        top, bottom = ((self.height_mv / 2 + middle - value) * per_mv for value in (high, low))
        most = self.rows - half
        return top.clamp(min=half).clamp(max=most) - half, bottom.clamp(min=half).clamp(max=most) + half


def column_ranges(signal: Tensor, span: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Highest and lowest value of each trace within each column, (example, column).

    signal (example, time); span int64 (example, 2). Samples are joined by straight lines and each takes up as much width as
    the next; the trace begins and ends flat, half a sample from the edge.
    """
    start, size = span[:, :1], span[:, 1:] - span[:, :1]
    # where columns begin and end (example, column + 1), in whole numbers of 1 / (2 columns) samples: float32 is too coarse
    # for the last of 5,000 samples
    unit = 2 * columns
    edge = (2 * size * torch.arange(columns + 1, device=signal.device) - columns).clamp(min=0).minimum(unit * (size - 1))
    left = edge // unit
    rest = edge - unit * left
    before, after = _at(signal, start + left), _at(signal, start + (left + 1).minimum(size - 1))
    at_edge = before + rest.to(signal.dtype) / unit * (after - before)
    high, low = torch.maximum(at_edge[:, :-1], at_edge[:, 1:]), torch.minimum(at_edge[:, :-1], at_edge[:, 1:])
    first, last = left[:, :-1] + (rest[:, :-1] > 0), left[:, 1:]
    most = int((last - first).max()) + 1 if len(signal) else 0
    for number in range(most):
        # a column with fewer samples looks at its last one again, a column with none at an end that it touches
        inner = _at(signal, start + torch.minimum(first + number, torch.maximum(last, left[:, :-1])))
        there = first + number <= last
        high = torch.where(there, torch.maximum(high, inner), high)
        low = torch.where(there, torch.minimum(low, inner), low)
    return high, low


def _nth(values: Tensor, n: int) -> Tensor:
    """The n-th largest value of each row (example, 1), or its smallest where there are fewer."""
    return values.topk(min(n, values.shape[1]), dim=1).values[:, -1:]


def _at(signal: Tensor, place: Tensor) -> Tensor:
    return signal.gather(1, place)
