"""Open the candidate bundle that the agent put beside a device, and follow it from roll to roll."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from typing_extensions import Self

from edge.backends.protocol import OpenBackend
from edge.bundle.store import bundle_path, is_store
from edge.config.edge import EdgeConfig
from edge.core.contract import ModelContract
from edge.core.errors import LoomsightError
from edge.core.events import RecordedEvent
from edge.inference.inspector import Inspector
from edge.pipeline.candidate import Candidate

logger = logging.getLogger(__name__)

NOT_OPENED: Final = "candidate not opened"
OPENED: Final = "candidate opened"
ID_DIGITS: Final = 16

OpenModel = Callable[[EdgeConfig, ExitStack], tuple[OpenBackend, ModelContract]]


class Candidates:
    """Give the candidate of each roll, within a `with`. A `Reporter`.

    Whatever is wrong with a candidate, inspection goes on without it.

    Args:
        store: of the candidate; nothing may be installed there.
        open_model: opens the bundle of some settings: signature, digests and golden images are checked.
        may_skip: see `Candidate`.
    """

    def __init__(self, store: Path, open_model: OpenModel, *, may_skip: bool) -> None:
        self._store = store
        self._open_model = open_model
        self._may_skip = may_skip
        self._opened = ExitStack()
        self._tried: tuple[Path, Path] | None = None
        self._candidate: Candidate | None = None
        self._events: list[RecordedEvent] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def of_roll(self, config: EdgeConfig, in_use: Path, contract: ModelContract) -> Candidate | None:
        """Return the candidate for the roll that begins; None if there is none.

        Args:
            config: of the roll.
            in_use: path of the bundle that inspects it.
            contract: of that bundle.
        """
        try:
            path = bundle_path(self._store) if is_store(self._store) else None
        except LoomsightError as error:
            self._refuse(self._store, error)
            return None
        if path is None or path.name == in_use.name:
            self._close()
            return None
        if self._tried != (path, in_use):
            self._close()
            self._tried = (path, in_use)
            self._candidate = self._open(path, config, contract)
        return self._candidate

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened to candidates, and what they inspected."""
        events, self._events = self._events, []
        return [*events, *(self._candidate.events() if self._candidate else ())]

    def _open(self, path: Path, config: EdgeConfig, in_use: ModelContract) -> Candidate | None:
        opened = ExitStack()
        try:
            with opened:
                backend, contract = self._open_model(config.changed(model=path), opened)
                if not contract.prepares_like(in_use):
                    self._refuse(path, "it was trained for another camera, scale or contrast")
                    return None
                self._opened = opened.pop_all()
        except LoomsightError as error:
            self._refuse(path, error)
            return None
        digits = path.name[:ID_DIGITS]
        self._events.append(RecordedEvent(OPENED, digits, data={"bundle": digits}))
        inspector = Inspector(backend, contract, config.batch_tiles)
        return Candidate(inspector, contract.class_names, digits, may_skip=self._may_skip)

    def _refuse(self, path: Path, why: object) -> None:
        logger.warning("the candidate %s is not opened: %s", path, why)
        digits = path.name[:ID_DIGITS]
        self._events.append(RecordedEvent(NOT_OPENED, f"{digits}: {why}", data={"bundle": digits}))

    def _close(self) -> None:
        if self._candidate is not None:
            self._candidate.end_stretch()
            self._events += self._candidate.events()
        self._opened.close()
        self._candidate, self._tried = None, None
