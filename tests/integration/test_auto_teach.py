"""Articles that a run learns from the first metres of their roll, through the real command."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import pytest

from edge.config.device import load_camera
from edge.core.errors import ConfigError, LoomsightError
from edge.teach.article_file import MANIFEST_NAME, is_article, open_article
from tests.conftest import write_bright_cell_bundle
from tests.processes import loomsight, program

CLOTH = (
    "weave=plain,warp_pitch_px=5,weft_pitch_px=5,mean_grey=70,width_px=160,bed_left_mm=-20,bed_right_mm=-20"
)
OTHER = CLOTH.replace("weave=plain", "weave=satin").replace("pitch_px=5", "pitch_px=8")
LOOM = f"loom:seed=3,defects_per_m=8,length_m=1.2,{CLOTH}"


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A detector that sees bright cells alone: on this cloth it never reports anything."""
    return write_bright_cell_bundle(tmp_path_factory.mktemp("detector") / "bundle")


@pytest.fixture
def settings(detector, tmp_path):
    """Settings that learn an article from 0.4 m, into the folder `articles` beside them."""
    return write_settings(tmp_path, detector)


def write_settings(folder, detector, *, metres=0.4):
    file = folder / "box.toml"
    file.write_text(
        f'model = "{detector}"\narticle = "plain 5"\nthreads = 1\n'
        f'[auto_teach]\nfolder = "{folder / "articles"}"\nmetres = {metres}\nfalse_alarms_per_100m = 100\n'
    )
    return file


def edge_run(settings, *words, **options):
    return loomsight("edge-run", "--config", settings, *words, **options)


def outcome(folder, name, settings, camera, *more):
    """Run, and return what came out of it: each line of detections, and each event without id and time."""
    detections, record = folder / f"{name}.jsonl", folder / f"{name}.db"
    done = edge_run(
        settings, "--camera", camera, "--detections", detections, "--roll-record", record, *more
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in detections.read_text().splitlines()]
    kept = [(line["frame_id"], line["along_m"], line["detections"]) for line in lines]
    return kept, events_of(record)


def events_of(record):
    """Return the events; the random ids of defects in them become numbers in the order of their coming."""
    with closing(sqlite3.connect(record)) as db:
        rows = db.execute("SELECT kind, detail, at_m FROM events ORDER BY rowid").fetchall()
    ids: dict[str, str] = {}

    def number_of(found: re.Match[str]) -> str:
        return ids.setdefault(found[0], f"#{len(ids)}")

    return [
        (kind, re.sub(r"\b[0-9a-f]{32}\b", number_of, detail or ""), at_m)
        for kind, detail, at_m in rows
        if kind not in ("camera silent", "camera back")
    ]


@pytest.fixture(scope="module")
def learnt_articles(detector, tmp_path_factory):
    """A folder of article files: `plain 5`, and `satin 8`, which was learnt from other cloth."""
    folder = tmp_path_factory.mktemp("two")
    settings = write_settings(folder, detector)
    for article, cloth in (("plain 5", f"seed=3,{CLOTH}"), ("satin 8", f"seed=5,{OTHER}")):
        clean = f"loom:defects_per_m=0,length_m=0.7,{cloth}"
        done = edge_run(settings, "--camera", clean, "--article", article)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in (folder / "articles").iterdir()} == {"plain 5", "satin 8"}
    return folder / "articles"


@pytest.fixture
def two_articles(detector, learnt_articles, tmp_path):
    """Settings with a copy of those article files: a run may add to them."""
    shutil.copytree(learnt_articles, tmp_path / "articles")
    return write_settings(tmp_path, detector)


def kinds_of(events):
    return [kind for kind, *_ in events if kind.startswith(("teaching", "article"))]


def test_a_replay_with_teaching_gives_the_same_events_to_the_bit(settings, tmp_path, monkeypatch):
    recording = tmp_path / "recording"
    lines, events = outcome(tmp_path, "run", settings, LOOM, "--record", recording)
    assert kinds_of(events) == ["teaching begun", *["teaching goes on"] * 2, "article learnt"]
    learnt_m = next(at_m for kind, _, at_m in events if kind == "article learnt")
    assert 0.5 <= learnt_m <= 0.55
    found = [along_m for _, along_m, found in lines if found]
    assert found
    assert min(found) >= learnt_m
    digest = open_article(tmp_path / "articles" / "plain 5").manifest.files
    replayed = outcome(tmp_path, "replay", settings, recording)
    assert replayed == (lines, events)
    monkeypatch.setenv("LOOMSIGHT_EDGE_QUEUE_FRAMES", "64")
    other_pace = outcome(tmp_path, "other", settings, recording, "--threads", 2)
    assert other_pace == (lines, events)
    assert open_article(tmp_path / "articles" / "plain 5").manifest.files == digest


