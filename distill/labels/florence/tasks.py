"""What the teacher can be asked, and how questions and right answers are made of labels.

Florence-2 is asked by a task token, which its processor turns into a sentence, sometimes with words or a
place behind it. With a vocabulary the answer names its classes; without one it names what is there as
``phrase | category | parent``, so that it can say of a defect nobody has listed what it resembles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from distill.labels.florence.captions import detailed_caption, more_detailed_caption, short_caption
from distill.labels.florence.settings import TaskName
from distill.labels.formats.location_tokens import outlines_text, place_text, write_boxes
from distill.labels.sets.annotations import AnnotatedImage, Region
from distill.labels.sets.naming import class_of, full_name, kind_of
from edge.core.errors import ConfigError
from edge.core.taxonomy import Taxonomy

Pair = tuple[str, str]
"""What stands behind the task token, and the right answer."""


class AnswerExample(NamedTuple):
    """Hold a prompt about an image and its right answer."""

    task: TaskName
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class PromptTask:
    """Describe a task.

    Attributes:
        token: what the processor knows it by.
        gives: what the answer consists of.
        takes: what stands behind the token.
        teach: makes questions and answers of a labelled image.
    """

    token: str
    gives: Literal["boxes", "polygons", "text"]
    takes: Literal["nothing", "words", "place"]
    teach: Callable[[AnnotatedImage, Taxonomy], Iterator[Pair]]


def examples_of(task: TaskName, image: AnnotatedImage, taxonomy: Taxonomy) -> list[AnswerExample]:
    """Make the examples that a labelled image gives for a task; none where its labels do not suffice.

    Raises:
        DatasetError: if a region has no label.
    """
    ordered = AnnotatedImage(image.file_name, image.size_hw_px, _in_reading_order(image.regions))
    return [
        AnswerExample(task, TASKS[task].token + behind, answer)
        for behind, answer in TASKS[task].teach(ordered, taxonomy)
    ]


def prompt_for(task: TaskName, text: str = "") -> str:
    """Make the prompt of a task.

    Args:
        task: what is asked.
        text: what stands behind the token: words, names parted by full stops, or location tokens.
    Raises:
        ConfigError: if the task takes no text, lacks it, or the text names another task.
    """
    description = TASKS[task]
    if description.takes == "nothing" and text.strip():
        raise ConfigError(f"The task {task} takes no text, but got '{text[:60]}'.", "Leave the text out.")
    if description.takes != "nothing" and not text.strip():
        raise ConfigError(f"The task {task} needs text.", "Name the words or the place it is about.")
    other = next((t.token for t in TASKS.values() if t.token in text), None)
    if other or "<image>" in text:
        raise ConfigError(f"'{text[:60]}' holds the mark {other or '<image>'}.", "Ask one task at a time.")
    return description.token + text.strip()


def checked_task(name: str, text: str, *, has_image: bool) -> TaskName:
    """Return the task of a name, if it is given what it is about.

    Raises:
        ConfigError: if there is no such task or nothing that it could be about, or see `prompt_for`.
    """
    task = task_named(name)
    if not has_image and TASKS[task].takes == "nothing":
        raise ConfigError(f"The task {task} needs an image.", "Name one behind the model.")
    prompt_for(task, text)
    return task


def task_named(name: str) -> TaskName:
    """Return the task of a name.

    Raises:
        ConfigError: if there is none.
    """
    task = next((known for known in TASKS if known == name), None)
    if task is None:
        raise ConfigError(f"There is no task '{name}'.", f"Use one of: {', '.join(TASKS)}.")
    return task


def grounding_text(names: Sequence[str]) -> str:
    """Write a vocabulary as the caption whose phrases are to be found."""
    return " ".join(f"{name}." for name in names)


def _in_reading_order(regions: Sequence[Region]) -> tuple[Region, ...]:
    """Sort regions from top to bottom, then from left to right: one right order is learnt, not many."""
    return tuple(sorted(regions, key=lambda r: (r.box_xyxy_px[1], r.box_xyxy_px[0], r.label)))


def _detection(image: AnnotatedImage, taxonomy: Taxonomy) -> Iterator[Pair]:
    yield "", "".join(_boxes(class_of(r, taxonomy), r, image) for r in image.regions)


def _dense_region_caption(image: AnnotatedImage, taxonomy: Taxonomy) -> Iterator[Pair]:
    yield "", "".join(_boxes(full_name(r, taxonomy), r, image) for r in image.regions)


def _grounding(image: AnnotatedImage, taxonomy: Taxonomy) -> Iterator[Pair]:
    """Ask for every class, those that are not there as well: so the teacher learns to leave them out."""
    found = {name: [r for r in image.regions if class_of(r, taxonomy) == name] for name in taxonomy.classes}
    answer = "".join(
        write_boxes(name, [r.box_xyxy_px for r in regions], image.size_hw_px)
        for name, regions in found.items()
        if regions
    )
    yield grounding_text(taxonomy.classes), answer


def _segmentation(image: AnnotatedImage, taxonomy: Taxonomy) -> Iterator[Pair]:
    """Ask for each name that has outlines in the image."""
    outlines: dict[str, list[Region]] = {}
    for region in image.regions:
        kind = kind_of(region, taxonomy)
        name = kind.category if kind else class_of(region, taxonomy)
        outlines.setdefault(name, []).append(region)
    for name, regions in outlines.items():
        polygons = [r.polygon_xy_px for r in regions if r.polygon_xy_px]
        if len(polygons) == len(regions):
            yield name, outlines_text(polygons, image.size_hw_px)


def _about_regions(
    answer: Callable[[Region, AnnotatedImage, Taxonomy], str | None],
) -> Callable[[AnnotatedImage, Taxonomy], Iterator[Pair]]:
    """Ask about the box of each region, and about its outline or quadrilateral where it has one."""

    def teach(image: AnnotatedImage, taxonomy: Taxonomy) -> Iterator[Pair]:
        for region in image.regions:
            right = answer(region, image, taxonomy)
            for place in (region.box_xyxy_px, region.polygon_xy_px):
                if right and place:
                    yield place_text(place, image.size_hw_px), right

    return teach


def _category(region: Region, image: AnnotatedImage, taxonomy: Taxonomy) -> str:
    kind = kind_of(region, taxonomy)
    return kind.category if kind else region.category or class_of(region, taxonomy)


def _description(region: Region, image: AnnotatedImage, taxonomy: Taxonomy) -> str:
    return full_name(region, taxonomy)


def _region_outline(image: AnnotatedImage, taxonomy: Taxonomy) -> Iterator[Pair]:
    for region in image.regions:
        if region.polygon_xy_px:
            box = place_text(region.box_xyxy_px, image.size_hw_px)
            yield box, place_text(region.polygon_xy_px, image.size_hw_px)


def _caption(write: Callable[[AnnotatedImage, Taxonomy], str]) -> Callable[..., Iterator[Pair]]:
    def teach(image: AnnotatedImage, taxonomy: Taxonomy) -> Iterator[Pair]:
        yield "", write(image, taxonomy)

    return teach


def _boxes(name: str, region: Region, image: AnnotatedImage) -> str:
    return write_boxes(name, region.box_xyxy_px, image.size_hw_px)


TASKS: Final[dict[TaskName, PromptTask]] = {
    "detection": PromptTask("<OD>", "boxes", "nothing", _detection),
    "dense_region_caption": PromptTask("<DENSE_REGION_CAPTION>", "boxes", "nothing", _dense_region_caption),
    "grounding": PromptTask("<CAPTION_TO_PHRASE_GROUNDING>", "boxes", "words", _grounding),
    "segmentation": PromptTask("<REFERRING_EXPRESSION_SEGMENTATION>", "polygons", "words", _segmentation),
    "caption": PromptTask("<CAPTION>", "text", "nothing", _caption(short_caption)),
    "detailed_caption": PromptTask("<DETAILED_CAPTION>", "text", "nothing", _caption(detailed_caption)),
    "more_detailed_caption": PromptTask(
        "<MORE_DETAILED_CAPTION>", "text", "nothing", _caption(more_detailed_caption)
    ),
    "region_to_category": PromptTask("<REGION_TO_CATEGORY>", "text", "place", _about_regions(_category)),
    "region_to_description": PromptTask(
        "<REGION_TO_DESCRIPTION>", "text", "place", _about_regions(_description)
    ),
    "region_to_segmentation": PromptTask("<REGION_TO_SEGMENTATION>", "polygons", "place", _region_outline),
}
"""Every task, by its name in settings and commands."""
