"""Kill the review page while changes are posted to it: each that was answered is in its log afterwards."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from kill_process import awaited, forked, kill, last_line

from distill.labels.formats import yolo
from distill.labels.formats.yolo_rows import SAME_BOX_PX
from distill.labels.review.decisions import apply_reviews
from distill.labels.review.log import ReviewLog
from distill.labels.sets.annotations import LabelSet, Region
from tests.unit.distill.labels.review.folders import CLASSES, REGIONS, SIZE_HW, write_folder

START_S = 60.0
ACTIONS = ("accept", "reject", "relabel", "redraw", "add", "add", "undo", "finish")


class Change(NamedTuple):
    """Something that a person does on the page, and the image it is done to."""

    action: str
    image_name: str


class Review:
    """A folder under review, by one server after the other.

    Args:
        folder: for the data set, which is made, and the log.
        chance: of what is done.
    Attributes:
        acknowledged: how many decisions were answered.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = write_folder(folder / "data")
        self.acknowledged = 0
        self._said = folder / "log.txt"
        self._chance = chance
        self._first = yolo.read(self.folder)
        self._known: list[Change] = []
        self._client = httpx.Client(timeout=START_S, verify=False, trust_env=False)

    def killed_at_start(self, after_s: float) -> None:
        """Start a server and kill it so long after its start, as it writes what was pending."""
        child = self._start()
        if awaited(child, after_s) is not None:
            raise AssertionError(f"the server ended by itself: {last_line(self._said)}")
        kill(child)
        self._check([], None)

    def killed_at_work(self, after_s: float) -> bool:
        """Start a server, post changes, and kill it so long after the first answer.

        Returns:
            Whether a change was under way at that moment.
        """
        child = self._start()
        address = self._address(child)
        end = threading.Timer(after_s, kill, [child])
        answered, under_way = self._post_until_the_end(address, end)
        end.join()
        self._check(answered, under_way)
        return under_way is not None

    def end_in_peace(self) -> None:
        """Start a server, end it, and compare the files of the data set with what was decided."""
        child = self._start()
        self._address(child)
        os.kill(child, signal.SIGTERM)
        code = awaited(child, START_S)
        if code != 0:
            raise AssertionError(f"exit code {code} on SIGTERM: {last_line(self._said)}")
        self._check([], None)
        with ReviewLog(self.folder) as log:
            if log.pending:
                raise AssertionError(f"{log.pending} decisions are not in the files")
            compare(apply_reviews(self._first, log.decisions), yolo.read(self.folder))
        if problems := yolo.read(self.folder).problems:
            raise AssertionError(f"files of the data set cannot be read: {problems}")

    def _start(self) -> int:
        self._said.unlink(missing_ok=True)
        return forked(["review", str(self.folder), "--port", "0"], self._said)

    def _address(self, child: int) -> str:
        end_s = time.monotonic() + START_S
        while time.monotonic() < end_s and awaited(child, 0.005) is None:
            said = self._said.read_text(encoding="utf-8") if self._said.exists() else ""
            if found := re.search(r"(http://\S+)\s", said):
                return found[1]
        raise AssertionError(f"the server did not start: {last_line(self._said)}")

    def _post_until_the_end(self, address: str, end: threading.Timer) -> tuple[list[Change], Change | None]:
        """Post one change after the other; returns those answered, and the one that was not."""
        answered: list[Change] = []
        self._client.get(address)
        end.start()
        while True:
            image_name, under_way = self._chance.choice(sorted(REGIONS)), None
            try:
                asked = {"wanted": "all", "name": image_name}
                view = self._client.get(f"{address}review/image", params=asked).json()
                path, body = self._asked(view)
                under_way = Change(body.get("action", path), image_name)
                answer = self._client.post(f"{address}review/{path}", json=body)
            except httpx.TransportError:
                return answered, under_way
            if answer.is_success:
                answered.append(under_way._replace(image_name=answer.json().get("image", image_name)))
            elif answer.status_code != 422:
                raise AssertionError(f"{under_way}: {answer.status_code} {answer.text}")

    def _asked(self, view: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the address and the body of a change at random."""
        action, (height, width) = self._chance.choice(ACTIONS), SIZE_HW
        if action in ("undo", "finish"):
            return action, {"wanted": "all"}
        x, y = self._chance.uniform(0, width - 30), self._chance.uniform(0, height - 20)
        return "decide", {
            "image": view["image"], "version": view["version"], "action": action,
            "place": self._chance.randrange(max(1, len(view["regions"]))),
            "label": self._chance.choice(CLASSES), "box_xyxy_px": [x, y, x + 25, y + 15],
        }  # fmt: skip

    def _check(self, answered: list[Change], under_way: Change | None) -> None:
        """See that the log holds what it held and what was answered, in order, and at most one more."""
        with ReviewLog(self.folder) as log:
            decided = [Change(one.action, one.image_name) for one in log.decisions]
            pending = log.pending
        new = [change for change in answered if change.action != "finish"]
        self.acknowledged += len(new)
        expected = [*self._known, *new]
        more = decided[len(expected) :]
        if decided[: len(expected)] != expected:
            raise AssertionError(f"of {len(expected)} decisions that were answered not all are in the log")
        if len(more) > 1 or (more and (under_way is None or more[0].action != under_way.action)):
            raise AssertionError(f"the log holds {more}, which nobody asked for")
        if answered and answered[-1].action == "finish" and not more and pending:
            raise AssertionError(f"finished, and {pending} decisions are not in the files")
        self._known = decided
        yolo.read(self.folder)  # COCO files that lag behind until the next start are problems that it lists


def compare(expected: LabelSet, found: LabelSet) -> None:
    """See that two label sets are one, but for digits that a file has cost.

    Raises:
        AssertionError: if they are not.
    """
    of_found = {image.file_name: image.regions for image in found.images}
    for image in expected.images:
        here = of_found[image.file_name]
        if len(here) != len(image.regions) or not all(map(is_same, image.regions, here)):
            raise AssertionError(f"{image.file_name}: {image.regions} was decided, {here} is in the files")


def is_same(a: Region, b: Region) -> bool:
    """Tell whether two regions are one."""
    apart = max(abs(one - other) for one, other in zip(a.box_xyxy_px, b.box_xyxy_px, strict=True))
    said_a, said_b = ((r.label, r.review, r.category, r.annotator) for r in (a, b))
    return said_a == said_b and apart <= SAME_BOX_PX