def test_a_recording_made_without_teaching_is_learnt_from_again_with_every_replay(
    detector, settings, tmp_path
):
    recording, plain = tmp_path / "recording", tmp_path / "plain.toml"
    plain.write_text(f'model = "{detector}"\n')
    assert edge_run(plain, "--camera", LOOM, "--record", recording).returncode == 0
    first = outcome(tmp_path, "first", settings, recording)
    assert kinds_of(first[1])[-1] == "article learnt"
    assert outcome(tmp_path, "second", settings, recording) == first


def test_what_a_live_camera_was_late_with_comes_again_in_the_replay(settings, tmp_path):
    live = LOOM.replace("length_m=1.2", "length_m=1.8,live=true,speed_m_min=45")
    recording = tmp_path / "recording"
    lines, events = outcome(tmp_path, "run", settings, live, "--record", recording)
    lines_again, events_again = outcome(tmp_path, "replay", settings, recording)
    assert kinds_of(events)[:1] == ["teaching begun"]
    assert lines_again == lines
    assert [event for event in events_again if event[0] in kinds_of(events)] == [
        event for event in events if event[0] in kinds_of(events)
    ]


def test_the_next_roll_of_a_learnt_article_uses_it_from_its_first_line(two_articles, tmp_path):
    done = edge_run(two_articles, "--camera", LOOM, "--roll-record", tmp_path / "second.db")
    assert "changeover: article 'plain 5': at most 100 false alarms per 100 m, from 0." in done.stderr
    assert kinds_of(events_of(tmp_path / "second.db")) == []


def test_a_learnt_article_that_is_damaged_is_learnt_again(two_articles, tmp_path):
    article = tmp_path / "articles" / "plain 5"
    (article / MANIFEST_NAME).write_text("{}")
    with pytest.raises(LoomsightError):
        open_article(article)
    _, events = outcome(tmp_path, "second", two_articles, LOOM)
    assert kinds_of(events)[-1] == "article learnt"
    assert open_article(article).manifest.article == "plain 5"


def test_an_article_that_was_learnt_on_narrower_cloth_is_learnt_again(two_articles, tmp_path):
    assert open_article(tmp_path / "articles" / "plain 5").manifest.width_px == 160
    wider = LOOM.replace("width_px=160", "width_px=224")
    second = outcome(tmp_path, "second", two_articles, wider)
    assert kinds_of(second[1])[:2] == ["article not opened", "teaching begun"]
    assert kinds_of(second[1])[-1] == "article learnt"
    assert "was taught on images 160 px wide, and this camera's are 224" in second[1][0][1]
    assert open_article(tmp_path / "articles" / "plain 5").manifest.width_px == 224


def test_a_roll_that_ends_too_early_teaches_nothing_and_says_how_far_it_came(settings, tmp_path):
    _, events = outcome(tmp_path, "run", settings, LOOM, "--metres", 0.2)
    assert kinds_of(events)[-1] == "article not learnt"
    assert "the run ended; 0.2 of 0.4 m read" in events[-1][1] + events[-2][1]
    assert list((tmp_path / "articles").iterdir()) == []


def test_a_roll_that_ends_while_its_cloth_is_fitted_is_learnt_for_the_next_one(settings, tmp_path):
    _, events = outcome(tmp_path, "run", settings, LOOM, "--metres", 0.45)
    (detail,) = [detail for kind, detail, *_ in events if kind == "article learnt"]
    assert "; the next roll of it uses that" in detail
    assert is_article(tmp_path / "articles" / "plain 5")


