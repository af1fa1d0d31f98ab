"""Train epoch by epoch, so that what is interrupted goes on later as if it had not been."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from torch import nn

from distill.core.processes import Processes
from distill.training.training_run import TrainingState
from edge.process.interruption import stopped_by_signals


def run_epochs(
    state: TrainingState,
    module: nn.Module,
    processes: Processes,
    *,
    is_over: Callable[[], bool],
    train_epoch: Callable[[threading.Event], bool],
    finish_epoch: Callable[[float], None],
    save: Callable[[], None],
) -> bool:
    """Train until it is over, or a signal asks to stop.

    Args:
        state: how far the training is; all processes go on from that of the first.
        module: what learns; all processes begin each epoch with that of the first.
        is_over: whether no epoch is left.
        train_epoch: trains the rest of an epoch; False if the event that it is given stopped it.
        finish_epoch: measures and saves an epoch, given when it started (`time.monotonic`).
        save: keeps an epoch that was stopped. Both are called by the first process alone.
    Returns:
        False if a signal stopped it: it can be resumed.
    """
    stop = threading.Event()
    with stopped_by_signals(stop):
        while not is_over():
            started = time.monotonic()
            processes.copy_from_first(module)
            if not train_epoch(stop):
                state.elapsed_s += time.monotonic() - started
                if processes.is_first:
                    save()
                return False
            if processes.is_first:
                finish_epoch(started)
            state.take(processes.from_first(state))
    return True
