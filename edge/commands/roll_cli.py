"""Run `loomsight roll`: list, show, report and export rolls, and begin the next."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edge.commands.flags import RollHeaderFlag
from edge.process.console import command_app, configure_logging

app = command_app(
    "List, show, report and export the rolls that edge-run --roll-record keeps, and begin the next."
)

RecordArgument = Annotated[Path, typer.Argument(help="File of edge-run --roll-record.", metavar="RECORD")]
RecordsArgument = Annotated[
    list[Path],
    typer.Argument(
        help="File of edge-run --roll-record; of cameras beside each other one of each.",
        metavar="RECORD...",
    ),
]
RollFlag = Annotated[
    str | None, typer.Option(help="Name of the roll, or the start of its id  [default: the last one]")
]
PieceLengthFlag = Annotated[
    float | None,
    typer.Option(
        min=0.01, help="Shortest piece when suggesting where to cut, metres  [default: the buyer's, or 25]"
    ),
]
PiecePointsFlag = Annotated[
    float | None,
    typer.Option(
        min=0, help="Most points per 100 m² of a piece  [default: the buyer's, or the best grade's limit]"
    ),
]
BuyerFlag = Annotated[
    str | None, typer.Option(metavar="NAME", help="Grade and cut by the rules of this buyer in --config.")
]
ConfigFlag = Annotated[Path | None, typer.Option(help="Settings as TOML, with the tables [buyers.NAME].")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class ExportForm(str, Enum):
    """Name a form that `export` writes."""

    csv = "csv"
    json = "json"
    jsonl = "jsonl"


@app.command("list")
def list_rolls(record: RecordArgument, as_json: JsonFlag = False) -> None:
    """Print the rolls of a record, the first one first."""
    configure_logging()
    from edge.roll.reading import read_rolls
    from edge.roll.tables import print_rolls

    print_rolls([roll.facts() for roll in read_rolls(record)], as_json)


@app.command()
def show(
    records: RecordsArgument,
    roll: RollFlag = None,
    as_json: JsonFlag = False,
    buyer: BuyerFlag = None,
    config: ConfigFlag = None,
) -> None:
    """Print one roll: grade, coverage, gaps and defects."""
    configure_logging()
    from edge.roll.buyers import for_buyer
    from edge.roll.side_by_side import read_roll_beside
    from edge.roll.tables import print_roll

    print_roll(for_buyer(read_roll_beside(records, roll), buyer, config), as_json)


@app.command()
def lot(
    record: RecordArgument,
    rolls: Annotated[list[str], typer.Argument(help="Rolls of the lot, as for --roll.", metavar="ROLL...")],
    buyer: Annotated[
        str, typer.Option(metavar="NAME", help="Grade by the rules of this buyer in --config.")
    ],
    config: ConfigFlag = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(metavar="RECORD", help="Record of a camera beside the first; once for each."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Grade rolls as one lot, by the rules of a buyer.

    Prints the points of each roll and of the lot, and whether the buyer accepts them.
    """
    configure_logging()
    from edge.roll.lot import read_lot
    from edge.roll.tables import print_lot

    print_lot(read_lot([record, *(beside or ())], rolls, buyer, config), as_json)


@app.command()
def report(
    records: RecordsArgument,
    out: Annotated[Path, typer.Option(help="HTML page to write; an earlier one is set aside.")],
    roll: RollFlag = None,
    pdf: Annotated[Path | None, typer.Option(help="Print the page to PDF, too; needs Chromium.")] = None,
    piece_m: PieceLengthFlag = None,
    piece_points: PiecePointsFlag = None,
    roll_header: RollHeaderFlag = None,
    buyer: BuyerFlag = None,
    config: ConfigFlag = None,
) -> None:
    """Write a printable report of one roll for its buyer.

    What --roll-header gives is kept with the roll.
    """
    configure_logging()
    from edge.roll.buyers import for_buyer
    from edge.roll.cuts import PieceRequest
    from edge.roll.headed import with_header
    from edge.roll.pdf import find_browser, pdf_of
    from edge.roll.report import report_page
    from edge.roll.side_by_side import read_roll_beside
    from edge.roll.small_images import small_images_of

    graded = for_buyer(read_roll_beside(records, roll), buyer, config)
    found = with_header(records, graded, roll_header or ())
    small_images = small_images_of(records, found.head["roll_id"])
    page = report_page(found, PieceRequest(piece_m, piece_points), small_images=small_images)
    _write(out, page.encode(), *records, pdf)
    if pdf is not None:
        _write(pdf, pdf_of(page, find_browser()), *records)


