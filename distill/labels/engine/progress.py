"""Show on stderr how labelling goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from distill.core.progress import LOG_LINE_S


@contextmanager
def shards_shown(what: str, done: int, total: int) -> Iterator[Callable[[], None]]:
    """Draw a bar over the shards of a stage, or print a line a minute into a log.

    Args:
        what: the stage.
        done: shards that are there already.
        total: shards of the stage.
    Yields:
        What is to be called after each shard.
    """
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    last_line_s, finished = time.monotonic(), done
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(what, total=total, completed=done)

        def shard_done() -> None:
            nonlocal last_line_s, finished
            finished += 1
            progress.update(bar, completed=finished)
            if not console.is_terminal and time.monotonic() - last_line_s >= LOG_LINE_S:
                last_line_s = time.monotonic()
                console.print(f"{what}: {finished} of {total} shards", highlight=False)

        yield shard_done
