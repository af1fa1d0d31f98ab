"""Report how far an engine build is, from the phases that TensorRT names, and end it early if asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Observe = Callable[[float, str], None]
"""Gets the fraction that is done, 0..1, never falling, and the name of the current phase."""


@dataclass
class _Phase:
    steps: int
    parent: str | None
    done: int = 0


@dataclass
class Phases:
    """Add up the phases of a build. TensorRT calls from several threads; the lock is here.

    A phase's step counts whole once it is complete; the phases within the current step count as part of it.
    """

    observe: Observe
    _open: dict[str, _Phase] = field(default_factory=dict)
    _most: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Take note of a phase."""
        with self._lock:
            self._open[name] = _Phase(max(steps, 1), parent)
            self._tell(name)

    def step(self, name: str, step: int) -> None:
        """Take note that a step, counted from 0, is complete."""
        with self._lock:
            if name in self._open:
                phase = self._open[name]
                phase.done = min(max(phase.done, step + 1), phase.steps)
            self._tell(name)

    def finish(self, name: str) -> None:
        """Take note of the end of a phase."""
        with self._lock:
            phase = self._open.pop(name, None)
            if phase is not None and phase.parent is None:
                self._most = 1.0
            self._tell(name)

    def _tell(self, name: str) -> None:
        roots = [root for root, phase in self._open.items() if phase.parent not in self._open]
        fraction = min((self._fraction(root) for root in roots), default=self._most)
        self._most = max(self._most, fraction)
        self.observe(self._most, name)

    def _fraction(self, name: str) -> float:
        phase = self._open[name]
        inner = [self._fraction(child) for child, other in self._open.items() if other.parent == name]
        return min(1.0, (phase.done + min(inner, default=0.0)) / phase.steps)


def progress_monitor(trt: Any, phases: Phases, is_stopped: Callable[[], bool]) -> Any:
    """Make the object TensorRT reports to; once `is_stopped` it tells TensorRT to give up.

    Args:
        trt: the library's module: its base class is known only now.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            return not is_stopped()

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
