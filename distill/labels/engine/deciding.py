"""Decide from kept answers what is accepted, queued and rejected; decided again when anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distill.labels.engine.catalogue import Catalogue
from distill.labels.engine.opinion import Opinion
from distill.labels.engine.region_lines import region_from, values_of
from distill.labels.engine.shards import MakeShard, ShardFolder, lines
from distill.labels.sets.groups import GroupOf, by_name


@dataclass(frozen=True, slots=True)
class KeptBack:
    """Say which images have no place in a training set: they are reviewed, or of a roll that judges.

    Attributes:
        pixels: digests of the images of the reviewed set.
        groups: rolls and strips of its validation and test splits.
    """

    pixels: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def reason(self, pixels: str, group: str | None) -> str | None:
        """Return why an image is kept back; None if it is not."""
        if pixels in self.pixels:
            return "it is in the reviewed set"
        return f"group {group} judges in the reviewed set" if group in self.groups else None


@dataclass(frozen=True)
class Deciding:
    """Make one opinion of the answers to each image.

    A line says of an image: `image`, `size_hw_px`, `group`, `regions` (accepted and queued), how many
    were `rejected`, and names `unknown` to the taxonomy; or why it was `left_out`.

    Attributes:
        answers: by annotator.
        catalogue: of the images.
        opinion: how.
        kept_back: images that are left out.
        group: regular expression on the file name; None for no groups.
        mm_per_px: scale of the images; None if not known.
    """

    answers: Mapping[str, ShardFolder]
    catalogue: Catalogue
    opinion: Opinion
    kept_back: KeptBack = KeptBack()
    group: str | None = None
    mm_per_px: float | None = None

    def open(self) -> MakeShard:
        """Nothing has to be loaded."""
        group_of = by_name(self.group) if self.group else lambda _: None

        def make(shard: int) -> bytes:
            said = {name: folder.records(shard) for name, folder in self.answers.items()}
            rows = zip(*said.values(), strict=True)
            return lines([self._decided(dict(zip(said, row, strict=True)), group_of) for row in rows])

        return make

    def _decided(self, said: Mapping[str, Mapping[str, Any]], group_of: GroupOf) -> dict[str, Any]:
        """Decide about one image by the lines of all annotators."""
        first = next(iter(said.values()))
        name = first["image"]
        problem = next((line["problem"] for line in said.values() if "problem" in line), None)
        group = group_of(name)
        reason = problem or self.kept_back.reason(first["pixels"], group)
        if reason:
            return {"image": name, "left_out": reason, "is_unreadable": problem is not None}
        answers = {
            annotator: [region_from(values) for values in line["regions"]]
            for annotator, line in said.items()
        }
        height, width = first["size_hw_px"]
        result = self.opinion.of(answers, (height, width), self.mm_per_px)
        return {
            "image": name,
            "size_hw_px": [height, width],
            "group": group,
            "regions": [values_of(region) for region in (*result.accepted, *result.queued)],
            "rejected": len(result.rejected),
            "unknown": dict(sorted(self.opinion.unknown(answers).items())),
        }
