"""Split a label set group by group: images of one roll are alike and would leak.

Iterative stratification (Sechidis et al. 2011): the class with the fewest groups is split first, each
group going where the largest fraction of what is wanted of that class is lacking. Before that every split
gets one group of the class, as far as there are groups, the larger splits first.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from distill.labels.sets.annotations import NOT_TRAINED_ON, AnnotatedImage, LabelSet
from edge.core.errors import ConfigError, DatasetError

SPLITS = ("train", "val", "test")
FRACTIONS_TOLERANCE = 1e-6
IMAGES = ""
"""Counts images beside the boxes of each class."""


def shares_from_text(text: str) -> dict[str, float]:
    """Read fractions such as ``train=0.8,val=0.2``.

    Raises:
        ConfigError: if a name is no split, a fraction no positive number, or they do not sum to 1.
    """
    cure = "Write for instance --split train=0.8,val=0.1,test=0.1."
    fractions = {}
    for part in text.split(","):
        name, _, fraction = (piece.strip() for piece in part.partition("="))
        try:
            fractions[name] = float(fraction)
        except ValueError:
            fractions[name] = -1.0
        if name not in SPLITS or not 0 < fractions[name] <= 1:
            raise ConfigError(f"--split: '{part.strip()}' is no fraction of {', '.join(SPLITS)}.", cure)
    if abs(sum(fractions.values()) - 1) > FRACTIONS_TOLERANCE:
        raise ConfigError(f"--split: the fractions sum to {sum(fractions.values()):g}.", cure)
    return fractions


def split(label_set: LabelSet, fractions: Mapping[str, float], seed: int) -> LabelSet:
    """Give every image a split; the same set, shares and seed give the same splits.

    Args:
        label_set: each image with a group.
        fractions: of the images and of each class, by split.
        seed: of the order in which equal groups are considered.
    Raises:
        DatasetError: if an image has no group, or there are fewer groups than splits.
    """
    groups = _groups(label_set.images)
    if len(groups) < len(fractions):
        raise DatasetError(
            f"{len(groups)} groups cannot be split into {len(fractions)} splits.",
            "Use a finer group, or fewer splits.",
        )
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    plan = _Plan({name: groups[name] for name in order}, dict(fractions))
    for kind in _rarest_first(groups):
        plan.share_out(kind)
    images = (replace(image, split=plan.split_of[image.group or ""]) for image in label_set.images)
    return replace(label_set, images=tuple(images))


@dataclass(slots=True)
class _Plan:
    """Hold which group goes where.

    Attributes:
        waiting: counts by class and of images, of each group that has no split yet.
        fractions: by split.
        split_of: by group.
        held: counts by split.
    """

    waiting: dict[str, Counter[str]]
    fractions: dict[str, float]
    split_of: dict[str, str] = field(default_factory=dict)
    held: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def share_out(self, kind: str) -> None:
        """Give all waiting groups that have a kind to the splits."""
        total = sum(counts[kind] for counts in (*self.waiting.values(), *self.held.values()))
        wanted = {name: fraction * total for name, fraction in self.fractions.items()}
        ranks = [*SPLITS, *self.fractions]
        for name in sorted(self.fractions, key=lambda name: (-self.fractions[name], ranks.index(name))):
            candidates = self._with(kind)
            if candidates and not self.held[name][kind]:
                self._give(self._closest(candidates, kind, wanted[name]), name)
        for group in sorted(self._with(kind), key=lambda group: -self.waiting[group][kind]):
            lacks = {name: 1 - self.held[name][kind] / wanted[name] for name in self.fractions}
            self._give(group, max(lacks, key=lambda name: (lacks[name], self._missing_images(name))))

    def _with(self, kind: str) -> list[str]:
        return [group for group, counts in self.waiting.items() if counts[kind]]

    def _closest(self, candidates: list[str], kind: str, wanted: float) -> str:
        """Return the group that alone comes closest to what a split wants, in boxes, then in images."""
        return min(
            candidates,
            key=lambda group: (abs(self.waiting[group][kind] - wanted), self.waiting[group][IMAGES]),
        )

    def _missing_images(self, name: str) -> float:
        held = {split: counts[IMAGES] for split, counts in self.held.items()}
        return self.fractions[name] * sum(held.values()) - held.get(name, 0)

    def _give(self, group: str, name: str) -> None:
        self.held[name].update(self.waiting.pop(group))
        self.split_of[group] = name


def _groups(images: tuple[AnnotatedImage, ...]) -> dict[str, Counter[str]]:
    """Count images and boxes by class of each group; rejected and queued boxes do not count."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for image in images:
        if not image.group:
            raise DatasetError(
                f"{image.file_name} has no group.",
                "Name the roll or strip of each image: --group '^(?P<group>[0-9]+)_' or --group-table.",
            )
        groups[image.group][IMAGES] += 1
        groups[image.group].update(r.label for r in image.regions if r.review not in NOT_TRAINED_ON)
    return groups


def _rarest_first(groups: Mapping[str, Counter[str]]) -> list[str]:
    """Return the classes by the number of groups that have them, then images."""
    counts = Counter(kind for held in groups.values() for kind in held if kind != IMAGES)
    return [*sorted(counts, key=lambda kind: (counts[kind], kind)), IMAGES]
