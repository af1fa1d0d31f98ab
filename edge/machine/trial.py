"""Try out the way to the machine, for the electrician who wires it."""

from __future__ import annotations

import time
from contextlib import closing

from edge.config.machine import MachineSettings
from edge.core.errors import ConfigError, MachineError
from edge.machine.choose import choose_line
from edge.machine.delivery import StopDelivery, StopRequest, StopResult


def probe_machine(settings: MachineSettings) -> str:
    """Look whether the machine can be reached.

    Returns:
        What was found, for a person.
    Raises:
        MachineError: if it cannot be reached.
    """
    line = choose_line(settings)
    with closing(line):
        running, stands = line.probe(), line.stands()
    says = {None: "It does not say whether it runs.", True: "It runs.", False: "It stands."}[running]
    signal = " The signal to stop stands." if stands else ""
    return f"{line.name} answers. {says}{signal}"


def fire_once(settings: MachineSettings, *, is_meant: bool) -> str:
    """Give the signal to stop, with the retries and the release of a run.

    Returns:
        How long it took, for a person.
    Raises:
        ConfigError: if it is not meant, or no machine is set.
        MachineError: if the signal was not delivered, or not taken back.
    """
    line = choose_line(settings)
    if not is_meant:
        raise ConfigError(f"This stops the machine ({line.name}).", "Add --yes if that is meant.")
    with StopDelivery(line, settings) as delivery:
        now_s = time.monotonic()
        delivery.request(StopRequest("test", now_s, now_s))
        delivery.settle()
        results = [one for one in delivery.news() if isinstance(one, StopResult)]
        if settings.release_after_s is not None:
            time.sleep(settings.release_after_s)
    if not results or results[0].acknowledged_s is None:
        problem = results[0].problem if results else f"{line.name} gave no answer"
        raise MachineError(f"The stop was not delivered: {problem}", "Check the wiring and [machine].")
    latency_ms = (results[0].acknowledged_s - now_s) * 1000
    if settings.release_after_s is not None and line.may_stand:
        raise MachineError(
            f"{line.name} acknowledged the stop, and the signal could not be taken back.",
            "Take it back by hand, and check the wiring.",
        )
    left = (
        "the signal stands until somebody takes it back" if line.may_stand else "the signal was taken back"
    )
    return f"{line.name} acknowledged the stop after {latency_ms:.1f} ms; {left}."
