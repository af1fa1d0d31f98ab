"""From what a file says of an annotator to one that is ready to look at pictures."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from distill.labels.annotators.annotator import Annotator
from distill.labels.engine.settings import AnnotatorSpec, Device
from edge.core.digest import file_digest
from edge.core.errors import ConfigError
from edge.core.settings import resolved
from edge.core.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Hold what an annotator is loaded for.

    Attributes:
        taxonomy: of the mill.
        device: where to compute.
        mm_per_px: scale of the pictures; None if not known.
    """

    taxonomy: Taxonomy
    device: Device = "auto"
    mm_per_px: float | None = None


Build = Callable[[AnnotatorSpec, Surroundings], Annotator]


def build_annotator(spec: AnnotatorSpec, surroundings: Surroundings) -> Annotator:
    """Load an annotator.

    Raises:
        ConfigError: if a setting is not permitted or there is no such code.
        LoomsightError: whatever loading its model raises.
    """
    return BUILDERS[spec.kind](spec, surroundings)


def fingerprint(spec: AnnotatorSpec) -> str:
    """Tell annotators apart whose answers may differ: by kind, name, settings and content of the model."""
    said = spec.model_dump(mode="json", include={"kind", "name", "model", "adapter", "settings"})
    contents = [_content_digest(Path(path)) for path in (spec.model, spec.adapter) if path]
    text = json.dumps([said, contents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _content_digest(path: Path) -> str:
    """Return a digest of a file or of the files of a folder; nothing of what is not here, a hub id say."""
    try:
        if path.is_file():
            return file_digest(path)
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else []
        return ",".join(f"{file.relative_to(path).as_posix()}={file_digest(file)}" for file in files)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", "Check its permissions.") from error


def _florence(spec: AnnotatorSpec, surroundings: Surroundings) -> Annotator:
    from distill.core.precision import choose_device
    from distill.labels.florence.annotate import FlorenceAnnotator
    from distill.labels.florence.loading import load_teacher
    from distill.labels.florence.settings import AnnotationSettings

    settings = _settings(
        AnnotationSettings, {"vocabulary": surroundings.taxonomy.classes, **spec.settings}, spec
    )
    adapter = Path(spec.adapter) if spec.adapter else None
    teacher = load_teacher(spec.model, adapter, device=choose_device(surroundings.device))
    return FlorenceAnnotator(teacher, surroundings.taxonomy, settings, spec.name)


def _zero_shot(spec: AnnotatorSpec, surroundings: Surroundings) -> Annotator:
    from distill.core.precision import choose_device
    from distill.labels.zero_shot.annotate import ZeroShotAnnotator
    from distill.labels.zero_shot.loading import load_open_detector
    from distill.labels.zero_shot.settings import ZeroShotSettings

    settings = _settings(ZeroShotSettings, spec.settings, spec)
    detector = load_open_detector(spec.model, device=choose_device(surroundings.device))
    return ZeroShotAnnotator(detector, surroundings.taxonomy, settings, spec.name)


def _detector(spec: AnnotatorSpec, surroundings: Surroundings) -> Annotator:
    from distill.checkpoint import load_detector
    from distill.core.precision import choose_device
    from distill.labels.annotators.detector_annotator import DetectorAnnotator, DetectorSettings

    return DetectorAnnotator(
        load_detector(Path(spec.model)),
        mm_per_px=surroundings.mm_per_px,
        settings=_settings(DetectorSettings, spec.settings, spec),
        device=choose_device(surroundings.device),
        name=spec.name,
    )


def _reference(spec: AnnotatorSpec, surroundings: Surroundings) -> Annotator:
    from distill.labels.annotators.reference_annotator import ReferenceAnnotator, ReferenceSettings

    return ReferenceAnnotator(
        spec.model,
        mm_per_px=surroundings.mm_per_px,
        settings=_settings(ReferenceSettings, spec.settings, spec),
        name=spec.name,
    )


def _python(spec: AnnotatorSpec, surroundings: Surroundings) -> Annotator:
    module_name, _, function_name = spec.model.partition(":")
    cure = 'Write model = "package.module:function", and see that Python finds the package.'
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"The annotator '{spec.name}' has no code: {error}.", cure) from error
    annotator: Annotator = function(surroundings.taxonomy, spec.settings)
    annotator.name = spec.name
    return annotator


BUILDERS: Final[Mapping[str, Build]] = {
    "florence": _florence,
    "zero-shot": _zero_shot,
    "detector": _detector,
    "reference": _reference,
    "python": _python,
}


def _settings(kind: type[Any], values: Mapping[str, Any], spec: AnnotatorSpec) -> Any:
    return resolved(kind, {f"the settings of the annotator '{spec.name}'": values})
