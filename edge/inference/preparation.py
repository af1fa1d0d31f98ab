"""Prepare a strip for the network in a thread of its own, while the network is busy with another."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from typing_extensions import Self

from edge.cameras.protocol import Frame
from edge.cloth.finder import ClothWatch
from edge.cloth.joints import JointFinder
from edge.cloth.mask import ClothMask, Mask
from edge.cloth.strips import Seam
from edge.core.image import Image
from edge.inference.inspector import Inspector, PreparedImage
from edge.process.camera_log import as_here
from edge.reference.model import Look
from edge.reference.second_look import Looker


@dataclass(frozen=True, slots=True, eq=False)
class PreparedStrip:
    """Hold a strip and what the network is to see of it.

    Attributes:
        carried_lines: lines of the strip before that were put above this one.
        mask: where in the image, with these lines, is cloth; None to take all of it as cloth.
        cloth_lines: (H,) whether any cloth lies on each of the strip's own lines; None as `mask`.
        cloth_columns: first and last-plus-one column of the cloth; None as `mask`.
        prepared_image: for the inspector; None if there is no cloth at all.
        seconds: that all this took.
        joint_row: the strip's row behind a joint that was recognised in it; None for none.
        image: the strip with the lines above it; None if there is no cloth at all.
        look: what the reference model says of that image; None if there is none, or nothing to look at.
    """

    carried_lines: int
    mask: ClothMask | None
    cloth_lines: Mask | None
    prepared_image: PreparedImage | None
    seconds: float

    joint_row: int | None = None
    cloth_columns: tuple[float, float] | None = None
    image: Image | None = None
    look: Look | None = None

    @property
    def is_all_cloth(self) -> bool:
        """Whether each line has cloth on it."""
        return self.cloth_lines is None or bool(self.cloth_lines.all())


@dataclass(slots=True)
class StartedStrip:
    """Hold a strip that is being prepared.

    Attributes:
        taken_s: `time.monotonic()` when it was started.
        number: of the strip in the run, from 1.
        is_watched: whether the optics were looked at.
    """

    strip: Frame
    coming: Future[PreparedStrip]
    taken_s: float
    number: int = 0
    is_watched: bool = False


class Preparation:
    """Prepare strips in order, in a thread that lives as long as a `with`.

    At most one strip more than the one in work is started: an inspector has memory for two.

    Args:
        inspector: prepares the image for the network.
        cloth: says where in an image is cloth; None to take every image as cloth throughout.
        joints: looks for joints between two pieces of cloth; None to disable.
        reference: looks at the cloth beside the detector; None to disable.

    Attributes:
        inspector, reference: as given; others may take their place while nothing is started.
        seam: what is carried over from one strip to the next.
    """

    def __init__(
        self,
        inspector: Inspector,
        cloth: ClothWatch | None,
        joints: JointFinder | None = None,
        reference: Looker | None = None,
    ) -> None:
        self.inspector = inspector
        self.reference = reference
        self._joints = joints
        self._cloth = cloth
        self._thread: ThreadPoolExecutor | None = None
        self.seam = Seam(0)

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "prepare", initializer=as_here())
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._thread = None

    def begin(self, strip: Frame) -> Future[PreparedStrip]:
        """Begin with the next strip.

        Raises:
            ValueError: outside of a `with`.
        """
        if self._thread is None:
            raise ValueError("strips are prepared in a with statement")
        return self._thread.submit(self._prepare, strip)

    def _prepare(self, strip: Frame) -> PreparedStrip:
        start_s = time.monotonic()
        image, carried_lines = self.seam.image(strip)
        mask = None
        if self._cloth is not None:
            with self.inspector.clock.stage("cloth"):
                mask = self._cloth.look(image, strip.position)
        cloth_lines = None if mask is None else mask.lines()[carried_lines:]
        prepared_image = None
        if cloth_lines is None or cloth_lines.any():
            prepared_image = self.inspector.prepare(image, strip.mm_per_px_across)
        look = None
        if self.reference is not None and prepared_image is not None:
            with self.inspector.clock.stage("reference"):
                look = self.reference.look(image, mask, strip)
        joint_row = self._joint_row(strip, mask, cloth_lines)
        seconds = time.monotonic() - start_s
        columns = None if mask is None else mask.columns()
        kept = None if prepared_image is None else image
        return PreparedStrip(
            carried_lines, mask, cloth_lines, prepared_image, seconds, joint_row, columns, kept, look
        )

    def _joint_row(self, strip: Frame, mask: ClothMask | None, cloth_lines: Mask | None) -> int | None:
        """Look for a joint, on strips that know their place and have cloth on all lines."""
        if self._joints is None or strip.position is None:
            return None
        if cloth_lines is not None and not cloth_lines.all():
            self._joints.interrupt()
            return None
        with self.inspector.clock.stage("joint"):
            return self._joints.look(strip.image, strip.position)
