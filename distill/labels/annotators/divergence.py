"""Notice that a loss diverges, and since when."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MEMORY = 0.9
"""Fraction of the running loss that each step keeps: it follows the last ten or so."""


@dataclass(slots=True)
class _Trace:
    running: float
    lowest: float
    rising: int = 0
    began: int = -1


@dataclass
class DivergenceWatch:
    """Compare the running loss of each kind of batch with its lowest.

    Attributes:
        rise: how far above its lowest a running loss is taken to diverge, in nats.
        patience: steps in a row of that kind until it is certain.
    """

    rise: float
    patience: int
    traces: dict[str, _Trace] = field(default_factory=dict)

    def see(self, kind: str, step: int, loss: float) -> int | None:
        """Take in the loss of a step.

        Args:
            kind: what the batch taught; each kind has a loss of its own size.
            step: counted over the run.
            loss: mean over the batch.
        Returns:
            The step at which it began to diverge, once that is certain; else None.
        """
        trace = self.traces.get(kind)
        if not math.isfinite(loss):
            return trace.began if trace and trace.rising else step
        if trace is None:
            self.traces[kind] = _Trace(loss, loss)
            return None
        trace.running += (1 - MEMORY) * (loss - trace.running)
        trace.lowest = min(trace.lowest, trace.running)
        if trace.running <= trace.lowest + self.rise:
            trace.rising, trace.began = 0, -1
            return None
        trace.began = trace.began if trace.rising else step
        trace.rising += 1
        return trace.began if trace.rising >= self.patience else None

    @property
    def is_rising(self) -> bool:
        """Tell whether a loss is above what is allowed, though not yet for long."""
        return any(trace.rising for trace in self.traces.values())

    def state(self) -> dict[str, list[float]]:
        """Return what `restore` needs, as plain numbers."""
        return {
            kind: [trace.running, trace.lowest, trace.rising, trace.began]
            for kind, trace in self.traces.items()
        }

    def restore(self, state: dict[str, list[float]]) -> None:
        """Go on from an earlier state."""
        self.traces = {
            kind: _Trace(running, lowest, int(rising), int(began))
            for kind, (running, lowest, rising, began) in state.items()
        }
