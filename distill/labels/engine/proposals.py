"""Match proposals without a class to named boxes: a proposal confirms a place, and never names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from distill.labels.sets.annotations import BoxXyxy, Region
from edge.core.detections import UNCLASSIFIED

SAME_PLACE: Final = 0.5
"""Of the smaller of two boxes, that lies in the other where they are of one place."""

BLUR_PX: Final = 16.0
"""The box of a proposal is blurred by pooling: it reaches so far beyond what it is of."""


def is_proposal(region: Region) -> bool:
    """Tell whether a region has no class."""
    return region.label == UNCLASSIFIED


def apart(
    opinions: Mapping[str, Sequence[Region]],
) -> tuple[dict[str, list[Region]], dict[str, list[Region]]]:
    """Take named regions and proposals apart, by annotator."""
    named = {
        name: [region for region in said if not is_proposal(region)] for name, said in opinions.items()
    }
    proposed = {name: [region for region in said if is_proposal(region)] for name, said in opinions.items()}
    return named, proposed


def with_votes(
    named: Mapping[str, Sequence[Region]], proposed: Mapping[str, Sequence[Region]]
) -> dict[str, list[Region]]:
    """Let who proposed a place agree with what others name there.

    A vote scores at most as high as what it agrees with: it says that something is there, so it does not
    count against the name, and not for it either.
    """
    voted = {name: list(said) for name, said in named.items()}
    everything = [region for said in named.values() for region in said]
    for name, proposals in proposed.items():
        votes: dict[tuple[str, BoxXyxy], Region] = {}
        for proposal in proposals:
            for label in {region.label for region in everything}:
                best = best_at(proposal, (region for region in everything if region.label == label))
                if best is None:
                    continue
                score = min(proposal.score or 0.0, best.score or 0.0)
                vote = Region(label, best.box_xyxy_px, score=score, annotator=name)
                held = votes.setdefault((label, best.box_xyxy_px), vote)
                if (held.score or 0.0) < score:
                    votes[label, best.box_xyxy_px] = vote
        voted[name] += votes.values()
    return voted


def not_covered(proposals: Iterable[Region], named: Sequence[Region]) -> list[Region]:
    """Keep the proposals of which named regions leave most free."""
    return [
        proposal
        for proposal in proposals
        if sum(_overlap(proposal.box_xyxy_px, _grown(region.box_xyxy_px)) for region in named)
        < SAME_PLACE * _area(proposal.box_xyxy_px)
    ]


def as_the_ground_truth_has_it(found: Sequence[Region], ground_truth: Sequence[Region]) -> list[Region]:
    """Give proposals the class and the box of the true region at their place: so they are judged."""
    return [
        replace(region, label=best.label, box_xyxy_px=best.box_xyxy_px)
        if is_proposal(region) and (best := best_at(region, ground_truth)) is not None
        else region
        for region in found
    ]


def best_at(proposal: Region, regions: Iterable[Region]) -> Region | None:
    """Return the region of a proposal's place that scores highest; None if there is none."""
    there = [
        region
        for region in regions
        if _overlap(proposal.box_xyxy_px, region.box_xyxy_px)
        >= SAME_PLACE * max(1e-9, min(_area(proposal.box_xyxy_px), _area(region.box_xyxy_px)))
    ]
    return max(there, key=lambda region: (region.score or 0.0, region.box_xyxy_px), default=None)


def _grown(box: BoxXyxy) -> BoxXyxy:
    x1, y1, x2, y2 = box
    return x1 - BLUR_PX, y1 - BLUR_PX, x2 + BLUR_PX, y2 + BLUR_PX


def _overlap(a: BoxXyxy, b: BoxXyxy) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _area(box: BoxXyxy) -> float:
    return _overlap(box, box)
