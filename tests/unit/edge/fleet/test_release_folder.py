"""The folder of releases: each list is whole, signed and newer than the one before, whoever else writes."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from edge.bundle.release_list import LIST_NAME, LIST_SIGNATURE_NAME, ReleaseList
from edge.core.errors import ConfigError, LoomsightError, ReleaseError, SignatureError
from edge.fleet.releases import PENDING_NAME, Releases, canaries_of
from edge.fleet.settings import ReleaseSettings
from tests.conftest import write_bright_cell_bundle
from tests.processes import loomsight


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A key and a bundle that it has signed."""
    folder = tmp_path_factory.mktemp("signed")
    key, bundle = folder / "mill.key", write_bright_cell_bundle(folder / "bundle")
    for words in (("key", "new", key), ("sign", bundle, "--key", key)):
        done = loomsight("bundle", *words)
        assert done.returncode == 0, done.stderr
    return key, bundle


@pytest.fixture
def releases(tmp_path, signed):
    return Releases(ReleaseSettings(folder=tmp_path / "releases", key_file=signed[0]))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The office's clock, seconds since 1970: at rest, so that numbers of lists are small."""
    now = SimpleNamespace(time=lambda: 0.0)
    monkeypatch.setattr("edge.fleet.releases.time", now)
    return now


def test_the_first_list_of_a_folder_that_was_lost_is_newer_than_the_last_one_before(releases, clock):
    clock.time = lambda: 1_800_000_000.5
    releases.folder.mkdir()
    assert releases._write(ReleaseList(), ()).sequence == 1_800_000_000
    assert releases._write(ReleaseList(sequence=1_900_000_000), ()).sequence == 1_900_000_001


def test_each_change_raises_the_number(releases, signed):
    first = releases.publish(signed[1], ["a", "b"], ["a"])
    assert (releases.read().sequence, first.stage) == (1, "canary")
    assert releases.publish(signed[1], ["a", "b"], ["a"]) == first
    assert releases.read().sequence == 1
    releases.advance(first, "released", "better")
    assert releases.read().current(["b"]).id == first.id
    releases.roll_back(None, "by hand")
    assert (releases.read().sequence, releases.read().current(["b"])) == (3, None)
    with pytest.raises(ReleaseError, match="no release to take back"):
        releases.roll_back(None, "again")


def test_a_release_that_moved_on_meanwhile_is_not_advanced(releases, signed):
    seen = releases.publish(signed[1], ["a"], ["a"])
    releases.roll_back(seen.id[:4], "by hand")
    releases.advance(seen, "released", "judged too late")
    assert releases.read().releases[-1].stage == "rolled back"


def test_who_reads_while_another_writes_sees_a_whole_list(releases, signed):
    releases.publish(signed[1], ["a"], [])
    problems, end = [], threading.Event()

    def read():
        while not end.is_set():
            try:
                releases.read()
            except (LoomsightError, OSError) as error:
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(20):
        releases.publish(signed[1], ["a", f"loom-{number}"], [])
    end.set()
    for reader in readers:
        reader.join()
    assert problems == []


def test_two_publish_at_once_and_both_stand_on_the_list(releases, signed):
    start = threading.Barrier(4)

    def publish(number):
        start.wait()
        releases.publish(signed[1], [f"loom-{number}"], [])

    writers = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = releases.read()
    assert (found.sequence, len(found.releases)) == (4, 4)


def test_a_kill_between_list_and_signature_is_made_up_for(releases, signed):
    releases.publish(signed[1], ["a"], [])
    signature = releases.folder / LIST_SIGNATURE_NAME
    old = signature.read_bytes()
    releases.publish(signed[1], ["a", "b"], [])
    signature.rename(releases.folder / PENDING_NAME)
    signature.write_bytes(old)
    assert releases.read().sequence == 2
    assert not (releases.folder / PENDING_NAME).exists()


def test_a_list_that_somebody_else_changed_is_refused(releases, signed):
    releases.publish(signed[1], ["a"], [])
    path = releases.folder / LIST_NAME
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"z"'))
    with pytest.raises(SignatureError, match="was changed"):
        releases.publish(signed[1], ["b"], [])


def test_publishing_again_never_takes_away_what_devices_fetch(releases, signed, monkeypatch):
    release = releases.publish(signed[1], ["a"], [])
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: pytest.fail("the whole copy was removed"))
    releases.publish(signed[1], ["a", "b"], [])
    monkeypatch.undo()
    (releases.folder / release.folder / "model.onnx").write_bytes(b"damaged")
    releases.publish(signed[1], ["c"], [])
    copy = releases.folder / release.folder / "model.onnx"
    assert copy.read_bytes() == (signed[1] / "model.onnx").read_bytes()


def test_what_cannot_be_published_is_said(releases, signed, tmp_path):
    unsigned = write_bright_cell_bundle(tmp_path / "unsigned")
    with pytest.raises(SignatureError, match="is not signed"):
        releases.publish(unsigned, ["a"], [])
    with pytest.raises(ConfigError, match="No loom of --looms: z"):
        releases.publish(signed[1], ["a"], ["z"])
    with pytest.raises(ConfigError, match="3 canaries are asked for"):
        canaries_of("3", ["a", "b"])
    assert canaries_of("1", ["a", "b"]) == ["a"]
    assert canaries_of("b, a", ["a", "b"]) == ["b", "a"]
    with pytest.raises(ConfigError, match="do not say where"):
        Releases(ReleaseSettings())
    assert releases.read().releases == ()
