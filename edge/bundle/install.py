"""Install a bundle in a store, and go back to the one before.

Whatever ends an install, power loss included, the store names one whole bundle: a bundle is copied under a
temporary name, synced, checked and renamed; then `store.json` is replaced by a rename.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.bundle.manifest import FORM, MANIFEST_NAME, SIGNATURE_NAME
from edge.bundle.opening import Bundle, is_sealed, open_bundle
from edge.bundle.store import (
    BUNDLES_NAME,
    STATE_NAME,
    StoreState,
    bundle_path,
    installed_path,
    is_store,
    read_state,
)
from edge.core.errors import LoomsightError, ModelError, OutputError
from edge.core.files import file_digest, sync_folder, write_whole
from edge.core.outside_files import SETTINGS_BYTES, read_bytes

logger = logging.getLogger(__name__)

LOCK_NAME = ".lock"
INCOMING = ".incoming-"
ID_DIGITS = 16

Check = Callable[[Bundle], None]
"""Raise a LoomsightError if a whole bundle must not become current."""


def install(source: Path, store: Path, check: Check) -> StoreState:
    """Copy a bundle into a store and make it current; the one before becomes the previous one.

    Args:
        source: bundle folder, or another store, whose current bundle is meant.
        store: made if it is not there.
        check: of the source, after its digests.
    Raises:
        ModelError: if the source is damaged or is no bundle folder, or `store.json` is damaged.
        OutputError: if the store cannot be written, holds something else, or another install is running.
        LoomsightError: what `check` raises.
    """
    bundle = open_bundle(bundle_path(source))
    if bundle.manifest is None:
        raise ModelError(
            f"{source} is a bare ONNX file, which nothing vouches for.", "Install the bundle folder."
        )
    check(bundle)
    with _locked(store):
        before = read_state(store) if is_store(store) else None
        _clear_leftovers(store)
        installed = _installed_copy(bundle, store)
        if before is not None and before.current == installed:
            logger.info("%s is current already", installed)
            return before
        return _switch(store, StoreState(current=installed, previous=_worth_keeping(store, before)))


def roll_back(store: Path, check: Check) -> StoreState:
    """Make the previous bundle current again; the current one becomes the previous one.

    Raises:
        ModelError: if there is no previous bundle, or it is damaged.
        OutputError: if the store cannot be written, or an install is running.
        LoomsightError: what `check` raises.
    """
    read_state(store)  # before a lock makes folders where there is no store
    with _locked(store):
        state = read_state(store)
        if state.previous is None:
            raise ModelError(
                f"{store} has no bundle to go back to.", "Install one with `loomsight bundle install`."
            )
        check(open_bundle(installed_path(store, state.previous)))
        return _switch(store, StoreState(current=state.previous, previous=state.current))


def _switch(store: Path, state: StoreState) -> StoreState:
    write_whole(store / STATE_NAME, state.model_dump_json(indent=1).encode() + b"\n")
    sync_folder(store)
    logger.info("current bundle of %s: %s (before: %s)", store, state.current, state.previous or "none")
    return state


def _worth_keeping(store: Path, before: StoreState | None) -> str | None:
    """Return the newest whole bundle that a store had as current."""
    for candidate in (before.current, before.previous) if before else ():
        if candidate is not None and _is_whole(installed_path(store, candidate)):
            return candidate
    return None


def _installed_copy(bundle: Bundle, store: Path) -> str:
    """Return the id of a whole copy of a bundle in a store; make one if there is none."""
    digits = file_digest(bundle.path / MANIFEST_NAME)[:ID_DIGITS]
    number, name = 1, digits
    while (copy := installed_path(store, name)).exists():
        if _is_whole(copy) and file_digest(copy / MANIFEST_NAME).startswith(digits):
            _sign_copy(bundle, copy)
            return name
        number += 1
        name = f"{digits}-{number}"
    _copy(bundle, store, copy)
    return name


def _sign_copy(bundle: Bundle, copy: Path) -> None:
    """Bring the signature of a bundle to a copy that was made before it was signed, or signed again."""
    own, other = bundle.path / SIGNATURE_NAME, copy / SIGNATURE_NAME
    if not own.is_file() or own.resolve() == other.resolve():
        return
    data = read_bytes(own, SETTINGS_BYTES, ModelError)
    if not other.is_file() or other.read_bytes() != data:
        write_whole(other, data)


def _copy(bundle: Bundle, store: Path, destination: Path) -> None:
    """Copy the files a bundle vouches for, check the copy and give it its name.

    Raises:
        ModelError: if the copy differs.
    """
    names = [MANIFEST_NAME, *(bundle.manifest.files if bundle.manifest else ())]
    names += [FORM.seal_name] if is_sealed(bundle.path) else []
    names += [SIGNATURE_NAME] if (bundle.path / SIGNATURE_NAME).is_file() else []
    incoming = Path(tempfile.mkdtemp(prefix=INCOMING, dir=store / BUNDLES_NAME))
    try:
        for name in names:
            (incoming / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / name, incoming / name)
            _sync_file(incoming / name)
        open_bundle(incoming)
        incoming.chmod(0o755)
        for folder in (incoming, *(path for path in incoming.rglob("*") if path.is_dir())):
            sync_folder(folder)
        incoming.rename(destination)
        sync_folder(destination.parent)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        open_bundle(folder)
    except LoomsightError as error:
        logger.warning("%s", error.problem)
        return False
    return True


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Make a store's folders and keep other installs out of it; the lock ends with the process.

    Raises:
        OutputError: if another install is running, or for an OSError of what is done meanwhile.
    """
    try:
        _check_foreign(store)
        (store / BUNDLES_NAME).mkdir(parents=True, exist_ok=True)
        lock = (store / LOCK_NAME).open("ab")
    except OSError as error:
        raise _cannot_write(store, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"Another install in {store} is running.", "Wait until it has ended."
            ) from error
        try:
            yield
        except OSError as error:
            raise _cannot_write(store, error) from error


def _check_foreign(store: Path) -> None:
    """Refuse a folder that is in use for something else."""
    if is_store(store) or not store.exists():
        return
    foreign = {path.name for path in store.iterdir()} - {BUNDLES_NAME, LOCK_NAME}
    foreign = {name for name in foreign if not name.startswith(f".{STATE_NAME}-")}
    if foreign:
        raise OutputError(
            f"{store} holds {min(foreign)} and is no store of bundles.", "Name a new folder for the store."
        )


def _clear_leftovers(store: Path) -> None:
    """Remove what an install that was killed left behind."""
    for leftover in (store / BUNDLES_NAME).glob(f"{INCOMING}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in store.glob(f".{STATE_NAME}-*"):
        leftover.unlink(missing_ok=True)


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _cannot_write(store: Path, error: OSError) -> OutputError:
    return OutputError(
        f"Cannot write the store {store}: {error.strerror or error}.", "Check the path and the free space."
    )
