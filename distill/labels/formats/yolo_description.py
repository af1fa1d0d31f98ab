"""Read data.yaml: the names of the classes and where the images of each split are, as others write them.

Roboflow writes `../train/images` though `train` lies beside the file, ultralytics' own sets name a `path`
that is right on one computer only, and a split may be a folder, a list of folders or a text of file names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from distill.labels.sets.documents import read_text, read_yaml
from distill.labels.sets.image_files import is_there, name_within
from distill.labels.sets.problems import Problems
from edge.cameras.folder import IMAGE_SUFFIXES, image_files
from edge.core.errors import DatasetError

Split = Literal["train", "val", "test"]

KEYS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
"""How programs call the splits."""

MOST_CLASSES = 10_000

MOST_PATH = 4096
"""Letters of a path: Linux takes no longer one."""


@dataclass(frozen=True, slots=True)
class Description:
    """Hold what a data.yaml says.

    Attributes:
        file: the data.yaml.
        root: folder that the paths start from.
        class_names: by number; "" for a number that has none.
        entries: folders and lists of file names, by split; each is there.
        lacking: what the file names and is not there, split -> path as it stands in the file.
    """

    file: Path
    root: Path
    class_names: tuple[str, ...]
    entries: Mapping[Split, tuple[Path, ...]]
    lacking: Mapping[Split, tuple[str, ...]]


def read_description(source: Path) -> Description:
    """Read the description of a data set.

    Args:
        source: the folder, or its data.yaml.
    Raises:
        DatasetError: if it is missing, damaged, or names no classes.
    """
    file = source if source.is_file() else source / "data.yaml"
    if not is_there(file):
        raise DatasetError(f"There is no {file}.", "Name a data set folder that holds a data.yaml.")
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise DatasetError(f"{file} holds no keys.", "It needs path, train, val and names.")
    names = _class_names(content.get("names"), file)
    stated = {split: _stated(content, keys, file) for split, keys in KEYS.items()}
    root = _root(content.get("path"), file, stated)
    found = {
        split: [(name, _found(root, name)) for name in texts] for split, texts in stated.items() if texts
    }
    return Description(
        file,
        root,
        names,
        {split: tuple(path for _, path in pairs if path) for split, pairs in found.items()},
        {split: tuple(name for name, path in pairs if not path) for split, pairs in found.items()},
    )


def images_of(entry: Path, root: Path, problems: Problems) -> Iterator[Path]:
    """Yield the images of an entry of a split: of a folder and those below it, or those that a text lists.

    A listed name is looked up in the folder of the text and in `root`, and never leads out of them.
    """
    if entry.is_dir():
        yield from image_files(entry)
        return
    for number, line in enumerate(read_text(entry).splitlines(), start=1):
        if not line.strip():
            continue
        path = _listed(line, (entry.parent, root))
        if path is None:
            shown = os.path.relpath(entry, root).replace(os.sep, "/")
            problems.add(shown, f"line {number}: there is no image '{line.strip()[:80]}' in this data set")
        else:
            yield path


def _listed(line: str, folders: tuple[Path, ...]) -> Path | None:
    for folder in folders:
        path = folder / name_within(line, folder)
        if path.suffix.lower() in IMAGE_SUFFIXES and is_there(path):
            return path
    return None


def _class_names(names: object, file: Path) -> tuple[str, ...]:
    """Return the names by number; "" for a number that has none."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    numbered = {_number(key): name for key, name in names.items()} if isinstance(names, dict) else {}
    if not numbered or None in numbered:
        raise DatasetError(f"{file} names no classes.", "Add a line such as `names: [wrinkle, drop]`.")
    numbers = [number for number in numbered if number is not None]
    if min(numbers) < 0 or max(numbers) >= MOST_CLASSES:
        found = f"{min(numbers)} to {max(numbers)}"
        raise DatasetError(f"{file} numbers its classes from {found}.", "Use 0 on.")
    if any(isinstance(name, (list, dict, set)) for name in numbered.values()):
        raise DatasetError(f"{file}: a class has a list for a name.", "Give each class one name.")
    return tuple(str(numbered.get(number, "")).strip() for number in range(max(numbers) + 1))


def _number(key: object) -> int | None:
    if isinstance(key, int) and not isinstance(key, bool):
        return key
    return int(key) if isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) < 9 else None


def _stated(content: Mapping[str, Any], keys: tuple[str, ...], file: Path) -> list[str]:
    """Return the paths of a split as they stand in the file."""
    value: Any = next((content[key] for key in keys if content.get(key)), [])
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and "\0" not in text and len(text) < MOST_PATH for text in texts):
        raise DatasetError(f"{file}: '{keys[0]}' is no path.", f"Write for instance `{keys[0]}: images`.")
    return [text.strip() for text in texts if text.strip()]


def _root(stated: object, file: Path, splits: Mapping[Split, list[str]]) -> Path:
    """Return the folder that the splits start from: as stated, or that of the file if only it fits."""
    beside = Path(os.path.normpath(file.parent))
    if not isinstance(stated, str) or not stated.strip() or "\0" in stated:
        return beside
    named = Path(os.path.normpath(file.parent / stated.strip().replace("\\", "/")))
    names = [name for texts in splits.values() for name in texts]
    fits = [root for root in (named, beside) if any(_found(root, name) for name in names)]
    return fits[0] if fits else named


def _found(root: Path, stated: str) -> Path | None:
    """Return the folder or text that a path leads to; None if there is none.

    A path that leads out of the data set is looked for in it first: Roboflow means it so.
    """
    path = PurePosixPath(stated.replace("\\", "/"))
    inside = [part for part in path.parts if part not in ("..", "/")]
    candidates = [Path(os.path.normpath(root / path))]
    if ".." in path.parts:
        candidates.insert(0, root.joinpath(*inside))
    if inside[:1] == [root.resolve().name]:  # relative to the folder that the data set lies in
        candidates.append(root.joinpath(*inside[1:]))
    return next((place for place in candidates if _is_folder(place) or _is_list(place)), None)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # no folder can have such a name
        return False


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == ".txt" and is_there(path)
