"""An agent follows the list of releases; whatever is wrong with it, the device keeps one whole bundle."""

from __future__ import annotations

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from edge.agent.running import agent_of
from edge.bundle.install import install
from edge.bundle.opening import open_bundle
from edge.bundle.release_list import LIST_NAME, LIST_SIGNATURE_NAME
from edge.bundle.signing import check_trusted, make_key, sign_bundle
from edge.bundle.store import bundle_path, is_store
from edge.config.device import CameraSettings
from edge.config.edge import config_of
from edge.core.errors import ConfigError, ContractError, OutputError, ReleaseError, SignatureError
from edge.core.files import file_digest
from edge.fleet.releases import Releases
from edge.fleet.settings import ReleaseSettings
from edge.teach.article_file import ArticleManifest, ClothUsed, Promise, open_article, publish_article
from tests.conftest import write_bright_cell_bundle


class _Server(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def text_of(key):
    return key.with_name(f"{key.name}.pub").read_text().splitlines()[1]


class Mill:
    """An office that publishes into a folder, and a device that reads it."""

    def __init__(self, folder):
        self.folder, self.key, self.stranger = folder, folder / "mill.key", folder / "stranger.key"
        make_key(self.key)
        make_key(self.stranger)
        self.releases = Releases(ReleaseSettings(folder=folder / "releases", key_file=self.key))
        self.store, self.candidate = folder / "model", folder / "candidate"
        self.url, self.revoked = str(folder / "releases"), []
        self.trusted = [text_of(self.key)]
        self.looms, self.same_camera = ("loom-1",), True
        self.first = self.bundle("first", 0.5)
        install(self.first, self.store, lambda _: None)

    def bundle(self, name, threshold, key=None, **changes):
        thresholds = {"wrinkle": 0.5, "drop": 0.5, "broken": threshold}
        path = write_bright_cell_bundle(self.folder / name, score_thresholds=thresholds, **changes)
        sign_bundle(path, key or self.key)
        return path

    def agent(self, folder="agent"):
        values = {
            "model": str(self.store),
            "candidate": str(self.candidate),
            "trust": {"keys": self.trusted, "revoked": self.revoked},
            "agent": {
                "url": self.url,
                "folder": str(self.folder / folder),
                "articles": str(self.folder / "articles"),
                "same_camera": self.same_camera,
            },
        }
        cameras = [
            CameraSettings(
                None, config_of({"test": {**values, "mqtt": {"box": loom, "broker": "mqtt://x"}}})
            )
            for loom in self.looms
        ]
        return agent_of(cameras, lambda one: check_trusted(one, self.trusted, self.revoked) and None)[1]

    def look(self):
        """Look once with an agent that has just started; returns its problems."""
        agent = self.agent()
        agent.look()
        return agent.problems

    @property
    def running(self):
        return open_bundle(bundle_path(self.store)).path.name

    @property
    def tried(self):
        return bundle_path(self.candidate).name if is_store(self.candidate) else None


@pytest.fixture
def mill(tmp_path):
    return Mill(tmp_path)


def id_of(bundle):
    return file_digest(bundle / "bundle.json")[:16]


def kinds(problems):
    return [type(one) for one in problems]


def article(mill, score, name="twill"):
    """Write an article file; several of one name differ in a threshold."""
    path = mill.folder / f"article-{score}"
    manifest = ArticleManifest(
        article=name, mm_per_px=0.2, width_px=64, detector_digest="0" * 64, trunk_digest="0" * 64,
        levels={"a": 1.0}, score_thresholds={"broken": score},
        promise=Promise(false_alarms=1, per="100 m", calibrated_on="cloth", least=1),
        cloth=ClothUsed(images=1), fit_distance=1.0, near=1.0, files={},
    )  # fmt: skip
    publish_article(path, manifest, {"a": np.zeros(1)}, b"sheet")
    return path


def test_a_candidate_is_tried_and_then_run_and_taken_back(mill):
    better = mill.bundle("better", 0.6)
    release = mill.releases.publish(better, ["loom-1", "loom-2"], ["loom-1"])
    assert mill.look() == []
    assert (mill.running, mill.tried) == (id_of(mill.first), id_of(better))
    mill.releases.advance(release, "released", "better")
    assert mill.look() == []
    assert (mill.running, mill.tried) == (id_of(better), None)
    mill.releases.roll_back(None, "by hand")
    assert mill.look() == []
    assert mill.running == id_of(mill.first)


def test_a_device_that_is_no_canary_waits(mill):
    mill.looms = ("loom-2",)
    mill.releases.publish(mill.bundle("better", 0.6), ["loom-1", "loom-2"], ["loom-1"])
    assert mill.look() == []
    assert (mill.running, mill.tried) == (id_of(mill.first), None)


def test_a_device_that_was_off_for_a_month_takes_the_newest(mill):
    for number in range(1, 5):
        mill.releases.publish(mill.bundle(f"b{number}", 0.5 + number / 100), ["loom-1"], [])
    mill.releases.publish(mill.bundle("tried", 0.7), ["loom-1"], ["loom-1"])
    assert mill.look() == []
    assert (mill.running, mill.tried) == (id_of(mill.folder / "b4"), id_of(mill.folder / "tried"))
    assert len(list((mill.store / "bundles").iterdir())) == 2


def test_cameras_of_one_store_run_one_bundle(mill):
    mill.looms = ("left", "right")
    mill.releases.publish(mill.bundle("better", 0.6), ["right"], [])
    assert mill.look() == []
    assert mill.running == id_of(mill.folder / "better")


def test_a_list_that_names_no_loom_of_this_device_changes_nothing(mill):
    mill.releases.publish(mill.bundle("better", 0.6), ["no-such-loom"], [])
    assert mill.look() == []
    assert mill.running == id_of(mill.first)


def test_an_old_list_is_refused(mill):
    mill.releases.publish(mill.bundle("bad", 0.6), ["loom-1"], [])
    folder = mill.releases.folder
    old = {name: (folder / name).read_bytes() for name in (LIST_NAME, LIST_SIGNATURE_NAME)}
    mill.releases.roll_back(None, "by hand")
    mill.look()
    for name, data in old.items():
        (folder / name).write_bytes(data)
    problems = mill.look()
    assert kinds(problems) == [ReleaseError]
    assert "an old list is offered" in str(problems[0])
    assert mill.running == id_of(mill.first)


def test_a_list_of_a_stranger_and_one_of_a_revoked_key(mill, monkeypatch):
    monkeypatch.setattr("edge.agent.agent.READ_AGAIN_S", 0)
    mill.releases.publish(mill.bundle("better", 0.6), ["loom-1"], [])
    mill.trusted = [text_of(mill.stranger)]
    assert "does not trust" in str(mill.look()[0])
    mill.trusted, mill.revoked = [text_of(mill.key)], [text_of(mill.key)]
    assert "is revoked" in str(mill.look()[0])
    assert mill.running == id_of(mill.first)


def test_a_list_that_was_changed(mill, monkeypatch):
    monkeypatch.setattr("edge.agent.agent.READ_AGAIN_S", 0)
    mill.releases.publish(mill.bundle("better", 0.6), ["loom-2"], [])
    path = mill.releases.folder / LIST_NAME
    path.write_bytes(path.read_bytes().replace(b"loom-2", b"loom-1"))
    assert kinds(mill.look()) == [SignatureError]
    assert mill.running == id_of(mill.first)


def test_a_bundle_that_a_stranger_has_signed(mill):
    mill.releases.publish(mill.bundle("foreign", 0.6, key=mill.stranger), ["loom-1"], [])
    assert kinds(mill.look()) == [SignatureError]
    assert mill.running == id_of(mill.first)


@pytest.mark.parametrize("canaries", [[], ["loom-1"]])
def test_a_bundle_for_another_camera(mill, canaries):
    mill.releases.publish(mill.bundle("other", 0.6, mm_per_px=0.7), ["loom-1"], canaries)
    assert kinds(mill.look()) == [ContractError]
    assert (mill.running, mill.tried) == (id_of(mill.first), None)
    mill.same_camera = False
    assert mill.look() == []
    assert id_of(mill.folder / "other") in (mill.running, mill.tried)


def test_a_release_that_is_damaged_where_it_lies_is_fetched_once_it_is_mended(mill):
    better = mill.bundle("better", 0.6)
    release = mill.releases.publish(better, ["loom-1"], [])
    model = mill.releases.folder / release.folder / "model.onnx"
    whole = model.read_bytes()
    for damaged in (whole[:100], b"x" * len(whole)):
        model.write_bytes(damaged)
        assert kinds(mill.look()) == [ReleaseError]
        assert mill.running == id_of(mill.first)
    model.write_bytes(whole)
    assert mill.look() == []
    assert mill.running == id_of(better)


def test_a_download_that_was_damaged_on_the_device_is_fetched_again(mill):
    better = mill.bundle("better", 0.6)
    release = mill.releases.publish(better, ["loom-1"], [])
    agent = mill.agent()
    partial_copy = mill.folder / "agent" / "downloads" / f"{release.folder}.partial"
    partial_copy.mkdir(parents=True)
    (partial_copy / "bundle.json").write_bytes(b"{")
    (partial_copy / "model.onnx").write_bytes(b"half")
    agent.look()
    assert (agent.problems, mill.running) == ([], id_of(better))


def test_the_server_is_away_and_comes_back(mill):
    better = mill.bundle("better", 0.6)
    mill.releases.publish(better, ["loom-1"], [])
    folder = mill.releases.folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server, directory=str(folder)))
    mill.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    away = folder.rename(mill.folder / "away")
    assert [isinstance(one, ReleaseError) for one in mill.look()] == [True]
    away.rename(folder)
    assert mill.look() == []
    server.shutdown()
    thread.join()
    server.server_close()
    assert kinds(mill.look()) == [ReleaseError]
    assert mill.running == id_of(better)