@app.command()
def export(
    records: RecordsArgument,
    roll: RollFlag = None,
    form: Annotated[
        ExportForm,
        typer.Option(
            "--format",
            help="csv: the defects; json: all of the report; jsonl: a line for each defect, gap and event.",
        ),
    ] = ExportForm.csv,
    out: Annotated[Path | None, typer.Option(help="File to write  [default: stdout]")] = None,
    piece_m: PieceLengthFlag = None,
    piece_points: PiecePointsFlag = None,
    buyer: BuyerFlag = None,
    config: ConfigFlag = None,
) -> None:
    """Write the report of one roll for other programs, as CSV or JSON."""
    configure_logging()
    from edge.roll.buyers import for_buyer
    from edge.roll.compose import document_of
    from edge.roll.cuts import PieceRequest
    from edge.roll.export import as_csv, as_json, as_json_lines
    from edge.roll.side_by_side import read_roll_beside

    write = {ExportForm.csv: as_csv, ExportForm.json: as_json, ExportForm.jsonl: as_json_lines}[form]
    found = for_buyer(read_roll_beside(records, roll), buyer, config)
    text = write(document_of(found, PieceRequest(piece_m, piece_points)))
    if out is None:
        sys.stdout.write(text)
    else:
        _write(out, text.encode(), *records)


@app.command("import")
def import_map(
    file: Annotated[Path, typer.Argument(help="Document that `roll export --format json` wrote.")],
    record: Annotated[Path, typer.Option(help="SQLite file to write it into; made if it is not there.")],
    behind: Annotated[
        str | None, typer.Option(metavar="ROLL", help="Join it to this roll, as its next part.")
    ] = None,
) -> None:
    """Read the document of a roll into a record; one that is there already is left alone."""
    configure_logging()
    from edge.roll.importing import import_roll
    from edge.roll.roll_map import read_map

    done = import_roll(record, read_map(file), behind)
    what = f"{done.defects} defects, grade {done.grade or 'not known'}"
    sys.stdout.write(f"{done.name}: {what if done.is_new else 'the record has it already'}\n")


@app.command("next")
def next_roll(
    record: RecordArgument,
    roll: Annotated[str | None, typer.Option(help="Name of the new roll  [default: of the time]")] = None,
    article: Annotated[
        str | None, typer.Option(help="Article of its cloth  [default: that of the roll before]")
    ] = None,
) -> None:
    """End the roll that a running edge-run is writing here, and begin the next."""
    configure_logging()
    from edge.roll.requests import ask_next_roll

    answer = ask_next_roll(record, roll, article)
    sys.stdout.write(f"{answer['name']}\n")


def _write(path: Path, data: bytes, *others: Path | None) -> None:
    """Write a file whole; an earlier one of that name is set aside, the record and other outputs never are.

    Raises:
        ConfigError: if the path is one of the others, or belongs to the record.
        OutputError: if it cannot be written.
    """
    from edge.core.errors import ConfigError
    from edge.core.files import set_aside, write_whole
    from edge.roll.database import belongs_to

    for other in others:
        if other is not None and belongs_to(path, other):
            raise ConfigError(f"{path} is in the way of {other}.", "Give each a place of its own.")
    set_aside(path)
    write_whole(path, data)
    sys.stderr.write(f"{path}\n")
