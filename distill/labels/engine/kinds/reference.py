"""The reference model of clean cloth: it says where cloth is not as it should be, and names nothing."""

from __future__ import annotations

from distill.labels.annotators.annotator import Annotator
from distill.labels.engine.builders import AnnotatorContext, settings_of
from distill.labels.engine.settings import AnnotatorSpec


def build(spec: AnnotatorSpec, surroundings: AnnotatorContext) -> Annotator:
    """Open an article file, or let each image be its own reference."""
    from distill.labels.annotators.reference_annotator import ReferenceAnnotator, ReferenceSettings

    return ReferenceAnnotator(
        spec.model,
        mm_per_px=surroundings.mm_per_px,
        settings=settings_of(ReferenceSettings, spec.settings, spec),
        name=spec.name,
    )
