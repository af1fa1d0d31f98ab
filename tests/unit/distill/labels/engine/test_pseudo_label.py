"""The command as a person runs it: simulated annotators, real files, real processes where one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.commands.pseudo_label_cli import app, with_address
from distill.data.dataset import load_dataset
from distill.labels.engine.reviewed import ReviewedSet
from distill.labels.engine.shards import ShardFolder
from distill.labels.engine.training_set import check_names, counts_of, training_set
from distill.labels.formats.registry import read_labels
from distill.labels.sets.annotations import AnnotatedImage, LabelSet
from edge.core.errors import ConfigError, DatasetError, LoomsightError
from tests.unit.distill.labels.engine.cloth import (
    BENCHMARKS,
    TAXONOMY,
    ground_truth_of,
    reviewed,
    settings_text,
    weave,
)
from tests.unit.distill.tiny import write_untrained

SHARDS = 10


@pytest.fixture
def mill(tmp_path, monkeypatch):
    """A folder with new images, reviewed ones, and settings with two annotators."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.chdir(tmp_path)
    seen, new = reviewed(tmp_path), weave(tmp_path / "new", 4 * SHARDS, 2)
    (tmp_path / "truth.json").write_text(ground_truth_of(seen, new))
    manners = {"steady": {"miss": 0.1}, "loose": {"miss": 0.3, "invent": 0.4}}
    (tmp_path / "engine.toml").write_text(settings_text(tmp_path / "truth.json", **manners))
    return tmp_path


def label(*arguments):
    """Run the command; errors come out as they are."""
    given = ["new", "--settings", "engine.toml", "--out", "job", *arguments]
    result = CliRunner().invoke(app, given, catch_exceptions=False, standalone_mode=False)
    return result


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_a_data_set_that_distill_takes_comes_out(mill):
    output = label("--reviewed", "reviewed").stdout
    dataset = mill / "job" / "rounds" / "1" / "dataset"
    assert "40 labelled" in output
    assert str(Path("job/rounds/1/dataset")) in output
    labels = read_labels(dataset, TAXONOMY)
    assert not labels.problems
    pseudo = [image for image in labels.images if "pseudo" in image.file_name]
    waiting = [image for image in pseudo if any(r.review == "queued" for r in image.regions)]
    assert 0 < len(waiting) < len(pseudo) == 40
    assert len(load_dataset(dataset, TAXONOMY.classes).train) == 40 - len(waiting) + 12
    regions = [region for image in pseudo for region in image.regions]
    assert {image.split for image in pseudo} == {"train"}
    assert all(0 < region.score <= 1 and region.annotator for region in regions)
    assert any("+" in region.annotator for region in regions)
    assert any(not image.regions for image in pseudo)
    report = json.loads((mill / "job/rounds/1/report.json").read_text())
    quality = report["accepted_on_judging_split"]
    assert quality["precision"] > 0.7
    assert set(report["map50"]) == {"steady", "loose"}


def test_people_keep_what_they_said(mill):
    label("--reviewed", "reviewed")
    labels = read_labels(mill / "job" / "rounds" / "1" / "dataset", TAXONOMY)
    before = read_labels(mill / "reviewed", TAXONOMY)
    kept = [image for image in labels.images if "pseudo" not in image.file_name]
    assert [image.regions for image in kept] == [image.regions for image in before.images]


def test_without_a_reviewed_set_groups_split_the_images(mill):
    label("--group", r"^(?P<group>roll\d+) ", "--split", "train=0.5,val=0.5")
    labels = read_labels(mill / "job" / "rounds" / "1" / "dataset", TAXONOMY)
    splits = {}
    for image in labels.images:
        splits.setdefault(image.group, set()).add(image.split)
    assert len(labels.images) == 40
    assert all(len(one) == 1 for one in splits.values())
    assert set.union(*splits.values()) == {"train", "val"}


def test_images_that_people_have_reviewed_do_not_come_back(mill):
    seen = sorted((mill / "seen").iterdir())[0]
    (mill / "new" / "again.png").write_bytes(seen.read_bytes())
    label("--reviewed", "reviewed")
    report = json.loads((mill / "job/rounds/1/report.json").read_text())
    assert report["images"]["kept_back"] == 1


def test_a_corrupt_image_is_counted_and_the_rest_goes_on(mill):
    (mill / "new" / "坏 (2).png").write_bytes(b"\x89PNG no")
    assert "1 unreadable" in label("--reviewed", "reviewed").stdout


