"""Errors become one line with a cure that works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.commands.loomsight import all_commands
from edge.core.errors import OutputError
from edge.process import packages
from edge.process.commands import run_by_name
from edge.process.console import run_command, wants_version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[4]
CLONE = "`touch uv.lock && make demo`"


@pytest.fixture(autouse=True)
def with_uv(monkeypatch):
    monkeypatch.setattr(packages.shutil, "which", {"uv": "/usr/bin/uv"}.get)


def said_about(capsys, error):
    """Return what a command that ends with this error says."""

    def command():
        raise error

    with pytest.raises(SystemExit) as end:
        run_command(command)
    assert end.value.code == getattr(error, "exit_code", 11)
    (line,) = capsys.readouterr().err.splitlines()
    return line


def missing(name):
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("module", "package", "installed", "clone"),
    [
        pytest.param("cv2", "'opencv-python' (module cv2)", "`pip install opencv-python`", CLONE, id="cv2"),
        pytest.param("PIL.Image", "'pillow' (module PIL)", "`pip install pillow`", CLONE, id="PIL"),
        pytest.param("rich.console", "'rich'", "`pip install rich`", CLONE, id="same-name"),
        pytest.param(
            "yaml", "'pyyaml' (module yaml)", "`pip install 'loomsight[workbench]'`",
            "`touch uv.lock && make workbench`", id="yaml",
        ),
        pytest.param(
            "torch", "'torch'", "`pip install 'loomsight[workbench]'`",
            "`touch uv.lock && make workbench`", id="torch",
        ),
        pytest.param(
            "pypylon", "'pypylon'", "`pip install 'loomsight[basler]'`",
            "`uv sync --inexact --extra basler`", id="basler",
        ),
        pytest.param(
            "anyio", "'anyio'", "`pip install 'loomsight[mill]'`",
            "`uv sync --inexact --extra mill`", id="page",
        ),
    ],
)  # fmt: skip
def test_a_missing_module_is_cured_by_its_package(
    capsys, monkeypatch, tmp_path, module, package, installed, clone
):
    assert said_about(capsys, missing(module)) == (
        f"error: The package {package} is not installed. Install it: {clone}."
    )
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    assert f"is not installed. Install it: {installed}." in said_about(capsys, missing(module))


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        pytest.param(missing("edge.gone"), "--force-reinstall loomsight`", id="own-module"),
        pytest.param(
            ImportError("cannot import name 'run' from 'edge.app.run'", name="edge.app.run"),
            "--force-reinstall loomsight`",
            id="own-name",
        ),
        pytest.param(
            ImportError("libcudart.so.12: cannot open shared object file"),
            "Install loomsight again.",
            id="library",
        ),
        pytest.param(
            ImportError("numpy.core.multiarray failed to import", name="cv2"), "opencv-python`", id="cv2"
        ),
    ],
)
def test_what_is_there_but_does_not_load_is_not_called_missing(capsys, monkeypatch, tmp_path, error, cure):
    assert CLONE in said_about(capsys, error)
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    line = said_about(capsys, error)
    assert str(error) in line
    assert cure in line
    assert "not installed" not in line


def test_a_missing_libgl(capsys, monkeypatch, tmp_path):
    error = ImportError("libGL.so.1: cannot open shared object file")
    assert CLONE in said_about(capsys, error)
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    line = said_about(capsys, error)
    assert "apt-get install libgl1" in line
    assert "`pip install --force-reinstall opencv-python-headless`" in line


def test_the_extras_are_those_of_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        extra: {re.split(r"[\[>]", line)[0] for line in lines}
        for extra, lines in project["optional-dependencies"].items()
    }
    assert extras == packages.extras()


@pytest.mark.parametrize(
    ("module", "brought_by"),
    [
        ("openvino", "--extra openvino"),
        ("paho", "--extra mill"),
        ("starlette", "--extra mill"),
        ("asyncua", "--extra opcua"),
        ("pycuda", "--extra tensorrt"),
        ("tensorrt_rtx", "--extra rtx"),
        ("gpiod", "--extra gpio"),
        ("torch", "make workbench"),
        ("torch_pruning", "make workbench"),
        ("yaml", "make workbench"),
        ("cv2", "make demo"),
    ],
)
def test_a_module_is_brought_by_its_extra_or_by_every_installation(module, brought_by):
    assert brought_by in packages.install_module(module)


def test_make_knows_the_targets_that_are_named():
    makefile = (ROOT / "Makefile").read_text()
    assert "WORKBENCH_STAMP := .venv/.workbench" in makefile
    assert "$(WORKBENCH_STAMP): pyproject.toml uv.lock" in makefile
    assert "demo: .venv/.base" in makefile


def test_errors_of_the_family_and_of_the_system(capsys):
    assert said_about(capsys, OutputError("No.", "Do.")) == "error: No. Do."
    error = PermissionError(13, "Permission denied", "x")
    error.exit_code = OutputError.exit_code
    assert "Permission denied: 'x'" in said_about(capsys, error)


@pytest.mark.parametrize("closed", [1, 2], ids=["stdout", "stderr"])
def test_a_reader_that_goes_away_is_not_worth_a_word(closed):
    """Typer handles most of it, but not a usage error that nobody reads on stderr."""
    program = (
        "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, int(sys.argv.pop(1)))\n"
        "from edge.commands.doctor_cli import main; main()"
    )
    arguments = [str(closed), "--help" if closed == 1 else "--no-such-flag"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert not done.stderr


VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.mark.parametrize("words", [["--version"], ["sub", "--version"]], ids=["command", "subcommand"])
@pytest.mark.parametrize("name", sorted(all_commands()))
def test_every_command_and_subcommand_says_its_version(name, words, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [])
    with pytest.raises(SystemExit) as end:
        run_by_name(name, words, all_commands())
    assert end.value.code == 0
    assert capsys.readouterr().out == f"loomsight {VERSION}\n"


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_every_program_says_its_version(script):
    module, _, function = SCRIPTS[script].partition(":")
    program = f"import sys; sys.argv[1:] = ['--version']; from {module} import {function}; {function}()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"loomsight {VERSION}\n"


def test_a_word_behind_two_dashes_is_no_option():
    assert not wants_version(["--", "--version"])
    assert not wants_version([])