def test_a_disk_that_fills_is_one_line_and_inspection_goes_on(settings, tmp_path):
    limit = 200_000  # a part of an image is still to be written when the file is closed
    done = edge_run(
        settings, "--camera", LOOM, "--metres", 0.48, "--detections", tmp_path / "d.jsonl",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    said = "article not learnt: article 'plain 5': Cannot keep the clean cloth in "
    assert [said in line for line in errors] == [True]
    assert len((tmp_path / "d.jsonl").read_text().splitlines()) == 50
    assert list((tmp_path / "articles").iterdir()) == []


def test_ctrl_c_while_an_article_is_learnt_leaves_nothing_behind(settings, tmp_path):
    endless = LOOM.replace(",length_m=1.2", ",live=true,speed_m_min=1")
    record = tmp_path / "r.db"
    more = ["--camera", endless, "--roll-record", record]
    environment = {**os.environ, "LOOMSIGHT_EDGE_HEALTH_PORT": "0"}
    with subprocess.Popen(
        program("edge-run", "--config", settings, *more), stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        while "teaching begun" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 0
    assert "the run ended" in events_of(record)[-2][1] + events_of(record)[-1][1]
    assert list((tmp_path / "articles").iterdir()) == []


def test_kill_9_never_leaves_half_an_article(settings, tmp_path):
    """Each kill falls on the moments in which the article file is written."""
    chance, folder = random.Random(5), tmp_path / "articles"
    article = folder / "plain 5"
    for number in range(4):
        command = program("edge-run", "--config", settings, "--camera", LOOM)
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        before = set(folder.glob(".plain 5-*"))
        while not article.exists() and set(folder.glob(".plain 5-*")) == before:
            assert process.poll() is None
            time.sleep(0.0005)
        time.sleep(chance.choice((0.0, 0.001, 0.01, 0.1)))
        process.kill()
        process.wait()
        if article.exists():
            assert open_article(article).manifest.article == "plain 5", number
            article.rename(tmp_path / f"kept-{number}")


def test_defects_in_the_cloth_that_is_learnt_are_left_out_where_they_stand_far_out(detector, tmp_path):
    settings, levels = write_settings(tmp_path, detector, metres=0.6), {}
    for name, defects in (("clean", 0), ("with defects", 4)):
        camera = f"loom:seed=3,defects_per_m={defects},difficulties=obvious,length_m=0.7,{CLOTH}"
        done = edge_run(settings, "--camera", camera, "--article", name)
        assert done.returncode == 0, done.stderr
        manifest = open_article(tmp_path / "articles" / name).manifest
        levels[name] = (manifest.levels["spot"], len(manifest.struck_out))
    assert levels["clean"][1] == 0
    assert 1 <= levels["with defects"][1] <= 4
    assert levels["with defects"][0] < 1.3 * levels["clean"][0]
    assert "that stand far out of the rest left out" in done.stderr


def test_other_cloth_that_was_taught_is_recognised_by_its_features(two_articles, tmp_path):
    camera = f"loom:seed=5,texture_lines=907,defects_per_m=0,length_m=0.5,{OTHER}"
    _, events = outcome(tmp_path, "run", two_articles, camera, "--article", "plain 5")
    (detail,) = [detail for kind, detail, _ in events if kind == "other article"]
    assert detail.startswith("the cloth looks unlike article 'plain 5': ")
    assert "; it looks like article 'satin 8': begin a roll of that article; " in detail


def test_an_article_that_is_not_known_is_recognised_in_its_first_metres_and_learnt_all_the_same(
    two_articles, tmp_path
):
    camera = f"loom:seed=5,texture_lines=907,defects_per_m=0,length_m=0.9,{OTHER}"
    _, events = outcome(tmp_path, "run", two_articles, camera, "--article", "sateen")
    assert kinds_of(events) == ["teaching begun", *["teaching goes on"] * 2, "article learnt"]
    (detail,) = [detail for kind, detail, _ in events if kind == "known article"]
    assert detail == (
        "the cloth looks like article 'satin 8', which was taught: begin a roll of that article"
    )


def test_new_cloth_is_recognised_as_nothing(two_articles, tmp_path):
    camera = f"loom:seed=6,defects_per_m=0,length_m=0.5,{CLOTH.replace('plain', 'twill')}"
    _, events = outcome(tmp_path, "run", two_articles, camera, "--article", "twill")
    assert [kind for kind, *_ in events if kind == "known article"] == []


def test_a_promise_that_so_few_metres_cannot_carry_is_refused_at_the_start(tmp_path):
    file = tmp_path / "box.toml"
    file.write_text("[auto_teach]\nmetres = 30\nfalse_alarms_per_100m = 0.5\n")
    with pytest.raises(ConfigError, match=r"30 m, .* support at most 0\.93 .* needs 56 m"):
        load_camera(file, {}, {})


def test_a_camera_without_a_position_is_refused_with_the_cure(settings, tmp_path):
    import cv2
    import numpy as np

    (tmp_path / "cloth").mkdir()
    cv2.imwrite(str(tmp_path / "cloth" / "1.png"), np.full((160, 160), 70, np.uint8))
    done = edge_run(settings, "--camera", tmp_path / "cloth")
    assert done.returncode == ConfigError.exit_code
    assert "knows no position, so auto_teach cannot count metres" in done.stderr.splitlines()[-1]


def test_a_word_for_the_table_names_the_folder(tmp_path):
    config = load_camera(None, {"LOOMSIGHT_EDGE_AUTO_TEACH": str(tmp_path)}, {}).config
    assert config.auto_teach.folder == tmp_path
    assert load_camera(None, {}, {}).config.auto_teach.folder is None
