"""The last resort of every command, and streams that are closed, full or of few letters."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from edge.process.console import run_command
from edge.process.terminal import printable

LOOM = ["--camera", "loom:seed=2,length_m=0.2,width_px=384", "--threads", "1"]


def failing():
    raise ZeroDivisionError("by zero\x1b[31m")


def program(*words):
    return [sys.executable, "-c", f"from edge.commands.{words[0]}_cli import main; main()", *words[1:]]


def run(command, shell_tail="", **environment):
    """Run a command through a shell, so that its streams can be closed, and return what came out."""
    line = shlex.join(command)
    return subprocess.run(
        ["sh", "-c", f"{line} {shell_tail}"],
        capture_output=True,
        env={**os.environ, **environment},
        timeout=300,
    )


def test_an_unforeseen_error_is_one_line_with_code_70_and_its_traceback_is_kept(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.delenv("LOOMSIGHT_TRACEBACK")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            run_command(failing)
        assert end.value.code == 70
    (kept,) = (tmp_path / "loomsight").iterdir()  # the same fault writes the same file
    assert 'raise ZeroDivisionError("by zero' in kept.read_text(encoding="utf-8")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert "ZeroDivisionError: by zero\\x1b[31m" in lines[0]
    assert str(kept) in lines[0]


def test_where_no_folder_can_be_written_the_line_says_how_to_see_the_traceback(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.delenv("LOOMSIGHT_TRACEBACK")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    (tmp_path / "file").write_bytes(b"")
    for name in ("XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(SystemExit) as end:
        run_command(failing)
    assert end.value.code == 70
    assert "LOOMSIGHT_TRACEBACK=1" in capsys.readouterr().err


def test_tests_and_maintainers_get_the_error_itself(monkeypatch):
    monkeypatch.setenv("LOOMSIGHT_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        run_command(failing)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_name_that_the_terminal_cannot_spell_does_not_end_a_good_run(tmp_path, encoding):
    source = tmp_path / "布"
    made = run(program("run", *LOOM, "--record", str(source)))
    assert made.returncode == 0, made.stderr
    done = run(program("run", "--camera", str(source), "--threads", "1"), PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"\\u5e03" in done.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_reason_to_fail_and_no_file_gets_their_place(tmp_path, closed):
    record, summary = tmp_path / "r.db", tmp_path / "s.json"
    done = run(program("run", *LOOM, "--roll-record", str(record), "--summary", str(summary)), closed)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert record.read_bytes().startswith(b"SQLite format 3")
    assert summary.exists()


@pytest.mark.parametrize("command", [["run", *LOOM], ["doctor", "--json"]], ids=["run", "doctor"])
def test_a_full_stdout_is_one_line_and_exit_code_40(command):
    done = run(program(*command), ">/dev/full")
    assert done.returncode == 40
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(b"error: ")
    assert b"No space left on device" in done.stderr.splitlines()[-1]


def test_the_list_of_commands_on_a_full_stdout_is_exit_code_40():
    program = [sys.executable, "-c", "from edge.commands.loomsight import main; main()", "--help"]
    done = run(program, ">/dev/full")
    assert (done.returncode, done.stderr.count(b"\n")) == (40, 1)


def test_a_full_stderr_does_not_change_the_exit_code():
    assert run(program("run", "--camera", "nowhere.png"), "2>/dev/full").returncode == 20
    assert run(program("run", *LOOM), "2>/dev/full").returncode == 0


def test_control_characters_are_spelt_out():
    assert printable("a\x1b[2Jb\x9b\ttab\n") == "a\\x1b[2Jb\\x9b\ttab\n"


def test_a_name_with_escape_codes_reaches_the_terminal_spelt_out():
    done = run(program("run", "--camera", "no\x1b[2Jwhere.png"))
    assert done.returncode == 20
    assert b"\x1b" not in done.stderr
    assert b"\\x1b[2J" in done.stderr
