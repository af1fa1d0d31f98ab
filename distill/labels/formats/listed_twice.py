"""Join the entries of one image: merged files and exports list some images twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from distill.labels.sets.annotations import AnnotatedImage
from distill.labels.sets.problems import Problems


def joined(images: Iterable[AnnotatedImage], problems: Problems) -> list[AnnotatedImage]:
    """Return each image once, sorted by name.

    Entries that say the same are one. The boxes of entries that differ are put together where the entries
    agree on the size; where they do not, the image is counted as not read.
    """
    by_name: dict[str, AnnotatedImage] = {}
    for image in images:
        earlier = by_name.get(image.file_name)
        by_name[image.file_name] = _both(earlier, image, problems) if earlier else image
    return [by_name[name] for name in sorted(by_name)]


def apart(images: Iterable[AnnotatedImage], problems: Problems) -> list[AnnotatedImage]:
    """Return each image once, sorted by name; where two entries differ nobody knows which one holds.

    That is so where the entries are files, or addresses that only end alike: they may be of two images.
    """
    by_name: dict[str, AnnotatedImage] = {}
    for image in images:
        earlier = by_name.setdefault(image.file_name, image)
        if earlier is not image and earlier != image:
            problems.add(image.file_name, "two labels of this image differ, or are of two images")
            by_name[image.file_name] = replace(earlier, unread=earlier.unread + image.unread + 1)
    return [by_name[name] for name in sorted(by_name)]


def _both(first: AnnotatedImage, second: AnnotatedImage, problems: Problems) -> AnnotatedImage:
    name = first.file_name
    if replace(second, split=first.split, group=first.group) != first:
        problems.note(name, "is listed twice: its boxes are put together")
    if second.split != first.split:
        problems.add(name, f"is listed in {first.split or 'no split'} and in {second.split or 'no split'}")
    if second.size_hw_px != first.size_hw_px:
        problems.add(name, "is listed twice, in two sizes")
        return replace(first, unread=first.unread + second.unread + max(1, len(second.regions)))
    new = tuple(region for region in second.regions if region not in first.regions)
    return replace(
        first,
        regions=first.regions + new,
        unread=first.unread + second.unread,
        said_of_whole=first.said_of_whole + second.said_of_whole,
    )
