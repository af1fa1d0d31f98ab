"""What a signal leaves of a command of the workbench, and the words that say how it goes on."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.processes import program
from tests.unit.distill.tiny import TINY_TOML, write_tiny_dataset, write_untrained

PATIENCE_S = 240.0

HANG = """
import importlib, pathlib, time
def hang(*given, **named):
    pathlib.Path("hangs").touch()
    while True:
        time.sleep(0.1)  # a signal just before one long sleep would be heard after it
setattr(importlib.import_module({module!r}), {name!r}, hang)
"""
"""Lets a function never return, so that a signal comes at a known moment."""

NOTHING = "Stopped. There is nothing to go on from in {out}: the same command starts again."
RESUME = "Stopped. Go on with the same command and --resume --out {quoted}"
UNWRITTEN = "Stopped. Nothing was written at {out}: the same command starts again."
NO_BUNDLE = "Stopped. No bundle was written at {out}: the same command starts again."
AS_IT_WAS = "Stopped. {out} stays as it was: the same command starts again."

DISTILL = ("distill", "data", "--recipe", "tiny.toml")
PRUNE = ("prune", "best.pt", "data", "--macs", "0.7", "--epochs", "1")
EXPORT = ("export", "best.pt", "--images", "data/images")
PSEUDO_LABEL = ("pseudo-label", "data/images/train", "--reference", "self")

CASES = [
    pytest.param(
        DISTILL, "distill.data.dataset.load_dataset", NOTHING, id="distill-reads", marks=pytest.mark.slow
    ),
    pytest.param(DISTILL, "distill.training.stages.finish", RESUME, id="distill-measures"),
    pytest.param(PRUNE, "distill.prune.planning.plans_of_step", NOTHING, id="prune-plans"),
    pytest.param(PRUNE, "distill.prune.steps.prune", RESUME, id="prune-has-started"),
    pytest.param(
        (*PRUNE[:2], "--macs", "0.7", "--plan-only"),
        "distill.prune.planning.plans_of_step",
        NOTHING,
        id="prune-plan-only",
        marks=pytest.mark.slow,
    ),
    pytest.param(EXPORT, "export.publish.check_parity", NO_BUNDLE, id="export"),
    pytest.param(
        PSEUDO_LABEL,
        "distill.labels.engine.beginning.check_beginning",
        NOTHING,
        id="pseudo-label-begins",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        PSEUDO_LABEL,
        "distill.labels.engine.rounds.run_rounds",
        RESUME,
        id="pseudo-label-labels",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        ("labels", "convert", "data"),
        "distill.commands.labels_cli.read_labels",
        UNWRITTEN,
        id="labels-convert",
    ),
    pytest.param(
        ("labels", "split", "data"),
        "distill.commands.labels_cli.read_labels",
        UNWRITTEN,
        id="labels-split",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        ("labels", "flip", "data"),
        "distill.commands.labels_cli.read_labels",
        UNWRITTEN,
        id="labels-flip",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        ("anchors", "data"),
        "distill.data.dataset.load_dataset",
        UNWRITTEN,
        id="anchors",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        ("teacher", "finetune", "model", "data"),
        "distill.labels.florence.loading.load_teacher",
        NOTHING,
        id="teacher-finetune",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        ("teacher", "annotate", "model", "data/images"),
        "distill.labels.florence.loading.load_teacher",
        UNWRITTEN,
        id="teacher-annotate",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        ("sam", "refine", "model", "data"),
        "distill.labels.formats.registry.read_labels",
        UNWRITTEN,
        id="sam-refine",
        marks=pytest.mark.slow,
    ),
]


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A data set, a recipe and a checkpoint; its folder is only read."""
    place = tmp_path_factory.mktemp("ready")
    write_tiny_dataset(place / "data")
    write_untrained(place / "best.pt")
    (place / "tiny.toml").write_text(TINY_TOML)
    return place


@pytest.fixture
def place(ready, tmp_path):
    for given in ready.iterdir():
        (tmp_path / given.name).symlink_to(given)
    return tmp_path


def stopped(words, where, number, place):
    """Run a command until it hangs in a function, send it a signal; return its exit code and last lines."""
    module, name = where.rsplit(".", 1)
    process = subprocess.Popen(
        program(*words, before=HANG.format(module=module, name=name)),
        cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        end_s = time.monotonic() + PATIENCE_S
        while not (place / "hangs").exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end_s, "it never came there"
            time.sleep(0.05)
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE_S)[1]
    finally:
        process.kill()
    assert "Traceback" not in said, said
    return process.returncode, said.splitlines()[-2:]


@pytest.mark.parametrize(("words", "where", "said"), CASES)
def test_a_command_that_is_ended_says_what_is_kept_and_how_it_goes_on(words, where, said, place):
    out = Path("an out")
    before = sorted(place.iterdir())
    code, lines = stopped((*words, "--out", out), where, signal.SIGTERM, place)
    assert code == 128 + signal.SIGTERM
    assert lines == [said.format(out=out, quoted=shlex.quote(str(out))), "ended by SIGTERM"]
    (place / "hangs").unlink()
    left = {path.name for path in place.iterdir()} - {path.name for path in before}
    assert left == ({"an out"} if said is RESUME else set())


@pytest.mark.parametrize(
    ("words", "where", "said"), [case for case in CASES if case.id in ("prune-has-started", "export")]
)
def test_ctrl_c_says_the_same(words, where, said, place):
    code, lines = stopped((*words, "--out", "out"), where, signal.SIGINT, place)
    assert (code, lines) == (130, [said.format(out="out", quoted="out"), "interrupted"])


def test_a_bundle_that_was_there_before_stays(place):
    (place / "out").mkdir()
    words = (*EXPORT, "--overwrite", "--out", "out")
    code, lines = stopped(words, "export.publish.check_parity", signal.SIGTERM, place)
    assert (code, lines) == (143, [AS_IT_WAS.format(out="out"), "ended by SIGTERM"])
    assert list((place / "out").iterdir()) == []


def test_what_was_written_before_the_signal_is_called_whole(place):
    words = ("labels", "convert", "data", "--out", "out")
    code, lines = stopped(words, "distill.commands.labels_cli._say_written", signal.SIGTERM, place)
    assert (code, lines) == (143, ["Stopped. out is written, and whole.", "ended by SIGTERM"])
    assert (place / "out" / "data.yaml").is_file()
