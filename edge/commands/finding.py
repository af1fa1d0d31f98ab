"""Hold one finding about a device, and print findings so that they can be pasted into a ticket."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich.console import Console

from edge.core.address import redact_credentials
from edge.process.terminal import as_cell

Verdict = Literal["ok", "lacking", "broken"]

COLOURS: Final[dict[Verdict, str]] = {"ok": "green", "lacking": "yellow", "broken": "red"}

ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


@dataclass(frozen=True, slots=True)
class DeviceFinding:
    """Report one finding about the device.

    Attributes:
        verdict: `broken` keeps edge-run from working, `lacking` only limits it.
        cure: what to do; empty where nothing is to be done.
    """

    name: str
    verdict: Verdict
    detail: str
    cure: str = ""

    def without_secrets(self) -> DeviceFinding:
        """Return it with the credentials in addresses hidden: findings are pasted into tickets."""
        detail, cure = (
            ADDRESS.sub(lambda found: redact_credentials(found[0]), text)
            for text in (self.detail, self.cure)
        )
        return DeviceFinding(self.name, self.verdict, detail, cure)


def print_findings(findings: Sequence[DeviceFinding], console: Console) -> None:
    """Print a line for each, and one below it where there is something to do; nothing is ever cut."""
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        verdict = f"[{COLOURS[finding.verdict]}]{finding.verdict:<7}[/]"
        lines = finding.detail.splitlines() or [""]
        console.print(f"{verdict}  {finding.name:<{width}}  {as_cell(lines[0])}", soft_wrap=True)
        for line in (*lines[1:], *((f"-> {finding.cure}",) if finding.cure else ())):
            console.print(f"{'':<7}  {'':<{width}}  {as_cell(line)}", soft_wrap=True)