def test_a_finished_job_is_not_done_again(mill):
    label("--reviewed", "reviewed")
    before = files_of(mill / "job")
    (mill / "truth.json").unlink()  # whoever asked an annotator would now fail
    label("--reviewed", "reviewed", "--resume")
    assert files_of(mill / "job") == before


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["--resume"], ConfigError, "no job"),
        (["--rounds", "2"], ConfigError, "reviewed set"),
        (["--group", "("], ConfigError, "regular expression"),
        (["--mm-per-px", "-1"], ConfigError, "scale"),
        (["--reviewed", "nowhere"], DatasetError, "nowhere"),
        (["--rounds", "2", "--reviewed", "reviewed"], ConfigError, "can be taught"),
        (["--split", "train=2"], ConfigError, "--split"),
    ],
)
def test_a_wrong_call_is_one_line(mill, arguments, kind, message):
    with pytest.raises(kind, match=message):
        label(*arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Nobody is asked"),
        ("annotators = []", "annotators"),
        ("colour = 1\n[[annotators]]\nkind='python'\nmodel='m:f'", "colour"),
        ("[[annotators]]\nkind='python'\nmodel='m:f'\nnme='x'", "annotators.0.nme"),
        ("[[annotators]]\nkind='python'\nmodel='nowhere:f'", "no code"),
        ("[[annotators]]\nkind='python'\nmodel='json:f'", "no code"),
        ("[[annotators]]\nkind='python'\nname='../x'\nmodel='json:f'", "make a name"),
        ("[[annotators]]\nkind='python'\nmodel='m:f'\n[[annotators]]\nkind='python'\nmodel='m:g'", "named"),
        ("[[annotators]]\nkind='detector'\nmodel='nowhere.pt'", "nowhere.pt"),
        ("annotators = 3 4", "TOML"),
    ],
)
def test_wrong_settings_are_one_line(mill, text, message):
    (mill / "engine.toml").write_text(text)
    with pytest.raises(LoomsightError, match=message):
        label()


def test_two_names_of_one_label_file_are_refused_before_anybody_is_asked(mill):
    first = sorted((mill / "new").iterdir())[0]
    (mill / "new" / f"{first.stem}.bmp").write_bytes(first.read_bytes())
    (mill / "truth.json").unlink()  # whoever asked an annotator would now fail
    with pytest.raises(DatasetError, match=r"roll0 \(0\)\.png and roll0 \(0\)\.bmp would share one label"):
        label()
    assert not (mill / "job").exists()


def test_a_reviewed_image_with_the_name_of_a_pseudo_labelled_one_is_refused(tmp_path):
    """Its pixels would be written under the labels of the other, whatever their splits are."""
    seen = AnnotatedImage("pseudo-b.png", (9, 9), split="val")
    people = ReviewedSet(LabelSet(tmp_path, TAXONOMY.classes, (seen,)))
    with pytest.raises(DatasetError, match=r"reviewed pseudo-b\.png has the name"):
        check_names(["a.png", "b.png"], people)
    check_names(["a.png", "c.png"], people)


def test_names_that_differ_by_their_folder_alone_stand_in_one_data_set(mill):
    first = sorted((mill / "new").iterdir())[0]
    (mill / "new" / "sub").mkdir()
    (mill / "new" / "sub" / first.name).write_bytes(first.read_bytes())
    label("--reviewed", "reviewed")
    names = {p.name for p in (mill / "job/rounds/1/dataset/images/train").iterdir()}
    assert {f"pseudo-{first.name}", f"pseudo-{first.stem}-sub.png"} <= names


def test_the_second_annotator_is_looked_for_before_the_first_is_asked(mill):
    spec = '[[annotators]]\nkind = "detector"\nmodel = "gone.pt"\n'
    good = (mill / "engine.toml").read_text()
    (mill / "engine.toml").write_text(good + spec)
    with pytest.raises(LoomsightError, match=r"gone\.pt"):
        label()
    assert not (mill / "job").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--group", r"^(?P<group>roll[0-4]) "], "No group is known of 20 of 40 images"),
        (["--group", r"^(?P<group>roll)"], "1 groups cannot be split into 3 splits"),
    ],
)
def test_groups_that_do_not_suffice_are_refused_before_anybody_is_asked(mill, arguments, message):
    with pytest.raises(DatasetError, match=message):
        label(*arguments)
    assert not (mill / "job").exists()


def test_what_a_teaching_is_to_learn_with_is_checked_before_anybody_is_asked(mill):
    write_untrained(mill / "weak.pt")
    spec = '[[annotators]]\nkind = "detector"\nmodel = "weak.pt"\nteaching = {epochs = -1}\n'
    (mill / "engine.toml").write_text((mill / "engine.toml").read_text() + spec)
    with pytest.raises(ConfigError, match="epochs"):
        label("--reviewed", "reviewed", "--rounds", "2")
    assert not (mill / "job").exists()