def test_a_folder_that_cannot_be_written_is_said(mill):
    mill.releases.publish(mill.bundle("better", 0.6), ["loom-1"], [])
    (mill.folder / "file").write_text("")
    agent = mill.agent("file/agent")
    agent.look()
    assert OutputError in kinds(agent.problems)
    assert mill.running == id_of(mill.first)


def test_a_damaged_memory_is_started_again(mill, caplog):
    mill.releases.publish(mill.bundle("better", 0.6), ["loom-1"], [])
    (mill.folder / "agent").mkdir()
    (mill.folder / "agent" / "agent.json").write_text("{")
    assert mill.look() == []
    assert "is damaged" in caplog.text
    assert mill.running == id_of(mill.folder / "better")


def test_a_problem_is_said_once(mill, caplog):
    agent = mill.agent()
    for _ in range(3):
        agent.look()
    assert len([one for one in caplog.records if one.levelname == "ERROR"]) == 1
    mill.releases.publish(mill.bundle("better", 0.6), ["loom-1"], [])
    caplog.set_level("INFO")
    agent.look()
    assert "all is as the list of releases says" in caplog.text


def test_an_article_file_is_replaced_as_a_whole(mill):
    place = mill.folder / "articles" / "twill"
    for score in (0.4, 0.6):
        mill.releases.publish(article(mill, score), ["loom-1"], [])
        assert mill.look() == []
        assert open_article(place).manifest.score_thresholds == {"broken": score}
    assert [one.name for one in place.parent.iterdir()] == ["twill"]


def test_an_article_with_a_name_that_is_no_folder_stays_inside(mill):
    mill.releases.publish(article(mill, 0.4, name="../../twill 2"), ["loom-1"], [])
    assert mill.look() == []
    (found,) = (mill.folder / "articles").iterdir()
    assert open_article(found).manifest.article == "../../twill 2"


def test_settings_without_what_an_agent_needs(mill):
    trusted, mill.trusted = mill.trusted, []
    with pytest.raises(ConfigError, match="No key is trusted"):
        mill.agent()
    mill.trusted = trusted
    config = config_of({"test": {"trust": {"keys": trusted}}})
    with pytest.raises(ConfigError, match="name no releases"):
        agent_of([CameraSettings(None, config)], lambda _: None)


def test_downloads_that_no_loom_needs_are_deleted(mill):
    better = mill.bundle("better", 0.6)
    mill.releases.publish(better, ["loom-1"], [])
    mill.look()
    mill.releases.roll_back(None, "by hand")
    mill.look()
    downloads = mill.folder / "agent" / "downloads"
    assert not [one for one in downloads.rglob("*") if one.is_file()]
    shutil.rmtree(mill.folder / "agent")
    assert mill.look() == []
