"""Open the audit log of a device, and note with which settings and which model a run starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge.audit.entry import START, canonical, digest_of
from edge.audit.files import lock_of
from edge.audit.log import AuditLog
from edge.audit.reading import last_data
from edge.audit.trail import AuditTrail
from edge.audit.who import SETTINGS, unix_user
from edge.bundle.manifest import MANIFEST_NAME
from edge.bundle.signing import signer_of
from edge.config.device import CameraSettings, audit_file
from edge.core.errors import LoomsightError
from edge.core.files import check_not_a_folder, file_digest
from edge.pipeline.audited import STOP_RELEASED, RunAudit
from edge.pipeline.changeover import Changeover
from edge.roll.audit_heads import anchor, newest_head

if TYPE_CHECKING:
    from edge.app.assembly import OpenRun

logger = logging.getLogger(__name__)

IN_FORCE: Final = "settings in force"
MOST_CHANGED: Final = 200
SETTLE_S: Final = 2.0


def audit_log(cameras: Sequence[CameraSettings]) -> AuditLog | None:
    """Return the audit log of a device; None if the settings name neither log nor record.

    Raises:
        OutputError: if a folder stands where the log belongs.
    """
    path = audit_file(cameras)
    if path is None:
        return None
    check_not_a_folder(path)
    settings = cameras[0].config.audit
    records = [one.config.roll_record for one in cameras if one.config.roll_record is not None]
    known = max((newest_head(record, path.name) for record in records), default=START)
    most_bytes = round(settings.file_mb * 2**20)
    return AuditLog(path, most_bytes=most_bytes, keep_files=settings.keep_files, known=known)


def audit_outputs(cameras: Sequence[CameraSettings]) -> dict[str, Path]:
    """Return the files of the audit log, by what the settings call them."""
    path = audit_file(cameras)
    return {} if path is None else {"audit.file": path, "the lock of audit.file": lock_of(path)}


class DeviceAudit:
    """Write the audit log of a device, if its settings name one.

    Args:
        cameras: of the device.
    Raises:
        OutputError: if a folder stands where the log belongs.
    """

    def __init__(self, cameras: Sequence[CameraSettings]) -> None:
        log = audit_log(cameras)
        self._trail = None if log is None else AuditTrail(log)
        self._records = [camera.config.roll_record for camera in cameras]

    def write_until(self, stack: ExitStack) -> None:
        """Write until a stack closes, and keep the newest entry in the roll records then."""
        if self._trail is None:
            return
        stack.enter_context(self._trail)
        for record in self._records:
            stack.callback(anchor_head, self._trail, record)

    def of(self, camera: str | None) -> RunAudit | None:
        """Return what writes entries about a camera; None if there is no log."""
        return None if self._trail is None else RunAudit(self._trail, camera)

    def note_release(self, machine: str) -> None:
        """Note that the signal to stop was taken back from a machine."""
        if self._trail is not None:
            self._trail.note(SETTINGS, STOP_RELEASED, {"machine": machine})

    def note_start(self, camera: str | None, run: OpenRun) -> None:
        """Note the settings in force, what changed in them since the last start, and the bundle in use."""
        if self._trail is None:
            return
        settings = run.config.public()
        before = _last_settings(self._trail.log.path, camera)
        told: dict[str, Any] = {"settings_sha256": digest_of(settings), "process": unix_user()}
        if before is None:
            told["settings"] = settings
        elif canonical(before) != canonical(settings):
            told |= {"changed": changes(before, settings), "settings": settings}
        RunAudit(self._trail, camera).note(SETTINGS, IN_FORCE, **told, **_model(run.changeover))


def anchor_head(trail: AuditTrail, record: Path | None) -> None:
    """Keep the newest entry in a roll record that no run writes any more."""
    if trail.settle(SETTLE_S):
        trail.log.look()
    if trail.log.has_written and record is not None and record.is_file():
        anchor(record, trail.log.path.name, trail.head)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the settings that differ, by their dotted name: what they were, and what they are."""
    old, new = dict(_flat(before)), dict(_flat(now))
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return {name: [old.get(name), new.get(name)] for name in names[:MOST_CHANGED]}


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{before}{key}"
        pairs += _flat(value, f"{name}.") if isinstance(value, dict) and value else [(name, value)]
    return pairs


def _last_settings(log: Path, camera: str | None) -> dict[str, Any] | None:
    """Return the settings of the last start that the log has; None if it has none, or cannot be read."""
    try:
        found = last_data(log, IN_FORCE, {"camera": camera} if camera else {})
    except LoomsightError as error:
        logger.warning("what changed in the settings is not known: %s", error)
        return None
    whole = [data["settings"] for data in found if isinstance(data.get("settings"), dict)]
    return whole[-1] if whole else None


def _model(changeover: Changeover) -> dict[str, Any]:
    """Return which bundle a run uses."""
    path = changeover.model_path
    manifest = path / MANIFEST_NAME
    return {
        "model": str(path),
        "model_sha256": changeover.head().model_digest,
        "bundle_sha256": file_digest(manifest) if manifest.is_file() else None,
        "signed_by": signer_of(path),
    }
