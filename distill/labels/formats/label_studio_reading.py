"""Read Label Studio's JSON: which annotation of a task holds, of which image it is, and what it says."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from distill.labels.formats.label_studio_results import labels_of, regions_of, size_of
from distill.labels.formats.listed_twice import apart, joined
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from distill.labels.sets.documents import read_json
from distill.labels.sets.image_files import is_there, likely_folders, name_within, root_of, size_hw_px
from distill.labels.sets.problems import Problems
from edge.cameras.folder import IMAGE_SUFFIXES
from edge.core.errors import DatasetError

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""Label Studio puts this before the name of an uploaded image."""

_NO_SHAPES = frozenset(
    {"choices", "taxonomy", "rating", "textarea", "number", "datetime", "relation", "pairwise", "ranker"}
)
"""Results that say something of a shape or of the image, and are none themselves."""


def read(source: Path, image_folder: Path | None = None) -> LabelSet:
    """Read a JSON export, or what `write` left.

    Raises:
        DatasetError: if it cannot be read or is no list of tasks.
    """
    tasks = read_json(source)
    if not isinstance(tasks, list) or not all(
        isinstance(task, dict) and isinstance(task.get("data"), dict) for task in tasks
    ):
        raise DatasetError(
            f"{source} is no list of Label Studio's tasks.", "Export the project as JSON, not JSON-MIN."
        )
    problems = Problems()
    folders = [image_folder] if image_folder else likely_folders(source)
    root = root_of((name for task in tasks for name in _possible_names(task["data"])), folders)
    by_address: dict[str, list[AnnotatedImage]] = defaultdict(list)
    for task in tasks:
        name = _name(task["data"], root)
        try:
            by_address[_address(task["data"])].append(_image(name, task, root, problems))
        except (DatasetError, ValueError) as error:
            problems.add(name, error.problem if isinstance(error, DatasetError) else str(error))
    images = apart((image for same in by_address.values() for image in joined(same, problems)), problems)
    labels = sorted({region.label for image in images for region in image.regions})
    return LabelSet(root, tuple(labels), tuple(images), problems.by_file(), notes=problems.notes_by_file())


def _address(data: Mapping[str, Any]) -> str:
    """Return what a task says of where its image is: under `image`, or the one value that is like it."""
    for key in ("file_name", "image"):
        if isinstance(data.get(key), str) and data[key]:
            return str(data[key])
    texts = [value for value in data.values() if isinstance(value, str)]
    found = [text for text in texts if PurePosixPath(_path_of(text)).suffix.lower() in IMAGE_SUFFIXES]
    return found[0] if len(found) == 1 else ""


def _path_of(address: str) -> str:
    """Return the path in an address; that of a local file stands behind `?d=`."""
    try:
        parts = urlsplit(address)
        local = parse_qs(parts.query).get("d")
    except ValueError:
        return ""
    return (local[0] if local else unquote(parts.path)).replace("\\", "/").strip("/")


