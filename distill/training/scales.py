"""Penalise and draw the scales of batch normalisation: it makes channels easy to prune."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from distill.core.figures import count_epochs, new_figure, shades
from edge.core.palette import INK, ORANGE, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST_SCALE = 2.0
"""Scales begin at 1; larger ones than this are counted in the last bin."""

BINS = 80
FRACTIONS = (0.1, 0.5, 0.9)
"""Which quantiles are drawn into the histogram."""


def scales(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the scale of every batch normalisation: each stands behind a convolution that can be cut."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            yield layer.weight


def add_penalty(module: nn.Module, strength: float) -> None:
    """Add the gradient of `strength` x |scale| to the gradient that each scale has.

    To be called between unscaling and the optimizer's step: a penalty added to gradients that are still
    multiplied by a `GradScaler` would be divided away. And after clipping: the limit is there for losses
    that burst, while this is bounded by itself; clipped with them, it would fade whenever a batch is hard.
    """
    for scale in scales(module):
        if scale.grad is not None:
            scale.grad.add_(scale.detach().sign(), alpha=strength)


def scale_figures(module: nn.Module) -> dict[str, Any]:
    """Return what the history keeps of the scales.

    Returns:
        `scale_counts`: how many |scales| lie in each of `BINS` bins from 0 to `LARGEST_SCALE`, larger
        ones in the last; `scale_quantiles`: |scale| below which lie `FRACTIONS` of them.
    """
    sizes = torch.cat([scale.detach().float().abs().flatten() for scale in scales(module)]).cpu()
    counts = torch.histc(sizes.clamp(max=LARGEST_SCALE), BINS, 0.0, LARGEST_SCALE)
    quantiles = torch.quantile(sizes, torch.tensor(FRACTIONS))
    return {"scale_counts": _whole(counts), "scale_quantiles": [round(float(q), 5) for q in quantiles]}


def draw_scales(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the histogram of |scale| over the epochs, from the rows that have one."""
    rows = [row for row in history if "scale_counts" in row]
    counts = np.array([row["scale_counts"] for row in rows], float).reshape(len(rows), BINS)
    epochs = [row["epoch"] + 1 for row in rows]
    figure = new_figure((8, 4.5))
    axes = figure.subplots()
    edges = np.linspace(0, LARGEST_SCALE, BINS + 1)
    columns = np.array([*epochs, epochs[-1] + 1]) - 0.5
    shown = axes.pcolormesh(columns, edges, np.log10(1 + counts.T), cmap=shades())
    figure.colorbar(shown, ax=axes, label="channels, log10(1 + n)")
    quantiles = np.array([row["scale_quantiles"] for row in rows]).T
    for fraction, line, colour in zip(FRACTIONS, quantiles, (INK, VERMILION, ORANGE), strict=True):
        marker = "." if len(rows) < 2 else None
        axes.plot(epochs, line, label=f"{fraction:.0%} lie below", marker=marker, color=colour.hex)
    axes.set(ylabel="|scale| of batch normalisation", ylim=(0, LARGEST_SCALE))
    count_epochs(axes)
    axes.legend(loc="upper right")
    return figure


def _whole(counts: Tensor) -> list[int]:
    return [int(count) for count in counts]
