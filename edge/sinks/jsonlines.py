"""Write detections as JSON lines: one line per frame, in the order of capture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

from typing_extensions import Self

from edge.cameras.protocol import Frame
from edge.core.detections import DetectionRecord
from edge.core.files import cannot_write, is_stream, open_stream, set_aside, write_all


class JsonLinesSink:
    """Append `{"frame_id", "source", "detections"}` (and `along_m` where known) per frame.

    Each line is handed to the system whole. When the disk is full the line that did not fit is cut off
    again, so the file always ends in a complete line. A stream, such as /dev/stdout, is written in place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO | None = None
        self._end = 0
        self._is_file = True

    def __enter__(self) -> Self:
        set_aside(self._path)
        self._is_file = not is_stream(self._path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("wb", buffering=0) if self._is_file else open_stream(self._path)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def write(self, frame: Frame, detections: list[DetectionRecord]) -> None:
        """Record one frame; see `Sink.write`."""
        if self._stream is None:
            raise ValueError("write to a sink that is not open")
        record: dict[str, Any] = {"frame_id": frame.frame_id, "source": frame.source}
        if frame.position is not None:
            record["along_m"] = round(frame.position.along_m, 6)
        record["detections"] = detections
        line = json.dumps(record, separators=(", ", ": ")).encode() + b"\n"
        try:
            write_all(self._stream, line)
        except OSError as error:
            if self._is_file:
                self._stream.truncate(self._end)
            raise cannot_write(self._path, error) from error
        self._end += len(line)