def _possible_names(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the image may be called below the root, the longest name first."""
    address = _address(data)
    if address and address == data.get("file_name"):
        yield address
        return
    path = [part for part in _path_of(address).split("/") if part not in ("", ".", "..")]
    yield from ("/".join(path[start:]) for start in range(len(path)))
    if path and _UPLOADED.match(path[-1]):
        yield _UPLOADED.sub("", path[-1])


def _name(data: Mapping[str, Any], root: Path) -> str:
    """Return the name below the root; where there is no such image, the likeliest one."""
    names = [name_within(name, root) for name in _possible_names(data)]
    found = next((name for name in names if name and is_there(root / name)), None)
    if found is not None or not names:
        return found or ""
    is_local = "?d=" in _address(data)
    return names[0] if is_local else names[-1]


def _image(name: str, task: Mapping[str, Any], root: Path, problems: Problems) -> AnnotatedImage:
    if not name:
        raise ValueError(f"task {str(task.get('id'))[:40]} names no image")
    data = task["data"]
    results, unread = _results(task, name, problems)
    size = size_of([data]) or size_of(results) or size_hw_px(root / name)
    regions: list[Region] = []
    said: list[str] = []
    for number, result in enumerate(results, start=1):
        if str(result.get("type")) in _NO_SHAPES:
            said += _choices(result)
            continue
        if _is_told_elsewhere(result, results):
            continue
        try:
            regions += _regions(result, size, f"result {number}", name, problems)
        except ValueError as error:
            problems.add(name, f"result {number}: {error}")
            unread += 1
    group, split = (None if data.get(key) is None else str(data[key]) for key in ("group", "split"))
    return AnnotatedImage(name, size, tuple(regions), group, split, unread, tuple(said))


def _regions(
    result: Mapping[str, Any], size: tuple[int, int], where: str, name: str, problems: Problems
) -> list[Region]:
    regions, wrong, note = regions_of(result, size)
    for line in wrong:
        problems.add(name, f"{where}: {line}")
    if note:
        problems.note(name, f"{where}: {note}")
    if len(regions) > 1:
        problems.note(name, f"{where}: has {len(regions)} labels, and is a box of each")
    return regions


def _choices(result: Mapping[str, Any]) -> list[str]:
    """Return the choices made for the whole image; those for a shape repeat its place."""
    value = result.get("value")
    if not isinstance(value, dict) or {"x", "points"} & value.keys():
        return []
    choices = value.get("choices")
    return [str(choice) for choice in choices] if isinstance(choices, list) else []


def _is_told_elsewhere(result: Mapping[str, Any], results: list[dict[str, Any]]) -> bool:
    """Tell whether this is the shape, without labels, of another result: `Rectangle` beside `Labels`."""
    if labels_of(result):
        return False
    same = (other for other in results if other is not result and labels_of(other))
    return any(
        (result.get("id") is not None and other.get("id") == result.get("id"))
        or _numbers(other) == _numbers(result)
        for other in same
    )


def _numbers(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a result says where it is."""
    value = result.get("value")
    keys = ("x", "y", "width", "height", "points", "radiusX", "radiusY", "rle")
    return {key: value[key] for key in keys if key in value} if isinstance(value, dict) else {}


def _results(task: Mapping[str, Any], name: str, problems: Problems) -> tuple[list[dict[str, Any]], int]:
    """Return the results that hold, and 1 if the task does not say whether there are others.

    The annotation that holds counts, and what it rejected of the predictions; without one the predictions.
    A task that nobody has worked on, or that was skipped, does not say that there is no defect.
    """
    annotations = _dicts(task.get("annotations"))
    done = [item for item in annotations if not item.get("was_cancelled")]
    predicted = [
        result for item in _dicts(task.get("predictions"))[-1:] for result in _dicts(item.get("result"))
    ]
    if not done:
        if not predicted:
            what = "was skipped" if annotations else "is not labelled yet"
            problems.add(name, f"task {str(task.get('id'))[:40]} {what}")
        return predicted, int(not predicted)
    held, is_known = _holding(done, name, problems)
    kept = _dicts(held.get("result"))
    if not isinstance(held.get("result"), list) or len(kept) < len(held["result"]):
        problems.add(name, "an annotation holds something else than results")
        is_known = False
    ids = {str(result.get("id")) for result in kept}
    rejected = [
        {**result, "origin": "rejected"} for result in predicted if str(result.get("id")) not in ids
    ]
    return kept + rejected, int(not is_known)


def _holding(done: list[dict[str, Any]], name: str, problems: Problems) -> tuple[dict[str, Any], bool]:
    """Return the annotation that holds: the ground truth, else the newest; and whether that is known."""
    marked = [item for item in done if item.get("ground_truth") is True] or done
    newest = max(marked, key=_age)
    others = [item for item in done if _said(item) != _said(newest)]
    if not others:
        return newest, True
    rivals = [item for item in others if item in marked and _age(item) == _age(newest)]
    if rivals:
        problems.add(name, f"{len(rivals) + 1} annotations differ, and nothing says which one is newer")
        return newest, False
    which = "ground truth" if len(marked) < len(done) else f"newest ({_age(newest)[0] or 'by its id'})"
    lost = sum(len(_dicts(item.get("result"))) for item in others)
    text = f"{len(others) + 1} annotations differ: the {which} holds, {lost} results of the others do not"
    problems.add(name, text)
    return newest, True


def _age(annotation: Mapping[str, Any]) -> tuple[str, int]:
    """Return what grows with time: the date, and the number that Label Studio counts up."""
    date = annotation.get("updated_at") or annotation.get("created_at") or ""
    number = annotation.get("id")
    is_number = isinstance(number, int) and not isinstance(number, bool)
    return str(date)[:40], number if is_number and isinstance(number, int) else -1


def _said(annotation: Mapping[str, Any]) -> str:
    """Return what an annotation says, so that two can be compared: its results without their ids."""
    results = [
        {"type": item.get("type"), "value": item.get("value")} for item in _dicts(annotation.get("result"))
    ]
    return json.dumps(sorted(json.dumps(item, sort_keys=True) for item in results))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
