"""Run the shards of a job on Ray Data: the same work on one machine or on a cluster.

Actors load the work once and write their shards themselves, so the folder has to be seen by all machines.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from distill.labels.engine.shards import MakeShard, ShardFolder, ShardWork
from edge.core.errors import ConfigError, LoomsightError, OutputError
from edge.core.files import write_whole

log = logging.getLogger(__name__)

LOCAL = "local"
"""The address that starts Ray on this machine."""


@dataclass(frozen=True, slots=True)
class RayRunner:
    """Make shards on Ray; a `Runner`, to be used within `connected`.

    Attributes:
        workers: actors that make shards at the same time.
        gpus_per_worker: that an actor claims.
        cpus_per_worker: that an actor claims; also the threads that numpy and torch use in it.
    """

    workers: int = 1
    gpus_per_worker: float = 0.0
    cpus_per_worker: int = 1

    def __call__(
        self, work: ShardWork, folder: ShardFolder, stop: threading.Event, shard_done: Callable[[], None]
    ) -> None:
        """Make the pending shards.

        Raises:
            ConfigError: if the cluster never has what an actor claims.
            LoomsightError: what the work raised.
        """
        pending = folder.pending()
        if not pending or stop.is_set():
            return
        import ray
        from ray.exceptions import RayError

        self._check_resources(ray.cluster_resources())
        actors = ray.data.ActorPoolStrategy(size=min(self.workers, len(pending)))
        # Blocks of their own, made here: repartitioning would need a processor that the actors may hold.
        rows = [{"shard": index} for index in pending]
        shards = ray.data.from_items(rows, override_num_blocks=len(rows))
        made = shards.map_batches(
            _actor_for(work, folder), batch_size=1, compute=actors,
            num_cpus=self.cpus_per_worker, num_gpus=self.gpus_per_worker,
        )  # fmt: skip
        try:
            for row in made.iter_rows():
                _raise_problem(row["problem"])
                shard_done()
                if stop.is_set():
                    return
        except RayError as error:
            raise OutputError(
                f"Ray gave up: {str(error).strip().splitlines()[-1]}.",
                "What was labelled stays: run the same command again with --resume.",
            ) from error

    def _check_resources(self, has: Mapping[str, float]) -> None:
        for name, needed in (("CPU", self.cpus_per_worker), ("GPU", self.gpus_per_worker)):
            if needed * self.workers > has.get(name, 0.0):
                raise ConfigError(
                    f"Ray has {has.get(name, 0.0):g} {name} here, {self.workers} workers claim "
                    f"{needed * self.workers:g}.",
                    f"Lower --workers or --{name.lower()}s-per-worker.",
                )


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Hold a connection to a cluster, or, for `local`, a cluster of our own.

    Raises:
        ConfigError: if none answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Its core otherwise prints a warning about every actor pool (ray-project/ray issue 53727).
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # An actor without GPUs otherwise loses sight of them, and Ray warns of it on each start.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    own = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # where its own node does not start, Ray raises no narrower one
        raise ConfigError(
            f"No Ray cluster answers at '{address}': {str(error).splitlines()[0]}",
            "Start one with `ray start --head`, correct the address, or leave it out.",
        ) from error
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        yield
    finally:
        ray.shutdown()


def _actor_for(work: ShardWork, folder: ShardFolder) -> type:
    """Return the class of what makes shards in a process of Ray's."""

    class Actor:
        def __init__(self) -> None:
            self._make: MakeShard | None = None

        def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
            problems = [self._shard(int(index)) for index in batch["shard"]]
            return {"shard": list(batch["shard"]), "problem": problems}

        def _shard(self, index: int) -> str:
            """Make a shard; return what went wrong as text, as errors do not travel whole."""
            try:
                self._make = self._make or work.open()
                write_whole(folder.file(index), self._make(index))
            except LoomsightError as error:
                return "\n".join((type(error).__name__, error.problem, error.cure))
            return ""

    return Actor


def _raise_problem(text: str) -> None:
    if text:
        name, problem, cure = text.split("\n", 2)
        kinds = {kind.__name__: kind for kind in LoomsightError.__subclasses__()}
        raise kinds.get(name, OutputError)(problem, cure)
