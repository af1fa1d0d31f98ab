"""Run the `review` command: serve a local page on which a person decides about pseudo-labels."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from distill.commands.options import TaxonomyFlag, VerboseFlag, new_app, say_problems
from edge.core.counted import counted, of_all
from edge.core.errors import DatasetError
from edge.core.taxonomy import load_taxonomy
from edge.process.console import configure_logging, run_command
from edge.process.interruption import stopped_by_signals
from edge.process.terminal import echo

if TYPE_CHECKING:
    from socket import socket

    from distill.labels.review.log import ReviewLog
    from distill.labels.review.session import Session
    from edge.core.taxonomy import Taxonomy

app = new_app()


@app.command()
def review(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Data set folder with data.yaml.")],
    teacher: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Florence-2 to ask: hub id or folder.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    host_name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Further name of this device in a browser; may be repeated."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    taxonomy: TaxonomyFlag = None,
    verbose: VerboseFlag = False,
) -> None:
    """Accept, reject, relabel, redraw and add regions on a local page, the hardest first.

    Each decision goes to FOLDER/reviews.jsonl and to the label file of its image at once; the COCO files
    and the manifest follow on Finish and on Ctrl-C.
    """
    configure_logging(verbose)
    if not (folder / "data.yaml").is_file():
        raise DatasetError(f"{folder} holds no data.yaml.", "Name a data set folder (docs/labels.md).")

    from distill.labels.review.log import ReviewLog
    from edge.web.address import bound_socket

    names = load_taxonomy(taxonomy)
    stop = threading.Event()
    with bound_socket(host, port) as bound, ReviewLog(folder) as log, stopped_by_signals(stop):
        _review(
            log, bound, names, ReviewOptions(folder, host, tuple(host_name or ()), teacher, open_), stop
        )


class ReviewOptions(NamedTuple):
    """Hold the options of the command line."""

    folder: Path
    host: str
    host_names: tuple[str, ...]
    teacher: str | None
    opens_browser: bool


def _review(
    log: ReviewLog, bound: socket, taxonomy: Taxonomy, options: ReviewOptions, stop: threading.Event
) -> None:
    """Serve the page until it is stopped, then bring the files up to date."""
    from distill.labels.review.session import Session

    session = Session(options.folder, log, taxonomy)
    say_problems(session.problems)

    from distill.labels.review.questions import Panel, load_florence

    florence = load_florence(options.teacher, taxonomy) if options.teacher else None

    from distill.labels.review.page import web_app
    from edge.web.serving import WebServer

    app = web_app(session, Panel(session, florence), options.host, options.host_names)
    before = len(log.decisions)
    try:
        with WebServer(app, bound, "page"):
            _say_ready(session, bound, options)
            stop.wait()
    finally:
        session.finish()
    count = len(log.decisions) - before
    plural = "" if count == 1 else "s"
    echo(f"{count} decision{plural}; the files of {options.folder} are up to date")


def _say_ready(session: Session, bound: socket, options: ReviewOptions) -> None:
    from edge.web.address import Address

    bound_to = Address(options.host, bound.getsockname()[1])
    address = bound_to.url(bound_to.port)
    waiting, images = session.count("queued"), len(session.order("all"))
    where = f"in {of_all(len(session.order('queued')), images, 'image')}"
    wait = "waits" if waiting == 1 else "wait"
    some = f"{counted(waiting, 'region')} {wait} {where}"
    echo(some if waiting else f"nothing waits in {counted(images, 'image')}")
    echo(f"{address}  (Ctrl-C ends the review)")
    if not bound_to.is_local:
        echo("warning: there is no password: whoever reaches this address can decide", err=True)
    sys.stdout.flush()
    if options.opens_browser:
        typer.launch(address)


if __name__ == "__main__":
    run_command(app)
