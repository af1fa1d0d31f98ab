"""The forms in which labels are read and written, and how to tell which one a file is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, TypeVar

from distill.labels.formats import coco, cvat, florence_jsonl, label_studio, roll_record, voc, yolo
from distill.labels.formats.completeness import only_complete
from distill.labels.sets.annotations import LabelSet, Written
from distill.labels.sets.naming import named_by
from edge.core.errors import ConfigError, DatasetError
from edge.core.outside_files import LABELS_BYTES, open_outside
from edge.core.taxonomy import Taxonomy

_LOOKED_AT_BYTES = 1 << 16

Form = TypeVar("Form")


class Reader(Protocol):
    """Read labels; `pictures` is the folder of the pictures where the labels do not tell."""

    def __call__(self, source: Path, pictures: Path | None = None) -> LabelSet: ...


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """Pair the two halves of a form.

    Attributes:
        read: raises DatasetError if nothing at all can be read; single failures stand in `problems`.
        write: returns what was written, and what was not.
        suffix: of its file; "" for a folder.
    """

    read: Reader
    write: Callable[[LabelSet, Path], Written]
    suffix: str


FORMATS: Final[Mapping[str, LabelFormat]] = MappingProxyType(
    {
        "voc": LabelFormat(voc.read, voc.write, ""),
        "dataset": LabelFormat(yolo.read, yolo.write, ""),
        "coco": LabelFormat(coco.read, coco.write, ".json"),
        "florence": LabelFormat(florence_jsonl.read, florence_jsonl.write, ".jsonl"),
        "cvat": LabelFormat(cvat.read, cvat.write, ".xml"),
        "label-studio": LabelFormat(label_studio.read, label_studio.write, ".json"),
    }
)

READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {**{name: form.read for name, form in FORMATS.items()}, "roll": roll_record.read}
)
"""A roll record is read and never written."""


def read_labels(
    source: Path, taxonomy: Taxonomy, *, format_name: str | None = None, pictures: Path | None = None
) -> LabelSet:
    """Read labels of any form and bring their names to a taxonomy.

    An image of which something could not be read is in `left_out` and not in `images`.

    Args:
        source: file or folder.
        taxonomy: the classes of the set.
        format_name: a key of `READERS`; None to look what it is.
        pictures: folder of the pictures; None to look in and beside the source.
    Raises:
        DatasetError: if there is nothing there, it is of no known form, or nothing can be read.
        ConfigError: if there is no such form, or `pictures` is no folder.
    """
    if pictures and not pictures.is_dir():
        raise ConfigError(f"There is no folder {pictures}.", "Correct --pictures.")
    name = format_name or detect(source)
    return only_complete(named_by(_found(READERS, name)(source, pictures), taxonomy))


def format_of(name: str) -> LabelFormat:
    """Return a form by its name.

    Raises:
        ConfigError: if there is none of that name.
    """
    return _found(FORMATS, name)


def _found(forms: Mapping[str, Form], name: str) -> Form:
    if name not in forms:
        raise ConfigError(f"There is no form of labels '{name}'.", f"Use one of: {', '.join(forms)}.")
    return forms[name]


def detect(source: Path) -> str:
    """Return the name of the form that a file or folder is of.

    Raises:
        DatasetError: if it is missing or of no known form.
    """
    if not source.exists():
        raise DatasetError(f"There is no {source}.", "Check the path.")
    name = _form_of_folder(source) if source.is_dir() else _form_of_file(source)
    if name is None:
        raise DatasetError(f"{source} holds no labels of a known form.", f"Known: {', '.join(READERS)}.")
    return name


def _form_of_folder(folder: Path) -> str | None:
    if (folder / "data.yaml").is_file():
        return "dataset"
    return "voc" if next(folder.rglob("*.xml"), None) else None


def _form_of_file(file: Path) -> str | None:
    """Tell by the suffix and, where two forms share one, by what the file begins with."""
    with open_outside(file, LABELS_BYTES, DatasetError) as stream:
        start = stream.read(_LOOKED_AT_BYTES)
    if start.startswith(roll_record.HEADER):
        return "roll"
    # Without the zeros UTF-16 reads like ASCII, which is enough to tell the forms apart.
    head = start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    suffix = file.suffix.lower()
    if suffix == ".xml":
        return "cvat" if b"<annotations" in head else "voc"
    if suffix == ".json":
        return "label-studio" if head.startswith(b"[") else "coco"
    return {".jsonl": "florence", ".yaml": "dataset", ".yml": "dataset"}.get(suffix)
