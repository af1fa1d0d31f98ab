"""The sinks of a run, by the setting that asks for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from edge.config.edge import EdgeConfig
from edge.sinks.images import ImageSink
from edge.sinks.jsonlines import JsonLinesSink
from edge.sinks.protocol import Sink
from edge.sinks.quota import ImageQuota
from edge.sinks.window import WindowSink

MakeSink = Callable[[EdgeConfig, "Path | None", "ImageQuota | None"], "Sink | None"]
"""Gets the settings, and the folder of this run's images with their quota; None if it is not asked for."""


def _json_lines(config: EdgeConfig, images: Path | None, quota: ImageQuota | None) -> Sink | None:
    return JsonLinesSink(config.detections) if config.detections else None


def _images(config: EdgeConfig, images: Path | None, quota: ImageQuota | None) -> Sink | None:
    if images is None or quota is None:
        return None
    return ImageSink(images, quota, may_miss=config.roll_record is not None)


def _window(config: EdgeConfig, images: Path | None, quota: ImageQuota | None) -> Sink | None:
    return WindowSink() if config.show else None


SINKS: Final[Mapping[str, MakeSink]] = {
    "detections": _json_lines,
    "save_pictures": _images,
    "show": _window,
}


def sinks_of(config: EdgeConfig, images: Path | None, quota: ImageQuota | None) -> list[Sink]:
    """Return the sinks that the settings ask for, in the order of `SINKS`."""
    made = (make(config, images, quota) for make in SINKS.values())
    return [sink for sink in made if sink is not None]
