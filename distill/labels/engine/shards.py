"""Cut work into shards: each is a file that is whole or not there, so a killed job goes on from it.

A shard depends on nothing but its number and the work, so the files are the same however often the job was
killed, and wherever each shard was made.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from distill.labels.annotators.annotator import SaysAtEnd
from edge.core.errors import OutputError
from edge.core.files import cannot_write, write_whole

log = logging.getLogger(__name__)

MakeShard = Callable[[int], bytes]
"""Makes the content of a shard from its number."""


class ShardWork(Protocol):
    """Say what is to be made. It can be pickled; what it opens (a model, for instance) need not be."""

    def open(self) -> MakeShard:
        """Load what is needed, once per process, and return what makes shards."""
        ...


@dataclass(frozen=True, slots=True)
class ShardFolder:
    """Name the files of a job's shards.

    Attributes:
        path: the folder.
        count: shards of the whole job.
    """

    path: Path
    count: int

    def file(self, index: int) -> Path:
        """Return where a shard lies once it is made."""
        return self.path / f"{index:06d}.jsonl"

    def pending(self) -> list[int]:
        """Return the numbers of the shards that are not there yet."""
        return [index for index in range(self.count) if not self.file(index).is_file()]

    def records(self, index: int) -> list[dict[str, Any]]:
        """Read a shard.

        Raises:
            OutputError: if it is missing or damaged.
        """
        file = self.file(index)
        try:
            return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        except OSError as error:
            raise OutputError(f"Cannot read {file}: {error.strerror}.", "Run the job again.") from error
        except (ValueError, RecursionError) as error:
            raise OutputError(f"{file} is damaged.", "Remove it and run the job again.") from error

    def all_records(self) -> Iterator[dict[str, Any]]:
        """Read all shards, in order."""
        for index in range(self.count):
            yield from self.records(index)

    def sweep(self) -> None:
        """Make the folder, and remove half-written files that a killed process left in it.

        Raises:
            OutputError: if it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for leftover in self.path.glob(".*.jsonl-*"):
                leftover.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def clear(self) -> None:
        """Remove all shards: they were made of something else."""
        shutil.rmtree(self.path, ignore_errors=True)


Runner = Callable[["ShardWork", ShardFolder, threading.Event, Callable[[], None]], None]
"""Makes the pending shards of a folder until done or asked to stop; calls back after each."""


def run_here(
    work: ShardWork, folder: ShardFolder, stop: threading.Event, shard_done: Callable[[], None]
) -> None:
    """Make the pending shards one after the other in this process.

    Raises:
        OutputError: if a shard cannot be written; those before it stay.
    """
    make: MakeShard | None = None
    for index in folder.pending():
        if stop.is_set():
            break
        make = make or work.open()
        write_whole(folder.file(index), make(index))
        shard_done()
    maker: object = make  # a function, or more than one
    if isinstance(maker, SaysAtEnd):
        maker.say_at_end()


def lines(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Return records as JSON lines."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
