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

from bad_day import Day, Place, judged
from bad_device import LOOM, gap_m, happened, kinds

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
    """The disk of record and images is full for 20 seconds, then it has space again."""
    with disk(place.folder / "disk", "-t", "tmpfs", "-o", "size=8m", "none") as small:
        flags = ["--save-pictures", f"{small.place}/found"]
        device = place.device(CAMERA, flags=flags, record=small.place / "rolls.db")
        record = device.record
        device.start_and_wait()
        device.until("some defects", lambda: len(happened(record)) >= 5, 60)
        small.fill()
        before = happened(record)
        device.until("the page to say so", lambda: any(WAITS in said for said in device.said), 60)
        frames = device.frames
        time.sleep(20)
        meanwhile = device.frames - frames
        small.free()
        device.until("the record to be written again", lambda: "record written again" in kinds(record), 60)
        device.more_frames(20)
        code, told = device.end(), kinds(record)
        images = len(list((small.place / "found").rglob("*.png")))
        day = Day(
            "the disk of record and images is full for 20 s",
            f"{meanwhile} frames inspected meanwhile; {len(happened(record)) - len(before)} more recorded "
            f"after, {images} images; events: {', '.join(dict.fromkeys(told))}",
        )
        day.expect(code == 0, f"exit code {code}")
        day.expect(meanwhile > 50, "inspection did not go on")
        day.expect("record not written" in told, "no event 'record not written'")
        return judged(day, device, before, record=record)


def read_only(place: Place) -> Day:
    """The disk of the record fails while running and is read-only, as ext4 does it; mounted again after."""
    image = place.folder / "disk.img"
    with image.open("wb") as stream:
        stream.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with disk(place.folder / "disk", "-o", "loop", str(image)) as failing:
        device = place.device(CAMERA, record=failing.place / "rolls.db")
        record = device.record
        device.start_and_wait()
        device.until("some defects", lambda: len(happened(record)) >= 5, 60)
        before = happened(record)
        subprocess.run(["mount", "-o", "remount,abort", failing.place], check=True)
        device.until("the page to say so", lambda: any(WAITS in said for said in device.said), 60)
        frames = device.frames
        time.sleep(10)
        meanwhile, code = device.frames - frames, device.end()
        traceback = device.has_traceback
    with disk(place.folder / "disk", "-o", "loop", str(image)) as mended:
        again = place.device(CAMERA, "again", flags=["--seconds", "4"], record=mended.place / "rolls.db")
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
        device.said.update(again.said)
        return judged(day, device, before, record=record)


def read_only_at_start(place: Place) -> Day:
    """The folder of the record cannot be written at the start."""
    with disk(place.folder / "disk", "-t", "tmpfs", "-o", "ro", "none") as closed:
        device = place.device(CAMERA, record=closed.place / "rolls.db")
        device.start()
        code = device.wait()
    last = [line.strip() for line in device.log if line.startswith("error:")]
    day = Day("the disk is read-only at the start", f"exit code {code}: {last[-1] if last else 'no word'}")
    day.expect(code == 40 and len(last) == 1, f"exit code {code}, {len(last)} lines")
    day.expect(not device.has_traceback, "a traceback was shown")
    return day


def locked(place: Place) -> Day:
    """Another program holds the database for 15 seconds."""
    device = place.device(CAMERA)
    device.start_and_wait()
    device.until("some defects", lambda: len(happened(device.record)) >= 5, 60)
    with closing(sqlite3.connect(device.record, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before, frames = happened(device.record), device.frames
        time.sleep(15)
        meanwhile = device.frames - frames
        other.execute("ROLLBACK")
    device.until(
        "the record to be written again", lambda: "record written again" in kinds(device.record), 60
    )
    code = device.end()
    day = Day(
        "another program holds the database for 15 s",
        f"{meanwhile} frames inspected meanwhile; {len(happened(device.record)) - len(before)} recorded "
        f"after; events: {', '.join(dict.fromkeys(kinds(device.record)))}",
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect(meanwhile > 30, "inspection did not go on")
    day.expect(any(WAITS in said for said in device.said), "the page did not say so")
    return judged(day, device, before)


def damaged(place: Place) -> Day:
    """The database is overwritten in its middle between two runs: it is set aside, and a new one
    started."""
    device = place.device(CAMERA)
    device.start_and_wait()
    device.until("some defects", lambda: len(happened(device.record)) >= 5, 60)
    device.end()
    kept = place.folder / "whole.db"
    shutil.copyfile(device.record, kept)
    with device.record.open("r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(8192))
    bytes_before = device.record.read_bytes()
    device.start_and_wait()
    device.more_frames(20)
    before, code = happened(device.record), device.end()
    aside = device.record.with_name("rolls.db.1")
    day = Day(
        "8 kB of the database are overwritten between two runs",
        f"set aside byte for byte as {aside.name}; the new record has the events: "
        f"{', '.join(kinds(device.record))}; gaps {gap_m(device.record)}",
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect(aside.exists() and aside.read_bytes() == bytes_before, "the damaged file was changed")
    day.expect("record set aside" in kinds(device.record), "no event 'record set aside'")
    return judged(day, device, before)


DISK_DAYS = {
    "disk-full": full,
    "disk-read-only": read_only,
    "disk-read-only-at-start": read_only_at_start,
    "database-locked": locked,
    "database-damaged": damaged,
}
