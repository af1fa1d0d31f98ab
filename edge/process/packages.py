"""Name the package that brings a module, and how to install it here: with pip, uv or make."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from edge.core.errors import MissingPackageError

ROOT: Final = Path(__file__).resolve().parents[2]
REPAIR_CLONE: Final = "touch uv.lock && make demo"
REPAIR_WORKBENCH: Final = "touch uv.lock && make workbench"
"""A newer uv.lock lets make look again at what is installed. It fetches uv where there is none."""

OWN_MODULES: Final = ("edge", "distill", "export")
DISTRIBUTIONS: Final = {"cv2": "opencv-python", "PIL": "pillow", "paho": "paho-mqtt", "yaml": "pyyaml"}
"""Where a module's package has another name."""

REQUIREMENT: Final = re.compile(r"(?P<distribution>[\w.-]+).*\bextra *== *['\"](?P<extra>[\w-]+)")
"""What an extra brings, in metadata: `gpiod>=2.1; (sys_platform == 'linux') and extra == 'gpio'`."""


def extras() -> dict[str, set[str]]:
    """Return which distributions each extra of this installation brings, in the order of their names."""
    from importlib.metadata import PackageNotFoundError, requires  # takes time, and few commands need it

    try:
        requirements = requires("loomsight") or []
    except PackageNotFoundError:
        return {}
    found: dict[str, set[str]] = {}
    for match in filter(None, map(REQUIREMENT.match, requirements)):
        found.setdefault(match["extra"], set()).add(match["distribution"])
    return dict(sorted(found.items()))


def install_extra(extra: str) -> str:
    """Return the command that installs an extra of this project."""
    if not _in_clone():
        return f"pip install 'loomsight[{extra}]'"
    if extra == "workbench":
        return REPAIR_WORKBENCH
    uv = _uv()
    return f"pip install -e '.[{extra}]'" if uv is None else f"{uv} sync --inexact --extra {extra}"


def install_package(requirement: str) -> str:
    """Return the command that installs what no extra of this project brings."""
    quoted = f"'{requirement}'" if "[" in requirement else requirement
    return f"{_pip()} install {quoted}"


def install_again(distribution: str) -> str:
    """Return the command that replaces a package which is there but does not load."""
    option = "--reinstall" if _pip() != "pip" else "--force-reinstall"
    return f"{_pip()} install {option} {distribution}"


def repair(distribution: str) -> str:
    """Return the command that brings a package which every installation has."""
    return REPAIR_CLONE if _in_clone() else f"pip install {distribution}"


def install_module(module: str) -> str:
    """Return the command that brings a module: its extra, or the package that every installation has."""
    wanted = distribution_of(module)
    extra = next((extra for extra, distributions in extras().items() if wanted in distributions), None)
    return repair(wanted) if extra is None else install_extra(extra)


def headless_opencv() -> str:
    """Say how the libraries of OpenCV come to a system without a desktop."""
    command = REPAIR_CLONE if _in_clone() else install_again("opencv-python-headless")
    return f"Run `apt-get install libgl1 libglib2.0-0`, or `{command}`."


def missing_package(error: ImportError) -> MissingPackageError:
    """Return what a failed import is to a user, with the cure."""
    library = next((name for name in ("libGL", "libgthread", "libglib") if name in str(error)), None)
    if library:
        return MissingPackageError(f"OpenCV cannot start: this system lacks {library}.", headless_opencv())
    module = (error.name or "").split(".")[0]
    if not isinstance(error, ModuleNotFoundError) or module in OWN_MODULES:
        return MissingPackageError(
            f"A package cannot be loaded: {error}.", f"{_again(module)} Report it if that does not help."
        )
    distribution = distribution_of(module)
    called = f"'{distribution}'" + (f" (module {module})" if distribution != module else "")
    return MissingPackageError(
        f"The package {called} is not installed.", f"Install it: `{install_module(module)}`."
    )


def distribution_of(module: str) -> str:
    """Return the name of the package that brings a module."""
    return DISTRIBUTIONS.get(module, module.replace("_", "-"))


def _again(module: str) -> str:
    """Say how to install again what is there but does not load."""
    distribution = "loomsight" if module in OWN_MODULES else distribution_of(module)
    if _in_clone():
        return f"Run `{REPAIR_CLONE}`."
    if not distribution:
        return "Install loomsight again."
    return f"Run `{install_again(distribution)}`."


def _in_clone() -> bool:
    """Tell whether this package runs from a clone, whose Makefile keeps the environment."""
    return (ROOT / "Makefile").is_file() and (ROOT / "uv.lock").is_file()


def _uv() -> str | None:
    """Return what starts uv in the clone; None if there is none."""
    if shutil.which("uv"):
        return "uv"
    return ".uv/bin/uv" if (ROOT / ".uv/bin/uv").is_file() else None


def _pip() -> str:
    """Return what installs packages here: the environment of a clone that uv made has no pip."""
    uv = _uv() if _in_clone() else None
    return "pip" if uv is None else f"{uv} pip"
