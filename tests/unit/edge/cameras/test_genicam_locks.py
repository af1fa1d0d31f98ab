"""Semaphores of GenICam that a killed process left locked."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import struct
import threading
import time

import pytest

from edge.cameras import genicam_locks
from edge.cameras.genicam_locks import SEMAPHORES, remove_stale_locks

NAME = "sem.1570d2a9b5ed8cc728GenICam_XML"


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(genicam_locks, "UNUSED_S", 0.1)
    monkeypatch.setattr(genicam_locks, "STUCK_S", 0.6)
    monkeypatch.setattr(genicam_locks, "LOOK_S", 0.02)


def semaphore(folder, value, name=NAME):
    """Write what glibc keeps of a named semaphore."""
    path = folder / name
    path.write_bytes(struct.pack("=IIIIQQ", value, 0, 0x80, 0, 0, 0))
    return path


def test_a_lock_that_no_process_has_open_is_removed(tmp_path):
    stuck, free = semaphore(tmp_path, 0), semaphore(tmp_path, 1, "sem.168b26410036956e1eGenICam_XML")
    assert remove_stale_locks(tmp_path) == (NAME,)
    assert not stuck.exists()
    assert free.exists()


def test_a_lock_that_its_holder_releases_stays(tmp_path):
    lock = semaphore(tmp_path, 0)
    with lock.open("r+b") as file, mmap.mmap(file.fileno(), 32) as memory:
        release = threading.Timer(0.25, memory.__setitem__, (slice(0, 4), struct.pack("=I", 1)))
        release.start()
        assert remove_stale_locks(tmp_path) == ()
        release.join()
    assert lock.exists()


def test_a_lock_that_a_process_has_open_is_waited_for_and_removed_when_it_stays_held(tmp_path):
    lock = semaphore(tmp_path, 0)
    started_s = time.monotonic()
    with lock.open("r+b") as file, mmap.mmap(file.fileno(), 32):
        assert remove_stale_locks(tmp_path) == (NAME,)
    assert time.monotonic() - started_s >= genicam_locks.STUCK_S
    assert not lock.exists()


def test_who_waits_for_a_stuck_lock_goes_on():
    name = f"/loomsight-test-{os.getpid()}-GenICam_XML"
    waiter = multiprocessing.get_context("spawn").Process(target=wait_for, args=(name,))
    waiter.start()
    lock = SEMAPHORES / f"sem{name.replace('/', '.')}"
    while not lock.exists():
        time.sleep(0.01)
    assert lock.name in remove_stale_locks(lock.parent)
    waiter.join(20)
    assert waiter.exitcode == 0


def wait_for(name):
    """Open a semaphore that is locked, and wait until it is released."""
    libc = ctypes.CDLL(None)
    libc.sem_open.restype = ctypes.c_void_p
    libc.sem_wait(ctypes.c_void_p(libc.sem_open(name.encode(), os.O_CREAT, 0o600, 0)))


def test_no_lock_costs_no_time(tmp_path):
    semaphore(tmp_path, 1)
    started_s = time.monotonic()
    assert remove_stale_locks(tmp_path) == ()
    assert time.monotonic() - started_s < genicam_locks.UNUSED_S


@pytest.mark.parametrize("content", [b"", b"\0", b"not a semaphore"])
def test_a_file_that_is_no_semaphore_is_left_alone(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    assert remove_stale_locks(tmp_path) == ()


def test_other_semaphores_are_left_alone(tmp_path):
    other = semaphore(tmp_path, 0, "sem.another-program")
    assert remove_stale_locks(tmp_path) == ()
    assert other.exists()


def test_a_lock_that_may_not_be_removed_is_said_and_does_not_hold_up_for_ever(
    tmp_path, caplog, monkeypatch
):
    semaphore(tmp_path, 0)

    def refuse(_self):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    assert remove_stale_locks(tmp_path) == ()
    assert "cannot be removed" in caplog.text
