"""List the images of a job, in an order that never changes while the job lasts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge.cameras.folder import image_files
from edge.core.errors import DatasetError, OutputError
from edge.core.files import write_whole


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Hold which images a job is about.

    Attributes:
        root: folder that the names start from.
        names: of images, with forward slashes, sorted.
        shard_pictures: how many make a shard.
    """

    root: Path
    names: tuple[str, ...]
    shard_pictures: int

    @property
    def shards(self) -> int:
        """How many shards the images make."""
        return -(-len(self.names) // self.shard_pictures)

    def names_of(self, shard: int) -> tuple[str, ...]:
        """Return the images of a shard."""
        return self.names[shard * self.shard_pictures : (shard + 1) * self.shard_pictures]

    @property
    def digest(self) -> str:
        """Tell catalogues of other images or other shards apart."""
        return hashlib.sha256(self._content()).hexdigest()

    def keep(self, file: Path, *, is_started: bool = True) -> None:
        """Write the catalogue, or compare it with the one that a job before this wrote.

        Args:
            file: where it is kept.
            is_started: whether anything of that job has been labelled; else that catalogue is replaced.
        Raises:
            DatasetError: if that one has other images.
            OutputError: if it cannot be read or written.
        """
        if not is_started or not file.is_file():
            write_whole(file, self._content())
            return
        try:
            same = file.read_bytes() == self._content()
        except OSError as error:
            raise OutputError(f"Cannot read {file}: {error.strerror}.", "Check its permissions.") from error
        if not same:
            raise DatasetError(
                f"{self.root} no longer holds the images that this job was started with.",
                "Restore them, or start a new job with another --out.",
            )

    def _content(self) -> bytes:
        head = json.dumps({"shard_pictures": self.shard_pictures, "images": len(self.names)})
        rows = (json.dumps(name, ensure_ascii=False) for name in self.names)
        return ("\n".join([head, *rows]) + "\n").encode()


def catalogue_of_folder(root: Path, shard_pictures: int) -> Catalogue:
    """List the images of a folder and of the folders in it.

    Raises:
        DatasetError: if there is none, or the folder cannot be read.
    """
    if not root.is_dir():
        raise DatasetError(f"There is no folder {root}.", "Name the folder of the images.")
    names = (path.relative_to(root).as_posix() for path in image_files(root))
    return catalogue_of(root, names, shard_pictures)


def catalogue_of(root: Path, names: Iterable[str], shard_pictures: int) -> Catalogue:
    """Put names in order.

    Raises:
        DatasetError: if there is none.
    """
    ordered = tuple(sorted(names))
    if not ordered:
        raise DatasetError(f"There are no images in {root}.", "Name the folder of the images.")
    return Catalogue(root, ordered, shard_pictures)
