"""A process of its own: stop an install at each of its file operations, and look at the store afterwards.

python power_loss.py kill|fail OLD NEW FOLDER

`kill` ends a forked child with SIGKILL, `fail` lets the operation fail as on a full disk. Prints how many
operations there were.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from pathlib import Path

from edge.bundle.install import install
from edge.bundle.opening import open_bundle
from edge.bundle.store import bundle_path, installed_path, is_store, read_state
from edge.core.errors import LoomsightError

ON_FILES = ("open", "os.", "shutil.", "tempfile.", "fcntl.")
STOPPED, UNTOUCHED, BROKEN = 1, 0, 2
"""Exit codes of a child."""

READS = ("os.listdir", "os.scandir", "shutil.copymode")


class Interruption:
    """Count what is done to files below a folder, and stop at one of these operations."""

    def __init__(self, folder: Path, at: int, mode: str) -> None:
        self._folder, self.at, self._mode, self.count = str(folder), at, mode, 0

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in READS or not event.startswith(ON_FILES):
            return
        in_store = any(str(argument).startswith(self._folder) for argument in arguments)
        if in_store or event in {"os.remove", "os.rmdir", "os.fsync", "fcntl.flock"}:
            self.count += 1
            if self.count == self.at:
                self._stop()

    def _stop(self) -> None:
        if self._mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, "No space left on device")


def interrupted_install(source: Path, store: Path, at: int, mode: str) -> bool:
    """Install in a child process that is stopped at an operation; tell whether it got to its end."""
    child = os.fork()
    if child == 0:
        os._exit(in_child(source, store, Interruption(store, at, mode)))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (STOPPED, UNTOUCHED, -signal.SIGKILL), (at, code)
    return code == UNTOUCHED


def in_child(source: Path, store: Path, interruption: Interruption) -> int:
    sys.addaudithook(interruption.hook)
    sync = os.fsync
    os.fsync = lambda descriptor: (interruption.hook("os.fsync", ()), sync(descriptor))[1]
    try:
        install(source, store, lambda bundle: None)
    except LoomsightError as error:
        return STOPPED if "\n" not in str(error) else BROKEN
    except BaseException as error:  # noqa: BLE001 - the child must not go on as its parent
        print(f"operation {interruption.at}: {error!r}", file=sys.stderr)
        return BROKEN
    return UNTOUCHED if interruption.count < interruption.at else STOPPED


def check_store(store: Path, before: str | None, after: str) -> None:
    if not is_store(store):
        assert before is None, "the store is gone"
        return
    state = read_state(store)
    assert state.current in {before, after}, state
    open_bundle(bundle_path(store))
    if state.previous is not None:
        open_bundle(installed_path(store, state.previous))


def id_of(bundle: Path, folder: Path) -> str:
    return install(bundle, folder, lambda bundle: None).current


def run(mode: str, old: Path, new: Path, folder: Path, *, first: bool) -> int:
    """Stop at the first operation, then at the second, and so on until nothing is left to stop."""
    before, after = (None if first else id_of(old, folder / "a")), id_of(new, folder / "b")
    at, done = 0, False
    while not done:
        at += 1
        store = folder / f"{first}-{at}"
        if not first:
            shutil.copytree(folder / "a", store)
        done = interrupted_install(new, store, at, mode)
        check_store(store, before, after)
        assert install(new, store, lambda bundle: None).current == after
        leftovers = {path.name for path in store.iterdir()} - {"bundles", "store.json", ".lock"}
        leftovers |= {path.name for path in (store / "bundles").iterdir()} - {before, after}
        assert not leftovers, leftovers
    return at


if __name__ == "__main__":
    mode, old, new, folder = sys.argv[1], *map(Path, sys.argv[2:])
    for first in (True, False):
        print(run(mode, old, new, folder, first=first))
