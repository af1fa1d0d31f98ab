"""Keep the answers of an annotator for every image, in shards: raw, so nothing is asked twice.

Names, calibration, fusion and thresholds come later (`deciding`), cheaply and as often as wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from distill.labels.annotators.annotator import Annotator, SaysAtEnd
from distill.labels.engine.builders import AnnotatorContext
from distill.labels.engine.catalogue import Catalogue
from distill.labels.engine.region_lines import values_of
from distill.labels.engine.registry import ANNOTATORS
from distill.labels.engine.settings import AnnotatorSpec, Device
from distill.labels.engine.shards import MakeShard, lines
from distill.labels.sets.image_files import content_digest, decoded
from edge.core.errors import DatasetError
from edge.core.image import Image
from edge.core.taxonomy import Taxonomy

READERS = 4
"""Threads that decode images ahead of the annotator."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Ask one annotator about the images of a catalogue.

    A line says of an image: `image`, `size_hw_px`, `pixels` (a digest of them) and `regions`; or `image`
    and the `problem` it has, and the others go on.

    Attributes:
        spec: who is asked.
        catalogue: about what.
        taxonomy: of the mill.
        batch: images given to it at once.
        device: auto, cpu or cuda.
        mm_per_px: scale of the images; None if not known.
    """

    spec: AnnotatorSpec
    catalogue: Catalogue
    taxonomy: Taxonomy
    batch: int
    device: Device = "auto"
    mm_per_px: float | None = None

    def open(self) -> MakeShard:
        """Load the annotator."""
        context = AnnotatorContext(self.taxonomy, self.device, self.mm_per_px)
        return _Answers(self, ANNOTATORS[self.spec.kind].load().build(self.spec, context))

    def read(self, shard: int) -> Iterator[list[tuple[str, Image | str]]]:
        """Decode the images of a shard: each with its name, or with the problem it has."""
        names = self.catalogue.names_of(shard)
        return self._read([names[start : start + self.batch] for start in range(0, len(names), self.batch)])

    def _read(self, batches: Sequence[Sequence[str]]) -> Iterator[list[tuple[str, Image | str]]]:
        """Decode batch after batch, one ahead of the one that is looked at."""
        with ThreadPoolExecutor(READERS) as readers:
            waiting = [[readers.submit(self._image, name) for name in batch] for batch in batches[:1]]
            for position in range(len(batches)):
                ahead = batches[position + 1 : position + 2]
                waiting += [[readers.submit(self._image, name) for name in batch] for batch in ahead]
                yield [future.result() for future in waiting.pop(0)]

    def _image(self, name: str) -> tuple[str, Image | str]:
        """Decode an image, or say in a line why that cannot be done."""
        try:
            return name, decoded(self.catalogue.root / name)
        except DatasetError as error:
            return name, str(error)


@dataclass(frozen=True, slots=True)
class _Answers:
    """Make the shards of the answers of one annotator, and let it say at the end what it counted."""

    asking: Asking
    annotator: Annotator

    def __call__(self, shard: int) -> bytes:
        return lines(
            [record for batch in self.asking.read(shard) for record in _answered(self.annotator, batch)]
        )

    def say_at_end(self) -> None:
        if isinstance(self.annotator, SaysAtEnd):
            self.annotator.say_at_end()


def _answered(annotator: Annotator, batch: Sequence[tuple[str, Image | str]]) -> list[dict[str, Any]]:
    answers = iter(annotator.annotate([read for _, read in batch if not isinstance(read, str)]))
    return [
        {"image": name, "problem": read}
        if isinstance(read, str)
        else {
            "image": name,
            "size_hw_px": [int(side) for side in read.shape[:2]],
            "pixels": content_digest(read),
            "regions": [values_of(region) for region in next(answers)],
        }
        for name, read in batch
    ]
