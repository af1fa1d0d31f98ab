"""Run `loomsight audit`: show, verify and export the audit log of a device."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.core.counted import counted
from edge.process.console import command_app, configure_logging
from edge.process.terminal import echo

if TYPE_CHECKING:
    from edge.audit.entry import Head
    from edge.audit.verify import Verification

app = command_app("Show, verify and export the audit log: who did what, and when.")

LogArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[LOG]", help="File of the log, or the roll record beside which it is."),
]
ConfigFlag = Annotated[Path | None, typer.Option(help="Settings of edge-run, which name log and records.")]


class ExportForm(str, Enum):
    """Name a form that `export` writes."""

    jsonl = "jsonl"
    csv = "csv"


@app.command()
def show(
    log: LogArgument = None,
    config: ConfigFlag = None,
    last: Annotated[int, typer.Option(min=1, help="Print so many entries, the last ones.")] = 20,
    kind: Annotated[str | None, typer.Option(help="Only entries of this kind, such as verdict.")] = None,
    who: Annotated[str | None, typer.Option(help="Only of whom this is a part of the name.")] = None,
) -> None:
    """Print the last entries: number, time, who, what."""
    configure_logging()
    from edge.audit.tables import last_entries, row_of
    from edge.commands.audit_places import places_of

    for entry in last_entries(places_of(log, config).log, last, kind, who):
        echo(row_of(entry))


@app.command()
def verify(
    log: LogArgument = None,
    config: ConfigFlag = None,
    record: Annotated[
        list[Path] | None, typer.Option(help="Roll record that kept heads of this log; once for each.")
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(metavar="NUMBER:DIGEST", help="Head that a broker, a log or a person kept."),
    ] = None,
) -> None:
    """Find every change, deletion, insertion, exchange and cut, and say at which entry it is."""
    configure_logging()
    from edge.audit.verify import verify_log
    from edge.commands.audit_places import given_heads, places_of
    from edge.core.errors import AuditError

    places = places_of(log, config, record or ())
    anchors: dict[str, list[Head]] = {**places.anchors(), "--head": given_heads(head or ())}
    found = verify_log(places.log, anchors)
    for line in (*found.remarks, *found.problems):
        echo(line)
    if found.problems:
        raise AuditError(
            f"The audit log {places.log} is not what was written: {found.problems[0]}",
            "Keep the files as they are, and compare them with a copy or an export.",
        )
    _echo_sound(places.log, found)


@app.command()
def export(
    log: LogArgument = None,
    config: ConfigFlag = None,
    form: Annotated[
        ExportForm, typer.Option("--format", help="jsonl: the lines as they are; csv: for a spreadsheet.")
    ] = ExportForm.jsonl,
    out: Annotated[Path | None, typer.Option(help="File to write  [default: stdout]")] = None,
) -> None:
    """Write all entries that are there as one file, the oldest first."""
    configure_logging()
    from edge.audit.tables import as_csv, as_json_lines
    from edge.commands.audit_places import places_of
    from edge.core.errors import ConfigError
    from edge.core.files import set_aside, write_whole

    places = places_of(log, config)
    text = {ExportForm.jsonl: as_json_lines, ExportForm.csv: as_csv}[form](places.log)
    if out is None:
        sys.stdout.write(text)
        return
    if out.resolve() in places.files():
        raise ConfigError(f"{out} is in the way of {places.log}.", "Name another file.")
    set_aside(out)
    write_whole(out, text.encode("ascii"))
    sys.stderr.write(f"{out}\n")


def _echo_sound(log: Path, found: Verification) -> None:
    kept = (
        f"{counted(found.anchors, 'head')} kept elsewhere found in it"
        if found.anchors
        else "no head kept elsewhere was compared: add --record or --head to find an end that was cut off"
    )
    entries = counted(found.entries, "entry", "entries")
    echo(f"{log}: {entries}, none changed, missing, inserted or moved; {kept}")
    echo(f"head {found.head}")
