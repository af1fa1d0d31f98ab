"""The kinds of annotators, by the name that settings give them. None is imported before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from distill.core.run_folder import RunFolder
    from distill.labels.annotators.annotator import Annotator
    from distill.labels.engine.builders import AnnotatorContext
    from distill.labels.engine.job import Job
    from distill.labels.engine.settings import AnnotatorSpec


class AnnotatorModule(Protocol):
    """What the module of every kind has; one that cannot be taught has `build` alone."""

    def build(self, spec: AnnotatorSpec, surroundings: AnnotatorContext) -> Annotator:
        """Load an annotator.

        Raises:
            ConfigError: if a setting is not permitted or there is no such code.
            LoomsightError: whatever loading its model raises.
        """
        ...

    def teaching_settings(self, spec: AnnotatorSpec) -> object:
        """Return the settings of its teaching, checked, before hours of labelling lead to it.

        Raises:
            ConfigError: if one is not valid.
            CheckpointError: if a detector's checkpoint, which holds its recipe, cannot be read.
        """
        ...

    def taught(self, spec: AnnotatorSpec, dataset: Path, job: Job, folder: RunFolder) -> AnnotatorSpec:
        """Teach it on reviewed and accepted boxes and return it as it then is; a stopped run goes on.

        Args:
            spec: who is taught; its model stays as it is.
            dataset: folder with the boxes.
            job: whose taxonomy and device are used.
            folder: of the run.
        Raises:
            StoppedError: if a signal asked to stop.
            LoomsightError: whatever teaching raises.
        """
        ...


@dataclass(frozen=True, slots=True)
class AnnotatorKind:
    """Say what a kind of annotators can do.

    Attributes:
        module: that has it.
        names_classes: whether it says of what class a region is.
        is_teachable: whether what was accepted may teach it further.
    """

    module: str
    names_classes: bool = True
    is_teachable: bool = False

    def load(self) -> AnnotatorModule:
        """Import its module."""
        return cast(AnnotatorModule, import_module(self.module))


ANNOTATORS: Final[Mapping[str, AnnotatorKind]] = {
    "florence": AnnotatorKind("distill.labels.engine.kinds.florence", is_teachable=True),
    "zero-shot": AnnotatorKind("distill.labels.engine.kinds.zero_shot"),
    "detector": AnnotatorKind("distill.labels.engine.kinds.detector", is_teachable=True),
    "reference": AnnotatorKind("distill.labels.engine.kinds.reference", names_classes=False),
    "python": AnnotatorKind("distill.labels.engine.kinds.python"),
}
"""A kind more: a module with `build`, and its row in docs/annotators.md."""
