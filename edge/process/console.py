"""Wrap every command: errors become one line and an exit code, logs go to stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn

import typer

from edge import __version__
from edge.core.errors import INTERRUPTED_EXIT_CODE, ConfigError, LoomsightError, OutputError
from edge.process.camera_log import FORMAT, name_camera
from edge.process.interruption import Interrupted, raised_by_signals
from edge.process.last_resort import internal_error, wants_traceback
from edge.process.packages import missing_package
from edge.process.terminal import PlainFormatter, have_standard_streams, printable, say, silence

MOST_FOLDERS: Final = 255
"""Python makes the folders of a path by calling itself for each."""


def command_app(help_text: str | None = None) -> typer.Typer:
    """Return an application without commands yet; one of several commands has a text of its own."""
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        no_args_is_help=help_text is not None,
        help=help_text,
    )


def run_command(command: Callable[[], object]) -> NoReturn:
    """Run a command's Typer application and leave with its exit code.

    Args:
        command: the application; it gets its arguments from `sys.argv`.
    """
    # ONNX Runtime 1.31 keeps a device id and a database in the home folder unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    have_standard_streams()
    try:
        with raised_by_signals():
            _run_to_its_end(command)
    except Interrupted as ending:
        say("interrupted" if ending.exit_code == INTERRUPTED_EXIT_CODE else f"ended by {ending}")
        sys.exit(ending.exit_code)
    except LoomsightError as error:
        _leave(error)
    except ImportError as error:
        _leave(missing_package(error))
    except BrokenPipeError:
        # The reader of stdout went away (`... | head`): not worth a word, but Python would print one.
        silence(sys.stdout)
        sys.exit(1)
    except OSError as error:
        where = f": {error.filename!r}" if error.filename is not None else ""
        what = f"{error.strerror or error}{where}."
        _leave(OutputError(what, "Check the path, its permissions and the free space."))
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(INTERRUPTED_EXIT_CODE)
    except Exception as error:
        if wants_traceback(os.environ):
            raise
        _leave(internal_error(error))
    sys.exit(0)


def configure_logging(verbose: bool = False) -> None:
    """Send log records to stderr, one line each: changes of state, or with `verbose` every frame."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter(FORMAT))
    handler.addFilter(name_camera)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)


def wants_version(words: Sequence[str]) -> bool:
    """Tell whether a command line asks for the version, as every command and subcommand can be asked."""
    options = words[: words.index("--")] if "--" in words else words
    return "--version" in options


def _run_to_its_end(command: Callable[[], object]) -> None:
    """Run a command, and see that what it printed has arrived: a full disk must not pass for success.

    Raises:
        ConfigError: if a path is so deep that nobody can mean it.
        OutputError: if stdout cannot be written.
    """
    if any(word.count("/") > MOST_FOLDERS for word in sys.argv[1:]):
        raise ConfigError(f"A path has more than {MOST_FOLDERS} folders.", "Name a shorter one.")
    try:
        if wants_version(sys.argv[1:]):
            print(f"loomsight {__version__}")
        else:
            command()
    except BaseException as error:
        if not isinstance(error, SystemExit) or error.code:  # it has failed: that is what there is to say
            with suppress(OutputError, OSError):
                _flush_stdout()
            raise
        _flush_stdout()
        raise
    _flush_stdout()


def _flush_stdout() -> None:
    """Write what waits; what cannot be written is given up, or Python would complain of it at its end.

    Raises:
        BrokenPipeError: if the reader went away.
        OutputError: if it cannot be written.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        silence(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError(
            f"The result cannot be printed: {error.strerror or error}.",
            "Check where stdout leads, and the free space there.",
        ) from error


def _leave(error: LoomsightError) -> NoReturn:
    say(f"error: {printable(str(error))}")
    sys.exit(error.exit_code)
