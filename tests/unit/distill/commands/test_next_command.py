"""The command that a run names at its end works when it is pasted, in a folder with a space, too."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from distill.commands import distill_cli, labels_cli, prune_cli, pseudo_label_cli
from distill.commands.given_options import all_words, given_options
from distill.core.next_command import export_command, free_place
from edge.commands.run_cli import app as run_app
from export.cli import app as export_app
from tests.unit.distill.tiny import CLASSES, TINY_TOML, write_tiny_dataset

NAMES = ["stain", "tear", "knot"]
"""What the data set calls its three classes."""

KINDS = """
version = 1
classes = ["flaw", "drop", "broken"]
[[kinds]]
phrase = "a stain"
category = "stain"
parent = "flaw"
[[kinds]]
phrase = "a tear"
category = "tear"
parent = "drop"
[[kinds]]
phrase = "a knot"
category = "knot"
parent = "broken"
"""
"""The data set is labelled by kinds: only this taxonomy knows of which classes they are."""

APPS = {"distill": distill_cli.app, "export": export_app, "labels": labels_cli.app}


def pasted(line):
    """Run a command as it was printed, without its first word; return what it printed."""
    program, *words = shlex.split(line)
    app = run_app if program == "edge-run" else APPS[words.pop(0)]
    if program == "edge-run":  # its page would need a free port; what it reads is what counts
        del words[words.index("--page") : words.index("--page") + 2]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (line, done.output, done.exception)
    return done.output


def next_of(output):
    (line,) = [line for line in output.splitlines() if line.startswith("next ")]
    return line.removeprefix("next").strip()


def run(app, *words):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.fixture
def mill(tmp_path, monkeypatch):
    """A data set labelled by the kinds of a taxonomy of its own, in a folder with a space."""
    place = tmp_path / "mill 3"
    description = write_tiny_dataset(place / "data") / "data.yaml"
    named = description.read_text().replace(json.dumps(list(CLASSES)), json.dumps(NAMES))
    description.write_text(named)
    (place / "own names.toml").write_text(KINDS)
    (place / "tiny.toml").write_text(TINY_TOML)
    (place / "taught.toml").write_text(f"{TINY_TOML}[distillation]\nleast_teacher_map50 = 0.0\n")
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def asks(monkeypatch):
    """How much a detector must find before a bundle of it comes next."""
    return lambda map50: monkeypatch.setattr("distill.commands.after_distill.LEAST_MAP50", map50)


def taxonomy_of(place):
    return "--taxonomy", place / "own names.toml"


def test_training_longer_repeats_what_was_asked_for(mill, asks):
    asks(2.0)
    teacher = run(distill_cli.app, mill / "data", *taxonomy_of(mill), "--recipe", "tiny.toml",
                  "--out", mill / "teacher")  # fmt: skip
    assert "--teacher" not in next_of(teacher)
    said = run(
        distill_cli.app, mill / "data", *taxonomy_of(mill), "--recipe", "taught.toml", "--seed", 3,
        "--device", "cpu", "--teacher", mill / "teacher" / "best.pt", "--student-alone",
        "--out", mill / "run",
    )  # fmt: skip
    words = shlex.split(next_of(said))
    assert words == [
        "loomsight", "distill", str(mill / "data"), "--recipe", "taught.toml",
        "--teacher", str(mill / "teacher" / "best.pt"), "--student-alone", "--seed", "3",
        "--device", "cpu", "--taxonomy", str(mill / "own names.toml"),
        "--start-from", str(mill / "run" / "best.pt"), "--epochs", "2", "--out", str(mill / "run-longer"),
    ]  # fmt: skip
    assert "epoch 2/2" in pasted(next_of(said))
    assert (mill / "run-longer" / "index.html").is_file()
    resumed = run(distill_cli.app, mill / "data", *taxonomy_of(mill), "--resume", "--out", mill / "run")
    again = shlex.split(next_of(resumed))
    assert again[:-1] == words[:-1]  # though only --taxonomy was repeated
    assert again[-1] == str(mill / "run-longer-2")  # the first place is taken


def test_a_bundle_of_a_data_set_labelled_by_kinds_and_then_that_bundle_at_work(mill, asks):
    asks(-1.0)
    said = run(distill_cli.app, mill / "data", *taxonomy_of(mill), "--recipe", "tiny.toml",
               "--out", mill / "run")  # fmt: skip
    exported = pasted(next_of(said))
    assert f"bundle     {mill / 'run' / 'bundle'}" in exported
    assert "4 inspected" in pasted(next_of(exported))
    resumed = run(distill_cli.app, mill / "data", *taxonomy_of(mill), "--resume", "--out", mill / "run")
    assert shlex.split(next_of(resumed))[-1] == str(mill / "run" / "bundle-2")
    pruned = run(
        prune_cli.app, mill / "run" / "best.pt", mill / "data", *taxonomy_of(mill), "--macs", 0.7,
        "--planner", "threshold", "--epochs", 1, "--out", mill / "pruned",
    )  # fmt: skip
    words = shlex.split(next_of(pruned))
    assert words[words.index("--taxonomy") + 1] == str(mill / "own names.toml")


def test_a_run_without_defects_to_measure_by_names_the_check_with_its_taxonomy(mill):
    for file in (mill / "data" / "labels" / "val").iterdir():
        file.write_text("")
    said = run(distill_cli.app, mill / "data", *taxonomy_of(mill), "--recipe", "tiny.toml",
               "--out", mill / "run")  # fmt: skip
    assert shlex.split(next_of(said)) == [
        "loomsight", "labels", "check", str(mill / "data"), "--taxonomy", str(mill / "own names.toml"),
    ]  # fmt: skip


def test_a_run_that_makes_its_own_start_is_trained_longer_from_there(tmp_path, monkeypatch, asks):
    """--start-from and a table [pretraining] exclude each other."""
    asks(2.0)
    monkeypatch.chdir(tmp_path)
    write_tiny_dataset(tmp_path / "data")
    simulation = "simulation = {images = 4, size_hw = [128, 128]}"
    Path("tiny.toml").write_text(f"{TINY_TOML}[pretraining]\nepochs = 1\n{simulation}\n")
    said = run(distill_cli.app, "data", "--recipe", "tiny.toml", "--out", "run")
    assert "--start-from" not in next_of(said)
    assert "epoch 2/2" in pasted(next_of(said))


def test_only_what_was_given_is_repeated():
    app, kept = typer.Typer(), []

    @app.command()
    def command(
        context: typer.Context, name: str, number: int = 1, flag: bool = False, off: bool = True,
        several: list[str] | None = None, left: str = "",
    ) -> None:  # fmt: skip
        kept.append(all_words(given_options(context, but=("left",))))

    run(app, "a name")
    run(app, "a name", "--number", 1, "--flag", "--no-off", "--several", "a b", "--several", "c",
        "--left", "out")  # fmt: skip
    assert kept == [
        [],
        ["--number", "1", "--flag", "--no-off", "--several", "a b", "--several", "c"],
    ]


def test_a_place_that_is_taken_gets_a_number(tmp_path):
    assert free_place(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert free_place(tmp_path / "run") == tmp_path / "run-3"
    said = export_command(tmp_path / "best.pt", tmp_path, tmp_path / "run", taxonomy=None)
    assert shlex.split(said)[-1] == str(tmp_path / "run-3")


def test_what_follows_pseudo_labels_names_their_taxonomy(mill):
    said = run(pseudo_label_cli.app, "data/images/train", "--reference", "self", "--out", "a job",
               *taxonomy_of(mill))  # fmt: skip
    assert shlex.split(next_of(said)) == [
        "loomsight", "labels", "split", "a job/rounds/1/dataset", "--group", "EXPRESSION",
        "--out", "a job/rounds/1/split", "--taxonomy", str(mill / "own names.toml"),
    ]  # fmt: skip
