"""An open-vocabulary detector, asked for the words of the taxonomy."""

from __future__ import annotations

from distill.labels.annotators.annotator import Annotator
from distill.labels.engine.builders import AnnotatorContext, settings_of
from distill.labels.engine.settings import AnnotatorSpec


def build(spec: AnnotatorSpec, surroundings: AnnotatorContext) -> Annotator:
    """Load a Grounding DINO or an OWL."""
    from distill.core.precision import choose_device
    from distill.labels.zero_shot.annotate import ZeroShotAnnotator
    from distill.labels.zero_shot.loading import load_open_detector
    from distill.labels.zero_shot.settings import ZeroShotSettings

    settings = settings_of(ZeroShotSettings, spec.settings, spec)
    detector = load_open_detector(spec.model, device=choose_device(surroundings.device))
    return ZeroShotAnnotator(detector, surroundings.taxonomy, settings, spec.name)
