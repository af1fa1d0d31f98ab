"""What every command does around its work: errors become one line and an exit code, logs go to stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from edge.errors import INTERRUPTED_EXIT_CODE, LoomsightError, MissingPackageError, OutputError


def run_command(command: Callable[[], object]) -> NoReturn:
    """Run a command's Typer application and leave with its exit code.

    Args:
        command: the application; it gets its arguments from `sys.argv`.
    """
    try:
        command()
    except LoomsightError as error:
        _leave(error)
    except ImportError as error:
        _leave(_missing_package(error))
    except BrokenPipeError:
        # The reader of stdout went away (`... | head`): not worth a word, but Python would print one.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _leave(OutputError(f"{error}.", "Check the path, its permissions and the free space."))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED_EXIT_CODE)
    sys.exit(0)


def configure_logging(verbose: bool = False) -> None:
    """Send log records to stderr, one line each: changes of state, or with `verbose` every frame."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )


def _leave(error: LoomsightError) -> NoReturn:
    sys.stderr.write(f"error: {error}\n")
    sys.exit(error.exit_code)


def _missing_package(error: ImportError) -> MissingPackageError:
    library = next((name for name in ("libGL", "libgthread", "libglib") if name in str(error)), None)
    if library:
        return MissingPackageError(
            f"OpenCV cannot start: this system lacks {library}.",
            "Run `apt-get install libgl1 libglib2.0-0`, or `pip install --force-reinstall "
            "opencv-python-headless` into this environment.",
        )
    package = (error.name or str(error)).split(".")[0]
    return MissingPackageError(f"The package '{package}' is not installed.", _cure(package))


def _cure(package: str) -> str:
    extras = {
        "workbench": ("torch", "torchvision", "ultralytics", "onnx", "onnxslim", "transformers", "peft"),
        "tensorrt": ("tensorrt", "pycuda"),
        "openvino": ("openvino",),
        "basler": ("pypylon",),
    }
    for extra, packages in extras.items():
        if package in packages:
            return (
                f"Install it: `pip install 'loomsight[{extra}]'`, or in a clone `uv sync --extra {extra}`."
            )
    return f"Install it with `pip install {package}`."
