"""What every command does around its work: errors become one line and an exit code, logs go to stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from edge.camera_log import FORMAT, name_camera
from edge.errors import INTERRUPTED_EXIT_CODE, LoomsightError, MissingPackageError, OutputError

ROOT: Final = Path(__file__).resolve().parents[1]
REPAIR_CLONE: Final = "touch uv.lock && make demo"
REPAIR_WORKBENCH: Final = "touch uv.lock && make workbench"
"""A newer uv.lock lets make look again at what is installed."""

OWN_MODULES: Final = ("edge", "distill", "export")
EXTRAS: Final = {
    "workbench": (
        "torch", "torchvision", "ultralytics", "torch_pruning", "transformers", "peft", "onnx", "onnxslim",
        "yaml",
        "ensemble_boxes",
        "gradio",
        "matplotlib",
        "ray",
        "scipy",
    ),
    "tensorrt": ("tensorrt", "pycuda"),
    "rtx": ("tensorrt_rtx",),
    "openvino": ("openvino",),
    "basler": ("pypylon",),
    "mill": ("paho", "pymodbus", "prometheus_client", "starlette", "uvicorn"),
    "gpio": ("gpiod",),
}  # fmt: skip
DISTRIBUTIONS: Final = {
    "cv2": "opencv-python",
    "PIL": "pillow",
    "ensemble_boxes": "ensemble-boxes",
    "paho": "paho-mqtt",
    "prometheus_client": "prometheus-client",
    "tensorrt_rtx": "tensorrt-rtx",
    "torch_pruning": "torch-pruning",
    "typing_extensions": "typing-extensions",
    "yaml": "pyyaml",
}
"""Where a module's package has another name."""


def run_command(command: Callable[[], object]) -> NoReturn:
    """Run a command's Typer application and leave with its exit code.

    Args:
        command: the application; it gets its arguments from `sys.argv`.
    """
    # ONNX Runtime 1.31 keeps a device id and a database in the home folder unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
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
        format=FORMAT,
        stream=sys.stderr,
        force=True,
    )
    for handler in logging.root.handlers:
        handler.addFilter(name_camera)


def _leave(error: LoomsightError) -> NoReturn:
    sys.stderr.write(f"error: {error}\n")
    sys.exit(error.exit_code)


def _missing_package(error: ImportError) -> MissingPackageError:
    library = next((name for name in ("libGL", "libgthread", "libglib") if name in str(error)), None)
    if library:
        headless = "pip install --force-reinstall opencv-python-headless"
        return MissingPackageError(
            f"OpenCV cannot start: this system lacks {library}.",
            f"Run `apt-get install libgl1 libglib2.0-0`, or `{REPAIR_CLONE if _in_clone() else headless}`.",
        )
    module = (error.name or "").split(".")[0]
    if not isinstance(error, ModuleNotFoundError) or module in OWN_MODULES:
        return MissingPackageError(
            f"A package cannot be loaded: {error}.", f"{_again(module)} Report it if that does not help."
        )
    distribution = DISTRIBUTIONS.get(module, module)
    called = f"'{distribution}'" + (f" (module {module})" if distribution != module else "")
    return MissingPackageError(f"The package {called} is not installed.", _cure(module, distribution))


def _cure(module: str, distribution: str) -> str:
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    if extra is None:
        command = REPAIR_CLONE if _in_clone() else f"pip install {distribution}"
    elif not _in_clone():
        command = f"pip install 'loomsight[{extra}]'"
    else:
        command = REPAIR_WORKBENCH if extra == "workbench" else f"uv sync --inexact --extra {extra}"
    return f"Install it: `{command}`."


def _again(module: str) -> str:
    """Say how to install anew what is there but does not load."""
    distribution = "loomsight" if module in OWN_MODULES else DISTRIBUTIONS.get(module, module)
    if _in_clone() or not distribution:
        return f"In a clone run `{REPAIR_CLONE}`, elsewhere install loomsight anew."
    return f"Run `pip install --force-reinstall {distribution}`."


def _in_clone() -> bool:
    """Tell whether this package runs from a clone, whose Makefile keeps the environment."""
    return (ROOT / "Makefile").is_file() and (ROOT / "uv.lock").is_file()