def test_a_job_that_failed_before_it_labelled_can_be_started_otherwise(mill):
    (mill / "truth.json").rename(mill / "elsewhere.json")
    with pytest.raises(FileNotFoundError):
        label()
    (mill / "elsewhere.json").rename(mill / "truth.json")
    next((mill / "new").iterdir()).unlink()
    assert "39 labelled" in label("--mm-per-px", "0.2").stdout


def test_shares_that_turned_out_too_many_can_be_changed_as_long_as_there_is_no_data_set(mill):
    """All images of some groups are damaged, which shows only when they are looked at."""
    for image in (mill / "new").iterdir():
        if not image.name.startswith(("roll0 ", "roll1 ")):
            image.write_bytes(b"\x89PNG no")
    group = ("--group", r"^(?P<group>roll\d+) ")
    with pytest.raises(DatasetError, match="2 groups cannot be split into 3 splits"):
        label(*group)
    shown = label(*group, "--split", "train=0.5,val=0.5", "--resume").stdout
    assert "8 labelled" in shown
    assert "32 unreadable" in shown
    with pytest.raises(ConfigError, match="other settings"):
        label(*group, "--split", "train=0.6,val=0.4", "--resume")


def test_an_image_that_vanished_is_counted_as_not_written(mill):
    label("--reviewed", "reviewed")
    decided = ShardFolder(mill / "job/rounds/1/decided", SHARDS)
    people = ReviewedSet(read_labels(mill / "reviewed", TAXONOMY))
    made = training_set(decided, mill / "new", TAXONOMY.classes, people, {}, None)
    gone = sorted((mill / "new").iterdir())[0]
    gone.unlink()
    left_out = made.write(mill / "data", links=False).left_out
    assert left_out == {f"pseudo-{gone.name}": f"{gone} is no longer there."}
    counts = counts_of(decided, made.missing_in(mill / "data"))
    assert (counts["images"]["labelled"], counts["images"]["not_written"]) == (39, 1)
    written = [i for i in read_labels(mill / "data", TAXONOMY).images if "pseudo-" in i.file_name]
    regions = [region for image in written for region in image.regions]
    assert sum(counts["accepted"].values()) == sum(region.review != "queued" for region in regions)
    assert sum(counts["queued"].values()) == sum(region.review == "queued" for region in regions)


def test_a_job_is_not_mixed_with_another(mill):
    label()
    with pytest.raises(ConfigError, match="--resume"):
        label()
    with pytest.raises(ConfigError, match="other settings"):
        label("--resume", "--reviewed", "reviewed")


def test_a_reviewed_set_needs_images_that_calibrate(mill):
    weave(mill / "flat", 4, 9)
    from dataclasses import replace

    from distill.labels.formats import yolo

    cloth = weave(mill / "train", 4, 8)
    yolo.write(replace(cloth, images=tuple(replace(i, split="train") for i in cloth.images)), mill / "only")
    with pytest.raises(DatasetError, match="no split 'val'"):
        label("--reviewed", "only")


def test_ray_may_stand_alone():
    assert with_address(["a", "--ray", "--out", "b"]) == ["a", "--ray", "local", "--out", "b"]
    assert with_address(["--ray"]) == ["--ray", "local"]
    assert with_address(["--ray", "auto"]) == ["--ray", "auto"]


def start(mill: Path, out: str, *arguments: str) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "distill.commands.pseudo_label_cli",
        "new",
        "--settings",
        "engine.toml",
    ]
    environment = {**os.environ, "PYTHONPATH": f"{BENCHMARKS}:{Path(__file__).parents[5]}"}
    return subprocess.Popen(
        [*command, "--reviewed", "reviewed", "--out", out, *arguments],
        cwd=mill,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_stopped_job_goes_on_to_the_same_end(mill, number):
    slow = (mill / "engine.toml").read_text().replace("settings = {", "settings = {pause_s = 0.02, ")
    (mill / "engine.toml").write_text(slow)
    with start(mill, "job") as process:
        wait_for(lambda: len(list((mill / "job").glob("answers/loose-*/images/*.jsonl"))) >= 3, process)
        process.send_signal(number)
        code = process.wait()
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    made = files_of(mill / "job")
    label("--reviewed", "reviewed", "--resume")
    after = files_of(mill / "job")
    assert {name: after[name] for name in made if "/." not in name} == {
        name: data for name, data in made.items() if "/." not in name
    }
    given = ["new", "--settings", "engine.toml", "--reviewed", "reviewed", "--out", "undisturbed"]
    CliRunner().invoke(app, given, catch_exceptions=False, standalone_mode=False)
    assert after == files_of(mill / "undisturbed")
