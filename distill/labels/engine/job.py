"""Run the stages of a labelling job on disk: ask, calibrate, decide, outline, write.

job.json                          the settings, as resolved
catalogue.jsonl                   the images
answers/NAME-DIGEST/images/       what an annotator says of them, in shards
answers/NAME-DIGEST/reviewed/     and of the reviewed images that calibrate and judge
rounds/N/opinion.json             calibrations, weights and thresholds of round N
rounds/N/decided/                 accepted and queued boxes, in shards
rounds/N/outlined/                the same with outlines and tight boxes
rounds/N/taught/NAME/             the run in which an annotator was taught for round N
rounds/N/dataset/                 the data set folder for `distill` and `review`
rounds/N/report.json              counts and quality
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distill.labels.engine.answers import Asking
from distill.labels.engine.builders import fingerprint
from distill.labels.engine.calibrating import Calibrated, calibrate, opinion_of
from distill.labels.engine.catalogue import Catalogue
from distill.labels.engine.deciding import Deciding, KeptBack
from distill.labels.engine.opinion import Opinion
from distill.labels.engine.outlining import Outlining
from distill.labels.engine.progress import shards_shown
from distill.labels.engine.reviewed import CALIBRATES, ReviewedSet
from distill.labels.engine.settings import AnnotatorSpec, Device, EngineSettings
from distill.labels.engine.shards import Runner, ShardFolder, ShardWork
from distill.labels.sets.naming import Namer
from edge.core.files import write_whole
from edge.core.taxonomy import Taxonomy
from edge.process.interruption import stopped_by_signals

FINGERPRINT_DIGITS = 12


class StoppedError(Exception):
    """A signal asked to stop; what is done so far is kept."""


@dataclass(frozen=True)
class Job:
    """Hold what a labelling job works with.

    Attributes:
        folder: where it keeps everything.
        settings: how it labels.
        taxonomy: of the mill.
        catalogue: the images.
        reviewed: None leaves scores uncalibrated.
        runner: makes shards, here or on Ray.
        device: auto, cpu or cuda.
        mm_per_px: scale of the images; None if not known.
        group: regular expression on file names; None for no groups.
        stop: set when somebody asks to stop.
    """

    folder: Path
    settings: EngineSettings
    taxonomy: Taxonomy
    catalogue: Catalogue
    reviewed: ReviewedSet | None
    runner: Runner
    device: Device = "auto"
    mm_per_px: float | None = None
    group: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def round_folder(self, number: int) -> Path:
        """Return the folder of a round."""
        return self.folder / "rounds" / str(number)

    def is_wanted(self, spec: AnnotatorSpec) -> bool:
        """Tell whether an annotator has images left to look at in the first round."""
        asked = [(self.catalogue, "images")]
        if self.reviewed is not None:
            asked.append((self.reviewed.catalogue(self.settings.shard_pictures), "reviewed"))
        return any(self._answers(spec, catalogue, about).pending() for catalogue, about in asked)

    @property
    def is_outlined(self) -> bool:
        """Whether the first round has all its outlines."""
        return not ShardFolder(self.round_folder(1) / "outlined", self.catalogue.shards).pending()

    def ask(self, specs: Sequence[AnnotatorSpec]) -> dict[str, ShardFolder]:
        """Ask annotators about the images, one after the other: one model at a time is in memory."""
        return {spec.name: self._asked(spec, self.catalogue, "images") for spec in specs}

    def ask_about_reviewed(self, specs: Sequence[AnnotatorSpec]) -> dict[str, ShardFolder]:
        """Ask annotators about the reviewed images; no folders without a reviewed set."""
        if self.reviewed is None:
            return {}
        catalogue = self.reviewed.catalogue(self.settings.shard_pictures)
        return {spec.name: self._asked(spec, catalogue, "reviewed") for spec in specs}

    def calibrate(self, answers: Mapping[str, ShardFolder]) -> Calibrated:
        """Learn from the answers to the reviewed images how far scores can be believed."""
        if self.reviewed is None:
            note = "no reviewed set: scores and thresholds are as annotators and settings have them"
            return Calibrated(notes=(note,))
        images = self.reviewed.images(CALIBRATES, answers)
        return calibrate(images, self.settings, self.namer, self.taxonomy.classes)

    @property
    def namer(self) -> Namer:
        """What brings words to the taxonomy."""
        return Namer(self.taxonomy, self.settings.blacklist)

    def opinion(self, learnt: Calibrated) -> Opinion:
        """Return how answers become one opinion."""
        return opinion_of(self.settings, self.namer, learnt)

    def decide(self, number: int, answers: Mapping[str, ShardFolder], learnt: Calibrated) -> ShardFolder:
        """Make one opinion of the answers; shards that were decided by another opinion are made again."""
        folder = self.round_folder(number)
        kept_back = self.reviewed.kept_back() if self.reviewed else KeptBack()
        work = Deciding(
            answers, self.catalogue, self.opinion(learnt), kept_back, self.group, self.mm_per_px
        )
        decided = ShardFolder(folder / "decided", self.catalogue.shards)
        outlined = ShardFolder(folder / "outlined", self.catalogue.shards)
        text = learnt.model_dump_json(indent=1).encode() + b"\n"
        kept = folder / "opinion.json"
        if not kept.is_file() or kept.read_bytes() != text:
            decided.clear()
            outlined.clear()
            write_whole(kept, text)
        self._make(f"round {number}: decide", work, decided)
        if self.settings.outlines is None:
            return decided
        outlining = Outlining(self.settings.outlines, decided, self.catalogue.root, self.device)
        self._make(f"round {number}: outline", outlining, outlined)
        return outlined

    def _asked(self, spec: AnnotatorSpec, catalogue: Catalogue, about: str) -> ShardFolder:
        """Ask one annotator; one that is the same as in an earlier round is not asked again."""
        folder = self._answers(spec, catalogue, about)
        work = Asking(spec, catalogue, self.taxonomy, self.settings.batch, self.device, self.mm_per_px)
        self._make(f"ask {spec.name} about {about}", work, folder)
        return folder

    def _answers(self, spec: AnnotatorSpec, catalogue: Catalogue, about: str) -> ShardFolder:
        own = f"{spec.name}-{fingerprint(spec)[:FINGERPRINT_DIGITS]}"
        return ShardFolder(self.folder / "answers" / own / about, catalogue.shards)

    def _make(self, what: str, work: ShardWork, folder: ShardFolder) -> None:
        """Make what is pending of a stage.

        Raises:
            StoppedError: if a signal asked to stop before all was made.
        """
        folder.sweep()
        done = folder.count - len(folder.pending())
        with stopped_by_signals(self.stop), shards_shown(what, done, folder.count) as shard_done:
            self.runner(work, folder, self.stop, shard_done)
        if folder.pending():
            raise StoppedError
