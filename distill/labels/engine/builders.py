"""Build annotators from their descriptions in the settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.labels.engine.settings import AnnotatorSpec, Device
from distill.settings.shipped import checkpoint_named
from edge.core.errors import ConfigError
from edge.core.files import file_digest
from edge.core.outside_files import files_below
from edge.core.settings import resolved
from edge.core.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class AnnotatorContext:
    """Hold what an annotator is loaded for.

    Attributes:
        taxonomy: of the mill.
        device: where to compute.
        mm_per_px: scale of the images; None if not known.
    """

    taxonomy: Taxonomy
    device: Device = "auto"
    mm_per_px: float | None = None


def fingerprint(spec: AnnotatorSpec) -> str:
    """Tell annotators apart whose answers may differ: by kind, name, settings and content of the model."""
    said = spec.model_dump(mode="json", include={"kind", "name", "model", "adapter", "settings"})
    model = checkpoint_named(spec.model) if spec.kind == "detector" else Path(spec.model)
    contents = [_content_digest(path) for path in (model, spec.adapter and Path(spec.adapter)) if path]
    text = json.dumps([said, contents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _content_digest(path: Path) -> str:
    """Return a digest of a file or of the files of a folder; nothing of what is not here, a hub id say."""
    try:
        if path.is_file():
            return file_digest(path)
        files = sorted(file for file in files_below(path) if file.is_file()) if path.is_dir() else []
        return ",".join(f"{file.relative_to(path).as_posix()}={file_digest(file)}" for file in files)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", "Check its permissions.") from error


def settings_of(kind: type[Any], values: Mapping[str, Any], spec: AnnotatorSpec) -> Any:
    """Return the settings of an annotator, checked.

    Raises:
        ConfigError: if one is not permitted.
    """
    return resolved(kind, {f"the settings of the annotator '{spec.name}'": values})
