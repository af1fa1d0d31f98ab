"""What is not tested here, and how to bring it: in CI a skip is a failure, but for lack of hardware.

`CI=true` in the environment makes it so. Elsewhere the end of the run says what was left out, and the one
command that brings it.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

FOR_HARDWARE = ("GPU", "CUDA")
"""A reason that names one of these is for lack of hardware."""

TOOLS_COMMAND = "sudo make test-tools && make peers"


def is_for_hardware(reason: str) -> bool:
    """Tell whether a test was skipped because of a device that this machine lacks, or has."""
    return any(word in reason for word in FOR_HARDWARE)


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test, or all tests of a file, were skipped."""
    place = report.longrepr
    text = str(place[2]) if isinstance(place, tuple) else str(place)
    return text.removeprefix("Skipped: ")


def _failed_if_no_hardware(report: Any) -> Any:
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = reason_of(report)
        if not is_for_hardware(reason):
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid} was skipped, which in CI only hardware may cause: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Turn a skipped test into a failed one, where that is asked for."""
    return _failed_if_no_hardware((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """Turn a file that was skipped as a whole into a failed one, where that is asked for."""
    return _failed_if_no_hardware((yield))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was not tested, and what brings it."""
    skipped = Counter(map(reason_of, terminalreporter.stats.get("skipped", ())))
    lacking = {reason: count for reason, count in skipped.items() if not is_for_hardware(reason)}
    if skipped:
        terminalreporter.section("not tested here")
    for reason, count in sorted(skipped.items()):
        terminalreporter.write_line(f"{count:4d}  {reason}")
    if lacking:
        terminalreporter.write_line(f"All but what needs hardware is tested after: {TOOLS_COMMAND}")
