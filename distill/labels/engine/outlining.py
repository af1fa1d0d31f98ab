"""Outline accepted boxes by a SAM: each box is a prompt, and becomes tight."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.labels.engine.region_lines import region_from, values_of
from distill.labels.engine.settings import Device, Outlines
from distill.labels.engine.shards import MakeShard, ShardFolder, lines
from distill.labels.sets.image_files import decoded
from edge.core.errors import DatasetError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outlining:
    """Give the regions of decided lines their outlines.

    Attributes:
        outlines: which SAM.
        decided: lines of `Deciding`.
        root: folder of the images.
        device: auto, cpu or cuda.
    """

    outlines: Outlines
    decided: ShardFolder
    root: Path
    device: Device = "auto"

    def open(self) -> MakeShard:
        """Load the SAM."""
        from distill.labels.sam.outliner import open_outliner

        outliner = open_outliner(self.outlines.model, self.outlines.settings, self.device)

        def outlined(record: Mapping[str, Any]) -> Mapping[str, Any]:
            regions = [region_from(values) for values in record.get("regions", ())]
            if not regions:
                return record
            try:
                image = decoded(self.root / record["image"])
            except DatasetError as error:  # it was there when annotators looked at it
                log.warning("left without outlines: %s", error.problem)
                return record
            found = outliner.outline(image, regions)
            return {**record, "regions": [values_of(region) for region in found]}

        return lambda shard: lines([outlined(record) for record in self.decided.records(shard)])
