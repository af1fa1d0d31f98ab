"""Commands that packages announce as entry points, from real packages in a folder."""

from __future__ import annotations

import subprocess

from edge.core.errors import MissingPackageError
from tests.processes import program


def package(folder, name, source, value):
    """Write a package and its metadata, as an installer does."""
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[loomsight.commands]\n{name} = {value}\n")


def loomsight(folder, *arguments):
    command = program(*arguments, before=f"import sys; sys.path.append({str(folder)!r}); ")
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_package_brings_a_command_that_is_listed_and_run_with_its_arguments(tmp_path):
    source = (
        "import sys\n"
        "COMMANDS = {'weigh': ('weighing:weigh', 'weigh a roll')}\n"
        "def weigh():\n"
        "    print(sys.argv)\n"
    )
    package(tmp_path, "weighing", source, "weighing:COMMANDS")
    assert "  weigh        weigh a roll\n" in loomsight(tmp_path, "--help").stdout
    done = loomsight(tmp_path, "weigh", "--roll", "7")
    assert (done.returncode, done.stdout) == (0, "['loomsight weigh', '--roll', '7']\n")


def test_a_package_that_does_not_load_is_said_and_hides_no_other_command(tmp_path):
    package(tmp_path, "torn", "import nowhere_to_be_found", "torn:COMMANDS")
    done = loomsight(tmp_path, "--help")
    assert done.returncode == 0
    assert "  distill  " in done.stdout
    assert (
        done.stderr == "The commands of torn:COMMANDS are skipped: No module named 'nowhere_to_be_found'.\n"
    )


def test_the_commands_of_the_workbench_are_listed_where_its_packages_are_missing():
    missing = "import sys; sys.modules.update(dict.fromkeys(['torch', 'ultralytics', 'onnx', 'yaml'])); "
    missing += "sys.argv = ['loomsight', *sys.argv[1:]]; "
    listed, tried = (
        subprocess.run(program(*words, before=missing), capture_output=True, text=True, check=False)
        for words in (["--help"], ["distill", "nowhere", "--out", "never"])
    )
    assert all(f"\n  {name} " in listed.stdout for name in ("labels", "distill", "prune", "export"))
    assert tried.returncode == MissingPackageError.exit_code
    assert tried.stderr.startswith("error: The package 'torch' is not installed. Install it: `")
