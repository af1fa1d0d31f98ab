"""Code of the mill's own, named as `package.module:function`."""

from __future__ import annotations

import importlib

from distill.labels.annotators.annotator import Annotator
from distill.labels.engine.builders import AnnotatorContext
from distill.labels.engine.settings import AnnotatorSpec
from edge.core.errors import ConfigError


def build(spec: AnnotatorSpec, surroundings: AnnotatorContext) -> Annotator:
    """Call the function that the spec names with the taxonomy and the settings."""
    module_name, _, function_name = spec.model.partition(":")
    cure = 'Write model = "package.module:function", and see that Python finds the package.'
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"The annotator '{spec.name}' has no code: {error}.", cure) from error
    annotator: Annotator = function(surroundings.taxonomy, spec.settings)
    annotator.name = spec.name
    return annotator
