"""Disks that are full or read-only, a database that is locked or damaged."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bad_box import LOOM, gap_m, happened, kinds
from bad_day import Day, Place, judged

CAMERA = f"{LOOM},defects_per_m=4,speed_m_min=6"
WAITS = "cannot be saved"


class Disk:
    """A disk of its own, mounted for a while; in a mount namespace it goes with the process, too."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.place / "filler").open("wb", buffering=0) as filler:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        """Take the filler away."""
        (self.place / "filler").unlink()


@contextmanager
def disk(place: Path, *mount: str) -> Iterator[Disk]:
    """Mount a disk for a while.

    Raises:
        subprocess.CalledProcessError: if that is not permitted here.
    """
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", *mount, place], check=True)
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", place], check=False)


def full(place: Place) -> Day:
    """The disk of record and pictures is full for 20 seconds, then it has space again."""
    with disk(place.folder / "disk", "-t", "tmpfs", "-o", "size=8m", "none") as small:
        flags = ["--save-pictures", f"{small.place}/found"]
        box = place.box(CAMERA, flags=flags, record=small.place / "rolls.db")
        record = box.record
        box.start_and_wait()
        box.until("some defects", lambda: len(happened(record)) >= 5, 60)
        small.fill()
        before = happened(record)
        box.until("the page to say so", lambda: any(WAITS in said for said in box.said), 60)
        frames = box.frames
        time.sleep(20)
        meanwhile = box.frames - frames
        small.free()
        box.until("the record to be written again", lambda: "record written again" in kinds(record), 60)
        box.more_frames(20)
        code, told = box.end(), kinds(record)
        pictures = len(list((small.place / "found").rglob("*.png")))
        day = Day(
            "the disk of record and pictures is full for 20 s",
            f"{meanwhile} frames inspected meanwhile; {len(happened(record)) - len(before)} more recorded "
            f"after, {pictures} pictures; events: {', '.join(dict.fromkeys(told))}",
        )
        day.expect(code == 0, f"exit code {code}")
        day.expect(meanwhile > 50, "inspection did not go on")
        day.expect("record not written" in told, "no event 'record not written'")
        return judged(day, box, before, record=record)


def read_only(place: Place) -> Day:
    """The disk of the record fails while running and is read-only, as ext4 does it; mounted again after."""
    image = place.folder / "disk.img"
    with image.open("wb") as stream:
        stream.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with disk(place.folder / "disk", "-o", "loop", str(image)) as failing:
        box = place.box(CAMERA, record=failing.place / "rolls.db")
        record = box.record
        box.start_and_wait()
        box.until("some defects", lambda: len(happened(record)) >= 5, 60)
        before = happened(record)
        subprocess.run(["mount", "-o", "remount,abort", failing.place], check=True)
        box.until("the page to say so", lambda: any(WAITS in said for said in box.said), 60)
        frames = box.frames
        time.sleep(10)
        meanwhile, code = box.frames - frames, box.end()
        traceback = box.has_traceback
    with disk(place.folder / "disk", "-o", "loop", str(image)) as mended:
        again = place.box(CAMERA, "again", flags=["--seconds", "4"], record=mended.place / "rolls.db")
        again.start()
        code_again, record = again.wait(), mended.place / "rolls.db"
        day = Day(
            "the disk fails and is read-only while running (ext4, remount,abort); a new run when mended",
            f"{meanwhile} frames inspected meanwhile; exit code {code} at the end; "
            f"new run: exit code {code_again}, events: {', '.join(kinds(record))}",
        )
        day.expect(meanwhile > 30, "inspection did not go on")
        day.expect(code == 40, f"exit code {code} in place of 40")
        day.expect(code_again == 0, f"exit code {code_again} of the new run")
        day.expect(not traceback, "a traceback was shown")
        box.said.update(again.said)
        return judged(day, box, before, record=record)


def read_only_at_start(place: Place) -> Day:
    """The folder of the record cannot be written at the start."""
    with disk(place.folder / "disk", "-t", "tmpfs", "-o", "ro", "none") as closed:
        box = place.box(CAMERA, record=closed.place / "rolls.db")
        box.start()
        code = box.wait()
    last = [line.strip() for line in box.log if line.startswith("error:")]
    day = Day("the disk is read-only at the start", f"exit code {code}: {last[-1] if last else 'no word'}")
    day.expect(code == 40 and len(last) == 1, f"exit code {code}, {len(last)} lines")
    day.expect(not box.has_traceback, "a traceback was shown")
    return day


def locked(place: Place) -> Day:
    """Another program holds the database for 15 seconds."""
    box = place.box(CAMERA)
    box.start_and_wait()
    box.until("some defects", lambda: len(happened(box.record)) >= 5, 60)
    with closing(sqlite3.connect(box.record, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before, frames = happened(box.record), box.frames
        time.sleep(15)
        meanwhile = box.frames - frames
        other.execute("ROLLBACK")
    box.until("the record to be written again", lambda: "record written again" in kinds(box.record), 60)
    code = box.end()
    day = Day(
        "another program holds the database for 15 s",
        f"{meanwhile} frames inspected meanwhile; {len(happened(box.record)) - len(before)} more recorded "
        f"after; events: {', '.join(dict.fromkeys(kinds(box.record)))}",
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect(meanwhile > 30, "inspection did not go on")
    day.expect(any(WAITS in said for said in box.said), "the page did not say so")
    return judged(day, box, before)


def damaged(place: Place) -> Day:
    """The database is overwritten in its middle between two runs: it is set aside, and a new one begun."""
    box = place.box(CAMERA)
    box.start_and_wait()
    box.until("some defects", lambda: len(happened(box.record)) >= 5, 60)
    box.end()
    kept = place.folder / "whole.db"
    shutil.copyfile(box.record, kept)
    with box.record.open("r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(8192))
    bytes_before = box.record.read_bytes()
    box.start_and_wait()
    box.more_frames(20)
    before, code = happened(box.record), box.end()
    aside = box.record.with_name("rolls.db.1")
    day = Day(
        "8 kB of the database are overwritten between two runs",
        f"set aside byte for byte as {aside.name}; the new record has the events: "
        f"{', '.join(kinds(box.record))}; gaps {gap_m(box.record)}",
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect(aside.exists() and aside.read_bytes() == bytes_before, "the damaged file was changed")
    day.expect("record set aside" in kinds(box.record), "no event 'record set aside'")
    return judged(day, box, before)


DISK_DAYS = {
    "disk-full": full,
    "disk-read-only": read_only,
    "disk-read-only-at-start": read_only_at_start,
    "database-locked": locked,
    "database-damaged": damaged,
}
